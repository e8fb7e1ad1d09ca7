//! Deliveries as a platform would send them: headers, raw body, signature.

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::admin::{DemoProduct, DemoRefund};
use super::orders::{DemoCustomer, DemoOrder};
use crate::domain::Secret;
use crate::shops::signature::{sign_shopify, sign_standard};

/// A delivery, ready to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `shopify` or `standard`: the last part of the path under `/hooks/{shop}/`.
    pub source: &'static str,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The raw bytes that the signature is over.
    pub body: Vec<u8>,
}

/// Signs deliveries: Shopify's with one secret, CloudEvents with the other.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The app's client secret.
    pub shopify: Secret,
    /// The Standard Webhooks secret: `whsec_` and base64.
    pub standard: Secret,
}

impl Signer {
    /// `orders/create`, or another topic whose payload is an order.
    pub fn order(&self, topic: &str, order: &DemoOrder, at: Timestamp) -> Signed {
        self.shopify(topic, &order.webhook(), at)
    }

    /// `returns/request` for these lines of an order (0 is the first), all of each.
    pub fn return_request(
        &self,
        order: &DemoOrder,
        lines: &[usize],
        reason: &str,
        note: &str,
        at: Timestamp,
    ) -> Signed {
        let id = order.id() + 10_000_000;
        let lines: Vec<Json> = lines
            .iter()
            .filter_map(|&i| Some((i, order.lines.get(i)?)))
            .map(|(i, line)| {
                json!({
                    "id": id + 1 + i as u64, "quantity": line.quantity, "return_reason": reason,
                    "return_reason_note": "", "customer_note": note, "restocking_fee": null,
                    "fulfillment_line_item": {
                        "id": id + 100 + i as u64,
                        "line_item": {
                            "id": order.line_id(i),
                            "admin_graphql_api_id": format!("gid://shopify/LineItem/{}", order.line_id(i)),
                        },
                    },
                })
            })
            .collect();
        let body = json!({
            "id": id, "admin_graphql_api_id": format!("gid://shopify/Return/{id}"), "status": "requested",
            "order": { "id": order.id(), "admin_graphql_api_id": format!("gid://shopify/Order/{}", order.id()) },
            "total_return_line_items": lines.len(), "name": format!("#{}-R1", order.number),
            "return_line_items": lines, "return_shipping_fees": [], "exchange_line_items": [],
        });
        self.shopify("returns/request", &body, at)
    }

    /// `inventory_levels/update`: an item at a place has this many left.
    pub fn stock_level(&self, item: u64, place: u64, available: i64, at: Timestamp) -> Signed {
        let body = json!({
            "inventory_item_id": item, "location_id": place, "available": available, "updated_at": at.to_string(),
            "admin_graphql_api_id": format!("gid://shopify/InventoryLevel/{place}?inventory_item_id={item}"),
        });
        self.shopify("inventory_levels/update", &body, at)
    }

    /// `customers/create` or `customers/update`: only these say how often a customer has ordered.
    pub fn customer(&self, topic: &str, customer: &DemoCustomer, orders_count: u32, at: Timestamp) -> Signed {
        let id = customer.id();
        let body = json!({
            "id": id, "admin_graphql_api_id": format!("gid://shopify/Customer/{id}"), "email": customer.email,
            "first_name": customer.first_name, "last_name": customer.last_name, "locale": customer.locale,
            "tags": customer.tags.join(", "), "orders_count": orders_count, "state": "enabled", "phone": null,
            "created_at": at.to_string(), "updated_at": at.to_string(),
        });
        self.shopify(topic, &body, at)
    }

