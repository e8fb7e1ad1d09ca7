//! Versions of rules: which one is in which role, since when and from where.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a version of a rule is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It starts runs.
    Live,
    /// It runs in the shadow of the live one.
    Shadow,
    /// It starts no runs any more.
    Off,
}

/// What happens to waiting runs when a new version goes live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// They end as they began.
    #[default]
    FinishOld,
    /// They are replayed on the new version.
    Migrate,
    /// They end as `cancelled`.
    Cancel,
}

/// What put a version into its role. As text: `file rules/x.yaml`, `removed`, `activate by ana`, `rollback by ana`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The rule's file.
    File(String),
    /// The rule's file is gone.
    Removed,
    /// A person, by the name of their token.
    Activate(String),
    /// A person who went back to what was live before.
    Rollback(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {path}"),
            Self::Removed => f.write_str("removed"),
            Self::Activate(who) => write!(f, "activate by {who}"),
            Self::Rollback(who) => write!(f, "rollback by {who}"),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = |start: &str| text.strip_prefix(start).map(str::to_owned);
        let found = rest("file ").map(Self::File);
        let found = found.or_else(|| rest("activate by ").map(Self::Activate));
        let found = found.or_else(|| rest("rollback by ").map(Self::Rollback));
        let found = found.or_else(|| (text == "removed").then_some(Self::Removed));
        found.ok_or_else(|| format!("`{text}` does not say where a version came from"))
    }
}

/// A version went into a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// Grows with every change; 0 before it is on record.
    pub id: i64,
    /// The rule's id.
    pub rule: String,
    /// The version.
    pub version: String,
    /// What it is used for from then on.
    pub role: Role,
    /// When.
    pub at: Timestamp,
    /// What did it.
    pub origin: Origin,
    /// What becomes of the runs that wait on other versions: where a version took another's place as the live one.
    pub on_change: Option<OnChange>,
}

/// A version that a person put live in place of what the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The version.
    pub version: String,
    /// The file's version at that time; none where the file could not be used. Another one lifts the pin.
    pub file: Option<String>,
}

/// The versions of a rule that start runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// For the world.
    pub live: Option<String>,
    /// In the shadow of the live one.
    pub shadow: Option<String>,
}

/// A rule's roles as its history has left them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// What made the live version live.
    pub live: Option<RoleChange>,
    /// What made the shadow one.
    pub shadow: Option<RoleChange>,
}

impl Roles {
    /// What a rule's history comes to.
    pub fn of<'c>(history: impl IntoIterator<Item = &'c RoleChange>) -> Self {
        let mut roles = Self::default();
        history.into_iter().for_each(|change| roles.take(change));
        roles
    }

    /// Takes one more change in.
    pub fn take(&mut self, change: &RoleChange) {
        let is_it = |role: &Option<RoleChange>| role.as_ref().is_some_and(|it| it.version == change.version);
        match change.role {
            Role::Live => {
                if is_it(&self.shadow) {
                    self.shadow = None;
                }
                self.live = Some(change.clone());
            }
            Role::Shadow => self.shadow = Some(change.clone()),
            Role::Off => {
                if is_it(&self.live) {
                    self.live = None;
                }
                if is_it(&self.shadow) {
                    self.shadow = None;
                }
            }
        }
    }

    /// The versions alone.
    pub fn versions(&self) -> Versions {
        let version = |role: &Option<RoleChange>| role.as_ref().map(|it| it.version.clone());
        Versions { live: version(&self.live), shadow: version(&self.shadow) }
    }
}

impl Versions {
    /// What is to be put on record where these become `next`, in this order.
    pub fn changes_to(&self, next: &Self) -> Vec<(String, Role)> {
        let mut changes = Vec::new();
        match (&self.live, &next.live) {
            (before, after) if before == after => {}
            (_, Some(version)) => changes.push((version.clone(), Role::Live)),
            (Some(version), None) => changes.push((version.clone(), Role::Off)),
            (None, None) => {}
        }
        match (&self.shadow, &next.shadow) {
            (before, after) if before == after => {}
            (_, Some(version)) => changes.push((version.clone(), Role::Shadow)),
            // A shadow that went live is no shadow any more; that is on record.
            (Some(version), None) if next.live.as_ref() == Some(version) => {}
            (Some(version), None) => changes.push((version.clone(), Role::Off)),
            (None, None) => {}
        }
        changes
    }
}

/// The version that was live before the one that is live now: where going back leads. Who went back and goes back again
/// comes to the one before that, not to where they came from.
pub fn previous(history: &[RoleChange]) -> Option<&str> {
    let mut stack: Vec<&str> = Vec::new();
    for change in history.iter().filter(|change| change.role == Role::Live) {
        let version = change.version.as_str();
        match (&change.origin, stack.iter().rposition(|it| *it == version)) {
            (Origin::Rollback(_), Some(at)) => stack.truncate(at + 1),
            _ if stack.last() == Some(&version) => {}
            _ => stack.push(version),
        }
    }
    stack.pop();
    stack.pop()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(version: &str, role: Role, origin: Origin) -> RoleChange {
        let (rule, version, at) = ("r".to_owned(), version.to_owned(), Timestamp::UNIX_EPOCH);
        RoleChange { id: 0, rule, version, role, at, origin, on_change: None }
    }

    #[test]
    fn where_a_version_came_from_reads_back() {
        let all = [
            Origin::File("rules/a b.yaml".into()),
            Origin::Removed,
            Origin::Activate("ana".into()),
            Origin::Rollback("b".into()),
        ];
        for origin in all {
            assert_eq!(origin.to_string().parse(), Ok(origin));
        }
        assert!("somewhere".parse::<Origin>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_put_on_record_comes_to_what_is_in_force(
            steps in proptest::collection::vec((proptest::option::of(0_u8..4), proptest::option::of(0_u8..4)), 0..12),
        ) {
            let mut history = Vec::new();
            let mut before = Versions::default();
            for (live, shadow) in steps {
                let named = |it: Option<u8>| it.map(|it| format!("v{it}"));
                // No version is both.
                let next = Versions { live: named(live), shadow: named(shadow.filter(|_| shadow != live)) };
                let changes = before.changes_to(&next);
                history.extend(changes.iter().map(|(version, role)| change(version, *role, Origin::Removed)));
                prop_assert_eq!(&Roles::of(&history).versions(), &next);
                before = next;
            }
        }
    }

    #[test]
    fn going_back_twice_goes_back_twice() {
        let file = |version| change(version, Role::Live, Origin::File("r.yaml".into()));
        let back = |version| change(version, Role::Live, Origin::Rollback("ana".into()));
        let mut history = vec![file("1")];
        assert_eq!(previous(&history), None);
        history.extend([file("2"), change("3", Role::Shadow, Origin::Removed), file("3")]);
        assert_eq!(previous(&history), Some("2"));
        history.push(back("2"));
        assert_eq!(previous(&history), Some("1"));
        history.push(back("1"));
        assert_eq!(previous(&history), None);
        history.extend([change("1", Role::Off, Origin::Removed), file("4")]);
        assert_eq!(previous(&history), Some("1"), "what was off in between counts");
        history.push(change("2", Role::Live, Origin::Activate("ana".into())));
        assert_eq!(previous(&history), Some("4"));
    }
}
