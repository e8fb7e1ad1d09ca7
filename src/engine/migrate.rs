//! Migrating a run: a new version of its rule is replayed over the calls that the run has.
//!
//! Pure, as advancing is. A call that the new version asks for again, at the same path and with the same input, is the
//! same call and keeps its answer, its due time and its attempts. What it does not ask for is left behind, which may be
//! done with a question or a timer, and must not be with what was done to the world: such a run stays where it is.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::advance::CALLS_A_RUN;
use super::memory;
use super::programs;
use super::registry::Registry;
use crate::domain::{Answer, AskOptions, Asked, Call, CallState, Door, Facts, Failure, Kind, Spec, Verdict, digest};
use crate::rules::{self, Outcome, Progress, Rule};

/// What becomes of a run when its rule has a new version.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It moves to the new version.
    Moves {
        /// Its journal from then on: those of its calls that the new version has asked for, in that order.
        calls: Vec<Call>,
        /// Whether the new version asks for something else, or ends, as soon as it is advanced.
        goes_on: bool,
    },
    /// It stays on the version that it is on.
    Stays(String),
}

/// What becomes of a run with these calls where `rule` is its rule's new version. `facts` hold the inputs of the new
/// version.
pub fn migrate(rule: &Arc<Rule>, facts: &Facts, calls: &[Call], registry: &Arc<Registry>, now: Timestamp) -> Fate {
    let crossing =
        Crossing { rule: rule.clone(), registry: registry.clone(), left: calls.to_vec(), reached: Vec::new(), new: 0 };
    let (progress, crossing) = rules::advance(rule, facts, crossing);
    let goes_on = match progress {
        Progress::Waiting => crossing.new > 0,
        Progress::Ended(Outcome::Failed(failure)) => {
            return Fate::Stays(format!("version {} fails on it: {failure}", rule.version));
        }
        Progress::Ended(Outcome::Done | Outcome::Declined) => true,
    };
    match crossing.left.iter().find_map(|call| Some((call, done_to_the_world(call, facts, registry, now)?))) {
        Some((call, was)) => {
            let (capability, path, version) = (&call.capability, &call.path, &rule.version);
            Fate::Stays(format!("`{capability}` at `{path}` {was}, and version {version} does not come to it"))
        }
        None => Fate::Moves { calls: crossing.reached, goes_on },
    }
}

/// The door between two versions: what the old one asked is answered from there; what is new is only counted, since it
/// is asked when the run is advanced, in its lane and in its turn.
struct Crossing {
    rule: Arc<Rule>,
    registry: Arc<Registry>,
    /// Calls that the new version has not asked for.
    left: Vec<Call>,
    reached: Vec<Call>,
    new: usize,
}

impl Door for Crossing {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
        let answered = |call: &Call| call.answer.clone().map_or(Asked::NotYet, Asked::Answered);
        if let Some(call) = self.reached.iter().find(|call| call.path == path) {
            return answered(call);
        }
        if self.reached.len() + self.new >= CALLS_A_RUN {
            let message = format!("a run may make {CALLS_A_RUN} calls");
            return Asked::Answered(Answer::Failed(Failure::new("too_many_calls", message)));
        }
        let digest = digest(capability, &input);
        let permitted = self.registry.permit(capability, &input, &self.rule.allow).map(|spec: &Spec| spec.kind);
        let same = self.left.iter().position(|call| call.path == path && call.digest == digest);
        // What has not begun needs the new version's permission, as any call does.
        let same = same.filter(|at| {
            let call = &self.left[*at];
            permitted.is_ok() || call.attempts > 0 || call.state != CallState::Pending
        });
        if let Some(at) = same {
            let mut call = self.left.remove(at);
            // A program's call stays on the program's version, and keeps the calls below it.
            let options = AskOptions { version: call.options.version.clone(), ..options };
            (call.position, call.options) = (self.reached.len() as u32, options);
            self.reached.push(call.clone());
            if self.registry.program(&call).is_some() {
                let (below, left) = self.left.drain(..).partition(|it| programs::is_below(&it.path, &call.path));
                self.left = left;
                self.reached.extend(Vec::into_iter(below));
                self.reached.iter_mut().enumerate().for_each(|(at, call)| call.position = at as u32);
            }
            return answered(&call);
        }
        self.new += 1;
        match permitted {
            Err(failure) => Asked::Answered(Answer::Failed(failure)),
            Ok(Kind::Instant) => Asked::Answered(Answer::Done(json!({}))),
            Ok(_) => Asked::NotYet,
        }
    }
}

