//! Times that are counted from today: `tomorrow`, `next Friday`, 下周五, 月底. Today itself is no claim.

use super::{Scan, When, dates};

const WEEKDAYS: &[&str] = &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Of these the first letter must be large: `may` and `march` are words.
const BEFORE_MONTH: &[&str] =
    &["in", "by", "of", "until", "till", "since", "this", "next", "last", "from", "through", "early", "late", "mid"];
const SPANS: &[&str] = &["week", "weekend", "month", "quarter", "year", "season"];
const WEEKDAYS_ZH: &[char] = &['一', '二', '三', '四', '五', '六', '日'];
const DAYS_ZH: &[(&str, i64)] = &[
    ("大后天", 3),
    ("后天", 2),
    ("明天", 1),
    ("明日", 1),
    ("明早", 1),
    ("明晚", 1),
    ("次日", 1),
    ("隔天", 1),
    ("昨天", -1),
    ("昨日", -1),
    ("昨晚", -1),
    ("前天", -2),
];
const WORDS_ZH: &[&str] = &[
    "下个月",
    "下月",
    "上个月",
    "上月",
    "本月底",
    "月底",
    "月初",
    "月中",
    "年底",
    "年初",
    "年中",
    "明年",
    "去年",
    "下周末",
    "本周末",
    "周末",
    "下周",
    "上周",
    "下星期",
    "上星期",
    "下个星期",
    "下季度",
    "双11",
    "双十一",
    "双12",
    "双十二",
    "国庆",
    "中秋",
    "端午",
    "圣诞",
    "情人节",
    "母亲节",
    "父亲节",
    "七夕",
    "跨年",
    "年货节",
    "春节",
    "元旦",
];

impl Scan {
    /// The time at `at`, and where it ends.
    pub(super) fn when(&self, at: usize) -> Option<(usize, When)> {
        if !self.peek(at).is_ascii_alphabetic() {
            return self.chinese_when(at);
        }
        if at > 0 && self.peek(at - 1).is_ascii_alphanumeric() {
            return None;
        }
        let end = self.run(at, |c| c.is_ascii_alphabetic());
        let word = self.text(at..end).to_ascii_lowercase();
        match word.as_str() {
            "tomorrow" => return Some((end, When::Day(1))),
            "yesterday" => return Some((end, When::Day(-1))),
            "overnight" | "christmas" | "easter" | "thanksgiving" | "halloween" | "noon" | "midnight" => {
                return Some((end, When::Words(word)));
            }
            "the" | "end" => {
                for (words, day) in [("the day after tomorrow", 2), ("the day before yesterday", -2)] {
                    if self.is_at(at, words) {
                        return Some((at + words.len(), When::Day(day)));
                    }
                }
                let phrase = SPANS.iter().flat_map(|span| [format!("end of the {span}"), format!("end of {span}")]);
                return phrase
                    .into_iter()
                    .find(|phrase| self.is_at(at, phrase))
                    .map(|phrase| (at + phrase.len(), When::Words(phrase)));
            }
            "this" | "next" | "last" | "coming" => {
                let (second, stop) = self.word_after(end);
                // `next Friday` is to come; `last Friday` may be a given day.
                let to_come = word != "last" && word != "this" && WEEKDAYS.contains(&second.as_str());
                if SPANS.contains(&second.as_str()) || to_come {
                    return Some((stop, When::Words(format!("{word} {second}"))));
                }
            }
            _ => {}
        }
        if let Some(day) = WEEKDAYS.iter().position(|day| *day == word || word.strip_suffix('s') == Some(day)) {
            return Some((end, When::Weekday(i8::try_from(day).ok()? + 1)));
        }
        // `in March`, and not a day of it: those are dates.
        let named = dates::MONTHS_WHOLE.iter().position(|month| *month == word)?;
        let before = self.word_before(at);
        let is_word = matches!(word.as_str(), "may" | "march" | "august");
        let is_month = self.peek(at).is_ascii_uppercase() && (!is_word || BEFORE_MONTH.contains(&before.as_str()));
        let is_month = is_month && self.month_first(at).is_none();
        is_month.then(|| Some((end, When::Month(i8::try_from(named).ok()? + 1))))?
    }

    fn chinese_when(&self, at: usize) -> Option<(usize, When)> {
        let length = |word: &str| word.chars().count();
        if let Some((word, day)) = DAYS_ZH.iter().find(|(word, _)| self.is_at(at, word)) {
            return Some((at + length(word), When::Day(*day)));
        }
        for week in ["下个星期", "下星期", "下个礼拜", "下礼拜", "下个周", "下周"] {
            let end = at + length(week);
            if self.is_at(at, week) && (WEEKDAYS_ZH.contains(&self.peek(end)) || self.peek(end) == '天') {
                return Some((end + 1, When::Words(self.text(at..end + 1))));
            }
        }
        for week in ["星期", "礼拜", "周"] {
            if self.is_at(at, week) {
                let end = at + length(week);
                let day = self.peek(end);
                let day = if day == '天' { '日' } else { day };
                // 一周 is a length, 周日 a day, 周到 is a word; 3 and 三 are the same here.
                let found = WEEKDAYS_ZH.iter().position(|it| *it == day).or_else(|| {
                    day.to_digit(10).filter(|day| (1..=6).contains(day)).and_then(|day| usize::try_from(day - 1).ok())
                });
                if let Some(found) = found.filter(|_| !self.peek(end + 1).is_ascii_digit()) {
                    return Some((end + 1, When::Weekday(i8::try_from(found).ok()? + 1)));
                }
            }
        }
        let word = WORDS_ZH.iter().find(|word| self.is_at(at, word))?;
        Some((at + length(word), When::Words((*word).to_owned())))
    }

    /// The word after a space that ends at `end`, in small letters, and where it ends.
    pub(super) fn word_after(&self, end: usize) -> (String, usize) {
        let start = self.run(end, |c| c == ' ');
        let stop = self.run(start, |c| c.is_ascii_alphabetic());
        (self.text(start..stop).to_ascii_lowercase(), stop)
    }

    /// The word before the one that begins at `at`, in small letters.
    pub(super) fn word_before(&self, at: usize) -> String {
        let mut letters = self.chars[..at].iter().rev().skip_while(|c| matches!(c, ' ' | ':' | '-')).peekable();
        let word: String = std::iter::from_fn(|| letters.next_if(|c| c.is_ascii_alphabetic())).collect();
        word.chars().rev().map(|c| c.to_ascii_lowercase()).collect()
    }
}
