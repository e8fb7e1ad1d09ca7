//! What the model is asked, and what it answers.

use serde::{Deserialize, Serialize};

use super::error::ModelError;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What they say. It is data: a special token written out in it is not read as one.
    pub content: String,
}

impl ChatMessage {
    /// What the model is told about its work.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// What the model is asked.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// What the model has answered before.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    /// As chat templates write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// How the next token is chosen, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// 0 always takes the likeliest token; 1 draws as the model says; 0 to 5.
    pub temperature: f32,
    /// Draws among this many of the likeliest only; 0 among all.
    pub top_k: usize,
    /// Draws among the likeliest that hold this much of the probability together; above 0, at most 1.
    pub top_p: f32,
    /// Above 1 makes what is in prompt and answer already less likely; above 0, at most 5.
    pub repetition_penalty: f32,
    /// The same seed, prompt and model give the same answer.
    pub seed: u64,
    /// Tokens to write at most; the settings' own cap holds beside it.
    pub max_tokens: usize,
    /// Texts that end the answer and are not part of it: at most 16 of at most 256 bytes.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    /// Greedy, up to 256 tokens.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            seed: 0,
            max_tokens: 256,
            stop: Vec::new(),
        }
    }
}

impl Sampling {
    /// Whether every number is within its range.
    ///
    /// # Errors
    /// [`ModelError::Request`] with the first that is not.
    pub fn check(&self) -> Result<(), ModelError> {
        let no = |what: &str| Err(ModelError::Request(what.to_owned()));
        if !(0.0..=5.0).contains(&self.temperature) {
            return no("`temperature` must be from 0 to 5");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return no("`top_p` must be above 0 and at most 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty <= 5.0) {
            return no("`repetition_penalty` must be above 0 and at most 5");
        }
        if self.max_tokens == 0 {
            return no("`max_tokens` must be at least 1");
        }
        if self.stop.len() > 16 || self.stop.iter().any(|text| text.is_empty() || text.len() > 256) {
            return no("`stop` takes at most 16 texts of 1 to 256 bytes");
        }
        Ok(())
    }
}

/// What the model is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The conversation so far.
    pub messages: Vec<ChatMessage>,
    /// How to answer.
    #[serde(default)]
    pub sampling: Sampling,
}

/// Why the model stopped writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// It was done, or wrote a stop text.
    Stop,
    /// It wrote as many tokens as it might.
    Length,
    /// Nobody waits for it any more.
    Cancelled,
}

/// What the model has written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// The text, exactly as it was streamed.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// Tokens written, end token included.
    pub completion_tokens: usize,
    /// SHA-256 in hex, 32 digits kept, of the prompt as the model saw it.
    pub prompt_digest: String,
}
