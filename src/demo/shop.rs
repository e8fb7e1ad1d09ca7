//! The fake platform: it holds orders, answers Admin GraphQL over HTTP, takes mail, counts what reached it, and
//! fails when it is told to.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::admin::Beside;
use super::orders::DemoOrder;
use crate::domain::{Mailer, Outgoing, Verdict};
use crate::shops::shopify::API_VERSION;

/// A way to fail, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It says "too fast" and does nothing.
    Throttle,
    /// It answers with this HTTP status and does nothing. Mail: below 500 for good, from 500 on for now.
    Status(u16),
    /// It waits this long, and then does what was asked.
    Slow(Duration),
    /// It does what was asked, and its answer is lost on the way.
    LoseAnswer,
}

/// A call that reached the shop.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// The field of Admin GraphQL, such as `order` or `tagsAdd`, or `mail`.
    pub what: &'static str,
    /// What was asked.
    pub input: Json,
    /// How it failed, where it was told to.
    pub fault: Option<Fault>,
    /// Whether it changed the shop: a tag that was there already changes nothing.
    pub changed: bool,
}

type Watcher = Arc<dyn Fn(&Reached) + Send + Sync>;

/// A shop with a state. Clones share it.
#[derive(Clone)]
pub struct DemoShop {
    token: String,
    state: Arc<Mutex<Shop>>,
    watcher: Option<Watcher>,
}

#[derive(Default)]
pub(super) struct Shop {
    pub(super) orders: BTreeMap<u64, DemoOrder>,
    pub(super) beside: Beside,
    /// With a seed, calls fail at random, the same ones for the same seed.
    seed: Option<u64>,
    tries: BTreeMap<String, u32>,
    mails: Vec<Outgoing>,
    calls: Vec<Reached>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
}

