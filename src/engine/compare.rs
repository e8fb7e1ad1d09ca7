//! Two runs of a rule on one event, held side by side: the live one and its shadow.

use std::collections::BTreeMap;

use super::registry::Registry;
use crate::domain::{Answer, Call, End, EventId, Kind, Mode, Run, RunState};

/// What a live version and its shadow made of one event.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The live version's run; none where it did not run.
    pub live: Option<Run>,
    /// The shadow's.
    pub shadow: Option<Run>,
}

/// What came of holding them side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same writes in the same order, and the same end.
    Same,
    /// Something else.
    Differs,
    /// One of them is still under way, and so far they do not differ in what cannot change any more.
    NotYet,
}

/// Puts runs of one rule side by side, by event.
pub fn beside(runs: impl IntoIterator<Item = Run>) -> BTreeMap<EventId, Beside> {
    let mut events: BTreeMap<EventId, Beside> = BTreeMap::new();
    for run in runs {
        let both = events.entry(run.event.id).or_default();
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
    pub fn compared(&self, registry: &Registry) -> Compared {
        let (Some(live), Some(shadow)) = (&self.live, &self.shadow) else { return Compared::Differs };
        let (ours, theirs) = (writes(live, registry), writes(shadow, registry));
        let same = |(a, b): (&&Call, &&Call)| a.digest == b.digest;
        let so_far = ours.iter().zip(&theirs).all(same);
        let open = |run: &Run| run.state != RunState::Ended;
        // Who is done has done fewer than who is not: that stays so.
        let fewer = |done: &Run, done_writes: &[&Call], others: &[&Call]| !open(done) && done_writes.len() < others.len();
        if !so_far || fewer(live, &ours, &theirs) || fewer(shadow, &theirs, &ours) {
            return Compared::Differs;
        }
        if open(live) || open(shadow) {
            return Compared::NotYet;
        }
        if ended_alike(live, shadow) { Compared::Same } else { Compared::Differs }
    }
}

/// The writes of a run, in the order in which they were asked: those that the door let through.
pub fn writes<'r>(run: &'r Run, registry: &Registry) -> Vec<&'r Call> {
    let is_write = |call: &&Call| {
        let refused = matches!(&call.answer, Some(Answer::Failed(it)) if NEVER_TRIED.contains(&it.code.as_str()));
        !refused && registry.get(&call.capability).is_some_and(|it| it.spec().kind == Kind::Write)
    };
    run.calls.iter().filter(is_write).collect()
}

/// What the door answers to a call that is not to be made.
const NEVER_TRIED: [&str; 3] = ["unknown_capability", "denied", "invalid_input"];

fn ended_alike(one: &Run, other: &Run) -> bool {
    match (&one.ended, &other.ended) {
        (Some((_, End::Failed { failure: one })), Some((_, End::Failed { failure: other }))) => one.code == other.code,
        (Some((_, one)), Some((_, other))) => std::mem::discriminant(one) == std::mem::discriminant(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::capabilities::{Deps, all};
    use crate::domain::{AskOptions, CallState, Context, Event, Failure, Records, RunId, digest};

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
            let events = beside(runs);
            let came = events[&EventId(1)].compared(&registry);
            assert_eq!(came, expected, "{live:?} {shadow:?}");
        }
        let alone = beside([run(Mode::Shadow, &[], done())]);
        assert_eq!(alone[&EventId(1)].compared(&registry), Compared::Differs);
    }
}
