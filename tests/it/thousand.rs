//! A thousand spoiled deliveries through the real server: each is taken and on record, or refused with a reason.

use std::path::Path;

use serde_json::Value as Json;
use storehand::shops::signature::sign_shopify;
use storehand::store::EventFilter;

use crate::support::{TestApp, acme};

/// The same numbers every time.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }
}

/// All recorded deliveries: topic and body.
fn recorded() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deliveries/shopify");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("a file").path()).collect();
    files.sort();
    let is_delivery = |path: &std::path::PathBuf| !path.to_string_lossy().ends_with(".event.json");
    let read = |path: std::path::PathBuf| {
        let file: Json = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
        (file["headers"]["x-shopify-topic"].as_str().expect("a topic").to_owned(), file["body"].to_string())
    };
    files.into_iter().filter(is_delivery).map(read).collect()
}

/// One of the values of a JSON body, chosen by its number, in the place of another of another type.
fn retype(value: &mut Json, at: &mut usize, into: &Json) {
    if *at == 0 {
        *value = into.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| {
            if *at != usize::MAX {
                retype(item, at, into)
            }
        }),
        Json::Object(fields) => fields.values_mut().for_each(|field| {
            if *at != usize::MAX {
                retype(field, at, into)
            }
        }),
        _ => {}
    }
}

fn spoil(body: &str, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    match draw.next(8) {
        // Cut off, or with bytes missing within.
        0 => bytes.truncate(draw.next(bytes.len())),
        1 => {
            let at = draw.next(bytes.len());
            let end = (at + 1 + draw.next(50)).min(bytes.len());
            bytes.drain(at..end);
        }
        // Wrong types.
        2 | 3 => {
            let mut json: Json = serde_json::from_str(body).expect("JSON");
            let into = ["null", "true", "[]", "{}", "\"\"", "-1", "1e999", "\"x\"", "[[1]]", "0.1", "\"2026-99-99\""];
            let into: Json = serde_json::from_str(into[draw.next(into.len())]).unwrap_or(Json::Null);
            retype(&mut json, &mut draw.next(120), &into);
            bytes = json.to_string().into_bytes();
        }
        // Huge: past what is read, deep, long texts, long numbers.
        4 => bytes = format!("{{\"id\":1,\"x\":\"{}\"}}", "a".repeat(1 << (12 + draw.next(9)))).into_bytes(),
        5 => bytes = format!("{}1{}", "[".repeat(1 << draw.next(14)), "]".repeat(1 << draw.next(14))).into_bytes(),
        // Wrong encodings.
        6 => {
            let at = draw.next(bytes.len());
            bytes[at] = 0x80 + draw.next(0x80) as u8;
        }
        _ => {
            let wide: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
            bytes = if draw.next(2) == 0 { wide } else { [b"\xef\xbb\xbf".as_slice(), &bytes].concat() };
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_spoiled_deliveries_are_taken_or_refused_with_a_reason() {
    let it = TestApp::start(&[]).await;
    let (all, mut draw) = (recorded(), Draw(20_261_125));
    let client = reqwest::Client::new();
    let url = format!("http://{}/hooks/acme/shopify", it.app.address);
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for number in 0..1000 {
        let (topic, body) = &all[draw.next(all.len())];
        // What forgets people is tried elsewhere: here it would have the others wait.
        let topic = if topic.ends_with("/redact") { "orders/create" } else { topic };
        let body = spoil(body, &mut draw);
        let signature = sign_shopify(&it.signer.shopify, &body);
        let request = client
            .post(&url)
            .header("x-shopify-topic", topic)
            .header("x-shopify-webhook-id", format!("spoiled-{number}"))
            .header("x-shopify-hmac-sha256", signature)
            .body(body.clone());
        let answer = match request.send().await {
            Ok(answer) => answer,
            // Of one that is too long the rest is not waited for: who still sends may not hear the 413.
            Err(_) if body.len() > 1 << 20 => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("{number} {topic}: {error}"),
        };
        let status = answer.status().as_u16();
        let said = answer.text().await.unwrap_or_default();
        match status {
            200 => taken += 1,
            400 | 413 => {
                refused += 1;
                let problem: Json = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{number}: {said}"));
                let reason = problem["detail"].as_str().unwrap_or_default();
                assert!(reason.len() > 10, "{number} {topic}: {problem}");
            }
            other => panic!("{number} {topic} is answered {other}: {said}"),
        }
    }
    it.settle().await;
    assert_eq!(taken + refused, 1000);
    assert!(taken > 200 && refused > 200, "{taken} taken, {refused} refused");
    assert_eq!(it.app.store.count_events().await.expect("a count"), taken, "none is lost, none is there twice");
    // What was taken is matched, and reads back.
    let left = it.app.store.unmatched(&acme(), storehand::domain::EventId(0), 10).await.expect("events");
    assert!(left.is_empty(), "{left:?}");
    let events = it.app.store.events(&acme(), &EventFilter { most: 2000, ..EventFilter::default() }).await;
    assert_eq!(events.expect("they read back").len() as u64, taken);
}
