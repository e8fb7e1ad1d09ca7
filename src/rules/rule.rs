//! A rule, read and checked: what the file says, with its expressions compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::expr::{Expr, Template};
use super::schedule::Schedule;
use super::script::Script;
pub use crate::domain::OnChange;
use crate::domain::{Inputs, Limits, Retry, Value, is_of_kind};

/// The capability that answers with an event to come. Beside it only `APPROVAL` is known by name in this room: which
/// events are waited for must be known when the file is checked, since an event that nobody waits for is not kept for
/// those who might.
pub(super) const AWAITS: &str = "wait_for";

/// What asks a person about a text that was held back, and the part of its call's path behind the step's.
pub(super) const APPROVAL: &str = "approval.request";
pub(super) const APPROVAL_PART: &str = "approval";

/// One version of one rule.
#[derive(Debug)]
pub struct Rule {
    /// Unique in its shop; 1 to 64 of `a-z`, `0-9`, `-`.
    pub id: String,
    /// By language (BCP 47); under `""` where the file gives one for all.
    pub name: BTreeMap<String, String>,
    /// Whether it runs.
    pub status: Status,
    /// What may be tuned, with the value in force.
    pub inputs: Vec<Input>,
    /// What it listens to.
    pub triggers: Vec<Trigger>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Names the lane; the event's subject where it is not given.
    pub key: Option<Expr>,
    /// What happens when the lane is busy.
    pub overlap: Overlap,
    /// What happens to waiting runs when a new version goes live.
    pub on_change: OnChange,
    /// How often and for how much it may act.
    pub limits: Limits,
    /// The writes that it may make.
    pub allow: Vec<String>,
    /// The events that its runs may wait for, each once: `order.fulfilled`, or all of a kind as `order.*`.
    pub awaits: Vec<String>,
    /// What it does.
    pub body: Body,
    /// Its own tests.
    pub tests: Vec<RuleTest>,
    /// Where it was read from.
    pub file: PathBuf,
    /// The file's text and its script's: what a waiting run is replayed with, whatever becomes of the file.
    /// [`from_bundle`](super::from_bundle) reads it.
    pub text: String,
    /// SHA-256 of `text` and `tuning`, in hex, 16 digits kept: the version's name.
    pub version: String,
    /// The shop's own values for some of its inputs; they are in `inputs` already.
    pub tuning: BTreeMap<String, Json>,
    /// The inputs' values, made ready once for every event.
    pub(super) values: Arc<Inputs>,
}

impl Rule {
    /// The conditions as people read them: why a run began.
    pub fn clauses(&self) -> Vec<String> {
        self.conditions.iter().map(ToString::to_string).collect()
    }

    /// Whether it listens to an event of this type and subject. Of schedules, it hears only its own.
    pub fn hears(&self, kind: &str, subject: &str) -> bool {
        let is_own = kind != Schedule::DUE || subject == self.subject();
        is_own && self.triggers.iter().any(|trigger| trigger.hears(kind))
    }

    /// What the events of its own schedule are about: `rule/ID`.
    pub fn subject(&self) -> String {
        format!("rule/{}", self.id)
    }

    /// Its own times.
    pub fn schedules(&self) -> impl Iterator<Item = &Schedule> {
        self.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Schedule(it) => Some(it),
            Trigger::Event(_) => None,
        })
    }
}

/// Whether a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being written: it is checked and tested, and does not run.
    Draft,
    /// Runs beside the live version; its writes are recorded, not made.
    Shadow,
    /// Runs.
    Live,
    /// Does not start new runs; those under way go on.
    Paused,
}

/// Something that may be tuned without reading the rule.
#[derive(Clone, Debug)]
pub struct Input {
    /// As expressions write it, after `inputs.`.
    pub name: String,
    /// What it holds.
    pub kind: InputKind,
    /// The value in force: the default, until the shop sets its own.
    pub value: Value,
    /// For people, by language.
    pub label: BTreeMap<String, String>,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum InputKind {
    Text,
    Integer,
    Number,
    Money,
    Duration,
    Boolean,
    /// A list of texts.
    List,
}

/// What a rule listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// One event type, or all of a kind: `order.*`.
    Event(String),
    /// Its own times.
    Schedule(Schedule),
}

impl Trigger {
    /// Whether it listens to this event type.
    pub fn hears(&self, kind: &str) -> bool {
        match self {
            Self::Event(pattern) => is_of_kind(kind, pattern),
            Self::Schedule(_) => kind == Schedule::DUE,
        }
    }
}

