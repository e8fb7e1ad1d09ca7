//! Scripts: a rule's whole body in Rhai.
//!
//! A script is run from its start each time there is a new answer. `ask` gives the recorded answer where there is
//! one; where there is none, an error that `try` cannot catch unwinds the script, and that pass is over.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rhai::{AST, Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, Position};

use super::advance::{Outcome, Progress};
use super::bounds::{MAX_ITEMS, MAX_TEXT, Meter, fits};
use super::eval::{FactFinder, MAX_MESSAGE, in_words, shortened};
use super::expr::{Mistake, Scope, full_width, in_grammar, too_long};
use super::language::{self, Native, NoAnswer};
use super::names::{self, PlainInput};
use super::value::{from_json, parse_duration, show, to_dynamic, to_json};
use crate::domain::{Answer, AskOptions, Asked, Door, Facts, Failure, Retry};

/// The longest script, in bytes.
const MAX_SCRIPT: usize = 64 * 1024;
/// The most calls of one run.
const MAX_CALLS: usize = 1000;
/// The longest code that a script ends its run with, in characters.
const MAX_CODE: usize = 64;

/// A checked script.
#[derive(Clone)]
pub struct Script {
    name: String,
    ast: AST,
    asks: Vec<(String, usize)>,
    inputs: Vec<PlainInput>,
    awaits: Vec<(String, usize)>,
    ids: (BTreeSet<String>, bool),
}

impl Script {
    /// Reads and checks a script; `name` is its file, for messages.
    ///
    /// # Errors
    /// Every mistake that can be found at once: the first one of grammar, else all of the names.
    pub fn compile(name: &str, text: &str, scope: &Scope<'_>) -> Result<Self, Vec<Mistake>> {
        if text.len() > MAX_SCRIPT {
            return Err(vec![too_long(MAX_SCRIPT, "split the rule")]);
        }
        let full_width = full_width(text);
        if !full_width.is_empty() {
            return Err(full_width);
        }
        let ast = language::reader().compile(text).map_err(|error| vec![in_grammar(text, &error)])?;
        let found = names::in_script(&ast, text, scope);
        if found.mistakes.is_empty() {
            let (asks, inputs, awaits, ids) = (found.asks, found.inputs, found.awaits, found.ids);
            Ok(Self { name: name.to_owned(), ast, asks, inputs, awaits, ids })
        } else {
            Err(found.mistakes)
        }
    }

    /// The capabilities that it asks, each with the byte offset of its name in the text.
    pub fn asks(&self) -> &[(String, usize)] {
        &self.asks
    }

    /// What it asks of capabilities in plain texts, which can be checked before it runs.
    pub(super) fn inputs(&self) -> &[PlainInput] {
        &self.inputs
    }

    /// The events that it waits for (`order.fulfilled`, or `order.*`), each with its byte offset in the text. Whether
    /// there are such events the capability's schema says.
    pub fn awaits(&self) -> &[(String, usize)] {
        &self.awaits
    }

    /// Whether a call of it may have this path, as far as that can be seen without running it: numbers, and ids.
    pub(crate) fn may_ask_at(&self, path: &str) -> bool {
        let (ids, computes_some) = &self.ids;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *computes_some || path.split('/').all(|part| is_number(part) || ids.contains(part))
    }

    /// The ids that it gives its calls.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.0.iter().map(String::as_str)
    }

    /// Its file.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.name).field("asks", &self.asks).finish_non_exhaustive()
    }
}

/// Takes a script as far as its answers reach.
pub(crate) fn run<D: Door + Send + 'static>(script: &Script, facts: &Facts, door: D) -> (Progress, D) {
    let pass = Pass { door, frames: vec![Frame::default()], taken: BTreeSet::new(), ended: None };
    let pass = Arc::new(Mutex::new(pass));
    let result = {
        let finder = FactFinder::new(facts);
        let (mut engine, meter) = language::runner(move |name| finder.get(name).map(to_dynamic));
        let it = Arc::clone(&pass);
        engine.register_fn("ask", move |name: ImmutableString, input: Map| ask(&it, &name, input, &Map::new()));
        let it = Arc::clone(&pass);
        engine.register_fn("ask", move |name: ImmutableString, input: Map, options: Map| {
            ask(&it, &name, input, &options)
        });
        let it = Arc::clone(&pass);
        engine.register_fn("all", move |context: NativeCallContext, branches: Array| {
            all(&it, &meter, &context, branches)
        });
        engine.register_fn("exit", || -> Native<()> { Err(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE).into()) });
        engine.eval_ast::<Dynamic>(&script.ast)
        // The engine's functions let go of the pass here, and with it of the door.
    };
    let Ok(pass) = Arc::try_unwrap(pass) else { unreachable!("the engine held the only other handles") };
    let pass = pass.into_inner().unwrap_or_else(PoisonError::into_inner);
    // What stopped the pass counts even if the script came to its end: where a value is written into a text, Rhai
    // goes on without it.
    let progress = match (pass.ended, result) {
        (Some(failure), _) => Progress::Ended(Outcome::Failed(failure)),
        _ if pass.frames.iter().any(|frame| frame.is_stopped) => Progress::Waiting,
        (None, Ok(_)) => Progress::Ended(Outcome::Done),
        (None, Err(error)) => Progress::Ended(ended(script, &error)),
    };
    (progress, pass.door)
}

