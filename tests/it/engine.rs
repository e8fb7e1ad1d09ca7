//! One event goes all the way: delivery, run, calls, shop; retries, waits, lanes and restarts on the way.

use std::time::Duration;

use storehand::demo::Fault;

use crate::support::{TestApp, order};

const TAG: &str = "
id: tag
status: live
triggers: [{ event: order.created }]
conditions: ['order.total >= money(\"100 EUR\")']
allow: [order.tag, message.send]
steps:
  - { id: tag, uses: order.tag, with: { tags: [big] } }
  - { uses: wait, with: { for: 10m } }
  - { id: send, uses: message.send, with: { subject: Thanks, text: \"Hello {{ customer.first_name }}\" } }
";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_tagged_and_answered_after_the_wait() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    it.order(&order(1, 50)).await;
    it.order(&order(2, 150)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting"]);
    assert_eq!(it.shop.orders()[1].tags, ["big"]);
    assert!(it.shop.mails().is_empty());

    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!(it.shop.mails()[0].text, "Hello Ana");
    assert_eq!(it.shop.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_run_goes_on_after_a_restart() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    it.order(&order(2, 150)).await;
    it.settle().await;
    let it = it.restart().await;
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!((it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count(), it.shop.mails().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_write_is_tried_again() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    it.shop.fail_next("tagsAdd", [Fault::Throttle, Fault::Status(502)]);
    it.order(&order(2, 150)).await;
    it.settle().await;
    assert!(it.shop.orders()[0].tags.is_empty());
    for _ in 0..4 {
        it.advance(Duration::from_secs(15)).await;
    }
    assert_eq!(it.shop.orders()[0].tags, ["big"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_which_nobody_can_tell_is_left_unknown() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    it.order(&order(2, 150)).await;
    it.settle().await;
    it.advance(Duration::from_secs(601)).await;
    it.advance(Duration::from_secs(86_400)).await;
    assert_eq!(it.ends().await, ["waiting"]);
    assert_eq!(it.shop.mails().len(), 1);
    let unknown = it.app.store.unknown(&crate::support::acme()).await.expect("unknown calls");
    assert_eq!(unknown.len(), 1);
    let (run, path) = unknown[0].clone();
    let says = storehand::domain::Says::Happened { answer: serde_json::json!({ "message_id": "x" }) };
    it.app
        .engine
        .command(
            &crate::support::acme(),
            storehand::engine::Command::Decide(storehand::engine::Decision { run, path, by: "ana".into(), says }),
        )
        .await
        .expect("decided");
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
}
