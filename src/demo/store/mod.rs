//! A store to use: the demo shop with a till. Somebody orders, pays, sends back or writes over plain HTTP, and the store
//! tells of it by signed webhooks, as it does of what its API changed: so Storehand hears its own echo, as from a real
//! platform.
//!
//! It keeps nothing: ended, it is empty again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::admin::DemoProduct;
use super::deliveries::{Signed, Signer};
use super::orders::{DemoCustomer, DemoOrder};
use super::shop::{DemoShop, Reached};

mod till;

/// A store's one warehouse.
const PLACE: u64 = 655_441_491;
const FIRST_PRODUCT: u64 = 788_032_119_674_000_000;
/// Products of a store that only lives for an afternoon.
const MOST_PRODUCTS: usize = 1000;
/// Deliveries that may wait for the one before them.
const MOST_WAITING: usize = 1000;
/// A delivery is tried this often, a second and then twice as long apart.
const TRIES: u32 = 5;

/// What a store sells, as its file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shelf {
    /// In the order of their ids.
    #[serde(default, rename = "product")]
    pub products: Vec<Article>,
    /// What sending an order costs.
    #[serde(default)]
    pub shipping: Decimal,
}

/// Something to sell.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Article {
    /// The shop's article number.
    pub sku: String,
    /// What people call it.
    pub title: String,
    /// In the shop's currency.
    pub price: Decimal,
    /// How many there are.
    #[serde(default)]
    pub stock: i64,
    /// What customers read about it.
    #[serde(default)]
    pub description: String,
    /// The shop's labels.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Where a store is, and where its news goes.
pub struct Place {
    /// Where its Admin API and its till listen.
    pub api: TcpListener,
    /// Where its mailbox listens, where it has one.
    pub mail: Option<TcpListener>,
    /// Deliveries go to `{hooks}/shopify` and `{hooks}/standard`: `http://127.0.0.1:8411/hooks/acme`.
    pub hooks: String,
    /// ISO 4217.
    pub currency: String,
}

/// Tells what happens, line by line. It must not block.
pub type Tell = Arc<dyn Fn(String) + Send + Sync>;

#[derive(Clone)]
struct Store {
    shop: DemoShop,
    signer: Arc<Signer>,
    currency: String,
    shipping: Decimal,
    customers: Arc<Mutex<BTreeMap<String, DemoCustomer>>>,
    news: mpsc::Sender<Signed>,
    tell: Tell,
}

/// Opens a store whose API wants `token`; it closes with `stop`.
///
/// # Errors
/// Where the HTTP client cannot be set up.
pub fn open(
    token: &str,
    signer: Signer,
    shelf: &Shelf,
    place: Place,
    tell: Tell,
    stop: &CancellationToken,
) -> Result<(), reqwest::Error> {
    let (news, waiting) = mpsc::channel(MOST_WAITING);
    // What the API changed is heard by a watcher, which must not block and knows no store yet.
    let (changes, changed) = mpsc::channel(MOST_WAITING);
    let told = Arc::clone(&tell);
    let shop = DemoShop::new(token).watched(move |reached| {
        told(shown(reached));
        if reached.changed && changes.try_send((reached.what, reached.input.clone())).is_err() {
            told("  too much has changed at once: a webhook is left out".into());
        }
    });
    let store = Store {
        shop: shop.clone(),
        signer: Arc::new(signer),
        currency: place.currency,
        shipping: shelf.shipping,
        customers: Arc::default(),
        news,
        tell: Arc::clone(&tell),
    };
    for article in shelf.products.iter().take(MOST_PRODUCTS) {
        store.shelve(article);
    }
    if let Some(mail) = place.mail {
        super::mailbox::serve(mail, shop.clone(), stop.clone());
    }
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    tokio::spawn(deliver(client, place.hooks, waiting, tell, stop.clone()));
    tokio::spawn(echo(store.clone(), changed, stop.clone()));
    let router = shop.router().merge(store.router());
    let stop = stop.clone();
    tokio::spawn(async move {
        let served = axum::serve(place.api, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::warn!(%error, "the demo store has stopped");
        }
    });
    Ok(())
}

/// A call that reached the API, on one line.
fn shown(reached: &Reached) -> String {
    match reached.what {
        "mail" => {
            let field = |name: &str| reached.input[name].as_str().unwrap_or_default().to_owned();
            let text = field("text").replace('\n', "\n     ");
            format!("◀ a mail to {}, `{}`:\n     {text}", field("to"), field("subject"))
        }
        what => format!("◀ {what} {}", reached.input),
    }
}

/// Delivers one after the other, as they came.
async fn deliver(
    client: reqwest::Client,
    hooks: String,
    mut waiting: mpsc::Receiver<Signed>,
    tell: Tell,
    stop: CancellationToken,
) {
    while let Some(Some(delivery)) = stop.run_until_cancelled(waiting.recv()).await {
        let topic = delivery.headers.iter().find(|(name, _)| name == "x-shopify-topic");
        let topic = topic.map_or("message.received", |(_, topic)| topic.as_str());
        for tried in 1..=TRIES {
            let mut request = client.post(format!("{hooks}/{}", delivery.source)).body(delivery.body.clone());
            for (name, value) in &delivery.headers {
                request = request.header(name, value);
            }
            let came = match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    tell(format!("▶ {topic}: {}", answer.status().as_u16()));
                    break;
                }
                Ok(answer) => answer.status().to_string(),
                Err(error) => format!("no answer from {hooks} ({})", error.without_url()),
            };
            let last = if tried == TRIES { ": given up" } else { "" };
            tell(format!("▶ {topic}: {came}{last}"));
            if tried < TRIES {
                let pause = Duration::from_secs(1 << (tried - 1));
                if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
            }
        }
    }
}

