//! Shopify's Admin API: one attempt a call, with what came of it said as a verdict.
//!
//! Reads change nothing, and tags added or taken off twice are as if once: there a lost answer is `RetryAfter`. For a
//! mutation that is not like that it is `Unknown`, so that somebody looks before it is made again.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::API_VERSION;
use super::graphql::{
    CANCEL_ORDER, CancelData, NOTE_ORDER, NoteData, ORDER, OrderData, TAG, TagsData, UNTAG, UserError,
};
use super::{changed, goods, holds, refunds};
use crate::domain::{
    Adjustment, CancelReason, Cancellation, Changed, Customer, Hold, Order, Platform, Product, ProductChange,
    RecordKey, RecordKind, RefundOrder, Secret, Verdict,
};
use crate::outgoing;
use crate::shops::ShopsError;

/// Most bytes of an answer: an order of 100 lines is some 60 KB.
const MOST_BYTES: usize = 4 << 20;

/// Most pages of an order's lines, 100 lines a page. Shopify's own bound is 500 lines.
const MOST_PAGES: usize = 10;

/// How to reach a shop's Admin API.
#[derive(Clone, Debug)]
pub struct ShopifySettings {
    /// `https://acme.myshopify.com`. Plain `http` only to this machine, for tests and the demo.
    pub endpoint: String,
    /// The app's Admin API access token. Its scopes: `read_orders` and `write_orders`, and as far as rules need them
    /// `write_customers`, `write_products`, `write_inventory` and `write_merchant_managed_fulfillment_orders`.
    pub access_token: Secret,
    /// How long one request may take.
    pub timeout: Duration,
}

/// A connection to a shop's Admin API.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Secret,
}

