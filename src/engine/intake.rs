//! Accepting: T1, many deliveries to one commit. A delivery is answered only after its events are on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::EngineError;
use super::desk::Note;
use crate::domain::{Clock, Event, IdMaker, NewEvent, ShopId};
use crate::store::{Accept, Accepted, Store};

/// A delivery's events on their way to the disk.
pub(super) struct Arrival {
    events: Vec<Accept>,
    reply: oneshot::Sender<Result<Vec<Accepted>, EngineError>>,
}

/// One shop's way in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Intake {
    queue: mpsc::UnboundedSender<Arrival>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    ids: Arc<IdMaker>,
    clock: Arc<dyn Clock>,
}

impl Intake {
    /// Starts taking in. `most_waiting` events may wait for their commit; past that, deliveries are refused.
    /// `group` deliveries are put into one commit at the most.
    pub(super) fn start(
        store: Store,
        ids: Arc<IdMaker>,
        clock: Arc<dyn Clock>,
        most_waiting: usize,
        group: usize,
        desk: mpsc::Sender<Note>,
        behind: watch::Sender<()>,
    ) -> Self {
        let (queue, arrivals) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        tokio::spawn(take_in(store, arrivals, group.max(1), waiting.clone(), desk, behind));
        Self { queue, waiting, most_waiting, ids, clock }
    }

    /// Accepts a delivery's events, each once, and returns when they are on disk.
    pub(super) async fn accept(
        &self,
        shop: &ShopId,
        source: &str,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Accepted>, EngineError> {
        let count = events.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let admitted = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting + count <= self.most_waiting).then_some(waiting + count)
        });
        if admitted.is_err() {
            return Err(EngineError::Full);
        }
        let now = self.clock.now();
        let source: Arc<str> = format!("/{source}/{shop}").into();
        let accepts = events.into_iter().map(|new| accept_as(new, shop, &source, &self.ids, now));
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send(Arrival { events: accepts.collect(), reply });
        sent.map_err(|_| EngineError::Closing)?;
        answer.await.map_err(|_| EngineError::Closing)?
    }

    /// Events that wait for their commit.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The count of those that wait for their commit, and to be handed to the desk.
    pub(super) fn waiting_count(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }
}

/// An event on its way to the disk, with an id of ours. `source` is `/shopify/acme`.
pub fn accept_as(new: NewEvent, shop: &ShopId, source: &Arc<str>, ids: &IdMaker, now: Timestamp) -> Accept {
    let event = Event {
        id: ids.event(now),
        shop: shop.clone(),
        source: source.clone(),
        kind: new.kind.unwrap_or_else(|| Event::UNHANDLED.into()),
        topic: new.topic,
        subject: new.subject,
        time: new.time,
        received: now,
        records: Arc::new(new.records),
        mentions: new.mentions,
        late: false,
        echo: None,
    };
    Accept::new(Arc::new(event), new.delivery_key, new.payload)
}

async fn take_in(
    store: Store,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    group: usize,
    waiting: Arc<AtomicUsize>,
    desk: mpsc::Sender<Note>,
    behind: watch::Sender<()>,
) {
    let mut batch = Vec::with_capacity(group);
    while arrivals.recv_many(&mut batch, group).await > 0 {
        let mut replies = Vec::with_capacity(batch.len());
        let mut events = Vec::with_capacity(batch.len());
        for Arrival { events: some, reply } in batch.drain(..) {
            replies.push((reply, some.len()));
            events.extend(some);
        }
        let count = events.len();
        let on_desk: Vec<Arc<Event>> = events.iter().map(|accept| accept.event().clone()).collect();
        let result = store.accept(events).await;
        match result {
            Ok(accepted) => {
                let fresh = on_desk.into_iter().zip(&accepted).filter(|(_, accepted)| accepted.fresh);
                // They are on disk: a desk that has no room for them now reads them from there later.
                if desk.try_send(Note::Events(fresh.map(|(event, _)| event).collect())).is_err() {
                    behind.send_replace(());
                }
                waiting.fetch_sub(count, Ordering::AcqRel);
                let mut accepted = accepted.into_iter();
                for (reply, count) in replies {
                    let _ = reply.send(Ok(accepted.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                waiting.fetch_sub(count, Ordering::AcqRel);
                for (reply, _) in replies {
                    let _ = reply.send(Err(EngineError::Store(error.clone())));
                }
            }
        }
    }
}
