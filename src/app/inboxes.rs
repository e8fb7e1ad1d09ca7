//! Looks into the shops' mailboxes, again and again: what is new is accepted as deliveries are.
//!
//! A mail is taken once: how far a mailbox was read is written down after its mails are on disk, and a mail that is
//! seen again after a crash in between is known by its Message-ID, as a repeated delivery is.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Clock, ShopId};
use crate::engine::Engine;
use crate::shops::imap::{Inbox, Position};
use crate::store::{InboxRow, Store};

/// The source of these events, as it stands in `event.source`: `/imap/acme`.
const SOURCE: &str = "imap";

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// A mailbox that is looked into.
pub(super) struct Watched {
    pub(super) shop: ShopId,
    pub(super) inbox: Inbox,
    pub(super) every: Duration,
    pub(super) store: Store,
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Looks until it is told to stop. After a failure each pause is twice as long as the one before.
pub(super) async fn watch(watched: Watched, stop: CancellationToken) {
    let (shop, mailbox) = (&watched.shop, watched.inbox.name());
    let mut failures = 0_u32;
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = look(&watched, &mailbox) => looked,
        };
        let pause = match looked {
            Ok(more) => {
                if failures > 0 {
                    tracing::info!(%shop, mailbox, "the mailbox can be read again");
                }
                failures = 0;
                if more { Duration::ZERO } else { watched.every }
            }
            Err(error) => {
                let pause = watched.every.saturating_mul(2_u32.saturating_pow(failures.min(16)));
                let pause = pause.min(LONGEST_PAUSE.max(watched.every));
                failures += 1;
                let again_in_seconds = pause.as_secs();
                tracing::warn!(%shop, mailbox, failures, again_in_seconds, "{error:#}");
                pause
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One look; `true` where there is more already.
async fn look(watched: &Watched, mailbox: &str) -> anyhow::Result<bool> {
    let Watched { shop, inbox, store, engine, clock, .. } = watched;
    let from = store.inbox(shop, mailbox).await?;
    let position = from.map(|InboxRow { validity, uid, looked }| Position { validity, uid, looked });
    let look = inbox.look(position, clock.now()).await?;
    match position {
        None => {
            tracing::info!(%shop, mailbox, "the mailbox is watched from now on; what is in it already is left alone")
        }
        Some(before) if before.validity != look.position.validity => {
            tracing::warn!(%shop, mailbox, "the server has numbered its mails anew: those since the last look are taken");
        }
        Some(_) => {}
    }
    if look.unreadable > 0 {
        tracing::warn!(%shop, mailbox, count = look.unreadable, "mails without any header were passed over");
    }
    if !look.events.is_empty() {
        let accepted = engine.accept(shop, SOURCE, look.events).await?;
        let fresh = accepted.iter().filter(|event| event.fresh).count();
        tracing::debug!(%shop, mailbox, fresh, "mails taken");
    }
    let Position { validity, uid, looked } = look.position;
    store.keep_inbox(shop, mailbox, InboxRow { validity, uid, looked }).await?;
    Ok(look.more)
}
