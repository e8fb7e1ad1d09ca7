//! What events are about, in the words by which waiting runs name it: `order/123`, `customer/9`, `return/5`,
//! `conversation/x`.

use super::event::Event;
use super::record::Text;
use super::records::{RecordKind, Records};

/// What an event is about: its own order first, then its customer, its return, its conversation. Each once, as far as
/// the delivery and the event's context say it.
pub fn about(event: &Event, context: &Records) -> Vec<String> {
    let mut about: Vec<String> = Vec::new();
    let mut add = |kind: &str, id: Option<&Text>| {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            let one = format!("{kind}/{id}");
            if !about.contains(&one) {
                about.push(one);
            }
        }
    };
    let mentioned =
        |kind: RecordKind| event.mentions.iter().filter(move |key| key.kind == kind).map(|key| Some(&key.id));
    let both = [&*event.records, context];
    for records in both {
        add("order", records.order.as_ref().and_then(|it| it.id.as_ref()));
        add("order", records.returned.as_ref().and_then(|it| it.order_id.as_ref()));
        add("order", records.refund.as_ref().and_then(|it| it.order_id.as_ref()));
        add("order", records.dispute.as_ref().and_then(|it| it.order_id.as_ref()));
    }
    mentioned(RecordKind::Order).for_each(|id| add("order", id));
    for records in both {
        add("customer", records.customer.as_ref().and_then(|it| it.id.as_ref()));
        let buyer = records.order.as_ref().and_then(|order| order.customer.as_ref());
        add("customer", buyer.and_then(|it| it.id.as_ref()));
    }
    mentioned(RecordKind::Customer).for_each(|id| add("customer", id));
    add("return", event.records.returned.as_ref().and_then(|it| it.id.as_ref()));
    add("conversation", event.records.message.as_ref().and_then(|it| it.conversation_id.as_ref()));
    about
}

impl Event {
    /// Whether a run on `began` that waits for something counts this event: it came after the one that the run works
    /// on, or it came before and did not happen before. Platforms deliver out of order: an order's payment may be
    /// told of earlier than the order.
    pub fn is_since(&self, began: &Event) -> bool {
        self.id > began.id || (self.id != began.id && self.time >= began.time)
    }
}

/// Whether an event type is the one that is meant, or of the kind that is: `order.*`.
pub fn is_of_kind(kind: &str, meant: &str) -> bool {
    match meant.strip_suffix(".*") {
        Some(family) => kind.strip_prefix(family).is_some_and(|rest| rest.starts_with('.')),
        None => kind == meant,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::{EventId, RecordKey};

    fn event(records: serde_json::Value, mentions: Vec<RecordKey>) -> Event {
        let time = "2026-11-23T09:00:00Z".parse().expect("a time");
        Event {
            id: EventId(10),
            shop: "acme".parse().expect("a shop"),
            source: "/shopify/acme".into(),
            kind: "order.created".into(),
            topic: "orders/create".into(),
            subject: "order/1".into(),
            time,
            received: time,
            records: Arc::new(serde_json::from_value(records).expect("records")),
            mentions,
            late: false,
            echo: None,
        }
    }

    #[test]
    fn an_event_names_its_order_first_and_each_thing_once() {
        let order = json!({ "order": { "id": "7", "customer": { "id": "9" } }, "customer": { "id": "9" } });
        let it = event(order, Vec::new());
        assert_eq!(about(&it, &it.records), ["order/7", "customer/9"]);

        let mention = RecordKey { kind: RecordKind::Order, id: "7".into() };
        let it = event(json!({ "returned": { "id": "5" } }), vec![mention]);
        let context = serde_json::from_value(json!({ "customer": { "id": "9" } })).expect("records");
        assert_eq!(about(&it, &context), ["order/7", "customer/9", "return/5"]);

        let it = event(json!({ "message": { "conversation_id": "a b", "text": "Hi" } }), Vec::new());
        assert_eq!(about(&it, &it.records), ["conversation/a b"]);
        let it = event(json!({ "inventory": { "sku": "CUP" } }), Vec::new());
        assert!(about(&it, &it.records).is_empty());
    }

    #[test]
    fn an_event_counts_that_came_later_or_did_not_happen_before() {
        let began = event(json!({}), Vec::new());
        let other = |id, seconds| Event {
            id: EventId(id),
            time: began.time + std::time::Duration::from_secs(seconds),
            ..began.clone()
        };
        assert!(other(11, 0).is_since(&began), "came later");
        assert!(other(9, 1).is_since(&began) && other(9, 0).is_since(&began), "came first and happened later");
        assert!(!began.is_since(&began), "it is not its own answer");
        assert!(!began.is_since(&other(11, 1)), "came and happened before");
    }

    #[test]
    fn kinds_are_names_or_families() {
        assert!(is_of_kind("order.paid", "order.paid") && is_of_kind("order.paid", "order.*"));
        assert!(!is_of_kind("orders.paid", "order.*") && !is_of_kind("order", "order.*"));
        assert!(!is_of_kind("order.paid", "order.created"));
    }
}
