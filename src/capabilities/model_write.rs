//! `model.write`: has the language model write a text, and holds it to the policy before anybody gets it.
//!
//! What customers wrote may stand in the prompt: it is data. Whatever the model makes of it, only the policy lets a
//! text out, and the policy's facts are typed fields, never free text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::catalogues::Catalogues;
use super::held_text::{Bad, BrokenOff, Good, HeldTo, Showing, customers_language, rules_shape, what_to_mend};
use super::{asked_model, read};
use crate::domain::{Attempt, Capability, Example, Failure, Kind, Shape, Spec, Verdict};
use crate::models::policy::Policy;
use crate::models::{Again, ChatMessage, Class, Model, ModelError, Models, Prompt, Request, Sampling};

pub(super) struct ModelWrite {
    spec: Spec,
    models: Models,
    catalogues: Arc<Catalogues>,
}

#[derive(Deserialize)]
struct Input {
    prompt: String,
    #[serde(default)]
    policy: Vec<Policy>,
    language: Option<String>,
    max_tokens: Option<usize>,
    temperature: Option<f32>,
    seed: Option<u64>,
    model: Option<String>,
    adapter: Option<String>,
}

impl ModelWrite {
    pub(super) fn new(models: Models, catalogues: Arc<Catalogues>) -> Self {
        let mut prompt = Shape::text(8000, "What to write, for whom, and what is known.");
        prompt["minLength"] = json!(1);
        let temperature = json!({ "type": "number", "minimum": 0, "maximum": 5,
            "description": "0 writes the likeliest words, 1 draws them as the model says. Default: 0." });
        let spec = Spec {
            doc: "Has the language model write a text. One that breaks the policy, or is not in the customer's language, \
                  is written once more, with the reason given to the model; a second one is held back: \
                  `on_violation` says what happens then.",
            input: Shape::object(
                &["prompt"],
                &[
                    ("prompt", prompt),
                    ("policy", rules_shape("What the text is held to")),
                    (
                        "language",
                        Shape::text(35, "BCP 47. Default: the message's, else the customer's, else the shop's first."),
                    ),
                    (
                        "max_tokens",
                        Shape::whole(1, 2048, "Tokens to write at most; a word is one or two. Default: 256."),
                    ),
                    ("temperature", temperature),
                    ("adapter", Shape::text(64, "The model's adapter to write with. Default: none.")),
                    (
                        "seed",
                        Shape::whole(
                            0,
                            i64::MAX,
                            "The same seed draws the same words. Default: one of the call's own.",
                        ),
                    ),
                    ("model", asked_model::shape(&models)),
                ],
            ),
            output: Shape::object(
                &["text"],
                &[
                    ("text", Shape::text(100_000, "What the model wrote.")),
                    (
                        "cut",
                        Shape::flag("Whether it reached `max_tokens`; its last, unfinished sentence is left out then."),
                    ),
                    (
                        "repaired",
                        Shape::flag("Whether a first text broke the policy, and this one was written in its place."),
                    ),
                    ("model", asked_model::recorded()),
                    ("seed", Shape::whole(0, i64::MAX, "The seed it drew with.")),
                    ("prompt_digest", asked_model::prompt_digest()),
                    ("adapter", Shape::text(200, "The adapter it wrote with: `NAME@DIGEST`, of its file.")),
                    ("prompt_tokens", Shape::whole(0, i64::MAX, "Tokens read.")),
                    ("completion_tokens", Shape::whole(0, i64::MAX, "Tokens written.")),
                ],
            ),
            example: Example {
                input: json!({ "prompt": "Thank Ana for order #1042 in two sentences.",
                               "policy": ["given_facts_only", { "max_chars": 600 }], "language": "en" }),
                answer: json!({ "text": "Dear Ana, thank you for your order #1042.", "cut": false, "repaired": false,
                                "model": "demo@3fa41c0b9d2e4f60a1b2c3d4e5f60718", "seed": 7,
                                "prompt_digest": "9f86d081884c7d659a2feaa0c55ad015", "prompt_tokens": 61, "completion_tokens": 14 }),
            },
            deadline: Duration::from_secs(180),
            ..Spec::of("model.write", Kind::Read)
        };
        Self { spec, models, catalogues }
    }

