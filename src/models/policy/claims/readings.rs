//! What a number with separators may mean.

use rust_decimal::Decimal;

/// What a number with separators may mean: `1,234` is 1234 or 1.234, `1.234,50` only 1234.50.
pub(super) fn readings(raw: &str) -> Vec<Decimal> {
    let separators: Vec<char> = raw.chars().filter(|c| !c.is_ascii_digit()).collect();
    let groups: Vec<&str> = raw.split(|c: char| !c.is_ascii_digit()).collect();
    let in_thousands = |groups: &[&str]| {
        groups.first().is_some_and(|first| first.len() <= 3) && groups[1..].iter().all(|group| group.len() == 3)
    };
    let whole = || groups.concat();
    let (last, before) = (groups.len() - 1, separators.len().saturating_sub(1));
    let with_point = || format!("{}.{}", groups[..last].concat(), groups[last]);
    let is_point = |c: Option<&char>| matches!(c, Some('.' | ','));
    let mut texts = Vec::new();
    match separators.len() {
        0 => texts.push(whole()),
        1 => {
            if is_point(separators.last()) {
                texts.push(with_point());
            }
            if in_thousands(&groups) {
                texts.push(whole());
            }
        }
        _ => {
            let grouped_alike = separators[..before].iter().all(|c| *c == separators[0]);
            if grouped_alike && separators[before] == separators[0] && in_thousands(&groups) {
                texts.push(whole());
            } else if grouped_alike
                && separators[before] != separators[0]
                && is_point(separators.last())
                && in_thousands(&groups[..last])
            {
                texts.push(with_point());
            }
        }
    }
    texts.iter().filter_map(|text| Decimal::from_str_exact(text).ok()).map(|number| number.normalize()).collect()
}