/// One pass over the script: the door, and where calls stand in it.
struct Pass<D> {
    door: D,
    frames: Vec<Frame>,
    taken: BTreeSet<String>,
    /// Why the run must not go on.
    ended: Option<Failure>,
}

/// Where the paths of calls begin, and how many there were: one for the script, one more for each branch of `all`
/// that is under way.
#[derive(Default)]
struct Frame {
    prefix: String,
    count: usize,
    /// It asked for something that has no answer yet.
    is_stopped: bool,
}

/// The error that unwinds a script, which its `try` cannot catch. Why is in the [`Pass`].
fn unwind() -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
}

impl<D> Pass<D> {
    /// The path of the next call: its number among its siblings, or its own id in that place.
    fn path(&mut self, id: Option<&str>) -> Native<String> {
        if self.taken.len() >= MAX_CALLS {
            return Err(self.end("too_many_calls", format!("a run makes at most {MAX_CALLS} calls")));
        }
        let frame = self.frames.last_mut().filter(|frame| !frame.is_stopped && self.ended.is_none());
        let Some(frame) = frame else { return Err(unwind()) };
        let path = match id {
            Some(id) => format!("{}{id}", frame.prefix),
            None => {
                frame.count += 1;
                format!("{}{}", frame.prefix, frame.count)
            }
        };
        if !self.taken.insert(path.clone()) {
            let message = format!("two calls have the id `{}`; give each its own", id.unwrap_or(&path));
            return Err(self.end("duplicate_id", message));
        }
        Ok(path)
    }

    fn stop(&mut self) -> Box<EvalAltResult> {
        if let Some(frame) = self.frames.last_mut() {
            frame.is_stopped = true;
        }
        unwind()
    }

    fn end(&mut self, code: &str, message: String) -> Box<EvalAltResult> {
        self.ended.get_or_insert_with(|| Failure::new(code, message));
        unwind()
    }
}

fn ask<D: Door>(pass: &Mutex<Pass<D>>, capability: &str, input: Map, options: &Map) -> Native<Dynamic> {
    let input = to_json(&input.into()).map_err(|error| format!("the input of `{capability}`: {error}"))?;
    let (id, retry) = read_options(options)?;
    let mut pass = pass.lock().unwrap_or_else(PoisonError::into_inner);
    let path = pass.path(id.as_deref())?;
    match pass.door.ask(&path, capability, input, AskOptions { retry, label: id, ..AskOptions::default() }) {
        Asked::Answered(Answer::Done(answer)) if fits(&answer) => Ok(from_json(&answer)),
        Asked::Answered(Answer::Done(_)) => Err(thrown(Failure::new("answer_too_large", too_large(capability)))),
        Asked::Answered(Answer::Failed(failure)) => Err(thrown(failure)),
        Asked::NotYet => Err(pass.stop()),
    }
}

fn too_large(capability: &str) -> String {
    let most = MAX_TEXT / 1024;
    format!(
        "the answer of `{capability}` is too large for a script, which takes {most} KB of text and {MAX_ITEMS} items; ask for less"
    )
}

