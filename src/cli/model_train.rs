//! `storehand model train` and `storehand model heads`: what customers want, learnt from a shop's own examples.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use super::events::pretty;
use super::{Global, Hinted, out, say, the_shop};
use crate::app;
use crate::domain::{Clock as _, SystemClock};
use crate::models::intents::{self, Examples, Head, Progress, Report, Tally};

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The examples: a YAML file of intents
    #[arg(value_name = "FILE.yaml")]
    file: PathBuf,
    /// Whose head it is [default: the shop, where the configuration has one only]
    #[arg(long, value_name = "NAME")]
    shop: Option<String>,
    /// Of the messages that get an intent, the share that may get a wrong one [default: what the file says, else 0.05]
    #[arg(long, value_name = "0..1")]
    accept_errors: Option<f64>,
    /// Report on these messages too; they are not learnt from
    #[arg(long, value_name = "FILE.yaml")]
    test: Option<PathBuf>,
    /// Report, and leave the head in force as it is
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct HeadsArgs {
    #[command(subcommand)]
    verb: HeadsVerb,
}

#[derive(Debug, Subcommand)]
enum HeadsVerb {
    /// List what was trained, every version, and which one answers
    List {
        /// Whose [default: every shop's]
        #[arg(long, value_name = "NAME")]
        shop: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Have an earlier version answer again, at once
    Rollback {
        /// The head
        name: String,
        /// The version [default: the one before the one that answers]
        #[arg(long, value_name = "VERSION")]
        to: Option<u32>,
        /// Whose [default: the shop, where the configuration has one only]
        #[arg(long, value_name = "NAME")]
        shop: Option<String>,
    },
}

/// Trains a head and says how well it does.
pub(super) async fn train(args: TrainArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load_to_look()?;
    let shop = if args.dry_run { None } else { Some(the_shop(&config, args.shop.as_deref())?.0.to_string()) };
    let mut examples = Examples::read(&args.file)?;
    examples.check_enough().map_err(|why| anyhow::anyhow!("{}: {why}", args.file.display()))?;
    if let Some(accept) = args.accept_errors {
        if !(accept > 0.0 && accept < 1.0) {
            let message = format!("--accept-errors {accept} is no share between 0 and 1");
            return Err(Hinted::new(message, "0.05 is one answer in twenty").into());
        }
        examples.accept_errors = accept;
    }
    let tested = args.test.as_deref().map(Examples::read).transpose()?;
    let encoder = app::load_encoder(&config).await?.ok_or_else(|| {
        Hinted::new(
            "there is no encoder",
            "`storehand model fetch` gets one; look at `model.enabled` and `model.encoder`",
        )
    })?;
    let bar = ProgressBar::new(0);
    let threads = app::encoder_settings(&config).map_or(1, |settings| settings.threads());
    let head = intents::train(&encoder, &examples, SystemClock.now(), threads, |progress| show(&bar, progress)).await?;
    let on_others = match &tested {
        Some(tested) => Some(intents::test(&encoder, &head, tested, |progress| show(&bar, progress)).await?),
        None => None,
    };
    bar.finish_and_clear();
    // A head that never answers must not take the place of one that does.
    let answers = head.threshold <= 1.0;
    let head = match &shop {
        Some(shop) if answers => app::heads(&config).add(shop, head)?,
        _ => std::sync::Arc::new(head),
    };
    if args.json {
        let mut told = described(&head);
        told["shop"] = json!(shop);
        told["saved"] = json!(shop.is_some() && answers);
        told["report"] = json!(head.report);
        told["test"] = json!(on_others);
        say(pretty(&told));
    } else {
        told(&args, shop.as_deref().filter(|_| answers), &examples, &head, on_others.as_ref());
    }
    if !answers {
        return Err(Hinted::new(
            format!("at no confidence are fewer than {} of the answers wrong", percent(head.accept_errors)),
            "give more examples, part intents that are mixed up more clearly, or accept more errors (--accept-errors)",
        )
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

fn told(args: &TrainArgs, saved_for: Option<&str>, examples: &Examples, head: &Head, on_others: Option<&Report>) {
    let of_intents: usize = examples.intents.iter().map(|intent| intent.examples.len()).sum();
    let others = examples.out_of_scope.len();
    say(format!(
        "{}: {} intents, {of_intents} messages and {others} that have none; encoder {}",
        args.file.display(),
        head.intents.len(),
        head.encoder.0
    ));
    say("\nEach message as if it had not been learnt from:\n");
    say(in_words(&head.report));
    if let (Some(report), Some(file)) = (on_others, &args.test) {
        say(format!("\n{}:\n", file.display()));
        say(in_words(report));
    }
    let answers = format!("answers from a confidence of {:.2} on", head.threshold);
    say(match saved_for {
        Some(shop) => format!("\n{} {} of {shop} {answers}, at once", head.name, head.version),
        None => format!("\nIt {answers}; nothing was saved"),
    });
}

/// A report as a table, and what was taken for what.
fn in_words(report: &Report) -> String {
    let row = |what: &str, tally: &Tally| {
        vec![
            what.to_owned(),
            tally.messages.to_string(),
            share(tally.right, tally.messages),
            share(tally.answered, tally.messages),
            share(tally.wrong, tally.answered),
        ]
    };
    let mut rows: Vec<Vec<String>> = report.languages.iter().map(|(language, tally)| row(language, tally)).collect();
    if rows.len() > 1 {
        rows.push(row("all", &report.all));
    }
    let others = &report.out_of_scope;
    if others.messages > 0 {
        rows.push(vec![
            "no intent".into(),
            others.messages.to_string(),
            String::new(),
            share(others.answered, others.messages),
            String::new(),
        ]);
    }
    let mut text = out::table(&["", "MESSAGES", "LIKELIEST IS RIGHT", "ANSWERED", "OF THESE WRONG"], &rows);
    if let Some(recognised) = report.recognised_at_5_percent {
        text += &format!(
            "\n\nWhere one in twenty of the others gets no answer, {} of those without an intent get none.",
            percent(recognised)
        );
    }
    if !report.confusions.is_empty() {
        text += "\n";
    }
    for confusion in &report.confusions {
        text += &format!(
            "\n{} taken for {}: {}, such as `{}`",
            confusion.intent,
            confusion.taken_for,
            confusion.messages,
            out::shortened(&confusion.example, 60)
        );
    }
    text
}

fn share(part: usize, of: usize) -> String {
    if of == 0 { "–".into() } else { percent(part as f64 / of as f64) }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn show(bar: &ProgressBar, progress: Progress) {
    let (message, template, done, of) = match progress {
        Progress::Embedding { done, of } => ("reading the messages", "{msg} {wide_bar} {pos}/{len} {eta}", done, of),
        Progress::Learning => ("learning", "{spinner} {msg}", 0, 0),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message);
    bar.set_length(of as u64);
    bar.set_position(done as u64);
}

/// Lists heads, or puts one back in force.
pub(super) fn heads(args: HeadsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load_to_look()?;
    let heads = app::heads(&config);
    match args.verb {
        HeadsVerb::List { shop, json } => {
            let shops: Vec<String> = match shop {
                Some(shop) => vec![the_shop(&config, Some(&shop))?.0.to_string()],
                None => config.shops.keys().map(ToString::to_string).collect(),
            };
            let (mut listed, mut rows) = (Vec::new(), Vec::new());
            for shop in &shops {
                for kept in heads.list(shop)? {
                    let mut told = described(&kept.head);
                    told["shop"] = json!(shop);
                    told["current"] = json!(kept.current);
                    listed.push(told);
                    let tally = &kept.head.report.all;
                    rows.push(vec![
                        shop.clone(),
                        kept.name.clone(),
                        kept.version.to_string(),
                        if kept.current { "answers".into() } else { String::new() },
                        kept.head.made.strftime("%Y-%m-%d %H:%M").to_string(),
                        kept.head.intents.len().to_string(),
                        share(tally.right, tally.messages),
                        kept.head.encoder.0.clone(),
                    ]);
                }
            }
            if json {
                say(pretty(&json!({ "heads": listed })));
            } else if rows.is_empty() {
                say("nothing was trained yet: `storehand model train FILE` does");
            } else {
                say(out::table(&["SHOP", "HEAD", "VERSION", "", "TRAINED", "INTENTS", "RIGHT", "ENCODER"], &rows));
            }
        }
        HeadsVerb::Rollback { name, to, shop } => {
            let shop = the_shop(&config, shop.as_deref())?.0.to_string();
            let head = heads.roll_back(&shop, &name, to)?;
            let made = head.made.strftime("%Y-%m-%d %H:%M");
            say(format!("{name} {} of {shop}, trained {made}, answers from now on", head.version));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn described(head: &Head) -> Json {
    json!({
        "name": head.name,
        "version": head.version,
        "made": head.made,
        "encoder": { "name": head.encoder.0, "digest": head.encoder.1 },
        "examples": head.examples,
        "accept_errors": head.accept_errors,
        "threshold": head.threshold,
        "intents": head.intents,
    })
}
