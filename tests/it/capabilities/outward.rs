//! Mail to whom a rule names, webhooks to other programs, lines for a report.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value as Json, json};
use storehand::domain::{MemoryOp, Records, Secret, Shop, Verdict};
use storehand::shops::signature::sign_standard;

use super::writes::connected;
use super::{attempt, capability, refused_with, shop};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that answers with these statuses, one after another, and then 204.
async fn receiver(statuses: &[u16]) -> (String, Seen) {
    let seen = Seen::default();
    let (notes, left) = (seen.clone(), Arc::new(Mutex::new(statuses.to_vec())));
    let answer = move |headers: HeaderMap, body: Bytes| {
        let (notes, left) = (notes.clone(), left.clone());
        async move {
            notes.lock().expect("a lock").push((headers, body));
            let mut left = left.lock().expect("a lock");
            let status = if left.is_empty() { 204 } else { left.remove(0) };
            StatusCode::from_u16(status).expect("a status")
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it").to_string();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (address, seen)
}

fn allowing(address: &str) -> Shop {
    let mut shop = shop();
    shop.private_hosts = vec![address.to_owned()];
    shop.secrets.insert("erp".into(), Secret::new(SECRET));
    shop
}

#[tokio::test]
async fn a_webhook_is_signed_and_every_attempt_has_the_same_id_and_body() {
    let (address, seen) = receiver(&[503]).await;
    let send = capability("webhook.send");
    let attempt = attempt(allowing(&address), "order.created", Records::default(), vec![]);
    let input =
        json!({ "url": format!("http://{address}/hooks"), "type": "order.held", "data": { "n": 1 }, "secret": "erp" });
    assert!(matches!(send.perform(&attempt, &input).await, Verdict::RetryAfter(..)));
    assert_eq!(send.perform(&attempt, &input).await, Verdict::Done(json!({ "status": 204 })));
    let seen = seen.lock().expect("a lock").clone();
    let header = |at: usize, name: &str| seen[at].0[name].to_str().expect("text").to_owned();
    assert_eq!(seen.len(), 2);
    assert_eq!((header(0, "webhook-id"), &seen[0].1), (header(1, "webhook-id"), &seen[1].1));
    let seconds: i64 = header(1, "webhook-timestamp").parse().expect("a number");
    let signature = sign_standard(&Secret::new(SECRET), &header(1, "webhook-id"), seconds, &seen[1].1);
    assert_eq!(signature, Some(header(1, "webhook-signature")));
    let body: Json = serde_json::from_slice(&seen[1].1).expect("JSON");
    assert_eq!((&body["type"], &body["data"]), (&json!("order.held"), &json!({ "n": 1 })));
}

#[tokio::test]
async fn a_webhook_goes_only_where_it_may_and_what_is_refused_is_said() {
    let (address, seen) = receiver(&[410, 400, 302]).await;
    let send = capability("webhook.send");
    let allowed = attempt(allowing(&address), "order.created", Records::default(), vec![]);
    let to = |url: &str, secret: &str| json!({ "url": url, "type": "a", "secret": secret });
    let here = format!("http://{address}/");
    for (url, secret, code) in [
        (here.as_str(), "erp", "gone"),
        (&here, "erp", "http_status"),
        (&here, "erp", "http_status"),
        (&here, "nobody", "no_secret"),
        ("http://127.0.0.1:1/", "erp", "address_refused"),
        ("https://[::ffff:169.254.169.254]/", "erp", "address_refused"),
        ("http://example.com/", "erp", "invalid_input"),
        ("ftp://example.com/", "erp", "invalid_input"),
    ] {
        refused_with(&send.perform(&allowed, &to(url, secret)).await, code);
    }
    assert_eq!(seen.lock().expect("a lock").len(), 3);
    let closed = Shop { private_hosts: vec!["127.0.0.1:9".into()], ..allowing("") };
    let closed = attempt(closed, "order.created", Records::default(), vec![]);
    let verdict = send.perform(&closed, &to("http://127.0.0.1:9/", "erp")).await;
    assert!(matches!(verdict, Verdict::RetryAfter(..)), "{verdict:?}");
}

#[tokio::test]
async fn a_mail_goes_to_whom_the_rule_names() {
    let (demo, shop) = connected().await;
    let send = capability("email.send");
    let input = json!({ "to": "boss@acme.example", "subject": "Low", "text": "5 left" });
    let sent = attempt(shop, "inventory.low", Records::default(), vec![]);
    assert!(matches!(send.perform(&sent, &input).await, Verdict::Done(_)));
    let mail = demo.mails().remove(0);
    assert_eq!((mail.to.as_str(), mail.subject.as_str(), mail.text.as_str()), ("boss@acme.example", "Low", "5 left"));
    assert_eq!(send.reaches(&sent.facts, &input).as_deref(), Some("boss@acme.example"));
    let alone = attempt(self::shop(), "inventory.low", Records::default(), vec![]);
    refused_with(&send.perform(&alone, &input).await, "no_mail");
}

#[test]
fn a_report_is_a_list_in_memory() {
    let attempt = attempt(shop(), "order.created", Records::default(), vec![]);
    let come = |name: &str, input: Json| capability(name).work_out(&attempt.facts, attempt.now, &input);
    let line = json!({ "at": "2026-11-23T10:00:00Z", "text": "#1042 was held" });
    let push = MemoryOp::Push { key: "report/daily".into(), value: line, most: 500 };
    assert_eq!(come("report.add", json!({ "text": "#1042 was held" })), Verdict::Memory(push));
    assert_eq!(
        come("report.take", json!({ "report": "stock" })),
        Verdict::Memory(MemoryOp::Take { key: "report/stock".into() })
    );
}
