//! The records of a shop: order, return, refund, stock level, product, customer, message, dispute.
//!
//! Every field may be missing: platforms report what they like. A missing field is nothing, never an empty text.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::money::{Currency, Money};
use super::record::{Text, record};

record! {
    /// An order.
    Order, "order", {
        /// The platform's id.
        id: Option<Text>,
        /// The number that counts up in the shop, such as `1042`.
        number: Option<Text>,
        /// What people call it, such as `#1042`.
        name: Option<Text>,
        /// `open`, `closed` or `cancelled`.
        status: Option<Text>,
        /// `pending`, `authorized`, `paid`, `partially_paid`, `refunded`, `partially_refunded` or `voided`.
        financial_status: Option<Text>,
        /// `unfulfilled`, `partial` or `fulfilled`.
        fulfillment_status: Option<Text>,
        /// ISO 4217.
        currency: Option<Currency>,
        /// What the customer pays, with tax and shipping, after discounts.
        total: Option<Money>,
        /// The lines' sum after discounts, before shipping.
        subtotal: Option<Money>,
        /// Tax within or on top of the total.
        tax: Option<Money>,
        /// Shipping.
        shipping: Option<Money>,
        /// All discounts together.
        discount: Option<Money>,
        /// Who ordered.
        customer: Option<Arc<Customer>>,
        /// What was ordered.
        lines: Vec<Arc<Line>>,
        /// Where it goes.
        shipping_address: Option<Arc<Address>>,
        /// The shop's own labels.
        tags: Vec<Text>,
        /// What the customer wrote with the order.
        note: Option<Text>,
        /// `none`, `requested`, `in_progress`, `inspected`, `returned` or `failed`. Known where the order was read from
        /// the platform.
        return_status: Option<Text>,
        /// How much was given back so far. Known where the order was read from the platform.
        refunded: Option<Money>,
        /// When it was placed.
        created_at: Option<Timestamp>,
        /// When it was cancelled.
        cancelled_at: Option<Timestamp>,
        /// When the platform last changed it.
        updated_at: Option<Timestamp>,
    }
}

record! {
    /// A line of an order.
    Line, "line", {
        /// The platform's id of the line.
        id: Option<Text>,
        /// The product.
        product_id: Option<Text>,
        /// The variant of the product.
        variant_id: Option<Text>,
        /// The shop's article number.
        sku: Option<Text>,
        /// As the customer saw it.
        name: Option<Text>,
        /// How many.
        quantity: Option<i64>,
        /// The price of one, before discounts.
        unit_price: Option<Money>,
        /// The price of all, before discounts on the whole order.
        total: Option<Money>,
    }
}

record! {
    /// A postal address.
    Address, "address", {
        /// Who receives it.
        name: Option<Text>,
        /// A company.
        company: Option<Text>,
        /// Street and number.
        address1: Option<Text>,
        /// Flat, floor, building.
        address2: Option<Text>,
        /// Town.
        city: Option<Text>,
        /// State or province.
        province: Option<Text>,
        /// Postal code.
        zip: Option<Text>,
        /// ISO 3166-1, two letters.
        country: Option<Text>,
        /// For the carrier.
        phone: Option<Text>,
    }
}

record! {
    /// A customer.
    Customer, "customer", {
        /// The platform's id.
        id: Option<Text>,
        /// E-mail address.
        email: Option<Text>,
        /// Telephone number.
        phone: Option<Text>,
        /// First and last name.
        name: Option<Text>,
        /// First name.
        first_name: Option<Text>,
        /// BCP 47, such as `en` or `zh-CN`.
        locale: Option<Text>,
        /// The shop's own labels.
        tags: Vec<Text>,
        /// How many orders this customer has placed.
        orders_count: Option<i64>,
        /// When the platform last changed it.
        updated_at: Option<Timestamp>,
    }
}

record! {
    /// A return that a customer asks for.
    Return, "return", {
        /// The platform's id.
        id: Option<Text>,
        /// The order it is from.
        order_id: Option<Text>,
        /// `requested`, `open`, `declined`, `closed` or `cancelled`.
        status: Option<Text>,
        /// Why, in the platform's word, such as `size_too_small`; the first line's where lines differ.
        reason: Option<Text>,
        /// What the customer wrote.
        note: Option<Text>,
        /// What comes back.
        lines: Vec<Arc<ReturnLine>>,
        /// What the returned lines cost, where the order is known.
        total: Option<Money>,
    }
}

record! {
    /// A line of a return.
    ReturnLine, "return line", {
        /// The platform's id of the return's line.
        id: Option<Text>,
        /// The order's line that comes back.
        line_id: Option<Text>,
        /// How many.
        quantity: Option<i64>,
        /// Why, in the platform's word.
        reason: Option<Text>,
        /// What the customer wrote.
        note: Option<Text>,
        /// The shop's article number, where the order is known.
        sku: Option<Text>,
        /// As the customer saw it, where the order is known.
        name: Option<Text>,
        /// The price of all, where the order is known.
        total: Option<Money>,
    }
}

record! {
    /// A refund.
    Refund, "refund", {
        /// The platform's id.
        id: Option<Text>,
        /// The order it is for.
        order_id: Option<Text>,
        /// How much.
        total: Option<Money>,
        /// The shop's note.
        note: Option<Text>,
        /// When.
        created_at: Option<Timestamp>,
    }
}

