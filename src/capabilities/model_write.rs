//! `model.write`: has the language model write a text, and holds it to the policy before anybody gets it.
//!
//! What customers wrote may stand in the prompt: it is data. Whatever the model makes of it, only the policy lets a
//! text out, and the policy's facts are typed fields, never free text.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::read;
use crate::domain::{Attempt, Capability, Example, Facts, Failure, Kind, Shape, Spec, Verdict};
use crate::models::policy::{self, GivenFacts, Policy};
use crate::models::{ChatMessage, Class, Finish, Generated, Model, ModelError, Prompt, Request, Sampling};

pub(super) struct ModelWrite {
    spec: Spec,
    model: Option<Model>,
    /// Languages that the model writes; empty: any.
    languages: Vec<String>,
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
    adapter: Option<String>,
}

impl ModelWrite {
    pub(super) fn new(model: Option<Model>, languages: Vec<String>) -> Self {
        let words = [Policy::GivenFactsOnly, Policy::NoRefundPromise, Policy::Language, Policy::ChinaAdvertisingLaw];
        let words = words.map(|policy| policy.name());
        let rule = json!({ "anyOf": [
            { "enum": words },
            { "type": "object", "properties": { "max_chars": { "type": "integer", "minimum": 1 } },
              "required": ["max_chars"], "additionalProperties": false },
            { "type": "object", "properties": { "never_say": { "type": "array", "maxItems": 100,
                "items": { "type": "string", "minLength": 1, "maxLength": 100 } } },
              "required": ["never_say"], "additionalProperties": false },
        ] });
        let mut prompt = Shape::text(8000, "What to write, for whom, and what is known.");
        prompt["minLength"] = json!(1);
        let temperature = json!({ "type": "number", "minimum": 0, "maximum": 5,
            "description": "0 writes the likeliest words, 1 draws them as the model says. Default: 0." });
        let spec = Spec {
            doc: "Has the language model write a text. A text that breaks the policy, or is not in the customer's \
                  language, is held back: `on_violation` says what happens then.",
            input: Shape::object(
                &["prompt"],
                &[
                    ("prompt", prompt),
                    (
                        "policy",
                        Shape::list(
                            rule,
                            8,
                            "What the text is held to: `given_facts_only`, `no_refund_promise`, `china_advertising_law` (no \
                             absolute terms), `max_chars: 600`, `never_say: [lifetime, 终身]`.",
                        ),
                    ),
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
                    ("model", Shape::text(200, "The model, with the digest of its files.")),
                    ("seed", Shape::whole(0, i64::MAX, "The seed it drew with.")),
                    ("adapter", Shape::text(200, "The adapter it wrote with, with the digest of its file.")),
                    ("prompt_tokens", Shape::whole(0, i64::MAX, "Tokens read.")),
                    ("completion_tokens", Shape::whole(0, i64::MAX, "Tokens written.")),
                ],
            ),
            example: Example {
                input: json!({ "prompt": "Thank Ana for order #1042 in two sentences.",
                               "policy": ["given_facts_only", { "max_chars": 600 }], "language": "en" }),
                answer: json!({ "text": "Dear Ana, thank you for your order #1042.", "cut": false, "model": "demo",
                                "seed": 7, "prompt_tokens": 61, "completion_tokens": 14 }),
            },
            deadline: Duration::from_secs(180),
            ..Spec::of("model.write", Kind::Read)
        };
        Self { spec, model, languages }
    }

