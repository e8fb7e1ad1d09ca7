//! `wait`: goes on later. A waiting run is a row, not memory.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use crate::domain::{Capability, Example, Facts, Kind, Repeat, Shape, Spec, Verdict};

/// The longest wait: a year and a day.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) struct Wait(Spec);

#[derive(Deserialize)]
struct Input {
    r#for: String,
}

impl Wait {
    pub(super) fn new() -> Self {
        Self(Spec {
            name: "wait",
            doc: "Goes on later. Runs of the same lane need not wait for it.",
            kind: Kind::Control,
            repeat: Repeat::Key,
            input: Shape::object(
                &["for"],
                &[("for", Shape::duration("How long, such as `10m`, `24h`, `7d`; a year at most."))],
            ),
            output: Shape::object(&[], &[]),
            example: Example { input: json!({ "for": "10m" }), answer: json!({}) },
            deadline: Duration::from_secs(1),
        })
    }
}

#[async_trait]
impl Capability for Wait {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, now: Timestamp, input: &Json) -> Verdict {
        let length = match read::<Input>(input) {
            Ok(input) => length(&input.r#for).filter(|length| *length <= LONGEST),
            Err(verdict) => return verdict,
        };
        match length.and_then(|length| now.checked_add(length).ok()) {
            Some(moment) => Verdict::Until(moment),
            None => Verdict::refused("invalid_input", "`for` must be a length of time such as `10m`, a year at most"),
        }
    }
}

/// `10m`, `24h`, `7d`.
fn length(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        "w" => 7 * 24 * 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_or_refused() {
        for (text, seconds) in [("10m", 600), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600), ("0s", 0)] {
            assert_eq!(length(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(length("250ms"), Some(Duration::from_millis(250)));
        for text in ["", "10", "m", "-1m", "1.5h", "10 m", "1y", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(length(text), None, "{text}");
        }
    }
}
