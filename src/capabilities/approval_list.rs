//! `approval.list`: what waits for a person in this shop. The engine knows it; nothing is asked outside.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use crate::domain::{Attempt, Capability, Example, Kind, Open, Shape, Spec, Verdict, Waiting};

/// The most that are told one by one.
const MOST: usize = 50;

pub(super) struct ApprovalList(Spec);

#[derive(Deserialize)]
struct Input {
    most: Option<usize>,
}

impl ApprovalList {
    pub(super) fn new() -> Self {
        let whole = |description: &str| json!({ "type": "integer", "minimum": 0, "description": description });
        let time = |description: &str| json!({ "type": ["string", "null"], "description": description });
        let item = Shape::object(
            &["what", "id", "rule", "subject", "since", "until", "text"],
            &[
                (
                    "what",
                    Shape::one_of(
                        &["approval", "unknown", "failed"],
                        "An approval, a call of which nobody can tell whether it happened, or a run that failed.",
                    ),
                ),
                ("id", Shape::text(200, "As the command line names it: run_…/ok; run_… where the run failed.")),
                ("rule", Shape::text(64, "The rule.")),
                ("subject", Shape::text(300, "What the run's event is about: order/1042.")),
                ("since", time("Since when it waits.")),
                ("until", time("Until when an approval may be decided; nothing for others.")),
                ("text", Shape::text(300, "What is asked, or what went wrong: its first 200 characters in one line.")),
            ],
        );
        Self(Spec {
            doc: "Lists what waits for a person in this shop: approvals, calls of which nobody can tell whether they \
                  happened, and runs that failed.",
            input: Shape::object(
                &[],
                &[(
                    "most",
                    Shape::whole(1, MOST as i64, "How many are told one by one, the oldest first. Default: 50."),
                )],
            ),
            output: Shape::object(
                &["total", "approvals", "unknown", "failed", "items"],
                &[
                    ("total", whole("How many there are in all.")),
                    ("approvals", whole("Approvals that nobody has decided.")),
                    ("unknown", whole("Calls of which nobody can tell whether they happened.")),
                    ("failed", whole("Runs that failed and that nobody has retried or dropped.")),
                    ("items", Shape::list(item, MOST, "Those that have waited longest, the oldest first.")),
                ],
            ),
            example: Example {
                input: json!({}),
                answer: json!({
                    "total": 2, "approvals": 1, "unknown": 0, "failed": 1,
                    "items": [
                        {
                            "what": "approval", "id": "run_0c3k5m7q9s1t3/ok", "rule": "large-return-approval",
                            "subject": "return/945671043", "since": "2026-11-23T10:00:00Z",
                            "until": "2026-11-24T10:00:00Z", "text": "Refund 35.00 EUR to Ana?",
                        },
                        {
                            "what": "failed", "id": "run_0c3k5m7q9s1t4", "rule": "gift-note",
                            "subject": "order/820982911946154508", "since": "2026-11-23T11:00:00Z", "until": null,
                            "text": "given up after 8 attempts: the shop did not answer (retries_used_up)",
                        },
                    ],
                }),
            },
            deadline: Duration::from_secs(15),
            ..Spec::of("approval.list", Kind::Read)
        })
    }

    async fn list(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let most = read::<Input>(input)?.most.unwrap_or(MOST).min(MOST);
        let Some(on_record) = &attempt.on_record else {
            return Err(Verdict::refused("not_here", "what waits for a person is not known here"));
        };
        let waiting = on_record.waiting(most).await.map_err(|why| Verdict::RetryAfter(None, why))?;
        Ok(Verdict::Done(told(&waiting)))
    }
}

fn told(waiting: &Waiting) -> Json {
    let Waiting { approvals, unknown, failed, oldest } = waiting;
    let item = |open: &Open| {
        let run = open.run.to_string();
        json!({
            "what": open.what.as_str(),
            "id": open.path.as_ref().map_or_else(|| run.clone(), |path| format!("{run}/{path}")),
            "rule": open.rule,
            "subject": open.subject,
            "since": open.since,
            "until": open.until,
            "text": open.text,
        })
    };
    json!({
        "total": approvals + unknown + failed,
        "approvals": approvals,
        "unknown": unknown,
        "failed": failed,
        "items": oldest.iter().map(item).collect::<Vec<_>>(),
    })
}

#[async_trait]
impl Capability for ApprovalList {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::list(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
