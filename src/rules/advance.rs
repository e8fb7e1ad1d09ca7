//! What a run does next: its steps or its script are replayed from the start over the door's answers.
//!
//! *Architecture Invariant*: pure. The same rule, facts and answers give the same calls, however often this is run.

use serde::{Deserialize, Serialize};

use super::rule::{Body, Rule};
use super::{script, steps};
use crate::domain::{Door, Facts, Failure};

/// The most calls of one run.
pub(crate) const MOST_CALLS: usize = 1_000;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It asked for something that has no answer yet.
    Waiting,
    /// It is over.
    Ended(Outcome),
}

/// How a run ended by itself. That it diverged, only the journal can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was to do.
    Done,
    /// A call failed that the rule does not handle, or the rule itself is wrong.
    Failed(Failure),
    /// A person said no.
    Declined,
}

impl Outcome {
    /// What a failure that nobody handles comes to.
    pub(crate) fn of(failure: Failure) -> Self {
        if failure.code == "declined" { Self::Declined } else { Self::Failed(failure) }
    }
}

/// Takes a run as far as its answers reach.
///
/// The door is taken and given back, since a script's functions own what they reach while it runs.
pub fn advance<D: Door + Send + 'static>(rule: &Rule, facts: &Facts, door: D) -> (Progress, D) {
    match &rule.body {
        Body::Steps(list) => {
            let mut door = door;
            (steps::run(list, facts, &mut door), door)
        }
        Body::Script(it) => script::run(it, facts, door),
    }
}
