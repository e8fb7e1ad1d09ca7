//! What a rule did is taken back: listed, asked for, and done as calls of its own, once.

use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::demo::{DemoOrder, Fault};
use storehand::domain::Mode;

use crate::person::Person;
use crate::support::{TestApp, order};

/// Two tags, one of which an order may have already, and a mail.
const TAG: &str = "
id: tag
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
steps:
  - { id: one, uses: order.tag, with: { tags: [vip, seen] } }
  - { id: two, uses: order.tag, with: { tags: [new] } }
  - { id: send, uses: message.send, with: { subject: Hi, text: Hello } }
";

async fn placed(it: &TestApp, number: u32, tags: &[&str]) {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    it.order(&DemoOrder { tags, ..order(number, 10) }).await;
    it.settle().await;
}

fn removed(it: &TestApp) -> Vec<Json> {
    let calls = it.shop.calls().into_iter().filter(|call| call.what == "tagsRemove");
    calls.map(|call| call.input["tags"].clone()).collect()
}

async fn undo(ana: &Person, it: &TestApp, since: &str) -> Vec<(String, bool)> {
    let answer = ana.does(it, &format!("/v1/rules/tag/undo?since={since}"), &json!({})).await;
    it.settle().await;
    let line = |run: &Json| (run["what"].as_str().unwrap_or_default().to_owned(), run["left"] == true);
    answer["runs"].as_array().expect("runs").iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rules_tags_come_off_again_and_those_that_were_there_before_stay() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1, &["VIP", "old"]).await;
    assert_eq!(it.shop.orders()[0].tags, ["VIP", "old", "seen", "new"]);

    let found = ana.ask(&it, "/v1/rules/tag/undo?since=09:00").await;
    let writes: Vec<(&Json, &Json)> = found["writes"]
        .as_array()
        .expect("writes")
        .iter()
        .map(|it| (&it["path"], &it["inverse"]["input"]["tags"]))
        .collect();
    assert_eq!(
        writes,
        [(&json!("send"), &Json::Null), (&json!("two"), &json!(["new"])), (&json!("one"), &json!(["seen"]))]
    );
    assert_eq!(removed(&it), Vec::<Json>::new(), "looking changes nothing");

    let came = undo(&ana, &it, "09:00").await;
    assert!(came[0].0.starts_with("2 writes are taken back by run_") && !came[0].1, "{came:?}");
    assert_eq!(it.shop.orders()[0].tags, ["VIP", "old"]);
    assert_eq!(removed(&it), [json!(["new"]), json!(["seen"])], "the last first");
    assert_eq!(it.ends().await, ["done", "done"]);

    let (live, back) = (it.runs().await.remove(0), it.runs().await.remove(1));
    assert_eq!((live.mode, back.mode), (Mode::Live, Mode::Undo));
    let shown = ana.ask(&it, &format!("/v1/runs/{}", live.id)).await;
    assert_eq!(shown["undone"], json!({ "run": back.id, "state": "ended", "end": { "outcome": "done" } }));
    assert_eq!(back.calls.iter().map(|call| call.path.as_str()).collect::<Vec<_>>(), ["undo/two", "undo/one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_back_twice() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1, &[]).await;
    let (first, second) = tokio::join!(undo(&ana, &it, "1h"), undo(&ana, &it, "1h"));
    assert_eq!([first[0].1, second[0].1].iter().filter(|left| **left).count(), 1, "{first:?} {second:?}");
    // Somebody puts it on again: a second time it is not ours.
    let order = DemoOrder { tags: vec!["new".into()], ..it.shop.orders().remove(0) };
    it.shop.put(order);
    let it = it.restart().await;
    let came = undo(&ana, &it, "1h").await;
    assert!(came[0].1 && came[0].0.starts_with("it was taken back before, by run_"), "{came:?}");
    assert_eq!((removed(&it).len(), it.shop.orders()[0].tags.clone()), (2, vec!["new".to_owned()]));
    let found = ana.ask(&it, "/v1/rules/tag/undo?since=1h").await;
    assert!(found["writes"].as_array().expect("writes").iter().all(|write| write["undone_by"].is_string()), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_back_counts_against_no_limit_and_no_fuse() {
    let limited = TAG.replace("allow:", "limits: { calls: 4/h }\nallow:");
    let fused = TAG.replace("id: tag\n", "id: fused\n").replace("[vip, seen]", "[a]").replace("[new]", "[b]");
    let fuse = [("STOREHAND_SHOP__ACME__FUSES__CALLS", "4/h")];
    let it = TestApp::start_with(&[("tag.yaml", &limited), ("fused.yaml", &fused)], &fuse).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1, &[]).await;
    undo(&ana, &it, "1h").await;
    ana.does(&it, "/v1/rules/fused/undo?since=1h", &json!({})).await;
    it.settle().await;
    assert_eq!(removed(&it).len(), 4, "three writes and two that take back, of each rule");
    assert!(it.app.store.pauses(&crate::support::acme()).await.expect("pauses").of("fused").is_none());

    let it = it.restart().await;
    placed(&it, 2, &[]).await;
    let of = async |rule: &str| -> Vec<String> {
        let runs = it.runs().await;
        let run = runs.iter().rfind(|run| &*run.rule == rule && run.mode == Mode::Live).expect("a run");
        let how = |call: &storehand::domain::Call| match &call.answer {
            Some(storehand::domain::Answer::Failed(failure)) => failure.code.clone(),
            Some(_) => "done".to_owned(),
            None => "held".to_owned(),
        };
        run.calls.iter().map(how).collect()
    };
    assert_eq!(of("tag").await, ["done", "limited"], "the fourth write is within the limit");
    assert_eq!(of("fused").await, ["done", "held"], "and the fifth passes the fuse");
}

#[tokio::test(flavor = "multi_thread")]
async fn since_when_is_read_in_the_shops_time_zone() {
    let zone = [("STOREHAND_SHOP__ACME__TIME_ZONE", "Europe/Berlin")];
    let it = TestApp::start_with(&[("tag.yaml", TAG)], &zone).await;
    let ana = Person::named("ana", &it).await;
    // 10:00 in Berlin, then 11:00, then 12:00.
    for number in 1..=3 {
        placed(&it, number, &[]).await;
        it.advance(Duration::from_secs(3600)).await;
    }
    let tags = |it: &TestApp| it.shop.orders().iter().map(|order| order.tags.len()).collect::<Vec<_>>();
    assert_eq!(tags(&it), [3, 3, 3]);
    undo(&ana, &it, "10:30&until=11:30").await;
    assert_eq!(tags(&it), [3, 0, 3]);
    undo(&ana, &it, "2026-11-23T11:30").await;
    assert_eq!(tags(&it), [3, 0, 0]);
    // 13:30 of today has not been yet: it was yesterday's.
    undo(&ana, &it, "13:30").await;
    assert_eq!(tags(&it), [0, 0, 0]);
    for (since, status) in [("tomorrow", 422), ("2h&until=3h", 422)] {
        let (came, problem) = ana.tell(&it, &format!("/v1/rules/tag/undo?since={since}"), &json!({})).await;
        assert_eq!(came, status, "{problem}");
    }
    assert_eq!(ana.tell(&it, "/v1/rules/nobody/undo?since=1h", &json!({})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_taken_back_is_a_dead_letter_and_goes_on_when_retried() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1, &[]).await;
    it.shop.fail_next("tagsRemove", [Fault::Status(403)]);
    undo(&ana, &it, "1h").await;
    let runs = it.runs().await;
    assert_eq!((it.ends().await[0].as_str(), removed(&it).len()), ("done", 1), "after the first nothing more is tried");
    let dead = ana.ask(&it, "/v1/runs?dead=true").await;
    assert_eq!((&dead["runs"][0]["id"], &dead["runs"][0]["mode"]), (&json!(runs[1].id), &json!("undo")));
    ana.does(&it, &format!("/v1/runs/{}/retry", runs[1].id), &json!({})).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "done"]);
    assert_eq!(it.shop.orders()[0].tags, Vec::<String>::new());
    assert_eq!(removed(&it), [json!(["new"]), json!(["new"]), json!(["vip", "seen"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_its_lane_and_for_nobodys_pause_and_goes_on_after_a_restart() {
    let it = TestApp::start(&[("tag.yaml", &TAG.replace("steps:", "key: '\"all\"'\nsteps:"))]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1, &[]).await;
    it.advance(Duration::from_secs(60)).await;
    // The second order's run holds the lane: its tag is to be tried again.
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    placed(&it, 2, &[]).await;
    let came = undo(&ana, &it, "1h").await;
    assert_eq!(came.len(), 1, "what is not done yet is not taken back: {came:?}");
    assert_eq!((it.ends().await, removed(&it).len()), (vec!["done".into(), "active".into(), "queued".into()], 0));
    let it = it.restart().await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "active", "queued"]);

    it.shop.fail_next("tagsRemove", [Fault::Throttle]);
    ana.does(&it, "/v1/rules/tag/pause", &json!({})).await;
    it.advance(Duration::from_secs(10)).await;
    assert_eq!(it.ends().await, ["done", "waiting", "active"], "the write is held, the undo has the lane");
    let it = it.restart().await;
    it.advance(Duration::from_secs(10)).await;
    assert_eq!((it.ends().await[2].as_str(), removed(&it).len()), ("done", 3));
    let tags: Vec<usize> = it.shop.orders().iter().map(|order| order.tags.len()).collect();
    assert_eq!(tags, [0, 0]);
    ana.does(&it, "/v1/rules/tag/resume", &json!({})).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "done", "done"]);
}
