//! Matching: an event, enriched, is held against the rules that listen to it; each runs, or leaves why not.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Desk, Fetched, Returned, Turn};
use super::enrich::{Enriched, Known, enrich, keys};
use super::happening::{Ran, What};
use super::holds;
use super::perform::uncaught;
use super::progress::{lane_name, live};
use crate::domain::{
    Clock, Context, End, Event, Facts, Mode, Order, Platform, RecordKey, RecordKind, Run, RunId, RunState, Verdict,
    WhyNot,
};
use crate::rules::{self, Match, Overlap, Rule};
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
        let wanted: HashSet<RecordKey> = events.iter().flat_map(|event| keys(event)).collect();
        if !wanted.is_empty() {
            let wanted: Vec<RecordKey> = wanted.into_iter().collect();
            known.add_stored(self.parts.store.records(&self.parts.shop.id, &wanted).await?);
        }
        // After those on disk: while the platform was asked, a delivery may have brought a newer version.
        for (key, order) in read {
            known.add_fetched(key, order.as_ref(), turn.now);
        }
        for event in events {
            if let Some((keys, platform)) = self.to_be_read(&event, &known) {
                self.read(event, keys, platform);
                continue;
            }
            let event = match self.echo_of(&event, &known).await? {
                Some(echo) => Arc::new(Event { echo: Some(echo), ..Event::clone(&event) }),
                None => event,
            };
            let enriched = enrich(&event, &self.parts.shop, &mut known);
            self.match_event(turn, enriched).await?;
        }
        turn.changes.records = known.into_fresh();
        Ok(())
    }

    /// The orders that this event speaks of and nobody knows, if a rule listens and the platform can be asked.
    fn to_be_read(&self, event: &Event, known: &Known) -> Option<(Vec<RecordKey>, Arc<dyn Platform>)> {
        let platform = self.parts.shop.platform.clone()?;
        self.parts.rules.listening(&event.kind, &event.subject).next()?;
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

    async fn match_event(&mut self, turn: &mut Turn, enriched: Enriched) -> Result<(), StoreError> {
        let Enriched { event, context, fell_low } = enriched;
        if fell_low {
            turn.changes.derived.push(self.fell_low(&event, &context));
        }
        let context = Arc::new(context);
        let (mut ran, mut why_not) = (Vec::new(), Vec::new());
        let rules = self.parts.rules.clone();
        for (rule, mode) in rules.listening(&event.kind, &event.subject) {
            let facts = Facts {
                event: event.clone(),
                context: context.records.clone(),
                missing: context.missing.clone(),
                inputs: rule.values(),
                now: turn.now,
            };
            // A bug that breaks off here must not bring the desk down: all that the shop does goes over it.
            let matched = std::panic::catch_unwind(AssertUnwindSafe(|| rules::matches(rule, &facts)));
            let matched = matched.unwrap_or_else(|_| broke_off());
            if matches!(matched, Match::Holds) && mode == Mode::Live {
                self.count_run(turn, &rule.id, &event.subject);
            }
            match matched {
                Match::WhyNot(why) => why_not.push(WhyNot {
                    rule: rule.id.clone(),
                    version: rule.version.clone(),
                    clause: why.clause,
                    line: why.line,
                    saw: why.saw,
                    error: why.error,
                }),
                Match::Holds if let Some(pause) = self.holds.pauses.of(&rule.id) => {
                    why_not.push(holds::why_not(rule, pause));
                }
                Match::Holds => {
                    let because = rule.clauses();
                    let run = self.begin_run(turn, (rule, mode), &facts, &context).await?;
                    ran.push(Ran { rule: rule.id.as_str().into(), run, because });
                }
            }
        }
        let missing = context.missing.clone();
        turn.told.push(What::Matched { event: event.clone(), ran, why_not: why_not.clone(), missing });
        turn.changes.matched.push(Matched { event, context: Context::clone(&context), why_not });
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
            others.extend(self.parts.store.open_in_lane(&self.parts.shop.id, &rule.id, &name.1).await?);
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
        Accept { event: Arc::new(low), delivery_key: format!("low:{}", event.id), payload: "{}".into() }
    }
}

fn broke_off() -> Match {
    let error = Some("working out the conditions broke off (a bug in Storehand)".to_owned());
    Match::WhyNot(rules::WhyNot { clause: String::new(), line: 1, saw: Vec::new(), error })
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
