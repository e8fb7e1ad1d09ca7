//! `storehand events …`: send one, list them, ask why rules ran or did not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::client::{Server, client, send};
use super::{Global, Hinted, out, say};
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
    /// Say which rules ran on an event, and for each that did not, why
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
    pub(super) async fn ask(&self, path: &str, narrowed: Option<(&str, &str)>) -> anyhow::Result<Json> {
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
    /// The body, sent as it is: a platform's payload, or a CloudEvent
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
        Verb::Show(show) => say(pretty(&show.event().await?)),
        Verb::Why(show) => {
            let event = show.event().await?;
            if show.json {
                say(pretty(&serde_json::json!({ "runs": event["runs"], "why_not": event["why_not"] })));
            } else {
                say(why(&event));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Show {
    async fn event(&self) -> anyhow::Result<Json> {
        let shop: Vec<_> = self.shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect();
        self.server.ask(&format!("/v1/events/{}", self.id), &shop).await
    }
}

/// What rules made of an event, for people.
fn why(event: &Json) -> String {
    let list = |name: &str| event[name].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("{} {} {}", cell(event, "id"), cell(event, "type"), cell(event, "subject"))];
    for run in list("runs") {
        lines.push(format!("  ran      {}  {} {}", cell(&run, "rule"), cell(&run, "id"), how(&run)));
    }
    for not in list("why_not") {
        lines.push(format!("  did not  {}  line {}: {}", cell(&not, "rule"), cell(&not, "line"), cell(&not, "clause")));
        for pair in not["saw"].as_array().into_iter().flatten() {
            lines.push(format!("             {} was {}", text(&pair[0]), text(&pair[1])));
        }
        if let Some(error) = not["error"].as_str() {
            lines.push(format!("             {error}"));
        }
    }
    for missing in event["context"]["missing"].as_array().into_iter().flatten() {
        let why = if missing["withheld"] == true { "not this customer's" } else { "not known" };
        lines.push(format!("  {why}: {} {}", cell(missing, "kind"), cell(missing, "id")));
    }
    if lines.len() == 1 {
        lines.push("  no rule listens to this".to_owned());
    }
    lines.join("\n")
}

/// How a run ended, else where it stands.
fn how(run: &Json) -> String {
    let outcome = cell(&run["end"], "outcome");
    if outcome.is_empty() { cell(run, "state") } else { outcome }
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
                .header("x-shopify-hmac-sha256", sign_shopify(&secret, &body)),
            _ => {
                let seconds = Timestamp::now().as_second();
                let made = sign_standard(&secret, &id, seconds, &body);
                let made = made.ok_or_else(|| Hinted::new("the secret holds no key", "it is `whsec_` and base64"))?;
                client()?
                    .post(self.server.address(&format!("/v1/events?shop={}", self.shop)))
                    .header("content-type", event_type(&body))
                    .header("webhook-id", &id)
                    .header("webhook-timestamp", seconds)
                    .header("webhook-signature", made)
            }
        };
        let answered = send(request.body(body)).await?;
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
    use serde_json::json;

    use super::*;

    #[test]
    fn why_names_what_ran_and_the_first_false_clause() {
        let event = json!({
            "id": "ev_1", "type": "order.created", "subject": "order/1042",
            "runs": [{ "id": "run_1", "rule": "big-order", "end": { "outcome": "done" } }],
            "why_not": [{ "rule": "vip", "line": 7, "clause": "order.total > inputs.limit", "saw": [["order.total", "20.00 EUR"]] }],
            "context": { "missing": [{ "kind": "customer", "id": "7" }] },
        });
        assert_eq!(
            why(&event),
            "ev_1 order.created order/1042\n  ran      big-order  run_1 done\n  did not  vip  line 7: order.total > \
             inputs.limit\n             order.total was 20.00 EUR\n  not known: customer 7"
        );
        assert!(why(&json!({ "id": "ev_1" })).contains("no rule listens"));
    }

    #[test]
    fn a_list_is_a_batch() {
        assert_eq!(event_type(b" \n[{}]"), "application/cloudevents-batch+json");
        assert_eq!(event_type(b"{}"), "application/cloudevents+json");
    }
}
