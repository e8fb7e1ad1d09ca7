//! What a person may ask of a shop's desk. A command is carried out within a turn, so it is on disk before it is
//! answered, and no two of them can decide the same thing twice.

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
}

/// What a command came to: the runs that it touched, and what became of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched(pub Vec<(RunId, String)>);

impl Desk {
    /// Carries a command out as part of this turn.
    pub(super) async fn carry_out(
        &mut self,
        turn: &mut Turn,
        command: Command,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        match command {
            Command::Decide(decision) => self.decide(turn, &decision).await,
        }
    }
}
