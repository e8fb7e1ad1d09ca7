//! Advancing a run: the rule is replayed over the run's calls, and what it asks beyond them is what comes next.
//!
//! This is the heart of the engine, and it is pure: the same rule, event, context and answers give the same next
//! calls, however often and wherever it is done. Everything durable rests on that.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::programs;
use super::registry::Registry;
use crate::domain::{Answer, AskOptions, Asked, Call, CallState, Door, End, Facts, Failure, Kind, digest};
use crate::rules::{self, Outcome, Progress, Rule};

/// Calls that a run may make in all.
pub const CALLS_A_RUN: usize = 1_000;

/// What a run does next.
#[derive(Debug, Default, PartialEq)]
pub struct Step {
    /// The run's calls: those that it had, then the new ones in the order in which they were asked. New calls that
    /// the door answered itself (a log line, a refusal) are answered already.
    pub calls: Vec<Call>,
    /// How many of them it had.
    pub known: usize,
    /// Paths of those that it had and that a program has now answered.
    pub settled: Vec<String>,
    /// How it ended; `None` while it waits for answers.
    pub end: Option<End>,
}

/// Replays `rule` over the calls that a run has and says what comes next.
pub fn advance(rule: &Arc<Rule>, facts: &Facts, calls: Vec<Call>, registry: &Arc<Registry>, now: Timestamp) -> Step {
    let known = calls.len();
    let ledger = Ledger { calls, now, diverged: None };
    let (ledger, settled) = if ledger.calls.iter().any(|call| programs::is_open(call, registry)) {
        programs::work(ledger, facts, registry)
    } else {
        (ledger, Vec::new())
    };
    let journal = Journal { rule: rule.clone(), registry: registry.clone(), ledger };
    let (progress, journal) = rules::advance(rule, facts, journal);
    let Ledger { mut calls, diverged, .. } = journal.ledger;
    let end = match (diverged, progress) {
        (Some(end), _) => {
            // What it asked on the wrong way is not made.
            calls.truncate(known);
            Some(end)
        }
        (None, Progress::Ended(Outcome::Done)) => Some(End::Done),
        (None, Progress::Ended(Outcome::Declined)) => Some(End::Declined),
        (None, Progress::Ended(Outcome::Failed(failure))) => Some(End::Failed { failure }),
        (None, Progress::Waiting) => None,
    };
    Step { calls, known, settled, end }
}

/// The door of a rule's run that is on record.
struct Journal {
    rule: Arc<Rule>,
    registry: Arc<Registry>,
    ledger: Ledger,
}

impl Door for Journal {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
        let (registry, allow) = (&self.registry, &self.rule.allow);
        let may = |_: &Json| registry.allowed(capability, allow);
        self.ledger.ask(path, capability, input, options, registry, &may)
    }
}

/// A run's calls: answered ones are answered from here, new ones are written down.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) calls: Vec<Call>,
    pub(super) now: Timestamp,
    pub(super) diverged: Option<End>,
}

impl Ledger {
    /// Asks for something at a path. `may` says whether who asks may.
    pub(super) fn ask(
        &mut self,
        path: &str,
        capability: &str,
        input: Json,
        options: AskOptions,
        registry: &Registry,
        may: &dyn Fn(&Json) -> Result<(), Failure>,
    ) -> Asked {
        if self.diverged.is_some() {
            return Asked::NotYet;
        }
        let digest = digest(capability, &input);
        if let Some(call) = self.calls.iter().find(|call| call.path == path) {
            if call.digest == digest {
                return call.answer.clone().map_or(Asked::NotYet, Asked::Answered);
            }
            self.diverged = Some(End::Diverged {
                path: path.to_owned(),
                recorded: format!("{} {}", call.capability, call.input),
                asked: format!("{capability} {input}"),
            });
            return Asked::NotYet;
        }
        if self.calls.len() >= CALLS_A_RUN {
            let message = format!("a run may make {CALLS_A_RUN} calls");
            return Asked::Answered(Answer::Failed(Failure::new("too_many_calls", message)));
        }
        let program = registry.get(capability).and_then(|it| it.program(None));
        let version = program.as_ref().and_then(|it| it.as_ref().ok()).map(|it| it.version().to_owned());
        let permitted = registry.known(capability).and_then(|_| may(&input));
        let answer = match permitted.and_then(|()| registry.fits(capability, &input)) {
            Err(failure) => Some(Answer::Failed(failure)),
            Ok(spec) if spec.kind == Kind::Instant => Some(Answer::Done(json!({}))),
            Ok(_) => program.and_then(Result::err).map(Answer::Failed),
        };
        self.calls.push(Call {
            path: path.to_owned(),
            position: self.calls.len() as u32,
            capability: capability.to_owned(),
            digest,
            input,
            options: AskOptions { version, ..options },
            state: if answer.is_some() { CallState::Answered } else { CallState::Pending },
            attempts: 0,
            due: self.now,
            awaits: None,
            asked: self.now,
            answered: answer.is_some().then_some(self.now),
            log: Vec::new(),
            answer: answer.clone(),
            trouble: None,
        });
        answer.map_or(Asked::NotYet, Asked::Answered)
    }

    /// Answers an open call; `false` where the run has gone a wrong way meanwhile.
    pub(super) fn settle(&mut self, path: &str, answer: Answer) -> bool {
        let now = self.now;
        let Some(call) = self.calls.iter_mut().find(|call| call.path == path && self.diverged.is_none()) else {
            return false;
        };
        (call.state, call.answer, call.answered, call.awaits) = (CallState::Answered, Some(answer), Some(now), None);
        true
    }
}
