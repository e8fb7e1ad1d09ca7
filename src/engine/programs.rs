//! Programs: capabilities that answer a call by asking others, as a plugin's do.
//!
//! A program's call is written down first, so that a test's mock may answer it. From then on it is run whenever its run
//! is advanced, before the rule is replayed, until it has answered. Its own calls stand in the run's journal below it and
//! are looked after as any other: retried, held, limited, waited for. So nothing durable is written for programs.
//!
//! Pure, as advancing is.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::advance::Ledger;
use super::registry::Registry;
use crate::domain::{Answer, AskOptions, Asked, Call, Door, Facts, Failure, Kind, Program, ProgramDoor, Ran, Task};

/// How deep programs may ask one another.
const DEEPEST: usize = 4;
/// How often a program is put off that cannot be run just now, before its call fails.
const MOST_PAUSES: usize = 50;
/// What the name of such a pause begins with; a program's own calls are numbered.
const PAUSE: &str = "pause-";

/// Runs every program whose call is open; says the paths of those that have answered.
pub(super) fn work(ledger: Ledger, facts: &Facts, registry: &Arc<Registry>) -> (Ledger, Vec<String>) {
    let mut answered = Vec::new();
    // The innermost first: what it answers, the one around it is given in the same pass.
    let open: Vec<String> = ledger.calls.iter().rev().filter(|call| is_open(call, registry)).map(path).collect();
    let shared = Shared(Arc::new(Mutex::new(ledger)));
    for path in open {
        let Some(call) = shared.with(|ledger| ledger.calls.iter().find(|call| call.path == path).cloned()) else {
            continue;
        };
        if let Some(answer) = work_on(&call, &shared, facts, registry)
            && shared.with(|ledger| ledger.settle(&path, answer))
        {
            answered.push(path);
        }
    }
    (shared.with(std::mem::take), answered)
}

/// Whether a program is to go on with this call.
pub(super) fn is_open(call: &Call, registry: &Registry) -> bool {
    call.answer.is_none() && registry.program(call).is_some()
}

/// The program below whose call another one stands.
pub(super) fn above(calls: &[Call], path: &str, registry: &Registry) -> Option<Result<Arc<dyn Program>, Failure>> {
    let around = calls.iter().filter(|call| is_below(path, &call.path));
    around.max_by_key(|call| call.path.len()).and_then(|call| registry.program(call))
}

/// Whether a path stands below another.
pub(super) fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether this is the path of a pause after which a program goes on that could not be run.
pub(super) fn is_pause(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.starts_with(PAUSE))
}

fn path(call: &Call) -> String {
    call.path.clone()
}

/// Takes one program as far as its answers reach.
fn work_on(call: &Call, shared: &Shared, facts: &Facts, registry: &Arc<Registry>) -> Option<Answer> {
    let program = match registry.program(call)? {
        Ok(program) => program,
        Err(failure) => return Some(Answer::Failed(failure)),
    };
    if depth(call, shared, registry) > DEEPEST {
        let message = format!("capabilities of plugins ask one another more than {DEEPEST} deep");
        return Some(Answer::Failed(Failure::new("too_many_calls", message)));
    }
    let attempts = call.options.retry.unwrap_or_default().attempts;
    for attempt in 1..=attempts {
        // That this attempt has ended, and how, the journal says by the pause that came after it.
        let pause = format!("{}/wait-{attempt}", call.path);
        match shared.is_over(&pause) {
            Some(true) => continue,
            Some(false) => return None,
            None => {}
        }
        let prefix = if attempt == 1 { format!("{}/", call.path) } else { format!("{}/again-{attempt}/", call.path) };
        let put_off = |n: &usize| format!("{prefix}{PAUSE}{n}");
        let Some(next) = (1..=MOST_PAUSES).find(|n| shared.is_over(&put_off(n)) != Some(true)) else {
            let message = format!("it could not be run {MOST_PAUSES} times");
            return Some(Answer::Failed(Failure::new("retries_used_up", message)));
        };
        let next = put_off(&next);
        if shared.is_over(&next) == Some(false) {
            return None;
        }
        let door = ProgramsDoor {
            shared: shared.clone(),
            prefix: prefix.clone(),
            program: program.clone(),
            facts: facts.clone(),
            registry: registry.clone(),
            now: call.asked,
        };
        let task = Task { capability: &call.capability, input: &call.input, facts, seed: seed(call, facts, attempt) };
        let (path, after, why) = match program.run(&task, Box::new(door)) {
            Ran::Waiting => return None,
            Ran::Answered(answer) => return Some(answer),
            Ran::Later(after, why) => (next, after, why),
            Ran::Again(_, why) if attempt == attempts => {
                let message = format!("given up after {attempts} attempts: {why}");
                return Some(Answer::Failed(Failure::new("retries_used_up", message)));
            }
            // Run anew, it would do that a second time.
            Ran::Again(_, why) if shared.with(|ledger| has_changed_something(ledger, &prefix, registry)) => {
                let message = format!("it wants to be asked again after it has changed something: {why}");
                return Some(Answer::Failed(Failure::new("plugin_failed", message)));
            }
            Ran::Again(after, why) => (pause, after, why),
        };
        let input = json!({ "for": format!("{}s", after.as_secs().max(1)) });
        let label = Some(why.chars().take(200).collect());
        let options = AskOptions { label, ..AskOptions::default() };
        return match shared.with(|ledger| ledger.ask(&path, "wait", input, options, registry, &|_| Ok(()))) {
            Asked::Answered(Answer::Failed(failure)) => Some(Answer::Failed(failure)),
            _ => None,
        };
    }
    None
}

