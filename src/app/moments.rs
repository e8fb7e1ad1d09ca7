//! Moments as people write them: `14:00`, `2h`, `2026-11-24`, `2026-11-24T14:00`; in the shop's time zone.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

/// The moment that is meant: a time of day is the last one that has been, a length of time is that long ago.
///
/// # Errors
/// What may be written, for people.
pub(super) fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
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
    at().ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("`{shown}` is not a moment; write `14:00`, `2h` (ago), `2026-11-24` or `2026-11-24T14:00`")
    })
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
            ("2026-11-24", "2026-11-23T23:00:00Z"),
            ("2026-11-24T09:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24 09:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24T09:00:00Z", "2026-11-24T09:00:00Z"),
        ] {
            assert_eq!(moment(text, now, &zone).map(|at| at.to_string()), Ok(meant.to_owned()), "{text}");
        }
        for text in ["", "yesterday", "25:00", "2026-13-01", "14", "2026-11-24T", "-"] {
            assert!(moment(text, now, &zone).is_err_and(|told| told.contains("`14:00`")), "{text}");
        }
    }
}
