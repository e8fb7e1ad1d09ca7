//! A run written out whole, and replayed from that, offline: whether it comes out the same.
//!
//! The file holds all that a run is made of: its event and context, its rule's version, its calls with their answers.
//! Replaying asks the rule again from nothing and gives it the recorded answers one after another, in the order in
//! which they came; so where it takes another way, the first step of that way is seen.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::advance::{Step, advance};
use super::programs;
use super::registry::Registry;
use crate::domain::{
    Answer, AskOptions, Awaits, Call, CallState, Context, End, Event, EventId, Facts, Failure, LogLine, Mode,
    RecordKey, Records, Run, RunId, RunState, ShopId, Text, digest,
};
use crate::rules::{self, Rule};

/// The form of the file that this release writes. It reads this one and all before it.
pub const FORMAT: u32 = 1;

/// The largest file that is read, in bytes: a run has at most a thousand calls.
pub const MOST_BYTES: u64 = 64 << 20;

/// A run, written out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exported {
    /// [`FORMAT`] of the release that wrote it.
    pub format: u32,
    /// That release.
    pub storehand: String,
    /// When it was written.
    pub exported: Timestamp,
    /// Whose run it is.
    pub shop: ShopId,
    /// The run.
    pub run: ExportedRun,
    /// What it worked on.
    pub event: ExportedEvent,
    /// The records as they were.
    pub context: Context,
    /// Its rule's version as the store keeps it; `None` where it was not kept any more.
    #[serde(default)]
    pub bundle: Option<String>,
    /// Its calls, in the order in which they were asked.
    pub calls: Vec<ExportedCall>,
    /// Whether a customer's data was forgotten from it: what is left cannot be replayed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// A run without its calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of `Run`")]
pub struct ExportedRun {
    pub id: RunId,
    pub rule: String,
    pub version: String,
    pub mode: Mode,
    pub lane: String,
    pub state: RunState,
    pub started: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// An event, as CloudEvents names its parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of `Event`")]
pub struct ExportedEvent {
    pub id: EventId,
    pub source: Text,
    pub r#type: Text,
    pub origintopic: Text,
    pub subject: Text,
    pub time: Timestamp,
    pub received: Timestamp,
    #[serde(default)]
    pub late: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<RecordKey>,
    pub data: Arc<Records>,
}

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of `Call`")]
pub struct ExportedCall {
    pub path: String,
    pub capability: String,
    pub input: Json,
    #[serde(default)]
    pub options: AskOptions,
    pub state: CallState,
    pub attempts: u32,
    pub asked: Timestamp,
    pub due: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Why a run cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It is not such a file, or not a whole one.
    #[error("this is not a run as `storehand runs export` writes it: {0}")]
    Damaged(String),
    /// A newer release wrote it.
    #[error("Storehand {storehand} wrote this in form {format}, and this one reads forms up to {FORMAT}")]
    Newer {
        /// Which release.
        storehand: String,
        /// In which form.
        format: u32,
    },
    /// Its rule cannot be run by this build.
    #[error("the run's rule cannot be run by this build: {0}")]
    Rule(String),
    /// A customer was forgotten from it.
    #[error("redacted: a customer's data was forgotten from this run, and what they made of it cannot be asked again")]
    Redacted,
    /// It has no rule that could be asked again.
    #[error("this run took back what another one did: its calls were given to it, and there is no rule to ask again")]
    Undo,
}

impl Exported {
    /// Writes a run out.
    pub fn of(run: &Run, shop: &ShopId, bundle: Option<String>, now: Timestamp) -> Self {
        let event = &run.event;
        Self {
            format: FORMAT,
            storehand: env!("CARGO_PKG_VERSION").to_owned(),
            exported: now,
            shop: shop.clone(),
            run: ExportedRun {
                id: run.id,
                rule: run.rule.to_string(),
                version: run.version.to_string(),
                mode: run.mode,
                lane: run.lane.to_string(),
                state: run.state,
                started: run.started,
                ended: run.ended.as_ref().map(|(at, _)| *at),
                end: run.ended.as_ref().map(|(_, end)| end.clone()),
            },
            event: ExportedEvent {
                id: event.id,
                source: event.source.clone(),
                r#type: event.kind.clone(),
                origintopic: event.topic.clone(),
                subject: event.subject.clone(),
                time: event.time,
                received: event.received,
                late: event.late,
                echo: event.echo.clone(),
                mentions: event.mentions.clone(),
                data: event.records.clone(),
            },
            context: Context::clone(&run.context),
            bundle,
            calls: run.calls.iter().map(ExportedCall::of).collect(),
            redacted: false,
        }
    }

