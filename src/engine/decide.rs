//! What people decide: approvals, and calls of which nobody else can tell whether they happened. Exactly one of two
//! people gets a call decided; the other is told who was quicker.

use serde_json::{Value as Json, json};

use super::EngineError;
use super::command::Touched;
use super::desk::{Desk, Turn};
use crate::domain::{Answer, Awaits, Call, CallState, Decided, Failure, RunId, Says, validate};
use crate::store::StoreError;

/// A person's decision about a call that waits for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The run.
    pub run: RunId,
    /// The call's path.
    pub path: String,
    /// Who decides.
    pub by: String,
    /// What they say.
    pub says: Says,
}

/// The longest text that may be put in place of what was shown, and the longest reason; in characters.
const LONGEST_TEXT: usize = 20_000;
const LONGEST_REASON: usize = 2_000;

impl Desk {
    /// Carries a decision out as part of this turn.
    pub(super) async fn decide(
        &mut self,
        turn: &mut Turn,
        decision: &Decision,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        if let Err(problem) = bounded(&decision.says) {
            return Ok(Err(EngineError::Invalid(problem)));
        }
        let (id, path) = (decision.run, decision.path.as_str());
        self.load(turn, vec![id]).await?;
        let Some(live) = self.runs.get(&id) else {
            return Ok(Err(EngineError::NotFound(format!("there is no run {id} in this shop"))));
        };
        let Some(call) = live.run.call(path) else {
            return Ok(Err(EngineError::NotFound(format!("run {id} has no call `{path}`"))));
        };
        let done = match (call.state, &call.awaits) {
            (CallState::Unknown, _) => self.decide_unknown(turn, decision),
            (CallState::Pending, Some(Awaits::Person)) => self.decide_approval(turn, decision),
            _ => Err(EngineError::Conflict(format!("{id}/{path} {}", how_it_stands(call)))),
        };
        Ok(done.map(|what| Touched(vec![(id, what.to_owned())])))
    }

    fn decide_approval(&mut self, turn: &mut Turn, decision: &Decision) -> Result<&'static str, EngineError> {
        let Decision { run: id, path, by, says } = decision;
        let (line, what) = match says {
            Says::Accept { text: None } => ("accepted it".to_owned(), "approved"),
            Says::Accept { .. } => ("accepted it with another text".to_owned(), "approved with your text"),
            Says::Reject { because: None } => ("rejected it".to_owned(), "rejected"),
            Says::Reject { because: Some(why) } => (format!("rejected it: {why}"), "rejected"),
            Says::Happened { .. } => {
                let problem = "this is an approval, which has not happened yet: accept it or reject it";
                return Err(EngineError::Invalid(problem.into()));
            }
        };
        let decided = Decided { by: by.clone(), at: turn.now, says: says.clone() };
        let Some(call) = self.runs.get_mut(id).and_then(|live| live.run.call_mut(path)) else { return Ok(what) };
        call.note_by(turn.now, by, line);
        let answer = match self.parts.registry.get(&call.capability) {
            Some(capability) => capability.decided(&call.input, &decided),
            None => Answer::Failed(Failure::new("unknown_capability", "its capability is gone")),
        };
        self.answer(turn, *id, path, answer);
        Ok(what)
    }

    fn decide_unknown(&mut self, turn: &mut Turn, decision: &Decision) -> Result<&'static str, EngineError> {
        let Decision { run: id, path, by, says } = decision;
        let Some(call) = self.runs.get_mut(id).and_then(|live| live.run.call_mut(path)) else { return Ok("") };
        match says {
            Says::Accept { text: Some(_) } => {
                let problem = "this is no approval but a call of which nobody can tell whether it happened: it has no \
                               text to change";
                Err(EngineError::Invalid(problem.into()))
            }
            Says::Accept { text: None } => {
                call.note_by(turn.now, by, "said that it did not happen, and had it done");
                let why = format!("{by} said that it did not happen");
                self.postpone(turn, *id, path, CallState::Pending, turn.now, why);
                turn.ready.push_back(*id);
                Ok("to be done")
            }
            Says::Happened { answer } => {
                let spec = self.parts.registry.get(&call.capability).map(|capability| capability.spec());
                let answer = match answer {
                    Json::Null => json!({}),
                    given => given.clone(),
                };
                if let Some(spec) = spec.filter(|_| answer != json!({})) {
                    validate(&spec.output, &answer).map_err(|mistakes| {
                        EngineError::Invalid(format!("that is no answer of `{}`: {mistakes}", spec.name))
                    })?;
                }
                call.note_by(turn.now, by, "said that it happened");
                self.answer(turn, *id, path, Answer::Done(answer));
                Ok("taken as done")
            }
            Says::Reject { because } => {
                let why = because.as_deref().map_or_else(String::new, |why| format!(": {why}"));
                call.note_by(turn.now, by, format!("gave it up{why}"));
                let failure = Failure {
                    code: "unknown_given_up".into(),
                    message: format!("{by} gave it up{why}"),
                    detail: json!({ "by": by, "at": turn.now, "because": because }),
                };
                self.answer(turn, *id, path, Answer::Failed(failure));
                Ok("given up")
            }
        }
    }
}

fn bounded(says: &Says) -> Result<(), String> {
    let within = |what: &str, text: &str, most: usize| match text.chars().count() {
        0 => Err(format!("the {what} is empty: leave it out")),
        many if many > most => Err(format!("the {what} has {many} characters, and {most} are the most")),
        _ => Ok(()),
    };
    match says {
        Says::Accept { text: Some(text) } => within("text", text.trim(), LONGEST_TEXT),
        Says::Reject { because: Some(because) } => within("reason", because.trim(), LONGEST_REASON),
        _ => Ok(()),
    }
}

/// Why nobody can decide a call, in words that go on from its name.
fn how_it_stands(call: &Call) -> String {
    if let Some(line) = call.last_by() {
        let who = line.by.as_deref().unwrap_or_default();
        return format!("is decided: {who} {} at {:.0}", line.what, line.at);
    }
    match (&call.answer, &call.awaits) {
        (Some(answer), _) => {
            let why = match answer {
                Answer::Failed(failure) => failure.message.as_str(),
                Answer::Done(_) => "it was answered",
            };
            let at = call.answered.map_or_else(String::new, |at| format!(" since {at:.0}"));
            format!("waits for nobody any more{at}: {why}")
        }
        (None, Some(Awaits::Event { kind, about })) => format!("waits for `{kind}` of {about}, and for no person"),
        (None, Some(Awaits::Calls)) => "is worked on by a plugin, whose own calls may wait for a person".to_owned(),
        (None, Some(Awaits::Resume)) => "is held until its rule goes on: `storehand rules resume`".to_owned(),
        (None, _) => "waits for no person: it is under way".to_owned(),
    }
}
