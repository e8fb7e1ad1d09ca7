//! What a rule may do at the most: over its own limit a write is answered `limited`; over a fuse of its shop the rule is
//! paused, and the write is held. Both count across rules and restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use storehand::capabilities;
use storehand::demo::{DemoCustomer, DemoOrder};
use storehand::domain::{
    Answer, Attempt, Capability, End, Fuses, IdMaker, Kind, Limits, ManualClock, Repeat, Shape, Shop, Spec, Verdict,
};
use storehand::engine::{Engine, Parts, Registry, Settings};
use storehand::rules::{self, RuleSet};
use storehand::store::{self, RunFilter, Store};

use crate::person::Person;
use crate::support::{TestApp, acme, order, start_of_time};
use crate::world;

fn tag(id: &str, limits: &str) -> String {
    format!(
        "
id: {id}
status: live
triggers: [{{ event: order.created }}]
{limits}
allow: [order.tag]
steps:
  - {{ id: tag, uses: order.tag, with: {{ tags: [{id}] }} }}
"
    )
}

fn greet(id: &str, limits: &str) -> String {
    tag(id, limits).replace("order.tag]", "message.send]").replace(
        &format!("order.tag, with: {{ tags: [{id}] }}"),
        &format!("message.send, with: {{ subject: {id}, text: Hello }}"),
    )
}

async fn placed(it: &TestApp, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        it.order(&order(number, 10)).await;
    }
    it.settle().await;
}

fn tagged(it: &TestApp) -> usize {
    it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count()
}

fn mails(it: &TestApp) -> Vec<String> {
    it.shop.mails().iter().map(|mail| mail.subject.clone()).collect()
}

/// How the runs ended, in a word each: a failure by its code.
async fn ends(it: &TestApp) -> Vec<String> {
    let end = |run: &storehand::domain::Run| match &run.ended {
        Some((_, End::Failed { failure })) => failure.code.clone(),
        Some((_, end)) => format!("{end:?}").to_lowercase(),
        None => format!("{:?}", run.state).to_lowercase(),
    };
    it.runs().await.iter().map(end).collect()
}

