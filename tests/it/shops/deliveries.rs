//! Every file in `tests/fixtures/deliveries/<source>/` becomes the events written beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use storehand::domain::{Delivery, NewEvent, Refused, Secret, Secrets};
use storehand::shops;

use super::{headers, receive, received};

#[derive(Deserialize)]
struct File {
    headers: BTreeMap<String, String>,
    body: Option<Box<RawValue>>,
    /// In place of `body`: the fields of a form; one that is no text is written as JSON.
    form: Option<BTreeMap<String, Json>>,
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        if let Some(body) = &self.body {
            return body.get().as_bytes().to_vec();
        }
        let form = self.form.as_ref().expect("`body` or `form`");
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields: Vec<(&str, String)> = form.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
        super::urlencoded(&fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>())
    }
}

pub(super) fn shown(event: &NewEvent) -> Json {
    json!({
        "kind": event.kind, "topic": event.topic, "subject": event.subject, "time": event.time,
        "delivery_key": event.delivery_key, "records": event.records, "mentions": event.mentions,
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".json") && !path.to_string_lossy().ends_with(".event.json"))
        .collect();
    found.sort();
    found
}

#[test]
fn recorded_deliveries_become_the_events_beside_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deliveries");
    let update = std::env::var_os("STOREHAND_UPDATE_FIXTURES").is_some();
    let mut differ = Vec::new();
    for source in shops::ALL {
        let files = files(&root.join(source.name()));
        assert!(!files.is_empty(), "no deliveries of {}", source.name());
        for path in files {
            let file: File = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a delivery");
            let body = file.bytes();
            let headers: Vec<(String, String)> = file.headers.into_iter().collect();
            let taken =
                receive(source.name(), &headers, &body).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if let ([only], Some(body)) = (taken.events.as_slice(), &file.body) {
                assert_eq!(&*only.payload, body.get(), "the payload is kept whole");
            }
            let found = Json::from_iter(taken.events.iter().map(shown));
            let expectation = path.with_extension("event.json");
            if update {
                let text = serde_json::to_string_pretty(&found).expect("text") + "\n";
                std::fs::write(&expectation, text).expect("written");
            }
            let expected =
                std::fs::read(&expectation).ok().and_then(|bytes| serde_json::from_slice::<Json>(&bytes).ok());
            if expected.as_ref() != Some(&found) {
                differ.push(format!("{}: found {found:#}", path.display()));
            }
        }
    }
    assert!(differ.is_empty(), "STOREHAND_UPDATE_FIXTURES=1 writes these anew:\n{}", differ.join("\n"));
}

#[test]
fn an_unsigned_or_altered_delivery_is_no_event() {
    for source in shops::ALL {
        for signature in ["", "AAAA", "v1,AAAA"] {
            let headers = headers(&[
                ("x-shopify-topic", "orders/create"),
                ("x-shopify-hmac-sha256", signature),
                ("webhook-id", "1"),
                ("webhook-timestamp", &received().as_second().to_string()),
                ("webhook-signature", signature),
            ]);
            let delivery =
                Delivery { headers: &headers, query: &[], method: "POST", body: br#"{"id":1}"#, received: received() };
            for secrets in [Secrets::default(), Secrets::new(["", "right"].map(Secret::new))] {
                assert!(matches!(source.receive(delivery, &secrets), Err(Refused::Signature { .. })), "{signature}");
            }
        }
    }
}

#[test]
fn what_is_signed_and_unreadable_says_where() {
    for (topic, body, said) in [
        ("orders/create", &b"{\"id\":"[..], "line 1 column 6"),
        ("orders/create", b"", "line 1 column 0"),
        ("orders/create", b"{\"id\":null}", "no `id`"),
        ("orders/create", b"{\"id\":8.2e17}", "`id`"),
        ("orders/create", b"{\"id\":1,\"line_items\":[{},{\"price\":\"free\"}]}", "line_items[1].price"),
        ("orders/create", b"{\"id\":1,\"currency\":\"EURO\"}", "currency"),
        ("inventory_levels/update", b"{\"inventory_item_id\":1}", "location_id"),
        ("themes/publish", b"{\"id\":1}}", "column 9"),
        ("orders/create", b"\xff", "UTF-8"),
        ("", b"{}", "x-shopify-topic"),
    ] {
        let refused = receive("shopify", &headers(&[("x-shopify-topic", topic)]), body).expect_err(topic);
        assert!(matches!(&refused, Refused::Malformed(text) if text.contains(said)), "{topic}: {refused}");
    }
    let deep = "[".repeat(500_000);
    let refused = receive("shopify", &headers(&[("x-shopify-topic", "themes/publish")]), deep.as_bytes());
    assert!(matches!(refused, Err(Refused::Malformed(_))));
}

#[test]
fn numbers_survive_in_either_notation_and_nothing_is_nothing() {
    let body = br#"{"id":"18446744073709551617","currency":"jpy","total_price":1200,"subtotal_price":"1200.10",
        "total_tax":0.1,"total_discounts":null,"email":"","customer":null,"note":"","tags":"","financial_status":null,
        "line_items":[{"id":18446744073709551617,"price":19.9,"quantity":3,"total_discount":"0.7"},{"id":2,"price":"1"}],
        "created_at":"2026-11-23T10:00:00+09:00","updated_at":""}"#;
    let taken = receive("shopify", &headers(&[("x-shopify-topic", "orders/paid")]), body).expect("taken");
    let [event] = taken.events.as_slice() else { panic!("one event") };
    let order = event.records.order.as_deref().expect("an order");
    assert_eq!(order.id.as_deref(), Some("18446744073709551617"));
    assert_eq!(order.lines[0].id.as_deref(), Some("18446744073709551617"));
    let shown =
        [order.total, order.subtotal, order.tax, order.discount, order.lines[0].unit_price, order.lines[0].total]
            .map(|money| money.map(|money| money.to_string()));
    let expected = [Some("1200 JPY"), Some("1200.10 JPY"), Some("0.1 JPY"), None, Some("19.9 JPY"), Some("59.0 JPY")];
    assert_eq!(shown, expected.map(|text| text.map(str::to_owned)));
    assert_eq!(order.lines[1].total, None, "no quantity, no total");
    assert_eq!(order.created_at, Some("2026-11-23T01:00:00Z".parse().expect("time")));
    assert_eq!((&order.customer, &order.note, &order.financial_status), (&None, &None, &None));
    assert_eq!((&order.status, &order.fulfillment_status), (&None, &None), "absent is not `open`");
    assert_eq!(event.time, received(), "the platform gave no time");
    assert!(order.tags.is_empty());
}

#[test]
fn repeats_have_one_key_and_other_topics_another() {
    let key = |extra: &[(&str, &str)], topic: &str| {
        let mut all = headers(&[("x-shopify-topic", topic)]);
        all.extend(headers(extra));
        receive("shopify", &all, br#"{"id":1}"#).expect("taken").events[0].delivery_key.clone()
    };
    assert_eq!(key(&[("x-shopify-webhook-id", "w1"), ("x-shopify-event-id", "e1")], "orders/paid"), "w1");
    assert_ne!(
        key(&[("x-shopify-event-id", "e1")], "orders/paid"),
        key(&[("x-shopify-event-id", "e1")], "orders/updated")
    );
    assert_eq!(key(&[], "orders/paid"), key(&[], "orders/paid"));
    assert_ne!(key(&[], "orders/paid"), key(&[], "orders/updated"));
}
