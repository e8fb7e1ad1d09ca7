//! The model's thread: it owns the session, and everything that is read and written goes through it.
//!
//! It works in rounds. A round takes in what has come and lets go of what nobody waits for, gives free rows to who is
//! next, reads one block of one prompt, and writes one token to every row that is past its prompt. So a long prompt
//! holds up the others by one block at a time, and who goes away frees the row within a round. Reading and writing are
//! runs of their own: rows of one token, padded to the length of a block, would cost as much as blocks.
//!
//! One row more than are usually written is kept for people, who so never wait for rules to end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::adapter::AdapterId;
use super::admission::Gate;
use super::answer::{Chosen, Voice};
use super::error::ModelError;
use super::form::Form;
use super::prefix::{BLOCK, BlockName, Prefixes};
use super::queue::FairQueue;
use super::request::{Choice, Class, Finish, Sampling};
use super::rows::{RowId, Rows};
use super::stats::Counters;
use super::tokens::Tokens;
use super::writing::Writing;

/// A request on its way to the model's thread.
pub(crate) struct Job {
    pub(crate) prompt: Vec<u32>,
    /// The prompt's whole blocks; none where it is read as a whole.
    pub(crate) names: Vec<BlockName>,
    pub(crate) adapter: Option<AdapterId>,
    pub(crate) sampling: Sampling,
    pub(crate) form: Option<Form>,
    /// What the answers must be, where only their likelihoods are wanted: a row for each.
    pub(crate) told: Vec<Vec<u32>>,
    /// Tokens to write at most, by answer.
    pub(crate) most: usize,
    pub(crate) class: Class,
    pub(crate) shop: String,
    pub(crate) arrived: Instant,
    /// How long it may take.
    pub(crate) within: Option<Duration>,
    pub(crate) cancelled: CancellationToken,
    pub(crate) watcher: UnboundedSender<Progress>,
}

/// What the thread tells the one who waits. Nobody may be there to hear it.
pub(crate) enum Progress {
    /// More of the first answer.
    Text(String),
    /// All answers, and how many tokens of the prompt needed no reading.
    Done(Vec<(Choice, Vec<Chosen>)>, usize),
    Failed(ModelError),
}

/// Why a request is let go.
enum Gone {
    Cancelled,
    Late,
}

impl Job {
    /// Rows that it needs.
    fn rows(&self) -> usize {
        if self.told.is_empty() { self.sampling.rows() } else { self.told.len() }
    }

    fn gone(&self) -> Option<Gone> {
        if self.cancelled.is_cancelled() || self.watcher.is_closed() {
            return Some(Gone::Cancelled);
        }
        self.within.is_some_and(|within| self.arrived.elapsed() > within).then_some(Gone::Late)
    }

    /// Shows more of the first answer. An error means that nobody waits, which is looked at in the next round.
    fn show(&self, text: String) {
        if !text.is_empty() {
            let _ = self.watcher.send(Progress::Text(text));
        }
    }

    /// Tells who waits that it is over, with what was written until then.
    fn let_go(&self, why: &Gone, choices: Vec<(Choice, Vec<Chosen>)>, cached: usize) {
        let _ = self.watcher.send(match why {
            Gone::Cancelled => Progress::Done(choices, cached),
            Gone::Late => Progress::Failed(ModelError::TooLate { within: self.within.unwrap_or_default() }),
        });
    }
}

/// A request with rows.
struct Task {
    job: Job,
    rows: Vec<RowId>,
    /// Tokens of the prompt that the first row has read, and those of them that came from the cache.
    read: usize,
    cached: usize,
    /// Once the prompt is read.
    writing: Option<Writing>,
}

impl Task {
    fn is_reading(&self) -> bool {
        self.read < self.job.prompt.len()
    }

    fn choices(&self, voice: &Voice<'_>) -> Result<Vec<(Choice, Vec<Chosen>)>, ModelError> {
        match &self.writing {
            Some(writing) => writing.choices(voice),
            None => Ok(nothing()),
        }
    }
}

/// The answers to a request that was given up before its prompt was read.
fn nothing() -> Vec<(Choice, Vec<Chosen>)> {
    vec![(Choice::nothing(Finish::Cancelled), Vec::new())]
}

/// The thread's own.
pub(crate) struct Scheduler {
    pub(crate) rows: Rows,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) end: Vec<u32>,
    pub(crate) prefixes: Prefixes,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Arc<Gate>,
    waiting: FairQueue<Job>,
    /// In the order in which they were admitted.
    tasks: Vec<Task>,
    /// Rows kept for people.
    reserve: usize,
}

