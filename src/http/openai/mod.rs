//! The models as clients of OpenAI's API expect them: `/v1/models`, `/v1/chat/completions`, `/v1/completions`,
//! `/v1/embeddings`; beside them `/v1/score`, which ranks texts. A model with an adapter is `MODEL:ADAPTER`. The forms are those of its API reference (platform.openai.com/docs/api-reference); beside its own
//! options `top_k`, `min_p`, `repetition_penalty` and `beams` are known, as other servers of open models have them.
//!
//! What is not known or cannot be done is refused by its name, never left out in silence. A client that hangs up gives
//! its request up.
//!
//! *Architecture Invariant*: errors here are in that API's form (`error` with `message`, `type`, `param`, `code`), since
//! that is what its clients read; a missing token is refused before, as everywhere.

mod answers;
mod asked;
mod chat;
mod completions;
mod embeddings;
mod refused;
mod score;
mod stream;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use axum::Json as JsonBody;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde_json::{Value as Json, json};

use super::Http;
use crate::models::encoder::Encoder;
use crate::models::{self, Model};
use refused::Refusal;

/// How long one answer may take, waiting included.
const WITHIN: Duration = Duration::from_secs(300);

/// The models that are there to be asked.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// The language models.
    pub language: models::Models,
    /// The encoder.
    pub encoder: Option<Encoder>,
}

impl Models {
    /// The language model that is called so, with the adapter that is named: `MODEL:ADAPTER`.
    fn language<'a>(&self, name: &'a str) -> Result<(&Model, Option<&'a str>), Refusal> {
        let there = || self.language.all().map(|known| &known.model);
        for it in there() {
            if it.name() == name {
                return Ok((it, None));
            }
            let asked = name.strip_prefix(it.name()).and_then(|rest| rest.strip_prefix(':'));
            if let Some(asked) = asked.filter(|asked| it.adapters().iter().any(|(adapter, _)| adapter == asked)) {
                return Ok((it, Some(asked)));
            }
        }
        let names: Vec<String> = there().flat_map(names).collect();
        Err(if names.is_empty() {
            Refusal::no_model("language model")
        } else {
            Refusal::other_model(name, &names.join("`, `"))
        })
    }

    /// The encoder, where it is called so.
    fn encoder(&self, name: &str) -> Result<&Encoder, Refusal> {
        let it = self.encoder.as_ref().ok_or_else(|| Refusal::no_model("encoder"))?;
        if it.name() == name { Ok(it) } else { Err(Refusal::other_model(name, it.name())) }
    }

    fn all(&self) -> Vec<Json> {
        let language = self.language.all().flat_map(|known| {
            let it = &known.model;
            let owner = if it.is_upstream() { "upstream" } else { "storehand" };
            let digests = std::iter::once(it.digest()).chain(it.adapters().into_iter().map(|(_, digest)| digest));
            names(it).into_iter().zip(digests).map(move |(name, digest)| (name, digest, owner))
        });
        let encoder = self.encoder.iter().map(|it| (it.name().to_owned(), it.digest(), "storehand"));
        let shown = |(name, digest, owner): (String, &str, &str)| json!({ "id": name, "object": "model", "created": 0, "owned_by": owner, "digest": digest });
        language.chain(encoder).map(shown).collect()
    }
}

/// What a model is called, alone and with each of its adapters.
fn names(model: &Model) -> Vec<String> {
    let with = model.adapters().into_iter().map(|(adapter, _)| format!("{}:{adapter}", model.name()));
    std::iter::once(model.name().to_owned()).chain(with).collect()
}

/// The routes, to be put behind the token.
pub(super) fn routes() -> Router<Arc<Http>> {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/score", post(score::score))
}

async fn models(State(http): State<Arc<Http>>) -> JsonBody<Json> {
    JsonBody(json!({ "object": "list", "data": http.models.all() }))
}

async fn model(State(http): State<Arc<Http>>, Path(name): Path<String>) -> Result<JsonBody<Json>, Refusal> {
    let all = http.models.all();
    let named = all.iter().find(|it| it["id"] == name.as_str()).cloned();
    named.map(JsonBody).ok_or_else(|| {
        let known: Vec<&str> = all.iter().filter_map(|it| it["id"].as_str()).collect();
        Refusal::other_model(&name, &known.join("`, `"))
    })
}
