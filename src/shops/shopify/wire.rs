//! Shopify's webhook payloads, and what they mean in neutral records. Only the fields that we use: the whole
//! payload is kept beside the event anyway.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::{self, Currency, Money, Refused, Text};
use crate::shops::read::{Amount, Id, Moment, Tags, Words, present};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Order {
    id: Id,
    name: Words,
    order_number: Id,
    currency: Words,
    total_price: Amount,
    subtotal_price: Amount,
    total_tax: Amount,
    total_discounts: Amount,
    total_shipping_price_set: Option<MoneySet>,
    financial_status: Words,
    #[serde(deserialize_with = "present")]
    fulfillment_status: Option<Words>,
    #[serde(deserialize_with = "present")]
    cancelled_at: Option<Moment>,
    #[serde(deserialize_with = "present")]
    closed_at: Option<Moment>,
    customer: Option<Customer>,
    email: Words,
    contact_email: Words,
    phone: Words,
    customer_locale: Words,
    line_items: Option<Vec<Line>>,
    shipping_address: Option<Address>,
    tags: Tags,
    note: Words,
    created_at: Moment,
    updated_at: Moment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MoneySet {
    shop_money: Option<ShopMoney>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShopMoney {
    amount: Amount,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    id: Id,
    product_id: Id,
    variant_id: Id,
    sku: Words,
    name: Words,
    title: Words,
    quantity: Option<i64>,
    price: Amount,
    total_discount: Amount,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    name: Words,
    first_name: Words,
    last_name: Words,
    company: Words,
    address1: Words,
    address2: Words,
    city: Words,
    province: Words,
    zip: Words,
    country_code: Words,
    phone: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Customer {
    id: Id,
    email: Words,
    phone: Words,
    first_name: Words,
    last_name: Words,
    locale: Words,
    tags: Tags,
    orders_count: Option<i64>,
    updated_at: Moment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Return {
    id: Id,
    order: Option<OnlyId>,
    status: Words,
    return_line_items: Option<Vec<ReturnLine>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OnlyId {
    id: Id,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReturnLine {
    id: Id,
    fulfillment_line_item: Option<FulfillmentLine>,
    quantity: Option<i64>,
    return_reason: Words,
    customer_note: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FulfillmentLine {
    line_item: Option<OnlyId>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InventoryLevel {
    inventory_item_id: Id,
    location_id: Id,
    available: Option<i64>,
    updated_at: Moment,
}

/// The id that a payload cannot do without.
pub(super) fn needed(id: Id, field: &str) -> Result<Text, Refused> {
    id.0.ok_or_else(|| Refused::Malformed(format!("the body has no `{field}`")))
}

impl Order {
    pub(super) fn neutral(self) -> Result<domain::Order, Refused> {
        let currency: Option<Currency> = match &self.currency.0 {
            Some(code) => Some(
                code.parse()
                    .map_err(|error| Refused::Malformed(format!("the body's `currency` cannot be read: {error}")))?,
            ),
            None => None,
        };
        let money = |amount: Amount| Some(Money::new(amount.0?, currency?));
        Ok(domain::Order {
            id: Some(needed(self.id, "id")?),
            number: self.order_number.0,
            name: self.name.0,
            status: status(self.cancelled_at, self.closed_at),
            financial_status: self.financial_status.0,
            // A `null` means that nothing was sent yet; a subscription may leave the field out, which means nothing.
            fulfillment_status: self.fulfillment_status.map(|status| status.0.unwrap_or_else(|| "unfulfilled".into())),
            currency,
            total: money(self.total_price),
            subtotal: money(self.subtotal_price),
            tax: money(self.total_tax),
            shipping: self.total_shipping_price_set.and_then(|set| money(set.shop_money?.amount)),
            discount: money(self.total_discounts),
            customer: customer(
                self.customer,
                self.email.0.or(self.contact_email.0),
                self.phone.0,
                self.customer_locale.0,
            ),
            lines: self.line_items.into_iter().flatten().map(|line| Arc::new(line.neutral(currency))).collect(),
            shipping_address: self.shipping_address.map(|address| Arc::new(address.neutral())),
            tags: self.tags.0,
            note: self.note.0,
            return_status: None,
            refunded: None,
            created_at: self.created_at.0,
            cancelled_at: self.cancelled_at.and_then(|moment| moment.0),
            updated_at: self.updated_at.0,
        })
    }
}

fn status(cancelled: Option<Moment>, closed: Option<Moment>) -> Option<Text> {
    match (cancelled, closed) {
        (Some(Moment(Some(_))), _) => Some("cancelled".into()),
        (_, Some(Moment(Some(_)))) => Some("closed".into()),
        (Some(_), Some(_)) => Some("open".into()),
        _ => None,
    }
}

/// An order's customer. Who ordered as a guest is a customer without an id. What the order says about how to
/// reach them fills what the customer's record leaves open.
fn customer(
    customer: Option<Customer>,
    email: Option<Text>,
    phone: Option<Text>,
    locale: Option<Text>,
) -> Option<Arc<domain::Customer>> {
    let mut it = match customer {
        Some(customer) => customer.neutral(),
        None if email.is_some() || phone.is_some() => domain::Customer::default(),
        None => return None,
    };
    it.email = it.email.or(email);
    it.phone = it.phone.or(phone);
    it.locale = it.locale.or(locale);
    Some(Arc::new(it))
}

impl Customer {
    /// As a delivery about the customer itself; it must have an id.
    pub(super) fn record(self) -> Result<domain::Customer, Refused> {
        let id = needed(self.id.clone(), "id")?;
        Ok(domain::Customer { id: Some(id), ..self.neutral() })
    }

    fn neutral(self) -> domain::Customer {
        domain::Customer {
            id: self.id.0,
            email: self.email.0,
            phone: self.phone.0,
            name: full_name(self.first_name.0.as_deref(), self.last_name.0.as_deref()),
            first_name: self.first_name.0,
            locale: self.locale.0,
            tags: self.tags.0,
            orders_count: self.orders_count,
            updated_at: self.updated_at.0,
        }
    }
}

pub(super) fn full_name(first: Option<&str>, last: Option<&str>) -> Option<Text> {
    match (first, last) {
        (Some(first), Some(last)) => Some(format!("{first} {last}").into()),
        (one, other) => one.or(other).map(Text::from),
    }
}

impl Line {
    /// The total is price times quantity less the discounts on this line; a discount on the whole order is not
    /// spread over its lines.
    fn neutral(self, currency: Option<Currency>) -> domain::Line {
        let total = || {
            let full = self.price.0?.checked_mul(self.quantity?.into())?;
            full.checked_sub(self.total_discount.0.unwrap_or_default())
        };
        domain::Line {
            total: total().zip(currency).map(|(amount, currency)| Money::new(amount, currency)),
            unit_price: self.price.0.zip(currency).map(|(amount, currency)| Money::new(amount, currency)),
            id: self.id.0,
            product_id: self.product_id.0,
            variant_id: self.variant_id.0,
            sku: self.sku.0,
            name: self.name.0.or(self.title.0),
            quantity: self.quantity,
        }
    }
}

impl Address {
    fn neutral(self) -> domain::Address {
        domain::Address {
            name: self.name.0.or_else(|| full_name(self.first_name.0.as_deref(), self.last_name.0.as_deref())),
            company: self.company.0,
            address1: self.address1.0,
            address2: self.address2.0,
            city: self.city.0,
            province: self.province.0,
            zip: self.zip.0,
            country: self.country_code.0,
            phone: self.phone.0,
        }
    }
}

impl Return {
    /// What the returned lines cost is not in the delivery: the engine adds it from the order.
    pub(super) fn neutral(self) -> Result<domain::Return, Refused> {
        let lines = self.return_line_items.into_iter().flatten();
        let lines: Vec<domain::ReturnLine> = lines.map(ReturnLine::neutral).collect();
        Ok(domain::Return {
            id: Some(needed(self.id, "id")?),
            order_id: self.order.and_then(|order| order.id.0),
            status: self.status.0,
            reason: lines.iter().find_map(|line| line.reason.clone()),
            note: lines.iter().find_map(|line| line.note.clone()),
            lines: lines.into_iter().map(Arc::new).collect(),
            total: None,
        })
    }
}

impl ReturnLine {
    fn neutral(self) -> domain::ReturnLine {
        domain::ReturnLine {
            id: self.id.0,
            line_id: self.fulfillment_line_item.and_then(|line| line.line_item?.id.0),
            quantity: self.quantity,
            reason: self.return_reason.0.map(|reason| reason.to_lowercase().into()),
            note: self.customer_note.0,
            ..domain::ReturnLine::default()
        }
    }
}

impl InventoryLevel {
    /// A level has no id of its own: it is the item at the place. `available` is missing where the shop does not
    /// count this item.
    pub(super) fn neutral(self) -> Result<domain::Inventory, Refused> {
        let item = needed(self.inventory_item_id, "inventory_item_id")?;
        let place = needed(self.location_id, "location_id")?;
        Ok(domain::Inventory {
            id: Some(format!("{item}:{place}").into()),
            location_id: Some(place),
            available: self.available,
            updated_at: self.updated_at.0,
            ..domain::Inventory::default()
        })
    }
}

/// When a record says that it last changed, for an event whose headers do not say when it happened.
pub(super) fn changed(records: &domain::Records) -> Option<Timestamp> {
    None.or_else(|| records.order.as_ref()?.updated_at)
        .or_else(|| records.inventory.as_ref()?.updated_at)
        .or_else(|| records.customer.as_ref()?.updated_at)
        .or_else(|| records.product.as_ref()?.updated_at)
        .or_else(|| records.refund.as_ref()?.created_at)
}