impl DemoShop {
    /// An empty shop whose API wants this access token.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into(), state: Arc::default(), watcher: None }
    }

    /// The same shop, with somebody told of every call that reaches it. It must not block.
    #[must_use]
    pub fn watched(mut self, watcher: impl Fn(&Reached) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Puts an order into the shop, or another in its place.
    pub fn put(&self, order: DemoOrder) {
        self.state().orders.insert(order.id(), order);
    }

    /// Makes the next calls of a kind (`order`, `tagsAdd`, …, `mail`) fail, one fault a call.
    pub fn fail_next(&self, what: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(what).or_default().extend(faults);
    }

    /// Makes about one call in four fail, in one of these ways, until a call has failed three times. Which ones depends on
    /// the seed and on what is asked, and not on the order in which it is.
    pub fn fail_at_random(&self, seed: u64) {
        self.state().seed = Some(seed);
    }

    /// What there is beside orders, as it is now.
    pub fn beside(&self) -> Beside {
        self.state().beside.clone()
    }

    /// Changes what there is beside orders.
    pub fn change_beside(&self, change: impl FnOnce(&mut Beside)) {
        change(&mut self.state().beside);
    }

    /// The orders as they are now.
    pub fn orders(&self) -> Vec<DemoOrder> {
        self.state().orders.values().cloned().collect()
    }

    /// The mails that went out.
    pub fn mails(&self) -> Vec<Outgoing> {
        self.state().mails.clone()
    }

    /// The calls that reached it.
    pub fn calls(&self) -> Vec<Reached> {
        self.state().calls.clone()
    }

    /// A mail has come.
    pub(super) fn take(&self, mail: Outgoing) {
        let input = json!({ "to": mail.to, "subject": mail.subject, "text": mail.text });
        self.reached(Reached { what: "mail", input, fault: None, changed: true });
        self.state().mails.push(mail);
    }

    /// Its way to send mail.
    pub fn mailer(&self) -> DemoMailer {
        DemoMailer(self.clone())
    }

    /// Its Admin API.
    pub fn router(&self) -> Router {
        Router::new().route(&format!("/admin/api/{API_VERSION}/graphql.json"), post(graphql)).with_state(self.clone())
    }

    /// Serves its Admin API on a free port of this machine until `stop`; gives the address.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(&self, stop: CancellationToken) -> std::io::Result<String> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = self.router();
        tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::warn!(%error, "the demo shop has stopped");
            }
        });
        Ok(format!("http://{address}"))
    }

    /// A panic elsewhere does not make the state wrong: every change is one statement.
    pub(super) fn state(&self) -> MutexGuard<'_, Shop> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fault(&self, what: &'static str, input: &Json) -> Option<Fault> {
        let mut state = self.state();
        if let Some(fault) = state.faults.get_mut(what).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        let seed = state.seed?;
        let tries = state.tries.entry(format!("{what} {input}")).or_default();
        *tries += 1;
        let mut hasher = DefaultHasher::new();
        (seed, what, input.to_string(), *tries).hash(&mut hasher);
        let drawn = hasher.finish();
        let all = [
            Fault::Throttle,
            Fault::Status(502),
            Fault::Status(429),
            Fault::LoseAnswer,
            Fault::LoseAnswer,
            Fault::Slow(Duration::from_millis(900)),
        ];
        let fails = *tries <= 3 && drawn.is_multiple_of(4);
        let fault = all[(drawn / 4) as usize % all.len()];
        // Mail servers mean a number like this for good.
        let fault = if what == "mail" && fault == Fault::Status(429) { Fault::Throttle } else { fault };
        fails.then_some(fault)
    }

    fn reached(&self, reached: Reached) {
        if let Some(watcher) = &self.watcher {
            watcher(&reached);
        }
        self.state().calls.push(reached);
    }

    fn order(&self, variables: &Json) -> Json {
        let state = self.state();
        let order = order_id(variables).and_then(|id| state.orders.get(&id)).map(|order| state.shown_order(order));
        json!({ "order": order })
    }

    fn cancel(&self, variables: &Json) -> (Json, bool) {
        let mut state = self.state();
        let order = order_id(variables).and_then(|id| state.orders.get_mut(&id));
        let refusal = match order {
            None => "Order does not exist",
            Some(order) if order.cancelled_at.is_some() => "Order has already been cancelled",
            Some(order) => {
                (order.cancelled_at, order.updated_at) = (Some(Timestamp::now()), Timestamp::now());
                return (json!({ "orderCancel": { "job": { "done": true }, "orderCancelUserErrors": [] } }), true);
            }
        };
        (json!({ "orderCancel": { "job": null, "orderCancelUserErrors": error(refusal) } }), false)
    }

    /// Writes an order's note in the place of the one that it has.
    fn note(&self, input: &Json) -> (Json, bool) {
        let mut state = self.state();
        let Some(order) = order_id(input).and_then(|id| state.orders.get_mut(&id)) else {
            return (json!({ "orderUpdate": { "order": null, "userErrors": error("Order does not exist") } }), false);
        };
        let note = input["note"].as_str().map(str::to_owned);
        let changed = order.note != note;
        (order.note, order.updated_at) = (note, Timestamp::now());
        (json!({ "orderUpdate": { "order": { "note": order.note }, "userErrors": [] } }), changed)
    }

    /// Adds tags (`tagsAdd`) or takes some off (`tagsRemove`). Shopify's tags know no case.
    fn change_tags(&self, what: &str, variables: &Json) -> (Json, bool) {
        let mut state = self.state();
        if let Some(changed) = state.change_other_tags(what, variables) {
            return changed;
        }
        let Some(order) = order_id(variables).and_then(|id| state.orders.get_mut(&id)) else {
            return (json!({ what: { "node": null, "userErrors": error("Order does not exist") } }), false);
        };
        let before = order.tags.len();
        change(&mut order.tags, what, &variables["tags"]);
        let changed = order.tags.len() != before;
        if changed {
            order.updated_at = Timestamp::now();
        }
        (json!({ what: { "node": { "id": variables["id"], "tags": order.tags }, "userErrors": [] } }), changed)
    }
}

pub(super) fn error(message: &str) -> Json {
    json!([{ "field": ["id"], "message": message }])
}

/// Adds tags (`tagsAdd`) or takes some off (`tagsRemove`). Shopify's tags know no case.
pub(super) fn change(tags: &mut Vec<String>, what: &str, asked: &Json) {
    for tag in asked.as_array().into_iter().flatten().filter_map(Json::as_str) {
        let known = tags.iter().position(|known| known.eq_ignore_ascii_case(tag));
        match (what, known) {
            ("tagsAdd", None) => tags.push(tag.to_owned()),
            ("tagsRemove", Some(at)) => drop(tags.remove(at)),
            _ => {}
        }
    }
}

/// The operations that it answers, by the name in the document, and what each is called in the calls that reached it:
/// the field of Admin GraphQL that it is about.
const KNOWN: &[(&str, &str)] = &[
    ("AdjustStock", "inventoryAdjustQuantities"),
    ("CancelOrder", "orderCancel"),
    ("Customer", "customer"),
    ("Hold", "fulfillmentOrderHold"),
    ("Holds", "fulfillmentOrders"),
    ("NoteCustomer", "customerUpdate"),
    ("NoteOrder", "orderUpdate"),
    ("Order", "order"),
    ("OrdersChanged", "orders"),
    ("Product", "product"),
    ("Refund", "refundCreate"),
    ("Refundable", "refunds"),
    ("Release", "fulfillmentOrderReleaseHold"),
    ("Tag", "tagsAdd"),
    ("Untag", "tagsRemove"),
    ("UpdateProduct", "productUpdate"),
];

