//! `storehand rules backtest`: what a rule would have done, over past events, with nothing leaving the building.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::archive::{self, from_file};
use super::events::pretty;
use super::{Global, Hinted, say};
use crate::app;
use crate::domain::{Clock as _, SystemClock};
use crate::engine::backtest::{Question, Reached, Report, backtest, pages_at_once};
use crate::store::Archive;

mod told;

/// `storehand rules backtest`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  storehand rules backtest rules/big-order.yaml --since 30d            what this file would have done
  storehand rules backtest rules/big-order.yaml --against live         and where that differs from what is live
  storehand rules backtest big-order --since 2026-11-01 --json         what the live version did and would have done

Reads the store's file beside a running server and changes nothing in it. Exit code 1: a run failed, or with
--against an event comes out otherwise.")]
pub(super) struct BacktestArgs {
    /// A rule file, or the id of a rule: its live version
    #[arg(value_name = "RULE|FILE")]
    rule: String,
    /// From when: how long ago (30d, 12h), a time of day, a day, or both
    #[arg(long, default_value = "30d", value_name = "WHEN")]
    since: String,
    /// Until when [default: now]
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Another version to hold it against: `live`, `shadow`, `previous`, or the beginning of a version's name
    #[arg(long, value_name = "VERSION")]
    against: Option<String>,
    /// Ask the language model in this process where an answer is not on record, never an upstream; slow
    #[arg(long)]
    with_model: bool,
    /// The shop, where the configuration has several
    #[arg(long)]
    shop: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Show so many events that come out otherwise
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit_shown: u16,
}

pub(super) async fn run(args: BacktestArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load_to_look()?;
    let shop = archive::shop(&config, args.shop.as_deref())?;
    let settings = &config.shops[shop];
    let registry = if args.with_model {
        app::unconnected_with_model(&config).await?
    } else {
        app::unconnected_with_plugins(&config)?
    };
    let archive = Archive::open(&config.store.file, pages_at_once() as u32 + 1).await?;

    let zone = TimeZone::get(&settings.time_zone).context("the shop's time zone")?;
    let now = SystemClock.now();
    let moment = |text: &str| {
        app::moment(text, now, &zone).map_err(|error| Hinted::new(error.to_string(), app::NotAMoment::HINT))
    };
    let since = moment(&args.since)?;
    let until = args.until.as_deref().map_or(Ok(now), moment)?;
    if since >= until {
        return Err(Hinted::new("--since is not before --until", "there is no time between them").into());
    }
    let (rule, name) = match file(&args.rule) {
        Some(path) => (from_file(&path, &config, shop, &registry)?, path.display().to_string()),
        None => (archive::named(&archive, shop, (&args.rule, "live"), &registry).await?, "live".to_owned()),
    };
    let against = match args.against.as_deref() {
        None => None,
        Some(name) => Some((archive::named(&archive, shop, (&rule.id, name), &registry).await?, name.to_owned())),
    };
    let names: Vec<String> = std::iter::once(name).chain(against.iter().map(|(_, name)| name.clone())).collect();
    let question = Question {
        shop: shop.clone(),
        rule,
        against: against.map(|(rule, _)| rule),
        since,
        until,
        now,
        shown: args.limit_shown.into(),
        model: args.with_model.then(|| Arc::new(app::unconnected_shop(shop, settings))),
    };
    let bar = Bar::new();
    let report = backtest(&archive, &registry, question, &mut |reached| bar.show(reached)).await?;
    bar.0.finish_and_clear();
    if args.json {
        say(pretty(&json!(report)));
    } else {
        say(told::text(&report, &names, &zone));
    }
    Ok(if is_good(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether nothing was found that somebody should look at.
fn is_good(report: &Report) -> bool {
    let failed = report.sides.first().is_some_and(|side| !side.failures.is_empty());
    !failed && report.differing.as_ref().is_none_or(|differing| differing.count == 0)
}

/// The path, where a file is meant: one that is there, or what looks like one.
fn file(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let looks_like_one = text.contains(std::path::MAIN_SEPARATOR) || text.ends_with(".yaml") || text.ends_with(".yml");
    (looks_like_one || path.is_file()).then(|| path.to_owned())
}

/// Progress, on a terminal only.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(1000);
        let style = ProgressStyle::with_template("{wide_bar} {percent}% {msg} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    fn show(&self, reached: Reached) {
        self.0.set_position((reached.part * 1000.0) as u64);
        let per_second = reached.events as f64 / self.0.elapsed().as_secs_f64().max(0.001);
        self.0.set_message(format!("{} events, {per_second:.0}/s", reached.events));
    }
}

/// A moment as people of this zone read it, to the minute.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}
