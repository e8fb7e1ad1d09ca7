//! `storehand bench engine`: how many events a second go all the way, from a signed delivery to a run that has made its
//! write and is done, everything on disk before it is acted on; beside what this disk can do at all.
//!
//! The write goes to a counter in this process and takes no time, so that the figure is the engine's own.

use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::bench::Scratch;
use super::load::{self, SECRET};
use super::{out, say};
use crate::capabilities;
use crate::domain::{
    Attempt, Capability, Delivery, Fuses, IdMaker, Kind, NewEvent, Repeat, Secret, Secrets, Shop, ShopId, Spec,
    SystemClock, Verdict,
};
use crate::engine::{self, Engine, Registry};
use crate::rules::{self, Rule, RuleSet};
use crate::shops;
use crate::shops::signature::sign_shopify;
use crate::store::{self, Store};

#[derive(Clone, Debug, Args)]
pub(super) struct EngineBench {
    /// Events of each way
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    events: u32,
    /// Deliveries that are accepted at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    at_once: u16,
    /// Where the data is written meanwhile: the disk that counts. It is removed again
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes that are made at the same time (`engine.workers`). They take no time here, so a few would have the engine wait
/// for its own next turn.
const ATTEMPTS: usize = 256;

/// How long the disk's own figures are taken.
const DISK: Duration = Duration::from_secs(1);

/// A rule that acts, with so many writes one after another.
fn acting(writes: usize) -> String {
    let steps = "  - { uses: bench.write, with: {} }\n".repeat(writes);
    format!(
        "id: acts\nstatus: live\ntriggers: [{{ event: order.created }}]\nconditions:\n  - order.total >= money(\"100 \
         EUR\")\n  - not: '\"wholesale\" in customer.tags'\nallow: [bench.write]\nsteps:\n{steps}"
    )
}

/// A rule that listens to the same events and does not run on these.
fn listening(number: usize) -> String {
    format!(
        "id: listens-{number}\nstatus: live\ntriggers: [{{ event: order.created }}]\nconditions:\n  - order.currency == \
         \"EUR\"\n  - order.total > money(\"{} EUR\")\nallow: [bench.write]\nsteps:\n  - {{ uses: bench.write, with: {{}} \
         }}\n",
        1000 + number
    )
}

pub(super) async fn run(args: &EngineBench) -> anyhow::Result<()> {
    let scratch = Scratch::make(&args.folder)?;
    say(format_args!(
        "{} signed orders of {} bytes a way, {} at once, {ATTEMPTS} writes at once, data in {}",
        args.events,
        load::order().len(),
        args.at_once,
        scratch.0.display()
    ));
    let syncs = syncs(&scratch.0.join("disk"))?;
    let commits = commits(&scratch.0.join("commits.db")).await?;
    say(format_args!("this disk: {syncs:.0} synced writes/s; the store: {commits:.0} commits/s of one event each"));
    let mut rows = Vec::new();
    for (rules, writes) in [(10, 1), (100, 1), (1000, 1), (10, 3)] {
        let way = args.measure(&scratch.0.join(format!("{rules}-{writes}.db")), rules, writes).await?;
        let rate = way.events / way.seconds;
        rows.push(vec![
            rules.to_string(),
            writes.to_string(),
            format!("{rate:.0}"),
            format!("{:.0}", rate * writes as f64),
            format!("{:.1}", rate / commits),
            way.cpu_us.map_or_else(String::new, |us| format!("{:.0}", us / way.events)),
            way.memory_mb.map_or_else(String::new, |mb| format!("{mb:.0}")),
        ]);
    }
    let head = ["RULES", "STEPS", "EVENTS/S", "WRITES/S", "TIMES ONE COMMIT AN EVENT", "CPU US/EVENT", "RESIDENT MB"];
    say(out::table(&head, &rows));
    Ok(())
}

/// What one way came to.
struct Way {
    events: f64,
    seconds: f64,
    /// CPU time of this process in all, in microseconds.
    cpu_us: Option<f64>,
    memory_mb: Option<f64>,
}

impl EngineBench {
    async fn measure(&self, file: &Path, many: usize, writes: usize) -> anyhow::Result<Way> {
        let counter = Arc::new(AtomicU64::new(0));
        let mut all = capabilities::all(capabilities::Deps::default());
        all.push(Arc::new(Counts::new(counter.clone())));
        let registry = Arc::new(Registry::new(all).map_err(anyhow::Error::msg)?);
        let texts = (1..many).map(listening).chain([acting(writes)]);
        let rules = texts.map(|text| rule(&text, &registry)).collect::<anyhow::Result<Vec<_>>>()?;
        let store = Store::open(&store::Settings::at(file)).await?;
        let shop = shop()?;
        let id = shop.id.clone();
        let engine = Engine::start(engine::Parts {
            store: store.clone(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(IdMaker::new(1)),
            shops: vec![(Arc::new(shop), Arc::new(RuleSet::new(rules, registry.catalog())))],
            registry,
            settings: engine::Settings { attempts_at_once: ATTEMPTS, ..engine::Settings::default() },
        });
        let engine = Arc::new(engine.await?);
        let order: Arc<str> = String::from_utf8(load::order())?.into();
        let (next, last) = (Arc::new(AtomicU64::new(0)), u64::from(self.events));
        let (cpu, began) = (super::bench::cpu_us(), Instant::now());
        let mut accepting = JoinSet::new();
        for _ in 0..self.at_once {
            let (engine, id, next, order) = (engine.clone(), id.clone(), next.clone(), order.clone());
            accepting.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= last {
                        return anyhow::Ok(());
                    }
                    engine.accept(&id, "shopify", delivery(&order, number)?).await?;
                }
            });
        }
        while let Some(one) = accepting.join_next().await {
            one??;
        }
        engine.idle().await;
        let seconds = began.elapsed().as_secs_f64();
        let cpu_us = cpu.zip(super::bench::cpu_us()).map(|(before, after)| after - before);
        let memory_mb = resident_mb();
        let wanted = last * writes as u64;
        let made = counter.load(Ordering::Relaxed);
        engine.shutdown(Duration::from_secs(10)).await;
        anyhow::ensure!(made == wanted, "{made} writes were made, and {wanted} were due");
        Ok(Way { events: last as f64, seconds, cpu_us, memory_mb })
    }
}

