//! The encoder: texts become vectors that lie close to each other where the texts mean the same, in many languages.
//!
//! - [`Encoder`] is the handle of a loaded encoder: multilingual-e5-small, or any BERT-like one in the Hugging Face
//!   ONNX layout.
//! - `e5` converts the default one from the file of its package.
//!
//! *Architecture Invariant*: one thread owns the session; everybody else has a handle with a bounded queue in front.
//! *Architecture Invariant*: a text that is too long is cut with that being said, never in silence.

pub(crate) mod e5;
mod folder;
mod session;
#[cfg(test)]
mod tests;
mod tokenizer;
mod unigram;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use super::error::ModelError;
use super::runtime;
pub use e5::Agreement;
use folder::Folder;
use session::Session;
use tokenizer::{Read, Tokenizer};

/// Texts of one request.
pub const MOST_TEXTS: usize = 256;

/// Texts in one run of the graph: in more, the padding costs more than the running saves.
const BATCH: usize = 7;

/// Texts after which the requests that have come meanwhile are looked at.
const ROUND: usize = 4 * BATCH;

/// Where the encoder is and how it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ONNX Runtime library; a process loads one, the first.
    pub library: Option<PathBuf>,
    /// The encoder: a folder in the Hugging Face ONNX layout. Its name is the encoder's name.
    pub folder: PathBuf,
    /// Threads for one run; 0 takes one a core, at most 4.
    pub threads: usize,
    /// Requests that may wait.
    pub queue: usize,
}

impl Settings {
    fn library(&self) -> Result<&Path, ModelError> {
        runtime::library(self.library.as_deref())
    }

    /// The number of threads in force.
    pub fn threads(&self) -> usize {
        runtime::threads(self.threads)
    }
}

/// A text's place among all texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// A direction: its length is 1.
    pub vector: Vec<f32>,
    /// The same, of what tells the most in the text: rare words count more than frequent ones, and what stands around every
    /// text not at all. Where the vocabulary does not say how frequent they are, it is `vector`.
    pub telling: Vec<f32>,
    /// Whether the text was too long, and only its beginning is in the vector.
    pub truncated: bool,
    /// Tokens that were read of it, with what the encoder wants before and around it.
    pub tokens: usize,
}

/// A loaded encoder: a cheap handle, to be cloned and shared.
#[derive(Clone)]
pub struct Encoder(Arc<Inner>);

struct Inner {
    name: String,
    digest: String,
    width: usize,
    longest: usize,
    prompt: String,
    tokenizer: Tokenizer,
    places: Arc<Semaphore>,
    queue: usize,
    /// How long a request took of late, in milliseconds.
    usual_ms: Arc<AtomicU64>,
    inbox: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("name", &self.0.name).field("digest", &self.0.digest).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Loads the encoder and starts its thread, which ends when the last handle is dropped.
    ///
    /// # Errors
    /// At once, where the library or a file of the encoder is missing, too old, or not understood.
    pub fn load(settings: &Settings) -> Result<Self, ModelError> {
        let folder = Folder::read(&settings.folder)?;
        let session = Session::load(settings.library()?, &folder, settings.threads())?;
        let (inbox, jobs) = mpsc::channel();
        let usual_ms = Arc::new(AtomicU64::new(50));
        let width = session.width();
        let worker = Worker { session, jobs: VecDeque::new(), usual_ms: Arc::clone(&usual_ms) };
        std::thread::Builder::new()
            .name("encoder".into())
            .spawn(move || worker.run(&jobs))
            .map_err(|error| ModelError::Failed(format!("its thread did not start: {error}")))?;
        let queue = settings.queue.clamp(1, 1000);
        Ok(Self(Arc::new(Inner {
            name: folder.name,
            digest: folder.digest,
            width,
            longest: folder.longest,
            prompt: folder.prompt,
            tokenizer: folder.tokenizer,
            places: Arc::new(Semaphore::new(queue)),
            queue,
            usual_ms,
            inbox,
        })))
    }

    /// Its folder's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Names exactly these weights, tokenizer and pooling: SHA-256 in hex, 32 digits kept.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Numbers in an embedding.
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Tokens that a text may have; what comes after them is cut off.
    pub fn longest(&self) -> usize {
        self.0.longest
    }

