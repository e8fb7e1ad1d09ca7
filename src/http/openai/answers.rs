//! What answers are made of, whole and piece by piece.

use axum::Json as JsonBody;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::asked::Delivered;
use super::refused::Refusal;
use super::stream;
use super::tools::Offered;
use crate::models::{Choice, Finish, Generated, Model, ModelError, Request, TokenBytes, TokenChance};

/// How one kind of completion shows its answers.
pub(super) struct Form {
    /// What ids begin with.
    pub(super) id: &'static str,
    /// What a whole answer is called, and a piece of one.
    pub(super) whole: &'static str,
    pub(super) chunk: &'static str,
    /// What a stream begins with, where it does.
    pub(super) first: fn() -> Option<Json>,
    /// More of the first answer.
    pub(super) piece: fn(&str) -> Json,
    /// The end of an answer: its text where it was not told piece by piece.
    pub(super) end: fn(usize, &Choice) -> Json,
    /// A whole one.
    pub(super) choice: fn(usize, &Choice) -> Json,
}

/// What every part of an answer says of it.
pub(super) struct Head {
    id: String,
    created: i64,
    model: String,
}

impl Head {
    /// Of an answer of `model` that is begun now: seconds since 1970.
    pub(super) fn new(form: &Form, created: i64, model: String) -> Self {
        Self::named(form.id, created, model)
    }

    /// The same, with what the id begins with.
    pub(super) fn named(begins: &str, created: i64, model: String) -> Self {
        let mut random = [0; 12];
        // A name that comes twice harms nobody.
        let _ = getrandom::fill(&mut random);
        Self { id: format!("{begins}-{}", hex::encode(random)), created, model }
    }

    /// What is no completion.
    pub(super) fn list(&self, object: &str, data: Vec<Json>) -> Json {
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "data": data })
    }

    pub(super) fn object(&self, object: &str, choices: Vec<Json>) -> Json {
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices })
    }
}

/// Has the model answer, and gives the answer as it is wanted.
///
/// # Errors
/// What was refused before anything was written.
pub(super) async fn answer(
    model: &Model,
    request: Request,
    form: &'static Form,
    head: Head,
    (delivered, offered): (Delivered, Option<Offered>),
) -> Result<Response, Refusal> {
    if let Delivered::Streamed { with_usage } = delivered {
        return stream::start(model.clone(), request, form, head, (with_usage, offered)).await;
    }
    let generated = whole_or_nothing(model.generate(request, &CancellationToken::new(), |_| {}).await)?;
    let show = |(at, choice)| match offered.as_ref().and_then(|offered| offered.called(choice)) {
        Some(called) => called.whole(at),
        None => (form.choice)(at, choice),
    };
    let shown = choices(&generated).iter().enumerate().map(show).collect();
    let mut whole = head.object(form.whole, shown);
    whole["usage"] = usage([&generated]);
    Ok(JsonBody(whole).into_response())
}

/// Of an answer that is held to a form and was not complete in time nothing is given out: it would not keep to the form.
/// It is an empty one that was ended by its `length`.
pub(super) fn whole_or_nothing(answered: Result<Generated, ModelError>) -> Result<Generated, ModelError> {
    match answered {
        Err(ModelError::Unfinished { prompt_tokens, tokens }) => Ok(Generated {
            text: String::new(),
            finish: Finish::Length,
            logprobs: Vec::new(),
            others: Vec::new(),
            prompt_tokens,
            cached_tokens: 0,
            completion_tokens: tokens,
            prompt_digest: String::new(),
        }),
        other => other,
    }
}

pub(super) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Cancelled => "stop",
        Finish::Length => "length",
    }
}

/// The answers, the first one first.
pub(super) fn choices(generated: &Generated) -> Vec<Choice> {
    let first = Choice {
        text: generated.text.clone(),
        finish: generated.finish,
        completion_tokens: generated.completion_tokens,
        logprobs: generated.logprobs.clone(),
    };
    std::iter::once(first).chain(generated.others.iter().cloned()).collect()
}

/// What these took together.
pub(super) fn usage<'a>(answers: impl IntoIterator<Item = &'a Generated>) -> Json {
    let [mut prompt, mut cached, mut written] = [0; 3];
    for it in answers {
        prompt += it.prompt_tokens;
        cached += it.cached_tokens;
        written += it.completion_tokens;
    }
    json!({
        "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}

/// The tokens of a chat's answer with their log-probabilities; nothing where they were not asked for.
pub(super) fn chat_logprobs(tokens: &[TokenChance]) -> Json {
    if tokens.is_empty() {
        return Json::Null;
    }
    let one = |token: &TokenBytes| json!({ "token": String::from_utf8_lossy(&token.bytes), "logprob": token.logprob, "bytes": token.bytes });
    let all = tokens.iter().map(|it| {
        let mut shown = one(&it.token);
        shown["top_logprobs"] = it.likeliest.iter().map(one).collect();
        shown
    });
    json!({ "content": all.collect::<Vec<_>>(), "refusal": null })
}

/// The same as text completions have it.
pub(super) fn text_logprobs(tokens: &[TokenChance]) -> Json {
    if tokens.is_empty() {
        return Json::Null;
    }
    let text = |token: &TokenBytes| String::from_utf8_lossy(&token.bytes).into_owned();
    let mut offset = 0;
    let offsets: Vec<usize> = tokens
        .iter()
        .map(|it| {
            let at = offset;
            offset += text(&it.token).chars().count();
            at
        })
        .collect();
    let likeliest = tokens.iter().map(|it| {
        let all = it.likeliest.iter().map(|token| (text(token), json!(token.logprob)));
        Json::Object(all.collect())
    });
    json!({
        "tokens": tokens.iter().map(|it| text(&it.token)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|it| it.token.logprob).collect::<Vec<_>>(),
        "top_logprobs": likeliest.collect::<Vec<_>>(), "text_offset": offsets,
    })
}
