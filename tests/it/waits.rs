//! Waiting for events: what answers a wait, what does not, and what becomes of both over restarts.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::{Value as Json, json};
use storehand::demo::{DemoOrder, Fault};
use storehand::domain::{Answer, Call, Delivery, NewEvent, RecordKey, RecordKind, RunState};

use crate::support::{TestApp, acme, order};

/// Waits for the order to be sent, and says with a tag what came.
const SENT: &str = "
id: sent
status: live
triggers: [{ event: order.created }]
allow: [order.tag]
steps:
  - { uses: wait, with: { for: 1h } }
  - { id: sent, uses: wait_for, with: { event: order.fulfilled, within: 7d } }
  - { uses: order.tag, if: '!steps.sent.timed_out', with: { tags: [\"{{ steps.sent.event.type }}\"] } }
  - { uses: order.tag, if: steps.sent.timed_out, with: { tags: [late] } }
";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn tell(it: &TestApp, topic: &str, order: &DemoOrder) {
    assert_eq!(it.deliver(&it.signer.order(topic, order, it.now())).await, 200);
    it.settle().await;
}

fn tags(it: &TestApp, number: u32) -> Vec<String> {
    it.shop.orders().into_iter().find(|order| order.number == number).expect("the order").tags
}

/// A call of the first run.
async fn call(it: &TestApp, path: &str) -> Call {
    it.runs().await[0].call(path).cloned().unwrap_or_else(|| panic!("no call {path}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_answers_the_run_that_waits_for_it_and_no_other() {
    let it = TestApp::start(&[("sent.yaml", SENT)]).await;
    for number in [1, 2] {
        it.order(&order(number, 10)).await;
    }
    it.settle().await;
    it.advance(HOUR + Duration::from_secs(1)).await;
    assert_eq!(it.ends().await, ["waiting", "waiting"]);
    let it = it.restart().await;
    it.advance(2 * DAY).await;
    tell(&it, "orders/paid", &order(1, 10)).await;
    assert_eq!(it.ends().await, ["waiting", "waiting"], "it waits for another type");
    tell(&it, "orders/fulfilled", &order(1, 10)).await;
    assert_eq!(it.ends().await, ["done", "waiting"]);
    assert_eq!((tags(&it, 1), tags(&it, 2).len()), (vec!["order.fulfilled".to_owned()], 0));

    let sent = call(&it, "sent").await;
    let Some(Answer::Done(answer)) = sent.answer else { panic!("{sent:?}") };
    assert_eq!((&answer["timed_out"], &answer["event"]["type"]), (&json!(false), &json!("order.fulfilled")));
    assert_eq!(answer["event"]["subject"], json!(format!("order/{}", order(1, 10).id())));
    assert_eq!(answer["event"]["time"], json!(it.now()));
    assert_eq!(answer["order"]["total"], "10.00 EUR");
    assert_eq!(answer["customer"]["first_name"], "Ana", "the context comes with it");
    let filter = storehand::store::EventFilter { kind: Some("order.fulfilled".into()), most: 1, before: None };
    let event = it.app.store.events(&acme(), &filter).await.expect("events").remove(0);
    assert_eq!(answer["event"]["id"], json!(event.id));
    assert!(sent.awaits.is_none() && sent.answered.is_some());

    // A second one answers nothing more, and the other run's time ends.
    tell(&it, "orders/fulfilled", &DemoOrder { note: Some("again".into()), ..order(1, 10) }).await;
    it.advance(5 * DAY).await;
    assert_eq!(it.ends().await, ["done", "done"]);
    assert_eq!(tags(&it, 2), ["late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_since_the_run_began_answers_at_once() {
    let it = TestApp::start(&[("sent.yaml", SENT)]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.advance(HOUR / 2).await;
    tell(&it, "orders/fulfilled", &order(1, 10)).await;
    assert_eq!(it.ends().await, ["waiting"], "it has not asked yet");
    let it = it.restart().await;
    it.advance(HOUR).await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!(tags(&it, 1), ["order.fulfilled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_the_run_began_does_not_count() {
    let it = TestApp::start(&[("sent.yaml", SENT)]).await;
    tell(&it, "orders/fulfilled", &order(1, 10)).await;
    it.advance(Duration::from_secs(60)).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.advance(2 * HOUR).await;
    assert_eq!(it.ends().await, ["waiting"]);
    it.advance(7 * DAY).await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["done".to_owned()], vec!["late".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_later_and_was_told_of_earlier_counts() {
    let it = TestApp::start(&[("sent.yaml", SENT)]).await;
    let (created, paid) = (it.now(), it.now() + Duration::from_millis(300));
    let placed = order(1, 10);
    it.shop.put(placed.clone());
    assert_eq!(it.deliver(&it.signer.order("orders/fulfilled", &placed, paid)).await, 200);
    it.settle().await;
    assert_eq!(it.deliver(&it.signer.order("orders/create", &placed, created)).await, 200);
    it.settle().await;
    it.advance(2 * HOUR).await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["done".to_owned()], vec!["order.fulfilled".to_owned()]));
}

/// An event as a source would read it.
fn event(it: &TestApp, kind: &str, key: &str, data: Json) -> NewEvent {
    let delivery = Delivery { headers: &[], query: &[], method: "POST", body: b"{}", received: it.now() };
    let verified = delivery.verify(|_| Ok(())).expect("genuine");
    let mut event = verified.event(Some(kind), kind, key, key.to_owned(), "{}".into());
    event.records = serde_json::from_value(data).expect("records");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_turn_see_each_other() {
    let rule = SENT.replace("  - { uses: wait, with: { for: 1h } }\n", "");
    let it = TestApp::start(&[("sent.yaml", &rule)]).await;
    let placed = order(1, 10);
    it.shop.put(placed.clone());
    let data = || json!({ "order": { "id": placed.id().to_string() } });
    // In one delivery, so that they are matched together.
    let events = vec![
        event(&it, "order.fulfilled", "before", json!({ "order": { "id": "another" } })),
        event(&it, "order.created", "created", data()),
        event(&it, "order.fulfilled", "sent", data()),
    ];
    it.app.engine.accept(&acme(), "standard", events).await.expect("accepted");
    it.settle().await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["done".to_owned()], vec!["order.fulfilled".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_a_customer_a_conversation_and_a_return_can_be_waited_for() {
    let step = |id: &str, with: &str| format!("  - {{ id: {id}, uses: wait_for, with: {{ within: 7d, {with} }} }}\n");
    let rule = format!(
        "id: all\nstatus: live\ntriggers: [{{ event: order.created }}]\nsteps:\n{}{}{}{}",
        step("order", "event: order.*"),
        step("customer", "event: customer.updated, customer_id: \"{{ order.customer.id }}\""),
        step("talk", "event: message.received, conversation_id: talk-7"),
        step("back", "event: return.*, return_id: '5'"),
    );
    let it = TestApp::start(&[("all.yaml", &rule)]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    tell(&it, "orders/updated", &order(1, 10)).await;
    // In another order than they are asked for: each is found when its turn comes.
    let at = it.now();
    let back = json!({ "returned": { "id": "5", "order_id": order(1, 10).id().to_string() } });
    let message = json!({ "message": { "id": "m", "conversation_id": "talk-7", "text": "Hi" } });
    for (kind, data) in [("return.closed", &back), ("message.received", &message)] {
        assert_eq!(it.deliver(&it.signer.cloud_event(kind, data, at)).await, 200);
    }
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting"]);
    assert_eq!(it.deliver(&it.signer.customer("customers/update", &order(1, 10).customer, 3, at)).await, 200);
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    let kinds: Vec<String> = it.runs().await[0]
        .calls
        .iter()
        .map(|call| match &call.answer {
            Some(Answer::Done(answer)) => answer["event"]["type"].as_str().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["order.updated", "customer.updated", "message.received", "return.closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_waited_for_is_refused_with_the_way_out() {
    let rule = |with: &str| {
        format!(
            "id: r\nstatus: live\ntriggers: [{{ event: message.received }}]\nsteps:\n  - {{ uses: wait_for, with: \
             {{ event: order.paid, within: 1h{with} }} }}\n"
        )
    };
    let both = ", order_id: '1', customer_id: '2'";
    for (with, told) in [("", "say what is meant, such as `order_id`"), (both, "order/1 and customer/2")] {
        let it = TestApp::start(&[("r.yaml", &rule(with))]).await;
        let message = json!({ "message": { "id": "m", "text": "Hi" } });
        assert_eq!(it.deliver(&it.signer.cloud_event("message.received", &message, it.now())).await, 200);
        it.settle().await;
        let ends = it.ends().await;
        assert!(ends[0].starts_with("failed: ") && ends[0].contains(told), "{ends:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_are_about_is_kept_only_where_somebody_waits() {
    let it = TestApp::start(&[("sent.yaml", SENT)]).await;
    it.order(&order(1, 10)).await;
    tell(&it, "orders/paid", &order(1, 10)).await;
    tell(&it, "orders/fulfilled", &order(1, 10)).await;
    let beside = Database::connect(format!("sqlite://{}", it.file().display())).await.expect("the file");
    let sql = "SELECT group_concat(kind || ' ' || about) AS it FROM (SELECT * FROM event_about ORDER BY about)";
    let row = beside.query_one_raw(Statement::from_string(beside.get_database_backend(), sql)).await;
    let kept: String = row.expect("a row").expect("a row").try_get("", "it").expect("a text");
    let (customer, order) = (order(1, 10).customer.id(), order(1, 10).id());
    assert_eq!(kept, format!("order.fulfilled customer/{customer},order.fulfilled order/{order}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_came_in_time_counts_however_late_it_is_looked_at() {
    // The second rule has the platform asked for the order that a return speaks of.
    let waits = "
id: waits
status: live
triggers: [{ event: message.received }]
steps:
  - { id: back, uses: wait_for, with: { event: return.requested, order_id: '77', within: 1h } }
";
    let listens = "
id: listens
status: live
triggers: [{ event: return.requested }]
steps: [{ uses: log, with: { message: back } }]
";
    let it = TestApp::start(&[("waits.yaml", waits), ("listens.yaml", listens)]).await;
    let message = json!({ "message": { "id": "m", "text": "Hi" } });
    assert_eq!(it.deliver(&it.signer.cloud_event("message.received", &message, it.now())).await, 200);
    it.settle().await;
    it.shop.fail_next("order", [Fault::Slow(Duration::from_millis(600))]);
    let mut back = event(&it, "return.requested", "back", json!({ "returned": { "id": "5" } }));
    back.mentions = vec![RecordKey { kind: RecordKind::Order, id: "77".into() }];
    it.app.engine.accept(&acme(), "standard", vec![back]).await.expect("accepted");
    // The platform is being asked while the hour ends.
    tokio::time::sleep(Duration::from_millis(150)).await;
    it.clock.advance(2 * HOUR);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(it.runs().await[0].state, RunState::Waiting, "its time is not over before that event is looked at");
    it.settle().await;
    let back = call(&it, "back").await;
    assert!(matches!(&back.answer, Some(Answer::Done(it)) if it["timed_out"] == false), "{back:?}");

    // One that came after the hour does not count.
    let it = TestApp::start(&[("waits.yaml", waits)]).await;
    assert_eq!(it.deliver(&it.signer.cloud_event("message.received", &message, it.now())).await, 200);
    it.settle().await;
    it.clock.advance(2 * HOUR);
    let mut back = event(&it, "return.requested", "back", json!({ "returned": { "id": "5" } }));
    back.mentions = vec![RecordKey { kind: RecordKind::Order, id: "77".into() }];
    it.app.engine.accept(&acme(), "standard", vec![back]).await.expect("accepted");
    it.settle().await;
    let back = call(&it, "back").await;
    assert!(matches!(&back.answer, Some(Answer::Done(it)) if it["timed_out"] == true), "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_in_a_row_are_answered_once() {
    // To wait until it is quiet: each new event ends the run that waits, and waits anew.
    let quiet = "
id: quiet
status: live
triggers: [{ event: order.updated }]
overlap: restart
allow: [order.tag]
steps:
  - { uses: wait, with: { for: 10m } }
  - { uses: order.tag, with: { tags: [quiet] } }
";
    let it = TestApp::start(&[("quiet.yaml", quiet)]).await;
    it.shop.put(order(1, 10));
    for i in 0..4 {
        tell(&it, "orders/updated", &DemoOrder { note: Some(format!("change {i}")), ..order(1, 10) }).await;
        it.advance(Duration::from_secs(540)).await;
    }
    assert_eq!(it.ends().await, ["replaced", "replaced", "replaced", "waiting"]);
    assert!(tags(&it, 1).is_empty());
    it.advance(Duration::from_secs(61)).await;
    assert_eq!(it.ends().await, ["replaced", "replaced", "replaced", "done"]);
    assert_eq!(it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count(), 1);
}
