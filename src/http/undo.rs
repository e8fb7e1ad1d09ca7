//! Taking back what a rule did: looked at with GET, done with POST.

use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use serde::Deserialize;

use super::Http;
use super::guard::Who;
use super::problem::Problem;
use super::seams::{Steer, Undo, UndoTime};
use super::steer::{Answer, Of, done, in_query};

/// When what is meant was done: moments as people write them, in the shop's time zone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    shop: Option<String>,
    since: String,
    until: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for When {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        in_query(&parts.uri, "say since when, such as since=2h or since=14:00; until= and shop= may be said, too")
    }
}

/// `GET /v1/rules/{rule}/undo?since=…`
pub(super) async fn look(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    when: When,
    Extension(who): Extension<Who>,
) -> Answer {
    let When { shop, since, until } = when;
    let what = Steer::Undo { rule, time: UndoTime { since, until }, what: Undo::Look };
    done(&http, &Of { shop }, &who, what).await
}

/// `POST /v1/rules/{rule}/undo?since=…`
pub(super) async fn take_back(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    when: When,
    Extension(who): Extension<Who>,
) -> Answer {
    let When { shop, since, until } = when;
    let what = Steer::Undo { rule, time: UndoTime { since, until }, what: Undo::TakeBack };
    done(&http, &Of { shop }, &who, what).await
}
