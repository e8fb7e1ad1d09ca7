//! A run that is only tried: the same `advance` as a live run's, on a clock of its own, with nobody behind the door.
//! Rule tests and backtests differ in who answers, and in nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::advance::{Step, advance};
use super::memory;
use super::registry::Registry;
use crate::domain::{Answer, Awaits, Call, CallState, End, Facts, Kind, Verdict};
use crate::rules::Rule;

/// Who answers the calls of a run that is only tried.
pub(super) trait Answerer {
    /// What a call is answered, at once; `None`: a clock, the run's own memory or the capability's stand-in answers.
    fn answer(&mut self, call: &Call) -> Option<Answer>;

    /// When what a call waits for comes, after `now` and by `until`, and what it answers; `None`: it does not come.
    fn awaited(
        &mut self,
        _call: &Call,
        _awaits: &Awaits,
        _now: Timestamp,
        _until: Timestamp,
    ) -> Option<(Timestamp, Answer)> {
        None
    }
}

/// What came of a run that was only tried.
#[derive(Debug)]
pub(super) struct Rehearsed {
    /// Its calls, in the order in which they were asked.
    pub(super) calls: Vec<Call>,
    /// How it ended; `None` where it waits for longer than it was tried.
    pub(super) end: Option<End>,
    /// Paths of the calls that a stand-in has answered.
    #[expect(dead_code, reason = "backtests say it; they come next")]
    pub(super) stood_in: BTreeSet<String>,
}

/// Advances a run until it ends or rests beyond `until`: pass by pass, as a live run is, so that it shows what a
/// replay would.
pub(super) fn rehearse(
    rule: &Arc<Rule>,
    facts: &Facts,
    registry: &Arc<Registry>,
    answerer: &mut dyn Answerer,
    until: Timestamp,
) -> Rehearsed {
    let mut stage = Stage { registry, answerer, memory: BTreeMap::new(), coming: BTreeMap::new(), until };
    let (mut now, mut calls, mut stood_in) = (facts.now, Vec::new(), BTreeSet::new());
    loop {
        let Step { calls: mut advanced, known, end } = advance(rule, facts, calls, registry, now);
        if end.is_some() {
            return Rehearsed { calls: advanced, end, stood_in };
        }
        for call in advanced[known..].iter_mut().filter(|call| call.answer.is_none()) {
            if stage.take_up(call, facts, now) {
                stood_in.insert(call.path.clone());
            }
        }
        if !advanced[known..].iter().any(|call| call.answer.is_some()) {
            let open = advanced.iter().filter(|call| call.answer.is_none());
            let Some(next) = open.map(|call| call.due).min().filter(|due| *due <= until) else {
                return Rehearsed { calls: advanced, end: None, stood_in };
            };
            now = now.max(next);
            let due = advanced.iter_mut().filter(|call| call.answer.is_none() && call.due <= now);
            due.for_each(|call| stage.time_has_come(call, now));
        }
        calls = advanced;
    }
}

/// What a rehearsal has beside the run itself.
struct Stage<'s> {
    registry: &'s Registry,
    answerer: &'s mut dyn Answerer,
    /// The shop's memory as this run sees it: empty at first.
    memory: BTreeMap<String, Json>,
    /// By path: the answers that are known to come.
    coming: BTreeMap<String, Answer>,
    until: Timestamp,
}

impl Stage<'_> {
    /// Answers a new call, or sets when it is to be. `true` where a stand-in answered.
    fn take_up(&mut self, call: &mut Call, facts: &Facts, now: Timestamp) -> bool {
        let answered = self.answerer.answer(call);
        let stands_in = answered.is_none();
        let Some(capability) = self.registry.get(&call.capability) else { return false };
        let kind = capability.spec().kind;
        let answer = match (answered, kind) {
            (Some(answer), _) => answer,
            (None, Kind::Control | Kind::Memory) => match capability.work_out(facts, now, &call.input) {
                Verdict::Until(due) => {
                    call.due = due;
                    return false;
                }
                // Nobody is asked: what the rule says is to be assumed.
                Verdict::Await(Awaits::Person, _) => capability.stand_in(&call.input),
                Verdict::Await(awaits, due) => {
                    let comes = self.answerer.awaited(call, &awaits, now, due.min(self.until));
                    (call.awaits, call.due) = (Some(awaits), due);
                    if let Some((at, answer)) = comes {
                        call.due = at;
                        self.coming.insert(call.path.clone(), answer);
                    }
                    return false;
                }
                Verdict::Memory(op) => {
                    let (answer, value) = memory::apply(&op, self.memory.get(op.key()).unwrap_or(&Json::Null));
                    if let Some(value) = value {
                        self.memory.insert(op.key().to_owned(), value);
                    }
                    answer
                }
                Verdict::Refused(failure) => Answer::Failed(failure),
                _ => capability.stand_in(&call.input),
            },
            (None, _) => capability.stand_in(&call.input),
        };
        settle(call, answer, now);
        stands_in && matches!(kind, Kind::Read | Kind::Write)
    }

    /// Answers a call whose time has come.
    fn time_has_come(&mut self, call: &mut Call, now: Timestamp) {
        let answer = self.coming.remove(&call.path);
        let timed_out = || self.registry.get(&call.capability).map(|capability| capability.timed_out(&call.input));
        if let Some(answer) = answer.or_else(timed_out) {
            settle(call, answer, now);
        }
    }
}

fn settle(call: &mut Call, answer: Answer, now: Timestamp) {
    (call.state, call.answer, call.answered, call.awaits) = (CallState::Answered, Some(answer), Some(now), None);
}
