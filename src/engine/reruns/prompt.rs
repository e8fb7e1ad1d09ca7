//! A prompt on record: what was asked and answered, and what was known then. Out of the store, or as a line of JSON.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::CAPABILITIES;
use crate::domain::redact::REDACTED;
use crate::domain::{
    Answer, Attempt, Call, Currency, Event, EventId, Facts, Fuses, Inputs, Money, Records, RunId, Shop, ShopId, Value,
};
use crate::engine::Registry;
use crate::rules;
use crate::store::{Archive, PastCall, StoreError};

/// A prompt with all that it takes to ask it again and to judge its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prompt {
    /// The call: `run_…/path`.
    pub call: String,
    /// Its rule.
    pub rule: String,
    /// The capability.
    pub uses: String,
    /// What it was asked.
    pub with: Json,
    /// What it answered.
    pub answer: Answer,
    /// Whose.
    shop: Whose,
    /// The event's type, what it is about and when it happened.
    event: (String, String, Timestamp),
    /// When the run began.
    now: Timestamp,
    /// What the event said, and what was known beside it.
    records: Arc<Records>,
    context: Arc<Records>,
    /// The rule's inputs. Where its version cannot be read any more there are none, and facts that they gave are none.
    inputs: BTreeMap<String, Given>,
}

/// What a prompt needs to know of its shop.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Whose {
    id: String,
    display_name: String,
    languages: Vec<String>,
    currency: Currency,
    time_zone: String,
}

/// An input's value, with its kind: `{"money": "50 EUR"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Given {
    Flag(bool),
    Whole(i64),
    Number(Decimal),
    Text(String),
    Money(Money),
    Time(Timestamp),
    List(Vec<Given>),
}

impl Given {
    fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Int(number) => Self::Whole(*number),
            Value::Decimal(number) => Self::Number(*number),
            Value::Text(text) => Self::Text(text.to_string()),
            Value::Money(money) => Self::Money(*money),
            Value::Time(time) => Self::Time(*time),
            Value::List(values) => Self::List(values.iter().filter_map(Self::of).collect()),
            Value::Nothing | Value::Record(_) => return None,
        })
    }

    fn value(&self) -> Value {
        match self {
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Whole(number) => Value::Int(*number),
            Self::Number(number) => Value::Decimal(*number),
            Self::Text(text) => Value::Text(text.as_str().into()),
            Self::Money(money) => Value::Money(*money),
            Self::Time(time) => Value::Time(*time),
            Self::List(values) => Value::List(values.iter().map(Self::value).collect()),
        }
    }
}

impl Prompt {
    /// The input as it is asked now: of whichever model is on trial, with the seed of then.
    pub(super) fn input(&self) -> Json {
        let mut input = self.with.clone();
        if let Some(input) = input.as_object_mut() {
            input.remove("model");
            let record = match &self.answer {
                Answer::Done(answer) => answer,
                Answer::Failed(failure) => &failure.detail,
            };
            if let Some(seed) = record.get("seed").filter(|seed| seed.is_u64() && self.uses == "model.write") {
                input.insert("seed".into(), seed.clone());
            }
        }
        input
    }

    /// The attempt that is made now, with what was known then.
    pub(super) fn attempt(&self) -> Result<Attempt, String> {
        let id: ShopId = self.shop.id.parse().map_err(|_| format!("`{}` is no shop's name", self.shop.id))?;
        let (run, path) = self.call.split_once('/').unwrap_or((&self.call, ""));
        let (kind, subject, time) = &self.event;
        let event = Event {
            id: EventId(0),
            shop: id.clone(),
            source: "".into(),
            kind: kind.as_str().into(),
            topic: "".into(),
            subject: subject.as_str().into(),
            time: *time,
            received: self.now,
            records: self.records.clone(),
            mentions: Vec::new(),
            late: false,
            echo: None,
        };
        let inputs: Inputs = self.inputs.iter().map(|(name, given)| (name.clone(), given.value())).collect();
        let shop = Shop {
            id,
            display_name: self.shop.display_name.clone(),
            platform: None,
            mailer: None,
            languages: self.shop.languages.iter().map(|language| language.as_str().into()).collect(),
            currency: self.shop.currency,
            time_zone: self.shop.time_zone.clone(),
            fuses: Fuses::default(),
            keep: None,
            low_stock: BTreeMap::new(),
            low_stock_default: None,
            secrets: BTreeMap::new(),
            private_hosts: Vec::new(),
        };
        Ok(Attempt {
            shop: Arc::new(shop),
            facts: Facts {
                event: Arc::new(event),
                context: self.context.clone(),
                missing: Vec::new(),
                inputs: Arc::new(inputs),
                now: self.now,
            },
            run: run.parse().unwrap_or(RunId(0)),
            path: path.to_owned(),
            // A call's own, so that what it drew without a seed of its rule's it draws again.
            key: self.call.clone(),
            approved_by: None,
            number: 1,
            now: self.now,
            cancelled: CancellationToken::new(),
            watch: None,
            on_record: None,
        })
    }
}

