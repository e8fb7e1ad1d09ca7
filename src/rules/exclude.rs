//! Whether two rules can run on the same event at all: `returned.total <= inputs.limit` and `returned.total >
//! inputs.limit` hold together for no return, where both limits are the same.
//!
//! Only plain comparisons of a field with something that is the same for every event are looked at; where nothing is
//! known of them, two rules may run together.

use super::rule::{Condition, Rule};
use super::simple::{Operand, Operator, Simple};
use crate::domain::Value;

/// A condition that must hold: a field, and what it is compared with.
pub(super) struct Bound<'a> {
    field: &'a [String],
    operator: Operator,
    value: Value,
}

/// What must hold of fields for a rule to run.
pub(super) fn bounds(rule: &Rule) -> Vec<Bound<'_>> {
    let mut bounds = Vec::new();
    gather(&rule.conditions, rule, &mut bounds);
    bounds
}

fn gather<'a>(conditions: &'a [Condition], rule: &'a Rule, bounds: &mut Vec<Bound<'a>>) {
    for condition in conditions {
        match condition {
            Condition::All(inner) => gather(inner, rule, bounds),
            Condition::Clause { expr, .. } => {
                // Two rules may call different inputs by one name.
                if let Some(Simple::Compare(Operand::Path(field), operator, other)) = &expr.simple
                    && field.first().is_some_and(|root| root != "inputs")
                    && let Some(value) = other.constant(&rule.inputs)
                {
                    bounds.push(Bound { field, operator: *operator, value });
                }
            }
            Condition::Any(_) | Condition::Not(_) => {}
        }
    }
}

/// Whether no event can fulfil both.
pub(super) fn exclude(some: &[Bound<'_>], others: &[Bound<'_>]) -> bool {
    let contradict = |one: &Bound<'_>, other: &Bound<'_>| one.field == other.field && contradict(one, other);
    some.iter().any(|one| others.iter().any(|other| contradict(one, other)))
}

fn contradict(one: &Bound<'_>, other: &Bound<'_>) -> bool {
    let holds = |operator: Operator| operator.compare(&one.value, &other.value) == Some(true);
    match (one.operator, other.operator) {
        (Operator::Equal, Operator::Equal) => holds(Operator::Unequal),
        (Operator::Equal, Operator::Unequal) | (Operator::Unequal, Operator::Equal) => holds(Operator::Equal),
        _ => is_below(one, other) || is_below(other, one),
    }
}

/// Whether what is at the most `one` is less than what is at the least `other`.
fn is_below(one: &Bound<'_>, other: &Bound<'_>) -> bool {
    let most = match one.operator {
        Operator::LessOrEqual | Operator::Equal => true,
        Operator::Less => false,
        _ => return false,
    };
    let least = match other.operator {
        Operator::GreaterOrEqual | Operator::Equal => true,
        Operator::Greater => false,
        _ => return false,
    };
    let holds = |operator: Operator| operator.compare(&one.value, &other.value) == Some(true);
    holds(Operator::Less) || (holds(Operator::Equal) && !(most && least))
}
