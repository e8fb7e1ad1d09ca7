//! `model.classify`: tells what a text is about, by a head that was trained on the shop's own examples, or by which of
//! the rule's descriptions is nearest.
//!
//! The text is data: whatever it says, the answer is one of the names that the shop or the rule gave, or none.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::model_write::not_answered;
use super::read;
use crate::domain::{Answer, Attempt, Capability, Example, Kind, Shape, Spec, Verdict};
use crate::models::encoder::Encoder;
use crate::models::intents::{Choice, Heads, Judged, choose};

/// Characters of a text that are looked at. The encoder reads some 512 tokens; what comes after says little about what
/// somebody wants.
const LONGEST_TEXT: usize = 20_000;

/// How likely the nearest description must be among all where the rule does not say.
const AT_LEAST: f64 = 0.5;

/// Intents that an answer lists.
const LISTED: usize = 5;

pub(super) struct ModelClassify {
    spec: Spec,
    encoder: Option<Encoder>,
    heads: Option<Heads>,
}

#[derive(Deserialize)]
struct Input {
    text: String,
    head: Option<String>,
    among: Option<Vec<Among>>,
    at_least: Option<f64>,
}

#[derive(Deserialize)]
struct Among {
    name: String,
    description: Option<String>,
    #[serde(default)]
    examples: Vec<String>,
}

impl ModelClassify {
    pub(super) fn new(encoder: Option<Encoder>, heads: Option<Heads>) -> Self {
        let mut text = Shape::text(LONGEST_TEXT, "What somebody wrote: `{{ message.text }}`.");
        text["minLength"] = json!(1);
        let choice = Shape::object(
            &["name"],
            &[
                ("name", Shape::text(64, "What the answer calls it.")),
                ("description", Shape::text(500, "What it means. Default: its name.")),
                ("examples", Shape::list(Shape::text(500, "A message."), 20, "Messages that are about it.")),
            ],
        );
        let mut among = Shape::list(choice, 40, "Without a head: what the text may be about.");
        among["minItems"] = json!(2);
        let share = |about: &str| json!({ "type": "number", "minimum": 0, "maximum": 1, "description": about });
        let ranked = Shape::object(
            &["intent", "score"],
            &[
                ("intent", Shape::text(64, "The intent.")),
                ("score", json!({ "type": "number", "description": "How much the text is like it." })),
            ],
        );
        let mut input = Shape::object(
            &["text"],
            &[
                ("text", text),
                ("head", Shape::text(64, "The head, as `storehand model train` named it.")),
                ("among", among),
                (
                    "at_least",
                    share(
                        "Below this confidence there is no intent. Default: with a head what follows from its \
                         `accept_errors`, else 0.5.",
                    ),
                ),
            ],
        );
        input["oneOf"] = json!([{ "required": ["head"] }, { "required": ["among"] }]);
        let spec = Spec {
            doc: "Tells what a text is about: by a head trained on the shop's own examples (`storehand model train`), \
                  or by which of some descriptions it is nearest to. Where it is in doubt there is no intent.",
            input,
            output: Shape::object(
                &["intent", "confidence", "abstained"],
                &[
                    (
                        "intent",
                        json!({ "type": ["string", "null"], "description": "The intent; none where it is in doubt." }),
                    ),
                    ("confidence", share("How likely the likeliest intent is the right one.")),
                    ("abstained", Shape::flag("Whether it was in doubt.")),
                    ("ranking", Shape::list(ranked, LISTED, "The likeliest intents.")),
                    ("model", Shape::text(200, "The encoder: `NAME@DIGEST`, of its files.")),
                    ("head", Shape::text(200, "The head, with its version.")),
                    ("truncated", Shape::flag("Whether the text was too long and only its beginning counted.")),
                ],
            ),
            example: Example {
                input: json!({ "text": "Where is my parcel?", "head": "customer-service" }),
                answer: json!({ "intent": "where-is-my-order", "confidence": 0.97, "abstained": false,
                                "ranking": [{ "intent": "where-is-my-order", "score": 0.91 },
                                            { "intent": "refund-status", "score": 0.06 }],
                                "model": "multilingual-e5-small@3f1c20aa9d0e4b7f8c6d5e4f3a2b1c0d", "head": "customer-service 2",
                                "truncated": false }),
            },
            deadline: Duration::from_secs(60),
            ..Spec::of("model.classify", Kind::Read)
        };
        Self { spec, encoder, heads }
    }

