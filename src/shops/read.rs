//! Reading platforms' JSON: ids and money survive exactly as they were written, and an empty text, a `null` and
//! a missing field are all nothing.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;

use crate::domain::{Refused, Text};

/// Reads a whole body.
///
/// serde_json refuses more than 128 levels; the size was bounded by whoever took the body in.
///
/// # Errors
/// [`Refused::Malformed`] with the field and the position.
pub(crate) fn body<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Refused> {
    serde_json::from_str(text).map_err(|plain| {
        // The path is worth its time only once something is wrong.
        let mut json = serde_json::Deserializer::from_str(text);
        Refused::Malformed(match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) if error.inner().is_data() && error.path().iter().len() > 0 => {
                format!("the body's `{}` cannot be read: {}", error.path(), error.inner())
            }
            Err(error) if error.inner().is_data() => format!("the body cannot be read: {}", error.inner()),
            // Not JSON at all, or what follows the value is wrong.
            _ => format!("the body is not JSON: {plain}"),
        })
    })
}

/// A platform's id: a JSON number or text, kept digit by digit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Id(pub(crate) Option<Text>);

/// A text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Words(pub(crate) Option<Text>);

/// An amount: a JSON number or text, read as a decimal and never as a float.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amount(pub(crate) Option<Decimal>);

/// A moment with its offset from UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moment(pub(crate) Option<Timestamp>);

/// `"vip, wholesale"` or `["vip", "wholesale"]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tags(pub(crate) Vec<Text>);

/// A number or a text, as it was written. `None` for `null`.
fn scalar<'de, E: Error>(raw: &'de RawValue, wanted: &str) -> Result<Option<Cow<'de, str>>, E> {
    let raw = raw.get();
    match raw.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            // What stands between the quotes is the text itself, unless something in it is escaped.
            let inner = raw.get(1..raw.len() - 1).unwrap_or_default();
            let text: Cow<'de, str> = if inner.as_bytes().contains(&b'\\') {
                Cow::Owned(serde_json::from_str::<String>(raw).map_err(Error::custom)?)
            } else {
                Cow::Borrowed(inner)
            };
            Ok((!text.trim().is_empty()).then_some(text))
        }
        Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(raw))),
        _ => Err(Error::custom(format_args!("{} is not {wanted}", shown(raw)))),
    }
}

/// The beginning of what was read, for an error.
fn shown(raw: &str) -> String {
    let mut text: String = raw.chars().take(40).collect();
    if text.len() < raw.len() {
        text.push('…');
    }
    format!("`{text}`")
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let Some(text) = scalar(raw, "an id")? else { return Ok(Self(None)) };
        let text = text.trim();
        // A number with a point or an exponent has lost its digits somewhere. An id is shorter than 128 bytes.
        let rounded = !raw.get().starts_with('"') && text.contains(['.', 'e', 'E']);
        if rounded || text.len() > 128 || text.chars().any(char::is_control) {
            return Err(Error::custom(format_args!("{} is not an id", shown(text))));
        }
        Ok(Self(Some(text.into())))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(scalar(<&'de RawValue>::deserialize(deserializer)?, "a text")?.map(Text::from)))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = scalar(<&'de RawValue>::deserialize(deserializer)?, "an amount")? else {
            return Ok(Self(None));
        };
        let text = text.trim();
        let read =
            if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
        match read {
            Ok(amount) => Ok(Self(Some(amount))),
            Err(error) => Err(Error::custom(format_args!("{} is not an amount: {error}", shown(text)))),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = scalar(<&'de RawValue>::deserialize(deserializer)?, "a time")? else { return Ok(Self(None)) };
        match text.trim().parse() {
            Ok(time) => Ok(Self(Some(time))),
            Err(_) => Err(Error::custom(format_args!(
                "{} is not a time; write it like 2026-11-23T10:00:00+01:00",
                shown(&text)
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with('[') {
            let tags: Vec<Words> = serde_json::from_str(raw).map_err(Error::custom)?;
            return Ok(Self(tags.into_iter().filter_map(|tag| tag.0).collect()));
        }
        let Words(text) = serde_json::from_str(raw).map_err(Error::custom)?;
        let tags = text.iter().flat_map(|text| text.split(',')).map(str::trim);
        Ok(Self(tags.filter(|tag| !tag.is_empty()).map(Arc::from).collect()))
    }
}

/// For fields where `null` says something and absence says nothing: `None` only where the field is absent.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct Sample {
        id: Id,
        text: Words,
        amount: Amount,
        at: Moment,
        tags: Tags,
    }

    fn sample(text: &str) -> Result<Sample, Refused> {
        body(text)
    }

    #[test]
    fn exact_whatever_the_notation() {
        let read = sample(
            r#"{"id":820982911946154508,"amount":0.10000000000000000555,"at":"2021-12-31T19:00:00-05:00","tags":"a, b ,,c"}"#,
        )
        .expect("reads");
        assert_eq!(read.id.0.as_deref(), Some("820982911946154508"));
        assert_eq!(read.amount.0, Some(Decimal::from_str_exact("0.10000000000000000555").expect("decimal")));
        assert_eq!(read.at.0, Some("2022-01-01T00:00:00Z".parse().expect("time")));
        assert_eq!(read.tags.0, ["a", "b", "c"].map(Text::from));
        let read = sample(r#"{"id":"99999999999999999999999","amount":"1e3","text":"\u4f60\n","tags":["x, y"," "]}"#)
            .expect("reads");
        assert_eq!(read.id.0.as_deref(), Some("99999999999999999999999"));
        assert_eq!(read.amount.0, Some(Decimal::from(1000)));
        assert_eq!(read.text.0.as_deref(), Some("你\n"));
        assert_eq!(read.tags.0, ["x, y"].map(Text::from));
    }

    #[test]
    fn nothing_is_nothing_however_it_is_written() {
        for text in [
            "{}",
            r#"{"id":null,"text":null,"amount":null,"at":null,"tags":null}"#,
            r#"{"id":"","text":" ","amount":"","at":"","tags":""}"#,
        ] {
            let read = sample(text).expect("reads");
            assert_eq!(
                (read.id.0, read.text.0, read.amount.0, read.at.0, read.tags.0),
                (None, None, None, None, vec![])
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, place) in [
            (r#"{"id":8.2e+17}"#, "`id`"),
            (r#"{"id":{"a":1}}"#, "`id`"),
            (r#"{"amount":"12 EUR"}"#, "`amount`"),
            (r#"{"amount":true}"#, "`amount`"),
            (r#"{"at":"yesterday"}"#, "`at`"),
            (r#"{"tags":[{}]}"#, "`tags`"),
            (r#"{"id":1"#, "line 1 column 7"),
            (r#"{"id":1}}"#, "column 9"),
            ("", "line 1 column 0"),
            ("[1", "cannot be read"),
        ] {
            let said = sample(text).expect_err(text).to_string();
            assert!(said.contains(place) || place == "cannot be read", "{text}: {said}");
        }
        let deep = "[".repeat(200_000);
        assert!(matches!(body::<serde::de::IgnoredAny>(&deep), Err(Refused::Malformed(_))));
    }
}
