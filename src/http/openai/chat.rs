//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::Http;
use super::answers::{Form, Head};
use super::asked::Shared;
use super::refused::Refusal;
use super::{WITHIN, answers, asked};
use crate::models::{ChatMessage, Format, Request, Role};

/// Messages of one conversation.
const MOST_MESSAGES: usize = 500;
/// Tokens of an answer where nothing is said: as many as the model's settings allow.
const ANY: usize = usize::MAX;

/// What a chat is asked beside the options that it shares.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chat {
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
enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: JsonSchema },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSchema {
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

/// A conversation.
pub(super) fn messages(messages: Vec<Message>) -> Result<Vec<ChatMessage>, Refusal> {
    if messages.is_empty() || messages.len() > MOST_MESSAGES {
        return Err(Refusal::invalid(Some("messages"), format!("`messages` must be 1 to {MOST_MESSAGES}")));
    }
    messages.into_iter().enumerate().map(|(at, it)| message(at, it)).collect()
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

static FORM: Form = Form {
    id: "chatcmpl",
    whole: "chat.completion",
    chunk: "chat.completion.chunk",
    first: || Some(delta(0, &json!({ "role": "assistant", "content": "" }))),
    piece: |text| delta(0, &json!({ "content": text })),
    end: |index, choice| {
        // Only the first was told as it was written.
        let mut end = delta(index, &if index == 0 { json!({}) } else { json!({ "content": choice.text }) });
        end["finish_reason"] = json!(answers::finish(choice.finish));
        end["logprobs"] = answers::chat_logprobs(&choice.logprobs);
        end
    },
    choice: |index, choice| {
        json!({
            "index": index, "message": { "role": "assistant", "content": choice.text, "refusal": null },
            "logprobs": answers::chat_logprobs(&choice.logprobs), "finish_reason": answers::finish(choice.finish),
        })
    },
};

fn delta(index: usize, delta: &Json) -> Json {
    json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null })
}

pub(super) async fn complete(State(http): State<Arc<Http>>, request: HttpRequest) -> Result<Response, Refusal> {
    let (chat, mut shared): (Chat, Shared) = asked::read_completion(&http, request).await?;
    let (model, adapter) = http.models.language(&shared.model)?;
    let adapter = adapter.map(str::to_owned);
    let no_tools = |choice: &Json| choice.as_str().is_some_and(|choice| choice == "none" || choice == "auto");
    if chat.tools.is_some_and(|tools| !tools.is_empty()) || chat.tool_choice.is_some_and(|choice| !no_tools(&choice)) {
        return Err(Refusal::unsupported("tools", "rules call capabilities; `response_format` makes an answer JSON"));
    }
    let logprobs = match (chat.logprobs, chat.top_logprobs) {
        (Some(true), most) => Some(most.unwrap_or_default()),
        (_, Some(1..)) => {
            return Err(Refusal::invalid(Some("top_logprobs"), "`top_logprobs` goes with `logprobs: true`"));
        }
        _ => None,
    };
    let most = chat.max_completion_tokens.or(shared.max_tokens).unwrap_or(ANY);
    let mut request = Request::new(messages(chat.messages)?, shared.sampling(most, logprobs)?);
    request.format = chat.response_format.and_then(ResponseFormat::format);
    (request.within, request.adapter) = (Some(WITHIN), adapter);
    let (created, delivered) = (http.clock.now().as_second(), shared.delivered());
    answers::answer(model, request, &FORM, Head::new(&FORM, created, shared.model), delivered).await
}
