//! What is asked of a shop's platform: holds, refunds, changes of products and stock, what has changed there.

use jiff::Timestamp;

use super::money::Money;
use super::record::Text;

/// Why an order is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// It is not paid yet.
    Payment,
    /// It may not be honest.
    Fraud,
    /// The address is wrong.
    Address,
    /// There is nothing to send.
    Inventory,
    /// Something else.
    #[default]
    Other,
}

/// How an order is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Why, for people in the shop.
    pub note: Option<String>,
    /// Tells this hold from others on the same order; at most 64 characters.
    pub handle: String,
}

/// Money to be given back for an order, over the ways by which it was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOrder {
    /// The platform's id of the order.
    pub order_id: String,
    /// How much.
    pub amount: Money,
    /// For people in the shop. It holds a mark by which a repeat finds what was done.
    pub note: String,
    /// The mark within the note.
    pub mark: String,
    /// Whether the platform writes to the customer about it.
    pub notify: bool,
}

/// What of a product is written anew; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ProductChange {
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The shop's text about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// What kind of thing it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `active`, `draft` or `archived`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Why a stock level is adjusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockReason {
    /// It was counted anew.
    #[default]
    Correction,
    /// Something came in.
    Received,
    /// Something came back and can be sold again.
    Restock,
    /// Something is broken.
    Damaged,
    /// Something is gone.
    Shrinkage,
}

/// A change of a stock level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// The platform's id of the level: `item:place`.
    pub level_id: String,
    /// How many come in, or, below nothing, go out.
    pub by: i64,
    /// Why.
    pub reason: StockReason,
}

/// A page of orders that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The platform's ids, each with when the order last changed.
    pub orders: Vec<(Text, Timestamp)>,
    /// What to ask for the next page with; `None` where this is the last.
    pub next: Option<String>,
}
