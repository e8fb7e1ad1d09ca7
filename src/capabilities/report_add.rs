//! `report.add`: a line for a report that is read later, such as the day's. The lines are in the shop's memory.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use crate::domain::{Capability, Example, Facts, Kind, MemoryOp, Shape, Spec, Verdict};

/// The most lines that wait in a report.
pub(super) const MOST: usize = 500;

pub(super) struct ReportAdd(Spec);

#[derive(Deserialize)]
struct Input {
    text: String,
    #[serde(default = "daily")]
    report: String,
}

fn daily() -> String {
    "daily".to_owned()
}

/// Where a report's lines are remembered.
pub(super) fn key(report: &str) -> String {
    format!("report/{report}")
}

/// The schema of a report's name.
pub(super) fn report() -> Json {
    let mut name = Shape::text(64, "Which report. Default: `daily`.");
    name["pattern"] = json!("^[a-z0-9][a-z0-9_-]*$");
    name
}

impl ReportAdd {
    pub(super) fn new() -> Self {
        let mut text = Shape::text(500, "The line.");
        text["minLength"] = json!(1);
        Self(Spec {
            doc: "Adds a line to a report, which a rule with a schedule takes with `report.take` and sends. A report holds \
                  500 lines at the most.",
            input: Shape::object(&["text"], &[("text", text), ("report", report())]),
            output: Shape::object(
                &["lines"],
                &[("lines", Shape::whole(1, MOST as i64, "How many lines wait in it now."))],
            ),
            example: Example {
                input: json!({ "text": "#1042 was held: two countries" }),
                answer: json!({ "lines": 3 }),
            },
            ..Spec::of("report.add", Kind::Memory)
        })
    }
}

#[async_trait]
impl Capability for ReportAdd {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, now: Timestamp, input: &Json) -> Verdict {
        read::<Input>(input).map_or_else(
            |verdict| verdict,
            |Input { text, report }| {
                let line = json!({ "at": format!("{now:.0}"), "text": text });
                Verdict::Memory(MemoryOp::Push { key: key(&report), value: line, most: MOST })
            },
        )
    }
}
