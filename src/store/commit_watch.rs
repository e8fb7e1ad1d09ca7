//! Somebody who looks on while the store commits. A crash test ends the process there; nobody else has a use for it.

use std::fmt;
use std::sync::Arc;

/// Where the writer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMoment {
    /// All is written that belongs to the commit, and nothing of it is there yet.
    Before,
    /// It is on disk, and nobody has been told.
    After,
}

/// Told of each commit, on the writer's own thread: everybody who writes waits for it.
#[derive(Clone)]
pub struct CommitWatch(Arc<dyn Fn(CommitMoment) + Send + Sync>);

impl CommitWatch {
    /// Has this called at each commit.
    pub fn new(look: impl Fn(CommitMoment) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(super) fn look(&self, moment: CommitMoment) {
        self.0(moment);
    }
}

impl fmt::Debug for CommitWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitWatch")
    }
}
