//! Runs the tests that a rule carries: its event is matched, and its run goes on over mocks and a clock of its own
//! until it rests. Nothing leaves the building.
//!
//! A call is answered by the test's mocks, by step or by capability; else a read or a write gets the capability's
//! stand-in, `memory.*` works on an empty memory, and `wait` ends when the test's clock reaches it (`rehearse`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::compare::writes;
use super::registry::Registry;
use super::rehearse::{Answerer, Memory, Moment, Rehearsal};
use crate::domain::{Answer, Call, Catalog, End, Event, EventId, Facts, Failure, Records, ShopId};
use crate::rules::{Match, Rule, RuleTest, Schedule, lane_key, matches};

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
pub fn run(rule: &Arc<Rule>, registry: &Arc<Registry>) -> Vec<TestReport> {
    let report = |test: &RuleTest| {
        let messages = check(rule, test, registry);
        TestReport { name: test.name.clone(), line: test.line, passed: messages.is_empty(), messages }
    };
    rule.tests.iter().map(report).collect()
}

/// What did not come as the test expects.
fn check(rule: &Arc<Rule>, test: &RuleTest, registry: &Arc<Registry>) -> Vec<String> {
    let facts = match facts(rule, &test.event, registry.catalog()) {
        Ok(facts) => facts,
        Err(mistake) => return vec![mistake],
    };
    match (test.expect.matched, why_not(rule, &facts)) {
        (Some(false), Some(why)) => return test.expect.why_not.iter().filter_map(|text| why.unlike(text)).collect(),
        (Some(false), None) => return vec!["expected that the rule does not run, and all its conditions hold".into()],
        (_, Some(why)) => return vec![format!("the rule does not run: {}", why.said)],
        (_, None) => {}
    }
    let mut mocks = Mocks(&test.mocks, registry);
    let (came, until) = rehearsed(rule, test, facts, registry, &mut mocks);
    let mut messages = Vec::new();
    unlike_calls(test, &writes(&came.calls, registry), &mut messages);
    for name in &test.expect.never {
        for call in came.calls.iter().filter(|call| call.capability == *name) {
            messages.push(format!("`{name}` must never be used, and was: {}", shown(call)));
        }
    }
    unlike_end(test, &came, until, &mut messages);
    messages
}

/// Tries a rule on a test's event, over its mocks, tells `watch` of all that happens as it happens, and says how it ended;
/// `None`: it waits. Conditions are not looked at.
///
/// # Errors
/// Why the test's event is none.
pub fn watched(
    rule: &Arc<Rule>,
    test: &RuleTest,
    registry: &Arc<Registry>,
    watch: &mut dyn FnMut(Moment<'_>),
) -> Result<Option<End>, String> {
    let facts = facts(rule, &test.event, registry.catalog())?;
    let mut watched = Watched(Mocks(&test.mocks, registry), watch);
    let (came, _) = rehearsed(rule, test, facts, registry, &mut watched);
    Ok(came.end)
}

/// A run over a test's mocks, and where the test's clock ends.
fn rehearsed(
    rule: &Arc<Rule>,
    test: &RuleTest,
    facts: Facts,
    registry: &Arc<Registry>,
    answerer: &mut dyn Answerer,
) -> (Rehearsal, Timestamp) {
    let until = later(facts.now, test.advance);
    let lane = lane_key(rule, &facts);
    let mut came = Rehearsal::begin(rule.clone(), facts);
    match lane {
        Ok(_) => came.go_on(registry, answerer, &mut Memory::new(), until),
        Err(failure) => came.end_as(End::Failed { failure }),
    }
    (came, until)
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
        echo: None,
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

/// The test's mocks: by path (one item of a list), by step, by capability. What none of them answers, a clock or a stand-in does.
struct Mocks<'t>(&'t BTreeMap<String, Json>, &'t Registry);

impl Answerer for Mocks<'_> {
    fn answer(&mut self, call: &Call) -> Option<Answer> {
        // By path first: one item of a list.
        let names = [Some(call.path.as_str()), call.options.label.as_deref(), Some(call.capability.as_str())];
        let mock = names.into_iter().flatten().find_map(|name| self.0.get(name))?;
        if let Some(answer) = self.1.get(&call.capability).and_then(|capability| capability.mocked(&call.input, mock)) {
            return Some(answer);
        }
        let Some(error) = mock.get("error") else { return Some(Answer::Done(mock.clone())) };
        let text = |name: &str| error.get(name).and_then(Json::as_str);
        let word = error.as_str().or(text("code")).unwrap_or("refused");
        let message = text("message").unwrap_or("the test's mock says so");
        let detail = error.get("detail").cloned().unwrap_or_default();
        Some(Answer::Failed(Failure { code: word.to_owned(), message: message.to_owned(), detail }))
    }
}

/// Mocks, and somebody who watches.
struct Watched<'t>(Mocks<'t>, &'t mut dyn FnMut(Moment<'_>));

