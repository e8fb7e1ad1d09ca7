//! Which versions of a rule are in force.
//!
//! Files are the wanted state. A version that a person pinned wins over the file until that changes, and a file that
//! cannot be used leaves everything as it was: no mistake in a file takes a rule out of force.

use std::sync::Arc;

use super::rule::{Rule, Status};
use crate::domain::{Pin, Versions};

/// What a rule's file wants.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// This.
    File(Arc<Rule>),
    /// Nothing that can be used: there is a mistake in it, or its tests fail.
    Unusable,
    /// Nothing: it is gone.
    Gone,
}

/// What decides which versions of a rule are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its file says so.
    File,
    /// A person pinned one.
    Pin,
    /// Its file cannot be used, and so it is as it was before.
    Before,
    /// Its file is gone, and the rule with it.
    Gone,
}

/// The versions of a rule that are in force, and what decides it: out of what its file wants, what is pinned, and what
/// was in force `before`. A pin that does not decide is lifted.
pub fn in_force(wanted: &Wanted, pin: Option<&Pin>, before: &Versions) -> (Versions, Because) {
    let rule = match wanted {
        Wanted::File(rule) => rule,
        Wanted::Unusable if pin.is_some_and(|pin| before.live.as_ref() == Some(&pin.version)) => {
            return (before.clone(), Because::Pin);
        }
        Wanted::Unusable => return (before.clone(), Because::Before),
        Wanted::Gone => return (Versions::default(), Because::Gone),
    };
    let shadow_beside = |live: &Option<String>| {
        (rule.status == Status::Shadow && live.as_ref() != Some(&rule.version)).then(|| rule.version.clone())
    };
    if let Some(pin) = pin.filter(|pin| pin.file.as_ref() == Some(&rule.version)) {
        let live = Some(pin.version.clone());
        return (Versions { shadow: shadow_beside(&live), live }, Because::Pin);
    }
    let live = match rule.status {
        Status::Live => Some(rule.version.clone()),
        Status::Shadow => before.live.clone(),
        Status::Draft | Status::Paused => None,
    };
    (Versions { shadow: shadow_beside(&live), live }, Because::File)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::Catalog;

    /// A file of this status; another `name` makes it another version.
    fn file(status: &str, name: &str) -> Arc<Rule> {
        let text =
            format!("id: r\nname: {name}\nstatus: {status}\ntriggers: [{{ event: order.created }}]\nscript: r.rhai\n");
        let read = super::super::read(Path::new("r.yaml"), &text, &|_| Ok("let a = 1;".into()), &Catalog::default());
        Arc::new(read.rule.expect("a rule"))
    }

    fn versions(live: Option<&str>, shadow: Option<&str>) -> Versions {
        Versions { live: live.map(str::to_owned), shadow: shadow.map(str::to_owned) }
    }

    fn pin(version: &str, file: Option<&str>) -> Pin {
        Pin { version: version.into(), file: file.map(str::to_owned) }
    }

    #[test]
    fn a_good_file_decides() {
        let before = versions(Some("old"), None);
        let decided = |status: &str| {
            let rule = file(status, "a");
            let (now, because) = in_force(&Wanted::File(rule.clone()), None, &before);
            assert_eq!(because, Because::File);
            let named = |it: Option<String>| it.map(|it| if it == rule.version { "new".to_owned() } else { it });
            Versions { live: named(now.live), shadow: named(now.shadow) }
        };
        assert_eq!(decided("live"), versions(Some("new"), None));
        assert_eq!(decided("shadow"), versions(Some("old"), Some("new")));
        assert_eq!(decided("draft"), versions(None, None));
        assert_eq!(decided("paused"), versions(None, None));

        let rule = file("shadow", "a");
        let before = versions(Some(&rule.version), None);
        assert_eq!(in_force(&Wanted::File(rule), None, &before).0, before, "nothing runs in its own shadow");
    }

    #[test]
    fn a_file_that_cannot_be_used_leaves_all_as_it_was() {
        let before = versions(Some("old"), Some("other"));
        assert_eq!(in_force(&Wanted::Unusable, None, &before), (before.clone(), Because::Before));
        for file in [None, Some("other")] {
            let pin = pin("old", file);
            assert_eq!(in_force(&Wanted::Unusable, Some(&pin), &before), (before.clone(), Because::Pin));
        }
    }

    #[test]
    fn a_pin_wins_until_the_file_changes() {
        let shadow = file("shadow", "a");
        let before = versions(Some("old"), Some(&shadow.version));
        // Promoted: it is live, and its own shadow no more.
        let promoted = pin(&shadow.version, Some(&shadow.version));
        let (now, because) = in_force(&Wanted::File(shadow.clone()), Some(&promoted), &before);
        assert_eq!((&now, because), (&versions(Some(&shadow.version), None), Because::Pin));
        // Rolled back: what the file wants to shadow goes on to shadow.
        let back = pin("old", Some(&shadow.version));
        let (now, because) = in_force(&Wanted::File(shadow.clone()), Some(&back), &now);
        assert_eq!((&now, because), (&versions(Some("old"), Some(&shadow.version)), Because::Pin));
        // Changed: the pin is lifted.
        let changed = file("live", "b");
        let (now, because) = in_force(&Wanted::File(changed.clone()), Some(&back), &now);
        assert_eq!((now, because), (versions(Some(&changed.version), None), Because::File));
        // Pinned while the file could not be used: whatever good file comes lifts it.
        let blind = pin("old", None);
        let (now, because) = in_force(&Wanted::File(changed.clone()), Some(&blind), &versions(Some("old"), None));
        assert_eq!((now, because), (versions(Some(&changed.version), None), Because::File));
    }

    #[test]
    fn a_rule_goes_with_its_file() {
        let pin = pin("old", Some("x"));
        let (now, because) = in_force(&Wanted::Gone, Some(&pin), &versions(Some("old"), Some("x")));
        assert_eq!((now, because), (versions(None, None), Because::Gone));
    }
}