record! {
    /// A stock level: one variant at one place.
    Inventory, "inventory", {
        /// The platform's id of this level: its item and place.
        id: Option<Text>,
        /// The shop's article number, where the platform says it or we know it.
        sku: Option<Text>,
        /// The product.
        product_id: Option<Text>,
        /// The variant.
        variant_id: Option<Text>,
        /// The place.
        location_id: Option<Text>,
        /// How many can be sold.
        available: Option<i64>,
        /// How many it was before, where we know it.
        previous: Option<i64>,
        /// At or below this many it is low: the shop's default, or its own number for this SKU.
        threshold: Option<i64>,
        /// When the platform last changed it.
        updated_at: Option<Timestamp>,
    }
}

record! {
    /// A product.
    Product, "product", {
        /// The platform's id.
        id: Option<Text>,
        /// What people call it.
        title: Option<Text>,
        /// The shop's text about it.
        description: Option<Text>,
        /// Who makes it.
        vendor: Option<Text>,
        /// What kind of thing it is.
        kind: Option<Text>,
        /// `active`, `draft` or `archived`.
        status: Option<Text>,
        /// The shop's own labels.
        tags: Vec<Text>,
        /// The shop's article numbers of its variants.
        skus: Vec<Text>,
        /// The first variant's price.
        price: Option<Money>,
        /// When the platform last changed it.
        updated_at: Option<Timestamp>,
    }
}

record! {
    /// A message from a customer.
    Message, "message", {
        /// The channel's id of it.
        id: Option<Text>,
        /// The conversation it belongs to.
        conversation_id: Option<Text>,
        /// `email`, `chat`, …
        channel: Option<Text>,
        /// Who wrote: an address of that channel.
        from: Option<Text>,
        /// Whom they wrote to.
        to: Option<Text>,
        /// The subject line.
        subject: Option<Text>,
        /// What they wrote; of an e-mail without what it quotes and without its signature.
        text: Option<Text>,
        /// Order numbers that the text names.
        order_refs: Vec<Text>,
        /// BCP 47, such as `en` or `zh`.
        language: Option<Text>,
        /// What the files that came with it are called. The files themselves are not kept.
        attachments: Vec<Text>,
        /// Why it was not a person who wrote, where that can be told: `own_mail`, `bounce`, `auto_reply`, `bulk` or
        /// `no_reply`. Such a message is never answered.
        automatic: Option<Text>,
    }
}

record! {
    /// A payment that the customer's bank disputes.
    Dispute, "dispute", {
        /// The platform's id.
        id: Option<Text>,
        /// The order it is about.
        order_id: Option<Text>,
        /// How much.
        total: Option<Money>,
        /// The bank's word for why.
        reason: Option<Text>,
        /// `needs_response`, `under_review`, `won`, `lost`, …
        status: Option<Text>,
        /// Until when evidence counts.
        due_at: Option<Timestamp>,
    }
}

record! {
    /// Records side by side, under the names by which rules call them: what a delivery said, or an event's
    /// whole context.
    Records, "records", {
        /// The order that this is about.
        order: Option<Arc<Order>>,
        /// The return that this is about. (`return` is a word of the script language.)
        returned: Option<Arc<Return>>,
        /// The refund that this is about.
        refund: Option<Arc<Refund>>,
        /// The stock level that this is about.
        inventory: Option<Arc<Inventory>>,
        /// The product that this is about.
        product: Option<Arc<Product>>,
        /// The customer that this is about.
        customer: Option<Arc<Customer>>,
        /// The message that this is about.
        message: Option<Arc<Message>>,
        /// The dispute that this is about.
        dispute: Option<Arc<Dispute>>,
    }
}

impl Records {
    /// Those of these records that `others` have not, or have otherwise.
    #[must_use]
    pub fn beyond(&self, others: &Self) -> Self {
        fn beyond<T: PartialEq>(own: &Option<Arc<T>>, other: &Option<Arc<T>>) -> Option<Arc<T>> {
            let same = match (own, other) {
                (Some(own), Some(other)) => Arc::ptr_eq(own, other) || own == other,
                (own, _) => own.is_none(),
            };
            own.as_ref().filter(|_| !same).cloned()
        }
        Self {
            order: beyond(&self.order, &others.order),
            returned: beyond(&self.returned, &others.returned),
            refund: beyond(&self.refund, &others.refund),
            inventory: beyond(&self.inventory, &others.inventory),
            product: beyond(&self.product, &others.product),
            customer: beyond(&self.customer, &others.customer),
            message: beyond(&self.message, &others.message),
            dispute: beyond(&self.dispute, &others.dispute),
        }
    }

    /// These records with those of `others` in their place, where there are some: undoes [`Records::beyond`].
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        fn with<T>(own: &Option<Arc<T>>, other: &Option<Arc<T>>) -> Option<Arc<T>> {
            other.as_ref().or(own.as_ref()).cloned()
        }
        Self {
            order: with(&self.order, &others.order),
            returned: with(&self.returned, &others.returned),
            refund: with(&self.refund, &others.refund),
            inventory: with(&self.inventory, &others.inventory),
            product: with(&self.product, &others.product),
            customer: with(&self.customer, &others.customer),
            message: with(&self.message, &others.message),
            dispute: with(&self.dispute, &others.dispute),
        }
    }
}

/// The kinds of record whose newest version is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum RecordKind {
    Order,
    Customer,
    Product,
    Inventory,
}

impl RecordKind {
    /// The name by which rules call a record of this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Customer => "customer",
            Self::Product => "product",
            Self::Inventory => "inventory",
        }
    }
}

/// Which record: its kind and the platform's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// What it is.
    pub kind: RecordKind,
    /// The platform's id.
    pub id: Text,
}

impl std::fmt::Display for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.id)
    }
}
