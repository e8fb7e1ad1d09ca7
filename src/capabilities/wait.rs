//! `wait`: goes on later. A waiting run is a row, not memory.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use crate::domain::{Capability, Example, Facts, Kind, Shape, Spec, Verdict, parse_duration};

/// The longest wait, whatever is waited for: a year and a day.
pub(super) const LONGEST: &str = "366d";

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
                &[("for", Shape::duration_up_to(LONGEST, "How long, such as `10m`, `24h`, `7d`; a year at most."))],
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
        let ends = read::<Input>(input).and_then(|input| end_of(now, "for", &input.r#for));
        ends.map_or_else(|verdict| verdict, Verdict::Until)
    }
}

/// When a wait of this length ends that begins now; `name` is the input that says it.
pub(super) fn end_of(now: Timestamp, name: &str, text: &str) -> Result<Timestamp, Verdict> {
    let long_enough =
        parse_duration(text).ok().filter(|it| parse_duration(LONGEST).is_ok_and(|longest| *it <= longest));
    long_enough.and_then(|length| now.checked_add(length).ok()).ok_or_else(|| {
        let problem =
            format!("`{name}` is `{text}`; write a length of time such as `10m` or `7d`, `{LONGEST}` at most");
        Verdict::refused("invalid_input", problem)
    })
}
