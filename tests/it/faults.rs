//! Things go wrong: a full queue, a store that refuses, an end in the middle of work, deliveries that are none.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use storehand::demo::{DemoOrder, DemoShop, Fault, Signed};
use storehand::domain::{Answer, RunId, RunState, Says};
use storehand::engine::{Decision, EngineError};

use crate::support::{TestApp, acme, order};

const RULE: &str = "
id: greet
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
steps:
  - { uses: memory.add, with: { key: orders, by: 1 } }
  - { id: tag, uses: order.tag, with: { tags: [seen] } }
  - { id: send, uses: message.send, with: { subject: Thanks, text: \"Hello {{ customer.first_name }}\" } }
";

/// Another process that has the file open.
pub(crate) async fn beside(it: &TestApp) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("sqlite://{}", it.file().display()));
    options.max_connections(1).min_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("the store's file")
}

pub(crate) async fn say(beside: &DatabaseConnection, sql: &str) {
    beside.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn placed(it: &TestApp, number: u32) -> (DemoOrder, Signed) {
    let order = order(number, 10);
    it.shop.put(order.clone());
    let delivery = it.signer.order("orders/create", &order, it.now());
    (order, delivery)
}

fn decision(run: RunId, path: &str, says: Says) -> Decision {
    Decision { run, path: path.to_owned(), by: "ana".to_owned(), says }
}

fn changes(it: &TestApp, what: &str) -> usize {
    it.shop.calls().iter().filter(|call| call.what == what && call.changed).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_answered_503_and_the_delivery_may_come_again() {
    let it = TestApp::start_with(&[("greet.yaml", RULE)], &[("STOREHAND_SERVER__INTAKE_QUEUE", "1")]).await;
    let beside = beside(&it).await;
    say(&beside, "BEGIN IMMEDIATE").await;
    let ((_, first), (_, second)) = (placed(&it, 1), placed(&it, 2));
    let (waits, refused) = tokio::join!(it.answer(&first), async {
        while it.app.engine.waiting() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = it.answer(&second).await;
        say(&beside, "COMMIT").await;
        refused
    });
    assert_eq!((waits.status().as_u16(), refused.status().as_u16()), (200, 503));
    assert!(refused.headers().get("retry-after").is_some_and(|after| after.to_str().is_ok_and(|it| it != "0")));
    assert_eq!(it.deliver(&second).await, 200);
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_events_refuses_the_delivery_and_keeps_nothing() {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    let beside = beside(&it).await;
    say(&beside, "CREATE TRIGGER broken BEFORE INSERT ON payloads BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
        .await;
    let (_, delivery) = placed(&it, 1);
    assert_eq!(it.deliver(&delivery).await, 503);
    assert_eq!(it.app.store.count_events().await.expect("a count"), 0);
    say(&beside, "DROP TRIGGER broken").await;
    assert_eq!(it.deliver(&delivery).await, 200, "the same delivery is new: nothing of it was kept");
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
}

/// The store refuses one kind of write for a while; afterwards everything has been done, once.
async fn refuses(when: &str) {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    let beside = beside(&it).await;
    say(&beside, &format!("CREATE TRIGGER broken BEFORE {when} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"))
        .await;
    for number in 1..=5 {
        let (_, delivery) = placed(&it, number);
        assert_eq!(it.deliver(&delivery).await, 200, "the event itself is on disk");
    }
    // Long enough for a turn to fail and for the desk to begin again at least once.
    tokio::time::sleep(Duration::from_millis(900)).await;
    say(&beside, "DROP TRIGGER broken").await;
    it.settle().await;
    // Tags take a repeat; a mail whose answer could not be written down is left for a person.
    let unknown = it.app.store.unknown(&acme()).await.expect("unknown calls");
    for (run, path) in &unknown {
        assert_eq!(path, "send");
        let says = Says::Happened { answer: serde_json::json!({ "message_id": "m" }) };
        it.app
            .engine
            .command(&acme(), storehand::engine::Command::Decide(decision(*run, path, says)))
            .await
            .expect("decided");
    }
    it.settle().await;
    assert_eq!(it.ends().await, ["done"; 5], "{when}");
    assert_eq!((changes(&it, "tagsAdd"), it.shop.mails().len()), (5, 5), "{when}");
    let sum = it.app.store.remembered(&acme(), "orders").await.expect("memory");
    assert_eq!(sum, serde_json::json!(5), "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cannot_write_its_runs_begins_again() {
    refuses("INSERT ON runs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cannot_write_an_answer_begins_again() {
    refuses("UPDATE ON calls WHEN NEW.state = 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cannot_write_memory_begins_again() {
    refuses("INSERT ON memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_finishes_what_is_under_way_and_begins_nothing() {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    it.shop.fail_next("tagsAdd", [Fault::Slow(Duration::from_millis(700))]);
    it.order(&order(1, 10)).await;
    // The attempt is on disk as started; the shop answers later.
    while it.runs().await.first().is_none_or(|run| run.calls.iter().all(|call| call.attempts == 0)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(changes(&it, "tagsAdd"), 0);
    let look = |shop: &DemoShop| {
        let tags = shop.calls().iter().filter(|call| call.what == "tagsAdd" && call.changed).count();
        assert_eq!((tags, shop.mails().len()), (1, 0), "the tag was waited for, the mail not begun");
    };
    let it = it.restart_after(look).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!((it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count(), it.shop.mails().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_with_a_full_desk_ends_in_time() {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    it.shop.fail_next("tagsAdd", [Fault::Slow(Duration::from_millis(500))]);
    it.order(&order(1, 10)).await;
    let data = |i: u32| serde_json::json!({ "message": { "id": i.to_string(), "text": "Hello" } });
    let deliveries: Vec<Signed> =
        (0..600).map(|i| it.signer.cloud_event("message.received", &data(i), it.now())).collect();
    let posts = deliveries.iter().map(|delivery| it.deliver(delivery));
    let statuses = futures_all(posts).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let it = tokio::time::timeout(Duration::from_secs(20), it.restart()).await.expect("it ends and starts");
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!(it.app.store.count_events().await.expect("a count"), 601);
    let left = it.app.store.unmatched(&acme(), storehand::domain::EventId(0), 10).await.expect("events");
    assert!(left.is_empty(), "{left:?}");
}

async fn futures_all<F: Future<Output = u16>>(all: impl Iterator<Item = F>) -> Vec<u16> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut statuses = vec![None; all.len()];
    std::future::poll_fn(|context| {
        for (one, status) in all.iter_mut().zip(&mut statuses).filter(|(_, status)| status.is_none()) {
            if let std::task::Poll::Ready(it) = one.as_mut().poll(context) {
                *status = Some(it);
            }
        }
        match statuses.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    statuses.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_delivery_leaves_no_row() {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    let (order, good) = placed(&it, 1);
    let mut forged = good.clone();
    forged.body.push(b' ');
    assert_eq!(it.deliver(&forged).await, 401);
    let mut unsigned = good.clone();
    unsigned.headers.retain(|(name, _)| name != "x-shopify-hmac-sha256");
    assert_eq!(it.deliver(&unsigned).await, 401);
    let mut nowhere = good.clone();
    nowhere.source = "nobody";
    assert_eq!(it.deliver(&nowhere).await, 404);
    assert_eq!(it.deliver(&it.signer.shopify("orders/create", &serde_json::json!("no order"), it.now())).await, 400);
    let stale = it.signer.cloud_event(
        "order.created",
        &serde_json::json!({ "order": { "id": "1" } }),
        it.now() - Duration::from_secs(3600),
    );
    assert_eq!(it.deliver(&stale).await, 401);
    it.settle().await;
    assert_eq!(it.app.store.count_events().await.expect("a count"), 0);
    let beside = beside(&it).await;
    let keys =
        sea_orm::Statement::from_string(beside.get_database_backend(), "SELECT count(*) AS n FROM delivery_keys");
    let row = beside.query_one_raw(keys).await.expect("a row").expect("a row");
    assert_eq!(row.try_get::<i64>("", "n").expect("a number"), 0);

    let topic = it.signer.shopify("themes/publish", &order.webhook(), it.now());
    assert_eq!(it.deliver(&topic).await, 200, "a topic that nobody knows is kept");
    assert_eq!(it.app.store.count_events().await.expect("a count"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_unknown_call_can_be_decided() {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    let run = it.runs().await.remove(0);
    assert_eq!(run.state, RunState::Ended);
    for path in ["send", "tag"] {
        let decision = decision(run.id, path, Says::Accept { text: None });
        let refused = it.app.engine.command(&acme(), storehand::engine::Command::Decide(decision)).await;
        assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    }
    it.settle().await;
    assert_eq!(it.shop.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_have_an_unknown_call_done_or_given_up() {
    let it = TestApp::start(&[("greet.yaml", RULE)]).await;
    it.shop.fail_next("mail", [Fault::LoseAnswer, Fault::LoseAnswer]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    let it = it.restart().await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting", "waiting"], "a restart decides nothing");
    let unknown = it.app.store.unknown(&acme()).await.expect("unknown calls");
    for ((run, path), says) in unknown.into_iter().zip([Says::Accept { text: None }, Says::Reject { because: None }]) {
        it.app
            .engine
            .command(&acme(), storehand::engine::Command::Decide(decision(run, &path, says)))
            .await
            .expect("decided");
    }
    it.settle().await;
    let ends = it.ends().await;
    assert!(ends[0] == "done" && ends[1].contains("unknown_given_up"), "{ends:?}");
    assert_eq!(it.shop.mails().len(), 3, "what a person orders is done");
    assert!(matches!(it.runs().await[0].call("send").and_then(|call| call.answer.clone()), Some(Answer::Done(_))));
}
