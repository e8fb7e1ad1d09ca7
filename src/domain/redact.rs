//! Forgetting people: what of records, texts and answers is personal, and what is left of them.
//!
//! Ids, counts, times and money stay, and what was bought; who it was, where they live and what they wrote does not.

use std::sync::Arc;

use serde_json::Value as Json;

use super::event::Event;
use super::money::Money;
use super::record::Text;
use super::records::{Customer, Message, Order, RecordKey, RecordKind, Records, Refund, Return, ReturnLine};

/// What stands in the place of a text that was forgotten.
pub const REDACTED: &str = "redacted";

/// Whose data is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of all customers of a shop.
    Everybody,
    /// That of one of them.
    Customer(Who),
}

/// A customer by all that leads to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The platform's id.
    pub id: Option<Text>,
    /// In lower case.
    pub emails: Vec<String>,
    /// As they were written.
    pub phones: Vec<String>,
    /// First and last name, in lower case: not enough to find what is theirs in an order's event, enough in a memory.
    pub names: Vec<String>,
    /// The platform's ids of their orders.
    pub orders: Vec<Text>,
}

impl Who {
    /// What else a record tells of them.
    pub fn learn(&mut self, customer: &Customer) {
        fn add(all: &mut Vec<String>, one: Option<String>, shortest: usize) {
            all.extend(one.filter(|one| one.len() >= shortest && !all.contains(one)));
        }
        add(&mut self.emails, customer.email.as_deref().map(|it| it.trim().to_lowercase()), 3);
        add(&mut self.phones, customer.phone.as_deref().map(|it| it.trim().to_owned()), 6);
        // One word is a name of many.
        let name = customer.name.as_deref().map(|it| it.trim().to_lowercase());
        add(&mut self.names, name.filter(|name| name.contains(' ')), 5);
    }

    /// Whether a customer is this one.
    pub fn is(&self, customer: &Customer) -> bool {
        let same_id = self.id.is_some() && customer.id == self.id;
        let email = customer.email.as_deref().map(|it| it.trim().to_lowercase());
        same_id || email.is_some_and(|email| self.emails.contains(&email))
    }

    /// Ids under which records name them and their orders.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.id.iter().chain(&self.orders).map(|id| &**id)
    }

    /// Whether a text, in lower case, speaks of them: an address, a number, or an id that is long enough to be no other
    /// number.
    pub fn is_in(&self, text: &str) -> bool {
        const SHORTEST_ID: usize = 8;
        let phones = self.phones.iter().map(|phone| phone.to_lowercase());
        self.emails.iter().any(|email| stands_alone(text, email))
            || phones.into_iter().any(|phone| stands_alone(text, &phone))
            || self.ids().filter(|id| id.len() >= SHORTEST_ID).any(|id| stands_alone(text, &id.to_lowercase()))
    }

    /// Whether a record's JSON names them: as [`Who::is_in`], or by an id of any length that is a text of its own.
    pub fn is_in_record(&self, json: &str) -> bool {
        self.is_in(&json.to_lowercase()) || self.ids().any(|id| json.contains(&format!("\"{id}\"")))
    }
}

/// Whether something is in a text and is not a part of a longer word there.
fn stands_alone(text: &str, what: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+');
    text.match_indices(what).any(|(at, found)| {
        let before = text[..at].chars().next_back().is_some_and(|c| is_part(c) || c == '.');
        !before && !text[at + found.len()..].chars().next().is_some_and(is_part)
    })
}

impl Event {
    /// Whose data this event has forgotten; `None` for other events.
    pub fn forgets(&self) -> Option<Whose> {
        match &*self.kind {
            "shop.redacted" => Some(Whose::Everybody),
            "customer.redacted" => {
                let mut who = Who::default();
                if let Some(customer) = &self.records.customer {
                    who.id = customer.id.clone();
                    who.learn(customer);
                }
                let of = |kind| self.mentions.iter().filter(move |key: &&RecordKey| key.kind == kind);
                who.id = who.id.or_else(|| of(RecordKind::Customer).next().map(|key| key.id.clone()));
                who.orders = of(RecordKind::Order).map(|key| key.id.clone()).collect();
                Some(Whose::Customer(who))
            }
            _ => None,
        }
    }
}

