//! Moments as people give them on the command line.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::Hinted;

/// Reads a moment: a length of time back from `now` (`30d`), a day, a day with its time in the shop's time zone, or a
/// moment of any zone.
///
/// # Errors
/// What can be written.
pub(super) fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Hinted> {
    let ago = || now.to_zoned_datetime(zone.clone()).checked_sub(text.parse::<Span>().ok()?.abs()).ok();
    let day = || text.parse::<Date>().ok()?.to_zoned_datetime(zone.clone()).ok();
    let local = || text.parse::<DateTime>().ok()?.to_zoned_datetime(zone.clone()).ok();
    let is_span = !text.contains('-') && !text.contains(':');
    let read = text.parse::<Timestamp>().ok().or_else(|| {
        let zoned = if is_span { ago() } else { local().or_else(day) };
        zoned.map(|zoned| zoned.timestamp())
    });
    read.ok_or_else(|| {
        Hinted::new(
            format!("`{text}` is not a moment"),
            "write how long ago (`30d`, `12h`), a day (`2026-11-01`), or a day and time (`2026-11-01T14:00`)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_the_shops_zone() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("time");
        let zone = TimeZone::get("Europe/Berlin").expect("zone");
        let read = |text: &str| moment(text, now, &zone).map(|at| at.to_string()).map_err(|error| error.to_string());
        for (text, at) in [
            ("30d", "2026-10-26T12:00:00Z"),
            ("12h", "2026-11-25T00:00:00Z"),
            ("2w", "2026-11-11T12:00:00Z"),
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-01T14:00", "2026-11-01T13:00:00Z"),
            ("2026-11-01T14:00:00Z", "2026-11-01T14:00:00Z"),
        ] {
            assert_eq!(read(text), Ok(at.to_owned()), "{text}");
        }
        for text in ["", "yesterday", "30", "2026-13-01", "-"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
