//! Held to a form: after every token, only tokens that the form allows may follow.
//!
//! The form (a JSON Schema, a regular expression, a list of texts) becomes a grammar over the vocabulary's bytes; the
//! work is llguidance's. A form that is not understood, that nothing can satisfy or that is too large is refused before
//! anything is written. An answer that is not complete when its tokens are used up is an error, never cut.
//!
//! JSON is written on one line with one space after `:` and `,`: a small model that may add blanks adds nothing else.

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Logger, Matcher, ParserFactory};
use serde_json::{Value as Json, json};

use super::error::ModelError;
use super::request::Format;

/// A schema's text, and a regular expression's.
const LARGEST_SCHEMA_BYTES: usize = 64 << 10;
const LARGEST_REGEX_BYTES: usize = 4 << 10;

/// Objects and lists within each other in a schema.
const DEEPEST_SCHEMA: usize = 64;

/// Texts to choose from, and bytes of all of them.
const MOST_CHOICES: usize = 2000;
const LARGEST_CHOICES_BYTES: usize = 64 << 10;

/// How forms are made for one model.
pub(crate) struct Forms(ParserFactory);

/// An answer's form, and how far the answer is.
pub(crate) struct Form(Matcher);

impl Forms {
    /// For a vocabulary of these words, of which `end` ends an answer.
    pub(crate) fn new(words: &[Vec<u8>], end: u32) -> Result<Self, ModelError> {
        let size = u32::try_from(words.len()).unwrap_or(u32::MAX);
        let trie = TokTrie::from(&TokRxInfo::new(size, end), words);
        let environment: TokEnv = std::sync::Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment)
            .map_err(|error| ModelError::Failed(format!("its vocabulary cannot be held to a form: {error}")))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self(factory))
    }

    /// Makes a form.
    pub(crate) fn make(&self, format: &Format) -> Result<Form, ModelError> {
        let no = |why: String| ModelError::Request(format!("`format` cannot be followed: {why}"));
        let parser = self.0.create_parser_from_init_ext(
            llguidance::api::GrammarInit::Serialized(grammar(format).map_err(no)?),
            Logger::new(0, 0),
            InferenceCapabilities::default(),
            limits(),
        );
        let mut matcher = Matcher::new(parser);
        // The first mask says whether there is any way to begin.
        match matcher.compute_mask() {
            Ok(mask) if !mask.is_zero() => Ok(Form(matcher)),
            Ok(_) => Err(no("nothing satisfies it".into())),
            Err(error) => Err(no(on_one_line(&error.to_string()))),
        }
    }
}

/// Bounds on what one form may cost: some tens of milliseconds to make, a few a token.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        max_lexer_states: 50_000,
        max_grammar_size: 100_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// Whether a schema is small enough to be followed.
pub(crate) fn bounded(schema: &Json) -> Result<(), String> {
    if schema.to_string().len() > LARGEST_SCHEMA_BYTES {
        return Err(format!("the schema has more than {LARGEST_SCHEMA_BYTES} bytes"));
    }
    if deeper_than(schema, DEEPEST_SCHEMA) {
        return Err(format!("the schema is more than {DEEPEST_SCHEMA} levels deep"));
    }
    Ok(())
}

fn grammar(format: &Format) -> Result<TopLevelGrammar, String> {
    match format {
        Format::Json(schema) => {
            bounded(schema)?;
            let mut schema = match schema {
                Json::Object(_) => schema.clone(),
                Json::Bool(_) => json!({ "allOf": [schema] }),
                _ => return Err("the schema is no object".into()),
            };
            // Ours, whatever the schema says: it is somebody's input.
            schema["x-guidance"] =
                json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
            Ok(TopLevelGrammar::from_json_schema(schema))
        }
        Format::Regex(pattern) => {
            if pattern.len() > LARGEST_REGEX_BYTES {
                return Err(format!("the expression has more than {LARGEST_REGEX_BYTES} bytes"));
            }
            Ok(TopLevelGrammar::from_regex(pattern))
        }
        Format::Choice(texts) => {
            let bytes: usize = texts.iter().map(String::len).sum();
            if texts.is_empty() || texts.len() > MOST_CHOICES || bytes > LARGEST_CHOICES_BYTES {
                return Err(format!(
                    "there must be 1 to {MOST_CHOICES} texts to choose from, of at most {LARGEST_CHOICES_BYTES} bytes together"
                ));
            }
            if let Some(text) = texts.iter().find(|text| text.is_empty() || text.contains(char::is_control)) {
                return Err(format!("{text:?} cannot be chosen: it is empty or has a control character"));
            }
            let all: Vec<String> = texts.iter().map(|text| literal(text)).collect();
            Ok(TopLevelGrammar::from_regex(&format!("({})", all.join("|"))))
        }
    }
}

/// A regular expression that matches exactly this text.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

fn deeper_than(value: &Json, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else { return true };
    match value {
        Json::Array(items) => items.iter().any(|item| deeper_than(item, left)),
        Json::Object(fields) => fields.values().any(|field| deeper_than(field, left)),
        _ => false,
    }
}

/// What is wrong, on one line: the pictures of regular expressions have several.
fn on_one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}

impl Form {
    /// Makes every token impossible that must not follow.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), ModelError> {
        let mask = self.0.compute_mask().map_err(failed)?;
        for (logits, allowed) in logits.chunks_mut(32).zip(mask.as_slice().iter().chain(std::iter::repeat(&0))) {
            if *allowed != u32::MAX {
                let forbidden = logits.iter_mut().enumerate().filter(|(bit, _)| allowed >> bit & 1 == 0);
                forbidden.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
            }
        }
        Ok(())
    }

    /// Takes in what was chosen; whether the answer is complete, so that nothing can follow.
    pub(crate) fn take(&mut self, token: u32) -> Result<bool, ModelError> {
        self.0.consume_token(token).map_err(failed)?;
        Ok(self.0.is_stopped())
    }

    /// Another answer at the same point.
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.deep_clone())
    }
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Failed(format!("the answer's form could not be followed: {}", on_one_line(&error.to_string())))
}
