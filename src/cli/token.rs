//! `storehand token …`: who may use the API.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::events::pretty;
use super::{Global, Hinted, out, say};
use crate::app::{StoreTokens, store_settings};
use crate::domain::{Clock as _, SystemClock};
use crate::http::{NewToken, Tokens};
use crate::store::Store;

/// `storehand token`
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it, this once
    New {
        /// What to call it: who or what will use it
        name: String,
    },
    /// List the tokens that are live
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a token, at once
    Revoke {
        /// Its name
        name: String,
    },
}

/// Works on the store itself, beside a running server as well: whoever may read the file may let others in.
pub(super) async fn run(args: TokenArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let store = Store::open(&store_settings(&global.load()?)).await?;
    let done = on(args, &StoreTokens(store.clone())).await;
    store.close().await;
    done
}

async fn on(args: TokenArgs, tokens: &dyn Tokens) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::New { name } => {
            let made = NewToken::make(&name, SystemClock.now())?;
            tokens.add(made.kept).await?;
            say(made.secret.reveal());
        }
        Verb::List { json } => {
            let live = tokens.list().await?;
            if json {
                let list = live.iter().map(|token| json!({ "name": token.name, "created": token.created }));
                say(pretty(&json!({ "tokens": list.collect::<Vec<_>>() })));
            } else {
                let rows: Vec<_> =
                    live.iter().map(|token| vec![token.name.clone(), token.created.to_string()]).collect();
                say(out::table(&["TOKEN", "MADE"], &rows));
            }
        }
        Verb::Revoke { name } => {
            if !tokens.revoke(&name).await? {
                return Err(Hinted::new(
                    format!("there is no live token `{name}`"),
                    "`storehand token list` names them",
                )
                .into());
            }
            say(format_args!("`{name}` opens nothing any more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
