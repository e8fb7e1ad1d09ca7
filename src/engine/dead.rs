//! Dead letters: a run that failed is retried from the call that failed it, or dropped.
//!
//! Retrying takes the failed call's answer back and lifts the run's end; the run goes on where it was, on its version.
//! It is done only where the failure came from a call's answer, which is tried out: with other words in that answer's
//! place the replay must end with those words. An error of the rule itself would come again, and a run that diverged
//! would diverge again.
//!
//! No write is made twice by it: what may have arrived and can neither be looked up nor repeated was never a failure
//! but `unknown`, and goes back to that where a person had given it up.

use std::collections::HashSet;

use super::EngineError;
use super::command::Touched;
use super::desk::{Desk, Live, Turn};
use super::holds::NEVER;
use super::programs;
use crate::domain::{Answer, Awaits, Call, CallState, End, Failure, Kind, Mode, RunId, RunState};
use crate::rules::lane_key;
use crate::store::StoreError;

/// Stands in for a failed call's words, to see whether it is they that end the run.
const MARK: &str = "\u{1}these words\u{1}";

/// Answers that the end of the run gave, not the world.
const ENDED_WITH_THE_RUN: [&str; 2] = ["cancelled", "interrupted"];

/// What retrying a run comes to: its calls as they go on.
struct Revived {
    /// Places of those whose answers are taken back.
    again: Vec<usize>,
    /// Places of those that were cancelled when the run ended, and are asked for again.
    asked: Vec<usize>,
}

impl Desk {
    /// A person has dead runs go on from the calls that failed them.
    pub(super) async fn retry(
        &mut self,
        turn: &mut Turn,
        runs: &[RunId],
        by: &str,
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        let dead = self.parts.store.dead_among(&self.parts.shop.id, runs).await?;
        let mut came = Vec::new();
        for &id in runs {
            let is_dead = dead.contains(&id) && !turn.changes.dropped.contains(&id);
            came.push((id, if is_dead { self.revive(turn, id, by).await? } else { Err(not_dead()) }));
        }
        Ok(Ok(Touched(came.into_iter().map(line).collect())))
    }

    /// A person has seen these dead runs, and leaves them as they are.
    pub(super) async fn drop_dead(
        &mut self,
        turn: &mut Turn,
        runs: &[RunId],
    ) -> Result<Result<Touched, EngineError>, StoreError> {
        let mut dead: HashSet<RunId> = self.parts.store.dead_among(&self.parts.shop.id, runs).await?;
        // One that was retried a moment ago lives again, whatever the disk still says.
        dead.retain(|id| self.runs.get(id).is_none_or(|live| live.run.state == RunState::Ended));
        turn.changes.dropped.extend(runs.iter().filter(|id| dead.contains(id)));
        let came = |id: &RunId| (*id, if dead.contains(id) { Ok("dropped".to_owned()) } else { Err(not_dead()) });
        Ok(Ok(Touched(runs.iter().map(came).map(line).collect())))
    }