    /// Reads a run that was written out.
    ///
    /// # Errors
    /// [`ReplayError::Damaged`] and [`ReplayError::Newer`].
    pub fn read(text: &str) -> Result<Self, ReplayError> {
        /// What every form has.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            #[serde(default)]
            storehand: String,
        }
        let damaged = |error: serde_json::Error| ReplayError::Damaged(error.to_string());
        let Head { format, storehand } = serde_json::from_str(text).map_err(damaged)?;
        if format > FORMAT {
            return Err(ReplayError::Newer { storehand, format });
        }
        serde_json::from_str(text).map_err(damaged)
    }

    fn facts(&self, rule: &Rule) -> Facts {
        let event = &self.event;
        let event = Event {
            id: event.id,
            shop: self.shop.clone(),
            source: event.source.clone(),
            kind: event.r#type.clone(),
            topic: event.origintopic.clone(),
            subject: event.subject.clone(),
            time: event.time,
            received: event.received,
            records: event.data.clone(),
            mentions: event.mentions.clone(),
            late: event.late,
            echo: event.echo.clone(),
        };
        Facts {
            event: Arc::new(event),
            context: self.context.records.clone(),
            missing: self.context.missing.clone(),
            inputs: rule.values(),
            now: self.run.started,
        }
    }
}

impl ExportedCall {
    fn of(call: &Call) -> Self {
        Self {
            path: call.path.clone(),
            capability: call.capability.clone(),
            input: call.input.clone(),
            options: call.options.clone(),
            state: call.state,
            attempts: call.attempts,
            asked: call.asked,
            due: call.due,
            awaits: call.awaits.as_ref().map(Awaits::to_string),
            answered: call.answered,
            answer: call.answer.clone(),
            log: call.log.clone(),
            trouble: call.trouble.clone(),
        }
    }

    /// The call as it was when it was asked.
    fn to_call(&self, position: usize) -> Call {
        Call {
            path: self.path.clone(),
            position: position as u32,
            capability: self.capability.clone(),
            digest: digest(&self.capability, &self.input),
            input: self.input.clone(),
            options: self.options.clone(),
            state: CallState::Pending,
            attempts: 0,
            due: self.due,
            awaits: None,
            asked: self.asked,
            answered: None,
            log: Vec::new(),
            answer: None,
            trouble: None,
        }
    }

    fn shown(&self) -> String {
        format!("{} {}", self.capability, self.input)
    }

    /// The answer that the rule saw: not the one that a call gets because its run is over.
    fn seen(&self, ended: Option<Timestamp>) -> Option<&Answer> {
        let after_the_end = self.answered.zip(ended).is_some_and(|(answered, ended)| answered > ended);
        let given_up = matches!(&self.answer, Some(Answer::Failed(Failure { code, .. })) if code == "cancelled");
        self.answer.as_ref().filter(|_| !after_the_end && !given_up)
    }
}

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// How often the rule was asked what comes next: once at the beginning and once after each moment at which answers came.
    pub steps: usize,
    /// The calls that it asked for again.
    pub calls: usize,
    /// Where it took another way first; `None`: it came out the same.
    pub difference: Option<Deviation>,
}

/// Where a replay took another way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// After this call was answered; `None`: at the beginning.
    pub after: Option<String>,
    /// What is on record.
    pub recorded: String,
    /// What came instead.
    pub came: String,
}

