//! Runs a rule's steps, one after another, over the answers that there are.

use rhai::Dynamic;
use serde_json::{Value as Json, json};

use super::advance::{MOST_CALLS, Outcome, Progress};
use super::eval::{Evaluator, Trouble};
use super::expr::Expr;
use super::rule::{APPROVAL, APPROVAL_PART, OnError, OnViolation, Step, With};
use super::value::show;
use crate::domain::{Answer, AskOptions, Asked, Door, Facts, Failure};

/// The most items of a list that a step is made for.
pub(crate) const MOST_ITEMS: usize = 250;

/// Takes the steps as far as their answers reach.
pub(crate) fn run(steps: &[Step], facts: &Facts, door: &mut dyn Door) -> Progress {
    let mut pass = Pass { evaluator: Evaluator::new(facts), door, calls: 0 };
    for step in steps {
        let answer = match &step.for_each {
            None => pass.one(step, &step.id),
            Some(list) => pass.each(step, list).map(Some),
        };
        match answer {
            Ok(Some(answer)) => pass.evaluator.answered(&step.id, &answer),
            Ok(None) => {}
            Err(progress) => return progress,
        }
    }
    Progress::Ended(Outcome::Done)
}

/// One pass over the steps.
struct Pass<'a> {
    evaluator: Evaluator<'a>,
    door: &'a mut dyn Door,
    /// How many there were so far.
    calls: usize,
}

impl Pass<'_> {
    /// The list of the items' answers, nothing for an item that is left out; `Err` where the run goes no further.
    ///
    /// One item after another, so that writes to one subject stay in order. The list itself is not recorded: it is
    /// made of facts and answers that are, and comes out the same however often it is made.
    fn each(&mut self, step: &Step, list: &Expr) -> Result<Json, Progress> {
        let items = items(list, &self.evaluator).map_err(failed)?;
        let mut answers = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            self.evaluator.at_item(Some(item));
            let path = format!("{}/{}", step.id, index + 1);
            answers.push(self.one(step, &path)?.unwrap_or_default());
        }
        self.evaluator.at_item(None);
        Ok(Json::Array(answers))
    }

    /// The answer of a step's call; `None` where its `if` does not hold; `Err` where the run goes no further.
    fn one(&mut self, step: &Step, path: &str) -> Result<Option<Json>, Progress> {
        let evaluator = &self.evaluator;
        if let Some(when) = &step.when {
            match evaluator.holds(when) {
                Ok(true) => {}
                Ok(false) | Err(Trouble::NoAnswer(_)) => return Ok(None),
                Err(trouble) => return Err(failed(trouble.into_failure(when))),
            }
        }
        if self.calls == MOST_CALLS {
            return Err(failed(Failure::new("too_many_calls", format!("a run makes at most {MOST_CALLS} calls"))));
        }
        self.calls += 1;
        let asked = input(&step.with, evaluator).map(|input| {
            let options = AskOptions { retry: step.retry, label: Some(step.id.clone()), ..AskOptions::default() };
            self.door.ask(path, &step.uses, input, options)
        });
        let failure = match asked {
            Ok(Asked::Answered(Answer::Done(answer))) => return Ok(Some(answer)),
            Ok(Asked::Answered(Answer::Failed(failure))) => failure,
            Ok(Asked::NotYet) => return Err(Progress::Waiting),
            Err(failure) => failure,
        };
        let failure = match (&step.on_violation, held_back(&failure)) {
            (Some(OnViolation::Approval { to, timeout, .. }), Some(text)) => {
                let input = json!({
                    "to": to, "show": text, "why": failure.message, "timeout": timeout, "assume": "rejected",
                });
                match self.approved(step, path, input)? {
                    Ok(answer) => {
                        return Ok(Some(json!({
                            "text": answer["text"], "edited": answer["edited"], "approved_by": answer["by"],
                            "violation": failure.message,
                        })));
                    }
                    Err(failure) => failure,
                }
            }
            _ => failure,
        };
        handled(step, failure, &self.evaluator).map(Some).map_err(Progress::Ended)
    }

    /// What a person says to a text that was held back.
    fn approved(&mut self, step: &Step, path: &str, input: Json) -> Result<Result<Json, Failure>, Progress> {
        self.calls += 1;
        let part = |whole: &str| format!("{whole}/{APPROVAL_PART}");
        let options = AskOptions { label: Some(part(&step.id)), ..AskOptions::default() };
        match self.door.ask(&part(path), APPROVAL, input, options) {
            Asked::Answered(Answer::Done(answer)) => Ok(Ok(answer)),
            Asked::Answered(Answer::Failed(failure)) => Ok(Err(failure)),
            Asked::NotYet => Err(Progress::Waiting),
        }
    }
}

/// The text that a call's policy held back.
fn held_back(failure: &Failure) -> Option<&str> {
    let text = (failure.code == "policy_violation").then(|| failure.detail["text"].as_str())?;
    text.filter(|text| !text.trim().is_empty())
}

fn failed(failure: Failure) -> Progress {
    Progress::Ended(Outcome::of(failure))
}

/// The items of a step's `for_each`.
fn items(list: &Expr, evaluator: &Evaluator<'_>) -> Result<Vec<Dynamic>, Failure> {
    let text = list.text().trim();
    let value = evaluator.known(list)?;
    let shown = show(&value);
    let items = value.into_array().map_err(|_| {
        Failure::new("expression_error", format!("`for_each: {text}` gives `{shown}`, and a list belongs there"))
    })?;
    if items.len() > MOST_ITEMS {
        let text: String = text.chars().take(80).collect();
        let message = format!(
            "`for_each: {text}` gives {} items, and a step is made for {MOST_ITEMS} at most; narrow the list with \
             `.filter(…)`",
            items.len()
        );
        return Err(Failure::new("too_many_items", message));
    }
    Ok(items)
}

/// The answer that stands in for a failed one, else how the run ends.
fn handled(step: &Step, failure: Failure, evaluator: &Evaluator<'_>) -> Result<Json, Outcome> {
    // A text that nobody could write and one that may not go out are alike to whoever waits for it.
    if matches!(failure.code.as_str(), "policy_violation" | "no_model" | "other_model") {
        match &step.on_violation {
            Some(OnViolation::Fallback(text) | OnViolation::Approval { fallback: Some(text), .. }) => {
                let text = text.render(evaluator).map_err(Outcome::of)?;
                return Ok(json!({ "text": text, "fallback": true, "violation": failure.message }));
            }
            Some(OnViolation::Fail) => return Err(Outcome::of(failure)),
            Some(OnViolation::Approval { fallback: None, .. }) | None => {}
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
