//! `storehand rules undo`: take back what a rule did.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};

use super::agree::agreed;
use super::client::Server;
use super::events::{cell, pretty};
use super::{out, say};

/// Rows that are shown before it is asked; of more, how many there are.
const SHOWN: usize = 40;

/// `storehand rules undo`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  storehand rules undo greet --since 14:00                what it did since the last 14:00 in the shop
  storehand rules undo greet --since 2h
  storehand rules undo greet --since 2026-11-24 --until 2026-11-24T12:00 --yes

Pause the rule first (`storehand rules pause greet`), or it may go on doing what is taken back.")]
pub(super) struct UndoArgs {
    /// The rule's id
    rule: String,
    /// Since when: 14:00, 2h, 2026-11-24, 2026-11-24T14:00; in the shop's time zone
    #[arg(long, value_name = "WHEN")]
    since: String,
    /// Until when [default: now]
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
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

/// Lists, asks, and has it done. Exit code 1 where nothing could be taken back, or nobody agreed.
pub(super) async fn run(args: UndoArgs) -> anyhow::Result<ExitCode> {
    let page = format!("/v1/rules/{}/undo", args.rule);
    let mut query = vec![("since", args.since.as_str())];
    query.extend(args.until.as_deref().map(|until| ("until", until)));
    query.extend(args.shop.as_deref().map(|shop| ("shop", shop)));
    let found = args.server.ask(&page, &query).await?;
    let writes: Vec<&Json> = found["writes"].as_array().into_iter().flatten().collect();
    let can = writes.iter().filter(|write| can_be(write)).count();
    if !args.json {
        let [since, until] = ["since", "until"].map(|name| cell(&found, name));
        say(format_args!("`{}` made {} from {since} to {until}", args.rule, counted(writes.len())));
        if !writes.is_empty() {
            say(table(&writes[..writes.len().min(SHOWN)]));
        }
        if writes.len() > SHOWN {
            let more = if found["more"] == true { "at least " } else { "" };
            say(format_args!("… and {more}{} before those", writes.len() - SHOWN));
        }
    }
    if can == 0 {
        say(if args.json { pretty(&found) } else { "none of them can be taken back".to_owned() });
        return Ok(ExitCode::FAILURE);
    }
    let left = writes.len() - can;
    let left = if left == 0 { String::new() } else { format!(" {left} cannot be taken back and stay as they are.") };
    let more = if found["more"] == true { "at least " } else { "" };
    if !agreed(format!("{left} Take back {more}{}?", counted(can)).trim_start(), args.yes.into())? {
        return Ok(ExitCode::FAILURE);
    }
    let answer = args.server.tell(&["v1", "rules", &args.rule, "undo"], &query, &json!({})).await?;
    if args.json {
        say(pretty(&answer));
        return Ok(ExitCode::SUCCESS);
    }
    for run in answer["runs"].as_array().into_iter().flatten() {
        let left = if run["left"] == true { "left: " } else { "" };
        say(format_args!("{}  {left}{}", cell(run, "run"), cell(run, "what")));
    }
    Ok(ExitCode::SUCCESS)
}

fn can_be(write: &Json) -> bool {
    !write["inverse"].is_null() && write["undone_by"].is_null()
}

fn counted(writes: usize) -> String {
    if writes == 1 { "1 write".to_owned() } else { format!("{writes} writes") }
}

fn table(writes: &[&Json]) -> String {
    let row = |write: &&Json| {
        let inverse = match (write["undone_by"].as_str(), &write["inverse"]) {
            (Some(by), _) => format!("taken back before, by {by}"),
            (None, Json::Null) => "cannot be taken back".to_owned(),
            (None, inverse) => call(inverse),
        };
        let under_way = if write["under_way"] == true { " (under way)" } else { "" };
        let [at, run, subject] = ["at", "run", "subject"].map(|name| cell(write, name));
        vec![at, format!("{run}{under_way}"), subject, call(write), inverse]
    };
    let rows: Vec<Vec<String>> = writes.iter().map(row).collect();
    out::table(&["AT", "RUN", "SUBJECT", "DID", "TAKEN BACK BY"], &rows)
}

/// A use of a capability on one line, and not too long.
fn call(of: &Json) -> String {
    const MOST: usize = 70;
    let text = format!("{} {}", cell(of, "capability"), of["input"]);
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_says_what_takes_it_back() {
        let write = |inverse: Json, by: Json| {
            json!({
                "run": "run_1", "subject": "order/1", "at": "t", "capability": "order.tag", "input": { "tags": ["a"] },
                "inverse": inverse, "undone_by": by, "under_way": false,
            })
        };
        let untag = json!({ "capability": "order.untag", "input": { "tags": ["a"] } });
        let rows = [write(untag.clone(), Json::Null), write(Json::Null, Json::Null), write(untag, "run_2".into())];
        let text = table(&rows.iter().collect::<Vec<_>>());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "t   run_1  order/1  order.tag {\"tags\":[\"a\"]}  order.untag {\"tags\":[\"a\"]}");
        assert!(
            lines[2].ends_with("cannot be taken back") && lines[3].ends_with("taken back before, by run_2"),
            "{text}"
        );
        assert_eq!(rows.iter().filter(|write| can_be(write)).count(), 1);
    }
}
