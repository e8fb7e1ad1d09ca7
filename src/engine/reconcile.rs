//! Reconciling: what has changed at the platform and was told by no delivery becomes events all the same.
//!
//! An order counts as missed where the platform's own time of its last change is later than that of the version we know,
//! and is some minutes past, so that a delivery is not overtaken. What happened to it is worked out from the two versions.
//! Each such event is made once, since its delivery key holds type, order and that time. And where the delivery comes
//! after all, it is kept, and no rule hears of the same thing a second time: the key says that it was told already.
//!
//! What is missed of an order is found by its record. A topic that was lost while another brought the same version of the
//! order is not.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::desk::Desk;
use super::{Engine, EngineError};
use crate::domain::{Event, EventId, NewEvent, Order, Platform, RecordKey, RecordKind, Records, ShopId, Text, Verdict};
use crate::store::{RECONCILED, StoreError};

/// The topic of events that were found by asking.
const TOPIC: &str = "reconciled/orders";

/// How long a delivery may take before what it would tell counts as missed.
const SETTLES: Duration = Duration::from_secs(2 * 60);
/// How far a round goes back into the one before: platforms list changes with some delay.
const OVERLAP: Duration = Duration::from_secs(5 * 60);
/// How far back a round goes at the most.
const FARTHEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Pages of a round at the most: the next round goes on.
const PAGES: usize = 100;

/// What a round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Orders that have changed at the platform within the time.
    pub looked_at: usize,
    /// Those of them whose last change nobody had told.
    pub missed: usize,
    /// Events that were made of these and are new.
    pub events: usize,
    /// Why it broke off, where it did: the next round begins at the same place.
    pub broke_off: Option<String>,
}

/// What has happened to an order between the version that is known and the one that the platform has now: event types,
/// in their order. `since`: an order that nobody knows and that was placed later is a new one.
pub fn missed(known: Option<&Order>, now: &Order, since: Timestamp) -> Vec<&'static str> {
    let is_new = known.is_none() && now.created_at.is_some_and(|at| at >= since);
    let comes = known.is_some() || is_new;
    let mut kinds = Vec::new();
    if is_new {
        kinds.push("order.created");
    }
    // Of an old order that nobody knew nobody can say what is new about it.
    let before = |word: &str, of: fn(&Order, &str) -> bool| known.is_some_and(|known| of(known, word));
    let money = |it: &Order, word: &str| it.financial_status.as_deref() == Some(word);
    let sent = |it: &Order, word: &str| it.fulfillment_status.as_deref() == Some(word);
    let status = |it: &Order, word: &str| it.status.as_deref() == Some(word);
    let unpaid = known.is_none_or(|it| it.financial_status.is_none())
        || ["pending", "authorized", "partially_paid"].iter().any(|word| before(word, money));
    if comes && unpaid && money(now, "paid") {
        kinds.push("order.paid");
    }
    if comes && !before("fulfilled", sent) && sent(now, "fulfilled") {
        kinds.push("order.fulfilled");
    }
    if comes && !before("cancelled", status) && status(now, "cancelled") {
        kinds.push("order.cancelled");
    }
    if !is_new {
        kinds.push("order.updated");
    }
    kinds
}

/// How the keys begin of what was found of this.
fn key_of(kind: &str, subject: &str) -> String {
    format!("{RECONCILED}{kind} {subject} ")
}

/// Sorts as the times do.
fn in_order(time: Timestamp) -> String {
    format!("{:016}", time.as_millisecond().max(0))
}

fn why(verdict: Verdict) -> String {
    match verdict {
        Verdict::RetryAfter(_, why) | Verdict::Unknown(why) => why,
        Verdict::Refused(failure) => failure.to_string(),
        other => format!("{other:?}"),
    }
}

