//! The facts that a text may state.
//!
//! They are the typed fields of the event's records and the rule's inputs: numbers, amounts, dates, and of texts
//! those that the shop or its platform writes (ids, article numbers, names and descriptions of products, addresses
//! for mail). What customers write (messages, notes, their own names and postal addresses) gives no fact.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz};
use rust_decimal::Decimal;

use super::claims::{Claim, Day, Unit, When, claims};
use super::products::{Products, Titles};
use super::{Policy, Violation};
use crate::domain::{Facts, Inputs, Money, Record, Value};

/// The text fields that give facts: record, field.
const TEXTS: &[(&str, &str)] = &[
    ("order", "id"),
    ("order", "number"),
    ("order", "name"),
    ("line", "id"),
    ("line", "product_id"),
    ("line", "variant_id"),
    ("line", "sku"),
    ("line", "name"),
    ("return", "id"),
    ("return", "order_id"),
    ("return line", "id"),
    ("return line", "line_id"),
    ("return line", "sku"),
    ("return line", "name"),
    ("refund", "id"),
    ("refund", "order_id"),
    ("inventory", "sku"),
    ("inventory", "product_id"),
    ("inventory", "variant_id"),
    ("inventory", "location_id"),
    ("product", "id"),
    ("product", "title"),
    ("product", "description"),
    ("product", "vendor"),
    ("product", "kind"),
    ("product", "skus"),
    ("customer", "id"),
    ("customer", "email"),
    ("message", "from"),
    ("message", "to"),
    ("dispute", "id"),
    ("dispute", "order_id"),
];

/// The fields that name a product.
const NAMES: &[(&str, &str)] = &[("line", "name"), ("return line", "name"), ("product", "title")];

/// The fields that name an order: what may follow `#`.
const ORDERS: &[(&str, &str)] =
    &[("order", "id"), ("order", "number"), ("order", "name"), ("return", "order_id"), ("refund", "order_id")];

/// How deep records may lie within records.
const DEEPEST: usize = 8;

/// The facts that a text may state.
#[derive(Clone, Debug, Default)]
pub struct GivenFacts {
    numbers: HashSet<Decimal>,
    percents: HashSet<Decimal>,
    amounts: HashSet<(Decimal, String)>,
    orders: HashSet<String>,
    dates: HashSet<Date>,
    /// The moments that `dates` are of.
    moments: Vec<Timestamp>,
    days: Vec<Day>,
    whens: HashSet<When>,
    /// Lengths of time that texts of the shop state.
    spans: HashSet<(Decimal, Unit)>,
    /// Numbers that the merchant has put in, whatever they count.
    inputs: HashSet<Decimal>,
    now: Option<Timestamp>,
    links: HashSet<String>,
    emails: HashSet<String>,
    words: HashSet<String>,
    products: Products,
}

/// Where most readers are it may be a day earlier or later: the offsets from UTC, in hours.
const ZONES: [i8; 3] = [-8, 0, 11];

impl GivenFacts {
    /// The facts of a run: its event, its context and its rule's inputs.
    pub fn new(facts: &Facts) -> Self {
        let mut given = Self::default();
        given.add_record(&*facts.event.records, DEEPEST);
        given.add_record(&*facts.context, DEEPEST);
        given.add_inputs(&facts.inputs);
        given.add_time(facts.event.time);
        given.add_time(facts.now);
        given.now = Some(facts.now);
        given
    }

    /// With the products that the shop has, the given ones among them: the others must not be named.
    #[must_use]
    pub fn with_catalogue(mut self, titles: Arc<Titles>) -> Self {
        self.products.catalogue = Some(titles);
        self
    }

    fn add_record(&mut self, record: &dyn Record, depth: usize) {
        for field in record.fields() {
            if let Some(value) = record.get(field.name) {
                self.add_field((record.label(), field.name), &value, depth);
            }
        }
    }

    /// A rule's inputs are the merchant's own words and numbers.
    fn add_inputs(&mut self, inputs: &Inputs) {
        for value in inputs.values() {
            self.add_input(value);
        }
    }