/// The name of a document's operation.
fn operation(document: &str) -> &str {
    let rest = document.trim_start();
    let rest = rest.strip_prefix("query ").or_else(|| rest.strip_prefix("mutation ")).unwrap_or_default();
    rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

fn order_id(variables: &Json) -> Option<u64> {
    variables["id"].as_str()?.strip_prefix("gid://shopify/Order/")?.parse().ok()
}

async fn graphql(State(shop): State<DemoShop>, headers: HeaderMap, body: Bytes) -> Response {
    let token = headers.get("x-shopify-access-token").and_then(|token| token.to_str().ok());
    if token != Some(shop.token.as_str()) {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({ "errors": "Invalid API key or access token" })))
            .into_response();
    }
    let Ok(request) = serde_json::from_slice::<Json>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let document = request["query"].as_str().unwrap_or_default();
    let Some((_, what)) = KNOWN.iter().copied().find(|(name, _)| *name == operation(document)) else {
        let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        let error = json!({ "message": format!("The demo shop knows {}.", names.join(", ")) });
        return axum::Json(json!({ "errors": [error] })).into_response();
    };

    let input = request["variables"].clone();
    let fault = shop.next_fault(what, &input);
    match fault {
        Some(Fault::Throttle) => {
            shop.reached(Reached { what, input, fault, changed: false });
            return axum::Json(throttled()).into_response();
        }
        Some(Fault::Status(status)) => {
            shop.reached(Reached { what, input, fault, changed: false });
            return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        Some(Fault::LoseAnswer) | None => {}
    }
    let (data, changed) = match what {
        "orderCancel" => shop.cancel(&input),
        "orderUpdate" => shop.note(&input["input"]),
        "customer" => (shop.state().customer(&input), false),
        "customerUpdate" => shop.state().note_customer(&input["input"]),
        "product" => (shop.state().product(&input), false),
        "productUpdate" => shop.state().update_product(&input["product"]),
        "inventoryAdjustQuantities" => shop.state().adjust(&input),
        "fulfillmentOrders" => (shop.state().parts(&input), false),
        "fulfillmentOrderHold" => shop.state().hold(&input),
        "fulfillmentOrderReleaseHold" => shop.state().release(&input),
        "refunds" => (shop.state().refundable(&input), false),
        "refundCreate" => shop.state().refund(&input),
        "orders" => (shop.state().changed(&input), false),
        "tagsAdd" | "tagsRemove" => shop.change_tags(what, &input),
        _ => (shop.order(&input), false),
    };
    shop.reached(Reached { what, input, fault, changed });
    if fault == Some(Fault::LoseAnswer) {
        // The connection breaks within the body.
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        return Body::from_stream(tokio_stream::iter([Ok(Bytes::from_static(b"{")), Err(broken)])).into_response();
    }
    axum::Json(json!({ "data": data })).into_response()
}

/// As Shopify says it: with HTTP status 200.
fn throttled() -> Json {
    json!({
        "errors": [{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }],
        "extensions": { "cost": {
            "requestedQueryCost": 101, "actualQueryCost": null,
            "throttleStatus": { "maximumAvailable": 1000.0, "currentlyAvailable": 1, "restoreRate": 50.0 },
        } },
    })
}

/// Takes the shop's mail and keeps it.
#[derive(Clone)]
pub struct DemoMailer(DemoShop);

#[async_trait]
impl Mailer for DemoMailer {
    async fn send(&self, mail: &Outgoing) -> Verdict {
        let Self(shop) = self;
        let asked = json!({ "to": mail.to, "subject": mail.subject, "text": mail.text, "id": mail.message_id });
        let fault = shop.next_fault("mail", &asked);
        let refusal = match fault {
            Some(Fault::Throttle) => Some(Verdict::RetryAfter(Some(Duration::from_secs(2)), "450 too fast".into())),
            Some(Fault::Status(status @ 500..)) => Some(Verdict::RetryAfter(None, format!("the demo says {status}"))),
            Some(Fault::Status(status)) => Some(Verdict::refused("mail_refused", format!("the demo says {status}"))),
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                None
            }
            Some(Fault::LoseAnswer) | None => None,
        };
        let input = json!({ "to": mail.to, "subject": mail.subject, "text": mail.text });
        shop.reached(Reached { what: "mail", input, fault, changed: refusal.is_none() });
        if let Some(refusal) = refusal {
            return refusal;
        }
        shop.state().mails.push(mail.clone());
        match fault {
            Some(Fault::LoseAnswer) => Verdict::Unknown("the demo lost its answer".into()),
            _ => Verdict::Done(json!({ "message_id": format!("{}@demo.example", mail.message_id) })),
        }
    }
}
