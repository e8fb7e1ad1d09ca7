//! What has happened in a backtest so far, for runs that come to wait for it later: an event since a run began answers
//! it at once.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::looking::Arrival;
use crate::domain::{Answer, Awaits, Event, EventId, ShopId, Text, is_of_kind};
use crate::engine::waits::happened;
use crate::store::Archive;

/// Events that runs may wait for, by what they are about. Only their names are held: an event is read again where it
/// is the answer.
pub(super) struct Happened {
    by_about: HashMap<String, Vec<One>>,
    /// The same in the order in which they came, so that they can be forgotten.
    order: VecDeque<(Timestamp, String)>,
    archive: Option<(Archive, ShopId)>,
}

struct One {
    event: EventId,
    kind: Text,
    time: Timestamp,
}

/// Platforms tell of things out of order: so long before a run began an event may have come that happened after.
const OUT_OF_ORDER: SignedDuration = SignedDuration::from_hours(24);

impl Happened {
    pub(super) fn in_archive(archive: &Archive, shop: &ShopId) -> Self {
        Self { archive: Some((archive.clone(), shop.clone())), ..Self::nothing() }
    }

    /// For a run that is tried alone.
    pub(super) fn nothing() -> Self {
        Self { by_about: HashMap::new(), order: VecDeque::new(), archive: None }
    }

    /// An event came.
    pub(super) fn add(&mut self, arrival: &Arrival) {
        for about in &arrival.about {
            let event = &arrival.event;
            let one = One { event: event.id, kind: event.kind.clone(), time: event.time };
            self.by_about.entry(about.clone()).or_default().push(one);
            self.order.push_back((arrival.at, about.clone()));
        }
    }

    /// Forgets what no run can wait for any more, where the oldest of them began then.
    pub(super) fn forget(&mut self, oldest: Timestamp) {
        let before = oldest.saturating_sub(OUT_OF_ORDER).unwrap_or(Timestamp::MIN);
        while let Some((_, about)) = self.order.pop_front_if(|(at, _)| *at < before) {
            // Of one thing they were added in this order too.
            if let Some(those) = self.by_about.get_mut(&about) {
                those.remove(0);
                if those.is_empty() {
                    self.by_about.remove(&about);
                }
            }
        }
    }

    /// The answer of a call that comes to wait for what has happened since its run began.
    pub(super) fn first(&self, awaits: &Awaits, began: &Event) -> Option<Answer> {
        let (Awaits::Event { kind, about }, Some((archive, shop))) = (awaits, &self.archive) else { return None };
        let is_since = |one: &&One| one.event > began.id || one.event != began.id && one.time >= began.time;
        let those = self.by_about.get(about)?.iter().filter(|one| is_of_kind(&one.kind, kind)).filter(is_since);
        let event = those.map(|one| one.event).min()?;
        // Runs are tried on a thread of their own, which may wait.
        let read = tokio::runtime::Handle::current().block_on(archive.event(shop, event));
        let stored = read.ok().flatten()?;
        let records = stored.context.map_or_else(|| stored.event.records.clone(), |context| context.records);
        Some(happened(&stored.event, &records))
    }
}