impl Engine {
    /// Asks the shop's platform once what has changed there, and makes events of what nobody has told. The first time
    /// there is nothing to compare with: it only notes from when on.
    ///
    /// # Errors
    /// [`EngineError`]; what the platform refuses is no error but [`Reconciled::broke_off`].
    pub async fn reconcile(&self, shop: &ShopId) -> Result<Reconciled, EngineError> {
        let mut came = Reconciled::default();
        let Some(platform) = self.shop(shop)?.shop.platform.clone() else { return Ok(came) };
        let until = self.clock.now().saturating_sub(SETTLES).unwrap_or(Timestamp::MIN);
        let Some(last) = self.store.reconciled_until(shop).await? else {
            self.store.keep_reconciled_until(shop, until).await?;
            return Ok(came);
        };
        // What is on its way to being matched is not known yet, and not missed.
        if !self.store.unmatched(shop, EventId(0), 1).await?.is_empty() {
            came.broke_off = Some("events are waiting to be matched".to_owned());
            return Ok(came);
        }
        let farthest = until.saturating_sub(FARTHEST).unwrap_or(Timestamp::MIN);
        let from = last.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN).max(farthest);
        let mut page: Option<String> = None;
        let mut reached = until;
        for at in 1..=PAGES {
            let changed = match platform.orders_changed(from, until, page.as_deref()).await {
                Ok(changed) => changed,
                Err(verdict) => {
                    came.broke_off = Some(why(verdict));
                    return Ok(came);
                }
            };
            came.looked_at += changed.orders.len();
            if let Some(broke_off) = self.take_changed(shop, &platform, &changed.orders, from, &mut came).await? {
                came.broke_off = Some(broke_off);
                return Ok(came);
            }
            page = changed.next;
            if page.is_none() {
                break;
            }
            if at == PAGES {
                // They come by their times, so all before the last one were looked at.
                reached = changed.orders.last().map_or(until, |(_, time)| *time);
            }
        }
        self.store.keep_reconciled_until(shop, reached.max(last)).await?;
        Ok(came)
    }

    /// Makes events of those that nobody has told of. Says why it broke off, where it did.
    async fn take_changed(
        &self,
        shop: &ShopId,
        platform: &Arc<dyn Platform>,
        orders: &[(Text, Timestamp)],
        since: Timestamp,
        came: &mut Reconciled,
    ) -> Result<Option<String>, EngineError> {
        let key = |id: &Text| RecordKey { kind: RecordKind::Order, id: id.clone() };
        let keys: Vec<RecordKey> = orders.iter().map(|(id, _)| key(id)).collect();
        let known = self.store.records(shop, &keys).await?;
        for (id, changed) in orders {
            let before = known.iter().find(|record| record.key.id == *id);
            if before.is_some_and(|before| before.modified >= *changed) {
                continue;
            }
            let order = match platform.order(id).await {
                Ok(Some(order)) => order,
                Ok(None) => continue,
                Err(verdict) => return Ok(Some(why(verdict))),
            };
            came.missed += 1;
            let before = before.and_then(|before| serde_json::from_str::<Order>(&before.record).ok());
            let (subject, time) = (format!("order/{id}"), order.updated_at.unwrap_or(*changed));
            let records = Records { order: Some(Arc::new(order.clone())), ..Records::default() };
            let event = |kind: &&str| {
                let key = format!("{}{}", key_of(kind, &subject), in_order(time));
                NewEvent::found(kind, TOPIC, &subject, time, key, records.clone())
            };
            let events = missed(before.as_ref(), &order, since).iter().map(event).collect();
            let accepted = self.accept(shop, platform.name(), events).await?;
            came.events += accepted.iter().filter(|it| it.fresh).count();
        }
        Ok(None)
    }
}

impl Desk {
    /// Whether anything was ever found by asking: else no delivery need be compared with it.
    pub(super) async fn read_reconciled(&mut self) -> Result<(), StoreError> {
        let Some(platform) = &self.parts.shop.platform else { return Ok(()) };
        let (shop, source) = (&self.parts.shop.id, format!("/{}/{}", platform.name(), self.parts.shop.id));
        self.has_reconciled = !self.parts.store.reconciled_keys(shop, &source, RECONCILED, 1).await?.is_empty();
        Ok(())
    }

    /// Whether the same was found before this delivery came to tell it.
    pub(super) async fn is_told_already(&mut self, event: &Event) -> Result<bool, StoreError> {
        if &*event.topic == TOPIC {
            self.has_reconciled = true;
            return Ok(false);
        }
        let Some(time) = event.records.order.as_ref().and_then(|order| order.updated_at) else { return Ok(false) };
        if !self.has_reconciled {
            return Ok(false);
        }
        let begins = key_of(&event.kind, &event.subject);
        let newest = self.parts.store.reconciled_keys(&self.parts.shop.id, &event.source, &begins, 1).await?;
        Ok(newest.first().and_then(|key| key.strip_prefix(&begins)).is_some_and(|told| *told >= *in_order(time)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(json: serde_json::Value) -> Order {
        serde_json::from_value(json).expect("an order")
    }

    #[test]
    fn what_happened_is_what_differs() {
        let since: Timestamp = "2026-11-23T09:00:00Z".parse().expect("a time");
        let new = order(json!({ "id": "1", "status": "open", "financial_status": "paid",
                                "created_at": "2026-11-23T09:30:00Z" }));
        assert_eq!(missed(None, &new, since), ["order.created", "order.paid"]);
        let old = Order { created_at: None, ..new.clone() };
        assert_eq!(missed(None, &old, since), ["order.updated"]);
        let before = order(json!({ "id": "1", "status": "open", "financial_status": "pending" }));
        assert_eq!(missed(Some(&before), &new, since), ["order.paid", "order.updated"]);
        let gone = order(json!({ "id": "1", "status": "cancelled", "financial_status": "refunded",
                                 "fulfillment_status": "fulfilled" }));
        assert_eq!(missed(Some(&new), &gone, since), ["order.fulfilled", "order.cancelled", "order.updated"]);
        assert_eq!(missed(Some(&gone), &gone, since), ["order.updated"]);
        let back = Order { financial_status: Some("paid".into()), ..gone.clone() };
        assert_eq!(missed(Some(&gone), &back, since), ["order.updated"], "a refund that failed is no payment");
    }

    #[test]
    fn keys_sort_as_the_times_do() {
        let time = |ms| Timestamp::from_millisecond(ms).expect("a time");
        assert!(in_order(time(999)) < in_order(time(1_000)) && in_order(time(0)).len() == 16);
    }
}
