//! Shops from outside: deliveries in, Admin GraphQL and mail out.

pub(crate) mod client;
mod cloudevents;
mod deliveries;
mod graphql;
mod mail;
mod mutations;
mod peer;

use jiff::Timestamp;
use storehand::domain::{Delivery, Received, Refused, Secret, Secrets};
use storehand::shops;

const SHOPIFY_SECRET: &str = "test_secret_key";
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// When deliveries in these tests are received.
pub(crate) fn received() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().expect("time")
}

/// Signs a body as the source wants it, and receives it.
pub(crate) fn receive(source: &str, headers: &[(String, String)], body: &[u8]) -> Result<Received, Refused> {
    let mut headers = headers.to_vec();
    let id = headers.iter().find(|(name, _)| name == "webhook-id").map(|(_, id)| id.clone()).unwrap_or_default();
    let secret = match source {
        "shopify" => {
            let secret = Secret::new(SHOPIFY_SECRET);
            headers.push(("x-shopify-hmac-sha256".into(), shops::signature::sign_shopify(&secret, body)));
            secret
        }
        _ => {
            let secret = Secret::new(STANDARD_SECRET);
            let seconds = received().as_second();
            let signature = shops::signature::sign_standard(&secret, &id, seconds, body).expect("a key");
            headers.push(("webhook-timestamp".into(), seconds.to_string()));
            headers.push(("webhook-signature".into(), signature));
            secret
        }
    };
    let delivery = Delivery { headers: &headers, query: &[], method: "POST", body, received: received() };
    shops::source(source).expect("a source").receive(delivery, &Secrets::new([secret]))
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
