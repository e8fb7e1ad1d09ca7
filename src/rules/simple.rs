//! The shapes that most conditions have, worked out without the script language: `order.total > inputs.limit`,
//! `order.currency == "EUR"`, `"fraud" in customer.tags`, `customer.email != ()`.
//!
//! A shop may have a thousand rules that listen to the same event; what they cost is what a comparison costs. Only what
//! is plain is decided here: where a side is of another type, is not known, or anything else is odd, there is no answer
//! here and the language gives its own. A property test holds the two against each other.

use std::str::FromStr as _;

use rust_decimal::Decimal;

use super::rule::Input;
use crate::domain::{Facts, Money, Record as _, Text, Value};

/// An expression of such a shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Simple {
    /// `order.total`
    Value(Operand),
    /// `order.total >= inputs.limit`
    Compare(Operand, Operator, Operand),
    /// `"vip" in customer.tags`
    In(Operand, Operand),
}

/// A side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// `order.customer.name`
    Path(Vec<String>),
    Int(i64),
    Decimal(Decimal),
    Text(Text),
    Bool(bool),
    Money(Money),
    /// `()`
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longer ones first: `<=` begins with `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Simple {
    /// Reads an expression that has been checked; `None` where its shape is another.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (left, rest) = operand(text.trim())?;
        let rest = rest.trim_start();
        if rest.is_empty() {
            return matches!(left, Operand::Path(_)).then_some(Self::Value(left));
        }
        if let Some(list) = rest.strip_prefix("in").filter(|rest| rest.starts_with(char::is_whitespace)) {
            let (list, rest) = operand(list.trim_start())?;
            return (rest.trim().is_empty() && matches!(list, Operand::Path(_))).then_some(Self::In(left, list));
        }
        let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign))?;
        let (right, rest) = operand(rest[sign.len()..].trim_start())?;
        rest.trim().is_empty().then_some(Self::Compare(left, operator, right))
    }

    /// Whether it holds; `None`: let the language say.
    pub(crate) fn holds(&self, facts: &Facts) -> Option<bool> {
        match self {
            Self::Compare(left, operator, right) => operator.compare(&left.value(facts)?, &right.value(facts)?),
            Self::In(item, list) => match (item.value(facts)?, list.value(facts)?) {
                (Value::Text(item), Value::List(items)) => {
                    let texts = items.iter().map(|it| if let Value::Text(it) = it { Some(it) } else { None });
                    texts.into_iter().collect::<Option<Vec<_>>>().map(|texts| texts.iter().any(|it| **it == item))
                }
                (_, Value::Nothing) => Some(false),
                _ => None,
            },
            Self::Value(path) => match path.value(facts)? {
                Value::Bool(it) => Some(it),
                _ => None,
            },
        }
    }

    /// Its value, where it is nothing but a path; `None`: let the language say.
    pub(crate) fn value(&self, facts: &Facts) -> Option<Value> {
        if let Self::Value(path) = self { path.value(facts) } else { None }
    }
}

impl Operator {
    /// `None` where only the language knows.
    pub(super) fn compare(self, left: &Value, right: &Value) -> Option<bool> {
        let order = match (left, right) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Money(a), Value::Money(b)) if a.currency == b.currency => a.amount.cmp(&b.amount),
            (Value::Text(a), Value::Text(b)) if self.is_equality() => return Some((a == b) == (self == Self::Equal)),
            (Value::Bool(a), Value::Bool(b)) if self.is_equality() => return Some((a == b) == (self == Self::Equal)),
            // Anything may be compared with nothing itself, and is not it.
            (Value::Nothing, Value::Nothing) if self.is_equality() => return Some(self == Self::Equal),
            (Value::Nothing, Value::Int(_) | Value::Text(_) | Value::Bool(_) | Value::Money(_))
            | (Value::Int(_) | Value::Text(_) | Value::Bool(_) | Value::Money(_), Value::Nothing)
                if self.is_equality() =>
            {
                return Some(self == Self::Unequal);
            }
            _ => return None,
        };
        Some(match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        })
    }

    fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::Unequal)
    }
}

impl Operand {
    /// `None` where only the language knows.
    fn value(&self, facts: &Facts) -> Option<Value> {
        if let Self::Path(path) = self { at(path, facts) } else { self.constant(&[]) }
    }

    /// Its value, where that is the same for every event: a rule's own input, or what stands there.
    pub(super) fn constant(&self, inputs: &[Input]) -> Option<Value> {
        Some(match self {
            Self::Int(it) => Value::Int(*it),
            Self::Decimal(it) => Value::Decimal(*it),
            Self::Bool(it) => Value::Bool(*it),
            Self::Money(it) => Value::Money(*it),
            Self::Text(it) => Value::Text(it.clone()),
            Self::Nothing => Value::Nothing,
            Self::Path(path) => match path.as_slice() {
                [root, name] if root == "inputs" => inputs.iter().find(|input| input.name == *name)?.value.clone(),
                _ => return None,
            },
        })
    }
}

/// What stands at a path. A field of nothing is nothing.
fn at(path: &[String], facts: &Facts) -> Option<Value> {
    let (root, mut fields) = path.split_first()?;
    let mut value = match root.as_str() {
        "inputs" => {
            let (input, rest) = fields.split_first()?;
            fields = rest;
            facts.inputs.get(input)?.clone()
        }
        "now" => Value::Time(facts.now),
        "customer" => {
            let ordered = facts.context.order.as_ref().and_then(|order| order.customer.as_ref());
            match facts.context.customer.as_ref().or(ordered) {
                Some(customer) => match fields.split_first() {
                    Some((field, rest)) => {
                        fields = rest;
                        customer.get(field)?
                    }
                    None => return None,
                },
                None => Value::Nothing,
            }
        }
        _ => facts.context.get(root)?,
    };
    for field in fields {
        value = match value {
            Value::Record(record) => record.get(field)?,
            Value::Nothing => Value::Nothing,
            _ => return None,
        };
    }
    Some(value)
}

/// Reads an operand and gives what follows it.
fn operand(text: &str) -> Option<(Operand, &str)> {
    if let Some(rest) = text.strip_prefix("()") {
        return Some((Operand::Nothing, rest));
    }
    if text.starts_with('"') {
        let (it, rest) = quoted(text)?;
        return Some((Operand::Text(it.into()), rest));
    }
    if let Some(rest) = text.strip_prefix("money(") {
        let (it, rest) = quoted(rest.trim_start())?;
        return Some((Operand::Money(it.parse().ok()?), rest.trim_start().strip_prefix(')')?));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        // `1_000`, `1e3` and `0x10` are the language's.
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let read = if number.contains('.') {
            let is_plain = number.split('.').count() == 2 && number.split('.').all(|part| !part.is_empty());
            Operand::Decimal(is_plain.then(|| Decimal::from_str(number).ok()).flatten()?)
        } else {
            Operand::Int(number.parse().ok()?)
        };
        return Some((read, rest));
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    // A function, an index, a closure or a range is the language's.
    if rest.starts_with(['(', '[', '{', '?', ':', '|', '!']) || path.contains("..") {
        return None;
    }
    let word = match path {
        "true" => Operand::Bool(true),
        "false" => Operand::Bool(false),
        _ => {
            let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
            let is_name = |part: &String| part.starts_with(|c: char| c.is_ascii_lowercase());
            if !parts.iter().all(is_name) || matches!(parts[0].as_str(), "event" | "steps" | "item") {
                return None;
            }
            Operand::Path(parts)
        }
    };
    Some((word, rest))
}

/// A text between double quotes in which nothing means anything else.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = inner.find(['"', '\\', '\n'])?;
    inner[end..].starts_with('"').then(|| (&inner[..end], &inner[end + 1..]))
}
