//! What people ask of the rule book: to put a version live, or to go back to the one before.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Book, Entry, Held, Wish, words};
use crate::domain::{OnChange, Origin, Pin, Role, RoleChange, previous};
use crate::engine::{Engine, Foreseen, foresee};
use crate::http::{Activation, SteerError, Target};
use crate::rules::{Because, Rule, Status};

/// Runs that are named where it is said what becomes of them.
const NAMED: usize = 20;

impl Book {
    /// Puts a version live, or says what that would do.
    pub(in crate::app) async fn activate(
        &self,
        engine: &Engine,
        who: &str,
        asked: &Activation,
    ) -> Result<Json, SteerError> {
        let mut held = self.held.lock().await;
        let entry = known(&held, &asked.rule)?.clone();
        let id = &asked.rule;
        if entry.because == Because::Gone {
            return Err(SteerError::Conflict(format!("the file of `{id}` is gone: put it back to run the rule")));
        }
        let history = self.store.role_changes(&self.shop, Some(id)).await.map_err(failed)?;
        let version = self.meant(id, &entry, &history, &asked.target).await?;
        self.refuse(id, &entry, &version, asked, &held)?;
        let rule = self.runnable(&held, id, &version, &entry, &history).await?;

        let becomes = asked.on_change.unwrap_or(rule.on_change);
        let foreseen = foresee(&self.store, &self.registry, &self.shop, &rule, becomes, self.clock.now()).await;
        let foreseen = foreseen.map_err(failed)?;
        let file = entry.file.as_ref().filter(|file| file.version == version && file.status == Status::Live);
        let mut told = json!({
            "rule": id,
            "version": version,
            "instead_of": entry.roles.live.as_ref().map(|live| &live.version),
            "on_change": becomes,
            "on_change_by": if asked.on_change.is_some() { "command" } else { "rule" },
            "waiting": waiting(&foreseen, becomes),
            "done": !asked.only_look,
        });
        if asked.only_look {
            told["says"] = json!(would(id, &entry, &rule, file.is_some()));
            return Ok(told);
        }
        // Where the file says the same, it decides again.
        let on_file = entry.file.as_ref().map(|file| file.version.clone());
        let pin = file.is_none().then(|| Pin { version: version.clone(), file: on_file });
        let origin = match asked.target {
            Target::Previous => Origin::Rollback(who.to_owned()),
            Target::File | Target::Version(_) => Origin::Activate(who.to_owned()),
        };
        let wish = Wish { rule: id.clone(), pin, origin, on_change: becomes };
        let checked = held.checked.clone();
        let set = self.settle(&mut held, checked, Some(&wish)).await.map_err(failed)?;
        engine.set_rules(&self.shop, set).await.map_err(failed)?;
        let now = known(&held, id)?;
        told["says"] = json!(words::stands(id, now));
        Ok(told)
    }

    /// The version that is meant.
    async fn meant(
        &self,
        id: &str,
        entry: &Entry,
        history: &[RoleChange],
        target: &Target,
    ) -> Result<String, SteerError> {
        match target {
            Target::Version(name) => self.named(id, entry, history, name).await,
            Target::File => entry.file.as_ref().map(|file| file.version.clone()).ok_or_else(|| {
                let (file, why) = (words::file(entry), entry.refused.as_ref().map_or("", |it| &it.why));
                SteerError::Conflict(format!("{file} cannot be used: {why}; mend it, or name a version that is kept"))
            }),
            Target::Previous if !history.iter().any(|change| change.role == Role::Live) => {
                Err(SteerError::Conflict(format!("`{id}` has never been live: there is nothing to go back to")))
            }
            Target::Previous if entry.roles.live.is_none() => Err(SteerError::Conflict(format!(
                "no version of `{id}` is live to go back from; `storehand rules activate {id} VERSION` puts one live"
            ))),
            Target::Previous => previous(history).map(str::to_owned).ok_or_else(|| {
                let live = entry.roles.live.as_ref().map_or("", |live| words::short(&live.version));
                SteerError::Conflict(format!(
                    "version {live} is the first of `{id}` that was live: there is nothing to go back to; \
                     `storehand rules activate {id} VERSION` puts another one live"
                ))
            }),
        }
    }

