//! What a shop has kept for long enough goes, a little at a time; what still waits stays until it is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::json;
use storehand::demo::Fault;
use storehand::domain::{Answer, IdMaker, ManualClock, Says, Shop, ShopId};
use storehand::engine::{Command, Decision, Engine, Parts, Settings};
use storehand::rules::RuleSet;
use storehand::store::{self, EventFilter, Store};

use crate::faults::beside;
use crate::support::{TestApp, acme, order, start_of_time};
use crate::world::{self, World};

const DAY: Duration = Duration::from_secs(86_400);

const TAG: &str = "
id: tag
status: live
triggers: [{ event: order.created }]
conditions: ['order.total < money(\"100 EUR\")']
allow: [order.tag]
steps: [{ id: tag, uses: order.tag, with: { tags: [seen] } }]
";

/// Waits longer than things are kept for; and for an event, so that what events are about is kept as well.
const WAIT: &str = "
id: wait
status: live
triggers: [{ event: order.created }]
conditions: ['order.total >= money(\"100 EUR\")']
allow: [order.tag]
steps:
  - { uses: wait, with: { for: 120d } }
  - { uses: wait_for, with: { event: order.paid, within: 1h } }
  - { id: tag, uses: order.tag, with: { tags: [late] } }
";

const GREET: &str = "
id: greet
status: live
triggers: [{ event: order.created }]
limits: { per_customer: 3/365d }
allow: [message.send]
steps: [{ id: send, uses: message.send, with: { subject: Hi, text: Hello } }]
";

/// Lets so many days pass, and a whole pass of forgetting at their end.
async fn days(it: &TestApp, many: u32) {
    it.advance(many * DAY).await;
    for _ in 0..12 {
        it.advance(Duration::from_secs(1)).await;
    }
}

/// How many rows there are of each of these.
async fn rows<const N: usize>(beside: &DatabaseConnection, tables: [&str; N]) -> [i64; N] {
    let mut counts = [0; N];
    for (count, table) in counts.iter_mut().zip(tables) {
        let sql = format!("SELECT count(*) AS many FROM {table}");
        let row = beside.query_one_raw(Statement::from_string(beside.get_database_backend(), sql)).await.expect("rows");
        *count = row.expect("a row").try_get("", "many").expect("a number");
    }
    counts
}

