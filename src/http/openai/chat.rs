//! `POST /v1/chat/completions`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::Http;
use super::answers::{Form, Head};
use super::asked::Shared;
use super::refused::Refusal;
use super::tools::{self, Asked, Offered, WrittenCall};
use super::{WITHIN, answers, asked};
use crate::models::{ChatMessage, Format, Prompt, Request, Role};

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
    tools: Option<Vec<Asked>>,
    tool_choice: Option<tools::Choice>,
    parallel_tool_calls: Option<bool>,
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
    content: Option<Content>,
    #[expect(dead_code, reason = "templates know no names")]
    name: Option<String>,
    /// What the model has wanted called, and which of it this answers.
    tool_calls: Option<Vec<WrittenCall>>,
    tool_call_id: Option<String>,
    #[expect(dead_code, reason = "answers have it, and come back as a part of the conversation")]
    refusal: Option<String>,
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

/// Reads a conversation. `called` are the calls that it has wanted.
pub(super) fn messages(messages: Vec<Message>, called: &mut BTreeSet<String>) -> Result<Vec<ChatMessage>, Refusal> {
    if messages.is_empty() || messages.len() > MOST_MESSAGES {
        return Err(Refusal::invalid(Some("messages"), format!("`messages` must be 1 to {MOST_MESSAGES}")));
    }
    messages.into_iter().enumerate().map(|(at, it)| message(at, it, called)).collect()
}

fn message(at: usize, message: Message, called: &mut BTreeSet<String>) -> Result<ChatMessage, Refusal> {
    let wrong = |of: &str, why: String| Refusal::invalid(Some(&format!("messages[{at}]{of}")), why);
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let why = format!("there is no role `{other}` here: write `system`, `user`, `assistant` or `tool`");
            return Err(wrong(".role", why));
        }
    };
    let mut calls = Vec::new();
    for written in message.tool_calls.unwrap_or_default() {
        if role != Role::Assistant {
            return Err(wrong(".tool_calls", "only the assistant wants tools called".into()));
        }
        called.insert(written.id.clone());
        calls.push(written.read().map_err(|why| wrong(".tool_calls", why))?);
    }
    match (role, &message.tool_call_id) {
        (Role::Tool, Some(id)) if called.contains(id) => {}
        (Role::Tool, _) => {
            return Err(wrong(".tool_call_id", "it must name a call that a message before it has wanted".into()));
        }
        (_, Some(_)) => return Err(wrong(".tool_call_id", "only a `tool` answers a call".into())),
        (_, None) => {}
    }
    let content = match message.content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => parts.into_iter().map(|Part::Text { text }| text).collect(),
        None if !calls.is_empty() => String::new(),
        None => return Err(wrong(".content", "it says nothing".into())),
    };
    Ok(ChatMessage { calls, ..ChatMessage::new(role, content) })
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
    let offered = Offered::read(chat.tools, chat.tool_choice, chat.parallel_tool_calls)?;
    let logprobs = match (chat.logprobs, chat.top_logprobs) {
        (Some(true), most) => Some(most.unwrap_or_default()),
        (_, Some(1..)) => {
            return Err(Refusal::invalid(Some("top_logprobs"), "`top_logprobs` goes with `logprobs: true`"));
        }
        _ => None,
    };
    let most = chat.max_completion_tokens.or(shared.max_tokens).unwrap_or(ANY);
    let mut called = BTreeSet::new();
    let messages = messages(chat.messages, &mut called)?;
    if (offered.is_some() || !called.is_empty()) && !model.knows_tools() {
        let hint = if model.is_upstream() {
            "they are not passed on to an upstream"
        } else {
            "the chat template of this model has none; `response_format` makes an answer JSON"
        };
        return Err(Refusal::unsupported("tools", hint));
    }
    let mut format = chat.response_format.and_then(ResponseFormat::format);
    let prompt = match &offered {
        None => Prompt::Chat(messages),
        Some(offered) => {
            if let Some(held) = offered.format()? {
                if format.is_some() {
                    let why = "an answer that must be a call has no `response_format` beside it";
                    return Err(Refusal::invalid(Some("response_format"), why));
                }
                format = Some(held);
            }
            offered.prompt(messages)
        }
    };
    let mut request = Request::new(prompt, shared.sampling(most, logprobs)?);
    (request.format, request.within, request.adapter) = (format, Some(WITHIN), adapter);
    let (created, delivered) = (http.clock.now().as_second(), shared.delivered());
    answers::answer(model, request, &FORM, Head::new(&FORM, created, shared.model), (delivered, offered)).await
}
