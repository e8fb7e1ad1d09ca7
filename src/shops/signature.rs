//! Signatures of deliveries: HMAC-SHA256 over the raw bytes, as Shopify and Standard Webhooks make them, and over a
//! time and a token, as Mailgun makes them.
//!
//! Checking takes constant time, tries every live secret, and never takes an empty one: [`Secrets`] holds none,
//! and a `whsec_` with nothing behind it is none either.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::{Delivery, Refused, Secret, Secrets};

/// How far a Standard Webhooks timestamp may be from now, in seconds, either way.
pub const TOLERANCE_SECONDS: i64 = 300;

const SHOPIFY_HEADER: &str = "x-shopify-hmac-sha256";
const STANDARD_HEADER: &str = "webhook-signature";

/// `X-Shopify-Hmac-Sha256` for this body.
pub fn sign_shopify(secret: &Secret, body: &[u8]) -> String {
    BASE64.encode(hmac(secret.reveal().as_bytes(), &[body]))
}

/// `webhook-signature` for this body, with `webhook-id` and `webhook-timestamp` as given. A secret that begins
/// with `whsec_` is base64 behind it, any other is the key itself. `None` where the secret holds no key.
pub fn sign_standard(secret: &Secret, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let key = standard_key(secret)?;
    let made = hmac(&key, &[id.as_bytes(), b".", seconds.to_string().as_bytes(), b".", body]);
    Some(format!("v1,{}", BASE64.encode(made)))
}

/// Checks `X-Shopify-Hmac-Sha256`.
pub(crate) fn check_shopify(delivery: &Delivery<'_>, secrets: &Secrets) -> Result<(), Refused> {
    let refused = Refused::Signature { header: SHOPIFY_HEADER };
    let Some(given) = delivery.header(SHOPIFY_HEADER).and_then(|text| BASE64.decode(text.trim()).ok()) else {
        return Err(refused);
    };
    let keys = secrets.iter().map(|secret| secret.reveal().as_bytes().to_vec());
    if any_made_it(keys, &[delivery.body], &[given]) { Ok(()) } else { Err(refused) }
}

/// `signature` of a delivery of Mailgun's, with `timestamp` and `token` as given: it is over these two, and not over
/// what they come with.
pub fn sign_mailgun(secret: &Secret, timestamp: &str, token: &str) -> String {
    hex::encode(hmac(secret.reveal().as_bytes(), &[timestamp.as_bytes(), token.as_bytes()]))
}

/// Checks the three fields by which Mailgun signs. Each attempt of a delivery is signed anew, so a short time is enough.
pub(crate) fn check_mailgun(
    [timestamp, token, signature]: [&str; 3],
    secrets: &Secrets,
    received: jiff::Timestamp,
) -> Result<(), Refused> {
    let refused = Refused::Signature { header: "signature" };
    let Ok(given) = hex::decode(signature.trim()) else { return Err(refused) };
    let keys = secrets.iter().map(|secret| secret.reveal().as_bytes().to_vec());
    // The two stand side by side without anything between: that a part of one is read as the other's must not help.
    let numbers = !timestamp.is_empty() && timestamp.len() <= 12 && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    if !numbers || token.len() < 20 || !any_made_it(keys, &[timestamp.as_bytes(), token.as_bytes()], &[given]) {
        return Err(refused);
    }
    let signed: i64 = timestamp.parse().map_err(|_| refused)?;
    fresh(signed, received)
}

fn fresh(signed: i64, received: jiff::Timestamp) -> Result<(), Refused> {
    let seconds = received.as_second().saturating_sub(signed);
    if seconds.saturating_abs() > TOLERANCE_SECONDS {
        return Err(Refused::Stale { seconds, allowed: TOLERANCE_SECONDS });
    }
    Ok(())
}

/// Checks the three headers of Standard Webhooks. The timestamp is believed only once the signature holds.
pub(crate) fn check_standard(delivery: &Delivery<'_>, secrets: &Secrets) -> Result<(), Refused> {
    let refused = Refused::Signature { header: STANDARD_HEADER };
    let headers = ["webhook-id", "webhook-timestamp", STANDARD_HEADER].map(|name| delivery.header(name));
    let [Some(id), Some(timestamp), Some(signatures)] = headers else { return Err(refused) };
    // `v1a,` (ed25519) and whatever is invented next to it is not for us; a sender may give several.
    let given: Vec<Vec<u8>> = signatures
        .split_ascii_whitespace()
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| BASE64.decode(signature).ok())
        .take(16)
        .collect();
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", delivery.body];
    if !any_made_it(secrets.iter().filter_map(standard_key), &parts, &given) {
        return Err(refused);
    }
    let signed: i64 = timestamp.parse().map_err(|_| refused)?;
    fresh(signed, delivery.received)
}

