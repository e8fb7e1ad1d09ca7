//! The runs of one version over past events: all of them in the order of time, as a desk would have them, but that
//! attempts take no time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::answers::{Answers, Past, Source};
use super::happened::Happened;
use super::looking::{Arrival, Heard};
use super::report::{Outcome, Totals};
use crate::domain::{Awaits, Call, End, EventId, Shop, is_of_kind};
use crate::engine::registry::Registry;
use crate::engine::rehearse::{Memory, Rehearsal};
use crate::engine::waits;
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
    /// Those that wait for an event, by what it is to be about.
    awaiting: HashMap<String, BTreeSet<EventId>>,
    /// When each of them began.
    began: BTreeSet<(Timestamp, EventId)>,
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
        let (awaiting, began, over) = (HashMap::new(), BTreeSet::new(), Vec::new());
        let memory = Memory::new();
        Self { rule, registry, model, memory, open, due, lanes, awaiting, began, hurried: 0, over, totals }
    }

    /// When the oldest run that is not over began.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.began.first().map(|(at, _)| *at)
    }

    /// Whether it matters which runs of a lane are not over.
    fn counts_lanes(&self) -> bool {
        matches!(self.rule.overlap, Overlap::Restart | Overlap::Skip)
    }

    /// An event came: a run begins, where this version runs on it.
    pub(super) fn arrive(&mut self, arrival: &Arrival, number: usize, now: Timestamp, happened: &Happened) {
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
        self.move_on(Open { run, lane: lane.unwrap_or_default(), past, sources }, now, happened);
        while self.open.len() > MOST_OPEN
            && let Some((due, event)) = self.due.first().copied()
            && let Some(open) = self.take(event)
        {
            self.hurried += 1;
            self.move_on(open, due, happened);
        }
    }

    /// An event came: the runs that wait for it go on.
    pub(super) fn happens(&mut self, arrival: &Arrival, now: Timestamp, happened: &Happened) {
        let event = &arrival.event;
        let waiting = arrival.about.iter().filter_map(|about| self.awaiting.get(about)).flatten();
        for run in waiting.copied().collect::<BTreeSet<EventId>>() {
            let Some(open) = self.open.get(&run) else { continue };
            // What came once its time was over came too late.
            let is_awaited = |(call, awaits): &(&Call, &Awaits)| {
                let Awaits::Event { kind, about } = awaits else { return false };
                is_of_kind(&event.kind, kind) && arrival.about.contains(about) && event.received <= call.due
            };
            if !event.is_since(&open.run.facts.event) {
                continue;
            }
            let paths: Vec<String> =
                open.run.awaiting().filter(is_awaited).map(|(call, _)| call.path.clone()).collect();
            if paths.is_empty() {
                continue;
            }
            let Some(mut open) = self.take(run) else { continue };
            for path in paths {
                open.run.answer(&path, waits::happened(event, &arrival.context), now);
            }
            self.move_on(open, now, happened);
        }
    }

    /// All that waits until `now` at most goes on.
    pub(super) fn go_on(&mut self, now: Timestamp, happened: &Happened) {
        while let Some((due, event)) = self.due.first().copied().filter(|(due, _)| *due <= now)
            && let Some(open) = self.take(event)
        {
            self.move_on(open, due, happened);
        }
    }

    /// All that waits for longer than this is still waiting.
    pub(super) fn finish(&mut self, end: Timestamp, happened: &Happened) {
        self.go_on(end, happened);
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
        self.began.remove(&(open.run.facts.now, event));
        for about in awaited(&open.run) {
            if let Some(runs) = self.awaiting.get_mut(about) {
                runs.remove(&event);
                if runs.is_empty() {
                    self.awaiting.remove(about);
                }
            }
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
    fn move_on(&mut self, mut open: Open, until: Timestamp, happened: &Happened) {
        let facts = open.run.facts.clone();
        let mut answers = Answers {
            past: &open.past,
            registry: &self.registry,
            facts: &facts,
            model: self.model.as_ref(),
            happened,
            sources: &mut open.sources,
        };
        open.run.go_on(&self.registry, &mut answers, &mut self.memory, until);
        let event = open.run.facts.event.id;
        match open.run.next_due() {
            Some(due) => {
                self.due.insert((due, event));
                self.began.insert((open.run.facts.now, event));
                for about in awaited(&open.run) {
                    self.awaiting.entry(about.to_owned()).or_default().insert(event);
                }
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

/// What the events are to be about that a run waits for.
fn awaited(run: &Rehearsal) -> impl Iterator<Item = &str> {
    run.awaiting().filter_map(|(_, awaits)| match awaits {
        Awaits::Event { about, .. } => Some(about.as_str()),
        Awaits::Person | Awaits::Resume | Awaits::Calls => None,
    })
}
