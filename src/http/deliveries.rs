//! Deliveries: `/hooks/{shop}/{source}` and `POST /v1/events`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;

use super::metrics::Outcome;
use super::problem::Problem;
use super::seams::{Accepted, IntakeError};
use super::{EVENTS_SOURCE, Http, Inlet, body};
use crate::domain::{Delivery, Received, Refused, Reply, ShopId};

/// What a sender is told to wait before it comes again, in seconds: a full queue is empty after two commits.
const RETRY_AFTER_SECONDS: &str = "2";

/// Names the events that a delivery became, so that a sender can look them up.
static EVENT_IDS: HeaderName = HeaderName::from_static("storehand-event-ids");

/// At most so many are named.
const MOST_IDS: usize = 100;

pub(super) async fn hook(
    State(http): State<Arc<Http>>,
    Path((shop, source)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (shop, inlets) = http.shop(&shop)?;
    let (name, inlet) = inlets.get_key_value(source.as_str()).ok_or_else(|| no_such_source(shop, &source))?;
    let raw =
        Raw::read(&http, request).await.inspect_err(|_| http.metrics.delivery(shop, name, Outcome::Unreadable))?;
    deliver(&http, shop, name, inlet, &raw).await
}

pub(super) async fn events(State(http): State<Arc<Http>>, request: Request) -> Result<Response<Body>, Problem> {
    let raw = Raw::read(&http, request).await?;
    let (shop, inlets) = match named_shop(&raw)? {
        Some(name) => http.shop(&name)?,
        None => http.only_shop()?,
    };
    let (name, inlet) = inlets.get_key_value(EVENTS_SOURCE).ok_or_else(|| no_such_source(shop, EVENTS_SOURCE))?;
    deliver(&http, shop, name, inlet, &raw).await
}

/// A request as it came, read whole.
struct Raw {
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    method: String,
    body: Bytes,
}

impl Raw {
    async fn read(http: &Http, request: Request) -> Result<Self, Problem> {
        let (parts, content) = request.into_parts();
        let Query(query) = Query::try_from_uri(&parts.uri)
            .map_err(|error| malformed("malformed_query", "The query cannot be read", error.body_text()))?;
        let body = body::read(content, http.body_limit, http.read_timeout).await?;
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Ok(Self { headers: headers.collect(), query, method: parts.method.to_string(), body })
    }
}

/// The life of a delivery: verified and read by its source, put on disk, answered.
async fn deliver(
    http: &Http,
    shop: &ShopId,
    name: &'static str,
    inlet: &Inlet,
    raw: &Raw,
) -> Result<Response<Body>, Problem> {
    let count = |outcome| http.metrics.delivery(shop, name, outcome);
    let delivery = Delivery {
        headers: &raw.headers,
        query: &raw.query,
        method: &raw.method,
        body: &raw.body,
        received: http.clock.now(),
    };
    let Received { events, reply } = inlet.source.receive(delivery, &inlet.secrets).map_err(|refused| {
        let outcome = match refused {
            Refused::Signature { .. } | Refused::Unsigned(_) => Outcome::Unsigned,
            Refused::Stale { .. } => Outcome::Stale,
            Refused::Malformed(_) => Outcome::Malformed,
            Refused::Unable(_) => Outcome::Failed,
        };
        count(outcome);
        // Anybody can send what is not signed: that must not fill the log, and is counted.
        if matches!(outcome, Outcome::Malformed | Outcome::Failed) {
            tracing::warn!(%shop, source = name, %refused, "delivery refused");
        } else {
            tracing::debug!(%shop, source = name, %refused, "delivery refused");
        }
        refusal(&refused)
    })?;
    if events.is_empty() {
        count(Outcome::Empty);
        return answer(reply, &[]);
    }
    let began = Instant::now();
    match http.accept.accept(shop, name, events).await {
        Ok(accepted) => {
            http.metrics.accepted_in(began.elapsed());
            let fresh = accepted.iter().any(|event| event.fresh);
            count(if fresh { Outcome::Accepted } else { Outcome::Repeated });
            answer(reply, &accepted)
        }
        Err(error) => {
            count(if matches!(error, IntakeError::Failed(_)) { Outcome::Failed } else { Outcome::Full });
            Err(not_taken(&error))
        }
    }
}

fn answer(reply: Reply, accepted: &[Accepted]) -> Result<Response<Body>, Problem> {
    let mut builder = Response::builder().status(reply.status);
    if !reply.content_type.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, reply.content_type);
    }
    if !accepted.is_empty() {
        let ids: Vec<String> = accepted.iter().take(MOST_IDS).map(|event| event.id.to_string()).collect();
        builder = builder.header(&EVENT_IDS, ids.join(", "));
    }
    builder.body(Body::from(reply.body)).map_err(|error| Problem::internal(&format!("a source's reply: {error}")))
}

