//! Customers' mail: every mail in `tests/fixtures/mails/` becomes the event beside it, whoever brings it; and answers
//! stay in their conversation.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::demo::Signed;
use storehand::domain::{Refused, Secret};
use storehand::shops::signature::sign_mailgun;

use super::deliveries::shown;
use super::{headers, receive, urlencoded};
use crate::support::TestApp;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn mails_become_the_events_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mails");
    let update = std::env::var_os("STOREHAND_UPDATE_FIXTURES").is_some();
    let files = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "eml")).collect();
    files.sort();
    assert!(files.len() >= 11);
    let mut differ = Vec::new();
    for path in files {
        let raw = std::fs::read(&path).expect("a mail");
        let body = urlencoded(&[("recipient", b"desk@acme.example"), ("body-mime", &raw)]);
        let taken =
            receive("mailgun", &headers(&[FORM]), &body).unwrap_or_else(|it| panic!("{}: {it}", path.display()));
        let [event] = taken.events.as_slice() else { panic!("one event") };
        let payload: Json = serde_json::from_str(&event.payload).expect("JSON");
        let mut found = shown(event);
        found["whole_text"] = payload["text"].clone();
        let expectation = path.with_extension("event.json");
        if update {
            let text = serde_json::to_string_pretty(&found).expect("text") + "\n";
            std::fs::write(&expectation, text).expect("written");
        }
        let expected = std::fs::read(&expectation).ok().and_then(|bytes| serde_json::from_slice::<Json>(&bytes).ok());
        if expected.as_ref() != Some(&found) {
            differ.push(format!("{}: found {found:#}", path.display()));
        }
    }
    assert!(differ.is_empty(), "STOREHAND_UPDATE_FIXTURES=1 writes these anew:\n{}", differ.join("\n"));
}

#[test]
fn both_of_mailguns_forms_bring_the_same_event() {
    let raw = b"Message-ID: <a@b.example>\r\nFrom: Ana <ana@example.com>\r\nSubject: =?utf-8?B?5L2g5aW9?=\r\n\
        Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n> quoted\r\n";
    let list = json!([
        ["Message-ID", "<a@b.example>"],
        ["From", "Ana <ana@example.com>"],
        ["Subject", "=?utf-8?B?5L2g5aW9?="],
        ["Date", "Mon, 23 Nov 2026 09:00:00 +0000"],
    ]);
    let to: (&str, &[u8]) = ("recipient", b"help@acme.example, desk@acme.example");
    let mime = urlencoded(&[to, ("body-mime", raw)]);
    let list = list.to_string();
    let parsed = urlencoded(&[to, ("message-headers", list.as_bytes()), ("body-plain", b"Hello\r\n> quoted\r\n")]);
    let rich = urlencoded(&[
        to,
        ("message-headers", list.as_bytes()),
        ("body-plain", b" \n"),
        ("body-html", b"<p>Hello</p><blockquote>quoted</blockquote>"),
    ]);
    let shown = [mime, parsed, rich].map(|body| {
        let taken = receive("mailgun", &headers(&[FORM]), &body).expect("taken");
        shown(&taken.events[0])
    });
    assert_eq!(shown[0]["records"]["message"]["to"], "help@acme.example");
    assert_eq!(shown[0]["records"]["message"]["text"], "Hello");
    assert_eq!(shown[0]["records"]["message"]["subject"], "你好");
    assert_eq!(shown[0], shown[1]);
    assert_eq!(shown[0], shown[2]);
}

#[test]
fn a_header_in_the_list_cannot_bring_another() {
    let list = json!([
        ["From", "ana@example.com"],
        ["X-A: b\r\nFrom", "eve@example.com"],
        ["Subject", "a\r\nX-Storehand: sent"]
    ]);
    let body = urlencoded(&[("message-headers", list.to_string().as_bytes()), ("body-plain", b"hi")]);
    let taken = receive("mailgun", &headers(&[FORM]), &body).expect("taken");
    let message = taken.events[0].records.message.clone().expect("a message");
    assert_eq!((message.from.as_deref(), message.automatic.as_deref()), (Some("ana@example.com"), None));
    assert_eq!(message.subject.as_deref(), Some("a X-Storehand: sent"));
}

