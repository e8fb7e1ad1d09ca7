//! Some hundred runs against a shop that throttles, times out and loses answers: in the end the shop is as it would be
//! after one clean run of each, and what nobody can tell is listed.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::json;
use storehand::demo::{Beside, DemoCustomer, DemoOrder, DemoProduct};
use storehand::domain::{CallState, Says};
use storehand::engine::{Command, Decision};

use crate::support::{TestApp, acme, order};

const RULE: &str = "
id: busy
status: live
inputs:
  limit: { type: money, default: \"50 EUR\", label: Largest refund that nobody is asked about }
triggers: [{ event: order.created }]
allow:
  [order.tag, order.untag, order.note, order.hold, order.release, customer.tag, customer.note, product.update,
   product.tag, inventory.adjust, refund.create, order.cancel, email.send]
key: event.id
overlap: parallel
steps:
  - { id: tag, uses: order.tag, with: { tags: [seen, urgent] } }
  - { id: untag, uses: order.untag, with: { tags: [urgent] } }
  - { id: note, uses: order.note, with: { text: \"Seen {{ order.name }}\" } }
  - { id: hold, uses: order.hold, with: { reason: fraud } }
  - { id: kept, uses: order.hold, with: { reason: address } }
  - { id: release, uses: order.release, with: { handle: \"{{ steps.hold.handle }}\" } }
  - { id: buyer, uses: customer.tag, with: { tags: [buyer] } }
  - { id: about, uses: customer.note, with: { text: \"Bought {{ order.name }}\" } }
  - { id: stock, uses: inventory.adjust, with: { by: -1, inventory_id: \"11:22\" } }
  - { id: product, uses: product.tag, with: { tags: [\"sold {{ order.name }}\"], product_id: \"77\" } }
  - { id: title, uses: product.update, with: { title: Cups, status: draft, product_id: \"77\" } }
  - { id: refund, uses: refund.create, with: { amount: \"{{ order.lines[0].unit_price }}\", up_to: \"{{ inputs.limit }}\" } }
  - { id: mail, uses: email.send, with: { to: boss@acme.example, subject: \"{{ order.name }}\", text: Done } }
  - { id: cancel, uses: order.cancel, with: { reason: fraud } }
";

/// How many orders; `STOREHAND_RANDOM_ORDERS=500` looks at more than CI has time for.
fn orders() -> u32 {
    std::env::var("STOREHAND_RANDOM_ORDERS").map_or(120, |orders| orders.parse().expect("a number"))
}

fn placed(number: u32) -> DemoOrder {
    let base = order(number, 20);
    DemoOrder { customer: DemoCustomer { number, ..base.customer.clone() }, ..base }
}

/// What the shop is like in the end, without what differs between any two runs: times and our marks.
#[derive(Debug, PartialEq)]
struct State {
    orders: BTreeMap<u64, (Vec<String>, usize, bool)>,
    beside: Vec<String>,
    mails: Vec<String>,
}

fn state(it: &TestApp) -> State {
    let lines = |text: Option<&str>| text.unwrap_or_default().lines().count();
    let shown = |order: &DemoOrder| {
        (order.id(), (order.tags.clone(), lines(order.note.as_deref()), order.cancelled_at.is_some()))
    };
    let Beside { notes, customer_tags, products, levels, holds, refunds, .. } = it.shop.beside();
    let mut beside = vec![format!("{customer_tags:?}"), format!("{levels:?}")];
    beside.extend(products.values().map(|product| {
        let mut tags = product.tags.clone();
        tags.sort();
        format!("{} {} {tags:?}", product.title, product.status)
    }));
    beside.extend(notes.iter().map(|(id, note)| format!("{id}: {}", lines(Some(note)))));
    beside.extend(holds.iter().map(|(id, handles)| format!("{id} is held {} times", handles.len())));
    beside.extend(
        refunds
            .iter()
            .map(|(id, all)| format!("{id}: {:?}", all.iter().map(|refund| refund.amount).collect::<Vec<Decimal>>())),
    );
    // A mail that a person has sent again is one more: by subject.
    let mut mails: Vec<String> = it.shop.mails().into_iter().map(|mail| mail.subject).collect();
    mails.sort();
    mails.dedup();
    State { orders: it.shop.orders().iter().map(shown).collect(), beside, mails }
}

/// Runs all orders through the rule; what is unknown at the end is told to have happened. Gives the state and the paths
/// of what was unknown.
async fn run(seed: Option<u64>) -> (State, Vec<String>) {
    let settings = [("STOREHAND_SHOP__ACME__SHOPIFY__TIMEOUT", "400ms"), ("STOREHAND_SHOP__ACME__FUSES__MONEY", "off")];
    let it = TestApp::start_with(
        &[("busy.yaml", RULE)],
        &[
            settings[0],
            settings[1],
            ("STOREHAND_SHOP__ACME__FUSES__PER_CUSTOMER", "off"),
            ("STOREHAND_SHOP__ACME__FUSES__CALLS", "off"),
        ],
    )
    .await;
    it.shop.change_beside(|beside| {
        beside.levels.insert("11:22".into(), 5000);
        let product = DemoProduct { id: 77, title: "Cup".into(), status: "ACTIVE".into(), ..DemoProduct::default() };
        beside.products.insert(77, product);
    });
    if let Some(seed) = seed {
        it.shop.fail_at_random(seed);
    }
    for number in 1..=orders() {
        it.order(&placed(number)).await;
    }
    let mut unknown = Vec::new();
    for _ in 0..400 {
        it.settle().await;
        for (run, path) in it.app.store.unknown(&acme()).await.expect("calls") {
            unknown.push(path.clone());
            let says = Says::Happened { answer: json!({ "message_id": "m" }) };
            let decision = Decision { run, path, by: "ana".into(), says };
            it.app.engine.command(&acme(), Command::Decide(decision)).await.expect("decided");
        }
        it.settle().await;
        let runs = it.runs().await;
        if runs.len() == orders() as usize && runs.iter().all(|run| run.ended.is_some()) {
            break;
        }
        it.clock.advance(Duration::from_secs(1800));
    }
    let ends = it.ends().await;
    assert!(ends.len() == orders() as usize && ends.iter().all(|end| end == "done"), "{ends:?}");
    for run in it.runs().await {
        assert!(run.calls.iter().all(|call| call.state == CallState::Answered));
    }
    (state(&it), unknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_fails_in_every_way_ends_as_after_a_clean_run() {
    let (clean, nothing) = run(None).await;
    assert_eq!(nothing, Vec::<String>::new());
    assert_eq!(clean.orders.len(), orders() as usize);
    let (failing, unknown) = run(Some(7)).await;
    assert_eq!(failing, clean);
    // Only mail can be neither repeated nor looked up.
    assert!(!unknown.is_empty() && unknown.iter().all(|path| path == "mail"), "{unknown:?}");
}
