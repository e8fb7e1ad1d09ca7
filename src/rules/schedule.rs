//! When a rule runs by itself: `schedule: "0 9 * * 1"`, in the shop's time zone or the rule's own.
//!
//! When clocks change, a schedule that names its hours follows the clock on the wall: a time that comes twice counts
//! once, the first time, and one that does not come is made up for as much later as the clock jumped. One that leaves
//! the hour open (`*/15 * * * *`) follows real time: it goes on through the hour that comes twice.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

/// A rule's own times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    times: Times,
    zone: Option<TimeZone>,
    missed: Missed,
}

/// What becomes of the times that passed while nobody was there to see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are made up for, all of them together once.
    #[default]
    Once,
    /// They are left out.
    Skip,
}

impl Schedule {
    /// The type of the event that comes of a schedule. Its subject is `rule/ID`, and only that rule hears it.
    pub const DUE: &str = "schedule.due";

    pub(super) fn new(times: Times, zone: Option<TimeZone>, missed: Missed) -> Self {
        Self { times, zone, missed }
    }

    /// The five fields, as they were written, with one space between them.
    pub fn expression(&self) -> &str {
        &self.times.text
    }

    /// The zone that the rule names; the shop's where it names none.
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    /// What becomes of times that passed unseen.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// The first of its times after `moment`, where the shop's clocks are those of `shop`; `None` where none comes
    /// any more.
    pub fn next_after(&self, moment: Timestamp, shop: &TimeZone) -> Option<Timestamp> {
        self.times.next_after(moment, self.zone.as_ref().unwrap_or(shop))
    }
}

/// The times of a day, week and year, as cron writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Times {
    text: String,
    cron: Arc<Cron>,
}

/// What is wrong with a schedule: a sentence, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongTimes {
    pub(super) message: String,
    pub(super) hint: String,
}

/// The fields of a schedule, each with what may stand there.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "minutes are 0 to 59"),
    ("hour", "hours are 0 to 23"),
    ("day", "days of the month are 1 to 31, `L` is the last"),
    ("month", "months are 1 to 12 or `JAN` to `DEC`"),
    ("weekday", "weekdays are 0 (Sunday) to 6 or `SUN` to `SAT`"),
];

/// Names that other programs have for some times.
const NAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const EXAMPLE: &str = "`0 9 * * 1` is Mondays at 9:00, `*/15 * * * *` every 15 minutes";

/// The longest that clocks jump forward.
const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(3);

impl Times {
    /// Reads five fields: minute, hour, day of the month, month, weekday.
    pub(super) fn read(written: &str) -> Result<Self, WrongTimes> {
        let fields: Vec<&str> = written.split_whitespace().collect();
        let Ok(five) = <[&str; 5]>::try_from(fields.as_slice()) else { return Err(wrong_number(&fields)) };
        let text = fields.join(" ");
        let Ok(cron) = parse(&text).map(Arc::new) else { return Err(wrong_field(five)) };
        let it = Self { text, cron };
        // From a moment that is always the same: a file must not become wrong with time.
        if it.next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_none() {
            return Err(WrongTimes {
                message: format!("`{}` never comes", it.text),
                hint: "no year has such a day (30 February, say); look at the day and the month".to_owned(),
            });
        }
        Ok(it)
    }

    fn next_after(&self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.cron.pattern.hours.from_wildcard {
            let start = Clock(moment.to_zoned_datetime(zone.clone()));
            let Clock(next) = self.cron.find_next_occurrence(&start, false).ok()?;
            return Some(next.timestamp());
        }
        // On the wall, which knows no gaps. Times that fell into one come after it, so the search begins before.
        let mut wall = Clock(on_the_wall(zone.to_datetime(moment.checked_sub(LONGEST_GAP).ok()?))?);
        let mut first = None;
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let local = wall.0.datetime();
            let it = zone.to_timestamp(local).ok()?;
            if it > moment && first.is_none_or(|first| it < first) {
                first = Some(it);
            }
            // What stands later on the wall comes later too, unless the clock jumps in between.
            if let Some(first) = first.filter(|first| zone.to_datetime(*first) <= local) {
                return Some(first);
            }
        }
    }
}

fn parse(text: &str) -> Result<Cron, CronError> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text)
}

fn wrong_number(fields: &[&str]) -> WrongTimes {
    let named = NAMES.iter().find(|(name, _)| fields == [*name]);
    let hint = match (named, fields.len()) {
        (Some((_, times)), _) => format!("write `{times}`"),
        (None, 6) => format!("there are no seconds here; {EXAMPLE}"),
        _ => EXAMPLE.to_owned(),
    };
    let has = match fields.len() {
        1 => "1 field".to_owned(),
        many => format!("{many} fields"),
    };
    let message = format!("a schedule has five fields (minute, hour, day, month, weekday), and this has {has}");
    WrongTimes { message, hint }
}

