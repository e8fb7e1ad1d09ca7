//! What people do while the journal is on trial: they pause rules and let them go on, one or all, and have dead runs
//! retried or dropped; at any time, sometimes two at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{MutexGuard, PoisonError};

use storehand::domain::{CallState, End, Heard, Pauses, Run, RunId};
use storehand::engine::{Command, Engine, EngineError, Touched};
use storehand::store::{DeadFilter, EventFilter, Store};

use super::Scene;
use crate::support::acme;
use crate::world::KINDS;

/// How often a run is retried at the most, until it is dropped.
const RETRIES: usize = 3;

/// What was done to dead runs, as far as it was sent: it need not have arrived.
#[derive(Default)]
pub(super) struct Steered {
    /// How often each run was told to go on.
    retried: BTreeMap<RunId, usize>,
    dropped: BTreeSet<RunId>,
    /// How often something was told to go on.
    resumed: usize,
    /// Commands that were carried out: pauses, resumptions, retries, drops.
    pub(super) done: [usize; 4],
}

impl Steered {
    /// How often a run may have ended.
    pub(super) fn ends(&self, run: RunId) -> usize {
        1 + self.retried.get(&run).copied().unwrap_or_default()
    }
}

impl Scene {
    pub(super) fn steered(&self) -> MutexGuard<'_, Steered> {
        self.steered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life begins: what is paused is what the disk says, and no attempt is under way.
    pub(super) async fn remember_pauses(&self, store: &Store) -> Result<(), String> {
        let pauses = store.pauses(&acme()).await.map_err(|error| error.to_string())?;
        let held = pauses.in_force().map(|(name, _)| (name.to_owned(), HashSet::new()));
        self.world.seen().held = held.collect();
        Ok(())
    }

