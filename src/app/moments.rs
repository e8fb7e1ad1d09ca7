//! Moments as people write them, here and on the command line: `14:00`, `2h`, `2026-11-24`, `2026-11-24T14:00`; in the
//! shop's time zone.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

/// What was written is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{written}` is not a moment")]
pub(crate) struct NotAMoment {
    /// Its beginning.
    written: String,
}

impl NotAMoment {
    /// What may be written, for people.
    pub(crate) const HINT: &str = "write `14:00`, `2h` or `30d` (ago), `2026-11-24` or `2026-11-24T14:00`";
}

/// The moment that is meant: a time of day is the last one that has been, a length of time is that long ago.
///
/// # Errors
/// [`NotAMoment`].
pub(crate) fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, NotAMoment> {
    let text = text.trim();
    let here = now.to_zoned_datetime(zone.clone());
    let at = || -> Option<Timestamp> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Some(moment);
        }
        if text.contains('-') {
            let day = || text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0));
            let local = text.parse::<DateTime>().ok().filter(|_| text.contains([':', 'T'])).or_else(day)?;
            return Some(local.to_zoned_datetime(zone.clone()).ok()?.timestamp());
        }
        if text.contains(':') {
            return time_of_day(text.parse().ok()?, &here);
        }
        Some(here.checked_sub(text.parse::<Span>().ok()?.abs()).ok()?.timestamp())
    };
    at().ok_or_else(|| NotAMoment { written: text.chars().take(40).collect() })
}

fn time_of_day(time: Time, here: &ZonedDateTime) -> Option<Timestamp> {
    let zone = here.time_zone().clone();
    let today = here.date().to_datetime(time).to_zoned_datetime(zone.clone()).ok()?;
    if today.timestamp() <= here.timestamp() {
        return Some(today.timestamp());
    }
    let yesterday = here.date().yesterday().ok()?.to_datetime(time).to_zoned_datetime(zone).ok()?;
    Some(yesterday.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_shops_clock() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let now: Timestamp = "2026-11-24T12:30:00Z".parse().expect("a time");
        for (text, meant) in [
            ("13:00", "2026-11-24T12:00:00Z"),
            ("13:30", "2026-11-24T12:30:00Z"),
            ("14:00", "2026-11-23T13:00:00Z"),
            ("00:00:30", "2026-11-23T23:00:30Z"),
            ("2h", "2026-11-24T10:30:00Z"),
            ("1d 30m", "2026-11-23T12:00:00Z"),
            ("2w", "2026-11-10T12:30:00Z"),
            ("2026-11-24", "2026-11-23T23:00:00Z"),
            ("2026-11-24T09:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24 09:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24T09:00:00Z", "2026-11-24T09:00:00Z"),
        ] {
            assert_eq!(moment(text, now, &zone).map(|at| at.to_string()), Ok(meant.to_owned()), "{text}");
        }
        for text in ["", "yesterday", "25:00", "2026-13-01", "14", "30", "2026-11-24T", "-"] {
            let told = moment(text, now, &zone).map_err(|error| error.to_string());
            assert_eq!(told, Err(format!("`{text}` is not a moment")));
        }
    }
}
