//! `storehand bench …`: figures of this machine, for whoever wants to know what it can take.
//!
//! The load comes from a child process of the same program, so that what the server costs is what this process
//! costs. Everything stays on this machine, and is bounded in number and time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bench_backtest::{self, BacktestBench};
use super::bench_engine::{self, EngineBench};
use super::bench_model::{self, ModelBench};
use super::bench_plugins::PluginsBench;
use super::load::{self, Measured};
use super::{Global, out, say};
use crate::app::{App, Instead};
use crate::config::Config;
use crate::http;
use crate::store::Store;

/// `storehand bench`
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How many signed deliveries a second are on disk before they are answered
    Intake(Intake),
    /// How many events a second go from a delivery to a finished run, with 10, 100 and 1,000 rules
    Engine(EngineBench),
    /// How many past events a second a backtest goes through
    Backtest(BacktestBench),
    /// How fast the language model reads and writes, alone and for many
    Model(ModelBench),
    /// What an order rule costs as Rust, as a rule's conditions, and as a plugin
    Plugins(PluginsBench),
}

#[derive(Clone, Debug, Args)]
struct Intake {
    /// Connections at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// How long each way is measured, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
    /// Where the data is written meanwhile: the disk that counts. It is removed again
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
    /// Be the load instead: send to this address
    #[arg(long, hide = true)]
    load: Option<SocketAddr>,
}

/// How long the engine may take for what is left when the load has ended.
const CATCH_UP: Duration = Duration::from_secs(60);

