//! An upstream's answer while it comes: what may be told of it, and whether it is what was asked for.

use serde_json::{Value as Json, json};

use super::wire::{Part, Usage};
use crate::domain::validate;
use crate::models::request::{Choice, Finish, Format, Generated, Sampling};
use crate::models::stream::StopTexts;

/// All answers together, in bytes: more than any model writes that is asked from here.
const LARGEST_TEXT: usize = 2 << 20;

/// The answers to one request.
pub(super) struct Answer {
    choices: Vec<Writing>,
    usage: Option<Usage>,
    bytes: usize,
}

struct Writing {
    text: String,
    stops: StopTexts,
    finish: Option<Finish>,
}

impl Answer {
    /// Nothing of it has come.
    pub(super) fn new(sampling: &Sampling) -> Self {
        let writing = || Writing { text: String::new(), stops: StopTexts::new(&sampling.stop), finish: None };
        Self { choices: (0..sampling.n).map(|_| writing()).collect(), usage: None, bytes: 0 }
    }

    /// Takes in a whole answer or a piece of one; what may be told of the first.
    ///
    /// # Errors
    /// Why it is no answer to what was asked.
    pub(super) fn take(&mut self, part: &Part) -> Result<String, String> {
        self.usage = part.usage.or(self.usage);
        let mut told = String::new();
        for choice in &part.choices {
            let wanted = self.choices.len();
            let Some(writing) = self.choices.get_mut(choice.index) else {
                return Err(format!("gave answer {}, where {wanted} were asked for", choice.index + 1));
            };
            self.bytes += choice.text().len();
            if self.bytes > LARGEST_TEXT {
                return Err(format!("wrote more than {LARGEST_TEXT} bytes"));
            }
            let text = writing.take(choice.text(), choice.finish_reason.as_deref())?;
            if choice.index == 0 {
                told.push_str(&text);
            }
        }
        Ok(told)
    }

    /// Whether all answers are over.
    pub(super) fn is_over(&self) -> bool {
        self.choices.iter().all(|writing| writing.finish.is_some())
    }

    /// What it took, where that was told.
    pub(super) fn usage(&self) -> Usage {
        self.usage.unwrap_or_default()
    }

    /// Whether an answer was ended by its length.
    pub(super) fn is_cut(&self) -> bool {
        self.choices.iter().any(|writing| writing.finish == Some(Finish::Length))
    }

    /// Looks whether the answers have the form that was asked for. The text of a choice becomes the one that was given.
    ///
    /// # Errors
    /// Where one has not.
    pub(super) fn hold_to(&mut self, format: &Format) -> Result<(), String> {
        for writing in &mut self.choices {
            match format {
                Format::Json(schema) => {
                    let answer: Json =
                        serde_json::from_str(&writing.text).map_err(|error| format!("it is no JSON: {error}"))?;
                    validate(schema, &answer)?;
                }
                // As a schema, so that one hand decides what an expression matches.
                Format::Regex(pattern) => {
                    let schema = json!({ "type": "string", "pattern": format!("^(?:{pattern})$") });
                    validate(&schema, &json!(writing.text))?;
                }
                Format::Choice(texts) => match texts.iter().find(|text| text.as_str() == writing.text.trim()) {
                    Some(text) => writing.text.clone_from(text),
                    None => return Err("it is none of the texts to choose from".into()),
                },
            }
        }
        Ok(())
    }

    /// The answers as they stand. One that is not over was given up.
    pub(super) fn generated(self, prompt_digest: String) -> Generated {
        let usage = self.usage();
        let mut choices: Vec<Choice> = self
            .choices
            .into_iter()
            .map(|writing| Choice {
                text: writing.text,
                finish: writing.finish.unwrap_or(Finish::Cancelled),
                completion_tokens: 0,
                logprobs: Vec::new(),
            })
            .collect();
        let others = choices.split_off(choices.len().min(1));
        let first = choices.pop().unwrap_or_else(|| Choice::nothing(Finish::Cancelled));
        Generated {
            text: first.text,
            finish: first.finish,
            logprobs: Vec::new(),
            others,
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.prompt_tokens_details.and_then(|it| it.cached_tokens).unwrap_or_default(),
            completion_tokens: usage.completion_tokens,
            prompt_digest,
        }
    }
}

impl Writing {
    /// More of it, and perhaps its end; what may be told. The server has been told of the stop texts, and yet they are
    /// looked for: nobody else promises that none gets through.
    fn take(&mut self, text: &str, finish: Option<&str>) -> Result<String, String> {
        if self.finish.is_some() {
            return Ok(String::new());
        }
        let (mut told, stopped) = self.stops.push(text);
        let finish = match finish {
            _ if stopped => Some(Finish::Stop),
            None => None,
            Some("stop") => Some(Finish::Stop),
            Some("length") => Some(Finish::Length),
            Some("content_filter") => return Err("held its answer back (`content_filter`)".into()),
            Some(other) => {
                let other: String = other.chars().filter(|letter| !letter.is_control()).take(40).collect();
                return Err(format!("ended its answer by `{other}`"));
            }
        };
        if finish.is_some() && !stopped {
            told.push_str(&self.stops.finish());
        }
        self.text.push_str(&told);
        self.finish = finish;
        Ok(told)
    }
}
