//! Shopify's webhooks: verified, and read into neutral events.

use std::sync::Arc;

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::wire;
use crate::domain::{
    Delivery, NewEvent, Received, RecordKey, RecordKind, Records, Refused, Reply, Secrets, Source, Verified,
};
use crate::shops::read::body;
use crate::shops::signature;

/// Receives what Shopify sends.
#[derive(Debug)]
pub struct Shopify;

/// What the payload of a topic is.
#[derive(Clone, Copy)]
enum Payload {
    Order,
    Return,
    Inventory,
    Customer,
}

/// Topics, the event types that they are, and what their payload is.
const TOPICS: &[(&str, &str, Payload)] = &[
    ("customers/create", "customer.created", Payload::Customer),
    ("customers/update", "customer.updated", Payload::Customer),
    ("inventory_levels/update", "inventory.changed", Payload::Inventory),
    ("orders/cancelled", "order.cancelled", Payload::Order),
    ("orders/create", "order.created", Payload::Order),
    ("orders/fulfilled", "order.fulfilled", Payload::Order),
    ("orders/paid", "order.paid", Payload::Order),
    ("orders/updated", "order.updated", Payload::Order),
    ("returns/approve", "return.approved", Payload::Return),
    ("returns/close", "return.closed", Payload::Return),
    ("returns/decline", "return.declined", Payload::Return),
    ("returns/request", "return.requested", Payload::Return),
];

impl Source for Shopify {
    fn name(&self) -> &'static str {
        "shopify"
    }

    fn receive(&self, delivery: Delivery<'_>, secrets: &Secrets) -> Result<Received, Refused> {
        let verified = delivery.verify(|delivery| signature::check_shopify(delivery, secrets))?;
        let topic = delivery
            .header("x-shopify-topic")
            .filter(|topic| !topic.is_empty())
            .ok_or_else(|| Refused::Malformed("the header `x-shopify-topic` is missing".into()))?;
        let event = read(&verified, topic)?;
        Ok(Received { events: vec![event], reply: Reply::OK })
    }
}

fn read(verified: &Verified<'_>, topic: &str) -> Result<NewEvent, Refused> {
    let delivery = verified.delivery();
    let text = verified.text()?;
    let key = delivery_key(delivery, topic);
    let triggered = delivery.header("x-shopify-triggered-at").and_then(|text| text.parse().ok());
    let known = TOPICS.iter().find(|(name, ..)| *name == topic);
    let Some((_, kind, payload)) = known else {
        body::<IgnoredAny>(text)?;
        let mut event = verified.event(None, topic, topic, key, text.into());
        event.time = triggered.unwrap_or(event.time);
        return Ok(event);
    };

    let mut records = Records::default();
    let mut mentions = Vec::new();
    let subject = match payload {
        Payload::Order => {
            let order = body::<wire::Order>(text)?.neutral()?;
            let subject = subject("order", order.id.as_deref());
            records.order = Some(Arc::new(order));
            subject
        }
        Payload::Return => {
            let returned = body::<wire::Return>(text)?.neutral()?;
            mentions.extend(returned.order_id.clone().map(|id| RecordKey { kind: RecordKind::Order, id }));
            let subject = subject("return", returned.id.as_deref());
            records.returned = Some(Arc::new(returned));
            subject
        }
        Payload::Inventory => {
            let level = body::<wire::InventoryLevel>(text)?.neutral()?;
            let subject = subject("inventory", level.id.as_deref());
            records.inventory = Some(Arc::new(level));
            subject
        }
        Payload::Customer => {
            let customer = body::<wire::Customer>(text)?.record()?;
            let subject = subject("customer", customer.id.as_deref());
            records.customer = Some(Arc::new(customer));
            subject
        }
    };

    let mut event = verified.event(Some(kind), topic, &subject, key, text.into());
    event.time = triggered.or_else(|| wire::changed(&records)).unwrap_or(delivery.received);
    event.records = records;
    event.mentions = mentions;
    Ok(event)
}

fn subject(kind: &str, id: Option<&str>) -> String {
    format!("{kind}/{}", id.unwrap_or_default())
}

/// The same over all retries of a delivery. One change in the shop may be told under several topics with one
/// event id, and their bodies may be equal, so what is not the delivery's own id goes together with the topic.
fn delivery_key(delivery: &Delivery<'_>, topic: &str) -> String {
    let header = |name| delivery.header(name).map(str::trim).filter(|id| (1..=200).contains(&id.len()));
    if let Some(id) = header("x-shopify-webhook-id") {
        return id.to_owned();
    }
    match header("x-shopify-event-id") {
        Some(id) => format!("{topic} {id}"),
        None => format!("{topic} sha256:{}", hex::encode(Sha256::digest(delivery.body))),
    }
}
