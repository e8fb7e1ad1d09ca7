//! `POST /v1/score`: which of some texts is the likeliest to follow a prompt. Not of OpenAI's API; its errors and usage are
//! in that form.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Request as HttpRequest, State};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::super::Http;
use super::answers::Head;
use super::chat::{self, Message};
use super::refused::Refusal;
use super::{WITHIN, asked};
use crate::models::{CONTENT_FREE, Class, MOST_CANDIDATES, Prompt, Ranked, ToRank, without_content};

/// What is to be ranked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Score {
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    candidates: Vec<String>,
    /// Whether what the model likes anyway is taken off; it is where nothing is said.
    calibrate: Option<bool>,
    /// What stands in place of the prompt, or of the last user's message, where that is found out.
    content_free: Option<String>,
    /// Who the client's own user is.
    #[expect(dead_code, reason = "it is known, and makes no difference")]
    user: Option<String>,
}

pub(super) async fn score(State(http): State<Arc<Http>>, request: HttpRequest) -> Result<JsonBody<Json>, Refusal> {
    let asked: Score = asked::read(&http, request).await?;
    let (model, adapter) = http.models.language(&asked.model)?;
    let prompt = match (asked.prompt, asked.messages) {
        (Some(text), None) => Prompt::Text(text),
        (None, Some(messages)) => Prompt::Chat(chat::messages(messages, &mut BTreeSet::new())?),
        _ => return Err(Refusal::invalid(Some("prompt"), "name either `prompt` or `messages`")),
    };
    if !(2..=MOST_CANDIDATES).contains(&asked.candidates.len()) {
        let why = format!("`candidates` must be 2 to {MOST_CANDIDATES} texts");
        return Err(Refusal::invalid(Some("candidates"), why));
    }
    let content_free = match (asked.calibrate.unwrap_or(true), asked.content_free) {
        (true, text) => Some(without_content(&prompt, text.as_deref().unwrap_or(CONTENT_FREE))),
        (false, None) => None,
        (false, Some(_)) => {
            return Err(Refusal::invalid(Some("content_free"), "`content_free` goes with `calibrate: true`"));
        }
    };
    let to_rank = ToRank {
        prompt,
        candidates: asked.candidates.clone(),
        content_free,
        class: Class::Person,
        shop: String::new(),
        within: Some(WITHIN),
        adapter: adapter.map(str::to_owned),
    };
    let ranking = model.rank(to_rank, &CancellationToken::new()).await?;
    let head = Head::named("score", http.clock.now().as_second(), asked.model.clone());
    let shown = ranking.candidates.iter().map(|it| shown(it, &asked.candidates)).collect();
    let (prompt, candidates) = (ranking.prompt_tokens, ranking.candidate_tokens);
    let mut whole = head.list("score", shown);
    whole["usage"] = json!({
        "prompt_tokens": prompt, "completion_tokens": candidates, "total_tokens": prompt + candidates,
        "prompt_tokens_details": { "cached_tokens": ranking.cached_tokens },
    });
    Ok(JsonBody(whole))
}

fn shown(ranked: &Ranked, candidates: &[String]) -> Json {
    json!({
        "object": "candidate", "index": ranked.index, "text": candidates.get(ranked.index),
        "probability": ranked.probability, "logprob": ranked.logprob(),
        "logprob_per_token": ranked.logprob() / ranked.token_logprobs.len().max(1) as f64,
        "token_logprobs": ranked.token_logprobs, "content_free_logprob": ranked.content_free_logprob,
    })
}
