//! Rules: how they stand, their versions, and putting another version live.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use serde::Deserialize;
use serde_json::json;

use super::Http;
use super::guard::Who;
use super::seams::{Activation, Steer, Target};
use super::steer::{Answer, Of, done, problem, understood};
use crate::domain::OnChange;

/// `GET /v1/rules`
pub(super) async fn rules(State(http): State<Arc<Http>>, of: Of) -> Answer {
    let list = http.rules.rules(of.shop(&http)?).await.map_err(problem)?;
    Ok(JsonBody(json!({ "rules": list })))
}

/// `GET /v1/rules/{id}`
pub(super) async fn rule(State(http): State<Arc<Http>>, Path(id): Path<String>, of: Of) -> Answer {
    http.rules.rule(of.shop(&http)?, &id).await.map(JsonBody).map_err(problem)
}

/// `GET /v1/rules/{id}/shadow`
pub(super) async fn shadow(State(http): State<Arc<Http>>, Path(id): Path<String>, of: Of) -> Answer {
    http.rules.shadow(of.shop(&http)?, &id).await.map(JsonBody).map_err(problem)
}

/// `GET /v1/rules/{id}/versions/{version}`: by its name, or as `live`, `shadow`, `file`, `previous`.
pub(super) async fn version(
    State(http): State<Arc<Http>>,
    Path((id, version)): Path<(String, String)>,
    of: Of,
) -> Answer {
    http.rules.version(of.shop(&http)?, &id, &version).await.map(JsonBody).map_err(problem)
}

/// What is said with an activation. With nothing said the version is the file's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Activate {
    version: Option<String>,
    on_change: Option<OnChange>,
    instead_of: Option<String>,
    only_look: bool,
}

/// What is said with going back.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rollback {
    on_change: Option<OnChange>,
    instead_of: Option<String>,
    only_look: bool,
}

/// `POST /v1/rules/{id}/activate`
pub(super) async fn activate(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    of: Of,
    Extension(who): Extension<Who>,
    body: Result<JsonBody<Activate>, JsonRejection>,
) -> Answer {
    let Activate { version, on_change, instead_of, only_look } = understood(body)?;
    let target = version.map_or(Target::File, Target::Version);
    done(&http, &of, &who, Steer::Activate(Activation { rule, target, on_change, instead_of, only_look })).await
}

/// `POST /v1/rules/{id}/rollback`
pub(super) async fn rollback(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    of: Of,
    Extension(who): Extension<Who>,
    body: Result<JsonBody<Rollback>, JsonRejection>,
) -> Answer {
    let Rollback { on_change, instead_of, only_look } = understood(body)?;
    let target = Target::Previous;
    done(&http, &of, &who, Steer::Activate(Activation { rule, target, on_change, instead_of, only_look })).await
}
