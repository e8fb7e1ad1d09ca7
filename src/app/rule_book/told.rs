//! What the rule book tells: how rules stand, their versions and history, and how a shadow does beside its live version.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::asked::{failed, known};
use super::{Book, Entry, words};
use crate::domain::{End, EventId, Mode, RoleChange, Run, RunId, previous};
use crate::engine;
use crate::engine::compare::{self, Beside, Compared, Did};
use crate::http::SteerError;
use crate::rules::Because;
use crate::store::Waiting;

/// Runs that are read at a time, and in all, where a shadow is compared; and the events that are told one by one.
const RUNS_AT_A_TIME: u64 = 500;
const MOST_RUNS: usize = 20_000;
const SHOWN: usize = 10;

impl Book {
    /// How every rule stands. Those whose file is gone are left out once nothing of them runs any more.
    pub(in crate::app) async fn list(&self) -> Result<Vec<Json>, SteerError> {
        let waiting = self.store.waiting_by_version(&self.shop).await.map_err(failed)?;
        let mut by_rule: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
        for it in &waiting {
            by_rule.entry(&it.rule).or_default().push(it);
        }
        let held = self.held.lock().await;
        let row = |(id, entry): (&String, &Entry)| {
            let waiting = by_rule.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let is_here = entry.because != Because::Gone || !waiting.is_empty();
            is_here.then(|| head(id, entry, waiting))
        };
        Ok(held.rules.iter().filter_map(row).collect())
    }

    /// How a rule stands, with its history and the runs that stayed on older versions.
    pub(in crate::app) async fn show(&self, id: &str) -> Result<Json, SteerError> {
        let (entry, history) = self.entry(id).await?;
        let waiting = self.store.waiting_by_version(&self.shop).await.map_err(failed)?;
        let waiting: Vec<&Waiting> = waiting.iter().filter(|it| it.rule == id).collect();
        let kept = self.store.versions_of(&self.shop, id).await.map_err(failed)?;
        let stayed = self.store.stayed(&self.shop, id, 100).await.map_err(failed)?;
        let mut told = head(id, &entry, &waiting);
        told["history"] = history
            .iter()
            .map(|it| {
                json!({
                    "version": it.version, "role": it.role, "at": it.at, "origin": it.origin.to_string(),
                    "on_change": it.on_change, "kept": kept.iter().any(|(version, _)| *version == it.version),
                })
            })
            .collect();
        told["versions"] = kept.iter().map(|(version, since)| json!({ "version": version, "since": since })).collect();
        told["stayed"] =
            stayed.iter().map(|it| json!({ "run": it.run, "version": it.version, "why": it.why })).collect();
        Ok(told)
    }

    /// A version's text: by its name, or as `live`, `shadow`, `file` or `previous`.
    pub(in crate::app) async fn text(&self, id: &str, name: &str) -> Result<Json, SteerError> {
        let (entry, history) = self.entry(id).await?;
        let roles = entry.roles.versions();
        let none = |what: &str| {
            let stands = words::stands(id, &entry).join("; ");
            SteerError::NotFound(format!("`{id}` has no {what} version: {stands}"))
        };
        let version = match name {
            "live" => roles.live.ok_or_else(|| none("live"))?,
            "shadow" => roles.shadow.ok_or_else(|| none("shadow"))?,
            "file" => entry.file.as_ref().map(|rule| rule.version.clone()).ok_or_else(|| none("usable file"))?,
            "previous" => previous(&history).map(str::to_owned).ok_or_else(|| none("previous"))?,
            name => self.named(id, &entry, &history, name).await?,
        };
        let held = self.held.lock().await;
        let rule = self.runnable(&held, id, &version, &entry, &history).await?;
        let since = history.iter().find(|change| change.version == version).map(|change| change.at);
        Ok(json!({ "rule": id, "version": version, "since": since, "text": rule.text, "tuning": rule.tuning }))
    }

