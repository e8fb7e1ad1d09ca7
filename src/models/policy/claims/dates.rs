//! Days that are written with digits: `23.11.2026`, `the 23rd of November`, `11月23日`.

use super::{Day, Scan};

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
pub(super) const MONTHS_WHOLE: &[&str] = &[
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

impl Scan {
    /// A number of at most `most` digits at `at`, and where it ends.
    pub(super) fn digits(&self, at: usize, most: usize) -> Option<(i16, usize)> {
        let end = self.run(at, |c| c.is_ascii_digit());
        let value = (end > at && end - at <= most).then(|| self.text(at..end).parse().ok())??;
        Some((value, end))
    }

    /// A date that begins with digits.
    pub(super) fn day_first(&self, from: usize) -> Option<(usize, Vec<Day>)> {
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
    pub(super) fn month_first(&self, from: usize) -> Option<(usize, Vec<Day>)> {
        let (month, end) = self.month(from)?;
        let end = self.run(end, |c| c == ' ' || c == '.');
        let (day, end) = self.digits(end, 2)?;
        let (year, end) = self.year_after(self.ordinal(end));
        Some((end, vec![day_of(year, month, day)?]))
    }

    pub(super) fn month(&self, at: usize) -> Option<(i16, usize)> {
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
