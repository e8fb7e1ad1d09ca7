//! Moving runs forward within a turn: lanes are entered and left, rules advanced, their calls taken up.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use jiff::Timestamp;

use super::advance::{Step, advance};
use super::desk::{Desk, Live, Turn};
use super::happening::What;
use super::lanes::LaneName;
use super::perform::{harmless, keeps_lane};
use super::programs;
use super::undo;
use crate::domain::{
    Answer, Awaits, Call, CallState, End, Facts, Failure, Kind, Mode, Repeat, Run, RunId, RunState, Verdict,
};
use crate::rules::{self, Body, Overlap, Rule};
use crate::store::{Moved, StoreError};

impl Desk {
    /// Advances every run that is ready, until nothing moves without the outside world.
    pub(super) async fn advance_all(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        while let Some(id) = turn.ready.pop_front() {
            let Some(live) = self.runs.get(&id).filter(|live| live.run.state != RunState::Ended) else { continue };
            let (name, parallel) = (lane_name(&live.run), live.rule.overlap == Overlap::Parallel);
            if !parallel && !self.lanes.enter(&name, id) {
                self.set_state(turn, id, RunState::Queued);
                continue;
            }
            let (end, new, settled) = self.step(id, turn.now).await;
            self.tell_settled(turn, id, settled);
            if end.is_none() {
                self.let_go(turn, id).await?;
            }
            self.take_up(turn, id, new).await?;
            match end {
                Some(end) => self.end(turn, id, end),
                None => self.rest(turn, id, &name),
            }
        }
        Ok(())
    }

    /// Replays one run and takes its new calls in; says how it ended, the paths of the new calls, and those of calls that
    /// a program has answered.
    async fn step(&mut self, id: RunId, now: Timestamp) -> (Option<End>, Vec<String>, Vec<String>) {
        let Some(live) = self.runs.get(&id) else { return (None, Vec::new(), Vec::new()) };
        let replayed = match live.run.mode {
            Mode::Undo => Some(undo::advance(live.run.calls.clone())),
            _ => self.replay(live, live.run.calls.clone(), now).await,
        };
        // The desk must outlive every rule: all that the shop does goes over it.
        let Step { calls, known, settled, end } = replayed.unwrap_or_else(|| {
            let failure = Failure::new("internal", "replaying the rule broke off (a bug in Storehand)");
            let calls = live.run.calls.clone();
            Step { known: calls.len(), calls, end: Some(End::Failed { failure }), ..Step::default() }
        });
        let Some(live) = self.runs.get_mut(&id) else { return (None, Vec::new(), Vec::new()) };
        live.run.calls = calls;
        (end, live.run.calls[known..].iter().map(|call| call.path.clone()).collect(), settled)
    }

    /// Writes down and tells what programs have answered.
    fn tell_settled(&self, turn: &mut Turn, id: RunId, settled: Vec<String>) {
        let Some(live) = self.runs.get(&id) else { return };
        for path in settled {
            let Some((call, answer)) = live.run.call(&path).and_then(|call| Some((call, call.answer.clone()?))) else {
                continue;
            };
            let (rule, capability) = (live.run.rule.clone(), call.capability.clone());
            turn.told.push(What::Answered { run: id, rule, path: path.clone(), capability, answer });
            turn.calls.insert((id, path));
        }
    }

