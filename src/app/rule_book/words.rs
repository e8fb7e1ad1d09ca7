//! How a rule stands, in words: what is live, what decides it, and what would change it.

use std::collections::BTreeMap;

use serde_json::json;

use super::Entry;
use crate::domain::RoleChange;
use crate::rules::{Because, Status};

/// A version's name as people read it: its beginning, which is enough to name it by.
pub(super) fn short(version: &str) -> &str {
    version.get(..8).unwrap_or(version)
}

/// When and from where a version came into its role.
pub(super) fn since(change: &RoleChange) -> String {
    format!("since {:.0} ({})", change.at, change.origin)
}

/// The file that is meant, for people.
pub(super) fn file(entry: &Entry) -> String {
    let good = entry.file.as_ref().map(|rule| &rule.file);
    let file = good.or(entry.refused.as_ref().map(|refused| &refused.file));
    file.map_or_else(|| "its file".to_owned(), |file| file.display().to_string())
}

/// A status as files write it.
pub(super) fn status(status: Status) -> String {
    json!(status).as_str().unwrap_or_default().to_owned()
}

/// How a rule stands: what is live, what runs in its shadow, what decides it and what would change it.
pub(super) fn stands(id: &str, entry: &Entry) -> Vec<String> {
    let mut said = Vec::new();
    said.push(match &entry.roles.live {
        Some(live) => format!("version {} of `{id}` is live {}", short(&live.version), since(live)),
        None => format!("no version of `{id}` is live"),
    });
    if let Some(shadow) = &entry.roles.shadow {
        let (version, since) = (short(&shadow.version), since(shadow));
        said.push(format!("version {version} runs in its shadow {since}; `storehand rules activate {id}` promotes it"));
    }
    said.push(decides(id, entry));
    said.extend(entry.unreadable.iter().cloned());
    said
}

fn decides(id: &str, entry: &Entry) -> String {
    let file = file(entry);
    match (entry.because, &entry.file, &entry.refused) {
        (Because::Pin, Some(rule), _) => format!(
            "that is pinned: {file} holds version {} with `status: {}`, and any change saved to it lifts the pin",
            short(&rule.version),
            status(rule.status),
        ),
        (Because::Pin, None, _) => {
            format!("that is pinned; {file} cannot be used now, and lifts the pin as soon as it can: {}", why(entry))
        }
        (Because::File, Some(rule), _) => {
            let effect = match rule.status {
                Status::Live => "",
                Status::Shadow if entry.roles.live.is_none() => ": it runs in the shadow alone",
                Status::Shadow => ": the version before it stays live",
                Status::Draft | Status::Paused => ": it starts no runs, and those under way go on",
            };
            format!("{file} decides that, with `status: {}`{effect}", status(rule.status))
        }
        (Because::Before, ..) if entry.roles.live.is_none() && entry.roles.shadow.is_none() => {
            format!("{file} cannot be used: {}", why(entry))
        }
        (Because::Before, ..) => {
            format!("{file} cannot be used, and what ran before goes on until it is mended: {}", why(entry))
        }
        (Because::File | Because::Gone, ..) => {
            format!(
                "the file of `{id}` is gone: it starts no runs, and those under way go on; put the file back to run it"
            )
        }
    }
}

fn why(entry: &Entry) -> &str {
    entry.refused.as_ref().map_or("nobody knows why (a bug in Storehand)", |refused| &refused.why)
}

/// What would undo a pin, and what pins it.
pub(super) fn lifts(entry: &Entry) -> String {
    let file = file(entry);
    match &entry.refused {
        None => format!("it stays so until a change is saved to {file}"),
        Some(_) => format!("it stays so until {file} can be used again"),
    }
}

/// How all rules stand, in a few words that anybody may read.
pub(super) fn in_short(rules: &BTreeMap<String, Entry>) -> String {
    let live = rules.values().filter(|entry| entry.roles.live.is_some()).count();
    match rules.values().filter(|entry| entry.refused.is_some()).count() {
        0 => format!("{live} live"),
        refused => format!("{live} live; {refused} cannot be taken from the folder, see the log"),
    }
}
