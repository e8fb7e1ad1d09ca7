//! The model's handle, and the one thread that owns its session.
//!
//! The thread steps one token at a time and looks at its inbox between any two, so that a request that nobody waits
//! for is dropped within a step, running or waiting. One request is answered at a time; a batch is a longer list of
//! answers under way, stepped together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio_util::sync::CancellationToken;

use super::decoder::{Cache, Decoder};
use super::error::ModelError;
use super::folder::Folder;
use super::request::{Finish, Generated, Request, Sampling};
use super::sampler::Sampler;
use super::settings::Settings;
use super::stream::{Detokenizer, StopTexts};
use super::template::ChatTemplate;
use super::tokens::Tokens;

/// Tokens of a prompt that are read in one step. Larger reads a little faster; smaller lets a long prompt be given
/// up sooner and needs less memory.
const PROMPT_STEP_TOKENS: usize = 256;

/// A loaded model: a cheap handle, to be cloned and shared.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    name: String,
    digest: String,
    context: usize,
    max_new_tokens: usize,
    tokens: Arc<Tokens>,
    template: ChatTemplate,
    /// One for each request that waits, and one for the one that is answered.
    places: Semaphore,
    queue: usize,
    /// How long a request took of late, in milliseconds.
    usual_ms: Arc<AtomicU64>,
    inbox: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.0.name).field("digest", &self.0.digest).finish_non_exhaustive()
    }
}

impl Model {
    /// Loads the model and starts its thread, which ends when the last handle is dropped.
    ///
    /// # Errors
    /// At once, where the library or a file of the model is missing, too old, or not understood.
    pub fn load(settings: &Settings) -> Result<Self, ModelError> {
        let folder = Folder::read(&settings.folder)?;
        let decoder = Decoder::load(settings.library()?, &folder.graph, &folder.shape, settings.threads())?;
        let (inbox, jobs) = mpsc::channel();
        let queue = settings.queue.clamp(1, 1000);
        let tokens = Arc::new(folder.tokens);
        let usual_ms = Arc::new(AtomicU64::new(2000));
        let worker = Worker {
            decoder,
            tokens: Arc::clone(&tokens),
            end: folder.end,
            usual_ms: Arc::clone(&usual_ms),
            waiting: VecDeque::new(),
        };
        std::thread::Builder::new()
            .name("model".into())
            .spawn(move || worker.run(&jobs))
            .map_err(|error| ModelError::Failed(format!("its thread did not start: {error}")))?;
        Ok(Self(Arc::new(Inner {
            name: folder.name,
            digest: folder.digest,
            context: settings.context_tokens.clamp(1, folder.shape.max_position_embeddings.max(1)),
            max_new_tokens: settings.max_new_tokens.max(1),
            tokens,
            template: folder.template,
            places: Semaphore::new(queue + 1),
            queue,
            usual_ms,
            inbox,
        })))
    }

    /// Its folder's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Names exactly these weights, tokenizer and template: SHA-256 in hex, 32 digits kept.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Tokens that prompt and answer may have together.
    pub fn context_tokens(&self) -> usize {
        self.0.context
    }

    /// How many tokens a text has.
    ///
    /// # Errors
    /// [`ModelError::PromptTooLong`] where it cannot fit, whatever its tokens; [`ModelError::Failed`].
    pub fn count_tokens(&self, text: &str) -> Result<usize, ModelError> {
        self.encode(text).map(|tokens| tokens.len())
    }