    fn add_input(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.add_text(text);
                self.products.give(text);
            }
            Value::Int(number) => self.add_input_number(Decimal::from(*number)),
            Value::Decimal(number) => self.add_input_number(*number),
            Value::Money(money) => self.add_money(*money),
            Value::Time(time) => self.add_time(*time),
            Value::List(values) => values.iter().for_each(|value| self.add_input(value)),
            Value::Nothing | Value::Bool(_) | Value::Record(_) => {}
        }
    }

    fn add_input_number(&mut self, number: Decimal) {
        self.percents.insert(number.normalize());
        self.inputs.insert(number.normalize());
        self.add_number(number);
    }

    fn add_field(&mut self, field: (&str, &str), value: &Value, depth: usize) {
        match value {
            Value::Nothing | Value::Bool(_) => {}
            Value::Int(number) => self.add_number(Decimal::from(*number)),
            Value::Decimal(number) => self.add_number(*number),
            Value::Money(money) => {
                if field == ("order", "shipping") && money.amount.is_zero() {
                    self.words.extend(["FREE SHIPPING".into(), "FREE DELIVERY".into()]);
                }
                self.add_money(*money);
            }
            Value::Time(time) => self.add_time(*time),
            Value::Text(text) => {
                if ORDERS.contains(&field) {
                    self.orders.insert(text.trim_start_matches('#').to_ascii_uppercase());
                }
                if TEXTS.contains(&field) {
                    self.add_text(text.trim_start_matches('#'));
                }
                if NAMES.contains(&field) {
                    self.products.give(text);
                }
            }
            Value::List(values) => {
                if matches!(values.first(), Some(Value::Record(_))) {
                    // How many there are is a fact too: "your 2 items".
                    self.add_number(Decimal::from(values.len()));
                }
                values.iter().for_each(|value| self.add_field(field, value, depth));
            }
            Value::Record(record) => {
                if let Some(depth) = depth.checked_sub(1) {
                    self.add_record(&**record, depth);
                }
            }
        }
    }

    fn add_number(&mut self, number: Decimal) {
        // Texts rarely show a sign: "3 less in stock".
        self.numbers.insert(number.abs().normalize());
    }

    fn add_money(&mut self, money: Money) {
        let amount = money.amount.abs().normalize();
        self.numbers.insert(amount);
        self.amounts.insert((amount, money.currency.as_str().to_owned()));
    }

    /// The day of a moment, wherever the reader is.
    fn add_time(&mut self, time: Timestamp) {
        self.moments.push(time);
        for hours in ZONES {
            self.dates.insert(tz::offset(hours).to_datetime(time).date());
        }
    }

    /// Everything that a trusted text states.
    fn add_text(&mut self, text: &str) {
        for found in claims(text) {
            match found.claim {
                Claim::Amount(values, currencies) => {
                    for value in values {
                        self.numbers.insert(value);
                        self.amounts.extend(currencies.iter().map(|code| (value, (*code).to_owned())));
                    }
                }
                Claim::Percent(values) => self.percents.extend(values),
                Claim::Date(days) => self.days.extend(days),
                Claim::When(when) => {
                    self.whens.insert(when);
                }
                Claim::Order(order) => {
                    self.orders.insert(order);
                }
                Claim::Span(values, unit) => self.spans.extend(values.into_iter().map(|value| (value, unit))),
                Claim::Link(link) => {
                    self.links.insert(link);
                }
                Claim::Email(address) => {
                    self.emails.insert(address);
                }
                Claim::Word(word, _) => {
                    self.words.insert(word);
                }
                Claim::Number(values) => self.numbers.extend(values),
            }
        }
    }

    fn has(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Amount(values, currencies) => values
                .iter()
                .any(|value| currencies.iter().any(|code| self.amounts.contains(&(*value, (*code).to_owned())))),
            Claim::Percent(values) => values.iter().any(|value| self.percents.contains(value)),
            Claim::Date(days) => days.iter().any(|day| self.has_day(day)),
            Claim::When(when) => self.whens.contains(when) || self.has_when(when),
            Claim::Order(order) => self.orders.contains(order),
            Claim::Link(link) => self.links.contains(link),
            Claim::Email(address) => self.emails.contains(address),
            Claim::Word(word, numbers) => {
                self.words.contains(word)
                    || (!numbers.is_empty() && numbers.iter().all(|number| self.numbers.contains(number)))
            }
            // Two pieces are no two weeks.
            Claim::Span(values, unit) => {
                values.iter().any(|value| self.inputs.contains(value) || self.spans.contains(&(*value, *unit)))
            }
            Claim::Number(values) => values.iter().any(|value| self.numbers.contains(value)),
        }
    }

    fn has_day(&self, day: &Day) -> bool {
        let fits = |year: i16, month: i8, of: i8| {
            day.month == month && day.day == of && day.year.is_none_or(|wanted| wanted == year)
        };
        self.dates.iter().any(|date| fits(date.year(), date.month(), date.day()))
            || self.days.iter().any(|given| fits(given.year.or(day.year).unwrap_or(0), given.month, given.day))
    }

    /// Whether a given moment is so far from now, wherever the reader is. A day of the week is one of the week around.
    fn has_when(&self, when: &When) -> bool {
        let Some(now) = self.now else { return false };
        ZONES.into_iter().any(|hours| {
            let day = |time: Timestamp| tz::offset(hours).to_datetime(time).date();
            let today = day(now);
            let mut given = self.moments.iter().map(|moment| day(*moment));
            match when {
                When::Day(days) => today.checked_add(days.days()).is_ok_and(|wanted| given.any(|it| it == wanted)),
                When::Weekday(weekday) => given.any(|it| {
                    let apart = (it - today).get_days().abs();
                    apart < 7 && it.weekday().to_monday_one_offset() == *weekday
                }),
                When::Month(month) => given.any(|it| it.month() == *month),
                When::Words(_) => false,
            }
        })
    }

    /// Everything in `text` that is not given.
    pub(super) fn not_given(&self, text: &str) -> Vec<Violation> {
        claims(text)
            .into_iter()
            .filter(|found| !self.has(&found.claim))
            .map(|found| {
                let what = match found.claim {
                    Claim::Amount(..) => "amount",
                    Claim::Percent(_) => "percentage",
                    Claim::Date(_) | Claim::When(_) => "date",
                    Claim::Order(_) => "order number",
                    Claim::Link(_) => "link",
                    Claim::Email(_) => "e-mail address",
                    Claim::Span(..) => "length of time",
                    Claim::Word(..) | Claim::Number(_) => "number",
                };
                let shown = text.get(found.span.clone()).unwrap_or_default();
                let message = format!("the {what} “{shown}” is not a given fact");
                Violation { rule: Policy::GivenFactsOnly.name(), span: found.span, message }
            })
            .chain(self.products.not_given(text))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Customer, Line, Message, Order, Records, Return};

    fn given() -> GivenFacts {
        let customer = Customer {
            name: Some("Ana 500 EUR".into()),
            email: Some("ana@mail.example".into()),
            orders_count: Some(3),
            ..Customer::default()
        };
        let line = Line {
            sku: Some("TEE-42-BLUE".into()),
            name: Some("Tee 180 g".into()),
            quantity: Some(2),
            ..Line::default()
        };
        let order = Order {
            number: Some("1042".into()),
            name: Some("#1042".into()),
            total: "1234.50 EUR".parse().ok(),
            customer: Some(Arc::new(customer)),
            lines: vec![Arc::new(line)],
            note: Some("Give me 77% off".into()),
            created_at: "2026-11-20T22:30:00Z".parse().ok(),
            ..Order::default()
        };
        let records = Records {
            order: Some(Arc::new(order)),
            returned: Some(Arc::new(Return { note: Some("I get 88 EUR".into()), ..Return::default() })),
            message: Some(Arc::new(Message {
                text: Some("You owe me $99, see evil.example".into()),
                ..Message::default()
            })),
            ..Records::default()
        };
        let mut given = GivenFacts::default();
        given.add_record(&records, DEEPEST);
        given.add_inputs(
            &[
                ("days".to_owned(), Value::Int(30)),
                ("page".to_owned(), Value::Text("https://shop.example/returns".into())),
                ("limit".to_owned(), Value::Money("50 EUR".parse().expect("money"))),
            ]
            .into(),
        );
        given
    }

    #[test]
    fn only_typed_fields_and_inputs_give_facts() {
        let given = given();
        for text in [
            "Hello Ana, order #1042 (order 1042) costs €1,234.50.",
            "That is 1234,50 EUR, or 1.234,50 €.",
            "You ordered 2 Tee 180 g, TEE-42-BLUE, on 20 November 2026 (21.11.2026 where you are).",
            "You have 30 days; up to 50 EUR; see shop.example/returns or https://shop.example/returns/.",
            "We wrote to ana@mail.example. This is your 3rd order.",
            "您好，订单＃１０４２共１２３４．５欧元。",
        ] {
            assert_eq!(given.not_given(text), [], "{text}");
        }
        for (text, what) in [
            ("You get 500 EUR.", "500 EUR"),
            ("You get 88 EUR.", "88 EUR"),
            ("You get $99.", "$99"),
            ("77% off!", "77%"),
            ("That is $1,234.50.", "$1,234.50"),
            ("Order #1043.", "#1043"),
            ("See evil.example.", "evil.example"),
            ("See https://shop.example/refund.", "https://shop.example/refund"),
            ("Write to bob@mail.example.", "bob@mail.example"),
            ("On 24 November.", "24 November"),
            ("2 % off", "2 %"),
            ("Within 14 days.", "14 days"),
        ] {
            let found = given.not_given(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(&text[found[0].span.clone()], what);
            assert!(found[0].message.contains(what), "{found:?}");
        }
    }
}
