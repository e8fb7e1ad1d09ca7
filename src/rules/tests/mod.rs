//! The rule language as merchants meet it: what expressions, templates, steps and scripts do with a small shop.

mod attacks;
mod conditions;
mod limits;
mod lists;
mod mistakes;
mod replay;
mod scripts;
mod simple;
mod stepping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::advance::{Progress, advance};
use super::expr::{EarlierStep, Expr, Mistake, Scope};
use super::rule::{Body, Condition, Input, InputKind, OnChange, Overlap, Rule, Status};
use super::script::Script;
use crate::domain::{
    Answer, AskOptions, Asked, Catalog, Door, Event, EventId, EventType, Facts, Inputs, Limits, RecordKey, RecordKind,
    Records, Value,
};

/// A return of 35 EUR from order 1042, whose customer is Ana.
fn facts() -> Facts {
    let records = json!({
        "order": {
            "id": "1042", "name": "#1042", "number": "1042", "total": "120.00 EUR", "subtotal": "100 EUR",
            "created_at": "2026-11-20T10:00:00Z", "tags": ["vip", "fragile"],
            "customer": { "id": "7", "name": "Ana Lima", "first_name": "Ana", "orders_count": 3 },
            "lines": [
                { "sku": "TEA-1", "quantity": 2, "total": "20 EUR", "unit_price": "10 EUR" },
                { "sku": "POT-9", "quantity": 1, "total": "100 EUR" },
            ],
        },
        "returned": { "id": "9", "order_id": "1042", "total": "35 EUR", "lines": [{ "quantity": 1 }] },
    });
    facts_of(records)
}

fn facts_of(records: Json) -> Facts {
    let records: Arc<Records> = serde_json::from_value(records).expect("records");
    let time = "2026-11-23T10:00:00Z".parse().expect("time");
    let event = Event {
        id: EventId(1),
        shop: "acme".parse().expect("shop"),
        source: "/shopify/acme".into(),
        kind: "return.requested".into(),
        topic: "returns/request".into(),
        subject: "return/9".into(),
        time,
        received: time,
        records: Arc::clone(&records),
        mentions: Vec::new(),
        late: false,
        echo: None,
    };
    let inputs: Inputs = inputs().into_iter().map(|input| (input.name, input.value)).collect();
    Facts { event: Arc::new(event), context: records, missing: Vec::new(), inputs: Arc::new(inputs), now: time }
}

/// The same return, whose order nobody knows.
fn facts_without_order() -> Facts {
    let mut facts = facts_of(json!({ "returned": { "id": "9", "order_id": "1042" } }));
    facts.missing = vec![RecordKey { kind: RecordKind::Order, id: "1042".into() }.into()];
    facts
}

fn inputs() -> Vec<Input> {
    let input = |name: &str, kind, value| Input { name: name.into(), kind, value, label: BTreeMap::new() };
    vec![
        input("limit", InputKind::Money, Value::Money("50 EUR".parse().expect("money"))),
        input("dollars", InputKind::Money, Value::Money("50 USD".parse().expect("money"))),
        input("age", InputKind::Duration, Value::Text("2d".into())),
        input("words", InputKind::List, Value::List(vec![Value::Text("refund".into()), Value::Text("vip".into())])),
    ]
}

fn with_scope<T>(steps: &[&str], then: impl FnOnce(&Scope<'_>) -> T) -> T {
    let catalog = Catalog::default();
    let events: Vec<&EventType> = catalog.events().iter().filter(|it| it.name == "return.requested").collect();
    // The answer of a step that is named for several is a list.
    let step = |&id: &&str| EarlierStep { id: id.to_owned(), is_list: id.ends_with('s') };
    let steps: Vec<EarlierStep> = steps.iter().map(step).collect();
    let inputs = inputs();
    then(&Scope { catalog: &catalog, events: &events, inputs: &inputs, steps: &steps, item: None })
}

fn expr(text: &str) -> Expr {
    with_scope(&["draft", "ok"], |scope| Expr::compile(text, scope)).unwrap_or_else(|found| panic!("{text}: {found:?}"))
}

fn mistakes(text: &str) -> Vec<Mistake> {
    with_scope(&["draft", "ok"], |scope| Expr::compile(text, scope)).err().unwrap_or_default()
}

fn script(text: &str) -> Script {
    with_scope(&[], |scope| Script::compile("test.rhai", text, scope))
        .unwrap_or_else(|found| panic!("{text}: {found:?}"))
}

fn clause(text: &str) -> Condition {
    Condition::Clause { expr: expr(text), line: 7 }
}

fn rule(body: Body) -> Rule {
    Rule {
        id: "test".into(),
        name: BTreeMap::new(),
        status: Status::Live,
        inputs: inputs(),
        triggers: Vec::new(),
        conditions: Vec::new(),
        key: None,
        overlap: Overlap::default(),
        on_change: OnChange::default(),
        limits: Limits::default(),
        allow: Vec::new(),
        awaits: Vec::new(),
        body,
        tests: Vec::new(),
        file: "test.yaml".into(),
        text: String::new(),
        version: String::new(),
        tuning: BTreeMap::new(),
        values: Arc::default(),
    }
}

/// A door that answers the paths it is told to, and remembers what was asked.
#[derive(Clone, Default)]
struct TestDoor {
    answers: BTreeMap<String, Answer>,
    asked: Vec<(String, String, Json, AskOptions)>,
}

impl TestDoor {
    fn answering(answers: &[(&str, Json)]) -> Self {
        let answers = answers.iter().map(|(path, answer)| ((*path).to_owned(), Answer::Done(answer.clone())));
        Self { answers: answers.collect(), asked: Vec::new() }
    }

    fn paths(&self) -> Vec<&str> {
        self.asked.iter().map(|(path, ..)| path.as_str()).collect()
    }

    fn input(&self, path: &str) -> &Json {
        self.asked.iter().find(|(asked, ..)| asked == path).map_or(&Json::Null, |(_, _, input, _)| input)
    }
}

impl Door for TestDoor {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
        self.asked.push((path.to_owned(), capability.to_owned(), input, options));
        self.answers.get(path).cloned().map_or(Asked::NotYet, Asked::Answered)
    }
}

fn run_script(text: &str, door: TestDoor) -> (Progress, TestDoor) {
    advance(&rule(Body::Script(script(text))), &facts(), door)
}

#[test]
fn every_name_and_field_is_an_identifier_of_the_script_language() {
    use crate::domain::record::{Field, FieldKind, RecordType};
    fn names(fields: &'static [Field], into: &mut BTreeSet<&'static str>) {
        for field in fields {
            into.insert(field.name);
            let mut kind = &field.kind;
            while let FieldKind::List(of) = kind {
                kind = of;
            }
            if let FieldKind::Record(fields) = kind {
                names(fields, into);
            }
        }
    }
    let mut fields = BTreeSet::new();
    names(Records::FIELDS, &mut fields);
    names(crate::domain::Envelope::FIELDS, &mut fields);
    let engine = super::language::reader();
    for field in fields {
        assert!(engine.compile_expression(format!("order.{field}")).is_ok(), "{field} as a field");
    }
    let roots = Records::FIELDS.iter().map(|field| field.name).chain(["event", "inputs", "steps", "now"]);
    for root in roots {
        assert!(engine.compile_expression(format!("{root}.id")).is_ok(), "{root} as a name");
        assert!(super::names::is_fact(root), "{root}");
    }
}
