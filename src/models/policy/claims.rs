//! What a text states that can be looked up: amounts, percentages, dates, order numbers, links, e-mail addresses and
//! other numbers.
//!
//! Numbers in words ("twenty euros", 二十元) are not seen.

use std::ops::Range;

use rust_decimal::Decimal;

/// Something that a text states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// An amount: what the number may mean, and which currencies its sign may.
    Amount(Vec<Decimal>, &'static [&'static str]),
    Percent(Vec<Decimal>),
    /// Every day that it may mean: `3/4` is two.
    Date(Vec<Day>),
    /// After `#`, in capitals.
    Order(String),
    /// Without scheme, in small letters.
    Link(String),
    Email(String),
    /// Letters and digits together, in capitals, and the numbers in it: `SKU-12A`.
    Word(String, Vec<Decimal>),
    /// Any other number; nothing where it cannot be read.
    Number(Vec<Decimal>),
}

/// A day, perhaps without its year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: Option<i16>,
    pub(super) month: i8,
    pub(super) day: i8,
}

/// A claim, and where it stands in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Range<usize>,
    pub(super) claim: Claim,
}

const EURO: &[&str] = &["EUR"];
const DOLLAR: &[&str] = &["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN"];
const YUAN: &[&str] = &["CNY"];
const POUND: &[&str] = &["GBP"];
const YEN: &[&str] = &["JPY"];
const CROWN: &[&str] = &["SEK", "NOK", "DKK"];

/// What stands before or after an amount, longest first where one begins or ends another; in small letters.
const UNITS: &[(&str, &[&str])] = &[
    ("us$", &["USD"]),
    ("a$", &["AUD"]),
    ("c$", &["CAD"]),
    ("hk$", &["HKD"]),
    ("$", DOLLAR),
    ("€", EURO),
    ("£", POUND),
    ("¥", &["CNY", "JPY"]),
    ("₹", &["INR"]),
    ("₩", &["KRW"]),
    ("人民币", YUAN),
    ("欧元", EURO),
    ("美元", &["USD"]),
    ("日元", YEN),
    ("英镑", POUND),
    ("港元", &["HKD"]),
    ("元", &["CNY", "HKD", "TWD"]),
    ("块", YUAN),
    ("euros", EURO),
    ("euro", EURO),
    ("dollars", DOLLAR),
    ("dollar", DOLLAR),
    ("pounds", POUND),
    ("pound", POUND),
    ("yuan", YUAN),
    ("rmb", YUAN),
    ("yen", YEN),
    ("kr", CROWN),
    ("zł", &["PLN"]),
    ("eur", EURO),
    ("usd", &["USD"]),
    ("gbp", POUND),
    ("cny", YUAN),
    ("jpy", YEN),
    ("chf", &["CHF"]),
    ("cad", &["CAD"]),
    ("aud", &["AUD"]),
    ("nzd", &["NZD"]),
    ("sek", &["SEK"]),
    ("nok", &["NOK"]),
    ("dkk", &["DKK"]),
    ("pln", &["PLN"]),
    ("czk", &["CZK"]),
    ("huf", &["HUF"]),
    ("inr", &["INR"]),
    ("krw", &["KRW"]),
    ("hkd", &["HKD"]),
    ("twd", &["TWD"]),
    ("sgd", &["SGD"]),
    ("mxn", &["MXN"]),
    ("brl", &["BRL"]),
];

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const MONTHS_WHOLE: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Everything that `text` states, in order.
pub(super) fn claims(text: &str) -> Vec<Found> {
    let mut scan = Scan::new(text);
    let mut found = Vec::new();
    while scan.at < scan.chars.len() {
        let start = scan.at;
        match scan.next_claim() {
            Some((from, claim)) => found.push(Found { span: scan.byte(from)..scan.byte(scan.at), claim }),
            None => scan.at = scan.at.max(start + 1),
        }
    }
    found
}

/// A text as characters, full-width forms made plain, with the bytes at which they begin.
struct Scan {
    chars: Vec<char>,
    bytes: Vec<usize>,
    at: usize,
}

