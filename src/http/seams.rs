//! What the server needs of the rooms below, as small as it needs it.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value as Json;

use crate::domain::{EventId, NewEvent, RunId, ShopId};

/// Takes events, for good.
#[async_trait]
pub trait Accept: Send + Sync {
    /// Puts events on disk, each once; returns when they are there, in the same order.
    ///
    /// # Errors
    /// Where they are not all there: the sender must come again.
    async fn accept(&self, shop: &ShopId, source: &str, events: Vec<NewEvent>) -> Result<Vec<Accepted>, IntakeError>;

    /// How many deliveries wait for their commit.
    fn waiting(&self) -> usize;
}

/// An event that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: EventId,
    /// False where it had been there before.
    pub fresh: bool,
}

/// Why events were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// Too many wait already.
    #[error("too many deliveries wait for their commit")]
    Full,
    /// The process is about to end.
    #[error("the process is about to end")]
    Closing,
    /// The store did not take them.
    #[error("{0}")]
    Failed(String),
}

/// Answers questions about what happened.
#[async_trait]
pub trait Reading: Send + Sync {
    /// Events, newest first: of a type, where one is given.
    async fn events(&self, shop: &ShopId, kind: Option<&str>, page: Page<EventId>) -> Result<Vec<Json>, ReadingError>;

    /// An event with its context, the runs it started, and why other rules did not run.
    async fn event(&self, shop: &ShopId, id: EventId) -> Result<Option<Json>, ReadingError>;

    /// Runs, newest first: of a rule, where one is given.
    async fn runs(&self, shop: &ShopId, rule: Option<&str>, page: Page<RunId>) -> Result<Vec<Json>, ReadingError>;

    /// A run with its calls.
    async fn run(&self, shop: &ShopId, id: RunId) -> Result<Option<Json>, ReadingError>;

    /// What must be in order before this process is of use: the store, the rules, the model.
    async fn checks(&self) -> Vec<Check>;

    /// Further metrics in Prometheus' text format; empty where there are none.
    fn metrics(&self) -> String {
        String::new()
    }
}

/// An answer that could not be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReadingError(pub String);

/// A part of a list, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// Only what is older than this.
    pub before: Option<Id>,
    /// At most so many.
    pub limit: usize,
}

/// The state of one part.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// `store`, `rules`, `model`.
    pub name: &'static str,
    /// Whether it is in order.
    pub ok: bool,
    /// One short sentence, with nothing secret in it: anybody may read it.
    pub detail: String,
}
