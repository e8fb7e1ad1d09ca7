//! `storehand rules pause` and `rules resume`: stop a rule, or everything, and let it go on.

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::{Value as Json, json};

use super::client::Server;
use super::events::{cell, pretty};
use super::rule_versions::moment;
use super::say;

/// Which rules.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("meant").required(true).args(["rule", "all"])))]
struct Which {
    /// The rule's id
    rule: Option<String>,
    /// All rules, those to come included: of the shop that --shop names, else of every shop
    #[arg(long)]
    all: bool,
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// `storehand rules pause`
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    which: Which,
    /// Why, for whoever finds it paused
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

/// `storehand rules resume`
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: Which,
}

pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let answer = args.which.tell("pause", &json!({ "because": args.because })).await?;
    args.which.say(&answer, |_| None);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let answer = args.which.tell("resume", &json!({})).await?;
    let name = match &args.which.rule {
        Some(rule) => format!("`{rule}`"),
        None => "the shop".to_owned(),
    };
    args.which.say(&answer, |shop| {
        let held = shop["goes_on"].as_u64().unwrap_or_default();
        Some(match held {
            0 => format!("{name} goes on; no write was held that goes on with it"),
            1 => format!("{name} goes on; 1 held write is made now"),
            _ => format!("{name} goes on; {held} held writes are made now, in the order of their lanes"),
        })
    });
    Ok(ExitCode::SUCCESS)
}

impl Which {
    async fn tell(&self, what: &str, body: &Json) -> anyhow::Result<Json> {
        let shop: Vec<_> = self.shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect();
        let place = ["v1", "rules", self.rule.as_deref().unwrap_or("*"), what];
        self.server.tell(&place, &shop, body).await
    }

    /// Says of each shop what came of it, and what is paused in it now.
    fn say(&self, answer: &Json, came: impl Fn(&Json) -> Option<String>) {
        if self.json {
            say(pretty(answer));
            return;
        }
        for shop in answer["shops"].as_array().into_iter().flatten() {
            let name = cell(shop, "shop");
            let lines = came(shop).into_iter().chain(paused(shop));
            lines.for_each(|line| say(format_args!("{name}: {line}")));
        }
    }
}

/// What is paused in a shop, a line each.
fn paused(shop: &Json) -> Vec<String> {
    shop["paused"].as_array().into_iter().flatten().map(sentence).collect()
}

/// A pause: since when, by whom, why, what it holds, and how it ends.
pub(super) fn sentence(pause: &Json) -> String {
    let [rule, by, because] = ["rule", "by", "because"].map(|name| cell(pause, name));
    let since = moment(&pause["since"]);
    let because = if because.is_empty() { String::new() } else { format!(": {because}") };
    let held = match pause["held"].as_u64().unwrap_or_default() {
        0 => "no write held so far".to_owned(),
        1 => "1 write held".to_owned(),
        many => format!("{many} writes held"),
    };
    let (name, resume) = match rule.as_str() {
        "*" => ("every rule is paused".to_owned(), "--all".to_owned()),
        rule => (format!("`{rule}` is paused"), rule.to_owned()),
    };
    format!("{name} since {since} by {by}{because}; {held}; `storehand rules resume {resume}` lifts it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_says_since_when_by_whom_why_and_how_it_ends() {
        let pause = |rule: &str, held: u64, because: &str| json!({ "rule": rule, "since": "2026-11-23T09:00:00Z", "by": "ana", "because": because, "held": held });
        let shop = json!({ "shop": "acme", "paused": [pause("*", 0, ""), pause("greet", 2, "too many mails")] });
        let lines = paused(&shop);
        assert_eq!(
            lines,
            [
                "every rule is paused since 2026-11-23T09:00:00Z by ana; no write held so far; `storehand rules resume \
                 --all` lifts it",
                "`greet` is paused since 2026-11-23T09:00:00Z by ana: too many mails; 2 writes held; `storehand rules \
                 resume greet` lifts it",
            ]
        );
    }
}