impl Answerer for Watched<'_> {
    fn answer(&mut self, call: &Call) -> Option<Answer> {
        self.0.answer(call)
    }

    fn told(&mut self, moment: Moment<'_>) {
        (self.1)(moment);
    }
}

/// A run's end in a word, as tests name it, and why.
fn ended(end: Option<&End>) -> (&'static str, String) {
    match end {
        None => ("waiting", String::new()),
        Some(End::Done) => ("done", String::new()),
        Some(End::Declined) => ("declined", String::new()),
        Some(End::Failed { failure }) => ("failed", format!(": {failure}")),
        Some(End::Diverged { path, recorded, asked }) => {
            ("diverged", format!(": call `{path}` was {recorded} and is, run again, {asked}"))
        }
        Some(End::Replaced | End::Skipped | End::Cancelled) => ("ended", String::new()),
    }
}

fn shown(call: &Call) -> String {
    format!("{} {}", call.capability, call.input)
}

fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The writes that were made, held against those expected: as many, in this order, with at least these inputs.
fn unlike_calls(test: &RuleTest, writes: &[&Call], messages: &mut Vec<String>) {
    for (i, expected) in test.expect.calls.iter().enumerate() {
        let place = format!("write {}", i + 1);
        let Some(call) = writes.get(i) else {
            messages.push(format!("{place}: expected {} {}, and it was not made", expected.uses, expected.with));
            continue;
        };
        if call.capability != expected.uses {
            messages.push(format!("{place}: expected {} {}, came {}", expected.uses, expected.with, shown(call)));
            continue;
        }
        unlike(&expected.with, &call.input, &format!("{place}, {}", expected.uses), messages);
    }
    for call in writes.iter().skip(test.expect.calls.len()) {
        messages.push(format!("not expected: {}", shown(call)));
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

fn unlike_end(test: &RuleTest, came: &Rehearsal, until: Timestamp, messages: &mut Vec<String>) {
    let (word, why) = ended(came.end.as_ref());
    match &test.expect.outcome {
        Some(expected) if expected != word => {
            let mut message = format!("expected that the run ends as {expected}; it is {word}{why}");
            if let (None, Some(call)) = (&came.end, came.calls.iter().find(|call| call.answer.is_none())) {
                message += &format!(": {} is due at {}, and the test's clock ends at {until}", shown(call), call.due);
            }
            messages.push(message);
        }
        None if matches!(came.end, Some(End::Failed { .. } | End::Diverged { .. })) => {
            messages.push(format!("the run {word}{why}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capabilities::{Deps, all};
    use crate::rules::read;

    /// The reports of a rule with these tests, on orders of 120 EUR.
    fn reports(rule: &str, tests: &str) -> Vec<TestReport> {
        let registry = Arc::new(Registry::new(all(Deps::default())).expect("capabilities"));
        let text =
            format!("id: t\nname: T\nstatus: live\ntriggers: [{{ event: order.created }}]\n{rule}\ntests:\n{tests}");
        let fixture =
            r#"{"type":"order.created","data":{"order":{"id":"1042","total":"120 EUR","customer":{"id":"7"}}}}"#;
        let files = |name: &str| Ok(if name.ends_with(".json") { fixture } else { SCRIPT }.to_owned());
        let read = read(Path::new("t.yaml"), &text, &files, registry.catalog());
        let Some(rule) = read.rule else {
            panic!("{:#?}", read.findings.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        run(&Arc::new(rule), &registry)
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
    fn an_approval_is_mocked_in_a_word_or_assumed() {
        let rule = |assume: &str| {
            format!(
                "allow: [order.tag]\nsteps:\n  - {{ id: ok, uses: approval.request, with: {{ to: support, show: \"tag \
                 {{{{ order.id }}}}\", timeout: 24h{assume} }} }}\n  - {{ uses: order.tag, with: {{ tags: [\"{{{{ \
                 steps.ok.text }}}}\"] }} }}"
            )
        };
        let made = |tag: &str| {
            format!("expect: {{ outcome: done, calls: [{{ uses: order.tag, with: {{ tags: [{tag}] }} }}] }}")
        };
        let none = "expect: { outcome: declined, calls: [] }".to_owned();
        for (assume, mock, expect) in [
            ("", "", made("tag 1042")),
            (", assume: approved", "", made("tag 1042")),
            (", assume: rejected", "", none.clone()),
            (", assume: rejected", "ok: approved", made("tag 1042")),
            ("", "ok: rejected", none.clone()),
            ("", "approval.request: rejected", none.clone()),
            ("", "ok: timed_out", none),
            (", on_timeout: approve", "ok: timed_out", made("tag 1042")),
            (", on_timeout: fail", "ok: timed_out", "expect: { outcome: failed, calls: [] }".to_owned()),
            ("", "ok: { text: other }", made("other")),
            ("", "ok: { error: { code: broken } }", "expect: { outcome: failed, calls: [] }".to_owned()),
        ] {
            let test = format!("mocks: {{ {mock} }}, {expect}");
            assert_eq!(messages(&rule(assume), &test), Vec::<String>::new(), "{assume} {mock}");
        }
    }

    #[test]
    fn a_wait_for_an_event_is_mocked_or_ends_when_the_clock_reaches_it() {
        let rule = "allow: [order.tag]\nsteps:\n  - { id: sent, uses: wait_for, with: { event: order.fulfilled, within: 7d } }\n  \
                    - { uses: order.tag, if: '!steps.sent.timed_out', with: { tags: [\"{{ steps.sent.order.name }}\"] } }\n  \
                    - { uses: order.tag, if: steps.sent.timed_out, with: { tags: [late] } }";
        let made = |tag: &str| {
            format!("expect: {{ outcome: done, calls: [{{ uses: order.tag, with: {{ tags: [{tag}] }} }}] }}")
        };
        for (test, expect) in [
            ("mocks: { sent: { order: { name: \"#7\" } } }", made("'#7'")),
            ("mocks: { sent: timed_out }", made("late")),
            ("advance: 7d", made("late")),
            ("advance: 6d", "expect: { outcome: waiting, calls: [] }".to_owned()),
        ] {
            assert_eq!(messages(rule, &format!("{test}, {expect}")), Vec::<String>::new(), "{test}");
        }
    }

    #[test]
    fn a_rule_hears_its_own_schedule() {
        let registry = Arc::new(Registry::new(all(Deps::default())).expect("capabilities"));
        let text = "id: digest\nname: T\nstatus: live\ntriggers: [{ schedule: 0 9 * * 1 }]\nsteps: [{ uses: log, with: \
                    { message: \"{{ event.subject }}\" } }]\ntests:\n\
                    - { name: a, event: { type: schedule.due, subject: rule/digest }, expect: { outcome: done } }\n\
                    - { name: b, event: { type: schedule.due }, expect: { outcome: done } }\n\
                    - { name: c, event: { type: schedule.due, subject: rule/other }, expect: { outcome: done } }\n";
        let read = read(Path::new("t.yaml"), text, &|_| Err(std::io::ErrorKind::NotFound.into()), registry.catalog());
        let messages: Vec<Vec<String>> =
            run(&Arc::new(read.rule.expect("a rule")), &registry).into_iter().map(|it| it.messages).collect();
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