impl Client {
    /// Sets a connection up; nothing is sent yet.
    ///
    /// # Errors
    /// [`ShopsError`] where the address cannot be used.
    pub fn new(settings: ShopifySettings) -> Result<Self, ShopsError> {
        let wrong = |problem: &str| ShopsError::Setting {
            setting: "shopify.endpoint",
            value: settings.endpoint.clone(),
            problem: format!("{problem}; write it like `https://acme.myshopify.com`"),
        };
        let base = Url::parse(&settings.endpoint).map_err(|error| wrong(&error.to_string()))?;
        let here = matches!(base.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if base.scheme() != "https" && !(base.scheme() == "http" && here) {
            return Err(wrong("the access token may travel over https only"));
        }
        let url =
            base.join(&format!("/admin/api/{API_VERSION}/graphql.json")).map_err(|error| wrong(&error.to_string()))?;
        let http =
            outgoing::builder(settings.timeout).build().map_err(|error| ShopsError::Tls(outgoing::plain(&error)))?;
        Ok(Self { http, url, token: settings.access_token })
    }

    /// Sends one document and reads its data.
    pub(super) async fn ask<T: DeserializeOwned>(&self, document: &str, variables: Json) -> Result<T, NoAnswer> {
        let response = self
            .http
            .post(self.url.clone())
            .header("x-shopify-access-token", self.token.reveal())
            .json(&json!({ "query": document, "variables": variables }))
            .send()
            .await
            .map_err(|error| {
                let again = Verdict::RetryAfter(None, format!("shopify: {}", outgoing::plain(&error)));
                if error.is_connect() { NoAnswer::NotDone(again) } else { NoAnswer::Lost(again) }
            })?;
        let (status, wait) = (response.status(), outgoing::retry_after(&response));
        let body = outgoing::read(response, MOST_BYTES).await;
        if status != StatusCode::OK {
            return Err(refusal(status, wait));
        }
        let body = body.map_err(|error| {
            NoAnswer::Lost(match error {
                outgoing::ReadError::TooLong(_) => Verdict::refused("answer_too_long", format!("shopify: {error}")),
                outgoing::ReadError::Broken(_) => Verdict::RetryAfter(wait, format!("shopify: {error}")),
            })
        })?;
        let answer: Envelope<T> = serde_json::from_slice(&body).map_err(|error| {
            let said = format!("shopify answered what cannot be read: {error}");
            NoAnswer::Lost(Verdict::refused("not_understood", said))
        })?;
        if !answer.errors.is_empty() {
            return Err(failure(&answer.errors, answer.extensions.cost));
        }
        answer.data.ok_or_else(|| NoAnswer::Lost(without("data")))
    }

    /// Adds tags, or takes some off.
    async fn change_tags(&self, document: &str, of: &RecordKey, tags: &[String]) -> Result<Verdict, Verdict> {
        let kind = match of.kind {
            RecordKind::Order => "Order",
            RecordKind::Customer => "Customer",
            RecordKind::Product => "Product",
            RecordKind::Inventory => return Err(Verdict::refused("not_supported", "stock levels have no tags")),
        };
        let gid = gid_of(kind, &of.id).ok_or_else(|| none(of.kind, &of.id))?;
        let asked = self.ask::<TagsData>(document, json!({ "id": gid, "tags": tags })).await;
        let data = asked.map_err(NoAnswer::where_repeats_are_harmless)?;
        let changed = data.changed.ok_or_else(|| without("tagsAdd` or `tagsRemove"))?;
        refused(&changed.user_errors)?;
        let node = changed.node.ok_or_else(|| none(of.kind, &of.id))?;
        Ok(Verdict::Done(json!({ "tags": node.tags })))
    }

    async fn cancel(&self, id: &str, how: &Cancellation) -> Result<Verdict, Verdict> {
        let variables = json!({
            "id": gid(id).ok_or_else(|| no_order(id))?,
            "reason": reason(how.reason),
            "restock": how.restock,
            "notify": how.notify,
            "refund": { "originalPaymentMethodsRefund": false },
        });
        let asked = self.ask::<CancelData>(CANCEL_ORDER, variables).await;
        let data = asked.map_err(NoAnswer::where_repeats_do_harm)?;
        let cancelled = data.order_cancel.ok_or_else(|| without("orderCancel"))?;
        refused(&cancelled.order_cancel_user_errors)?;
        let done = cancelled.job.is_some_and(|job| job.done);
        Ok(Verdict::Done(json!({ "status": if done { "cancelled" } else { "cancelling" } })))
    }

    async fn note(&self, id: &str, note: &str) -> Result<Verdict, Verdict> {
        let gid = gid(id).ok_or_else(|| no_order(id))?;
        let asked = self.ask::<NoteData>(NOTE_ORDER, json!({ "input": { "id": gid, "note": note } })).await;
        let data = asked.map_err(NoAnswer::where_repeats_do_harm)?;
        let noted = data.order_update.ok_or_else(|| without("orderUpdate"))?;
        refused(&noted.user_errors)?;
        let order = noted.order.ok_or_else(|| no_order(id))?;
        Ok(Verdict::Done(json!({ "note": order.note.unwrap_or_default() })))
    }
}

#[async_trait]
impl Platform for Client {
    fn name(&self) -> &'static str {
        "shopify"
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, Verdict> {
        let Some(gid) = gid(id) else { return Ok(None) };
        let page = async |after: Option<String>| {
            let asked = self.ask::<OrderData>(ORDER, json!({ "id": gid, "after": after })).await;
            asked.map_err(NoAnswer::where_repeats_are_harmless)
        };
        let Some(mut first) = page(None).await?.order else { return Ok(None) };
        let mut next = std::mem::take(&mut first.line_items.page_info);
        let mut order = first.neutral();
        for _ in 1..MOST_PAGES {
            let Some(cursor) = next.end_cursor.filter(|_| next.has_next_page) else { break };
            let Some(more) = page(Some(cursor)).await?.order else { break };
            next = more.line_items.page_info;
            order.lines.extend(more.line_items.nodes.into_iter().map(|line| line.neutral().into()));
        }
        Ok(Some(order))
    }

    async fn tag_order(&self, id: &str, tags: &[String]) -> Verdict {
        self.change_tags(TAG, &order_key(id), tags).await.unwrap_or_else(|verdict| verdict)
    }

    async fn untag_order(&self, id: &str, tags: &[String]) -> Verdict {
        self.change_tags(UNTAG, &order_key(id), tags).await.unwrap_or_else(|verdict| verdict)
    }

