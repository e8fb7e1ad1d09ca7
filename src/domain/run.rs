//! Runs and their calls: the journal, the outbox and the timers in one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::door::{Answer, AskOptions, Failure};
use super::event::{Context, Event};
use super::ids::RunId;

/// Who answers a run's calls. One event may have a run of each mode for one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The world.
    #[default]
    Live,
    /// The world is read and left as it is: writes are recorded and answered with their stand-in.
    Shadow,
    /// It takes back what a live run did: no rule is replayed, its calls were given to it.
    Undo,
}

/// One version of one rule, working on one event.
#[derive(Clone, Debug)]
pub struct Run {
    /// Ours; sorts by the time it began.
    pub id: RunId,
    /// The rule's id.
    pub rule: Arc<str>,
    /// The rule's version: the run stays on it.
    pub version: Arc<str>,
    /// Who answers its calls.
    pub mode: Mode,
    /// What it works on.
    pub event: Arc<Event>,
    /// The records as they were when the event was matched.
    pub context: Arc<Context>,
    /// Runs of one rule in the same lane go one after another.
    pub lane: Arc<str>,
    /// Where it stands.
    pub state: RunState,
    /// When it began: the `now` of its expressions.
    pub started: Timestamp,
    /// When it ended, and how.
    pub ended: Option<(Timestamp, End)>,
    /// Its calls, in the order in which they were first asked.
    pub calls: Vec<Call>,
}

impl Run {
    /// The run by itself.
    #[must_use]
    pub fn without_calls(&self) -> Self {
        Self {
            id: self.id,
            rule: self.rule.clone(),
            version: self.version.clone(),
            mode: self.mode,
            event: self.event.clone(),
            context: self.context.clone(),
            lane: self.lane.clone(),
            state: self.state,
            started: self.started,
            ended: self.ended.clone(),
            calls: Vec::new(),
        }
    }

    /// The call at this path.
    pub fn call(&self, path: &str) -> Option<&Call> {
        self.calls.iter().find(|call| call.path == path)
    }

    /// The call at this path, to be changed.
    pub fn call_mut(&mut self, path: &str) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.path == path)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its lane is busy.
    Queued,
    /// It holds its lane.
    Active,
    /// It waits for the clock, an event or a person, outside its lane.
    Waiting,
    /// It is over.
    Ended,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum End {
    /// It came to its end.
    Done,
    /// A call failed and the rule did not handle it, or an expression could not be worked out.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// A person said no.
    Declined,
    /// Replayed, it asked for something else at the same place than its journal says.
    Diverged {
        /// The call's path.
        path: String,
        /// What the journal has: capability and input.
        recorded: String,
        /// What it asks now.
        asked: String,
    },
    /// A newer run took its lane (`overlap: restart`).
    Replaced,
    /// Its lane was busy (`overlap: skip`).
    Skipped,
    /// A new version of its rule went live (`on_change: cancel`), or a person ended it.
    Cancelled,
}

/// One use of a capability by a run: what was asked, what was answered, where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its identity within the run.
    pub path: String,
    /// Counts the run's calls in the order in which they were first asked, from 0.
    pub position: u32,
    /// Which capability.
    pub capability: String,
    /// Of capability and input: the same path with another digest means that the run diverged.
    pub digest: String,
    /// What was asked.
    pub input: Json,
    /// Label and retry.
    pub options: AskOptions,
    /// Where it stands.
    pub state: CallState,
    /// Attempts started so far.
    pub attempts: u32,
    /// Not before then; where something else may answer it (`awaits`), the moment at which it is answered without.
    pub due: Timestamp,
    /// What else than the clock answers it.
    pub awaits: Option<Awaits>,
    /// When it was first asked.
    pub asked: Timestamp,
    /// When it was answered.
    pub answered: Option<Timestamp>,
    /// Its attempts and their troubles, oldest first; of many the first and the last.
    pub log: Vec<LogLine>,
    /// Once it is answered.
    pub answer: Option<Answer>,
    /// What went wrong at the last attempt.
    pub trouble: Option<String>,
}

impl Call {
    /// The most lines that its log keeps.
    const MOST_LINES: usize = 40;

    /// Notes something in its log. Where that is full the line before the last goes: how it began stays to be seen.
    pub fn note(&mut self, at: Timestamp, what: impl Into<String>) {
        self.write(LogLine { at, what: what.into(), by: None });
    }

