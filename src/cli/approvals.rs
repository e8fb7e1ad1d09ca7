//! `storehand approvals …`: what waits for a person, and what that person says.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::client::Server;
use super::events::{Listing, cell, pretty};
use super::{Hinted, say};

/// `storehand approvals`
#[derive(Debug, Args)]
pub(super) struct ApprovalsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what waits for a person: approvals, and calls of which nobody can tell whether they happened
    List {
        #[command(flatten)]
        list: Listing,
    },
    /// Say yes to an approval; of a call that is unknown, that it did not happen and is to be done
    Accept {
        #[command(flatten)]
        call: Of,
        /// Put this file's text in place of the one that was shown; `-` reads it from here
        #[arg(long, value_name = "FILE", conflicts_with = "happened")]
        text: Option<PathBuf>,
        /// Of a call that is unknown: it did happen
        #[arg(long)]
        happened: bool,
    },
    /// Say no to an approval; leave a call that is unknown
    Reject {
        #[command(flatten)]
        call: Of,
        /// Why, for whoever reads the run later
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
    },
}

/// Which call is meant.
#[derive(Debug, Args)]
struct Of {
    /// As the list names it, such as run_0c3k5m7q9s1t3/ok
    id: String,
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// The longest text that is read, in bytes.
const MOST_TEXT_BYTES: u64 = 1 << 20;

pub(super) async fn run(args: ApprovalsArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List { list } => {
            let answer = list.ask("/v1/approvals", None).await?;
            say(if list.json { pretty(&answer) } else { listed(&answer) });
        }
        Verb::Accept { call, text, happened } => {
            let decision = match (happened, text) {
                (true, _) => json!({ "decision": "happened" }),
                (false, Some(file)) => json!({ "decision": "accept", "text": read(&file)? }),
                (false, None) => json!({ "decision": "accept" }),
            };
            call.decide(&decision).await?;
        }
        Verb::Reject { call, because } => {
            call.decide(&json!({ "decision": "reject", "because": because })).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Of {
    async fn decide(&self, decision: &Json) -> anyhow::Result<()> {
        let Some((run, path)) = self.id.split_once('/').filter(|(run, path)| !run.is_empty() && !path.is_empty())
        else {
            let message = format!("`{}` names no call", self.id);
            return Err(Hinted::new(message, "write it as `storehand approvals list` does: run_…/ok").into());
        };
        let shop: Vec<_> = self.shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect();
        let place: Vec<&str> = ["v1", "approvals", run].into_iter().chain(path.split('/')).collect();
        let answer = self.server.tell(&place, &shop, decision).await?;
        for run in answer["runs"].as_array().into_iter().flatten() {
            say(format_args!("{}: {}", self.id, cell(run, "what")));
        }
        Ok(())
    }
}

/// The text of a file, or of what is typed here.
fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST_TEXT_BYTES + 1).read_to_string(&mut text).context("the text cannot be read")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        opened.take(MOST_TEXT_BYTES + 1).read_to_string(&mut text).with_context(|| file.display().to_string())?;
    }
    anyhow::ensure!(text.len() as u64 <= MOST_TEXT_BYTES, "the text is longer than 1 MiB");
    Ok(text.trim_end().to_owned())
}

/// What waits, each with all that it takes to decide it.
fn listed(answer: &Json) -> String {
    let waiting = answer["approvals"].as_array().cloned().unwrap_or_default();
    if waiting.is_empty() {
        return "nothing waits for a person".to_owned();
    }
    let mut lines = Vec::new();
    for one in &waiting {
        let is_unknown = cell(one, "what") == "unknown";
        let head = match is_unknown {
            true => format!("unknown: `{}`, and nobody can tell whether it happened", cell(one, "capability")),
            false => format!("approval, asked of {}", cell(one, "to")),
        };
        lines.push(format!("{}  {head}", cell(one, "id")));
        let [rule, subject, event, since] = ["rule", "subject", "event", "since"].map(|name| cell(one, name));
        lines.push(format!("  rule {rule} on {subject} ({event}), since {since}"));
        let shown = if is_unknown { cell(one, "input") } else { cell(one, "show") };
        lines.extend(shown.lines().map(|line| format!("    | {line}")));
        if one["why"].is_string() {
            lines.push(format!("  why         {}", cell(one, "why")));
        }
        if is_unknown {
            lines.push(format!("  went wrong  {}", cell(one, "trouble")));
        }
        lines.push(format!("  accept      {}", cell(one, "accept")));
        if is_unknown {
            lines.push(format!("  --happened  {}", cell(one, "happened")));
        }
        lines.push(format!("  reject      {}", cell(one, "reject")));
        if !is_unknown {
            lines.push(format!("  otherwise   at {} {}", cell(one, "until"), cell(one, "otherwise")));
        }
        lines.push(String::new());
    }
    lines.push(
        "to decide: storehand approvals accept ID [--text FILE | --happened], or reject ID [--because TEXT]".into(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_with_all_that_it_takes_to_decide() {
        let answer = json!({ "approvals": [
            { "id": "run_1/ok", "what": "approval", "rule": "big-order", "subject": "order/1042", "event": "ev_1",
              "since": "2026-11-23T09:00:00Z", "until": "2026-11-24T09:00:00Z", "to": "support",
              "show": "Send it?\nTo Ana", "why": "it names 20 EUR", "accept": "go on", "reject": "end", "otherwise": "it counts as rejected" },
            { "id": "run_2/send", "what": "unknown", "rule": "thank", "subject": "order/7", "event": "ev_2",
              "since": "2026-11-23T09:00:00Z", "capability": "message.send", "input": { "text": "Hi" },
              "trouble": "the line broke", "accept": "do it", "happened": "go on", "reject": "leave it" },
        ] });
        let told = "run_1/ok  approval, asked of support\n  rule big-order on order/1042 (ev_1), since \
             2026-11-23T09:00:00Z\n    | Send it?\n    | To Ana\n  why         it names 20 EUR\n  accept      go on\n  reject      end\n  otherwise   \
             at 2026-11-24T09:00:00Z it counts as rejected\n\nrun_2/send  unknown: `message.send`, and nobody can tell \
             whether it happened\n  rule thank on order/7 (ev_2), since 2026-11-23T09:00:00Z\n    | {\"text\":\"Hi\"}\n  \
             went wrong  the line broke\n  accept      do it\n  --happened  go on\n  reject      leave it\n\n";
        assert!(listed(&answer).starts_with(told), "{}", listed(&answer));
        assert_eq!(listed(&json!({ "approvals": [] })), "nothing waits for a person");
    }
}