    /// The version of this name, which may be its beginning.
    pub(super) async fn named(
        &self,
        id: &str,
        entry: &Entry,
        history: &[RoleChange],
        name: &str,
    ) -> Result<String, SteerError> {
        let kept = self.store.versions_of(&self.shop, id).await.map_err(failed)?;
        let mut all: Vec<String> = kept.into_iter().map(|(version, _)| version).collect();
        let others = history.iter().map(|it| &it.version).chain(entry.file.iter().map(|rule| &rule.version));
        for version in others {
            if !all.contains(version) {
                all.push(version.clone());
            }
        }
        let meant: Vec<&String> = all.iter().filter(|version| !name.is_empty() && version.starts_with(name)).collect();
        match meant.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(SteerError::NotFound(format!("`{id}` has no version `{name}`; it has {}", listed(&all)))),
            several => {
                let several: Vec<String> = several.iter().map(|version| (*version).clone()).collect();
                Err(SteerError::Invalid(format!("`{name}` may be {}: write more of it", listed(&several))))
            }
        }
    }

    /// What speaks against putting a version live.
    fn refuse(
        &self,
        id: &str,
        entry: &Entry,
        version: &str,
        asked: &Activation,
        held: &Held,
    ) -> Result<(), SteerError> {
        let live = entry.roles.live.as_ref().map(|live| live.version.as_str());
        if let Some(expected) = &asked.instead_of
            && live != Some(expected)
        {
            let now = live.map_or("no version".to_owned(), |live| format!("version {}", words::short(live)));
            return Err(SteerError::Conflict(format!(
                "meanwhile {now} of `{id}` is live: look again what would happen"
            )));
        }
        if live == Some(version) {
            let stands = words::stands(id, entry).join("; ");
            return Err(SteerError::Conflict(format!("it is live already: {stands}")));
        }
        let is_file = entry.file.as_ref().is_some_and(|file| file.version == version);
        match held.checked.failing.get(id).and_then(|failing| failing.first()) {
            Some(failing) if is_file => {
                Err(SteerError::Conflict(format!("a rule whose own tests fail does not go live: {failing}")))
            }
            _ => Ok(()),
        }
    }

    /// The version itself, as long as it can be run.
    pub(super) async fn runnable(
        &self,
        held: &Held,
        id: &str,
        version: &str,
        entry: &Entry,
        history: &[RoleChange],
    ) -> Result<Arc<Rule>, SteerError> {
        let found = self.version(held, id, version, entry.file.as_ref()).await.map_err(failed)?;
        let Err(why) = found else { return found.map_err(SteerError::Failed) };
        let kept = self.store.versions_of(&self.shop, id).await.map_err(failed)?;
        let kept: Vec<String> = kept.into_iter().map(|(version, _)| version).collect();
        let was = history.iter().rev().find(|change| change.version == version);
        let was = was.map_or_else(String::new, |change| format!(", in force {},", words::since(change)));
        let version = words::short(version);
        Err(SteerError::Conflict(format!(
            "version {version} of `{id}`{was} cannot be run: {why}; kept are {}",
            listed(&kept)
        )))
    }
}

/// A rule of this shop.
pub(super) fn known<'h>(held: &'h Held, id: &str) -> Result<&'h Entry, SteerError> {
    held.rules.get(id).ok_or_else(|| {
        let all: Vec<&str> = held.rules.keys().take(NAMED).map(String::as_str).collect();
        let more = if held.rules.len() > all.len() { ", …" } else { "" };
        SteerError::NotFound(format!("there is no rule `{id}`; there are: {}{more}", all.join(", ")))
    })
}

pub(super) fn failed(error: impl std::fmt::Display) -> SteerError {
    SteerError::Failed(error.to_string())
}

/// Versions for people, the newest of many.
fn listed(versions: &[String]) -> String {
    let newest: Vec<&str> = versions.iter().rev().take(NAMED).map(|version| words::short(version)).collect();
    if newest.is_empty() { "none".to_owned() } else { newest.join(", ") }
}

/// What would happen, in words.
fn would(id: &str, entry: &Entry, rule: &Rule, file_decides: bool) -> Vec<String> {
    let version = words::short(&rule.version);
    let first = match &entry.roles.live {
        Some(live) => {
            let (instead, since) = (words::short(&live.version), words::since(live));
            format!("version {version} of `{id}` goes live in place of version {instead}, which is live {since}")
        }
        None => format!("version {version} of `{id}` goes live; none is now"),
    };
    let file = words::file(entry);
    let second =
        if file_decides { format!("{file} says so too, and decides again from then on") } else { words::lifts(entry) };
    vec![first, second]
}

fn waiting(foreseen: &Foreseen, becomes: OnChange) -> Json {
    let Foreseen { runs, looked_at, moves, stays } = foreseen;
    let named =
        stays.iter().take(NAMED).map(|(run, version, why)| json!({ "run": run, "version": version, "why": why }));
    match becomes {
        OnChange::Migrate => json!({
            "runs": runs, "looked_at": looked_at, "move": moves, "stay": stays.len(), "staying": named.collect::<Vec<_>>(),
        }),
        OnChange::FinishOld => json!({ "runs": runs, "stay": runs }),
        OnChange::Cancel => json!({ "runs": runs, "cancel": runs }),
    }
}
