//! Trying a plugin without a server: its tests, and one use of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::{Hinted, host, out, say, say_it_takes_long};
use crate::app;
use crate::domain::{Answer, Awaits, Call, End};
use crate::engine::{Moment, Registry, rule_tests};
use crate::plugins::{Grants, Manifest, Metering, Plugin, Plugins, RULES, Used};
use crate::rules::{self, Severity};

/// `storehand plugin test`
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The plugin's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// `storehand plugin run`
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Which of its capabilities, such as `points.add`
    capability: String,
    /// What it is asked, as JSON [default: the manifest's example]
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// The event that it works on, as a rule's test has it [default: an order.created]
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// How far the clock is moved while it waits
    #[arg(long, default_value = "30d", value_name = "TIME")]
    advance: String,
    /// The plugin's folder
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

/// What all passes used, at the most.
type Peaks = Arc<Mutex<(u64, Used)>>;

/// What rules may use where this plugin is there, and what its passes come to.
fn tried(folder: &Path) -> anyhow::Result<(Arc<Registry>, Manifest, Peaks)> {
    let host = host(Metering::On)?;
    say_it_takes_long(folder);
    let (plugin, _) = Plugin::from_folder(&host, folder)?;
    let manifest = plugin.manifest.clone();
    let peaks = Peaks::default();
    let seen = peaks.clone();
    let measure = move |used: Used| {
        let mut peaks = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (passes, most) = &mut *peaks;
        *passes += 1;
        most.memory = most.memory.max(used.memory);
        most.fuel = most.fuel.max(used.fuel);
        most.calls = most.calls.max(used.calls);
    };
    let plugins = Plugins::of(host, vec![plugin], Grants::default(), Some(Arc::new(measure)));
    Ok((app::unconnected_with(&plugins)?, manifest, peaks))
}

fn say_peaks(peaks: &Peaks) {
    let (passes, most) = *peaks.lock().unwrap_or_else(PoisonError::into_inner);
    if passes == 0 {
        return;
    }
    let passes = if passes == 1 { "1 pass".to_owned() } else { format!("{passes} passes") };
    say(format_args!(
        "{passes}, at the most {} instructions, {} KiB of memory and {} each",
        most.fuel.unwrap_or(0),
        most.memory >> 10,
        out::counted(u64::from(most.calls), "call"),
    ));
}

