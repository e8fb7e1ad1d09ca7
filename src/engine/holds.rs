//! Pausing: the writes of a paused rule are held, and go on when the pause is lifted, in the order of their lanes.
//!
//! A held write is a pending call that waits for `resume` and is never due. Its run leaves its lane and the memory.
//! When the rule is let go on, its runs enter their lanes again, the oldest first; a held write becomes due when its
//! run has the lane. While there are more held runs than one turn takes, new writes of the rule are held behind them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::EngineError;
use super::command::Touched;
use super::desk::{Desk, Live, Turn};
use super::happening::What;
use super::progress::lane_name;
use crate::domain::{Awaits, Call, CallState, Kind, Mode, Pause, Pauses, RunId, RunState};
use crate::rules::Overlap;
use crate::store::StoreError;

/// Runs whose held writes are let go on in one turn.
const RUNS_A_TURN: usize = 256;

/// When a call is due that only something else than the clock answers.
pub(super) const NEVER: Timestamp = Timestamp::MAX;

/// What is paused, as the desk knows it.
#[derive(Default)]
pub(super) struct Holds {
    pub(super) pauses: Pauses,
    /// Rules that were let go on, with held writes left.
    releasing: BTreeSet<String>,
}

impl Holds {
    /// Whether held writes are to be let go on in the next turn.
    pub(super) fn has_more(&self) -> bool {
        !self.releasing.is_empty()
    }
}

impl Desk {
    /// What is paused, read from the disk.
    pub(super) async fn read_holds(&mut self) -> Result<(), StoreError> {
        let shop = &self.parts.shop.id;
        let (pauses, held) = (self.parts.store.pauses(shop).await?, self.parts.store.held(shop).await?);
        let releasing = held.into_keys().filter(|rule| pauses.of(rule).is_none()).collect();
        self.holds = Holds { pauses, releasing };
        Ok(())
    }

    /// A person pauses a rule, or all. What is paused already stays as it is.
    pub(super) async fn pause(
        &mut self,
        turn: &mut Turn,
        rule: Option<String>,
        by: String,
        why: Option<String>,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        if let Some(rule) = &rule
            && self.parts.rules.get(rule).is_none()
            && !self.parts.store.knows_rule(&self.parts.shop.id, rule).await?
        {
            return Ok(Err(EngineError::NotFound(format!("there is no rule `{rule}` in this shop"))));
        }
        let name = rule.unwrap_or_else(|| Pauses::ALL.to_owned());
        if self.holds.pauses.own(&name).is_none() {
            self.stop(turn, name, by, why);
        }
        Ok(Ok(Touched::default()))
    }

    /// Pauses a rule, for a person or a fuse.
    pub(super) fn stop(&mut self, turn: &mut Turn, name: String, by: String, why: Option<String>) {
        let pause = Pause { since: turn.now, by, why, lifted: None };
        self.holds.releasing.remove(&name);
        if name == Pauses::ALL {
            self.holds.releasing.clear();
        }
        self.holds.pauses.set(name.clone(), pause.clone());
        turn.changes.pauses.push((name, pause));
    }

    /// A person lifts a pause.
    pub(super) async fn resume(
        &mut self,
        turn: &mut Turn,
        rule: Option<String>,
        by: &str,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        let name = rule.unwrap_or_else(|| Pauses::ALL.to_owned());
        let Some(pause) = self.holds.pauses.own(&name).cloned() else {
            return Ok(Err(EngineError::Conflict(self.not_paused(&name))));
        };
        let lifted = Pause { lifted: Some(turn.now), ..pause };
        tracing::info!(shop = %self.parts.shop.id, rule = name, by, "resumed");
        self.holds.pauses.set(name.clone(), lifted.clone());
        turn.changes.pauses.push((name, lifted));
        let held = self.parts.store.held(&self.parts.shop.id).await?;
        self.holds.releasing.extend(held.into_keys().filter(|rule| self.holds.pauses.of(rule).is_none()));
        Ok(Ok(Touched::default()))
    }

    fn not_paused(&self, name: &str) -> String {
        let own: Vec<&str> = self.holds.pauses.in_force().map(|(name, _)| name).collect();
        match name {
            Pauses::ALL if own.is_empty() => "nothing is paused".to_owned(),
            Pauses::ALL => format!("the shop as a whole is not paused; paused by themselves are: {}", own.join(", ")),
            _ if own.contains(&Pauses::ALL) => {
                format!("`{name}` is not paused by itself, but with all rules of the shop; resume with `--all`")
            }
            _ => format!("`{name}` is not paused"),
        }
    }

