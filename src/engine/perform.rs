//! Performing: T3 an attempt is started, T4 its answer is recorded; retries are decided here and nowhere else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Live, Returned, Turn};
use super::happening::{Happening, What};
use super::memory;
use super::on_record::FromStore;
use crate::domain::{
    Answer, Attempt, Awaits, Call, CallState, Capability, Failure, Kind, Lookup, MemoryOp, Repeat, Run, RunId,
    RunState, Verdict, Written,
};
use crate::store::StoreError;

/// An attempt to be started.
pub(super) struct Job {
    run: RunId,
    path: String,
    capability: Arc<dyn Capability>,
    attempt: Attempt,
    input: Json,
    /// Look whether an earlier attempt happened, rather than make another.
    look: bool,
}

/// An attempt that has ended.
pub(super) struct Finished {
    pub(super) run: RunId,
    pub(super) path: String,
    outcome: Ended,
}

enum Ended {
    Attempt(Verdict),
    Looked(Lookup),
}

impl Job {
    /// Starts it on the desk's tasks. A capability that panics or hangs harms its own call only.
    pub(super) fn start(self, desk: &mut Desk) {
        let Job { run, path, capability, attempt, input, look } = self;
        desk.tasks.spawn(async move {
            let spec = capability.spec();
            let (deadline, cancelled) = (spec.deadline, attempt.cancelled.clone());
            let work = async {
                if look {
                    Ended::Looked(capability.lookup(&attempt, &input).await)
                } else {
                    Ended::Attempt(capability.perform(&attempt, &input).await)
                }
            };
            let outcome = match tokio::time::timeout(deadline, uncaught(work)).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(())) => Ended::Attempt(Verdict::Unknown("the capability broke off (a bug in it)".into())),
                Err(_) if look => Ended::Looked(Lookup::Later(format!("no answer within {deadline:?}"))),
                Err(_) => Ended::Attempt(Verdict::Unknown(format!("no answer within {deadline:?}"))),
            };
            cancelled.cancel();
            Returned::Attempt(Finished { run, path, outcome })
        });
    }
}

/// Runs `work` and turns its panic into an error, so that whoever waits for it hears of its end in any case.
pub(super) async fn uncaught<F: Future>(work: F) -> Result<F::Output, ()> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(move |context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(())),
        }
    })
    .await
}

