//! What an event is matched with: records that are known, read, missing, late; and stock that falls low.

use std::time::Duration;

use serde_json::json;
use storehand::demo::{DemoOrder, Fault};
use storehand::store::EventFilter;

use crate::support::{TestApp, acme, order};

const RETURNS: &str = "
id: small-return
status: live
triggers: [{ event: return.requested }]
conditions: ['returned.total <= money(\"50 EUR\")']
allow: [message.send]
steps:
  - { uses: message.send, with: { subject: Return, text: \"{{ customer.first_name }}: {{ returned.total }}\" } }
";

const LOW: &str = "
id: low
status: live
triggers: [{ event: inventory.low }]
steps:
  - { uses: log, with: { message: \"{{ inventory.available }}\" } }
";

/// The event of this type that came first, and what it was matched with.
async fn first(it: &TestApp, kind: &str) -> storehand::store::StoredEvent {
    let filter = EventFilter { kind: Some(kind.into()), before: None, most: 100 };
    let events = it.app.store.events(&acme(), &filter).await.expect("events");
    let first = events.last().unwrap_or_else(|| panic!("no {kind}"));
    it.app.store.event(&acme(), first.id).await.expect("store").expect("the event")
}

/// Why rules did not run on it.
async fn why_not(it: &TestApp, stored: &storehand::store::StoredEvent) -> Vec<storehand::domain::WhyNot> {
    let registry = storehand::app::unconnected().expect("capabilities");
    storehand::engine::why_not(&it.app.store, &registry, &acme(), stored).await.expect("store")
}

/// How often the platform was asked for an order.
fn reads(it: &TestApp) -> usize {
    it.shop.calls().iter().filter(|call| call.what == "order").count()
}

fn returned(it: &TestApp, order: &DemoOrder) -> storehand::demo::Signed {
    it.signer.return_request(order, &[0], "color", "too blue", it.now())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_only_the_shop_knows_is_read_once() {
    let it = TestApp::start(&[("small.yaml", RETURNS)]).await;
    let known = order(7, 30);
    it.shop.put(known.clone());
    assert_eq!(it.deliver(&returned(&it, &known)).await, 200);
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!(it.shop.mails()[0].text, "Ana: 30.00 EUR");
    assert_eq!(reads(&it), 1);

    // It is a record now: the next event about it asks nobody.
    let again = it.signer.return_request(&known, &[0], "size_too_small", "too small", it.now());
    assert_eq!(it.deliver(&again).await, 200);
    it.settle().await;
    assert_eq!((it.ends().await.len(), reads(&it)), (2, 1));
    let context = first(&it, "return.requested").await.context.expect("matched");
    assert_eq!(context.records.order.as_ref().and_then(|order| order.name.as_deref()), Some("#7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_knows_is_said_to_be_unknown() {
    let it = TestApp::start(&[("small.yaml", RETURNS)]).await;
    assert_eq!(it.deliver(&returned(&it, &order(8, 30))).await, 200);
    it.settle().await;
    assert!(it.ends().await.is_empty() && it.shop.mails().is_empty());
    let stored = first(&it, "return.requested").await;
    let why = &why_not(&it, &stored).await[0];
    let said = format!("{:?} {:?}", why.saw, why.error);
    assert!(said.contains(&format!("order {} not known", order(8, 30).id())), "{said}");
    assert_eq!(stored.context.expect("matched").missing.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_read_that_no_rule_listens_for() {
    let it = TestApp::start(&[("low.yaml", LOW)]).await;
    it.shop.put(order(7, 30));
    assert_eq!(it.deliver(&returned(&it, &order(7, 30))).await, 200);
    it.settle().await;
    assert_eq!(reads(&it), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_two_orders_that_nobody_knows_comes_through() {
    let rule = RETURNS
        .replace("return.requested", "refund.created")
        .replace("returned.total <= money(\"50 EUR\")", "refund.id == \"1\"");
    let rule = rule.replace("{{ customer.first_name }}: {{ returned.total }}", "Hello");
    let it = TestApp::start(&[("refund.yaml", &rule)]).await;
    let data = json!({
        "refund": { "id": "1", "order_id": "11" },
        "dispute": { "id": "2", "order_id": "22" },
        "customer": { "id": "3", "email": "ana@example.com", "first_name": "Ana" },
    });
    assert_eq!(it.deliver(&it.signer.cloud_event("refund.created", &data, it.now())).await, 200);
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!(reads(&it), 2);
    assert_eq!(first(&it, "refund.created").await.context.expect("matched").missing.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_does_not_overwrite_what_a_delivery_brought_meanwhile() {
    let it = TestApp::start(&[("small.yaml", RETURNS)]).await;
    let old = order(7, 30);
    it.shop.put(old.clone());
    it.shop.fail_next("order", [Fault::Slow(Duration::from_millis(600))]);
    assert_eq!(it.deliver(&returned(&it, &old)).await, 200);
    let mut new = DemoOrder { tags: vec!["new".into()], ..old.clone() };
    new.updated_at += Duration::from_secs(60);
    assert_eq!(it.deliver(&it.signer.order("orders/updated", &new, it.now())).await, 200);
    it.settle().await;
    assert_eq!(reads(&it), 1, "the read was under way");
    let again = it.signer.return_request(&old, &[0], "other", "again", it.now());
    assert_eq!(it.deliver(&again).await, 200);
    it.settle().await;
    let runs = it.runs().await;
    let last = runs.last().expect("runs").context.records.order.clone().expect("its order");
    assert_eq!(last.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_past_all_bounds_is_no_price_and_no_end() {
    let it = TestApp::start(&[("small.yaml", RETURNS)]).await;
    let data = json!({
        "returned": { "id": "1", "lines": [{ "line_id": "5", "quantity": 9_000_000_000_000_000_000_i64 }] },
        "order": { "id": "4", "lines": [{ "id": "5", "unit_price": "9000000000000000000.00 EUR" }] },
    });
    assert_eq!(it.deliver(&it.signer.cloud_event("return.requested", &data, it.now())).await, 200);
    it.settle().await;
    let stored = first(&it, "return.requested").await;
    assert!(why_not(&it, &stored).await[0].saw.iter().any(|(_, value)| value == "nothing"));
    it.shop.put(order(7, 30));
    assert_eq!(it.deliver(&returned(&it, &order(7, 30))).await, 200);
    it.settle().await;
    assert_eq!(it.ends().await, ["done"], "the shop's events go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_delivery_is_late_and_overwrites_nothing() {
    let rule = "
id: late
status: live
triggers: [{ event: order.updated }]
conditions: [event.late]
steps:
  - { uses: log, with: { message: \"{{ order.note }}\" } }
";
    let it = TestApp::start(&[("late.yaml", rule)]).await;
    let version = |note: &str, after: u64| {
        let mut version = DemoOrder { note: Some(note.into()), ..order(1, 10) };
        version.updated_at += Duration::from_secs(after);
        version
    };
    for (note, after) in [("new", 60), ("old", 30), ("as new", 60)] {
        assert_eq!(it.deliver(&it.signer.order("orders/updated", &version(note, after), it.now())).await, 200);
        it.settle().await;
    }
    let runs = it.runs().await;
    assert_eq!(runs.len(), 1, "only the second was late");
    assert!(runs[0].event.late);
    assert_eq!(runs[0].context.records.order.as_ref().and_then(|order| order.note.as_deref()), Some("new"));
    assert_eq!(runs[0].event.records.order.as_ref().and_then(|order| order.note.as_deref()), Some("old"));
}

/// What each `inventory.low` said was left, in the order of their runs.
async fn lows(it: &TestApp) -> Vec<i64> {
    it.settle().await;
    let runs = it.runs().await;
    runs.iter().filter_map(|run| run.context.records.inventory.as_ref()?.available).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_falls_low_is_told_once_a_crossing() {
    let it = TestApp::start(&[("low.yaml", LOW)]).await;
    let level = async |item: u64, available: i64, second: u64| {
        let at = it.now() + Duration::from_secs(second);
        assert_eq!(it.deliver(&it.signer.stock_level(item, 1, available, at)).await, 200);
        it.settle().await;
    };
    // The threshold is 5. Nobody knows what it was before, so nobody can say that it fell.
    level(1, 4, 0).await;
    level(1, 10, 10).await;
    assert!(lows(&it).await.is_empty());
    level(1, 5, 30).await;
    assert_eq!(lows(&it).await, [5], "at the threshold is low");
    level(1, 8, 20).await;
    level(1, 2, 25).await;
    assert_eq!(lows(&it).await, [5], "late deliveries say nothing about now");
    level(1, 5, 30).await;
    level(1, 3, 40).await;
    level(1, 3, 41).await;
    assert_eq!(lows(&it).await, [5], "it is low already");
    level(1, 6, 50).await;
    level(1, 0, 60).await;
    assert_eq!(lows(&it).await, [5, 0], "it has crossed again");
    level(2, 9, 0).await;
    level(2, 1, 1).await;
    assert_eq!(lows(&it).await, [5, 0, 1], "each item on its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_levels_tells_every_crossing_once_over_a_restart() {
    let it = TestApp::start(&[("low.yaml", LOW)]).await;
    let levels = [10, 5, 9, 1, 20, 3];
    for _ in 0..2 {
        for (second, available) in levels.into_iter().enumerate() {
            let at = crate::support::start_of_time() + Duration::from_secs(second as u64);
            assert_eq!(it.deliver(&it.signer.stock_level(1, 1, available, at)).await, 200);
        }
    }
    let it = it.restart().await;
    assert_eq!(lows(&it).await, [5, 1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shop_calls_low_goes_before_what_a_source_calls_so() {
    let rule = LOW.replace("available", "threshold");
    let it = TestApp::start(&[("low.yaml", &rule)]).await;
    let data = json!({ "inventory": { "id": "1", "available": 3, "threshold": 7 } });
    assert_eq!(it.deliver(&it.signer.cloud_event("inventory.low", &data, it.now())).await, 200);
    it.settle().await;
    assert_eq!(it.runs().await[0].calls[0].input["message"], json!(5));
}
