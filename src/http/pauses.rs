//! Pausing rules and letting them go on. `*` in place of a rule's id means all rules of the shop; without a shop, of
//! every shop: whoever must stop everything is not asked first which shops there are.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Http;
use super::guard::Who;
use super::problem::Problem;
use super::seams::{Steer, SteerError};
use super::steer::{Answer, Of, problem, understood};
use crate::domain::ShopId;

/// All rules.
const ALL: &str = "*";

/// The longest reason, in characters.
const LONGEST_REASON: usize = 2_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    #[serde(default)]
    because: Option<String>,
}

/// `POST /v1/rules/{rule}/pause`
pub(super) async fn pause(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    of: Of,
    Extension(who): Extension<Who>,
    body: Result<JsonBody<Because>, JsonRejection>,
) -> Answer {
    let because = understood(body)?.because.filter(|text| !text.trim().is_empty());
    if because.as_ref().is_some_and(|text| text.chars().count() > LONGEST_REASON) {
        let message = format!("the reason is longer than {LONGEST_REASON} characters");
        return Err(problem(SteerError::Invalid(message)));
    }
    let shops = shops(&http, &of, &rule)?;
    in_each(&http, &shops, &who, &Steer::Pause { rule: Some(rule).filter(|rule| rule != ALL), because }).await
}

/// `POST /v1/rules/{rule}/resume`
pub(super) async fn resume(
    State(http): State<Arc<Http>>,
    Path(rule): Path<String>,
    of: Of,
    Extension(who): Extension<Who>,
) -> Answer {
    let shops = shops(&http, &of, &rule)?;
    in_each(&http, &shops, &who, &Steer::Resume { rule: Some(rule).filter(|rule| rule != ALL) }).await
}

/// The shop that is meant, else, where all rules are, every shop.
fn shops<'h>(http: &'h Http, of: &Of, rule: &str) -> Result<Vec<&'h ShopId>, Problem> {
    match &of.shop {
        Some(name) => Ok(vec![http.shop(name)?.0]),
        None if rule == ALL => Ok(http.shops.keys().collect()),
        None => Ok(vec![http.only_shop()?.0]),
    }
}

/// Has it done in each of these shops, whatever becomes of it in the others. That one of several shops had nothing to
/// lift is no error.
async fn in_each(http: &Http, shops: &[&ShopId], who: &Who, what: &Steer) -> Answer {
    let (mut done, mut refused): (Vec<Json>, Option<SteerError>) = (Vec::new(), None);
    for shop in shops {
        match http.steering.steer(shop, &who.0, what.clone()).await {
            Ok(answer) => done.push(answer),
            Err(error @ SteerError::Failed(_)) => refused = Some(error),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) if done.is_empty() || matches!(error, SteerError::Failed(_)) => Err(problem(error)),
        _ => Ok(JsonBody(json!({ "shops": done }))),
    }
}
