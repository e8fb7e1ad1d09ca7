//! The functions and operators that expressions and scripts have, and the limits they run within.
//!
//! *Architecture Invariant*: everything here is pure. Nothing tells the time, draws a random number, sleeps,
//! prints, reads a file or compiles code; so a script that is run again takes the same way.

use std::sync::{Arc, LazyLock, Mutex};

use jiff::{SignedDuration, Timestamp};
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{
    Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Map, Module, OptimizationLevel, Position, Token,
};
use rust_decimal::{Decimal, RoundingStrategy};

use super::bounds::{EXPRESSION_STEPS, MAX_ITEMS, MAX_TEXT, Meter, SCRIPT_STEPS, within_bounds};
use super::eval::Steps;
use super::functions;
use super::lists;
use super::value::{RecordRef, parse_duration, show, to_dynamic};
use crate::domain::record::RecordType;
use crate::domain::{Catalog, Envelope, Field, FieldKind, Money};

/// What a native function gives.
pub(crate) type Native<T> = Result<T, Box<EvalAltResult>>;

/// The deepest nesting of calls. With [`MAX_DEPTH`] it keeps the deepest script within half of a thread's stack of
/// 2 MiB, which a test measures.
const MAX_CALLS: usize = 12;
/// The deepest nesting of an expression; two `all` within each other take some 40.
const MAX_DEPTH: usize = 56;
/// The most variables at once.
const MAX_VARIABLES: usize = 256;

/// A comparison that has no answer, since a side is nothing or the currencies differ. It makes a condition false,
/// whatever stands around it: `!(order.total > x)` must not hold because the total is not known.
#[derive(Clone, Debug)]
pub(crate) struct NoAnswer(pub(crate) String);

impl From<NoAnswer> for Box<EvalAltResult> {
    fn from(it: NoAnswer) -> Self {
        EvalAltResult::ErrorRuntime(Dynamic::from(it), Position::NONE).into()
    }
}

/// The pure functions, built once: an immutable value like any constant, which only cannot be computed at compile
/// time. Building it takes a millisecond, too long for every evaluation.
static LIBRARY: LazyLock<Arc<Module>> = LazyLock::new(|| {
    let mut module = Module::new();
    ArithmeticPackage::init(&mut module);
    BasicArrayPackage::init(&mut module);
    BasicFnPackage::init(&mut module);
    BasicIteratorPackage::init(&mut module);
    BasicMapPackage::init(&mut module);
    BasicMathPackage::init(&mut module);
    BasicStringPackage::init(&mut module);
    LogicPackage::init(&mut module);
    MoreStringPackage::init(&mut module);
    module.register_lazy_functions();
    lists::register(&mut module);
    money(&mut module);
    time(&mut module);
    records(&mut module);
    nothing(&mut module);
    languages(&mut module);
    module.build_index();
    module.into()
});

/// What expressions have beside [`LIBRARY`]: comparisons with nothing have no answer there, where Rhai says false.
static STRICT: LazyLock<Arc<Module>> = LazyLock::new(|| {
    let mut module = Module::new();
    for name in ["<", "<=", ">", ">="] {
        set(&mut module, name, move |_: (), _: Dynamic| no_answer(name));
        set(&mut module, name, move |_: Dynamic, _: ()| no_answer(name));
        set(&mut module, name, move |_: (), _: ()| no_answer(name));
        set(&mut module, name, move |text: &str, number: i64| text_and_number(text, &number.to_string()));
        set(&mut module, name, move |number: i64, text: &str| text_and_number(text, &number.to_string()));
        set(&mut module, name, move |text: &str, number: Decimal| text_and_number(text, &number.to_string()));
        set(&mut module, name, move |number: Decimal, text: &str| text_and_number(text, &number.to_string()));
    }
    module.build_index();
    module.into()
});

fn no_answer(operator: &str) -> Native<bool> {
    Err(NoAnswer(format!("`{operator}` compares with something that is not known")).into())
}

fn text_and_number(text: &str, number: &str) -> Native<bool> {
    Err(format!("the text \"{text}\" does not compare with the number {number}").into())
}

pub(super) fn set<A: 'static, const N: usize, const X: bool, R, const F: bool>(
    module: &mut Module,
    name: &str,
    function: impl rhai::RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
) where
    R: rhai::Variant + Clone,
{
    FuncRegistration::new(name).with_purity(true).with_volatility(false).set_into_module(module, function);
}