impl Scan {
    fn new(text: &str) -> Self {
        let plain = |c: char| match c {
            '￥' => '¥',
            '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
            other => other,
        };
        let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        bytes.push(text.len());
        Self { chars: text.chars().map(plain).collect(), bytes, at: 0 }
    }

    fn byte(&self, at: usize) -> usize {
        self.bytes[at.min(self.bytes.len() - 1)]
    }

    fn peek(&self, at: usize) -> char {
        self.chars.get(at).copied().unwrap_or('\0')
    }

    fn text(&self, range: Range<usize>) -> String {
        self.chars[range.start.min(self.chars.len())..range.end.min(self.chars.len())].iter().collect()
    }

    /// Where the run that begins at `from` ends.
    fn run(&self, from: usize, of: impl Fn(char) -> bool) -> usize {
        self.chars[from.min(self.chars.len())..].iter().position(|&c| !of(c)).map_or(self.chars.len(), |n| from + n)
    }

    /// Whether `word` (in small letters) stands at `at`.
    fn is_at(&self, at: usize, word: &str) -> bool {
        word.chars().enumerate().all(|(n, c)| self.peek(at + n).to_ascii_lowercase() == c)
    }

    /// The claim at or soon after `at`, with where it begins. `at` moves behind it, or behind what is none.
    fn next_claim(&mut self) -> Option<(usize, Claim)> {
        let from = self.at;
        let here = self.peek(from);
        if here == '#' && self.peek(from + 1).is_ascii_alphanumeric() {
            self.at = self.run(from + 1, |c| c.is_ascii_alphanumeric() || c == '-');
            return Some((from, Claim::Order(self.text(from + 1..self.at).trim_end_matches('-').to_ascii_uppercase())));
        }
        if here.is_ascii_digit() {
            return self.number(from);
        }
        if here.is_numeric() {
            // ½, ², Ⅳ, ①: nothing that we compare.
            self.at = from + 1;
            return Some((from, Claim::Number(Vec::new())));
        }
        if here.is_ascii_alphabetic() { self.word(from) } else { None }
    }

    fn word(&mut self, from: usize) -> Option<(usize, Claim)> {
        if let Some(claim) = self.address(from) {
            return Some((from, claim));
        }
        if let Some((end, days)) = self.month_first(from) {
            self.at = end;
            return Some((from, Claim::Date(days)));
        }
        let letters = self.run(from, |c| c.is_ascii_alphabetic());
        let unit = self.text(from..letters).to_ascii_lowercase();
        if UNITS.iter().any(|(name, _)| *name == unit) && self.peek(letters).is_ascii_digit() {
            // `EUR20`: the number finds its currency.
            self.at = letters;
            return None;
        }
        let end = self.run(from, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        self.at = end;
        let word = self.text(from..end);
        word.bytes().any(|byte| byte.is_ascii_digit()).then(|| (from, mixed(&word)))
    }

    /// A link, an e-mail address, or what would be shown as a link.
    fn address(&mut self, from: usize) -> Option<Claim> {
        let in_local = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-');
        let local = self.run(from, in_local);
        if self.peek(local) == '@' && self.peek(local + 1).is_ascii_alphanumeric() {
            let end = self.run(local + 1, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
            let address = self.text(from..end).trim_end_matches(['.', '-']).to_ascii_lowercase();
            self.at = from + address.chars().count();
            return Some(Claim::Email(address));
        }
        let scheme = self.is_at(from, "http://") || self.is_at(from, "https://");
        let host = self.run(from, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        let name = self.text(from..host);
        let name = name.trim_end_matches(['.', '-']);
        let looks_like_one = name.rsplit_once('.').is_some_and(|(before, last)| {
            last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic()) && before.split('.').all(|it| it.len() > 1)
        });
        if !scheme && !looks_like_one {
            return None;
        }
        let end = if scheme || self.peek(from + name.chars().count()) == '/' {
            self.run(from, |c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '\'' | '(' | ')' | '[' | ']'))
        } else {
            from + name.chars().count()
        };
        let shown = self.text(from..end);
        let shown = shown.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        self.at = from + shown.chars().count();
        Some(Claim::Link(plain_link(shown)))
    }

    /// What a digit begins.
    fn number(&mut self, from: usize) -> Option<(usize, Claim)> {
        if let Some(claim @ Claim::Email(_)) = self.address(from) {
            return Some((from, claim));
        }
        if let Some((end, days)) = self.day_first(from) {
            self.at = end;
            return Some((from, Claim::Date(days)));
        }
        let mut end = from;
        loop {
            end = self.run(end, |c| c.is_ascii_digit());
            let separates = matches!(self.peek(end), '.' | ',' | '\'' | '’' | '\u{A0}' | '\u{202F}' | '\u{2009}');
            if !separates || !self.peek(end + 1).is_ascii_digit() {
                break;
            }
            end += 1;
        }
        let raw = self.text(from..end);
        self.at = end;
        if self.is_list_marker(from, end) {
            return None;
        }
        let values = readings(&raw);
        let space_after = usize::from(self.peek(end) == ' ');
        if let Some(length) = ["%", "percent", "per cent", "per-cent"]
            .iter()
            .find_map(|unit| self.is_at(end + space_after, unit).then(|| unit.chars().count()))
        {
            self.at = end + space_after + length;
            return Some((from, Claim::Percent(values)));
        }
        if from >= 3 && self.text(from - 3..from) == "百分之" {
            return Some((from - 3, Claim::Percent(values)));
        }
        if let Some((start, stop, currencies)) = self.currency(from, end) {
            self.at = stop;
            return Some((start, Claim::Amount(values, currencies)));
        }
        if self.peek(end).is_ascii_alphabetic() {
            self.at = self.run(from, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | ',' | '-' | '_'));
            let word = self.text(from..self.at);
            let word = word.trim_end_matches(['.', ',', '-', '_']);
            self.at = from + word.chars().count();
            return Some((from, mixed(word)));
        }
        Some((from, Claim::Number(values)))
    }

