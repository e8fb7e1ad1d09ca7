//! Orders of the demo shop, as its platform writes them: in webhooks and in answers to Admin GraphQL.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// Ids begin where JavaScript's numbers end to be exact.
const FIRST_ID: u64 = 6_820_982_911_946_000_000;

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoCustomer {
    /// Counts up in the shop.
    pub number: u32,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Where mail goes.
    pub email: String,
    /// BCP 47.
    pub locale: String,
    /// The shop's labels.
    pub tags: Vec<String>,
}

impl DemoCustomer {
    /// The platform's id.
    pub fn id(&self) -> u64 {
        FIRST_ID + 100_000 + u64::from(self.number)
    }
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoLine {
    /// The shop's article number.
    pub sku: String,
    /// What it is.
    pub name: String,
    /// How many.
    pub quantity: i64,
    /// The price of one.
    pub price: Decimal,
}

/// Where an order goes. A customer may have left out any of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DemoAddress {
    /// Street and number.
    pub street: String,
    /// The town.
    pub city: String,
    /// Postal code.
    pub zip: String,
    /// ISO 3166-1, two letters.
    pub country: String,
}

impl Default for DemoAddress {
    fn default() -> Self {
        Self { street: "12 Harbour Street".into(), city: "Lisbon".into(), zip: "1100-148".into(), country: "PT".into() }
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOrder {
    /// Counts up in the shop: 1042 is `#1042`.
    pub number: u32,
    /// Who ordered.
    pub customer: DemoCustomer,
    /// What.
    pub lines: Vec<DemoLine>,
    /// ISO 4217.
    pub currency: String,
    /// What shipping costs.
    pub shipping: Decimal,
    /// The shop's labels.
    pub tags: Vec<String>,
    /// What the customer wrote.
    pub note: Option<String>,
    /// Where it goes.
    pub address: DemoAddress,
    /// Whether it is paid.
    pub paid: bool,
    /// Whether all of it was sent.
    pub fulfilled: bool,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it was cancelled, where it was.
    pub cancelled_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl DemoOrder {
    /// The platform's id.
    pub fn id(&self) -> u64 {
        FIRST_ID + u64::from(self.number)
    }

    /// The platform's id of a line; 0 is the first.
    pub fn line_id(&self, index: usize) -> u64 {
        FIRST_ID + 1_000_000 + u64::from(self.number) * 1000 + index as u64
    }

    fn subtotal(&self) -> Decimal {
        self.lines.iter().map(|line| line.price * Decimal::from(line.quantity)).sum()
    }

    /// What the customer pays.
    pub(super) fn total(&self) -> Decimal {
        self.subtotal() + self.shipping
    }

    /// As it stands in a webhook.
    pub fn webhook(&self) -> Json {
        let lines: Vec<Json> = self
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| {
                json!({
                    "id": self.line_id(i), "admin_graphql_api_id": format!("gid://shopify/LineItem/{}", self.line_id(i)),
                    "name": line.name, "title": line.name, "sku": line.sku, "quantity": line.quantity,
                    "price": line.price.to_string(), "total_discount": "0.00", "product_exists": true,
                    "requires_shipping": true, "taxable": true, "discount_allocations": [], "tax_lines": [],
                })
            })
            .collect();
        let customer = &self.customer;
        json!({
            "id": self.id(), "admin_graphql_api_id": format!("gid://shopify/Order/{}", self.id()),
            "order_number": self.number, "number": self.number.saturating_sub(1000), "name": format!("#{}", self.number),
            "currency": self.currency, "presentment_currency": self.currency,
            "total_price": (self.subtotal() + self.shipping).to_string(),
            "subtotal_price": self.subtotal().to_string(), "total_tax": "0.00", "total_discounts": "0.00",
            "total_shipping_price_set": {
                "shop_money": { "amount": self.shipping.to_string(), "currency_code": self.currency },
                "presentment_money": { "amount": self.shipping.to_string(), "currency_code": self.currency },
            },
            "financial_status": if self.paid { "paid" } else { "pending" },
            "fulfillment_status": self.fulfilled.then_some("fulfilled"), "closed_at": null,
            "cancelled_at": self.cancelled_at.map(|moment| moment.to_string()),
            "email": customer.email, "contact_email": customer.email, "phone": null, "customer_locale": customer.locale,
            "customer": {
                "id": customer.id(), "email": customer.email, "phone": null, "first_name": customer.first_name,
                "last_name": customer.last_name, "state": "enabled", "tags": customer.tags.join(", "),
                "updated_at": self.created_at.to_string(),
            },
            "line_items": lines, "tags": self.tags.join(", "), "note": self.note,
            "shipping_address": {
                "name": format!("{} {}", customer.first_name, customer.last_name), "address1": self.address.street,
                "city": self.address.city, "zip": self.address.zip, "country_code": self.address.country,
                "company": null, "phone": null,
            },
            "created_at": self.created_at.to_string(), "updated_at": self.updated_at.to_string(), "test": true,
        })
    }

    /// As Admin GraphQL answers, its lines on one page.
    pub(super) fn graphql(&self) -> Json {
        let money =
            |amount: Decimal| json!({ "shopMoney": { "amount": amount.to_string(), "currencyCode": self.currency } });
        let lines: Vec<Json> = self
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| {
                json!({
                    "id": format!("gid://shopify/LineItem/{}", self.line_id(i)), "name": line.name, "sku": line.sku,
                    "quantity": line.quantity, "product": null, "variant": null,
                    "originalUnitPriceSet": money(line.price),
                    "discountedTotalSet": money(line.price * Decimal::from(line.quantity)),
                })
            })
            .collect();
        let customer = &self.customer;
        json!({
            "id": format!("gid://shopify/Order/{}", self.id()), "name": format!("#{}", self.number),
            "number": self.number, "currencyCode": self.currency, "note": self.note, "tags": self.tags,
            "createdAt": self.created_at.to_string(), "updatedAt": self.updated_at.to_string(),
            "cancelledAt": self.cancelled_at.map(|moment| moment.to_string()), "closedAt": null,
            "displayFinancialStatus": if self.paid { "PAID" } else { "PENDING" },
            "displayFulfillmentStatus": if self.fulfilled { "FULFILLED" } else { "UNFULFILLED" },
            "returnStatus": "NO_RETURN",
            "totalPriceSet": money(self.subtotal() + self.shipping), "subtotalPriceSet": money(self.subtotal()),
            "totalTaxSet": money(Decimal::ZERO), "totalShippingPriceSet": money(self.shipping),
            "totalDiscountsSet": money(Decimal::ZERO), "totalRefundedSet": money(Decimal::ZERO),
            "email": customer.email, "phone": null, "customerLocale": customer.locale,
            "customer": {
                "id": format!("gid://shopify/Customer/{}", customer.id()), "firstName": customer.first_name,
                "lastName": customer.last_name, "locale": customer.locale, "tags": customer.tags,
                "numberOfOrders": "1", "updatedAt": self.created_at.to_string(),
                "defaultEmailAddress": { "emailAddress": customer.email }, "defaultPhoneNumber": null,
            },
            "shippingAddress": {
                "name": format!("{} {}", customer.first_name, customer.last_name), "company": null,
                "address1": self.address.street, "address2": null, "city": self.address.city, "province": null,
                "zip": self.address.zip, "countryCodeV2": self.address.country, "phone": null,
            },
            "lineItems": { "nodes": lines, "pageInfo": { "hasNextPage": false, "endCursor": null } },
        })
    }
}
