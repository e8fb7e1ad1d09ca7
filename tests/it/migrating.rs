//! Migrating is safe: whatever a run has done, and however its rule was edited, no write is lost from its journal and
//! nothing is asked twice.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use proptest::prelude::*;
use storehand::domain::{Answer, Call, CallState, End, Kind};
use storehand::engine::{Fate, Registry, Step, advance, migrate};
use storehand::rules::Rule;

use crate::random_rules::random_rule;
use crate::replay::{answer, cases, facts};
use crate::support::start_of_time;
use crate::world::World;

/// Advances a run over `calls` until `most` of its calls are answered or it has ended.
fn go_on(
    rule: &Arc<Rule>,
    world: &World,
    registry: &Arc<Registry>,
    mut calls: Vec<Call>,
    (most, order): (usize, u64),
) -> (Vec<Call>, Option<End>) {
    for round in 0_u32..500 {
        let Step { calls: all, end, .. } = advance(rule, &facts(), calls, registry, start_of_time());
        calls = all;
        let open: Vec<usize> = (0..calls.len()).filter(|&i| calls[i].answer.is_none()).collect();
        if end.is_some() || open.is_empty() || calls.len() - open.len() >= most {
            return (calls, end);
        }
        let mut hasher = DefaultHasher::new();
        (order, round).hash(&mut hasher);
        let call = &mut calls[open[hasher.finish() as usize % open.len()]];
        (call.answer, call.state, call.attempts) = (Some(answer(world, &call.path)), CallState::Answered, 1);
    }
    panic!("no end after 500 answers");
}

/// Whether a call has done something to the world.
fn is_done(call: &Call, registry: &Registry) -> bool {
    let kind = registry.get(&call.capability).expect("a capability").spec().kind;
    let changes = kind == Kind::Write || call.capability == "memory.add";
    changes && matches!(call.answer, Some(Answer::Done(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_done_is_lost_or_done_again(
        old in random_rule(),
        other in random_rule(),
        kept in 0_usize..8,
        most in 0_usize..12,
        seed in any::<u64>(),
        order in any::<u64>(),
        begun in any::<bool>(),
    ) {
        let world = World::new(seed, BTreeMap::new());
        let registry = world.registry();
        let new = old.edited(&other, kept).rule("r0", registry.catalog());
        let old = old.rule("r0", registry.catalog());
        let (mut calls, end) = go_on(&old, &world, &registry, Vec::new(), (most, order));
        prop_assume!(end.is_none());
        if begun && let Some(open) = calls.iter_mut().find(|call| call.answer.is_none()) {
            (open.state, open.attempts) = (CallState::Started, 1);
        }
        let done: Vec<&Call> = calls.iter().filter(|call| is_done(call, &registry)).collect();

        match migrate(&new, &facts(), &calls, &registry, start_of_time()) {
            Fate::Stays(why) => {
                let fails = why.contains("fails on it");
                let something = calls.iter().any(|call| call.attempts > 0 || call.capability.starts_with("memory."));
                prop_assert!(fails || something, "there is a reason to stay: {why}");
            }
            Fate::Moves { calls: moved, goes_on } => {
                for call in done {
                    let there = moved.iter().find(|it| it.path == call.path).expect("it is still in the journal");
                    prop_assert_eq!((&there.digest, &there.answer), (&call.digest, &call.answer));
                }
                for (i, call) in moved.iter().enumerate() {
                    let was = calls.iter().find(|it| it.path == call.path).expect("nothing is made up");
                    let as_it_was = Call { position: was.position, options: was.options.clone(), ..call.clone() };
                    prop_assert_eq!(&as_it_was, was);
                    prop_assert_eq!(call.position, i as u32);
                }

                // The new version comes to every call that it was left, and asks for what it asks beyond them.
                let again = migrate(&new, &facts(), &moved, &registry, start_of_time());
                prop_assert_eq!(again, Fate::Moves { calls: moved.clone(), goes_on });
                let step = advance(&new, &facts(), moved.clone(), &registry, start_of_time());
                prop_assert!(!matches!(step.end, Some(End::Diverged { .. })), "{:?}", step.end);
                prop_assert_eq!(&step.calls[..step.known], &moved[..]);
                prop_assert_eq!(goes_on, step.end.is_some() || step.calls.len() > step.known);

                let (all, end) = go_on(&new, &world, &registry, moved.clone(), (usize::MAX, order));
                prop_assert!(!matches!(end, Some(End::Diverged { .. })), "{:?}", end);
                let paths: BTreeSet<&str> = all.iter().map(|call| call.path.as_str()).collect();
                prop_assert_eq!(paths.len(), all.len(), "nothing is asked twice");
                prop_assert_eq!(
                    all[..moved.len()].iter().map(|it| (&it.path, &it.digest)).collect::<Vec<_>>(),
                    moved.iter().map(|it| (&it.path, &it.digest)).collect::<Vec<_>>()
                );
            }
        }
    }
}