/// Each field is read alone: the library does not say which one it did not understand.
fn wrong_field(fields: [&str; 5]) -> WrongTimes {
    let alone = |at: usize, field: &str| {
        let mut five = ["*"; 5];
        five[at] = field;
        parse(&five.join(" "))
    };
    let wrong = fields.iter().enumerate().find(|(at, field)| alone(*at, field).is_err());
    let (message, hint) = match wrong {
        Some((at, field)) => {
            let (name, range) = FIELDS[at];
            let field: String = field.chars().take(40).collect();
            (format!("the {name} of a schedule cannot be `{field}`"), range)
        }
        None => ("this is not a schedule".to_owned(), "write minute, hour, day, month, weekday"),
    };
    WrongTimes { message, hint: format!("{hint}; {EXAMPLE}") }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expression())?;
        match self.zone.as_ref().and_then(TimeZone::iana_name) {
            Some(zone) => write!(f, " {zone}"),
            None => Ok(()),
        }
    }
}

/// A moment for the cron library, which knows jiff only in an older version.
#[derive(Clone)]
struct Clock(ZonedDateTime);

/// A local time where clocks never change.
fn on_the_wall(local: DateTime) -> Option<ZonedDateTime> {
    local.to_zoned_datetime(TimeZone::UTC).ok()
}

impl CronDateTime for Clock {
    fn to_civil(&self) -> CivilDateTime {
        let it = self.0.datetime();
        // What is not negative keeps its value.
        let [month, day, hour, minute, second] =
            [it.month(), it.day(), it.hour(), it.minute(), it.second()].map(|part| u32::from(part.unsigned_abs()));
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(it.year().into(), month, day),
            CivilTime::from_parts_unchecked(hour, minute, second),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::from(self.0.weekday().to_sunday_zero_offset().unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidTime);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let local = DateTime::new(
            year,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        );
        let local = local.map_err(|_| CronError::InvalidDate)?;
        let found = self.0.time_zone().to_ambiguous_zoned_datetime(local);
        let kept = |it: Result<ZonedDateTime, jiff::Error>| it.map(Clock).map_err(|_| CronError::InvalidTime);
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(kept(found.unambiguous())?),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(kept(found.clone().earlier())?, kept(found.later())?),
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect(name)
    }

