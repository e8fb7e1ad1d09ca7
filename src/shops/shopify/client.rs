//! Shopify's Admin API: one attempt a call, with what came of it said as a verdict.
//!
//! Reads change nothing, and tags added or taken off twice are as if once, so a lost answer is `RetryAfter` here and never
//! `Unknown`. A capability whose mutation is not like that must say so where it is added.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::API_VERSION;
use super::graphql::{ORDER, OrderData, TAG_ORDER, TagsData, UNTAG_ORDER, UserError};
use crate::domain::{Order, Platform, Secret, Verdict};
use crate::shops::{ShopsError, outgoing};

/// Most bytes of an answer: an order of 100 lines is some 60 KB.
const MOST_BYTES: usize = 4 << 20;

/// Most pages of an order's lines, 100 lines a page. Shopify's own bound is 500 lines.
const MOST_PAGES: usize = 10;

/// How to reach a shop's Admin API.
#[derive(Clone, Debug)]
pub struct ShopifySettings {
    /// `https://acme.myshopify.com`. Plain `http` only to this machine, for tests and the demo.
    pub endpoint: String,
    /// The app's Admin API access token, with the scopes `read_orders` and `write_orders`.
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
    async fn ask<T: DeserializeOwned>(&self, document: &str, variables: Json) -> Result<T, Verdict> {
        let response = self
            .http
            .post(self.url.clone())
            .header("x-shopify-access-token", self.token.reveal())
            .json(&json!({ "query": document, "variables": variables }))
            .send()
            .await
            .map_err(|error| Verdict::RetryAfter(None, format!("shopify: {}", outgoing::plain(&error))))?;
        let (status, wait) = (response.status(), outgoing::retry_after(&response));
        let body = match outgoing::read(response, MOST_BYTES).await {
            Ok(body) => body,
            Err(error @ outgoing::ReadError::TooLong(_)) => {
                return Err(Verdict::refused("answer_too_long", format!("shopify: {error}")));
            }
            Err(error) => return Err(Verdict::RetryAfter(wait, format!("shopify: {error}"))),
        };
        if status != StatusCode::OK {
            return Err(refusal(status, wait));
        }
        let answer: Envelope<T> = serde_json::from_slice(&body).map_err(|error| {
            Verdict::refused("not_understood", format!("shopify answered what cannot be read: {error}"))
        })?;
        if !answer.errors.is_empty() {
            return Err(failure(&answer.errors, answer.extensions.cost));
        }
        answer.data.ok_or_else(|| without("data"))
    }

    /// Adds tags, or takes some off.
    async fn change_tags(&self, document: &str, id: &str, tags: &[String]) -> Result<Verdict, Verdict> {
        let gid = gid(id).ok_or_else(|| no_order(id))?;
        let data: TagsData = self.ask(document, json!({ "id": gid, "tags": tags })).await?;
        let changed = data.changed.ok_or_else(|| without("tagsAdd` or `tagsRemove"))?;
        refused(&changed.user_errors)?;
        let node = changed.node.ok_or_else(|| no_order(id))?;
        Ok(Verdict::Done(json!({ "tags": node.tags })))
    }
}

#[async_trait]
impl Platform for Client {
    fn name(&self) -> &'static str {
        "shopify"
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, Verdict> {
        let Some(gid) = gid(id) else { return Ok(None) };
        let page = |after: Option<String>| self.ask::<OrderData>(ORDER, json!({ "id": gid, "after": after }));
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
        self.change_tags(TAG_ORDER, id, tags).await.unwrap_or_else(|verdict| verdict)
    }

    async fn untag_order(&self, id: &str, tags: &[String]) -> Verdict {
        self.change_tags(UNTAG_ORDER, id, tags).await.unwrap_or_else(|verdict| verdict)
    }
}

/// What Shopify says of something that it will not do.
fn refused(errors: &[UserError]) -> Result<(), Verdict> {
    if errors.is_empty() {
        return Ok(());
    }
    let said: Vec<&str> = errors.iter().take(5).map(|error| error.message.as_str()).collect();
    Err(Verdict::refused("refused", format!("shopify: {}", said.join("; "))))
}

fn no_order(id: &str) -> Verdict {
    Verdict::refused("not_found", format!("the shop has no order `{id}`"))
}

fn without(what: &str) -> Verdict {
    Verdict::refused("not_understood", format!("shopify answered without `{what}`"))
}

/// Shopify's ids are digits; anything else names nothing there.
fn gid(id: &str) -> Option<String> {
    let digits = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| format!("gid://shopify/Order/{id}"))
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
fn refusal(status: StatusCode, wait: Option<Duration>) -> Verdict {
    match status.as_u16() {
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
        408 | 429 | 500..=599 => Verdict::RetryAfter(wait, format!("shopify answered {status}")),
        _ => Verdict::refused("refused", format!("shopify answered {status}")),
    }
}

/// What the errors in an answer mean.
fn failure(errors: &[GraphqlError], cost: Option<Cost>) -> Verdict {
    let has = |code: &str| errors.iter().any(|error| error.extensions.code.as_deref() == Some(code));
    let said: Vec<&str> = errors.iter().take(5).map(|error| error.message.as_str()).collect();
    let said = format!("shopify: {}", said.join("; "));
    if has("THROTTLED") {
        Verdict::RetryAfter(cost.and_then(|cost| cost.wait()), said)
    } else if has("INTERNAL_SERVER_ERROR") || has("TIMEOUT") {
        Verdict::RetryAfter(None, said)
    } else if has("ACCESS_DENIED") {
        Verdict::refused("access_denied", format!("{said} (the app lacks a scope)"))
    } else {
        Verdict::refused("refused", said)
    }
}