/// What a call has done to the world, or may have, in words; `None`: nothing.
fn done_to_the_world(call: &Call, facts: &Facts, registry: &Registry, now: Timestamp) -> Option<&'static str> {
    const DONE: &str = "was done";
    const PERHAPS: &str = "may have been done";
    let capability = registry.get(&call.capability);
    match capability.map_or(Kind::Write, |it| it.spec().kind) {
        Kind::Read | Kind::Control | Kind::Instant => None,
        Kind::Memory => {
            let op = capability.map(|it| it.work_out(facts, now, &call.input));
            match (op, &call.answer) {
                (Some(Verdict::Memory(op)), Some(answer)) => memory::left_behind(&op, answer).map(|_| DONE),
                _ => None,
            }
        }
        Kind::Write => match (call.state, &call.answer) {
            (CallState::Answered, Some(Answer::Done(_))) => Some(DONE),
            (CallState::Answered, Some(Answer::Failed(it))) => {
                (call.attempts > 0 && NOBODY_KNOWS.contains(&it.code.as_str())).then_some(PERHAPS)
            }
            // A repeat that is harmless is made of an attempt of which nobody knows.
            (CallState::Pending | CallState::Answered, _) => (call.attempts > 0).then_some(PERHAPS),
            (CallState::Started | CallState::Lost | CallState::Unknown, _) => Some(PERHAPS),
        },
    }
}

