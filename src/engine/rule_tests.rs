//! Runs the tests that a rule carries: its event is matched, and its run goes on over mocks and a clock of its own
//! until it rests. Nothing leaves the building.
//!
//! A call is answered by the test's mocks, by step or by capability; else a read or a write gets the capability's
//! stand-in, `memory.*` works on an empty memory, and `wait` ends when the test's clock reaches it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::memory;
use crate::domain::{
    Answer, AskOptions, Asked, Catalog, Door, Event, EventId, Facts, Failure, Kind, MemoryOp, Records, ShopId, Spec,
    digest, parse_duration, validate,
};
use crate::rules::{Match, Outcome, Progress, Rule, RuleTest, Schedule, advance, lane_key, matches};

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// The test's name.
    pub name: String,
    /// Where it stands in the rule's file (1 is the first).
    pub line: usize,
    /// Whether all came as expected.
    pub passed: bool,
    /// What did not: what was expected, what came instead, and why.
    pub messages: Vec<String>,
}

/// Runs all tests of a rule.
pub fn run(rule: &Rule, catalog: &Catalog) -> Vec<TestReport> {
    let catalog = Arc::new(catalog.clone());
    let report = |test: &RuleTest| {
        let messages = check(rule, test, &catalog);
        TestReport { name: test.name.clone(), line: test.line, passed: messages.is_empty(), messages }
    };
    rule.tests.iter().map(report).collect()
}

/// What did not come as the test expects.
fn check(rule: &Rule, test: &RuleTest, catalog: &Arc<Catalog>) -> Vec<String> {
    let facts = match facts(rule, &test.event, catalog) {
        Ok(facts) => facts,
        Err(mistake) => return vec![mistake],
    };
    match (test.expect.matched, why_not(rule, &facts)) {
        (Some(false), Some(why)) => return test.expect.why_not.iter().filter_map(|text| why.unlike(text)).collect(),
        (Some(false), None) => return vec!["expected that the rule does not run, and all its conditions hold".into()],
        (_, Some(why)) => return vec![format!("the rule does not run: {}", why.said)],
        (_, None) => {}
    }
    let (end, door) = match lane_key(rule, &facts) {
        Ok(_) => play(rule, test, &facts, catalog),
        Err(failure) => (End::Outcome(Outcome::Failed(failure)), Rehearsal::new(rule, test, &facts, catalog)),
    };
    let mut messages = Vec::new();
    unlike_calls(test, &door, &mut messages);
    for name in &test.expect.never {
        for call in door.calls.iter().filter(|call| call.capability == *name) {
            messages.push(format!("`{name}` must never be used, and was: {}", call.shown()));
        }
    }
    unlike_end(test, &end, &door, &mut messages);
    messages
}

/// The facts that a test's event gives.
fn facts(rule: &Rule, event: &Json, catalog: &Catalog) -> Result<Facts, String> {
    let text = |name: &str| event.get(name).and_then(Json::as_str);
    let kind = text("type").ok_or("the test's event has no `type`")?;
    let data = event.get("data").cloned().unwrap_or_else(|| json!({}));
    let records: Records = serde_json::from_value(data).map_err(|error| format!("the test's event: {error}"))?;
    let records = Arc::new(records);
    let now = match text("time") {
        Some(time) => time.parse().map_err(|error| format!("the test's event: `{time}` is not a time: {error}"))?,
        None => DEFAULT_TIME,
    };
    let subject = match text("subject") {
        Some(subject) => subject.to_owned(),
        None if kind == Schedule::DUE => rule.subject(),
        None => subject(kind, event, catalog),
    };
    let event = Event {
        id: EventId(1),
        shop: "test".parse::<ShopId>().map_err(|error| error.to_string())?,
        source: text("source").unwrap_or("/test").into(),
        kind: kind.into(),
        topic: text("origintopic").unwrap_or(kind).into(),
        subject: subject.into(),
        time: now,
        received: now,
        records: Arc::clone(&records),
        mentions: Vec::new(),
        late: false,
    };
    Ok(Facts { event: Arc::new(event), context: records, missing: Vec::new(), inputs: rule.values(), now })
}

/// When an event happened that does not say: always the same moment, so that a test always comes out the same.
const DEFAULT_TIME: Timestamp = Timestamp::constant(1_767_258_000, 0);

