//! Questions: what happened, how things stand.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Http;
use super::problem::Problem;
use super::seams::{DeadOnes, Page, ReadingError};
use crate::domain::{EventId, ParseIdError, RunId, ShopId};

/// What a list gives at a time where nothing else is asked for, and at most.
const PAGE: usize = 50;
const MOST_PAGE: usize = 500;

type Answer = Result<JsonBody<Json>, Problem>;

/// What a question may be narrowed by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    shop: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    rule: Option<String>,
    dead: Option<bool>,
    code: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

type AskedQuery = Result<Query<Asked>, axum::extract::rejection::QueryRejection>;

fn understood(asked: AskedQuery) -> Result<Asked, Problem> {
    asked.map(|Query(asked)| asked).map_err(|rejection| wrong(rejection.body_text()))
}

fn wrong(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_query", "The question cannot be read")
        .detail(detail)
        .hint("known are shop=, type=, rule=, dead=true with code=, before=ID and limit=")
}

impl Asked {
    fn shop<'h>(&self, http: &'h Http) -> Result<&'h ShopId, Problem> {
        let found = self.shop.as_deref().map_or_else(|| http.only_shop(), |name| http.shop(name));
        found.map(|(shop, _)| shop)
    }

    fn page<Id: FromStr<Err: fmt::Display>>(&self) -> Result<Page<Id>, Problem> {
        let before = self.before.as_deref().map(Id::from_str).transpose();
        Ok(Page {
            before: before.map_err(|error| wrong(error.to_string()))?,
            limit: self.limit.unwrap_or(PAGE).clamp(1, MOST_PAGE),
        })
    }
}

fn failed(error: ReadingError) -> Problem {
    Problem::internal(&error.0)
}

/// What there is, else that there is none: with the day that its id is of, since it may have been forgotten.
fn found<Id: fmt::Display>(it: Option<Json>, what: &str, (id, made): (Id, Timestamp)) -> Answer {
    it.map(JsonBody).ok_or_else(|| {
        let day = made.strftime("%F");
        Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing")
            .detail(format!("there is no {what} {id} in this shop; its id is of {day}"))
            .hint("it may be another shop's (`?shop=`), or be older than the shop's `keep`, after which things go")
    })
}

fn event_of(text: &str) -> Result<(EventId, Timestamp), Problem> {
    let id: EventId = text.parse().map_err(|error: ParseIdError| wrong(error.to_string()))?;
    Ok((id, id.made()))
}

fn run_of(text: &str) -> Result<(RunId, Timestamp), Problem> {
    let id: RunId = text.parse().map_err(|error: ParseIdError| wrong(error.to_string()))?;
    Ok((id, id.made()))
}

pub(super) async fn events(State(http): State<Arc<Http>>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    let list = http.reading.events(asked.shop(&http)?, asked.kind.as_deref(), asked.page()?).await.map_err(failed)?;
    Ok(JsonBody(json!({ "events": list })))
}

pub(super) async fn event(State(http): State<Arc<Http>>, Path(id): Path<String>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    let id = event_of(&id)?;
    found(http.reading.event(asked.shop(&http)?, id.0).await.map_err(failed)?, "event", id)
}

pub(super) async fn runs(State(http): State<Arc<Http>>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    if asked.dead == Some(true) {
        let which = DeadOnes { rule: asked.rule.clone(), code: asked.code.clone() };
        let (list, total) = http.reading.dead(asked.shop(&http)?, which, asked.page()?).await.map_err(failed)?;
        return Ok(JsonBody(json!({ "runs": list, "total": total })));
    }
    let list = http.reading.runs(asked.shop(&http)?, asked.rule.as_deref(), asked.page()?).await.map_err(failed)?;
    Ok(JsonBody(json!({ "runs": list })))
}

pub(super) async fn run(State(http): State<Arc<Http>>, Path(id): Path<String>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    let id = run_of(&id)?;
    found(http.reading.run(asked.shop(&http)?, id.0).await.map_err(failed)?, "run", id)
}

pub(super) async fn why(State(http): State<Arc<Http>>, Path(id): Path<String>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    let id = event_of(&id)?;
    found(http.reading.why(asked.shop(&http)?, id.0).await.map_err(failed)?, "event", id)
}

pub(super) async fn export(State(http): State<Arc<Http>>, Path(id): Path<String>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    let id = run_of(&id)?;
    found(http.reading.export(asked.shop(&http)?, id.0).await.map_err(failed)?, "run", id)
}

pub(super) async fn approvals(State(http): State<Arc<Http>>, asked: AskedQuery) -> Answer {
    let asked = understood(asked)?;
    let list = http.reading.approvals(asked.shop(&http)?, asked.page()?).await.map_err(failed)?;
    Ok(JsonBody(json!({ "approvals": list })))
}

pub(super) async fn metrics(State(http): State<Arc<Http>>) -> impl IntoResponse {
    let text = http.metrics.text(http.accept.waiting()) + http.reading.metrics().as_str();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// The process answers.
pub(super) async fn health() -> JsonBody<Json> {
    JsonBody(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// The process is of use: whoever balances load may send it work.
pub(super) async fn ready(State(http): State<Arc<Http>>) -> impl IntoResponse {
    let checks = http.reading.checks().await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, JsonBody(json!({ "ready": ready, "checks": checks })))
}
