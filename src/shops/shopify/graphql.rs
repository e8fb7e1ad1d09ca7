//! The GraphQL documents that we send to Shopify, and what comes back. A test holds the documents against
//! Shopify's published schema.

use std::sync::Arc;

use serde::Deserialize;

use super::wire::full_name;
use super::{changed, goods, holds, refunds};
use crate::domain::{self, Money, Text};
use crate::shops::read::{Amount, Id, Moment, Words};

/// Every document that the client sends, by name.
pub const DOCUMENTS: &[(&str, &str)] = &[
    ("ADJUST_STOCK", goods::ADJUST_STOCK),
    ("CANCEL_ORDER", CANCEL_ORDER),
    ("CUSTOMER", goods::CUSTOMER),
    ("HOLD", holds::HOLD),
    ("HOLDS", holds::HOLDS),
    ("NOTE_CUSTOMER", goods::NOTE_CUSTOMER),
    ("NOTE_ORDER", NOTE_ORDER),
    ("ORDER", ORDER),
    ("ORDERS_CHANGED", changed::ORDERS_CHANGED),
    ("PRODUCT", goods::PRODUCT),
    ("REFUND", refunds::REFUND),
    ("REFUNDABLE", refunds::REFUNDABLE),
    ("RELEASE", holds::RELEASE),
    ("TAG", TAG),
    ("UNTAG", UNTAG),
    ("UPDATE_PRODUCT", goods::UPDATE_PRODUCT),
];

