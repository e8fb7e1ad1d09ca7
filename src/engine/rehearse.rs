//! A run that is only tried: the same `advance` as a live run's, on a clock of its own, with nobody behind the door.
//! Rule tests and backtests differ in who answers, and in nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::advance::{Step, advance};
use super::memory;
use super::programs;
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

    /// Something happened in the run; for who watches it.
    fn told(&mut self, _moment: Moment<'_>) {}
}

/// What happens in a run that is tried.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'c> {
    /// A call was asked. Where it waits, `due` says for how long.
    Asked(&'c Call),
    /// It was answered: by a mock, a clock, the run's own memory, a program, or the door itself.
    Answered(&'c Call),
    /// It was answered by its capability's stand-in: nothing was done.
    StoodIn(&'c Call),
}

/// What the runs of a rehearsal remember: not the shop's memory, which nobody touches.
pub(super) type Memory = BTreeMap<String, Json>;

/// A run that is being tried.
pub(super) struct Rehearsal {
    pub(super) rule: Arc<Rule>,
    pub(super) facts: Facts,
    /// Its calls, in the order in which they were asked.
    pub(super) calls: Vec<Call>,
    /// How it ended; `None` while it goes on or waits.
    pub(super) end: Option<End>,
    /// Paths of the calls that a stand-in has answered.
    pub(super) stood_in: BTreeSet<String>,
    now: Timestamp,
    /// By path: the answers that are known to come.
    coming: BTreeMap<String, Answer>,
}

impl Rehearsal {
    /// A run that has asked nothing yet.
    pub(super) fn begin(rule: Arc<Rule>, facts: Facts) -> Self {
        let (calls, stood_in, coming) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { rule, now: facts.now, facts, calls, end: None, stood_in, coming }
    }

    /// Advances it until it ends or rests beyond `until`: pass by pass, as a live run is, so that it shows what a
    /// replay would.
    pub(super) fn go_on(
        &mut self,
        registry: &Arc<Registry>,
        answerer: &mut dyn Answerer,
        memory: &mut Memory,
        until: Timestamp,
    ) {
        while self.end.is_none() {
            let calls = std::mem::take(&mut self.calls);
            let Step { mut calls, known, settled, end } = advance(&self.rule, &self.facts, calls, registry, self.now);
            self.end = end;
            let (old, new) = calls.split_at_mut(known);
            let mut answered = old.iter().filter(|call| settled.contains(&call.path)).peekable();
            for call in new {
                // What a program asked, it asked before it answered.
                while let Some(program) = answered.next_if(|program| !programs::is_below(&call.path, &program.path)) {
                    answerer.told(Moment::Answered(program));
                }
                if self.end.is_none() && call.answer.is_none() {
                    self.take_up(call, registry, answerer, memory, until);
                }
                self.tell(call, answerer);
            }
            answered.for_each(|program| answerer.told(Moment::Answered(program)));
            let goes_on = |call: &Call| call.answer.is_some() || programs::is_open(call, registry);
            let moved = !settled.is_empty() || calls[known..].iter().any(goes_on);
            self.calls = calls;
            if !moved && !self.move_clock(registry, answerer, until) {
                return;
            }
        }
    }

    /// Tells who watches of a new call.
    fn tell(&self, call: &Call, answerer: &mut dyn Answerer) {
        answerer.told(Moment::Asked(call));
        if call.answer.is_some() {
            let stood_in = self.stood_in.contains(&call.path);
            answerer.told(if stood_in { Moment::StoodIn(call) } else { Moment::Answered(call) });
        }
    }

    /// When it goes on by itself; `None` where it is over.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let open = self.calls.iter().filter(|call| call.answer.is_none());
        open.map(|call| call.due).min().filter(|_| self.end.is_none())
    }

    /// Answers a call that waits for something from outside.
    pub(super) fn answer(&mut self, path: &str, answer: Answer, now: Timestamp) {
        self.now = self.now.max(now);
        if let Some(call) = self.calls.iter_mut().find(|call| call.path == path && call.answer.is_none()) {
            settle(call, answer, self.now);
        }
    }

    /// Its calls that wait for something from outside.
    pub(super) fn awaiting(&self) -> impl Iterator<Item = (&Call, &Awaits)> {
        let open = self.calls.iter().filter(|call| call.answer.is_none() && self.end.is_none());
        open.filter_map(|call| Some((call, call.awaits.as_ref()?)))
    }

    /// Ends it from outside.
    pub(super) fn end_as(&mut self, end: End) {
        self.end = Some(end);
    }

    /// Moves its clock to what comes next and answers what is due then; `false` where that is beyond `until`.
    fn move_clock(&mut self, registry: &Registry, answerer: &mut dyn Answerer, until: Timestamp) -> bool {
        let Some(next) = self.next_due().filter(|due| *due <= until) else { return false };
        self.now = self.now.max(next);
        for call in self.calls.iter_mut().filter(|call| call.answer.is_none() && call.due <= self.now) {
            let timed_out = || registry.get(&call.capability).map(|capability| capability.timed_out(&call.input));
            if let Some(answer) = self.coming.remove(&call.path).or_else(timed_out) {
                settle(call, answer, self.now);
                answerer.told(Moment::Answered(call));
            }
        }
        true
    }

    /// Answers a new call, or sets when it is to be answered.
    fn take_up(
        &mut self,
        call: &mut Call,
        registry: &Registry,
        answerer: &mut dyn Answerer,
        memory: &mut Memory,
        until: Timestamp,
    ) {
        let answered = answerer.answer(call);
        let Some(capability) = registry.get(&call.capability) else { return };
        let kind = capability.spec().kind;
        if answered.is_none() && matches!(kind, Kind::Read | Kind::Write) {
            self.stood_in.insert(call.path.clone());
        }
        let answer = match (answered, kind) {
            (Some(answer), _) => answer,
            (None, Kind::Control | Kind::Memory) => match capability.work_out(&self.facts, self.now, &call.input) {
                Verdict::Until(due) => {
                    call.due = due;
                    return;
                }
                // Nobody is asked: what the rule says is to be assumed.
                Verdict::Await(Awaits::Person, _) => {
                    self.stood_in.insert(call.path.clone());
                    capability.stand_in(&call.input)
                }
                Verdict::Await(awaits, due) => {
                    let comes = answerer.awaited(call, &awaits, self.now, due.min(until));
                    (call.awaits, call.due) = (Some(awaits), due);
                    if let Some((at, answer)) = comes {
                        call.due = at;
                        self.coming.insert(call.path.clone(), answer);
                    }
                    return;
                }
                Verdict::Memory(op) => {
                    let (answer, value) = memory::apply(&op, memory.get(op.key()).unwrap_or(&Json::Null));
                    if let Some(value) = value {
                        memory.insert(op.key().to_owned(), value);
                    }
                    answer
                }
                Verdict::Refused(failure) => Answer::Failed(failure),
                _ => capability.stand_in(&call.input),
            },
            (None, _) => capability.stand_in(&call.input),
        };
        settle(call, answer, self.now);
    }
}

fn settle(call: &mut Call, answer: Answer, now: Timestamp) {
    (call.state, call.answer, call.answered, call.awaits) = (CallState::Answered, Some(answer), Some(now), None);
}
