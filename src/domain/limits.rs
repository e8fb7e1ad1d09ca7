//! How often, and for how much, something may be done: `200/h`, `2/7d`, `500 EUR/d`. Rules limit themselves so, and
//! shops their rules.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration::parse_duration;
use super::money::{Money, ParseMoneyError};

/// So many within any stretch of so long. As text `200/h` or `2/7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1,000,000.
    pub most: u32,
    /// A second to 366 days.
    pub per: Duration,
}

/// So much money within any stretch of so long. As text `500.00 EUR/d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoneyRate {
    /// More than nothing.
    pub most: Money,
    /// A second to 366 days.
    pub per: Duration,
}

/// What a rule may do at the most, all of its runs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Rate>,
    /// Money that its writes move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<MoneyRate>,
    /// Messages to one customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_customer: Option<Rate>,
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRateError {
    /// It does not say within how long.
    #[error("`{0}` does not say within how long; write it like `200/h`, `2/7d` or `500 EUR/d`")]
    NoTime(String),
    /// What stands before the `/` is no count.
    #[error("`{0}` is not a count from 1 to 1,000,000; write it like `200/h` or `2/7d`")]
    Count(String),
    /// What stands before the `/` is no money.
    #[error(transparent)]
    Money(#[from] ParseMoneyError),
    /// Nothing, or less.
    #[error("`{0}` allows nothing; write an amount above 0, such as `500 EUR/d`")]
    NoMoney(String),
    /// What stands after the `/` is no length of time.
    #[error("`{0}` is not a length of time; write `h` for an hour, `d` for a day, `7d` for a week")]
    Time(String),
    /// Too short or too long.
    #[error("`{0}` is out of bounds; write at least a second (`s`) and at most a year (`366d`)")]
    OutOfBounds(String),
}

/// The bounds of a rate's time.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// The largest count.
const MOST: u32 = 1_000_000;

fn shown(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

/// What stands before the `/`, and the time after it, where `h` is `1h`.
fn split(text: &str) -> Result<(&str, Duration), ParseRateError> {
    let (count, time) = text.split_once('/').ok_or_else(|| ParseRateError::NoTime(shown(text)))?;
    let time = time.trim();
    let length = if time.starts_with(|c: char| c.is_ascii_digit()) { time.to_owned() } else { format!("1{time}") };
    let per = parse_duration(&length).map_err(|_| ParseRateError::Time(shown(time)))?;
    if !(SHORTEST..=LONGEST).contains(&per) {
        return Err(ParseRateError::OutOfBounds(shown(time)));
    }
    Ok((count.trim(), per))
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let (count, per) = split(text)?;
        let plain = Some(count).filter(|count| count.bytes().all(|b| b.is_ascii_digit()));
        let most = plain.and_then(|count| count.parse().ok()).filter(|most| (1..=MOST).contains(most));
        Ok(Self { most: most.ok_or_else(|| ParseRateError::Count(shown(count)))?, per })
    }
}

impl FromStr for MoneyRate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let (amount, per) = split(text)?;
        let most: Money = amount.parse()?;
        if most.amount <= rust_decimal::Decimal::ZERO {
            return Err(ParseRateError::NoMoney(shown(amount)));
        }
        Ok(Self { most, per })
    }
}

/// In the longest unit that fits; one of it without its number.
fn write_time(per: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let seconds = per.as_secs();
    if per.subsec_millis() > 0 {
        return write!(f, "{}ms", per.as_millis());
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length)).unwrap_or((1, "s"));
    match seconds / length {
        1 => f.write_str(unit),
        many => write!(f, "{many}{unit}"),
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.most)?;
        write_time(self.per, f)
    }
}

impl fmt::Display for MoneyRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.most)?;
        write_time(self.per, f)
    }
}

macro_rules! as_text {
    ($($type:ident)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text! { Rate MoneyRate }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, most, seconds, back) in [
            ("200/h", 200, 3_600, "200/h"),
            ("2/7d", 2, 7 * 86_400, "2/7d"),
            (" 1 / w ", 1, 7 * 86_400, "1/7d"),
            ("5/90m", 5, 5_400, "5/90m"),
            ("1000000/s", 1_000_000, 1, "1000000/s"),
            ("3/24h", 3, 86_400, "3/d"),
        ] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!((rate.most, rate.per.as_secs(), rate.to_string().as_str()), (most, seconds, back));
        }
        let rate: MoneyRate = "€500/d".parse().expect("money");
        assert_eq!(rate.to_string(), "500.00 EUR/d");
        assert_eq!(serde_json::to_string(&rate).expect("json"), "\"500.00 EUR/d\"");
    }

    #[test]
    fn what_is_no_rate_is_told_what_to_write() {
        for (text, hint) in [
            ("200", "`200/h`"),
            ("0/h", "from 1 to 1,000,000"),
            ("1000001/h", "from 1 to 1,000,000"),
            ("+1/h", "from 1"),
            ("many/h", "`2/7d`"),
            ("/h", "from 1"),
            ("2/", "length of time"),
            ("2/month", "length of time"),
            ("2/week", "`7d` for a week"),
            ("2/0d", "at least a second"),
            ("2/500ms", "at least a second"),
            ("2/367d", "`366d`"),
            ("2/h/d", "length of time"),
        ] {
            let error = text.parse::<Rate>().expect_err(text).to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
        for (text, hint) in
            [("500 EUR", "`500 EUR/d`"), ("500/d", "`500 EUR`"), ("0 EUR/d", "above 0"), ("-5 EUR/d", "above 0")]
        {
            let error = text.parse::<MoneyRate>().expect_err(text).to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(most in 1..=MOST, seconds in 1_u64..366 * 86_400) {
            let rate = Rate { most, per: Duration::from_secs(seconds) };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            let money = MoneyRate { most: Money::new(most.into(), "EUR".parse().expect("currency")), per: rate.per };
            prop_assert_eq!(money.to_string().parse(), Ok(money));
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = (text.parse::<Rate>(), text.parse::<MoneyRate>());
        }
    }
}
