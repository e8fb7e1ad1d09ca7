//! A rule tried on single past events, each for itself: every call with its answer and where that came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;

use super::BacktestError;
use super::answers::{Answers, Past, Source};
use super::happened::Happened;
use super::report::{failure, word};
use crate::domain::{Answer, Call, End, EventId, Facts, Kind, Mode, ShopId};
use crate::engine::registry::Registry;
use crate::engine::rehearse::{Memory, Rehearsal};
use crate::rules::{Rule, WhyNot, first_false, lane_key, why_not};
use crate::store::{Archive, Span, StoredEvent};

/// What came of a rule on one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The event's id.
    pub event: EventId,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// What the rule made of it.
    #[serde(flatten)]
    pub came: Came,
}

/// What a rule made of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Came {
    /// It does not listen to such events.
    NotHeard,
    /// The event was not matched yet: it has no context to look at.
    NeverMatched,
    /// A condition did not hold.
    NotMatched(WhyNot),
    /// It ran.
    Ran {
        /// The conditions, all of which held.
        because: Vec<String>,
        /// What it asked, in this order.
        calls: Vec<TriedCall>,
        /// How it ended: a word; `waiting` where it is not over by now.
        end: &'static str,
        /// Why it failed, where it did.
        failure: Option<String>,
    },
}

/// A call that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriedCall {
    /// The step's id, or where in the script it stands.
    pub path: String,
    /// The capability.
    pub uses: String,
    /// What it was asked.
    pub with: Json,
    /// When, by the run's own clock.
    pub asked: Timestamp,
    /// When it was answered, or is due to be.
    pub answered: Timestamp,
    /// What it was answered, where it was.
    pub answer: Option<Answer>,
    /// `record`, `example`, `clock`, `memory`, `door`.
    pub answered_by: &'static str,
}

/// Tries a rule on an event, as if nothing had been before it; `None` where there is no such event.
///
/// # Errors
/// [`BacktestError::Store`].
pub async fn try_on(
    archive: &Archive,
    registry: &Arc<Registry>,
    shop: &ShopId,
    rule: &Arc<Rule>,
    event: EventId,
    now: Timestamp,
) -> Result<Option<Tried>, BacktestError> {
    let Some(stored) = archive.event(shop, event).await? else { return Ok(None) };
    let runs = archive.runs(shop, &rule.id, Span { after: EventId(event.0 - 1), to: event }).await?;
    let ids: Vec<_> = runs.iter().map(|run| run.run).collect();
    let mut calls = archive.calls(&ids).await?;
    let past: Vec<(Mode, Vec<Call>)> =
        runs.iter().filter_map(|run| Some((run.mode, calls.remove(&run.run)?))).collect();
    let past = Past::new(past.into_iter(), registry);
    let (registry, rule) = (registry.clone(), rule.clone());
    // A script may take as long as its deadline allows.
    Ok(tokio::task::spawn_blocking(move || Some(tried(&rule, &registry, stored, &past, now))).await?)
}

fn tried(rule: &Arc<Rule>, registry: &Arc<Registry>, stored: StoredEvent, past: &Past, now: Timestamp) -> Tried {
    let event = stored.event;
    let (id, kind, subject) = (event.id, event.kind.to_string(), event.subject.to_string());
    let tried = |came| Tried { event: id, kind, subject, came };
    if !rule.hears(&event.kind, &event.subject) {
        return tried(Came::NotHeard);
    }
    let Some(context) = stored.context else { return tried(Came::NeverMatched) };
    let facts = Facts {
        now: stored.matched.unwrap_or(event.received),
        event,
        context: context.records,
        missing: context.missing,
        inputs: rule.values(),
    };
    if let Some(at) = first_false(rule, &facts) {
        return tried(Came::NotMatched(why_not(rule, &facts, at)));
    }
    let lane = lane_key(rule, &facts);
    let mut run = Rehearsal::begin(rule.clone(), facts.clone());
    let mut sources = BTreeMap::new();
    match lane {
        Err(failure) => run.end_as(End::Failed { failure }),
        Ok(_) => {
            let (happened, sources) = (&Happened::nothing(), &mut sources);
            let mut answers = Answers { past, registry, facts: &facts, model: None, happened, sources };
            run.go_on(registry, &mut answers, &mut Memory::new(), now.max(facts.now));
        }
    }
    let call = |call: &Call| TriedCall {
        path: call.path.clone(),
        uses: call.capability.clone(),
        with: call.input.clone(),
        asked: call.asked,
        answered: call.answered.unwrap_or(call.due),
        answer: call.answer.clone(),
        answered_by: match (sources.get(&call.path), registry.get(&call.capability).map(|it| it.spec().kind)) {
            (Some(Source::Record), _) => "record",
            (Some(Source::Model), _) => "model",
            _ if run.stood_in.contains(&call.path) => "example",
            (None, Some(Kind::Control)) => "clock",
            (None, Some(Kind::Memory)) => "memory",
            (None, _) => "door",
        },
    };
    tried(Came::Ran {
        because: rule.clauses(),
        calls: run.calls.iter().map(call).collect(),
        end: word(run.end.as_ref()),
        failure: failure(run.end.as_ref()).map(|(code, message)| format!("{message} ({code})")),
    })
}
