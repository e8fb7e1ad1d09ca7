//! Shopify's Admin API, against the demo shop and against servers that misbehave.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};
use storehand::demo::{DemoAddress, DemoCustomer, DemoLine, DemoOrder, DemoShop, Fault};
use storehand::domain::{CancelReason, Cancellation, Order, Platform, Secret, Verdict};
use storehand::shops::ShopsError;
use storehand::shops::shopify::{Client, ShopifySettings};
use tokio_util::sync::CancellationToken;

use super::{headers, receive};

pub(crate) fn order(number: u32) -> DemoOrder {
    let line = |sku: &str, quantity, cents| DemoLine {
        sku: sku.into(),
        name: format!("The {sku}"),
        quantity,
        price: rust_decimal::Decimal::new(cents, 2),
    };
    DemoOrder {
        number,
        customer: DemoCustomer {
            number: 7,
            first_name: "Ana".into(),
            last_name: "Lima".into(),
            email: "ana@example.com".into(),
            locale: "pt-PT".into(),
            tags: vec!["friend".into()],
        },
        lines: vec![line("mug", 2, 1995), line("tray", 1, 3000)],
        currency: "EUR".into(),
        shipping: rust_decimal::Decimal::new(490, 2),
        tags: vec!["web".into()],
        note: Some("Please ring twice".into()),
        address: DemoAddress::default(),
        paid: true,
        fulfilled: false,
        created_at: "2026-11-23T09:00:00Z".parse().expect("time"),
        cancelled_at: None,
        updated_at: "2026-11-23T09:00:01Z".parse().expect("time"),
    }
}

fn connect(endpoint: &str, token: &str) -> Client {
    Client::new(ShopifySettings {
        endpoint: endpoint.into(),
        access_token: Secret::new(token),
        timeout: Duration::from_millis(800),
    })
    .expect("a client")
}

async fn demo() -> (DemoShop, Client, String) {
    let shop = DemoShop::new("shpat_demo");
    shop.put(order(1042));
    let endpoint = shop.start(CancellationToken::new()).await.expect("a port");
    let client = connect(&endpoint, "shpat_demo");
    (shop, client, order(1042).id().to_string())
}

