//! What the demo shop knows beside orders: customers' notes, products, stock levels, holds, refunds; and how its Admin
//! API changes them. As the real one, it takes an idempotency key once.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

use super::orders::DemoOrder;
use super::shop::{Shop, error};

/// A product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoProduct {
    /// The platform's id.
    pub id: u64,
    /// What people call it.
    pub title: String,
    /// What customers read about it, as HTML.
    pub description: String,
    /// `ACTIVE`, `DRAFT` or `ARCHIVED`.
    pub status: String,
    /// The shop's labels.
    pub tags: Vec<String>,
    /// The article number of its one variant.
    pub sku: String,
    /// The variant's price.
    pub price: Decimal,
    /// ISO 4217.
    pub currency: String,
}

impl DemoProduct {
    /// The platform's id of its one variant's stock item.
    pub fn item(&self) -> u64 {
        self.id + 500_000
    }
}

/// Money that was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoRefund {
    /// The platform's id.
    pub id: u64,
    /// How much.
    pub amount: Decimal,
    /// For people in the shop.
    pub note: String,
}

/// What there is beside orders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// The shop's notes about customers, by the customer's id.
    pub notes: BTreeMap<u64, String>,
    /// The tags that were put on customers or taken off since they ordered, by the customer's id: all they have now.
    pub customer_tags: BTreeMap<u64, Vec<String>>,
    /// By id.
    pub products: BTreeMap<u64, DemoProduct>,
    /// How many there are, by `item:place`.
    pub levels: BTreeMap<String, i64>,
    /// The handles of the holds on each order's one part.
    pub holds: BTreeMap<u64, Vec<String>>,
    /// What was given back for each order.
    pub refunds: BTreeMap<u64, Vec<DemoRefund>>,
    /// Idempotency keys with the input that each came with, and what it was answered.
    keys: BTreeMap<String, (Json, Json)>,
}

/// The digits of `gid://shopify/{kind}/{id}`.
fn id_in(gid: &Json, kind: &str) -> Option<u64> {
    gid.as_str()?.strip_prefix("gid://shopify/")?.strip_prefix(kind)?.strip_prefix('/')?.parse().ok()
}

fn gid(kind: &str, id: impl std::fmt::Display) -> String {
    format!("gid://shopify/{kind}/{id}")
}

fn money(amount: Decimal, currency: &str) -> Json {
    json!({ "shopMoney": { "amount": amount.to_string(), "currencyCode": currency } })
}

/// The answer under an idempotency key; `make` is asked once a key.
fn once(shop: &mut Shop, variables: &Json, make: impl FnOnce(&mut Shop) -> (Json, bool)) -> (Json, bool) {
    let Some(key) = variables["key"].as_str().map(str::to_owned) else {
        return (json!({ "userErrors": error("An idempotency key is required") }), false);
    };
    match shop.beside.keys.get(&key) {
        Some((input, answer)) if *input == variables["input"] => (answer.clone(), false),
        Some(_) => (json!({ "userErrors": error("The key was used with another input") }), false),
        None => {
            let (answer, changed) = make(shop);
            // What was refused may be asked again.
            if changed {
                shop.beside.keys.insert(key, (variables["input"].clone(), answer.clone()));
            }
            (answer, changed)
        }
    }
}

impl Shop {
    /// The tags that a customer has now.
    fn customer_tags(&self, id: u64) -> Option<Vec<String>> {
        let buyer = self.orders.values().map(|order| &order.customer).find(|customer| customer.id() == id)?;
        Some(self.beside.customer_tags.get(&id).unwrap_or(&buyer.tags).clone())
    }