/// An order with one page of its lines. A page costs some 300 points of the 1,000 that one query may.
pub(super) const ORDER: &str = "
query Order($id: ID!, $after: String) {
  order(id: $id) {
    id name number currencyCode note tags createdAt updatedAt cancelledAt closedAt
    displayFinancialStatus displayFulfillmentStatus returnStatus
    totalPriceSet { shopMoney { amount currencyCode } }
    subtotalPriceSet { shopMoney { amount currencyCode } }
    totalTaxSet { shopMoney { amount currencyCode } }
    totalShippingPriceSet { shopMoney { amount currencyCode } }
    totalDiscountsSet { shopMoney { amount currencyCode } }
    totalRefundedSet { shopMoney { amount currencyCode } }
    email phone customerLocale
    customer {
      id firstName lastName locale tags numberOfOrders updatedAt
      defaultEmailAddress { emailAddress }
      defaultPhoneNumber { phoneNumber }
    }
    shippingAddress { name company address1 address2 city province zip countryCodeV2 phone }
    lineItems(first: 100, after: $after) {
      nodes {
        id name sku quantity
        product { id }
        variant { id }
        originalUnitPriceSet { shopMoney { amount currencyCode } }
        discountedTotalSet { shopMoney { amount currencyCode } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}";

/// Adds tags; those that are there already stay.
pub(super) const TAG: &str = "
mutation Tag($id: ID!, $tags: [String!]!) {
  tagsAdd(id: $id, tags: $tags) {
    node { ... on Order { id tags } ... on Customer { id tags } ... on Product { id tags } }
    userErrors { field message }
  }
}";

/// Takes tags off; those that are not there are passed over.
pub(super) const UNTAG: &str = "
mutation Untag($id: ID!, $tags: [String!]!) {
  tagsRemove(id: $id, tags: $tags) {
    node { ... on Order { id tags } ... on Customer { id tags } ... on Product { id tags } }
    userErrors { field message }
  }
}";

/// Cancels an order. Shopify does so in a job of its own, mostly within seconds.
pub(super) const CANCEL_ORDER: &str = "
mutation CancelOrder(
  $id: ID!, $reason: OrderCancelReason!, $restock: Boolean!, $notify: Boolean!, $refund: OrderCancelRefundMethodInput!
) {
  orderCancel(orderId: $id, reason: $reason, restock: $restock, notifyCustomer: $notify, refundMethod: $refund) {
    job { done }
    orderCancelUserErrors { message }
  }
}";

/// Writes what the input names of an order, in the place of what is there.
pub(super) const NOTE_ORDER: &str = "
mutation NoteOrder($input: OrderInput!) {
  orderUpdate(input: $input) {
    order { note }
    userErrors { message }
  }
}";

#[derive(Debug, Deserialize)]
pub(super) struct OrderData {
    pub(super) order: Option<Order>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Order {
    id: Gid,
    name: Words,
    number: Id,
    currency_code: Words,
    note: Words,
    tags: Vec<Text>,
    created_at: Moment,
    updated_at: Moment,
    cancelled_at: Moment,
    closed_at: Moment,
    display_financial_status: Option<String>,
    display_fulfillment_status: Option<String>,
    return_status: Option<String>,
    total_price_set: Option<MoneyBag>,
    subtotal_price_set: Option<MoneyBag>,
    total_tax_set: Option<MoneyBag>,
    total_shipping_price_set: Option<MoneyBag>,
    total_discounts_set: Option<MoneyBag>,
    total_refunded_set: Option<MoneyBag>,
    email: Words,
    phone: Words,
    customer_locale: Words,
    customer: Option<Customer>,
    shipping_address: Option<Address>,
    pub(super) line_items: Lines,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MoneyBag {
    shop_money: ShopMoney,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ShopMoney {
    amount: Amount,
    currency_code: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Customer {
    id: Gid,
    first_name: Words,
    last_name: Words,
    locale: Words,
    tags: Vec<Text>,
    number_of_orders: Id,
    updated_at: Moment,
    default_email_address: Option<EmailAddress>,
    default_phone_number: Option<PhoneNumber>,
    /// The shop's own, asked for only where it is wanted.
    pub(super) note: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EmailAddress {
    email_address: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PhoneNumber {
    phone_number: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    name: Words,
    company: Words,
    address1: Words,
    address2: Words,
    city: Words,
    province: Words,
    zip: Words,
    #[serde(rename = "countryCodeV2")]
    country: Words,
    phone: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Lines {
    pub(super) nodes: Vec<Line>,
    pub(super) page_info: PageInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PageInfo {
    pub(super) has_next_page: bool,
    pub(super) end_cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Line {
    id: Gid,
    name: Words,
    sku: Words,
    quantity: Option<i64>,
    product: Option<OnlyId>,
    variant: Option<OnlyId>,
    original_unit_price_set: Option<MoneyBag>,
    discounted_total_set: Option<MoneyBag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OnlyId {
    id: Gid,
}

#[derive(Debug, Deserialize)]
pub(super) struct TagsData {
    #[serde(alias = "tagsAdd", alias = "tagsRemove")]
    pub(super) changed: Option<TagsChanged>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagsChanged {
    pub(super) node: Option<Tagged>,
    #[serde(default)]
    pub(super) user_errors: Vec<UserError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tagged {
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CancelData {
    pub(super) order_cancel: Option<Cancelled>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cancelled {
    pub(super) job: Option<Job>,
    #[serde(default)]
    pub(super) order_cancel_user_errors: Vec<UserError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) done: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NoteData {
    pub(super) order_update: Option<Noted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Noted {
    pub(super) order: Option<OnlyNote>,
    #[serde(default)]
    pub(super) user_errors: Vec<UserError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OnlyNote {
    pub(super) note: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserError {
    pub(super) message: String,
    #[serde(default)]
    pub(super) code: Option<String>,
}

/// `gid://shopify/Order/1042`, of which we keep `1042`: the id that webhooks give.
#[derive(Debug, Default, Deserialize)]
#[serde(default, transparent)]
pub(super) struct Gid(pub(super) Option<String>);

impl Gid {
    pub(super) fn id(&self) -> Option<Text> {
        self.0.as_deref()?.rsplit('/').next().filter(|id| !id.is_empty()).map(Text::from)
    }
}

pub(super) fn money(bag: Option<MoneyBag>) -> Option<Money> {
    let ShopMoney { amount, currency_code } = bag?.shop_money;
    Some(Money::new(amount.0?, currency_code.0?.parse().ok()?))
}

/// `NO_RETURN`, `RETURN_REQUESTED`, `RETURN_FAILED`, `INSPECTION_COMPLETE`, `IN_PROGRESS` and `RETURNED` in our words.
fn return_status(status: &str) -> Text {
    match status {
        "NO_RETURN" => "none".into(),
        "INSPECTION_COMPLETE" => "inspected".into(),
        _ => status.trim_start_matches("RETURN_").to_ascii_lowercase().into(),
    }
}

impl Order {
    pub(super) fn neutral(self) -> domain::Order {
        let status = match (self.cancelled_at.0, self.closed_at.0) {
            (Some(_), _) => "cancelled",
            (_, Some(_)) => "closed",
            _ => "open",
        };
        // Webhooks know three words; what is on hold, scheduled or in progress has not been sent.
        let fulfillment = |status: String| match status.as_str() {
            "FULFILLED" => "fulfilled",
            "PARTIALLY_FULFILLED" => "partial",
            _ => "unfulfilled",
        };
        let mut customer = self.customer.map(Customer::neutral);
        if customer.is_none() && (self.email.0.is_some() || self.phone.0.is_some()) {
            customer = Some(domain::Customer::default());
        }
        if let Some(customer) = &mut customer {
            customer.email = customer.email.take().or(self.email.0);
            customer.phone = customer.phone.take().or(self.phone.0);
            customer.locale = customer.locale.take().or(self.customer_locale.0);
        }
        domain::Order {
            id: self.id.id(),
            number: self.number.0,
            name: self.name.0,
            status: Some(status.into()),
            financial_status: self.display_financial_status.map(|status| status.to_ascii_lowercase().into()),
            fulfillment_status: self.display_fulfillment_status.map(|status| fulfillment(status).into()),
            currency: self.currency_code.0.and_then(|code| code.parse().ok()),
            total: money(self.total_price_set),
            subtotal: money(self.subtotal_price_set),
            tax: money(self.total_tax_set),
            shipping: money(self.total_shipping_price_set),
            discount: money(self.total_discounts_set),
            customer: customer.map(Arc::new),
            lines: self.line_items.nodes.into_iter().map(|line| Arc::new(line.neutral())).collect(),
            shipping_address: self.shipping_address.map(|address| Arc::new(address.neutral())),
            tags: self.tags,
            note: self.note.0,
            return_status: self.return_status.as_deref().map(return_status),
            refunded: money(self.total_refunded_set),
            created_at: self.created_at.0,
            cancelled_at: self.cancelled_at.0,
            updated_at: self.updated_at.0,
        }
    }
}

impl Customer {
    pub(super) fn neutral(self) -> domain::Customer {
        domain::Customer {
            id: self.id.id(),
            email: self.default_email_address.and_then(|it| it.email_address.0),
            phone: self.default_phone_number.and_then(|it| it.phone_number.0),
            name: full_name(self.first_name.0.as_deref(), self.last_name.0.as_deref()),
            first_name: self.first_name.0,
            locale: self.locale.0,
            tags: self.tags,
            orders_count: self.number_of_orders.0.and_then(|count| count.parse().ok()),
            updated_at: self.updated_at.0,
        }
    }
}

impl Address {
    fn neutral(self) -> domain::Address {
        domain::Address {
            name: self.name.0,
            company: self.company.0,
            address1: self.address1.0,
            address2: self.address2.0,
            city: self.city.0,
            province: self.province.0,
            zip: self.zip.0,
            country: self.country.0,
            phone: self.phone.0,
        }
    }
}

impl Line {
    pub(super) fn neutral(self) -> domain::Line {
        domain::Line {
            id: self.id.id(),
            product_id: self.product.and_then(|product| product.id.id()),
            variant_id: self.variant.and_then(|variant| variant.id.id()),
            sku: self.sku.0,
            name: self.name.0,
            quantity: self.quantity,
            unit_price: money(self.original_unit_price_set),
            total: money(self.discounted_total_set),
        }
    }
}
