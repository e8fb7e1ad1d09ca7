//! Matching: an event, enriched, is held against the rules that listen to it; each runs, or leaves why not.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Desk, Fetched, Returned, Turn};
use super::enrich::{Enriched, enrich, keys, names};
use super::happening::{Ran, What};
use super::holds;
use super::known::Known;
use super::perform::uncaught;
use super::progress::{lane_name, live};
use super::why;
use crate::domain::{
    Clock, Context, End, Event, Facts, Heard, Mode, Order, Platform, RecordKey, RecordKind, RecordName, Run, RunId,
    RunState, Verdict,
};
use crate::rules::{self, Overlap, Rule, Schedule};
use crate::store::{Accept, Matched, StoreError};

/// Attempts to read a record that an event speaks of and nobody knows.
const READS: u32 = 3;

impl Desk {
    /// Enriches and matches these events, and those whose read of the platform has come back.
    pub(super) async fn match_events(
        &mut self,
        turn: &mut Turn,
        batch: Vec<Arc<Event>>,
        fetched: Vec<Fetched>,
    ) -> Result<(), StoreError> {
        let mut events = batch;
        let mut known = Known::default();
        let mut read = Vec::new();
        for Fetched { event, orders } in fetched {
            events.extend(self.parked.remove(&event));
            read.extend(orders);
        }
        let mut wanted: HashSet<RecordKey> = events.iter().flat_map(|event| keys(event)).collect();
        let called: HashSet<RecordName> = events.iter().flat_map(|event| names(event)).collect();
        if !called.is_empty() {
            let called: Vec<RecordName> = called.into_iter().collect();
            let named = self.parts.store.named(&self.parts.shop.id, &called).await?;
            wanted.extend(named.iter().map(|(_, key)| key.clone()));
            known.add_named(named);
        }
        if !wanted.is_empty() {
            let wanted: Vec<RecordKey> = wanted.into_iter().collect();
            known.add_stored(self.parts.store.records(&self.parts.shop.id, &wanted).await?);
        }
        // After those on disk: while the platform was asked, a delivery may have brought a newer version.
        for (key, order) in read {
            known.add_fetched(key, order, turn.now);
        }
        for event in events {
            if self.must_be_carried_out(&event) {
                continue;
            }
            if let Some((keys, platform)) = self.to_be_read(&event, &known) {
                self.read(event, keys, platform);
                continue;
            }
            let event = match self.echo_of(&event, &known).await? {
                Some(echo) => Arc::new(Event { echo: Some(echo), ..Event::clone(&event) }),
                None => event,
            };
            let told = self.is_told_already(&event).await?;
            let enriched = enrich(&event, &self.parts.shop, &mut known);
            self.match_event(turn, enriched, told).await?;
        }
        (turn.changes.records, turn.changes.names) = known.into_fresh();
        self.answer_waits(turn).await
    }

    /// The orders that this event speaks of and nobody knows, if a rule listens and the platform can be asked.
    fn to_be_read(&self, event: &Event, known: &Known) -> Option<(Vec<RecordKey>, Arc<dyn Platform>)> {
        let platform = self.parts.shop.platform.clone().filter(|_| event.forgets().is_none())?;
        self.parts.rules.listening(&event.kind, &event.subject)?;
        let unknown = event.mentions.iter().filter(|key| key.kind == RecordKind::Order && !known.has(key));
        let unknown: Vec<RecordKey> = unknown.cloned().collect();
        (!unknown.is_empty()).then_some((unknown, platform))
    }

    /// Asks the platform, beside everything else that goes on. What it does not say after a few attempts is missing.
    ///
    /// All of an event's orders at once: an event goes through here a single time, so one that speaks of two orders
    /// that do not exist is not asked for over and over.
    fn read(&mut self, event: Arc<Event>, keys: Vec<RecordKey>, platform: Arc<dyn Platform>) {
        let (id, clock, reads) = (event.id, self.parts.clock.clone(), self.reads.clone());
        self.parked.insert(id, event);
        self.tasks.spawn(async move {
            // Never closed; a flood of events waits its turn, as attempts do.
            let _permit = reads.acquire_owned().await;
            let mut orders = Vec::with_capacity(keys.len());
            for key in keys {
                let order = uncaught(read_order(&*platform, &key, &*clock)).await.unwrap_or(None);
                orders.push((key, order));
            }
            Returned::Fetched(Fetched { event: id, orders })
        });
    }

