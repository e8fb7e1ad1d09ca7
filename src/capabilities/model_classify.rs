//! `model.classify`: tells what a text is about, by a head that was trained on the shop's own examples, or by which of
//! the rule's descriptions is nearest; where there is no head yet, or no encoder, by which name the language model finds
//! the likeliest.
//!
//! The text is data: whatever it says, the answer is one of the names that the shop or the rule gave, or none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::model_write::not_answered;
use super::read;
use crate::domain::{Answer, Attempt, Capability, Example, Kind, Shape, Spec, Verdict};
use crate::models::encoder::Encoder;
use crate::models::intents::{Choice, Head, Heads, Judged, Ranked, choose};
use crate::models::{CONTENT_FREE, ChatMessage, Class, Model, Models, Prompt, ToRank, without_content};

/// Characters of a text that are looked at. The encoder reads some 512 tokens; what comes after says little about what
/// somebody wants.
const LONGEST_TEXT: usize = 20_000;

/// Characters of a text that the language model looks at: its context is small, and its time is dear.
const LONGEST_READ: usize = 2000;

/// How likely the nearest description must be among all where the rule does not say.
const AT_LEAST: f64 = 0.5;

/// Intents that an answer lists.
const LISTED: usize = 5;

pub(super) struct ModelClassify {
    spec: Spec,
    encoder: Option<Encoder>,
    heads: Option<Heads>,
    models: Models,
}

