//! The till: what somebody does in the store, over plain HTTP, and the store as it looks.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::admin::DemoProduct;
use super::super::orders::{DemoAddress, DemoLine, DemoOrder};
use super::{Article, MOST_PRODUCTS, PLACE, Store};

const FIRST_ORDER: u32 = 1001;
/// What happens in a store that only lives for an afternoon.
const MOST_ORDERS: usize = 10_000;
/// The largest body that is read, in bytes.
const MOST_BODY: usize = 64 << 10;

/// What a customer orders.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    email: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    locale: Option<String>,
    lines: Vec<NewLine>,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    address: DemoAddress,
    #[serde(default = "yes")]
    paid: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLine {
    sku: String,
    #[serde(default = "one")]
    quantity: i64,
}

fn one() -> i64 {
    1
}

/// What comes back.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewReturn {
    /// Article numbers; all of the order where there are none.
    skus: Vec<String>,
    reason: String,
    note: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    sku: String,
    available: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    from: String,
    #[serde(default)]
    subject: String,
    text: String,
    #[serde(default)]
    language: String,
}

type Said = Result<String, (StatusCode, String)>;

fn no(status: StatusCode, why: impl std::fmt::Display) -> (StatusCode, String) {
    (status, format!("{why}\n"))
}

fn asked<T: DeserializeOwned>(body: &Bytes) -> Result<T, (StatusCode, String)> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| no(StatusCode::BAD_REQUEST, format!("this cannot be read: {error}")))
}