    /// Notes what a person did.
    pub fn note_by(&mut self, at: Timestamp, by: &str, what: impl Into<String>) {
        self.write(LogLine { at, what: what.into(), by: Some(by.to_owned()) });
    }

    fn write(&mut self, line: LogLine) {
        if self.log.len() >= Self::MOST_LINES {
            self.log.remove(Self::MOST_LINES - 1);
        }
        self.log.push(line);
    }

    /// Whether a person is to decide it: an approval, or a call of which nobody else can tell whether it happened.
    pub fn waits_for_person(&self) -> bool {
        match self.state {
            CallState::Unknown => true,
            CallState::Pending => self.awaits == Some(Awaits::Person),
            CallState::Lost | CallState::Started | CallState::Answered => false,
        }
    }

    /// What a person did last.
    pub fn last_by(&self) -> Option<&LogLine> {
        self.log.iter().rev().find(|line| line.by.is_some())
    }
}

/// Something that happened to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// What, for people.
    pub what: String,
    /// Who did it, where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What else than the clock answers a pending call. As text: `event:order.fulfilled order/123`, `person`,
/// `resume`, `calls`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Awaits {
    /// An event of this type (`order.fulfilled`, or `order.*`) that is about this (`order/123`).
    Event {
        /// The type, or all of a kind.
        kind: String,
        /// What it is about.
        about: String,
    },
    /// A person: an approval.
    Person,
    /// Its rule's pause to be lifted: a write that is held.
    Resume,
    /// Nothing from outside: a program works on it, and its own calls are answered.
    Calls,
}

impl fmt::Display for Awaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { kind, about } => write!(f, "event:{kind} {about}"),
            Self::Person => f.write_str("person"),
            Self::Resume => f.write_str("resume"),
            Self::Calls => f.write_str("calls"),
        }
    }
}

impl FromStr for Awaits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("event:").and_then(|rest| rest.split_once(' '))) {
            ("person", _) => Ok(Self::Person),
            ("resume", _) => Ok(Self::Resume),
            ("calls", _) => Ok(Self::Calls),
            (_, Some((kind, about))) => Ok(Self::Event { kind: kind.to_owned(), about: about.to_owned() }),
            _ => Err(format!("`{text}` says nothing of what a call waits for")),
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// To be attempted when it is due. With a time far off it is a timer.
    Pending,
    /// An attempt's answer was lost; when it is due, we look whether it happened.
    Lost,
    /// An attempt is under way.
    Started,
    /// An attempt's answer was lost and nobody but a person can tell.
    Unknown,
    /// There is an answer.
    Answered,
}

/// The versions that listen to events of a type, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// The digest of the rest: the same versions have the same id, in every process.
    pub id: i64,
    /// Rule and version.
    pub rules: Vec<(Arc<str>, Arc<str>)>,
}

impl Listeners {
    /// These versions.
    pub fn new(rules: Vec<(Arc<str>, Arc<str>)>) -> Self {
        let mut hash = Sha256::new();
        for (rule, version) in &rules {
            hash.update(format!("{rule} {version}\n"));
        }
        let digest: [u8; 32] = hash.finalize().into();
        let id = digest.iter().take(8).fold(0_i64, |id, byte| id << 8 | i64::from(*byte));
        Self { id, rules }
    }
}

/// What came of a version that listened to an event, as it is kept. Which values it saw is worked out again when
/// somebody asks: matching is pure, and what it looked at is kept with the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It runs.
    Runs,
    /// This one of its conditions (0 is the first) was the first that did not hold.
    False(u32),
    /// It did not run for another reason: it is paused, it broke off.
    Because(String),
}

/// Why a rule that listened to an event did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNot {
    /// The rule's id.
    pub rule: String,
    /// The rule's version.
    pub version: String,
    /// The first clause that was false, as the rule has it.
    pub clause: String,
    /// Its line in the rule's file (1 is the first).
    pub line: usize,
    /// What the clause saw: names as written, values as people read them.
    pub saw: Vec<(String, String)>,
    /// Where the clause could not be worked out, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_waits_for_reads_back() {
        let event = Awaits::Event { kind: "order.*".into(), about: "conversation/a b".into() };
        for awaits in [event, Awaits::Person, Awaits::Resume, Awaits::Calls] {
            assert_eq!(awaits.to_string().parse(), Ok(awaits));
        }
        assert!("someone".parse::<Awaits>().is_err());
    }
}
