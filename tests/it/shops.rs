//! Shops from outside: deliveries in, Admin GraphQL and mail out.

pub(crate) mod client;
mod cloudevents;
mod deliveries;
mod graphql;
mod inbox;
mod mail;
mod mails;
mod mutations;
mod peer;

use jiff::Timestamp;
use storehand::domain::{Delivery, Received, Refused, Secret, Secrets};
use storehand::shops;

const SHOPIFY_SECRET: &str = "test_secret_key";
const MAILGUN_SECRET: &str = "key-0123456789abcdef";
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// When deliveries in these tests are received.
pub(crate) fn received() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().expect("time")
}

/// Signs a body as the source wants it, and receives it.
pub(crate) fn receive(source: &str, headers: &[(String, String)], body: &[u8]) -> Result<Received, Refused> {
    let (mut headers, mut body) = (headers.to_vec(), body.to_vec());
    let id = headers.iter().find(|(name, _)| name == "webhook-id").map(|(_, id)| id.clone()).unwrap_or_default();
    let secret = match source {
        "shopify" => {
            let secret = Secret::new(SHOPIFY_SECRET);
            headers.push(("x-shopify-hmac-sha256".into(), shops::signature::sign_shopify(&secret, &body)));
            secret
        }
        "mailgun" => {
            let secret = Secret::new(MAILGUN_SECRET);
            let (seconds, token) = (received().as_second().to_string(), "7".repeat(50));
            let signature = shops::signature::sign_mailgun(&secret, &seconds, &token);
            body.extend(format!("&timestamp={seconds}&token={token}&signature={signature}").into_bytes());
            secret
        }
        _ => {
            let secret = Secret::new(STANDARD_SECRET);
            let seconds = received().as_second();
            let signature = shops::signature::sign_standard(&secret, &id, seconds, &body).expect("a key");
            headers.push(("webhook-timestamp".into(), seconds.to_string()));
            headers.push(("webhook-signature".into(), signature));
            secret
        }
    };
    let delivery = Delivery { headers: &headers, query: &[], method: "POST", body: &body, received: received() };
    shops::source(source).expect("a source").receive(delivery, &Secrets::new([secret]))
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A form as browsers write it.
pub(crate) fn urlencoded(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let encoded = |bytes: &[u8]| -> String {
        let byte = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(*byte).to_string(),
            b' ' => "+".to_owned(),
            byte => format!("%{byte:02X}"),
        };
        bytes.iter().map(byte).collect()
    };
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encoded(name.as_bytes()), encoded(value))).collect();
    pairs.join("&").into_bytes()
}
