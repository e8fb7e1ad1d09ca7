//! What goes over the wire, in the form of OpenAI's API: a request's body, and the parts of an answer.

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::models::error::ModelError;
use crate::models::form::bounded;
use crate::models::request::{Format, Prompt, Sampling};

/// The body of a request, and the path that it goes to below the upstream's address.
///
/// What that API has no word for and other servers have (`top_k`, `min_p`, `repetition_penalty`) is sent only where
/// it is asked for; what none of them can do is refused.
pub(super) fn body(
    model: &str,
    prompt: &Prompt,
    sampling: &Sampling,
    format: Option<&Format>,
    most: usize,
) -> Result<(&'static str, Json), ModelError> {
    let no = |what: &str| Err(ModelError::Request(format!("an upstream is not asked for {what}")));
    if sampling.beams > 1 {
        return no("`beams`");
    }
    if sampling.logprobs.is_some() {
        return no("`logprobs`");
    }
    let mut body = Map::new();
    body.insert("model".into(), json!(model));
    let path = match prompt {
        Prompt::Chat(messages) => {
            let message = |it: &crate::models::ChatMessage| json!({ "role": it.role.as_str(), "content": it.content });
            body.insert("messages".into(), messages.iter().map(message).collect());
            "chat/completions"
        }
        Prompt::WithTools { .. } => return no("`tools`"),
        Prompt::Text(text) => {
            body.insert("prompt".into(), json!(text));
            "completions"
        }
    };
    body.insert("max_tokens".into(), json!(sampling.max_tokens.min(most)));
    body.insert("temperature".into(), json!(rounded(sampling.temperature)));
    let usual = Sampling::default();
    let mut unless = |is_usual: bool, name: &str, value: Json| {
        if !is_usual {
            body.insert(name.into(), value);
        }
    };
    // Who draws nothing needs no seed, and not every server knows of one.
    unless(sampling.temperature == 0.0, "seed", json!(sampling.seed & (i64::MAX as u64)));
    unless(sampling.top_p == usual.top_p, "top_p", json!(rounded(sampling.top_p)));
    unless(sampling.top_k == usual.top_k, "top_k", json!(sampling.top_k));
    unless(sampling.min_p == usual.min_p, "min_p", json!(rounded(sampling.min_p)));
    let penalty = sampling.repetition_penalty;
    unless(penalty == usual.repetition_penalty, "repetition_penalty", json!(rounded(penalty)));
    unless(sampling.n == 1, "n", json!(sampling.n));
    unless(sampling.stop.is_empty(), "stop", json!(sampling.stop));
    if let Some(Format::Json(schema)) = format {
        bounded(schema).map_err(|why| ModelError::Request(format!("`format` cannot be followed: {why}")))?;
        let held = json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } });
        body.insert("response_format".into(), held);
    }
    // Nothing of what must have a form can be told before it is complete and was looked at.
    if format.is_none() {
        body.insert("stream".into(), json!(true));
        body.insert("stream_options".into(), json!({ "include_usage": true }));
    }
    Ok((path, Json::Object(body)))
}

/// As people wrote it: 0.7 as a float of 32 bits is 0.699999988.
fn rounded(number: f32) -> f64 {
    (f64::from(number) * 1e6).round() / 1e6
}

/// A whole answer, or a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Usage>,
    /// What went wrong in the middle of a stream.
    pub(super) error: Option<Json>,
}

/// One of the answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    pub(super) index: usize,
    delta: Option<Message>,
    message: Option<Message>,
    text: Option<String>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Option<String>,
}

impl Choice {
    /// What it says.
    pub(super) fn text(&self) -> &str {
        let message = self.delta.as_ref().or(self.message.as_ref()).and_then(|message| message.content.as_deref());
        message.or(self.text.as_deref()).unwrap_or_default()
    }
}

/// What it took.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) prompt_tokens: usize,
    pub(super) completion_tokens: usize,
    pub(super) prompt_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub(super) cached_tokens: Option<usize>,
}

/// What an error says, on one line and without the key that the server was shown; nothing where it says nothing that can
/// be read.
pub(super) fn said(error: &Json, key: Option<&str>) -> String {
    let candidates = [&error["error"]["message"], &error["error"], &error["message"], &error["detail"], error];
    let text = candidates.into_iter().find_map(Json::as_str).unwrap_or_default();
    let text = match key.filter(|key| !key.is_empty()) {
        Some(key) => text.replace(key, "•••"),
        None => text.to_owned(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|letter| !letter.is_control()).take(300).collect()
}
