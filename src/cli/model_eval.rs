//! `storehand model eval`: what another model makes of what rules have asked theirs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use serde_json::json;

use super::events::pretty;
use super::{Global, Hinted, archive, say};
use crate::app;
use crate::config::Config;
use crate::domain::{Clock as _, SystemClock};
use crate::engine::reruns::{Corpus, Prompt, Selection, recorded, rerun};
use crate::models::{Known, Model, Models, Settings};
use crate::store::Archive;

mod told;

/// One prompt in a file, in bytes: the records that it speaks of with it.
const LONGEST_LINE: u64 = 8 << 20;

/// `storehand model eval`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  storehand model eval --model models/qwen2.5-0.5b-instruct        a model's folder, on the last 30 days
  storehand model eval --model large --rule thank-you --last 7d    a configured upstream, on one rule
  storehand model eval --export prompts.jsonl                      keep the prompts, and ask nobody
  storehand model eval --from prompts.jsonl --model large --json   and ask them again later

Each prompt is asked as the rule asked it, and held to the same policy with the facts of then. Reads the store's file
beside a running server and changes nothing in it. An upstream reads what customers wrote, and so does who gets the
exported file. Exit code 1: something that went out is held back now, or has no answer.")]
pub(super) struct EvalArgs {
    /// The model to try: its folder, its name beside the configured one, or an upstream's [default: the configured one]
    #[arg(long, value_name = "FOLDER|NAME")]
    model: Option<String>,
    /// The shop whose prompts are asked, where the configuration has several
    #[arg(long)]
    shop: Option<String>,
    /// From when: how long ago (30d, 12h), a time of day, a day, or both
    #[arg(long, default_value = "30d", value_name = "WHEN")]
    last: String,
    /// Prompts of this rule only
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// So many prompts at most: of the store the newest, of a file the first
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    most: u32,
    /// Prompts from a file that `--export` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shop", "rule", "last", "export"])]
    from: Option<PathBuf>,
    /// Write the prompts to this file, one a line, and ask nobody
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "json"])]
    export: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Show so many prompts that come out otherwise
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit_shown: u16,
}

pub(super) async fn run(args: EvalArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load_to_look()?;
    let corpus = match &args.from {
        Some(file) => from_file(file, args.most as usize)?,
        None => from_store(&config, &args).await?,
    };
    if let Some(file) = &args.export {
        export(file, &corpus.prompts).with_context(|| format!("writing {}", file.display()))?;
        say(format!("{}: {}", file.display(), told::found(&corpus)));
        return Ok(ExitCode::SUCCESS);
    }
    if corpus.prompts.is_empty() {
        let hint = "they are there once a rule has used `model.write` or `model.extract`; `--last` looks further back";
        return Err(Hinted::new(format!("there are no prompts to ask: {}", told::found(&corpus)), hint).into());
    }
    let (models, at_once) = chosen(args.model.as_deref(), config, global).await?;
    let bar = ProgressBar::new(corpus.prompts.len() as u64);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} prompts {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let left_out = corpus.left_out;
    let report = rerun(corpus.prompts, &models, at_once, &mut |done| bar.set_position(done as u64)).await;
    bar.finish_and_clear();
    if args.json {
        let mut report_json = json!(report);
        report_json["left_out"] = json!(left_out);
        say(pretty(&report_json));
    } else {
        say(told::text(&report, left_out, args.limit_shown.into()));
    }
    Ok(if report.is_worse() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn from_store(config: &Config, args: &EvalArgs) -> anyhow::Result<Corpus> {
    let id = archive::shop(config, args.shop.as_deref())?;
    let settings = &config.shops[id];
    let zone = TimeZone::get(&settings.time_zone).context("the shop's time zone")?;
    let since = app::moment(&args.last, SystemClock.now(), &zone)
        .map_err(|error| Hinted::new(error.to_string(), app::NotAMoment::HINT))?;
    let archive = Archive::open(&config.store.file, 2).await?;
    let registry = app::unconnected_with_plugins(config)?;
    let shop = app::unconnected_shop(id, settings);
    let selection = Selection { rule: args.rule.clone(), since, most: args.most };
    Ok(recorded(&archive, &registry, &shop, &selection).await?)
}

fn from_file(path: &Path, most: usize) -> anyhow::Result<Corpus> {
    let reading = || format!("reading {}", path.display());
    let mut file = BufReader::new(File::open(path).with_context(reading)?);
    let mut corpus = Corpus::default();
    for number in 1.. {
        let mut line = String::new();
        let read = file.by_ref().take(LONGEST_LINE).read_line(&mut line).with_context(reading)?;
        if read == 0 || corpus.prompts.len() == most {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let prompt: Prompt = serde_json::from_str(&line).map_err(|error| {
            let hint = "each line is a prompt as `storehand model eval --export FILE` writes them";
            Hinted::new(format!("{}:{number}: this is no prompt: {error}", path.display()), hint)
        })?;
        corpus.prompts.push(prompt);
    }
    Ok(corpus)
}

/// Customers' words stand in it: it is nobody else's to read.
fn export(path: &Path, prompts: &[Prompt]) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = std::io::BufWriter::new(options.open(path)?);
    for prompt in prompts {
        serde_json::to_writer(&mut file, prompt)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// The model that is meant, as the usual one of all, and how many prompts it is asked at a time.
async fn chosen(named: Option<&str>, config: Config, global: &Global) -> anyhow::Result<(Models, usize)> {
    if let Some((name, upstream)) = named.and_then(|name| config.model.upstreams.get_key_value(name)) {
        // With its key.
        let models = app::language_models(&global.load()?, None)?;
        let known = models.find(Some(name))?.clone();
        return Ok((Models::new(name, Some(known), Vec::new()), upstream.max_in_flight));
    }
    let usual = app::model_settings(&config);
    let beside = |name: &str| [PathBuf::from(name), config.model.folder.join(name)];
    let folder = match named {
        None => usual.folder.clone(),
        Some(name) => beside(name).into_iter().find(|path| path.join("model.onnx").is_file()).ok_or_else(|| {
            let upstreams: Vec<&str> = config.model.upstreams.keys().map(String::as_str).collect();
            let there = if upstreams.is_empty() { "none is configured".to_owned() } else { upstreams.join(", ") };
            let hint = format!("name a folder with a `model.onnx` in it, or an upstream: {there}");
            Hinted::new(format!("there is no model `{name}`"), hint)
        })?,
    };
    // Of another model nobody has said which languages it writes: the policy looks at each text.
    let languages = if folder == usual.folder { config.model.languages.clone() } else { Vec::new() };
    let settings = Settings { folder, ..usual };
    let rows = settings.rows;
    let model = tokio::task::spawn_blocking(move || Model::load(&settings)).await??;
    Ok((Models::new("", Some(Known { model, languages }), Vec::new()), rows))
}