    pub(super) fn customer(&self, variables: &Json) -> Json {
        let known = id_in(&variables["id"], "Customer").and_then(|id| {
            let buyer = self.orders.values().map(|order| &order.customer).find(|customer| customer.id() == id)?;
            let orders = self.orders.values().filter(|order| order.customer.id() == id);
            Some(json!({
                "id": gid("Customer", id), "firstName": buyer.first_name, "lastName": buyer.last_name,
                "locale": buyer.locale, "tags": self.customer_tags(id), "numberOfOrders": orders.count().to_string(),
                "note": self.beside.notes.get(&id), "updatedAt": "2026-11-23T09:00:00Z",
                "defaultEmailAddress": { "emailAddress": buyer.email }, "defaultPhoneNumber": null,
            }))
        });
        json!({ "customer": known })
    }

    pub(super) fn note_customer(&mut self, input: &Json) -> (Json, bool) {
        let id = id_in(&input["id"], "Customer").filter(|id| self.customer_tags(*id).is_some());
        let Some(id) = id else {
            return (json!({ "customerUpdate": { "customer": null, "userErrors": error("No such customer") } }), false);
        };
        let note = input["note"].as_str().unwrap_or_default().to_owned();
        let changed = self.beside.notes.insert(id, note.clone()).as_ref() != Some(&note);
        (json!({ "customerUpdate": { "customer": { "note": note }, "userErrors": [] } }), changed)
    }

    fn shown_product(&self, id: u64) -> Option<Json> {
        let it = self.beside.products.get(&id)?;
        Some(json!({
            "id": gid("Product", id), "title": it.title, "descriptionHtml": it.description, "vendor": "Acme", "productType": "",
            "status": it.status, "tags": it.tags, "updatedAt": "2026-11-23T09:00:00Z",
            "priceRangeV2": { "minVariantPrice": { "currencyCode": it.currency } },
            "variants": { "nodes": [{ "sku": it.sku, "price": it.price.to_string() }] },
        }))
    }

    pub(super) fn product(&self, variables: &Json) -> Json {
        json!({ "product": id_in(&variables["id"], "Product").and_then(|id| self.shown_product(id)) })
    }

    pub(super) fn update_product(&mut self, asked: &Json) -> (Json, bool) {
        let id = id_in(&asked["id"], "Product").unwrap_or_default();
        let Some(product) = self.beside.products.get_mut(&id) else {
            return (json!({ "productUpdate": { "product": null, "userErrors": error("No such product") } }), false);
        };
        let before = product.clone();
        if let Some(title) = asked["title"].as_str() {
            product.title = title.to_owned();
        }
        if let Some(description) = asked["descriptionHtml"].as_str() {
            product.description = description.to_owned();
        }
        if let Some(status) = asked["status"].as_str() {
            product.status = status.to_owned();
        }
        let changed = *product != before;
        (json!({ "productUpdate": { "product": self.shown_product(id), "userErrors": [] } }), changed)
    }

    /// Adds or takes off tags of a customer or a product; `None` where the id is another's.
    pub(super) fn change_other_tags(&mut self, what: &str, variables: &Json) -> Option<(Json, bool)> {
        let id = &variables["id"];
        let mut tags = match (id_in(id, "Customer"), id_in(id, "Product")) {
            (Some(customer), _) => self.customer_tags(customer)?,
            (_, Some(product)) => self.beside.products.get(&product)?.tags.clone(),
            _ => return None,
        };
        let before = tags.clone();
        super::shop::change(&mut tags, what, &variables["tags"]);
        match (id_in(id, "Customer"), id_in(id, "Product")) {
            (Some(customer), _) => drop(self.beside.customer_tags.insert(customer, tags.clone())),
            (_, Some(product)) => {
                self.beside.products.entry(product).and_modify(|it| it.tags = tags.clone()).or_default().id = product
            }
            _ => {}
        }
        let changed = tags != before;
        Some((json!({ what: { "node": { "id": id, "tags": tags }, "userErrors": [] } }), changed))
    }

