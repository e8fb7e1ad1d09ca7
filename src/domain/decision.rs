//! What people decide about calls that wait for one of them: approvals, and calls of which nobody else can tell.

use jiff::Timestamp;
use serde_json::Value as Json;

/// What a person says of a call that waits for one.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// Yes. Of a call that is unknown: it did not happen, do it.
    Accept {
        /// The text in place of the one that was shown.
        text: Option<String>,
    },
    /// No. Of a call that is unknown: leave it.
    Reject {
        /// Why.
        because: Option<String>,
    },
    /// Of a call that is unknown: it happened.
    Happened {
        /// What it answered, where that is known.
        answer: Json,
    },
}

/// A decision, with who took it and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The name of the token that was shown.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What they say.
    pub says: Says,
}
