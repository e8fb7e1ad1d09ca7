//! `POST /v1/completions`.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::super::Http;
use super::answers::{Form, Head};
use super::asked::{Delivered, Shared, Texts};
use super::refused::Refusal;
use super::{WITHIN, answers, asked};
use crate::models::{Choice, Prompt, Request};

/// Tokens of an answer where nothing is said, as in that API.
const TOKENS: usize = 16;
/// Prompts of one request.
const MOST_PROMPTS: usize = 16;

/// What is to be gone on with, beside the options that it shares.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Completion {
    prompt: Texts,
    logprobs: Option<usize>,
    echo: Option<bool>,
    suffix: Option<String>,
    best_of: Option<usize>,
}

static FORM: Form = Form {
    id: "cmpl",
    whole: "text_completion",
    chunk: "text_completion",
    first: || None,
    piece: |text| json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": null }),
    end: |index, choice| {
        let mut end = shown(index, choice);
        if index == 0 {
            // It was told as it was written.
            end["text"] = json!("");
        }
        end
    },
    choice: shown,
};

fn shown(index: usize, choice: &Choice) -> Json {
    json!({
        "index": index, "text": choice.text, "logprobs": answers::text_logprobs(&choice.logprobs),
        "finish_reason": answers::finish(choice.finish),
    })
}

pub(super) async fn complete(State(http): State<Arc<Http>>, request: HttpRequest) -> Result<Response, Refusal> {
    let (asked, mut shared): (Completion, Shared) = asked::read_completion(&http, request).await?;
    let (model, adapter) = http.models.language(&shared.model)?;
    let adapter = adapter.map(str::to_owned);
    if asked.echo.unwrap_or_default() {
        return Err(Refusal::unsupported("echo", "the client has the prompt"));
    }
    if asked.suffix.is_some() {
        return Err(Refusal::unsupported("suffix", "this model only goes on"));
    }
    if asked.best_of.is_some_and(|best| best != 1 && Some(best) != shared.n) {
        return Err(Refusal::unsupported("best_of", "`beams` searches for the likeliest answers"));
    }
    let sampling = shared.sampling(shared.max_tokens.unwrap_or(TOKENS), asked.logprobs)?;
    let mut requests: Vec<Request> = asked
        .prompt
        .list()
        .into_iter()
        .map(|prompt| Request {
            within: Some(WITHIN),
            adapter: adapter.clone(),
            ..Request::new(Prompt::Text(prompt), sampling.clone())
        })
        .collect();
    if requests.is_empty() || requests.len() > MOST_PROMPTS {
        return Err(Refusal::invalid(Some("prompt"), format!("`prompt` must be 1 to {MOST_PROMPTS} texts")));
    }
    let (created, delivered) = (http.clock.now().as_second(), shared.delivered());
    let head = Head::new(&FORM, created, shared.model);
    if requests.len() == 1
        && let Some(request) = requests.pop()
    {
        return answers::answer(model, request, &FORM, head, (delivered, None)).await;
    }
    if delivered != Delivered::Whole {
        return Err(Refusal::invalid(Some("stream"), "`stream` goes with one prompt"));
    }
    let cancelled = CancellationToken::new();
    let answers = requests.into_iter().map(|request| model.generate(request, &cancelled, |_| {}));
    let answers = futures_util::future::try_join_all(answers).await?;
    let choices = answers.iter().flat_map(answers::choices).enumerate();
    let mut whole = head.object(FORM.whole, choices.map(|(index, choice)| shown(index, &choice)).collect());
    whole["usage"] = answers::usage(&answers);
    Ok(JsonBody(whole).into_response())
}