/// Tells of what the API changed.
async fn echo(store: Store, mut changed: mpsc::Receiver<(&'static str, serde_json::Value)>, stop: CancellationToken) {
    while let Some(Some((what, input))) = stop.run_until_cancelled(changed.recv()).await {
        let now = Timestamp::now();
        let order = || store.order_of(&input);
        let ids = input.to_string();
        match what {
            "orderCancel" => order().into_iter().for_each(|order| {
                store.send(store.signer.order("orders/cancelled", &order, now));
                store.send(store.signer.order("orders/updated", &order, now));
            }),
            "refundCreate" => order().into_iter().for_each(|order| {
                if let Some(refund) = store.shop.beside().refunds.get(&order.id()).and_then(|all| all.last()) {
                    store.send(store.signer.refund(&order, refund, now));
                }
                store.send(store.signer.order("orders/updated", &order, now));
            }),
            "inventoryAdjustQuantities" => {
                for product in store.shop.beside().products.values() {
                    if ids.contains(&format!("gid://shopify/InventoryItem/{}\"", product.item())) {
                        store.send(store.level(product));
                    }
                }
            }
            "mail" => {}
            // Tags and notes: the id says of what.
            _ => {
                if let Some(order) = order() {
                    store.send(store.signer.order("orders/updated", &order, now));
                }
                for product in store.shop.beside().products.values() {
                    if ids.contains(&format!("gid://shopify/Product/{}\"", product.id)) {
                        store.send(store.signer.product("products/update", product, now));
                    }
                }
                for customer in store.customers().values() {
                    if ids.contains(&format!("gid://shopify/Customer/{}\"", customer.id())) {
                        store.send(store.about(customer, "customers/update"));
                    }
                }
            }
        }
    }
}

impl Store {
    fn send(&self, delivery: Signed) {
        if self.news.try_send(delivery).is_err() {
            (self.tell)("  too many deliveries wait: one is left out".into());
        }
    }

    fn customers(&self) -> BTreeMap<String, DemoCustomer> {
        self.customers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The order that an input of the Admin API is about.
    fn order_of(&self, input: &serde_json::Value) -> Option<DemoOrder> {
        let text = input.to_string();
        let named = |order: &DemoOrder| {
            ["Order", "FulfillmentOrder"].iter().any(|kind| text.contains(&format!("shopify/{kind}/{}\"", order.id())))
        };
        self.shop.orders().into_iter().find(named)
    }

    fn shelve(&self, article: &Article) -> DemoProduct {
        let mut made = DemoProduct::default();
        self.shop.change_beside(|beside| {
            let id = FIRST_PRODUCT + beside.products.len() as u64 + 1;
            made = DemoProduct {
                id,
                title: article.title.clone(),
                description: article.description.clone(),
                status: "ACTIVE".into(),
                tags: article.tags.clone(),
                sku: article.sku.clone(),
                price: article.price,
                currency: self.currency.clone(),
            };
            beside.products.insert(id, made.clone());
            beside.levels.insert(format!("{}:{PLACE}", made.item()), article.stock);
        });
        made
    }

    fn level(&self, product: &DemoProduct) -> Signed {
        let level = self.shop.beside().levels.get(&format!("{}:{PLACE}", product.item())).copied().unwrap_or_default();
        self.signer.stock_level(product.item(), PLACE, level, Timestamp::now())
    }

    fn about(&self, customer: &DemoCustomer, topic: &str) -> Signed {
        let orders = self.shop.orders().iter().filter(|order| order.customer.id() == customer.id()).count();
        let tags = self.shop.beside().customer_tags.get(&customer.id()).cloned();
        let now = DemoCustomer { tags: tags.unwrap_or_else(|| customer.tags.clone()), ..customer.clone() };
        self.signer.customer(topic, &now, u32::try_from(orders).unwrap_or(u32::MAX), Timestamp::now())
    }

    fn customer(&self, email: &str, name: Option<&str>, locale: Option<&str>) -> (DemoCustomer, bool) {
        let mut customers = self.customers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = customers.get(email) {
            return (known.clone(), false);
        }
        let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or_default());
        let (first, last) = name.split_once(' ').unwrap_or((name, ""));
        let customer = DemoCustomer {
            number: u32::try_from(customers.len()).unwrap_or_default() + 1,
            first_name: first.to_owned(),
            last_name: last.to_owned(),
            email: email.to_owned(),
            locale: locale.unwrap_or("en").to_owned(),
            tags: Vec::new(),
        };
        customers.insert(email.to_owned(), customer.clone());
        (customer, true)
    }
}
