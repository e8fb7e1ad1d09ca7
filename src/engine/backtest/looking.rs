//! Looking at a page of past events: which of them the rule's versions run on. As much of a backtest as can be done
//! for many pages at once.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::answers::Past;
use super::report::WhyNotTotals;
use super::{BacktestError, Question};
use crate::domain::{Event, EventId, Facts, Inputs, Missing, Records, RunId, ShopId, about, is_of_kind};
use crate::engine::registry::Registry;
use crate::rules::{Rule, WhyNot, first_false, why_not};
use crate::store::{Archive, PastRun, Recorded, Span, StoredEvent};

/// What is needed to look at a page.
pub(super) struct Looking {
    shop: ShopId,
    rules: Vec<Arc<Rule>>,
    /// The event types that one of them listens to, or waits for.
    kinds: Vec<String>,
    /// Those that one of them waits for, and families of them.
    awaited: Vec<String>,
    since: Timestamp,
    until: Timestamp,
    registry: Arc<Registry>,
}

/// A page that was looked at.
pub(super) struct Page {
    /// Its last event.
    pub(super) to: EventId,
    /// Rows read.
    pub(super) read: u64,
    /// Events that a version listens to, within the time asked for.
    pub(super) looked_at: u64,
    /// Those that cannot be read, and why.
    pub(super) unread: Vec<(EventId, String)>,
    /// By version: the conditions that did not hold.
    pub(super) unmet: Vec<Vec<WhyNotTotals>>,
    /// The events that a version runs on, or may wait for.
    pub(super) arrivals: Vec<Arrival>,
}

/// An event that a version runs on, or may wait for.
pub(super) struct Arrival {
    pub(super) event: Arc<Event>,
    pub(super) context: Arc<Records>,
    pub(super) missing: Vec<Missing>,
    /// When it was matched.
    pub(super) at: Timestamp,
    /// By version.
    pub(super) heard: Vec<Heard>,
    /// What it is about, where a version may wait for it.
    pub(super) about: Vec<String>,
    /// What its runs were answered.
    pub(super) past: Arc<Past>,
}

/// What a version makes of an event.
pub(super) enum Heard {
    /// It does not listen to such events.
    Deaf,
    /// A condition does not hold.
    WhyNot(WhyNot),
    /// It runs.
    Holds,
}

impl Arrival {
    /// Whether a version runs on it.
    pub(super) fn is_run_on(&self) -> bool {
        self.heard.iter().any(|heard| matches!(heard, Heard::Holds))
    }

    fn new(stored: StoredEvent, at: Timestamp) -> Self {
        let context = stored.context.unwrap_or_default();
        Self {
            event: stored.event,
            context: context.records,
            missing: context.missing,
            at,
            heard: Vec::new(),
            about: Vec::new(),
            past: Arc::default(),
        }
    }

    pub(super) fn facts(&self, inputs: Arc<Inputs>) -> Facts {
        Facts {
            event: self.event.clone(),
            context: self.context.clone(),
            missing: self.missing.clone(),
            inputs,
            now: self.at,
        }
    }
}

impl Looking {
    pub(super) fn new(question: &Question, registry: &Arc<Registry>) -> Self {
        let rules: Vec<_> = [Some(&question.rule), question.against.as_ref()].into_iter().flatten().cloned().collect();
        let heard = |kind: &str| rules.iter().any(|rule| rule.triggers.iter().any(|trigger| trigger.hears(kind)));
        let awaited: Vec<String> = rules.iter().flat_map(|rule| rule.awaits.iter().cloned()).collect();
        let wanted = |kind: &str| heard(kind) || awaited.iter().any(|awaited| is_of_kind(kind, awaited));
        let kinds = registry.catalog().events().iter().map(|event| event.name.to_owned());
        Self {
            shop: question.shop.clone(),
            kinds: kinds.filter(|kind| wanted(kind)).collect(),
            rules,
            awaited,
            since: question.since,
            until: question.until,
            registry: registry.clone(),
        }
    }

