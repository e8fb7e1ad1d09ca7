//! Fuses: what a shop's rules may do at the most before one of them is paused.

use super::limits::{Limits, Rate};

/// Past any of these the rule that was about to go further is paused, and a person looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fuses {
    /// Writes and money of each rule; messages to one customer over all rules together.
    pub limits: Limits,
    /// Runs of one rule on one subject: what a loop makes many of.
    pub runs_per_subject: Option<Rate>,
}
