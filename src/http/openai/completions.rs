//! `POST /v1/completions`.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::super::Http;
use super::refused::Refusal;
use super::{WITHIN, answers, asked, stream};
use crate::models::{Choice, Prompt, Request};

/// Tokens of an answer where nothing is said, as in that API.
const TOKENS: usize = 16;
/// Prompts of one request.
const MOST_PROMPTS: usize = 16;

asked::options! {
    /// What is to be gone on with.
    Completion {
        prompt: asked::Texts,
        logprobs: Option<usize>,
        echo: Option<bool>,
        suffix: Option<String>,
        best_of: Option<usize>,
    }
}

pub(super) async fn complete(State(http): State<Arc<Http>>, request: HttpRequest) -> Result<Response, Refusal> {
    let mut asked: Completion = asked::read(&http, request).await?;
    let model = http.models.language(&asked.model)?.clone();
    if asked.echo.unwrap_or_default() {
        return Err(Refusal::unsupported("echo", "the client has the prompt"));
    }
    if asked.suffix.is_some() {
        return Err(Refusal::unsupported("suffix", "this model only goes on"));
    }
    if asked.best_of.is_some_and(|best| Some(best) != asked.n && best != 1) {
        return Err(Refusal::unsupported("best_of", "`beams` searches for the likeliest answers"));
    }
    let mut sampling = asked.sampling(asked.max_tokens.unwrap_or(TOKENS))?;
    sampling.logprobs = asked.logprobs;
    sampling.check()?;
    let prompts = asked.prompt.list();
    if prompts.is_empty() || prompts.len() > MOST_PROMPTS {
        return Err(Refusal::invalid(Some("prompt"), format!("`prompt` must be 1 to {MOST_PROMPTS} texts")));
    }
    let requests = prompts.into_iter().map(|prompt| {
        let mut request = Request::new(Prompt::Text(prompt), sampling.clone());
        request.within = Some(WITHIN);
        request
    });
    let requests: Vec<Request> = requests.collect();
    let head = Head { id: answers::id("cmpl"), created: http.clock.now().as_second(), model: asked.model };
    if asked.stream.unwrap_or_default() {
        let [request] = <[Request; 1]>::try_from(requests)
            .map_err(|_| Refusal::invalid(Some("stream"), "`stream` goes with one prompt"))?;
        let with_usage = asked.stream_options.is_some_and(|options| options.include_usage);
        return Ok(stream::start(model, request, head.streamed(with_usage)));
    }
    let cancelled = CancellationToken::new();
    let answers = requests.into_iter().map(|request| model.generate(request, &cancelled, |_| {}));
    let answers = futures_util::future::try_join_all(answers).await?;
    let choices = answers.iter().flat_map(answers::choices).enumerate();
    let mut whole = head.object(choices.map(|(index, choice)| shown(index, &choice)).collect());
    let total = |count: fn(&crate::models::Generated) -> usize| answers.iter().map(count).sum();
    whole["usage"] =
        answers::usage(total(|it| it.prompt_tokens), total(|it| it.cached_tokens), total(|it| it.completion_tokens));
    Ok(JsonBody(whole).into_response())
}

fn shown(index: usize, choice: &Choice) -> Json {
    let logprobs = (!choice.logprobs.is_empty()).then(|| answers::text_logprobs(&choice.logprobs));
    json!({
        "index": index, "text": choice.text, "logprobs": logprobs, "finish_reason": answers::finish(choice.finish),
    })
}

#[derive(Clone)]
struct Head {
    id: String,
    created: i64,
    model: String,
}

impl Head {
    fn object(&self, choices: Vec<Json>) -> Json {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
            "choices": choices,
        })
    }

    fn streamed(self, with_usage: bool) -> stream::Shape {
        let piece = |text: &str| json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": null });
        let (pieces, ends) = (self.clone(), self.clone());
        stream::Shape {
            first: None,
            piece: Box::new(move |text| pieces.object(vec![piece(text)])),
            last: Box::new(move |generated| {
                let mut last = Vec::new();
                for (index, choice) in answers::choices(generated).into_iter().enumerate() {
                    let mut end = shown(index, &choice);
                    if index == 0 {
                        end["text"] = json!("");
                    }
                    last.push(ends.object(vec![end]));
                }
                if with_usage {
                    let mut usage = ends.object(Vec::new());
                    usage["usage"] =
                        answers::usage(generated.prompt_tokens, generated.cached_tokens, generated.completion_tokens);
                    last.push(usage);
                }
                last
            }),
            unfinished: Json::Null,
        }
    }
}
