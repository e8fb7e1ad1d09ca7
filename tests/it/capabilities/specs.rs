//! Every capability is declared in full: its example fits its own schemas, its fields are described.

use std::time::Duration;

use serde_json::Value as Json;
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::{Kind, Repeat, validate};

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
        assert!(spec.name.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
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
fn what_does_not_fit_is_refused_by_the_schemas() {
    let catalog = catalog(&all(Deps::default()));
    for (name, input) in [
        ("order.tag", r#"{"tags":[]}"#),
        ("order.tag", r#"{"tags":["a,b"]}"#),
        ("order.tag", r#"{"tags":[" a"]}"#),
        ("order.tag", r#"{"tags":["a"],"order_id":1042}"#),
        ("order.tag", r#"{"tags":["a"],"order":"1"}"#),
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
