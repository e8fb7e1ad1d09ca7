//! A rule that is paused starts nothing and writes nothing, says why, and goes on where it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::capabilities;
use storehand::demo::Fault;
use storehand::domain::{End, IdMaker, ManualClock, RunId};
use storehand::engine::{Command, Engine, Parts, Registry, Settings};
use storehand::rules::{self, RuleSet};
use storehand::store::{self, RunFilter, Store};

use crate::person::Person;
use crate::support::{TestApp, acme, order, start_of_time};
use crate::world::{self, World};

/// A tag, ten minutes later.
const LATER: &str = "
id: later
status: live
triggers: [{ event: order.created }]
allow: [order.tag]
steps:
  - { uses: wait, with: { for: 10m } }
  - { id: tag, uses: order.tag, with: { tags: [seen] } }
";

const AT_ONCE: &str = "
id: at-once
status: live
triggers: [{ event: order.created }]
conditions: ['order.total > money(\"5 EUR\")']
allow: [order.tag]
steps:
  - { id: look, uses: order.get }
  - { id: tag, uses: order.tag, with: { tags: [seen] } }
";

fn asked(it: &TestApp, what: &str) -> usize {
    it.shop.calls().iter().filter(|call| call.what == what).count()
}

async fn placed(it: &TestApp, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        it.order(&order(number, 10)).await;
    }
    it.settle().await;
}

async fn newest_event(ana: &Person, it: &TestApp) -> Json {
    let events = ana.ask(it, "/v1/events?limit=1").await;
    ana.ask(it, &format!("/v1/events/{}", events["events"][0]["id"].as_str().expect("an id"))).await
}