    /// How a shadow does beside its live version, since it has run.
    pub(in crate::app) async fn shadow(&self, id: &str) -> Result<Json, SteerError> {
        let (entry, _) = self.entry(id).await?;
        let Some(shadow) = &entry.roles.shadow else {
            let stands = words::stands(id, &entry).join("; ");
            return Err(SteerError::Conflict(format!("`{id}` has no shadow: {stands}")));
        };
        let mut did = Vec::new();
        let mut before: Option<RunId> = None;
        let all = loop {
            let page = (before, RUNS_AT_A_TIME);
            let runs = self.store.runs_beside(&self.shop, id, shadow.at, page).await.map_err(failed)?;
            let Some(last) = runs.last() else { break true };
            if did.len() >= MOST_RUNS {
                break false;
            }
            before = Some(last.id);
            // A shadow of an older version that still waits is not this one's.
            let is_meant = |run: &&Run| run.mode != Mode::Shadow || *run.version == *shadow.version;
            did.extend(runs.iter().filter(is_meant).map(|run| Did::of(run, &self.registry)));
        };
        let mut events = compare::beside(did);
        if !all {
            // Of the oldest event perhaps only one run was read.
            events.pop_first();
        }
        let mut counts = Counts::default();
        let mut differing = Vec::new();
        for (event, beside) in &events {
            let compared = beside.compared();
            counts.add(beside, compared);
            if compared == Compared::Differs && differing.len() < SHOWN {
                differing.push(self.difference(id, *event, beside, shadow).await?);
            }
        }
        let Counts { both, only_live, only_shadow, same, differ, not_yet } = counts;
        Ok(json!({
            "rule": id,
            "live": entry.roles.live.as_ref().map(|live| &live.version),
            "shadow": shadow.version,
            "since": shadow.at,
            "all": all,
            "events": events.len(), "both": both, "only_live": only_live, "only_shadow": only_shadow,
            "same": same, "differ": differ, "not_yet": not_yet,
            "differing": differing,
        }))
    }

    /// What the two made of an event.
    async fn difference(
        &self,
        id: &str,
        event: EventId,
        beside: &Beside,
        shadow: &RoleChange,
    ) -> Result<Json, SteerError> {
        let stored = self.store.event(&self.shop, event).await.map_err(failed)?;
        let why_not = match &stored {
            Some(stored) => engine::why_not(&self.store, &self.registry, &self.shop, stored).await.map_err(failed)?,
            None => Vec::new(),
        };
        let told = |did: Option<&Did>, mode: Mode| match did {
            Some(did) => {
                let writes = did.writes.iter().map(|it| json!({ "capability": it.capability, "input": it.input }));
                let writes: Vec<Json> = writes.collect();
                json!({ "run": did.run, "version": did.version, "writes": writes, "outcome": outcome(did) })
            }
            None => {
                let is_meant = |version: &str| (version == shadow.version) == (mode == Mode::Shadow);
                let why = why_not.iter().find(|it| it.rule == id && is_meant(&it.version));
                json!({ "why_not": why })
            }
        };
        Ok(json!({
            "event": event,
            "subject": stored.as_ref().map(|it| &it.event.subject),
            "live": told(beside.live.as_ref(), Mode::Live),
            "shadow": told(beside.shadow.as_ref(), Mode::Shadow),
        }))
    }

    async fn entry(&self, id: &str) -> Result<(Entry, Vec<RoleChange>), SteerError> {
        let entry = known(&*self.held.lock().await, id)?.clone();
        let history = self.store.role_changes(&self.shop, Some(id)).await.map_err(failed)?;
        Ok((entry, history))
    }
}

#[derive(Default)]
struct Counts {
    both: usize,
    only_live: usize,
    only_shadow: usize,
    same: usize,
    differ: usize,
    not_yet: usize,
}

impl Counts {
    fn add(&mut self, beside: &Beside, compared: Compared) {
        match (&beside.live, &beside.shadow) {
            (Some(_), Some(_)) => self.both += 1,
            (Some(_), None) => self.only_live += 1,
            (None, _) => self.only_shadow += 1,
        }
        match compared {
            Compared::Same => self.same += 1,
            Compared::Differs => self.differ += 1,
            Compared::NotYet => self.not_yet += 1,
        }
    }
}

/// How a run ended, in words.
fn outcome(did: &Did) -> String {
    match &did.end {
        None => "under way".to_owned(),
        Some(End::Failed { failure }) => format!("failed: {failure}"),
        Some(end) => json!(end)["outcome"].as_str().unwrap_or_default().to_owned(),
    }
}

fn head(id: &str, entry: &Entry, waiting: &[&Waiting]) -> Json {
    let role = |role: &Option<RoleChange>| {
        role.as_ref().map(|it| json!({ "version": it.version, "since": it.at, "origin": it.origin.to_string() }))
    };
    let status = match (&entry.file, &entry.refused) {
        (Some(rule), _) => words::status(rule.status),
        (None, Some(_)) => "unusable".to_owned(),
        (None, None) => "gone".to_owned(),
    };
    let waiting = waiting.iter().map(|it| json!({ "version": it.version, "runs": it.runs, "stay": it.stay }));
    json!({
        "id": id,
        "status": status,
        "file": entry.file.as_ref().map(|rule| rule.file.display().to_string())
            .or_else(|| entry.refused.as_ref().map(|it| it.file.display().to_string())),
        "file_version": entry.file.as_ref().map(|rule| &rule.version),
        "refused": entry.refused.as_ref().map(|it| &it.why),
        "live": role(&entry.roles.live),
        "shadow": role(&entry.roles.shadow),
        "pin": entry.pin.as_ref().map(|pin| &pin.version),
        "waiting": waiting.collect::<Vec<_>>(),
        "says": words::stands(id, entry),
    })
}
