//! What the server asks of the engine and the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::rules_folder::State;
use crate::domain::{Clock, Event, EventId, NewEvent, Run, RunId, ShopId};
use crate::engine::{Command, Decision, Engine, EngineError, Registry, Touched, Verdictless};
use crate::http::{
    Accept, Accepted, Check, DeadOnes, IntakeError, Page, Reading, ReadingError, Says, Steer, SteerError, Steering,
};
use crate::store::{DeadFilter, EventFilter, RunFilter, Store, StoreError};

/// Answers out of the engine and the store.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) store: Store,
    pub(super) engine: Arc<Engine>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) zones: BTreeMap<ShopId, TimeZone>,
    pub(super) rules: BTreeMap<ShopId, Arc<State>>,
    pub(super) model: Option<String>,
}

#[async_trait]
impl Accept for Answers {
    async fn accept(&self, shop: &ShopId, source: &str, events: Vec<NewEvent>) -> Result<Vec<Accepted>, IntakeError> {
        let accepted = self.engine.accept(shop, source, events).await.map_err(|error| match error {
            EngineError::Full => IntakeError::Full,
            EngineError::Closing => IntakeError::Closing,
            other => IntakeError::Failed(other.to_string()),
        })?;
        Ok(accepted.into_iter().map(|one| Accepted { id: one.id, fresh: one.fresh }).collect())
    }

    fn waiting(&self) -> usize {
        self.engine.waiting()
    }
}

#[async_trait]
impl Steering for Answers {
    async fn steer(&self, shop: &ShopId, who: &str, what: Steer) -> Result<Json, SteerError> {
        tracing::info!(%shop, who, ?what, "asked for");
        let by = who.to_owned();
        let command = match what {
            Steer::Pause { rule, because } => {
                return self.pause(shop, Command::Pause { rule, by, why: because }).await;
            }
            Steer::Resume { rule } => return self.resume(shop, rule, who).await,
            Steer::Retry(which) => {
                let retry = |runs| Command::Retry { runs, by: by.clone() };
                return self.dead_letters(shop, which, retry).await;
            }
            Steer::Undo { rule, time, what } => return self.undo(shop, &rule, &time, what, who).await,
            Steer::Drop(which) => return self.dead_letters(shop, which, |runs| Command::Drop { runs }).await,
            Steer::Decide { run, path, says } => {
                let what = match says {
                    Says::Accept { .. } => Verdictless::DoIt,
                    Says::Reject { .. } => Verdictless::GiveUp,
                    Says::Happened { answer } => Verdictless::Happened(answer),
                };
                Command::Decide(Decision { run, path, what })
            }
        };
        let Touched(runs) = self.engine.command(shop, command).await.map_err(refused)?;
        let runs: Vec<Json> = runs.into_iter().map(|(run, what)| json!({ "run": run, "what": what })).collect();
        Ok(json!({ "runs": runs }))
    }
}

/// Why a command was not carried out.
pub(super) fn refused(error: EngineError) -> SteerError {
    match error {
        EngineError::NotFound(what) => SteerError::NotFound(what),
        EngineError::Conflict(what) => SteerError::Conflict(what),
        EngineError::Invalid(what) => SteerError::Invalid(what),
        other => SteerError::Failed(other.to_string()),
    }
}

fn failed(error: StoreError) -> ReadingError {
    ReadingError(error.to_string())
}

#[async_trait]
impl Reading for Answers {
    async fn events(&self, shop: &ShopId, kind: Option<&str>, page: Page<EventId>) -> Result<Vec<Json>, ReadingError> {
        let filter = EventFilter { kind: kind.map(str::to_owned), before: page.before, most: page.limit as u64 };
        let events = self.store.events(shop, &filter).await.map_err(failed)?;
        Ok(events.iter().map(|event| head(event)).collect())
    }