    /// Whether a run may wait for events past those that it is tried on.
    pub(super) fn awaits_events(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Reads a page and matches its events.
    pub(super) async fn look(self: Arc<Self>, archive: Archive, span: Span) -> Result<Page, BacktestError> {
        let rows = archive.events(&self.shop, &self.kinds, span).await?;
        let looking = self.clone();
        let mut page = tokio::task::spawn_blocking(move || looking.match_all(span, rows)).await?;
        let mut runs: HashMap<EventId, Vec<PastRun>> = HashMap::new();
        if page.arrivals.iter().any(Arrival::is_run_on) {
            for run in archive.runs(&self.shop, &self.rules[0].id, span).await? {
                runs.entry(run.event).or_default().push(run);
            }
        }
        let run_on = page.arrivals.iter().filter(|arrival| arrival.is_run_on());
        let wanted = run_on.filter_map(|arrival| runs.get(&arrival.event.id));
        let wanted: Vec<RunId> = wanted.flatten().map(|run| run.run).collect();
        let mut calls = archive.calls(&wanted).await?;
        for arrival in &mut page.arrivals {
            let past = runs.get(&arrival.event.id).into_iter().flatten();
            let past = past.filter_map(|run| Some((run.mode, calls.remove(&run.run)?)));
            arrival.past = Arc::new(Past::new(past, &self.registry));
        }
        Ok(page)
    }

    fn match_all(&self, span: Span, rows: Vec<Recorded>) -> Page {
        let mut page = Page {
            to: span.to,
            read: rows.len() as u64,
            looked_at: 0,
            unread: Vec::new(),
            unmet: Vec::new(),
            arrivals: Vec::new(),
        };
        let mut unmet: Vec<Seen> = self.rules.iter().map(|_| Seen::default()).collect();
        for row in rows {
            let in_time = (self.since..self.until).contains(&row.received());
            let listens = |rule: &Arc<Rule>| rule.hears(row.kind(), row.subject());
            let heard = in_time && self.rules.iter().any(listens);
            let awaited = self.awaited.iter().any(|awaited| is_of_kind(row.kind(), awaited));
            page.looked_at += u64::from(heard);
            if !heard && !awaited {
                continue;
            }
            let (id, at) = (row.id(), row.matched());
            match row.read() {
                Ok(stored) => {
                    let mut arrival = Arrival::new(stored, at);
                    if heard {
                        arrival.heard = self.match_one(&arrival, &mut unmet);
                    }
                    if awaited {
                        arrival.about = about(&arrival.event, &arrival.context);
                    }
                    if arrival.is_run_on() || !arrival.about.is_empty() {
                        page.arrivals.push(arrival);
                    }
                }
                Err(error) => page.unread.push((id, error.to_string())),
            }
        }
        page.unmet = unmet.into_iter().map(|seen| seen.0.into_values().collect()).collect();
        page
    }

    /// What each version makes of an event; nothing where none of them runs on it.
    fn match_one(&self, arrival: &Arrival, seen: &mut [Seen]) -> Vec<Heard> {
        let look = |(rule, seen): (&Arc<Rule>, &mut Seen)| {
            if !rule.hears(&arrival.event.kind, &arrival.event.subject) {
                return Looked::Deaf;
            }
            let facts = arrival.facts(rule.values());
            let Some(at) = first_false(rule, &facts) else { return Looked::Holds };
            seen.add(rule, &facts, at);
            Looked::False(at)
        };
        let looked: Vec<Looked> = self.rules.iter().zip(seen).map(look).collect();
        if !looked.iter().any(|looked| matches!(looked, Looked::Holds)) {
            return Vec::new();
        }
        let heard = |(rule, looked): (&Arc<Rule>, Looked)| match looked {
            Looked::Deaf => Heard::Deaf,
            Looked::False(at) => Heard::WhyNot(why_not(rule, &arrival.facts(rule.values()), at)),
            Looked::Holds => Heard::Holds,
        };
        self.rules.iter().zip(looked).map(heard).collect()
    }
}

/// What a version makes of an event, before it is put into words.
enum Looked {
    Deaf,
    /// This of its conditions does not hold.
    False(usize),
    Holds,
}

/// The conditions of a version that did not hold for a page's events, by their place.
#[derive(Default)]
struct Seen(HashMap<usize, WhyNotTotals>);

impl Seen {
    fn add(&mut self, rule: &Rule, facts: &Facts, at: usize) {
        // Only the first is put into words: that costs as much as matching.
        let first = || WhyNotTotals { count: 0, event: facts.event.id, why: why_not(rule, facts, at) };
        self.0.entry(at).or_insert_with(first).count += 1;
    }
}
