//! Why rules ran on an event, and why others did not: those that listened, and those that would listen today.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::answers::{Answers, failed, head, run_head};
use crate::domain::{EventId, Facts, Mode, RoleChange, Roles, Run, ShopId, WhyNot};
use crate::engine;
use crate::http::ReadingError;
use crate::rules::{self, Rule, RuleSet, Standing, Status};
use crate::store::{RunFilter, StoredEvent};

/// Runs of one event that are told.
const MOST_RUNS: u64 = 1000;

impl Answers {
    /// What each rule made of an event.
    pub(super) async fn whole_why(&self, shop: &ShopId, id: EventId) -> Result<Option<Json>, ReadingError> {
        let Some(stored) = self.store.event(shop, id).await.map_err(failed)? else { return Ok(None) };
        let filter = RunFilter { event: Some(id), most: MOST_RUNS, ..RunFilter::default() };
        let runs = self.store.list_runs(shop, &filter).await.map_err(failed)?;
        let not = engine::why_not(&self.store, &self.registry, shop, &stored).await.map_err(failed)?;
        let history = self.store.role_changes(shop, None).await.map_err(failed)?;
        let mut by_rule: HashMap<&str, Vec<&RoleChange>> = HashMap::new();
        for change in &history {
            by_rule.entry(&change.rule).or_default().push(change);
        }
        let set = match self.rules.get(shop) {
            Some(book) => book.set().await,
            None => Arc::default(),
        };
        let mut told = Vec::new();
        for run in runs.iter().rev() {
            told.push(self.ran(shop, run, &set).await?);
        }
        told.extend(not.iter().map(|why| did_not(why, &by_rule, &stored, &set)));
        told.extend(not_live(&stored, &by_rule, &set));
        Ok(Some(json!({
            "event": head(&stored.event),
            "matched": stored.matched,
            "missing": stored.context.map(|context| context.missing).unwrap_or_default(),
            "rules": told,
        })))
    }

    /// A run, with what its conditions saw.
    async fn ran(&self, shop: &ShopId, run: &Run, set: &RuleSet) -> Result<Json, ReadingError> {
        let bundle = self.store.version(shop, &run.rule, &run.version).await.map_err(failed)?;
        let rule = bundle.and_then(|bundle| rules::from_bundle(&bundle, self.registry.catalog()).ok());
        let because = rule.map(|rule| {
            let facts = Facts {
                event: run.event.clone(),
                context: run.context.records.clone(),
                missing: run.context.missing.clone(),
                inputs: rule.values(),
                now: run.started,
            };
            rules::seen(&rule, &facts)
        });
        Ok(json!({
            "rule": run.rule,
            "version": run.version,
            "mode": run.mode,
            "file": file(set, &run.rule, &run.version),
            "verdict": "ran",
            "run": run_head(run),
            "because": because,
        }))
    }
}

fn did_not(why: &WhyNot, history: &HashMap<&str, Vec<&RoleChange>>, stored: &StoredEvent, set: &RuleSet) -> Json {
    let then = roles_at(history, &why.rule, stored);
    let is_shadow = then.shadow.is_some_and(|shadow| shadow.version == why.version);
    let mut told = json!(why);
    told["verdict"] = json!("did_not");
    told["mode"] = json!(if is_shadow { Mode::Shadow } else { Mode::Live });
    told["file"] = json!(file(set, &why.rule, &why.version));
    told
}

/// Rules that would listen to this event today and did not listen then, and why.
fn not_live(stored: &StoredEvent, history: &HashMap<&str, Vec<&RoleChange>>, set: &RuleSet) -> Vec<Json> {
    let Some(matched) = stored.matched else { return Vec::new() };
    let listened = |id: &str| stored.heard.iter().any(|(rule, ..)| &**rule == id);
    let event = &stored.event;
    let would = |standing: &Standing| {
        let all = standing.live.iter().chain(&standing.shadow).chain(&standing.file);
        all.clone().any(|rule| rule.hears(&event.kind, &event.subject))
    };
    let absent = set.iter().filter(|(id, standing)| !listened(id) && would(standing));
    absent
        .map(|(id, standing)| {
            let changes = history.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let then = roles_at(history, id, stored);
            json!({
                "rule": id,
                "verdict": "not_live",
                "file": standing.file.as_ref().map(|rule| rule.file.clone()),
                "note": absence(standing, changes, &then, matched, &event.kind),
            })
        })
        .collect()
}

/// Why a rule did not listen at that moment.
fn absence(standing: &Standing, changes: &[&RoleChange], then: &Roles, matched: Timestamp, kind: &str) -> String {
    if let Some(live) = &then.live {
        return format!("version {}, which was live then, did not listen to `{kind}`", live.version);
    }
    let later = changes.iter().find(|change| change.at > matched);
    if let Some(later) = later.filter(|_| standing.live.is_some() || standing.shadow.is_some()) {
        return format!("it came into force at {:.0}, after this event", later.at);
    }
    match standing.file.as_ref().map(|rule| rule.status) {
        Some(Status::Draft) => "its file says `status: draft`".to_owned(),
        Some(Status::Paused) => "its file says `status: paused`".to_owned(),
        Some(Status::Live | Status::Shadow) | None => "no version of it was in force then".to_owned(),
    }
}

/// Which versions of a rule were in force when the event was matched.
fn roles_at(history: &HashMap<&str, Vec<&RoleChange>>, rule: &str, stored: &StoredEvent) -> Roles {
    let at = stored.matched.unwrap_or(stored.event.received);
    let changes = history.get(rule).into_iter().flatten();
    Roles::of(changes.copied().filter(|change| change.at <= at))
}

/// The rule's file, where it still holds this version.
fn file(set: &RuleSet, rule: &str, version: &str) -> Option<PathBuf> {
    let of_file: Option<&Arc<Rule>> = set.get(rule).and_then(|standing| standing.file.as_ref());
    of_file.filter(|rule| rule.version == version).map(|rule| rule.file.clone())
}