pub(super) async fn run(args: BenchArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let args = match args.verb {
        Verb::Intake(args) => args,
        Verb::Engine(args) => return bench_engine::run(&args).await.map(|()| ExitCode::SUCCESS),
        Verb::Model(args) => return bench_model::run(&args, global).await.map(|()| ExitCode::SUCCESS),
        Verb::Plugins(args) => return args.run().map(|()| ExitCode::SUCCESS),
        Verb::Backtest(args) => return bench_backtest::run(&args).await.map(|()| ExitCode::SUCCESS),
    };
    match args.load {
        Some(address) => {
            let measured = load::send(address, args.connections, Duration::from_secs(args.seconds.into())).await?;
            say(serde_json::to_string(&measured)?);
        }
        None => args.compare().await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One way of taking deliveries, and what it came to.
struct Way {
    name: &'static str,
    measured: Measured,
    /// CPU time of this process for one request, in microseconds, until every event was worked on; `None` where the
    /// system does not tell.
    cpu_us: Option<f64>,
    /// How many of the events had been worked on when the last one was answered, of 1: they are answered once they are
    /// on disk. `None` where none is kept.
    worked: Option<f64>,
}

impl Intake {
    async fn compare(&self) -> anyhow::Result<()> {
        let scratch = Scratch::make(&self.folder)?;
        say(format_args!(
            "signed Shopify orders of {} bytes, {} connections, {} s each, data in {}",
            load::order().len(),
            self.connections,
            self.seconds,
            scratch.0.display()
        ));
        let ways = [
            self.floor().await?,
            self.kept("one transaction a request", &scratch.0.join("single"), 1).await?,
            self.kept("group commit", &scratch.0.join("group"), 256).await?,
        ];
        say(table(&ways));
        Ok(())
    }

    /// The server itself, when nothing is checked and nothing is kept.
    async fn floor(&self) -> anyhow::Result<Way> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let limits =
            http::Limits { connections: 2048, head_timeout: Duration::from_secs(10), grace: Duration::from_secs(5) };
        let serving = tokio::spawn(http::serve(listener, http::bare(), limits, stop.clone()));
        let way = self.measure("axum alone, nothing kept", address, None).await;
        stop.cancel();
        serving.await??;
        way
    }

    /// All of Storehand, without rules.
    async fn kept(&self, name: &'static str, folder: &Path, group: usize) -> anyhow::Result<Way> {
        std::fs::create_dir_all(folder.join("rules"))?;
        let config = Config::read(
            Some((&folder.join("bench.toml"), &settings(group))),
            &std::collections::BTreeMap::new(),
            &["shopify"],
        )?;
        let app = App::start(&config, Instead::default()).await?;
        let way = self.measure(name, app.address, Some(&app.store)).await;
        let kept = app.store.count_events().await;
        app.stop().await;
        let (way, kept) = (way?, kept?);
        anyhow::ensure!(kept >= way.measured.requests, "{} were answered and {kept} kept", way.measured.requests);
        Ok(way)
    }

    async fn measure(&self, name: &'static str, address: SocketAddr, store: Option<&Store>) -> anyhow::Result<Way> {
        let before = cpu_us();
        let mut load = Command::new(std::env::current_exe()?);
        load.args(["bench", "intake", "--load", &address.to_string()])
            .args(["--connections", &self.connections.to_string(), "--seconds", &self.seconds.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        // It ends by itself: it has its own limit of time.
        let output = tokio::task::spawn_blocking(move || load.output()).await?;
        let output = output.context("the load could not be started")?;
        anyhow::ensure!(output.status.success(), "the load failed");
        let measured: Measured = serde_json::from_slice(&output.stdout).context("the load said nothing sensible")?;
        anyhow::ensure!(measured.requests > 0, "no delivery was answered");
        let worked = match store {
            Some(store) => Some(1.0 - catch_up(store).await? as f64 / measured.requests as f64),
            None => None,
        };
        let spent = before.zip(cpu_us()).map(|(before, after)| after - before);
        Ok(Way { name, cpu_us: spent.map(|us| us / measured.requests as f64), worked, measured })
    }
}

/// Waits until every event was worked on, and says how many were left.
async fn catch_up(store: &Store) -> anyhow::Result<u64> {
    let (left, began) = (store.count_unmatched().await?, Instant::now());
    while store.count_unmatched().await? > 0 {
        anyhow::ensure!(began.elapsed() < CATCH_UP, "after {CATCH_UP:?} there were still events to be worked on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(left)
}

fn settings(group: usize) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\ngroup = {group}\n[model]\nenabled = \"off\"\n\
         [shop.bench]\ncurrency = \"EUR\"\n[shop.bench.sources.shopify]\nsecrets = [\"{}\"]\n",
        load::SECRET
    )
}

fn table(ways: &[Way]) -> String {
    let base = ways.iter().find(|way| way.name.starts_with("one ")).map(|way| way.measured.per_second());
    let row = |way: &Way| {
        let rate = way.measured.per_second();
        vec![
            way.name.to_owned(),
            format!("{rate:.0}"),
            format!("{:.1}", f64::from(way.measured.p50_us) / 1000.0),
            format!("{:.1}", f64::from(way.measured.p99_us) / 1000.0),
            way.cpu_us.map_or_else(String::new, |us| format!("{us:.0}")),
            base.map_or_else(String::new, |base| format!("{:.1}", rate / base)),
            way.worked.map_or_else(String::new, |worked| format!("{:.0} %", 100.0 * worked)),
            way.measured.refused.to_string(),
        ]
    };
    let head = [
        "WAY",
        "REQUESTS/S",
        "P50 MS",
        "P99 MS",
        "CPU US/REQUEST",
        "TIMES ONE TRANSACTION",
        "WORKED ON BY THEN",
        "REFUSED",
    ];
    out::table(&head, &ways.iter().map(row).collect::<Vec<_>>())
}

/// CPU time that this process has had, in microseconds. Linux counts it in hundredths of a second.
pub(super) fn cpu_us() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold blanks; counted are the words behind it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: f64 = words.next()?.parse::<f64>().ok()? + words.next()?.parse::<f64>().ok()?;
    Some(ticks * 10_000.0)
}

/// A folder that is removed again.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn make(within: &Path) -> anyhow::Result<Self> {
        let folder = within.join(format!("storehand-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_goes_up() {
        let Some(before) = cpu_us() else { return };
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_us().is_some_and(|after| after > before));
    }

    #[test]
    fn ratios_are_to_one_transaction_a_request() {
        let way = |name, requests| Way {
            name,
            measured: Measured { requests, refused: 0, seconds: 2.0, p50_us: 1500, p99_us: 12_340 },
            cpu_us: Some(80.4),
            worked: Some(0.987),
        };
        let text = table(&[way("one transaction a request", 200), way("group commit", 1000)]);
        let last: Vec<&str> = text.lines().last().expect("line").split_whitespace().collect();
        assert_eq!(last, ["group", "commit", "500", "1.5", "12.3", "80", "5.0", "99", "%", "0"]);
    }
}