/// `order/1042`, out of the event's own record.
fn subject(kind: &str, event: &Json, catalog: &Catalog) -> String {
    let family = kind.split('.').next().unwrap_or(kind);
    let own = catalog.events().iter().find(|known| known.name == kind).and_then(|known| known.records.first());
    let id = own.and_then(|own| event["data"][*own]["id"].as_str());
    format!("{family}/{}", id.unwrap_or("test"))
}

/// Why the rule does not run.
struct Why {
    said: String,
    /// The clause that is false and what it saw, where the rule listens.
    seen: Vec<String>,
}

impl Why {
    /// What to say where this is not the reason that was expected.
    fn unlike(&self, expected: &str) -> Option<String> {
        let is_seen = self.seen.iter().any(|seen| seen.contains(expected));
        (!is_seen).then(|| format!("expected that the rule does not run because of `{expected}`; but {}", self.said))
    }
}

/// Why the rule does not run; `None` where it does.
fn why_not(rule: &Rule, facts: &Facts) -> Option<Why> {
    let Event { kind, subject, .. } = &*facts.event;
    let unheard = |said| Some(Why { said, seen: Vec::new() });
    if !rule.triggers.iter().any(|trigger| trigger.hears(kind)) {
        return unheard(format!("it does not listen to `{kind}`"));
    }
    if !rule.hears(kind, subject) {
        return unheard(format!("it does not listen to the schedule of `{subject}`; its own is `{}`", rule.subject()));
    }
    let Match::WhyNot(it) = matches(rule, facts) else { return None };
    let mut said = format!("`{}` (line {}) does not hold", it.clause, it.line);
    let saw: Vec<String> = it.saw.iter().map(|(name, value)| format!("{name} is {value}")).collect();
    if !saw.is_empty() {
        said += &format!(": {}", saw.join(", "));
    }
    if let Some(error) = it.error {
        said += &format!("; {error}");
    }
    Some(Why { said, seen: saw.into_iter().chain([it.clause]).collect() })
}

/// How a rehearsed run came to rest.
enum End {
    Outcome(Outcome),
    /// It waits for the clock, longer than the test advances it.
    Waiting,
    /// Run again, it asked for something else: a mistake that would end a live run too.
    Diverged(String),
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::Outcome(Outcome::Done) => "done",
            Self::Outcome(Outcome::Failed(_)) => "failed",
            Self::Outcome(Outcome::Declined) => "declined",
            Self::Waiting => "waiting",
            Self::Diverged(_) => "diverged",
        }
    }

    fn why(&self) -> String {
        match self {
            Self::Outcome(Outcome::Failed(failure)) => format!(": {failure}"),
            Self::Diverged(what) => format!(": {what}"),
            _ => String::new(),
        }
    }
}

/// Advances the run until it rests: pass by pass, as a live run is, so that a test shows what a replay would.
fn play(rule: &Rule, test: &RuleTest, facts: &Facts, catalog: &Arc<Catalog>) -> (End, Rehearsal) {
    let mut door = Rehearsal::new(rule, test, facts, catalog);
    loop {
        let (progress, after) = advance(rule, facts, door);
        door = after;
        if let Some(what) = door.diverged.take() {
            return (End::Diverged(what), door);
        }
        if let Progress::Ended(outcome) = progress {
            return (End::Outcome(outcome), door);
        }
        if !door.answer_open_calls() {
            return (End::Waiting, door);
        }
    }
}

/// A call of a rehearsed run.
struct Call {
    path: String,
    capability: String,
    digest: String,
    input: Json,
    is_write: bool,
    /// When it is answered, and how; at once where that is not later than now.
    due: Timestamp,
    answer: Answer,
    is_answered: bool,
}

impl Call {
    fn shown(&self) -> String {
        format!("{} {}", self.capability, self.input)
    }
}

/// The door of a rule's test.
struct Rehearsal {
    catalog: Arc<Catalog>,
    allow: Vec<String>,
    mocks: BTreeMap<String, Json>,
    memory: BTreeMap<String, Json>,
    now: Timestamp,
    /// How far the clock is moved.
    until: Timestamp,
    calls: Vec<Call>,
    diverged: Option<String>,
}

