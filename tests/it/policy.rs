//! The text policy against texts that people have labelled, and against what the default model writes.
//!
//! The set (`tests/fixtures/policy/`, see the README there) was written without sight of the checker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all};
use storehand::domain::{Attempt, Capability, Event, EventId, Facts, Inputs, Money, Records, Value, Verdict};
use storehand::models::policy::{self, GivenFacts, Policy, Titles, Violation};

use storehand::models::{Model, Models, Settings};

use crate::capabilities::{attempt, shop};

const FOLDER: &str = "tests/fixtures/policy";

#[derive(Deserialize)]
struct Labelled {
    id: String,
    set: String,
    language: String,
    text: String,
    violations: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    kind: String,
    span: String,
}

/// What is known where a text is written.
#[derive(Deserialize)]
struct Known {
    catalogue: Vec<String>,
    inputs: BTreeMap<String, Json>,
    now: jiff::Timestamp,
    customer_wrote: Option<String>,
    #[serde(flatten)]
    records: Json,
}

impl Known {
    fn all() -> BTreeMap<String, Self> {
        let text = std::fs::read_to_string(Path::new(FOLDER).join("facts.json")).expect("facts");
        serde_json::from_str(&text).expect("facts")
    }

    fn facts(&self) -> Facts {
        let mut records = serde_json::Map::new();
        for name in ["order", "returned", "inventory", "product"] {
            if let Some(record) = self.records.get(name) {
                records.insert(name.to_owned(), record.clone());
            }
        }
        if let Some(text) = &self.customer_wrote {
            records.insert("message".into(), json!({ "text": text }));
        }
        let records: Records = serde_json::from_value(Json::Object(records)).expect("records");
        let context = Arc::new(records);
        let input = |value: &Json| match value {
            Json::Number(number) => number
                .as_i64()
                .map_or_else(|| Value::Decimal(number.to_string().parse().expect("a number")), Value::Int),
            Json::String(text) => {
                text.parse::<Money>().map_or_else(|_| Value::Text(text.as_str().into()), Value::Money)
            }
            other => panic!("no input: {other}"),
        };
        let inputs: Inputs = self.inputs.iter().map(|(name, value)| (name.clone(), input(value))).collect();
        let event = Event {
            id: EventId(1),
            shop: "acme".parse().expect("a shop"),
            source: "/shopify/acme".into(),
            kind: "order.created".into(),
            topic: "orders/create".into(),
            subject: "order/1".into(),
            time: self.now,
            received: self.now,
            records: Arc::clone(&context),
            mentions: Vec::new(),
            late: false,
            echo: None,
        };
        Facts { event: Arc::new(event), context, missing: Vec::new(), inputs: Arc::new(inputs), now: self.now }
    }

    fn given(&self) -> GivenFacts {
        let titles = self.catalogue.iter().map(String::as_str);
        GivenFacts::new(&self.facts()).with_catalogue(Arc::new(Titles::new(titles)))
    }
}

fn lines<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(name)).expect("the set");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// How often something was so.
#[derive(Default)]
struct Rate {
    so: usize,
    of: usize,
}

impl Rate {
    fn count(&mut self, so: bool) {
        self.so += usize::from(so);
        self.of += 1;
    }

    fn share(&self) -> f64 {
        self.so as f64 / self.of.max(1) as f64
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} ({:.1} %)", self.so, self.of, 100.0 * self.share())
    }
}

/// A third of the set may be looked at by whoever mends the checker; the rest is held apart.
fn may_be_looked_at(id: &str) -> bool {
    let number: usize = id.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    number.is_multiple_of(3)
}

#[test]
fn what_people_have_labelled_is_found_and_the_rest_goes_out() {
    let known = Known::all();
    let rules = [Policy::GivenFactsOnly, Policy::NoRefundPromise, Policy::ChinaAdvertisingLaw];
    let (mut held, mut false_holds, mut kinds) = (Rate::default(), Rate::default(), BTreeMap::<String, Rate>::new());
    for it in lines::<Labelled>("labelled.jsonl") {
        let found = policy::check(&it.text, &rules, &known[&it.set].given(), Some(&it.language));
        let apart = !may_be_looked_at(&it.id);
        let shown = || found.iter().map(|it| format!("{}: {}", it.rule, it.message)).collect::<Vec<_>>().join("; ");
        if it.violations.is_empty() {
            if apart {
                false_holds.count(!found.is_empty());
            } else if !found.is_empty() {
                println!("held for nothing: {} {} [{}]", it.id, it.text, shown());
            }
            continue;
        }
        if apart {
            held.count(!found.is_empty());
        } else if found.is_empty() {
            let spans: Vec<&str> = it.violations.iter().map(|label| label.span.as_str()).collect();
            println!("let through: {} {} [{}]", it.id, it.text, spans.join("; "));
        }
        for label in &it.violations {
            let start = it.text.find(&label.span).unwrap_or_else(|| panic!("{}: {}", it.id, label.span));
            let is_found = |it: &Violation| it.span.start < start + label.span.len() && start < it.span.end;
            let is_found = found.iter().any(is_found);
            if apart {
                kinds.entry(label.kind.clone()).or_default().count(is_found);
            } else if !is_found && !found.is_empty() {
                println!("part let through: {} {} [{} {}]", it.id, it.text, label.kind, label.span);
            }
        }
    }
    println!("texts with something wrong that are held: {held}");
    println!("texts with nothing wrong that are held: {false_holds}");
    for (kind, rate) in &kinds {
        println!("  {kind}: {rate}");
    }
    assert!(held.of >= 300 && held.share() >= 0.85, "{held}");
    assert!(false_holds.of >= 100 && false_holds.share() <= 0.08, "{false_holds}");
}