    /// `1.` or `2)` at the beginning of a line.
    fn is_list_marker(&self, from: usize, end: usize) -> bool {
        let begins = self.chars[..from].iter().rev().take_while(|&&c| c != '\n').all(|c| c.is_whitespace());
        let marked = match self.peek(end) {
            '.' | ')' => self.peek(end + 1).is_whitespace(),
            '、' => true,
            _ => false,
        };
        begins && marked && end - from <= 2
    }

    /// The currency beside the number at `from..end`, with where the whole amount begins and ends.
    fn currency(&self, from: usize, end: usize) -> Option<(usize, usize, &'static [&'static str])> {
        let before = if from > 0 && self.peek(from - 1) == ' ' { from - 1 } else { from };
        let after = if self.peek(end) == ' ' { end + 1 } else { end };
        let is_letter = |c: char| c.is_ascii_alphabetic();
        for (unit, currencies) in UNITS {
            let length = unit.chars().count();
            // A unit of letters must be a word of its own: no `kr` in `kraft`.
            let letters = unit.chars().all(is_letter);
            if let Some(start) = before.checked_sub(length)
                && self.is_at(start, unit)
                && !(letters && start > 0 && is_letter(self.peek(start - 1)))
            {
                return Some((start, end, currencies));
            }
            if self.is_at(after, unit) && !(letters && is_letter(self.peek(after + length))) {
                return Some((from, after + length, currencies));
            }
        }
        None
    }

    /// A number of at most `most` digits at `at`, and where it ends.
    fn digits(&self, at: usize, most: usize) -> Option<(i16, usize)> {
        let end = self.run(at, |c| c.is_ascii_digit());
        let value = (end > at && end - at <= most).then(|| self.text(at..end).parse().ok())??;
        Some((value, end))
    }

    /// A date that begins with digits.
    fn day_first(&self, from: usize) -> Option<(usize, Vec<Day>)> {
        let (first, end) = self.digits(from, 4)?;
        let separator = self.peek(end);
        if end - from == 4 {
            let (month, end) = self.digits(end + usize::from(matches!(separator, '-' | '/' | '.' | '年')), 2)?;
            let (day, end) = self.digits(end + usize::from(matches!(self.peek(end), '-' | '/' | '.' | '月')), 2)?;
            let end = end + usize::from(matches!(self.peek(end), '日' | '号'));
            return matches!(separator, '-' | '/' | '.' | '年')
                .then(|| Some((end, vec![day_of(Some(first), month, day)?])))?;
        }
        if separator == '月' {
            let (day, end) = self.digits(end + 1, 2)?;
            let end = end + usize::from(matches!(self.peek(end), '日' | '号'));
            return Some((end, vec![day_of(None, first, day)?]));
        }
        if matches!(separator, '/' | '.' | '-')
            && let Some((second, end)) = self.digits(end + 1, 2)
        {
            let year = (self.peek(end) == separator)
                .then(|| self.digits(end + 1, 4))
                .flatten()
                .filter(|(_, stop)| matches!(stop - end - 1, 2 | 4));
            // `3.4` is a number and `3-4` a range; `3/4` and `3.4.2026` are days.
            if year.is_some() || separator == '/' {
                let (year, end) = year.map_or((None, end), |(year, end)| (Some(year), end));
                let days: Vec<Day> =
                    [day_of(year, second, first), day_of(year, first, second)].into_iter().flatten().collect();
                return (!days.is_empty()).then_some((end, days));
            }
        }
        let end = self.ordinal(end);
        let end = end + usize::from(self.peek(end) == '.');
        let end = self.run(end, |c| c == ' ');
        let end = if self.is_at(end, "of ") { end + 3 } else { end };
        let (month, end) = self.month(end)?;
        let (year, end) = self.year_after(end);
        Some((end, vec![day_of(year, month, first)?]))
    }

    /// A date that begins with a month's name.
    fn month_first(&self, from: usize) -> Option<(usize, Vec<Day>)> {
        let (month, end) = self.month(from)?;
        let end = self.run(end, |c| c == ' ' || c == '.');
        let (day, end) = self.digits(end, 2)?;
        let (year, end) = self.year_after(self.ordinal(end));
        Some((end, vec![day_of(year, month, day)?]))
    }

    fn month(&self, at: usize) -> Option<(i16, usize)> {
        let end = self.run(at, |c| c.is_ascii_alphabetic());
        let word = self.text(at..end).to_ascii_lowercase();
        let found = MONTHS.iter().position(|m| *m == word || (*m == "sep" && word == "sept"));
        let month = found.or_else(|| MONTHS_WHOLE.iter().position(|m| *m == word))?;
        Some((i16::try_from(month).ok()? + 1, end))
    }

    fn ordinal(&self, at: usize) -> usize {
        let found = ["st", "nd", "rd", "th"].iter().any(|it| self.is_at(at, it));
        if found && !self.peek(at + 2).is_ascii_alphanumeric() { at + 2 } else { at }
    }

    fn year_after(&self, at: usize) -> (Option<i16>, usize) {
        let start = self.run(at, |c| matches!(c, ' ' | ',' | '.'));
        match self.digits(start, 4) {
            Some((year, end)) if start > at && end - start == 4 => (Some(year), end),
            _ => (None, at),
        }
    }
}

