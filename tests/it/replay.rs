//! Replay is pure: whatever order the answers come in, a run asks for the same calls and comes to the same end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use storehand::domain::{
    Answer, Call, CallState, End, Event, EventId, Facts, Failure, Mode, Records, Run, RunId, RunState,
};
use storehand::engine::replay::{Exported, replay};
use storehand::engine::{Registry, Step, advance};
use storehand::rules::Rule;

use crate::random_rules::random_rule;
use crate::support::{acme, start_of_time};
use crate::world::World;

pub(crate) fn facts() -> Facts {
    let event = Event {
        id: EventId(1),
        shop: acme(),
        source: "/shopify/acme".into(),
        kind: "order.created".into(),
        topic: "orders/create".into(),
        subject: "order/1".into(),
        time: start_of_time(),
        received: start_of_time(),
        records: Arc::new(Records::default()),
        mentions: Vec::new(),
        late: false,
        echo: None,
    };
    Facts {
        event: Arc::new(event),
        context: Arc::new(Records::default()),
        missing: Vec::new(),
        inputs: Arc::default(),
        now: start_of_time(),
    }
}

/// The answer that a call of this path gets, whenever it gets it.
pub(crate) fn answer(world: &World, path: &str) -> Answer {
    match world.draw(path, 1) % 5 {
        0 => Answer::Failed(Failure::new("refused", "no")),
        _ => Answer::Done(world.answer(path)),
    }
}

type Journal = BTreeMap<String, (String, Json, Option<Answer>)>;

/// The moment of a round.
fn at(round: u32) -> Timestamp {
    start_of_time().saturating_add(jiff::SignedDuration::from_millis(round.into())).expect("a moment")
}

/// Takes a run to its end, answering what it waits for in the order that `order` draws.
fn run(rule: &Arc<Rule>, world: &World, registry: &Arc<Registry>, order: u64) -> (Journal, Option<End>, Vec<Call>) {
    let mut calls: Vec<Call> = Vec::new();
    for round in 0_u32..500 {
        let now: Timestamp = at(round);
        let Step { calls: all, known, end, .. } = advance(rule, &facts(), calls.clone(), registry, now);
        assert_eq!((known, &all[..known]), (calls.len(), &calls[..]), "what was known stays");
        let again = advance(rule, &facts(), all.clone(), registry, now);
        assert_eq!((again.end.as_ref(), &again.calls), (end.as_ref(), &all), "doing it again adds nothing");
        assert!(all.iter().enumerate().all(|(i, call)| call.position == i as u32), "positions count up");
        calls = all;
        let open: Vec<usize> = (0..calls.len()).filter(|&i| calls[i].answer.is_none()).collect();
        if end.is_some() {
            let journal =
                calls.iter().map(|it| (it.path.clone(), (it.digest.clone(), it.input.clone(), it.answer.clone())));
            return (journal.collect(), end, calls);
        }
        assert!(!open.is_empty(), "it waits for something");
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        std::hash::Hash::hash(&(order, round), &mut hasher);
        let call = &mut calls[open[std::hash::Hasher::finish(&hasher) as usize % open.len()]];
        call.answer = Some(answer(world, &call.path));
        (call.state, call.answered) = (CallState::Answered, Some(at(round + 1)));
    }
    panic!("no end after 500 answers");
}

pub(crate) fn cases() -> u32 {
    std::env::var("STOREHAND_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_answers_changes_nothing(rule in random_rule(), seed in any::<u64>(), orders in any::<[u64; 3]>()) {
        let world = World::new(seed, BTreeMap::new());
        let registry = world.registry();
        let rule = rule.rule("r0", registry.catalog());
        let (journal, end, calls) = run(&rule, &world, &registry, orders[0]);
        for order in &orders[1..] {
            let (other, other_end, _) = run(&rule, &world, &registry, *order);
            prop_assert_eq!((&other, &other_end), (&journal, &end));
        }

        // Another input at the same place is never taken for the same call.
        for at in 0..calls.len() {
            let mut changed = calls.clone();
            changed[at].digest = "another".into();
            changed[at].input = json!({ "another": true });
            let step = advance(&rule, &facts(), changed.clone(), &registry, start_of_time());
            let is_told = matches!(&step.end, Some(End::Diverged { path, .. }) if *path == calls[at].path);
            prop_assert!(is_told, "{:?}", step.end);
            prop_assert_eq!(step.calls, changed, "and nothing is asked on the wrong way");
        }
    }

    #[test]
    fn a_run_written_out_comes_out_the_same_and_a_changed_one_does_not(
        rule in random_rule(),
        seed in any::<u64>(),
        order in any::<u64>(),
        which in any::<prop::sample::Index>(),
    ) {
        let world = World::new(seed, BTreeMap::new());
        let registry = world.registry();
        let rule = rule.rule("r0", registry.catalog());
        let (_, end, calls) = run(&rule, &world, &registry, order);
        let last = calls.iter().filter_map(|call| call.answered).max().unwrap_or_else(start_of_time);
        let of = |calls: Vec<Call>| {
            let facts = facts();
            let run = Run {
                id: RunId(1),
                rule: rule.id.as_str().into(),
                version: rule.version.as_str().into(),
                mode: Mode::Live,
                event: facts.event,
                context: Arc::default(),
                lane: "order/1".into(),
                state: RunState::Ended,
                started: facts.now,
                ended: end.clone().map(|end| (last, end)),
                calls,
            };
            let written = serde_json::to_string(&Exported::of(&run, &acme(), Some(rule.bundle()), last)).expect("json");
            let read = Exported::read(&written).expect("it reads back");
            replay(&read, &registry).expect("it can be replayed")
        };
        let same = of(calls.clone());
        prop_assert_eq!((&same.difference, same.calls), (&None, calls.len()));

        if !calls.is_empty() {
            let at = which.index(calls.len());
            let mut changed = calls.clone();
            changed[at].input = json!({ "another": true });
            let told = of(changed).difference.expect("another input is seen");
            prop_assert!(told.recorded.contains("another"), "{told:?}");
            let mut longer = calls.clone();
            longer.push(Call { path: "never".into(), position: calls.len() as u32, ..calls[at].clone() });
            prop_assert!(of(longer).difference.is_some(), "a call that nobody asks for is seen");
            let mut shorter = calls.clone();
            shorter.remove(at);
            prop_assert!(of(shorter).difference.is_some(), "a call that is not on record is seen");
        }
    }
}
