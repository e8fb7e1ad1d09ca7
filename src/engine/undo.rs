//! Taking back: for a run whose writes have an inverse, one run of mode undo whose calls are those inverses, the last
//! write's first. No rule is replayed for it: it is done when all of its calls are.
//!
//! It is a run like any other: it waits for its lane, its calls are retried, and where one fails it is a dead letter. An
//! event has one such run for a rule at the most, so nothing is taken back twice.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::EngineError;
use super::advance::Step;
use super::command::Touched;
use super::desk::{Desk, Turn};
use super::echo;
use super::holds::NEVER;
use super::progress::live;
use super::registry::Registry;
use crate::domain::{
    Answer, AskOptions, Awaits, Call, CallState, End, EventId, Facts, Kind, Mode, Run, RunId, RunState, digest,
};
use crate::rules::Rule;
use crate::store::{Spent, StoreError};

/// A write that was made, and what takes it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The call's path.
    pub path: String,
    /// What it used.
    pub capability: String,
    /// What was asked.
    pub input: Json,
    /// When it was answered.
    pub at: Timestamp,
    /// The capability and input that take it back, where something does.
    pub inverse: Option<(&'static str, Json)>,
}

/// The writes that a live run has made within this time, the last first.
pub fn made(run: &Run, registry: &Registry, (since, until): (Timestamp, Timestamp)) -> Vec<Made> {
    let facts = facts(run);
    let mut calls: Vec<&Call> = run.calls.iter().collect();
    calls.sort_by_key(|call| Reverse((call.answered, call.position)));
    calls
        .into_iter()
        .filter_map(|call| {
            let (Some(Answer::Done(answer)), Some(at)) = (&call.answer, call.answered) else { return None };
            let spec = registry.get(&call.capability)?.spec();
            let inverse = spec.inverse.and_then(|inverse| inverse(&facts, &call.input, answer));
            let (path, capability, input) = (call.path.clone(), call.capability.clone(), call.input.clone());
            let is_meant = spec.kind == Kind::Write && (since..=until).contains(&at);
            is_meant.then_some(Made { path, capability, input, at, inverse })
        })
        .collect()
}

/// What was known when a run began.
fn facts(run: &Run) -> Facts {
    Facts {
        event: run.event.clone(),
        context: run.context.records.clone(),
        missing: run.context.missing.clone(),
        inputs: Arc::default(),
        now: run.started,
    }
}

/// Where a run that takes back stands: over when all is taken back, or when something could not be.
pub(super) fn advance(calls: Vec<Call>) -> Step {
    let failed = calls.iter().find_map(|call| match &call.answer {
        Some(Answer::Failed(failure)) => Some(End::Failed { failure: failure.clone() }),
        _ => None,
    });
    let all = calls.iter().all(|call| call.state == CallState::Answered);
    Step { known: calls.len(), end: failed.or(all.then_some(End::Done)), calls, settled: Vec::new() }
}

impl Desk {
    /// A person has what these live runs did within this time taken back.
    pub(super) async fn undo(
        &mut self,
        turn: &mut Turn,
        runs: &[RunId],
        time: (Timestamp, Timestamp),
        by: &str,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        let undone = self.parts.store.undone(&self.parts.shop.id, runs).await?;
        let mut touched = Vec::new();
        let known = self.parts.store.runs(&self.parts.shop.id, runs).await?;
        let events: Vec<EventId> = known.iter().map(|run| run.event.id).collect();
        let redacted = self.parts.store.redacted_among(&self.parts.shop.id, &events).await?;
        for run in known {
            let left = |why: String| (run.id, format!("{}{why}", Touched::LEFT));
            let in_this_turn = turn.born.iter().filter_map(|id| self.runs.get(id)).any(|other| {
                other.run.mode == Mode::Undo && other.run.event.id == run.event.id && other.run.rule == run.rule
            });
            touched.push(match undone.get(&run.id) {
                Some(by) => left(format!("it was taken back before, by {by}")),
                None if redacted.contains(&run.event.id) => left("a customer's data was forgotten from it".to_owned()),
                None if in_this_turn => left("it is taken back already".to_owned()),
                None if run.mode != Mode::Live => left("it changed nothing outside, or takes back itself".to_owned()),
                None => match self.take_back(turn, &run, time, by).await? {
                    Ok(what) => (run.id, what),
                    Err(why) => left(why),
                },
            });
        }
        // In the order in which they were asked for, so that of one lane the last is taken back first.
        touched.sort_by_key(|(id, _)| runs.iter().position(|asked| asked == id));
        Ok(Ok(Touched(touched)))
    }

    async fn take_back(
        &mut self,
        turn: &mut Turn,
        run: &Run,
        time: (Timestamp, Timestamp),
        by: &str,
    ) -> Result<Result<String, String>, StoreError> {
        let rule = match self.version(run.rule.clone(), run.version.clone()).await? {
            Ok(rule) => rule,
            Err(why) => return Ok(Err(why)),
        };
        let mut calls = Vec::new();
        for Made { path, inverse, .. } in made(run, &self.parts.registry, time) {
            let Some((capability, input)) = inverse else { continue };
            // Whoever asks for it allows it; what it is asked must fit all the same.
            match self.parts.registry.permit(capability, &input, &[capability.to_owned()]) {
                Ok(_) => {
                    let mut call = planned(calls.len(), &path, capability, input, turn.now);
                    call.note(turn.now, format!("{by} has `{path}` taken back"));
                    calls.push(call);
                }
                Err(failure) => return Ok(Err(format!("`{path}`: {failure}"))),
            }
        }
        if calls.is_empty() {
            return Ok(Err("none of what it did can be taken back".to_owned()));
        }
        let what = match calls.len() {
            1 => "1 write is taken back".to_owned(),
            many => format!("{many} writes are taken back"),
        };
        let id = self.begin_undo(turn, run, &rule, calls);
        Ok(Ok(format!("{what} by {id}")))
    }

    fn begin_undo(&mut self, turn: &mut Turn, run: &Run, rule: &Arc<Rule>, calls: Vec<Call>) -> RunId {
        let id = self.parts.ids.run(turn.now);
        let facts = facts(run);
        for call in &calls {
            let spec = self.parts.registry.get(&call.capability).map(|capability| capability.spec());
            turn.calls.insert((id, call.path.clone()));
            turn.changes.spent.push(Spent {
                rule: run.rule.to_string(),
                at: turn.now,
                run: id,
                path: call.path.clone(),
                mode: Mode::Undo,
                capability: call.capability.clone(),
                customer: None,
                money: None,
                about: spec.and_then(|spec| echo::about(spec, &facts, &call.input)),
            });
        }
        let undo =
            Run { id, mode: Mode::Undo, state: RunState::Queued, started: turn.now, ended: None, calls, ..run.clone() };
        self.runs.insert(id, live(undo, rule.clone()));
        turn.born.push(id);
        turn.moved.insert(id);
        self.back_to_its_lane(turn, id);
        id
    }
}

/// A call that takes another back, when those before it are done.
fn planned(position: usize, path: &str, capability: &str, input: Json, now: Timestamp) -> Call {
    Call {
        path: format!("undo/{path}"),
        position: position as u32,
        capability: capability.to_owned(),
        digest: digest(capability, &input),
        input,
        options: AskOptions::default(),
        state: CallState::Pending,
        attempts: 0,
        due: NEVER,
        awaits: Some(Awaits::Resume),
        asked: now,
        answered: None,
        log: Vec::new(),
        answer: None,
        trouble: None,
    }
}
