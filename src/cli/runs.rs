//! `storehand runs …`: what rules did.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::client::Server;
use super::dead::{self, DeadArgs};
use super::events::{Listing, cell, pretty};
use super::{out, say};

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
    /// Show a run with its calls
    Show {
        /// Its id, such as run_0c3k5m7q9s1t3
        id: String,
        /// The shop, where the server has several
        #[arg(long)]
        shop: Option<String>,
        #[command(flatten)]
        server: Server,
    },
}

pub(super) async fn run(args: RunsArgs) -> anyhow::Result<ExitCode> {
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
                vec![id, rule, state, outcome, event, started]
            };
            let rows: Vec<Vec<String>> = answer["runs"].as_array().into_iter().flatten().map(row).collect();
            if list.json {
                say(pretty(&answer));
            } else {
                say(out::table(&["RUN", "RULE", "STATE", "OUTCOME", "EVENT", "STARTED"], &rows));
            }
        }
        Verb::Show { id, shop, server } => {
            let shop: Vec<_> = shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect();
            say(pretty(&server.ask(&format!("/v1/runs/{id}"), &shop).await?));
        }
    }
    Ok(ExitCode::SUCCESS)
}
