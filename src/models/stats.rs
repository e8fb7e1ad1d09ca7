//! What the model has done and how it stands, for whoever watches it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper ends of the first-token histogram's buckets, in milliseconds.
pub const FIRST_TOKEN_EDGES_MS: [u64; 10] = [25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// What the model has done since it was loaded, and how it stands now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that wait or are answered.
    pub requests: usize,
    /// Tokens of their prompts and of what they may write.
    pub queued_tokens: usize,
    /// Rows that are read or written.
    pub rows: usize,
    /// Tokens of prompts that were read.
    pub read_tokens: u64,
    /// Tokens of prompts that needed no reading: they were in the prefix cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub written_tokens: u64,
    /// Time spent reading, in microseconds.
    pub reading_us: u64,
    /// Time spent writing, in microseconds.
    pub writing_us: u64,
    /// Runs that wrote: tokens written by these are rows a run.
    pub writes: u64,
    /// Requests that the runtime failed on.
    pub failures: u64,
    /// Bytes of keys and values in the prefix cache.
    pub cache_bytes: usize,
    /// Requests by the time from their arrival to their first token: by [`FIRST_TOKEN_EDGES_MS`], and one more for
    /// those that took longer.
    pub first_token: [u64; FIRST_TOKEN_EDGES_MS.len() + 1],
    /// All these times together, in milliseconds.
    pub first_token_sum_ms: u64,
}

/// The same, as the model's thread keeps it.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) rows: AtomicUsize,
    pub(crate) read_tokens: AtomicU64,
    pub(crate) cached_tokens: AtomicU64,
    pub(crate) written_tokens: AtomicU64,
    pub(crate) reading_us: AtomicU64,
    pub(crate) writing_us: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) cache_bytes: AtomicUsize,
    first_token: [AtomicU64; FIRST_TOKEN_EDGES_MS.len() + 1],
    first_token_sum_ms: AtomicU64,
}

impl Counters {
    /// Adds to a count.
    pub(crate) fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Adds a time to one in microseconds.
    pub(crate) fn took(count: &AtomicU64, took: Duration) {
        count.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a first token.
    pub(crate) fn first_token(&self, after: Duration) {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let place = FIRST_TOKEN_EDGES_MS.iter().position(|edge| ms <= *edge).unwrap_or(FIRST_TOKEN_EDGES_MS.len());
        self.first_token[place].fetch_add(1, Ordering::Relaxed);
        self.first_token_sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// What it has come to.
    pub(crate) fn read(&self) -> Stats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            requests: 0,
            queued_tokens: 0,
            rows: self.rows.load(Ordering::Relaxed),
            read_tokens: count(&self.read_tokens),
            cached_tokens: count(&self.cached_tokens),
            written_tokens: count(&self.written_tokens),
            reading_us: count(&self.reading_us),
            writing_us: count(&self.writing_us),
            writes: count(&self.writes),
            failures: count(&self.failures),
            cache_bytes: self.cache_bytes.load(Ordering::Relaxed),
            first_token: std::array::from_fn(|at| count(&self.first_token[at])),
            first_token_sum_ms: count(&self.first_token_sum_ms),
        }
    }
}