/// Which prompts of a store.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Of this rule only.
    pub rule: Option<String>,
    /// Of runs that began since then.
    pub since: Timestamp,
    /// So many at most, the newest.
    pub most: u32,
}

/// The prompts that were found.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    /// Oldest first.
    pub prompts: Vec<Prompt>,
    /// Calls that were left out, since the model had not answered, or its customer was forgotten.
    pub left_out: usize,
}

/// What a shop's rules have asked the model, and were answered.
///
/// # Errors
/// [`StoreError`].
pub async fn recorded(
    archive: &Archive,
    registry: &Registry,
    shop: &Shop,
    selection: &Selection,
) -> Result<Corpus, StoreError> {
    let Selection { rule, since, most } = selection;
    let found = archive.answered(&shop.id, &CAPABILITIES, rule.as_deref(), *since, *most).await?;
    let mut runs: Vec<RunId> = found.iter().map(|past| past.run).collect();
    runs.dedup();
    let calls = archive.calls(&runs).await?;
    let (mut corpus, mut inputs) = (Corpus::default(), HashMap::new());
    for past in found.iter().rev() {
        let call = calls.get(&past.run).and_then(|calls| calls.iter().find(|call| call.path == past.path));
        let (Some(call), Some(stored)) = (call, archive.event(&shop.id, past.event).await?) else { continue };
        let Some(answer) = call.answer.clone().filter(|answer| is_told(call, answer)) else {
            corpus.left_out += 1;
            continue;
        };
        let version = (past.rule.clone(), past.version.clone());
        if !inputs.contains_key(&version) {
            inputs.insert(version.clone(), inputs_of(archive, registry, &shop.id, past).await?);
        }
        let event = &stored.event;
        corpus.prompts.push(Prompt {
            call: format!("{}/{}", past.run, past.path),
            rule: past.rule.clone(),
            uses: call.capability.clone(),
            with: call.input.clone(),
            answer,
            shop: Whose {
                id: shop.id.to_string(),
                display_name: shop.display_name.clone(),
                languages: shop.languages.iter().map(ToString::to_string).collect(),
                currency: shop.currency,
                time_zone: shop.time_zone.clone(),
            },
            event: (event.kind.to_string(), event.subject.to_string(), event.time),
            now: past.started,
            records: event.records.clone(),
            context: stored.context.map(|context| context.records).unwrap_or_default(),
            inputs: inputs.get(&version).cloned().unwrap_or_default(),
        });
    }
    Ok(corpus)
}

/// Whether the model had its say, and it is still there.
fn is_told(call: &Call, answer: &Answer) -> bool {
    let asked = call.input.get("prompt").filter(|_| call.capability == "model.write").or(call.input.get("text"));
    let judged = match answer {
        Answer::Done(_) => true,
        Answer::Failed(failure) => {
            failure.code == "policy_violation" && failure.detail.get("text").is_some()
                || matches!(failure.code.as_str(), "invalid_answer" | "length")
        }
    };
    judged && asked.is_some_and(|asked| asked != REDACTED)
}

/// The inputs of the version that a run was on, as its shop had tuned it.
async fn inputs_of(
    archive: &Archive,
    registry: &Registry,
    shop: &ShopId,
    past: &PastCall,
) -> Result<BTreeMap<String, Given>, StoreError> {
    let bundle = archive.bundle(shop, &past.rule, &past.version).await?.unwrap_or_default();
    let Ok(rule) = rules::from_bundle(&bundle, registry.catalog()) else { return Ok(BTreeMap::new()) };
    Ok(rule.values().iter().filter_map(|(name, value)| Some((name.clone(), Given::of(value)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_keep_their_kinds_in_a_file() {
        let values = vec![
            Value::Bool(true),
            Value::Int(7),
            Value::Decimal("0.5".parse().expect("a number")),
            Value::Text("10".into()),
            Value::Money("50 EUR".parse().expect("money")),
            Value::List(vec![Value::Text("a".into())]),
        ];
        let given = Given::of(&Value::List(values)).expect("given");
        let text = serde_json::to_string(&given).expect("JSON");
        let back: Given = serde_json::from_str(&text).expect("given");
        assert_eq!(format!("{:?}", back.value()), format!("{:?}", given.value()));
        assert!(text.contains(r#"{"money":"50.00 EUR"}"#) && text.contains(r#"{"text":"10"}"#), "{text}");
    }
}
