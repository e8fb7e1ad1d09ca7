//! Plugins that keep breaking off are left alone for a while, longer each time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So often in a row, and it is suspended.
const MOST_IN_A_ROW: u32 = 5;
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// What each plugin, by name and version, has done lately. In memory only: a new start tries all of them again.
#[derive(Default)]
pub(super) struct Suspension(Mutex<BTreeMap<String, Lately>>);

#[derive(Clone)]
struct Lately {
    in_a_row: u32,
    until: Option<Instant>,
    why: String,
}

impl Suspension {
    /// How long it is still suspended, and why.
    pub(super) fn left(&self, plugin: &str, now: Instant) -> Option<(Duration, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = all.get(plugin)?;
        let left = lately.until?.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let why =
            format!("`{plugin}` is suspended after it broke off {} times in a row: {}", lately.in_a_row, lately.why);
        Some((left, why))
    }

    /// It came to its end.
    pub(super) fn went_well(&self, plugin: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(plugin);
    }

    /// It broke off. Says for how long it is suspended from now on, where it is.
    pub(super) fn broke(&self, plugin: &str, why: &str, now: Instant) -> Option<Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Lately { in_a_row: 0, until: None, why: String::new() };
        let lately = all.entry(plugin.to_owned()).or_insert(new);
        lately.in_a_row = lately.in_a_row.saturating_add(1);
        why.clone_into(&mut lately.why);
        let over = lately.in_a_row.checked_sub(MOST_IN_A_ROW)?;
        let pause = FIRST.saturating_mul(1_u32.checked_shl(over).unwrap_or(u32::MAX)).min(LONGEST);
        lately.until = now.checked_add(pause);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_breaking_off_is_left_alone_longer_each_time_and_no_longer_than_an_hour() {
        let (suspension, now) = (Suspension::default(), Instant::now());
        let pauses: Vec<u64> =
            (0..20).map(|_| suspension.broke("a-b 1.0.0", "a loop", now).map_or(0, |pause| pause.as_secs())).collect();
        assert_eq!(pauses[..6], [0, 0, 0, 0, 60, 120]);
        assert_eq!(pauses[19], 3600);
        let (left, why) = suspension.left("a-b 1.0.0", now).expect("suspended");
        assert_eq!(left.as_secs(), 3600);
        assert_eq!(why, "`a-b 1.0.0` is suspended after it broke off 20 times in a row: a loop");
        assert_eq!(suspension.left("a-b 1.0.0", now + Duration::from_secs(3600)), None);
        assert_eq!(suspension.left("a-c 1.0.0", now), None);
        suspension.went_well("a-b 1.0.0");
        assert_eq!(suspension.left("a-b 1.0.0", now), None);
    }
}
