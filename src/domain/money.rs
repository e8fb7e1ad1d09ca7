//! Money: a decimal and an ISO 4217 currency, never a float.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ISO 4217 code: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code, such as `EUR`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Digits after the point in this currency's everyday amounts (ISO 4217 "minor unit").
    pub fn minor_digits(self) -> u32 {
        match &self.0 {
            b"JPY" | b"KRW" | b"VND" | b"CLP" | b"ISK" | b"UGX" | b"XAF" | b"XOF" | b"XPF" | b"PYG" | b"RWF" => 0,
            b"BHD" | b"KWD" | b"OMR" | b"JOD" | b"TND" | b"IQD" | b"LYD" => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_alphabetic) => {
                Ok(Self([a, b, c].map(|letter| letter.to_ascii_uppercase())))
            }
            _ => Err(ParseMoneyError::Currency(text.chars().take(40).collect())),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount in a currency. Amounts in different currencies do not compare: there is no order between them.
///
/// As text and in JSON it is `"20.00 EUR"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// How much, exactly as it was given.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// `amount` of `currency`.
    pub fn new(amount: Decimal, currency: Currency) -> Self {
        Self { amount, currency }
    }
}

impl PartialOrd for Money {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.currency == other.currency).then(|| self.amount.cmp(&other.amount))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut amount = self.amount;
        if amount.scale() < self.currency.minor_digits() {
            amount.rescale(self.currency.minor_digits());
        }
        write!(f, "{amount} {}", self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMoneyError {
    /// Not three letters.
    #[error("`{0}` is not a currency; write its three letters, such as `EUR`")]
    Currency(String),
    /// No currency at all.
    #[error("`{0}` has no currency; write `{0} EUR`")]
    Bare(String),
    /// Not a number.
    #[error("`{0}` is not an amount of money; write it like `20.50 EUR`")]
    Amount(String),
}

/// Signs that stand for one currency. `¥` is read as yuan, as our readers write it; yen is written `JPY`.
const SIGNS: &[(&str, &str)] = &[
    ("€", "EUR"),
    ("$", "USD"),
    ("US$", "USD"),
    ("£", "GBP"),
    ("¥", "CNY"),
    ("￥", "CNY"),
    ("元", "CNY"),
    ("块", "CNY"),
    ("人民币", "CNY"),
];

impl FromStr for Money {
    type Err = ParseMoneyError;

    /// Reads `20 EUR`, `EUR 20`, `€20`, `¥20`, `20 元`, with an optional sign and `,` between thousands.
    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let shown = || text.chars().take(40).collect::<String>();
        let text_trimmed = text.trim();
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+');
        let start = text_trimmed.find(is_number).ok_or_else(|| ParseMoneyError::Amount(shown()))?;
        let end = text_trimmed.rfind(is_number).map_or(start, |last| last + 1);
        let (before, number, after) =
            (text_trimmed[..start].trim(), &text_trimmed[start..end], text_trimmed[end..].trim());
        let unit = match (before, after) {
            ("", "") => return Err(ParseMoneyError::Bare(shown())),
            (unit, "") | ("", unit) => unit,
            _ => return Err(ParseMoneyError::Amount(shown())),
        };
        let amount = plain_number(number).ok_or_else(|| ParseMoneyError::Amount(shown()))?;
        let code = SIGNS.iter().find(|(sign, _)| *sign == unit).map_or(unit, |(_, code)| code);
        Ok(Self { amount, currency: code.parse()? })
    }
}

/// `1,234.50` and `1234.50`, but not `1,2`: a comma that does not stand between thousands is a mistake (or a
/// decimal comma, which we would read wrongly), so it is refused.
fn plain_number(text: &str) -> Option<Decimal> {
    let (whole, _) = text.split_once('.').unwrap_or((text, ""));
    let groups: Vec<&str> = whole.trim_start_matches(['-', '+']).split(',').collect();
    let grouped = groups.len() == 1 || (groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3));
    if !grouped || text.split_once('.').is_some_and(|(_, rest)| rest.contains(',')) {
        return None;
    }
    Decimal::from_str_exact(&text.replace(',', "")).ok()
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn money(text: &str) -> Money {
        text.parse().expect("money")
    }

    #[test]
    fn is_read_as_people_write_it() {
        for (text, shown) in [
            ("20 EUR", "20.00 EUR"),
            ("€20", "20.00 EUR"),
            ("1,234.5 usd", "1234.50 USD"),
            ("¥20", "20.00 CNY"),
            ("20 元", "20.00 CNY"),
            ("-3.005 EUR", "-3.005 EUR"),
            ("500 JPY", "500 JPY"),
        ] {
            assert_eq!(money(text).to_string(), shown);
        }
        for text in ["", "EUR", "20", "20 EURO", "1,5 EUR", "EUR 20 EUR", "2 0 EUR", "1.2,3 EUR", "--1 EUR"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    #[test]
    fn currencies_do_not_compare() {
        assert!(money("5 EUR") < money("6 EUR"));
        assert_eq!(money("5 EUR").partial_cmp(&money("6 USD")), None);
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(mantissa in -10_i64.pow(15)..10_i64.pow(15), scale in 0_u32..6) {
            let it = Money::new(Decimal::new(mantissa, scale), "EUR".parse().expect("currency"));
            prop_assert_eq!(it.to_string().parse::<Money>(), Ok(it));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = text.parse::<Money>();
        }
    }
}
