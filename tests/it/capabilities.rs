//! Capabilities as the engine uses them: by their specs, one attempt at a time.

mod http_request;
mod outward;
mod shop_writes;
mod specs;
mod waits;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use storehand::capabilities::{Deps, all};
use storehand::domain::{
    Attempt, Capability, Event, EventId, Facts, RecordKey, Records, RunId, Secret, Shop, Text, Verdict,
};
use tokio_util::sync::CancellationToken;

pub(crate) fn capability(name: &str) -> Arc<dyn Capability> {
    all(Deps::default()).into_iter().find(|it| it.spec().name == name).expect(name)
}

/// A shop that is connected to nothing.
pub(crate) fn shop() -> Shop {
    Shop {
        id: "acme".parse().expect("a shop"),
        display_name: "Acme".into(),
        platform: None,
        mailer: None,
        languages: vec!["en".into()],
        currency: "EUR".parse().expect("a currency"),
        time_zone: "Europe/Lisbon".into(),
        fuses: storehand::domain::Fuses::default(),
        keep: None,
        low_stock: BTreeMap::new(),
        low_stock_default: None,
        secrets: BTreeMap::from([("warehouse".to_owned(), Secret::new("s3cret"))]),
        private_hosts: Vec::new(),
    }
}

/// An attempt of a run over an event with these records as its context.
pub(crate) fn attempt(shop: Shop, kind: &str, context: Records, mentions: Vec<RecordKey>) -> Attempt {
    let now = "2026-11-23T10:00:00Z".parse().expect("time");
    let context = Arc::new(context);
    let event = Event {
        id: EventId(1),
        shop: shop.id.clone(),
        source: "/shopify/acme".into(),
        kind: kind.into(),
        topic: kind.into(),
        subject: "order/1".into(),
        time: now,
        received: now,
        records: Arc::clone(&context),
        mentions,
        late: false,
        echo: None,
    };
    Attempt {
        shop: Arc::new(shop),
        facts: Facts { event: Arc::new(event), context, missing: Vec::new(), inputs: Arc::default(), now },
        run: RunId(2),
        path: "send".into(),
        key: "run_0000000000002/send".into(),
        approved_by: None,
        number: 1,
        now,
        cancelled: CancellationToken::new(),
        watch: None,
        on_record: None,
    }
}

pub(crate) fn text(text: &str) -> Option<Text> {
    Some(text.into())
}

pub(crate) fn refused_with(verdict: &Verdict, code: &str) -> String {
    match verdict {
        Verdict::Refused(failure) if failure.code == code => failure.message.clone(),
        other => panic!("wanted {code}: {other:?}"),
    }
}
