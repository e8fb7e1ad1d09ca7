//! Whether a rule's conditions hold for an event, and if not, why.

use serde::{Deserialize, Serialize};

use super::eval::{Evaluator, Trouble};
use super::rule::{Condition, Rule};
use super::value::show;
use crate::domain::{Facts, Failure};

/// What came of looking at a rule's conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    /// All hold.
    Holds,
    /// One does not.
    WhyNot(WhyNot),
}

/// A condition with what it saw: the first that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNot {
    /// As it was written; parts of `any`, `all` and `not` in one line.
    pub clause: String,
    /// Where it stands in the rule's file (1 is the first).
    pub line: usize,
    /// The names in it, as written, with their values as people read them; `nothing` or `order 1042 not known`.
    pub saw: Vec<(String, String)>,
    /// Why it could not be decided, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Looks whether all of a rule's conditions hold. Pure.
///
/// A condition that compares with what is not known, or between currencies, has no answer. `not` of it has none
/// either, `any` has one where another part holds, and a rule whose condition has no answer does not run.
pub fn matches(rule: &Rule, facts: &Facts) -> Match {
    first_false(rule, facts).map_or(Match::Holds, |at| Match::WhyNot(why_not(rule, facts, at)))
}

/// The first of a rule's conditions (0 is the first) that does not hold; `None`: the rule runs. Pure.
pub fn first_false(rule: &Rule, facts: &Facts) -> Option<usize> {
    let evaluator = Evaluator::new(facts);
    rule.conditions.iter().position(|condition| !matches!(truth(condition, &evaluator), Truth::Yes))
}

/// What that condition saw. Pure, so it can be asked as long as the rule's version and the facts are kept.
pub fn why_not(rule: &Rule, facts: &Facts, at: usize) -> WhyNot {
    let evaluator = Evaluator::new(facts);
    let Some(condition) = rule.conditions.get(at) else {
        let error = Some(format!("the rule has no condition {}", at + 1));
        return WhyNot { clause: String::new(), line: 1, saw: Vec::new(), error };
    };
    match truth(condition, &evaluator) {
        Truth::No(clause) => describe(clause, None, &evaluator),
        Truth::Unknown(clause, trouble) => describe(clause, Some(trouble.message()), &evaluator),
        // What it looked at was forgotten meanwhile, or another release works it out in another way.
        Truth::Yes => {
            describe(condition, Some("it did not hold then, and does now that it is looked at again"), &evaluator)
        }
    }
}

/// Every condition of a rule with what it sees.
pub fn seen(rule: &Rule, facts: &Facts) -> Vec<WhyNot> {
    let evaluator = Evaluator::new(facts);
    rule.conditions.iter().map(|condition| describe(condition, None, &evaluator)).collect()
}

/// The lane that a run belongs to: what the rule's `key` gives, else the event's subject.
///
/// # Errors
/// `empty_key` where that is nothing or empty, or what went wrong: an error of this run, not a shared lane.
pub fn lane_key(rule: &Rule, facts: &Facts) -> Result<String, Failure> {
    let empty = |what: &str| Failure::new("empty_key", format!("the rule's key `{what}` is empty for this event"));
    let Some(key) = &rule.key else {
        let subject = facts.event.subject.trim();
        return if subject.is_empty() { Err(empty("event.subject")) } else { Ok(subject.to_owned()) };
    };
    let evaluator = Evaluator::new(facts);
    let value = evaluator.value(key).map_err(|trouble| trouble.into_failure(key))?;
    let text = show(&value);
    if !text.trim().is_empty() {
        return Ok(text.trim().to_owned());
    }
    let missing = evaluator.missing(key);
    if missing.is_empty() {
        return Err(empty(key.text()));
    }
    Err(Failure::new("empty_key", format!("the rule's key `{}` is empty: {}", key.text(), missing.join(", "))))
}

/// The answer of a condition, with the part of it that decided.
enum Truth<'r> {
    Yes,
    No(&'r Condition),
    Unknown(&'r Condition, Trouble),
}

fn truth<'r>(condition: &'r Condition, evaluator: &Evaluator<'_>) -> Truth<'r> {
    match condition {
        Condition::Clause { expr, .. } => match evaluator.holds(expr) {
            Ok(true) => Truth::Yes,
            Ok(false) => Truth::No(condition),
            Err(trouble) => Truth::Unknown(condition, trouble),
        },
        Condition::All(parts) => {
            let first = parts.iter().map(|part| truth(part, evaluator)).find(|it| !matches!(it, Truth::Yes));
            first.unwrap_or(Truth::Yes)
        }
        Condition::Any(parts) => {
            let mut unknown = None;
            for part in parts {
                match truth(part, evaluator) {
                    Truth::Yes => return Truth::Yes,
                    Truth::Unknown(_, trouble) => unknown = unknown.or(Some(trouble)),
                    Truth::No(_) => {}
                }
            }
            unknown.map_or(Truth::No(condition), |trouble| Truth::Unknown(condition, trouble))
        }
        Condition::Not(part) => match truth(part, evaluator) {
            Truth::Yes => Truth::No(condition),
            Truth::No(_) => Truth::Yes,
            Truth::Unknown(_, trouble) => Truth::Unknown(condition, trouble),
        },
    }
}

fn describe(condition: &Condition, trouble: Option<&str>, evaluator: &Evaluator<'_>) -> WhyNot {
    let mut saw = Vec::new();
    let mut line = None;
    visit(condition, &mut |expr, at| {
        line.get_or_insert(at);
        for pair in evaluator.saw(expr) {
            if !saw.contains(&pair) {
                saw.push(pair);
            }
        }
    });
    WhyNot { clause: in_one_line(condition), line: line.unwrap_or(1), saw, error: trouble.map(str::to_owned) }
}

fn visit(condition: &Condition, each: &mut dyn FnMut(&super::expr::Expr, usize)) {
    match condition {
        Condition::Clause { expr, line } => each(expr, *line),
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| visit(part, each)),
        Condition::Not(part) => visit(part, each),
    }
}

fn in_one_line(condition: &Condition) -> String {
    let joined = |parts: &[Condition], word: &str| {
        let texts: Vec<String> = parts.iter().map(in_one_line).collect();
        if texts.len() == 1 { texts.concat() } else { format!("({})", texts.join(word)) }
    };
    match condition {
        Condition::Clause { expr, .. } => expr.text().trim().to_owned(),
        Condition::All(parts) => joined(parts, " and "),
        Condition::Any(parts) => joined(parts, " or "),
        Condition::Not(part) => format!("not {}", in_one_line(part)),
    }
}