pub(super) fn rule(text: &str, registry: &Registry) -> anyhow::Result<Arc<Rule>> {
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let read = rules::read(Path::new("bench.yaml"), text, &none, registry.catalog());
    let found = read.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    read.rule.map(Arc::new).with_context(|| format!("a rule of the benchmark is wrong: {found}"))
}

fn shop() -> anyhow::Result<Shop> {
    Ok(Shop {
        id: "bench".parse::<ShopId>()?,
        display_name: "Bench".into(),
        platform: None,
        mailer: None,
        languages: vec!["en".into()],
        currency: "EUR".parse()?,
        time_zone: "UTC".into(),
        low_stock: BTreeMap::new(),
        low_stock_default: None,
        secrets: BTreeMap::new(),
        private_hosts: Vec::new(),
        fuses: Fuses::default(),
        keep: None,
    })
}

/// The events of a signed order of this number.
fn delivery(order: &str, number: u64) -> anyhow::Result<Vec<NewEvent>> {
    let id = format!("{:018}", 820_000_000_000_000_000_u64 + number);
    let body = order.replacen("820982911946154508", &id, 1).into_bytes();
    received(id, &body)
}

/// The events of an order that a shop has signed, checked and read as the server does it.
pub(super) fn received(id: String, body: &[u8]) -> anyhow::Result<Vec<NewEvent>> {
    let header = |name: &str, value: String| (name.to_owned(), value);
    let headers = [
        header("x-shopify-topic", "orders/create".to_owned()),
        header("x-shopify-hmac-sha256", sign_shopify(&Secret::new(SECRET), body)),
        header("x-shopify-webhook-id", id),
    ];
    let delivery = Delivery { headers: &headers, query: &[], method: "POST", body, received: Timestamp::now() };
    let source = shops::source("shopify").context("there is no Shopify")?;
    Ok(source.receive(delivery, &Secrets::new([Secret::new(SECRET)]))?.events)
}

/// Writes of 4 KiB that are on disk, one after another.
fn syncs(file: &Path) -> anyhow::Result<f64> {
    let mut file = std::fs::File::create(file)?;
    let (page, began, mut done) = ([7_u8; 4096], Instant::now(), 0_u32);
    while began.elapsed() < DISK {
        file.rewind()?;
        file.write_all(&page)?;
        file.sync_data()?;
        done += 1;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

/// Events accepted one after another, each in a commit of its own.
async fn commits(file: &Path) -> anyhow::Result<f64> {
    let store = Store::open(&store::Settings::at(file)).await?;
    let (ids, order) = (IdMaker::new(1), String::from_utf8(load::order())?);
    let (began, mut done) = (Instant::now(), 0_u64);
    while began.elapsed() < DISK {
        for new in delivery(&order, done)? {
            let now = Timestamp::now();
            store.accept(vec![engine::accept_as(new, &"bench".parse()?, &"/shopify/bench".into(), &ids, now)]).await?;
        }
        done += 1;
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    store.close().await;
    Ok(rate)
}

/// Memory of this process that is in use, in MB; `None` where the system does not tell.
pub(super) fn resident_mb() -> Option<f64> {
    let pages: f64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096.0 / 1e6)
}

/// A write that takes no time and is counted.
struct Counts {
    spec: Spec,
    made: Arc<AtomicU64>,
}

impl Counts {
    fn new(made: Arc<AtomicU64>) -> Self {
        let spec = Spec {
            doc: "Counts.",
            repeat: Repeat::Key,
            deadline: Duration::from_secs(5),
            ..Spec::of("bench.write", Kind::Write)
        };
        Self { spec, made }
    }
}

#[async_trait]
impl Capability for Counts {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    async fn perform(&self, _attempt: &Attempt, _input: &Json) -> Verdict {
        self.made.fetch_add(1, Ordering::Relaxed);
        Verdict::Done(json!({}))
    }
}
