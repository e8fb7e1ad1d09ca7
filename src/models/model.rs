//! A model in this process: what may be asked is checked here, on the asker's side; the rest is the
//! [scheduler](super::scheduler)'s.

mod rank;

use std::sync::{Arc, mpsc};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::adapter::AdapterId;
use super::admission::{Gate, Load};
use super::answer::Chosen;
use super::decoder::Decoder;
use super::error::ModelError;
use super::folder::Folder;
use super::form::Form;
use super::prefix::{self, BlockName, Prefixes};
use super::request::{Choice, Format, Generated, Prompt, Request, Sampling, TokenBytes, TokenChance};
use super::rows::Rows;
use super::scheduler::{Job, Progress, Scheduler};
use super::seq2seq::EncoderDecoder;
use super::settings::Settings;
use super::stats::{Counters, Stats};
use super::template::ChatTemplate;
use super::tokens::Tokens;

pub use rank::{CONTENT_FREE, MOST_CANDIDATES, Ranked, Ranking, ToRank, without_content};

/// A loaded model: a cheap handle, to be cloned and shared.
#[derive(Clone)]
pub(crate) struct InProcess(Arc<Inner>);

struct Inner {
    name: String,
    digest: String,
    context: usize,
    max_new_tokens: usize,
    tokens: Arc<Tokens>,
    template: Option<ChatTemplate>,
    /// Whether an encoder reads the prompt: then prompt and answer have a context each.
    encodes: bool,
    /// Adapters that may be chosen, with the digests of their files.
    adapters: Vec<(String, String)>,
    /// Tokens that end an answer.
    end: Vec<u32>,
    gate: Arc<Gate>,
    counters: Arc<Counters>,
    /// Answers that one request may have written at the same time.
    rows: usize,
    inbox: mpsc::Sender<Job>,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess").field("name", &self.0.name).field("digest", &self.0.digest).finish_non_exhaustive()
    }
}

impl InProcess {
    /// Loads the model and starts its thread, which ends when the last handle is dropped.
    ///
    /// # Errors
    /// At once, where the library or a file of the model is missing, too old, or not understood.
    pub(crate) fn load(settings: &Settings) -> Result<Self, ModelError> {
        let folder = Folder::read(&settings.folder)?;
        let (inbox, jobs) = mpsc::channel();
        let count = settings.rows.clamp(1, 64);
        let context = settings.context_tokens.clamp(1, context_of(&folder)?);
        // One more is kept for people.
        let places = if count > 1 { count + 1 } else { 1 };
        let runtime = settings.runtime()?;
        let rows = match &folder.encoder {
            Some(encoder) => {
                Rows::encoded(EncoderDecoder::load(runtime.library, &folder, encoder, runtime.threads)?, places)
            }
            None => {
                let mut decoder = Decoder::load(runtime, &folder.graph, &folder.shape)?;
                decoder.take_adapters(&folder.adapters)?;
                Rows::new(decoder, places, context)?
            }
        };
        let most =
            Load { requests: settings.queue.clamp(1, 10_000) + count, tokens: settings.queue_tokens.max(context) };
        let (encodes, tokens) = (folder.encoder.is_some(), Arc::new(folder.tokens));
        let (gate, counters) = (Gate::new(most), Arc::new(Counters::default()));
        let scheduler = Scheduler::new(
            rows,
            Arc::clone(&tokens),
            folder.end.clone(),
            Prefixes::new(settings.prefix_cache_bytes),
            Arc::clone(&counters),
            Arc::clone(&gate),
        );
        std::thread::Builder::new()
            .name("model".into())
            .spawn(move || scheduler.run(&jobs))
            .map_err(|error| ModelError::Failed(format!("its thread did not start: {error}")))?;
        Ok(Self(Arc::new(Inner {
            name: folder.name,
            digest: folder.digest,
            context,
            max_new_tokens: settings.max_new_tokens.max(1),
            tokens,
            template: folder.template,
            encodes,
            adapters: folder.adapters.into_iter().map(|file| (file.name, file.digest)).collect(),
            end: folder.end,
            gate,
            counters,
            rows: count,
            inbox,
        })))
    }

    /// Its folder's name.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Names exactly these weights, tokenizer and template: SHA-256 in hex, 32 digits kept.
    pub(crate) fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Whether it can be told of tools.
    pub(crate) fn knows_tools(&self) -> bool {
        self.0.template.as_ref().is_some_and(ChatTemplate::knows_tools)
    }