    async fn write(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let model = needed(self.model.as_ref())?;
        let language = input.language.clone().or_else(|| language(attempt));
        if let Some(language) = &language
            && !writes(&self.languages, language)
        {
            let message = format!("the model {} does not write `{language}` (`model.languages`)", model.name());
            return Err(Verdict::refused("policy_violation", message));
        }
        let seed = input.seed.unwrap_or_else(|| seed(&attempt.key));
        let usual = Sampling::default();
        let request = Request {
            prompt: Prompt::Chat(vec![
                ChatMessage::system(instructions(&attempt.shop.display_name, language.as_deref())),
                ChatMessage::user(input.prompt),
            ]),
            sampling: Sampling {
                temperature: input.temperature.unwrap_or(usual.temperature),
                max_tokens: input.max_tokens.unwrap_or(usual.max_tokens),
                seed,
                ..usual
            },
            format: None,
            class: Class::Rule,
            shop: attempt.shop.id.to_string(),
            within: Some(self.spec.deadline),
            adapter: input.adapter.clone(),
        };
        let watch = attempt.watch.clone();
        let watched = move |piece: &str| {
            if let Some(watch) = &watch {
                watch(piece);
            }
        };
        let written = model.generate(request, &attempt.cancelled, watched).await.map_err(not_answered)?;
        let mut answer = judge(&written, &input.policy, &attempt.facts, language.as_deref())?;
        answer["model"] = json!(format!("{} {}", model.name(), model.digest()));
        answer["seed"] = json!(seed);
        if let Some((name, digest)) = model.adapters().find(|(name, _)| input.adapter.as_deref() == Some(*name)) {
            answer["adapter"] = json!(format!("{name} {digest}"));
        }
        Ok(Verdict::Done(answer))
    }
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

/// The customer's language: the message's, else the customer's own, else the shop's first.
fn language(attempt: &Attempt) -> Option<String> {
    let context = &attempt.facts.context;
    let of_order = || context.order.as_ref()?.customer.as_ref()?.locale.clone();
    let known = context.message.as_ref().and_then(|message| message.language.clone());
    known
        .or_else(|| context.customer.as_ref().and_then(|customer| customer.locale.clone()))
        .or_else(of_order)
        .or_else(|| attempt.shop.languages.first().cloned())
        .map(|language| language.to_string())
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

/// The language model, where there is one.
pub(super) fn needed(model: Option<&Model>) -> Result<&Model, Verdict> {
    model.ok_or_else(|| {
        let problem = "there is no language model; `storehand model fetch` gets one, `model.folder` names another";
        Verdict::refused("no_model", problem)
    })
}

/// What a call comes to that a model has not answered.
pub(super) fn not_answered(error: ModelError) -> Verdict {
    match error {
        ModelError::QueueFull { retry_after, .. } => Verdict::RetryAfter(Some(retry_after), error.to_string()),
        ModelError::Failed(_) | ModelError::Stopped | ModelError::TooLate { .. } => {
            Verdict::RetryAfter(None, error.to_string())
        }
        ModelError::Unfinished { .. } => Verdict::refused("length", error.to_string()),
        ModelError::PromptTooLong { .. } => Verdict::refused("prompt_too_long", error.to_string()),
        ModelError::Request(_) => Verdict::refused("invalid_input", error.to_string()),
        _ => Verdict::refused("no_model", error.to_string()),
    }
}

/// The answer, or the violations with the text that is held back.
fn judge(written: &Generated, rules: &[Policy], facts: &Facts, language: Option<&str>) -> Result<Json, Verdict> {
    let cut = match written.finish {
        Finish::Stop => false,
        Finish::Length => true,
        Finish::Cancelled => return Err(Verdict::RetryAfter(None, "writing was broken off".into())),
    };
    let text = unquoted(if cut { whole_sentences(&written.text) } else { &written.text }.trim());
    let mut violations = policy::check(text, rules, &GivenFacts::new(facts), language);
    if text.is_empty() {
        let message = if cut { "it has no finished sentence" } else { "it is empty" }.into();
        violations.push(policy::Violation { rule: "text", span: 0..0, message });
    }
    if violations.is_empty() {
        return Ok(json!({
            "text": text,
            "cut": cut,
            "prompt_tokens": written.prompt_tokens,
            "completion_tokens": written.completion_tokens,
        }));
    }
    let said: Vec<&str> = violations.iter().take(3).map(|violation| violation.message.as_str()).collect();
    let mut failure = Failure::new("policy_violation", format!("the text was held back: {}", said.join("; ")));
    let held_back = if text.is_empty() { written.text.as_str() } else { text };
    failure.detail = json!({ "text": held_back, "violations": violations });
    Err(Verdict::Refused(failure))
}

/// The text without the quotation marks that small models like to put around all of it; the closing one may have
/// been cut off.
fn unquoted(text: &str) -> &str {
    let Some(inner) = text.strip_prefix(['"', '“']) else { return text };
    let inner = inner.strip_suffix(['"', '”']).unwrap_or(inner);
    if inner.contains(['"', '“', '”']) { text } else { inner.trim() }
}

/// The text up to its last finished sentence: nobody is sent half of one.
fn whole_sentences(text: &str) -> &str {
    let mut end = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        let ends = match letter {
            '。' | '！' | '？' => true,
            // Not the point within `19.90`; a quotation or a bracket may close after it.
            '.' | '!' | '?' => next.is_none_or(|next| next.is_whitespace() || matches!(next, '"' | ')' | '”' | '’')),
            _ => false,
        };
        if ends {
            let closing =
                next.filter(|next| matches!(next, '"' | ')' | '”' | '’' | '」' | '』')).map_or(0, char::len_utf8);
            end = at + letter.len_utf8() + closing;
        }
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Event, EventId, Inputs, Records};

    fn facts() -> Facts {
        let now = "2026-11-23T10:00:00Z".parse().expect("time");
        let records: Records =
            serde_json::from_str(r##"{"order":{"id":"1","name":"#1042","total":"19.90 EUR"}}"##).expect("records");
        let context = Arc::new(records);
        let event = Event {
            id: EventId(1),
            shop: "acme".parse().expect("a shop"),
            source: "/shopify/acme".into(),
            kind: "order.created".into(),
            topic: "orders/create".into(),
            subject: "order/1".into(),
            time: now,
            received: now,
            records: Arc::clone(&context),
            mentions: Vec::new(),
            late: false,
            echo: None,
        };
        Facts { event: Arc::new(event), context, missing: Vec::new(), inputs: Arc::new(Inputs::new()), now }
    }

    fn written(text: &str, finish: Finish) -> Generated {
        Generated {
            text: text.into(),
            finish,
            logprobs: Vec::new(),
            others: Vec::new(),
            prompt_tokens: 9,
            cached_tokens: 0,
            completion_tokens: 5,
            prompt_digest: String::new(),
        }
    }

    fn judged(text: &str, finish: Finish) -> Result<Json, Verdict> {
        judge(&written(text, finish), &[Policy::GivenFactsOnly, Policy::NoRefundPromise], &facts(), Some("en"))
    }

    #[test]
    fn a_text_within_the_policy_goes_out_and_any_other_is_held_back() {
        let answer = judged(" Thank you for order #1042 over 19.90 EUR. ", Finish::Stop).expect("goes out");
        assert_eq!(answer["text"], "Thank you for order #1042 over 19.90 EUR.");
        for (text, rule) in [
            ("Your order #1043 is packed.", "given_facts_only"),
            ("We will refund you.", "no_refund_promise"),
            ("您好，谢谢您的订单。", "language"),
            ("  ", "text"),
        ] {
            let Err(Verdict::Refused(failure)) = judged(text, Finish::Stop) else { panic!("{text} went out") };
            assert_eq!(failure.code, "policy_violation");
            assert_eq!(failure.detail["text"], json!(if text.trim().is_empty() { text } else { text.trim() }));
            let rules: Vec<&str> = failure.detail["violations"]
                .as_array()
                .expect("violations")
                .iter()
                .filter_map(|violation| violation["rule"].as_str())
                .collect();
            assert!(rules.contains(&rule), "{text}: {rules:?}");
        }
    }

    #[test]
    fn half_a_sentence_is_left_out() {
        let answer = judged("Thank you. It costs 19.90 EUR and we", Finish::Length).expect("goes out");
        assert_eq!((&answer["text"], &answer["cut"]), (&json!("Thank you."), &json!(true)));
        assert!(matches!(judged("Thank you for", Finish::Length), Err(Verdict::Refused(_))));
        assert!(matches!(judged("Thank you.", Finish::Cancelled), Err(Verdict::RetryAfter(..))));
        for (text, whole) in [
            ("A. B? C! d", "A. B? C!"),
            ("19.90 and", ""),
            ("她说：“好。”然后", "她说：“好。”"),
            ("He said \"yes.\" Then", "He said \"yes.\""),
            ("All.", "All."),
        ] {
            assert_eq!(whole_sentences(text), whole);
        }
    }

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