/// Asks a run's rule again, over the recorded answers.
///
/// # Errors
/// [`ReplayError::Rule`], [`ReplayError::Redacted`] and [`ReplayError::Undo`].
pub fn replay(exported: &Exported, registry: &Arc<Registry>) -> Result<Replayed, ReplayError> {
    if exported.redacted {
        return Err(ReplayError::Redacted);
    }
    if exported.run.mode == Mode::Undo {
        return Err(ReplayError::Undo);
    }
    let bundle = exported.bundle.as_ref().ok_or_else(|| {
        ReplayError::Rule(format!("its version {} was not kept any more when it was written out", exported.run.version))
    })?;
    let rule = rules::from_bundle(bundle, registry.catalog()).map_err(ReplayError::Rule)?;
    let (rule, ended) = (Arc::new(rule), exported.run.ended);
    let facts = exported.facts(&rule);
    let recorded: HashMap<&str, &ExportedCall> = exported.calls.iter().map(|call| (call.path.as_str(), call)).collect();
    let mut replayed = Replayed { steps: 0, calls: 0, difference: None };
    if let Some(End::Failed { failure }) = exported.run.end.as_ref().filter(|_| exported.calls.is_empty())
        && rules::lane_key(&rule, &facts).is_err_and(|came| came.code == failure.code)
    {
        // It had no lane, so it was never asked anything.
        return Ok(replayed);
    }
    let (mut calls, mut now, mut after) = (Vec::new(), exported.run.started, None);
    loop {
        replayed.steps += 1;
        put_off(&mut calls, exported, now);
        let Step { calls: advanced, known, end, .. } = advance(&rule, &facts, calls, registry, now);
        replayed.calls = advanced.len();
        calls = advanced;
        let deviates = |recorded: String, came: String| Deviation { after: after.clone(), recorded, came };
        let order = &exported.calls[known.min(exported.calls.len())..];
        let strange = calls[known..].iter().enumerate().find_map(|(at, call)| {
            unlike(call, recorded.get(call.path.as_str()).copied(), order.get(at))
                .map(|(was, came)| deviates(was, came))
        });
        if strange.is_some() {
            replayed.difference = strange.filter(|_| !diverged_there(&exported.run, &calls[known..]));
            return Ok(replayed);
        }
        if end.is_none() && calls[known..].iter().any(|call| programs::is_open(call, registry)) {
            // A program has been asked, and answers for itself.
            continue;
        }
        let open: Vec<&Call> = calls.iter().filter(|call| is_asked(call, registry)).collect();
        let next = (end.is_none()).then(|| next_answers(&open, &recorded, ended)).flatten();
        let Some(at) = next else {
            let difference = unlike_end(exported, &calls, end.as_ref());
            replayed.difference = difference.map(|(was, came)| deviates(was, came));
            return Ok(replayed);
        };
        for call in calls.iter_mut().filter(|call| is_asked(call, registry)) {
            let Some(was) = recorded.get(call.path.as_str()).filter(|was| was.answered == at) else { continue };
            let Some(answer) = was.seen(ended) else { continue };
            (call.answer, call.answered, call.state) = (Some(answer.clone()), at, CallState::Answered);
            after = Some(call.path.clone());
            if at.is_none() {
                // Rows of the first release do not say when: one after another, as they were asked.
                break;
            }
        }
        now = at.unwrap_or(now);
    }
}

/// Adds the pauses of programs that could not be run at this moment: that was the host's doing, so no replay asks for them.
fn put_off(calls: &mut Vec<Call>, exported: &Exported, now: Timestamp) {
    for (at, was) in exported.calls.iter().enumerate().filter(|(_, was)| programs::is_pause(&was.path)) {
        let is_there = |path: &str| calls.iter().any(|call| call.path == path);
        let program = exported.calls.iter().filter(|call| programs::is_below(&was.path, &call.path));
        let Some(program) = program.max_by_key(|call| call.path.len()) else { continue };
        // What it had asked by then it has asked again.
        let mut before = exported.calls[..at].iter().filter(|call| programs::is_below(&call.path, &program.path));
        if !is_there(&was.path)
            && is_there(&program.path)
            && was.asked <= now
            && before.all(|call| is_there(&call.path))
        {
            calls.push(was.to_call(calls.len()));
        }
    }
}

