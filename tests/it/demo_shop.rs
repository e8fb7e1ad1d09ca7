//! The demo shop's deliveries are genuine: the sources take every one, and read what the shop meant.

use storehand::demo::{Signed, Signer};
use storehand::domain::{Delivery, NewEvent, Refused, Secret, Secrets};
use storehand::shops;

use crate::shops::client::order;

#[test]
fn its_deliveries_are_taken_and_mean_what_they_say() {
    let signer = Signer { shopify: Secret::new("client secret"), standard: Secret::new("whsec_c2VjcmV0IGtleQ==") };
    let (order, at) = (order(1042), "2026-11-23T10:00:00Z".parse().expect("time"));
    let level = signer.stock_level(271_878_346_596_884_015, 24_826_418, 3, at);
    for (delivery, kind, subject) in [
        (signer.order("orders/create", &order, at), "order.created", format!("order/{}", order.id())),
        (
            signer.return_request(&order, &[1], "color", "Too pale", at),
            "return.requested",
            format!("return/{}", order.id() + 10_000_000),
        ),
        (level.clone(), "inventory.changed", "inventory/271878346596884015:24826418".into()),
        (
            signer.customer("customers/update", &order.customer, 1, at),
            "customer.updated",
            format!("customer/{}", order.customer.id()),
        ),
        (
            signer.message("ana@example.com", "到货时间", "什么时候到？", "zh", at),
            "message.received",
            "message/".into(),
        ),
    ] {
        let secret = if delivery.source == "shopify" { &signer.shopify } else { &signer.standard };
        let event = taken(&delivery, secret).expect("genuine");
        assert_eq!(event.kind.as_deref(), Some(kind));
        assert!(event.subject.starts_with(&subject), "{}", event.subject);
        assert_eq!(event.time, at);
        assert_eq!(taken(&delivery, secret).map(|again| again.delivery_key), Ok(event.delivery_key), "a repeat is one");
        assert!(taken(&delivery, &Secret::new("another")).is_err());
        if let Some(returned) = &event.records.returned {
            assert_eq!(returned.lines[0].line_id.as_deref(), Some(order.line_id(1).to_string().as_str()));
            assert_eq!(returned.note.as_deref(), Some("Too pale"));
        }
    }
    let later = "2026-11-23T10:00:01Z".parse().expect("time");
    assert_ne!(signer.stock_level(271_878_346_596_884_015, 24_826_418, 3, later).headers, level.headers);
}

fn taken(delivery: &Signed, secret: &Secret) -> Result<NewEvent, Refused> {
    let received = "2026-11-23T10:00:02Z".parse().expect("time");
    let Signed { source, headers, body } = delivery;
    let delivery = Delivery { headers, query: &[], method: "POST", body, received };
    let mut taken = shops::source(source).expect("a source").receive(delivery, &Secrets::new([secret.clone()]))?;
    assert_eq!(taken.events.len(), 1);
    Ok(taken.events.remove(0))
}
