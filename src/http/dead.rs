//! Runs that failed: one of them, by its id, or all that nobody has looked at (`dead` in place of an id).

use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use serde::Deserialize;

use super::Http;
use super::guard::Who;
use super::problem::Problem;
use super::seams::{Dead, DeadOnes, Steer};
use super::steer::{Answer, Of, done, in_query, malformed};
use crate::domain::ParseIdError;

/// Which are meant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    shop: Option<String>,
    rule: Option<String>,
    code: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        in_query(&parts.uri, "known are shop=, and rule= and code= to narrow all that are dead")
    }
}

impl Which {
    fn of(&self) -> Of {
        Of { shop: self.shop.clone() }
    }
}

/// `POST /v1/runs/{run}/retry`
pub(super) async fn retry(
    State(http): State<Arc<Http>>,
    Path(run): Path<String>,
    which: Which,
    Extension(who): Extension<Who>,
) -> Answer {
    let dead = dead(&run, &which)?;
    done(&http, &which.of(), &who, Steer::Retry(dead)).await
}

/// `POST /v1/runs/{run}/drop`
pub(super) async fn drop_run(
    State(http): State<Arc<Http>>,
    Path(run): Path<String>,
    which: Which,
    Extension(who): Extension<Who>,
) -> Answer {
    let dead = dead(&run, &which)?;
    done(&http, &which.of(), &who, Steer::Drop(dead)).await
}

fn dead(run: &str, which: &Which) -> Result<Dead, Problem> {
    let Which { rule, code, .. } = which.clone();
    match run {
        "dead" => Ok(Dead::All(DeadOnes { rule, code })),
        _ if rule.is_some() || code.is_some() => {
            Err(malformed("`rule` and `code` narrow all that are dead: write `dead` in place of the run's id".into()))
        }
        id => id.parse().map(Dead::One).map_err(|error: ParseIdError| malformed(error.to_string())),
    }
}
