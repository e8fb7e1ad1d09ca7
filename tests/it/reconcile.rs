//! What no delivery tells is found by asking, and happens once, however late the delivery comes.

use std::time::Duration;

use storehand::demo::{DemoOrder, Fault};
use storehand::engine::Reconciled;

use crate::support::{TestApp, acme, order};

const RULES: &[(&str, &str)] = &[
    (
        "new.yaml",
        "
id: new
status: live
triggers: [{ event: order.created }]
steps: [{ uses: memory.add, with: { key: created, by: 1 } }]
",
    ),
    (
        "any.yaml",
        "
id: any
status: live
triggers: [{ event: order.updated }, { event: order.cancelled }, { event: order.paid }]
key: event.id
overlap: parallel
steps: [{ uses: memory.add, with: { key: \"{{ event.kind }}\", by: 1 } }]
",
    ),
];

async fn count(it: &TestApp, key: &str) -> i64 {
    it.app.store.remembered(&acme(), key).await.expect("memory").as_i64().unwrap_or_default()
}

async fn ask(it: &TestApp) -> Reconciled {
    let came = it.app.engine.reconcile(&acme()).await.expect("it asks");
    it.settle().await;
    came
}

/// An order that the shop has and that is placed or changed now.
fn placed(it: &TestApp, number: u32) -> DemoOrder {
    let order = DemoOrder { created_at: it.now(), updated_at: it.now(), ..order(number, 10) };
    it.shop.put(order.clone());
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_found_and_told_once() {
    let it = TestApp::start(RULES).await;
    assert_eq!(ask(&it).await, Reconciled::default(), "the first time it only notes from when on");
    it.advance(Duration::from_secs(600)).await;
    let (told, missed) = (placed(&it, 1), placed(&it, 2));
    let news = |it: &TestApp, topic: &str, order: &DemoOrder| it.signer.order(topic, order, it.now());
    assert_eq!(it.deliver(&news(&it, "orders/create", &told)).await, 200);
    it.settle().await;
    assert_eq!(ask(&it).await.looked_at, 0, "what is but a moment old may still be told");
    it.advance(Duration::from_secs(300)).await;
    // The platform is not to be had: nothing is passed over.
    it.shop.fail_next("orders", [Fault::Status(503)]);
    assert!(ask(&it).await.broke_off.is_some());
    it.shop.fail_next("order", [Fault::Throttle]);
    assert!(ask(&it).await.broke_off.is_some());
    let came = ask(&it).await;
    assert_eq!((came.looked_at, came.missed, came.broke_off), (2, 1, None));
    assert_eq!((count(&it, "created").await, count(&it, "order.paid").await), (2, 1));
    for _ in 0..2 {
        assert_eq!(ask(&it).await.events, 0);
    }

    // Its delivery comes after all, and after a restart, too.
    assert_eq!(it.deliver(&news(&it, "orders/create", &missed)).await, 200);
    it.settle().await;
    let it = it.restart().await;
    assert_eq!(it.deliver(&news(&it, "orders/paid", &missed)).await, 200);
    it.settle().await;
    assert_eq!((count(&it, "created").await, count(&it, "order.paid").await), (2, 1));
    let events = it.app.store.events(&acme(), &storehand::store::EventFilter { most: 10, ..Default::default() }).await;
    let late = events.expect("events").into_iter().find(|event| &*event.topic == "orders/paid").expect("kept");
    let (_, why) = it.get(&format!("/v1/events/{}/why", late.id)).await;
    assert!(why.to_string().contains("asking the platform"), "{why:#}");

    // What comes later is news.
    it.advance(Duration::from_secs(600)).await;
    let cancelled = DemoOrder { updated_at: it.now(), cancelled_at: Some(it.now()), ..missed };
    it.shop.put(cancelled.clone());
    assert_eq!(it.deliver(&news(&it, "orders/cancelled", &cancelled)).await, 200);
    it.settle().await;
    assert_eq!(count(&it, "order.cancelled").await, 1);
    it.advance(Duration::from_secs(600)).await;
    assert_eq!(ask(&it).await.missed, 0);
    let changed = DemoOrder { updated_at: it.now(), tags: vec!["vip".into()], ..cancelled };
    it.shop.put(changed);
    it.advance(Duration::from_secs(600)).await;
    assert_eq!(ask(&it).await.missed, 1);
    assert_eq!((count(&it, "order.updated").await, count(&it, "order.cancelled").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_by_itself_where_it_is_on() {
    let it = TestApp::start_with(RULES, &[("STOREHAND_SHOP__ACME__RECONCILE", "15m")]).await;
    // The first round notes from when on.
    while it.app.store.reconciled_until(&acme()).await.expect("a time").is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    it.clock.advance(Duration::from_secs(120));
    placed(&it, 1);
    let asks = async {
        while count(&it, "created").await == 0 {
            it.clock.advance(Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asks).await.expect("it asks");
}