    /// Takes back what failed a run, and has it go on; `Err` where that would not be sound, and then nothing is done.
    async fn revive(&mut self, turn: &mut Turn, id: RunId, by: &str) -> Result<Result<String, String>, StoreError> {
        self.load(turn, vec![id]).await?;
        let Some(live) = self.runs.get(&id) else {
            return Ok(Err("the version of its rule cannot be read any more; drop it".to_owned()));
        };
        let revived = match self.what_failed(live, turn).await {
            Ok(revived) => revived,
            Err(why) => return Ok(Err(why)),
        };
        let Revived { again, asked } = revived;
        let limited = self.calls_limited(id, &again);
        for path in &limited {
            if let Some(failure) = self.limited(turn, id, path).await? {
                return Ok(Err(format!("`{path}` would not be done now either: {failure}")));
            }
        }
        let Some(live) = self.runs.get_mut(&id) else { return Ok(Err(not_dead())) };
        let first = again.iter().chain(&asked).min().map(|at| live.run.calls[*at].path.clone());
        for at in again.iter().chain(&asked) {
            let call = &mut live.run.calls[*at];
            let kind = self.parts.registry.get(&call.capability).map(|capability| capability.spec().kind);
            // A clock that was cancelled still shows the time at which it was to ring.
            let goes_on = kind == Some(Kind::Control) && asked.contains(at);
            if let Some(Answer::Failed(failure)) = call.answer.take() {
                call.note(turn.now, format!("{failure}; taken back by {by}"));
                take_back(call, &failure, goes_on);
            }
            turn.calls.insert((id, call.path.clone()));
        }
        (live.run.ended, live.run.state) = (None, RunState::Queued);
        let waits = asked.iter().filter_map(|at| live.run.calls.get(*at));
        let waits: Vec<_> =
            waits.filter_map(|call| Some((call.path.clone(), call.awaits.clone()?, call.due))).collect();
        for (path, awaits, until) in waits {
            // What it waits for may have come while nobody waited.
            if let Some(answer) = self.has_happened(turn, id, &awaits, until).await? {
                self.answer(turn, id, &path, answer);
            }
        }
        for path in limited {
            self.spend(turn, id, &path).await?;
        }
        turn.moved.insert(id);
        self.back_to_its_lane(turn, id);
        Ok(Ok(first.map_or_else(|| "goes on".to_owned(), |path| format!("goes on at `{path}`"))))
    }

    /// Paths of those of these calls that were over a limit: they were never counted.
    fn calls_limited(&self, id: RunId, again: &[usize]) -> Vec<String> {
        let calls = self.runs.get(&id).map_or(&[][..], |live| &live.run.calls);
        let limited = |call: &&Call| matches!(&call.answer, Some(Answer::Failed(it)) if it.code == "limited");
        again.iter().filter_map(|at| calls.get(*at)).filter(limited).map(|call| call.path.clone()).collect()
    }

    /// The calls that a dead run goes on with.
    async fn what_failed(&self, live: &Live, turn: &Turn) -> Result<Revived, String> {
        let why = match &live.run.ended {
            Some((_, End::Failed { failure })) => failure.clone(),
            Some((_, End::Diverged { path, .. })) => {
                return Err(format!(
                    "it diverged at `{path}`, and would again on the same version; activate a mended version of \
                     `{}` and have its runs migrate, or drop it",
                    live.run.rule
                ));
            }
            _ => return Err(not_dead()),
        };
        let hopeless = |failure: &Failure| {
            format!(
                "no call failed it, but the rule itself: {failure}; the same version would fail again: activate a \
                 mended version of `{}`, or drop it",
                live.run.rule
            )
        };
        if live.run.mode == Mode::Undo {
            let unsettled = |call: &Call| matches!(call.answer, Some(Answer::Failed(_)));
            let again = live.run.calls.iter().enumerate().filter(|(_, call)| unsettled(call)).map(|(at, _)| at);
            return Ok(Revived { again: again.collect(), asked: Vec::new() });
        }
        lane_key(&live.rule, &live.facts).map_err(|failure| hopeless(&failure))?;
        let ended_with_it: Vec<usize> =
            (0..live.run.calls.len()).filter(|at| ended_with_the_run(&live.run.calls[*at])).collect();
        let mut again: Vec<usize> = Vec::new();
        // At the most each call once.
        for _ in 0..=live.run.calls.len() {
            let journal = journal(live, &ended_with_it, &again, None);
            let Some(step) = self.replay(live, journal, turn.now).await else { return Err(hopeless(&why)) };
            match step.end {
                Some(End::Failed { failure }) => match self.cause(live, &ended_with_it, &again, &failure, turn).await {
                    Some(at) => again.push(at),
                    None => return Err(hopeless(&failure)),
                },
                Some(End::Diverged { .. }) => return Err(hopeless(&why)),
                _ => {
                    let is_asked = |at: &usize| {
                        let call = &live.run.calls[*at];
                        step.calls[step.known..].iter().any(|new| new.path == call.path && new.digest == call.digest)
                    };
                    let asked = ended_with_it.iter().copied().filter(is_asked).collect();
                    self.may_be_made(live, &again)?;
                    return Ok(Revived { again, asked });
                }
            }
        }
        Err(hopeless(&why))
    }