    async fn cancel_order(&self, id: &str, how: &Cancellation) -> Verdict {
        self.cancel(id, how).await.unwrap_or_else(|verdict| verdict)
    }

    async fn write_note(&self, id: &str, note: &str) -> Verdict {
        self.note(id, note).await.unwrap_or_else(|verdict| verdict)
    }

    async fn hold_order(&self, id: &str, hold: &Hold) -> Verdict {
        holds::hold(self, id, hold).await.unwrap_or_else(|verdict| verdict)
    }

    async fn release_order(&self, id: &str, handle: Option<&str>) -> Verdict {
        holds::release(self, id, handle).await.unwrap_or_else(|verdict| verdict)
    }

    async fn refund_order(&self, refund: &RefundOrder, key: &str) -> Verdict {
        refunds::refund(self, refund, key).await.unwrap_or_else(|verdict| verdict)
    }

    async fn customer(&self, id: &str) -> Result<Option<Customer>, Verdict> {
        Ok(goods::customer(self, id).await?.map(|(customer, _)| customer))
    }

    async fn customer_note(&self, id: &str) -> Result<Option<String>, Verdict> {
        Ok(goods::customer(self, id).await?.map(|(_, note)| note))
    }

    async fn write_customer_note(&self, id: &str, note: &str) -> Verdict {
        goods::write_customer_note(self, id, note).await.unwrap_or_else(|verdict| verdict)
    }

    async fn product(&self, id: &str) -> Result<Option<Product>, Verdict> {
        goods::product(self, id).await
    }

    async fn update_product(&self, id: &str, change: &ProductChange) -> Verdict {
        goods::update_product(self, id, change).await.unwrap_or_else(|verdict| verdict)
    }

    async fn add_tags(&self, to: &RecordKey, tags: &[String]) -> Verdict {
        self.change_tags(TAG, to, tags).await.unwrap_or_else(|verdict| verdict)
    }

    async fn remove_tags(&self, from: &RecordKey, tags: &[String]) -> Verdict {
        self.change_tags(UNTAG, from, tags).await.unwrap_or_else(|verdict| verdict)
    }

    async fn adjust_stock(&self, adjustment: &Adjustment, key: &str) -> Verdict {
        goods::adjust(self, adjustment, key).await.unwrap_or_else(|verdict| verdict)
    }

    async fn orders_changed(
        &self,
        from: jiff::Timestamp,
        until: jiff::Timestamp,
        page: Option<&str>,
    ) -> Result<Changed, Verdict> {
        changed::orders(self, from, until, page).await
    }
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// Nothing was done.
    NotDone(Verdict),
    /// Nobody can tell whether something was done. The verdict is that of a call whose repeat is harmless.
    Lost(Verdict),
}

impl NoAnswer {
    pub(super) fn where_repeats_are_harmless(self) -> Verdict {
        match self {
            Self::NotDone(verdict) | Self::Lost(verdict) => verdict,
        }
    }

    pub(super) fn where_repeats_do_harm(self) -> Verdict {
        match self {
            Self::Lost(Verdict::RetryAfter(_, why)) => Verdict::Unknown(why),
            Self::Lost(Verdict::Refused(failure)) => Verdict::Unknown(failure.message),
            Self::NotDone(verdict) | Self::Lost(verdict) => verdict,
        }
    }
}

/// Shopify's word for why an order is cancelled.
fn reason(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::Customer => "CUSTOMER",
        CancelReason::Declined => "DECLINED",
        CancelReason::Fraud => "FRAUD",
        CancelReason::Inventory => "INVENTORY",
        CancelReason::Staff => "STAFF",
        CancelReason::Other => "OTHER",
    }
}

