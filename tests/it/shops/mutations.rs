//! Whatever is done to a genuine delivery before it is signed, it is taken, or refused with a reason; never a panic.
//!
//! A fuzz target as well: `STOREHAND_FUZZ_CASES=1000000 cargo nextest run --release -E 'test(mutated_deliveries)'` goes on for
//! so many cases, from another seed each time, and shrinks what it finds.

use std::path::Path;

use proptest::prelude::*;
use storehand::domain::Refused;

use super::{headers, receive};

/// A source, headers and a body.
type Seed = (&'static str, Vec<(String, String)>, Vec<u8>);

/// Bodies to begin with, with the headers that make them read.
fn seeds() -> Vec<Seed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deliveries/shopify");
    let read = |name: &str| std::fs::read(root.join(name)).expect("a fixture");
    let body = |name: &str| {
        let file: serde_json::Value = serde_json::from_slice(&read(name)).expect("json");
        file["body"].to_string().into_bytes()
    };
    let topic = |topic: &str| headers(&[("x-shopify-topic", topic)]);
    let event = br#"{"specversion":"1.0","id":"1","source":"s","type":"return.requested","time":"2026-11-23T10:00:00Z",
        "data":{"returned":{"id":"9","order_id":"8","total":"20 EUR","lines":[{"quantity":1}]},"order":{"id":"8"}}}"#;
    let structured = headers(&[("content-type", "application/cloudevents+json"), ("webhook-id", "1")]);
    vec![
        ("shopify", topic("orders/create"), body("orders.create.json")),
        ("shopify", topic("returns/request"), body("returns.request.json")),
        ("shopify", topic("inventory_levels/update"), body("inventory_levels.update.json")),
        ("shopify", topic("customers/create"), body("customers.create.json")),
        ("standard", structured, event.to_vec()),
    ]
}

/// A change: what is put in the place of what.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    let splinter = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            &b"null"[..],
            b"\"\"",
            b"-1",
            b"1e999",
            b"0.1",
            b"99999999999999999999999999999999999999999",
            b"{}",
            b"[]",
            b"true",
            b"\"\\u0000\"",
            b"\"\\ud800\"",
            b"\"",
            b"{",
            b"}",
            b",",
            b"[[[[[[[[",
            b"\"2026-13-45\"",
            b"\xc3\x28",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    (any::<prop::sample::Index>(), 0_usize..40, splinter)
}

/// Cases of one run.
fn cases() -> ProptestConfig {
    let asked = std::env::var("STOREHAND_FUZZ_CASES").ok();
    ProptestConfig::with_cases(asked.map_or(400, |cases| cases.parse().expect("STOREHAND_FUZZ_CASES is a number")))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn mutated_deliveries_are_taken_or_refused_with_a_reason(
        seed in 0_usize..5,
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let (source, headers, mut body) = seeds().swap_remove(seed);
        for (at, cut, splinter) in changes {
            let at = at.index(body.len() + 1);
            let end = (at + cut).min(body.len());
            body.splice(at..end, splinter);
        }
        match receive(source, &headers, &body) {
            Ok(taken) => {
                for event in &taken.events {
                    prop_assert!(!event.subject.is_empty() && !event.delivery_key.is_empty());
                    // What was taken can be written down and read back.
                    let text = serde_json::to_string(&event.records).expect("json");
                    let back: storehand::domain::Records = serde_json::from_str(&text).expect("reads back");
                    prop_assert_eq!(&back, &event.records);
                }
            }
            Err(Refused::Malformed(reason)) => prop_assert!(reason.len() > 10, "{}", reason),
            Err(other) => prop_assert!(false, "genuine, and refused as {}", other),
        }
    }
}
