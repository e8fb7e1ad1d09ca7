//! Advancing a run: the rule is replayed over the run's calls, and what it asks beyond them is what comes next.
//!
//! This is the heart of the engine, and it is pure: the same rule, event, context and answers give the same next
//! calls, however often and wherever it is done. Everything durable rests on that.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::registry::Registry;
use crate::domain::{
    Answer, AskOptions, Asked, Call, CallState, Door, End, Facts, Failure, Kind, Run, digest,
};
use crate::rules::{self, Outcome, Progress, Rule};

/// Calls that a run may make in all.
pub const CALLS_A_RUN: usize = 1_000;

/// What a run does next.
#[derive(Debug, Default, PartialEq)]
pub struct Step {
    /// Calls that are new, in the order in which they were asked. Those that the door answered itself (a log line,
    /// a refusal) are answered already.
    pub new: Vec<Call>,
    /// How it ended; `None` while it waits for answers.
    pub end: Option<End>,
}

/// Replays `rule` over the calls of `run` and says what comes next.
pub fn advance(rule: &Rule, facts: &Facts, run: &Run, registry: &Registry, now: Timestamp) -> Step {
    let mut journal = Journal { rule, run, registry, now, new: Vec::new(), diverged: None };
    let progress = rules::advance(rule, facts, &mut journal);
    let Journal { new, diverged, .. } = journal;
    if let Some(end) = diverged {
        // What it asked on the wrong way is not made.
        return Step { new: Vec::new(), end: Some(end) };
    }
    let end = match progress {
        Progress::Ended(Outcome::Done) => Some(End::Done),
        Progress::Ended(Outcome::Declined) => Some(End::Declined),
        Progress::Ended(Outcome::Failed(failure)) => Some(End::Failed { failure }),
        Progress::Waiting => None,
    };
    Step { new, end }
}

/// The door of a run that is on record: answered calls are answered from there, new ones are written down.
struct Journal<'a> {
    rule: &'a Rule,
    run: &'a Run,
    registry: &'a Registry,
    now: Timestamp,
    new: Vec<Call>,
    diverged: Option<End>,
}

impl Door for Journal<'_> {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
        if self.diverged.is_some() {
            return Asked::NotYet;
        }
        let digest = digest(capability, &input);
        let known = self.run.call(path).or_else(|| self.new.iter().find(|call| call.path == path));
        if let Some(call) = known {
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
        if self.run.calls.len() + self.new.len() >= CALLS_A_RUN {
            let message = format!("a run may make {CALLS_A_RUN} calls");
            return Asked::Answered(Answer::Failed(Failure::new("too_many_calls", message)));
        }
        let answer = match self.registry.permit(capability, &input, &self.rule.allow) {
            Err(failure) => Some(Answer::Failed(failure)),
            Ok(spec) if spec.kind == Kind::Instant => Some(Answer::Done(json!({}))),
            Ok(_) => None,
        };
        self.new.push(Call {
            path: path.to_owned(),
            position: (self.run.calls.len() + self.new.len()) as u32,
            capability: capability.to_owned(),
            digest,
            input,
            options,
            state: if answer.is_some() { CallState::Answered } else { CallState::Pending },
            attempts: 0,
            due: self.now,
            answer: answer.clone(),
            trouble: None,
        });
        answer.map_or(Asked::NotYet, Asked::Answered)
    }
}
