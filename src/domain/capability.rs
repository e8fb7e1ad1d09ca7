//! Capabilities: what a run may do or ask.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::decision::Decided;
use super::door::{Answer, Failure};
use super::event::Facts;
use super::ids::RunId;
use super::on_record::OnRecord;
use super::platform::Shop;
use super::program::Program;
use super::run::Awaits;
use super::schema::Shape;

/// What a capability does to the world, and so what happens to it in each mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Looks: `order.get`, `model.write`.
    Read,
    /// Changes something outside: `order.tag`, `message.send`. A rule must `allow` it.
    Write,
    /// Decides when the run goes on: `wait`.
    Control,
    /// The shop's own small state: `memory.add`.
    Memory,
    /// Answered at once, recorded, never stops a run: `log`.
    Instant,
}

/// How a repeat is made harmless when nobody can tell whether an attempt arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// The other side takes our key, or doing it twice is the same as doing it once: just repeat.
    Key,
    /// We can look whether it happened.
    Lookup,
    /// Neither: it becomes `unknown` and waits for a person.
    None,
}

/// The declaration of a capability: the checker, the reference, the rule tests and the door all read this.
#[derive(Clone, Debug)]
pub struct Spec {
    /// `order.tag`.
    pub name: &'static str,
    /// One or two sentences for merchants.
    pub doc: &'static str,
    /// What it does to the world.
    pub kind: Kind,
    /// How a repeat is made harmless.
    pub repeat: Repeat,
    /// JSON Schema (2020-12) of the input: an object with `properties`, each with a `description`.
    pub input: Json,
    /// JSON Schema of the answer.
    pub output: Json,
    /// A use of it that is its test, its page and its stand-in answer.
    pub example: Example,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// What comes of it at the platform.
    pub makes: &'static [Makes],
    /// What takes it back, where something can.
    pub inverse: Option<Inverse>,
    /// The field of the input that is money, where it moves some.
    pub amount: Option<&'static str>,
    /// Of a program: the writes that it may ask for in its turn.
    pub implies: Vec<String>,
    /// Of a program: the events that it may wait for in its turn.
    pub awaits: Vec<String>,
}

impl Spec {
    /// What a declaration begins with; it must add texts, schemas and an example, and says what is not as here: a
    /// write nobody may repeat, anything else repeated freely, half a minute for an attempt.
    pub fn of(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            doc: "",
            kind,
            repeat: if kind == Kind::Write { Repeat::None } else { Repeat::Key },
            input: Shape::object(&[], &[]),
            output: Shape::object(&[], &[]),
            example: Example { input: json!({}), answer: json!({}) },
            deadline: Duration::from_secs(30),
            makes: &[],
            inverse: None,
            amount: None,
            implies: Vec::new(),
            awaits: Vec::new(),
        }
    }

    /// Whether a plugin provides it: its name has the plugin's in front.
    pub fn is_plugins(&self) -> bool {
        self.name.contains('/')
    }

    /// Whether a rule must list it under `allow`: it changes something outside, itself or by what it asks for.
    pub fn must_be_allowed(&self) -> bool {
        self.kind == Kind::Write || !self.implies.is_empty()
    }
}

/// An event that a write brings about at the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Makes {
    /// `order.updated`.
    pub event: &'static str,
    /// The fields of the event's own record that the write itself changes. What a platform counts along with every
    /// change, `updated_at`, is not among them.
    pub fields: &'static [&'static str],
}

/// What takes a write back: the capability to ask and its input, made of what was known before the write, its input
/// and its answer. `None` where there is nothing to take back, or it is not known what was before.
pub type Inverse = fn(&Facts, &Json, &Json) -> Option<(&'static str, Json)>;

/// An input and the answer it gets.
#[derive(Clone, Debug)]
pub struct Example {
    /// Fits the input schema.
    pub input: Json,
    /// Fits the output schema; stands in for a real answer where nothing may leave the building.
    pub answer: Json,
}

/// One attempt at a call.
#[derive(Clone)]
pub struct Attempt {
    /// The shop's connections.
    pub shop: Arc<Shop>,
    /// What the run is about. Only typed fields of these records and inputs are *given facts*.
    pub facts: Facts,
    /// The run.
    pub run: RunId,
    /// The call's path within the run.
    pub path: String,
    /// The same for every attempt of this call and for no other call: what `Repeat::Key` hands over.
    pub key: String,
    /// Who last approved something in this run before this call; `None` where no person has.
    pub approved_by: Option<String>,
    /// 1 for the first.
    pub number: u32,
    /// The shop's clock, now.
    pub now: Timestamp,
    /// Cancelled when nobody waits for the answer any more.
    pub cancelled: CancellationToken,
    /// Where text that is being written may be watched.
    pub watch: Option<TextSink>,
    /// What is on record of this shop; nothing where a run is only tried.
    pub on_record: Option<Arc<dyn OnRecord>>,
}

/// Somebody who watches text as it is written. It must not block.
pub type TextSink = Arc<dyn Fn(Written<'_>) + Send + Sync>;

/// What somebody sees who watches a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// More of it.
    More(&'a str),
    /// All of it so far is taken back: it may not go out. Another text may begin.
    Anew,
}

/// What one attempt came to. Retrying is the engine's.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It happened, and this is the answer.
    Done(Json),
    /// It did not happen; try again, not before this time where the other side says so.
    RetryAfter(Option<Duration>, String),
    /// It did not happen and never will.
    Refused(Failure),
    /// Nobody can tell whether it happened: the answer was lost.
    Unknown(String),
    /// Control: nothing more to do until then; the answer is then [`Capability::timed_out`].
    Until(Timestamp),
    /// Control: something else answers it; where nothing has by then, the answer is [`Capability::timed_out`].
    Await(Awaits, Timestamp),
    /// Memory: it happens in the transaction that records the answer.
    Memory(MemoryOp),
}

impl Verdict {
    /// Refused, with a stable code and a text for people.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::Refused(Failure::new(code, message))
    }
}

