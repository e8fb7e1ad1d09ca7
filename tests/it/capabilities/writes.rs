//! Order, message, memory and time.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::{Value as Json, json};
use storehand::demo::{DemoShop, Fault};
use storehand::domain::{
    Cancellation, Capability, Customer, Kind, Lookup, MemoryOp, Message, Order, Platform, RecordKey, RecordKind,
    Records, Return, Secret, Shop, Verdict, validate,
};
use storehand::shops::shopify::{Client, ShopifySettings};
use tokio_util::sync::CancellationToken;

use super::{attempt, capability, refused_with, shop, text};
use crate::shops::client::order;

pub(super) async fn connected() -> (DemoShop, Shop) {
    let demo = DemoShop::new("token");
    demo.put(order(1042));
    let client = Client::new(ShopifySettings {
        endpoint: demo.start(CancellationToken::new()).await.expect("a port"),
        access_token: Secret::new("token"),
        timeout: std::time::Duration::from_secs(5),
    });
    let platform = client.expect("a client");
    let shop = Shop { platform: Some(Arc::new(platform)), mailer: Some(Arc::new(demo.mailer())), ..shop() };
    (demo, shop)
}

fn done(capability: &dyn Capability, verdict: Verdict) -> Json {
    let Verdict::Done(answer) = verdict else { panic!("{verdict:?}") };
    assert_eq!(validate(&capability.spec().output, &answer), Ok(()));
    answer
}

fn of_customer(email: &str) -> Records {
    let customer = Arc::new(Customer { email: text(email), ..Customer::default() });
    Records { customer: Some(customer), ..Records::default() }
}

fn of_order(id: u64, email: &str) -> Records {
    let customer = of_customer(email).customer;
    let order = Order { id: text(&id.to_string()), name: text("#1042"), customer, ..Order::default() };
    Records { order: Some(Arc::new(order)), ..Records::default() }
}

#[tokio::test]
async fn the_order_is_the_events_unless_another_is_named() {
    let (demo, shop) = connected().await;
    let id = order(1042).id();
    let (get, tag) = (capability("order.get"), capability("order.tag"));
    let returned = Return { order_id: text(&id.to_string()), ..Return::default() };
    let of_return = Records { returned: Some(Arc::new(returned)), ..Records::default() };
    let named = vec![RecordKey { kind: RecordKind::Order, id: id.to_string().into() }];
    let shop = Arc::new(shop);
    for (context, mentions) in [(of_order(id, "a@b.example"), vec![]), (of_return, vec![]), (Records::default(), named)]
    {
        let mut attempt = attempt(super::shop(), "order.created", context, mentions);
        attempt.shop = Arc::clone(&shop);
        let answer = done(&*get, get.perform(&attempt, &json!({})).await);
        assert_eq!((&answer["name"], &answer["total"]), (&json!("#1042"), &json!("74.80 EUR")));
        let answer = done(&*tag, tag.perform(&attempt, &json!({ "tags": ["vip"] })).await);
        assert_eq!(answer, json!({ "tags": ["web", "vip"] }));
    }
    assert_eq!(demo.orders()[0].tags, ["web", "vip"]);

    let mut elsewhere = attempt(super::shop(), "inventory.changed", Records::default(), vec![]);
    elsewhere.shop = shop;
    let said = refused_with(&get.perform(&elsewhere, &json!({})).await, "no_order");
    assert!(said.contains("inventory.changed"), "{said}");
    let answer = get.perform(&elsewhere, &json!({ "id": id.to_string() })).await;
    assert_eq!(done(&*get, answer)["id"], json!(id.to_string()));
    refused_with(&get.perform(&elsewhere, &json!({ "id": "5" })).await, "not_found");
}