    pub(super) fn adjust(&mut self, variables: &Json) -> (Json, bool) {
        let (answer, changed) = once(self, variables, |shop| {
            let change = &variables["input"]["changes"][0];
            let ids = id_in(&change["inventoryItemId"], "InventoryItem").zip(id_in(&change["locationId"], "Location"));
            let level = ids.map(|(item, place)| format!("{item}:{place}"));
            let level = level.and_then(|level| shop.beside.levels.get_mut(&level));
            let (Some(level), Some(by)) = (level, change["delta"].as_i64()) else {
                return (json!({ "userErrors": error("The item is not stocked at the location") }), false);
            };
            *level += by;
            let change = json!({ "name": "available", "delta": by, "quantityAfterChange": *level });
            (json!({ "inventoryAdjustmentGroup": { "changes": [change] }, "userErrors": [] }), true)
        });
        (json!({ "inventoryAdjustQuantities": answer }), changed)
    }

    /// An order has one part, which has the order's own number.
    pub(super) fn parts(&self, variables: &Json) -> Json {
        let order = id_in(&variables["id"], "Order").and_then(|id| self.orders.get(&id));
        let shown = order.map(|order| {
            let held: Vec<Json> = self
                .handles(order.id())
                .iter()
                .map(|handle| {
                    json!({ "id": gid("FulfillmentHold", handle), "handle": handle, "heldByRequestingApp": true })
                })
                .collect();
            let actions = if order.cancelled_at.is_some() { json!([]) } else { json!([{ "action": "HOLD" }]) };
            let part = json!({
                "id": gid("FulfillmentOrder", order.id()), "supportedActions": actions, "fulfillmentHolds": held,
            });
            json!({ "fulfillmentOrders": { "nodes": [part] } })
        });
        json!({ "order": shown })
    }

