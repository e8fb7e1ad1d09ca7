//! `storehand events …`: send one, list them, ask why rules ran or did not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::client::{Server, client, send};
use super::{Global, Hinted, out, say, why};
use crate::domain::Secret;
use crate::shops::signature::{sign_shopify, sign_standard};

/// `storehand events`
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sign a file as a platform would, and deliver it to a running server
    Send(Send),
    /// List events, newest first
    List {
        #[command(flatten)]
        list: Listing,
        /// Only of this type, such as order.created
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Show an event with its context
    Show(Show),
    /// Say which rules ran on an event and why, and for each that did not, why not
    Why(Show),
}

/// What every list takes.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: u16,
    /// Only what is older than this id
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    server: Server,
}

impl Listing {
    pub(super) async fn ask<'a>(
        &self,
        path: &str,
        narrowed: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> anyhow::Result<Json> {
        let narrowed: Vec<(&str, &str)> = narrowed.into_iter().collect();
        let limit = self.limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.shop.as_deref().map(|shop| ("shop", shop)));
        query.extend(self.before.as_deref().map(|id| ("before", id)));
        query.extend(narrowed);
        self.server.ask(path, &query).await
    }
}

#[derive(Debug, Args)]
struct Show {
    /// Its id, such as ev_0c3k5m7q9s1t3
    id: String,
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  storehand events send order.json --shop acme --source shopify --topic orders/create
  storehand events send event.json --shop acme --source standard --secret env:EVENTS_SECRET")]
struct Send {
    /// The body, sent as it is: a platform's payload, or a CloudEvent; one without an id, such as a rule's fixture, gets
    /// the delivery's
    file: PathBuf,
    /// The shop
    #[arg(long)]
    shop: String,
    /// The source that will check the signature
    #[arg(long, value_parser = ["shopify", "standard"])]
    source: String,
    /// Shopify's topic, such as orders/create
    #[arg(long, required_if_eq("source", "shopify"))]
    topic: Option<String>,
    /// The secret, as env:NAME or file:PATH [default: the source's own, out of the configuration]
    #[arg(long)]
    secret: Option<String>,
    /// The delivery's id; the same id twice is the same delivery [default: made of the body]
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn run(args: EventsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Send(args) => args.run(global).await?,
        Verb::List { list, kind } => {
            let answer = list.ask("/v1/events", kind.as_deref().map(|kind| ("type", kind))).await?;
            let row =
                |event: &Json| ["id", "type", "subject", "source", "received"].map(|name| cell(event, name)).to_vec();
            let rows: Vec<Vec<String>> = answer["events"].as_array().into_iter().flatten().map(row).collect();
            if list.json {
                say(pretty(&answer));
            } else {
                say(out::table(&["EVENT", "TYPE", "SUBJECT", "SOURCE", "RECEIVED"], &rows));
            }
        }
        Verb::Show(show) => say(pretty(&show.event("").await?)),
        Verb::Why(show) => {
            let account = show.event("/why").await?;
            say(if show.json { pretty(&account) } else { why::text(&account) });
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Show {
    async fn event(&self, what: &str) -> anyhow::Result<Json> {
        let shop: Vec<_> = self.shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect();
        self.server.ask(&format!("/v1/events/{}{what}", self.id), &shop).await
    }
}

/// A field as people read it; nothing where there is none.
pub(super) fn cell(of: &Json, name: &str) -> String {
    text(&of[name])
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn pretty(value: &Json) -> String {
    format!("{value:#}")
}

impl Send {
    async fn run(self, global: &Global) -> anyhow::Result<()> {
        let body = std::fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let secret = self.secret(global)?;
        let id = self.id.clone().unwrap_or_else(|| format!("cli-{}", &hex::encode(Sha256::digest(&body))[..32]));
        let request = match self.source.as_str() {
            "shopify" => client()?
                .post(self.server.address(&format!("/hooks/{}/shopify", self.shop)))
                .header("content-type", "application/json")
                .header("x-shopify-topic", self.topic.as_deref().unwrap_or_default())
                .header("x-shopify-webhook-id", &id)
                .header("x-shopify-hmac-sha256", sign_shopify(&secret, &body))
                .body(body),
            _ => {
                let body = identified(&body, &id);
                let seconds = Timestamp::now().as_second();
                let made = sign_standard(&secret, &id, seconds, &body);
                let made = made.ok_or_else(|| Hinted::new("the secret holds no key", "it is `whsec_` and base64"))?;
                client()?
                    .post(self.server.address(&format!("/v1/events?shop={}", self.shop)))
                    .header("content-type", event_type(&body))
                    .header("webhook-id", &id)
                    .header("webhook-timestamp", seconds)
                    .header("webhook-signature", made)
                    .body(body)
            }
        };
        let answered = send(request).await?;
        say(format_args!("{} {}", answered.status.as_u16(), answered.event_ids));
        Ok(())
    }

    /// The secret as it was given, or the first one that the configuration has for this source.
    fn secret(&self, global: &Global) -> anyhow::Result<Secret> {
        let named = match self.secret.as_deref() {
            Some(text) if text.starts_with("env:") => std::env::var(&text[4..]).with_context(|| text.to_owned()),
            Some(text) if text.starts_with("file:") => read_secret(Path::new(&text[5..])),
            Some(_) => Err(Hinted::new(
                "--secret is given as it is",
                "others see arguments: write --secret env:NAME or --secret file:PATH",
            )
            .into()),
            None => return self.configured(global),
        };
        named.map(Secret::new)
    }

    fn configured(&self, global: &Global) -> anyhow::Result<Secret> {
        let config = global.load()?;
        let shop = config.shops.iter().find(|(id, _)| id.as_str() == self.shop);
        let secrets = shop.and_then(|(_, shop)| shop.sources.get(&self.source));
        let missing = || {
            let message = format!("the configuration has no secret for {}'s source {}", self.shop, self.source);
            Hinted::new(message, "give it with --secret env:NAME, or name the file with --config")
        };
        Ok(secrets.and_then(|secrets| secrets.iter().next().cloned()).ok_or_else(missing)?)
    }
}

fn read_secret(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A CloudEvent with this id, where it has none of its own; anything else as it is.
fn identified(body: &[u8], id: &str) -> Vec<u8> {
    match serde_json::from_slice(body) {
        Ok(Json::Object(mut event)) if event.contains_key("specversion") && !event.contains_key("id") => {
            event.insert("id".to_owned(), id.into());
            Json::Object(event).to_string().into_bytes()
        }
        _ => body.to_vec(),
    }
}

/// One CloudEvent, or a batch of them.
fn event_type(body: &[u8]) -> &'static str {
    if body.trim_ascii_start().starts_with(b"[") {
        "application/cloudevents-batch+json"
    } else {
        "application/cloudevents+json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_an_id_gets_one() {
        let sent = identified(br#"{"specversion": "1.0", "type": "order.paid"}"#, "cli-1");
        let sent: Json = serde_json::from_slice(&sent).expect("json");
        assert_eq!(sent, serde_json::json!({ "specversion": "1.0", "type": "order.paid", "id": "cli-1" }));
        for same in [r#"{"specversion": "1.0", "id": "7"}"#, r#"{ "order": 1 }"#, "[]", "{"] {
            assert_eq!(identified(same.as_bytes(), "cli-1"), same.as_bytes());
        }
    }

    #[test]
    fn a_list_is_a_batch() {
        assert_eq!(event_type(b" \n[{}]"), "application/cloudevents-batch+json");
        assert_eq!(event_type(b"{}"), "application/cloudevents+json");
    }
}
