//! `storehand rules …` over files: check them, run their tests, list them; and `storehand schema`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::events::pretty;
use super::{Hinted, out, pauses, say, undo};
use crate::engine::{Registry, rule_tests};
use crate::rules::{self, Loaded, Rule, Severity};

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
    /// Run the tests that rules carry
    Test(Files),
    /// List rules with what they listen to
    List(Files),
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

/// One of the verbs that work on files.
type OnFiles = fn(&Loaded, bool, &Arc<Registry>) -> bool;

pub(super) async fn run(args: RulesArgs, registry: &Arc<Registry>) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check(files) => on_files(&files, registry, |loaded, json, _| check(loaded, json)),
        Verb::Test(files) => on_files(&files, registry, test),
        Verb::List(files) => on_files(&files, registry, |loaded, json, _| list(loaded, json)),
        Verb::Pause(args) => pauses::pause(args).await,
        Verb::Resume(args) => pauses::resume(args).await,
        Verb::Undo(args) => undo::run(args).await,
    }
}

fn on_files(files: &Files, registry: &Arc<Registry>, verb: OnFiles) -> anyhow::Result<ExitCode> {
    if let Some(missing) = files.paths.iter().find(|path| !path.exists()) {
        let hint = "name rule files or folders of them, such as rules/";
        out::report(&Hinted::new(format!("there is no {}", missing.display()), hint).into());
        return Ok(ExitCode::from(2));
    }
    let loaded = rules::load(&files.paths, registry.catalog());
    Ok(if verb(&loaded, files.json, registry) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    let triggers = |rule: &Rule| -> Vec<String> { rule.triggers.iter().map(ToString::to_string).collect() };
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
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
