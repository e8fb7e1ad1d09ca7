//! Pauses: a rule, or all rules of a shop, stopped until somebody lifts it. They win over what the files say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A stop, in force or lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who: the name of a token, or the fuse that tripped.
    pub by: String,
    /// Why, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it was lifted. It stays on record: fuses count from then on, so that what tripped one does not trip it
    /// again at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Timestamp>,
}

/// What is paused in a shop, and what was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<String, Pause>);

impl Pauses {
    /// In place of a rule's id: all rules of the shop, those to come included. No rule can be called so.
    pub const ALL: &str = "*";

    /// What holds a rule, where something does: its own pause, else the shop's.
    pub fn of(&self, rule: &str) -> Option<&Pause> {
        self.own(rule).or_else(|| self.own(Self::ALL))
    }

    /// The pause of this very name: a rule's id, or [`Pauses::ALL`].
    pub fn own(&self, name: &str) -> Option<&Pause> {
        self.0.get(name).filter(|pause| pause.lifted.is_none())
    }

    /// When a rule was last let go on, by itself or with all others.
    pub fn lifted(&self, rule: &str) -> Option<Timestamp> {
        let lifted = |name| self.0.get(name).and_then(|pause: &Pause| pause.lifted);
        lifted(rule).max(lifted(Self::ALL))
    }

    /// The pauses in force, by rule; the shop's first.
    pub fn in_force(&self) -> impl Iterator<Item = (&str, &Pause)> {
        self.0.iter().filter(|(_, pause)| pause.lifted.is_none()).map(|(name, pause)| (name.as_str(), pause))
    }

    /// Puts one in the place of what there was.
    pub fn set(&mut self, name: String, pause: Pause) {
        self.0.insert(name, pause);
    }
}

impl FromIterator<(String, Pause)> for Pauses {
    fn from_iter<T: IntoIterator<Item = (String, Pause)>>(pauses: T) -> Self {
        Self(pauses.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn pause(since: i64, lifted: Option<i64>) -> Pause {
        Pause { since: at(since), by: "ana".into(), why: None, lifted: lifted.map(at) }
    }

    #[test]
    fn the_shops_pause_holds_every_rule_and_a_rules_own_comes_first() {
        let mut pauses: Pauses = [("greet".to_owned(), pause(1, None))].into_iter().collect();
        assert_eq!((pauses.of("greet").map(|it| it.since), pauses.of("tag")), (Some(at(1)), None));
        pauses.set(Pauses::ALL.to_owned(), pause(2, None));
        assert_eq!(pauses.of("greet").map(|it| it.since), Some(at(1)));
        assert_eq!(pauses.of("added-later").map(|it| it.since), Some(at(2)));
        assert_eq!(pauses.in_force().map(|(name, _)| name).collect::<Vec<_>>(), ["*", "greet"]);
        pauses.set(Pauses::ALL.to_owned(), pause(2, Some(5)));
        assert!(pauses.of("tag").is_none() && pauses.of("greet").is_some());
        assert_eq!((pauses.lifted("tag"), pauses.lifted("greet")), (Some(at(5)), Some(at(5))));
        pauses.set("greet".to_owned(), pause(1, Some(9)));
        assert_eq!((pauses.lifted("greet"), pauses.in_force().count()), (Some(at(9)), 0));
    }
}
