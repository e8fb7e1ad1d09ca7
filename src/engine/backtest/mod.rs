//! Backtests: what a rule would have done on past events, with nothing leaving the building.
//!
//! ```text
//! pages of events ─ look: read, match (several at once) ─▶ in order of time ─▶ a side a version: its runs ─▶ report
//! ```
//!
//! Events come with their context as it was, so nothing is known before its time. A run goes on as a live one does,
//! on a clock of its own (`rehearse`): its reads and writes get the answers on record where the same was asked of the
//! same event, else the capability's stand-in; later events answer what waits for one; a person's answer is assumed;
//! memory begins empty. All runs of a version go on in the order of time, so they see each other in memory and lanes.

mod answers;
mod happened;
mod looking;
mod one;
mod report;
mod side;

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use one::{Came, Tried, TriedCall, try_on};
pub use report::{
    CallTotals, Difference, Differing, FailureTotals, Messages, MoneyTotals, Outcome, Report, Totals, Unread,
    WhyNotTotals,
};

use self::happened::Happened;
use super::registry::Registry;
use crate::domain::{EventId, Shop, ShopId};
use crate::rules::Rule;
use crate::store::{Archive, Span, StoreError};
use looking::{Looking, Page};
use report::Comparison;
use side::Side;

/// What is to be tried.
#[derive(Clone)]
pub struct Question {
    /// On whose events.
    pub shop: ShopId,
    /// The rule.
    pub rule: Arc<Rule>,
    /// Another version of it, to be held against it.
    pub against: Option<Arc<Rule>>,
    /// Events received from then on.
    pub since: Timestamp,
    /// And before then.
    pub until: Timestamp,
    /// Runs that wait for longer are still waiting.
    pub now: Timestamp,
    /// Differing events that the report holds; all are counted.
    pub shown: usize,
    /// Performs `model.*` for this shop where its answer is not on record; `None`: its stand-in answers.
    pub model: Option<Arc<Shop>>,
}

/// How far a backtest is.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Events read so far.
    pub events: u64,
    /// Of the whole time, 0 to 1.
    pub part: f64,
}

/// Why a backtest broke off.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of it panicked.
    #[error("a backtest broke off (a bug in Storehand): {0}")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Events that a page holds at most, of all shops: some megabytes.
const PAGE: u32 = 1_000;

/// Pages that are read and matched at once: two a core, so that one is matched while another is read.
pub fn pages_at_once() -> usize {
    2 * std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8))
}

/// Tries a rule on past events.
///
/// Pages are read and matched several at once ([`pages_at_once`], each over a connection of `archive`), and taken in in
/// their order.
///
/// # Errors
/// [`BacktestError`]. A single event that cannot be read is counted instead.
pub async fn backtest(
    archive: &Archive,
    registry: &Arc<Registry>,
    question: Question,
    told: &mut (dyn FnMut(Reached) + Send),
) -> Result<Report, BacktestError> {
    let newest = archive.newest().await?;
    let first = EventId::first_at(question.since);
    // Ids may run ahead of the clock for a moment.
    let slack = SignedDuration::from_mins(10);
    let last = EventId::first_at(question.until.saturating_add(slack).unwrap_or(Timestamp::MAX));
    let looking = Arc::new(Looking::new(&question, registry));
    let to = if looking.awaits_events() { newest } else { newest.min(last) };
    let whole = Span { after: EventId(first.0 - 1), to };
    let never_matched = archive.count_unmatched(&question.shop, Span { to: newest.min(last), ..whole }).await?;

    let mut trial = Trial::new(&question, registry, archive);
    let (mut rest, mut under_way) = (whole, VecDeque::new());
    loop {
        while under_way.len() < pages_at_once()
            && let Some(page) = archive.next_page(rest, PAGE).await?
        {
            rest.after = page.to;
            under_way.push_back(tokio::spawn(looking.clone().look(archive.clone(), page)));
        }
        let Some(front) = under_way.pop_front() else { break };
        let page = front.await??;
        let (events, reached) = (trial.events_read + page.read, page.to);
        trial = tokio::task::spawn_blocking(move || trial.take_in(page)).await?;
        let part = (reached.0 - whole.after.0) as f64 / (whole.to.0 - whole.after.0).max(1) as f64;
        told(Reached { events, part });
    }
    let end = question.now;
    let trial = tokio::task::spawn_blocking(move || trial.finish(end)).await?;
    Ok(trial.report(&question, never_matched))
}

/// All that a backtest has gathered.
struct Trial {
    /// The rule's, then the one that it is held against.
    sides: Vec<Side>,
    comparison: Comparison,
    happened: Happened,
    looked_at: u64,
    events_read: u64,
    unread: Option<Unread>,
    /// The latest moment of an event.
    latest: Timestamp,
}

impl Trial {
    fn new(question: &Question, registry: &Arc<Registry>, archive: &Archive) -> Self {
        let rules = [Some(&question.rule), question.against.as_ref()];
        let side = |rule: &Arc<Rule>| Side::new(rule.clone(), registry.clone(), question.model.clone());
        Self {
            sides: rules.into_iter().flatten().map(side).collect(),
            comparison: Comparison::new(question.shown),
            happened: Happened::in_archive(archive, &question.shop),
            looked_at: 0,
            events_read: 0,
            unread: None,
            latest: Timestamp::MIN,
        }
    }

    fn take_in(mut self, page: Page) -> Self {
        self.events_read += page.read;
        self.looked_at += page.looked_at;
        for (id, why) in page.unread {
            self.unread.get_or_insert(Unread { count: 0, event: id, why }).count += 1;
        }
        for (side, unmet) in self.sides.iter_mut().zip(page.unmet) {
            side.totals.add_why_nots(unmet);
        }
        for arrival in page.arrivals {
            self.latest = self.latest.max(arrival.at);
            self.happened.add(&arrival);
            for (number, side) in self.sides.iter_mut().enumerate() {
                side.go_on(self.latest, &self.happened);
                side.happens(&arrival, self.latest, &self.happened);
                side.arrive(&arrival, number, self.latest, &self.happened);
            }
            self.compare(Some(&arrival));
        }
        let oldest = self.sides.iter().filter_map(Side::oldest).min().unwrap_or(self.latest);
        self.happened.forget(oldest);
        self
    }

    fn finish(mut self, end: Timestamp) -> Self {
        let end = end.max(self.latest);
        let happened = &self.happened;
        self.sides.iter_mut().for_each(|side| side.finish(end, happened));
        self.compare(None);
        self
    }

    /// Holds the runs that are over against each other.
    fn compare(&mut self, arrival: Option<&looking::Arrival>) {
        if self.sides.len() < 2 {
            return self.sides.iter_mut().for_each(|side| side.over.clear());
        }
        if let Some(arrival) = arrival.filter(|arrival| arrival.is_run_on()) {
            self.comparison.begin(arrival);
        }
        for (number, side) in self.sides.iter_mut().enumerate() {
            for (event, outcome) in side.over.drain(..) {
                self.comparison.over(number, event, outcome);
            }
        }
    }

    fn report(self, question: &Question, never_matched: u64) -> Report {
        let differing = question.against.as_ref().map(|_| self.comparison.into_differing());
        let notes = report::notes(&self.sides, question);
        Report {
            rule: question.rule.id.clone(),
            since: question.since,
            until: question.until,
            looked_at: self.looked_at,
            never_matched,
            unread: self.unread,
            sides: self.sides.into_iter().map(|side| side.totals).collect(),
            differing,
            notes,
        }
    }
}