    async fn classify(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let encoder = self.encoder.as_ref().ok_or_else(|| {
            let problem = "there is no encoder; `storehand model fetch` gets one, `model.encoder` names another";
            Verdict::refused("no_model", problem)
        })?;
        let (judged, truncated, head) = match (input.head, input.among) {
            (Some(name), _) => self.by_head(encoder, attempt, &name, &input.text, input.at_least).await?,
            (None, Some(among)) => {
                let choices: Vec<Choice> = among.into_iter().map(Among::choice).collect();
                let at_least = input.at_least.unwrap_or(AT_LEAST);
                let (judged, truncated) =
                    choose(encoder, &input.text, &choices, at_least).await.map_err(not_answered)?;
                (judged, truncated, None)
            }
            (None, None) => return Err(Verdict::refused("invalid_input", "name a `head`, or give choices: `among`")),
        };
        let ranking: Vec<Json> = judged
            .ranking
            .iter()
            .take(LISTED)
            .map(|ranked| json!({ "intent": ranked.intent, "score": rounded(ranked.score) }))
            .collect();
        let mut answer = json!({
            "intent": judged.intent,
            "confidence": rounded(judged.confidence),
            "abstained": judged.intent.is_none(),
            "ranking": ranking,
            "model": format!("{}@{}", encoder.name(), encoder.digest()),
            "truncated": truncated,
        });
        if let Some(head) = head {
            answer["head"] = json!(head);
        }
        Ok(Verdict::Done(answer))
    }

    async fn by_head(
        &self,
        encoder: &Encoder,
        attempt: &Attempt,
        name: &str,
        text: &str,
        at_least: Option<f64>,
    ) -> Result<(Judged, bool, Option<String>), Verdict> {
        let shop = attempt.shop.id.to_string();
        let no_head = |why: String| Verdict::refused("no_head", why);
        let (heads, of, called) = (self.heads.clone(), shop.clone(), name.to_owned());
        let found = move || heads.map_or(Ok(None), |heads| heads.current(&of, &called));
        let found = tokio::task::spawn_blocking(found).await;
        let head = found
            .map_err(|error| Verdict::RetryAfter(None, error.to_string()))?
            .map_err(|error| no_head(error.to_string()))?
            .ok_or_else(|| {
                no_head(format!(
                    "the shop {shop} has no head `{name}`; `storehand model train FILE --shop {shop}` makes one"
                ))
            })?;
        if head.encoder.1 != encoder.digest() {
            let (trained, _) = &head.encoder;
            let why = format!(
                "the head `{name}` was trained with another encoder ({trained}) than the one in use ({}); train it again",
                encoder.name()
            );
            return Err(no_head(why));
        }
        let embedded = encoder.embed(&[text]).await.map_err(not_answered)?;
        let [message] = embedded.as_slice() else {
            return Err(Verdict::RetryAfter(None, "the encoder gave no vector".into()));
        };
        let mut judged = head.judge(&message.vector);
        if let Some(at_least) = at_least {
            let first = judged.ranking.first().map(|first| first.intent.clone());
            judged.intent = first.filter(|_| judged.confidence >= at_least);
        }
        Ok((judged, message.truncated, Some(format!("{name} {}", head.version))))
    }
}

impl Among {
    fn choice(self) -> Choice {
        Choice { name: self.name, means: self.description.into_iter().chain(self.examples).collect() }
    }
}

/// Four digits say all that there is to say, and make records that people can compare.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

#[async_trait]
impl Capability for ModelClassify {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        self.classify(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }

    /// `kind: refund-status` is that intent, `kind: none` that it was in doubt.
    fn mocked(&self, _input: &Json, mock: &Json) -> Option<Answer> {
        let word = mock.as_str()?;
        let sure = word != "none";
        let (intent, confidence) = if sure { (json!(word), 0.99) } else { (Json::Null, 0.2) };
        Some(Answer::Done(json!({ "intent": intent, "confidence": confidence, "abstained": !sure, "ranking": [] })))
    }
}
