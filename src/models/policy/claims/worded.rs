//! Numbers in words, as digits: `twenty euros` is read as `20 euros`, 二十元 as 20元, `half price` as `50% price`.
//!
//! What is written in words is an ordinary word most of the time: `one of us`, `at once`, 一定, 十分. So a word counts as
//! a number by what stands beside it: a unit, another number, a word that counts. `one` and 一 need a unit.

use super::numerals;

/// A text as it is scanned: its characters, full-width forms and numbers in words made plain and what is invisible left
/// out, with the bytes at which they begin and one more for the end.
pub(super) fn read(text: &str) -> (Vec<char>, Vec<usize>) {
    let mut before = ' ';
    let (chars, bytes): (Vec<char>, Vec<usize>) = text
        .char_indices()
        .filter(|(_, c)| !is_invisible(*c))
        .map(|(at, c)| {
            // 满300减50，85折 are two numbers, １，２３４ is one.
            let parts = c == '，' && !('０'..='９').contains(&before);
            before = c;
            (if parts { c } else { plain(c) }, at)
        })
        .unzip();
    let (mut read, mut places) = (Vec::with_capacity(chars.len()), Vec::with_capacity(chars.len() + 1));
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let begins_word =
            c.is_ascii_alphabetic() && !at.checked_sub(1).is_some_and(|at| chars[at].is_ascii_alphanumeric());
        let number = if begins_word { english(&chars, at) } else { numerals::chinese(&chars, at) };
        let (end, digits) = number.unwrap_or_else(|| (at + 1, c.to_string()));
        places.extend(digits.chars().map(|_| bytes[at]));
        read.extend(digits.chars());
        at = end;
    }
    places.push(text.len());
    (read, places)
}

/// What no reader sees, and what may part digits.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

fn plain(c: char) -> char {
    match c {
        '￥' => '¥',
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        other => other,
    }
}