impl Test {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (registry, manifest, peaks) = tried(&self.folder)?;
        let carried = self.folder.join(RULES);
        let folders = [self.folder.join("tests"), carried.clone()];
        let there: Vec<PathBuf> = folders.into_iter().filter(|folder| folder.is_dir()).collect();
        if there.is_empty() {
            let message = format!("there is no `tests/` and no `{RULES}/` in {}", self.folder.display());
            let hint =
                "put rules into one of them that use the plugin and carry tests; `storehand plugin new` shows one";
            return Err(Hinted::new(message, hint).into());
        }
        let loaded = rules::load(&there, registry.catalog());
        super::carried::are_drafts(&loaded, &carried)?;
        loaded.findings.iter().filter(|finding| finding.severity == Severity::Error).for_each(say);
        let errors = loaded.count(Severity::Error);
        let (mut count, mut failed) = (0_u64, 0_u64);
        for rule in &loaded.rules {
            for report in rule_tests::run(rule, &registry) {
                count += 1;
                failed += u64::from(!report.passed);
                let verdict = if report.passed { "ok" } else { "FAILED" };
                say(format_args!("{}:{}: {verdict}: {}", rule.file.display(), report.line, report.name));
                for message in &report.messages {
                    say(format_args!("    {}", message.trim_end().replace('\n', "\n    ")));
                }
            }
        }
        say(format_args!("{}: {}, {failed} failed", manifest.name, out::counted(count, "test")));
        say_peaks(&peaks);
        Ok(if errors == 0 && failed == 0 && count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Run {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (registry, manifest, peaks) = tried(&self.folder)?;
        let short = self.capability.rsplit('/').next().unwrap_or_default();
        let provides = manifest.capability(short).with_context(|| {
            let names: Vec<&str> = manifest.capabilities.iter().map(|it| it.name.as_str()).collect();
            format!("`{}` has no capability `{short}`\n  hint: it has: {}", manifest.name, names.join(", "))
        })?;
        let input: Json = match &self.input {
            Some(text) => serde_json::from_str(text).context("`--input` is no JSON")?,
            None => provides.example.input.clone(),
        };
        let event: Json = match &self.event {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                serde_json::from_str(&text).with_context(|| format!("{}: this is no JSON", file.display()))?
            }
            None => serde_json::json!({ "type": "order.created", "data": { "order": { "id": "1042" } } }),
        };
        let name = format!("{}/{}", manifest.name, provides.name);
        // A rule of one step, in JSON, which is YAML too.
        let rule = serde_json::json!({
            "id": "run", "status": "live", "triggers": [{ "event": event["type"] }], "allow": [name],
            "steps": [{ "id": "it", "uses": name, "with": input }],
            "tests": [{ "name": "run", "event": event, "advance": self.advance, "expect": { "outcome": "done" } }],
        });
        let read = rules::read(Path::new("run.yaml"), &rule.to_string(), &|_| Ok(String::new()), registry.catalog());
        let Some(rule) = read.rule else {
            read.findings.iter().for_each(say);
            return Ok(ExitCode::FAILURE);
        };
        let rule = Arc::new(rule);
        let Some(test) = rule.tests.first() else { anyhow::bail!("the event cannot be used") };
        let began = Instant::now();
        let end = rule_tests::watched(&rule, test, &registry, &mut say_moment).map_err(anyhow::Error::msg)?;
        let took = began.elapsed();
        say_peaks(&peaks);
        say(format_args!("{:.1} ms in all, with instructions counted, which takes longer", took.as_secs_f64() * 1e3));
        match end {
            Some(End::Done) => Ok(ExitCode::SUCCESS),
            Some(End::Failed { failure }) => {
                say(format_args!("it fails: {failure}"));
                Ok(ExitCode::FAILURE)
            }
            other => {
                say(other.map_or_else(|| "it still waits".to_owned(), |end| format!("{end:?}")));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// One line of the live log: the run's own clock, the call's path, what happened.
fn say_moment(moment: Moment<'_>) {
    let line = |call: &Call, at: Timestamp, text: &str| {
        // What a plugin asks stands below its own call.
        let indent = "  ".repeat(call.path.matches('/').count());
        say(format_args!("{}  {indent}{}  {text}", at.strftime("%F %T"), call.path));
    };
    let answered = |call: &Call, mark: &str| {
        let answer = match &call.answer {
            Some(Answer::Done(answer)) => out::shortened(&answer.to_string(), 300),
            Some(Answer::Failed(failure)) => failure.to_string(),
            None => return,
        };
        line(call, call.answered.unwrap_or(call.asked), &format!("-> {answer}{mark}"));
    };
    match moment {
        Moment::Asked(call) | Moment::Answered(call) if call.capability == "log" => {
            if matches!(moment, Moment::Asked(_)) {
                line(call, call.asked, &format!("log: {}", call.input["message"].as_str().unwrap_or_default()));
            }
        }
        Moment::Asked(call) => {
            let input = out::shortened(&call.input.to_string(), 300);
            line(call, call.asked, &format!("{} {input}", call.capability));
            let what = match &call.awaits {
                // A plugin's own call waits for those that it makes.
                Some(Awaits::Calls) => return,
                _ if call.answer.is_some() || call.due <= call.asked => return,
                Some(Awaits::Event { kind, about }) => format!("waits for {kind} of {about}, until"),
                _ => "waits until".to_owned(),
            };
            line(call, call.asked, &format!("{what} {}", call.due.strftime("%F %T")));
        }
        Moment::Answered(call) => answered(call, ""),
        Moment::StoodIn(call) => answered(call, "   (a stand-in: nothing was done)"),
    }
}