    /// The call whose failure this is.
    async fn cause(
        &self,
        live: &Live,
        without: &[usize],
        again: &[usize],
        failure: &Failure,
        turn: &Turn,
    ) -> Option<usize> {
        for (at, call) in live.run.calls.iter().enumerate().rev() {
            let Some(Answer::Failed(own)) = &call.answer else { continue };
            // A plugin that a call has failed says why under a code of its own.
            let is_its = own.code == failure.code || failure.code == "plugin_failed";
            let may_be = is_its && failure.message.contains(&own.message);
            if !may_be || again.contains(&at) || without.contains(&at) {
                continue;
            }
            let step = self.replay(live, journal(live, without, again, Some(at)), turn.now).await?;
            if matches!(step.end, Some(End::Failed { failure }) if failure.message.contains(MARK)) {
                return Some(at);
            }
        }
        None
    }

    /// What the door refused, it refuses again: no retry goes round it.
    fn may_be_made(&self, live: &Live, again: &[usize]) -> Result<(), String> {
        for at in again {
            let call = &live.run.calls[*at];
            let registry = &self.parts.registry;
            let permitted = match programs::above(&live.run.calls, &call.path, registry) {
                None => registry.permit(&call.capability, &call.input, &live.rule.allow).map(drop),
                Some(Err(failure)) => Err(failure),
                Some(Ok(program)) => program
                    .may_ask(&live.facts, &call.capability, &call.input)
                    .and_then(|()| registry.fits(&call.capability, &call.input).map(drop)),
            };
            if let Err(failure) = permitted {
                return Err(format!(
                    "`{}` would be refused again: {failure}; activate a mended version of `{}`, or drop it",
                    call.path, live.run.rule
                ));
            }
        }
        Ok(())
    }
}

/// A run's calls as a retry begins: without those that ended with it, without the answers that are taken back, and
/// with other words in the answer at `marked`.
fn journal(live: &Live, without: &[usize], again: &[usize], marked: Option<usize>) -> Vec<Call> {
    let kept = live.run.calls.iter().enumerate().filter(|(at, _)| !without.contains(at));
    kept.map(|(at, call)| {
        let mut call = call.clone();
        if again.contains(&at) {
            call.answer = None;
        } else if let (true, Some(Answer::Failed(failure))) = (marked == Some(at), &mut call.answer) {
            MARK.clone_into(&mut failure.message);
        }
        call
    })
    .collect()
}

fn ended_with_the_run(call: &Call) -> bool {
    matches!(&call.answer, Some(Answer::Failed(it)) if ENDED_WITH_THE_RUN.contains(&it.code.as_str()))
}

/// The call stands as it did before it was answered. It is due when its run has its lane, as after a pause.
fn take_back(call: &mut Call, was: &Failure, goes_on: bool) {
    (call.state, call.answered) = (CallState::Pending, None);
    if was.code == "unknown_given_up" {
        // Nobody knows yet whether it happened, so a person decides again.
        call.state = CallState::Unknown;
    } else if !goes_on {
        (call.attempts, call.due, call.awaits) = (0, NEVER, Some(Awaits::Resume));
    }
}

fn not_dead() -> String {
    "it is not dead: it did not fail, or was retried or dropped".to_owned()
}

fn line((id, came): (RunId, Result<String, String>)) -> (RunId, String) {
    (id, came.unwrap_or_else(|why| format!("{}{why}", Touched::LEFT)))
}
