//! What a rule did, to be looked at and taken back.

use std::cmp::Reverse;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::answers::{Answers, refused};
use super::moments::{NotAMoment, moment};
use crate::domain::{Mode, Run, RunId, RunState, ShopId};
use crate::engine::{self, Command, Touched};
use crate::http::{SteerError, Undo, UndoTime};
use crate::store::StoreError;

/// Runs that one command takes, and writes that are listed.
const RUNS_A_COMMAND: usize = 200;
const WRITES_LISTED: usize = 1_000;

/// After every run.
const NEWEST: RunId = RunId(i64::MAX);

fn failed(error: StoreError) -> SteerError {
    SteerError::Failed(error.to_string())
}

impl Answers {
    /// Lists what a rule did within a time, or has it taken back.
    pub(super) async fn undo(
        &self,
        shop: &ShopId,
        rule: &str,
        time: &UndoTime,
        what: Undo,
        by: &str,
    ) -> Result<Json, SteerError> {
        if !self.store.knows_rule(shop, rule).await.map_err(failed)? {
            return Err(SteerError::NotFound(format!("there is no rule `{rule}` in this shop")));
        }
        let (since, until) = self.between(shop, time)?;
        let came = match what {
            Undo::Look => self.made(shop, rule, (since, until)).await.map_err(failed)?,
            Undo::TakeBack => self.take_back(shop, rule, (since, until), by).await?,
        };
        let mut json = json!({ "shop": shop, "rule": rule, "since": since, "until": until });
        if let (Json::Object(json), Json::Object(came)) = (&mut json, came) {
            json.extend(came);
        }
        Ok(json)
    }

    fn between(&self, shop: &ShopId, time: &UndoTime) -> Result<(Timestamp, Timestamp), SteerError> {
        let now = self.clock.now();
        let zone = self.zones.get(shop).cloned().unwrap_or(jiff::tz::TimeZone::UTC);
        let read = |text: &str| {
            moment(text, now, &zone).map_err(|it| SteerError::Invalid(format!("{it}; {}", NotAMoment::HINT)))
        };
        let since = read(&time.since)?;
        let until = time.until.as_deref().map_or(Ok(now), read)?;
        if since > until {
            return Err(SteerError::Invalid(format!("{since:.0} is after {until:.0}: that is no stretch of time")));
        }
        Ok((since, until))
    }

    /// The writes, the last first, each with what takes it back.
    async fn made(&self, shop: &ShopId, rule: &str, time: (Timestamp, Timestamp)) -> Result<Json, StoreError> {
        let (mut writes, mut before) = (Vec::new(), NEWEST);
        while writes.len() < WRITES_LISTED {
            let ids = self.store.runs_that_wrote(shop, rule, time, before, RUNS_A_COMMAND).await?;
            let Some(last) = ids.last() else { return Ok(json!({ "writes": writes, "more": false })) };
            before = *last;
            let undone = self.store.undone(shop, &ids).await?;
            let mut runs = self.store.runs(shop, &ids).await?;
            runs.sort_unstable_by_key(|run| Reverse(run.id));
            for run in &runs {
                let made = engine::made(run, &self.registry, time).into_iter().map(|made| {
                    json!({
                        "run": run.id,
                        "subject": run.event.subject,
                        "under_way": run.state != RunState::Ended,
                        "path": made.path,
                        "capability": made.capability,
                        "input": made.input,
                        "at": made.at,
                        "inverse": made.inverse.map(|(uses, with)| json!({ "capability": uses, "input": with })),
                        "undone_by": undone.get(&run.id),
                    })
                });
                writes.extend(made);
            }
        }
        writes.truncate(WRITES_LISTED);
        Ok(json!({ "writes": writes, "more": true }))
    }

    async fn take_back(
        &self,
        shop: &ShopId,
        rule: &str,
        (since, until): (Timestamp, Timestamp),
        by: &str,
    ) -> Result<Json, SteerError> {
        let (mut came, mut before) = (Vec::new(), NEWEST);
        loop {
            let runs = self.store.runs_that_wrote(shop, rule, (since, until), before, RUNS_A_COMMAND).await;
            let runs = runs.map_err(failed)?;
            let Some(last) = runs.last() else { break };
            before = *last;
            let command = Command::Undo { runs, since, until, by: by.to_owned() };
            let Touched(touched) = self.engine.command(shop, command).await.map_err(refused)?;
            came.extend(touched);
        }
        Ok(json!({ "runs": came.iter().map(Touched::json).collect::<Vec<_>>() }))
    }

    /// The run that takes back what a live run did, where there is one, with how it stands.
    pub(super) async fn taken_back(&self, shop: &ShopId, run: &Run) -> Result<Json, StoreError> {
        if run.mode != Mode::Live {
            return Ok(Json::Null);
        }
        let Some(undo) = self.store.undone(shop, &[run.id]).await?.remove(&run.id) else { return Ok(Json::Null) };
        let runs = self.store.runs(shop, &[undo]).await?;
        let end = runs.first().and_then(|undo| undo.ended.as_ref()).map(|(_, end)| end);
        Ok(json!({ "run": undo, "state": runs.first().map(|undo| undo.state), "end": end }))
    }
}