/// The catalogue of a set, as the record has it.
struct OnRecord(Vec<String>);

#[async_trait::async_trait]
impl storehand::domain::OnRecord for OnRecord {
    async fn waiting(&self, _most: usize) -> Result<storehand::domain::Waiting, String> {
        Ok(storehand::domain::Waiting::default())
    }

    async fn product_titles(&self, _most: usize) -> Result<Vec<String>, String> {
        Ok(self.0.clone())
    }
}

#[derive(Clone, Deserialize)]
struct Asked {
    set: String,
    prompt: String,
}

/// The default model writes copy for the set's prompts. How many: `STOREHAND_COPIES`; with it, what was written is kept in
/// `target/copies.jsonl`, for people to judge.
#[tokio::test]
async fn what_the_model_writes_goes_out_is_mended_or_is_held_back() {
    let Some(settings) = model("what_the_model_writes_goes_out_is_mended_or_is_held_back") else { return };
    let many: Option<usize> = std::env::var("STOREHAND_COPIES").ok().and_then(|many| many.parse().ok());
    let model = Model::load(&settings).expect("loaded");
    let deps = Deps { models: Models::only(model), ..Deps::default() };
    let write = all(deps).into_iter().find(|it| it.spec().name == "model.write").expect("model.write");
    let known = Arc::new(Known::all());
    let prompts: Vec<Asked> = lines("prompts.jsonl");
    let mut asked = prompts.into_iter().cycle().take(many.unwrap_or(12)).enumerate();
    let (mut out, mut repaired, mut held) = (0, 0, 0);
    let mut kept = String::new();
    loop {
        let together: Vec<(usize, Asked)> = asked.by_ref().take(8).collect();
        if together.is_empty() {
            break;
        }
        let written = together.into_iter().map(|(seed, asked)| {
            let (write, known) = (Arc::clone(&write), Arc::clone(&known));
            tokio::spawn(async move { written(&*write, &known[&asked.set], &asked, seed).await })
        });
        for written in futures_util::future::join_all(written).await {
            let (asked, verdict) = written.expect("did not break off");
            let line = match verdict {
                Verdict::Done(answer) => {
                    out += 1;
                    repaired += usize::from(answer["repaired"] == true);
                    json!({ "set": asked.set, "prompt": asked.prompt, "text": answer["text"], "repaired": answer["repaired"] })
                }
                Verdict::Refused(failure) => {
                    assert_eq!(failure.code, "policy_violation", "{failure}");
                    held += 1;
                    json!({ "set": asked.set, "prompt": asked.prompt, "held": failure.detail })
                }
                other => panic!("{other:?}"),
            };
            kept.push_str(&format!("{line}\n"));
        }
    }
    println!("{out} went out, {repaired} of them mended once; {held} held back");
    assert!(out > 0);
    if many.is_some() {
        std::fs::write("target/copies.jsonl", kept).expect("written");
    }
}

async fn written(write: &dyn Capability, known: &Known, asked: &Asked, seed: usize) -> (Asked, Verdict) {
    let facts = known.facts();
    let on_record: Arc<dyn storehand::domain::OnRecord> = Arc::new(OnRecord(known.catalogue.clone()));
    let attempt = Attempt {
        facts,
        on_record: Some(on_record),
        ..attempt(shop(), "order.created", Records::default(), Vec::new())
    };
    let input = json!({
        "prompt": asked.prompt, "policy": ["given_facts_only", "no_refund_promise"], "language": "en",
        "max_tokens": 160, "temperature": 0.7, "seed": seed,
    });
    (asked.clone(), write.perform(&attempt, &input).await)
}

/// The fetched library and model, or nothing where they are not there.
fn model(test: &str) -> Option<Settings> {
    let models = std::env::var_os("STOREHAND_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    let settings = Settings {
        library: Some(models.join("onnxruntime").join("libonnxruntime.so")),
        folder: models.join("smollm2-135m-instruct"),
        threads: 2,
        context_tokens: 1024,
        ..Settings::default_in(Path::new("."))
    };
    if !settings.folder.exists() || !settings.library.as_ref().is_some_and(|library| library.exists()) {
        eprintln!("SKIPPED: {test}: no model in {}; `storehand model fetch` gets one", models.display());
        return None;
    }
    Some(settings)
}
