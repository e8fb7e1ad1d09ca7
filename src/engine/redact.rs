//! Redacting people: what an event like `customer.redacted` sets going.
//!
//! The event waits, as one does whose order is being read, while it is carried out: the events that speak of the person
//! are looked for; runs on them that are not over are ended; then everything is blanked, this event too, and only then is
//! it matched. Until that is on disk it is not matched, so a crash in the middle begins it again, and each step may be
//! done twice.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Desk, Returned, Turn};
use super::spending::customer;
use crate::domain::redact::{self, Who, Whose};
use crate::domain::{End, Event, EventId, ShopId};
use crate::store::{Store, StoreError};

/// How long it waits before it tries again what the store refused.
const AGAIN: Duration = Duration::from_secs(2);

/// What the desk is about to forget, the oldest first; one at a time.
#[derive(Default)]
pub(super) struct Redacting {
    waiting: VecDeque<(EventId, Whose)>,
    stage: Stage,
    /// Events that were carried out and are to be matched.
    done: HashSet<EventId>,
}

#[derive(Default)]
enum Stage {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A task of the desk is at work.
    Busy,
    /// Found; to be blanked once no attempt of their runs is under way.
    Found(Whose, Vec<EventId>),
}

/// What a task of this kind comes back with.
pub(super) enum Redacted {
    /// The events that speak of the person.
    Found(Whose, Vec<EventId>),
    /// All is blank.
    Blank(EventId),
    /// The store refused: it is begun again.
    Failed,
}

impl Desk {
    /// Whether an event has to be carried out before it is matched; then it waits.
    pub(super) fn must_be_carried_out(&mut self, event: &Arc<Event>) -> bool {
        let Some(whose) = event.forgets() else { return false };
        if self.redacting.done.remove(&event.id) {
            return false;
        }
        self.parked.insert(event.id, event.clone());
        self.redacting.waiting.push_back((event.id, whose));
        true
    }

    /// Takes what a task has come back with. Gives the event that is to be matched now.
    pub(super) async fn take_redacted(
        &mut self,
        turn: &mut Turn,
        forgot: Redacted,
    ) -> Result<Option<Arc<Event>>, StoreError> {
        match forgot {
            Redacted::Found(whose, events) => {
                let open = self.parts.store.open_runs_on(&self.parts.shop.id, &events).await?;
                let concerned: HashSet<EventId> = events.iter().copied().collect();
                let at_work = self.runs.values().filter(|live| concerned.contains(&live.run.event.id));
                let mut open: HashSet<_> = open.into_iter().chain(at_work.map(|live| live.run.id)).collect();
                self.load(turn, open.iter().copied().collect()).await?;
                open.retain(|id| self.runs.get(id).is_some_and(|live| live.run.ended.is_none()));
                for run in open {
                    self.end(turn, run, End::Cancelled);
                }
                self.redacting.stage = Stage::Found(whose, events);
                Ok(None)
            }
            Redacted::Failed => {
                self.redacting.stage = Stage::Idle;
                Ok(None)
            }
            Redacted::Blank(id) => {
                self.redacting.stage = Stage::Idle;
                self.redacting.waiting.retain(|(other, _)| *other != id);
                self.redacting.done.insert(id);
                let event = self.parked.remove(&id);
                let blank = |event: Arc<Event>| Event {
                    records: Arc::new(redact::records(&event.records)),
                    ..Event::clone(&event)
                };
                Ok(event.map(|event| Arc::new(blank(event))))
            }
        }
    }

    /// After a commit: the next step, where it can be made.
    pub(super) fn go_on_redacting(&mut self) {
        let Some((id, whose)) = self.redacting.waiting.front().cloned() else { return };
        if self.closing {
            return;
        }
        let (store, shop) = (self.parts.store.clone(), self.parts.shop.id.clone());
        match std::mem::take(&mut self.redacting.stage) {
            Stage::Busy => self.redacting.stage = Stage::Busy,
            Stage::Idle => {
                // What came before and is not matched yet would write down again what is to be forgotten.
                let waits = &self.redacting.waiting;
                let before = self.parked.keys().any(|other| *other < id && waits.iter().all(|(it, _)| it != other));
                if !before {
                    self.redacting.stage = Stage::Busy;
                    self.tasks.spawn(async move { Returned::Redacted(look(&store, &shop, id, whose).await) });
                }
            }
            Stage::Found(whose, events) => {
                let concerned: HashSet<EventId> = events.iter().copied().collect();
                let at_work =
                    |live: &super::desk::Live| !live.under_way.is_empty() && concerned.contains(&live.run.event.id);
                if self.runs.values().any(at_work) {
                    self.redacting.stage = Stage::Found(whose, events);
                    return;
                }
                self.redacting.stage = Stage::Busy;
                let now = self.parts.clock.now();
                self.tasks.spawn(async move {
                    let mut events = events;
                    events.push(id);
                    let digests = digests(&shop, &whose);
                    let count = events.len();
                    match store.redact(&shop, &whose, &events, digests, now).await {
                        Ok(()) => {
                            tracing::info!(%shop, event = %id, events = count, "personal data was forgotten");
                            Returned::Redacted(Redacted::Blank(id))
                        }
                        Err(error) => Returned::Redacted(failed(&shop, id, &error).await),
                    }
                });
            }
        }
    }
}

async fn failed(shop: &ShopId, id: EventId, error: &StoreError) -> Redacted {
    tracing::error!(%shop, event = %id, %error, "personal data was not forgotten; trying again");
    tokio::time::sleep(AGAIN).await;
    Redacted::Failed
}

async fn look(store: &Store, shop: &ShopId, id: EventId, whose: Whose) -> Redacted {
    let whose = match whose {
        Whose::Everybody => Ok(Whose::Everybody),
        Whose::Customer(who) => store.known_as(shop, who).await.map(Whose::Customer),
    };
    let found = match whose {
        Ok(whose) => store.events_of(shop, &whose, id).await.map(|events| (whose, events)),
        Err(error) => Err(error),
    };
    match found {
        Ok((whose, events)) => Redacted::Found(whose, events),
        Err(error) => failed(shop, id, &error).await,
    }
}

/// By what limits know these people: their addresses, and their id where they had none.
fn digests(shop: &ShopId, whose: &Whose) -> Vec<String> {
    let Whose::Customer(Who { id, emails, .. }) = whose else { return Vec::new() };
    emails.iter().map(String::as_str).chain(id.as_deref()).map(|whom| customer(shop, whom)).collect()
}
