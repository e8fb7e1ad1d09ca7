//! What is looked at when a life begins and at the end of all lives: whether the journal kept its promise.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use storehand::domain::{Answer, Call, CallState, End, Event, Facts, Run, RunId, is_of_kind};
use storehand::engine::{Step, advance};
use storehand::store::EventFilter;

use super::{Scene, open};
use crate::support::acme;
use crate::world::KINDS;

impl Scene {
    /// What has ended has ended, and what was answered stays so.
    pub(super) fn unchanged(&self, runs: &[Run]) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for run in runs {
            if let Some(end) = &run.ended
                && known.ends.insert(run.id, end.clone()).is_some_and(|before| before != *end)
            {
                return Err(format!("{} has ended twice", run.id));
            }
            if run.ended.is_none() && known.ends.contains_key(&run.id) {
                return Err(format!("{} is alive again", run.id));
            }
            for call in &run.calls {
                let name = (run.id, call.path.clone());
                match &call.answer {
                    Some(answer) => {
                        let before = known.answers.insert(name, answer.clone());
                        if before.as_ref().is_some_and(|before| before != answer) {
                            return Err(format!("{} {}: {before:?} became {answer:?}", run.id, call.path));
                        }
                    }
                    None if known.answers.contains_key(&name) => {
                        return Err(format!("{} {} has lost its answer", run.id, call.path));
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Looks at what is left. Returns how many writes took effect.
    pub(super) async fn verify(&self) -> Result<usize, String> {
        let store = self.store().await?;
        let runs = self.runs(&store).await?;
        self.unchanged(&runs)?;
        self.is_in_order(&store, &runs).await?;
        let delivered = self.case.events.iter().filter(|(_, kind)| *kind == 0).count();
        let filter = EventFilter { kind: Some(KINDS[0].to_owned()), most: 1000, before: None };
        let kept = store.events(&acme(), &filter).await.map_err(|error| error.to_string())?.len();
        if kept != delivered {
            return Err(format!("{kept} events, where there should be {delivered}"));
        }
        let left = open(&runs);
        if !left.is_empty() {
            return Err(format!("still open: {left:#?}"));
        }
        let mut told: BTreeMap<RunId, usize> = BTreeMap::new();
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(|run| *told.entry(*run).or_default() += 1);
        if let Some((run, times)) = told.iter().find(|(run, times)| **times > self.steered().ends(**run)) {
            return Err(format!("the end of {run} was told {times} times"));
        }
        let filter = EventFilter { most: 1000, ..EventFilter::default() };
        let events = store.events(&acme(), &filter).await.map_err(|error| error.to_string())?;
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for run in &runs {
            self.replays(run)?;
            for call in &run.calls {
                self.is_true(run, call)?;
                self.waited(run, call, &events)?;
                if let ("memory.add", Some(Answer::Done(_))) = (call.capability.as_str(), &call.answer) {
                    let key = call.input["key"].as_str().unwrap_or_default();
                    *sums.entry(key).or_default() += call.input["by"].as_i64().unwrap_or_default();
                }
            }
        }
        for (key, sum) in sums {
            let remembered = store.remembered(&acme(), key).await.map_err(|error| error.to_string())?;
            if remembered.as_i64().unwrap_or_default() != sum {
                return Err(format!("memory {key} holds {remembered}, and the runs have added {sum}"));
            }
        }
        store.close().await;
        let seen = self.world.seen();
        if let Some((key, times)) = seen.effects.iter().find(|(_, times)| **times > 1) {
            return Err(format!("{key} took effect {times} times"));
        }
        if let Some((call, keys)) = seen.identities.iter().find(|(_, keys)| keys.len() > 1) {
            return Err(format!("one call of one rule on one event, {call:?}, was made as {keys:?}"));
        }
        match seen.faults.first() {
            Some(fault) => Err(fault.clone()),
            None => Ok(seen.effects.len()),
        }
    }

    /// What the journal says of a call is what the world saw.
    fn is_true(&self, run: &Run, call: &Call) -> Result<(), String> {
        let problem = |what: &str| Err(format!("{} {} {}: {what}: {call:?}", run.id, call.path, call.capability));
        let Some(answer) = &call.answer else { return problem("not answered") };
        if call.state != CallState::Answered {
            return problem("answered, and not said to be");
        }
        let key = format!("{}/{}", run.id, call.path);
        let happened = self.world.seen().effects.contains_key(&key);
        let is_write = matches!(call.capability.as_str(), "world.key" | "world.look" | "world.once");
        match answer {
            Answer::Done(answer) if is_write => {
                if !happened {
                    return problem("done, and it never happened");
                }
                if *answer != self.world.answer(&key) {
                    return problem("not the answer that was given");
                }
            }
            Answer::Failed(failure) if is_write && happened => {
                // Only where the other side takes our key may we stop without knowing.
                let may = call.capability == "world.key"
                    && matches!(&*failure.code, "retries_used_up" | "interrupted" | "cancelled");
                if !may {
                    return problem("failed, and it happened");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What ended a wait is what was to end it: the first event that counts, the time where there was none, a person
    /// who said so.
    fn waited(&self, run: &Run, call: &Call, events: &[Arc<Event>]) -> Result<(), String> {
        let problem = |what: &str| Err(format!("{} {} {}: {what}: {call:?}", run.id, call.path, call.capability));
        let is_cancelled = matches!(&call.answer, Some(Answer::Failed(failure)) if failure.code == "cancelled");
        if is_cancelled {
            return Ok(());
        }
        match (call.capability.as_str(), &call.answer) {
            ("wait_for", Some(Answer::Done(answer))) => {
                let kind = call.input["event"].as_str().unwrap_or_default();
                let about = call.input["order_id"]
                    .as_str()
                    .map_or_else(|| run.event.subject.to_string(), |order| format!("order/{order}"));
                let counts = |event: &&Arc<Event>| {
                    is_of_kind(&event.kind, kind) && *event.subject == *about && event.is_since(&run.event)
                };
                if answer["timed_out"] == true {
                    let in_time = |event: &&Arc<Event>| event.received < call.due;
                    if let Some(event) = events.iter().filter(counts).find(in_time) {
                        return problem(&format!("its time was over, and {} {} came", event.id, event.kind));
                    }
                    return Ok(());
                }
                let by = |event: &&Arc<Event>| answer["event"]["id"] == event.id.to_string();
                match events.iter().filter(counts).find(by) {
                    Some(event) if event.received <= call.due => Ok(()),
                    _ => problem("no such event counts"),
                }
            }
            ("approval.request", Some(answer)) => {
                let name = (run.id, call.path.clone());
                let by = match answer {
                    Answer::Done(answer) => answer["by"].as_str(),
                    Answer::Failed(failure) => failure.detail["by"].as_str(),
                };
                let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
                let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
                match (by, decided.get(&name)) {
                    (by, Some(decided)) if by != Some(decided.as_str()) => problem(&format!("{decided} decided it")),
                    (Some(by), _) if !people.get(&name).is_some_and(|people| people.iter().any(|one| one == by)) => {
                        problem("nobody of that name decided it")
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Replayed over its calls, given one by one, a run asks for the same calls and comes to the same end.
    fn replays(&self, run: &Run) -> Result<(), String> {
        let Some(rule) = self.rules.iter().find(|rule| rule.id == *run.rule) else { return Err("no rule".into()) };
        let facts = Facts {
            event: run.event.clone(),
            context: run.context.records.clone(),
            missing: run.context.missing.clone(),
            inputs: Arc::default(),
            now: run.started,
        };
        let end = run.ended.as_ref().map(|(_, end)| end);
        match end {
            Some(End::Failed { failure }) if matches!(&*failure.code, "stuck" | "internal" | "version_unreadable") => {
                return Err(format!("{} ended by a bug: {failure}", run.id));
            }
            Some(End::Diverged { .. }) => return Err(format!("{} diverged: {end:?}", run.id)),
            _ => {}
        }
        let is_own = matches!(end, Some(End::Done | End::Failed { .. } | End::Declined));
        for known in 0..=run.calls.len() {
            let calls = run.calls[..known].to_vec();
            let Step { calls, end: ended, .. } = advance(rule, &facts, calls, &self.registry, run.started);
            for asked in &calls[known..] {
                let is_same = |it: &&Call| it.path == asked.path && it.digest == asked.digest;
                // One that was ended from outside had not asked for all that it would have.
                if is_own && !run.calls[known..].iter().any(|it| is_same(&it)) {
                    return Err(format!("{} asks anew, after {known} calls: {asked:?}", run.id));
                }
            }
            if let Some(next) = run.calls.get(known)
                && !calls[known..].iter().any(|it| it.path == next.path && it.digest == next.digest)
            {
                return Err(format!("{} does not ask again, after {known} calls: {next:?}", run.id));
            }
            if known == run.calls.len() && is_own && ended.as_ref() != end {
                return Err(format!("{} ended as {end:?}, and replayed as {ended:?}", run.id));
            }
        }
        Ok(())
    }
}
