//! `storehand rules …` over files: check them, run their tests, list them; and `storehand schema`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::backtest::{self, BacktestArgs};
use super::events::pretty;
use super::{Global, Hinted, out, say, tried};
use crate::app;
use crate::engine::{Registry, rule_tests};
use crate::rules::{self, Loaded, Rule, Severity, Trigger};

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
    /// List rules with what they listen to
    List(Files),
    /// Say what a rule would have done on past events, with nothing leaving the building
    Backtest(BacktestArgs),
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

pub(super) async fn run(args: RulesArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check(files) => over(&files, |loaded, _| check(loaded, files.json)),
        Verb::Test(args) if args.events.is_empty() => {
            over(&args.files, |loaded, registry| test(loaded, args.files.json, registry))
        }
        Verb::Test(Test { files, events, shop }) => {
            if let Some(code) = missing(&files) {
                return Ok(code);
            }
            tried::run(&files.paths, &events, (shop.as_deref(), files.json), global).await
        }
        Verb::List(files) => over(&files, |loaded, _| list(loaded, files.json)),
        Verb::Backtest(args) => backtest::run(args, global).await,
    }
}

/// Loads rule files and does something with them that says whether all is well.
fn over(files: &Files, what: impl FnOnce(&Loaded, &Arc<Registry>) -> bool) -> anyhow::Result<ExitCode> {
    if let Some(code) = missing(files) {
        return Ok(code);
    }
    let registry = app::unconnected()?;
    let loaded = rules::load(&files.paths, registry.catalog());
    Ok(if what(&loaded, &registry) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says where one of the files is not there: wrong use.
fn missing(files: &Files) -> Option<ExitCode> {
    let missing = files.paths.iter().find(|path| !path.exists())?;
    let hint = "name rule files or folders of them, such as rules/";
    out::report(&Hinted::new(format!("there is no {}", missing.display()), hint).into());
    Some(ExitCode::from(2))
}

/// Prints the JSON Schema of rule files.
pub(super) fn schema(registry: &Registry) -> anyhow::Result<ExitCode> {
    say(pretty(&rules::json_schema(registry.catalog())));
    Ok(ExitCode::SUCCESS)
}

fn check(loaded: &Loaded, json: bool) -> bool {
    let (errors, warnings) = (loaded.count(Severity::Error), loaded.count(Severity::Warning));
    if json {
        let (files, findings) = (loaded.files, &loaded.findings);
        say(pretty(&json!({ "rules": files, "errors": errors, "warnings": warnings, "findings": findings })));
    } else {
        say_findings(loaded, Severity::Warning);
        let said = [counted(loaded.files, "rule"), counted(errors, "error"), counted(warnings, "warning")];
        say(said.join(", "));
    }
    errors == 0
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
    let triggers =
        |rule: &Rule| -> Vec<String> { rule.triggers.iter().map(|Trigger::Event(name)| name.clone()).collect() };
    if json {
        let rules = loaded.rules.iter().map(|rule| {
            json!({
                "id": rule.id, "name": rule.name, "status": rule.status, "triggers": triggers(rule),
                "allow": rule.allow, "version": rule.version, "file": rule.file, "tests": rule.tests.len(),
            })
        });
        say(pretty(&json!({ "rules": rules.collect::<Vec<_>>(), "findings": loaded.findings })));
    } else {
        say_findings(loaded, Severity::Error);
        let row = |rule: &Rule| {
            let status = json!(rule.status).as_str().unwrap_or_default().to_owned();
            let name = rule.name.get("").or_else(|| rule.name.get("en")).or_else(|| rule.name.values().next());
            let (name, file) = (name.cloned().unwrap_or_default(), rule.file.display().to_string());
            vec![rule.id.clone(), status, triggers(rule).join(", "), name, file]
        };
        let rows: Vec<Vec<String>> = loaded.rules.iter().map(|rule| row(rule)).collect();
        say(out::table(&["RULE", "STATUS", "LISTENS TO", "NAME", "FILE"], &rows));
    }
    loaded.count(Severity::Error) == 0
}

/// Says what was found, down to this severity.
fn say_findings(loaded: &Loaded, least: Severity) {
    loaded.findings.iter().filter(|finding| finding.severity <= least).for_each(say);
}

fn counted(number: usize, what: &str) -> String {
    out::counted(number as u64, what)
}
