//! `storehand runs list --dead`, `runs retry` and `runs drop`: runs that failed.

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::{Value as Json, json};

use super::agree::agreed;
use super::client::Server;
use super::events::{cell, pretty};
use super::{out, say};

/// Rows that are shown before it is asked; of more, how many there are.
const SHOWN: usize = 20;

/// Which runs that failed.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("meant").required(true).args(["run", "dead"])))]
#[command(after_help = "Examples:
  storehand runs list --dead                              what failed and nobody has looked at
  storehand runs retry run_0c3k5m7q9s1t3                  let one go on from the call that failed it
  storehand runs retry --dead --rule greet --code no_mail all that failed for the same reason
  storehand runs drop --dead --rule greet                 leave them as they are")]
pub(super) struct DeadArgs {
    /// The run
    run: Option<String>,
    /// All that failed and that nobody has retried or dropped
    #[arg(long)]
    dead: bool,
    /// Of these, only those of this rule
    #[arg(long, requires = "dead", conflicts_with = "run")]
    rule: Option<String>,
    /// Of these, only those whose failure has this code
    #[arg(long, requires = "dead", conflicts_with = "run")]
    code: Option<String>,
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// What is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Drop,
}

/// Retries or drops. Exit code 1 where one was left as it is.
pub(super) async fn run(verb: Verb, args: DeadArgs) -> anyhow::Result<ExitCode> {
    let query = args.query();
    if args.dead {
        let limit = SHOWN.to_string();
        let list = [&[("dead", "true"), ("limit", limit.as_str())], &query[..]].concat();
        let dead = args.server.ask("/v1/runs", &list).await?;
        let total = dead["total"].as_u64().unwrap_or_default();
        if total == 0 {
            say(if args.json { pretty(&json!({ "runs": [] })) } else { "no run is dead that is meant".to_owned() });
            return Ok(ExitCode::SUCCESS);
        }
        if !args.json {
            say(table(&dead));
            if total > SHOWN as u64 {
                say(format_args!("… and {} older ones", total - SHOWN as u64));
            }
        }
        let question = match verb {
            Verb::Retry => format!("Retry {}?", counted(total)),
            Verb::Drop => format!("Drop {}? They stay on record and cannot be retried any more.", counted(total)),
        };
        if !agreed(&question, args.yes.into())? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let what = if verb == Verb::Retry { "retry" } else { "drop" };
    let place = ["v1", "runs", args.run.as_deref().unwrap_or("dead"), what];
    let answer = args.server.tell(&place, &query, &json!({})).await?;
    let runs: Vec<Json> = answer["runs"].as_array().cloned().unwrap_or_default();
    let left = runs.iter().filter(|run| run["left"] == true).count();
    if args.json {
        say(pretty(&answer));
    } else {
        for run in &runs {
            let left = if run["left"] == true { "left: " } else { "" };
            say(format_args!("{}  {left}{}", cell(run, "run"), cell(run, "what")));
        }
        let done = counted((runs.len() - left) as u64);
        let done = if verb == Verb::Retry { format!("{done} go on") } else { format!("{done} dropped") };
        say(if left == 0 { done } else { format!("{done}, {left} left as they are") });
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl DeadArgs {
    fn query(&self) -> Vec<(&str, &str)> {
        let given = [("shop", &self.shop), ("rule", &self.rule), ("code", &self.code)];
        given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

fn counted(runs: u64) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

/// Runs that failed, with why.
pub(super) fn table(answer: &Json) -> String {
    let row = |run: &Json| {
        let end = &run["end"];
        let (code, why) = match cell(end, "outcome").as_str() {
            "diverged" => ("diverged".to_owned(), format!("at `{}`", cell(end, "path"))),
            _ => (cell(&end["failure"], "code"), cell(&end["failure"], "message")),
        };
        let [id, rule, subject, ended] = ["id", "rule", "subject", "ended"].map(|name| cell(run, name));
        vec![id, rule, subject, ended, code, short(&why)]
    };
    let rows: Vec<Vec<String>> = answer["runs"].as_array().into_iter().flatten().map(row).collect();
    out::table(&["RUN", "RULE", "SUBJECT", "FAILED", "CODE", "WHY"], &rows)
}

/// On one line, and not too long: `runs show` has all of it.
fn short(text: &str) -> String {
    const MOST: usize = 80;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_a_row_with_its_code_and_why() {
        let failed = json!({ "outcome": "failed", "failure": { "code": "no_mail", "message": "the shop\ncannot" } });
        let diverged = json!({ "outcome": "diverged", "path": "tag" });
        let run =
            |id: &str, end: Json| json!({ "id": id, "rule": "greet", "subject": "order/1", "ended": "t", "end": end });
        let text = table(&json!({ "runs": [run("run_1", failed), run("run_2", diverged)] }));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "run_1  greet  order/1  t       no_mail   the shop cannot");
        assert_eq!(lines[2], "run_2  greet  order/1  t       diverged  at `tag`");
        assert_eq!(short(&"x".repeat(200)).chars().count(), 80);
    }
}
