//! Evaluates expressions over the facts of one run.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use rhai::{Dynamic, Engine, EvalAltResult, Map};
use serde_json::Value as Json;

use super::bounds::{MAX_ITEMS, MAX_TEXT, Meter, Stopped};
use super::expr::Expr;
use super::language::{self, NoAnswer};
use super::names::ITEM;
use super::value::{RecordRef, from_json, show, show_value, to_dynamic};
use crate::domain::{Envelope, Event, Facts, Failure, Field, Inputs, Missing, Record, Records, Value};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// It compares what does not compare: a side is not known, or the currencies differ.
    NoAnswer(String),
    /// It cannot be computed.
    Error(String),
}

impl Trouble {
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::NoAnswer(message) | Self::Error(message) => message,
        }
    }

    /// As the failure of what needed the value.
    pub(crate) fn into_failure(self, expr: &Expr) -> Failure {
        match self {
            Self::NoAnswer(message) => Failure::new("missing_value", format!("`{}`: {message}", expr.text())),
            Self::Error(message) => Failure::new("expression_error", format!("`{}`: {message}", expr.text())),
        }
    }
}

/// Finds facts by name. Only what is asked for is made.
pub(crate) struct FactFinder {
    event: Arc<Event>,
    envelope: OnceLock<Arc<Envelope>>,
    context: Arc<Records>,
    inputs: Arc<InputRecord>,
    now: Timestamp,
}

impl FactFinder {
    pub(crate) fn new(facts: &Facts) -> Self {
        Self {
            event: Arc::clone(&facts.event),
            envelope: OnceLock::new(),
            context: Arc::clone(&facts.context),
            inputs: Arc::new(InputRecord(Arc::clone(&facts.inputs))),
            now: facts.now,
        }
    }

    /// The fact of this name; `None` where it is not the name of one.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        match name {
            "event" => {
                let envelope = self.envelope.get_or_init(|| Arc::new(self.event.envelope()));
                Some(Value::Record(Arc::clone(envelope) as Arc<dyn Record>))
            }
            "inputs" => Some(Value::Record(Arc::clone(&self.inputs) as Arc<dyn Record>)),
            "now" => Some(Value::Time(self.now)),
            "customer" => {
                let ordered = self.context.order.as_ref().and_then(|order| order.customer.as_ref());
                let customer = self.context.customer.as_ref().or(ordered);
                Some(customer.map_or(Value::Nothing, |it| Value::Record(Arc::clone(it) as Arc<dyn Record>)))
            }
            _ => self.context.get(name),
        }
    }

    /// The value at `order.customer.name`.
    fn at(&self, path: &[String]) -> Option<Value> {
        let (root, fields) = path.split_first()?;
        fields.iter().try_fold(self.get(root)?, |value, field| match value {
            Value::Record(record) => record.get(field),
            // The parts of other values (an amount's currency) say nothing that the value does not say.
            other => Some(other),
        })
    }
}

/// The rule's inputs, as a record without a fixed set of fields.
#[derive(Debug)]
struct InputRecord(Arc<Inputs>);

impl Record for InputRecord {
    fn label(&self) -> &'static str {
        "inputs"
    }

    fn get(&self, field: &str) -> Option<Value> {
        self.0.get(field).cloned()
    }

    fn fields(&self) -> &'static [Field] {
        &[]
    }
}

/// The answers of steps, by id, that expressions see as `steps`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Arc<Mutex<BTreeMap<String, Dynamic>>>);

impl Steps {
    pub(crate) fn get(&self, id: &str) -> Dynamic {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned().unwrap_or_default()
    }
}

/// The item of a list that a step with `for_each` is at; nothing elsewhere.
type Item = Arc<Mutex<Option<Dynamic>>>;

/// Evaluates any number of expressions over the same facts, within one deadline and one amount of memory.
pub(crate) struct Evaluator<'a> {
    facts: &'a Facts,
    /// These are made when they are first needed: most conditions are worked out without.
    steps: OnceCell<Steps>,
    item: OnceCell<Item>,
    language: OnceCell<Language>,
}