    /// The adapters that a request may name, with what names exactly these weights: SHA-256 of its file in hex, 32
    /// digits kept.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.adapters.iter().map(|(name, digest)| (name.as_str(), digest.as_str()))
    }

    /// Tokens that prompt and answer may have together.
    pub(crate) fn context_tokens(&self) -> usize {
        self.0.context
    }

    /// How many tokens a text has.
    ///
    /// # Errors
    /// [`ModelError::PromptTooLong`] where it cannot fit, whatever its tokens; [`ModelError::Failed`].
    pub(crate) fn count_tokens(&self, text: &str) -> Result<usize, ModelError> {
        self.fits(text)?;
        self.0.tokens.encode(text).map(|tokens| tokens.len())
    }

    /// What it has done, and how it stands.
    pub(crate) fn stats(&self) -> Stats {
        let load = self.0.gate.load();
        Stats { requests: load.requests, queued_tokens: load.tokens, ..self.0.counters.read() }
    }

    /// Answers a request. `on_text` gets the first answer as it is written, piece by piece, whole characters only,
    /// nothing of a stop text; the pieces together are [`Generated::text`].
    ///
    /// When `cancelled` is, or this future is dropped, the model gives the request up before it has written two more
    /// tokens (or read one more block of the prompt).
    ///
    /// # Errors
    /// [`ModelError::Request`], [`ModelError::PromptTooLong`] and [`ModelError::QueueFull`] at once;
    /// [`ModelError::TooLate`], [`ModelError::Failed`], [`ModelError::Stopped`].
    pub(crate) async fn generate(
        &self,
        request: Request,
        cancelled: &CancellationToken,
        mut on_text: impl FnMut(&str) + Send,
    ) -> Result<Generated, ModelError> {
        let inner = &*self.0;
        let arrived = Instant::now();
        let sampling = request.sampling;
        sampling.check()?;
        if sampling.rows() > inner.rows {
            let most = inner.rows;
            return Err(ModelError::Request(format!("at most {most} answers are written at a time (`model.rows`)")));
        }
        let adapter = self.adapter(request.adapter.as_deref())?;
        let (prompt, prompt_digest) = self.read(&request.prompt)?;
        let room = inner.context.saturating_sub(if inner.encodes { 0 } else { prompt.len() });
        if room == 0 || prompt.len() > inner.context {
            return Err(ModelError::PromptTooLong { tokens: prompt.len(), context: inner.context });
        }
        let prompt_tokens = prompt.len();
        let most = sampling.max_tokens.min(inner.max_new_tokens).min(room);
        let form = match request.format {
            Some(format) => Some(self.form(format, &sampling).await?),
            None => None,
        };
        if sampling.logprobs.is_some() {
            inner.tokens.words()?;
        }
        let searches = sampling.beams > 1;
        let _place = inner.gate.enter(request.class, &request.shop, prompt_tokens + most * sampling.rows())?;
        let (watcher, mut progress) = unbounded_channel();
        let job = Job {
            names: self.blocks(request.adapter.as_deref(), &prompt),
            prompt,
            adapter,
            sampling,
            form,
            told: Vec::new(),
            most,
            class: request.class,
            shop: request.shop,
            arrived,
            within: request.within,
            cancelled: cancelled.clone(),
            watcher,
        };
        inner.inbox.send(job).map_err(|_| ModelError::Stopped)?;
        loop {
            match progress.recv().await.ok_or(ModelError::Stopped)? {
                Progress::Text(piece) => on_text(&piece),
                Progress::Done(choices, cached_tokens) => {
                    let mut choices: Vec<Choice> = choices.into_iter().map(|it| self.with_logprobs(it)).collect();
                    let completion_tokens = choices.iter().map(|choice| choice.completion_tokens).sum();
                    let others = choices.split_off(choices.len().min(1));
                    let first = choices.pop().ok_or(ModelError::Stopped)?;
                    if searches {
                        on_text(&first.text);
                    }
                    return Ok(Generated {
                        text: first.text,
                        finish: first.finish,
                        logprobs: first.logprobs,
                        others,
                        prompt_tokens,
                        cached_tokens,
                        completion_tokens,
                        prompt_digest,
                    });
                }
                Progress::Failed(error) => return Err(error),
            }
        }
    }

    /// Makes the form of an answer, away from the threads that must not wait.
    async fn form(&self, format: Format, sampling: &Sampling) -> Result<Form, ModelError> {
        if !sampling.stop.is_empty() {
            return Err(ModelError::Request("`stop` would cut an answer that has a `format`: leave it out".into()));
        }
        let (tokens, end) = (Arc::clone(&self.0.tokens), self.0.end.first().copied());
        let end = end.ok_or_else(|| ModelError::Request("this model has no token that ends an answer".into()))?;
        tokio::task::spawn_blocking(move || tokens.form(&format, end)).await.map_err(|_| ModelError::Stopped)?
    }

    fn with_logprobs(&self, (choice, chosen): (Choice, Vec<Chosen>)) -> Choice {
        let Ok(words) = (if chosen.is_empty() { Ok(&[][..]) } else { self.0.tokens.words() }) else { return choice };
        let bytes = |&(id, logprob): &(u32, f32)| TokenBytes {
            id,
            bytes: words.get(id as usize).cloned().unwrap_or_default(),
            logprob,
        };
        let chance =
            |it: &Chosen| TokenChance { token: bytes(&it.token), likeliest: it.likeliest.iter().map(bytes).collect() };
        Choice { logprobs: chosen.iter().map(chance).collect(), ..choice }
    }

    /// The adapter that is called so.
    fn adapter(&self, name: Option<&str>) -> Result<Option<AdapterId>, ModelError> {
        let Some(name) = name else { return Ok(None) };
        let all = &self.0.adapters;
        let found = all.iter().position(|(it, _)| it == name).map(AdapterId);
        found.map(Some).ok_or_else(|| {
            let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
            let known = match names.as_slice() {
                [] => "it has none: they are files `adapters/NAME.onnx_adapter` in its folder".to_owned(),
                names => format!("there is {}", names.join(", ")),
            };
            let asked: String = name.chars().take(80).collect();
            ModelError::Request(format!("the model {} has no adapter `{asked}`; {known}", self.0.name))
        })
    }

    /// The names of a prompt's blocks, by which what was read of them is found again.
    fn blocks(&self, adapter: Option<&str>, prompt: &[u32]) -> Vec<BlockName> {
        if self.0.encodes { Vec::new() } else { prefix::names(&self.0.digest, adapter, prompt) }
    }

    /// The tokens of a prompt, at least one, and the digest of its text.
    fn read(&self, prompt: &Prompt) -> Result<(Vec<u32>, String), ModelError> {
        let inner = &*self.0;
        let text = match (prompt, &inner.template) {
            (Prompt::Chat(messages), Some(template)) => template.render(messages, &inner.tokens)?,
            (Prompt::WithTools { messages, tools, must }, Some(template)) => {
                template.render_with_tools(messages, tools, *must, &inner.tokens)?
            }
            (Prompt::WithTools { .. }, None) => {
                return Err(ModelError::Request("this model has no chat template that knows of tools".into()));
            }
            (Prompt::Text(text), _) => inner.tokens.plain(text),
            (Prompt::Chat(messages), None) => {
                let texts: Vec<String> = messages.iter().map(|it| inner.tokens.plain(&it.content)).collect();
                texts.join("\n\n")
            }
        };
        let digest = hex::encode(&Sha256::digest(&text)[..16]);
        if text.is_empty() {
            return Err(ModelError::Request("there is no message".into()));
        }
        self.fits(&text)?;
        // A template writes the tokens that begin a prompt itself, but not those that end an encoder's.
        let tokens = match (prompt, &inner.template) {
            (Prompt::Chat(_) | Prompt::WithTools { .. }, Some(_)) if !inner.encodes => inner.tokens.encode(&text)?,
            _ => inner.tokens.encode_whole(&text)?,
        };
        Ok((tokens, digest))
    }

    /// Whether a text may fit at all, whatever its tokens.
    fn fits(&self, text: &str) -> Result<(), ModelError> {
        let (tokens, context) = (self.0.tokens.at_least(text), self.0.context);
        if tokens >= context { Err(ModelError::PromptTooLong { tokens, context }) } else { Ok(()) }
    }
}

/// Tokens that a model reads at most. One with an encoder may tell positions by distances, which have no end.
fn context_of(folder: &Folder) -> Result<usize, ModelError> {
    match folder.shape.positions() {
        Some(positions) => Ok(positions.max(1)),
        None if folder.encoder.is_some() => Ok(usize::MAX),
        None => {
            let why = "its config.json does not say how many tokens it reads (`max_position_embeddings`)";
            Err(ModelError::not_understood(&folder.graph, why))
        }
    }
}
