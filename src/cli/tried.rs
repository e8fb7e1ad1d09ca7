//! `storehand rules test PATH --events …`: what rules make of single events on record.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr as _;
use std::sync::Arc;

use serde_json::json;

use super::archive::{self, from_file};
use super::events::pretty;
use super::out::shortened;
use super::{Global, Hinted, say};
use crate::app;
use crate::domain::{Answer, Clock as _, EventId, ShopId, SystemClock};
use crate::engine::backtest::{Came, Tried, TriedCall, try_on};
use crate::rules::{self, Rule};
use crate::store::Archive;

/// The most characters of an input or an answer.
const MOST: usize = 160;

/// Tries the rules in these files on these events; 1 where a run failed.
pub(super) async fn run(
    paths: &[PathBuf],
    events: &[String],
    (shop, as_json): (Option<&str>, bool),
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let config = global.load_to_look()?;
    let shop = archive::shop(&config, shop)?;
    let registry = app::unconnected_with_plugins(&config)?;
    let archive = Archive::open(&config.store.file, 1).await?;
    let events = events.iter().map(|text| id(text, shop)).collect::<Result<Vec<_>, _>>()?;
    let loaded = rules::load(paths, registry.catalog());
    let files = loaded.rules.iter().map(|rule| rule.file.clone()).collect::<Vec<_>>();
    drop(loaded);
    let mut all = Vec::new();
    for file in files {
        let rule = from_file(&file, &config, shop, &registry)?;
        for event in &events {
            let tried = try_on(&archive, &registry, shop, &rule, *event, SystemClock.now()).await?;
            let tried = tried.ok_or_else(|| unknown(*event, shop))?;
            // Of many rules, those that listen are meant.
            if paths.contains(&file) || tried.came != Came::NotHeard {
                all.push((rule.clone(), tried));
            }
        }
    }
    if as_json {
        let one = |(rule, tried): &(Arc<Rule>, Tried)| {
            let mut one = json!(tried);
            (one["rule"], one["version"], one["file"]) = (json!(rule.id), json!(rule.version), json!(rule.file));
            one
        };
        say(pretty(&json!({ "tried": all.iter().map(one).collect::<Vec<_>>() })));
    } else if all.is_empty() {
        say("no rule in these files listens to these events");
    } else {
        say(all.iter().map(|(rule, tried)| text(rule, tried)).collect::<Vec<_>>().join("\n\n"));
    }
    let failed = |tried: &Tried| matches!(&tried.came, Came::Ran { failure: Some(_), .. });
    let good = !all.iter().any(|(_, tried)| failed(tried));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn id(text: &str, shop: &ShopId) -> Result<EventId, Hinted> {
    EventId::from_str(text.trim()).map_err(|error| Hinted::new(error.to_string(), how_to_list(shop)))
}

fn unknown(event: EventId, shop: &ShopId) -> Hinted {
    Hinted::new(format!("the shop `{shop}` has no event {event} on record"), how_to_list(shop))
}

fn how_to_list(shop: &ShopId) -> String {
    format!("`storehand events list --shop {shop}` lists events with their ids")
}

fn text(rule: &Rule, tried: &Tried) -> String {
    let mut lines = vec![format!("{} on {} {} {}", rule.file.display(), tried.event, tried.kind, tried.subject)];
    match &tried.came {
        Came::NotHeard => lines.push("  does not listen to it".into()),
        Came::NeverMatched => lines.push("  was not matched yet: try again when the server has".into()),
        Came::NotMatched(why) => {
            let mut saw: Vec<String> = why.saw.iter().map(|(name, value)| format!("{name} was {value}")).collect();
            saw.extend(why.error.clone());
            lines.push(format!("  does not match: line {}: {}", why.line, why.clause));
            lines.extend(saw.into_iter().map(|saw| format!("    {saw}")));
        }
        Came::Ran { because, calls, end, failure } => {
            let because = if because.is_empty() { "it has no conditions".into() } else { because.join("; ") };
            lines.push(format!("  matches: {because}"));
            let wide = calls.iter().map(|call| call.path.len()).max().unwrap_or(0);
            for call in calls {
                lines.push(format!("  {:wide$}  {} {}", call.path, call.uses, shortened(&call.with.to_string(), MOST)));
                lines.push(format!("  {:wide$}    {}", "", answered(call)));
            }
            let why = failure.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            lines.push(format!("  {end}{why}"));
        }
    }
    lines.join("\n")
}

fn answered(call: &TriedCall) -> String {
    let by = match call.answered_by {
        "record" => " (on record)",
        "example" => " (not on record: the capability's example)",
        _ => "",
    };
    match &call.answer {
        None => format!("waits until {}", call.answered.strftime("%Y-%m-%d %H:%M:%S UTC")),
        Some(Answer::Failed(failure)) => format!("failed: {failure}{by}"),
        Some(Answer::Done(answer)) if call.answered_by == "clock" => {
            let empty = answer.as_object().is_some_and(serde_json::Map::is_empty);
            let with = if empty { String::new() } else { format!(" {}", shortened(&answer.to_string(), MOST)) };
            format!("goes on at {}{with}", call.answered.strftime("%Y-%m-%d %H:%M:%S UTC"))
        }
        Some(Answer::Done(answer)) => format!("answered {}{by}", shortened(&answer.to_string(), MOST)),
    }
}
