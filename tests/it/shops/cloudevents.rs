//! CloudEvents: what is refused, and with which words.

use serde_json::json;
use storehand::domain::{RecordKind, Refused};

use super::{headers, receive};

fn said(body: &str) -> String {
    let headers = headers(&[("content-type", "application/cloudevents+json"), ("webhook-id", "1")]);
    match receive("standard", &headers, body.as_bytes()) {
        Err(Refused::Malformed(text)) => text,
        other => panic!("{body}: {other:?}"),
    }
}

fn event(kind: &str, data: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"urn:erp","type":"{kind}","data":{data}}}"#)
}

#[test]
fn mistakes_are_said_with_their_place() {
    for (body, place) in [
        (event("order.paid", r#"{"order":{"id":"1","total":20}}"#), "data.order.total"),
        (event("order.paid", r#"{"order":{"id":1042}}"#), "data.order.id"),
        (event("order.paid", r#"{"order":{"id":"1","lines":[{},{"total":"20"}]}}"#), "data.order.lines[1].total"),
        (event("order.paid", r#"{"ordr":{"id":"1"}}"#), "`data.ordr` is no record"),
        (event("order.paid", r#"{"order":{}}"#), "`data.order.id` is missing"),
        (event("order.paid", "{}"), "needs `data.order`"),
        (event("order.paid", "[]"), "`data`"),
        (event("", "{}"), "`type`"),
        (event("order.paid", "{").replace("{}", ""), "line 1"),
        (r#"{"specversion":"0.3","id":"1","source":"s","type":"order.paid"}"#.into(), "`specversion`"),
        (r#"{"specversion":"1.0","source":"s","type":"order.paid"}"#.into(), "`id`"),
        (r#"{"specversion":"1.0","id":"1","source":"a b","type":"order.paid"}"#.into(), "`source`"),
    ] {
        let text = said(&body);
        assert!(text.contains(place), "{body}: {text}");
    }
}

#[test]
fn one_bad_event_refuses_its_batch() {
    let headers = headers(&[("content-type", "application/cloudevents-batch+json"), ("webhook-id", "1")]);
    let good = event("order.paid", r#"{"order":{"id":"1"}}"#);
    let batch = format!("[{good},{}]", event("order.paid", "{}"));
    let refused = receive("standard", &headers, batch.as_bytes()).expect_err("refused");
    assert!(refused.to_string().starts_with("event 2 of the batch"), "{refused}");
    let crowd = format!("[{}]", vec![good; 1001].join(","));
    let refused = receive("standard", &headers, crowd.as_bytes()).expect_err("refused");
    assert!(refused.to_string().contains("1000"), "{refused}");
    assert!(receive("standard", &headers, b"[]").expect("taken").events.is_empty());
}

#[test]
fn other_content_types_are_told_what_to_send() {
    for content_type in ["text/plain", "application/json", ""] {
        let headers = headers(&[("content-type", content_type), ("webhook-id", "1")]);
        let refused = receive("standard", &headers, b"{}").expect_err("refused");
        assert!(refused.to_string().contains("application/cloudevents+json"), "{refused}");
    }
    let binary = headers(&[
        ("content-type", "text/xml"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "t"),
        ("webhook-id", "1"),
        ("webhook-id", "1"),
    ]);
    assert!(receive("standard", &binary, b"<a/>").expect_err("refused").to_string().contains("JSON"));
    let lacking = headers(&[("content-type", "application/json"), ("ce-specversion", "1.0"), ("webhook-id", "1")]);
    assert!(receive("standard", &lacking, b"{}").expect_err("refused").to_string().contains("ce-id"));
}

#[test]
fn sameness_is_source_and_id() {
    let key = |source: &str, id: &str| {
        let body = json!({ "specversion": "1.0", "id": id, "source": source, "type": "own.thing" }).to_string();
        let headers = headers(&[("content-type", "application/cloudevents+json"), ("webhook-id", "1")]);
        receive("standard", &headers, body.as_bytes()).expect("taken").events[0].delivery_key.clone()
    };
    assert_eq!(key("a", "1"), key("a", "1"));
    assert_ne!(key("a", "1"), key("b", "1"));
    assert_ne!(key("a", "1"), key("a", "2"));
}

#[test]
fn a_subject_may_name_a_record_that_is_looked_up() {
    let body = r#"{"specversion":"1.0","id":"1","source":"s","type":"order.updated","subject":"order/1042"}"#;
    let headers = headers(&[("content-type", "application/cloudevents+json"), ("webhook-id", "1")]);
    let taken = receive("standard", &headers, body.as_bytes()).expect("taken");
    let [mention] = taken.events[0].mentions.as_slice() else { panic!("one mention") };
    assert_eq!((mention.kind, &*mention.id), (RecordKind::Order, "1042"));
}
