//! Two runs of a rule on one event, held side by side: the live one and its shadow.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::registry::Registry;
use crate::domain::{Answer, Call, End, EventId, Kind, Mode, Run, RunId};

/// What a run did, as far as it is compared: a small part of it, so that many can be held at once.
#[derive(Clone, Debug)]
pub struct Did {
    /// Which run.
    pub run: RunId,
    /// Its version.
    pub version: Arc<str>,
    /// Whether it is the live one or its shadow.
    pub mode: Mode,
    /// On which event.
    pub event: EventId,
    /// What it wrote, in the order in which it was asked: those writes that the door let through.
    pub writes: Vec<Written>,
    /// How it ended; `None` while it is under way.
    pub end: Option<End>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The capability.
    pub capability: String,
    /// What it was asked.
    pub input: Json,
}

/// What a live version and its shadow made of one event.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// What the live version did; none where it did not run.
    pub live: Option<Did>,
    /// What the shadow did.
    pub shadow: Option<Did>,
}

/// What came of holding them side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same writes in the same order, and the same end.
    Same,
    /// Something else.
    Differs,
    /// One of them is still under way, and they do not differ in what cannot change any more.
    NotYet,
}

impl Did {
    /// What a run did.
    pub fn of(run: &Run, registry: &Registry) -> Self {
        let is_write = |call: &&Call| {
            let refused = matches!(&call.answer, Some(Answer::Failed(it)) if NEVER_TRIED.contains(&it.code.as_str()));
            !refused && registry.get(&call.capability).is_some_and(|it| it.spec().kind == Kind::Write)
        };
        let written = |call: &Call| Written { capability: call.capability.clone(), input: call.input.clone() };
        Self {
            run: run.id,
            version: run.version.clone(),
            mode: run.mode,
            event: run.event.id,
            writes: run.calls.iter().filter(is_write).map(written).collect(),
            end: run.ended.as_ref().map(|(_, end)| end.clone()),
        }
    }
}

/// What the door answers to a call that is not to be made.
const NEVER_TRIED: [&str; 3] = ["unknown_capability", "denied", "invalid_input"];

/// Puts runs of one rule side by side, by event.
pub fn beside(runs: impl IntoIterator<Item = Did>) -> BTreeMap<EventId, Beside> {
    let mut events: BTreeMap<EventId, Beside> = BTreeMap::new();
    for run in runs {
        let both = events.entry(run.event).or_default();
        match run.mode {
            Mode::Live => both.live = Some(run),
            Mode::Shadow => both.shadow = Some(run),
            Mode::Undo => {}
        }
    }
    events
}

impl Beside {
    /// Whether both did the same.
    pub fn compared(&self) -> Compared {
        let (Some(live), Some(shadow)) = (&self.live, &self.shadow) else { return Compared::Differs };
        let so_far = live.writes.iter().zip(&shadow.writes).all(|(ours, theirs)| ours == theirs);
        // Who has ended with fewer writes than the other has by now, has fewer for good.
        let fewer = |ended: &Did, other: &Did| ended.end.is_some() && ended.writes.len() < other.writes.len();
        if !so_far || fewer(live, shadow) || fewer(shadow, live) {
            return Compared::Differs;
        }
        match (&live.end, &shadow.end) {
            (Some(live), Some(shadow)) if alike(live, shadow) => Compared::Same,
            (Some(_), Some(_)) => Compared::Differs,
            _ => Compared::NotYet,
        }
    }
}

fn alike(one: &End, other: &End) -> bool {
    match (one, other) {
        (End::Failed { failure: one }, End::Failed { failure: other }) => one.code == other.code,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::capabilities::{Deps, all};
    use crate::domain::{AskOptions, CallState, Context, Event, Failure, Records, RunState, digest};

    fn run(mode: Mode, tags: &[&str], end: Option<End>) -> Run {
        let now = Timestamp::UNIX_EPOCH;
        let event = Event {
            id: EventId(1),
            shop: "acme".parse().expect("a shop"),
            source: "/test".into(),
            kind: "order.created".into(),
            topic: "orders/create".into(),
            subject: "order/1".into(),
            time: now,
            received: now,
            records: Arc::new(Records::default()),
            mentions: Vec::new(),
            late: false,
            echo: None,
        };
        let call = |(at, tag): (usize, &&str)| {
            let input = json!({ "tags": [tag] });
            let refused = Some(Answer::Failed(Failure::new("denied", "no")));
            Call {
                path: at.to_string(),
                position: at as u32,
                capability: "order.tag".into(),
                digest: digest("order.tag", &input),
                input,
                options: AskOptions::default(),
                state: CallState::Answered,
                attempts: 0,
                due: now,
                awaits: None,
                asked: now,
                answered: Some(now),
                log: Vec::new(),
                answer: if *tag == "denied" { refused } else { Some(Answer::Done(json!({}))) },
                trouble: None,
            }
        };
        Run {
            id: RunId(1),
            rule: "r".into(),
            version: "v".into(),
            mode,
            event: Arc::new(event),
            context: Arc::new(Context::default()),
            lane: "l".into(),
            state: if end.is_some() { RunState::Ended } else { RunState::Waiting },
            started: now,
            ended: end.map(|end| (now, end)),
            calls: tags.iter().enumerate().map(call).collect(),
        }
    }

    fn failed(code: &str) -> Option<End> {
        Some(End::Failed { failure: Failure::new(code, "a text of its own") })
    }

    #[test]
    fn runs_are_alike_where_they_write_the_same_and_end_alike() {
        let registry = Registry::new(all(Deps::default())).expect("capabilities");
        let done = || Some(End::Done);
        for (live, shadow, expected) in [
            ((&["a", "b"][..], done()), (&["a", "b"][..], done()), Compared::Same),
            ((&["a"], done()), (&["a", "denied"], done()), Compared::Same),
            ((&["a", "b"], done()), (&["b", "a"], done()), Compared::Differs),
            ((&["a"], done()), (&["a", "b"], done()), Compared::Differs),
            ((&["a"], done()), (&["a"], failed("refused")), Compared::Differs),
            ((&[], failed("refused")), (&[], failed("refused")), Compared::Same),
            ((&[], failed("refused")), (&[], failed("denied")), Compared::Differs),
            ((&["a"], None), (&["a", "b"], done()), Compared::NotYet),
            ((&["a", "b"], None), (&["a"], done()), Compared::Differs),
            ((&["a"], None), (&["b"], None), Compared::Differs),
            ((&["a"], None), (&["a"], None), Compared::NotYet),
        ] {
            let runs = [run(Mode::Shadow, shadow.0, shadow.1.clone()), run(Mode::Live, live.0, live.1.clone())];
            let events = beside(runs.iter().map(|run| Did::of(run, &registry)));
            let came = events[&EventId(1)].compared();
            assert_eq!(came, expected, "{live:?} {shadow:?}");
        }
        let alone = beside([Did::of(&run(Mode::Shadow, &[], done()), &registry)]);
        assert_eq!(alone[&EventId(1)].compared(), Compared::Differs);
    }
}
