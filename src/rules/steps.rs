//! Runs a rule's steps, one after another, over the answers that there are.

use serde_json::{Value as Json, json};

use super::advance::{Outcome, Progress};
use super::eval::{Evaluator, Trouble};
use super::rule::{OnError, OnViolation, Step, With};
use crate::domain::{Answer, AskOptions, Asked, Door, Facts, Failure};

/// Takes the steps as far as their answers reach.
pub(crate) fn run(steps: &[Step], facts: &Facts, door: &mut dyn Door) -> Progress {
    let evaluator = Evaluator::new(facts);
    for step in steps {
        match one(step, &evaluator, door) {
            Ok(Some(answer)) => evaluator.answered(&step.id, &answer),
            Ok(None) => {}
            Err(progress) => return progress,
        }
    }
    Progress::Ended(Outcome::Done)
}

/// One step's answer; `None` where its `if` does not hold; `Err` where the run goes no further.
fn one(step: &Step, evaluator: &Evaluator<'_>, door: &mut dyn Door) -> Result<Option<Json>, Progress> {
    if let Some(when) = &step.when {
        match evaluator.holds(when) {
            Ok(true) => {}
            Ok(false) | Err(Trouble::NoAnswer(_)) => return Ok(None),
            Err(trouble) => return Err(Progress::Ended(Outcome::of(trouble.into_failure(when)))),
        }
    }
    let asked = input(&step.with, evaluator).map(|input| {
        let options = AskOptions { retry: step.retry, label: Some(step.id.clone()) };
        door.ask(&step.id, &step.uses, input, options)
    });
    let failure = match asked {
        Ok(Asked::Answered(Answer::Done(answer))) => return Ok(Some(answer)),
        Ok(Asked::Answered(Answer::Failed(failure))) => failure,
        Ok(Asked::NotYet) => return Err(Progress::Waiting),
        Err(failure) => failure,
    };
    handled(step, failure, evaluator).map(Some).map_err(Progress::Ended)
}

/// The answer that stands in for a failed one, else how the run ends.
fn handled(step: &Step, failure: Failure, evaluator: &Evaluator<'_>) -> Result<Json, Outcome> {
    // A text that nobody could write and one that may not go out are alike to whoever waits for it.
    if matches!(failure.code.as_str(), "policy_violation" | "no_model") {
        match &step.on_violation {
            Some(OnViolation::Fallback(text)) => {
                let text = text.render(evaluator).map_err(Outcome::of)?;
                return Ok(json!({ "text": text, "fallback": true, "violation": failure.message }));
            }
            Some(OnViolation::Fail) => return Err(Outcome::of(failure)),
            None => {}
        }
    }
    match &step.on_error {
        Some(OnError::Continue) => Ok(json!({ "error": { "code": failure.code, "message": failure.message } })),
        Some(OnError::Stop) => Err(Outcome::Done),
        Some(OnError::Use(with)) => input(with, evaluator).map_err(Outcome::of),
        None => Err(Outcome::of(failure)),
    }
}

/// A `with` with its templates filled in.
fn input(with: &With, evaluator: &Evaluator<'_>) -> Result<Json, Failure> {
    match with {
        With::Plain(json) => Ok(json.clone()),
        With::Template(template) => {
            let value = template.render(evaluator)?;
            evaluator.within_bounds().map(|()| value)
        }
        With::List(items) => items.iter().map(|item| input(item, evaluator)).collect(),
        With::Map(map) => {
            let pairs = map.iter().map(|(key, value)| Ok((key.clone(), input(value, evaluator)?)));
            pairs.collect::<Result<_, Failure>>().map(Json::Object)
        }
    }
}
