//! What there is to use and to listen to, as plain data: rules are checked against it.

use std::collections::BTreeMap;

use super::capability::Spec;
use super::record::{Field, RecordType};
use super::records::Records;

/// Every capability by name, and every event type.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// By name: `order.tag`.
    pub capabilities: BTreeMap<String, Spec>,
}

impl Catalog {
    /// The names under which expressions find records, with their fields.
    pub fn records(&self) -> &'static [Field] {
        Records::FIELDS
    }

    /// The event types.
    pub fn events(&self) -> &'static [EventType] {
        EVENT_TYPES
    }
}

/// An event type: what it is called and which records come with it.
#[derive(Debug)]
pub struct EventType {
    /// `order.created`.
    pub name: &'static str,
    /// The records that such an event may have once it is enriched.
    pub records: &'static [&'static str],
    /// One sentence.
    pub doc: &'static str,
}

macro_rules! event_types {
    ($($name:literal [$($record:literal)*] $doc:literal;)*) => {
        /// Every event type there is.
        pub static EVENT_TYPES: &[EventType] = &[$(EventType { name: $name, records: &[$($record),*], doc: $doc },)*];
    };
}

event_types! {
    "order.created" ["order" "customer"] "An order was placed.";
    "order.updated" ["order" "customer"] "Something about an order changed.";
    "order.paid" ["order" "customer"] "An order was paid in full.";
    "order.fulfilled" ["order" "customer"] "All of an order was sent.";
    "order.cancelled" ["order" "customer"] "An order was cancelled.";
    "return.requested" ["returned" "order" "customer"] "A customer asks to send something back.";
    "return.approved" ["returned" "order" "customer"] "A return was approved.";
    "return.declined" ["returned" "order" "customer"] "A return was declined.";
    "return.closed" ["returned" "order" "customer"] "A return was closed.";
    "refund.created" ["refund" "order" "customer"] "Money was given back.";
    "dispute.created" ["dispute" "order" "customer"] "A customer's bank disputes a payment.";
    "dispute.updated" ["dispute" "order" "customer"] "A dispute stands elsewhere: evidence was sent, it was won or lost.";
    "inventory.changed" ["inventory" "product"] "A stock level changed.";
    "inventory.low" ["inventory" "product"] "A stock level fell to its threshold or below. Made by Storehand.";
    "inventory.out" ["inventory" "product"] "A variant is sold out.";
    "inventory.back" ["inventory" "product"] "A variant is back in stock.";
    "product.created" ["product"] "A product is new.";
    "product.updated" ["product"] "Something about a product changed.";
    "customer.created" ["customer"] "A customer is new.";
    "customer.updated" ["customer"] "Something about a customer changed.";
    "customer.redacted" ["customer"] "A customer's personal data was forgotten, as the shop's platform or somebody asked.";
    "customer.data_requested" ["customer"] "A customer asks what the shop knows of them: a person must answer.";
    "message.received" ["message" "customer" "order"] "A customer wrote.";
    "message.automatic" ["message" "customer" "order"] "A machine wrote: an auto-reply, a bounce, a newsletter, or our own mail come back. `message.automatic` says which; it is never answered.";
    "shop.redacted" [] "The shop has left its platform: all customers' personal data was forgotten.";
    "schedule.due" [] "A rule's own schedule came due.";
    "source.silent" [] "A source that is usually busy has sent nothing for long.";
}
