//! The door to the house: deliveries come in, people and programs ask what happened.
//!
//! Deliveries are signed by their platforms and checked by their [`Source`] over the raw bytes; everything else
//! but health and readiness needs a bearer token. Every error is a problem document (RFC 9457) with a stable code
//! and a hint, whatever went wrong, but where the models are asked by OpenAI's API, which has a form of its own; a panic
//! is one too, and the server goes on.
//!
//! *Architecture Invariant*: the only room that knows axum's server. A delivery is answered only once
//! [`Accept::accept`] has returned, and so once it is on disk. Everything from outside is bounded: connections, a
//! request's head and body in size and time, labels of metrics. It knows no platform, no rule and no table.

mod api;
mod body;
mod dead;
mod deliveries;
mod guard;
mod metrics;
mod openai;
mod pauses;
mod problem;
mod rules;
mod seams;
mod server;
mod steer;
#[cfg(test)]
mod tests;
mod tokens;
mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use crate::domain::{Clock, Secrets, ShopId, Source};
pub use metrics::Metrics;
pub use openai::Models;
pub use problem::Problem;
pub use seams::{
    Accept, Accepted, Activation, Check, Dead, DeadOnes, IntakeError, Page, Reading, ReadingError, RuleBook, Says,
    Steer, SteerError, Steering, Target, Undo, UndoTime,
};
pub use server::{Limits, serve};
pub use tokens::{NewToken, Token, TokenError, Tokens};

/// What the server is built from.
pub struct Http {
    /// The sources of each shop, by name, with their live secrets.
    pub shops: BTreeMap<ShopId, BTreeMap<&'static str, Inlet>>,
    /// Where events go.
    pub accept: Arc<dyn Accept>,
    /// Where answers come from.
    pub reading: Arc<dyn Reading>,
    /// Who does what people ask for.
    pub steering: Arc<dyn Steering>,
    /// Who tells how rules stand.
    pub rules: Arc<dyn RuleBook>,
    /// Who may ask.
    pub tokens: Arc<dyn Tokens>,
    /// Who tells the time.
    pub clock: Arc<dyn Clock>,
    /// The models that may be asked by themselves.
    pub models: Models,
    /// What is counted.
    pub metrics: Metrics,
    /// The largest body that is read, in bytes.
    pub body_limit: usize,
    /// How long a client may take to send its body.
    pub read_timeout: Duration,
    /// How long a question may take to be answered.
    pub answer_timeout: Duration,
}

/// One way that deliveries come in.
#[derive(Clone)]
pub struct Inlet {
    /// Verifies and reads them.
    pub source: &'static dyn Source,
    /// The secrets that are live.
    pub secrets: Secrets,
}

/// The name of the source that `/v1/events` speaks: CloudEvents, signed as Standard Webhooks.
pub const EVENTS_SOURCE: &str = "standard";

/// All routes.
pub fn router(http: Http) -> Router {
    let http = Arc::new(http);
    let guarded = Router::new()
        .route("/metrics", get(api::metrics))
        .route("/v1/events", get(api::events))
        .route("/v1/events/{id}", get(api::event))
        .route("/v1/events/{id}/why", get(api::why))
        .route("/v1/runs", get(api::runs))
        .route("/v1/runs/{id}", get(api::run))
        .route("/v1/runs/{id}/export", get(api::export))
        .route("/v1/approvals", get(api::approvals))
        .route("/v1/approvals/{run}/{*path}", post(steer::approval))
        .route("/v1/rules", get(rules::rules))
        .route("/v1/rules/{id}", get(rules::rule))
        .route("/v1/rules/{id}/shadow", get(rules::shadow))
        .route("/v1/rules/{id}/versions/{version}", get(rules::version))
        .route("/v1/rules/{id}/activate", post(rules::activate))
        .route("/v1/rules/{id}/rollback", post(rules::rollback))
        .route("/v1/rules/{id}/pause", post(pauses::pause))
        .route("/v1/rules/{id}/resume", post(pauses::resume))
        .route("/v1/rules/{id}/undo", get(undo::look).post(undo::take_back))
        .route("/v1/runs/{id}/retry", post(dead::retry))
        .route("/v1/runs/{id}/drop", post(dead::drop_run))
        .route_layer(from_fn_with_state(http.answer_timeout, guard::in_time))
        // Models take longer, and see to that themselves.
        .merge(openai::routes())
        .route_layer(from_fn_with_state(Arc::clone(&http), guard::with_token));
    Router::new()
        .route("/health", get(api::health))
        .route("/ready", get(api::ready))
        .route("/hooks/{shop}/{source}", post(deliveries::hook).get(deliveries::hook).options(deliveries::handshake))
        // Where a sender wants the end of the address to say what it is to send: Mailgun sends a mail as it travelled.
        .route("/hooks/{shop}/{source}/mime", post(deliveries::hook))
        .route("/v1/events", post(deliveries::events).options(deliveries::handshake))
        .merge(guarded)
        .fallback(guard::no_such_page)
        .method_not_allowed_fallback(guard::no_such_method)
        .layer(from_fn(guard::catch_panics))
        .with_state(http)
}

/// A server that reads what it is sent and keeps nothing: the floor that benchmarks compare with.
pub fn bare() -> Router {
    Router::new().route("/hooks/{shop}/{source}", post(|_: axum::body::Bytes| async {}))
}
