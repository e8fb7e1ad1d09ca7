//! What a text states that can be looked up: amounts, percentages, dates, order numbers, links, e-mail addresses, codes
//! and other numbers, in digits or in words.

mod dates;
mod numerals;
mod offers;
mod readings;
mod units;
mod when;
mod worded;

use std::ops::Range;

use rust_decimal::Decimal;

use self::readings::readings;
use self::units::{SPANS, SPANS_ZH, UNITS};

/// Something that a text states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// An amount: what the number may mean, and which currencies its sign may.
    Amount(Vec<Decimal>, &'static [&'static str]),
    Percent(Vec<Decimal>),
    /// Every day that it may mean: `3/4` is two.
    Date(Vec<Day>),
    /// A time by where it is from today: `tomorrow`, 下周五.
    When(When),
    /// After `#`, in capitals.
    Order(String),
    /// Without scheme, in small letters.
    Link(String),
    Email(String),
    /// Letters and digits together, in capitals, and the numbers in it: `SKU-12A`. A code, or the name of an offer.
    Word(String, Vec<Decimal>),
    /// A length of time, or how many times.
    Span(Vec<Decimal>, Unit),
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

/// What a span is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
    Times,
}

/// A time that is counted from today.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum When {
    /// So many days after today.
    Day(i64),
    /// 1 for Monday.
    Weekday(i8),
    /// 1 for January.
    Month(i8),
    /// What no day is told of: `next week`, 月底; as it is written, in small letters.
    Words(String),
}

/// A claim, and where it stands in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Range<usize>,
    pub(super) claim: Claim,
}

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

/// A text as it is [read](worded::read).
struct Scan {
    chars: Vec<char>,
    bytes: Vec<usize>,
    at: usize,
}

impl Scan {
    fn new(text: &str) -> Self {
        let (chars, bytes) = worded::read(text);
        Self { chars, bytes, at: 0 }
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
        if let Some((end, when)) = self.when(from) {
            self.at = end;
            return Some((from, Claim::When(when)));
        }
        if let Some((end, offer)) = self.offer(from) {
            self.at = end;
            return Some((from, Claim::Word(offer, Vec::new())));
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
        if let Some(link) = self.disguised_link(from) {
            return Some(link);
        }
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
        let (values, end) = self.scaled(readings(&raw), end);
        self.at = end;
        if let Some(values) = self.discount(&values, end) {
            self.at = end + 1;
            return Some((from, Claim::Percent(values)));
        }
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
        if self.peek(end) == '月'
            && let [month] = values[..]
            && let Ok(month @ 1..=12) = i8::try_from(month)
        {
            self.at = end + 1;
            return Some((from, Claim::When(When::Month(month))));
        }
        if let Some(stop) = self.time_of_day(end) {
            self.at = stop;
            return Some((from, Claim::Word(self.text(from..stop).to_ascii_uppercase(), Vec::new())));
        }
        if let Some((stop, unit)) = self.span_unit(end) {
            self.at = stop;
            return Some((from, Claim::Span(values, unit)));
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

    /// Where a time of day ends whose number ends at `end`: `6 pm`, 6点.
    fn time_of_day(&self, end: usize) -> Option<usize> {
        let start = self.run(end, |c| c == ' ');
        let word_end = self.run(start, |c| c.is_ascii_alphabetic() || matches!(c, '.' | '\''));
        let word = self.text(start..word_end).to_ascii_lowercase();
        let is_time = matches!(word.trim_end_matches('.'), "am" | "pm" | "a.m" | "p.m" | "o'clock");
        let is_hour = self.peek(end) == '点' && !self.peek(end + 1).is_ascii_alphanumeric();
        if is_time { Some(word_end) } else { is_hour.then_some(end + 1) }
    }

    /// What the number that ends at `end` counts, where that is time, and where its name ends.
    fn span_unit(&self, end: usize) -> Option<(usize, Unit)> {
        let mut at = end;
        for _ in 0..3 {
            let start = self.run(at, |c| matches!(c, ' ' | '-' | '\u{A0}' | '‑'));
            let word_end = self.run(start, |c| c.is_ascii_alphabetic());
            let word = self.text(start..word_end).to_ascii_lowercase();
            if matches!(word.as_str(), "working" | "business" | "full" | "more") {
                at = word_end;
                continue;
            }
            if let Some((_, unit)) =
                SPANS.iter().find(|(name, _)| *name == word || word.strip_suffix('s') == Some(name))
            {
                return Some((word_end, *unit));
            }
            let found = SPANS_ZH.iter().find(|(name, _)| self.is_at(start, name));
            return found.map(|(name, unit)| (start + name.chars().count(), *unit));
        }
        None
    }

    /// The number with the scale after it, `3万`, and where it ends. `3千克` is a weight.
    fn scaled(&self, values: Vec<Decimal>, end: usize) -> (Vec<Decimal>, usize) {
        match numerals::scale(self.peek(end)).map(Decimal::from) {
            Some(scale) if !matches!(self.peek(end + 1), '克' | '米' | '瓦' | '分') => {
                (values.iter().filter_map(|value| value.checked_mul(scale)).map(|it| it.normalize()).collect(), end + 1)
            }
            _ => (values, end),
        }
    }

    /// What a Chinese discount takes off, in percent: 8折 and 85折 tell what is paid, 3成 is three tenths.
    fn discount(&self, values: &[Decimal], end: usize) -> Option<Vec<Decimal>> {
        let (ten, hundred) = (Decimal::TEN, Decimal::ONE_HUNDRED);
        let of =
            |take: &dyn Fn(Decimal) -> Decimal| Some(values.iter().map(|value| take(*value).normalize()).collect());
        match self.peek(end) {
            '折' => of(&|value| hundred - if value < ten { value * ten } else { value }),
            '成' if values.iter().all(|value| *value <= ten) => of(&|value| value * ten),
            _ => None,
        }
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
                    Claim::When(when) => format!("when {when:?}"),
                    Claim::Span(values, unit) => format!("span {values:?} {unit:?}"),
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
            ("within 30 days", &["30 days = span [30] Days"]),
            ("三个工作日内，24小时", &["三个工作日 = span [3] Days", "24小时 = span [24] Hours"]),
            ("in 3 working days, every two weeks", &["3 working days = span [3] Days", "two weeks = span [2] Weeks"]),
            ("tomorrow or next Friday", &["tomorrow = when Day(1)", "next Friday = when Words(\"next friday\")"]),
            (
                "明天，下周五，周六",
                &["明天 = when Day(1)", "下周五 = when Words(\"下周五\")", "周六 = when Weekday(6)"],
            ),
            ("买一送一, code FREESHIP", &["买一送一 = word 买一送一 []", "FREESHIP = word FREESHIP []"]),
            ("满三百减五十，八五折", &["三百 = number [300]", "五十 = number [50]", "八五折 = percent [15]"]),
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
