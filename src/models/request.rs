//! What the model is asked, and what it answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::error::ModelError;
use super::tools::{Tool, ToolCall};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What they say. It is data: a special token written out in it is not read as one.
    pub content: String,
    /// The calls of tools that the model has wanted with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
}

impl ChatMessage {
    /// What `role` says.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), calls: Vec::new() }
    }

    /// What the model is told about its work.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// What the model is asked.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// What the model has answered before.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
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
    /// What a tool has answered.
    Tool,
}

impl Role {
    /// As chat templates write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
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
    /// Draws among those only that are at least this likely, as a part of the likeliest's probability; 0 to 1.
    pub min_p: f32,
    /// Above 1 makes what is in prompt and answer already less likely; above 0, at most 5.
    pub repetition_penalty: f32,
    /// The same seed, prompt and model give the same answer.
    pub seed: u64,
    /// Tokens to write at most; the settings' own cap holds beside it.
    pub max_tokens: usize,
    /// Texts that end the answer and are not part of it: at most 16 of at most 256 bytes.
    pub stop: Vec<String>,
    /// How many answers are wanted. Drawn ones have a seed each, so that greedy ones are all the same; of a search
    /// they are the best.
    pub n: usize,
    /// Above 1 searches with so many beams for the likeliest answers, in place of drawing; up to `model.rows`.
    pub beams: usize,
    /// How a search compares answers of different lengths: by their log-probability divided by their tokens to the
    /// power of this. -5 to 5.
    pub length_penalty: f32,
    /// Tells the log-probability of each token, and this many of the likeliest in its place; at most 20.
    pub logprobs: Option<usize>,
}

impl Default for Sampling {
    /// Greedy, up to 256 tokens.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            max_tokens: 256,
            stop: Vec::new(),
            n: 1,
            beams: 1,
            length_penalty: 1.0,
            logprobs: None,
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
        if !(0.0..=1.0).contains(&self.min_p) {
            return no("`min_p` must be from 0 to 1");
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
        if self.n == 0 || self.beams == 0 {
            return no("`n` and `beams` must be at least 1");
        }
        if self.logprobs.is_some_and(|most| most > 20) {
            return no("`logprobs` must be at most 20");
        }
        if self.beams > 1 {
            if self.n > self.beams {
                return no("`n` must not be more than `beams`");
            }
            if self.temperature != 0.0 || self.logprobs.is_some() || self.repetition_penalty != 1.0 {
                return no("`beams` go with neither `temperature`, `repetition_penalty` nor `logprobs`");
            }
            if !(-5.0..=5.0).contains(&self.length_penalty) {
                return no("`length_penalty` must be from -5 to 5");
            }
        }
        Ok(())
    }

    /// Rows that the model needs for it at the same time.
    pub(crate) fn rows(&self) -> usize {
        if self.beams > 1 { self.beams } else { self.n }
    }
}

/// On whose account the model is asked: who is served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for the words to appear.
    #[default]
    Person,
    /// A rule's run.
    Rule,
    /// Work that can wait: backtests, reruns, benchmarks.
    Batch,
}

impl Class {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;
}

/// What the model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, put into the model's own form by its chat template.
    Chat(Vec<ChatMessage>),
    /// A conversation in which the model may want tools called.
    WithTools {
        /// What was said.
        messages: Vec<ChatMessage>,
        /// What there is.
        tools: Vec<Tool>,
        /// Whether it must: its answer begins as a call does, and is no more than the JSON of one.
        must: bool,
    },
    /// A text that the model goes on with. It is data as well.
    Text(String),
}

impl From<Vec<ChatMessage>> for Prompt {
    fn from(messages: Vec<ChatMessage>) -> Self {
        Self::Chat(messages)
    }
}

/// What an answer must look like. It then looks so, or the request fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// JSON that this JSON Schema allows, on one line.
    Json(Json),
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
}

/// What the model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What it reads.
    pub prompt: Prompt,
    /// How to answer.
    pub sampling: Sampling,
    /// What the answer must look like; anything where nothing is said. Goes without `stop`.
    pub format: Option<Format>,
    /// On whose account.
    pub class: Class,
    /// The shop on whose account, by its id; empty where it is none's. Shops take turns.
    pub shop: String,
    /// How long it may take, waiting included.
    pub within: Option<Duration>,
    /// The model's adapter to answer with, by name; the model as it is where none is named.
    pub adapter: Option<String>,
}

impl Request {
    /// A person's request, of no shop, with as much time as it takes.
    pub fn new(prompt: impl Into<Prompt>, sampling: Sampling) -> Self {
        let prompt = prompt.into();
        let (class, shop) = (Class::Person, String::new());
        Self { prompt, sampling, format: None, class, shop, within: None, adapter: None }
    }
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

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens written, end token included.
    pub completion_tokens: usize,
    /// Its tokens but for the end, where their log-probabilities were asked for.
    pub logprobs: Vec<TokenChance>,
}

/// A token that was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenChance {
    /// It.
    pub token: TokenBytes,
    /// The likeliest tokens in its place, the likeliest first; it need not be one of them.
    pub likeliest: Vec<TokenBytes>,
}

/// A token with its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenBytes {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What it stands for: perhaps no whole character.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

impl Choice {
    /// An answer that was not begun.
    pub(crate) fn nothing(finish: Finish) -> Self {
        Self { text: String::new(), finish, completion_tokens: 0, logprobs: Vec::new() }
    }
}

/// What the model has written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// The text, exactly as it was streamed.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Its tokens, where their log-probabilities were asked for.
    pub logprobs: Vec<TokenChance>,
    /// The other answers, where more than one was wanted.
    pub others: Vec<Choice>,
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// Those of them that needed no reading: an earlier prompt began with them.
    pub cached_tokens: usize,
    /// Tokens written, end tokens included, of all answers.
    pub completion_tokens: usize,
    /// SHA-256 in hex, 32 digits kept, of the prompt as the model saw it.
    pub prompt_digest: String,
}
