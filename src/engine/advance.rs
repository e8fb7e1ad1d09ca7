//! Advancing a run: the rule is replayed over the run's calls, and what it asks beyond them is what comes next.
//!
//! This is the heart of the engine, and it is pure: the same rule, event, context and answers give the same next
//! calls, however often and wherever it is done. Everything durable rests on that.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

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
    /// How it ended; `None` while it waits for answers.
    pub end: Option<End>,
}

/// Replays `rule` over the calls that a run has and says what comes next.
pub fn advance(rule: &Arc<Rule>, facts: &Facts, calls: Vec<Call>, registry: &Arc<Registry>, now: Timestamp) -> Step {
    let known = calls.len();
    let journal = Journal { rule: rule.clone(), registry: registry.clone(), now, calls, diverged: None };
    let (progress, journal) = rules::advance(rule, facts, journal);
    let Journal { mut calls, diverged, .. } = journal;
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
    Step { calls, known, end }
}

/// The door of a run that is on record: answered calls are answered from there, new ones are written down.
struct Journal {
    rule: Arc<Rule>,
    registry: Arc<Registry>,
    now: Timestamp,
    calls: Vec<Call>,
    diverged: Option<End>,
}

impl Door for Journal {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
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
        let answer = match self.registry.permit(capability, &input, &self.rule.allow) {
            Err(failure) => Some(Answer::Failed(failure)),
            Ok(spec) if spec.kind == Kind::Instant => Some(Answer::Done(json!({}))),
            Ok(_) => None,
        };
        self.calls.push(Call {
            path: path.to_owned(),
            position: self.calls.len() as u32,
            capability: capability.to_owned(),
            digest,
            input,
            options,
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
}
