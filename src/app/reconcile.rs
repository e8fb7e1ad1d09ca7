//! Asks a shop's platform from time to time what has changed there and was not told.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Clock, ShopId};
use crate::engine::Engine;

/// Asks now, and then again and again, until `stop`.
pub(super) async fn watch(
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    shop: ShopId,
    every: Duration,
    stop: CancellationToken,
) {
    loop {
        match engine.reconcile(&shop).await {
            Ok(came) if came.broke_off.is_some() => {
                tracing::warn!(%shop, why = came.broke_off, "not all that has changed at the platform was looked at");
            }
            Ok(came) if came.missed > 0 => {
                tracing::info!(%shop, orders = came.missed, events = came.events, "changes that no delivery had told of");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%shop, %error, "what has changed at the platform could not be looked at"),
        }
        let next = clock.now().saturating_add(every).unwrap_or(jiff::Timestamp::MAX);
        tokio::select! {
            () = clock.sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}