fn day_of(year: Option<i16>, month: i16, day: i16) -> Option<Day> {
    let year = year.map(|year| if year < 100 { year + 2000 } else { year });
    ((1..=12).contains(&month) && (1..=31).contains(&day))
        .then(|| Some(Day { year, month: i8::try_from(month).ok()?, day: i8::try_from(day).ok()? }))?
}

/// A word of letters and digits, with the numbers in it.
fn mixed(word: &str) -> Claim {
    let numbers = word.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| Decimal::from_str_exact(digits).ok());
    Claim::Word(word.to_ascii_uppercase(), numbers.map(|number| number.normalize()).collect())
}

/// A link as it is compared: without scheme and last slash, in small letters.
pub(super) fn plain_link(link: &str) -> String {
    let lower = link.to_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).unwrap_or(&lower);
    rest.trim_end_matches('/').to_owned()
}

/// What a number with separators may mean: `1,234` is 1234 or 1.234, `1.234,50` only 1234.50.
fn readings(raw: &str) -> Vec<Decimal> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        claims(text)
            .into_iter()
            .map(|found| {
                let kind = match &found.claim {
                    Claim::Amount(values, currencies) => format!("amount {values:?} {}", currencies.join("/")),
                    Claim::Percent(values) => format!("percent {values:?}"),
                    Claim::Date(days) => {
                        let days: Vec<String> =
                            days.iter().map(|it| format!("{:?}-{}-{}", it.year, it.month, it.day)).collect();
                        format!("date {}", days.join(" or "))
                    }
                    Claim::Order(order) => format!("order {order}"),
                    Claim::Link(link) => format!("link {link}"),
                    Claim::Email(address) => format!("email {address}"),
                    Claim::Word(word, numbers) => format!("word {word} {numbers:?}"),
                    Claim::Number(values) => format!("number {values:?}"),
                };
                format!("{} = {kind}", &text[found.span])
            })
            .collect()
    }

    #[test]
    fn everything_that_can_be_looked_up_is_found() {
        for (text, expected) in [
            ("Hello Ana, thank you.", &[][..]),
            ("It costs €20.", &["€20 = amount [20] EUR"]),
            ("20,50 EUR or EUR 1,234.50", &["20,50 EUR = amount [20.5] EUR", "EUR 1,234.50 = amount [1234.5] EUR"]),
            ("EUR20 and 20euros", &["EUR20 = amount [20] EUR", "20euros = amount [20] EUR"]),
            ("US$5 off", &["US$5 = amount [5] USD"]),
            ("共１２３．５０元", &["１２３．５０元 = amount [123.5] CNY/HKD/TWD"]),
            ("￥９９", &["￥９９ = amount [99] CNY/JPY"]),
            (
                "10% or 15 percent, 百分之20",
                &["10% = percent [10]", "15 percent = percent [15]", "百分之20 = percent [20]"],
            ),
            ("Order #1042 and ＃sh-7", &["#1042 = order 1042", "＃sh-7 = order SH-7"]),
            ("on 2026-11-23", &["2026-11-23 = date Some(2026)-11-23"]),
            ("by 3/4", &["3/4 = date None-4-3 or None-3-4"]),
            ("23.11.2026", &["23.11.2026 = date Some(2026)-11-23"]),
            ("the 23rd of November, 2026", &["23rd of November, 2026 = date Some(2026)-11-23"]),
            ("Nov. 23 it is", &["Nov. 23 = date None-11-23"]),
            ("11月23日前", &["11月23日 = date None-11-23"]),
            ("2026年11月23日", &["2026年11月23日 = date Some(2026)-11-23"]),
            ("within 30 days", &["30 = number [30]"]),
            ("1,234 pieces", &["1,234 = number [1.234, 1234]"]),
            ("1.2.3.4", &["1.2.3.4 = number []"]),
            ("½ now", &["½ = number []"]),
            ("SKU-12A, size 4XL, 2x", &["SKU-12A = word SKU-12A [12]", "4XL = word 4XL [4]", "2x = word 2X [2]"]),
            (
                "see https://Shop.example/Returns?id=5.",
                &["https://Shop.example/Returns?id=5 = link shop.example/returns?id=5"],
            ),
            ("请看https://shop.example/a。谢谢", &["https://shop.example/a = link shop.example/a"]),
            ("go to shop.example now", &["shop.example = link shop.example"]),
            ("write to Help@shop.example.", &["Help@shop.example = email help@shop.example"]),
            ("Thanks, e.g. this. Bye", &[]),
            ("1. First\n2) Second", &[]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_to_its_end(text in r"([0-9.,%#€$@/a-zA-Z年月日元 \-]|\PC){0,40}") {
            for found in claims(&text) {
                prop_assert!(text.get(found.span.clone()).is_some_and(|shown| !shown.is_empty()), "{found:?}");
            }
        }

        #[test]
        fn no_digit_is_overlooked(before in "[a-zA-Z .,]{0,6}", number in 3_u32..100_000, after in "[a-zA-Z .,]{0,6}") {
            let text = format!("x {before}{number}{after}");
            prop_assert!(!claims(&text).is_empty(), "{text}");
        }
    }
}