    async fn write(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let known = asked_model::find(&self.models, input.model.as_deref())?;
        let model = &known.model;
        let language = input.language.clone().or_else(|| customers_language(attempt));
        if let Some(language) = &language
            && !writes(&known.languages, language)
        {
            let name = model.name();
            let setting = if model.is_upstream() { format!("upstreams.{name}.languages") } else { "languages".into() };
            let message = format!("the model {name} does not write `{language}` (`model.{setting}`)");
            return Err(Verdict::refused("policy_violation", message));
        }
        let seed = input.seed.unwrap_or_else(|| seed(&attempt.key));
        let usual = Sampling::default();
        let mut messages = vec![
            ChatMessage::system(instructions(&attempt.shop.display_name, language.as_deref())),
            ChatMessage::user(input.prompt),
        ];
        let began = Instant::now();
        let request = |messages: &[ChatMessage]| Request {
            prompt: Prompt::Chat(messages.to_vec()),
            sampling: Sampling {
                temperature: input.temperature.unwrap_or(usual.temperature),
                max_tokens: input.max_tokens.unwrap_or(usual.max_tokens),
                seed,
                ..usual.clone()
            },
            format: None,
            class: Class::Rule,
            shop: attempt.shop.id.to_string(),
            within: Some(self.spec.deadline.saturating_sub(began.elapsed())),
            adapter: input.adapter.clone(),
        };
        let held = HeldTo::new(input.policy, language, attempt, &self.catalogues).await?;
        let adapter = model.adapters().into_iter().find(|(name, _)| input.adapter.as_deref() == Some(*name));
        let record = |of: &Written| {
            let mut record = json!({
                "model": model.full_name(), "seed": seed, "prompt_digest": of.prompt_digest,
                "prompt_tokens": of.prompt_tokens, "completion_tokens": of.completion_tokens,
            });
            if let Some((name, digest)) = adapter {
                record["adapter"] = json!(format!("{name}@{digest}"));
            }
            record
        };
        let first = written(model, request(&messages), attempt, (&held, AtFault::Stop)).await;
        let first = first.map_err(NotWritten::verdict)?;
        let bad = match &first.judged {
            Ok(good) => return Ok(Verdict::Done(with(record(&first), good, false))),
            Err(bad) => bad,
        };
        // Once, and told why: a small model often leaves out what it is told to.
        messages.push(ChatMessage::assistant(bad.text.as_str()));
        messages.push(ChatMessage::user(what_to_mend(bad)));
        let (failure, of) = match written(model, request(&messages), attempt, (&held, AtFault::GoOn)).await {
            Ok(again) => {
                let all = first.and(again);
                match &all.judged {
                    Ok(good) => return Ok(Verdict::Done(with(record(&all), good, true))),
                    Err(again) => (again.failure(Some(bad)), record(&all)),
                }
            }
            // It had no room or no time for a second one.
            Err(NotWritten::Model(
                ModelError::PromptTooLong { .. } | ModelError::Request(_) | ModelError::TooLate { .. },
            )) => (bad.failure(None), record(&first)),
            Err(other) => return Err(other.verdict()),
        };
        // What was held back is on record as well, with what made it.
        Err(Verdict::Refused(recorded(failure, of)))
    }
}

/// The answer: the text, and how it came about.
fn with(mut record: Json, good: &Good, repaired: bool) -> Json {
    record["text"] = json!(good.text);
    record["cut"] = json!(good.cut);
    record["repaired"] = json!(repaired);
    record
}

fn recorded(mut failure: Failure, record: Json) -> Failure {
    if let (Some(detail), Json::Object(record)) = (failure.detail.as_object_mut(), record) {
        detail.extend(record);
    }
    failure
}

/// A text that was written and judged, and what it took.
struct Written {
    judged: Result<Good, Bad>,
    prompt_digest: String,
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl Written {
    /// The second one, with what both took.
    fn and(&self, second: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + second.prompt_tokens,
            completion_tokens: self.completion_tokens + second.completion_tokens,
            ..second
        }
    }
}

/// Why there is no text to judge.
enum NotWritten {
    Model(ModelError),
    BrokenOff,
}

impl NotWritten {
    fn verdict(self) -> Verdict {
        match self {
            Self::Model(error) => not_answered(error),
            Self::BrokenOff => Verdict::RetryAfter(None, "writing was broken off".into()),
        }
    }
}

