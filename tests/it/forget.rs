//! Forgetting a customer: nothing personal is left anywhere in the file, counts and money are, and nothing goes on.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value as Json, json};
use storehand::demo::{DemoCustomer, DemoOrder, Fault};
use storehand::domain::{Answer, CallState};

use crate::faults::beside;
use crate::support::{TestApp, acme, order};

const GREET: &str = "
id: greet
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
steps:
  - { id: seen, uses: memory.add, with: { key: \"orders of {{ customer.email }}\", by: 1 } }
  - { id: all, uses: memory.add, with: { key: orders, by: 1 } }
  - { id: tag, uses: order.tag, with: { tags: [\"for {{ customer.first_name }}\"] } }
  - { id: send, uses: message.send, with: { subject: Thanks, text: \"Hello {{ customer.name }}\" } }
";

const LATER: &str = "
id: later
status: live
triggers: [{ event: order.created }]
allow: [message.send]
steps:
  - { uses: wait, with: { for: 3d } }
  - { id: send, uses: message.send, with: { subject: How, text: \"How is it, {{ customer.name }}?\" } }
";

const TOLD: &str = "
id: told
status: live
triggers: [{ event: customer.redacted }]
allow: [email.send]
steps:
  - { id: tell, uses: email.send, with: { to: boss@acme.example, subject: Gone, text: \"{{ customer.id }} is forgotten\" } }
";

fn of(number: u32, customer: u32, first: &str, last: &str, email: &str) -> DemoOrder {
    let customer = DemoCustomer {
        number: customer,
        first_name: first.into(),
        last_name: last.into(),
        email: email.into(),
        locale: "en".into(),
        tags: Vec::new(),
    };
    DemoOrder { customer, note: Some(format!("{first} says hello")), ..order(number, 10) }
}

/// Every text in every table of the file.
async fn everything(it: &TestApp) -> Vec<(String, String)> {
    let file = beside(it).await;
    let ask = |sql: String| Statement::from_string(file.get_database_backend(), sql);
    let tables = ask("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'".into());
    let mut all = Vec::new();
    for table in file.query_all_raw(tables).await.expect("tables") {
        let table: String = table.try_get("", "name").expect("a name");
        let columns = file.query_all_raw(ask(format!("SELECT name FROM pragma_table_info('{table}')"))).await;
        for column in columns.expect("columns") {
            let column: String = column.try_get("", "name").expect("a name");
            let rows = ask(format!(
                "SELECT CAST(\"{column}\" AS TEXT) AS text FROM \"{table}\" WHERE \"{column}\" IS NOT NULL"
            ));
            for row in file.query_all_raw(rows).await.expect("rows") {
                all.push((format!("{table}.{column}"), row.try_get("", "text").expect("a text")));
            }
        }
    }
    all
}

async fn places_of(it: &TestApp, words: &[&str]) -> Vec<String> {
    let all = everything(it).await;
    let has = |text: &str| words.iter().any(|word| text.to_lowercase().contains(word));
    all.into_iter().filter(|(_, text)| has(text)).map(|(place, text)| format!("{place}: {text}")).collect()
}

fn redact(it: &TestApp, order: &DemoOrder) -> storehand::demo::Signed {
    let body = json!({
        "shop_id": 1, "shop_domain": "acme.myshopify.com", "orders_to_redact": [order.id()],
        "customer": { "id": order.customer.id(), "email": order.customer.email, "phone": null },
    });
    it.signer.shopify("customers/redact", &body, it.now())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_is_left_and_counts_and_money_are() {
    let it = TestApp::start(&[("greet.yaml", GREET), ("later.yaml", LATER), ("told.yaml", TOLD)]).await;
    let (ana, ben) =
        (of(1, 1, "Anabel", "Quirk", "anabel@quirk.example"), of(2, 2, "Ben", "Stone", "ben@stone.example"));
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    assert_eq!(it.deliver(&it.signer.customer("customers/create", &ana.customer, 0, it.now())).await, 200);
    it.order(&ana).await;
    it.settle().await;
    it.order(&ben).await;
    // Another order of the same customer that the request does not name, a message, and a topic that is none of ours.
    it.order(&of(3, 1, "Anabel", "Quirk", "anabel@quirk.example")).await;
    let message = it.signer.message("Anabel Quirk <Anabel@Quirk.example>", "Hi", "I am Anabel", "en", it.now());
    assert_eq!(it.deliver(&message).await, 200);
    let draft = json!({ "id": 5, "email": "anabel@quirk.example" });
    assert_eq!(it.deliver(&it.signer.shopify("draft_orders/create", &draft, it.now())).await, 200);
    it.settle().await;
    let words = ["anabel", "quirk"];
    let places = places_of(&it, &words).await;
    let tables =
        ["events.records", "payloads.body", "calls.input", "calls.answer", "records.record", "record_names.name"];
    for table in tables.iter().chain(&["memory.key"]) {
        assert!(places.iter().any(|place| place.starts_with(table)), "{table} has something to forget: {places:#?}");
    }
    let rows = everything(&it).await.len();
    let unknown = it.app.store.unknown(&acme()).await.expect("calls");
    assert_eq!(unknown.len(), 1, "a mail of which nobody can tell whether it went out");

    assert_eq!(it.deliver(&redact(&it, &ana)).await, 200);
    it.settle().await;
    assert_eq!(places_of(&it, &words).await, Vec::<String>::new());
    assert!(everything(&it).await.len() + 20 > rows, "the rows are still there");
    assert!(!places_of(&it, &["ben@stone.example"]).await.is_empty(), "nobody else is forgotten");
    assert_eq!(it.app.store.remembered(&acme(), "orders").await.expect("memory"), json!(3), "counts stay");

    // What had been done stays on record, without the words; what waited has ended and is never done.
    let runs = it.runs().await;
    for run in runs.iter().filter(|run| {
        run.event
            .records
            .order
            .as_ref()
            .is_some_and(|order| order.customer.as_ref().is_some_and(|it| it.email.is_none()))
    }) {
        assert!(run.ended.is_some(), "{run:?}");
        assert!(run.calls.iter().all(|call| call.state == CallState::Answered), "{run:?}");
        let order = run.event.records.order.as_ref().expect("an order");
        assert_eq!(order.total.map(|total| total.to_string()).as_deref(), Some("10.00 EUR"), "money stays");
        let (status, exported) = it.get(&format!("/v1/runs/{}/export", run.id)).await;
        assert_eq!((status, &exported["redacted"]), (200, &json!(true)));
        let exported = storehand::engine::replay::Exported::read(&exported.to_string()).expect("it reads");
        let registry = storehand::app::unconnected().expect("a registry");
        let replayed = storehand::engine::replay::replay(&exported, &registry);
        assert!(replayed.expect_err("it cannot be replayed").to_string().starts_with("redacted"));
    }
    let mails = |it: &TestApp| it.shop.mails().into_iter().map(|mail| (mail.to, mail.text)).collect::<Vec<_>>();
    let told = mails(&it).pop().expect("a mail");
    assert_eq!(told, ("boss@acme.example".to_owned(), format!("{} is forgotten", ana.customer.id())));
    let before = mails(&it).len();
    it.advance(Duration::from_secs(4 * 86_400)).await;
    let after = mails(&it);
    assert_eq!(after.len(), before + 1, "only Ben is asked how it is");
    assert_eq!(after.last().map(|(to, _)| to.as_str()), Some("ben@stone.example"));

    // A late delivery of what is older does not bring it back, and the same request again changes nothing.
    let it = it.restart().await;
    it.settle().await;
    assert_eq!(it.deliver(&redact(&it, &ana)).await, 200);
    it.settle().await;
    assert_eq!(places_of(&it, &words).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_under_way_is_waited_for_and_forgotten_too() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    let ana = of(1, 1, "Anabel", "Quirk", "anabel@quirk.example");
    it.shop.fail_next("tagsAdd", [Fault::Slow(Duration::from_millis(600))]);
    it.order(&ana).await;
    while it.runs().await.first().and_then(|run| run.call("tag").map(|call| call.attempts)) != Some(1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(it.deliver(&redact(&it, &ana)).await, 200);
    it.settle().await;
    assert_eq!(places_of(&it, &["anabel", "quirk"]).await, Vec::<String>::new());
    let run = it.runs().await.remove(0);
    assert_eq!(it.ends().await, ["cancelled"]);
    assert!(matches!(run.call("tag").and_then(|call| call.answer.clone()), Some(Answer::Done(_))), "it was done");
    assert_eq!(it.shop.mails().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_leaves_is_forgotten_whole_and_by_hand_it_is_the_same() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    for number in 1..=30 {
        it.order(&of(number, number, "Anabel", "Quirk", &format!("a{number}@quirk.example"))).await;
    }
    it.settle().await;
    // By hand: an event of ours, for one of them.
    let who =
        json!({ "customer": { "id": of(1, 1, "", "", "").customer.id().to_string(), "email": "a1@quirk.example" } });
    assert_eq!(it.deliver(&it.signer.cloud_event("customer.redacted", &who, it.now())).await, 200);
    it.settle().await;
    assert_eq!(places_of(&it, &["a1@quirk"]).await, Vec::<String>::new());
    assert!(!places_of(&it, &["a2@quirk"]).await.is_empty());
    let shop = json!({ "shop_id": 1, "shop_domain": "acme.myshopify.com" });
    assert_eq!(it.deliver(&it.signer.shopify("shop/redact", &shop, it.now())).await, 200);
    it.settle().await;
    assert_eq!(places_of(&it, &["anabel", "quirk"]).await, Vec::<String>::new());
    let (_, events) = it.get("/v1/events?limit=100").await;
    let count = events["events"].as_array().or_else(|| events["items"].as_array()).map(Vec::len);
    assert!(count.is_none_or(|count| count == 32), "{events:#}");
    assert_eq!(it.app.store.count_events().await.expect("a count"), 32);
    let _: Json = events;
}
