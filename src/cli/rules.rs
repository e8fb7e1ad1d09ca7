//! `storehand rules …`: over files, check them, run their tests, list them; the verbs that speak of versions are in
//! `rule_versions`. And `storehand schema`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::backtest::{self, BacktestArgs};
use super::events::pretty;
use super::rule_versions::{self, Activate, At, Diff, Of, Rollback};
use super::{Global, Hinted, out, pauses, say, tried, undo};
use crate::app;
use crate::engine::{Registry, rule_tests};
use crate::rules::{self, Loaded, Rule, Schedule, Severity};

/// `storehand rules`
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find the mistakes in rule files: all of them, each with its place and what to write instead
    Check(Files),
    /// Run the tests that rules carry, or try the rules on events that are on record
    Test(Test),
    /// List the rules of a running server with the versions in force, or those of files
    List(List),
    /// Say what a rule would have done on past events, with nothing leaving the building
    Backtest(BacktestArgs),
    /// Tell which versions of a rule were in force when, and from where
    History(Of),
    /// Show how two versions of a rule differ, and what its shadow did otherwise than the live version
    Diff(Diff),
    /// Put a version of a rule live: the one in its file, or another one
    Activate(Activate),
    /// Put the version live that was live before
    Rollback(Rollback),
    /// Stop a rule, or all of them, at once: it starts no run, and its writes are held until it is resumed
    Pause(pauses::PauseArgs),
    /// Let what was paused go on, with the writes that were held
    Resume(pauses::ResumeArgs),
    /// Take back what a rule did: lists it, asks, and does it
    Undo(undo::UndoArgs),
}

#[derive(Debug, Args)]
struct Files {
    /// Rule files, and folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Test {
    #[command(flatten)]
    files: Files,
    /// Events on record, by id: say what the rules make of each, with nothing leaving the building
    #[arg(long, value_name = "EV1,EV2", value_delimiter = ',')]
    events: Vec<String>,
    /// The shop of these events, where the configuration has several
    #[arg(long, requires = "events")]
    shop: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    /// Rule files, and folders of them; the running server's rules where there are none
    #[arg(value_name = "PATH", conflicts_with_all = ["shop", "url"])]
    paths: Vec<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) async fn run(args: RulesArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check(Files { paths, json }) => over(&paths, global, |loaded, registry| check(loaded, json, registry)),
        Verb::Test(Test { files: Files { paths, json }, events, .. }) if events.is_empty() => {
            over(&paths, global, |loaded, registry| test(loaded, json, registry))
        }
        Verb::Test(Test { files: Files { paths, json }, events, shop }) => match missing(&paths) {
            Some(code) => Ok(code),
            None => tried::run(&paths, &events, (shop.as_deref(), json), global).await,
        },
        Verb::List(List { paths, json, at }) if paths.is_empty() => rule_versions::list(&at, json).await,
        Verb::List(List { paths, json, .. }) => over(&paths, global, |loaded, _| list(loaded, json)),
        Verb::Backtest(args) => backtest::run(args, global).await,
        Verb::History(of) => rule_versions::history(&of).await,
        Verb::Diff(diff) => rule_versions::diff(&diff).await,
        Verb::Activate(activate) => activate.run().await,
        Verb::Rollback(rollback) => rollback.run().await,
        Verb::Pause(args) => pauses::pause(args).await,
        Verb::Resume(args) => pauses::resume(args).await,
        Verb::Undo(args) => undo::run(args).await,
    }
}