/// What Shopify says of something that it will not do.
pub(super) fn refused(errors: &[UserError]) -> Result<(), Verdict> {
    if errors.is_empty() {
        return Ok(());
    }
    // What another attempt of the same call is doing at this moment, and what is down for a while, is no refusal.
    let passes = |code: &str| matches!(code, "IDEMPOTENCY_CONCURRENT_REQUEST" | "SERVICE_UNAVAILABLE");
    if errors.iter().all(|error| error.code.as_deref().is_some_and(passes)) {
        let said: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        return Err(Verdict::RetryAfter(None, format!("shopify: {}", said.join("; "))));
    }
    let said: Vec<&str> = errors.iter().take(5).map(|error| error.message.as_str()).collect();
    Err(Verdict::refused("refused", format!("shopify: {}", said.join("; "))))
}

pub(super) fn no_order(id: &str) -> Verdict {
    none(RecordKind::Order, id)
}

pub(super) fn none(kind: RecordKind, id: &str) -> Verdict {
    Verdict::refused("not_found", format!("the shop has no {} `{id}`", kind.as_str()))
}

fn order_key(id: &str) -> RecordKey {
    RecordKey { kind: RecordKind::Order, id: id.into() }
}

pub(super) fn without(what: &str) -> Verdict {
    Verdict::refused("not_understood", format!("shopify answered without `{what}`"))
}

/// Shopify's ids are digits; anything else names nothing there.
pub(super) fn gid_of(kind: &str, id: &str) -> Option<String> {
    let digits = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| format!("gid://shopify/{kind}/{id}"))
}

pub(super) fn gid(id: &str) -> Option<String> {
    gid_of("Order", id)
}

#[derive(Debug, Deserialize)]
struct Envelope<T> {
    data: Option<T>,
    #[serde(default = "Vec::new")]
    errors: Vec<GraphqlError>,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Debug, Deserialize)]
struct GraphqlError {
    message: String,
    #[serde(default)]
    extensions: ErrorExtensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorExtensions {
    code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extensions {
    cost: Option<Cost>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cost {
    requested_query_cost: Option<f64>,
    throttle_status: ThrottleStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ThrottleStatus {
    currently_available: Option<f64>,
    restore_rate: Option<f64>,
}

impl Cost {
    /// How long until the bucket holds enough for this request.
    fn wait(&self) -> Option<Duration> {
        let status = &self.throttle_status;
        let lacking = self.requested_query_cost? - status.currently_available?;
        let seconds = lacking / status.restore_rate.filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(seconds.ceil().clamp(1.0, 60.0)).ok()
    }
}

/// What an HTTP status other than 200 means.
fn refusal(status: StatusCode, wait: Option<Duration>) -> NoAnswer {
    NoAnswer::NotDone(match status.as_u16() {
        401 | 403 => Verdict::refused(
            "access_denied",
            format!(
                "shopify answered {status}: check `shopify.access_token`; the app needs the scopes `read_orders` and \
                 `write_orders`"
            ),
        ),
        404 => Verdict::refused("not_found", "shopify answered 404: check `shopify.endpoint`"),
        402 | 423 => {
            Verdict::refused("shop_closed", format!("shopify answered {status}: the shop is frozen or locked"))
        }
        429 => Verdict::RetryAfter(wait, format!("shopify answered {status}")),
        408 | 500..=599 => return NoAnswer::Lost(Verdict::RetryAfter(wait, format!("shopify answered {status}"))),
        _ => Verdict::refused("refused", format!("shopify answered {status}")),
    })
}

/// What the errors in an answer mean.
fn failure(errors: &[GraphqlError], cost: Option<Cost>) -> NoAnswer {
    let has = |code: &str| errors.iter().any(|error| error.extensions.code.as_deref() == Some(code));
    let said: Vec<&str> = errors.iter().take(5).map(|error| error.message.as_str()).collect();
    let said = format!("shopify: {}", said.join("; "));
    if has("THROTTLED") {
        NoAnswer::NotDone(Verdict::RetryAfter(cost.and_then(|cost| cost.wait()), said))
    } else if has("INTERNAL_SERVER_ERROR") || has("TIMEOUT") {
        NoAnswer::Lost(Verdict::RetryAfter(None, said))
    } else if has("ACCESS_DENIED") {
        NoAnswer::NotDone(Verdict::refused("access_denied", format!("{said} (the app lacks a scope)")))
    } else {
        NoAnswer::NotDone(Verdict::refused("refused", said))
    }
}
