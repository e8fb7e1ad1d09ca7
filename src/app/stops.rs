//! Pauses and dead letters, as people ask for them.

use serde_json::{Value as Json, json};

use super::answers::{Answers, refused};
use crate::domain::{Pauses, RunId, ShopId};
use crate::engine::{Command, Touched};
use crate::http::{Dead, DeadOnes, SteerError};
use crate::store::{DeadFilter, StoreError};

/// Dead runs that one command takes, and that one request takes in all.
const RUNS_A_COMMAND: usize = 200;
const RUNS_A_REQUEST: usize = 10_000;

fn failed(error: StoreError) -> SteerError {
    SteerError::Failed(error.to_string())
}

impl Answers {
    /// Pauses a rule, or all, and says what is paused then.
    pub(super) async fn pause(&self, shop: &ShopId, command: Command) -> Result<Json, SteerError> {
        self.engine.command(shop, command).await.map_err(refused)?;
        self.paused(shop).await.map_err(failed)
    }

    /// Lifts a pause, and says how many writes go on and what stays paused.
    pub(super) async fn resume(&self, shop: &ShopId, rule: Option<String>, by: &str) -> Result<Json, SteerError> {
        let held = self.store.held(shop).await.map_err(failed)?;
        let command = Command::Resume { rule, by: by.to_owned() };
        self.engine.command(shop, command).await.map_err(refused)?;
        let pauses = self.store.pauses(shop).await.map_err(failed)?;
        let goes_on: u64 = held.iter().filter(|(rule, _)| pauses.of(rule).is_none()).map(|(_, many)| many).sum();
        let mut json = self.paused(shop).await.map_err(failed)?;
        json["goes_on"] = json!(goes_on);
        Ok(json)
    }

    /// What is paused in a shop, and how many writes each pause holds. `*` stands for all rules.
    pub(super) async fn paused(&self, shop: &ShopId) -> Result<Json, StoreError> {
        let (pauses, held) = (self.store.pauses(shop).await?, self.store.held(shop).await?);
        let writes = |name: &str| -> u64 {
            let of = |rule: &str| if name == Pauses::ALL { pauses.own(rule).is_none() } else { rule == name };
            held.iter().filter(|(rule, _)| of(rule)).map(|(_, many)| many).sum()
        };
        let list = pauses.in_force().map(|(name, pause)| {
            let (since, by, because) = (pause.since, &pause.by, &pause.why);
            json!({ "rule": name, "since": since, "by": by, "because": because, "held": writes(name) })
        });
        Ok(json!({ "shop": shop, "paused": list.collect::<Vec<_>>() }))
    }

    /// Says of each rule under `paused` which pause holds it: its own, else that of all rules.
    pub(super) async fn say_paused(&self, shop: &ShopId, rules: &mut [Json]) -> Result<(), StoreError> {
        let paused = self.paused(shop).await?;
        let of = |name: &Json| paused["paused"].as_array().into_iter().flatten().find(|it| it["rule"] == *name);
        for rule in rules {
            rule["paused"] = of(&rule["id"]).or_else(|| of(&Pauses::ALL.into())).cloned().unwrap_or_default();
        }
        Ok(())
    }

    /// Has dead runs retried or dropped: `command` says which for some of them.
    pub(super) async fn dead_letters(
        &self,
        shop: &ShopId,
        which: Dead,
        command: impl Fn(Vec<RunId>) -> Command,
    ) -> Result<Json, SteerError> {
        let mut came = Vec::new();
        match which {
            Dead::One(run) => {
                if self.store.runs(shop, &[run]).await.map_err(failed)?.is_empty() {
                    return Err(SteerError::NotFound(format!("there is no run {run} in this shop")));
                }
                let Touched(one) = self.engine.command(shop, command(vec![run])).await.map_err(refused)?;
                if let Some(why) = one.first().and_then(|(_, what)| what.strip_prefix(Touched::LEFT)) {
                    return Err(SteerError::Conflict(format!("{run}: {why}")));
                }
                came = one;
            }
            Dead::All(DeadOnes { rule, code }) => {
                let filter = DeadFilter { rule, code };
                let mut after = RunId(0);
                while came.len() < RUNS_A_REQUEST {
                    let runs = self.store.dead(shop, &filter, after, RUNS_A_COMMAND).await.map_err(failed)?;
                    let Some(last) = runs.last() else { break };
                    after = *last;
                    came.extend(self.engine.command(shop, command(runs)).await.map_err(refused)?.0);
                }
            }
        }
        Ok(json!({ "runs": came.iter().map(Touched::json).collect::<Vec<_>>() }))
    }
}