impl Rehearsal {
    fn new(rule: &Rule, test: &RuleTest, facts: &Facts, catalog: &Arc<Catalog>) -> Self {
        Self {
            catalog: Arc::clone(catalog),
            allow: rule.allow.clone(),
            mocks: test.mocks.clone(),
            memory: BTreeMap::new(),
            now: facts.now,
            until: later(facts.now, test.advance),
            calls: Vec::new(),
            diverged: None,
        }
    }

    /// Answers what is open and due, moving the clock to the next due call where none is; `false` where the clock
    /// does not reach any.
    fn answer_open_calls(&mut self) -> bool {
        let open = self.calls.iter().filter(|call| !call.is_answered);
        let Some(next) = open.map(|call| call.due).min().filter(|due| *due <= self.until) else { return false };
        self.now = self.now.max(next);
        let due = self.calls.iter_mut().filter(|call| call.due <= self.now);
        due.for_each(|call| call.is_answered = true);
        true
    }

    /// The mock for a call: by path (one item of a list), by step, by capability.
    fn mock(&self, path: &str, capability: &str, options: &AskOptions) -> Option<Answer> {
        let names = [Some(path), options.label.as_deref(), Some(capability)];
        let mock = names.into_iter().flatten().find_map(|name| self.mocks.get(name))?;
        let Some(error) = mock.get("error") else { return Some(Answer::Done(mock.clone())) };
        let text = |name: &str| error.get(name).and_then(Json::as_str);
        let word = error.as_str().or(text("code")).unwrap_or("refused");
        let message = text("message").unwrap_or("the test's mock says so");
        let detail = error.get("detail").cloned().unwrap_or_default();
        Some(Answer::Failed(Failure { code: word.to_owned(), message: message.to_owned(), detail }))
    }

    /// The answer of a call that no mock answers, and when it comes.
    fn stand_in(&mut self, spec: &Spec, input: &Json) -> (Answer, Timestamp) {
        let done = |answer: Json| Answer::Done(answer);
        match spec.kind {
            Kind::Memory => (self.remember(spec, input), self.now),
            Kind::Control if spec.name == "wait" => {
                let length = input.get("for").and_then(Json::as_str).and_then(|text| parse_duration(text).ok());
                (done(json!({})), later(self.now, length.unwrap_or_default()))
            }
            Kind::Instant => (done(json!({})), self.now),
            Kind::Read | Kind::Write | Kind::Control => (done(spec.example.answer.clone()), self.now),
        }
    }

    fn remember(&mut self, spec: &Spec, input: &Json) -> Answer {
        let key = input.get("key").and_then(Json::as_str).unwrap_or_default().to_owned();
        let op = match spec.name {
            "memory.get" => MemoryOp::Get { key: key.clone() },
            "memory.set" => MemoryOp::Set {
                key: key.clone(),
                value: input.get("value").cloned().unwrap_or_default(),
                only_if: input.get("only_if").cloned(),
            },
            _ => match memory::number(input.get("by").unwrap_or(&json!(1))) {
                Some(by) => MemoryOp::Add { key: key.clone(), by },
                None => return Answer::Failed(Failure::new("invalid_input", "`by` is not a number")),
            },
        };
        let (answer, value) = memory::apply(&op, self.memory.get(&key).unwrap_or(&Json::Null));
        if let Some(value) = value {
            self.memory.insert(key, value);
        }
        answer
    }

    /// What a live run's gate says first.
    fn permit(&self, capability: &str, input: &Json) -> Result<&Spec, Failure> {
        let Some(spec) = self.catalog.capabilities.get(capability) else {
            return Err(Failure::new("unknown_capability", format!("there is no capability `{capability}`")));
        };
        if spec.kind == Kind::Write && !self.allow.iter().any(|allowed| allowed == capability) {
            return Err(Failure::new("denied", format!("the rule's `allow` does not list `{capability}`")));
        }
        validate(&spec.input, input).map_err(|mistakes| {
            Failure::new("invalid_input", format!("`{capability}` cannot be asked that: {mistakes}"))
        })?;
        Ok(spec)
    }
}