#[test]
fn what_is_signed_and_no_mail_says_what_is_wrong() {
    type Fields<'f> = &'f [(&'f str, &'f [u8])];
    let fields: [(Fields<'_>, &str); 4] = [
        (&[("recipient", b"a@b.example")], "message-headers"),
        (&[("message-headers", b"{}")], "message-headers"),
        (&[("message-headers", b"[]")], "no header"),
        (&[("body-mime", b"")], "no header"),
    ];
    for (fields, said) in fields {
        let refused = receive("mailgun", &headers(&[FORM]), &urlencoded(fields)).expect_err(said);
        assert!(matches!(&refused, Refused::Malformed(text) if text.contains(said)), "{said}: {refused}");
    }
}

/// A mail as Mailgun delivers it, signed when the test says that it is.
fn delivered(app: &TestApp, raw: &str) -> Signed {
    let (seconds, token) = (app.now().as_second().to_string(), "5".repeat(50));
    let signature = sign_mailgun(&Secret::new("mailgun-secret"), &seconds, &token);
    let body = urlencoded(&[
        ("recipient", b"hello@demo.example"),
        ("body-mime", raw.as_bytes()),
        ("timestamp", seconds.as_bytes()),
        ("token", token.as_bytes()),
        ("signature", signature.as_bytes()),
    ]);
    Signed { source: "mailgun", headers: headers(&[FORM]), body }
}

const ANSWER: &str = r#"
id: answer
status: live
triggers: [{ event: "message.*" }]
key: message.conversation_id
allow: [message.send]
steps:
  - { uses: message.send, with: { text: "We have {{ message.text }}" } }
"#;

async fn start() -> TestApp {
    let secrets = [("STOREHAND_SHOP__ACME__SOURCES__MAILGUN__SECRETS", "mailgun-secret")];
    TestApp::start_with(&[("answer.yaml", ANSWER)], &secrets).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_stays_in_its_conversation_and_a_mail_is_one_event() {
    let app = start().await;
    let first = "From: ana@example.com\r\nMessage-ID: <q1@example.com>\r\nSubject: Cup\r\n\r\nIs it blue?\r\n";
    assert_eq!(app.deliver(&delivered(&app, first)).await, 200);
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(app.deliver(&delivered(&app, first)).await, 200, "again, signed anew");
    app.settle().await;
    let mails = app.shop.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(
        (&*mails[0].to, &*mails[0].subject, &*mails[0].text),
        ("ana@example.com", "Re: Cup", "We have Is it blue?")
    );
    assert_eq!(mails[0].in_reply_to.as_deref(), Some("q1@example.com"));
    assert_eq!(mails[0].references, ["q1@example.com"]);

    let ours = format!("{}@demo.example", mails[0].message_id);
    let second = format!(
        "From: ana@example.com\r\nMessage-ID: <q2@example.com>\r\nSubject: Re: Cup\r\nIn-Reply-To: <{ours}>\r\n\
         References: <q1@example.com>\r\n <{ours}>\r\n\r\nThen yes.\r\n\r\nOn Mon, Nov 23, 2026 Acme wrote:\r\n> We have\r\n"
    );
    assert_eq!(app.deliver(&delivered(&app, &second)).await, 200);
    app.settle().await;
    let mails = app.shop.mails();
    assert_eq!(&*mails[1].text, "We have Then yes.");
    assert_eq!(mails[1].references, ["q1@example.com", "q2@example.com"], "its first mail and the answered one");
    assert_eq!(app.ends().await, ["done", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_not_answered() {
    let app = start().await;
    let machine = |id: &str, header: &str| {
        format!("From: ben@example.com\r\nMessage-ID: <{id}@example.com>\r\n{header}\r\n\r\nI am away.\r\n")
    };
    for (id, header) in [("a", "Auto-Submitted: auto-replied"), ("b", "X-Storehand: sent"), ("c", "Return-Path: <>")] {
        assert_eq!(app.deliver(&delivered(&app, &machine(id, header))).await, 200);
    }
    app.settle().await;
    assert_eq!(app.shop.mails(), []);
    let ends = app.ends().await;
    assert!(ends.len() == 3 && ends.iter().all(|end| end.contains("automatic_message")), "{ends:?}");
    let (status, events) = app.get("/v1/events?type=message.automatic").await;
    assert_eq!((status, events.as_array().or(events["events"].as_array()).map(Vec::len)), (200, Some(3)), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_or_signed_otherwise_leaves_nothing() {
    let app = start().await;
    let mail = delivered(&app, "From: ana@example.com\r\n\r\nhello\r\n");
    let mut forged = mail.body.clone();
    let last = forged.last_mut().expect("a body");
    *last = if *last == b'0' { b'1' } else { b'0' };
    assert_eq!(app.deliver(&Signed { body: forged, ..mail.clone() }).await, 401);
    app.clock.advance(Duration::from_secs(301));
    assert_eq!(app.deliver(&mail).await, 401);
    app.settle().await;
    assert_eq!(app.runs().await.len(), 0);
    let url = format!("http://{}/hooks/acme/mailgun/mime", app.app.address);
    let mail = delivered(&app, "From: ana@example.com\r\n\r\nhello\r\n");
    let sent = reqwest::Client::new().post(url).header(FORM.0, FORM.1).body(mail.body).send().await.expect("an answer");
    assert_eq!(sent.status(), 200, "Mailgun wants the address to end so");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_rule_asks_within_the_conversation_and_reminds_once() {
    let rule = include_str!("../../../rules/messages/ask-order-number.yaml").replace("status: draft", "status: live");
    // Its tests name fixtures beside it.
    let rule = rule.split("\ntests:\n").next().expect("a rule").to_owned() + "\n";
    let secrets = [("STOREHAND_SHOP__ACME__SOURCES__MAILGUN__SECRETS", "mailgun-secret")];
    let app = TestApp::start_with(&[("ask-order-number.yaml", &rule)], &secrets).await;
    let mail = |from: &str, id: &str, more: &str, text: &str| {
        format!("From: {from}\r\nMessage-ID: <{id}@example.com>\r\nSubject: Hello\r\n{more}\r\n{text}\r\n")
    };
    for from in ["ana", "ben"] {
        let asks = mail(&format!("{from}@example.com"), from, "", "Where is my parcel?");
        assert_eq!(app.deliver(&delivered(&app, &asks)).await, 200);
    }
    app.settle().await;
    assert_eq!(app.shop.mails().len(), 2, "both are asked");

    app.advance(Duration::from_secs(24 * 3600)).await;
    let away =
        mail("ben@example.com", "away", "In-Reply-To: <ben@example.com>\r\nAuto-Submitted: auto-replied\r\n", "Away.");
    assert_eq!(app.deliver(&delivered(&app, &away)).await, 200);
    let answer = mail("ana@example.com", "ana-2", "References: <ana@example.com> <x@demo.example>\r\n", "It is #1042.");
    assert_eq!(app.deliver(&delivered(&app, &answer)).await, 200);
    app.settle().await;
    let mails = app.shop.mails();
    assert_eq!(mails.len(), 3, "{mails:?}");
    assert_eq!((&*mails[2].to, mails[2].references.clone()), ("ana@example.com", vec!["ana@example.com".to_owned()]));
    assert!(mails[2].text.starts_with("Thank you."), "{mails:?}");

    app.advance(Duration::from_secs(24 * 3600)).await;
    let mails = app.shop.mails();
    assert_eq!(mails.len(), 4, "an auto-reply is no answer: {mails:?}");
    assert_eq!(&*mails[3].to, "ben@example.com");
    app.advance(Duration::from_secs(30 * 24 * 3600)).await;
    assert_eq!(app.shop.mails().len(), 4);
    assert_eq!(app.ends().await, ["done", "done"]);
}
