//! The payloads of the topics that every app must take: what a shop asks of a customer's data, and of its own.

use serde::Deserialize;

use super::wire::needed;
use crate::domain::{self, RecordKey, RecordKind, Refused};
use crate::shops::read::{Id, Words};

/// `customers/redact` and `customers/data_request`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OfCustomer {
    customer: Option<Customer>,
    orders_to_redact: Option<Vec<Id>>,
    orders_requested: Option<Vec<Id>>,
}

/// `shop/redact`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OfShop {
    shop_id: Id,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Customer {
    id: Id,
    email: Words,
    phone: Words,
}

impl OfCustomer {
    /// Who it is, and the orders that are named.
    pub(super) fn neutral(self) -> Result<(domain::Customer, Vec<RecordKey>), Refused> {
        let customer = self.customer.unwrap_or_default();
        let orders = self.orders_to_redact.into_iter().chain(self.orders_requested).flatten();
        let orders = orders.filter_map(|id| id.0).map(|id| RecordKey { kind: RecordKind::Order, id });
        let id = needed(customer.id, "customer.id")?;
        let who = domain::Customer {
            id: Some(id),
            email: customer.email.0,
            phone: customer.phone.0,
            ..domain::Customer::default()
        };
        Ok((who, orders.collect()))
    }
}

impl OfShop {
    /// The platform's id of the shop.
    pub(super) fn id(self) -> Result<domain::Text, Refused> {
        needed(self.shop_id, "shop_id")
    }
}
