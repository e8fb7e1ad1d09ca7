//! A model in this process: what may be asked is checked here, on the asker's side; the rest is the
//! [scheduler](super::scheduler)'s.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::admission::{Gate, Load};
use super::answer::Chosen;
use super::decoder::Decoder;
use super::error::ModelError;
use super::folder::Folder;
use super::form::Form;
use super::prefix::{self, Prefixes};
use super::request::{Choice, Format, Generated, Prompt, Request, Sampling, TokenBytes, TokenChance};
use super::rows::Rows;
use super::scheduler::{Job, Progress, Scheduler};
use super::settings::Settings;
use super::stats::{Counters, Stats};
use super::template::ChatTemplate;
use super::tokens::Tokens;

/// A loaded model: a cheap handle, to be cloned and shared.
#[derive(Clone)]
pub(crate) struct InProcess(Arc<Inner>);

struct Inner {
    name: String,
    digest: String,
    context: usize,
    max_new_tokens: usize,
    tokens: Arc<Tokens>,
    template: ChatTemplate,
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
        let decoder = Decoder::load(settings.library()?, &folder.graph, &folder.shape, settings.threads())?;
        let (inbox, jobs) = mpsc::channel();
        let (count, tokens) = (settings.rows.clamp(1, 64), Arc::new(folder.tokens));
        let context = settings.context_tokens.clamp(1, folder.shape.max_position_embeddings.max(1));
        // One more is kept for people.
        let rows = Rows::new(decoder, if count > 1 { count + 1 } else { 1 }, context)?;
        let most =
            Load { requests: settings.queue.clamp(1, 10_000) + count, tokens: settings.queue_tokens.max(context) };
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
        self.0.template.knows_tools()
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
        self.encode(text).map(|tokens| tokens.len())
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
        let prompt = match &request.prompt {
            Prompt::Chat(messages) => inner.template.render(messages, &inner.tokens)?,
            Prompt::WithTools { messages, tools, must } => {
                inner.template.render_with_tools(messages, tools, *must, &inner.tokens)?
            }
            Prompt::Text(text) => inner.tokens.plain(text),
        };
        let prompt_digest = hex::encode(&Sha256::digest(&prompt)[..16]);
        let prompt = self.encode(&prompt)?;
        if prompt.is_empty() {
            return Err(ModelError::Request("there is no message".into()));
        }
        let room = inner.context.saturating_sub(prompt.len());
        if room == 0 {
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
            names: prefix::names(&inner.digest, None, &prompt),
            prompt,
            sampling,
            form,
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

    fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let (tokens, context) = (self.0.tokens.at_least(text), self.0.context);
        if tokens >= context {
            return Err(ModelError::PromptTooLong { tokens, context });
        }
        self.0.tokens.encode(text)
    }
}
