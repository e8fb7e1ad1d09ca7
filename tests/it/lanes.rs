//! Lanes: what becomes of a run whose lane is busy, and who goes on after a wait.

use std::time::Duration;

use storehand::demo::Fault;
use storehand::domain::Run;

use crate::support::{TestApp, order};

/// A rule whose runs all share one lane: a tag, a wait, a second tag.
fn rule(overlap: &str) -> String {
    format!(
        "
id: tag
status: live
triggers: [{{ event: order.created }}]
key: '\"all\"'
overlap: {overlap}
allow: [order.tag]
steps:
  - {{ id: first, uses: order.tag, with: {{ tags: [first] }} }}
  - {{ uses: wait, with: {{ for: 10m }} }}
  - {{ id: second, uses: order.tag, with: {{ tags: [second] }} }}
"
    )
}

async fn started(overlap: &str) -> TestApp {
    TestApp::start(&[("tag.yaml", &rule(overlap))]).await
}

/// The tags of each order, by number.
fn tags(it: &TestApp) -> Vec<String> {
    it.shop.orders().iter().map(|order| order.tags.join(" ")).collect()
}

/// Waits until the shop has been asked for so many tags.
async fn reached(it: &TestApp, many: usize) {
    let asked = || it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count();
    let all = async {
        while asked() < many {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("the shop is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_runs_go_one_after_another_and_a_wait_lets_the_next_one_in() {
    let it = started("queue").await;
    // The first write of the first run is throttled: its lane stays busy until it is tried again.
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    for number in 1..=3 {
        it.order(&order(number, 10)).await;
    }
    it.settle().await;
    assert_eq!(it.ends().await, ["active", "queued", "queued"]);
    assert_eq!(tags(&it), ["", "", ""]);

    it.advance(Duration::from_secs(10)).await;
    assert_eq!(it.ends().await, ["waiting", "waiting", "waiting"]);
    assert_eq!(tags(&it), ["first", "first", "first"]);

    // All three waits end at the same moment; again one goes after another.
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["active", "queued", "queued"]);
    let it = it.restart().await;
    it.settle().await;
    assert_eq!(it.ends().await, ["active", "queued", "queued"], "a restart keeps the order");
    it.advance(Duration::from_secs(10)).await;
    assert_eq!(it.ends().await, ["done", "done", "done"]);
    let asked = it.shop.calls().iter().filter(|call| call.what == "tagsAdd" && call.changed).count();
    assert_eq!(asked, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_of_other_keys_are_not_held_up() {
    let it = TestApp::start(&[("tag.yaml", &rule("queue").replace("key: '\"all\"'\n", ""))]).await;
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["active", "waiting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_runs_do_not_wait_for_each_other() {
    let it = started("parallel").await;
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["active", "waiting"]);
    it.advance(Duration::from_secs(10)).await;
    it.advance(Duration::from_secs(1200)).await;
    assert_eq!(it.ends().await, ["done", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_ends_the_run_that_waits_and_what_it_had_planned() {
    let it = started("restart").await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["replaced", "waiting"]);
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["replaced", "done"]);
    assert_eq!(tags(&it), ["first", "first second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_lets_a_write_under_way_end_and_keeps_its_answer() {
    let it = started("restart").await;
    it.shop.fail_next("tagsAdd", [Fault::Slow(Duration::from_millis(400))]);
    it.order(&order(1, 10)).await;
    let is_started = |runs: &[Run]| runs.iter().flat_map(|run| &run.calls).any(|call| call.attempts > 0);
    while !is_started(&it.runs().await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["replaced", "waiting"]);
    assert_eq!(tags(&it), ["first", "first"]);
    let runs = it.runs().await;
    assert!(matches!(runs[0].calls[0].answer, Some(storehand::domain::Answer::Done(_))), "{:?}", runs[0].calls);
    assert_eq!(runs[0].calls.len(), 1, "and nothing more is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_leaves_the_run_that_waits_alone() {
    let it = started("skip").await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting", "skipped"]);
    it.advance(Duration::from_secs(601)).await;
    it.order(&order(3, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "skipped", "waiting"], "the lane is free again");
    assert_eq!(tags(&it), ["first second", "", "first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_and_restart_hold_within_one_turn() {
    for (overlap, left) in
        [("skip", ["waiting", "skipped", "skipped"]), ("restart", ["replaced", "replaced", "waiting"])]
    {
        let it = started(overlap).await;
        let deliveries: Vec<_> = (1..=3)
            .map(|number| {
                it.shop.put(order(number, 10));
                it.signer.order("orders/create", &order(number, 10), it.now())
            })
            .collect();
        // At once, so that they are likely to be matched together; it must make no difference.
        let (a, b, c) =
            tokio::join!(it.deliver(&deliveries[0]), it.deliver(&deliveries[1]), it.deliver(&deliveries[2]));
        assert_eq!((a, b, c), (200, 200, 200));
        it.settle().await;
        assert_eq!(it.ends().await, left, "{overlap}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_key_is_an_error_of_its_run() {
    let it = TestApp::start(&[("tag.yaml", &rule("queue").replace("'\"all\"'", "order.note"))]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    let ends = it.ends().await;
    assert!(ends[0].starts_with("failed: ") && ends[0].contains("order.note"), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_a_person_leaves_its_lane() {
    let rule =
        rule("queue").replace("order.tag, with: { tags: [first] }", "message.send, with: { subject: Hi, text: Hi }");
    let it = TestApp::start(&[("tag.yaml", &rule.replace("[order.tag]", "[order.tag, message.send]"))]).await;
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting"]);
    it.order(&order(2, 10)).await;
    it.settle().await;
    it.advance(Duration::from_secs(601)).await;
    reached(&it, 1).await;
    assert_eq!(it.ends().await, ["waiting", "done"]);
}