/// Does something with the rules of these files that says whether all is well.
fn over(
    paths: &[PathBuf],
    global: &Global,
    what: impl FnOnce(&Loaded, &Arc<Registry>) -> bool,
) -> anyhow::Result<ExitCode> {
    if let Some(code) = missing(paths) {
        return Ok(code);
    }
    let registry = global.registry()?;
    let loaded = rules::load(paths, registry.catalog());
    Ok(if what(&loaded, &registry) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says where one of these is not there: wrong use.
fn missing(paths: &[PathBuf]) -> Option<ExitCode> {
    let missing = paths.iter().find(|path| !path.exists())?;
    let hint = "name rule files or folders of them, such as rules/";
    out::report(&Hinted::new(format!("there is no {}", missing.display()), hint).into());
    Some(ExitCode::from(2))
}

/// Prints the JSON Schema of rule files, or the page that says what they may use.
pub(super) fn schema(registry: &Registry, reference: bool) -> anyhow::Result<ExitCode> {
    let catalog = registry.catalog();
    say(if reference { app::reference(catalog) } else { pretty(&rules::json_schema(catalog)) });
    Ok(ExitCode::SUCCESS)
}

fn check(loaded: &Loaded, json: bool, registry: &Registry) -> bool {
    let (errors, warnings) = (loaded.count(Severity::Error), loaded.count(Severity::Warning));
    if json {
        let (files, findings) = (loaded.files, &loaded.findings);
        let implied: Vec<_> = implied(loaded, registry)
            .map(|(rule, name, writes)| json!({ "rule": rule.id, "uses": name, "writes": writes }))
            .collect();
        say(pretty(&json!({
            "rules": files, "errors": errors, "warnings": warnings, "findings": findings, "implied": implied,
        })));
    } else {
        say_findings(loaded, Severity::Warning);
        for (rule, name, writes) in implied(loaded, registry) {
            say(format_args!("{}: `{name}` may in its turn use {}", rule.file.display(), writes.join(", ")));
        }
        let said = [counted(loaded.files, "rule"), counted(errors, "error"), counted(warnings, "warning")];
        say(said.join(", "));
    }
    errors == 0
}

/// The writes that rules allow by allowing a plugin's capability.
fn implied<'a>(loaded: &'a Loaded, registry: &'a Registry) -> impl Iterator<Item = (&'a Rule, &'a str, &'a [String])> {
    loaded.rules.iter().flat_map(|rule| {
        let specs = rule.allow.iter().filter_map(|name| registry.get(name)).map(|it| it.spec());
        specs.filter(|spec| !spec.implies.is_empty()).map(|spec| (rule.as_ref(), spec.name, spec.implies.as_slice()))
    })
}

fn test(loaded: &Loaded, json: bool, registry: &Arc<Registry>) -> bool {
    let errors = loaded.count(Severity::Error);
    let tested: Vec<(&Rule, Vec<rule_tests::TestReport>)> =
        loaded.rules.iter().map(|rule| (rule.as_ref(), rule_tests::run(rule, registry))).collect();
    let all = || tested.iter().flat_map(|(_, reports)| reports);
    let (tests, failed) = (all().count(), all().filter(|report| !report.passed).count());
    if json {
        let rules: Vec<_> = tested
            .iter()
            .map(|(rule, reports)| {
                let reports = reports.iter().map(|report| {
                    json!({
                        "name": report.name,
                        "line": report.line,
                        "passed": report.passed,
                        "messages": report.messages,
                    })
                });
                json!({ "rule": rule.id, "file": rule.file, "tests": reports.collect::<Vec<_>>() })
            })
            .collect();
        say(pretty(&json!({
            "tests": tests, "failed": failed, "errors": errors, "rules": rules, "findings": loaded.findings,
        })));
        return errors == 0 && failed == 0;
    }
    say_findings(loaded, Severity::Error);
    for (rule, reports) in &tested {
        let file = rule.file.display();
        if reports.is_empty() {
            say(format_args!("{file}: no tests"));
        }
        for report in reports {
            let verdict = if report.passed { "ok" } else { "FAILED" };
            say(format_args!("{file}:{}: {verdict}: {}", report.line, report.name));
            for message in &report.messages {
                say(format_args!("    {}", message.trim_end().replace('\n', "\n    ")));
            }
        }
    }
    let said = [counted(tested.len(), "rule"), counted(tests, "test"), format!("{failed} failed")];
    let broken = (errors > 0)
        .then(|| format!("{} could not be read", counted(loaded.files.saturating_sub(tested.len()), "file")));
    say(said.into_iter().chain(broken).collect::<Vec<_>>().join(", "));
    errors == 0 && failed == 0
}

fn list(loaded: &Loaded, json: bool) -> bool {
    let triggers = |rule: &Rule| -> Vec<String> { rule.triggers.iter().map(ToString::to_string).collect() };
    let now = Timestamp::now();
    if json {
        let rules = loaded.rules.iter().map(|rule| {
            json!({
                "id": rule.id, "name": rule.name, "status": rule.status, "triggers": triggers(rule),
                "next": rule.schedules().map(|it| next(it, now)).collect::<Vec<_>>(), "allow": rule.allow, "version": rule.version, "file": rule.file, "tests": rule.tests.len(),
            })
        });
        say(pretty(&json!({ "rules": rules.collect::<Vec<_>>(), "findings": loaded.findings })));
    } else {
        say_findings(loaded, Severity::Error);
        let row = |rule: &Rule| {
            let status = json!(rule.status).as_str().unwrap_or_default().to_owned();
            let name = rule.name.get("").or_else(|| rule.name.get("en")).or_else(|| rule.name.values().next());
            let (name, file) = (name.cloned().unwrap_or_default(), rule.file.display().to_string());
            let next: Vec<String> = rule.schedules().map(|it| next(it, now)).collect();
            vec![rule.id.clone(), status, triggers(rule).join(", "), next.join(", "), name, file]
        };
        let rows: Vec<Vec<String>> = loaded.rules.iter().map(|rule| row(rule)).collect();
        say(out::table(&["RULE", "STATUS", "LISTENS TO", "NEXT", "NAME", "FILE"], &rows));
    }
    loaded.count(Severity::Error) == 0
}

/// When a schedule comes next, on the clocks that it goes by. A file does not say which are the shop's.
fn next(schedule: &Schedule, now: Timestamp) -> String {
    let zone = schedule.zone().cloned().unwrap_or(TimeZone::UTC);
    let Some(next) = schedule.next_after(now, &zone) else { return "never".to_owned() };
    let by = schedule.zone().and_then(TimeZone::iana_name).unwrap_or("in the shop's zone");
    format!("{} {by}", zone.to_datetime(next).strftime("%F %H:%M"))
}

/// Says what was found, down to this severity.
fn say_findings(loaded: &Loaded, least: Severity) {
    loaded.findings.iter().filter(|finding| finding.severity <= least).for_each(say);
}

fn counted(number: usize, what: &str) -> String {
    out::counted(number as u64, what)
}