/// What is done at the first sentence that may not go out.
#[derive(Clone, Copy, PartialEq)]
enum AtFault {
    /// The writing ends there: the text is written anew.
    Stop,
    /// It goes on to the end, unseen: a person may be asked about the whole text.
    GoOn,
}

/// Has one text written and judged.
async fn written(
    model: &Model,
    request: Request,
    attempt: &Attempt,
    (held, at_fault): (&HeldTo, AtFault),
) -> Result<Written, NotWritten> {
    let enough = attempt.cancelled.child_token();
    let mut showing = Showing::new(held, attempt.watch.clone());
    let show = |piece: &str| {
        if !showing.take(piece) && at_fault == AtFault::Stop {
            enough.cancel();
        }
    };
    let written = model.generate(request, &enough, show).await.map_err(NotWritten::Model)?;
    let given_up = match at_fault {
        AtFault::Stop => showing.bad(),
        AtFault::GoOn => None,
    };
    let judged = match given_up {
        Some(bad) => Err(bad),
        None => held.judge(&written).map_err(|BrokenOff| NotWritten::BrokenOff)?,
    };
    match &judged {
        Ok(good) => showing.finish(good),
        Err(_) => showing.anew(),
    }
    Ok(Written {
        judged,
        prompt_digest: written.prompt_digest,
        prompt_tokens: written.prompt_tokens,
        completion_tokens: written.completion_tokens,
    })
}

#[async_trait]
impl Capability for ModelWrite {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        self.write(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}

/// The same for every call: what the model is told about its work.
fn instructions(shop: &str, language: Option<&str>) -> String {
    let language = language.map_or_else(String::new, |language| format!(" Write in the language `{language}`."));
    format!(
        "You write for the online shop {shop}. Answer with nothing but the text that the customer will read.{language} \
         State only facts that you are given; invent no numbers, dates, links or names. Promise nothing."
    )
}

/// Whether a model of these languages writes this one: by the language itself, whatever the region or script.
fn writes(languages: &[String], wanted: &str) -> bool {
    let primary = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    languages.is_empty() || languages.iter().any(|language| primary(language) == primary(wanted))
}

/// The call's own seed: every attempt draws alike. It fits in JSON's integers.
fn seed(key: &str) -> u64 {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().take(6).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// What a call comes to that a model has not answered.
pub(super) fn not_answered(error: ModelError) -> Verdict {
    match error {
        ModelError::QueueFull { retry_after, .. } | ModelError::Upstream { again: Again::After(retry_after), .. } => {
            Verdict::RetryAfter(Some(retry_after), error.to_string())
        }
        ModelError::Failed(_)
        | ModelError::Stopped
        | ModelError::TooLate { .. }
        | ModelError::Upstream { again: Again::Later, .. } => Verdict::RetryAfter(None, error.to_string()),
        ModelError::NotInForm { .. } => Verdict::refused("invalid_answer", error.to_string()),
        ModelError::Unfinished { .. } => Verdict::refused("length", error.to_string()),
        ModelError::PromptTooLong { .. } => Verdict::refused("prompt_too_long", error.to_string()),
        ModelError::Request(_) => Verdict::refused("invalid_input", error.to_string()),
        _ => Verdict::refused("no_model", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_calls_own_and_exact_in_json() {
        assert_eq!(seed("run_1/a"), seed("run_1/a"));
        assert_ne!(seed("run_1/a"), seed("run_1/b"));
        assert!(seed("run_1/a") < 1 << 53);
    }

    #[test]
    fn a_busy_model_is_asked_again_and_a_missing_one_is_not() {
        let busy = ModelError::QueueFull { waiting: 4, retry_after: Duration::from_secs(3) };
        assert!(matches!(not_answered(busy), Verdict::RetryAfter(Some(wait), _) if wait == Duration::from_secs(3)));
        let long = not_answered(ModelError::PromptTooLong { tokens: 9000, context: 8192 });
        assert!(matches!(long, Verdict::Refused(failure) if failure.code == "prompt_too_long"));
        assert!(matches!(not_answered(ModelError::Stopped), Verdict::RetryAfter(None, _)));
    }
}
