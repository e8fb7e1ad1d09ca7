//! What a use of the shop's memory comes to: the same in a live run, where the new value is written in the turn's
//! transaction, and in a rule's test, where it is kept in a map.

use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

use crate::domain::{Answer, Failure, MemoryOp};

/// The answer to `op` where `now` is remembered under its key (null: nothing), and the value to remember instead.
pub(super) fn apply(op: &MemoryOp, now: &Json) -> (Answer, Option<Json>) {
    match op {
        MemoryOp::Get { .. } => (Answer::Done(json!({ "value": now })), None),
        MemoryOp::Set { value, only_if, .. } => match only_if {
            Some(expected) if expected != now => (Answer::Done(json!({ "stored": false, "value": now })), None),
            _ => (Answer::Done(json!({ "stored": true, "value": value })), Some(value.clone())),
        },
        MemoryOp::Add { key, by } => match number(now).and_then(|so_far| so_far.checked_add(*by)) {
            Some(sum) => {
                let value = as_json(sum);
                (Answer::Done(json!({ "value": value })), Some(value))
            }
            None => {
                let message = format!("memory `{key}` holds {now}, to which {by} cannot be added");
                (Answer::Failed(Failure::new("not_a_number", message)), None)
            }
        },
        MemoryOp::Push { key, value, most } => {
            let mut list = match now {
                Json::Null => Vec::new(),
                Json::Array(list) => list.clone(),
                _ => {
                    let message = format!("memory `{key}` holds something else than a list");
                    return (Answer::Failed(Failure::new("not_a_list", message)), None);
                }
            };
            if list.len() >= *most {
                let message = format!("memory `{key}` holds {most} already, which is the most: nobody takes them");
                return (Answer::Failed(Failure::new("list_full", message)), None);
            }
            list.push(value.clone());
            (Answer::Done(json!({ "lines": list.len() })), Some(list.into()))
        }
        MemoryOp::Take { .. } => {
            let list = if now.is_null() { json!([]) } else { now.clone() };
            (Answer::Done(json!({ "value": list })), Some(Json::Null))
        }
    }
}

/// The value that a use of the memory has left under its key, out of its answer; `None` where it changed nothing.
pub(super) fn left_behind(op: &MemoryOp, answer: &Answer) -> Option<Json> {
    match (op, answer) {
        (MemoryOp::Set { .. }, Answer::Done(it)) if it["stored"] == true => Some(it["value"].clone()),
        (MemoryOp::Add { .. }, Answer::Done(it)) => Some(it["value"].clone()),
        (MemoryOp::Take { .. }, Answer::Done(_)) => Some(Json::Null),
        // The answer to a push counts what is there, and does not repeat it: a shadow does not see its own.
        _ => None,
    }
}

/// A number as JSON and capabilities give it: by its digits, so that 0.1 is 0.1.
pub(super) fn number(value: &Json) -> Option<Decimal> {
    let read = |text: &str| Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok();
    match value {
        Json::Null => Some(Decimal::ZERO),
        Json::Number(number) => read(&number.to_string()),
        Json::String(text) => read(text.trim()),
        _ => None,
    }
}

/// As a JSON number where that is exact, else as text.
fn as_json(number: Decimal) -> Json {
    let number = number.normalize();
    if let Ok(whole) = i64::try_from(number)
        && Decimal::from(whole) == number
    {
        return whole.into();
    }
    match number.to_string().parse::<f64>() {
        Ok(float) if float.to_string() == number.to_string() => json!(float),
        _ => number.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(now: Json, by: &str) -> (Answer, Option<Json>) {
        apply(&MemoryOp::Add { key: "k".into(), by: by.parse().expect("decimal") }, &now)
    }

    #[test]
    fn sums_are_exact_and_begin_at_nothing() {
        assert_eq!(add(Json::Null, "1").1, Some(json!(1)));
        assert_eq!(add(json!(0.1), "0.2").1, Some(json!(0.3)));
        assert_eq!(add(json!("12345678901234567890.5"), "1").1, Some(json!("12345678901234567891.5")));
        let (answer, changed) = add(json!(["x"]), "1");
        assert!(matches!(answer, Answer::Failed(it) if it.code == "not_a_number") && changed.is_none());
        assert!(
            add(json!("79228162514264337593543950335"), "1").1.is_none(),
            "too large is a failure, not a wrong sum"
        );
    }

    #[test]
    fn what_is_left_behind_is_what_would_be_remembered() {
        let set = |only_if| MemoryOp::Set { key: "k".into(), value: json!(2), only_if };
        let ops = [
            MemoryOp::Get { key: "k".into() },
            set(None),
            set(Some(json!(1))),
            set(Some(json!(5))),
            MemoryOp::Add { key: "k".into(), by: Decimal::TEN },
            MemoryOp::Take { key: "k".into() },
        ];
        for op in ops {
            let (answer, value) = apply(&op, &json!(1));
            assert_eq!(left_behind(&op, &answer), value, "{op:?}");
        }
    }

    #[test]
    fn a_list_grows_to_its_bound_and_is_taken_whole() {
        let push = |now: &Json| apply(&MemoryOp::Push { key: "k".into(), value: json!("x"), most: 2 }, now);
        let (answer, list) = push(&Json::Null);
        assert_eq!((answer, list), (Answer::Done(json!({ "lines": 1 })), Some(json!(["x"]))));
        assert_eq!(push(&json!(["a"])).1, Some(json!(["a", "x"])));
        for (now, code) in [(json!(["a", "b"]), "list_full"), (json!(5), "not_a_list")] {
            let (answer, changed) = push(&now);
            assert!(matches!(answer, Answer::Failed(it) if it.code == code) && changed.is_none());
        }
        let take = |now: &Json| apply(&MemoryOp::Take { key: "k".into() }, now);
        assert_eq!(take(&json!(["a"])), (Answer::Done(json!({ "value": ["a"] })), Some(Json::Null)));
        assert_eq!(take(&Json::Null).0, Answer::Done(json!({ "value": [] })));
    }

    #[test]
    fn a_value_is_set_only_where_it_is_as_expected() {
        let set = |only_if, now| apply(&MemoryOp::Set { key: "k".into(), value: json!(2), only_if }, &now);
        assert_eq!(set(None, json!(1)).1, Some(json!(2)));
        assert_eq!(set(Some(Json::Null), Json::Null).1, Some(json!(2)));
        let (answer, changed) = set(Some(Json::Null), json!(1));
        assert_eq!((answer, changed), (Answer::Done(json!({ "stored": false, "value": 1 })), None));
    }
}