impl Scheduler {
    pub(crate) fn new(
        rows: Rows,
        tokens: Arc<Tokens>,
        end: Vec<u32>,
        prefixes: Prefixes,
        counters: Arc<Counters>,
        gate: Arc<Gate>,
    ) -> Self {
        let reserve = usize::from(rows.free() > 1);
        let (waiting, tasks) = (FairQueue::default(), Vec::new());
        Self { rows, tokens, end, prefixes, counters, gate, waiting, tasks, reserve }
    }

    /// Works until nobody can ask any more.
    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        loop {
            if self.tasks.is_empty() && self.waiting.len() == 0 {
                match inbox.recv() {
                    Ok(job) => self.enqueue(job),
                    Err(_) => return,
                }
            }
            for job in inbox.try_iter() {
                self.enqueue(job);
            }
            self.let_go();
            self.admit();
            self.read();
            self.write();
            self.finish();
        }
    }

    fn enqueue(&mut self, job: Job) {
        let tokens = job.prompt.len() + job.most * job.rows();
        let shop = job.shop.clone();
        self.waiting.push(job.class, &shop, tokens as u64, job);
    }

    /// Lets go of what nobody waits for, or not any more.
    fn let_go(&mut self) {
        for job in self.waiting.drain_unwanted(|job| job.gone().is_none()) {
            if let Some(why) = job.gone() {
                job.let_go(&why, nothing(), 0);
            }
        }
        let mut at = 0;
        while at < self.tasks.len() {
            match self.tasks[at].job.gone() {
                None => at += 1,
                Some(why) => {
                    let task = self.end_task(at);
                    let choices = task.choices(&self.voice()).unwrap_or_else(|_| nothing());
                    task.job.let_go(&why, choices, task.cached);
                }
            }
        }
    }

    /// Takes a task out and closes its rows.
    fn end_task(&mut self, at: usize) -> Task {
        let task = self.tasks.remove(at);
        task.rows.iter().for_each(|row| self.rows.close(*row));
        self.count_rows();
        task
    }

    fn count_rows(&self) {
        let open: usize = self.tasks.iter().map(|task| task.rows.len()).sum();
        self.counters.rows.store(open, Ordering::Relaxed);
    }

    /// Gives rows to who is next.
    fn admit(&mut self) {
        while let Some(next) = self.waiting.peek() {
            let kept = if next.class == Class::Person { 0 } else { self.reserve };
            if self.rows.free() < next.rows() + kept {
                return;
            }
            let Some(job) = self.waiting.pop() else { return };
            let opened: Result<Vec<_>, _> = (0..job.rows()).map(|_| self.rows.open(job.adapter)).collect();
            match opened {
                Ok(rows) => self.tasks.push(Task {
                    rows: rows.into_iter().flatten().collect(),
                    job,
                    read: 0,
                    cached: 0,
                    writing: None,
                }),
                Err(error) => self.failed(&job, error),
            }
        }
        self.count_rows();
    }

    fn failed(&self, job: &Job, error: ModelError) {
        if !matches!(error, ModelError::Unfinished { .. }) {
            tracing::error!(%error, shop = job.shop, "the model failed on a request");
            Counters::add(&self.counters.failures, 1);
        }
        let _ = job.watcher.send(Progress::Failed(error));
    }

    /// Reads one block: of a person's prompt, if there is one, and of the one that came first.
    fn read(&mut self) {
        let reading = self.tasks.iter().enumerate().filter(|(_, task)| task.is_reading());
        let Some((at, _)) = reading.min_by_key(|(_, task)| task.job.class) else { return };
        if let Err(error) = self.read_block(at) {
            let task = self.end_task(at);
            self.failed(&task.job, error);
        }
    }

    fn read_block(&mut self, at: usize) -> Result<(), ModelError> {
        let started = Instant::now();
        let Some(task) = self.tasks.get_mut(at) else { return Ok(()) };
        let (prompt, row) = (&task.job.prompt, task.rows[0]);
        // The last token is always read: its logits are wanted.
        let whole = (prompt.len() - 1) / BLOCK;
        let found = self.prefixes.find(task.job.names.get(..whole).unwrap_or_default());
        if let Some(new @ [_, ..]) = found.get(task.read / BLOCK..) {
            self.rows.put(row, new, BLOCK)?;
            task.read += new.len() * BLOCK;
            task.cached += new.len() * BLOCK;
            Counters::add(&self.counters.cached_tokens, new.len() * BLOCK);
        }
        let most = if self.rows.reads_whole() { prompt.len() } else { BLOCK };
        let block = &prompt[task.read..prompt.len().min(task.read + most)];
        let logits = self.rows.read(row, block)?;
        let block_tokens = block.len();
        task.read += block_tokens;
        Counters::add(&self.counters.read_tokens, block_tokens);
        let names = task.job.names.get(..task.read / BLOCK).unwrap_or_default();
        if block_tokens == BLOCK && names.last().is_some_and(|name| self.prefixes.wants(*name)) {
            self.prefixes.keep(names, self.rows.take_last(row, BLOCK)?);
            self.counters.cache_bytes.store(self.prefixes.bytes(), Ordering::Relaxed);
        }
        let more = task.is_reading();
        self.took(&self.counters.reading_us, block_tokens, started);
        if more { Ok(()) } else { self.begin(at, logits) }
    }

    /// Begins the answers to a prompt that was read.
    fn begin(&mut self, at: usize, logits: Vec<f32>) -> Result<(), ModelError> {
        let voice = Voice { tokens: &self.tokens, end: &self.end };
        let Some(task) = self.tasks.get_mut(at) else { return Ok(()) };
        let (form, job) = (task.job.form.take(), &task.job);
        let what = (&job.sampling, job.prompt.as_slice(), job.most, job.told.as_slice());
        let watch = &mut |text| job.show(text);
        task.writing = Some(Writing::begin(what, form, &task.rows, &mut self.rows, logits, &voice, watch)?);
        Counters::add(&self.counters.written_tokens, task.rows.len());
        self.counters.first_token(job.arrived.elapsed());
        Ok(())
    }

    /// Writes one token to each row that is past its prompt.
    fn write(&mut self) {
        let started = Instant::now();
        let pending = self.tasks.iter().filter_map(|task| task.writing.as_ref()).flat_map(Writing::pending);
        let tokens: Vec<(RowId, u32)> = pending.collect();
        if tokens.is_empty() {
            return;
        }
        let mut logits = match self.rows.write(&tokens) {
            Ok(logits) => logits.into_iter(),
            Err(error) => return self.fail_writing(&error),
        };
        let voice = Voice { tokens: &self.tokens, end: &self.end };
        let mut failed = Vec::new();
        for (at, task) in self.tasks.iter_mut().enumerate() {
            let (job, Some(writing)) = (&task.job, &mut task.writing) else { continue };
            let mut own = logits.by_ref().take(writing.pending().len());
            if let Err(error) = writing.take(&mut self.rows, &mut own, &voice, &mut |text| job.show(text)) {
                failed.push((at, error));
            }
            // Those that it did not get to, because it failed.
            own.for_each(drop);
        }
        for (at, error) in failed.into_iter().rev() {
            let task = self.end_task(at);
            self.failed(&task.job, error);
        }
        Counters::add(&self.counters.writes, 1);
        Counters::add(&self.counters.written_tokens, tokens.len());
        self.took(&self.counters.writing_us, tokens.len(), started);
    }

    /// A run over several rows failed: nobody knows on whose account.
    fn fail_writing(&mut self, error: &ModelError) {
        while let Some(at) = self.tasks.iter().position(|task| !task.is_reading()) {
            let task = self.end_task(at);
            self.failed(&task.job, ModelError::Failed(error.to_string()));
        }
    }

    /// Closes the rows of answers that have ended, and hands over those that are complete.
    fn finish(&mut self) {
        let mut at = 0;
        while at < self.tasks.len() {
            let task = &mut self.tasks[at];
            let Some(writing) = &task.writing else {
                at += 1;
                continue;
            };
            if !writing.has_ended() {
                task.rows.retain(|row| {
                    let needed = writing.needs(*row);
                    if !needed {
                        self.rows.close(*row);
                    }
                    needed
                });
                at += 1;
                continue;
            }
            let task = self.end_task(at);
            match task.choices(&self.voice()) {
                Ok(choices) => {
                    let _ = task.job.watcher.send(Progress::Done(choices, task.cached));
                }
                Err(error) => self.failed(&task.job, error),
            }
        }
    }

    /// Counts the time of a run over so many tokens.
    fn took(&self, time: &AtomicU64, tokens: usize, started: Instant) {
        let took = started.elapsed();
        Counters::took(time, took);
        self.gate.measured(tokens, took);
    }

    fn voice(&self) -> Voice<'_> {
        Voice { tokens: &self.tokens, end: &self.end }
    }
}
