//! Customers, products, stock, holds and refunds: once, whatever is lost on the way, and money only as far as allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use storehand::demo::{DemoProduct, DemoShop, Fault};
use storehand::domain::{
    Attempt, Capability, Customer, Inventory, Kind, Lookup, Order, Product, Records, Return, Value, Verdict, validate,
};

use super::writes::connected;
use super::{attempt, capability, refused_with, shop, text};
use crate::shops::client::order;

fn done(capability: &dyn Capability, verdict: Verdict) -> Json {
    let Verdict::Done(answer) = verdict else { panic!("{}: {verdict:?}", capability.spec().name) };
    assert_eq!(validate(&capability.spec().output, &answer), Ok(()), "{}", capability.spec().name);
    answer
}

/// An attempt of a run over the demo's order, its customer, a product and a level.
async fn on_the_order() -> (DemoShop, Attempt) {
    let (demo, shop) = connected().await;
    demo.change_beside(|beside| {
        beside.levels.insert("11:22".into(), 5);
        let product = DemoProduct {
            id: 77,
            title: "Cup".into(),
            description: String::new(),
            status: "ACTIVE".into(),
            tags: vec!["new".into()],
            sku: "CUP-1".into(),
            price: rust_decimal::Decimal::new(1995, 2),
            currency: "EUR".into(),
        };
        beside.products.insert(77, product);
    });
    let placed = order(1042);
    let customer =
        Customer { id: text(&placed.customer.id().to_string()), tags: vec!["friend".into()], ..Customer::default() };
    let of_order = Order { id: text(&placed.id().to_string()), total: "74.80 EUR".parse().ok(), ..Order::default() };
    let product = Product {
        id: text("77"),
        title: text("Cup"),
        status: text("active"),
        tags: vec!["new".into()],
        ..Product::default()
    };
    let level = Inventory { id: text("11:22"), product_id: text("77"), ..Inventory::default() };
    let returned = Return { id: text("5"), total: "19.95 EUR".parse().ok(), ..Return::default() };
    let context = Records {
        order: Some(Arc::new(of_order)),
        customer: Some(Arc::new(customer)),
        product: Some(Arc::new(product)),
        inventory: Some(Arc::new(level)),
        returned: Some(Arc::new(returned)),
        ..Records::default()
    };
    (demo, attempt(shop, "return.approved", context, vec![]))
}

/// Asks again as long as it may be asked again.
async fn until_done(name: &str, attempt: &Attempt, input: &Json) -> Json {
    let capability = capability(name);
    for _ in 0..5 {
        match capability.perform(attempt, input).await {
            Verdict::RetryAfter(..) => {}
            Verdict::Unknown(_) => match capability.lookup(attempt, input).await {
                Lookup::Happened(answer) => return answer,
                Lookup::DidNot => {}
                Lookup::Later(why) => panic!("{name}: {why}"),
            },
            verdict => return done(&*capability, verdict),
        }
    }
    panic!("{name} does not come to an end")
}

fn changes(demo: &DemoShop, what: &str) -> usize {
    demo.calls().iter().filter(|call| call.what == what && call.changed).count()
}

#[tokio::test]
async fn each_is_done_once_though_its_answer_is_lost_and_is_taken_back_by_its_inverse() {
    let (demo, attempt) = on_the_order().await;
    let before = (demo.beside().customer_tags, demo.beside().levels, demo.beside().products);
    for (name, what, input) in [
        ("customer.tag", "tagsAdd", json!({ "tags": ["vip", "friend"] })),
        ("product.tag", "tagsAdd", json!({ "tags": ["last chance"] })),
        ("product.update", "productUpdate", json!({ "title": "Big cup", "status": "draft" })),
        ("inventory.adjust", "inventoryAdjustQuantities", json!({ "by": -2, "reason": "damaged" })),
        ("order.hold", "fulfillmentOrderHold", json!({ "reason": "fraud", "note": "Two countries" })),
    ] {
        let asked = changes(&demo, what);
        demo.fail_next(what, [Fault::Throttle, Fault::LoseAnswer]);
        let answer = until_done(name, &attempt, &input).await;
        assert_eq!(changes(&demo, what) - asked, 1, "{name}");
        let (back, taken_back) = capability(name).spec().inverse.expect("an inverse")(&attempt.facts, &input, &answer)
            .unwrap_or_else(|| panic!("{name} can be taken back"));
        let mut other = attempt.clone();
        other.key = format!("{}/undo/{name}", attempt.key);
        until_done(back, &other, &taken_back).await;
    }
    let after = demo.beside();
    assert_eq!(after.customer_tags.values().next(), Some(&vec!["friend".to_owned()]));
    assert_eq!((&after.levels, &after.products), (&before.1, &before.2));
    assert!(after.holds.values().all(Vec::is_empty), "{:?}", after.holds);
    let input = demo.calls().into_iter().find(|call| call.what == "fulfillmentOrderHold").expect("asked").input;
    assert_eq!(input["hold"]["reason"], "HIGH_RISK_OF_FRAUD");
}

