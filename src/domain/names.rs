//! What people call records: an order by its number, a customer by an e-mail address.
//!
//! Platforms know records by ids; customers and help desks do not. Names are compared as people would: without the
//! `#` and without regard to case.

use std::sync::Arc;

use super::record::Text;
use super::records::{Customer, Message, Order, RecordKind};

/// The longest number of an order, in bytes.
const LONGEST_NUMBER: usize = 64;
/// The longest e-mail address there is, in bytes (RFC 5321).
const LONGEST_ADDRESS: usize = 254;
/// So many of the orders that a message names are looked for.
const MOST_ORDERS: usize = 10;

/// A record by what people call it. Not its key: two orders may be called alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordName {
    /// What it is.
    pub kind: RecordKind,
    /// As names are compared: `1042`, `ana@example.com`.
    pub name: Text,
}

impl RecordName {
    /// An order by its number or name. `None` where that is empty, or longer than any is.
    pub fn order(number: &str) -> Option<Self> {
        let name = number.trim().trim_start_matches(['#', '＃']).trim_start();
        let fits = !name.is_empty() && name.len() <= LONGEST_NUMBER;
        fits.then(|| Self { kind: RecordKind::Order, name: in_lower_case(name) })
    }

    /// A customer by an e-mail address, which may stand behind a name: `Ana <ana@example.com>`. `None` where it is
    /// no address.
    pub fn customer(address: &str) -> Option<Self> {
        let address = address.trim();
        let behind_name = address.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
        let address = behind_name.map_or(address, |(_, address)| address.trim());
        let fits = address.len() <= LONGEST_ADDRESS && address.contains('@') && !address.contains(char::is_whitespace);
        fits.then(|| Self { kind: RecordKind::Customer, name: in_lower_case(address) })
    }
}

/// Most names are in lower case already, and every order's names are made anew with each of its versions.
fn in_lower_case(name: &str) -> Text {
    let lower = name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if lower { Arc::from(name) } else { name.to_lowercase().into() }
}

impl Order {
    /// What people call it: by its number, and by its name where that is another.
    pub fn names(&self) -> impl Iterator<Item = RecordName> {
        let number = self.number.as_deref().and_then(RecordName::order);
        let name = self.name.as_deref().and_then(RecordName::order).filter(|name| Some(name) != number.as_ref());
        number.into_iter().chain(name)
    }
}

impl Customer {
    /// What people call it: by its e-mail address.
    pub fn names(&self) -> Option<RecordName> {
        self.email.as_deref().and_then(RecordName::customer)
    }
}

impl Message {
    /// Who wrote it, where that is certain to be who gets the answer: by e-mail. What somebody calls themselves in a
    /// chat proves nothing.
    pub fn sender(&self) -> Option<RecordName> {
        let by_mail = self.channel.as_deref() == Some("email");
        self.from.as_deref().filter(|_| by_mail).and_then(RecordName::customer)
    }

    /// The orders that it names, the first ten.
    pub fn orders(&self) -> impl Iterator<Item = RecordName> {
        self.order_refs.iter().filter_map(|number| RecordName::order(number)).take(MOST_ORDERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_people_would() {
        for number in ["1042", "#1042", " ＃1042 ", "# 1042"] {
            assert_eq!(RecordName::order(number).map(|it| it.name), Some("1042".into()), "{number}");
        }
        assert_eq!(RecordName::order("EU-1042b"), RecordName::order("#eu-1042B"));
        assert!([" ", "#", &"1".repeat(65)].iter().all(|text| RecordName::order(text).is_none()));
        let ana = RecordName::customer("ana@example.com");
        assert!(ana.is_some());
        for address in [" Ana@Example.COM", "Ana Lopez <ana@example.com>", "\"x@y.z\" <ANA@example.com> "] {
            assert_eq!(RecordName::customer(address), ana, "{address}");
        }
        assert!(["ana", "", "a b@c.d", &"a@".repeat(200)].iter().all(|text| RecordName::customer(text).is_none()));
        assert_eq!(RecordName::customer("Ä@b.c").map(|it| it.name), Some("ä@b.c".into()));
    }

    #[test]
    fn only_an_e_mail_says_who_wrote() {
        let message = |channel: &str| Message {
            channel: Some(channel.into()),
            from: Some("ana@example.com".into()),
            ..Message::default()
        };
        assert!(message("email").sender().is_some());
        assert_eq!(message("chat").sender(), None);
        let order = Order { number: Some("1042".into()), name: Some("#1042".into()), ..Order::default() };
        assert_eq!(order.names().count(), 1);
        let order = Order { name: Some("EU1042".into()), ..order };
        assert_eq!(order.names().count(), 2);
    }
}
