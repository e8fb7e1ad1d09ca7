//! The shadow: a version runs beside the live one, what it would do is recorded and compared, nothing leaves, and one
//! command promotes it.

use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::domain::{Answer, CallState, Mode, Run};

use crate::support::{TestApp, acme, order};

const LIVE: &str = "
id: greet
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
steps:
  - { id: tag, uses: order.tag, with: { tags: [new] } }
  - { id: count, uses: memory.add, with: { key: orders } }
  - { id: first, uses: memory.set, with: { key: 'greeted/{{ customer.id }}', value: true, only_if: null } }
  - { id: send, uses: message.send, with: { subject: Hi, text: 'You are {{ steps.count.value }}' }, if: steps.first.stored }
";

/// The live rule with something else in it, as a shadow.
fn shadow(from: &str, to: &str) -> String {
    let text = LIVE.replace("status: live", "status: shadow").replace(from, to);
    assert_ne!(text, LIVE);
    text
}

async fn put(it: &TestApp, text: &str) -> Json {
    let before = it.rule("greet").await["file_version"].clone();
    it.save("greet.yaml", text);
    it.until("greet", |rule| rule["refused"].is_null() && rule["file_version"] != before).await
}

async fn place(it: &TestApp, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        it.order(&order(number, i64::from(number) * 10)).await;
        it.settle().await;
    }
}

async fn of_mode(it: &TestApp, mode: Mode) -> Vec<Run> {
    it.runs().await.into_iter().filter(|run| run.mode == mode).collect()
}

fn texts(it: &TestApp) -> Vec<String> {
    it.shop.mails().iter().map(|mail| mail.text.clone()).collect()
}

