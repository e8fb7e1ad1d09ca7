//! `approval.request`: asks a person before the run goes on. A run that waits for one is a row, not memory.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::read;
use super::wait::{LONGEST, end_of};
use crate::domain::{Answer, Awaits, Capability, Decided, Example, Facts, Failure, Kind, Says, Shape, Spec, Verdict};

pub(super) struct ApprovalRequest(Spec);

#[derive(Deserialize)]
struct Input {
    show: String,
    timeout: String,
    #[serde(default)]
    on_timeout: OnTimeout,
    #[serde(default)]
    assume: Assume,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnTimeout {
    Approve,
    #[default]
    Reject,
    Fail,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Assume {
    #[default]
    Approved,
    Rejected,
}

impl ApprovalRequest {
    pub(super) fn new() -> Self {
        let mut show = Shape::text(20_000, "What they are shown: what would be done, or the text that would be sent.");
        show["minLength"] = json!(1);
        let mut to =
            Shape::text(100, "Who is asked, in your own words, such as `support`. Whoever has a token may decide.");
        to["minLength"] = json!(1);
        let text_or_null = |description: &str| json!({ "type": ["string", "null"], "description": description });
        let mut output = Shape::object(
            &["decision", "text"],
            &[
                ("decision", Shape::one_of(&["approved"], "A rejection is no answer but the error `declined`.")),
                ("text", Shape::text(20_000, "What was shown, or what they wrote in its place.")),
                ("edited", Shape::flag("Whether they wrote something else.")),
                ("by", text_or_null("Who approved; nothing where nobody was asked, or nobody came in time.")),
                ("at", text_or_null("When they did.")),
            ],
        );
        output["mocks"] = json!(["approved", "rejected", "timed_out"]);
        Self(Spec {
            doc: "Asks a person, and goes on once they have approved. Where they say no the run ends as declined, \
                  unless the rule handles it.",
            input: Shape::object(
                &["to", "show", "timeout"],
                &[
                    ("to", to),
                    ("show", show),
                    (
                        "why",
                        Shape::text(2_000, "What they should know about it. It is shown, and is not part of the text."),
                    ),
                    ("timeout", Shape::duration_up_to(LONGEST, "How long they have, such as `24h`; a year at most.")),
                    (
                        "on_timeout",
                        Shape::one_of(
                            &["approve", "reject", "fail"],
                            "What it comes to when nobody has decided in time. Default: `reject`.",
                        ),
                    ),
                    (
                        "assume",
                        Shape::one_of(
                            &["approved", "rejected"],
                            "What is taken for the answer where nobody is asked: in tests, in backtests and in the \
                             shadow. Default: `approved`.",
                        ),
                    ),
                ],
            ),
            output,
            example: Example {
                input: json!({
                    "to": "support", "show": "Refund 35.00 EUR to Ana?", "timeout": "24h", "on_timeout": "reject",
                }),
                answer: json!({
                    "decision": "approved", "text": "Refund 35.00 EUR to Ana?", "edited": false, "by": "ana",
                    "at": "2026-11-23T10:00:00Z",
                }),
            },
            deadline: Duration::from_secs(1),
            ..Spec::of("approval.request", Kind::Control)
        })
    }

    /// Approved by nobody: in time, or because nobody was asked.
    fn taken_for(approved: Assume, shown: &str, why_not: &str) -> Answer {
        match approved {
            Assume::Approved => Answer::Done(json!({
                "decision": "approved", "text": shown, "edited": false, "by": null, "at": null,
            })),
            Assume::Rejected => declined(why_not.to_owned(), json!({})),
        }
    }
}

fn declined(message: String, detail: Json) -> Answer {
    Answer::Failed(Failure { code: "declined".into(), message, detail })
}

/// The input as it was written; it has been checked against the schema.
fn understood(input: &Json) -> Result<Input, Answer> {
    Input::deserialize(input).map_err(|error| Answer::Failed(Failure::new("invalid_input", error.to_string())))
}

#[async_trait]
impl Capability for ApprovalRequest {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, now: Timestamp, input: &Json) -> Verdict {
        let ends = read::<Input>(input).and_then(|input| end_of(now, "timeout", &input.timeout));
        ends.map_or_else(|verdict| verdict, |end| Verdict::Await(Awaits::Person, end))
    }

    fn timed_out(&self, input: &Json) -> Answer {
        let input = match understood(input) {
            Ok(input) => input,
            Err(answer) => return answer,
        };
        let nobody = format!("nobody decided within {}", input.timeout);
        match input.on_timeout {
            OnTimeout::Approve => Self::taken_for(Assume::Approved, &input.show, &nobody),
            OnTimeout::Reject => Self::taken_for(Assume::Rejected, &input.show, &nobody),
            OnTimeout::Fail => Answer::Failed(Failure::new("approval_timed_out", nobody)),
        }
    }

    fn decided(&self, input: &Json, decided: &Decided) -> Answer {
        let shown = input["show"].as_str().unwrap_or_default();
        let Decided { by, at, says } = decided;
        match says {
            Says::Accept { text } => {
                let text = text.as_deref().unwrap_or(shown);
                Answer::Done(json!({
                    "decision": "approved", "text": text, "edited": text != shown, "by": by, "at": at,
                }))
            }
            Says::Reject { because } => {
                let why = because.as_deref().map_or_else(String::new, |why| format!(": {why}"));
                declined(format!("{by} said no{why}"), json!({ "by": by, "at": at, "because": because }))
            }
            // Only what is unknown may have happened.
            Says::Happened { .. } => Answer::Failed(Failure::new("internal", "an approval cannot have happened")),
        }
    }

    /// `approved`, `rejected`, `timed_out`, or parts of the answer, such as `{ text: … }` for an edit.
    fn mocked(&self, input: &Json, mock: &Json) -> Option<Answer> {
        let shown = input["show"].as_str().unwrap_or_default();
        let taken_for = |assume| Some(Self::taken_for(assume, shown, "the test's mock says no"));
        match mock {
            Json::String(word) if word == "approved" => taken_for(Assume::Approved),
            Json::String(word) if word == "rejected" => taken_for(Assume::Rejected),
            Json::String(word) if word == "timed_out" => Some(self.timed_out(input)),
            Json::Object(given) if !given.contains_key("error") => {
                let text = given.get("text").and_then(Json::as_str).unwrap_or(shown);
                let mut answer: Map<String, Json> = Map::new();
                answer.insert("decision".into(), "approved".into());
                answer.insert("text".into(), text.into());
                answer.insert("edited".into(), (text != shown).into());
                answer.insert("by".into(), "the test".into());
                answer.insert("at".into(), Json::Null);
                answer.extend(given.clone());
                Some(Answer::Done(answer.into()))
            }
            _ => None,
        }
    }

    fn stand_in(&self, input: &Json) -> Answer {
        understood(input).map_or_else(
            |answer| answer,
            |input| {
                Self::taken_for(input.assume, &input.show, "nobody is asked here, and the rule says `assume: rejected`")
            },
        )
    }
}
