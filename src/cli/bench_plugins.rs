//! `storehand bench plugins`: the same order rule as Rust, as conditions in Rhai, as a plugin whose instance is made anew
//! each time, as every run has it, and as one whose instance is kept, which no run has; each from JSON to its verdict.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{out, say};
use crate::app;
use crate::domain::{Answer, AskOptions, Asked, Door, Event, EventId, Facts, Program, ProgramDoor, Ran, Records, Task};
use crate::plugins::{Grants, Host, Metering, Plugin, Plugins, Pooling, Reused};
use crate::rules::{self, Match, Rule, matches};

/// The rule, as the plugin has it.
#[path = "../../plugins/bench-rule/src/rule.rs"]
mod rule;

/// The same as conditions.
const CONDITIONS: &str = r#"
id: bench
status: live
triggers: [{ event: order.created }]
conditions:
  - order.total > money("50 EUR")
  - not: '"fraud" in order.customer.tags'
  - order.lines.any(|line| line.quantity > 6 && line.unit_price < money("50 EUR"))
steps: [{ uses: log, with: { message: big } }]
"#;

/// `storehand bench plugins`
#[derive(Debug, Args)]
pub(super) struct PluginsBench {
    /// The folder of the plugin, as `plugins/build.sh` has built it
    #[arg(long, default_value = "plugins/bench-rule", value_name = "FOLDER")]
    folder: PathBuf,
    /// How long each way is measured, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
}

/// One way of judging an order, given as JSON: whether it is a big one.
type Way<'w> = Box<dyn Fn(&str) -> anyhow::Result<bool> + Sync + 'w>;

impl PluginsBench {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let order = order();
        let host = Host::new(Metering::Off, Pooling::Probe)?;
        let pool = if host.is_pooled() { "a pool" } else { "no pool" };
        let (plugin, _) = Plugin::from_folder(&host, &self.folder).with_context(|| {
            format!("the plugin in {}\n  hint: `plugins/build.sh bench-rule` builds it", self.folder.display())
        })?;
        let plugin = Arc::new(plugin);
        let ways: [(&str, Way<'_>); 4] = [
            ("Rust", Box::new(|text| Ok(rule::tag(&serde_json::from_str::<Json>(text)?).is_some()))),
            ("conditions (Rhai)", conditions()?),
            ("plugin, fresh instance", fresh(host.clone(), plugin.clone())?),
            ("plugin, reused instance", reused(&host, &plugin)?),
        ];
        say(format_args!("an order of {} bytes, {} s each, {pool}", order.len(), self.seconds));
        let mut rows = Vec::new();
        for (name, way) in &ways {
            anyhow::ensure!(way(&order)?, "{name} judges otherwise");
            for threads in [1, 2] {
                let measured = measured(way, &order, threads, Duration::from_secs(self.seconds.into()))?;
                let us = |at: f64| format!("{:.1}", measured.at(at).as_secs_f64() * 1e6);
                rows.push(vec![
                    (*name).to_owned(),
                    threads.to_string(),
                    us(0.5),
                    us(0.99),
                    format!("{:.0}", measured.rate),
                ]);
            }
        }
        say(out::table(&["WAY", "THREADS", "P50 µs", "P99 µs", "A SECOND"], &rows));
        Ok(())
    }
}

/// What was measured on some threads.
struct Measured {
    /// Of all threads, sorted.
    times: Vec<Duration>,
    rate: f64,
}

impl Measured {
    fn at(&self, part: f64) -> Duration {
        let at = (self.times.len().saturating_sub(1)) as f64 * part;
        self.times.get(at as usize).copied().unwrap_or_default()
    }
}

fn measured(way: &Way<'_>, order: &str, threads: usize, length: Duration) -> anyhow::Result<Measured> {
    let began = Instant::now();
    let work = || -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        while began.elapsed() < length {
            let at = Instant::now();
            std::hint::black_box(way(std::hint::black_box(order))?);
            times.push(at.elapsed());
        }
        Ok(times)
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|it| it.join().unwrap_or_else(|_| anyhow::bail!("a thread broke off")));
        joined.collect::<anyhow::Result<Vec<Vec<Duration>>>>()
    });
    let mut times = all?.concat();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Measured { times, rate })
}

