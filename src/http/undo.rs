//! Taking back what a rule did: looked at with GET, done with POST.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, State};
use serde::Deserialize;

use super::Http;
use super::guard::Who;
use super::seams::{Steer, Undo, UndoTime};
use super::steer::{Answer, Of, done};

/// When what is meant was done: moments as people write them, in the shop's time zone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    shop: Option<String>,
    since: String,
    until: Option<String>,
}

/// `GET /v1/rules/{rule}/undo?since=…`
pub(super) async fn look(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    Query(when): Query<When>,
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
    Query(when): Query<When>,
    Extension(who): Extension<Who>,
) -> Answer {
    let When { shop, since, until } = when;
    let what = Steer::Undo { rule, time: UndoTime { since, until }, what: Undo::TakeBack };
    done(&http, &Of { shop }, &who, what).await
}