/// Failures that do not say that nothing was done.
const NOBODY_KNOWS: [&str; 3] = ["retries_used_up", "unknown_given_up", "interrupted"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capabilities::{Deps, all};
    use crate::domain::{Event, EventId, Records};
    use crate::engine::{Step, advance};

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(all(Deps::default())).expect("capabilities"))
    }

    fn rule(steps: &str) -> Arc<Rule> {
        let text = format!(
            "id: r\nstatus: live\ntriggers: [{{ event: order.created }}]\nallow: [order.tag, message.send]\nsteps:\n{steps}"
        );
        let read = rules::read(Path::new("r.yaml"), &text, &|_| Ok(String::new()), registry().catalog());
        let Some(rule) = read.rule else { panic!("{:#?}", read.findings) };
        Arc::new(rule)
    }

    fn facts() -> Facts {
        let records = Arc::new(Records::default());
        let event = Event {
            id: EventId(1),
            shop: "acme".parse().expect("a shop"),
            source: "/test".into(),
            kind: "order.created".into(),
            topic: "orders/create".into(),
            subject: "order/1".into(),
            time: Timestamp::UNIX_EPOCH,
            received: Timestamp::UNIX_EPOCH,
            records: records.clone(),
            mentions: Vec::new(),
            late: false,
            echo: None,
        };
        let now = Timestamp::UNIX_EPOCH;
        Facts { event: Arc::new(event), context: records, missing: Vec::new(), inputs: Arc::default(), now }
    }

    /// The calls of a run of this rule whose first `answered` calls were done.
    fn calls(rule: &Arc<Rule>, answered: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        loop {
            let Step { calls: advanced, .. } = advance(rule, &facts(), calls, &registry(), Timestamp::UNIX_EPOCH);
            calls = advanced;
            let done = calls.iter().filter(|call| call.answer.is_some()).count();
            let Some(open) = calls.iter_mut().find(|call| call.answer.is_none()).filter(|_| done < answered) else {
                return calls;
            };
            (open.state, open.attempts) = (CallState::Answered, 1);
            open.answer = Some(Answer::Done(json!({ "stored": true, "value": 1, "text": "hi" })));
        }
    }

    fn fate(new: &str, calls: &[Call]) -> Fate {
        migrate(&rule(new), &facts(), calls, &registry(), Timestamp::UNIX_EPOCH)
    }

    const TAG: &str = "  - { id: tag, uses: order.tag, with: { order_id: \"1\", tags: [a] } }\n";
    const WAIT: &str = "  - { id: rest, uses: wait, with: { for: 10m } }\n";
    const SEND: &str = "  - { id: send, uses: message.send, with: { subject: Hi, text: Hi } }\n";

    #[test]
    fn what_both_versions_ask_is_kept_and_a_timer_that_is_asked_no_more_is_dropped() {
        let old = calls(&rule(&format!("{TAG}{WAIT}{SEND}")), 1);
        assert_eq!(old.iter().map(|call| call.path.as_str()).collect::<Vec<_>>(), ["tag", "rest"]);

        let Fate::Moves { calls, goes_on } = fate(&format!("{TAG}{WAIT}"), &old) else { panic!("it moves") };
        assert_eq!((calls, goes_on), (old.clone(), false), "it goes on waiting, for as long as it would have");

        let Fate::Moves { calls, goes_on } = fate(&format!("{TAG}{SEND}"), &old) else { panic!("it moves") };
        assert_eq!((calls, goes_on), (old[..1].to_vec(), true), "the wait is gone, the mail is next");

        let Fate::Moves { calls, goes_on } = fate(TAG, &old) else { panic!("it moves") };
        assert_eq!((calls, goes_on), (old[..1].to_vec(), true), "nothing is left to do: it ends");
    }

    #[test]
    fn a_run_stays_where_the_new_version_does_not_come_to_what_was_done() {
        let old = calls(&rule(&format!("{TAG}{WAIT}{SEND}")), 1);
        let other = TAG.replace("[a]", "[b]");
        for new in [&format!("{WAIT}{SEND}"), &format!("{WAIT}{TAG}"), &other, &TAG.replace("id: tag", "id: label")] {
            let Fate::Stays(why) = fate(new, &old) else { panic!("{new}") };
            assert!(why.starts_with("`order.tag` at `tag` was done, and version "), "{why}");
        }
        for (state, answer, attempts) in [
            (CallState::Started, None, 1),
            (CallState::Lost, None, 1),
            (CallState::Unknown, None, 1),
            (CallState::Pending, None, 1),
            (CallState::Answered, Some("retries_used_up"), 8),
            (CallState::Answered, Some("unknown_given_up"), 1),
        ] {
            let mut old = old.clone();
            (old[0].state, old[0].attempts) = (state, attempts);
            old[0].answer = answer.map(|code| Answer::Failed(Failure::new(code, "")));
            let Fate::Stays(why) = fate(SEND, &old) else { panic!("{state:?} {answer:?}") };
            assert!(why.starts_with("`order.tag` at `tag` may have been done, and version "), "{why}");
        }
        for (state, code, attempts) in [
            (CallState::Answered, Some("refused"), 1),
            (CallState::Answered, Some("denied"), 0),
            (CallState::Pending, None, 0),
        ] {
            let mut old = old.clone();
            (old[0].state, old[0].attempts) = (state, attempts);
            old[0].answer = code.map(|code| Answer::Failed(Failure::new(code, "")));
            assert!(matches!(fate(SEND, &old), Fate::Moves { calls, .. } if calls.is_empty()), "{code:?}");
        }
    }

    #[test]
    fn what_was_remembered_counts_as_done_and_what_was_only_read_does_not() {
        let step = |uses: &str, with: &str| format!("  - {{ id: m, uses: {uses}, with: {{ key: k{with} }} }}\n");
        for (uses, with, stays) in
            [("memory.add", "", true), ("memory.set", ", value: 1", true), ("memory.get", "", false)]
        {
            let old = calls(&rule(&(step(uses, with) + WAIT)), 1);
            assert_eq!(matches!(fate(WAIT, &old), Fate::Stays(_)), stays, "{uses}");
        }
        let mut old = calls(&rule(&(step("memory.set", ", value: 1, only_if: 2") + WAIT)), 1);
        old[0].answer = Some(Answer::Done(json!({ "stored": false, "value": 3 })));
        assert!(matches!(fate(WAIT, &old), Fate::Moves { .. }), "it was not stored");
    }

    #[test]
    fn a_write_that_has_not_begun_needs_the_new_version_s_permission() {
        let mut old = calls(&rule(TAG), 0);
        assert!(matches!(fate(TAG, &old), Fate::Moves { calls, goes_on: false } if calls == old));
        let denied = |calls: &[Call]| {
            let mut rule = Arc::into_inner(rule(TAG)).expect("the only one");
            rule.allow.clear();
            migrate(&Arc::new(rule), &facts(), calls, &registry(), Timestamp::UNIX_EPOCH)
        };
        assert!(matches!(denied(&old), Fate::Stays(why) if why.contains("fails on it")), "{:?}", denied(&old));
        (old[0].state, old[0].attempts) = (CallState::Started, 1);
        assert!(matches!(denied(&old), Fate::Moves { calls, .. } if calls == old), "what has begun goes on");
    }
}
