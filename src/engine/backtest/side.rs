//! The runs of one version over past events: all of them in the order of time, as a desk would have them, but that
//! attempts take no time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::answers::{Answers, Past, Source};
use super::looking::{Arrival, Heard};
use super::report::{Outcome, Totals};
use crate::domain::{End, EventId, Shop};
use crate::engine::registry::Registry;
use crate::engine::rehearse::{Memory, Rehearsal};
use crate::rules::{Overlap, Rule, lane_key};

/// Runs that may wait at a time. Past that the one whose time comes first goes on before its time, so that memory
/// stays bounded; the report says how many did.
const MOST_OPEN: usize = 20_000;

/// See the head of this file.
pub(super) struct Side {
    pub(super) rule: Arc<Rule>,
    registry: Arc<Registry>,
    model: Option<Arc<Shop>>,
    memory: Memory,
    /// Runs that are not over.
    open: HashMap<EventId, Open>,
    /// When each of them goes on.
    due: BTreeSet<(Timestamp, EventId)>,
    /// Those of a lane, where it matters whether it is busy.
    lanes: HashMap<String, Vec<EventId>>,
    /// Runs that went on before their time.
    pub(super) hurried: u64,
    /// Runs that are over and not compared yet.
    pub(super) over: Vec<(EventId, Outcome)>,
    pub(super) totals: Totals,
}

/// A run that is not over.
struct Open {
    run: Rehearsal,
    lane: String,
    past: Arc<Past>,
    sources: BTreeMap<String, Source>,
}

impl Side {
    pub(super) fn new(rule: Arc<Rule>, registry: Arc<Registry>, model: Option<Arc<Shop>>) -> Self {
        let totals = Totals::new(&rule.version);
        let (open, due, lanes) = (HashMap::new(), BTreeSet::new(), HashMap::new());
        let over = Vec::new();
        Self { rule, registry, model, memory: Memory::new(), open, due, lanes, hurried: 0, over, totals }
    }

    /// Whether it matters which runs of a lane are not over.
    fn counts_lanes(&self) -> bool {
        matches!(self.rule.overlap, Overlap::Restart | Overlap::Skip)
    }

    /// An event came: a run begins, where this version runs on it.
    pub(super) fn arrive(&mut self, arrival: &Arrival, number: usize, now: Timestamp) {
        if !matches!(arrival.heard.get(number), Some(Heard::Holds)) {
            return;
        }
        self.totals.matched += 1;
        let facts = arrival.facts(self.rule.values());
        let lane = lane_key(&self.rule, &facts);
        let mut run = Rehearsal::begin(self.rule.clone(), facts);
        let others = match &lane {
            Ok(lane) if self.counts_lanes() => self.lanes.get(lane).cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        match &lane {
            Err(failure) => run.end_as(End::Failed { failure: failure.clone() }),
            Ok(_) if self.rule.overlap == Overlap::Skip && !others.is_empty() => run.end_as(End::Skipped),
            Ok(_) => {
                for other in others {
                    if let Some(mut other) = self.take(other) {
                        other.run.end_as(End::Replaced);
                        self.end(other);
                    }
                }
            }
        }
        let (past, sources) = (arrival.past.clone(), BTreeMap::new());
        self.move_on(Open { run, lane: lane.unwrap_or_default(), past, sources }, now);
        while self.open.len() > MOST_OPEN
            && let Some((due, event)) = self.due.first().copied()
            && let Some(open) = self.take(event)
        {
            self.hurried += 1;
            self.move_on(open, due);
        }
    }

    /// All that waits until `now` at most goes on.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        while let Some((due, event)) = self.due.first().copied().filter(|(due, _)| *due <= now)
            && let Some(open) = self.take(event)
        {
            self.move_on(open, due);
        }
    }

    /// All that waits for longer than this is still waiting.
    pub(super) fn finish(&mut self, end: Timestamp) {
        self.go_on(end);
        let mut rest: Vec<EventId> = self.open.keys().copied().collect();
        rest.sort_unstable();
        for event in rest {
            if let Some(open) = self.take(event) {
                self.end(open);
            }
        }
    }

    fn take(&mut self, event: EventId) -> Option<Open> {
        let open = self.open.remove(&event)?;
        if let Some(due) = open.run.next_due() {
            self.due.remove(&(due, event));
        }
        if let Some(lane) = self.lanes.get_mut(&open.lane) {
            lane.retain(|other| *other != event);
            if lane.is_empty() {
                self.lanes.remove(&open.lane);
            }
        }
        Some(open)
    }

    /// Takes a run as far as it goes by `until`.
    fn move_on(&mut self, mut open: Open, until: Timestamp) {
        let facts = open.run.facts.clone();
        let mut answers = Answers {
            past: &open.past,
            registry: &self.registry,
            facts: &facts,
            model: self.model.as_ref(),
            sources: &mut open.sources,
        };
        open.run.go_on(&self.registry, &mut answers, &mut self.memory, until);
        let event = open.run.facts.event.id;
        match open.run.next_due() {
            Some(due) => {
                self.due.insert((due, event));
                if self.counts_lanes() {
                    self.lanes.entry(open.lane.clone()).or_default().push(event);
                }
                self.open.insert(event, open);
            }
            None => self.end(open),
        }
    }

    /// A run is over, or nobody follows it any further.
    fn end(&mut self, open: Open) {
        let outcome = Outcome::of(&open.run, &self.registry);
        self.totals.add_run(&open.run, &open.sources, &self.registry);
        self.over.push((open.run.facts.event.id, outcome));
    }
}
