//! WeChat Shop's message push: a handshake by GET, events by POST, plain or encrypted.
//!
//! Every request is signed with a token: SHA-1 over the sorted token, timestamp and nonce, and the encrypted body where
//! there is one. A plain body is not part of the signature, so a plain event could be replaced by whoever sees one: where
//! the secret holds a key, only encrypted ones are taken.

mod crypt;

use serde_json::Value;
use storehand_plugin::{Delivery, Fact, Received, Refused, Reply, Source, json, same};

struct WechatShop;
storehand_plugin::source!(WechatShop);

/// How far a delivery's time may be off, in seconds: it is repeated for some three and a half hours.
const STALE: i64 = 4 * 3600;

/// The platform's events, and what they are here. Others are kept without a type.
const EVENTS: &[(&str, &str)] = &[
    ("channels_ec_order_new", "order.created"),
    ("channels_ec_order_pay", "order.paid"),
    ("channels_ec_order_deliver", "order.fulfilled"),
    ("channels_ec_order_cancel", "order.cancelled"),
    ("channels_ec_order_ext_info_update", "order.updated"),
];

/// A secret as the merchant has written it.
struct Keys<'a> {
    token: &'a str,
    aes: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn read(secret: &'a str) -> Self {
        match secret.split_once(':') {
            Some((token, aes)) => Self { token, aes: Some(aes) },
            None => Self { token: secret, aes: None },
        }
    }
}

impl Source for WechatShop {
    fn receive(delivery: &Delivery, secrets: &[String]) -> Result<Received, Refused> {
        let query = |name: &str| delivery.query(name).unwrap_or_default();
        let (timestamp, nonce) = (query("timestamp"), query("nonce"));
        if timestamp.is_empty() || nonce.is_empty() {
            return Err(Refused::Signature("the address has no `timestamp` or no `nonce`".to_owned()));
        }
        let keys: Vec<Keys<'_>> = secrets.iter().map(|secret| Keys::read(secret)).collect();
        if delivery.method == "GET" {
            let is_signed = |keys: &Keys<'_>| same(&crypt::signature(&[keys.token, timestamp, nonce]), query("signature"));
            if !keys.iter().any(is_signed) {
                return Err(not_signed("signature"));
            }
            return Ok(Received { facts: Vec::new(), reply: Reply::text(query("echostr")) });
        }
        let body = delivery.json()?;
        let text = match body["Encrypt"].as_str() {
            Some(encrypted) => {
                let signed = |keys: &&Keys<'_>| {
                    same(&crypt::signature(&[keys.token, timestamp, nonce, encrypted]), query("msg_signature"))
                };
                let Some(keys) = keys.iter().find(signed) else { return Err(not_signed("msg_signature")) };
                let aes = keys.aes.ok_or_else(|| {
                    Refused::Malformed("it is encrypted, and the secret has no key; write `TOKEN:ENCODINGAESKEY`".to_owned())
                })?;
                crypt::decrypt(aes, encrypted).map_err(|error| Refused::Malformed(error.to_owned()))?
            }
            None => {
                let signed = |keys: &&Keys<'_>| same(&crypt::signature(&[keys.token, timestamp, nonce]), query("signature"));
                let Some(keys) = keys.iter().find(signed) else { return Err(not_signed("signature")) };
                if keys.aes.is_some() {
                    return Err(Refused::Signature("it is not encrypted, and the source's secret has a key".to_owned()));
                }
                String::from_utf8_lossy(&delivery.body).into_owned()
            }
        };
        let sent = timestamp.parse::<i64>().unwrap_or(0);
        let off = i64::try_from(delivery.received).unwrap_or(i64::MAX).saturating_sub(sent);
        if off.abs() > STALE {
            return Err(Refused::Stale(off));
        }
        let message: Value = serde_json::from_str(&text).map_err(|error| {
            Refused::Malformed(format!("the message is no JSON ({error}); choose JSON as the format of the message push"))
        })?;
        Ok(Received { facts: fact(&message, text).into_iter().collect(), reply: Reply::text("success") })
    }
}

fn not_signed(what: &str) -> Refused {
    Refused::Signature(format!("`{what}` is missing or was not made with this source's token"))
}

/// What a message reports; a message of a customer to the shop's account is none of ours.
fn fact(message: &Value, payload: String) -> Option<Fact> {
    if message["MsgType"] != "event" {
        return None;
    }
    let topic = message["Event"].as_str()?.to_owned();
    let kind = EVENTS.iter().find(|(theirs, _)| *theirs == topic).map(|(_, ours)| (*ours).to_owned());
    let seconds = message["CreateTime"].as_i64();
    // Numbers here pass 2^53, and come as texts too.
    let id = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let order = id(&message["order_info"]["order_id"]);
    let after_sale = id(&message["finder_shop_aftersale_status_update"]["after_sale_order_id"]);
    let subject = match (&after_sale, &order) {
        (Some(id), _) => format!("return/{id}"),
        (None, Some(id)) => format!("order/{id}"),
        (None, None) => "shop".to_owned(),
    };
    let records = match &order {
        Some(id) if kind.is_some() => json!({ "order": { "id": id } }),
        _ => json!({}),
    };
    // An order's event comes once: retries carry the same time.
    let delivery_key = format!("{topic} {subject} {}", seconds.unwrap_or(0));
    let time = seconds.map(|seconds| crypt::rfc3339(seconds));
    Some(Fact { kind: kind.filter(|_| order.is_some()), topic, subject, time, delivery_key, records: records.to_string(), payload })
}
