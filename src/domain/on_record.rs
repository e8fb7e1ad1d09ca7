//! What the engine has on record of a shop, and a run may ask for.

use async_trait::async_trait;
use jiff::Timestamp;

use super::ids::RunId;
use super::record::Text;

/// Tells what is on record of one shop.
#[async_trait]
pub trait OnRecord: Send + Sync {
    /// How much waits, and of it the `most` that have waited longest.
    ///
    /// # Errors
    /// Why it cannot be told now.
    async fn waiting(&self, most: usize) -> Result<Waiting, String>;

    /// The titles of the products that the shop has, `most` of them at the most.
    ///
    /// # Errors
    /// Why it cannot be told now.
    async fn product_titles(&self, most: usize) -> Result<Vec<String>, String>;
}

/// What waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Approvals that nobody has decided.
    pub approvals: u64,
    /// Calls of which nobody can tell whether they happened.
    pub unknown: u64,
    /// Runs that failed and that nobody has retried or dropped.
    pub failed: u64,
    /// Those that have waited longest, the oldest first.
    pub oldest: Vec<Open>,
}

/// One thing that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// What it is.
    pub what: OpenKind,
    /// Of which run.
    pub run: RunId,
    /// The call; nothing where it is the whole run.
    pub path: Option<String>,
    /// The rule's id.
    pub rule: Text,
    /// What the run's event is about.
    pub subject: Text,
    /// Since when it waits.
    pub since: Timestamp,
    /// Until when an approval may be decided.
    pub until: Option<Timestamp>,
    /// What is asked, or what went wrong: one line.
    pub text: String,
}

/// What it is that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenKind {
    /// An approval.
    Approval,
    /// A call of which nobody can tell whether it happened.
    Unknown,
    /// A run that failed.
    Failed,
}

impl OpenKind {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}