/// Runs all branches, so that what they ask for is asked for at once. Goes on when every branch has come to its
/// end: with their results, or with the first error.
///
/// Each branch works on its own copy of what it captured. If it saw what an earlier branch assigned, its calls would
/// depend on how far that branch had come, and a replay would not make the same ones.
fn all<D>(pass: &Mutex<Pass<D>>, meter: &Meter, context: &NativeCallContext<'_>, branches: Array) -> Native<Array> {
    let locked = || pass.lock().unwrap_or_else(PoisonError::into_inner);
    let base = locked().path(None)?;
    let mut results = Array::new();
    let mut is_stopped = false;
    let mut first_error = None;
    for (i, branch) in branches.into_iter().enumerate() {
        let Some(branch) = detached(branch, meter)?.try_cast::<FnPtr>() else {
            return Err("`all` needs a list of functions; write `all([|| ask(…), || ask(…)])`".into());
        };
        locked().frames.push(Frame { prefix: format!("{base}/{}/", i + 1), ..Frame::default() });
        let result = branch.call_within_context::<Dynamic>(context, ());
        is_stopped |= locked().frames.pop().is_some_and(|frame| frame.is_stopped);
        match result {
            Ok(result) => results.push(result),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    if is_stopped {
        return Err(locked().stop());
    }
    first_error.map_or(Ok(results), Err)
}

/// A value that shares nothing with another, closures within it included.
///
/// A closure that captures two which capture the same one has two copies of it; with twenty such levels there are a
/// million.
fn detached(value: Dynamic, meter: &Meter) -> Native<Dynamic> {
    meter.check()?;
    let mut value = value.flatten();
    let mut each = |it: &mut Dynamic| -> Native<()> {
        *it = detached(std::mem::take(it), meter)?;
        Ok(())
    };
    if let Some(mut closure) = value.write_lock::<FnPtr>() {
        closure.iter_curry_mut().try_for_each(&mut each)?;
    }
    // Lists and maps hold no closures, and so share nothing.
    Ok(value)
}

fn read_options(options: &Map) -> Native<(Option<String>, Option<Retry>)> {
    let mut id = None;
    let mut retry = None;
    for (key, value) in options {
        match key.as_str() {
            "id" => id = Some(read_id(value)?),
            "retry" => retry = Some(read_retry(value)?),
            _ => return Err(format!("`ask` has no option `{key}`; there are `id` and `retry`").into()),
        }
    }
    Ok((id, retry))
}

fn read_id(value: &Dynamic) -> Native<String> {
    let id = value.as_immutable_string_ref().map(|it| it.to_string()).unwrap_or_default();
    let is_id = (1..=64).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_id { Ok(id) } else { Err("an `id` is 1 to 64 letters, digits, `_` or `-`, with a letter first".into()) }
}

fn read_retry(value: &Dynamic) -> Native<Retry> {
    let map =
        value.as_map_ref().map_err(|_| "`retry` is a map; write `#{ attempts: 5, first: \"30s\", max: \"1h\" }`")?;
    let mut retry = Retry::default();
    for (key, value) in map.iter() {
        let pause = || -> Native<Duration> {
            let text = show(value);
            let read = parse_duration(&text).and_then(|it| Duration::try_from(it).ok());
            read.ok_or_else(|| format!("`{text}` is not a length of time; write it like `30s`, `10m`, `1h`").into())
        };
        match key.as_str() {
            "attempts" => {
                let attempts = value.as_int().ok().and_then(|many| u32::try_from(many).ok());
                let attempts = attempts.filter(|many| (1..=20).contains(many));
                retry.attempts = attempts.ok_or("`attempts` is a whole number from 1 to 20")?;
            }
            "first" => retry.first = pause()?,
            "max" => retry.max = pause()?,
            _ => return Err(format!("`retry` has no `{key}`; there are `attempts`, `first` and `max`").into()),
        }
    }
    Ok(retry)
}

/// A failed call, as the script's `catch` gets it: `#{ code, message, detail }`.
fn thrown(failure: Failure) -> Box<EvalAltResult> {
    let mut map = Map::new();
    map.insert("code".into(), failure.code.into());
    map.insert("message".into(), failure.message.into());
    let detail = if fits(&failure.detail) { from_json(&failure.detail) } else { Dynamic::UNIT };
    map.insert("detail".into(), detail);
    EvalAltResult::ErrorRuntime(map.into(), Position::NONE).into()
}

/// How a run ends whose script did not come to its end.
fn ended(script: &Script, error: &EvalAltResult) -> Outcome {
    let line = error.position().line();
    let place = line.map_or_else(|| script.name.clone(), |line| format!("{}:{line}", script.name));
    let said = |message: &str| format!("{place}: {}", shortened(message.to_owned(), MAX_MESSAGE));
    let failed = |code: &str, message: &str| Outcome::Failed(Failure::new(code, said(message)));
    match error.unwrap_inner() {
        EvalAltResult::Exit(..) => Outcome::Done,
        EvalAltResult::ErrorRuntime(value, _) => {
            if let Some(it) = value.read_lock::<NoAnswer>() {
                return failed("script_error", &it.0);
            }
            let Some(map) = value.read_lock::<Map>() else { return failed("script_error", &show(value)) };
            let text = |key: &str| map.get(key).map(show).filter(|text| !text.is_empty());
            let code = text("code").unwrap_or_else(|| "script_error".to_owned());
            let message = text("message").unwrap_or_else(|| show(value));
            let detail = map.get("detail").and_then(|detail| to_json(detail).ok()).unwrap_or_default();
            Outcome::of(Failure { code: shortened(code, MAX_CODE), message: said(&message), detail })
        }
        other if !other.is_catchable() => failed("limit_exceeded", &in_words(other)),
        other => failed("script_error", &in_words(other)),
    }
}