impl Store {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/", get(async |State(store): State<Self>| store.looks()))
            .route("/orders", post(async |State(store): State<Self>, body: Bytes| store.place(asked(&body)?)))
            .route(
                "/orders/{number}/{what}",
                post(async |State(store): State<Self>, Path((number, what)): Path<(u32, String)>, body: Bytes| {
                    if what == "returns" {
                        store.give_back(number, &asked(&body)?)
                    } else {
                        store.move_on(number, &what)
                    }
                }),
            )
            .route("/stock", post(async |State(store): State<Self>, body: Bytes| store.count(&asked(&body)?)))
            .route("/products", post(async |State(store): State<Self>, body: Bytes| store.add(&asked(&body)?)))
            .route("/messages", post(async |State(store): State<Self>, body: Bytes| store.write(&asked(&body)?)))
            .layer(DefaultBodyLimit::max(MOST_BODY))
            .with_state(self)
    }

    fn order(&self, number: u32) -> Result<DemoOrder, (StatusCode, String)> {
        let found = self.shop.orders().into_iter().find(|order| order.number == number);
        found.ok_or_else(|| no(StatusCode::NOT_FOUND, format!("there is no order #{number}")))
    }

    fn product(&self, sku: &str) -> Result<DemoProduct, (StatusCode, String)> {
        let products = self.shop.beside().products;
        products.values().find(|product| product.sku == sku).cloned().ok_or_else(|| {
            let known: Vec<&str> = products.values().map(|product| product.sku.as_str()).collect();
            no(StatusCode::NOT_FOUND, format!("there is no `{sku}` here; there are {}", known.join(", ")))
        })
    }

    fn place(&self, asked: NewOrder) -> Said {
        let orders = self.shop.orders();
        if orders.len() >= MOST_ORDERS {
            return Err(no(StatusCode::INSUFFICIENT_STORAGE, format!("{MOST_ORDERS} orders are enough for a demo")));
        }
        if asked.lines.is_empty() || asked.lines.iter().any(|line| !(1..=1000).contains(&line.quantity)) {
            return Err(no(StatusCode::BAD_REQUEST, "`lines` must name articles, 1 to 1000 of each"));
        }
        let products =
            asked.lines.iter().map(|line| self.product(&line.sku)).collect::<Result<Vec<_>, (StatusCode, String)>>()?;
        let (customer, is_new) = self.customer(&asked.email, asked.name.as_deref(), asked.locale.as_deref());
        let lines = asked.lines.iter().zip(&products).map(|(line, product)| DemoLine {
            sku: line.sku.clone(),
            name: product.title.clone(),
            quantity: line.quantity,
            price: product.price,
        });
        let now = Timestamp::now();
        let order = DemoOrder {
            number: orders.iter().map(|order| order.number + 1).max().unwrap_or(FIRST_ORDER),
            customer: customer.clone(),
            lines: lines.collect(),
            currency: self.currency.clone(),
            shipping: self.shipping,
            tags: Vec::new(),
            note: asked.note,
            address: asked.address,
            paid: asked.paid,
            fulfilled: false,
            created_at: now,
            cancelled_at: None,
            updated_at: now,
        };
        self.shop.put(order.clone());
        self.shop.change_beside(|beside| {
            for (line, product) in asked.lines.iter().zip(&products) {
                *beside.levels.entry(format!("{}:{PLACE}", product.item())).or_default() -= line.quantity;
            }
        });
        self.send(self.about(&customer, if is_new { "customers/create" } else { "customers/update" }));
        self.send(self.signer.order("orders/create", &order, now));
        if order.paid {
            self.send(self.signer.order("orders/paid", &order, now));
        }
        for product in &products {
            self.send(self.level(product));
        }
        Ok(format!("order #{}: {} {}\n", order.number, order.total(), order.currency))
    }

    fn move_on(&self, number: u32, what: &str) -> Said {
        let mut order = self.order(number)?;
        let now = Timestamp::now();
        order.updated_at = now;
        let topic = match what {
            "paid" => {
                order.paid = true;
                "orders/paid"
            }
            "fulfilled" => {
                order.fulfilled = true;
                "orders/fulfilled"
            }
            "cancelled" => {
                order.cancelled_at = Some(now);
                "orders/cancelled"
            }
            _ => {
                let hint = "an order can be `paid`, `fulfilled`, `cancelled`, or have `returns`";
                return Err(no(StatusCode::NOT_FOUND, hint));
            }
        };
        self.shop.put(order.clone());
        self.send(self.signer.order(topic, &order, now));
        self.send(self.signer.order("orders/updated", &order, now));
        Ok(format!("order #{number} is {what}\n"))
    }

    fn give_back(&self, number: u32, asked: &NewReturn) -> Said {
        let order = self.order(number)?;
        let meant: Vec<usize> = (0..order.lines.len())
            .filter(|&line| asked.skus.is_empty() || asked.skus.contains(&order.lines[line].sku))
            .collect();
        if meant.is_empty() {
            return Err(no(StatusCode::BAD_REQUEST, format!("order #{number} has none of these articles")));
        }
        let reason = if asked.reason.is_empty() { "unwanted" } else { &asked.reason };
        self.send(self.signer.return_request(&order, &meant, reason, &asked.note, Timestamp::now()));
        Ok(format!("a return of order #{number} is asked for\n"))
    }

    fn count(&self, asked: &NewLevel) -> Said {
        let product = self.product(&asked.sku)?;
        let key = format!("{}:{PLACE}", product.item());
        self.shop.change_beside(|beside| {
            beside.levels.insert(key, asked.available);
        });
        self.send(self.level(&product));
        Ok(format!("{}: {} left\n", asked.sku, asked.available))
    }

    fn add(&self, article: &Article) -> Said {
        let beside = self.shop.beside();
        if beside.products.len() >= MOST_PRODUCTS {
            let enough = format!("{MOST_PRODUCTS} products are enough for a demo");
            return Err(no(StatusCode::INSUFFICIENT_STORAGE, enough));
        }
        if beside.products.values().any(|known| known.sku == article.sku) {
            return Err(no(StatusCode::CONFLICT, format!("`{}` is there already", article.sku)));
        }
        let product = self.shelve(article);
        self.send(self.signer.product("products/create", &product, Timestamp::now()));
        self.send(self.level(&product));
        Ok(format!("{} is on the shelf\n", article.sku))
    }

    fn write(&self, asked: &NewMessage) -> Said {
        let NewMessage { from, subject, text, language } = asked;
        self.send(self.signer.message(from, subject, text, language, Timestamp::now()));
        Ok(format!("{from} has written\n"))
    }

    /// The store as it is, for people.
    fn looks(&self) -> String {
        let beside = self.shop.beside();
        let mut said = String::from("Orders\n");
        for order in self.shop.orders() {
            let mut states = vec![if order.paid { "paid" } else { "not paid" }];
            states.extend(order.fulfilled.then_some("sent"));
            states.extend(order.cancelled_at.is_some().then_some("cancelled"));
            states.extend(beside.holds.get(&order.id()).is_some_and(|holds| !holds.is_empty()).then_some("held"));
            let _ = write!(
                said,
                "  #{} {} {}, of {}: {}",
                order.number,
                order.total(),
                order.currency,
                order.customer.email,
                states.join(", ")
            );
            if !order.tags.is_empty() {
                let mut tags = order.tags.clone();
                tags.sort();
                let _ = write!(said, "; tags: {}", tags.join(", "));
            }
            for refund in beside.refunds.get(&order.id()).into_iter().flatten() {
                let _ = write!(said, "; {} {} given back", refund.amount, order.currency);
            }
            said.push('\n');
            for line in order.note.iter().flat_map(|note| note.lines()) {
                let _ = writeln!(said, "      note: {line}");
            }
        }
        said.push_str("Customers\n");
        for customer in self.customers().values() {
            let tags = beside.customer_tags.get(&customer.id()).unwrap_or(&customer.tags).join(", ");
            let note = beside.notes.get(&customer.id()).map(|note| format!("; note: {note}")).unwrap_or_default();
            let tags = if tags.is_empty() { tags } else { format!("; tags: {tags}") };
            let _ = writeln!(said, "  {} {}, {}{tags}{note}", customer.first_name, customer.last_name, customer.email);
        }
        said.push_str("Products\n");
        for product in beside.products.values() {
            let left = beside.levels.get(&format!("{}:{PLACE}", product.item())).copied().unwrap_or_default();
            let tags =
                if product.tags.is_empty() { String::new() } else { format!("; tags: {}", product.tags.join(", ")) };
            let _ = writeln!(
                said,
                "  {} {}, {} {}: {left} left{tags}",
                product.sku, product.title, product.price, product.currency
            );
        }
        said.push_str("Mails\n");
        for mail in self.shop.mails() {
            let _ =
                writeln!(said, "  to {}, `{}`:\n      {}", mail.to, mail.subject, mail.text.replace('\n', "\n      "));
        }
        said
    }
}