#[tokio::test]
async fn customers_and_products_are_read_and_noted() {
    let (demo, attempt) = on_the_order().await;
    let customer = until_done("customer.get", &attempt, &json!({})).await;
    assert_eq!((&customer["email"], &customer["orders_count"]), (&json!("ana@example.com"), &json!(1)));
    let product = until_done("product.get", &attempt, &json!({})).await;
    assert_eq!((&product["price"], &product["status"]), (&json!("19.95 EUR"), &json!("active")));
    demo.fail_next("customerUpdate", [Fault::LoseAnswer]);
    let noted = until_done("customer.note", &attempt, &json!({ "text": "Likes blue" })).await;
    let note = noted["note"].as_str().expect("a note");
    assert!(note.starts_with("Likes blue [storehand ") && note.lines().count() == 1, "{note}");
    assert_eq!(changes(&demo, "customerUpdate"), 1);
    for (name, input) in
        [("customer.get", json!({ "customer_id": "1" })), ("product.get", json!({ "product_id": "1" }))]
    {
        refused_with(&capability(name).perform(&attempt, &input).await, "not_found");
    }
    for (name, input) in [
        ("inventory.adjust", json!({ "by": 1, "inventory_id": "1:2" })),
        ("product.update", json!({ "title": "x", "product_id": "1" })),
        ("order.release", json!({ "order_id": "1" })),
    ] {
        let verdict = capability(name).perform(&attempt, &input).await;
        assert!(matches!(&verdict, Verdict::Refused(_)), "{name}: {verdict:?}");
    }
    let nothing = self::attempt(shop(), "schedule.due", Records::default(), vec![]);
    refused_with(&capability("customer.get").perform(&nothing, &json!({})).await, "no_customer");
    refused_with(&capability("inventory.adjust").perform(&nothing, &json!({ "by": 1 })).await, "no_inventory");
}

#[tokio::test]
async fn an_order_that_is_gone_cannot_be_held() {
    let (demo, attempt) = on_the_order().await;
    let mut gone = order(1042);
    gone.cancelled_at = Some(gone.created_at);
    demo.put(gone);
    refused_with(&capability("order.hold").perform(&attempt, &json!({})).await, "nothing_to_hold");
    assert_eq!(until_done("order.release", &attempt, &json!({})).await, json!({ "released": 0 }));
}

#[tokio::test]
async fn money_goes_back_once_and_only_as_far_as_somebody_allowed() {
    let (demo, mut attempt) = on_the_order().await;
    let refund = capability("refund.create");
    let limit = |attempt: &mut Attempt, limit: &str| {
        let limit = Value::Money(limit.parse().expect("money"));
        attempt.facts.inputs = Arc::new(BTreeMap::from([("limit".to_owned(), limit)]));
    };
    limit(&mut attempt, "50 EUR");
    for (input, code) in [
        (json!({ "amount": "19.95 EUR" }), "needs_approval"),
        (json!({ "amount": "19.95 EUR", "up_to": "60 EUR" }), "needs_approval"),
        (json!({ "amount": "74.80 EUR", "up_to": "50 EUR" }), "needs_approval"),
        (json!({ "amount": "19.95 USD", "up_to": "50 EUR" }), "needs_approval"),
        (json!({ "amount": "20.00 EUR", "up_to": "50 EUR" }), "amount_not_given"),
        (json!({ "amount": "-1 EUR", "up_to": "50 EUR" }), "invalid_input"),
        (json!({ "amount": "much", "up_to": "50 EUR" }), "invalid_input"),
    ] {
        refused_with(&refund.perform(&attempt, &input).await, code);
    }
    assert_eq!(demo.calls().len(), 0, "nobody was asked");

    let input = json!({ "amount": "19.95 EUR", "up_to": "50 EUR", "note": "Too small" });
    demo.fail_next("refundCreate", [Fault::Status(502), Fault::LoseAnswer]);
    let answer = until_done("refund.create", &attempt, &input).await;
    assert_eq!(answer["amount"], "19.95 EUR");
    let all = demo.beside().refunds;
    let of_order = all.values().next().expect("a refund");
    assert!(of_order.len() == 1 && of_order[0].note.starts_with("Too small [storehand "), "{of_order:?}");
    // However much later: the mark is found.
    assert_eq!(until_done("refund.create", &attempt, &input).await["refund_id"], answer["refund_id"]);

    // A person has approved: any amount that was paid.
    attempt.approved_by = Some("ben".into());
    attempt.key = "run_0000000000002/other".into();
    let more = json!({ "amount": "60 EUR" });
    let said = refused_with(&refund.perform(&attempt, &more).await, "not_enough_paid");
    assert!(said.contains("54.85 EUR"), "{said}");
    let rest = until_done("refund.create", &attempt, &json!({ "amount": "54.85 EUR" })).await;
    assert_eq!(rest["amount"], "54.85 EUR");
    refused_with(&refund.perform(&attempt, &json!({ "amount": "5 USD", "order_id": "1" })).await, "not_found");
    attempt.key = "run_0000000000002/third".into();
    refused_with(&refund.perform(&attempt, &json!({ "amount": "5 USD" })).await, "other_currency");
    let read = until_done("order.get", &attempt, &json!({})).await;
    assert_eq!((&read["financial_status"], &read["refunded"]), (&json!("refunded"), &json!("74.80 EUR")));
}

#[tokio::test]
async fn without_a_platform_nothing_is_written() {
    let attempt = attempt(shop(), "order.created", Records::default(), vec![]);
    for capability in storehand::capabilities::all(storehand::capabilities::Deps::default()) {
        let (name, kind) = (capability.spec().name, capability.spec().kind);
        if kind == Kind::Write && (name.starts_with("customer.") || name.starts_with("product.")) {
            let example = capability.spec().example.input.clone();
            let said = refused_with(&capability.perform(&attempt, &example).await, "no_platform");
            assert!(said.contains("shop.acme.shopify"), "{name}: {said}");
        }
    }
}