struct Language {
    engine: Engine,
    meter: Arc<Meter>,
    found: Arc<FactFinder>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(facts: &'a Facts) -> Self {
        Self { facts, steps: OnceCell::new(), item: OnceCell::new(), language: OnceCell::new() }
    }

    fn steps(&self) -> &Steps {
        self.steps.get_or_init(Steps::default)
    }

    fn item(&self) -> &Item {
        self.item.get_or_init(Item::default)
    }

    fn language(&self) -> &Language {
        self.language.get_or_init(|| {
            let found = Arc::new(FactFinder::new(self.facts));
            let (finder, answers, at) = (Arc::clone(&found), self.steps().clone(), Arc::clone(self.item()));
            let (engine, meter) = language::evaluator(move |name| match name {
                "steps" => Some(Dynamic::from(answers.clone())),
                ITEM => at.lock().unwrap_or_else(PoisonError::into_inner).clone(),
                _ => finder.get(name).map(to_dynamic),
            });
            Language { engine, meter, found }
        })
    }

    /// From now on `steps.id` is this answer.
    pub(crate) fn answered(&self, id: &str, answer: &Json) {
        self.steps().0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), from_json(answer));
    }

    /// From now on `item` is this; with `None`, there is none.
    pub(crate) fn at_item(&self, item: Option<Dynamic>) {
        *self.item().lock().unwrap_or_else(PoisonError::into_inner) = item;
    }

    /// An expression's value.
    pub(crate) fn value(&self, expr: &Expr) -> Result<Dynamic, Trouble> {
        match expr.simple.as_ref().and_then(|simple| simple.value(self.facts)) {
            Some(value) => Ok(to_dynamic(value)),
            None => self.in_language(expr),
        }
    }

    /// An expression's value as the language works it out.
    pub(crate) fn in_language(&self, expr: &Expr) -> Result<Dynamic, Trouble> {
        let language = self.language();
        language.meter.begin_another();
        language.engine.eval_ast(&expr.ast).map_err(|error| trouble(&error))
    }

    /// An expression's value, which must not be nothing: what is missing is said, never left out in silence.
    pub(crate) fn known(&self, expr: &Expr) -> Result<Dynamic, Failure> {
        let value = self.value(expr).map_err(|trouble| trouble.into_failure(expr))?;
        if !value.is_unit() {
            return Ok(value);
        }
        let message = match &*self.missing(expr) {
            [] => format!("`{}` gives nothing", expr.text().trim()),
            [one] => format!("{one} is not known"),
            many => format!("{} are not known", many.join(" and ")),
        };
        Err(Failure::new("missing_value", message))
    }

    /// Whether what was made of values so far is within bounds: values that an input keeps are not looked at again.
    pub(crate) fn within_bounds(&self) -> Result<(), Failure> {
        let checked = self.language.get().map_or(Ok(()), |language| language.meter.check());
        checked.map_err(|stopped| Failure::new("expression_error", stopped.to_string()))
    }

    /// Whether a condition holds.
    pub(crate) fn holds(&self, expr: &Expr) -> Result<bool, Trouble> {
        if let Some(holds) = expr.simple.as_ref().and_then(|simple| simple.holds(self.facts)) {
            return Ok(holds);
        }
        let value = self.in_language(expr)?;
        if value.is_unit() {
            return Err(Trouble::NoAnswer("it looks at something that is not known".to_owned()));
        }
        value.as_bool().map_err(|_| {
            Trouble::Error(format!("it gives `{}`, not true or false", shortened(show(&value), MAX_SHOWN)))
        })
    }

    /// The facts that an expression names, as they were written, with their values as people read them.
    pub(crate) fn saw(&self, expr: &Expr) -> Vec<(String, String)> {
        let seen = expr.paths.iter().map(|path| (path.join("."), self.see(path)));
        seen.map(|(name, value)| (name, value.unwrap_or_else(|missing| missing))).collect()
    }

    /// The facts that an expression names and nobody knows: `customer.name (order 1042 not known)`.
    pub(crate) fn missing(&self, expr: &Expr) -> Vec<String> {
        let missing = expr.paths.iter().filter_map(|path| {
            let why = self.see(path).err()?;
            let name = path.join(".");
            Some(if why == NOTHING { name } else { format!("{name} ({why})") })
        });
        missing.collect()
    }

    /// What stands at a path; `Err` with what to say where nothing does.
    fn see(&self, path: &[String]) -> Result<String, String> {
        let root = path.first().map_or("", String::as_str);
        let value = match (root, path.get(1..).unwrap_or_default()) {
            ("steps", []) => return Ok(String::new()),
            ("steps", [id, fields @ ..]) => Some((self.steps().get(id), fields)),
            (ITEM, fields) => {
                let item = self.item().lock().unwrap_or_else(PoisonError::into_inner);
                Some((item.clone().unwrap_or_default(), fields))
            }
            _ => None,
        };
        if let Some((value, fields)) = value {
            let value = fields.iter().fold(value, |value, field| part(&value, field));
            return if value.is_unit() { Err(NOTHING.to_owned()) } else { Ok(shortened(show(&value), MAX_SHOWN)) };
        }
        let value = self.language().found.at(path).unwrap_or(Value::Nothing);
        if let Some(shown) = show_value(&value) {
            return Ok(shortened(shown, MAX_SHOWN));
        }
        let is_of_event = !matches!(root, "event" | "inputs" | "now");
        let missing = &self.facts.missing;
        let same_kind = |one: &&Missing| one.kind.as_str() == root;
        match missing.iter().find(same_kind).or(missing.first()).filter(|_| is_of_event) {
            Some(one) => Err(one.to_string()),
            None => Err(NOTHING.to_owned()),
        }
    }
}