/// What is made of nothing is nothing; only `in` has an answer.
fn nothing(module: &mut Module) {
    for name in functions::named() {
        set(module, name, |_: ()| ());
        set(module, name, |_: (), _: Dynamic| ());
        set(module, name, |_: (), _: Dynamic, _: Dynamic| ());
    }
    set(module, "contains", |_: (), _: Dynamic| false);
    for name in ["+", "-", "*", "/", "%"] {
        set(module, name, |_: (), _: Dynamic| ());
        set(module, name, |_: Dynamic, _: ()| ());
        set(module, name, |_: (), _: ()| ());
    }
    // Rhai adds nothing to a text as an empty text.
    set(module, "+", |_: &str, _: ()| ());
    set(module, "+", |_: (), _: &str| ());
    set(module, "-", |_: ()| ());
    set(module, "!", |_: ()| ());
}

/// `by_language(customer.locale, #{ en: "Hello", zh: "您好" })`: what is written under this language (BCP 47), else
/// under its first part (`zh` for `zh-CN`), else under `en`, else whatever there is.
fn languages(module: &mut Module) {
    fn pick(language: &str, texts: &Map) -> Dynamic {
        let by_name = |name: &str| texts.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, text)| text);
        let first = language.split(['-', '_']).next().unwrap_or_default();
        let text = [language, first, "en"].into_iter().find_map(by_name).or_else(|| texts.values().next());
        text.cloned().unwrap_or_default()
    }
    set(module, "by_language", |language: &str, texts: Map| pick(language, &texts));
    // Nobody knows the customer's language.
    set(module, "by_language", |_: (), texts: Map| pick("en", &texts));
}

fn money(module: &mut Module) {
    module.set_custom_type::<Money>("money");
    module.set_getter_fn("amount", |it: &mut Money| Ok(it.amount));
    module.set_getter_fn("currency", |it: &mut Money| Ok(ImmutableString::from(it.currency.as_str())));
    set(module, "money", |text: &str| {
        text.parse::<Money>().map_err(|error| Box::<EvalAltResult>::from(error.to_string()))
    });
    set(module, "money", |it: Money| it);
    set(module, "to_string", |it: Money| it.to_string());
    set(module, "+", |a: Money, b: Money| both(a, b, Decimal::checked_add));
    set(module, "-", |a: Money, b: Money| both(a, b, Decimal::checked_sub));
    set(module, "-", |a: Money| Money::new(-a.amount, a.currency));
    set(module, "*", |a: Money, b: Decimal| scaled(a, a.amount.checked_mul(b)));
    set(module, "*", |a: Decimal, b: Money| scaled(b, b.amount.checked_mul(a)));
    set(module, "*", |a: Money, b: i64| scaled(a, a.amount.checked_mul(b.into())));
    set(module, "*", |a: i64, b: Money| scaled(b, b.amount.checked_mul(a.into())));
    set(module, "/", |a: Money, b: Decimal| scaled(a, a.amount.checked_div(b)));
    set(module, "/", |a: Money, b: i64| scaled(a, a.amount.checked_div(b.into())));
    set(module, "/", |a: Money, b: Money| -> Native<Decimal> {
        same(a, b)?;
        a.amount.checked_div(b.amount).ok_or_else(too_large)
    });
    compare(module, "==", |a: Money, b: Money| same(a, b).map(|()| a.amount == b.amount));
    compare(module, "!=", |a: Money, b: Money| same(a, b).map(|()| a.amount != b.amount));
    compare(module, "<", |a: Money, b: Money| same(a, b).map(|()| a.amount < b.amount));
    compare(module, "<=", |a: Money, b: Money| same(a, b).map(|()| a.amount <= b.amount));
    compare(module, ">", |a: Money, b: Money| same(a, b).map(|()| a.amount > b.amount));
    compare(module, ">=", |a: Money, b: Money| same(a, b).map(|()| a.amount >= b.amount));
    for name in ["==", "!=", "<", "<=", ">", ">="] {
        set(module, name, |a: Money, b: i64| bare(a, b.into()));
        set(module, name, |b: i64, a: Money| bare(a, b.into()));
        set(module, name, |a: Money, b: Decimal| bare(a, b));
        set(module, name, |b: Decimal, a: Money| bare(a, b));
    }
}

fn compare<T: rhai::Variant + Clone>(module: &mut Module, name: &str, by: fn(T, T) -> Native<bool>) {
    set(module, name, move |a: T, b: T| by(a, b));
}

fn same(a: Money, b: Money) -> Native<()> {
    if a.currency == b.currency {
        return Ok(());
    }
    Err(NoAnswer(format!("{a} and {b} are in different currencies")).into())
}

fn both(a: Money, b: Money, by: fn(Decimal, Decimal) -> Option<Decimal>) -> Native<Money> {
    same(a, b)?;
    by(a.amount, b.amount).map(|amount| Money::new(amount, a.currency)).ok_or_else(too_large)
}