impl Door for Rehearsal {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
        if self.diverged.is_some() {
            return Asked::NotYet;
        }
        let digest = digest(capability, &input);
        if let Some(call) = self.calls.iter().find(|call| call.path == path) {
            if call.digest != digest {
                self.diverged =
                    Some(format!("call `{path}` was {} and is, run again, {capability} {input}", call.shown()));
                return Asked::NotYet;
            }
            return if call.is_answered { Asked::Answered(call.answer.clone()) } else { Asked::NotYet };
        }
        let spec = self.permit(capability, &input).cloned();
        let (answer, due) = match &spec {
            Err(failure) => (Answer::Failed(failure.clone()), self.now),
            Ok(spec) => match self.mock(path, capability, &options) {
                Some(answer) => (answer, self.now),
                None => self.stand_in(spec, &input),
            },
        };
        let is_answered = spec.as_ref().map_or(true, |spec| spec.kind == Kind::Instant);
        let is_write = spec.is_ok_and(|spec| spec.kind == Kind::Write);
        let asked = if is_answered { Asked::Answered(answer.clone()) } else { Asked::NotYet };
        let (path, capability) = (path.to_owned(), capability.to_owned());
        self.calls.push(Call { path, capability, digest, input, is_write, due, answer, is_answered });
        asked
    }
}

fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The writes that were made, held against those expected: as many, in this order, with at least these inputs.
fn unlike_calls(test: &RuleTest, door: &Rehearsal, messages: &mut Vec<String>) {
    let writes: Vec<&Call> = door.calls.iter().filter(|call| call.is_write).collect();
    for (i, expected) in test.expect.calls.iter().enumerate() {
        let place = format!("write {}", i + 1);
        let Some(call) = writes.get(i) else {
            messages.push(format!("{place}: expected {} {}, and it was not made", expected.uses, expected.with));
            continue;
        };
        if call.capability != expected.uses {
            messages.push(format!("{place}: expected {} {}, came {}", expected.uses, expected.with, call.shown()));
            continue;
        }
        unlike(&expected.with, &call.input, &format!("{place}, {}", expected.uses), messages);
    }
    for call in writes.iter().skip(test.expect.calls.len()) {
        messages.push(format!("not expected: {}", call.shown()));
    }
}

/// Every key of what is expected must be there with its value; other keys may be.
fn unlike(expected: &Json, came: &Json, place: &str, messages: &mut Vec<String>) {
    match (expected, came) {
        (Json::Object(expected), Json::Object(came)) => {
            for (key, expected) in expected {
                let place = format!("{place}.{key}");
                match came.get(key) {
                    Some(came) => unlike(expected, came, &place, messages),
                    None => messages.push(format!("{place}: expected {expected}, and it was not given")),
                }
            }
        }
        (Json::Array(expected), Json::Array(came)) if expected.len() == came.len() => {
            for (i, (expected, came)) in expected.iter().zip(came).enumerate() {
                unlike(expected, came, &format!("{place}[{i}]"), messages);
            }
        }
        (Json::Number(expected), Json::Number(came)) if expected.as_f64() == came.as_f64() => {}
        _ if expected == came => {}
        _ => messages.push(format!("{place}: expected {expected}, came {came}")),
    }
}

