//! An event that only tells of what we did ourselves is marked as an echo, and rules may leave it out.

use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::demo::{DemoOrder, Fault};

use crate::person::Person;
use crate::support::{TestApp, order};

const TAG: &str = "
id: tag
status: live
triggers: [{ event: order.created }]
allow: [order.tag]
steps:
  - { id: tag, uses: order.tag, with: { tags: [seen, new] } }
";

/// Writes down every update but for echoes.
const LISTENS: &str = "
id: listens
status: live
triggers: [{ event: order.updated }]
conditions:
  - not: event.echo
steps:
  - { uses: memory.add, with: { key: updates, by: 1 } }
";

async fn started() -> (TestApp, Person) {
    let it = TestApp::start(&[("tag.yaml", TAG), ("listens.yaml", LISTENS)]).await;
    let ana = Person::named("ana", &it).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    assert_eq!(it.shop.orders()[0].tags, ["seen", "new"]);
    (it, ana)
}

/// The order's news as the platform sends it a second later, after this change; the event as it is kept.
async fn updated(it: &TestApp, ana: &Person, change: impl FnOnce(&mut DemoOrder)) -> Json {
    it.advance(Duration::from_secs(1)).await;
    let mut order = it.shop.orders().remove(0);
    change(&mut order);
    order.updated_at = it.now();
    it.shop.put(order.clone());
    assert_eq!(it.deliver(&it.signer.order("orders/updated", &order, it.now())).await, 200);
    it.settle().await;
    let id = ana.ask(it, "/v1/events?limit=1").await["events"][0]["id"].clone();
    ana.ask(it, &format!("/v1/events/{}", id.as_str().expect("an id"))).await
}

async fn updates(it: &TestApp) -> Json {
    it.app.store.remembered(&crate::support::acme(), "updates").await.expect("memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_our_own_write_is_an_echo_and_names_it() {
    let (it, ana) = started().await;
    let run = it.runs().await[0].id;
    let event = updated(&it, &ana, |_| {}).await;
    assert_eq!(event["echo"], json!(format!("{run}/tag")));
    assert_eq!((event["why_not"][0]["clause"].as_str(), event["runs"].clone()), (Some("not event.echo"), json!([])));
    assert_eq!(updates(&it).await, Json::Null);
    // The same news again tells of nothing at all, so nobody can say that it is ours.
    let event = updated(&it, &ana, |_| {}).await;
    assert_eq!((event["echo"].clone(), updates(&it).await), (Json::Null, json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_recognised_after_a_restart() {
    let (it, ana) = started().await;
    let it = it.restart().await;
    assert!(updated(&it, &ana, |_| {}).await["echo"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_change_in_the_same_delivery_is_no_echo() {
    type Change = fn(&mut DemoOrder);
    let changes: [(&str, Change); 4] = [
        ("another field", |order| order.note = Some("please hurry".into())),
        ("somebody else's tag", |order| order.tags.push("urgent".into())),
        ("one of ours taken off again", |order| order.tags = vec!["old".into(), "seen".into()]),
        ("a line", |order| order.lines[0].quantity = 3),
    ];
    for (what, change) in changes {
        let (it, ana) = started().await;
        let event = updated(&it, &ana, change).await;
        assert_eq!((event["echo"].clone(), updates(&it).await), (Json::Null, json!(1)), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_in_part_or_written_otherwise_is_an_echo() {
    type Change = fn(&mut DemoOrder);
    let changes: [(&str, Change); 2] = [
        ("only one of ours so far", |order| order.tags = vec!["new".into()]),
        ("in another case and order", |order| order.tags = vec!["NEW".into(), "Seen".into()]),
    ];
    for (what, change) in changes {
        let (it, ana) = started().await;
        assert!(updated(&it, &ana, change).await["echo"].is_string(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_of_us_did_or_what_was_not_known_before_is_no_echo() {
    let (it, ana) = started().await;
    // An order of which nothing was known.
    let unknown = DemoOrder { tags: vec!["seen".into()], ..order(7, 10) };
    assert_eq!(it.deliver(&it.signer.order("orders/updated", &unknown, it.now())).await, 200);
    it.settle().await;
    assert_eq!(updates(&it).await, json!(1));
    // Long after the write, nobody takes it for its report.
    it.advance(Duration::from_secs(7 * 3600)).await;
    assert_eq!(updated(&it, &ana, |_| {}).await["echo"], Json::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_faster_than_the_answer_is_an_echo() {
    let it = TestApp::start(&[("tag.yaml", TAG), ("listens.yaml", LISTENS)]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("tagsAdd", [Fault::Slow(Duration::from_millis(900))]);
    it.order(&order(1, 10)).await;
    while it.runs().await.first().is_none_or(|run| run.calls.iter().all(|call| call.attempts == 0)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    it.clock.advance(Duration::from_secs(1));
    let order = DemoOrder { tags: vec!["seen".into(), "new".into()], updated_at: it.now(), ..order(1, 10) };
    assert_eq!(it.deliver(&it.signer.order("orders/updated", &order, it.now())).await, 200);
    it.settle().await;
    let list = ana.ask(&it, "/v1/events?type=order.updated").await;
    assert!(list["events"][0]["id"].is_string());
    let id = list["events"][0]["id"].as_str().expect("an id").to_owned();
    assert!(ana.ask(&it, &format!("/v1/events/{id}")).await["echo"].is_string());
    assert_eq!(updates(&it).await, Json::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_an_echo_too() {
    let (it, ana) = started().await;
    assert!(updated(&it, &ana, |_| {}).await["echo"].is_string());
    ana.does(&it, "/v1/rules/tag/undo?since=1h", &json!({})).await;
    it.settle().await;
    assert_eq!(it.shop.orders()[0].tags, Vec::<String>::new());
    let echo = updated(&it, &ana, |_| {}).await["echo"].clone();
    assert!(echo.as_str().is_some_and(|echo| echo.ends_with("/undo/tag")), "{echo}");
}
