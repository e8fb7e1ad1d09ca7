//! `wait`: goes on later. A waiting run is a row, not memory.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use crate::domain::{Capability, Example, Facts, Kind, Shape, Spec, Verdict, parse_duration};

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
            doc: "Goes on later. Runs of the same lane need not wait for it.",
            input: Shape::object(
                &["for"],
                &[("for", Shape::duration("How long, such as `10m`, `24h`, `7d`; a year at most."))],
            ),
            output: Shape::object(&[], &[]),
            example: Example { input: json!({ "for": "10m" }), answer: json!({}) },
            deadline: Duration::from_secs(1),
            ..Spec::of("wait", Kind::Control)
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
            Ok(input) => parse_duration(&input.r#for).ok().filter(|length| *length <= LONGEST),
            Err(verdict) => return verdict,
        };
        match length.and_then(|length| now.checked_add(length).ok()) {
            Some(moment) => Verdict::Until(moment),
            None => Verdict::refused("invalid_input", "`for` must be a length of time such as `10m`, a year at most"),
        }
    }
}