fn conditions() -> anyhow::Result<Way<'static>> {
    let registry = app::unconnected()?;
    let read = rules::read(Path::new("bench.yaml"), CONDITIONS, &|_| Ok(String::new()), registry.catalog());
    let rule: Rule = read.rule.context("the bench's own rule is wrong")?;
    Ok(Box::new(move |text| Ok(matches!(matches(&rule, &facts(serde_json::from_str(text)?)?), Match::Holds))))
}

fn fresh(host: Host, plugin: Arc<Plugin>) -> anyhow::Result<Way<'static>> {
    let plugins = Plugins::of_shared(host, vec![plugin], Grants::default());
    let capability = plugins.capabilities(&|_| false).into_iter().next().context("it has no capability")?;
    let program: Arc<dyn Program> =
        capability.program(None).context("it is no program")?.map_err(anyhow::Error::new)?;
    let (name, facts) = (capability.spec().name, facts(Records::default())?);
    Ok(Box::new(move |text| {
        let input = serde_json::from_str(text)?;
        let task = Task { capability: name, input: &input, facts: &facts, seed: [0; 32] };
        match program.run(&task, Box::new(Closed)) {
            Ran::Answered(Answer::Done(answer)) => Ok(!answer["tag"].is_null()),
            other => anyhow::bail!("the plugin: {other:?}"),
        }
    }))
}

/// Each thread takes an instance out of those that are there, and puts it back.
fn reused<'w>(host: &'w Host, plugin: &'w Plugin) -> anyhow::Result<Way<'w>> {
    let kept = Mutex::new(Vec::<Reused<'w>>::new());
    let facts = facts(Records::default())?;
    let name = plugin.manifest.capabilities.first().context("it has no capability")?.name.as_str();
    Ok(Box::new(move |text| {
        let input = serde_json::from_str(text)?;
        let there = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut instance = there.map_or_else(|| Reused::start(host, plugin), Ok)?;
        let answer = instance.answer(name, &input, &facts)?;
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        Ok(!answer["tag"].is_null())
    }))
}

/// A door that the rule does not need.
struct Closed;

impl Door for Closed {
    fn ask(&mut self, _: &str, _: &str, _: Json, _: AskOptions) -> Asked {
        Asked::NotYet
    }
}

impl ProgramDoor for Closed {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn facts(records: Records) -> anyhow::Result<Facts> {
    let (records, now) = (Arc::new(records), Timestamp::UNIX_EPOCH);
    let event = Event {
        id: EventId(1),
        shop: "bench".parse()?,
        source: "/bench".into(),
        kind: "order.created".into(),
        topic: "orders/create".into(),
        subject: "order/1042".into(),
        time: now,
        received: now,
        records: records.clone(),
        mentions: Vec::new(),
        late: false,
        echo: None,
    };
    Ok(Facts { event: Arc::new(event), context: records, missing: Vec::new(), inputs: Arc::default(), now })
}

/// An order of some 8 KB.
fn order() -> String {
    let line = |i: i64| {
        json!({
            "id": format!("8209829119461545{i:02}"), "product_id": "632910392", "variant_id": "808950810",
            "sku": format!("TEA-{i}"), "quantity": i % 8, "unit_price": "19.99 EUR", "total": "199.90 EUR",
            "name": "Green tea from the first harvest, loose leaves, in a tin that keeps it fresh for a year or more",
        })
    };
    let customer = json!({ "id": "115", "email": "ana@example.com", "name": "Ana Lima", "tags": ["vip"] });
    let order = json!({
        "id": "820982911946154508", "number": "1042", "name": "#1042", "status": "open", "currency": "EUR",
        "total": "2249.50 EUR", "tags": ["first", "gift"], "customer": customer,
        "lines": (0..28).map(line).collect::<Vec<_>>(), "created_at": "2026-11-20T10:00:00Z",
    });
    json!({ "order": order }).to_string()
}