    /// Brings the next runs with held writes, of rules that were let go on, back to their lanes.
    pub(super) async fn release(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        for rule in self.holds.releasing.clone() {
            let runs = self.parts.store.held_runs(&self.parts.shop.id, &rule, RUNS_A_TURN).await?;
            if runs.len() < RUNS_A_TURN {
                self.holds.releasing.remove(&rule);
            }
            self.load(turn, runs.clone()).await?;
            for id in runs {
                if self.runs.get(&id).is_some_and(|live| live.run.state != RunState::Ended) {
                    self.back_to_its_lane(turn, id);
                }
            }
        }
        Ok(())
    }

    /// A run wants its lane, before those that come after it in this turn.
    pub(super) fn back_to_its_lane(&mut self, turn: &mut Turn, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.rule.overlap != Overlap::Parallel {
            self.lanes.enter(&lane_name(&live.run), id);
        }
        turn.ready.push_back(id);
    }

    /// Whether an attempt at this call may not be made now, since its rule is paused. What a person has taken back
    /// is taken back all the same.
    pub(super) fn is_held(&self, id: RunId, path: &str) -> bool {
        let goes_on = |live: &&Live| live.run.mode == Mode::Live && live.run.state != RunState::Ended;
        let Some(live) = self.runs.get(&id).filter(goes_on) else { return false };
        let rule: &str = &live.run.rule;
        let stopped = self.holds.pauses.of(rule).is_some() || self.holds.releasing.contains(rule);
        // Looking whether a lost one happened changes nothing.
        let pending = live.run.call(path).is_some_and(|call| call.state == CallState::Pending && self.is_write(call));
        stopped && pending
    }

    pub(super) fn is_write(&self, call: &Call) -> bool {
        self.parts.registry.get(&call.capability).is_some_and(|capability| capability.spec().kind == Kind::Write)
    }

    /// Holds a write until its rule is let go on.
    pub(super) fn hold(&mut self, turn: &mut Turn, id: RunId, path: &str) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let pause = self.holds.pauses.of(&live.run.rule);
        let message = pause.map_or_else(|| "held behind those held before it".to_owned(), held);
        let Some(call) = live.run.call_mut(path) else { return };
        (call.awaits, call.due) = (Some(Awaits::Resume), NEVER);
        call.note(turn.now, message.clone());
        let capability = call.capability.clone();
        turn.told.push(What::Trouble { run: id, path: path.to_owned(), capability, message });
        turn.calls.insert((id, path.to_owned()));
    }

    /// A run that has its lane goes on with what it was held at.
    pub(super) async fn let_go(&mut self, turn: &mut Turn, id: RunId) -> Result<(), StoreError> {
        let Some(live) = self.runs.get(&id) else { return Ok(()) };
        let (mode, paused) = (live.run.mode, self.holds.pauses.of(&live.run.rule).is_some());
        let open = live.run.calls.iter().filter(|call| call.state != CallState::Answered);
        // What is taken back is taken back one after another.
        let open = open.take(if mode == Mode::Undo { 1 } else { usize::MAX });
        let is_free = |call: &&Call| {
            let waits = call.state == CallState::Pending && call.awaits == Some(Awaits::Resume);
            waits && !(paused && mode == Mode::Live && self.is_write(call))
        };
        let kind = |call: &Call| self.parts.registry.get(&call.capability).map(|capability| capability.spec().kind);
        let free: Vec<(String, Option<Kind>)> =
            open.filter(is_free).map(|call| (call.path.clone(), kind(call))).collect();
        for (path, kind) in free {
            if let Some(call) = self.runs.get_mut(&id).and_then(|live| live.run.call_mut(&path)) {
                (call.awaits, call.due) = (None, turn.now);
                turn.calls.insert((id, path.clone()));
            }
            match kind {
                Some(Kind::Control | Kind::Memory) => self.use_at_once(turn, id, &path).await?,
                // One whose capability is gone is answered so.
                _ if self.free_hands() > turn.jobs.len() => self.begin_attempt(turn, id, &path),
                _ => {}
            }
        }
        Ok(())
    }
}

fn held(pause: &Pause) -> String {
    let Pause { since, by, why, .. } = pause;
    let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!("held: paused since {since:.0} by {by}{why}")
}

/// Why a rule that is paused did not run.
pub(super) fn in_words(pause: &Pause) -> String {
    let because = pause.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!("paused since {:.0} by {}{because}", pause.since, pause.by)
}