const ONES: &[&str] = &[
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const ORDINALS: &[&str] = &[
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];
const TENTHS: &[&str] =
    &["twentieth", "thirtieth", "fortieth", "fiftieth", "sixtieth", "seventieth", "eightieth", "ninetieth"];
const SCALES: &[(&str, u64)] = &[("dozen", 12), ("hundred", 100), ("thousand", 1000), ("million", 1_000_000)];

/// After `one` these make it a number.
const COUNTED: &[&str] = &[
    "percent",
    "per",
    "euro",
    "dollar",
    "pound",
    "yuan",
    "cent",
    "minute",
    "hour",
    "day",
    "working",
    "business",
    "week",
    "month",
    "year",
    "left",
    "remaining",
];
/// After `second` these make it a number.
const COUNTED_SECOND: &[&str] =
    &["order", "purchase", "time", "reminder", "item", "delivery", "parcel", "package", "return", "visit"];

fn place(words: &[&str], word: &str) -> Option<u64> {
    words.iter().position(|it| *it == word).and_then(|at| u64::try_from(at).ok())
}

/// The word at `at` in small letters, and where it ends.
fn word(chars: &[char], at: usize) -> (String, usize) {
    let letters = chars.iter().skip(at).take(20).take_while(|c| c.is_ascii_alphabetic());
    let word: String = letters.map(char::to_ascii_lowercase).collect();
    let end = at + word.len();
    (word, end)
}

/// The word that follows one that ends at `end`, after one space or hyphen.
fn next(chars: &[char], end: usize) -> (String, usize) {
    match chars.get(end) {
        Some(' ' | '-' | '\u{A0}' | '‑') => word(chars, end + 1),
        _ => (String::new(), end),
    }
}

/// The number that begins at `at` with an English word, in digits, and where it ends.
fn english(chars: &[char], at: usize) -> Option<(usize, String)> {
    let (first, end) = word(chars, at);
    let (second, second_end) = next(chars, end);
    match first.as_str() {
        "half" if matches!(second.as_str(), "price" | "off" | "priced") => return Some((end, "50%".into())),
        "half" if matches!(second.as_str(), "a" | "an") => {
            let (unit, unit_end) = next(chars, second_end);
            if unit == "dozen" {
                return Some((unit_end, "6".into()));
            }
            return COUNTED.contains(&unit.as_str()).then(|| (second_end, "0.5".into()));
        }
        "fortnight" => return Some((end, "14 days".into())),
        "fiver" => return Some((end, "5".into())),
        "tenner" => return Some((end, "10".into())),
        "twice" => return Some((end, "2 times".into())),
        // `thanks a million`
        "a" if second == "million" => return None,
        "a" | "an" | "one" => {
            let (third, _) = next(chars, second_end);
            let percent = match second.as_str() {
                "half" => "50%",
                "third" => "33%",
                "quarter" => "25%",
                _ => "",
            };
            if !percent.is_empty() && third == "off" {
                return Some((second_end, percent.into()));
            }
            if !SCALES.iter().any(|(name, _)| *name == second) && first != "one" {
                return None;
            }
        }
        _ => {}
    }
    if let Some(ordinal) = place(ORDINALS, &first) {
        return ordinal_counts(chars, (at, end), ordinal + 1, &second).then(|| (end, ordinal_digits(ordinal + 1)));
    }
    if let Some(tens) = place(TENTHS, &first) {
        return Some((end, ordinal_digits((tens + 2) * 10)));
    }
    let (value, end, ordinal) = cardinal(chars, at)?;
    if value == 1 {
        let (unit, _) = next(chars, end);
        // `One day your ferns will thank you`
        let is_once = unit == "day" && chars[at].is_ascii_uppercase();
        return (COUNTED.contains(&unit.trim_end_matches('s')) && !is_once).then(|| (end, "1".into()));
    }
    Some((end, if ordinal { ordinal_digits(value) } else { value.to_string() }))
}

fn ordinal_digits(value: u64) -> String {
    format!("{value}th")
}

/// `first` and `second` are numbers in dates and beside what is counted only, `third` not in `third party`.
fn ordinal_counts(chars: &[char], (at, end): (usize, usize), ordinal: u64, next_word: &str) -> bool {
    let of_month = next_word == "of" && is_month(&next(chars, end + " of".len()).0);
    let before: String = chars[..at].iter().rev().skip(1).take_while(|c| c.is_ascii_alphabetic()).collect();
    let before: String = before.chars().rev().map(|c| c.to_ascii_lowercase()).collect();
    if of_month || is_month(&before) {
        return true;
    }
    match ordinal {
        1 => false,
        2 => COUNTED_SECOND.contains(&next_word),
        3 => !matches!(next_word, "party" | "parties"),
        _ => true,
    }
}

fn is_month(word: &str) -> bool {
    super::dates::MONTHS_WHOLE.contains(&word)
}

/// A number of several words, where it ends, and whether its last word is an ordinal.
fn cardinal(chars: &[char], at: usize) -> Option<(u64, usize, bool)> {
    let (mut total, mut current, mut end, mut at) = (0_u64, None::<u64>, at, at);
    loop {
        let (word, stop) = word(chars, at);
        let before = current.unwrap_or(0);
        // What may follow: hundreds may be followed by anything smaller, tens by ones.
        let room = if current.is_none() || before % 100 == 0 {
            100
        } else if before % 10 == 0 && before % 100 >= 20 {
            10
        } else {
            1
        };
        if matches!(word.as_str(), "a" | "an") && current.is_none() && total == 0 {
            current = Some(1);
        } else if let Some(one) = place(ONES, &word).map(|it| it + 1).filter(|one| *one < room) {
            current = Some(before + one);
        } else if let Some(ten) = place(TENS, &word).map(|it| (it + 2) * 10).filter(|_| room == 100) {
            current = Some(before + ten);
        } else if let Some((_, scale)) = SCALES.iter().find(|(name, _)| *name == word)
            && let Some(count) = current
        {
            let value = count.saturating_mul(*scale);
            if *scale >= 1000 {
                total += value;
                current = Some(0);
            } else {
                current = Some(value);
            }
        } else if let Some(ordinal) =
            place(ORDINALS, &word).map(|it| it + 1).filter(|it| *it < room && current.is_some())
        {
            return Some((total + before + ordinal, stop, true));
        } else {
            break;
        }
        end = stop;
        at = match chars.get(stop) {
            Some(' ' | '-' | '\u{A0}' | '‑') => stop + 1,
            _ => break,
        };
        // `one hundred and fifty`, not `two and three`.
        let (joined, joined_end) = self::word(chars, at);
        if joined == "and" && current.is_some_and(|current| current % 100 == 0) && chars.get(joined_end) == Some(&' ') {
            let (after, _) = self::word(chars, joined_end + 1);
            if place(ONES, &after).is_some() || place(TENS, &after).is_some() {
                at = joined_end + 1;
            }
        }
    }
    current.map(|current| (total + current, end, false))
}

#[cfg(test)]
mod tests {
    use super::read;

    fn plain(text: &str) -> String {
        read(text).0.into_iter().collect()
    }

    #[test]
    fn numbers_in_words_become_digits() {
        for (text, expected) in [
            ("twenty euros", "20 euros"),
            ("Twenty-five percent, one hundred and fifty dollars", "25 percent, 150 dollars"),
            ("a hundred dollars or two thousand three hundred", "100 dollars or 2300"),
            ("half price, half off, a third off", "50% price, 50% off, 33% off"),
            ("half an hour, half a dozen cups, a dozen", "0.5 hour, 6 cups, 12"),
            ("within one week and two days", "within 1 week and 2 days"),
            ("the twentieth of November, November twenty-first", "the 20th of November, November 21th"),
            (
                "on the first of May, your third order, your second order",
                "on the 1th of May, your 3th order, your 2th order",
            ),
            ("in a fortnight", "in a 14 days"),
            ("two, three", "2, 3"),
            ("ten million", "10000000"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "One of our team, no one, someone, at once, first of all, a second, everyone",
            "a third party, one another, often, tenant, weight, a few, a couple of days, an order",
            "Just give it a second. Once more, a hundredfold thanks? No: antennas",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn what_nobody_sees_is_left_out_and_places_stay() {
        let text = "5\u{200b}０ twenty é";
        let (chars, places) = read(text);
        assert_eq!(chars.iter().collect::<String>(), "50 20 é");
        assert_eq!(places, [0, 4, 7, 8, 8, 14, 15, 17]);
    }
}
