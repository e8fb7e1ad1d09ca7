//! `report.take`: all lines of a report, which is empty from then on.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::report_add::{MOST, key, report};
use crate::domain::{Capability, Example, Facts, Kind, MemoryOp, Shape, Spec, Verdict};

pub(super) struct ReportTake(Spec);

impl ReportTake {
    pub(super) fn new() -> Self {
        let line = Shape::object(
            &["at", "text"],
            &[("at", Shape::text(40, "When it was added.")), ("text", Shape::text(500, "The line."))],
        );
        Self(Spec {
            doc: "Takes all lines of a report, the oldest first. From then on it is empty.",
            input: Shape::object(&[], &[("report", report())]),
            output: Shape::object(&["value"], &[("value", Shape::list(line, MOST, "The lines."))]),
            example: Example {
                input: json!({}),
                answer: json!({ "value": [{ "at": "2026-11-23T10:00:00Z", "text": "#1042 was held: two countries" }] }),
            },
            ..Spec::of("report.take", Kind::Memory)
        })
    }
}

#[async_trait]
impl Capability for ReportTake {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, _now: Timestamp, input: &Json) -> Verdict {
        let report = input.get("report").and_then(Json::as_str).unwrap_or("daily");
        Verdict::Memory(MemoryOp::Take { key: key(report) })
    }
}
