//! Shopify: webhooks in ([`Shopify`]), Admin GraphQL out ([`Client`]).
//!
//! What this platform does its own way: the signature covers the body alone (topic and delivery id stand in
//! unsigned headers), deliveries come in any order, ids pass 2^53, money is text in the shop's currency beside
//! the customer's, a throttled request comes back as HTTP 200 with an error in it.
//!
//! *Architecture Invariant*: amounts are the shop's currency (`currency`, `shop_money`); what the customer saw in
//! another one stays in the payload.

mod changed;
mod client;
mod goods;
mod graphql;
mod holds;
mod refunds;
mod source;
mod wire;
mod wire_money;
mod wire_privacy;
mod wire_stock;

pub use client::{Client, ShopifySettings};
pub use graphql::DOCUMENTS;
pub use source::Shopify;

/// The version of the Admin API that the client speaks.
pub const API_VERSION: &str = "2026-04";