/// Records without what is personal.
#[must_use]
pub fn records(records: &Records) -> Records {
    Records {
        order: records.order.as_deref().map(|it| Arc::new(order(it))),
        returned: records.returned.as_deref().map(|it| Arc::new(returned(it))),
        refund: records.refund.as_deref().map(|it| Arc::new(Refund { note: None, ..it.clone() })),
        inventory: records.inventory.clone(),
        product: records.product.clone(),
        customer: records.customer.as_deref().map(|it| Arc::new(customer(it))),
        message: records.message.as_deref().map(|it| Arc::new(message(it))),
        dispute: records.dispute.clone(),
    }
}

/// A customer of whom the id and the number of orders are left.
#[must_use]
pub fn customer(it: &Customer) -> Customer {
    Customer { id: it.id.clone(), orders_count: it.orders_count, updated_at: it.updated_at, ..Customer::default() }
}

/// An order without who ordered it, where it goes and what they wrote.
#[must_use]
pub fn order(it: &Order) -> Order {
    Order {
        customer: it.customer.as_deref().map(|it| Arc::new(customer(it))),
        shipping_address: None,
        note: None,
        tags: Vec::new(),
        ..it.clone()
    }
}

fn returned(it: &Return) -> Return {
    let line = |line: &Arc<ReturnLine>| Arc::new(ReturnLine { note: None, ..ReturnLine::clone(line) });
    Return { note: None, lines: it.lines.iter().map(line).collect(), ..it.clone() }
}

fn message(it: &Message) -> Message {
    let (channel, language, automatic) = (it.channel.clone(), it.language.clone(), it.automatic.clone());
    Message { channel, language, automatic, ..Message::default() }
}

/// What was asked or answered, without its texts: whatever they say may have come from the one who is forgotten. Amounts
/// of money, numbers and the names of fields stay.
pub fn json(value: &mut Json) {
    match value {
        Json::String(text) => {
            if text.parse::<Money>().is_err() {
                REDACTED.clone_into(text);
            }
        }
        Json::Array(items) => items.iter_mut().for_each(json),
        Json::Object(fields) => fields.values_mut().for_each(json),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Records, Who, json as blank, records};

    #[test]
    fn texts_go_and_money_stays() {
        let mut asked = json!({ "to": "ana@example.com", "amount": "35.00 EUR", "n": 3, "all": ["a", true, null] });
        blank(&mut asked);
        let left = json!({ "to": "redacted", "amount": "35.00 EUR", "n": 3, "all": ["redacted", true, null] });
        assert_eq!(asked, left);
    }

    #[test]
    fn people_are_known_by_addresses_and_ids_that_stand_alone() {
        let who = Who {
            id: Some("115310627314723954".into()),
            emails: vec!["an@example.com".into()],
            orders: vec!["7".into()],
            ..Who::default()
        };
        assert!(who.is_in("to an@example.com, please") && who.is_in(r#""customer_id":115310627314723954,"#));
        assert!(!who.is_in("to jan@example.com") && !who.is_in("to x.an@example.com.au"));
        assert!(!who.is_in("1153106273147239541") && !who.is_in("7 cups"));
        assert!(who.is_in_record(r#"{"order":{"id":"7"}}"#) && !who.is_in_record(r#"{"order":{"id":"17"}}"#));
    }

    #[test]
    fn a_record_keeps_what_was_bought_and_for_how_much() {
        let all: Records = serde_json::from_value(json!({
            "order": { "id": "7", "total": "20.00 EUR", "note": "ring twice", "tags": ["ana"],
                       "customer": { "id": "9", "email": "ana@example.com", "orders_count": 2 },
                       "shipping_address": { "city": "Lisbon" }, "lines": [{ "sku": "CUP", "quantity": 2 }] },
            "returned": { "id": "5", "note": "too small", "lines": [{ "quantity": 1, "note": "so sad" }] },
            "customer": { "id": "9", "name": "Ana Lima", "phone": "555" },
            "message": { "id": "<a@b>", "channel": "email", "from": "ana@example.com", "text": "Hello" },
        }))
        .expect("records");
        let left = serde_json::to_value(records(&all)).expect("json");
        let wanted = json!({
            "order": { "id": "7", "total": "20.00 EUR", "customer": { "id": "9", "orders_count": 2 },
                       "lines": [{ "sku": "CUP", "quantity": 2 }] },
            "returned": { "id": "5", "lines": [{ "quantity": 1 }] },
            "customer": { "id": "9" },
            "message": { "channel": "email" },
        });
        assert_eq!(left, wanted);
    }
}
