//! `log`: a line in the run's own journal, for whoever reads it later.
//!
//! It goes nowhere else: what rules write may hold personal data, and the process's log must not.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::domain::{Capability, Example, Facts, Kind, Shape, Spec, Verdict};

pub(super) struct Log(Spec);

impl Log {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Writes a line into the run's journal.",
            input: Shape::object(&["message"], &[("message", Shape::text(2000, "What to write down."))]),
            output: Shape::object(&[], &[]),
            example: Example { input: json!({ "message": "a big order" }), answer: json!({}) },
            deadline: Duration::from_secs(1),
            ..Spec::of("log", Kind::Instant)
        })
    }
}

#[async_trait]
impl Capability for Log {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, _now: Timestamp, _input: &Json) -> Verdict {
        // The call is the line: its input is on record.
        Verdict::Done(json!({}))
    }
}