    /// The embeddings of texts that are to be compared with each other, in their order. What the encoder wants to
    /// stand before such a text (`query: `) is put there.
    ///
    /// When this future is dropped, the texts are given up within a few runs.
    ///
    /// # Errors
    /// [`ModelError::Request`] with more than [`MOST_TEXTS`] texts, and [`ModelError::QueueFull`], at once;
    /// [`ModelError::Failed`], [`ModelError::Stopped`].
    pub async fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Embedding>, ModelError> {
        let inner = &*self.0;
        if texts.len() > MOST_TEXTS {
            let why = format!("{} texts in one request; {MOST_TEXTS} are the most", texts.len());
            return Err(ModelError::Request(why));
        }
        let place = Arc::clone(&inner.places).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => {
                let usual = inner.usual_ms.load(Ordering::Relaxed);
                let retry_after = Duration::from_millis(usual.saturating_mul(inner.queue as u64));
                ModelError::QueueFull { waiting: inner.queue, retry_after }
            }
            TryAcquireError::Closed => ModelError::Stopped,
        })?;
        let read = |text: &T| inner.tokenizer.read(&inner.prompt, text.as_ref(), inner.longest);
        let read: Vec<Read> = texts.iter().map(read).collect::<Result<_, _>>()?;
        let lengths: Vec<(bool, usize)> = read.iter().map(|read| (read.truncated, read.tokens.len())).collect();
        let (answer, embedded) = oneshot::channel();
        let waiting: VecDeque<_> = read.into_iter().enumerate().collect();
        let vectors = vec![Vectors::default(); waiting.len()];
        let job = Job { waiting, vectors, answer: Some(answer), began: Instant::now(), place: Some(place) };
        inner.inbox.send(job).map_err(|_| ModelError::Stopped)?;
        let vectors = embedded.await.map_err(|_| ModelError::Stopped)??;
        let embedding =
            |(Vectors { whole, telling }, (truncated, tokens))| Embedding { vector: whole, telling, truncated, tokens };
        Ok(vectors.into_iter().zip(lengths).map(embedding).collect())
    }
}

/// What the encoder makes of a text.
#[derive(Clone, Default)]
struct Vectors {
    whole: Vec<f32>,
    telling: Vec<f32>,
}

/// A request on its way through the encoder's thread.
struct Job {
    /// Texts that are still to be embedded, with their places in the answer.
    waiting: VecDeque<(usize, Read)>,
    vectors: Vec<Vectors>,
    answer: Option<oneshot::Sender<Result<Vec<Vectors>, ModelError>>>,
    began: Instant,
    place: Option<OwnedSemaphorePermit>,
}

impl Job {
    fn nobody_waits(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Makes room, then answers: who has the answer may ask again. Nobody may be there to hear it.
    fn end(&mut self, result: Result<Vec<Vectors>, ModelError>) {
        self.place = None;
        if let Some(answer) = self.answer.take() {
            let _ = answer.send(result);
        }
    }
}

/// The encoder's thread. It works in rounds: of each request that waits, a text in turn, so that a large one does not
/// hold up the small ones.
struct Worker {
    session: Session,
    jobs: VecDeque<Job>,
    usual_ms: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            self.jobs.push_back(job);
            while !self.jobs.is_empty() {
                self.jobs.extend(inbox.try_iter());
                self.jobs.retain(|job| !job.nobody_waits());
                self.round();
                self.finish();
            }
        }
    }

    fn round(&mut self) {
        let mut texts: Vec<(usize, usize, Read)> = Vec::with_capacity(ROUND);
        while texts.len() < ROUND {
            let before = texts.len();
            for (at, job) in self.jobs.iter_mut().enumerate() {
                if texts.len() < ROUND
                    && let Some((place, read)) = job.waiting.pop_front()
                {
                    texts.push((at, place, read));
                }
            }
            if texts.len() == before {
                break;
            }
        }
        // Neighbours of much the same length need little padding.
        texts.sort_by_key(|(_, _, read)| read.tokens.len());
        for batch in texts.chunks(BATCH) {
            let rows: Vec<&Read> = batch.iter().map(|(_, _, read)| read).collect();
            match self.session.embed(&rows) {
                Ok(vectors) => {
                    for ((at, place, _), vector) in batch.iter().zip(vectors) {
                        self.jobs[*at].vectors[*place] = vector;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the encoder failed on a request");
                    batch.iter().for_each(|(at, ..)| self.jobs[*at].end(Err(ModelError::Failed(error.to_string()))));
                }
            }
        }
    }

    /// Answers the requests that are done.
    fn finish(&mut self) {
        for job in self.jobs.iter_mut().filter(|job| job.waiting.is_empty() && job.answer.is_some()) {
            let took = u64::try_from(job.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let usual = self.usual_ms.load(Ordering::Relaxed);
            self.usual_ms.store(usual.saturating_mul(3).saturating_add(took) / 4, Ordering::Relaxed);
            let vectors = std::mem::take(&mut job.vectors);
            job.end(Ok(vectors));
        }
        self.jobs.retain(|job| job.answer.is_some());
    }
}

/// The direction of the mean of `states`, each weighing so much.
fn pooled<'a>(states: impl Iterator<Item = (&'a [f32], f32)>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for (state, weight) in states {
        sum.iter_mut().zip(state).for_each(|(sum, number)| *sum += weight * number);
    }
    normalised(sum)
}

/// The same direction, of length 1. What has none stays as it is.
fn normalised(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    vector
}

/// How far two vectors point in the same direction: 1 the same, 0 nothing to do with each other.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
