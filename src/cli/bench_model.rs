//! `storehand bench model`: how fast the language model reads and writes on this machine, alone and for many.
//!
//! Everything goes through the model's own handle, as rules and the API use it. Figures of one run belong together:
//! on a machine that does other things as well, compare rows of one table, not tables.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::bench::cpu_us;
use super::bench_engine::resident_mb;
use super::bench_peer::{self, Peer};
use super::{Global, out, say};
use crate::app;
use crate::models::{ChatMessage, Generated, Model, Prompt, Request, Sampling, Settings, Stats};

/// `storehand bench model`
#[derive(Clone, Debug, Args)]
pub(super) struct ModelBench {
    /// Threads that compute
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Clients that ask at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// A python with llama-cpp-python: the same work on the GGUF file that the model was made of, beside it
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// That GGUF file, where it is not the default model's
    #[arg(long, value_name = "FILE", requires = "peer")]
    gguf: Option<PathBuf>,
}

/// Tokens that a prompt has where only reading is measured, and tokens that each row writes where only writing is.
pub(super) const READ_TOKENS: usize = 512;
pub(super) const WRITE_TOKENS: usize = 96;

/// Rows that write together.
pub(super) const BATCHES: [usize; 4] = [1, 4, 8, 16];

/// Tokens of a short reply.
pub(super) const REPLY_TOKENS: usize = 60;

/// Requests that are answered one at a time and from the start, to compare with.
const ALONE: usize = 4;

/// What was measured, by this model or another.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Figures {
    /// Tokens a second.
    pub(super) reading: f64,
    /// Tokens a second of all rows together, by [`BATCHES`]; 0 where it was not measured.
    pub(super) writing: [f64; BATCHES.len()],
    /// Seconds to the first token after a long policy, read and kept.
    pub(super) first_token: f64,
    pub(super) first_token_kept: f64,
    /// Many clients: replies a second, and the seconds of half of them and of nearly all.
    pub(super) replies: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Replies for a second of computing.
    pub(super) replies_per_core: f64,
    /// The same, one at a time with nothing kept.
    pub(super) alone_per_core: f64,
    /// After loading, in MB.
    pub(super) loaded_mb: f64,
    /// At the end.
    pub(super) resident_mb: f64,
}

pub(super) async fn run(args: &ModelBench, global: &Global) -> anyhow::Result<()> {
    let settings = Settings {
        threads: args.threads.into(),
        rows: 16,
        queue: 10_000,
        queue_tokens: usize::MAX / 8,
        ..app::model_settings(&global.load()?)
    };
    let bandwidth = tokio::task::spawn_blocking({
        let threads = args.threads.into();
        move || crate::models::memory_speed(threads)
    })
    .await?;
    let weights = std::fs::metadata(settings.folder.join("model.onnx.data")).map_or(0, |data| data.len());
    let figures = measure(&settings, args.clients.into()).await?;
    let peer = match &args.peer {
        Some(python) => {
            let gguf = args.gguf.clone().or_else(|| settings.folder.parent().map(crate::models::fetch::original));
            let peer =
                Peer { python, gguf: &gguf.context("no GGUF file")?, threads: args.threads, clients: args.clients };
            Some(tokio::task::block_in_place(|| bench_peer::measure(&peer, &policy(1), &turn(0)))?)
        }
        None => None,
    };
    say(format_args!(
        "{}, {} thread(s); memory is read at {:.1} GB/s, the weights are {:.0} MB: at most {:.0} tokens/s in one row",
        settings.folder.file_name().unwrap_or_default().to_string_lossy(),
        args.threads,
        bandwidth / 1e9,
        weights as f64 / 1e6,
        bandwidth / weights.max(1) as f64,
    ));
    say(table(&figures, peer.as_ref(), bandwidth / weights.max(1) as f64, args.clients));
    Ok(())
}

async fn load(settings: Settings) -> anyhow::Result<Model> {
    Ok(tokio::task::spawn_blocking(move || Model::load(&settings)).await??)
}