    fn handles(&self, order: u64) -> &[String] {
        self.beside.holds.get(&order).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn hold(&mut self, variables: &Json) -> (Json, bool) {
        let id = id_in(&variables["id"], "FulfillmentOrder").filter(|id| self.orders.contains_key(id));
        let (answer, changed) = match id {
            None => (json!({ "userErrors": error("No such fulfillment order") }), false),
            Some(id) => {
                let handle = variables["hold"]["handle"].as_str().unwrap_or_default().to_owned();
                let holds = self.beside.holds.entry(id).or_default();
                if holds.contains(&handle) {
                    let code = "DUPLICATE_FULFILLMENT_HOLD_HANDLE";
                    (json!({ "userErrors": [{ "code": code, "message": "The handle is taken" }] }), false)
                } else {
                    holds.push(handle.clone());
                    (json!({ "fulfillmentHold": { "id": gid("FulfillmentHold", handle) }, "userErrors": [] }), true)
                }
            }
        };
        (json!({ "fulfillmentOrderHold": answer }), changed)
    }

    pub(super) fn release(&mut self, variables: &Json) -> (Json, bool) {
        let id = id_in(&variables["id"], "FulfillmentOrder").unwrap_or_default();
        let asked: Vec<&str> = variables["holds"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let holds = self.beside.holds.entry(id).or_default();
        let before = holds.len();
        holds.retain(|handle| !asked.contains(&gid("FulfillmentHold", handle).as_str()));
        let changed = holds.len() != before;
        let part = json!({ "id": gid("FulfillmentOrder", id) });
        (json!({ "fulfillmentOrderReleaseHold": { "fulfillmentOrder": part, "userErrors": [] } }), changed)
    }

    fn given_back(&self, order: u64) -> Decimal {
        self.beside.refunds.get(&order).into_iter().flatten().map(|refund| refund.amount).sum()
    }

    /// An order as the API answers, with what was given back.
    pub(super) fn shown_order(&self, order: &DemoOrder) -> Json {
        let mut shown = order.graphql();
        let back = self.given_back(order.id());
        if back > Decimal::ZERO {
            shown["totalRefundedSet"] = money(back, &order.currency);
            let all = back >= order.total();
            shown["displayFinancialStatus"] = json!(if all { "REFUNDED" } else { "PARTIALLY_REFUNDED" });
        }
        if !self.handles(order.id()).is_empty() {
            shown["displayFulfillmentStatus"] = json!("ON_HOLD");
        }
        shown
    }

    pub(super) fn refundable(&self, variables: &Json) -> Json {
        let order = id_in(&variables["id"], "Order").and_then(|id| self.orders.get(&id));
        let shown = order.map(|order| {
            let (id, currency) = (order.id(), &order.currency);
            let of = self.beside.refunds.get(&id).map(Vec::as_slice).unwrap_or_default();
            let sale = json!({
                "id": gid("OrderTransaction", id), "kind": "SALE", "status": "SUCCESS", "gateway": "bogus",
                "amountSet": money(order.total(), currency), "parentTransaction": null,
            });
            let back = of.iter().map(|it| {
                json!({
                    "id": gid("OrderTransaction", it.id), "kind": "REFUND", "status": "SUCCESS", "gateway": "bogus",
                    "amountSet": money(it.amount, currency),
                    "parentTransaction": { "id": gid("OrderTransaction", id) },
                })
            });
            let refunds = of.iter().map(|it| {
                json!({
                    "id": gid("Refund", it.id), "note": it.note, "totalRefundedSet": money(it.amount, currency),
                })
            });
            json!({
                "currencyCode": currency, "presentmentCurrencyCode": currency,
                "refunds": refunds.collect::<Vec<_>>(),
                "transactions": std::iter::once(sale).chain(back).collect::<Vec<_>>(),
            })
        });
        json!({ "order": shown })
    }

    pub(super) fn refund(&mut self, variables: &Json) -> (Json, bool) {
        let (answer, changed) = once(self, variables, |shop| {
            let input = &variables["input"];
            let order = id_in(&input["orderId"], "Order").and_then(|id| shop.orders.get(&id)).cloned();
            let parts = input["transactions"].as_array().into_iter().flatten();
            let parts = parts.filter_map(|part| part["amount"].as_str()?.parse::<Decimal>().ok());
            let amount: Decimal = parts.sum();
            let left = order.as_ref().map(|order| order.total() - shop.given_back(order.id()));
            let (Some(order), true) = (order, left.is_some_and(|left| amount > Decimal::ZERO && amount <= left)) else {
                return (json!({ "refund": null, "userErrors": error("Refund amount is too high") }), false);
            };
            let note = input["note"].as_str().unwrap_or_default().to_owned();
            let all = shop.beside.refunds.entry(order.id()).or_default();
            let id = order.id() + 20_000_000 + all.len() as u64;
            all.push(DemoRefund { id, amount, note });
            let refund = json!({ "id": gid("Refund", id), "totalRefundedSet": money(amount, &order.currency) });
            (json!({ "refund": refund, "userErrors": [] }), true)
        });
        (json!({ "refundCreate": answer }), changed)
    }

    /// The orders whose last change lies within the query's times, on one page.
    pub(super) fn changed(&self, variables: &Json) -> Json {
        let query = variables["query"].as_str().unwrap_or_default();
        let time = |sign: &str| {
            let rest = query.split_once(&format!("updated_at:{sign}'"))?.1;
            rest.split('\'').next()?.parse::<jiff::Timestamp>().ok()
        };
        let (from, until) = (time(">="), time("<="));
        let is_meant = |order: &&DemoOrder| {
            from.is_none_or(|from| order.updated_at >= from) && until.is_none_or(|until| order.updated_at <= until)
        };
        let mut orders: Vec<&DemoOrder> = self.orders.values().filter(is_meant).collect();
        orders.sort_by_key(|order| order.updated_at);
        let nodes: Vec<Json> = orders
            .iter()
            .map(|order| json!({ "id": gid("Order", order.id()), "updatedAt": order.updated_at.to_string() }))
            .collect();
        json!({ "orders": { "nodes": nodes, "pageInfo": { "hasNextPage": false, "endCursor": null } } })
    }
}