async fn waits_for(ana: &Person, it: &TestApp, run: RunId, path: &str) -> Json {
    let run = ana.ask(it, &format!("/v1/runs/{run}")).await;
    let calls = run["calls"].as_array().expect("calls");
    calls.iter().find(|call| call["path"] == path).expect("the call")["awaits"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_rule_starts_no_run_and_says_since_when_by_whom_and_why() {
    let it = TestApp::start(&[("at-once.yaml", AT_ONCE)]).await;
    let ana = Person::named("ana", &it).await;
    let stopped = ana.does(&it, "/v1/rules/at-once/pause", &json!({ "because": "too many tags" })).await;
    let pause = json!({
        "rule": "at-once", "since": "2026-11-23T09:00:00Z", "by": "ana", "because": "too many tags", "held": 0,
    });
    assert_eq!(stopped["shops"], json!([{ "shop": "acme", "paused": [pause] }]));
    let (_, said, _) = it.storehand(&["rules", "list"]);
    let rows: Vec<&str> = said.lines().collect();
    assert!(rows[1].contains(", paused") && rows[2].contains("by ana: too many tags; no write held so far"), "{said}");

    placed(&it, [1]).await;
    let event = newest_event(&ana, &it).await;
    assert_eq!(event["runs"], json!([]));
    assert_eq!(event["why_not"][0]["error"], "paused since 2026-11-23T09:00:00Z by ana: too many tags");

    // Where a condition is false, that is why: the pause made no difference.
    it.order(&order(2, 1)).await;
    it.settle().await;
    let clause = newest_event(&ana, &it).await["why_not"][0]["clause"].clone();
    assert!(clause.as_str().is_some_and(|clause| clause.contains("order.total")), "{clause}");

    let it = it.restart().await;
    placed(&it, [3]).await;
    assert_eq!(it.runs().await.len(), 0, "it stays paused");
    let gone = ana.does(&it, "/v1/rules/at-once/resume", &json!({})).await;
    assert_eq!(gone["shops"], json!([{ "shop": "acme", "paused": [], "goes_on": 0 }]));
    placed(&it, [4]).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["done".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_under_way_go_on_and_their_writes_are_held_and_made_once_when_it_is_resumed() {
    let it = TestApp::start(&[("later.yaml", &LATER.replace("steps:", "key: '\"all\"'\nsteps:"))]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1..=3).await;
    ana.does(&it, "/v1/rules/later/pause", &json!({})).await;
    it.advance(Duration::from_secs(601)).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["waiting".to_owned(); 3], 0));
    let first = it.runs().await[0].id;
    assert_eq!(waits_for(&ana, &it, first, "tag").await, "resume");
    let due = it.app.store.next_due(&acme()).await.expect("the store");
    assert_eq!(due, None, "what is held is never due: no timer is set for it");

    let it = it.restart().await;
    it.advance(Duration::from_secs(86_400)).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["waiting".to_owned(); 3], 0), "for as long as it takes");

    let gone = ana.does(&it, "/v1/rules/later/resume", &json!({})).await;
    assert_eq!(gone["shops"][0]["goes_on"], 3);
    it.settle().await;
    assert_eq!(it.ends().await, ["done"; 3]);
    let tagged: Vec<Json> =
        it.shop.calls().iter().filter(|call| call.what == "tagsAdd").map(|call| call.input["id"].clone()).collect();
    let orders: Vec<Json> =
        it.shop.orders().iter().map(|order| json!(format!("gid://shopify/Order/{}", order.id()))).collect();
    assert_eq!(tagged, orders, "each once, the oldest first");
    let it = it.restart().await;
    it.advance(Duration::from_secs(86_400)).await;
    assert_eq!(asked(&it, "tagsAdd"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_failed_for_now_is_not_tried_again_while_its_rule_is_paused() {
    let it = TestApp::start(&[("at-once.yaml", AT_ONCE)]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    placed(&it, [1]).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["active".to_owned()], 1));
    ana.does(&it, "/v1/rules/at-once/pause", &json!({})).await;
    it.advance(Duration::from_secs(3600)).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["waiting".to_owned()], 1));
    let held = ana.does(&it, "/v1/rules/at-once/pause", &json!({ "because": "still" })).await;
    assert_eq!(held["shops"][0]["paused"][0]["held"], 1);
    assert_eq!(held["shops"][0]["paused"][0]["because"], Json::Null, "the first pause stands");
    ana.does(&it, "/v1/rules/at-once/resume", &json!({})).await;
    it.settle().await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["done".to_owned()], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_all_stops_every_rule_those_that_are_added_later_too() {
    let it = TestApp::start(&[("later.yaml", LATER)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, [1]).await;
    ana.does(&it, "/v1/rules/*/pause", &json!({ "because": "something is wrong" })).await;
    ana.does(&it, "/v1/rules/later/pause", &json!({ "because": "it is this one" })).await;
    std::fs::write(it.file().with_file_name("rules").join("at-once.yaml"), AT_ONCE).expect("a rule");
    let it = it.restart().await;
    placed(&it, [2]).await;
    it.advance(Duration::from_secs(601)).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd"), asked(&it, "order")), (vec!["waiting".to_owned()], 0, 0));

    let gone = ana.does(&it, "/v1/rules/*/resume", &json!({})).await;
    let left = &gone["shops"][0];
    assert_eq!((&left["paused"][0]["rule"], &left["paused"][0]["held"]), (&json!("later"), &json!(1)));
    assert_eq!(left["goes_on"], 0, "what is paused by itself stays so");
    placed(&it, [3]).await;
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["waiting".to_owned(), "done".to_owned()], 1));
    ana.does(&it, "/v1/rules/later/resume", &json!({})).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paused_or_resumed_is_said_so() {
    let it = TestApp::start(&[("later.yaml", LATER)]).await;
    let ana = Person::named("ana", &it).await;
    let (status, problem) = ana.tell(&it, "/v1/rules/latr/pause", &json!({})).await;
    assert_eq!((status, problem["detail"].as_str()), (404, Some("there is no rule `latr` in this shop")));
    let (status, problem) = ana.tell(&it, "/v1/rules/later/resume", &json!({})).await;
    assert_eq!((status, problem["detail"].as_str()), (409, Some("`later` is not paused")));
    let (status, problem) = ana.tell(&it, "/v1/rules/*/resume", &json!({})).await;
    assert_eq!((status, problem["detail"].as_str()), (409, Some("nothing is paused")));
    ana.does(&it, "/v1/rules/*/pause", &json!({})).await;
    let (status, problem) = ana.tell(&it, "/v1/rules/later/resume", &json!({})).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("`--all`")), "{problem}");
    let (status, _) = ana.tell(&it, "/v1/rules/later/pause", &json!({ "because": "x".repeat(2001) })).await;
    assert_eq!(status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_held_writes_than_one_turn_takes_go_on_in_order() {
    let it = TestApp::start(&[("later.yaml", &LATER.replace("steps:", "key: '\"all\"'\nsteps:"))]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1..=300).await;
    ana.does(&it, "/v1/rules/later/pause", &json!({})).await;
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["waiting"; 300]);
    let gone = ana.does(&it, "/v1/rules/later/resume", &json!({})).await;
    assert_eq!(gone["shops"][0]["goes_on"], 300);
    it.settle().await;
    assert_eq!(it.ends().await, ["done"; 300]);
    let tagged: Vec<String> =
        it.shop.calls().iter().filter(|call| call.what == "tagsAdd").map(|call| call.input["id"].to_string()).collect();
    assert_eq!(tagged.len(), 300);
    assert!(tagged.windows(2).all(|pair| pair[0] < pair[1]), "{tagged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_write_whose_capability_is_gone_fails_its_run_rather_than_wait_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let (with, without) = (World::new(1, BTreeMap::new()).registry(), capabilities::all(capabilities::Deps::default()));
    let without = Arc::new(Registry::new(without).expect("capabilities"));
    let text = "id: later\nstatus: live\ntriggers: [{ event: order.created }]\nallow: [world.key]\nsteps:\n\
                \x20 - { uses: wait, with: { for: 10m } }\n\
                \x20 - { id: write, uses: world.key, with: { n: 1, by: later } }\n";
    let beside = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let rule = rules::read(Path::new("later.yaml"), text, &beside, with.catalog()).rule.map(Arc::new).expect("a rule");
    let set = Arc::new(RuleSet::new([rule], with.catalog()));
    let start = async |registry: &Arc<Registry>, node| {
        let store = Store::open(&store::Settings::at(folder.path().join("storehand.db"))).await.expect("a store");
        let engine = Engine::start(Parts {
            store: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(IdMaker::new(node)),
            registry: registry.clone(),
            shops: vec![(Arc::new(world::shop()), set.clone())],
            settings: Settings::default(),
        });
        (engine.await.expect("it starts"), store)
    };
    let (engine, _) = start(&with, 1).await;
    engine.accept(&acme(), "shopify", vec![world::event(1, 1)]).await.expect("accepted");
    engine.idle().await;
    let pause = Command::Pause { rule: Some("later".into()), by: "ana".into(), why: None };
    engine.command(&acme(), pause).await.expect("paused");
    clock.advance(Duration::from_secs(601));
    engine.idle().await;
    engine.shutdown(Duration::from_secs(5)).await;

    let (engine, store) = start(&without, 2).await;
    assert_eq!(store.held(&acme()).await.expect("held")["later"], 1);
    engine.command(&acme(), Command::Resume { rule: Some("later".into()), by: "ana".into() }).await.expect("resumed");
    engine.idle().await;
    let runs = store.list_runs(&acme(), &RunFilter { most: 10, ..RunFilter::default() }).await.expect("runs");
    let Some((_, End::Failed { failure })) = &runs[0].ended else { panic!("{:?}", runs[0]) };
    assert_eq!(failure.code, "unknown_capability");
    engine.shutdown(Duration::from_secs(5)).await;
}
