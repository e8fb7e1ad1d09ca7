//! What people ask to be done: approvals, rules, runs. Each page names its shop, and who asks is the token's name.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::Http;
use super::guard::Who;
use super::problem::Problem;
use super::seams::{Says, Steer, SteerError};
use crate::domain::{ParseIdError, ShopId};

pub(super) type Answer = Result<JsonBody<Json>, Problem>;

/// Which shop is meant, where the server has several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    pub(super) shop: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Of {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        in_query(&parts.uri, "known is shop=")
    }
}

/// What a page's address asks for; `hint` says what may be asked.
pub(super) fn in_query<T: DeserializeOwned>(uri: &Uri, hint: &str) -> Result<T, Problem> {
    Query::try_from_uri(uri).map(|Query(asked)| asked).map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_query", "The question cannot be read")
            .detail(rejection.body_text())
            .hint(hint)
    })
}

impl Of {
    pub(super) fn shop<'h>(&self, http: &'h Http) -> Result<&'h ShopId, Problem> {
        self.shop.as_deref().map_or_else(|| http.only_shop(), |name| http.shop(name)).map(|(shop, _)| shop)
    }
}

/// `POST /v1/approvals/{run}/{path}`: a person decides.
pub(super) async fn approval(
    State(http): State<Arc<Http>>,
    Path((run, path)): Path<(String, String)>,
    of: Of,
    Extension(who): Extension<Who>,
    body: Result<JsonBody<Says>, JsonRejection>,
) -> Answer {
    let says = understood(body)?;
    let run = run.parse().map_err(|error: ParseIdError| malformed(error.to_string()))?;
    done(&http, &of, &who, Steer::Decide { run, path, says }).await
}

pub(super) fn understood<T>(body: Result<JsonBody<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|JsonBody(body)| body).map_err(|rejection| malformed(rejection.body_text()))
}

pub(super) fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_request", "The request cannot be read")
        .detail(detail)
        .hint("the body is JSON with `content-type: application/json`")
}

/// Has it done, and answers with what it came to.
pub(super) async fn done(http: &Arc<Http>, of: &Of, who: &Who, what: Steer) -> Answer {
    http.steering.steer(of.shop(http)?, &who.0, what).await.map(JsonBody).map_err(problem)
}

pub(super) fn problem(error: SteerError) -> Problem {
    let of = |status, code, title| Problem::new(status, code, title).detail(error.to_string());
    match &error {
        SteerError::NotFound(_) => of(StatusCode::NOT_FOUND, "not_found", "There is no such thing")
            .hint("`storehand rules list`, `runs list` and `approvals list` name what there is"),
        SteerError::Conflict(_) => of(StatusCode::CONFLICT, "conflict", "It does not stand as that supposes")
            .hint("look again how it stands: somebody may have been quicker"),
        SteerError::Invalid(_) => of(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "This cannot be done as asked")
            .hint("ask again as the detail says"),
        SteerError::Failed(cause) => Problem::internal(cause),
    }
}