#[tokio::test]
async fn an_order_is_cancelled_once_and_looked_at_where_an_answer_is_lost() {
    let (demo, shop) = connected().await;
    let id = order(1042).id();
    let cancel = capability("order.cancel");
    let attempt = attempt(shop, "order.created", of_order(id, "ana@example.com"), vec![]);
    let cancelled = json!({ "status": "cancelled" });
    assert_eq!(cancel.lookup(&attempt, &json!({})).await, Lookup::DidNot);
    demo.fail_next("orderCancel", [Fault::Throttle, Fault::LoseAnswer]);
    assert!(matches!(cancel.perform(&attempt, &json!({})).await, Verdict::RetryAfter(..)));
    assert!(matches!(cancel.perform(&attempt, &json!({ "reason": "fraud" })).await, Verdict::Unknown(_)));
    assert_eq!(cancel.lookup(&attempt, &json!({})).await, Lookup::Happened(cancelled.clone()));
    // It is what was wanted, and the platform is not asked again.
    let asked = || demo.calls().iter().filter(|call| call.what == "orderCancel").count();
    let before = asked();
    assert_eq!(done(&*cancel, cancel.perform(&attempt, &json!({})).await), cancelled);
    assert_eq!(asked(), before);
    demo.fail_next("order", [Fault::Status(503)]);
    assert!(matches!(cancel.lookup(&attempt, &json!({})).await, Lookup::Later(_)));
    refused_with(&cancel.perform(&attempt, &json!({ "order_id": "5" })).await, "not_found");
    assert!(matches!(cancel.lookup(&attempt, &json!({ "order_id": "5" })).await, Lookup::Later(_)));
}

/// An order that somebody else cancels while we do.
struct Raced(std::sync::atomic::AtomicUsize);

#[async_trait::async_trait]
impl Platform for Raced {
    fn name(&self) -> &'static str {
        "raced"
    }

    async fn order(&self, _: &str) -> Result<Option<Order>, Verdict> {
        let reads = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Some(Order { status: text(if reads == 0 { "open" } else { "cancelled" }), ..Order::default() }))
    }

    async fn tag_order(&self, _: &str, _: &[String]) -> Verdict {
        unreachable!("it is not tagged")
    }

    async fn untag_order(&self, _: &str, _: &[String]) -> Verdict {
        unreachable!("it is not tagged")
    }

    async fn cancel_order(&self, _: &str, _: &Cancellation) -> Verdict {
        Verdict::refused("refused", "it is cancelled already")
    }

    async fn write_note(&self, _: &str, _: &str) -> Verdict {
        unreachable!("nothing is noted")
    }
}

#[tokio::test]
async fn a_refusal_because_it_is_cancelled_already_is_none() {
    let shop = Shop { platform: Some(Arc::new(Raced(0.into()))), ..shop() };
    let attempt = attempt(shop, "order.created", of_order(1, "ana@example.com"), vec![]);
    let cancel = capability("order.cancel");
    assert_eq!(done(&*cancel, cancel.perform(&attempt, &json!({})).await), json!({ "status": "cancelled" }));
}

#[tokio::test]
async fn a_note_gets_one_line_a_call() {
    let (demo, shop) = connected().await;
    let id = order(1042).id();
    let note = capability("order.note");
    let mut attempt = attempt(shop, "order.created", of_order(id, "ana@example.com"), vec![]);
    let input = json!({ "text": "Waits for stock " });
    assert_eq!(note.lookup(&attempt, &input).await, Lookup::DidNot);
    demo.fail_next("orderUpdate", [Fault::LoseAnswer]);
    assert!(matches!(note.perform(&attempt, &input).await, Verdict::Unknown(_)));
    let whole = demo.orders()[0].note.clone().expect("a note");
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() == 2 && lines[0] == "Please ring twice", "{whole}");
    assert!(lines[1].starts_with("Waits for stock [storehand ") && lines[1].ends_with(']'), "{whole}");
    assert_eq!(note.lookup(&attempt, &input).await, Lookup::Happened(json!({ "note": whole })));
    attempt.number = 2;
    assert_eq!(done(&*note, note.perform(&attempt, &input).await), json!({ "note": whole }), "it is there already");
    attempt.key = "run_0000000000002/other".into();
    done(&*note, note.perform(&attempt, &input).await);
    let mut changed = demo.orders().remove(0);
    assert_eq!(changed.note.as_deref().map(|note| note.lines().count()), Some(3), "another call, another line");
    changed.note = None;
    demo.put(changed);
    let alone = done(&*note, note.perform(&attempt, &input).await);
    assert!(alone["note"].as_str().is_some_and(|note| note.starts_with("Waits") && note.lines().count() == 1));
}