fn unlike_end(test: &RuleTest, end: &End, door: &Rehearsal, messages: &mut Vec<String>) {
    match &test.expect.outcome {
        Some(expected) if expected != end.word() => {
            let mut message = format!("expected that the run ends as {expected}; it is {}{}", end.word(), end.why());
            if let (End::Waiting, Some(call)) = (end, door.calls.iter().find(|call| !call.is_answered)) {
                message +=
                    &format!(": {} is due at {}, and the test's clock ends at {}", call.shown(), call.due, door.until);
            }
            messages.push(message);
        }
        None if matches!(end, End::Outcome(Outcome::Failed(_)) | End::Diverged(_)) => {
            messages.push(format!("the run {}{}", end.word(), end.why()));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capabilities::{Deps, all, catalog};
    use crate::rules::read;

    /// The reports of a rule with these tests, on orders of 120 EUR.
    fn reports(rule: &str, tests: &str) -> Vec<TestReport> {
        let catalog = catalog(&all(Deps::default()));
        let text =
            format!("id: t\nname: T\nstatus: live\ntriggers: [{{ event: order.created }}]\n{rule}\ntests:\n{tests}");
        let fixture =
            r#"{"type":"order.created","data":{"order":{"id":"1042","total":"120 EUR","customer":{"id":"7"}}}}"#;
        let files = |name: &str| Ok(if name.ends_with(".json") { fixture } else { SCRIPT }.to_owned());
        let read = read(Path::new("t.yaml"), &text, &files, &catalog);
        let Some(rule) = read.rule else {
            panic!("{:#?}", read.findings.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        run(&rule, &catalog)
    }

    const SCRIPT: &str = r#"
        for i in 0..3 { ask("memory.add", #{ key: "n", by: 0.5 }); }
        let n = ask("memory.get", #{ key: "n" });
        ask("memory.set", #{ key: "m", value: 1, only_if: () }, #{ id: "set" });
        let found = all([|| ask("order.get", #{ id: order.id }), || { ask("wait", #{ for: "7d" }); now }]);
        try { ask("message.send", #{ text: "x" }); } catch (error) { ask("log", #{ message: error.code }); }
        ask("order.tag", #{ tags: [`n ${n.value}`] }, #{ id: "tag" });
    "#;

    const STEPS: &str = r#"
allow: [order.tag]
conditions: ["order.total > money(\"100 EUR\")"]
steps:
  - { uses: wait, with: { for: 10m } }
  - { id: tag, uses: order.tag, with: { tags: ["big", "{{ order.id }}"] } }
"#;

    fn messages(rule: &str, test: &str) -> Vec<String> {
        let test = format!("  - {{ name: x, event: a.json, {test} }}");
        reports(rule, &test).pop().expect("one report").messages
    }

    #[test]
    fn what_comes_as_expected_passes() {
        for test in [
            "advance: 10m, expect: { outcome: done, calls: [{ uses: order.tag, with: { tags: [big, \"1042\"] } }] }",
            "advance: 10m, expect: { calls: [{ uses: order.tag }], never: [message.send], matched: true }",
            "advance: 9m, expect: { outcome: waiting, calls: [] }",
            "advance: 10m, mocks: { tag: { error: { code: refused } } }, expect: { outcome: failed, calls: [{ uses: order.tag }] }",
            "advance: 10m, mocks: { tag: { error: declined } }, expect: { outcome: declined, calls: [{ uses: order.tag }] }",
        ] {
            assert_eq!(messages(STEPS, test), Vec::<String>::new(), "{test}");
        }
    }

    #[test]
    fn what_does_not_says_what_was_expected_and_what_came() {
        for (test, expected) in [
            ("expect: { calls: [{ uses: order.tag }] }", "write 1: expected order.tag {}, and it was not made"),
            ("advance: 10m, expect: { calls: [] }", "not expected: order.tag {\"tags\":[\"big\",\"1042\"]}"),
            (
                "advance: 10m, expect: { calls: [{ uses: order.tag, with: { tags: [big, other] } }] }",
                "write 1, order.tag.tags[1]: expected \"other\", came \"1042\"",
            ),
            (
                "advance: 10m, expect: { calls: [{ uses: order.tag, with: { tags: [big] } }] }",
                "write 1, order.tag.tags: expected [\"big\"], came [\"big\",\"1042\"]",
            ),
            (
                "advance: 10m, expect: { calls: [{ uses: order.tag, with: { order_id: \"7\" } }] }",
                "write 1, order.tag.order_id: expected \"7\", and it was not given",
            ),
            ("expect: { matched: false }", "expected that the rule does not run, and all its conditions hold"),
            ("expect: { calls: [], never: [wait] }", "`wait` must never be used, and was: wait {\"for\":\"10m\"}"),
            (
                "advance: 1m, expect: { calls: [], outcome: done }",
                "expected that the run ends as done; it is waiting: wait {\"for\":\"10m\"} is due at \
                 2026-01-01T09:10:00Z, and the test's clock ends at 2026-01-01T09:01:00Z",
            ),
            (
                "advance: 10m, mocks: { tag: { error: { code: refused, message: no such order } } }, \
                 expect: { calls: [{ uses: order.tag }] }",
                "the run failed: no such order (refused)",
            ),
        ] {
            assert_eq!(messages(STEPS, test), [expected], "{test}");
        }
        let small = |expect: &str| {
            let event = "{ type: order.created, data: { order: { total: 5 EUR } } }";
            reports(STEPS, &format!("  - {{ name: x, event: {event}, expect: {expect} }}")).pop().expect("one report")
        };
        for why_not in ["order.total", "> money", "is 5.00 EUR"] {
            assert!(small(&format!("{{ why_not: \"{why_not}\" }}")).passed, "{why_not}");
        }
        let other = small("{ why_not: line 7 }").messages;
        assert!(other[0].contains("because of `line 7`; but `order.total > money(\"100 EUR\")` (line 7)"), "{other:?}");
        let report = small("{ calls: [] }");
        assert_eq!((report.passed, report.line), (false, 13));
        let expected =
            "the rule does not run: `order.total > money(\"100 EUR\")` (line 7) does not hold: order.total is 5.00 EUR";
        assert_eq!(report.messages, [expected]);
    }

    #[test]
    fn scripts_have_a_memory_a_clock_and_a_gate() {
        let script = "allow: [order.tag, message.send]\nscript: t.rhai";
        let all = "advance: 7d, expect: { outcome: done, calls: [{ uses: message.send }, { uses: order.tag, with: { tags: [n 1.5] } }] }";
        assert_eq!(messages(script, all), Vec::<String>::new());
        let mocked = "advance: 7d, mocks: { memory.get: { value: 9 } }, \
                      expect: { calls: [{ uses: message.send }, { uses: order.tag, with: { tags: [n 9] } }] }";
        assert_eq!(messages(script, mocked), Vec::<String>::new());
        assert_eq!(messages(script, "advance: 6d, expect: { outcome: waiting }"), Vec::<String>::new());
    }

    #[test]
    fn a_call_that_does_not_fit_its_schema_is_not_made() {
        let rule = "allow: [order.tag]\nsteps:\n  - { uses: order.tag, with: { tags: \"{{ order.id }}\" } }";
        let found = messages(rule, "expect: { calls: [], outcome: done }");
        assert!(found.len() == 1 && found[0].contains("tags: \"1042\" is not of type \"array\""), "{found:?}");
    }

    #[test]
    fn items_of_a_list_are_mocked_by_path_or_all_alike() {
        let rule = "allow: [order.tag]\nsteps:\n  - { id: found, uses: memory.get, for_each: '[\"a\", \"b\", \"c\"]', \
                    if: item != \"c\", with: { key: \"{{ item }}\" } }\n  - { uses: order.tag, for_each: steps.found, \
                    if: item != (), with: { tags: [\"{{ item.value }}\"] } }";
        for (mocks, tags) in [
            ("found: { value: x }", ["x", "x"]),
            ("found/2: { value: y }, found: { value: x }", ["x", "y"]),
            ("found/1: { value: z }, memory.get: { value: x }", ["z", "x"]),
        ] {
            let [first, second] = tags.map(|tag| format!("{{ uses: order.tag, with: {{ tags: [{tag}] }} }}"));
            let test = format!("mocks: {{ {mocks} }}, expect: {{ outcome: done, calls: [{first}, {second}] }}");
            assert_eq!(messages(rule, &test), Vec::<String>::new(), "{test}");
        }
    }

    #[test]
    fn a_rule_hears_its_own_schedule() {
        let catalog = catalog(&all(Deps::default()));
        let text = "id: digest\nname: T\nstatus: live\ntriggers: [{ schedule: 0 9 * * 1 }]\nsteps: [{ uses: log, with: \
                    { message: \"{{ event.subject }}\" } }]\ntests:\n\
                    - { name: a, event: { type: schedule.due, subject: rule/digest }, expect: { outcome: done } }\n\
                    - { name: b, event: { type: schedule.due }, expect: { outcome: done } }\n\
                    - { name: c, event: { type: schedule.due, subject: rule/other }, expect: { outcome: done } }\n";
        let read = read(Path::new("t.yaml"), text, &|_| Err(std::io::ErrorKind::NotFound.into()), &catalog);
        let messages: Vec<Vec<String>> =
            run(&read.rule.expect("a rule"), &catalog).into_iter().map(|it| it.messages).collect();
        let other =
            "the rule does not run: it does not listen to the schedule of `rule/other`; its own is `rule/digest`";
        assert_eq!(messages, [vec![], vec![], vec![other.to_owned()]]);
    }

    #[test]
    fn an_empty_key_fails_the_run() {
        let rule = "key: order.note\nallow: [order.tag]\nsteps:\n  - { uses: order.tag, with: { tags: [a] } }";
        let found = messages(rule, "expect: { calls: [] }");
        assert!(found.len() == 1 && found[0].contains("empty_key"), "{found:?}");
    }
}
