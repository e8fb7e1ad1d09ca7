//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Request as HttpRequest, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::Http;
use super::asked;
use super::refused::Refusal;

/// What is to be embedded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    model: String,
    input: asked::Texts,
    encoding_format: Option<Encoding>,
    dimensions: Option<usize>,
    #[expect(dead_code, reason = "it is known, and makes no difference")]
    user: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

pub(super) async fn embed(State(http): State<Arc<Http>>, request: HttpRequest) -> Result<JsonBody<Json>, Refusal> {
    let asked: Asked = asked::read(&http, request).await?;
    let encoder = http.models.encoder(&asked.model)?;
    let width = encoder.width();
    if asked.dimensions.is_some_and(|dimensions| dimensions != width) {
        return Err(Refusal::invalid(Some("dimensions"), format!("this model's embeddings have {width} numbers")));
    }
    let texts = asked.input.list();
    if texts.is_empty() {
        return Err(Refusal::invalid(Some("input"), "`input` is empty"));
    }
    let embedded = encoder.embed(&texts).await?;
    if let Some(at) = embedded.iter().position(|it| it.truncated) {
        let most = encoder.longest();
        let why = format!("text {at} of `input` is longer than the {most} tokens that this model reads");
        return Err(Refusal::invalid(Some("input"), why));
    }
    let tokens: usize = embedded.iter().map(|it| it.tokens).sum();
    let encoding = asked.encoding_format.unwrap_or_default();
    let data = embedded.iter().enumerate().map(|(index, it)| {
        let embedding = match encoding {
            Encoding::Float => json!(it.vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = it.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            }
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    Ok(JsonBody(json!({
        "object": "list", "data": data.collect::<Vec<_>>(), "model": asked.model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}