impl fmt::Display for Trigger {
    /// `order.created`, `schedule 0 9 * * 1 Europe/Berlin`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(name) => f.write_str(name),
            Self::Schedule(it) => write!(f, "schedule {it}"),
        }
    }
}

/// A condition, with the line it stands on (1 is the first).
#[derive(Debug)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Condition {
    Clause { expr: Expr, line: usize },
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, inner) = match self {
            Self::Clause { expr, .. } => return f.write_str(expr.text().trim()),
            Self::Not(inner) => return write!(f, "not: {inner}"),
            Self::All(inner) => ("all", inner),
            Self::Any(inner) => ("any", inner),
        };
        let inner: Vec<String> = inner.iter().map(ToString::to_string).collect();
        write!(f, "{word}: [{}]", inner.join(", "))
    }
}

/// What happens to a new run when its lane is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It waits its turn.
    #[default]
    Queue,
    /// It runs beside the other.
    Parallel,
    /// The other is ended as `replaced`, and it runs.
    Restart,
    /// It is not run, and ends as `skipped`.
    Skip,
}

/// What a rule does.
#[derive(Debug)]
pub enum Body {
    /// One after another.
    Steps(Vec<Step>),
    /// A Rhai script.
    Script(Script),
}

/// One use of a capability.
#[derive(Debug)]
pub struct Step {
    /// The path of its call, and its name under `steps.`: `id:` where given, else its number (`1` is the first). With
    /// `for_each`, the path of the call for the first item is `ID/1`.
    pub id: String,
    /// The capability.
    pub uses: String,
    /// Once for each item of this list, one after another; the item is `item` in what follows.
    pub for_each: Option<Expr>,
    /// What it is asked.
    pub with: With,
    /// Only where this holds.
    pub when: Option<Expr>,
    /// How often and how patiently to try.
    pub retry: Option<Retry>,
    /// What to do when it fails; `None` ends the run as failed.
    pub on_error: Option<OnError>,
    /// What to do when a written text breaks the policy; `None` treats it as an error.
    pub on_violation: Option<OnViolation>,
    /// Where it stands in the file (1 is the first).
    pub line: usize,
}

/// A step's `with`: JSON-like, with templates in its texts.
#[derive(Debug)]
#[expect(missing_docs, reason = "the words say it")]
pub enum With {
    Plain(Json),
    Template(Template),
    List(Vec<With>),
    Map(BTreeMap<String, With>),
}

/// What to do when a step fails.
#[derive(Debug)]
pub enum OnError {
    /// Go on; the step's answer is `{error: {code, message}}`.
    Continue,
    /// End the run as done.
    Stop,
    /// Go on with this as the step's answer.
    Use(With),
}

/// What to do when a written text breaks the policy.
#[derive(Debug)]
pub enum OnViolation {
    /// Go on with this text: the step's answer is `{text, fallback: true, violation}`.
    Fallback(Template),
    /// Show the text to a person: the step's answer is what they let out, `{text, edited, approved_by, violation}`.
    Approval {
        /// Who, in the merchant's words.
        to: String,
        /// How long they have.
        timeout: String,
        /// Where there is no text to show, since nobody could write one.
        fallback: Option<Template>,
    },
    /// End the run as failed.
    Fail,
}

/// A test that a rule carries.
#[derive(Debug)]
pub struct RuleTest {
    /// What it shows.
    pub name: String,
    /// A neutral event: the fixture's or the inline JSON.
    pub event: Json,
    /// Answers by path (`draft/2`), by step id, or by capability where no step of that id exists.
    pub mocks: BTreeMap<String, Json>,
    /// How far the clock is moved after the run has come to rest.
    pub advance: Duration,
    /// What must come of it.
    pub expect: Expect,
    /// Where it stands in the file.
    pub line: usize,
}

/// What must come of a test.
#[derive(Debug, Default)]
pub struct Expect {
    /// These writes are made, in this order, with at least these inputs.
    pub calls: Vec<ExpectedCall>,
    /// None of these capabilities is used.
    pub never: Vec<String>,
    /// `matched: false` expects that the rule does not run.
    pub matched: Option<bool>,
    /// Occurs in the first false clause or in what it saw; `matched` is `Some(false)` then.
    pub why_not: Option<String>,
    /// How the run ends: `done`, `failed`, `declined`, `waiting`.
    pub outcome: Option<String>,
}

/// A write that must be made.
#[derive(Debug)]
pub struct ExpectedCall {
    /// The capability.
    pub uses: String,
    /// A part of its input: every key given here must be there with this value.
    pub with: Json,
}