    async fn event(&self, shop: &ShopId, id: EventId) -> Result<Option<Json>, ReadingError> {
        let Some(stored) = self.store.event(shop, id).await.map_err(failed)? else { return Ok(None) };
        let filter = RunFilter { event: Some(id), most: 1000, ..RunFilter::default() };
        let runs = self.store.list_runs(shop, &filter).await.map_err(failed)?;
        let payload = self.store.payload(id).await.map_err(failed)?;
        let mut json = head(&stored.event);
        json["data"] = json!(stored.event.records);
        json["context"] = json!(stored.context);
        json["runs"] = runs.iter().map(run_head).collect();
        json["why_not"] = json!(stored.why_not);
        json["payload"] = json!(payload);
        Ok(Some(json))
    }

    async fn runs(&self, shop: &ShopId, rule: Option<&str>, page: Page<RunId>) -> Result<Vec<Json>, ReadingError> {
        let rule = rule.map(str::to_owned);
        let filter = RunFilter { rule, before: page.before, most: page.limit as u64, ..RunFilter::default() };
        let runs = self.store.list_runs(shop, &filter).await.map_err(failed)?;
        Ok(runs.iter().map(run_head).collect())
    }

    async fn dead(&self, shop: &ShopId, which: DeadOnes, page: Page<RunId>) -> Result<(Vec<Json>, u64), ReadingError> {
        let DeadOnes { rule, code } = which;
        let same = DeadFilter { rule: rule.clone(), code: code.clone() };
        let total = self.store.count_dead(shop, &same).await.map_err(failed)?;
        let (before, most) = (page.before, page.limit as u64);
        let filter = RunFilter { rule, before, most, dead: Some(code), ..RunFilter::default() };
        let runs = self.store.list_runs(shop, &filter).await.map_err(failed)?;
        Ok((runs.iter().map(run_head).collect(), total))
    }

    async fn run(&self, shop: &ShopId, id: RunId) -> Result<Option<Json>, ReadingError> {
        let runs = self.store.runs(shop, &[id]).await.map_err(failed)?;
        let undone = match runs.first() {
            Some(run) => self.taken_back(shop, run).await.map_err(failed)?,
            None => Json::Null,
        };
        Ok(runs.first().map(|run| {
            let mut json = run_head(run);
            json["undone"] = undone.clone();
            json["calls"] = run
                .calls
                .iter()
                .map(|call| {
                    json!({
                        "path": call.path,
                        "capability": call.capability,
                        "state": call.state,
                        "attempts": call.attempts,
                        "due": call.due,
                        "awaits": call.awaits.as_ref().filter(|_| call.answer.is_none()).map(ToString::to_string),
                        "input": call.input,
                        "answer": call.answer,
                        "trouble": call.trouble,
                    })
                })
                .collect();
            json
        }))
    }

    async fn checks(&self) -> Vec<Check> {
        let store = match self.store.count_events().await {
            Ok(_) => Check { name: "store", ok: true, detail: "open".into() },
            Err(_) => Check { name: "store", ok: false, detail: "cannot be read".into() },
        };
        let bad = self.rules.iter().map(|(shop, state)| (shop, state.get())).find(|(_, (ok, _))| !ok);
        let rules = match bad {
            Some((shop, (_, detail))) => Check { name: "rules", ok: false, detail: format!("{shop}: {detail}") },
            None => Check { name: "rules", ok: true, detail: "in force".into() },
        };
        let detail = self.model.clone().unwrap_or_else(|| "none: rules take their fallbacks".into());
        vec![store, rules, Check { name: "model", ok: true, detail }]
    }
}

/// An event's envelope, as CloudEvents names it.
fn head(event: &Event) -> Json {
    json!({
        "id": event.id,
        "source": event.source,
        "type": event.kind,
        "subject": event.subject,
        "time": event.time,
        "received": event.received,
        "shop": event.shop,
        "origintopic": event.topic,
        "late": event.late,
        "echo": event.echo,
    })
}

fn run_head(run: &Run) -> Json {
    json!({
        "id": run.id,
        "rule": run.rule,
        "version": run.version,
        "event": run.event.id,
        "subject": run.event.subject,
        "mode": run.mode,
        "lane": run.lane,
        "state": run.state,
        "started": run.started,
        "ended": run.ended.as_ref().map(|(at, _)| at),
        "end": run.ended.as_ref().map(|(_, end)| end),
    })
}
