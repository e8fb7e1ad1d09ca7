//! Lengths of time as people write them: `30s`, `10m`, `24h`, `7d`.

use std::time::Duration;

/// Reads a length of time, of ten years at most.
///
/// # Errors
/// What to write instead.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    /// Keeps every sum of a time and a duration within the calendar.
    const LONGEST: u64 = 10 * 366 * 86_400;
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let how = "write a whole number and a unit, such as `30s`, `10m`, `24h` or `7d`";
    let number: u64 = number.parse().map_err(|_| how.to_owned())?;
    let each = match unit {
        "ms" => return bounded(Duration::from_millis(number), LONGEST),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "" => return Err(format!("write the unit too: `{number}s`, `{number}m`, `{number}h` or `{number}d`")),
        _ => return Err(how.to_owned()),
    };
    bounded(Duration::from_secs(number.saturating_mul(each)), LONGEST)
}

fn bounded(it: Duration, longest: u64) -> Result<Duration, String> {
    if it.as_secs() <= longest { Ok(it) } else { Err("write at most ten years (`3650d`)".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_says_what_to_write() {
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert!(parse_duration("10").is_err_and(|how| how.contains("`10m`")));
        for text in ["", "m", "-1h", "1.5h", "10 m", "10 minutes", "99999999999999999999s", "9999999999999d", "１0m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