/// A part or a multiple of an amount, rounded as it would be paid.
fn scaled(of: Money, amount: Option<Decimal>) -> Native<Money> {
    let digits = of.currency.minor_digits();
    let rounded = |it: Decimal| it.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
    amount.map(|amount| Money::new(rounded(amount), of.currency)).ok_or_else(too_large)
}

fn bare(money: Money, number: Decimal) -> Native<bool> {
    let currency = money.currency;
    Err(format!("{money} is money and {number} is a number; write money(\"{number} {currency}\")").into())
}

fn too_large() -> Box<EvalAltResult> {
    "the result is too large, or something is divided by zero".into()
}

fn time(module: &mut Module) {
    module.set_custom_type::<Timestamp>("time");
    module.set_custom_type::<SignedDuration>("duration");
    set(module, "time", |text: &str| {
        text.parse::<Timestamp>()
            .map_err(|error| Box::<EvalAltResult>::from(format!("`{text}` is not a time: {error}")))
    });
    set(module, "duration", duration);
    set(module, "duration", |it: SignedDuration| it);
    set(module, "days", |many: i64| seconds(many, 86_400));
    set(module, "hours", |many: i64| seconds(many, 3600));
    set(module, "minutes", |many: i64| seconds(many, 60));
    set(module, "to_string", |it: Timestamp| it.to_string());
    set(module, "to_string", |it: SignedDuration| show(&Dynamic::from(it)));
    set(module, "-", |a: Timestamp, b: Timestamp| a.duration_since(b));
    set(module, "+", |a: Timestamp, b: SignedDuration| a.checked_add(b).map_err(|_| too_large()));
    set(module, "-", |a: Timestamp, b: SignedDuration| a.checked_sub(b).map_err(|_| too_large()));
    set(module, "+", |a: SignedDuration, b: SignedDuration| a.checked_add(b).ok_or_else(too_large));
    set(module, "-", |a: SignedDuration, b: SignedDuration| a.checked_sub(b).ok_or_else(too_large));
    ordered::<Timestamp>(module);
    ordered::<SignedDuration>(module);
    // Inputs of the kind `duration` are texts such as `7d`.
    macro_rules! against_text {
        ($($name:literal $operator:tt)*) => {$(
            set(module, $name, |a: SignedDuration, b: &str| duration(b).map(|b| a $operator b));
            set(module, $name, |a: &str, b: SignedDuration| duration(a).map(|a| a $operator b));
        )*};
    }
    against_text!("==" == "!=" != "<" < "<=" <= ">" > ">=" >=);
}

fn ordered<T: Ord + rhai::Variant + Clone>(module: &mut Module) {
    compare(module, "==", |a: T, b: T| Ok(a == b));
    compare(module, "!=", |a: T, b: T| Ok(a != b));
    compare(module, "<", |a: T, b: T| Ok(a < b));
    compare(module, "<=", |a: T, b: T| Ok(a <= b));
    compare(module, ">", |a: T, b: T| Ok(a > b));
    compare(module, ">=", |a: T, b: T| Ok(a >= b));
}

fn duration(text: &str) -> Native<SignedDuration> {
    parse_duration(text)
        .ok_or_else(|| format!("`{text}` is not a length of time; write it like `30m`, `24h`, `7d`").into())
}

fn seconds(many: i64, each: i64) -> Native<SignedDuration> {
    many.checked_mul(each).map(SignedDuration::from_secs).ok_or_else(too_large)
}

fn records(module: &mut Module) {
    module.set_custom_type::<RecordRef>("record");
    module.set_indexer_get_fn(|record: &mut RecordRef, field: ImmutableString| field_of(record, &field));
    module.set_indexer_get_fn(|steps: &mut Steps, id: ImmutableString| Ok(steps.get(&id)));
    // A field of nothing is nothing.
    module.set_indexer_get_fn(|_: &mut (), _: ImmutableString| Ok(()));
    module.set_indexer_get_fn(|_: &mut (), _: i64| Ok(()));
    // Getters by name save the detour over the indexer, which begins with a failed look-up.
    let mut names = Vec::new();
    collect_names(Catalog::default().records(), &mut names);
    collect_names(Envelope::FIELDS, &mut names);
    names.sort_unstable();
    names.dedup();
    for name in names {
        module.set_getter_fn(name, move |record: &mut RecordRef| field_of(record, name));
        module.set_getter_fn(name, |_: &mut ()| Ok(()));
    }
}

fn field_of(record: &RecordRef, field: &str) -> Native<Dynamic> {
    let value = record.0.get(field);
    value.map(to_dynamic).ok_or_else(|| format!("{} has no field `{field}`", record.0.label()).into())
}

fn collect_names(fields: &'static [Field], names: &mut Vec<&'static str>) {
    for field in fields {
        names.push(field.name);
        let mut kind = &field.kind;
        while let FieldKind::List(of) = kind {
            kind = of;
        }
        if let FieldKind::Record(fields) = kind {
            collect_names(fields, names);
        }
    }
}

