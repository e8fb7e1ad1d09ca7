//! What one pass of a rule may use: steps, time and memory; and how large its values may be.
//!
//! A [`Meter`] is looked at with every step of an evaluation. That is often enough for memory only because no value
//! that a step could copy, write out or walk through is large: [`within_bounds`] looks at a variable each time that
//! it is named, since Rhai's own checks miss what is assigned by an index. Each bound covers for the others: values
//! are small, so a step is short; steps are short, so the deadline is kept; and all values together are what the
//! allocator counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, FnPtr, Position};
use serde_json::Value as Json;

use crate::allocator::Growth;

/// The most text in one value, in bytes; the longest text. Twice what `http.request` gives back at most.
pub(crate) const MAX_TEXT: usize = 512 * 1024;
/// The most items of a list, and entries of a map; nested ones are counted together.
pub(crate) const MAX_ITEMS: usize = 10_000;
/// How deep lists and maps may nest. Rhai copies, compares and frees a value by calling itself for each level, and
/// two thousand levels of `[[…]]` overflow a thread's stack.
const MAX_NESTING: usize = 64;

/// The most memory of one pass, in bytes. No script makes the process grow by more than 64 MB: what is left between
/// is for the one step that goes past this, and a step can copy one value and write it out, which a test measures.
const MAX_MEMORY: usize = 48 * 1024 * 1024;
/// How long one match, or one pass of a rule, may compute. The usual pass takes 0.05 ms.
const DEADLINE: Duration = Duration::from_millis(500);
/// The clock is looked at once in so many steps: looking costs a third of a step, and the longest step takes some
/// milliseconds.
const STEPS_A_LOOK: u64 = 16;

/// Evaluation steps of one expression.
pub(crate) const EXPRESSION_STEPS: u64 = 20_000;
/// Evaluation steps of one pass of a script. Memory and time have bounds of their own; this one is for what both
/// would let pass only on a fast machine: the same script must end the same way everywhere. Comparing each of 250
/// order lines with each other, at ten steps a pair, takes 0.6 million; two million take half the deadline on a slow
/// core.
pub(crate) const SCRIPT_STEPS: u64 = 1_000_000;

/// Why an evaluation was ended. Nothing that a rule may write can catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It took more steps than this.
    Steps(u64),
    Time,
    Memory,
    Nesting,
}

impl fmt::Display for Stopped {
    /// What happened and the way out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(most) => {
                write!(f, "it computes too long: more than {most} steps; let its loops do less, or end sooner")
            }
            Self::Time => {
                let most = DEADLINE.as_millis();
                write!(f, "it computes too long: more than {most} ms; let it do less, or end its loops sooner")
            }
            Self::Memory => {
                let most = MAX_MEMORY / 1024 / 1024;
                write!(f, "its values take more than {most} MB of memory; keep fewer or smaller ones at a time")
            }
            Self::Nesting => {
                write!(
                    f,
                    "lists and maps nest deeper than {MAX_NESTING} levels; keep what belongs together side by side"
                )
            }
        }
    }
}

impl From<Stopped> for Box<EvalAltResult> {
    fn from(it: Stopped) -> Self {
        EvalAltResult::ErrorTerminated(Dynamic::from(it), Position::NONE).into()
    }
}

/// Rhai's error for a value that is too large, which `try` cannot catch either.
pub(crate) fn too_large() -> Box<EvalAltResult> {
    EvalAltResult::ErrorDataTooLarge("value".to_owned(), Position::NONE).into()
}

/// Rhai's error for a variable that is read while it is being changed.
fn in_use() -> Box<EvalAltResult> {
    EvalAltResult::ErrorDataRace("a variable".to_owned(), Position::NONE).into()
}

/// What an evaluation has used so far. Only for the thread on which it was made.
#[derive(Debug)]
pub(crate) struct Meter {
    most_steps: u64,
    /// Atomic because Rhai asks for it; only one thread counts.
    steps: AtomicU64,
    /// The last step that may be taken.
    last: AtomicU64,
    began: Instant,
    growth: Growth,
}

impl Meter {
    pub(crate) fn begin(most_steps: u64) -> Arc<Self> {
        let (began, growth) = (Instant::now(), Growth::begin());
        Arc::new(Self { most_steps, steps: AtomicU64::new(0), last: AtomicU64::new(most_steps), began, growth })
    }

