//! `approval.list`: a rule asks what waits for a person, and is told of all three kinds, the oldest first.

use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::demo::Fault;
use storehand::domain::{Answer, Says};
use storehand::engine::{Command, Decision};

use crate::support::{TestApp, acme, order};

/// Asks for small orders, mails for big ones, and tags those in between.
const RULES: &[(&str, &str)] = &[
    (
        "ask.yaml",
        "
id: ask
status: live
triggers: [{ event: order.created }]
conditions: ['order.total < money(\"20 EUR\")']
steps:
  - { id: ok, uses: approval.request, with: { to: support, show: \"Take {{ order.name }}?\\nIt is small.\", timeout: 48h } }
",
    ),
    (
        "tag.yaml",
        "
id: tag
status: live
triggers: [{ event: order.created }]
conditions: ['order.total >= money(\"20 EUR\")', 'order.total < money(\"50 EUR\")']
allow: [order.tag]
steps:
  - { uses: order.tag, with: { tags: [middle] }, retry: { attempts: 1, first: 1s, max: 1s } }
",
    ),
    (
        "mail.yaml",
        "
id: mail
status: live
triggers: [{ event: order.created }]
conditions: ['order.total >= money(\"50 EUR\")']
allow: [message.send]
steps:
  - { id: send, uses: message.send, with: { text: Thanks } }
",
    ),
    (
        "digest.yaml",
        "
id: digest
status: live
triggers: [{ event: order.cancelled }]
steps:
  - { id: open, uses: approval.list, with: { most: 2 } }
  - { id: all, uses: approval.list }
",
    ),
];

const HOUR: Duration = Duration::from_secs(3600);

async fn answers(it: &TestApp) -> (Json, Json) {
    let mut cancelled = order(99, 1);
    cancelled.updated_at = it.now();
    it.shop.put(cancelled.clone());
    assert_eq!(it.deliver(&it.signer.order("orders/cancelled", &cancelled, it.now())).await, 200);
    it.settle().await;
    let runs = it.runs().await;
    let run = runs.iter().rfind(|run| &*run.rule == "digest").expect("the digest");
    let answer = |path: &str| match run.call(path).and_then(|call| call.answer.clone()) {
        Some(Answer::Done(answer)) => answer,
        other => panic!("{path}: {other:?}"),
    };
    (answer("open"), answer("all"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_counted_and_the_oldest_are_told() {
    let it = TestApp::start(RULES).await;
    let nothing = json!({ "total": 0, "approvals": 0, "unknown": 0, "failed": 0, "items": [] });
    assert_eq!(answers(&it).await, (nothing.clone(), nothing));

    let begun = it.now();
    it.advance(HOUR).await;
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    it.order(&order(1, 60)).await;
    it.settle().await;
    it.advance(HOUR).await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    it.advance(HOUR).await;
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    it.order(&order(3, 30)).await;
    it.settle().await;
    it.advance(HOUR).await;
    it.order(&order(4, 10)).await;
    it.settle().await;

    let runs = it.runs().await;
    let of = |subject: u32| {
        let subject = format!("order/{}", order(subject, 1).id());
        let run = runs.iter().find(|run| *run.event.subject == *subject).expect("a run");
        (run.id, subject)
    };
    let (two, all) = answers(&it).await;
    let counts = |answer: &Json| ["total", "approvals", "unknown", "failed"].map(|name| answer[name].as_u64());
    assert_eq!(counts(&two), [4, 2, 1, 1].map(Some), "{two:#}");
    assert_eq!(counts(&all), counts(&two));
    let ((mail, mailed), (asked, small), (failed, tagged), (last, _)) = (of(1), of(2), of(3), of(4));
    let items = all["items"].as_array().expect("items");
    let ids: Vec<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
    assert_eq!(ids, [format!("{mail}/send"), format!("{asked}/ok"), failed.to_string(), format!("{last}/ok")]);
    assert_eq!(two["items"].as_array().map(Vec::as_slice), Some(&items[..2]), "the oldest");
    assert_eq!(
        items[0],
        json!({
            "what": "unknown", "id": format!("{mail}/send"), "rule": "mail", "subject": mailed, "until": null,
            "since": begun + HOUR, "text": "message.send: the demo lost its answer",
        })
    );
    assert_eq!(
        items[1],
        json!({
            "what": "approval", "id": format!("{asked}/ok"), "rule": "ask", "subject": small, "since": begun + 2 * HOUR,
            "until": begun + 50 * HOUR, "text": "Take #2? It is small.",
        })
    );
    assert_eq!((&items[2]["what"], &items[2]["subject"]), (&json!("failed"), &json!(tagged)));
    assert!(items[2]["text"].as_str().is_some_and(|text| text.contains("retries_used_up")), "{}", items[2]);

    it.advance(HOUR).await;
    // What was decided, and what nobody need look at any more, is not told again.
    let decide = |run, path: &str, says| Command::Decide(Decision { run, path: path.into(), by: "ana".into(), says });
    let commands = [
        decide(mail, "send", Says::Reject { because: None }),
        decide(asked, "ok", Says::Accept { text: None }),
        Command::Drop { runs: vec![failed] },
    ];
    for command in commands {
        it.app.engine.command(&acme(), command).await.expect("done");
    }
    it.settle().await;
    it.advance(HOUR).await;
    let (_, all) = answers(&it).await;
    // A mail that was given up fails its run.
    let left: Vec<(&Json, &Json)> =
        all["items"].as_array().into_iter().flatten().map(|item| (&item["what"], &item["id"])).collect();
    assert_eq!(
        left,
        [(&json!("approval"), &json!(format!("{last}/ok"))), (&json!("failed"), &json!(mail.to_string()))]
    );
}