/// What is paused, as a pause of something else says it.
async fn paused(ana: &Person, it: &TestApp) -> Vec<(String, String, String, u64)> {
    let answer = ana.does(it, "/v1/rules/other/pause", &json!({})).await;
    ana.does(it, "/v1/rules/other/resume", &json!({})).await;
    let text = |pause: &Json, name: &str| pause[name].as_str().unwrap_or_default().to_owned();
    let pauses = answer["shops"][0]["paused"].as_array().cloned().unwrap_or_default();
    let of_interest = pauses.iter().filter(|pause| pause["rule"] != "other");
    of_interest
        .map(|pause| {
            let held = pause["held"].as_u64().unwrap_or_default();
            (text(pause, "rule"), text(pause, "by"), text(pause, "because"), held)
        })
        .collect()
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn over_its_limit_a_write_is_answered_limited_until_there_is_room_again() {
    let it = TestApp::start(&[("tag.yaml", &tag("tag", "limits: { calls: 2/h }"))]).await;
    placed(&it, [1]).await;
    it.advance(Duration::from_secs(600)).await;
    placed(&it, [2]).await;
    let it = it.restart().await;
    placed(&it, [3]).await;
    assert_eq!((ends(&it).await, tagged(&it)), (vec!["done".into(), "done".into(), "limited".into()], 2));
    let run = it.runs().await.remove(2);
    let Some(Answer::Failed(failure)) = run.call("tag").and_then(|call| call.answer.clone()) else { panic!("{run:?}") };
    let told = "over the rule's limit `calls: 2/h`: there is room again at 2026-11-23T10:00:00Z";
    assert_eq!(failure.message, told);

    // The first one's hour is over, the second one's is not.
    it.advance(HOUR - Duration::from_secs(600)).await;
    placed(&it, [4, 5]).await;
    assert_eq!((ends(&it).await[3..].to_vec(), tagged(&it)), (vec!["done".to_owned(), "limited".to_owned()], 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_handle_that_it_is_limited_and_a_dead_run_is_retried_when_there_is_room() {
    let handled = tag("handled", "limits: { calls: 1/h }").replace("} }\n", "}, on_error: continue }\n");
    let it = TestApp::start(&[("tag.yaml", &tag("tag", "limits: { calls: 1/h }")), ("handled.yaml", &handled)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, [1, 2]).await;
    let of = |ends: Vec<String>| {
        let mut ends = ends;
        ends.sort();
        ends
    };
    assert_eq!(of(ends(&it).await), ["done", "done", "done", "limited"]);
    let dead = it.runs().await.into_iter().find(|run| matches!(run.ended, Some((_, End::Failed { .. })))).expect("one");
    let retry = format!("/v1/runs/{}/retry", dead.id);
    let (status, problem) = ana.tell(&it, &retry, &json!({})).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().is_some_and(|told| told.contains("room again at")), "{problem}");
    it.advance(HOUR).await;
    ana.does(&it, &retry, &json!({})).await;
    it.settle().await;
    assert_eq!((of(ends(&it).await), tagged(&it)), (vec!["done".to_owned(); 4], 3));
    // What was retried counts.
    placed(&it, [3]).await;
    assert_eq!(of(ends(&it).await), ["done", "done", "done", "done", "done", "limited"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_counted_by_customer_however_the_address_is_written() {
    let rules = [
        ("one.yaml", greet("one", "limits: { per_customer: 2/7d }")),
        ("two.yaml", greet("two", "limits: { per_customer: 9/7d }")),
    ];
    let it = TestApp::start(&rules.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    placed(&it, [1, 2]).await;
    let it = it.restart().await;
    let shouting = |number, email: &str| {
        let DemoOrder { customer, .. } = order(number, 10);
        DemoOrder { customer: DemoCustomer { email: email.to_owned(), ..customer }, ..order(number, 10) }
    };
    it.order(&shouting(3, "ANA@example.com")).await;
    it.settle().await;
    assert_eq!(mails(&it).iter().filter(|subject| *subject == "one").count(), 2, "a third within a week is too much");
    assert_eq!(mails(&it).iter().filter(|subject| *subject == "two").count(), 3, "each rule has its own limit");
    it.order(&shouting(4, "ben@example.com")).await;
    it.settle().await;
    assert_eq!(mails(&it).iter().filter(|subject| *subject == "one").count(), 3, "another customer");
    it.advance(Duration::from_secs(7 * 86_400)).await;
    placed(&it, [5]).await;
    assert_eq!(mails(&it).iter().filter(|subject| *subject == "one").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_passes_its_fuse_is_paused_its_writes_are_held_and_made_once_when_it_is_resumed() {
    let rules = [("tag.yaml", tag("tag", "")), ("other.yaml", tag("other", ""))];
    let fuse = [("STOREHAND_SHOP__ACME__FUSES__CALLS", "3/h")];
    let it = TestApp::start_with(&rules.each_ref().map(|(name, text)| (*name, text.as_str())), &fuse).await;
    let ana = Person::named("ana", &it).await;
    // Another rule would pass its fuse as well: its limit keeps it from that.
    std::fs::write(it.file().with_file_name("rules").join("other.yaml"), tag("other", "limits: { calls: 1/h }"))
        .expect("a rule");
    let it = it.restart().await;
    placed(&it, [1, 2]).await;
    let it = it.restart().await;
    placed(&it, [3, 4]).await;
    let of_tag =
        |it: &TestApp| it.shop.orders().iter().filter(|order| order.tags.iter().any(|tag| tag == "tag")).count();
    assert_eq!(of_tag(&it), 3, "the fourth is held");
    let why = "a write would have gone over 3/h: there is room again at 2026-11-23T10:00:00Z";
    let pause = ("tag".to_owned(), "the fuse `calls`".to_owned(), why.to_owned(), 1);
    assert_eq!(paused(&ana, &it).await, [pause]);
    placed(&it, [5]).await;
    let event = ana.ask(&it, "/v1/events?limit=1").await["events"][0]["id"].clone();
    let event = ana.ask(&it, &format!("/v1/events/{}", event.as_str().expect("an id"))).await;
    let is_paused = |why: &&Json| why["error"].as_str().is_some_and(|error| error.starts_with("paused since "));
    let of_paused = event["why_not"].as_array().expect("why not").iter().find(is_paused).cloned();
    let said = of_paused.expect("it says so")["error"].as_str().expect("a sentence").to_owned();
    assert!(said.contains(" by the fuse `calls`: a write would have gone over 3/h"), "{said}");

    let it = it.restart().await;
    it.settle().await;
    assert_eq!(of_tag(&it), 3);
    ana.does(&it, "/v1/rules/tag/resume", &json!({})).await;
    it.settle().await;
    assert_eq!(of_tag(&it), 4, "what was held is made");
    // It counts anew.
    it.advance(Duration::from_secs(1)).await;
    placed(&it, [6, 7, 8]).await;
    assert_eq!((of_tag(&it), paused(&ana, &it).await), (7, vec![]));
    placed(&it, [9]).await;
    assert_eq!((of_tag(&it), paused(&ana, &it).await.len()), (7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_gets_no_more_messages_than_the_fuse_allows_whichever_rules_send_them() {
    let rules = [("one.yaml", greet("one", "")), ("two.yaml", greet("two", "")), ("other.yaml", tag("other", ""))];
    let fuse = [("STOREHAND_SHOP__ACME__FUSES__PER_CUSTOMER", "3/7d")];
    let it = TestApp::start_with(&rules.each_ref().map(|(name, text)| (*name, text.as_str())), &fuse).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, [1]).await;
    placed(&it, [2]).await;
    assert_eq!(mails(&it).len(), 3);
    let pauses = paused(&ana, &it).await;
    assert_eq!((pauses.len(), pauses[0].1.as_str(), pauses[0].3), (1, "the fuse `per_customer`", 1));
    assert!(!pauses[0].2.contains('@'), "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_answers_its_own_writes_is_paused_as_a_loop() {
    // Each update brings a tag, and so the next update.
    let rule = tag("loop", "").replace("order.created", "order.updated").replace("[loop] }", "[\"{{ now }}\"] }");
    let rules = [("loop.yaml", rule), ("other.yaml", tag("other", ""))];
    let fuse = [("STOREHAND_SHOP__ACME__FUSES__RUNS_PER_SUBJECT", "3/h")];
    let it = TestApp::start_with(&rules.each_ref().map(|(name, text)| (*name, text.as_str())), &fuse).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, [1, 2]).await;
    let mut it = it;
    for round in 0..6_u32 {
        it.advance(Duration::from_secs(5)).await;
        let order = DemoOrder { updated_at: it.now(), ..it.shop.orders().remove(0) };
        assert_eq!(it.deliver(&it.signer.order("orders/updated", &order, it.now())).await, 200);
        it.settle().await;
        if round == 1 {
            it = it.restart().await;
        }
    }
    let runs = it.runs().await.into_iter().filter(|run| &*run.rule == "loop").count();
    assert_eq!(runs, 3, "the fourth is not begun");
    let pauses = paused(&ana, &it).await;
    assert_eq!((pauses[0].1.as_str(), pauses.len()), ("the fuse `runs_per_subject`", 1));
    assert!(pauses[0].2.contains("3/h runs on order/") && pauses[0].2.contains("loop"), "{pauses:?}");

    ana.does(&it, "/v1/rules/loop/resume", &json!({})).await;
    let other = DemoOrder { updated_at: it.now(), ..it.shop.orders().remove(1) };
    assert_eq!(it.deliver(&it.signer.order("orders/updated", &other, it.now())).await, 200);
    it.settle().await;
    assert_eq!(it.runs().await.into_iter().filter(|run| &*run.rule == "loop").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_nothing_and_what_its_schedule_runs_is_no_loop() {
    let log = "id: log\nstatus: live\ntriggers: [{ event: order.updated }]\nsteps: [{ uses: log, with: { message: seen } }]\n";
    let looks = log.replace("id: log", "id: looks").replace("uses: log, with: { message: seen }", "uses: order.get");
    let tick = "id: tick\nstatus: live\ntriggers: [{ schedule: '* * * * *' }]\nallow: [order.tag]\n\
                steps: [{ uses: order.tag, with: { order_id: \"ID\", tags: [tick] } }]\n";
    let updated = tag("updated", "").replace("order.created", "order.updated");
    let fuse = [("STOREHAND_SHOP__ACME__FUSES__RUNS_PER_SUBJECT", "3/h")];
    let tick = tick.replace("ID", &order(1, 10).id().to_string());
    let rules = [("log.yaml", log), ("looks.yaml", &looks), ("tick.yaml", &tick), ("updated.yaml", &updated)];
    let it = TestApp::start_with(&rules, &fuse).await;
    placed(&it, [1]).await;
    let mut it = it;
    for round in 0..6_u32 {
        it.advance(Duration::from_secs(60)).await;
        let order = DemoOrder { updated_at: it.now(), ..it.shop.orders().remove(0) };
        assert_eq!(it.deliver(&it.signer.order("orders/updated", &order, it.now())).await, 200);
        it.settle().await;
        if round == 3 {
            it = it.restart().await;
        }
    }
    let runs = it.runs().await;
    let of = |rule: &str| runs.iter().filter(|run| &*run.rule == rule).count();
    assert_eq!([of("log"), of("looks"), of("tick"), of("updated")], [6, 6, 6, 3]);
    let pauses = it.app.store.pauses(&acme()).await.expect("pauses");
    assert_eq!(pauses.in_force().map(|(name, _)| name).collect::<Vec<_>>(), ["updated"]);
}

/// A capability that moves money, and keeps count of what it moved.
struct Pay(Spec);

impl Pay {
    fn new() -> Self {
        Self(Spec {
            doc: "Moves money.",
            repeat: Repeat::Key,
            input: Shape::object(&["total"], &[("total", Shape::text(40, "How much."))]),
            amount: Some("total"),
            ..Spec::of("world.pay", Kind::Write)
        })
    }
}

#[async_trait]
impl Capability for Pay {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, _attempt: &Attempt, _input: &Json) -> Verdict {
        Verdict::Done(json!({}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_added_up_exactly_in_the_limits_own_currency() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = capabilities::all(capabilities::Deps::default());
    all.push(Arc::new(Pay::new()));
    let registry = Arc::new(Registry::new(all).expect("capabilities"));
    let pay = |id: &str, amount: &str, limits: &str| {
        format!(
            "id: {id}\nstatus: live\ntriggers: [{{ event: order.created }}]\n{limits}\nallow: [world.pay]\n\
             steps: [{{ id: pay, uses: world.pay, with: {{ total: \"{amount}\" }} }}]\n"
        )
    };
    let read = |text: &str| {
        let beside = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let read = rules::read(Path::new("pay.yaml"), text, &beside, registry.catalog());
        Arc::new(read.rule.unwrap_or_else(|| panic!("{:?}", read.findings)))
    };
    let rules = [
        pay("exact", "0.10 EUR", "limits: { money: 0.30 EUR/d }"),
        pay("foreign", "1 USD", "limits: { money: 100 EUR/d }"),
        pay("fused", "40 EUR", ""),
    ];
    let set = Arc::new(RuleSet::new(rules.iter().map(|text| read(text)), registry.catalog()));
    let fuses = Fuses {
        limits: Limits { money: Some("100 EUR/d".parse().expect("a rate")), ..Limits::default() },
        runs_per_subject: None,
    };
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let mut delivered = 0;
    // Two lives: what was spent in the first counts in the second.
    for life in 0..2 {
        let store = Store::open(&store::Settings::at(folder.path().join("storehand.db"))).await.expect("a store");
        let engine = Engine::start(Parts {
            store: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(IdMaker::new(life)),
            registry: registry.clone(),
            shops: vec![(Arc::new(Shop { fuses, ..world::shop() }), set.clone())],
            settings: Settings::default(),
        });
        let engine = engine.await.expect("it starts");
        for _ in 0..2 {
            engine.accept(&acme(), "shopify", vec![world::event(delivered, 1)]).await.expect("accepted");
            engine.idle().await;
            delivered += 1;
        }
        engine.shutdown(Duration::from_secs(5)).await;
        let mut came: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let store = Store::open(&store::Settings::at(folder.path().join("storehand.db"))).await.expect("a store");
        let runs = store.list_runs(&acme(), &RunFilter { most: 100, ..RunFilter::default() }).await.expect("runs");
        for run in runs.iter().rev() {
            let call = run.call("pay").expect("the call");
            let how = match (&call.answer, &call.awaits) {
                (Some(Answer::Done(_)), _) => "done".to_owned(),
                (Some(Answer::Failed(failure)), _) => failure.code.clone(),
                (None, awaits) => awaits.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            came.entry(run.rule.to_string()).or_default().push(how);
        }
        let made = |rule: &str| came[rule].join(" ");
        match life {
            0 => assert_eq!(
                [made("exact"), made("foreign"), made("fused")],
                ["done done", "limited limited", "done done"]
            ),
            _ => {
                assert_eq!(made("exact"), "done done done limited", "0.1 three times is 0.3");
                assert_eq!(made("foreign"), "limited limited limited limited", "nobody can tell how much that is");
                assert_eq!(made("fused"), "done done resume", "the third is held, and then no run begins");
                let pauses = store.pauses(&acme()).await.expect("pauses");
                let why = pauses.of("fused").and_then(|pause| pause.why.clone()).unwrap_or_default();
                assert!(why.contains("80.00 EUR were spent, and it moves 40.00 EUR"), "{why}");
            }
        }
        store.close().await;
    }
}
