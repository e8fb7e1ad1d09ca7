//! What the server needs of the rooms below, as small as it needs it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::domain::{EventId, NewEvent, OnChange, RunId, ShopId};

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

    /// What waits for a person, newest first: approvals, and calls of which nobody else can tell whether they happened.
    async fn approvals(&self, shop: &ShopId, page: Page<RunId>) -> Result<Vec<Json>, ReadingError>;

    /// What must be in order before this process is of use: the store, the rules, the model.
    async fn checks(&self) -> Vec<Check>;

    /// Further metrics in Prometheus' text format; empty where there are none.
    fn metrics(&self) -> String {
        String::new()
    }
}

/// Carries out what people ask for.
#[async_trait]
pub trait Steering: Send + Sync {
    /// Carries it out and says what it came to. `who` is the name of the token that was shown.
    ///
    /// # Errors
    /// [`SteerError`], and then nothing was done.
    async fn steer(&self, shop: &ShopId, who: &str, what: Steer) -> Result<Json, SteerError>;
}

/// What people may ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Steer {
    /// A call that waits for a person is decided.
    Decide {
        /// Its run.
        run: RunId,
        /// Its path within the run.
        path: String,
        /// What they say.
        says: Says,
    },
    /// A version of a rule goes live.
    Activate(Activation),
}

/// Which version of a rule is to go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The rule's id.
    pub rule: String,
    /// The version.
    pub target: Target,
    /// What becomes of waiting runs this once; what the version says where it is not given.
    pub on_change: Option<OnChange>,
    /// Only where this version is live until then: somebody may have been quicker.
    pub instead_of: Option<String>,
    /// Nothing is done, and it is said what would be.
    pub only_look: bool,
}

/// How a version is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one that the rule's file holds.
    File,
    /// By its name, or enough of its beginning.
    Version(String),
    /// The one that was live before.
    Previous,
}

/// Tells how rules stand.
#[async_trait]
pub trait RuleBook: Send + Sync {
    /// Every rule, with the versions in force and what decides that.
    ///
    /// # Errors
    /// [`SteerError`].
    async fn rules(&self, shop: &ShopId) -> Result<Vec<Json>, SteerError>;

    /// One rule, with its history.
    ///
    /// # Errors
    /// [`SteerError`].
    async fn rule(&self, shop: &ShopId, id: &str) -> Result<Json, SteerError>;

    /// A version of a rule, with its text.
    ///
    /// # Errors
    /// [`SteerError`].
    async fn version(&self, shop: &ShopId, id: &str, version: &str) -> Result<Json, SteerError>;

    /// How a rule's shadow does beside its live version.
    ///
    /// # Errors
    /// [`SteerError`].
    async fn shadow(&self, shop: &ShopId, id: &str) -> Result<Json, SteerError>;
}

/// What a person says of a call that waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
pub enum Says {
    /// Yes; of a call that is unknown: it did not happen, do it.
    Accept {
        /// The text in place of the one that was shown.
        #[serde(default)]
        text: Option<String>,
    },
    /// No; of a call that is unknown: leave it.
    Reject {
        /// Why.
        #[serde(default)]
        because: Option<String>,
    },
    /// Of a call that is unknown: it happened.
    Happened {
        /// What it answered, where that is known.
        #[serde(default)]
        answer: Json,
    },
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// There is no such rule, run or call: 404.
    #[error("{0}")]
    NotFound(String),
    /// It does not stand as was supposed, such as when somebody else was quicker: 409.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be done as asked: 422.
    #[error("{0}")]
    Invalid(String),
    /// Something failed in here.
    #[error("{0}")]
    Failed(String),
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
