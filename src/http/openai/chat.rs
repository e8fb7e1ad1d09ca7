//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::super::Http;
use super::refused::Refusal;
use super::{WITHIN, answers, asked, stream};
use crate::models::{ChatMessage, Format, Generated, ModelError, Request, Role};

/// Messages of one conversation.
const MOST_MESSAGES: usize = 500;
/// Tokens of an answer where nothing is said: as many as the model's settings allow.
const ANY: usize = usize::MAX;

asked::options! {
    /// What a chat is asked.
    Chat {
        messages: Vec<Message>,
        max_completion_tokens: Option<usize>,
        logprobs: Option<bool>,
        top_logprobs: Option<usize>,
        response_format: Option<ResponseFormat>,
        tools: Option<Vec<Json>>,
        tool_choice: Option<Json>,
        /// Whether and how the platform keeps it, which this server does not.
        #[expect(dead_code, reason = "it is known, and makes no difference")]
        store: Option<bool>,
        #[expect(dead_code, reason = "it is known, and makes no difference")]
        metadata: Option<Json>,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    role: String,
    content: Content,
    #[expect(dead_code, reason = "templates know no names")]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of parts with `type: text`")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    Text { text: String },
}

/// What the answer must look like.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: JsonSchema },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonSchema {
    schema: Json,
    #[expect(dead_code, reason = "for people")]
    name: Option<String>,
    #[expect(dead_code, reason = "for people")]
    description: Option<String>,
    #[expect(dead_code, reason = "an answer always keeps to its schema")]
    strict: Option<bool>,
}

impl ResponseFormat {
    fn format(self) -> Option<Format> {
        match self {
            Self::Text => None,
            Self::JsonObject => Some(Format::Json(json!({ "type": "object" }))),
            Self::JsonSchema { json_schema } => Some(Format::Json(json_schema.schema)),
        }
    }
}

fn message(at: usize, message: Message) -> Result<ChatMessage, Refusal> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let why = format!("there is no role `{other}` here: write `system`, `user` or `assistant`");
            return Err(Refusal::invalid(Some(&format!("messages[{at}].role")), why));
        }
    };
    let content = match message.content {
        Content::Text(text) => text,
        Content::Parts(parts) => parts.into_iter().map(|Part::Text { text }| text).collect(),
    };
    Ok(ChatMessage { role, content })
}

pub(super) async fn complete(State(http): State<Arc<Http>>, request: HttpRequest) -> Result<Response, Refusal> {
    let mut chat: Chat = asked::read(&http, request).await?;
    let model = http.models.language(&chat.model)?.clone();
    let no_tools = |choice: &Json| choice.as_str().is_some_and(|choice| choice == "none" || choice == "auto");
    if chat.tools.take().is_some_and(|tools| !tools.is_empty())
        || chat.tool_choice.take().is_some_and(|choice| !no_tools(&choice))
    {
        return Err(Refusal::unsupported("tools", "rules call capabilities; `response_format` makes an answer JSON"));
    }
    if chat.messages.is_empty() || chat.messages.len() > MOST_MESSAGES {
        return Err(Refusal::invalid(Some("messages"), format!("`messages` must be 1 to {MOST_MESSAGES}")));
    }
    let most = chat.max_completion_tokens.or(chat.max_tokens).unwrap_or(ANY);
    let mut sampling = chat.sampling(most)?;
    match (chat.logprobs.unwrap_or_default(), chat.top_logprobs) {
        (true, most) => sampling.logprobs = Some(most.unwrap_or_default()),
        (false, Some(1..)) => {
            return Err(Refusal::invalid(Some("top_logprobs"), "`top_logprobs` goes with `logprobs: true`"));
        }
        (false, _) => {}
    }
    sampling.check()?;
    let messages = chat.messages.into_iter().enumerate().map(|(at, it)| message(at, it));
    let mut request = Request::new(messages.collect::<Result<Vec<_>, _>>()?, sampling);
    request.format = chat.response_format.and_then(ResponseFormat::format);
    request.within = Some(WITHIN);

    let head = Head { id: answers::id("chatcmpl"), created: http.clock.now().as_second(), model: chat.model };
    if chat.stream.unwrap_or_default() {
        let with_usage = chat.stream_options.is_some_and(|options| options.include_usage);
        return Ok(stream::start(model, request, head.streamed(with_usage)));
    }
    let answer = match model.generate(request, &CancellationToken::new(), |_| {}).await {
        Ok(generated) => head.whole(&generated),
        Err(ModelError::Unfinished { tokens }) => head.unfinished(tokens),
        Err(error) => return Err(error.into()),
    };
    Ok(JsonBody(answer).into_response())
}

/// What every part of an answer says of it.
#[derive(Clone)]
struct Head {
    id: String,
    created: i64,
    model: String,
}

impl Head {
    fn object(&self, object: &str, choices: Vec<Json>) -> Json {
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices })
    }

    fn whole(&self, generated: &Generated) -> Json {
        let choices = answers::choices(generated).into_iter().enumerate().map(|(index, choice)| {
            let logprobs = (!choice.logprobs.is_empty()).then(|| answers::chat_logprobs(&choice.logprobs));
            json!({
                "index": index, "message": { "role": "assistant", "content": choice.text, "refusal": null },
                "logprobs": logprobs, "finish_reason": answers::finish(choice.finish),
            })
        });
        let mut whole = self.object("chat.completion", choices.collect());
        whole["usage"] = answers::usage(generated.prompt_tokens, generated.cached_tokens, generated.completion_tokens);
        whole
    }

    /// Nothing of an answer that is not complete is given out: it would not keep to its schema.
    fn unfinished(&self, tokens: usize) -> Json {
        let choice = json!({
            "index": 0, "message": { "role": "assistant", "content": null, "refusal": null }, "logprobs": null,
            "finish_reason": "length",
        });
        let mut whole = self.object("chat.completion", vec![choice]);
        whole["usage"] = answers::usage(0, 0, tokens);
        whole
    }

    fn chunk(&self, choices: Vec<Json>) -> Json {
        self.object("chat.completion.chunk", choices)
    }

    fn streamed(self, with_usage: bool) -> stream::Shape {
        let delta = |index: usize, delta: Json, finish: Option<&str>| json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish });
        let first = self.chunk(vec![delta(0, json!({ "role": "assistant", "content": "" }), None)]);
        let unfinished = self.chunk(vec![delta(0, json!({}), Some("length"))]);
        let (pieces, ends) = (self.clone(), self);
        stream::Shape {
            first: Some(first),
            piece: Box::new(move |text| pieces.chunk(vec![delta(0, json!({ "content": text }), None)])),
            last: Box::new(move |generated| {
                let mut last = Vec::new();
                for (index, choice) in answers::choices(generated).into_iter().enumerate() {
                    // Only the first is told as it is written.
                    let content = if index == 0 { json!({}) } else { json!({ "content": choice.text }) };
                    let mut end = delta(index, content, Some(answers::finish(choice.finish)));
                    if !choice.logprobs.is_empty() {
                        end["logprobs"] = answers::chat_logprobs(&choice.logprobs);
                    }
                    last.push(ends.chunk(vec![end]));
                }
                if with_usage {
                    let mut usage = ends.chunk(Vec::new());
                    usage["usage"] =
                        answers::usage(generated.prompt_tokens, generated.cached_tokens, generated.completion_tokens);
                    last.push(usage);
                }
                last
            }),
            unfinished,
        }
    }
}
