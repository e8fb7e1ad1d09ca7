//! What the server asks of the engine and the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::rule_book::Book;
use super::{approvals, model_metrics};
use crate::domain::{self, Clock, Event, EventId, NewEvent, Run, RunId, ShopId};
use crate::engine::{self, Command, Decision, Engine, EngineError, Registry, Touched};
use crate::http::{
    Accept, Accepted, Check, DeadOnes, IntakeError, Page, Reading, ReadingError, RuleBook, Says, Steer, SteerError,
    Steering,
};
use crate::models::Model;
use crate::shops;
use crate::store::{DeadFilter, EventFilter, RunFilter, Store, StoreError};

/// Answers out of the engine and the store.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) engine: Arc<Engine>,
    pub(super) zones: BTreeMap<ShopId, TimeZone>,
    pub(super) rules: BTreeMap<ShopId, Arc<Book>>,
    pub(super) model: Option<Model>,
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
                let says = match says {
                    Says::Accept { text } => domain::Says::Accept { text },
                    Says::Reject { because } => domain::Says::Reject { because },
                    Says::Happened { answer } => domain::Says::Happened { answer },
                };
                Command::Decide(Decision { run, path, by: who.to_owned(), says })
            }
            Steer::Activate(asked) => return self.book(shop)?.activate(&self.engine, who, &asked).await,
        };
        let Touched(runs) = self.engine.command(shop, command).await.map_err(refused)?;
        let runs: Vec<Json> = runs.into_iter().map(|(run, what)| json!({ "run": run, "what": what })).collect();
        Ok(json!({ "runs": runs }))
    }
}

#[async_trait]
impl RuleBook for Answers {
    async fn rules(&self, shop: &ShopId) -> Result<Vec<Json>, SteerError> {
        let mut rules = self.book(shop)?.list().await?;
        let said = self.say_paused(shop, &mut rules).await;
        said.map_err(|error| SteerError::Failed(error.to_string()))?;
        Ok(rules)
    }

    async fn rule(&self, shop: &ShopId, id: &str) -> Result<Json, SteerError> {
        self.book(shop)?.show(id).await
    }

    async fn version(&self, shop: &ShopId, id: &str, version: &str) -> Result<Json, SteerError> {
        self.book(shop)?.text(id, version).await
    }

    async fn shadow(&self, shop: &ShopId, id: &str) -> Result<Json, SteerError> {
        self.book(shop)?.shadow(id).await
    }
}

impl Answers {
    fn book(&self, shop: &ShopId) -> Result<&Arc<Book>, SteerError> {
        self.rules.get(shop).ok_or_else(|| SteerError::NotFound(format!("there is no shop `{shop}`")))
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

pub(super) fn failed(error: StoreError) -> ReadingError {
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
        json["why_not"] = json!(engine::why_not(&self.store, &self.registry, shop, &stored).await.map_err(failed)?);
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
        self.whole_run(shop, id).await
    }

    async fn why(&self, shop: &ShopId, id: EventId) -> Result<Option<Json>, ReadingError> {
        self.whole_why(shop, id).await
    }

    async fn export(&self, shop: &ShopId, id: RunId) -> Result<Option<Json>, ReadingError> {
        self.exported_run(shop, id, self.clock.now()).await
    }

    async fn approvals(&self, shop: &ShopId, page: Page<RunId>) -> Result<Vec<Json>, ReadingError> {
        let ids = self.store.for_people(shop, page.before, page.limit as u64).await.map_err(failed)?;
        let mut runs = self.store.runs(shop, &ids).await.map_err(failed)?;
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.id));
        Ok(runs.iter().flat_map(|run| approvals::of_run(run, &self.registry)).collect())
    }

    async fn checks(&self) -> Vec<Check> {
        let store = match self.store.newest_id().await {
            Ok(_) => Check { name: "store", ok: true, detail: "open".into() },
            Err(_) => Check { name: "store", ok: false, detail: "cannot be read".into() },
        };
        // A mistake in a file takes nothing out of force: deliveries are as welcome as before.
        let told: Vec<String> = self.rules.iter().map(|(shop, book)| format!("{shop}: {}", book.in_short())).collect();
        let rules = Check { name: "rules", ok: true, detail: told.join("; ") };
        let none = || "none: rules take their fallbacks".to_owned();
        let detail = self.model.as_ref().map_or_else(none, |model| model.name().to_owned());
        vec![store, rules, Check { name: "model", ok: true, detail }]
    }

    fn metrics(&self) -> String {
        self.model.as_ref().map_or_else(String::new, |model| model_metrics::text(&model.stats()))
    }
}

/// An event's envelope, as CloudEvents names it.
pub(super) fn head(event: &Event) -> Json {
    let mut head = json!({
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
    });
    if &*event.kind == Event::UNHANDLED {
        // `/shopify/acme`: the source's name comes first.
        let source = event.source.trim_start_matches('/').split('/').next().and_then(shops::source);
        if let Some(why) = source.and_then(|source| source.why_unhandled(&event.topic)) {
            head["unhandled"] = json!(why);
        }
    }
    head
}

pub(super) fn run_head(run: &Run) -> Json {
    json!({
        "id": run.id,
        "rule": run.rule,
        "version": run.version,
        "mode": run.mode,
        "event": run.event.id,
        "subject": run.event.subject,
        "lane": run.lane,
        "state": run.state,
        "started": run.started,
        "ended": run.ended.as_ref().map(|(at, _)| at),
        "end": run.ended.as_ref().map(|(_, end)| end),
    })
}
