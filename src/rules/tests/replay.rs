//! Replay: however a run's answers arrive, the same calls are made.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::Failure;
use crate::rules::advance::Outcome;
use crate::rules::names::Ty;
use crate::rules::rule::{OnError, Step, With};
use crate::rules::template::Template;

/// One thing that a random script does.
fn action(depth: u32) -> BoxedStrategy<String> {
    let last = "if last != () && last.n != () { last.n } else { 0 }";
    let leaf = prop_oneof![
        (0..3_u8).prop_map(move |n| format!("last = ask(\"order.get\", #{{ n: {n}, seen: {last} }});")),
        Just("try { last = ask(\"order.tag\", #{ a: 1 }); } catch (e) { caught += e.code; }".to_owned()),
        Just("if total % 2 == 1 { ask(\"log\", #{ odd: total, caught: caught }); }".to_owned()),
        Just("total += if last != () && last.n != () { last.n } else { 1 };".to_owned()),
        Just("for line in order.lines { total += step(line.quantity); }".to_owned()),
        Just("order.lines.for_each(|line| ask(\"log\", #{ sku: line.sku }));".to_owned()),
        Just("[3, 1, 2].sort_by(|a, b| { ask(\"log\", #{ a: a, b: b }); a - b });".to_owned()),
        Just("if total > 9 { exit(); }".to_owned()),
        Just("if caught.len() > 18 { throw #{ code: \"odd\", message: caught }; }".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let block = prop::collection::vec(action(depth - 1), 1..3).prop_map(|actions| actions.concat());
    prop_oneof![
        4 => leaf,
        1 => prop::collection::vec(block.clone(), 1..4).prop_map(|branches| {
            let own = "let last = last; let total = total; let caught = caught;";
            let branches: Vec<String> = branches.iter().map(|it| format!("|| {{ {own} {it} total }}")).collect();
            format!("total += all([{}]).len();", branches.join(", "))
        }),
        1 => block.clone().prop_map(|it| format!("try {{ {it} }} catch {{ caught += \"!\"; }}")),
        1 => (1..3_u8, block).prop_map(|(times, it)| format!("for i in 0..{times} {{ {it} }}")),
    ]
    .boxed()
}

fn random_script() -> impl Strategy<Value = String> {
    prop::collection::vec(action(2), 1..6).prop_map(|actions| {
        format!(
            "let last = (); let total = 0; let caught = \"\"; \
             fn step(n) {{ let got = ask(\"order.get\", #{{ step: n }}); if got.n != () {{ got.n }} else {{ n }} }} \
             {}",
            actions.concat()
        )
    })
}

fn random_steps() -> impl Strategy<Value = Vec<[u8; 4]>> {
    prop::collection::vec([0..4_u8, 0..4_u8, 0..4_u8, 0..6_u8], 1..7)
}

fn steps_of(spec: &[[u8; 4]]) -> Vec<Step> {
    let ids: Vec<String> = (0..spec.len()).map(|i| format!("s{i}")).collect();
    fn within<T>(ids: &[String], then: impl FnOnce(&Scope<'_>) -> Result<T, Vec<Mistake>>) -> T {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        with_scope(&ids, |scope| then(&Scope { item: Some(&Ty::Any), ..*scope })).expect("no mistake")
    }
    let steps = spec.iter().enumerate().map(|(i, &[with, when, on_error, each])| {
        let before = i.checked_sub(1).map_or("customer".to_owned(), |i| format!("steps.s{i}"));
        let text = match with {
            0 => "{{ order.name }}".to_owned(),
            1 => format!("it is {{{{ {before}.n ?? 0 }}}}"),
            2 if i > 0 => format!("{{{{ {before}.n }}}}"),
            3 if each < 3 => "{{ item.sku ?? item.n ?? item }}".to_owned(),
            _ => "{{ order.total }} {{ order.tags }}".to_owned(),
        };
        let text = if i == 0 { text.replace("customer.n ", "customer.name ") } else { text };
        let template = within(&ids[..i], |scope| Template::compile(&text, scope));
        let condition = match when {
            0 if i > 0 => Some(format!("{before}.n != () && {before}.n > 1")),
            1 => Some("order.tax > inputs.limit".to_owned()),
            2 if each < 3 => Some("item.quantity != 1 && item.n != 2".to_owned()),
            _ => None,
        };
        // Over a record's list, over the answers of the step before (where it made several), over what is no list.
        let list = match each {
            0 => Some("order.lines".to_owned()),
            1 => Some("[#{ n: 1 }, #{ n: 2 }, #{ n: 3 }]".to_owned()),
            2 if i > 0 => Some(before.clone()),
            _ => None,
        };
        Step {
            id: ids[i].clone(),
            uses: "order.tag".into(),
            with: With::Map([("text".to_owned(), With::Template(template))].into()),
            for_each: list.map(|it| within(&ids[..i], |scope| Expr::compile(&it, scope))),
            when: condition.map(|it| within(&ids[..i], |scope| Expr::compile(&it, scope))),
            retry: None,
            on_error: match on_error {
                0 => Some(OnError::Continue),
                1 => Some(OnError::Use(With::Plain(json!({ "n": 5 })))),
                2 => Some(OnError::Stop),
                _ => None,
            },
            on_violation: None,
            line: 1,
        }
    });
    steps.collect()
}

/// What the world answers to a call, now or in a year.
fn answer(seed: u64, path: &str, capability: &str) -> Answer {
    let mixed = path.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) >> 7;
    match mixed % 5 {
        0 if capability == "order.tag" => Answer::Failed(Failure::new("refused", "no")),
        1 => Answer::Failed(Failure::new("limited", "later")),
        2 => Answer::Done(json!({})),
        more => Answer::Done(json!({ "n": more + mixed % 3 })),
    }
}

/// A run's journal: what was asked under each path.
type Journal = BTreeMap<String, (String, Json)>;

/// Answers all at once, as the world would.
#[derive(Clone, Default)]
struct World {
    seed: u64,
    journal: Journal,
}

impl Door for World {
    fn ask(&mut self, path: &str, capability: &str, input: Json, _: AskOptions) -> Asked {
        self.journal.insert(path.into(), (capability.into(), input));
        Asked::Answered(answer(self.seed, path, capability))
    }
}

/// Runs pass by pass, answering in each only some of what is open; checks that a path never asks for something else.
fn piecemeal(rule: &Rule, seed: u64, mut choose: u64) -> Result<(Progress, Journal), TestCaseError> {
    let facts = facts();
    let mut journal = Journal::new();
    let mut door = TestDoor::default();
    for _ in 0..5000 {
        door.asked.clear();
        let (progress, after) = advance(rule, &facts, door);
        door = after;
        for (path, capability, input, _) in &door.asked {
            let entry = (capability.clone(), input.clone());
            let first = journal.entry(path.clone()).or_insert_with(|| entry.clone());
            prop_assert_eq!(&*first, &entry, "{} asks for something else", path);
        }
        if progress != Progress::Waiting {
            let answered = door.asked.iter().filter(|(path, ..)| door.answers.contains_key(path)).count();
            prop_assert_eq!(answered, door.asked.len(), "it ended with an open call");
            return Ok((progress, journal));
        }
        let open: Vec<(String, String)> = door
            .asked
            .iter()
            .filter(|(path, ..)| !door.answers.contains_key(path))
            .map(|(path, capability, ..)| (path.clone(), capability.clone()))
            .collect();
        prop_assert!(!open.is_empty(), "it waits for nothing");
        choose = choose.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (path, capability) = &open[(choose >> 33) as usize % open.len()];
        door.answers.insert(path.clone(), answer(seed, path, capability));
    }
    Err(TestCaseError::fail("it does not end"))
}

fn replay_equals_the_original(rule: &Rule, seed: u64, choose: u64) -> Result<(), TestCaseError> {
    let world = World { seed, journal: Journal::new() };
    let (original, world) = advance(rule, &facts(), world);
    let (progress, journal) = piecemeal(rule, seed, choose)?;
    prop_assert_eq!(progress, original);
    prop_assert_eq!(journal, world.journal);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn of_scripts(text in random_script(), seed in any::<u64>(), choose in any::<u64>()) {
        replay_equals_the_original(&rule(Body::Script(script(&text))), seed, choose)?;
    }

    #[test]
    fn of_steps(spec in random_steps(), seed in any::<u64>(), choose in any::<u64>()) {
        replay_equals_the_original(&rule(Body::Steps(steps_of(&spec))), seed, choose)?;
    }
}

#[test]
fn a_step_for_each_replays_like_any_other() {
    let steps = [[3, 3, 0, 0], [3, 2, 0, 2], [0, 3, 3, 3]];
    for seed in 0..200 {
        let rule = rule(Body::Steps(steps_of(&steps)));
        replay_equals_the_original(&rule, seed, seed).unwrap_or_else(|error| panic!("{seed}: {error}"));
    }
    let rule = rule(Body::Steps(steps_of(&steps)));
    let all = (0..200).map(|seed| advance(&rule, &facts(), World { seed, journal: Journal::new() }).1.journal.len());
    assert_eq!(all.max(), Some(5), "two lines, their two answers, and what comes after");
}

#[test]
fn a_random_script_does_something() {
    // Guards the property above against scripts that all fail at once.
    let text = "let last = (); let total = 0; let caught = \"\"; fn step(n) { n } \
                try { last = ask(\"order.tag\", #{ a: 1 }); } catch (e) { caught += e.code; } \
                total += all([|| { ask(\"log\", #{}); total }]).len(); for line in order.lines { total += step(line.quantity); }";
    let rule = rule(Body::Script(script(text)));
    let done = (0..50).filter(|&seed| {
        let (progress, world) = advance(&rule, &facts(), World { seed, journal: Journal::new() });
        progress == Progress::Ended(Outcome::Done) && world.journal.len() == 2
    });
    assert!(done.count() > 10);
}