    /// Answers a request. `on_text` gets the text as it is written, piece by piece, whole characters only, nothing
    /// of a stop text; the pieces together are [`Generated::text`].
    ///
    /// When `cancelled` is, or this future is dropped, the model gives the request up before it has read or written
    /// two more tokens (or one more part of the prompt).
    ///
    /// # Errors
    /// [`ModelError::Request`], [`ModelError::PromptTooLong`] and [`ModelError::QueueFull`] at once;
    /// [`ModelError::Failed`], [`ModelError::Stopped`].
    pub async fn generate(
        &self,
        request: Request,
        cancelled: &CancellationToken,
        mut on_text: impl FnMut(&str) + Send,
    ) -> Result<Generated, ModelError> {
        let inner = &*self.0;
        request.sampling.check()?;
        let _place = inner.places.try_acquire().map_err(|error| match error {
            TryAcquireError::NoPermits => {
                let usual = inner.usual_ms.load(Ordering::Relaxed);
                ModelError::QueueFull {
                    waiting: inner.queue,
                    retry_after: Duration::from_millis(usual.saturating_mul(inner.queue as u64)),
                }
            }
            TryAcquireError::Closed => ModelError::Stopped,
        })?;
        let prompt = inner.template.render(&request.messages, &inner.tokens)?;
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
        let (watcher, mut progress) = unbounded_channel();
        let sampling = request.sampling;
        let most = sampling.max_tokens.min(inner.max_new_tokens).min(room);
        let job = Job { prompt, sampling, most, cancelled: cancelled.clone(), watcher };
        inner.inbox.send(job).map_err(|_| ModelError::Stopped)?;
        let mut text = String::new();
        loop {
            match progress.recv().await.ok_or(ModelError::Stopped)? {
                Progress::Text(piece) => {
                    on_text(&piece);
                    text.push_str(&piece);
                }
                Progress::Done(finish, completion_tokens) => {
                    return Ok(Generated { text, finish, prompt_tokens, completion_tokens, prompt_digest });
                }
                Progress::Failed(error) => return Err(error),
            }
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let (tokens, context) = (self.0.tokens.at_least(text), self.0.context);
        if tokens >= context {
            return Err(ModelError::PromptTooLong { tokens, context });
        }
        self.0.tokens.encode(text)
    }
}

/// A request on its way to the model's thread.
struct Job {
    prompt: Vec<u32>,
    sampling: Sampling,
    /// Tokens to write at most.
    most: usize,
    cancelled: CancellationToken,
    watcher: UnboundedSender<Progress>,
}

impl Job {
    fn nobody_waits(&self) -> bool {
        self.cancelled.is_cancelled() || self.watcher.is_closed()
    }
}

/// What the thread tells the one who waits. Nobody may be there to hear it.
enum Progress {
    Text(String),
    Done(Finish, usize),
    Failed(ModelError),
}

/// The model's thread.
struct Worker {
    decoder: Decoder,
    tokens: Arc<Tokens>,
    end: Vec<u32>,
    usual_ms: Arc<AtomicU64>,
    waiting: VecDeque<Job>,
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            self.waiting.push_back(job);
            while let Some(job) = self.waiting.pop_front() {
                let started = Instant::now();
                let end = match self.answer(&job, inbox) {
                    Ok((finish, written)) => Progress::Done(finish, written),
                    Err(error) => {
                        tracing::error!(%error, "the model failed on a request");
                        Progress::Failed(error)
                    }
                };
                let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let usual = self.usual_ms.load(Ordering::Relaxed);
                self.usual_ms.store(usual.saturating_mul(3).saturating_add(took) / 4, Ordering::Relaxed);
                let _ = job.watcher.send(end);
            }
        }
    }

    /// Takes in what has come, and lets go of what nobody waits for.
    fn look_around(&mut self, inbox: &mpsc::Receiver<Job>) {
        self.waiting.extend(inbox.try_iter());
        self.waiting.retain(|job| {
            let wanted = !job.nobody_waits();
            if !wanted {
                let _ = job.watcher.send(Progress::Done(Finish::Cancelled, 0));
            }
            wanted
        });
    }

    fn answer(&mut self, job: &Job, inbox: &mpsc::Receiver<Job>) -> Result<(Finish, usize), ModelError> {
        let mut answer = Answer {
            cache: self.decoder.empty_cache()?,
            sampler: Sampler::new(&job.sampling, self.decoder.vocabulary(), &job.prompt),
            detokenizer: Detokenizer::default(),
            stops: StopTexts::new(&job.sampling.stop),
            written: 0,
        };
        let mut logits = Vec::new();
        for part in job.prompt.chunks(PROMPT_STEP_TOKENS) {
            self.look_around(inbox);
            if job.nobody_waits() {
                return Ok((Finish::Cancelled, 0));
            }
            logits = self.decoder.read(part, &mut answer.cache)?;
        }
        loop {
            let token = answer.sampler.next(&mut logits);
            answer.written += 1;
            let (text, finish) = self.take(&mut answer, token, job.most);
            if !text.is_empty() {
                // An error means that nobody waits, which is looked at below.
                let _ = job.watcher.send(Progress::Text(text));
            }
            if let Some(finish) = finish {
                return Ok((finish, answer.written));
            }
            self.look_around(inbox);
            if job.nobody_waits() {
                return Ok((Finish::Cancelled, answer.written));
            }
            logits = self.decoder.read(&[token], &mut answer.cache)?;
        }
    }

    /// What may be shown now that `token` was written, and whether it was the last.
    fn take(&self, answer: &mut Answer, token: u32, most: usize) -> (String, Option<Finish>) {
        let ends = self.end.contains(&token);
        let piece = if ends { String::new() } else { answer.detokenizer.push(token, &self.tokens) };
        let (mut text, stopped) = answer.stops.push(&piece);
        if stopped {
            return (text, Some(Finish::Stop));
        }
        if !ends && answer.written < most {
            return (text, None);
        }
        let (rest, stopped) = answer.stops.push(&answer.detokenizer.finish(&self.tokens));
        text.push_str(&rest);
        if !stopped {
            text.push_str(&answer.stops.finish());
        }
        (text, Some(if ends || stopped { Finish::Stop } else { Finish::Length }))
    }
}

/// An answer under way.
struct Answer {
    cache: Cache,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopTexts,
    /// Tokens so far.
    written: usize,
}
