//! Shadow runs: the world is read and left as it is.
//!
//! Reads are made and clocks run as in a live run. A write is recorded and answered at once with the capability's
//! stand-in, and so is what a person would be asked. What the shop remembers is read and never changed: a run sees the
//! values that it would have left itself, worked out from its own journal, over those of the shop.

use super::desk::{Desk, Turn};
use super::memory;
use super::registry::Registry;
use crate::domain::{Answer, Awaits, Call, CallState, Facts, Kind, MemoryOp, Mode, Run, RunId, Verdict};
use crate::store::StoreError;

impl Desk {
    /// Answers a shadow's new call where a live run's would go out, ask a person, or change what the shop remembers;
    /// `false` where it is as in a live run.
    pub(super) async fn answers_a_shadow(
        &mut self,
        turn: &mut Turn,
        id: RunId,
        path: &str,
        kind: Kind,
    ) -> Result<bool, StoreError> {
        let Some(live) = self.runs.get(&id) else { return Ok(false) };
        let Some(call) = live.run.call(path) else { return Ok(false) };
        let Some(capability) = self.parts.registry.get(&call.capability) else { return Ok(false) };
        let answer = match kind {
            Kind::Read | Kind::Instant => return Ok(false),
            Kind::Write => capability.stand_in(&call.input),
            Kind::Control => match capability.work_out(&live.facts, turn.now, &call.input) {
                Verdict::Await(Awaits::Person, _) => capability.stand_in(&call.input),
                _ => return Ok(false),
            },
            Kind::Memory => match capability.work_out(&live.facts, turn.now, &call.input) {
                Verdict::Memory(op) => {
                    let answer = self.recall(turn, id, path, &op).await?;
                    self.answer(turn, id, path, answer);
                    return Ok(true);
                }
                _ => return Ok(false),
            },
        };
        if let Some(call) = self.runs.get_mut(&id).and_then(|live| live.run.call_mut(path)) {
            call.note(turn.now, "in the shadow: answered with a stand-in, nothing was done");
        }
        self.answer(turn, id, path, answer);
        Ok(true)
    }

    /// What a shadow's use of the shop's memory comes to. Where the live run on the same event has used it in the same
    /// way, what it was answered: else the two would count each other in, and differ for no reason of their own.
    async fn recall(&self, turn: &Turn, id: RunId, path: &str, op: &MemoryOp) -> Result<Answer, StoreError> {
        let Some(live) = self.runs.get(&id) else { return Ok(memory::apply(op, &serde_json::Value::Null).0) };
        let before = live.run.calls.iter().take_while(|call| call.path != path);
        let own = left_by(before, &live.facts, &self.parts.registry, op.key());
        if own.is_none()
            && let Some(asked) = live.run.call(path)
            && let Some(answer) = self.answered_beside(turn, &live.run, asked).await?
        {
            return Ok(answer);
        }
        let now = match own.or_else(|| turn.memory.get(op.key()).cloned()) {
            Some(value) => value,
            None => self.parts.store.remembered(&self.parts.shop.id, op.key()).await?,
        };
        Ok(memory::apply(op, &now).0)
    }

    /// The answer that the live run on a shadow's event has got to the same call.
    async fn answered_beside(&self, turn: &Turn, shadow: &Run, asked: &Call) -> Result<Option<Answer>, StoreError> {
        let same = |run: &Run| {
            let call = run.call(&asked.path).filter(|call| call.digest == asked.digest);
            call.filter(|call| call.state == CallState::Answered).and_then(|call| call.answer.clone())
        };
        let is_beside =
            |run: &Run| run.event.id == shadow.event.id && run.rule == shadow.rule && run.mode == Mode::Live;
        // One that was born in this turn is not on disk yet.
        let mut born = turn.born.iter().filter_map(|id| self.runs.get(id));
        if let Some(live) = born.find(|live| is_beside(&live.run)) {
            return Ok(same(&live.run));
        }
        let (store, shop) = (&self.parts.store, &self.parts.shop.id);
        let Some(id) = store.run_on(shop, shadow.event.id, &shadow.rule, Mode::Live).await? else { return Ok(None) };
        match self.runs.get(&id) {
            Some(live) => Ok(same(&live.run)),
            None => Ok(store.runs(shop, &[id]).await?.first().and_then(same)),
        }
    }
}

/// The value that these calls, in their order, have left under a key; `None` where they have left none.
fn left_by<'c>(
    calls: impl Iterator<Item = &'c Call>,
    facts: &Facts,
    registry: &Registry,
    key: &str,
) -> Option<serde_json::Value> {
    let left = calls.filter_map(|call| {
        let capability = registry.get(&call.capability).filter(|it| it.spec().kind == Kind::Memory)?;
        match capability.work_out(facts, call.asked, &call.input) {
            Verdict::Memory(op) if op.key() == key => memory::left_behind(&op, call.answer.as_ref()?),
            _ => None,
        }
    });
    left.last()
}