fn number(of: &Json, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_records_what_it_would_do_and_nothing_leaves() {
    let it = TestApp::start(&[("greet.yaml", LIVE)]).await;
    let rule = put(&it, &shadow("[new]", "[new, seen]")).await;
    let told: Vec<&str> = rule["says"].as_array().expect("sentences").iter().filter_map(Json::as_str).collect();
    assert!(told[0].contains("is live since") && told[1].contains("runs in its shadow since"), "{told:?}");
    assert!(told[1].contains("`storehand rules activate greet` promotes it"), "{told:?}");
    assert!(told[2].ends_with("`status: shadow`: the version before it stays live"), "{told:?}");

    place(&it, [1]).await;
    assert_eq!(it.shop.orders()[0].tags, ["new"]);
    assert_eq!(texts(&it), ["You are 1"]);
    let reached: Vec<&str> = it.shop.calls().iter().map(|call| call.what).collect();
    assert_eq!(reached.iter().filter(|what| **what == "tagsAdd").count(), 1, "{reached:?}");

    let shadows = of_mode(&it, Mode::Shadow).await;
    assert_eq!(shadows.len(), 1);
    let calls = &shadows[0].calls;
    assert!(calls.iter().all(|call| call.state == CallState::Answered && call.attempts == 0), "{calls:?}");
    assert_eq!(calls.iter().map(|call| call.path.as_str()).collect::<Vec<_>>(), ["tag", "count", "first", "send"]);
    assert_eq!(calls[0].input["tags"], json!(["new", "seen"]));
    assert_eq!(calls[3].input["text"], "You are 1", "it saw the memory as the live run did");
    assert!(calls[3].log[0].what.contains("stand-in"), "{:?}", calls[3].log);
    assert_eq!(it.app.store.remembered(&acme(), "orders").await.expect("memory"), json!(1), "and left it alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_is_compared_and_one_command_promotes_it() {
    let it = TestApp::start(&[("greet.yaml", LIVE)]).await;
    place(&it, [1]).await;
    let tag = "  - { id: tag, uses: order.tag, with: { tags: [new] } }\n";
    let by_size = "  - { id: tag, uses: order.tag, with: { tags: [new] }, if: order.total < money(\"35 EUR\") }\n  \
                   - { id: big, uses: order.tag, with: { tags: [big] }, if: order.total >= money(\"35 EUR\") }\n";
    let text = shadow(tag, by_size).replace("steps:", "conditions: ['order.total > money(\"20 EUR\")']\nsteps:");
    it.advance(Duration::from_secs(1)).await;
    let rule = put(&it, &text).await;
    let version = rule["shadow"]["version"].as_str().expect("a shadow").to_owned();
    place(&it, [2, 3, 4]).await;
    let (status, beside) = it.get("/v1/rules/greet/shadow").await;
    assert_eq!(status, 200, "{beside}");
    let counts = ["events", "both", "only_live", "only_shadow", "same", "differ", "not_yet"];
    assert_eq!(counts.map(|name| number(&beside, name)), [3, 2, 1, 0, 1, 2, 0], "{beside:#}");
    let first = &beside["differing"][0];
    assert_eq!(first["subject"], "order/6820982911946000002", "{first:#}");
    assert_eq!(first["shadow"]["why_not"]["clause"], "order.total > money(\"20 EUR\")");
    assert_eq!(beside["differing"][1]["shadow"]["writes"][0]["input"]["tags"], json!(["big"]));

    let (code, said, _) = it.storehand(&["rules", "diff", "greet"]);
    assert_eq!(code, 1, "{said}");
    for line in [
        "-status: live\n+status: shadow\n",
        "+conditions: ['order.total > money(\"20 EUR\")']\n",
        "on 3 events at least one of the two ran; on 2 both, on 1 only the live version, on 0 only the shadow.",
        "1 came out the same, 2 differ, 0 not yet told.",
        "did not run: line 6, order.total > money(\"20 EUR\"): order.total was 20.00 EUR",
        "order.tag {\"tags\":[\"big\"]}",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }

    let (code, said, _) = it.storehand(&["rules", "activate", "greet", "--yes"]);
    assert!(code == 0 && said.contains("(activate by first)") && said.contains("that is pinned"), "{said}");
    let rule = it.rule("greet").await;
    assert_eq!((&rule["live"]["version"], &rule["shadow"]), (&json!(version), &Json::Null));
    place(&it, [5]).await;
    assert_eq!(it.shop.orders()[4].tags, ["big"]);
    assert_eq!(of_mode(&it, Mode::Shadow).await.len(), 2, "what is live has no shadow");
    assert_eq!(it.get("/v1/rules/greet/shadow").await.0, 409);

    // Rolled back, what the file still wants to shadow goes on to shadow.
    let (code, said, _) = it.storehand(&["rules", "rollback", "greet", "--yes"]);
    assert!(code == 0 && said.contains("runs in its shadow since"), "{said}");
    place(&it, [6]).await;
    assert_eq!(it.shop.orders()[5].tags, ["new"]);
    assert_eq!(of_mode(&it, Mode::Shadow).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_does_the_same_is_found_to_do_the_same_over_restarts() {
    let it = TestApp::start(&[("greet.yaml", LIVE)]).await;
    place(&it, [1, 2]).await;
    it.advance(Duration::from_secs(1)).await;
    put(&it, &shadow("id: greet", "# the same\nid: greet")).await;
    place(&it, [3, 4]).await;
    let it = it.restart().await;
    place(&it, [5]).await;
    let (_, beside) = it.get("/v1/rules/greet/shadow").await;
    assert_eq!((number(&beside, "same"), number(&beside, "differ")), (3, 0), "{beside:#}");
    let mut counted: Vec<String> = of_mode(&it, Mode::Shadow)
        .await
        .iter()
        .map(|run| format!("{:?}", run.call("count").and_then(|call| call.answer.clone())))
        .collect();
    counted.sort();
    let expected = [3, 4, 5].map(|n| format!("{:?}", Some(Answer::Done(json!({ "value": n })))));
    assert_eq!(counted, expected, "as the live version counted");
    assert_eq!(texts(&it), ["You are 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_waits_by_the_clock_in_a_lane_of_its_own_and_sees_what_it_remembered() {
    let lane = LIVE.replace("triggers", "key: '\"all\"'\noverlap: skip\ntriggers");
    let it = TestApp::start(&[("greet.yaml", &lane)]).await;
    let text = "  - { uses: wait, with: { for: 10m } }
  - { id: mine, uses: memory.set, with: { key: mine, value: 7 } }
  - { id: again, uses: memory.get, with: { key: mine } }
  - { id: tag, uses: order.tag, with: { tags: ['{{ steps.again.value }}'] } }
";
    let kept = lane.split("  - { id: tag").next().unwrap_or_default().replace("status: live", "status: shadow");
    put(&it, &(kept + text)).await;
    place(&it, [1, 2]).await;
    let ends = |runs: Vec<Run>| runs.iter().map(|run| format!("{:?}", run.state)).collect::<Vec<_>>();
    assert_eq!(ends(of_mode(&it, Mode::Live).await), ["Ended", "Ended"], "the shadow that waits is not in their way");
    assert_eq!(ends(of_mode(&it, Mode::Shadow).await), ["Waiting", "Ended"], "the second was skipped");
    let (_, beside) = it.get("/v1/rules/greet/shadow").await;
    assert_eq!((number(&beside, "not_yet"), number(&beside, "differ")), (1, 1), "skipping is no way to end alike");
    let it = it.restart().await;
    it.advance(Duration::from_secs(601)).await;
    let shadows = of_mode(&it, Mode::Shadow).await;
    assert_eq!(shadows[0].call("tag").map(|call| call.input["tags"].clone()), Some(json!([7])), "{shadows:?}");
    assert_eq!(it.app.store.remembered(&acme(), "mine").await.expect("memory"), Json::Null);
    assert_eq!(it.shop.orders()[0].tags, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_may_stand_alone() {
    let it = TestApp::start(&[("greet.yaml", &shadow("[new]", "[seen]"))]).await;
    place(&it, [1]).await;
    assert!(it.shop.orders()[0].tags.is_empty() && texts(&it).is_empty());
    let rule = it.rule("greet").await;
    let told = rule["says"].as_array().and_then(|says| says.last()).and_then(Json::as_str).unwrap_or_default();
    assert!(told.ends_with("`status: shadow`: it runs in the shadow alone"), "{rule:#}");
    let (_, beside) = it.get("/v1/rules/greet/shadow").await;
    assert_eq!((number(&beside, "only_shadow"), number(&beside, "differ")), (1, 1));
    assert_eq!(it.post("/v1/rules/greet/rollback", &json!({})).await.0, 409);
    assert_eq!(it.post("/v1/rules/greet/activate", &json!({})).await.0, 200);
    place(&it, [2]).await;
    assert_eq!(it.shop.orders()[1].tags, ["seen"]);
}
