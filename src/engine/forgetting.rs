//! Forgetting: once a day what the shop has kept for long enough goes, a step at a time, each with a turn's commit.
//!
//! The desk does it, since it alone moves runs: what it has in hand cannot go under its feet. A step is small enough
//! for nobody to feel it, and where the process ends half way the next pass finds the rest.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::desk::{Desk, Turn};
use crate::domain::EventId;
use crate::store::{Forget, Place, StoreError};

/// How long after a start the first pass begins, and after one pass the next.
const FIRST: SignedDuration = SignedDuration::from_mins(10);
const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// Between two steps of a pass.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// How far it has come.
pub(super) struct Forgetting {
    place: Place,
    /// When the next step is due; `None`: never, everything is kept.
    next: Option<Timestamp>,
}

impl Forgetting {
    pub(super) fn new(keep: Option<SignedDuration>, now: Timestamp) -> Self {
        Self { place: Place::START, next: keep.map(|_| now.saturating_add(FIRST).unwrap_or(Timestamp::MAX)) }
    }

    /// When the next step is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next
    }
}

impl Desk {
    /// Takes the next step, where it is due.
    pub(super) async fn forget_some(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let Some(keep) = self.parts.shop.keep.filter(|_| !self.closing) else { return Ok(()) };
        if self.forgetting.next.is_none_or(|next| next > turn.now) {
            return Ok(());
        }
        let place = std::mem::replace(&mut self.forgetting.place, Place::START);
        let (forget, next) = self.parts.store.old(&self.parts.shop.id, place, turn.now, keep).await?;
        turn.changes.forgotten = forget;
        let pause = if next.is_some() { PAUSE } else { A_DAY };
        self.forgetting.place = next.unwrap_or(Place::START);
        self.forgetting.next = Some(turn.now.saturating_add(pause).unwrap_or(Timestamp::MAX));
        Ok(())
    }

    /// Leaves out the events of runs that are in hand: a person may have had one taken back within this very turn.
    pub(super) fn keep_what_is_in_hand(&self, turn: &mut Turn) {
        if let Some(Forget::Events(events)) = &mut turn.changes.forgotten {
            let in_hand: HashSet<EventId> = self.runs.values().map(|live| live.run.event.id).collect();
            events.retain(|event| !in_hand.contains(event));
        }
    }
}