/// An engine that reads texts: it knows no functions, only grammar and limits.
pub(crate) fn reader() -> Engine {
    let mut engine = Engine::new_raw();
    set_limits(&mut engine);
    engine.set_optimization_level(OptimizationLevel::None);
    for word in ["eval", "import", "export", "print", "debug", "Fn"] {
        engine.disable_symbol(word);
    }
    let keys = Mutex::new(Keys::default());
    #[expect(deprecated, reason = "Rhai marks the hook as volatile this way; the version is held by Cargo.lock")]
    engine.on_parse_token(move |token, _, _| match keys.lock() {
        Ok(mut keys) => keys.read(token),
        Err(_) => token,
    });
    engine
}

/// Lets words of the language be keys and fields: `#{ for: "10m" }`, `answer.default`. Capabilities name their inputs
/// for merchants, not for a parser.
#[derive(Default)]
struct Keys {
    /// The brackets that are open, and whether each is a map's.
    open: Vec<bool>,
    /// Whether a key or a field may come next.
    is_next: bool,
}

impl Keys {
    fn read(&mut self, token: Token) -> Token {
        let was_next = std::mem::take(&mut self.is_next);
        match &token {
            Token::MapStart => {
                self.open.push(true);
                self.is_next = true;
            }
            Token::LeftBrace | Token::LeftBracket | Token::LeftParen | Token::QuestionBracket => self.open.push(false),
            Token::RightBrace | Token::RightBracket | Token::RightParen => drop(self.open.pop()),
            Token::Comma => self.is_next = self.open.last().is_some_and(|is_map| *is_map),
            Token::Period | Token::Elvis => self.is_next = true,
            Token::Reserved(word) if was_next && !functions::BUILT_IN.contains(&word.as_str()) => {
                return Token::Identifier(word.clone());
            }
            _ if was_next && token.is_standard_keyword() => {
                return Token::Identifier(Box::new(token.literal_syntax().into()));
            }
            _ => {}
        }
        token
    }
}

/// An engine that evaluates expressions, and what counts what they use. `find` gives the names that are none of their
/// own.
pub(crate) fn evaluator(find: impl Fn(&str) -> Option<Dynamic> + Send + Sync + 'static) -> (Engine, Arc<Meter>) {
    let (mut engine, meter) = limited(EXPRESSION_STEPS, find);
    engine.register_global_module(Arc::clone(&STRICT));
    // Rhai's own comparisons would go before ours.
    engine.set_fast_operators(false);
    (engine, meter)
}

/// An engine that runs scripts, and what counts what they use. `find` gives the names that are none of their own.
pub(crate) fn runner(find: impl Fn(&str) -> Option<Dynamic> + Send + Sync + 'static) -> (Engine, Arc<Meter>) {
    limited(SCRIPT_STEPS, find)
}

fn limited(steps: u64, find: impl Fn(&str) -> Option<Dynamic> + Send + Sync + 'static) -> (Engine, Arc<Meter>) {
    // A raw engine is a handful of empty fields: making one takes less time than evaluating a comparison.
    let mut engine = Engine::new_raw();
    engine.register_global_module(Arc::clone(&LIBRARY));
    set_limits(&mut engine);
    let meter = Meter::begin(steps);
    let counting = Arc::clone(&meter);
    engine.on_progress(move |_| counting.step().err().map(Dynamic::from));
    resolve(&mut engine, Arc::clone(&meter), find);
    (engine, meter)
}

/// Finds names through `find`, within functions and closures too, and looks at each variable that is named.
#[expect(deprecated, reason = "Rhai marks the hook as volatile this way; the version is held by Cargo.lock")]
fn resolve(engine: &mut Engine, meter: Arc<Meter>, find: impl Fn(&str) -> Option<Dynamic> + Send + Sync + 'static) {
    engine.on_var(move |name, _, context| {
        if let Some(found) = find(name) {
            return Ok(Some(found));
        }
        if let Some(value) = context.scope().get(name) {
            if value.is_shared() {
                // Where it is in use, looking at it takes 50 ms.
                meter.check()?;
            }
            within_bounds(value)?;
        }
        Ok(None)
    });
}

fn set_limits(engine: &mut Engine) {
    engine.set_max_call_levels(MAX_CALLS);
    engine.set_max_expr_depths(MAX_DEPTH, MAX_DEPTH);
    engine.set_max_string_size(MAX_TEXT);
    engine.set_max_array_size(MAX_ITEMS);
    engine.set_max_map_size(MAX_ITEMS);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_max_functions(256);
    engine.set_max_modules(0);
}