/// A server whose every answer is this.
async fn answering(status: StatusCode, pairs: &'static [(&'static str, &'static str)], body: String) -> Client {
    let answer = move || {
        let body = body.clone();
        async move { (status, axum::response::AppendHeaders(pairs.iter().copied()), body).into_response() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    connect(&endpoint, "t")
}

fn code(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Refused(failure) => &failure.code,
        Verdict::RetryAfter(..) => "retry",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_order_reads_the_same_as_its_webhook() {
    let (_, client, id) = demo().await;
    let mut read = client.order(&id).await.expect("read").expect("there");
    let topic = headers(&[("x-shopify-topic", "orders/create")]);
    let taken = receive("shopify", &topic, order(1042).webhook().to_string().as_bytes()).expect("taken");
    let mut told: Order = taken.events[0].records.order.as_deref().expect("an order").clone();
    // Only the API knows how often a customer has ordered, and what came back.
    assert_eq!(read.customer.as_ref().and_then(|customer| customer.orders_count), Some(1));
    assert_eq!(read.return_status.take().as_deref(), Some("none"));
    assert_eq!(read.refunded.take().map(|money| money.to_string()).as_deref(), Some("0.00 EUR"));
    for order in [&mut read, &mut told] {
        let customer = order.customer.as_mut().map(std::sync::Arc::make_mut).expect("a customer");
        customer.orders_count = None;
    }
    assert_eq!(read, told);
    assert_eq!(read.total.map(|total| total.to_string()).as_deref(), Some("74.80 EUR"));
    assert_eq!(client.order("1").await, Ok(None));
    assert_eq!(client.order("x\"}").await, Ok(None), "nothing but digits is sent");
}

#[tokio::test]
async fn tags_are_added_once_and_refusals_are_told() {
    let (shop, client, id) = demo().await;
    let tags = ["vip".to_owned(), "web".to_owned()];
    for _ in 0..2 {
        assert_eq!(client.tag_order(&id, &tags).await, Verdict::Done(json!({ "tags": ["web", "vip"] })));
    }
    assert_eq!(shop.orders()[0].tags, ["web", "vip"]);
    assert_eq!(shop.calls().iter().filter(|call| call.changed).count(), 1);
    let off = ["WEB".to_owned(), "other".to_owned()];
    for _ in 0..2 {
        assert_eq!(client.untag_order(&id, &off).await, Verdict::Done(json!({ "tags": ["vip"] })));
    }
    assert_eq!(shop.calls().iter().filter(|call| call.what == "tagsRemove" && call.changed).count(), 1);
    for verdict in [client.tag_order("99", &tags).await, client.untag_order("99", &tags).await] {
        assert_eq!(code(&verdict), "refused");
    }
    for verdict in [client.tag_order("#1042", &tags).await, client.untag_order("#1042", &tags).await] {
        assert_eq!(code(&verdict), "not_found");
    }
}

#[tokio::test]
async fn an_order_is_cancelled_and_noted() {
    let (shop, client, id) = demo().await;
    let how = Cancellation { reason: CancelReason::Declined, restock: true, notify: false };
    assert_eq!(client.write_note(&id, "a\nb").await, Verdict::Done(json!({ "note": "a\nb" })));
    assert_eq!(client.cancel_order(&id, &how).await, Verdict::Done(json!({ "status": "cancelled" })));
    let read = client.order(&id).await.expect("read").expect("there");
    assert_eq!((read.status.as_deref(), read.note.as_deref()), (Some("cancelled"), Some("a\nb")));
    assert!(read.cancelled_at.is_some());
    let asked = shop.calls().into_iter().find(|call| call.what == "orderCancel").expect("asked").input;
    let refund = json!({ "originalPaymentMethodsRefund": false });
    assert_eq!(
        (&asked["reason"], &asked["restock"], &asked["notify"]),
        (&json!("DECLINED"), &json!(true), &json!(false))
    );
    assert_eq!(asked["refund"], refund);
    let topic = headers(&[("x-shopify-topic", "orders/cancelled")]);
    let taken = receive("shopify", &topic, shop.orders()[0].webhook().to_string().as_bytes()).expect("taken");
    assert_eq!(taken.events[0].records.order.as_ref().and_then(|order| order.cancelled_at), read.cancelled_at);

    assert_eq!(code(&client.cancel_order(&id, &how).await), "refused");
    for verdict in [client.cancel_order("99", &how).await, client.write_note("99", "a").await] {
        assert_eq!(code(&verdict), "refused");
    }
    for verdict in [client.cancel_order("x", &how).await, client.write_note("x", "a").await] {
        assert_eq!(code(&verdict), "not_found");
    }
}

#[tokio::test]
async fn a_lost_answer_is_unknown_where_a_repeat_could_do_harm() {
    let (shop, client, id) = demo().await;
    let how = Cancellation { reason: CancelReason::Other, restock: false, notify: false };
    for what in ["orderCancel", "orderUpdate"] {
        shop.fail_next(
            what,
            [Fault::Throttle, Fault::Status(429), Fault::Status(502), Fault::Slow(Duration::from_secs(2))],
        );
        shop.fail_next(what, [Fault::LoseAnswer]);
        for lost in [false, false, true, true, true] {
            let verdict = match what {
                "orderCancel" => client.cancel_order(&id, &how).await,
                _ => client.write_note(&id, "a").await,
            };
            match verdict {
                Verdict::Unknown(_) if lost => {}
                Verdict::RetryAfter(..) if !lost => {}
                // What was slow was done all the same.
                Verdict::Refused(_) if what == "orderCancel" && shop.orders()[0].cancelled_at.is_some() => {}
                other => panic!("{what}, {lost}: {other:?}"),
            }
        }
    }
    let gone = connect("http://127.0.0.1:9", "t");
    assert_eq!(code(&gone.cancel_order(&id, &how).await), "retry", "nobody there: nothing was done");
    let garbled = answering(StatusCode::OK, &[], "<html>".into()).await;
    assert!(matches!(garbled.write_note(&id, "a").await, Verdict::Unknown(_)));
    let denied = json!({ "errors": [{ "message": "no", "extensions": { "code": "ACCESS_DENIED" } }] });
    let denied = answering(StatusCode::OK, &[], denied.to_string()).await;
    assert_eq!(code(&denied.cancel_order(&id, &how).await), "access_denied");
}

#[tokio::test]
async fn every_way_to_fail_has_its_verdict() {
    let (shop, client, id) = demo().await;
    let tags = ["vip".to_owned()];
    shop.fail_next(
        "order",
        [Fault::Throttle, Fault::Status(503), Fault::LoseAnswer, Fault::Slow(Duration::from_secs(2))],
    );
    let throttled = client.order(&id).await.expect_err("throttled");
    assert!(matches!(throttled, Verdict::RetryAfter(Some(wait), _) if wait == Duration::from_secs(2)), "{throttled:?}");
    for _ in 0..3 {
        let failed = client.order(&id).await.expect_err("a fault");
        assert!(matches!(failed, Verdict::RetryAfter(None, _)), "{failed:?}");
    }
    // The answer is lost, the tag is there, and doing it again is doing it once.
    shop.fail_next("tagsAdd", [Fault::LoseAnswer]);
    assert_eq!(code(&client.tag_order(&id, &tags).await), "retry");
    assert_eq!(shop.orders()[0].tags, ["web", "vip"]);
    assert!(matches!(client.tag_order(&id, &tags).await, Verdict::Done(_)));
    assert_eq!(shop.orders()[0].tags, ["web", "vip"]);

    let gone = connect("http://127.0.0.1:9", "t");
    assert_eq!(code(&gone.order(&id).await.expect_err("nobody there")), "retry");
}

#[tokio::test]
async fn strange_answers_are_refused_or_tried_again() {
    let cost = json!({ "cost": { "requestedQueryCost": 500, "throttleStatus": { "currentlyAvailable": 0, "restoreRate": 1 } } });
    let error =
        |code: &str| json!({ "errors": [{ "message": "no", "extensions": { "code": code } }], "extensions": cost });
    let cases = [
        (StatusCode::UNAUTHORIZED, &[][..], String::new(), "access_denied", None),
        (StatusCode::FORBIDDEN, &[], String::new(), "access_denied", None),
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "2.0")], String::new(), "retry", Some(2)),
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "7")], String::new(), "retry", Some(7)),
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "soon")], String::new(), "retry", None),
        (StatusCode::BAD_GATEWAY, &[], String::new(), "retry", None),
        (StatusCode::FOUND, &[("location", "http://169.254.169.254/")], String::new(), "refused", None),
        (StatusCode::OK, &[], "<html>".into(), "not_understood", None),
        (StatusCode::OK, &[], "{}".into(), "not_understood", None),
        (StatusCode::OK, &[], "x".repeat(5 << 20), "answer_too_long", None),
        (StatusCode::OK, &[], error("THROTTLED").to_string(), "retry", Some(60)),
        (StatusCode::OK, &[], error("INTERNAL_SERVER_ERROR").to_string(), "retry", None),
        (StatusCode::OK, &[], error("ACCESS_DENIED").to_string(), "access_denied", None),
        (StatusCode::OK, &[], error("MAX_COST_EXCEEDED").to_string(), "refused", None),
        (StatusCode::OK, &[], json!({ "errors": [{ "message": "no" }] }).to_string(), "refused", None),
        (StatusCode::OK, &[], json!({ "errors": "no" }).to_string(), "not_understood", None),
    ];
    for (status, pairs, body, expected, wait) in cases {
        let shown: String = body.chars().take(60).collect();
        let client = answering(status, pairs, body).await;
        let verdict = client.order("1").await.expect_err("a failure");
        assert_eq!(code(&verdict), expected, "{status} {shown}");
        if let Verdict::RetryAfter(asked, _) = verdict {
            assert_eq!(asked.map(|asked| asked.as_secs()), wait, "{status} {shown}");
        }
    }
}

