//! Order numbers that a customer's text names: `#1042`, `order number 1042`, `订单号：1042`.
//!
//! A number that stands alone is not taken for one: "I want to order 20 cups".

use crate::domain::Text;

/// The longest number of an order, in digits.
const LONGEST: usize = 20;
/// At most so many are found in one text.
const MOST: usize = 10;

/// What a number may follow beside a `#`, in lower case. Blanks, colons and full stops may stand between.
const BEFORE: &[&str] = &["order number", "order no", "订单号", "订单编号", "订单"];

/// The numbers, each once, in the order in which they are named.
pub(crate) fn order_numbers(text: &str) -> Vec<Text> {
    let mut numbers: Vec<Text> = Vec::new();
    let mut before = 0;
    while let Some(at) = text[before..].find(|c: char| c.is_ascii_digit()).map(|at| before + at) {
        let end = text[at..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |length| at + length);
        let number = &text[at..end];
        // `#10ab` or `#10.50` is something else.
        let goes_on = text[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            || text[end..].strip_prefix(['.', ',']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if number.len() <= LONGEST && !goes_on && is_announced(&text[before..at]) && numbers.len() < MOST {
            let number: Text = number.into();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        before = end;
    }
    numbers
}

/// Whether what follows this is an order's number.
fn is_announced(before: &str) -> bool {
    let between = |c: char| c.is_whitespace() || matches!(c, ':' | '：' | '.' | '#' | '＃');
    let words = before.trim_end_matches(between);
    if words.len() < before.len() && before[words.len()..].contains(['#', '＃']) {
        return true;
    }
    BEFORE.iter().any(|&end| {
        let start = words.len().checked_sub(end.len());
        start.and_then(|start| words.get(start..)).is_some_and(|last| last.eq_ignore_ascii_case(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_announced_are_found() {
        for (text, found) in [
            ("Where is my order #1042?", &["1042"][..]),
            ("Orders #1042, #1043 and # 1042.", &["1042", "1043"]),
            ("订单 #1042 什么时候到？", &["1042"]),
            ("订单号：１０４２ 订单号：1042，订单1043", &["1042", "1043"]),
            ("ORDER NUMBER: 1042; order no. 7", &["1042", "7"]),
            ("＃1042", &["1042"]),
        ] {
            assert_eq!(order_numbers(text).iter().map(|it| &**it).collect::<Vec<_>>(), found, "{text}");
        }
    }

    #[test]
    fn other_numbers_are_none() {
        for text in [
            "I want to order 20 cups",
            "call 555 1234",
            "colour #10ab3f, price #10.50",
            "#123456789012345678901",
            "1042",
            "",
            "#",
        ] {
            assert!(order_numbers(text).is_empty(), "{text}");
        }
        assert_eq!(order_numbers(&"#1 #2 #3 #4 #5 #6 #7 #8 #9 #10 #11 #12 ".repeat(3)).len(), MOST);
    }
}