/// What was found out, by whom and how.
struct Found {
    judged: Judged,
    truncated: bool,
    by: &'static str,
    model: String,
    head: Option<String>,
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
    pub(super) fn new(encoder: Option<Encoder>, heads: Option<Heads>, models: Models) -> Self {
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
        let mut among = Shape::list(choice, 40, "What the text may be about: without a head, or until it is trained.");
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
        input["anyOf"] = json!([{ "required": ["head"] }, { "required": ["among"] }]);
        let spec = Spec {
            doc: "Tells what a text is about: by a head trained on the shop's own examples (`storehand model train`), \
                  or by which of some descriptions it is nearest to. With both, the descriptions serve until the head is \
                  trained: then the language model says which name is the likeliest, as it does where there is no \
                  encoder. Where it is in doubt there is no intent.",
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
                    (
                        "by",
                        json!({ "enum": ["head", "descriptions", "decoder"], "description": "What told it: the head, the \
                                descriptions it is nearest to, or the language model." }),
                    ),
                    ("model", Shape::text(200, "The model that was asked: `NAME@DIGEST`, of its files.")),
                    ("head", Shape::text(200, "The head, with its version.")),
                    ("truncated", Shape::flag("Whether the text was too long and only its beginning counted.")),
                ],
            ),
            example: Example {
                input: json!({ "text": "Where is my parcel?", "head": "customer-service" }),
                answer: json!({ "intent": "where-is-my-order", "confidence": 0.97, "abstained": false,
                                "ranking": [{ "intent": "where-is-my-order", "score": 0.91 },
                                            { "intent": "refund-status", "score": 0.06 }],
                                "by": "head", "model": "multilingual-e5-small@3f1c20aa9d0e4b7f8c6d5e4f3a2b1c0d",
                                "head": "customer-service 2",
                                "truncated": false }),
            },
            deadline: Duration::from_secs(60),
            ..Spec::of("model.classify", Kind::Read)
        };
        Self { spec, encoder, heads, models }
    }

    async fn classify(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let at_least = input.at_least.unwrap_or(AT_LEAST);
        let found = match (&input.head, &input.among) {
            (Some(name), among) => match (self.head(attempt, name).await?, among) {
                (Some(head), _) => self.by_head(&head, &input).await?,
                (None, Some(among)) => match self.decoder() {
                    Some(model) => self.by_decoder(model, attempt, &input.text, among, at_least).await?,
                    None => self.by_descriptions(&input.text, among, at_least).await?,
                },
                (None, None) => return Err(self.untrained(attempt, name)),
            },
            (None, Some(among)) => match (&self.encoder, self.decoder()) {
                (None, Some(model)) => self.by_decoder(model, attempt, &input.text, among, at_least).await?,
                _ => self.by_descriptions(&input.text, among, at_least).await?,
            },
            (None, None) => return Err(Verdict::refused("invalid_input", "name a `head`, or give choices: `among`")),
        };
        let judged = found.judged;
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
            "by": found.by,
            "model": found.model,
            "truncated": found.truncated,
        });
        if let Some(head) = found.head {
            answer["head"] = json!(head);
        }
        Ok(Verdict::Done(answer))
    }

    /// The language model in this process: an upstream tells no probabilities of texts that it is given.
    fn decoder(&self) -> Option<&Model> {
        self.models.usual().map(|known| &known.model).filter(|model| !model.is_upstream())
    }

    fn encoder(&self) -> Result<&Encoder, Verdict> {
        self.encoder.as_ref().ok_or_else(|| {
            let problem = "there is no encoder; `storehand model fetch` gets one, `model.encoder` names another";
            Verdict::refused("no_model", problem)
        })
    }

    async fn by_descriptions(&self, text: &str, among: &[Among], at_least: f64) -> Result<Found, Verdict> {
        let encoder = self.encoder()?;
        let choices: Vec<Choice> = among.iter().map(Among::choice).collect();
        let (judged, truncated) = choose(encoder, text, &choices, at_least).await.map_err(not_answered)?;
        let model = format!("{}@{}", encoder.name(), encoder.digest());
        Ok(Found { judged, truncated, by: "descriptions", model, head: None })
    }

    /// Asks the language model which of the names it finds the likeliest. It writes nothing of its own.
    async fn by_decoder(
        &self,
        model: &Model,
        attempt: &Attempt,
        text: &str,
        among: &[Among],
        at_least: f64,
    ) -> Result<Found, Verdict> {
        let read: String = text.chars().take(LONGEST_READ).collect();
        let truncated = read.len() < text.len();
        let prompt = Prompt::Chat(vec![ChatMessage::system(question(among)), ChatMessage::user(read)]);
        let asked = ToRank {
            content_free: Some(without_content(&prompt, CONTENT_FREE)),
            prompt,
            candidates: among.iter().map(|choice| choice.name.clone()).collect(),
            class: Class::Rule,
            shop: attempt.shop.id.to_string(),
            within: Some(self.spec.deadline),
            adapter: None,
        };
        let ranking = model.rank(asked, &attempt.cancelled).await.map_err(not_answered)?;
        let ranking: Vec<Ranked> = ranking
            .candidates
            .iter()
            .filter_map(|it| Some(Ranked { intent: among.get(it.index)?.name.clone(), score: it.probability }))
            .collect();
        let confidence = ranking.first().map_or(0.0, |first| first.score);
        let intent = ranking.first().filter(|_| confidence >= at_least).map(|first| first.intent.clone());
        let judged = Judged { intent, confidence, ranking };
        let model = model.full_name();
        Ok(Found { judged, truncated, by: "decoder", model, head: None })
    }

    /// The shop's head that is called so, where it has been trained.
    async fn head(&self, attempt: &Attempt, name: &str) -> Result<Option<Arc<Head>>, Verdict> {
        let (heads, of, called) = (self.heads.clone(), attempt.shop.id.to_string(), name.to_owned());
        let found = move || heads.map_or(Ok(None), |heads| heads.current(&of, &called));
        let found = tokio::task::spawn_blocking(found).await;
        found
            .map_err(|error| Verdict::RetryAfter(None, error.to_string()))?
            .map_err(|error| Verdict::refused("no_head", error.to_string()))
    }

    fn untrained(&self, attempt: &Attempt, name: &str) -> Verdict {
        if let Err(no_encoder) = self.encoder() {
            return no_encoder;
        }
        let shop = &attempt.shop.id;
        let why = format!("the shop {shop} has no head `{name}`; `storehand model train FILE --shop {shop}` makes one");
        Verdict::refused("no_head", why)
    }

    async fn by_head(&self, head: &Head, input: &Input) -> Result<Found, Verdict> {
        let (encoder, name) = (self.encoder()?, input.head.as_deref().unwrap_or_default());
        if head.encoder.1 != encoder.digest() {
            let (trained, _) = &head.encoder;
            let why = format!(
                "the head `{name}` was trained with another encoder ({trained}) than the one in use ({}); train it again",
                encoder.name()
            );
            return Err(Verdict::refused("no_head", why));
        }
        let embedded = encoder.embed(&[input.text.as_str()]).await.map_err(not_answered)?;
        let [message] = embedded.as_slice() else {
            return Err(Verdict::RetryAfter(None, "the encoder gave no vector".into()));
        };
        let mut judged = head.judge(&input.text, &message.telling);
        if let Some(at_least) = input.at_least {
            let first = judged.ranking.first().map(|first| first.intent.clone());
            judged.intent = first.filter(|_| judged.confidence >= at_least);
        }
        let model = format!("{}@{}", encoder.name(), encoder.digest());
        let head = Some(format!("{name} {}", head.version));
        Ok(Found { judged, truncated: message.truncated, by: "head", model, head })
    }
}

/// What the language model is told: the names, each with what it means.
fn question(among: &[Among]) -> String {
    let mut question =
        String::from("A customer wrote to an online shop. Name the kind of the message. The kinds are:\n");
    for choice in among {
        question.push_str(&format!("- {}", choice.name));
        if let Some(description) = &choice.description {
            question.push_str(&format!(": {description}"));
        }
        for example in &choice.examples {
            question.push_str(&format!("\n  For example: {example}"));
        }
        question.push('\n');
    }
    question.push_str("Answer with the name of the kind and nothing else.");
    question
}

impl Among {
    fn choice(&self) -> Choice {
        let means = self.description.iter().chain(&self.examples).cloned().collect();
        Choice { name: self.name.clone(), means }
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