#[tokio::test]
async fn what_a_shop_is_not_connected_to_is_said() {
    let attempt = attempt(shop(), "order.created", of_order(1, "ana@example.com"), vec![]);
    for (name, input, code) in [
        ("order.get", json!({}), "no_platform"),
        ("order.cancel", json!({}), "no_platform"),
        ("order.note", json!({ "text": "a" }), "no_platform"),
        ("order.tag", json!({ "tags": ["a"] }), "no_platform"),
        ("order.untag", json!({ "tags": ["a"] }), "no_platform"),
        ("message.send", json!({ "text": "Hello" }), "no_mail"),
    ] {
        let said = refused_with(&capability(name).perform(&attempt, &input).await, code);
        assert!(said.contains("shop.acme."), "{name}: {said}");
    }
    let said = refused_with(&capability("model.write").perform(&attempt, &json!({ "prompt": "x" })).await, "no_model");
    assert!(said.contains("storehand model fetch"), "{said}");
}

#[tokio::test]
async fn a_message_that_breaks_its_policy_is_not_sent_whoever_wrote_it() {
    let (demo, shop) = connected().await;
    let send = capability("message.send");
    let mut attempt = attempt(super::shop(), "order.created", of_order(1, "buyer@example.com"), vec![]);
    attempt.shop = Arc::new(shop);
    let policy = json!(["given_facts_only", "no_refund_promise", { "never_say": ["lifetime"] }, "language"]);
    for (text, why) in [
        ("Hello, order #1042 and #9999 are packed.", "9999"),
        ("Hello, we will refund you.", "refund"),
        ("A lifetime of mugs!", "lifetime"),
        ("Hello [Your Name], order #1042 is packed.", "[Your Name]"),
        ("您好，您的订单 #1042 已经打包。", "language"),
    ] {
        let said =
            refused_with(&send.perform(&attempt, &json!({ "text": text, "policy": policy })).await, "policy_violation");
        assert!(said.contains(why), "{text}: {said}");
    }
    let subject = json!({ "text": "Hello", "subject": "We will refund you", "policy": policy });
    refused_with(&send.perform(&attempt, &subject).await, "policy_violation");
    assert!(demo.mails().is_empty());
    let good = json!({ "text": "Hello, order #1042 is packed.", "policy": policy });
    done(&*send, send.perform(&attempt, &good).await);
    // Without one, a merchant's own words go out as they are.
    done(&*send, send.perform(&attempt, &json!({ "text": "A lifetime of mugs!" })).await);
    assert_eq!(demo.mails().len(), 2);
}

#[tokio::test]
async fn a_message_goes_to_the_events_customer_once_it_is_known_who_that_is() {
    let (demo, shop) = connected().await;
    let shop = Arc::new(shop);
    let send = capability("message.send");
    let question = Message {
        id: text("<q1@mail.example>"),
        channel: text("email"),
        from: text("writer@example.com"),
        subject: text("Where is it?"),
        ..Message::default()
    };
    let asked = Records { message: Some(Arc::new(question.clone())), ..of_customer("known@example.com") };
    let again = Message { subject: text("RE: Where is it?"), ..question.clone() };
    let again = Records { message: Some(Arc::new(again)), ..Records::default() };
    let input = json!({ "text": "Hello" });
    for (context, input, to, subject, answers) in [
        (asked, &input, "writer@example.com", "Re: Where is it?", Some("q1@mail.example")),
        (again, &input, "writer@example.com", "RE: Where is it?", Some("q1@mail.example")),
        (of_customer("known@example.com"), &input, "known@example.com", "Acme", None),
        (of_order(1, "buyer@example.com"), &input, "buyer@example.com", "Acme #1042", None),
        (Records::default(), &json!({ "text": "t", "to": "x@y.example", "subject": "S" }), "x@y.example", "S", None),
    ] {
        let mut attempt = attempt(super::shop(), "order.created", context, vec![]);
        attempt.shop = Arc::clone(&shop);
        done(&*send, send.perform(&attempt, input).await);
        let mail = demo.mails().pop().expect("a mail");
        assert_eq!((mail.to.as_str(), mail.subject.as_str(), mail.in_reply_to.as_deref()), (to, subject, answers));
    }

    let machine = Message { automatic: text("auto_reply"), ..question.clone() };
    let context = Records { message: Some(Arc::new(machine)), ..of_customer("known@example.com") };
    let mut away = attempt(super::shop(), "message.automatic", context, vec![]);
    away.shop = Arc::clone(&shop);
    let sent = demo.mails().len();
    for to in [json!({ "text": "t" }), json!({ "text": "t", "to": "Writer@example.com" })] {
        let said = refused_with(&send.perform(&away, &to).await, "automatic_message");
        assert!(said.contains("auto_reply"), "{said}");
    }
    let to_writer = json!({ "to": "writer@example.com", "subject": "S", "text": "t" });
    refused_with(&capability("email.send").perform(&away, &to_writer).await, "automatic_message");
    assert_eq!(demo.mails().len(), sent);
    // A person may be told of it.
    done(&*send, send.perform(&away, &json!({ "text": "t", "to": "team@acme.example" })).await);

    let mut nobody = attempt(super::shop(), "order.created", Records::default(), vec![]);
    nobody.shop = Arc::clone(&shop);
    let said = refused_with(&send.perform(&nobody, &input).await, "no_address");
    assert!(said.contains("not known"), "{said}");
    let chat = Message { channel: text("chat"), from: text("@ana"), ..Message::default() };
    let chat = Records { message: Some(Arc::new(chat)), ..of_customer("known@example.com") };
    let mut chat = attempt(super::shop(), "message.received", chat, vec![]);
    chat.shop = shop;
    refused_with(&send.perform(&chat, &input).await, "channel_not_supported");
}