const ALL: [&str; 6] = ["events", "payloads", "contexts", "runs", "calls", "event_about"];

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_with_all_that_hangs_on_it_once_none_of_its_runs_waits() {
    let it = TestApp::start(&[("tag.yaml", TAG), ("wait.yaml", WAIT)]).await;
    let (first, beside) = (order(1, 10), beside(&it).await);
    it.shop.put(first.clone());
    let delivery = it.signer.order("orders/create", &first, it.now());
    let paid = it.signer.order("orders/paid", &first, it.now());
    assert_eq!((it.deliver(&delivery).await, it.deliver(&paid).await), (200, 200));
    it.order(&order(2, 500)).await;
    it.settle().await;
    let (event, run) = (it.runs().await[0].event.id, it.runs().await[0].id);

    days(&it, 89).await;
    let all = rows(&beside, ALL).await;
    assert_eq!(all[..4], [3, 3, 3, 2]);
    assert!(all[5] > 0, "what events are about is known");
    days(&it, 2).await;
    assert_eq!(rows(&beside, ALL).await, [1, 1, 1, 1, 1, 0], "what waits stays, with its event");

    let (status, problem) = it.get(&format!("/v1/events/{event}")).await;
    let said = problem["detail"].as_str().unwrap_or_default().to_owned();
    assert_eq!((status, said), (404, format!("there is no event {event} in this shop; its id is of 2026-11-23")));
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("`keep`")), "{problem}");
    let (code, _, told) = it.storehand(&["runs", "show", &run.to_string()]);
    assert!(code == 1 && told.contains(&format!("there is no run {run}")) && told.contains("`keep`"), "{told}");
    assert_eq!(it.post(&format!("/v1/runs/{run}/retry"), &json!({})).await.0, 404);

    // A delivery that comes again is known for longer than its event.
    assert_eq!((it.deliver(&delivery).await, it.runs().await.len()), (200, 1));
    days(&it, 30).await;
    it.advance(Duration::from_secs(3600)).await;
    assert_eq!(it.ends().await, ["done"], "what waited went on");
    assert_eq!(rows(&beside, ["events", "delivery_keys"]).await, [1, 1]);
    assert_eq!(it.deliver(&delivery).await, 200);
    it.settle().await;
    assert_eq!(it.runs().await.len(), 2, "and is a new one after that");

    days(&it, 80).await;
    assert_eq!(rows(&beside, ALL).await[0], 2, "kept for as long, once it is over");
    days(&it, 12).await;
    assert_eq!(rows(&beside, ALL).await, [0; 6]);
    let it = it.restart().await;
    it.order(&order(3, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_never_forgotten() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    it.shop.fail_next("mail", [Fault::Status(450)]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    it.order(&order(2, 10)).await;
    it.settle().await;
    let runs = it.runs().await;
    days(&it, 200).await;
    assert_eq!(it.runs().await.len(), 2, "one failed, and nobody has said what becomes of it; one is unknown");

    it.post(&format!("/v1/runs/{}/drop", runs[0].id), &json!({})).await;
    days(&it, 1).await;
    assert_eq!(it.runs().await.iter().map(|run| run.id).collect::<Vec<_>>(), [runs[1].id]);
    let says = Says::Happened { answer: json!({ "message_id": "m" }) };
    let decision = Decision { run: runs[1].id, path: "send".into(), by: "ana".into(), says };
    it.app.engine.command(&acme(), Command::Decide(decision)).await.expect("decided");
    days(&it, 89).await;
    assert_eq!(it.ends().await, ["done"]);
    days(&it, 2).await;
    assert_eq!(it.runs().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_count_is_kept_for_as_long_as_they_count() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    let beside = beside(&it).await;
    for number in 1..=3 {
        it.order(&order(number, 10)).await;
    }
    it.settle().await;
    days(&it, 200).await;
    assert_eq!(rows(&beside, ["runs", "spent"]).await, [0, 3]);
    it.order(&order(4, 10)).await;
    it.settle().await;
    let run = it.runs().await.remove(0);
    assert!(matches!(&run.calls[0].answer, Some(Answer::Failed(failure)) if failure.code == "limited"), "{run:?}");
    days(&it, 167).await;
    assert_eq!(rows(&beside, ["spent"]).await, [0]);
    it.order(&order(5, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await.last().map(String::as_str), Some("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_in_small_steps_and_work_goes_on_between_them() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    let beside = beside(&it).await;
    for number in 1..=250 {
        it.order(&order(number, 10)).await;
    }
    it.settle().await;
    it.advance(91 * DAY).await;
    let mut left = vec![250];
    while let Some(before @ 1..) = left.last().copied() {
        let [now] = rows(&beside, ["runs"]).await;
        assert!(now < before && before - now <= 100, "a step is small, and does something: {left:?} {now}");
        left.push(now);
        it.advance(Duration::from_secs(1)).await;
    }
    it.order(&order(251, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shop_keeps_things_for_as_long_as_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&store::Settings::at(folder.path().join("storehand.db"))).await.expect("a store");
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let registry = World::new(1, BTreeMap::new()).registry();
    let rules = Arc::new(RuleSet::new([], registry.catalog()));
    let keeps = [("acme", Some(SignedDuration::from_hours(24))), ("other", None)];
    let shop = |(name, keep): (&str, _)| {
        let id: ShopId = name.parse().expect("a shop");
        (Arc::new(Shop { id, keep, ..world::shop() }), rules.clone())
    };
    let engine = Engine::start(Parts {
        store: store.clone(),
        clock: clock.clone(),
        ids: Arc::new(IdMaker::new(1)),
        registry: registry.clone(),
        shops: keeps.into_iter().map(shop).collect(),
        settings: Settings::default(),
    });
    let engine = engine.await.expect("it starts");
    let ids = keeps.map(|(name, _)| name.parse::<ShopId>().expect("a shop"));
    for number in 0..6 {
        for id in &ids {
            engine.accept(id, "shopify", vec![world::event(number, 1)]).await.expect("accepted");
        }
    }
    engine.idle().await;
    clock.advance(40 * DAY);
    engine.idle().await;
    for _ in 0..12 {
        clock.advance(Duration::from_secs(1));
        engine.idle().await;
    }
    let filter = EventFilter { most: 100, ..EventFilter::default() };
    let mut left = Vec::new();
    for id in &ids {
        left.push(store.events(id, &filter).await.expect("events").len());
    }
    assert_eq!(left, [0, 6]);
    engine.shutdown(Duration::from_secs(5)).await;
    let beside = Database::connect(format!("sqlite://{}", folder.path().join("storehand.db").display()));
    assert_eq!(rows(&beside.await.expect("the file"), ["events", "payloads", "delivery_keys"]).await, [6, 6, 6]);
}
