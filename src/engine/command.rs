//! What a person may ask of a shop's desk. A command is carried out within a turn, so it is on disk before it is
//! answered, and no two of them can decide the same thing twice.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::EngineError;
use super::decide::Decision;
use super::desk::{Desk, Turn};
use crate::domain::RunId;
use crate::store::StoreError;

/// What a person asks to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A call that waits for a person.
    Decide(Decision),
    /// A rule is paused, or all of them.
    Pause {
        /// Its id; `None`: all rules of the shop, those to come included.
        rule: Option<String>,
        /// Who asks.
        by: String,
        /// Why, where they say it.
        why: Option<String>,
    },
    /// Dead runs go on from the calls that failed them.
    Retry {
        /// Which.
        runs: Vec<RunId>,
        /// Who asks.
        by: String,
    },
    /// Dead runs are left as they are.
    Drop {
        /// Which.
        runs: Vec<RunId>,
    },
    /// What live runs did within a time is taken back.
    Undo {
        /// Which: the newest first.
        runs: Vec<RunId>,
        /// Since when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
        /// Who asks.
        by: String,
    },
    /// A pause is lifted.
    Resume {
        /// Its id; `None`: the pause of all.
        rule: Option<String>,
        /// Who asks.
        by: String,
    },
}

/// What a command came to: the runs that it touched, and what became of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched(pub Vec<(RunId, String)>);

impl Touched {
    /// What begins with this says why a run was left as it is.
    pub const LEFT: &str = "left: ";

    /// One of its lines, as the API gives it.
    pub fn json((run, what): &(RunId, String)) -> Json {
        let left = what.strip_prefix(Self::LEFT);
        json!({ "run": run, "what": left.unwrap_or(what), "left": left.is_some() })
    }
}

impl Desk {
    /// Carries a command out as part of this turn.
    pub(super) async fn carry_out(
        &mut self,
        turn: &mut Turn,
        command: Command,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        match command {
            Command::Decide(decision) => self.decide(turn, &decision).await,
            Command::Pause { rule, by, why } => self.pause(turn, rule, by, why).await,
            Command::Retry { runs, by } => self.retry(turn, &runs, &by).await,
            Command::Undo { runs, since, until, by } => self.undo(turn, &runs, (since, until), &by).await,
            Command::Drop { runs } => self.drop_dead(turn, &runs).await,
            Command::Resume { rule, by } => self.resume(turn, rule, &by).await,
        }
    }
}