    /// The next times after a moment, on the clocks of a zone.
    fn next(text: &str, name: &str, after: &str, count: usize) -> Vec<String> {
        let times = Times::read(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let zone = zone(name);
        let mut at: Timestamp = after.parse().expect("time");
        let next = || {
            at = times.next_after(at, &zone)?;
            Some(at.to_zoned_datetime(zone.clone()).strftime("%F %H:%M %z").to_string())
        };
        std::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn times_come_in_the_zone_of_the_shop_or_of_the_rule() {
        let times = Times::read(" 0  9 * * mon ").expect("times");
        let of_shop = Schedule::new(times.clone(), None, Missed::Once);
        let of_rule = Schedule::new(times, Some(zone("Asia/Shanghai")), Missed::Skip);
        assert_eq!(
            (of_shop.to_string(), of_rule.to_string()),
            ("0 9 * * mon".into(), "0 9 * * mon Asia/Shanghai".into())
        );
        let monday: Timestamp = "2026-11-23T00:30:00Z".parse().expect("time");
        let next = |schedule: &Schedule| schedule.next_after(monday, &zone("Europe/Berlin")).map(|it| it.to_string());
        assert_eq!(next(&of_shop).as_deref(), Some("2026-11-23T08:00:00Z"));
        assert_eq!(next(&of_rule).as_deref(), Some("2026-11-23T01:00:00Z"));
        let at_nine: Timestamp = "2026-11-23T08:00:00Z".parse().expect("time");
        let later = of_shop.next_after(at_nine, &zone("Europe/Berlin")).map(|it| it.to_string());
        assert_eq!(later.as_deref(), Some("2026-11-30T08:00:00Z"), "after it, not at it");
    }

    #[test]
    fn a_time_that_does_not_exist_is_made_up_for_once() {
        // In Berlin the clock jumps from 2:00 to 3:00 on 29 March 2026.
        let night = "2026-03-28T12:00:00Z";
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", night, 3),
            ["2026-03-29 03:30 +0200", "2026-03-30 02:30 +0200", "2026-03-31 02:30 +0200"]
        );
        assert_eq!(
            next("0 2,3 * * *", "Europe/Berlin", night, 2),
            ["2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"],
            "two that fall together come once"
        );
        // A process that starts between the jump and the time that makes up for it.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-29T01:10:00Z", 1), ["2026-03-29 03:30 +0200"]);
        // Half an hour, so that what is made up for and what is not come out of order on the wall.
        assert_eq!(
            next("0,20,40 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 4),
            ["2026-10-04 02:30 +1100", "2026-10-04 02:40 +1100", "2026-10-04 02:50 +1100", "2026-10-05 02:00 +1100"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_counts_the_first_time() {
        // In Berlin the clock goes back from 3:00 to 2:00 on 25 October 2026.
        let night = "2026-10-24T12:00:00Z";
        for text in ["30 2 * * *", "30 2,14 * * *", "30 2-2 * * *"] {
            let found = next(text, "Europe/Berlin", night, 3);
            assert_eq!(
                found.iter().filter(|it| it.starts_with("2026-10-25 02:30")).collect::<Vec<_>>(),
                ["2026-10-25 02:30 +0200"]
            );
        }
        assert_eq!(
            next("0,30 2 * * *", "Europe/Berlin", "2026-10-25T00:40:00Z", 2),
            ["2026-10-26 02:00 +0100", "2026-10-26 02:30 +0100"],
            "begun within the first pass"
        );
    }

    #[test]
    fn an_open_hour_goes_on_through_both() {
        assert_eq!(
            next("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 4),
            ["2026-10-25 02:30 +0200", "2026-10-25 02:30 +0100", "2026-10-25 03:30 +0100", "2026-10-25 04:30 +0100"]
        );
        assert_eq!(
            next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:45:00Z", 3),
            ["2026-03-29 03:00 +0200", "2026-03-29 03:30 +0200", "2026-03-29 04:00 +0200"]
        );
        assert_eq!(next("* * * * *", "UTC", "2026-03-29T00:45:30.5Z", 1), ["2026-03-29 00:46 +0000"]);
    }

    #[test]
    fn rare_days_are_found() {
        assert_eq!(
            next("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
            ["2028-02-29 00:00 +0000", "2032-02-29 00:00 +0000"]
        );
        assert_eq!(next("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", 1), ["2026-02-28 00:00 +0000"]);
        assert_eq!(next("0 8 * * 5#1", "UTC", "2026-02-01T00:00:00Z", 1), ["2026-02-06 08:00 +0000"]);
    }

    #[test]
    fn what_is_no_schedule_is_told_what_to_write() {
        for (text, message, hint) in [
            ("", "this has 0 fields", "Mondays at 9:00"),
            ("9:00", "this has 1 field", "Mondays at 9:00"),
            ("0 0 9 * * 1", "this has 6 fields", "there are no seconds here"),
            ("@daily", "this has 1 field", "write `0 0 * * *`"),
            ("60 9 * * 1", "the minute of a schedule cannot be `60`", "0 to 59"),
            ("0 25 * * *", "the hour of a schedule cannot be `25`", "0 to 23"),
            ("0 9 0 * *", "the day of a schedule cannot be `0`", "1 to 31"),
            ("0 9 * 13 *", "the month of a schedule cannot be `13`", "1 to 12"),
            ("0 9 * * monday", "the weekday of a schedule cannot be `monday`", "`SUN` to `SAT`"),
            ("0 9 * * 1-", "the weekday of a schedule cannot be `1-`", "weekdays are"),
            ("*/0 * * * *", "the minute of a schedule cannot be `*/0`", "minutes are"),
            ("0 9 30 2 *", "`0 9 30 2 *` never comes", "30 February"),
            ("0 9 31 4,6 *", "`0 9 31 4,6 *` never comes", "look at the day and the month"),
        ] {
            let wrong = Times::read(text).expect_err(text);
            assert!(wrong.message.contains(message) && wrong.hint.contains(hint), "{text}: {wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-0-9*/,LW#?+ a-zA-Z@]{0,20}") {
            let _ = Times::read(&text);
        }

        #[test]
        fn each_time_comes_after_the_last_and_stands_on_the_wall(
            minute in 0_u32..60, hour in 0_u32..24, start in 0_i64..4_000_000_000, at in 0_usize..4,
        ) {
            let zone = zone(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai"][at]);
            let times = Times::read(&format!("{minute} {hour} * * *")).expect("times");
            let start = Timestamp::from_second(start).expect("time");
            let next = times.next_after(start, &zone).expect("a time");
            prop_assert!(next > start);
            // Within a day and what a clock may jump, at that hour and minute or in the place of one that was left out.
            prop_assert!(next.duration_since(start) <= SignedDuration::from_hours(25));
            let local = next.to_zoned_datetime(zone.clone()).datetime();
            let wanted = local.date().at(i8::try_from(hour).expect("hour"), i8::try_from(minute).expect("minute"), 0, 0);
            prop_assert_eq!(zone.to_timestamp(wanted).expect("time"), next);
        }
    }
}