#[tokio::test]
async fn the_token_is_sent_and_a_wrong_one_is_explained() {
    let (shop, _, id) = demo().await;
    let endpoint = shop.start(CancellationToken::new()).await.expect("a port");
    let refused = connect(&endpoint, "another").order(&id).await.expect_err("refused");
    assert!(matches!(&refused, Verdict::Refused(failure) if failure.message.contains("access_token")), "{refused:?}");
    for endpoint in ["http://acme.myshopify.com", "acme.myshopify.com", "ftp://127.0.0.1", ""] {
        let settings = ShopifySettings {
            endpoint: endpoint.into(),
            access_token: Secret::new("t"),
            timeout: Duration::from_secs(1),
        };
        let refused = Client::new(settings).err();
        assert!(matches!(refused, Some(ShopsError::Setting { .. })), "{endpoint}: {refused:?}");
    }
}

#[tokio::test]
async fn long_orders_are_read_page_by_page() {
    let page = |body: axum::Json<Json>| async move {
        let after = body.0["variables"]["after"].as_str().map(str::to_owned);
        let number: u32 = after.as_deref().map_or(0, |cursor| cursor.parse().unwrap_or(99));
        let nodes: Vec<Json> =
            (0..100).map(|i| json!({ "id": format!("gid://shopify/LineItem/{}", number * 100 + i) })).collect();
        let info = json!({ "hasNextPage": number < 2, "endCursor": (number + 1).to_string() });
        let order = json!({ "id": "gid://shopify/Order/1", "lineItems": { "nodes": nodes, "pageInfo": info } });
        axum::Json(json!({ "data": { "order": order } }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(page)).await });
    let order = connect(&endpoint, "t").order("1").await.expect("read").expect("there");
    assert_eq!(order.lines.len(), 300);
    assert_eq!(order.lines[299].id.as_deref(), Some("299"));
}
