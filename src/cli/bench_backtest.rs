//! `storehand bench backtest`: how many past events a second a rule is tried on, beside reading their rows and doing
//! nothing with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::bench::{Scratch, cpu_us};
use super::bench_engine::{received, rule};
use super::{load, out, say};
use crate::app;
use crate::domain::{Context, EventId, IdMaker, ShopId};
use crate::engine::backtest::{Question, backtest, pages_at_once};
use crate::engine::{Registry, accept_as};
use crate::rules::Rule;
use crate::store::{self, Archive, Changes, Matched, Span, Store};

#[derive(Clone, Debug, Args)]
pub(super) struct BacktestBench {
    /// Past events
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    events: u32,
    /// Where the data is written meanwhile. It is removed again
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
}

/// The first event; they come ten milliseconds apart.
const BEGIN: Timestamp = Timestamp::constant(1_793_000_000, 0);
const APART: Duration = Duration::from_millis(10);

/// Events written at a time.
const BATCH: u32 = 1000;

/// Of a hundred orders this one is over the limit of the rule that rarely runs.
const BIG: u32 = 42;

/// A rule over what most rules look at, with this limit.
fn rule_text(limit: u32) -> String {
    format!(
        "id: tries\nstatus: draft\ntriggers: [{{ event: order.created }}]\nconditions:\n  - order.total >= money(\"{limit} \
         EUR\")\n  - not: '\"wholesale\" in customer.tags'\nallow: [order.tag]\nsteps:\n  - {{ uses: order.tag, with: {{ tags: \
         [big] }} }}\n"
    )
}

/// The same over the lines of an order, in a closure.
const LINES: &str = "
id: tries
status: draft
triggers: [{ event: order.created }]
conditions: ['order.lines.any(|line| line.quantity > 90 && line.unit_price > money(\"5 EUR\"))']
allow: [order.tag]
steps: [{ uses: order.tag, with: { tags: [many] } }]
";

