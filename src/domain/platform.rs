//! What a shop is connected to: its platform, its mail.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;

use super::capability::Verdict;
use super::fuses::Fuses;
use super::ids::ShopId;
use super::money::Currency;
use super::platform_writes::{Adjustment, Changed, Hold, ProductChange, RefundOrder};
use super::record::Text;
use super::records::{Customer, Order, Product, RecordKey};

/// A shop as capabilities see it: who it is and what it is connected to.
pub struct Shop {
    /// Its name.
    pub id: ShopId,
    /// As its customers know it.
    pub display_name: String,
    /// Its connection to its platform, where it has one.
    pub platform: Option<Arc<dyn Platform>>,
    /// Its way to send mail, where it has one.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// BCP 47: languages that its customers are served in, the first where nothing else is known.
    pub languages: Vec<Text>,
    /// Its own currency.
    pub currency: Currency,
    /// An IANA zone, such as `Europe/Berlin`.
    pub time_zone: String,
    /// Past what one of its rules is paused.
    pub fuses: Fuses,
    /// How long events, runs and calls are kept; `None`: for good.
    pub keep: Option<SignedDuration>,
    /// At or below how many a stock level is low, per SKU, and for all others.
    pub low_stock: BTreeMap<String, i64>,
    /// For all SKUs that `low_stock` does not name; `None` where the shop does not watch its stock.
    pub low_stock_default: Option<i64>,
    /// Secrets by name, for connectors only.
    pub secrets: BTreeMap<String, super::secret::Secret>,
    /// Hosts beyond the public internet that `http.request` may reach all the same: `host:port`.
    pub private_hosts: Vec<String>,
}

/// A connection to a shop platform. It makes one attempt a call and says how that went: `Unknown` where an answer was
/// lost and the same call, made again, could do something else than once.
#[async_trait]
pub trait Platform: Send + Sync {
    /// The platform's name: `shopify`.
    fn name(&self) -> &'static str;

    /// Reads an order by the platform's id. `Ok(None)` where there is none; else the verdict to pass on.
    async fn order(&self, id: &str) -> Result<Option<Order>, Verdict>;

    /// Adds tags to an order; tags it has already stay as they are. The answer is `{"tags": […]}`, all tags
    /// that the order has now.
    async fn tag_order(&self, id: &str, tags: &[String]) -> Verdict;

    /// Takes tags off an order; those that it does not have are passed over. The answer is as that of
    /// [`tag_order`](Self::tag_order).
    async fn untag_order(&self, id: &str, tags: &[String]) -> Verdict;

    /// Cancels an order; money that was paid is not given back. The answer is `{"status": …}`: `cancelled`, or
    /// `cancelling` where the platform does it soon. An order that is cancelled already may be refused.
    async fn cancel_order(&self, id: &str, how: &Cancellation) -> Verdict;

    /// Writes an order's note in the place of the one that it has. The answer is `{"note": …}`, the note now.
    async fn write_note(&self, id: &str, note: &str) -> Verdict;

    /// Keeps what is left to send of an order from being sent. Holding it twice under one handle is holding it once. The
    /// answer is `{"held": …, "handle": …}`, how many parts of it are held under this handle now.
    async fn hold_order(&self, _id: &str, _hold: &Hold) -> Verdict {
        cannot(self.name(), "hold orders")
    }

    /// Lets it be sent: takes off the holds of this handle; `None`: all that we have put on. The answer is
    /// `{"released": …}`.
    async fn release_order(&self, _id: &str, _handle: Option<&str>) -> Verdict {
        cannot(self.name(), "release orders")
    }

    /// Gives money back. The same key never gives back twice. The answer is `{"refund_id": …, "amount": …}`.
    async fn refund_order(&self, _refund: &RefundOrder, _key: &str) -> Verdict {
        cannot(self.name(), "give money back")
    }

    /// Reads a customer by the platform's id. `Ok(None)` where there is none.
    async fn customer(&self, _id: &str) -> Result<Option<Customer>, Verdict> {
        Err(cannot(self.name(), "read customers"))
    }

    /// The shop's own note about a customer, empty where it has none. `Ok(None)` where there is no such customer.
    async fn customer_note(&self, _id: &str) -> Result<Option<String>, Verdict> {
        Err(cannot(self.name(), "read customers"))
    }

    /// Writes the note about a customer in the place of the one that there is. The answer is `{"note": …}`.
    async fn write_customer_note(&self, _id: &str, _note: &str) -> Verdict {
        cannot(self.name(), "write customers' notes")
    }

    /// Reads a product by the platform's id. `Ok(None)` where there is none.
    async fn product(&self, _id: &str) -> Result<Option<Product>, Verdict> {
        Err(cannot(self.name(), "read products"))
    }

    /// Writes these fields of a product in the place of what is there. The answer is the product.
    async fn update_product(&self, _id: &str, _change: &ProductChange) -> Verdict {
        cannot(self.name(), "change products")
    }

    /// Adds tags to a customer or a product, as [`tag_order`](Self::tag_order) does to an order.
    async fn add_tags(&self, _to: &RecordKey, _tags: &[String]) -> Verdict {
        cannot(self.name(), "tag this")
    }

    /// Takes tags off a customer or a product, as [`untag_order`](Self::untag_order) does off an order.
    async fn remove_tags(&self, _from: &RecordKey, _tags: &[String]) -> Verdict {
        cannot(self.name(), "untag this")
    }

    /// Adds to a stock level, or takes from it. The same key never does so twice. The answer is `{"by": …}`, and
    /// `available`, how many there are now, where the platform says it.
    async fn adjust_stock(&self, _adjustment: &Adjustment, _key: &str) -> Verdict {
        cannot(self.name(), "adjust stock")
    }

    /// Orders that were changed within this time (both ends included), the longest ago first, a page at a time.
    async fn orders_changed(
        &self,
        _from: jiff::Timestamp,
        _until: jiff::Timestamp,
        _page: Option<&str>,
    ) -> Result<Changed, Verdict> {
        Err(cannot(self.name(), "list orders"))
    }
}

fn cannot(platform: &str, what: &str) -> Verdict {
    Verdict::refused("not_supported", format!("`{platform}` cannot {what}"))
}

/// How an order is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// Why.
    pub reason: CancelReason,
    /// Whether its goods go back into stock.
    pub restock: bool,
    /// Whether the platform writes to the customer about it.
    pub notify: bool,
}

/// Why an order is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The customer wanted it.
    Customer,
    /// It was not paid.
    Declined,
    /// It was not honest.
    Fraud,
    /// There is nothing to send.
    Inventory,
    /// Somebody in the shop made a mistake.
    Staff,
    /// Something else.
    #[default]
    Other,
}

/// A way to send mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one mail. `Verdict::Done` carries `{"message_id": …}`.
    async fn send(&self, mail: &Outgoing) -> Verdict;
}

/// A mail to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The customer's address.
    pub to: String,
    /// The subject line.
    pub subject: String,
    /// The text, plain.
    pub text: String,
    /// Its Message-ID, without `<>`: the same for every attempt.
    pub message_id: String,
    /// The Message-ID that it answers, without `<>`, where there is one.
    pub in_reply_to: Option<String>,
    /// The Message-IDs of the conversation that it belongs to, without `<>`: its first one first, the answered one last.
    pub references: Vec<String>,
}
