//! `storehand runs …`: what rules did.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::client::Server;
use super::dead::{self, DeadArgs};
use super::events::{Listing, cell, pretty};
use super::replay::{self, ReplayArgs};
use super::{Global, out, say, timeline};

/// `storehand runs`
#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List runs, newest first
    List {
        #[command(flatten)]
        list: Listing,
        /// Only of this rule
        #[arg(long)]
        rule: Option<String>,
        /// Only those that failed and that nobody has retried or dropped
        #[arg(long)]
        dead: bool,
        /// Of these, only those whose failure has this code
        #[arg(long, requires = "dead")]
        code: Option<String>,
    },
    /// Let runs that failed go on from the calls that failed them: one, or all of a kind
    Retry(DeadArgs),
    /// Leave runs that failed as they are: one, or all of a kind
    Drop(DeadArgs),
    /// Show what a run did, moment by moment
    Show {
        #[command(flatten)]
        one: One,
        /// Inputs and answers whole
        #[arg(long)]
        full: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a run out whole, to be replayed elsewhere: with its event, so with customers' data
    Export {
        #[command(flatten)]
        one: One,
        /// The file to write [default: to stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Ask the rule of an exported run again, offline, and say whether it comes out the same
    Replay(ReplayArgs),
}

/// A run of a running server.
#[derive(Debug, Args)]
struct One {
    /// Its id, such as run_0c3k5m7q9s1t3
    id: String,
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    #[command(flatten)]
    server: Server,
}

impl One {
    async fn ask(&self, what: &str) -> anyhow::Result<Json> {
        let shop: Vec<_> = self.shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect();
        self.server.ask(&format!("/v1/runs/{}{what}", self.id), &shop).await
    }
}

pub(super) async fn run(args: RunsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Retry(args) => return dead::run(dead::Verb::Retry, args).await,
        Verb::Drop(args) => return dead::run(dead::Verb::Drop, args).await,
        Verb::List { list, rule, dead: true, code } => {
            let narrowed = [("dead", Some("true")), ("rule", rule.as_deref()), ("code", code.as_deref())];
            let answer = list.ask("/v1/runs", narrowed.into_iter().filter_map(|(name, it)| Some((name, it?)))).await?;
            say(if list.json { pretty(&answer) } else { dead::table(&answer) });
        }
        Verb::List { list, rule, .. } => {
            let answer = list.ask("/v1/runs", rule.as_deref().map(|rule| ("rule", rule))).await?;
            let row = |run: &Json| {
                let outcome = cell(&run["end"], "outcome");
                let [id, rule, state, event, started] =
                    ["id", "rule", "state", "event", "started"].map(|name| cell(run, name));
                let rule = match run["mode"].as_str() {
                    Some("shadow") => format!("{rule} (shadow)"),
                    Some("undo") => format!("{rule} (undo)"),
                    _ => rule,
                };
                vec![id, rule, state, outcome, event, started]
            };
            let rows: Vec<Vec<String>> = answer["runs"].as_array().into_iter().flatten().map(row).collect();
            if list.json {
                say(pretty(&answer));
            } else {
                say(out::table(&["RUN", "RULE", "STATE", "OUTCOME", "EVENT", "STARTED"], &rows));
            }
        }
        Verb::Show { one, full, json } => {
            let run = one.ask("").await?;
            let inputs = if full { timeline::Inputs::Whole } else { timeline::Inputs::Shortened };
            say(if json { pretty(&run) } else { timeline::text(&run, inputs) });
        }
        Verb::Export { one, out } => {
            let run = pretty(&one.ask("/export").await?);
            match out {
                None => say(run),
                Some(file) => {
                    replay::write(&file, &run)?;
                    say(format_args!("{} holds the run and its event, with the customer's data", file.display()));
                }
            }
        }
        Verb::Replay(args) => return replay::run(&args, global),
    }
    Ok(ExitCode::SUCCESS)
}