async fn measure(settings: &Settings, clients: usize) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let model = load(settings.clone()).await?;
    figures.loaded_mb = resident_mb().unwrap_or(0.0);

    // What no prompt has begun with before, twice: the first run of each size is slower.
    for number in 0..2 {
        let before = model.stats();
        ask(&model, long_text(&model, 900 + number, READ_TOKENS)?, 1).await?;
        let (read, us) = since(&before, &model.stats(), |it| (it.read_tokens, it.reading_us));
        figures.reading = read / us * 1e6;
    }
    for (at, rows) in BATCHES.into_iter().enumerate() {
        figures.writing[at] = writing(&model, rows).await?;
    }
    let (mut read, mut kept) = (Vec::new(), Vec::new());
    for number in 10..13 {
        read.push(ask(&model, reply(number, 0), 1).await?.1.as_secs_f64());
        kept.push(ask(&model, reply(number, 1), 1).await?.1.as_secs_f64());
    }
    (figures.first_token, figures.first_token_kept) = (median(read), median(kept));
    drop(model);

    let settings = Settings { rows: 8, ..settings.clone() };
    let model = load(settings.clone()).await?;
    let (started, cpu) = (Instant::now(), cpu_us());
    let answers = join_all((0..clients).map(|client| ask(&model, reply(1, client), REPLY_TOKENS))).await;
    let (took, used) = (started.elapsed().as_secs_f64(), used(cpu));
    let mut times = Vec::new();
    for answer in answers {
        times.push(answer?.1.as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    figures.replies = clients as f64 / took;
    figures.replies_per_core = clients as f64 / used;
    figures.p50 = times[times.len() / 2];
    figures.p99 = times[(times.len() * 99).div_ceil(100) - 1];
    figures.resident_mb = resident_mb().unwrap_or(0.0);
    drop(model);

    let model = load(Settings { rows: 1, prefix_cache_bytes: 0, ..settings }).await?;
    let cpu = cpu_us();
    for client in 0..ALONE {
        ask(&model, reply(1, client), REPLY_TOKENS).await?;
    }
    figures.alone_per_core = ALONE as f64 / self::used(cpu);
    Ok(figures)
}

/// Tokens a second of so many rows together, counted only while all of them are written.
async fn writing(model: &Model, rows: usize) -> anyhow::Result<f64> {
    let prompts = (0..rows).map(|row| long_text(model, row, 60)).collect::<anyhow::Result<Vec<_>>>()?;
    let answers = join_all(prompts.into_iter().map(|prompt| ask(model, prompt, WRITE_TOKENS)));
    tokio::pin!(answers);
    let (mut tokens, mut us, mut before) = (0.0, 0.0, model.stats());
    loop {
        tokio::select! {
            answers = &mut answers => {
                answers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
                return Ok(if us > 0.0 { tokens / us * 1e6 } else { 0.0 });
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                let now = model.stats();
                let (written, took) = since(&before, &now, |it| (it.written_tokens, it.writing_us));
                let (_, runs) = since(&before, &now, |it| (0, it.writes));
                if written == runs * rows as f64 && now.first_token == before.first_token {
                    (tokens, us) = (tokens + written, us + took);
                }
                before = now;
            }
        }
    }
}

/// Seconds of computing since then.
fn used(before: Option<f64>) -> f64 {
    match (before, cpu_us()) {
        (Some(before), Some(after)) => ((after - before) / 1e6).max(0.01),
        _ => f64::NAN,
    }
}

fn since(before: &Stats, after: &Stats, of: impl Fn(&Stats) -> (u64, u64)) -> (f64, f64) {
    let (before, after) = (of(before), of(after));
    ((after.0 - before.0) as f64, ((after.1 - before.1) as f64).max(1.0))
}

async fn ask(model: &Model, prompt: Prompt, max_tokens: usize) -> anyhow::Result<(Generated, Duration)> {
    let started = Instant::now();
    let request = Request::new(prompt, Sampling { max_tokens, ..Sampling::default() });
    let answer = model.generate(request, &CancellationToken::new(), |_| {}).await?;
    Ok((answer, started.elapsed()))
}

/// A text of about so many tokens, which nothing else begins with.
fn long_text(model: &Model, number: usize, tokens: usize) -> anyhow::Result<Prompt> {
    let mut text = format!("Part {number} of the shop's long list of everything that it has in store, in order. ");
    let mut line = 0;
    while model.count_tokens(&text)? + 20 < tokens {
        line += 1;
        text.push_str(&format!("Number {line} is a mug of colour {}, ", (number * 31 + line * 17) % 97));
    }
    Ok(Prompt::Text(text))
}

/// A customer's question to a shop with a long policy.
fn reply(shop: usize, client: usize) -> Prompt {
    Prompt::Chat(vec![ChatMessage::system(policy(shop)), ChatMessage::user(turn(client))])
}

/// A shop's policy of about 600 tokens.
fn policy(shop: usize) -> String {
    let rules = [
        "Orders leave the house on the same working day when they come in before noon, and on the next one otherwise.",
        "A parcel takes two to four working days within the country and up to nine working days abroad.",
        "Returns are taken for thirty days after the parcel has arrived, unused and with everything that came with them.",
        "The money goes back the way it came, at most five working days after the goods are with us again.",
        "What arrives broken is replaced at no cost when we get a photo of it within a week.",
        "Sizes and colours can be changed once for free; the parcel back to us is paid by us as well.",
        "An order can be cancelled until it is packed; afterwards it can be sent back like any other.",
        "Gift cards are valid for three years, can be used in parts, and are not paid out.",
        "We answer in short, friendly sentences, by name, and never promise what is not written here.",
        "When something is not written here, say that a colleague will look into it and answer today.",
    ];
    let mut text = format!("You answer the customers of shop number {shop}. These are its rules. ");
    for (at, rule) in rules.iter().cycle().take(24).enumerate() {
        text.push_str(&format!("{}. {rule} ", at + 1));
    }
    text
}

fn turn(client: usize) -> String {
    format!("Hello, my name is Ana and this is about order {}. When will it be here?", 1000 + client)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn table(ours: &Figures, peer: Option<&Figures>, ceiling: f64, clients: u16) -> String {
    let number = |value: f64, digits: usize| if value > 0.0 { format!("{value:.digits$}") } else { "–".into() };
    let mut rows = Vec::new();
    let mut row = |what: String, of: &dyn Fn(&Figures) -> f64, digits: usize| {
        let mut cells = vec![what, number(of(ours), digits)];
        if let Some(peer) = peer {
            cells.push(number(of(peer), digits));
            cells.push(if of(peer) > 0.0 { format!("{:.2}", of(ours) / of(peer)) } else { "–".into() });
        }
        rows.push(cells);
    };
    row(format!("reading {READ_TOKENS} tokens, tokens/s"), &|it| it.reading, 0);
    for (at, batch) in BATCHES.into_iter().enumerate() {
        row(format!("writing, batch {batch}, tokens/s"), &|it| it.writing[at], 0);
    }
    row("  batch 1, of what memory allows, %".into(), &|it| it.writing[0] / ceiling * 100.0, 0);
    row("first token after a policy, read, ms".into(), &|it| it.first_token * 1e3, 0);
    row("first token after a policy, kept, ms".into(), &|it| it.first_token_kept * 1e3, 0);
    row(format!("{clients} clients, {REPLY_TOKENS}-token replies, replies/s"), &|it| it.replies, 2);
    row("  p50, s".into(), &|it| it.p50, 1);
    row("  p99, s".into(), &|it| it.p99, 1);
    row("  replies per core-second".into(), &|it| it.replies_per_core, 2);
    row("  one at a time, nothing kept, per core-second".into(), &|it| it.alone_per_core, 2);
    row("  times as many".into(), &|it| it.replies_per_core / it.alone_per_core, 1);
    row("memory, loaded, MB".into(), &|it| it.loaded_mb, 0);
    row("memory, after the clients, MB".into(), &|it| it.resident_mb, 0);
    let head: &[&str] = if peer.is_some() { &["", "storehand", "llama.cpp", "ratio"] } else { &["", "storehand"] };
    out::table(head, &rows)
}