    /// `products/create` or `products/update`.
    pub fn product(&self, topic: &str, product: &DemoProduct, at: Timestamp) -> Signed {
        let (id, item) = (product.id, product.item());
        let body = json!({
            "id": id, "admin_graphql_api_id": format!("gid://shopify/Product/{id}"), "title": product.title,
            "body_html": product.description, "vendor": "Acme", "product_type": "", "tags": product.tags.join(", "),
            "status": product.status.to_ascii_lowercase(), "created_at": at.to_string(), "updated_at": at.to_string(),
            "variants": [{
                "id": id, "product_id": id, "title": "Default Title", "sku": product.sku, "inventory_item_id": item,
                "price": product.price.to_string(), "admin_graphql_api_id": format!("gid://shopify/ProductVariant/{id}"),
            }],
        });
        self.shopify(topic, &body, at)
    }

    /// `refunds/create`: this was given back for an order.
    pub fn refund(&self, order: &DemoOrder, refund: &DemoRefund, at: Timestamp) -> Signed {
        let (id, amount) = (refund.id, refund.amount.to_string());
        let body = json!({
            "id": id, "admin_graphql_api_id": format!("gid://shopify/Refund/{id}"), "order_id": order.id(),
            "note": refund.note, "created_at": at.to_string(), "processed_at": at.to_string(), "refund_line_items": [],
            "order_adjustments": [], "transactions": [{
                "id": id, "order_id": order.id(), "kind": "refund", "status": "success", "gateway": "bogus",
                "amount": amount, "currency": order.currency, "created_at": at.to_string(),
            }],
        });
        self.shopify("refunds/create", &body, at)
    }

    /// Any topic with any body.
    pub fn shopify(&self, topic: &str, body: &Json, at: Timestamp) -> Signed {
        let body = body.to_string().into_bytes();
        let id = delivery_id(topic, &body, at);
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "Shopify-Captain-Hook"),
            ("x-shopify-api-version", crate::shops::shopify::API_VERSION),
            ("x-shopify-hmac-sha256", &sign_shopify(&self.shopify, &body)),
            ("x-shopify-shop-domain", "demo.myshopify.com"),
            ("x-shopify-topic", topic),
            ("x-shopify-triggered-at", &at.to_string()),
            ("x-shopify-webhook-id", &id),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        Signed { source: "shopify", headers, body }
    }

    /// A customer's e-mail, as a help desk would report it.
    pub fn message(&self, from: &str, subject: &str, text: &str, language: &str, at: Timestamp) -> Signed {
        let id = delivery_id(from, text.as_bytes(), at);
        let message = json!({
            "id": format!("{id}@mail.example"), "channel": "email", "from": from, "to": "hello@demo.example",
            "subject": subject, "text": text, "language": language,
        });
        self.cloud_event("message.received", &json!({ "message": message }), at)
    }

    /// Any of our event types, as a CloudEvent in structured mode.
    pub fn cloud_event(&self, kind: &str, data: &Json, at: Timestamp) -> Signed {
        let id = delivery_id(kind, data.to_string().as_bytes(), at);
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/helpdesk/demo", "type": kind, "time": at.to_string(),
            "datacontenttype": "application/json", "data": data,
        });
        let body = event.to_string().into_bytes();
        let seconds = at.as_second();
        // A secret without a key signs nothing, and then the delivery is refused as it should be.
        let signature = sign_standard(&self.standard, &id, seconds, &body).unwrap_or_default();
        let headers = [
            ("content-type", "application/cloudevents+json"),
            ("webhook-id", &id),
            ("webhook-timestamp", &seconds.to_string()),
            ("webhook-signature", &signature),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        Signed { source: "standard", headers, body }
    }
}

/// The same for the same delivery, and no other.
fn delivery_id(topic: &str, body: &[u8], at: Timestamp) -> String {
    let mut hash = Sha256::new();
    hash.update(topic.as_bytes());
    hash.update(at.to_string().as_bytes());
    hash.update(body);
    let digest = hex::encode(&hash.finalize()[..16]);
    format!("{}-{}-{}-{}-{}", &digest[..8], &digest[8..12], &digest[12..16], &digest[16..20], &digest[20..])
}
