//! Capabilities that are programs of their own: a plugin's. Such a capability answers a call by asking others.
//!
//! It is run from its start each time there is a new answer, as a script is, and may wait for days in between. Its calls
//! stand in the same journal, below its own: `points/1`, `points/2` below `points`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::door::{Answer, Door, Failure};
use super::event::Facts;

/// One pass of a program.
pub struct Task<'a> {
    /// The capability, by its full name: `acme-loyalty/points.add`.
    pub capability: &'a str,
    /// What was asked; it fits the schema.
    pub input: &'a Json,
    /// What the run works on.
    pub facts: &'a Facts,
    /// The same for every pass of this call, another for every other call: what chance is drawn from.
    pub seed: [u8; 32],
}

/// The door as a program has it.
pub trait ProgramDoor: Door + Send {
    /// When the last answer came that the program was given, or the call began. The same in every pass.
    fn now(&self) -> Timestamp;
}

/// How far a pass came.
#[derive(Clone, Debug, PartialEq)]
pub enum Ran {
    /// It asked for something that has no answer yet.
    Waiting,
    /// It has answered.
    Answered(Answer),
    /// It wants to be asked again after this time, from the start and anew: it has changed nothing yet.
    Again(Duration, String),
    /// Who runs it cannot do so just now; after this time it goes on where it was.
    Later(Duration, String),
}

/// What answers a capability by asking others. Pure but for the door: the same task over the same answers asks the same.
pub trait Program: Send + Sync {
    /// Its version, as its maker counts: `1.2.0`. A call stays on the version that it began with.
    fn version(&self) -> &str;

    /// Whether this program may ask that on this run.
    ///
    /// # Errors
    /// The answer that it gets instead: `denied`, with what is missing.
    fn may_ask(&self, facts: &Facts, capability: &str, input: &Json) -> Result<(), Failure>;

    /// Runs it, once. The door is the pass's own.
    fn run(&self, task: &Task<'_>, door: Box<dyn ProgramDoor>) -> Ran;
}
