//! Waiting for events: what happened since a run began, and what happens from now on.
//!
//! An event answers the calls that wait for it in the commit that matches it, so each is answered once whatever ends
//! when. A call that is asked later finds the event among those that are kept; that it is kept is written in the same
//! commit too. What events are about is kept only for the types that some rule waits for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::desk::{Desk, Turn};
use crate::domain::{Answer, Awaits, CallState, Context, Event, Records, RunId, about, is_of_kind};
use crate::rules::RuleSet;
use crate::store::{AboutRow, StoreError};

/// An event of this turn that runs may wait for.
pub(super) struct Happened {
    event: Arc<Event>,
    records: Arc<Records>,
    about: Vec<String>,
}

impl Desk {
    /// What runs may wait for from now on: what they did, and what these rules do. Versions that were in force stay:
    /// there may be runs on them.
    pub(super) fn learn_awaited(&mut self, rules: &RuleSet) {
        self.awaited.extend(rules.in_force().flat_map(|(rule, _)| rule.awaits.iter().cloned()));
    }

    /// The same out of the store, after a start: runs that are not over may be on versions of long ago.
    pub(super) async fn remember_awaited(&mut self) -> Result<(), StoreError> {
        self.awaited = BTreeSet::new();
        self.learn_awaited(&self.parts.rules.clone());
        for (rule, version) in self.parts.store.open_versions(&self.parts.shop.id).await? {
            // Where it cannot be read its runs end as failed, and wait for nothing.
            if let Ok(rule) = self.version(rule.into(), version.into()).await? {
                self.awaited.extend(rule.awaits.iter().cloned());
            }
        }
        Ok(())
    }

    /// An event was matched: what it is about is kept where somebody may wait for it.
    pub(super) fn note_happened(&self, turn: &mut Turn, event: &Arc<Event>, context: &Arc<Context>) {
        if !self.awaited.iter().any(|kind| is_of_kind(&event.kind, kind)) {
            return;
        }
        let about = about(event, &context.records);
        turn.changes.about.extend(about.iter().map(|about| AboutRow {
            about: about.clone(),
            event: event.id,
            kind: event.kind.to_string(),
        }));
        turn.happened.push(Happened { event: event.clone(), records: context.records.clone(), about });
    }

    /// Answers the calls that wait for events of this turn: those on disk by one query, those of this turn by
    /// looking.
    pub(super) async fn answer_waits(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let mut by_awaits: HashMap<Awaits, Vec<usize>> = HashMap::new();
        for (at, happened) in turn.happened.iter().enumerate() {
            let kind = &happened.event.kind;
            let family = kind.split('.').next().map(|family| format!("{family}.*"));
            for kind in family.into_iter().chain([kind.to_string()]) {
                for about in &happened.about {
                    let awaits = Awaits::Event { kind: kind.clone(), about: about.clone() };
                    by_awaits.entry(awaits).or_default().push(at);
                }
            }
        }
        if by_awaits.is_empty() {
            return Ok(());
        }
        let asked: Vec<Awaits> = by_awaits.keys().cloned().collect();
        let waiting = self.parts.store.awaiting(&self.parts.shop.id, &asked).await?;
        self.load(turn, waiting.iter().map(|(run, ..)| *run).collect()).await?;
        let on_disk = waiting.into_iter().map(|(run, path, _)| (run, path));
        let calls: BTreeSet<(RunId, String)> = on_disk.chain(turn.calls.iter().cloned()).collect();
        for (id, path) in calls {
            let Some(live) = self.runs.get(&id) else { continue };
            // Something else may have answered it within this turn.
            let Some(call) = live.run.call(&path).filter(|call| call.state == CallState::Pending) else { continue };
            let Some(those) = call.awaits.as_ref().and_then(|awaits| by_awaits.get(awaits)) else { continue };
            // What came once its time was over came too late, even where the clock is looked at later.
            let counts = |it: &&Happened| it.event.is_since(&live.run.event) && it.event.received <= call.due;
            let first = those.iter().map(|at| &turn.happened[*at]).filter(counts).min_by_key(|it| it.event.id);
            let Some(first) = first else { continue };
            let answer = happened(&first.event, &first.records);
            self.answer(turn, id, &path, answer);
        }
        Ok(())
    }

    /// The answer of a call that waits for an event which has happened since its run began, and came by `until`: one
    /// that is kept, or one of this very turn.
    pub(super) async fn has_happened(
        &self,
        turn: &Turn,
        id: RunId,
        awaits: &Awaits,
        until: Timestamp,
    ) -> Result<Option<Answer>, StoreError> {
        let (Awaits::Event { kind, about }, Some(live)) = (awaits, self.runs.get(&id)) else { return Ok(None) };
        let began = &live.run.event;
        let kept = self.parts.store.first_about(&self.parts.shop.id, about, kind, began).await?;
        if let Some(kept) = kept
            && let Some(stored) = self.parts.store.event(&self.parts.shop.id, kept).await?
        {
            if stored.event.received > until {
                return Ok(None);
            }
            let records = stored.context.map_or_else(|| stored.event.records.clone(), |context| context.records);
            return Ok(Some(happened(&stored.event, &records)));
        }
        let just_now = turn
            .happened
            .iter()
            .filter(|it| is_of_kind(&it.event.kind, kind) && it.about.contains(about) && it.event.is_since(began));
        Ok(just_now.min_by_key(|it| it.event.id).map(|it| happened(&it.event, &it.records)))
    }

    /// Whether an event that came in time for a call which is due now is still on its way through: the platform is
    /// being asked for what it speaks of. Then the time is not over yet.
    pub(super) fn may_still_come(&self, awaits: &Awaits, due: Timestamp) -> bool {
        let Awaits::Event { kind, about: wanted } = awaits else { return false };
        self.parked.values().any(|event| {
            event.received <= due && is_of_kind(&event.kind, kind) && about(event, &event.records).contains(wanted)
        })
    }
}

/// What a call is answered that waited for this event.
pub(super) fn happened(event: &Event, records: &Records) -> Answer {
    let mut answer = serde_json::to_value(records).unwrap_or_default();
    answer["timed_out"] = Json::Bool(false);
    answer["event"] = json!({
        "id": event.id, "type": event.kind, "subject": event.subject, "time": event.time,
    });
    Answer::Done(answer)
}