pub(super) async fn run(args: &BacktestBench) -> anyhow::Result<()> {
    let scratch = Scratch::make(&args.folder)?;
    let file = scratch.0.join("past.db");
    let began = Instant::now();
    let bytes = seed(&file, args.events).await?;
    say(format_args!(
        "{} orders of {bytes} bytes as they are kept, written in {:.0} s; data in {}",
        args.events,
        began.elapsed().as_secs_f64(),
        scratch.0.display()
    ));
    let registry = app::unconnected()?;
    let archive = Archive::open(&file, pages_at_once() as u32 + 1).await?;
    // What the disk has to be asked for once is not what is measured.
    floor(&archive, args.events).await?;

    let read = rule(&rule_text(500), &registry)?;
    let (other, all, lines) =
        (rule(&rule_text(450), &registry)?, rule(&rule_text(1), &registry)?, rule(LINES, &registry)?);
    let ways = [
        floor(&archive, args.events).await?,
        args.tried("typed conditions, 1 of 100 matches", &archive, &registry, (read.clone(), None)).await?,
        args.tried("the same against another version", &archive, &registry, (read, Some(other))).await?,
        args.tried("a closure over an order's lines", &archive, &registry, (lines, None)).await?,
        args.tried("every event runs and writes", &archive, &registry, (all, None)).await?,
    ];
    let base = ways[0].events_a_second;
    let row = |way: &Way| {
        vec![
            way.name.to_owned(),
            format!("{:.0}", way.events_a_second),
            format!("{:.2}", way.events_a_second / base),
            way.cpu_us.map_or_else(String::new, |us| format!("{us:.1}")),
        ]
    };
    say(out::table(&["WAY", "EVENTS/S", "OF THE FLOOR", "CPU US/EVENT"], &ways.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

struct Way {
    name: &'static str,
    events_a_second: f64,
    /// CPU time of this process for one event, in microseconds.
    cpu_us: Option<f64>,
}

impl Way {
    fn new(name: &'static str, events: u32, began: Instant, cpu: Option<f64>) -> Self {
        let events = f64::from(events);
        let spent = cpu.zip(cpu_us()).map(|(before, after)| (after - before) / events);
        Self { name, events_a_second: events / began.elapsed().as_secs_f64(), cpu_us: spent }
    }
}

/// Reads the rows as a backtest does, and drops them.
async fn floor(archive: &Archive, events: u32) -> anyhow::Result<Way> {
    let (shop, kinds) = (shop()?, vec!["order.created".to_owned()]);
    let mut rest = Span { after: EventId(0), to: archive.newest().await? };
    let (cpu, began, mut read) = (cpu_us(), Instant::now(), 0);
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        while under_way.len() < pages_at_once()
            && let Some(page) = archive.next_page(rest, 1000).await?
        {
            rest.after = page.to;
            let (archive, shop, kinds) = (archive.clone(), shop.clone(), kinds.clone());
            under_way.spawn(async move { archive.events(&shop, &kinds, page).await.map(|rows| rows.len()) });
        }
        let Some(rows) = under_way.join_next().await else { break };
        read += rows??;
    }
    anyhow::ensure!(read == events as usize, "{read} of {events} rows were read");
    Ok(Way::new("reading the rows, nothing else", events, began, cpu))
}

impl BacktestBench {
    async fn tried(
        &self,
        name: &'static str,
        archive: &Archive,
        registry: &Arc<Registry>,
        (rule, against): (Arc<Rule>, Option<Arc<Rule>>),
    ) -> anyhow::Result<Way> {
        let question = Question {
            shop: shop()?,
            rule,
            against,
            since: BEGIN,
            until: Timestamp::MAX,
            now: Timestamp::MAX,
            shown: 20,
            model: None,
        };
        let (cpu, began) = (cpu_us(), Instant::now());
        let report = backtest(archive, registry, question, &mut |_| {}).await?;
        let way = Way::new(name, self.events, began, cpu);
        anyhow::ensure!(report.looked_at == u64::from(self.events), "{} were looked at", report.looked_at);
        anyhow::ensure!(report.unread.is_none(), "{:?}", report.unread);
        Ok(way)
    }
}

fn shop() -> anyhow::Result<ShopId> {
    Ok("bench".parse()?)
}

/// Writes past events, accepted and matched as the engine does it. Returns the size of one's records.
async fn seed(file: &Path, events: u32) -> anyhow::Result<usize> {
    let store = Store::open(&store::Settings::at(file)).await?;
    let (shop, ids) = (shop()?, IdMaker::new(1));
    let order = String::from_utf8(load::order())?;
    let source: Arc<str> = format!("/shopify/{shop}").into();
    let mut bytes = 0;
    for first in (0..events).step_by(BATCH as usize) {
        let mut accepts = Vec::with_capacity(BATCH as usize);
        for number in first..(first + BATCH).min(events) {
            let id = format!("{:018}", 820_000_000_000_000_000_u64 + u64::from(number));
            let total = if number % 100 == BIG { "900.00" } else { "399.00" };
            let body = order.replace("820982911946154508", &id).replacen("399.00", total, 1);
            let now = BEGIN.saturating_add(SignedDuration::try_from(APART * number)?)?;
            for new in received(id, body.as_bytes())? {
                accepts.push(accept_as(new, &shop, &source, &ids, now));
            }
        }
        bytes =
            accepts.first().map_or(bytes, |first| serde_json::to_vec(&*first.event().records).map_or(0, |it| it.len()));
        let matched = accepts.iter().map(|accept| Matched {
            event: accept.event().clone(),
            context: Arc::new(Context { records: accept.event().records.clone(), missing: Vec::new() }),
            listeners: Arc::default(),
            heard: Vec::new(),
            at: accept.event().received,
        });
        let changes = Changes { matched: matched.collect(), ..Changes::default() };
        store.accept(accepts).await?;
        store.commit(&shop, changes).await?;
    }
    store.close().await;
    Ok(bytes)
}