/// Whether a call below this place has changed something, or may have.
fn has_changed_something(ledger: &Ledger, prefix: &str, registry: &Registry) -> bool {
    let changes = |call: &Call| match registry.get(&call.capability).map(|it| it.spec().kind) {
        Some(Kind::Read | Kind::Control | Kind::Instant) => false,
        Some(Kind::Memory) => call.capability != "memory.get",
        Some(Kind::Write) | None => true,
    };
    let failed = |call: &Call| matches!(&call.answer, Some(Answer::Failed(_))) && call.attempts == 0;
    ledger.calls.iter().filter(|call| call.path.starts_with(prefix)).any(|call| changes(call) && !failed(call))
}

/// How many programs stand around a call.
fn depth(call: &Call, shared: &Shared, registry: &Registry) -> usize {
    shared.with(|ledger| {
        let around = ledger.calls.iter().filter(|other| is_below(&call.path, &other.path));
        around.filter(|other| registry.program(other).is_some()).count() + 1
    })
}

/// What chance is drawn from: the event, the call, the attempt.
fn seed(call: &Call, facts: &Facts, attempt: u32) -> [u8; 32] {
    // The disk counts milliseconds.
    let asked = call.asked.as_millisecond();
    Sha256::digest(format!("{}\n{}\n{asked}\n{attempt}", facts.event.id, call.path)).into()
}

/// A run's ledger, while programs' doors hold it too.
#[derive(Clone)]
struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// Whether the call at a path is answered; `None` where there is none.
    fn is_over(&self, path: &str) -> Option<bool> {
        self.with(|ledger| Some(ledger.calls.iter().find(|call| call.path == path)?.answer.is_some()))
    }

    fn with<R>(&self, what: impl FnOnce(&mut Ledger) -> R) -> R {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The door of a program.
struct ProgramsDoor {
    shared: Shared,
    prefix: String,
    program: Arc<dyn Program>,
    facts: Facts,
    registry: Arc<Registry>,
    now: Timestamp,
}

impl Door for ProgramsDoor {
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked {
        let path = format!("{}{path}", self.prefix);
        let (program, facts) = (&self.program, &self.facts);
        let may = |input: &Json| program.may_ask(facts, capability, input);
        let (asked, at) = self.shared.with(|ledger| {
            let asked = ledger.ask(&path, capability, input, options, &self.registry, &may);
            (asked, ledger.calls.iter().find(|call| call.path == path).and_then(|call| call.answered))
        });
        self.now = self.now.max(at.unwrap_or(self.now));
        asked
    }
}

impl ProgramDoor for ProgramsDoor {
    fn now(&self) -> Timestamp {
        self.now
    }
}
