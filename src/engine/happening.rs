//! What happens, as it happens: for the demo, the log and whoever watches. Told after it is on disk.

use std::sync::Arc;

use crate::domain::{Answer, End, Event, Missing, RunId, ShopId, WhyNot};

/// Something that happened in a shop.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Which shop.
    pub shop: ShopId,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// An event was matched against the rules that listen to it.
    Matched {
        /// The event.
        event: Arc<Event>,
        /// Rules that run on it, with what made them match.
        ran: Vec<Ran>,
        /// Rules that do not, and why not.
        why_not: Vec<WhyNot>,
        /// Records that it speaks of and that are not in its context.
        missing: Vec<Missing>,
    },
    /// A run asks a capability for something.
    Asked {
        /// Which run.
        run: RunId,
        /// Of which rule.
        rule: Arc<str>,
        /// The call's path.
        path: String,
        /// The capability.
        capability: String,
        /// What it asks.
        input: serde_json::Value,
    },
    /// A piece of text was written.
    Text {
        /// For which run.
        run: RunId,
        /// For which call.
        path: String,
        /// The piece.
        piece: String,
    },
    /// What was written so far may not go out and is given up; another text may begin.
    TextGivenUp {
        /// For which run.
        run: RunId,
        /// For which call.
        path: String,
    },
    /// An attempt failed and will be repeated, or nobody can tell whether it happened.
    Trouble {
        /// Which run.
        run: RunId,
        /// The call's path.
        path: String,
        /// The capability.
        capability: String,
        /// What went wrong, and what comes next.
        message: String,
    },
    /// A call was answered.
    Answered {
        /// Which run.
        run: RunId,
        /// Of which rule.
        rule: Arc<str>,
        /// The call's path.
        path: String,
        /// The capability.
        capability: String,
        /// The answer.
        answer: Answer,
    },
    /// A run is over.
    Ended {
        /// Which run.
        run: RunId,
        /// Of which rule.
        rule: Arc<str>,
        /// How.
        end: End,
    },
}

/// A rule that runs on an event.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The rule's id.
    pub rule: Arc<str>,
    /// Its run.
    pub run: RunId,
    /// Its conditions, as the rule has them: all held.
    pub because: Vec<String>,
}