/// Whether one of the keys made one of the signatures. Looks at all of them, so that time tells nothing.
fn any_made_it(keys: impl Iterator<Item = Vec<u8>>, parts: &[&[u8]], given: &[Vec<u8>]) -> bool {
    let mut found = subtle::Choice::from(0);
    for key in keys.filter(|key| !key.is_empty()) {
        let made = hmac(&key, parts);
        for given in given {
            found |= made.as_slice().ct_eq(given.as_slice());
        }
    }
    found.into()
}

fn standard_key(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.reveal();
    let key = match text.strip_prefix("whsec_") {
        Some(encoded) => BASE64.decode(encoded).ok()?,
        None => text.as_bytes().to_vec(),
    };
    (!key.is_empty()).then_some(key)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length; the error type is for ciphers that do not.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const MADE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const AT: i64 = 1_614_265_330;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn standard(signature: &str, secrets: &[&str], received: i64, body: &[u8]) -> Result<(), Refused> {
        let at = AT.to_string();
        let headers = headers(&[("webhook-id", ID), ("webhook-timestamp", &at), ("webhook-signature", signature)]);
        let received = jiff::Timestamp::from_second(received).expect("time");
        let delivery = Delivery { headers: &headers, query: &[], method: "POST", body, received };
        check_standard(&delivery, &Secrets::new(secrets.iter().map(|text| Secret::new(*text))))
    }

    fn shopify(signature: &str, secrets: &[&str], body: &[u8]) -> Result<(), Refused> {
        let headers = headers(&[(SHOPIFY_HEADER, signature)]);
        let received = jiff::Timestamp::UNIX_EPOCH;
        let delivery = Delivery { headers: &headers, query: &[], method: "POST", body, received };
        check_shopify(&delivery, &Secrets::new(secrets.iter().map(|text| Secret::new(*text))))
    }

    #[test]
    fn shopify_vector_holds_with_either_of_two_secrets() {
        let made = "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g=";
        let body = br#"{"foo": "bar"}"#;
        assert_eq!(sign_shopify(&Secret::new("test_secret_key"), body), made);
        assert_eq!(shopify(made, &["test_secret_key"], body), Ok(()));
        assert_eq!(shopify(made, &["new", "test_secret_key"], body), Ok(()));
        for (signature, secrets, body) in [
            (made, &["other"][..], &body[..]),
            (made, &[], body),
            (made, &["test_secret_key"], br#"{"foo":"bar"}"#),
            ("", &["test_secret_key"], body),
            ("B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g", &["test_secret_key"], body),
            ("%%%", &["test_secret_key"], body),
        ] {
            assert!(shopify(signature, secrets, body).is_err(), "{signature} {secrets:?}");
        }
    }

    #[test]
    fn standard_vector_holds_among_several_and_within_five_minutes() {
        assert_eq!(sign_standard(&Secret::new(KEY), ID, AT, BODY).as_deref(), Some(MADE));
        assert_eq!(standard(MADE, &[KEY], AT, BODY), Ok(()));
        let several = format!("v1a,AAAA v2,BBBB v1,AAAA {MADE}");
        assert_eq!(standard(&several, &["whsec_b3RoZXI=", KEY], AT + TOLERANCE_SECONDS, BODY), Ok(()));
        assert_eq!(standard(MADE, &[KEY], AT - TOLERANCE_SECONDS, BODY), Ok(()));
        for off in [TOLERANCE_SECONDS + 1, -TOLERANCE_SECONDS - 1] {
            let stale = Refused::Stale { seconds: off, allowed: TOLERANCE_SECONDS };
            assert_eq!(standard(MADE, &[KEY], AT + off, BODY), Err(stale));
        }
        assert!(standard(MADE, &["whsec_b3RoZXI="], AT, BODY).is_err());
        assert!(standard(MADE, &[KEY], AT, b"{}").is_err());
        assert!(standard(&MADE[3..], &[KEY], AT, BODY).is_err(), "no version");
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        // What anybody could make with an empty key.
        let signature = BASE64.encode(hmac(b"", &[b"{}"]));
        assert!(shopify(&signature, &["", " "], b"{}").is_err());
        assert_eq!(sign_standard(&Secret::new("whsec_"), ID, AT, BODY), None);
        let parts = format!("{ID}.{AT}.");
        let signature = format!("v1,{}", BASE64.encode(hmac(b"", &[parts.as_bytes(), BODY])));
        assert!(standard(&signature, &["whsec_", ""], AT, BODY).is_err());
    }
}
