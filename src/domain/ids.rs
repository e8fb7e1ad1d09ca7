//! Names of things: shops, events, runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A shop's name, as the configuration gives it: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
///
/// Every row, queue, cache key and metric carries one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ShopId(Arc<str>);

impl ShopId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ShopId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if fits { Ok(Self(text.into())) } else { Err(ParseIdError { what: "shop name", text: text.into() }) }
    }
}

impl<'de> Deserialize<'de> for ShopId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct ParseIdError {
    what: &'static str,
    text: String,
}

/// Crockford's base 32: no `i`, `l`, `o`, `u`, so that ids can be read out over a telephone.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn write_id(prefix: &str, id: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0_u8; 13];
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit = ALPHABET[(id as u64 >> (60 - 5 * i)) as usize & 31];
    }
    write!(f, "{prefix}_{}", std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
}

fn read_id(prefix: &str, what: &'static str, text: &str) -> Result<i64, ParseIdError> {
    let error = || ParseIdError { what, text: text.chars().take(80).collect() };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or_else(error)?;
    if digits.len() != 13 {
        return Err(error());
    }
    let mut id = 0_u64;
    for byte in digits.bytes() {
        let digit = ALPHABET.iter().position(|&a| a == byte.to_ascii_lowercase()).ok_or_else(error)?;
        id = id.checked_mul(32).and_then(|id| id.checked_add(digit as u64)).ok_or_else(error)?;
    }
    i64::try_from(id).map_err(|_| error())
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i64);

        impl $name {
            /// When it was made.
            pub fn made(self) -> Timestamp {
                // 41 bits of milliseconds are within any calendar.
                Timestamp::from_millisecond((self.0 >> 22).max(0) + EPOCH_MS).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id($prefix, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                read_id($prefix, $what, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// An event's id, shown as `ev_` and 13 digits. Ids sort by the time they were made.
    EventId, "ev", "event id (`ev_` and 13 letters or digits)"
);
id!(
    /// A run's id, shown as `run_` and 13 digits. Ids sort by the time they were made.
    RunId, "run", "run id (`run_` and 13 letters or digits)"
);

impl EventId {
    /// The smallest id that an event received at this moment can have.
    pub fn first_at(moment: Timestamp) -> Self {
        Self((moment.as_millisecond() - EPOCH_MS).clamp(0, i64::MAX >> 22) << 22)
    }
}

/// Makes ids that are unique in one data folder and sort by time: 41 bits of milliseconds since 2024, 10 bits
/// of a number drawn at start, 12 bits counting within the millisecond (Twitter's Snowflake).
///
/// An id is an `i64`, so that it can be the row's own key. A busy millisecond borrows from the next one.
#[derive(Debug)]
pub struct IdMaker {
    node: i64,
    last: AtomicI64,
}

/// 2024-01-01T00:00:00Z in milliseconds.
const EPOCH_MS: i64 = 1_704_067_200_000;

impl IdMaker {
    /// A maker whose ids carry `node` (its low 10 bits), which should differ between processes on one store.
    pub fn new(node: u16) -> Self {
        Self { node: i64::from(node & 0x3ff), last: AtomicI64::new(0) }
    }

    /// The next number: larger than every one this maker gave before.
    pub fn next(&self, now: Timestamp) -> i64 {
        let fresh = (now.as_millisecond() - EPOCH_MS).max(0) << 12;
        let previous = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(fresh.max(last + 1)));
        let ticks = fresh.max(previous.unwrap_or_else(|last| last) + 1);
        (ticks >> 12) << 22 | self.node << 12 | (ticks & 0xfff)
    }

    /// Gives only ids past this one from now on, whatever the clock says: a process that starts on an old store goes
    /// past the ids that are in it.
    pub fn skip_past(&self, id: i64) {
        // All of its millisecond: another process's number may sort behind its own.
        self.last.fetch_max((id >> 22) << 12 | 0xfff, Ordering::Relaxed);
    }

    /// The least number that a maker gives at `time` or later.
    pub fn first(time: Timestamp) -> i64 {
        (time.as_millisecond() - EPOCH_MS).max(0) << 22
    }

    /// A new event id.
    pub fn event(&self, now: Timestamp) -> EventId {
        EventId(self.next(now))
    }

    /// A new run id.
    pub fn run(&self, now: Timestamp) -> RunId {
        RunId(self.next(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let maker = IdMaker::new(7);
        let early = maker.event("2026-11-23T10:00:00Z".parse().expect("time"));
        let many: Vec<EventId> = (0..5000).map(|_| maker.event(Timestamp::UNIX_EPOCH)).collect();
        let moment = |text: &str| EventId::first_at(text.parse().expect("time"));
        assert!(moment("2026-11-23T10:00:00Z") <= early && early < moment("2026-11-23T10:00:00.001Z"));
        assert_eq!(moment("1970-01-01T00:00:00Z"), EventId(0));
        assert_eq!(
            (early.made().to_string().as_str(), EventId(i64::MAX).made().strftime("%Y").to_string()),
            ("2026-11-23T10:00:00Z", "2093".into())
        );
        assert!(early < many[0] && many.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(early.to_string().parse::<EventId>(), Ok(early));
        assert!("run_0000000000000".parse::<EventId>().is_err());
        assert!("ev_zzzzzzzzzzzzz".parse::<EventId>().is_err(), "past i64");
    }

    #[test]
    fn a_process_goes_past_the_ids_of_the_one_before_it_whatever_the_clock_says() {
        let now = "2026-11-23T10:00:00Z".parse().expect("time");
        let before = IdMaker::new(900).event(now);
        let after = IdMaker::new(3);
        after.skip_past(before.0);
        for now in [now, Timestamp::UNIX_EPOCH] {
            assert!(after.event(now) > before);
        }
    }

    #[test]
    fn shop_names_are_bounded() {
        assert!("acme-2_x".parse::<ShopId>().is_ok());
        for bad in ["", "Acme", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<ShopId>().is_err(), "{bad}");
        }
    }
}
