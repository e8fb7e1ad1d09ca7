//! Shopify's webhooks: verified, and read into neutral events.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::{wire, wire_money, wire_privacy, wire_stock};
use crate::domain::{
    Delivery, NewEvent, Received, RecordKey, RecordKind, Records, Refused, Reply, Secrets, Source, Text, Verified,
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
    Edit,
    Return,
    Refund,
    Dispute,
    Inventory,
    Variant,
    Product,
    Customer,
    Privacy,
    Shop,
}

/// Topics, the event types that they are, and what their payload is.
const TOPICS: &[(&str, &str, Payload)] = &[
    ("customers/create", "customer.created", Payload::Customer),
    ("customers/data_request", "customer.data_requested", Payload::Privacy),
    ("customers/redact", "customer.redacted", Payload::Privacy),
    ("customers/update", "customer.updated", Payload::Customer),
    ("disputes/create", "dispute.created", Payload::Dispute),
    ("disputes/update", "dispute.updated", Payload::Dispute),
    ("inventory_levels/update", "inventory.changed", Payload::Inventory),
    ("orders/cancelled", "order.cancelled", Payload::Order),
    ("orders/create", "order.created", Payload::Order),
    ("orders/edited", "order.updated", Payload::Edit),
    ("orders/fulfilled", "order.fulfilled", Payload::Order),
    ("orders/paid", "order.paid", Payload::Order),
    ("orders/partially_fulfilled", "order.updated", Payload::Order),
    ("orders/updated", "order.updated", Payload::Order),
    ("products/create", "product.created", Payload::Product),
    ("products/update", "product.updated", Payload::Product),
    ("refunds/create", "refund.created", Payload::Refund),
    ("returns/approve", "return.approved", Payload::Return),
    ("returns/close", "return.closed", Payload::Return),
    ("returns/decline", "return.declined", Payload::Return),
    ("returns/request", "return.requested", Payload::Return),
    ("shop/redact", "shop.redacted", Payload::Shop),
    ("variants/in_stock", "inventory.back", Payload::Variant),
    ("variants/out_of_stock", "inventory.out", Payload::Variant),
];

/// Topics that are known and are no event of ours, each with the reason.
const UNHANDLED: &[(&str, &str)] = &[
    ("draft_orders/create", DRAFT),
    ("draft_orders/delete", DRAFT),
    ("draft_orders/update", DRAFT),
    ("orders/delete", "an order that was deleted leaves nothing to act on"),
];

const DRAFT: &str = "a draft is an offer that the shop may still change or drop, and no order: it comes as \
                     `order.created` (topic `orders/create`) once it is completed";

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

    fn why_unhandled(&self, topic: &str) -> Option<&'static str> {
        UNHANDLED.iter().find(|(name, _)| *name == topic).map(|(_, why)| *why)
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

    let Said { subject, records, mentions, time } = payload.read(text)?;
    let mut event = verified.event(Some(kind), topic, &subject, key, text.into());
    event.time = triggered.or(time).or_else(|| wire::changed(&records)).unwrap_or(delivery.received);
    event.records = records;
    event.mentions = mentions;
    Ok(event)
}

/// What a payload says.
#[derive(Default)]
struct Said {
    subject: String,
    records: Records,
    mentions: Vec<RecordKey>,
    time: Option<Timestamp>,
}

impl Said {
    /// About the record of this id, and further ones.
    fn of(kind: &str, id: Option<&str>, records: Records) -> Self {
        Self { subject: subject(kind, id), records, ..Self::default() }
    }

    fn and(mut self, kind: RecordKind, id: Option<Text>) -> Self {
        self.mentions.extend(id.map(|id| RecordKey { kind, id }));
        self
    }
}

impl Payload {
    fn read(self, text: &str) -> Result<Said, Refused> {
        let none = Records::default;
        Ok(match self {
            Self::Order => {
                let order = body::<wire::Order>(text)?.neutral()?;
                let id = order.id.clone();
                Said::of("order", id.as_deref(), Records { order: Some(Arc::new(order)), ..none() })
            }
            Self::Edit => {
                let (id, at) = body::<wire_money::Edited>(text)?.order()?;
                let said = Said::of("order", Some(&id), none()).and(RecordKind::Order, Some(id));
                Said { time: at.0, ..said }
            }
            Self::Return => {
                let returned = body::<wire::Return>(text)?.neutral()?;
                let (id, order) = (returned.id.clone(), returned.order_id.clone());
                let records = Records { returned: Some(Arc::new(returned)), ..none() };
                Said::of("return", id.as_deref(), records).and(RecordKind::Order, order)
            }
            Self::Refund => {
                let refund = body::<wire_money::Refund>(text)?.neutral()?;
                let (id, order) = (refund.id.clone(), refund.order_id.clone());
                let records = Records { refund: Some(Arc::new(refund)), ..none() };
                Said::of("refund", id.as_deref(), records).and(RecordKind::Order, order)
            }
            Self::Dispute => {
                let dispute = body::<wire_money::Dispute>(text)?.neutral()?;
                let (id, order) = (dispute.id.clone(), dispute.order_id.clone());
                let records = Records { dispute: Some(Arc::new(dispute)), ..none() };
                Said::of("dispute", id.as_deref(), records).and(RecordKind::Order, order)
            }
            Self::Inventory => {
                let level = body::<wire::InventoryLevel>(text)?.neutral()?;
                let id = level.id.clone();
                Said::of("inventory", id.as_deref(), Records { inventory: Some(Arc::new(level)), ..none() })
            }
            Self::Variant => {
                let (id, level) = body::<wire_stock::Variant>(text)?.neutral()?;
                let product = level.product_id.clone();
                let records = Records { inventory: Some(Arc::new(level)), ..none() };
                Said::of("variant", Some(&id), records).and(RecordKind::Product, product)
            }
            Self::Product => {
                let product = body::<wire_stock::Product>(text)?.neutral()?;
                let id = product.id.clone();
                Said::of("product", id.as_deref(), Records { product: Some(Arc::new(product)), ..none() })
            }
            Self::Customer => {
                let customer = body::<wire::Customer>(text)?.record()?;
                let id = customer.id.clone();
                Said::of("customer", id.as_deref(), Records { customer: Some(Arc::new(customer)), ..none() })
            }
            Self::Privacy => {
                let (customer, orders) = body::<wire_privacy::OfCustomer>(text)?.neutral()?;
                let id = customer.id.clone();
                let records = Records { customer: Some(Arc::new(customer)), ..none() };
                Said { mentions: orders, ..Said::of("customer", id.as_deref(), records) }
            }
            Self::Shop => Said::of("shop", Some(&body::<wire_privacy::OfShop>(text)?.id()?), none()),
        })
    }
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