    /// Replays a run over these calls; `None` where that broke off. Scripts and programs may take as long as their
    /// deadline allows, so they run on a thread of their own.
    pub(super) async fn replay(&self, live: &Live, calls: Vec<Call>, now: Timestamp) -> Option<Step> {
        let (rule, facts, registry) = (live.rule.clone(), live.facts.clone(), self.parts.registry.clone());
        let takes_long =
            matches!(live.rule.body, Body::Script(_)) || calls.iter().any(|call| programs::is_open(call, &registry));
        let replay = move || advance(&rule, &facts, calls, &registry, now);
        if !takes_long {
            return std::panic::catch_unwind(AssertUnwindSafe(replay)).ok();
        }
        match tokio::task::spawn_blocking(replay).await {
            Ok(step) => Some(step),
            Err(error) if error.is_panic() => None,
            // The process is ending and took the thread away. That says nothing of the run, which must not end for
            // it: it goes on at the next start.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes up a run's new calls: clocks are set, memory is used, attempts are started as far as hands are free.
    async fn take_up(&mut self, turn: &mut Turn, id: RunId, new: Vec<String>) -> Result<(), StoreError> {
        for path in new {
            let Some(live) = self.runs.get(&id) else { return Ok(()) };
            let Some(call) = live.run.call(&path) else { continue };
            let (rule, capability, input) = (live.run.rule.clone(), call.capability.clone(), call.input.clone());
            let (answer, mode) = (call.answer.clone(), live.run.mode);
            turn.calls.insert((id, path.clone()));
            let asked =
                What::Asked { run: id, rule: rule.clone(), path: path.clone(), capability: capability.clone(), input };
            turn.told.push(asked);
            if let Some(answer) = answer {
                turn.told.push(What::Answered { run: id, rule, path, capability, answer });
                continue;
            }
            let kind = self.parts.registry.get(&capability).map(|it| it.spec().kind);
            if kind == Some(Kind::Write) && mode != Mode::Shadow && !self.admit(turn, id, &path).await? {
                continue;
            }
            match kind {
                Some(kind) if mode == Mode::Shadow && self.answers_a_shadow(turn, id, &path, kind).await? => {}
                Some(Kind::Memory | Kind::Control) => self.use_at_once(turn, id, &path).await?,
                _ if self.is_held(id, &path) => self.hold(turn, id, &path),
                _ if self.free_hands() > turn.jobs.len() => self.begin_attempt(turn, id, &path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Capabilities that do not leave the process: the clock and the shop's memory.
    pub(super) async fn use_at_once(&mut self, turn: &mut Turn, id: RunId, path: &str) -> Result<(), StoreError> {
        let Some(live) = self.runs.get_mut(&id) else { return Ok(()) };
        let Some(call) = live.run.calls.iter_mut().find(|call| call.path == path) else { return Ok(()) };
        let Some(capability) = self.parts.registry.get(&call.capability) else { return Ok(()) };
        match capability.work_out(&live.facts, turn.now, &call.input) {
            Verdict::Until(due) => call.due = due,
            Verdict::Await(awaits, until) => {
                (call.awaits, call.due) = (Some(awaits.clone()), until);
                if awaits == Awaits::Calls {
                    // Written down; now its program goes on with it.
                    turn.calls.insert((id, path.to_owned()));
                    turn.ready.push_back(id);
                } else if let Some(answer) = self.has_happened(turn, id, &awaits, until).await? {
                    self.answer(turn, id, path, answer);
                }
            }
            Verdict::Memory(op) => {
                let answer = self.remember(turn, op).await?;
                self.answer(turn, id, path, answer);
            }
            Verdict::Done(answer) => self.answer(turn, id, path, Answer::Done(answer)),
            Verdict::Refused(failure) => self.answer(turn, id, path, Answer::Failed(failure)),
            Verdict::RetryAfter(_, why) | Verdict::Unknown(why) => {
                self.answer(turn, id, path, Answer::Failed(Failure::new("refused", why)));
            }
        }
        Ok(())
    }

    /// A run that waits for the clock, an event or a person leaves its lane; one that works keeps it.
    fn rest(&mut self, turn: &mut Turn, id: RunId, name: &LaneName) {
        let Some(live) = self.runs.get(&id) else { return };
        let works = |call: &Call| call.state == CallState::Pending && call.awaits == Some(Awaits::Calls);
        // A program that has just been asked, or answered, goes on in this turn and keeps the lane.
        if live.run.calls.iter().any(works) && turn.ready.contains(&id) {
            return;
        }
        if live.run.calls.iter().all(|call| call.state == CallState::Answered || works(call)) {
            if !turn.ready.contains(&id) {
                let failure = Failure::new("stuck", "the rule waits for nothing (a bug in Storehand)");
                self.end(turn, id, End::Failed { failure });
            }
            return;
        }
        let registry = self.parts.registry.clone();
        let kind = |name: &str| registry.get(name).map(|capability| capability.spec().kind);
        if keeps_lane(&live.run, kind) {
            self.set_state(turn, id, RunState::Active);
        } else {
            self.set_state(turn, id, RunState::Waiting);
            turn.ready.extend(self.lanes.leave(name, id));
        }
    }

    fn set_state(&mut self, turn: &mut Turn, id: RunId, state: RunState) {
        if let Some(live) = self.runs.get_mut(&id)
            && live.run.state != state
        {
            live.run.state = state;
            turn.moved.insert(id);
        }
    }

    /// A run is over: what it still had planned is not done, and its lane is free.
    pub(super) fn end(&mut self, turn: &mut Turn, id: RunId, end: End) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        for call in &mut live.run.calls {
            if cancel(call) {
                turn.calls.insert((id, call.path.clone()));
            }
        }
        live.run.ended = Some((turn.now, end.clone()));
        let (rule, name) = (live.run.rule.clone(), lane_name(&live.run));
        self.set_state(turn, id, RunState::Ended);
        turn.told.push(What::Ended { run: id, rule, end });
        turn.ready.extend(self.lanes.leave(&name, id));
    }

    /// Brings runs into memory. One whose version cannot be read any more ends as failed.
    pub(super) async fn load(&mut self, turn: &mut Turn, ids: Vec<RunId>) -> Result<(), StoreError> {
        let absent: HashSet<RunId> = ids.into_iter().filter(|id| !self.runs.contains_key(id)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let absent: Vec<RunId> = absent.into_iter().collect();
        for mut run in self.parts.store.runs(&self.parts.shop.id, &absent).await? {
            match self.version(run.rule.clone(), run.version.clone()).await? {
                Ok(rule) => {
                    turn.loaded.push(run.id);
                    self.runs.insert(run.id, live(run, rule));
                }
                Err(message) => {
                    tracing::error!(shop = %self.parts.shop.id, run = %run.id, %message, "a run cannot go on");
                    for call in &mut run.calls {
                        // Nobody can look any more what became of attempts that an earlier life had made.
                        let lost = matches!(call.state, CallState::Started | CallState::Lost);
                        if lost {
                            call.state = CallState::Unknown;
                        }
                        if lost || cancel(call) {
                            turn.changes.calls.push((run.id, call.clone()));
                        }
                    }
                    if run.state != RunState::Ended {
                        let failure = Failure::new("version_unreadable", message);
                        let ended = Some((turn.now, End::Failed { failure }));
                        turn.changes.moved.push(Moved { run: run.id, mode: run.mode, state: RunState::Ended, ended });
                    }
                }
            }
        }
        Ok(())
    }

    /// A version of a rule that runs are on.
    pub(super) async fn version(
        &mut self,
        rule: Arc<str>,
        version: Arc<str>,
    ) -> Result<Result<Arc<Rule>, String>, StoreError> {
        let name = (rule, version);
        if let Some(rule) = self.versions.get(&name) {
            return Ok(Ok(rule.clone()));
        }
        let standing = self.parts.rules.get(&name.0).cloned().unwrap_or_default();
        let in_force = standing.live.into_iter().chain(standing.shadow);
        let current = in_force.into_iter().find(|rule| *rule.version == *name.1);
        let rule = match current {
            Some(rule) => Ok(rule),
            None => match self.parts.store.version(&self.parts.shop.id, &name.0, &name.1).await? {
                None => Err(format!("version {} of rule `{}` is not kept", name.1, name.0)),
                Some(bundle) => rules::from_bundle(&bundle, self.parts.registry.catalog()).map(Arc::new),
            },
        };
        if let Ok(rule) = &rule {
            self.versions.insert(name, rule.clone());
        }
        Ok(rule)
    }

    /// After a start: runs that were working or queued go on; attempts whose answers are lost are repeated, looked
    /// up or left `unknown`.
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        let mut turn = Turn { now: self.parts.clock.now(), ..Turn::default() };
        let shop = self.parts.shop.id.clone();
        self.remember_schedules(&mut turn).await?;
        let mut ids = self.parts.store.interrupted(&shop).await?;
        let started = self.parts.store.started(&shop).await?;
        ids.extend(started.iter().map(|(run, _)| *run));
        ids.sort_unstable();
        ids.dedup();
        self.load(&mut turn, ids.clone()).await?;
        for (id, path) in started {
            self.recover_call(&mut turn, id, &path);
        }
        // Those that held their lanes hold them again, before those that queued for them.
        for state in [RunState::Active, RunState::Queued] {
            for id in &ids {
                let Some(live) = self.runs.get(id).filter(|live| live.run.state == state) else { continue };
                if live.rule.overlap != Overlap::Parallel {
                    self.lanes.enter(&lane_name(&live.run), *id);
                }
                turn.ready.push_back(*id);
            }
        }
        self.advance_all(&mut turn).await?;
        self.write(&mut turn).await?;
        self.act(turn);
        Ok(())
    }

    fn recover_call(&mut self, turn: &mut Turn, id: RunId, path: &str) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let over = live.run.state == RunState::Ended;
        let Some(call) = live.run.call_mut(path) else { return };
        let spec = self.parts.registry.get(&call.capability).map(|capability| capability.spec());
        let repeat = spec.map_or(Repeat::None, |spec| harmless(spec.kind, spec.repeat));
        call.trouble = Some("the process ended while an attempt was under way".into());
        call.due = turn.now;
        match repeat {
            // For a run that is over nothing is repeated, and what became of the attempt is not known.
            Repeat::Key if over => {
                let message = "the process ended while this was being done, and its run was over by then";
                call.state = CallState::Answered;
                call.answer = Some(Answer::Failed(Failure::new("interrupted", message)));
            }
            Repeat::Key => call.state = CallState::Pending,
            Repeat::Lookup => call.state = CallState::Lost,
            Repeat::None => call.state = CallState::Unknown,
        }
        turn.calls.insert((id, path.to_owned()));
    }
}

/// A run's lane.
pub(super) fn lane_name(run: &Run) -> LaneName {
    // What takes a run back waits for its like; a shadow stands in nobody's way.
    let mode = if run.mode == Mode::Shadow { Mode::Shadow } else { Mode::Live };
    (run.rule.clone(), mode, run.lane.clone())
}

/// A run with what it takes to advance it.
pub(super) fn live(run: Run, rule: Arc<Rule>) -> Live {
    let facts = Facts {
        event: run.event.clone(),
        context: run.context.records.clone(),
        missing: run.context.missing.clone(),
        inputs: rule.values(),
        now: run.started,
    };
    Live { run, rule, facts, under_way: HashSet::new() }
}

/// A call that was only planned is answered `cancelled`; `true` where it was. One whose attempt was lost is not: its
/// journal is to say what became of it, and somebody still looks.
fn cancel(call: &mut Call) -> bool {
    let planned = call.state == CallState::Pending;
    if planned {
        let again = if call.attempts == 0 { "done" } else { "tried again" };
        let message = format!("the run was over before this was {again}");
        call.state = CallState::Answered;
        call.answer = Some(Answer::Failed(Failure::new("cancelled", message)));
    }
    planned
}
