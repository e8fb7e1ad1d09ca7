//! What is told of one run, whole: for whoever looks at it, and for whoever takes it elsewhere.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::answers::{Answers, failed, run_head};
use crate::domain::{Call, Run, RunId, ShopId};
use crate::engine::replay::Exported;
use crate::http::ReadingError;
use crate::rules;
use crate::store::StoreError;

impl Answers {
    /// A run with its calls, and with what made it begin.
    pub(super) async fn whole_run(&self, shop: &ShopId, id: RunId) -> Result<Option<Json>, ReadingError> {
        let runs = self.store.runs(shop, &[id]).await.map_err(failed)?;
        let Some(run) = runs.first() else { return Ok(None) };
        let bundle = self.store.version(shop, &run.rule, &run.version).await.map_err(failed)?;
        let rule = bundle.and_then(|bundle| rules::from_bundle(&bundle, self.registry.catalog()).ok());
        let mut json = run_head(run);
        json["event_type"] = json!(run.event.kind);
        json["event_received"] = json!(run.event.received);
        json["because"] = json!(rule.map(|rule| rule.clauses()));
        if self.is_redacted(shop, run).await.map_err(failed)? {
            json["redacted"] = json!(true);
        }
        json["undone"] = self.taken_back(shop, run).await.map_err(failed)?;
        json["calls"] = run.calls.iter().map(|call| self.whole_call(run, call)).collect();
        Ok(Some(json))
    }

    async fn is_redacted(&self, shop: &ShopId, run: &Run) -> Result<bool, StoreError> {
        Ok(!self.store.redacted_among(shop, &[run.event.id]).await?.is_empty())
    }

    fn whole_call(&self, run: &Run, call: &Call) -> Json {
        let spec = self.registry.get(&call.capability).map(|capability| capability.spec());
        // What it would have waited for matters only while it waits.
        let awaits = call.awaits.as_ref().filter(|_| call.answer.is_none() && run.ended.is_none());
        json!({
            "path": call.path,
            "label": call.options.label,
            "capability": call.capability,
            "kind": spec.map(|spec| spec.kind),
            "state": call.state,
            "attempts": call.attempts,
            "asked": call.asked,
            "due": call.due,
            "awaits": awaits.map(ToString::to_string),
            "input": call.input,
            "answered": call.answered,
            "answer": call.answer,
            "trouble": call.trouble,
            "log": call.log,
        })
    }

    /// A run written out, to be replayed elsewhere.
    pub(super) async fn exported_run(
        &self,
        shop: &ShopId,
        id: RunId,
        now: Timestamp,
    ) -> Result<Option<Json>, ReadingError> {
        let runs = self.store.runs(shop, &[id]).await.map_err(failed)?;
        let Some(run) = runs.first() else { return Ok(None) };
        let bundle = self.store.version(shop, &run.rule, &run.version).await.map_err(failed)?;
        let mut exported = Exported::of(run, shop, bundle, now);
        exported.redacted = self.is_redacted(shop, run).await.map_err(failed)?;
        Ok(Some(json!(exported)))
    }
}