impl Desk {
    /// Calls that are due: timers are answered, attempts are started as far as hands are free.
    pub(super) async fn take_due(&mut self, turn: &mut Turn, due: Vec<(RunId, String)>) -> Result<(), StoreError> {
        let unknown: Vec<RunId> = due.iter().map(|(run, _)| *run).filter(|run| !self.runs.contains_key(run)).collect();
        self.load(turn, unknown).await?;
        for (run, path) in due {
            let Some(live) = self.runs.get(&run).filter(|live| !live.under_way.contains(&path)) else { continue };
            // What the disk calls due, this turn may have answered or put off already. The disk counts milliseconds.
            let now = turn.now.as_millisecond();
            let open = |call: &&Call| call.state <= CallState::Lost && call.due.as_millisecond() <= now;
            let Some(call) = live.run.call(&path).filter(open) else { continue };
            if call.awaits.as_ref().is_some_and(|awaits| self.may_still_come(awaits, call.due)) {
                self.is_held_up = true;
                continue;
            }
            let spec = self.parts.registry.get(&call.capability).map(|capability| capability.spec());
            match spec.map(|spec| spec.kind) {
                // Only a clock's call becomes due without an attempt.
                Some(Kind::Control) => {
                    let capability = self.parts.registry.get(&call.capability);
                    let answer = capability.map(|it| it.timed_out(&call.input));
                    self.answer(turn, run, &path, answer.unwrap_or_else(|| Answer::Done(json!({}))));
                }
                _ if self.is_held(run, &path) => {
                    self.hold(turn, run, &path);
                    turn.ready.push_back(run);
                }
                _ if self.free_hands() > turn.jobs.len() => self.begin_attempt(turn, run, &path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks an attempt as started (T3) and has it made once that is on disk.
    pub(super) fn begin_attempt(&mut self, turn: &mut Turn, id: RunId, path: &str) {
        let Some((attempt, input, capability, look)) = self.prepare(turn.now, id, path) else {
            let failure = Failure::new("unknown_capability", "its capability is gone");
            return self.answer(turn, id, path, Answer::Failed(failure));
        };
        let spec_deadline = capability.spec().deadline;
        if let Some(call) = self.runs.get_mut(&id).and_then(|live| {
            live.under_way.insert(path.to_owned());
            live.run.call_mut(path)
        }) {
            // Looking is no attempt: the call stays lost until somebody has looked.
            if !look {
                call.state = CallState::Started;
                call.attempts += 1;
                let what = format!("attempt {}", call.attempts);
                call.note(turn.now, what);
            }
            if look {
                // Not due again before this look must have ended; due again if nobody comes back from it.
                let over = spec_deadline + Duration::from_secs(5);
                call.due = turn.now.saturating_add(over).unwrap_or(Timestamp::MAX);
            }
            turn.calls.insert((id, path.to_owned()));
        }
        turn.jobs.push(Job { run: id, path: path.to_owned(), capability, attempt, input, look });
    }

    pub(super) fn prepare(
        &self,
        now: Timestamp,
        id: RunId,
        path: &str,
    ) -> Option<(Attempt, Json, Arc<dyn Capability>, bool)> {
        let live = self.runs.get(&id)?;
        let call = live.run.call(path)?;
        let capability = self.parts.registry.get(&call.capability)?.clone();
        let (happenings, shop, of) = (self.parts.happenings.clone(), self.parts.shop.id.clone(), path.to_owned());
        let attempt = Attempt {
            shop: self.parts.shop.clone(),
            facts: live.facts.clone(),
            run: id,
            path: path.to_owned(),
            key: format!("{id}/{path}"),
            approved_by: self.approved_by(live, call),
            number: call.attempts + 1,
            now,
            cancelled: CancellationToken::new(),
            watch: Some(Arc::new(move |written: Written<'_>| {
                let what = match written {
                    Written::More(piece) => What::Text { run: id, path: of.clone(), piece: piece.to_owned() },
                    Written::Anew => What::TextGivenUp { run: id, path: of.clone() },
                };
                let _ = happenings.send(Happening { shop: shop.clone(), what });
            })),
            on_record: Some(Arc::new(FromStore { store: self.parts.store.clone(), shop: self.parts.shop.id.clone() })),
        };
        Some((attempt, call.input.clone(), capability, call.state == CallState::Lost))
    }

    /// The person who last approved something in a run before this call.
    fn approved_by(&self, live: &Live, call: &Call) -> Option<String> {
        // What a plugin answers is no person's word, whatever it looks like.
        let asks_people = |name: &str| {
            let asked = self.parts.registry.get(name);
            asked.is_some_and(|it| it.spec().kind == Kind::Control && it.program(None).is_none())
        };
        let before = live.run.calls.iter().filter(|other| other.position < call.position);
        let approvals = before.filter(|other| asks_people(&other.capability));
        let mut by = approvals.filter_map(|other| match &other.answer {
            Some(Answer::Done(answer)) if answer["decision"] == "approved" => answer["by"].as_str(),
            _ => None,
        });
        by.next_back().map(str::to_owned)
    }

    /// An attempt has ended: what becomes of its call (T4).
    pub(super) async fn settle(&mut self, turn: &mut Turn, finished: Finished) -> Result<(), StoreError> {
        self.attempts_under_way = self.attempts_under_way.saturating_sub(1);
        let Finished { run: id, path, outcome } = finished;
        let Some(live) = self.runs.get_mut(&id) else { return Ok(()) };
        live.under_way.remove(&path);
        let over = live.run.state == RunState::Ended;
        let Some(call) = live.run.call(&path) else { return Ok(()) };
        let capability = call.capability.clone();
        let Some(spec) = self.parts.registry.get(&capability).map(|capability| capability.spec().clone()) else {
            return Ok(());
        };
        let retry = call.options.retry.unwrap_or_default();
        let attempts = call.attempts;
        // A run that is over keeps the true answer in its journal, but nothing more is tried for it.
        let last = over || attempts >= retry.attempts;
        let spread = spread(id, &path, attempts);
        let again = |asked| turn.now.saturating_add(retry.pause(attempts, spread, asked)).unwrap_or(Timestamp::MAX);
        let verdict = match outcome {
            Ended::Attempt(verdict) => verdict,
            Ended::Looked(Lookup::Happened(answer)) => Verdict::Done(answer),
            Ended::Looked(Lookup::DidNot) if over => {
                let failure = Failure::new("cancelled", "the run was over before this was done");
                self.answer(turn, id, &path, Answer::Failed(failure));
                return Ok(());
            }
            Ended::Looked(Lookup::DidNot) if last => {
                let message = format!("given up after {attempts} attempts: none of them arrived");
                self.answer(turn, id, &path, Answer::Failed(Failure::new("retries_used_up", message)));
                return Ok(());
            }
            Ended::Looked(Lookup::DidNot) => {
                self.postpone(turn, id, &path, CallState::Pending, turn.now, "it did not happen; doing it".into());
                return Ok(());
            }
            Ended::Looked(Lookup::Later(why)) => {
                let due = again(None);
                self.postpone(turn, id, &path, CallState::Lost, due, format!("looking whether it happened: {why}"));
                return Ok(());
            }
        };
        match verdict {
            Verdict::Done(answer) => self.answer(turn, id, &path, Answer::Done(answer)),
            Verdict::Refused(failure) => self.answer(turn, id, &path, Answer::Failed(failure)),
            Verdict::RetryAfter(_, why) if last => {
                let message = format!("given up after {attempts} attempts: {why}");
                self.answer(turn, id, &path, Answer::Failed(Failure::new("retries_used_up", message)));
            }
            Verdict::RetryAfter(asked, why) => {
                let due = again(asked);
                self.postpone(turn, id, &path, CallState::Pending, due, why);
            }
            Verdict::Unknown(why) => match harmless(spec.kind, spec.repeat) {
                Repeat::Key if last => {
                    let message = format!("given up after {attempts} attempts: {why}");
                    self.answer(turn, id, &path, Answer::Failed(Failure::new("retries_used_up", message)));
                }
                Repeat::Key => {
                    let due = again(None);
                    self.postpone(turn, id, &path, CallState::Pending, due, why);
                }
                Repeat::Lookup => {
                    let due = again(None);
                    self.postpone(turn, id, &path, CallState::Lost, due, why);
                }
                Repeat::None => self.leave_unknown(turn, id, &path, why),
            },
            Verdict::Until(due) | Verdict::Await(_, due) => {
                self.postpone(turn, id, &path, CallState::Pending, due, String::new());
            }
            Verdict::Memory(op) => {
                let answer = self.remember(turn, op).await?;
                self.answer(turn, id, &path, answer);
            }
        }
        Ok(())
    }

    /// Writes down that the call is to be looked at again at `due`.
    pub(super) fn postpone(
        &mut self,
        turn: &mut Turn,
        id: RunId,
        path: &str,
        state: CallState,
        due: Timestamp,
        why: String,
    ) {
        let Some(call) = self.runs.get_mut(&id).and_then(|live| live.run.call_mut(path)) else { return };
        (call.state, call.due) = (state, due);
        if !why.is_empty() {
            let message = format!("{why}; next at {due:.0}");
            let capability = call.capability.clone();
            call.note(turn.now, message.clone());
            turn.told.push(What::Trouble { run: id, path: path.to_owned(), capability, message });
            call.trouble = Some(why);
        }
        turn.calls.insert((id, path.to_owned()));
    }

    fn leave_unknown(&mut self, turn: &mut Turn, id: RunId, path: &str, why: String) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let Some(call) = live.run.call_mut(path) else { return };
        let message = format!("{why}; nobody can tell whether it happened: left unknown for a person");
        let capability = call.capability.clone();
        turn.told.push(What::Trouble { run: id, path: path.to_owned(), capability, message });
        call.note(turn.now, format!("{why}; nobody can tell whether it happened"));
        (call.state, call.trouble) = (CallState::Unknown, Some(why));
        turn.calls.insert((id, path.to_owned()));
        // It waits for a person, so it leaves its lane.
        if live.run.state != RunState::Ended {
            turn.ready.push_back(id);
        }
    }

    /// Records a call's answer and has its run go on.
    pub(super) fn answer(&mut self, turn: &mut Turn, id: RunId, path: &str, answer: Answer) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let rule = live.run.rule.clone();
        let Some(call) = live.run.call_mut(path) else { return };
        (call.state, call.answer, call.answered) = (CallState::Answered, Some(answer.clone()), Some(turn.now));
        call.awaits = None;
        let capability = call.capability.clone();
        turn.told.push(What::Answered { run: id, rule, path: path.to_owned(), capability, answer });
        turn.calls.insert((id, path.to_owned()));
        if live.run.state != RunState::Ended {
            turn.ready.push_back(id);
        }
    }

    /// Carries out a use of the shop's memory. The desk is its only writer, so what it works out now is still
    /// true when the turn is written.
    pub(super) async fn remember(&mut self, turn: &mut Turn, op: MemoryOp) -> Result<Answer, StoreError> {
        let key = op.key().to_owned();
        let now = match turn.memory.get(&key) {
            Some(value) => value.clone(),
            None => self.parts.store.remembered(&self.parts.shop.id, &key).await?,
        };
        let (answer, value) = memory::apply(&op, &now);
        if let Some(value) = value {
            turn.memory.insert(key, value);
        }
        Ok(answer)
    }
}

/// How a repeat of a call of this kind is made harmless: looking twice harms nobody.
pub(super) fn harmless(kind: Kind, repeat: Repeat) -> Repeat {
    if kind == Kind::Write { repeat } else { Repeat::Key }
}

/// Where in 0..=1 this attempt's pause is spread to: the same for the same attempt, different between runs.
fn spread(run: RunId, path: &str, attempts: u32) -> f64 {
    let seed = path.bytes().fold(run.0 as u64 ^ u64::from(attempts), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    });
    (seed >> 40) as f64 / (1_u64 << 24) as f64
}

/// Whether a run has a call that keeps its lane busy: one that is neither answered nor held nor waiting for the clock
/// or a person.
pub(super) fn keeps_lane(run: &Run, kind: impl Fn(&str) -> Option<Kind>) -> bool {
    run.calls.iter().any(|call| match call.state {
        CallState::Answered | CallState::Unknown => false,
        CallState::Pending if call.awaits == Some(Awaits::Resume) => false,
        CallState::Pending | CallState::Lost | CallState::Started => kind(&call.capability) != Some(Kind::Control),
    })
}