fn refusal(refused: &Refused) -> Problem {
    let unsigned = |code, title| Problem::new(StatusCode::UNAUTHORIZED, code, title).detail(refused.to_string());
    match refused {
        Refused::Unable(detail) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "source_unable", "The delivery cannot be looked at just now")
                .detail(detail.clone())
                .hint("send it again later; nothing of it was kept")
        }
        Refused::Signature { .. } | Refused::Unsigned(_) => unsigned("bad_signature", "The signature is not good")
            .hint("the source's `secrets` in the configuration must hold the secret that the sender signs with"),
        Refused::Stale { .. } => unsigned("stale_signature", "The signature is too old or from the future")
            .hint("check the clocks of both machines; a delivery kept for later must be signed again"),
        Refused::Malformed(detail) => malformed("malformed", "The delivery cannot be read", detail.clone()),
    }
}

fn malformed(code: &'static str, title: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, title)
        .detail(detail)
        .hint("sending the same again will not help; nothing of it was kept")
}

fn not_taken(error: &IntakeError) -> Problem {
    let later = |code, title| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title)
            .detail(error.to_string())
            .hint("send it again after the time that Retry-After gives; nothing of it was kept")
            .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))
    };
    match error {
        IntakeError::Full => later("intake_full", "Too much at once"),
        IntakeError::Closing => later("closing", "This server is about to end"),
        IntakeError::Failed(cause) => {
            // Platforms come again after a 503, and some never do after a 500.
            tracing::error!(cause, "the store did not take a delivery");
            later("store_failed", "The delivery could not be kept").detail("the store did not take it")
        }
    }
}

type Inlets = BTreeMap<&'static str, Inlet>;

impl Http {
    /// The shop of this name.
    pub(super) fn shop(&self, name: &str) -> Result<(&ShopId, &Inlets), Problem> {
        self.shops.iter().find(|(id, _)| id.as_str() == name).ok_or_else(|| no_such_shop(name))
    }

    /// The shop, where there is but one.
    pub(super) fn only_shop(&self) -> Result<(&ShopId, &Inlets), Problem> {
        match self.shops.first_key_value() {
            Some(only) if self.shops.len() == 1 => Ok(only),
            _ => Err(Problem::new(StatusCode::BAD_REQUEST, "shop_needed", "It must be said which shop is meant")
                .detail(format!("this server has {} shops", self.shops.len()))
                .hint("add `?shop=NAME`")),
        }
    }
}

fn no_such_shop(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_shop", "There is no such shop")
        .detail(format!("no shop is called `{}`", name.chars().take(80).collect::<String>()))
        .hint("shops are the `[shop.NAME]` tables of the configuration")
}

fn no_such_source(shop: &ShopId, name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_source", "There is no such source")
        .detail(format!("shop `{shop}` has no source `{}`", name.chars().take(80).collect::<String>()))
        .hint("sources are the `[shop.NAME.sources.SOURCE]` tables of the configuration")
}

/// Only the name of the shop, of an event that nobody has verified yet: it chooses whose secret is tried.
#[derive(Deserialize)]
struct Named {
    shop: Option<String>,
}

/// The shop that a CloudEvent is for: by `?shop=`, by its extension `shop`, as header or in the body. They must not
/// contradict each other.
fn named_shop(raw: &Raw) -> Result<Option<String>, Problem> {
    let header = |name: &str| raw.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let mut named: Vec<String> = raw.query.iter().filter(|(key, _)| key == "shop").map(|(_, it)| it.clone()).collect();
    named.extend(header("ce-shop"));
    let kind = header("content-type").unwrap_or_default().to_ascii_lowercase();
    // What cannot be read here is the source's to refuse, once it has checked the signature.
    if kind.starts_with("application/cloudevents-batch+json") {
        let batch: Vec<Named> = serde_json::from_slice(&raw.body).unwrap_or_default();
        named.extend(batch.into_iter().filter_map(|event| event.shop));
    } else if kind.starts_with("application/cloudevents+json") {
        named.extend(serde_json::from_slice::<Named>(&raw.body).ok().and_then(|event| event.shop));
    }
    let first = named.first().cloned();
    match named.iter().find(|name| Some(*name) != first.as_ref()) {
        None => Ok(first),
        Some(_) => Err(malformed(
            "several_shops",
            "The delivery names several shops",
            "all events of a delivery, its `ce-shop` header and `?shop=` must name the same shop".to_owned(),
        )),
    }
}

/// The handshake of CloudEvents' web hooks: a sender asks whether it may deliver here.
pub(super) async fn handshake(headers: HeaderMap) -> impl IntoResponse {
    let allow = (header::ALLOW, HeaderValue::from_static("POST"));
    match headers.get("webhook-request-origin") {
        // Anybody may send: what counts is the signature.
        Some(origin) => {
            let mut answer = HeaderMap::from_iter([allow]);
            answer.insert("webhook-allowed-origin", origin.clone());
            answer.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
            (StatusCode::OK, answer)
        }
        None => (StatusCode::NO_CONTENT, HeaderMap::from_iter([allow])),
    }
}