#[tokio::test]
async fn every_attempt_of_a_call_has_one_message_id_and_a_lost_answer_is_unknown() {
    let (demo, shop) = connected().await;
    let send = capability("message.send");
    let mut attempt = attempt(shop, "order.created", of_customer("ana@example.com"), vec![]);
    demo.fail_next("mail", [Fault::LoseAnswer]);
    let input = json!({ "text": "Hello" });
    let lost = send.perform(&attempt, &input).await;
    assert!(matches!(lost, Verdict::Unknown(_)), "{lost:?}");
    attempt.number = 2;
    done(&*send, send.perform(&attempt, &input).await);
    attempt.key = "run_0000000000002/other".into();
    done(&*send, send.perform(&attempt, &input).await);
    let ids: Vec<String> = demo.mails().into_iter().map(|mail| mail.message_id).collect();
    assert!(ids[0] == ids[1] && ids[1] != ids[2] && !ids[0].contains("run"), "{ids:?}");
}

#[test]
fn time_memory_and_log_are_the_engines_to_do() {
    let attempt = attempt(shop(), "order.created", Records::default(), vec![]);
    let come = |name: &str, input: Json| capability(name).work_out(&attempt.facts, attempt.now, &input);
    let in_ten_minutes = "2026-11-23T10:10:00Z".parse().expect("time");
    assert_eq!(come("wait", json!({ "for": "10m" })), Verdict::Until(in_ten_minutes));
    for length in ["400d", "99999999999d", "1y"] {
        refused_with(&come("wait", json!({ "for": length })), "invalid_input");
    }
    let key = || "k".to_owned();
    assert_eq!(come("memory.get", json!({ "key": "k" })), Verdict::Memory(MemoryOp::Get { key: key() }));
    for (input, only_if) in [
        (json!({ "key": "k", "value": 1 }), None),
        (json!({ "key": "k", "value": 1, "only_if": null }), Some(Json::Null)),
        (json!({ "key": "k", "value": 1, "only_if": 0 }), Some(json!(0))),
    ] {
        let set = MemoryOp::Set { key: key(), value: json!(1), only_if };
        assert_eq!(come("memory.set", input), Verdict::Memory(set));
    }
    refused_with(&come("memory.set", json!({ "key": "k", "value": "x".repeat(20_000) })), "invalid_input");
    for (input, by) in [
        (json!({ "key": "k" }), Decimal::ONE),
        (json!({ "key": "k", "by": -3 }), Decimal::from(-3)),
        (json!({ "key": "k", "by": 0.1 }), Decimal::new(1, 1)),
        (json!({ "key": "k", "by": "19.90" }), Decimal::new(1990, 2)),
    ] {
        assert_eq!(come("memory.add", input), Verdict::Memory(MemoryOp::Add { key: key(), by }));
    }
    refused_with(&come("memory.add", json!({ "key": "k", "by": "many" })), "invalid_input");
    assert_eq!(come("log", json!({ "message": "here" })), Verdict::Done(json!({})));
    assert_eq!(capability("log").spec().kind, Kind::Instant);
}
