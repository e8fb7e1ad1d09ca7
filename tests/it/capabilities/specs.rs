//! Every capability is declared in full: its example fits its own schemas, its fields are described.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::{Facts, FieldKind, Kind, Makes, Order, Records, Repeat, validate};

use super::{attempt, shop, text};

#[test]
fn every_example_fits_its_schemas() {
    for capability in all(Deps::default()) {
        let spec = capability.spec();
        assert_eq!(validate(&spec.input, &spec.example.input), Ok(()), "{}'s input", spec.name);
        assert_eq!(validate(&spec.output, &spec.example.answer), Ok(()), "{}'s answer", spec.name);
    }
}

#[test]
fn every_spec_is_complete_and_the_list_is_alphabetical() {
    let capabilities = all(Deps::default());
    let names: Vec<&str> = capabilities.iter().map(|it| it.spec().name).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    for capability in &capabilities {
        let spec = capability.spec();
        assert!(
            spec.name
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        assert!(spec.doc.ends_with('.') && spec.deadline > Duration::ZERO, "{}", spec.name);
        assert_eq!(spec.input["additionalProperties"], Json::Bool(false), "{}", spec.name);
        for (name, schema) in spec.input["properties"].as_object().expect("properties") {
            assert!(schema["description"].is_string(), "{}: {name} is not described", spec.name);
        }
        // What nobody can look up and no key guards is only for what has to be so.
        if spec.repeat == Repeat::None {
            assert_eq!(spec.kind, Kind::Write, "{}", spec.name);
        }
    }
    assert_eq!(catalog(&capabilities).capabilities.len(), capabilities.len());
}

#[test]
fn what_a_write_says_of_itself_is_there() {
    let catalog = catalog(&all(Deps::default()));
    for spec in catalog.capabilities.values() {
        for Makes { event, fields } in spec.makes {
            let known = catalog.events().iter().find(|known| known.name == *event).expect(event);
            let record = catalog.records().iter().find(|record| Some(&record.name) == known.records.first());
            let Some(FieldKind::Record(of_record)) = record.map(|record| record.kind) else { panic!("{event}") };
            assert!(!fields.is_empty(), "{} makes {event} of nothing", spec.name);
            for field in *fields {
                assert!(of_record.iter().any(|known| known.name == *field), "{}: {event} has no {field}", spec.name);
            }
        }
        if let Some(amount) = spec.amount {
            assert!(spec.input["properties"][amount].is_object(), "{}: {amount}", spec.name);
        }
        let changes = !spec.makes.is_empty() || spec.inverse.is_some() || spec.amount.is_some();
        assert!(!changes || spec.kind == Kind::Write, "{} is no write", spec.name);
    }
}

#[test]
fn tags_are_taken_back_as_far_as_they_were_not_there_before() {
    let catalog = catalog(&all(Deps::default()));
    let order = Order { id: text("7"), tags: vec!["vip".into(), "Web".into()], ..Order::default() };
    let context = Records { order: Some(Arc::new(order)), ..Records::default() };
    let facts = attempt(shop(), "order.created", context, vec![]).facts;
    let inverse = |name: &str, facts: &Facts, input: Json| {
        let inverse = catalog.capabilities[name].inverse.expect("an inverse")(facts, &input, &Json::Null);
        if let Some((name, input)) = &inverse {
            let spec = &catalog.capabilities[*name];
            assert_eq!((validate(&spec.input, input), spec.kind), (Ok(()), Kind::Write));
        }
        inverse
    };
    let tags = |tags: &[&str]| json!({ "tags": tags, "order_id": "7" });
    for (name, input, back) in [
        ("order.tag", json!({ "tags": ["vip", "big", "WEB"] }), Some(("order.untag", tags(&["big"])))),
        ("order.tag", tags(&["web"]), None),
        ("order.untag", json!({ "tags": ["vip", "big"] }), Some(("order.tag", tags(&["vip"])))),
        ("order.untag", tags(&["big"]), None),
        // Of another order nobody knows what it had.
        ("order.tag", json!({ "tags": ["big"], "order_id": "8" }), None),
    ] {
        assert_eq!(inverse(name, &facts, input.clone()), back, "{name} {input}");
    }
    let unknown = attempt(shop(), "order.created", Records::default(), vec![]).facts;
    assert_eq!(inverse("order.tag", &unknown, tags(&["big"])), None);
}

#[test]
fn what_does_not_fit_is_refused_by_the_schemas() {
    let catalog = catalog(&all(Deps::default()));
    for (name, input) in [
        ("order.tag", r#"{"tags":[]}"#),
        ("order.tag", r#"{"tags":["a,b"]}"#),
        ("order.tag", r#"{"tags":[" a"]}"#),
        ("order.tag", r#"{"tags":["a"],"order_id":1042}"#),
        ("order.tag", r#"{"tags":["a"],"order":"1"}"#),
        ("order.untag", r#"{"tags":[]}"#),
        ("order.untag", r#"{"tags":["a,b"]}"#),
        ("message.send", r#"{"text":""}"#),
        ("message.send", "{}"),
        ("wait", r#"{"for":"10 minutes"}"#),
        ("memory.get", r#"{"key":""}"#),
        ("memory.add", r#"{"key":"a","by":true}"#),
        ("http.request", r#"{"method":"TRACE","url":"https://a.example"}"#),
        ("log", r#"{"message":5}"#),
    ] {
        let input: Json = serde_json::from_str(input).expect("json");
        assert!(validate(&catalog.capabilities[name].input, &input).is_err(), "{name} {input}");
    }
}