/// A use of the shop's own small state.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum MemoryOp {
    Get {
        key: String,
    },
    Set {
        key: String,
        value: Json,
        only_if: Option<Json>,
    },
    Add {
        key: String,
        by: rust_decimal::Decimal,
    },
    /// Adds to a list, which holds `most` at the most.
    Push {
        key: String,
        value: Json,
        most: usize,
    },
    /// Gives the list, and forgets it.
    Take {
        key: String,
    },
}

impl MemoryOp {
    /// The name of the value that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::Add { key, .. }
            | Self::Push { key, .. }
            | Self::Take { key } => key,
        }
    }
}

/// Whether a call whose answer was lost happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// Yes, and this is the answer.
    Happened(Json),
    /// No: it may be tried again.
    DidNot,
    /// Looking failed for now; look again.
    Later(String),
}

/// One capability. Stateless: all it needs comes with the attempt.
#[async_trait]
pub trait Capability: Send + Sync {
    /// Its declaration.
    fn spec(&self) -> &Spec;

    /// Makes one attempt. The input has been checked against the schema. Asked of reads and writes only.
    async fn perform(&self, _attempt: &Attempt, _input: &Json) -> Verdict {
        Verdict::refused("internal", format!("{} makes no attempts (a bug in Storehand)", self.spec().name))
    }

    /// What a use comes to that does not leave the process (`wait`, `memory.*`). Pure. Never asked of reads and
    /// writes.
    fn work_out(&self, _facts: &Facts, _now: Timestamp, _input: &Json) -> Verdict {
        Verdict::refused("internal", format!("{} cannot be worked out (a bug in Storehand)", self.spec().name))
    }

    /// Control: the answer where the time has come and nothing else has answered.
    fn timed_out(&self, _input: &Json) -> Answer {
        Answer::Done(Json::Object(serde_json::Map::new()))
    }

    /// Control: the answer where a person has decided; asked only of calls that wait for one.
    fn decided(&self, _input: &Json, _decided: &Decided) -> Answer {
        Answer::Failed(Failure::new("internal", format!("{} asks nobody (a bug in Storehand)", self.spec().name)))
    }

    /// The answer that a rule test's mock stands for, where it is written in the capability's own short way
    /// (`ok: approved`). The words that may be written so stand under `mocks` in the schema of its answer, where the
    /// checker finds them.
    fn mocked(&self, _input: &Json, _mock: &Json) -> Option<Answer> {
        None
    }

    /// The answer that stands in for a real one where nobody is asked and nothing is done.
    fn stand_in(&self, _input: &Json) -> Answer {
        Answer::Done(self.spec().example.answer.clone())
    }

    /// Whom it reaches: the address or id of the customer who sees this use of it, where one does. Limits count by it.
    fn reaches(&self, _facts: &Facts, _input: &Json) -> Option<String> {
        None
    }

    /// The program that answers it, where it is one. `version` is the one that a call began with; none for a new call.
    ///
    /// # Errors
    /// The answer that the call gets where that version cannot be run any more.
    fn program(&self, _version: Option<&str>) -> Option<Result<Arc<dyn Program>, Failure>> {
        None
    }

    /// Looks whether an earlier attempt happened; asked only where [`Spec::repeat`] is [`Repeat::Lookup`].
    async fn lookup(&self, _attempt: &Attempt, _input: &Json) -> Lookup {
        Lookup::Later(format!("{} cannot look", self.spec().name))
    }
}