/// A field of a record or a map; nothing where there is none.
fn part(value: &Dynamic, field: &str) -> Dynamic {
    if let Some(record) = value.read_lock::<RecordRef>() {
        return record.0.get(field).map(to_dynamic).unwrap_or_default();
    }
    value.read_lock::<Map>().and_then(|map| map.get(field).cloned()).unwrap_or_default()
}

/// What a why-not shows for a field that the shop left out.
const NOTHING: &str = "nothing";

/// The most characters of a value in a why-not.
const MAX_SHOWN: usize = 120;
/// The most characters of what a rule says when it fails.
pub(crate) const MAX_MESSAGE: usize = 1000;

/// A text of at most so many characters, and a mark where that is not all.
pub(crate) fn shortened(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Rhai's errors in our words, without the position: an expression is one line.
fn trouble(error: &EvalAltResult) -> Trouble {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<NoAnswer>() {
            Some(it) => Trouble::NoAnswer(it.0.clone()),
            None => Trouble::Error(shortened(show(value), MAX_MESSAGE)),
        },
        EvalAltResult::ErrorMismatchDataType(_, actual, _) if actual == "()" => {
            Trouble::NoAnswer("it looks at something that is not known".to_owned())
        }
        other => Trouble::Error(in_words(other)),
    }
}

/// An error of the language that no rule raised itself.
pub(crate) fn in_words(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorTerminated(token, _) if token.is::<Stopped>() => {
            token.read_lock::<Stopped>().map(|stopped| stopped.to_string()).unwrap_or_default()
        }
        EvalAltResult::ErrorDataTooLarge(..) => format!(
            "a text, list or map grows too large; it holds at most {} KB of text and {MAX_ITEMS} items",
            MAX_TEXT / 1024
        ),
        EvalAltResult::ErrorTooManyVariables(_) => {
            "it has too many variables at once; keep what belongs together in a list or map".to_owned()
        }
        EvalAltResult::ErrorDataRace(..) => {
            "a variable is used within a function that it is handed to; copy it first: `let copy = …`".to_owned()
        }
        EvalAltResult::ErrorStackOverflow(_) => {
            "its functions call each other too deep; a loop does without".to_owned()
        }
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            format!("`{signature}` does not exist for these values")
        }
        other => {
            let mut text = other.to_string();
            // The position stands at the end, in brackets; callers that have lines say them their own way.
            if let Some(end) = text.rfind(" (line ").or_else(|| text.rfind(" (position ")) {
                text.truncate(end);
            }
            text
        }
    }
}