    /// People do something or nothing.
    pub(super) async fn steer(&self, engine: &Engine, store: &Store) -> Result<(), String> {
        if !self.case.is_steered {
            return Ok(());
        }
        match self.draw() % 9 {
            0 => self.pause(engine, store, self.any_rule()).await,
            1 => self.resume(engine, self.any_rule()).await,
            2 => self.decide_dead(engine, store, 3).await.map(|_| ()),
            3 => {
                let name = self.any_rule();
                let (one, other) =
                    tokio::join!(self.pause(engine, store, name.clone()), self.resume(engine, name.clone()));
                one.and(other)
            }
            4 => {
                let (one, other) = tokio::join!(self.decide_dead(engine, store, 1), self.decide_dead(engine, store, 2));
                one.and(other).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Where nothing else is left to be done: everything goes on, and of every dead run it is said what becomes of it.
    /// Returns how much there was.
    pub(super) async fn put_in_order(&self, engine: &Engine, store: &Store) -> Result<usize, String> {
        if !self.case.is_steered {
            return Ok(0);
        }
        let pauses = store.pauses(&acme()).await.map_err(|error| error.to_string())?;
        let names: Vec<String> = pauses.in_force().map(|(name, _)| name.to_owned()).collect();
        for name in &names {
            self.resume(engine, name.clone()).await?;
        }
        Ok(names.len() + self.decide_dead(engine, store, usize::MAX).await?)
    }

    /// A rule's id, or the name of all.
    fn any_rule(&self) -> String {
        match self.draw() as usize % (self.rules.len() + 1) {
            0 => Pauses::ALL.to_owned(),
            at => self.rules[at - 1].id.clone(),
        }
    }

    /// From the moment that it is told to be so, no attempt at a write of the rule begins that had not begun before.
    async fn pause(&self, engine: &Engine, store: &Store, name: String) -> Result<(), String> {
        let resumed = self.steered().resumed;
        let rule = Some(name.clone()).filter(|name| *name != Pauses::ALL);
        let command = Command::Pause { rule, by: "ana".into(), why: Some("to see".into()) };
        self.tell(engine, command).await?;
        let begun = store.started(&acme()).await.map_err(|error| error.to_string())?;
        let ids: Vec<RunId> = begun.iter().map(|(run, _)| *run).collect();
        let runs = store.runs(&acme(), &ids).await.map_err(|error| error.to_string())?;
        let started = |run: &Run| -> Vec<(String, u32)> {
            let calls = run.calls.iter().filter(|call| call.state == CallState::Started);
            calls.map(|call| (format!("{}/{}", run.id, call.path), call.attempts)).collect()
        };
        let begun = runs.iter().flat_map(started).collect();
        let mut steered = self.steered();
        // Else somebody may have let it go on by now.
        if steered.resumed == resumed {
            self.world.seen().held.insert(name, begun);
        }
        steered.done[0] += 1;
        Ok(())
    }

    async fn resume(&self, engine: &Engine, name: String) -> Result<(), String> {
        {
            let mut steered = self.steered();
            steered.resumed += 1;
            self.world.seen().held.remove(&name);
        }
        let rule = Some(name).filter(|name| *name != Pauses::ALL);
        let is_done = self.tell(engine, Command::Resume { rule, by: "ana".into() }).await?.is_some();
        self.steered().done[1] += usize::from(is_done);
        Ok(())
    }

    /// Says of up to `most` dead runs what becomes of them. Returns how many there were.
    async fn decide_dead(&self, engine: &Engine, store: &Store, most: usize) -> Result<usize, String> {
        let dead = store.dead(&acme(), &DeadFilter::default(), RunId(0), most.min(1000)).await;
        let dead = dead.map_err(|error| error.to_string())?;
        for run in &dead {
            let retries = self.steered().retried.get(run).copied().unwrap_or_default();
            if retries >= RETRIES || self.draw().is_multiple_of(4) {
                self.steered().dropped.insert(*run);
                self.tell(engine, Command::Drop { runs: vec![*run] }).await?;
                self.steered().done[3] += 1;
            } else {
                self.retry(engine, *run).await?;
            }
        }
        Ok(dead.len())
    }

    async fn retry(&self, engine: &Engine, run: RunId) -> Result<(), String> {
        *self.steered().retried.entry(run).or_default() += 1;
        self.forget_failures(run);
        let Some(Touched(came)) = self.tell(engine, Command::Retry { runs: vec![run], by: "ben".into() }).await? else {
            return Ok(());
        };
        let [(_, what)] = &came[..] else { return Err(format!("retrying {run} came to {came:?}")) };
        match what.strip_prefix(Touched::LEFT) {
            Some(why) if why.starts_with("it is not dead") => Ok(()),
            // All that these rules get wrong themselves: they use a step's answer where it had an error and went on.
            Some(why) if why.starts_with("no call failed it") && why.contains("(missing_value)") => Ok(()),
            Some(why) => Err(format!("{run} cannot be retried: {why}")),
            None => {
                self.steered().done[2] += 1;
                Ok(())
            }
        }
    }

    /// What a command came to; `None` where somebody was quicker.
    async fn tell(&self, engine: &Engine, command: Command) -> Result<Option<Touched>, String> {
        let said = format!("{command:?}");
        match engine.command(&acme(), command).await {
            Ok(touched) => Ok(Some(touched)),
            Err(EngineError::Conflict(_)) => Ok(None),
            Err(error) => Err(format!("{said}: {error}")),
        }
    }

    /// Every rule heard every event once: it ran, or was paused. Of what failed somebody has said that it may stay so.
    pub(super) async fn is_in_order(&self, store: &Store, runs: &[Run]) -> Result<(), String> {
        let filter = EventFilter { kind: Some(KINDS[0].to_owned()), most: 1000, before: None };
        for event in store.events(&acme(), &filter).await.map_err(|error| error.to_string())? {
            let stored = store.event(&acme(), event.id).await.map_err(|error| error.to_string())?;
            let heard = stored.map(|stored| stored.heard).unwrap_or_default();
            for rule in &self.rules {
                let of: Vec<&Heard> =
                    heard.iter().filter(|(id, ..)| **id == *rule.id).map(|(.., heard)| heard).collect();
                let began = runs.iter().filter(|run| run.event.id == event.id && *run.rule == *rule.id).count();
                match (&of[..], began) {
                    ([Heard::Runs], 1) => {}
                    ([Heard::Because(why)], 0) if self.case.is_steered && why.starts_with("paused since ") => {}
                    _ => return Err(format!("{} heard {} as {of:?} and has {began} runs on it", rule.id, event.id)),
                }
            }
        }
        let dead =
            store.dead(&acme(), &DeadFilter::default(), RunId(0), 1000).await.map_err(|error| error.to_string())?;
        let failed = runs.iter().filter(|run| matches!(run.ended, Some((_, End::Failed { .. })))).map(|run| run.id);
        let expected: Vec<RunId> = failed.filter(|_| !self.case.is_steered).collect();
        if dead.iter().collect::<BTreeSet<_>>() != expected.iter().collect() {
            return Err(format!("dead are {dead:?}, where {expected:?} should be"));
        }
        if let Some(run) = runs.iter().find(|run| {
            let is_left = self.steered().dropped.contains(&run.id) || !self.case.is_steered;
            matches!(run.ended, Some((_, End::Failed { .. }))) && !is_left
        }) {
            return Err(format!("{} failed, and nobody has dropped it: {:?}", run.id, run.ended));
        }
        Ok(())
    }
}