    /// Allows as many steps again. Time and memory go on.
    pub(crate) fn begin_another(&self) {
        self.last.store(self.steps.load(Ordering::Relaxed) + self.most_steps, Ordering::Relaxed);
    }

    /// Takes one step.
    ///
    /// Rhai counts too, but within a function that a native one calls it counts from where that began, so that a
    /// number of steps says nothing there.
    pub(crate) fn step(&self) -> Result<(), Stopped> {
        let steps = self.steps.load(Ordering::Relaxed) + 1;
        self.steps.store(steps, Ordering::Relaxed);
        if steps > self.last.load(Ordering::Relaxed) {
            return Err(Stopped::Steps(self.most_steps));
        }
        if self.growth.most() > MAX_MEMORY {
            return Err(Stopped::Memory);
        }
        if steps.is_multiple_of(STEPS_A_LOOK) { self.in_time() } else { Ok(()) }
    }

    /// Looks at memory and time without a step: for what works long between two of them.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        if self.growth.most() > MAX_MEMORY { Err(Stopped::Memory) } else { self.in_time() }
    }

    fn in_time(&self) -> Result<(), Stopped> {
        if self.began.elapsed() > DEADLINE { Err(Stopped::Time) } else { Ok(()) }
    }
}

/// Looks whether a value is within [`MAX_TEXT`], [`MAX_ITEMS`] and [`MAX_NESTING`].
pub(crate) fn within_bounds(value: &Dynamic) -> Result<(), Box<EvalAltResult>> {
    Extent::default().add(value, 0)
}

/// What was counted of a value.
#[derive(Default)]
struct Extent {
    text: usize,
    items: usize,
}

impl Extent {
    fn add(&mut self, value: &Dynamic, depth: usize) -> Result<(), Box<EvalAltResult>> {
        if value.is_shared() {
            // Rhai tries for 50 ms to lock it, each time that anything is asked of it: one time is enough.
            let inner = value.read_lock::<Dynamic>().ok_or_else(in_use)?;
            return self.add(&inner, depth + 1);
        }
        if value.is_string() {
            let Ok(text) = value.as_immutable_string_ref() else { return Ok(()) };
            return self.add_text(text.len());
        }
        if value.is_array() {
            let Ok(items) = value.as_array_ref() else { return Ok(()) };
            self.add_items(items.len(), depth)?;
            return items.iter().try_for_each(|item| self.add(item, depth + 1));
        }
        if value.is_map() {
            let Ok(map) = value.as_map_ref() else { return Ok(()) };
            self.add_items(map.len(), depth)?;
            return map.iter().try_for_each(|(key, item)| {
                self.add_text(key.len())?;
                self.add(item, depth + 1)
            });
        }
        if value.is_fnptr() {
            let Some(function) = value.read_lock::<FnPtr>() else { return Ok(()) };
            self.add_items(function.curry().len(), depth)?;
            return function.iter_curry().try_for_each(|captured| self.add(captured, depth + 1));
        }
        Ok(())
    }

    fn add_text(&mut self, bytes: usize) -> Result<(), Box<EvalAltResult>> {
        self.text += bytes;
        if self.text > MAX_TEXT { Err(too_large()) } else { Ok(()) }
    }

    fn add_items(&mut self, many: usize, depth: usize) -> Result<(), Box<EvalAltResult>> {
        self.items += many;
        match self.items > MAX_ITEMS {
            true => Err(too_large()),
            false if depth >= MAX_NESTING => Err(Stopped::Nesting.into()),
            false => Ok(()),
        }
    }
}

/// Whether a JSON value would be within bounds as a value of a script.
pub(crate) fn fits(json: &Json) -> bool {
    fn count(json: &Json, text: &mut usize, items: &mut usize, depth: usize) -> bool {
        match json {
            Json::String(it) => *text += it.len(),
            Json::Array(list) => {
                *items += list.len();
                return depth < MAX_NESTING && list.iter().all(|it| count(it, text, items, depth + 1));
            }
            Json::Object(map) => {
                *items += map.len();
                *text += map.keys().map(String::len).sum::<usize>();
                return depth < MAX_NESTING && map.values().all(|it| count(it, text, items, depth + 1));
            }
            _ => {}
        }
        *text <= MAX_TEXT && *items <= MAX_ITEMS
    }
    let (mut text, mut items) = (0, 0);
    count(json, &mut text, &mut items, 0) && text <= MAX_TEXT && items <= MAX_ITEMS
}