/// Whether a call waits for an answer from the record.
fn is_asked(call: &Call, registry: &Registry) -> bool {
    call.answer.is_none() && registry.program(call).is_none()
}

/// When the next of these open calls was answered; `None` where none was, `Some(None)` where that was not written down.
fn next_answers(
    open: &[&Call],
    recorded: &HashMap<&str, &ExportedCall>,
    ended: Option<Timestamp>,
) -> Option<Option<Timestamp>> {
    let answered =
        open.iter().filter_map(|call| recorded.get(call.path.as_str()).filter(|was| was.seen(ended).is_some()));
    answered.map(|was| was.answered).min()
}

/// How a call that is asked anew differs from what is on record: there at all, the same question, in its place.
fn unlike(call: &Call, was: Option<&ExportedCall>, in_its_place: Option<&ExportedCall>) -> Option<(String, String)> {
    let came = format!("`{}` asks {} {}", call.path, call.capability, call.input);
    let Some(was) = was else {
        let next = in_its_place.map_or_else(|| "nothing more is asked".to_owned(), asked);
        return Some((next, came));
    };
    if digest(&was.capability, &was.input) != call.digest {
        return Some((asked(was), came));
    }
    // Two calls of the same moment may stand in either order.
    if let Some(next) = in_its_place.filter(|next| next.path != call.path && next.asked != was.asked) {
        return Some((asked(next), came));
    }
    // The door answers some calls itself: a log line, a refusal.
    match &call.answer {
        Some(answer) if was.answer.as_ref() != Some(answer) => {
            let answered = |answer: Option<&Answer>| answer.map_or_else(|| "nothing".to_owned(), in_words);
            let of = |answer| format!("`{}` is answered {answer}", call.path);
            Some((of(answered(was.answer.as_ref())), of(answered(Some(answer)))))
        }
        _ => None,
    }
}

fn asked(call: &ExportedCall) -> String {
    format!("`{}` asks {}", call.path, call.shown())
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Done(answer) => answer.to_string(),
        Answer::Failed(failure) => failure.to_string(),
    }
}

/// Whether the recorded run diverged at one of these calls too.
fn diverged_there(run: &ExportedRun, calls: &[Call]) -> bool {
    matches!(&run.end, Some(End::Diverged { path, .. }) if calls.iter().any(|call| call.path == *path))
}

/// How the end differs from the recorded one.
fn unlike_end(exported: &Exported, calls: &[Call], end: Option<&End>) -> Option<(String, String)> {
    let unreached = exported.calls.iter().find(|was| !calls.iter().any(|call| call.path == was.path));
    let came = || end.map_or_else(|| "it waits".to_owned(), ended_as);
    if let Some(call) = unreached {
        return Some((asked(call), came()));
    }
    let same = match (&exported.run.end, end) {
        (None, None) => true,
        (Some(End::Failed { failure: was }), Some(End::Failed { failure })) => was.code == failure.code,
        (Some(was), Some(end)) => std::mem::discriminant(was) == std::mem::discriminant(end),
        // What ends a run from outside leaves the rule where it stood.
        (Some(End::Replaced | End::Skipped | End::Cancelled), None) => true,
        _ => false,
    };
    let was = || exported.run.end.as_ref().map_or_else(|| "it waits".to_owned(), ended_as);
    (!same).then(|| (was(), came()))
}

fn ended_as(end: &End) -> String {
    match end {
        End::Done => "it is done".to_owned(),
        End::Declined => "it ends as declined".to_owned(),
        End::Failed { failure } => format!("it fails: {failure}"),
        End::Diverged { path, recorded, asked } => format!("it diverges: `{path}` was {recorded} and is {asked}"),
        End::Replaced => "a newer run took its place".to_owned(),
        End::Skipped => "its lane was busy, so it was skipped".to_owned(),
        End::Cancelled => "it was cancelled".to_owned(),
    }
}