    async fn match_event(&mut self, turn: &mut Turn, enriched: Enriched, told: bool) -> Result<(), StoreError> {
        let Enriched { event, context, fell_low } = enriched;
        if fell_low {
            turn.changes.derived.push(self.fell_low(&event, &context));
        }
        let context = Arc::new(context);
        self.note_happened(turn, &event, &context);
        let (mut ran, mut why_not, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        let rules = self.parts.rules.clone();
        let listening = rules.listening(&event.kind, &event.subject);
        let is_watched = self.parts.happenings.receiver_count() > 0;
        let mut facts = Facts {
            event: event.clone(),
            context: context.records.clone(),
            missing: context.missing.clone(),
            inputs: Arc::default(),
            now: turn.now,
        };
        for (rule, mode) in listening.iter().flat_map(|it| &it.rules) {
            facts.inputs = rule.values();
            // A bug that breaks off here must not bring the desk down: all that the shop does goes over it.
            let matched = std::panic::catch_unwind(AssertUnwindSafe(|| rules::first_false(rule, &facts)));
            let is_scheduled = *event.kind == *Schedule::DUE;
            let is_own_time = !is_scheduled || self.schedules.are_of(rule, event.time);
            // What writes nothing brings nothing about, and a schedule comes as often as its rule says.
            let may_loop = *mode == Mode::Live && !told && !is_scheduled && !rule.allow.is_empty();
            if may_loop && matches!(matched, Ok(None)) {
                self.count_run(turn, &rule.id, &event.subject);
            }
            let came = match matched {
                _ if told => {
                    Heard::Because("it was found by asking the platform before this came to tell it".to_owned())
                }
                _ if !is_own_time => Heard::Because("its schedule has no such time (another version's had)".to_owned()),
                Err(_) => Heard::Because("working out its conditions broke off (a bug in Storehand)".to_owned()),
                Ok(Some(at)) => Heard::False(u32::try_from(at).unwrap_or(u32::MAX)),
                Ok(None) => match self.holds.pauses.of(&rule.id) {
                    Some(pause) => Heard::Because(holds::in_words(pause)),
                    None => Heard::Runs,
                },
            };
            if came == Heard::Runs {
                let run = self.begin_run(turn, (rule, *mode), &facts, &context).await?;
                let because = if is_watched { rule.clauses() } else { Vec::new() };
                ran.push(Ran { rule: rule.id.as_str().into(), run, because });
            } else if is_watched {
                why_not.extend(why::of(rule, &facts, &came));
            }
            heard.push(came);
        }
        let missing = context.missing.clone();
        turn.told.push(What::Matched { event: event.clone(), ran, why_not, missing });
        let listeners = listening.map(|it| it.listeners.clone()).unwrap_or_default();
        if listening.is_some() && self.kept_listeners.insert(listeners.id) {
            turn.changes.listeners.push(listeners.clone());
        }
        turn.changes.matched.push(Matched { event, context, listeners, heard, at: turn.now });
        Ok(())
    }

    /// A new run, in its lane or in the queue for it.
    async fn begin_run(
        &mut self,
        turn: &mut Turn,
        (rule, mode): (&Arc<Rule>, Mode),
        facts: &Facts,
        context: &Arc<Context>,
    ) -> Result<RunId, StoreError> {
        let id = self.parts.ids.run(turn.now);
        let lane = rules::lane_key(rule, facts);
        let run = Run {
            id,
            rule: rule.id.as_str().into(),
            version: rule.version.as_str().into(),
            mode,
            event: facts.event.clone(),
            context: context.clone(),
            lane: lane.as_deref().unwrap_or_default().into(),
            state: RunState::Queued,
            started: turn.now,
            ended: None,
            calls: Vec::new(),
        };
        let name = lane_name(&run);
        self.runs.insert(id, live(run, rule.clone()));
        turn.born.push(id);
        turn.moved.insert(id);
        if let Err(failure) = lane {
            self.end(turn, id, End::Failed { failure });
            return Ok(id);
        }
        if matches!(rule.overlap, Overlap::Restart | Overlap::Skip) {
            let mut others = self.lanes.all_in(&name);
            others.extend(self.parts.store.open_in_lane(&self.parts.shop.id, (&name.0, name.1, &name.2)).await?);
            others.sort_unstable();
            others.dedup();
            self.load(turn, others.clone()).await?;
            // What is being taken back is no run that another could be restarted for.
            let counts = |run: &Run| run.state != RunState::Ended && run.mode != Mode::Undo;
            others.retain(|id| self.runs.get(id).is_some_and(|live| counts(&live.run)));
            if rule.overlap == Overlap::Skip && !others.is_empty() {
                self.end(turn, id, End::Skipped);
                return Ok(id);
            }
            for other in others {
                self.end(turn, other, End::Replaced);
            }
        }
        if rule.overlap != Overlap::Parallel {
            self.lanes.enter(&name, id);
        }
        turn.ready.push_back(id);
        Ok(id)
    }

    /// Our own event about a level that crossed its threshold downwards.
    fn fell_low(&self, event: &Event, context: &Context) -> Accept {
        let low = Event {
            id: self.parts.ids.event(self.parts.clock.now()),
            kind: "inventory.low".into(),
            topic: "inventory.low".into(),
            records: context.records.clone(),
            ..event.clone()
        };
        Accept::new(Arc::new(low), format!("low:{}", event.id), "{}".into())
    }
}

async fn read_order(platform: &dyn Platform, key: &RecordKey, clock: &dyn Clock) -> Option<Order> {
    for attempt in 1..=READS {
        match platform.order(&key.id).await {
            Ok(order) => return order,
            Err(Verdict::RetryAfter(pause, why)) if attempt < READS => {
                tracing::info!(record = %key, %why, "reading a record again");
                let pause = pause.unwrap_or(Duration::from_secs(2)).min(Duration::from_secs(30));
                clock.sleep_until(clock.now().saturating_add(pause).unwrap_or(jiff::Timestamp::MAX)).await;
            }
            Err(verdict) => {
                tracing::warn!(record = %key, ?verdict, "a record that an event speaks of could not be read");
                return None;
            }
        }
    }
    None
}
