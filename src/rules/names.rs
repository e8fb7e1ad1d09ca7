//! Finds the mistakes in a parsed expression or script: names that nobody has, fields that a record does not have,
//! functions that do not exist, comparisons that can never hold.
//!
//! One walk over Rhai's syntax tree, which carries the type of what it passes as far as it is known.
//!
//! Longer than 600 lines because the cases of the tree call each other: they are one function in many parts.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, FnPtr, Position, Stmt, StmtBlock};

use super::expr::{EarlierStep, Mistake, Scope};
use super::functions::{self, SCRIPT_FUNCTIONS};
use super::near::write_nearest;
use super::rule::{AWAITS, InputKind};
use crate::domain::record::RecordType;
use crate::domain::{Envelope, Field, FieldKind};

/// The part of an `ask`'s input that is written out in plain texts.
#[derive(Clone, Debug)]
pub(crate) struct PlainInput {
    /// The capability.
    pub(crate) capability: String,
    /// Each key and its text, with their places.
    pub(crate) texts: Vec<[(String, usize); 2]>,
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Found {
    /// In the order of the text.
    pub(crate) mistakes: Vec<Mistake>,
    /// The facts that are named: `order.customer.name`.
    pub(crate) paths: Vec<Vec<String>>,
    /// The capabilities that a script asks, with the place of each name.
    pub(crate) asks: Vec<(String, usize)>,
    /// What a script asks of capabilities in plain texts.
    pub(crate) inputs: Vec<PlainInput>,
    /// The events that a script waits for, with the place of each name.
    pub(crate) awaits: Vec<(String, usize)>,
    /// The ids that a script gives its calls, and whether it computes some of them.
    pub(crate) ids: (BTreeSet<String>, bool),
    /// What an expression gives.
    pub(crate) gives: Ty,
}

/// Walks an expression.
pub(crate) fn in_expression(ast: &AST, text: &str, scope: &Scope<'_>) -> Found {
    Walk::over(ast, text, scope, false)
}

/// Walks a script.
pub(crate) fn in_script(ast: &AST, text: &str, scope: &Scope<'_>) -> Found {
    Walk::over(ast, text, scope, true)
}

/// The byte offset of a position that Rhai gives; positions count characters.
pub(crate) fn offset_of(text: &str, at: Position) -> usize {
    let Some(line) = at.line() else { return 0 };
    let mut start = 0;
    for _ in 1..line {
        start += text[start..].find('\n').map_or(text.len() - start, |end| end + 1);
    }
    let column = at.position().unwrap_or(1).max(1);
    text[start..].char_indices().nth(column - 1).map_or(text.len(), |(offset, _)| start + offset)
}

/// What is known of a value before it is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Ty {
    #[default]
    Any,
    Nothing,
    Bool,
    Int,
    Decimal,
    Text,
    Money,
    Time,
    Duration,
    Map,
    List(Box<Ty>),
    Record(&'static str, Fields),
    Inputs,
    Steps,
    Function,
}

/// The fields of a record type; two are the same when they are the same table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields(&'static [Field]);

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Ty {
    fn of(name: &'static str, kind: &FieldKind) -> Self {
        match kind {
            FieldKind::Bool => Self::Bool,
            FieldKind::Int => Self::Int,
            FieldKind::Decimal => Self::Decimal,
            FieldKind::Text => Self::Text,
            FieldKind::Money => Self::Money,
            FieldKind::Time => Self::Time,
            // One of `lines` is a `line`.
            FieldKind::List(of) => Self::List(Box::new(Self::of(name.strip_suffix('s').unwrap_or(name), of))),
            FieldKind::Record(fields) => Self::Record(name, Fields(fields)),
        }
    }

    fn of_input(kind: InputKind) -> Self {
        match kind {
            InputKind::Text => Self::Text,
            InputKind::Integer => Self::Int,
            InputKind::Number => Self::Decimal,
            InputKind::Money => Self::Money,
            InputKind::Duration => Self::Duration,
            InputKind::Boolean => Self::Bool,
            InputKind::List => Self::List(Box::new(Self::Text)),
        }
    }

    /// What the items are where this is a list, as far as that is known.
    pub(crate) fn items(&self) -> Self {
        match self {
            Self::List(of) => (**of).clone(),
            _ => Self::Any,
        }
    }

    /// Whether it may be a list: nobody knows yet that it is something else.
    pub(crate) fn may_be_list(&self) -> bool {
        self.is_open() || matches!(self, Self::List(_))
    }

    /// As people call it, with its article.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Any => "something",
            Self::Nothing => "nothing",
            Self::Bool => "a yes or no",
            Self::Int | Self::Decimal => "a number",
            Self::Text => "a text",
            Self::Money => "money",
            Self::Time => "a time",
            Self::Duration => "a length of time",
            Self::Map => "a map",
            Self::List(_) => "a list",
            Self::Record(..) | Self::Inputs | Self::Steps => "a record",
            Self::Function => "a function",
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Any | Self::Nothing)
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Decimal)
    }

    fn compares_with(&self, other: &Self) -> bool {
        self.is_open()
            || other.is_open()
            || self.is_number() && other.is_number()
            || std::mem::discriminant(self) == std::mem::discriminant(other)
            || matches!((self, other), (Self::Duration, Self::Text) | (Self::Text, Self::Duration))
    }
}

/// A function of the script: its parameters and its body.
struct Function {
    params: Vec<String>,
    body: Vec<Stmt>,
}

struct Walk<'a> {
    text: &'a str,
    scope: &'a Scope<'a>,
    is_script: bool,
    /// By name and number of parameters; closures have names that nobody can write.
    functions: BTreeMap<(String, usize), Function>,
    /// Names that are assigned to somewhere: their type may change.
    assigned: BTreeSet<String>,
    locals: Vec<(String, Ty)>,
    /// How many locals stand outside of the branch of `all` that is walked.
    outside: usize,
    /// The place of the `map` whose results are branches of `all`.
    makes_branches: Option<Position>,
    found: Found,
}

const FACTS_IN_TEXT: &str = "it belongs to the event";

/// What a step with `for_each` calls the item at hand.
pub(crate) const ITEM: &str = "item";

impl<'a> Walk<'a> {
    fn over(ast: &AST, text: &'a str, scope: &'a Scope<'a>, is_script: bool) -> Found {
        let functions = ast
            .iter_functions()
            .map(|function| {
                // The tree of a function's body can only be reached by walking a tree that has no other.
                let mut only = ast.clone_functions_only();
                only.retain_functions(|_, _, name, params| name == function.name && params == function.params.len());
                let params: Vec<String> = function.params.iter().map(|&param| param.to_owned()).collect();
                ((function.name.to_owned(), params.len()), Function { params, body: top_level(&only) })
            })
            .collect();
        let mut assigned = BTreeSet::new();
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            if let Some(ASTNode::Stmt(Stmt::Assignment(it))) = path.last()
                && let Some(name) = root_variable(&it.1.lhs)
            {
                assigned.insert(name.to_owned());
            }
            true
        });
        let mut walk = Walk {
            text,
            scope,
            is_script,
            functions,
            assigned,
            locals: Vec::new(),
            outside: 0,
            makes_branches: None,
            found: Found::default(),
        };
        walk.block(ast.statements());
        let named: Vec<(String, usize)> =
            walk.functions.keys().filter(|(name, _)| !is_closure(name)).cloned().collect();
        for key in named {
            walk.named_function(&key);
        }
        let mut found = walk.found;
        found.mistakes.sort_by_key(|mistake| mistake.offset);
        found.mistakes.dedup();
        found
    }

    fn named_function(&mut self, key: &(String, usize)) {
        let Some(Function { params, body }) = self.functions.remove(key) else { return };
        let name = key.0.as_str();
        let is_taken = SCRIPT_FUNCTIONS.contains(&name) || functions::known().any(|ours| ours == name);
        if is_taken || is_fact(name) {
            let at = self.text.find(&format!("fn {name}")).map_or(0, |at| at + 3);
            let message = match is_taken {
                true => format!("`{name}` is a function that is there already"),
                false => format!("`{name}` is taken"),
            };
            self.found.mistakes.push(Mistake {
                offset: at,
                len: name.len(),
                message,
                hint: Some(format!("call yours something else, such as `my_{name}`")),
            });
        }
        let start = body.first().map_or(Position::START, Stmt::position);
        let outer = std::mem::take(&mut self.locals);
        for param in &params {
            self.declare(param, Ty::Any, start);
        }
        // It stays known by name, so that it may call itself.
        self.functions.insert(key.clone(), Function { params, body: Vec::new() });
        self.block(&body);
        self.locals = outer;
    }

    fn mistake(&mut self, at: Position, len: usize, message: String, hint: Option<String>) {
        let offset = offset_of(self.text, at);
        self.found.mistakes.push(Mistake { offset, len, message, hint });
    }

    // Statements.

    fn block(&mut self, statements: &[Stmt]) {
        let depth = self.locals.len();
        for statement in statements {
            self.statement(statement);
        }
        self.locals.truncate(depth);
    }

    fn statement(&mut self, statement: &Stmt) {
        if !self.is_script && !matches!(statement, Stmt::Expr(_) | Stmt::FnCall(..) | Stmt::Noop(_) | Stmt::Share(_)) {
            let message = "an expression only looks; it cannot assign, loop or return".to_owned();
            return self.mistake(statement.position(), 1, message, Some("put this into a script".to_owned()));
        }
        match statement {
            Stmt::Expr(expr) => self.found.gives = self.expr(expr),
            Stmt::FnCall(call, at) => self.found.gives = self.call(call, *at),
            Stmt::Var(it, ..) => {
                let ty = if self.function(&it.1, &[]) { Ty::Function } else { self.expr(&it.1) };
                self.declare(it.0.name.as_str(), ty, it.0.pos);
            }
            Stmt::Assignment(it) => {
                let name = root_variable(&it.1.lhs);
                let local = name.and_then(|name| self.local(name));
                if let Some(name) = name.filter(|name| local.is_none() && is_fact(name)) {
                    let message = format!("`{name}` cannot be changed: {FACTS_IN_TEXT}");
                    self.mistake(it.1.lhs.start_position(), name.len(), message, None);
                } else if let Some(name) = name.filter(|_| local == Some(Ty::Function)) {
                    let message = format!("`{name}` is a function and stays one");
                    let hint = "give the other value a name of its own".to_owned();
                    self.mistake(it.1.lhs.start_position(), name.len(), message, Some(hint));
                } else {
                    self.expr(&it.1.lhs);
                    self.assigned_in_branch(&it.1.lhs);
                }
                self.expr(&it.1.rhs);
            }
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expr(&flow.expr);
                self.block(flow.body.statements());
                self.block(flow.branch.statements());
            }
            Stmt::For(it, _) => {
                let (item, counter, flow) = &**it;
                let ty = self.expr(&flow.expr).items();
                let depth = self.locals.len();
                self.declare(item.name.as_str(), ty, item.pos);
                if let Some(counter) = counter {
                    self.declare(counter.name.as_str(), Ty::Int, counter.pos);
                }
                self.block(flow.body.statements());
                self.locals.truncate(depth);
            }
            Stmt::Switch(it, _) => {
                self.expr(&it.0);
                for case in &it.1.expressions {
                    self.expr(&case.lhs);
                    self.expr(&case.rhs);
                }
            }
            Stmt::TryCatch(flow, at) => {
                self.block(flow.body.statements());
                let depth = self.locals.len();
                if let Expr::Variable(name, ..) = &flow.expr {
                    self.declare(&name.1, Ty::Any, *at);
                }
                self.block(flow.branch.statements());
                self.locals.truncate(depth);
            }
            Stmt::Block(block) => self.block(block.statements()),
            Stmt::BreakLoop(Some(expr), ..) | Stmt::Return(Some(expr), ..) => drop(self.expr(expr)),
            _ => {}
        }
    }

    fn assigned_in_branch(&mut self, target: &Expr) {
        let Some(name) = root_variable(target) else { return };
        if self.locals.iter().rposition(|(local, _)| local == name).is_some_and(|at| at < self.outside) {
            let message = format!("a branch of `all` works on its own copy of `{name}`");
            let hint = "let the branch give its result back; `all` gives the list of them".to_owned();
            self.mistake(target.start_position(), name.len(), message, Some(hint));
        }
    }

    fn declare(&mut self, name: &str, ty: Ty, at: Position) {
        if self.is_fact(name) || SCRIPT_FUNCTIONS.contains(&name) {
            let message = format!("`{name}` is taken");
            self.mistake(at, name.len(), message, Some(format!("choose another name, such as `my_{name}`")));
        }
        let ty = if self.assigned.contains(name) && ty != Ty::Function { Ty::Any } else { ty };
        self.locals.push((name.to_owned(), ty));
    }

    fn local(&self, name: &str) -> Option<Ty> {
        self.locals.iter().rev().find(|(local, _)| local == name).map(|(_, ty)| ty.clone())
    }

    // Expressions.

    fn expr(&mut self, expr: &Expr) -> Ty {
        match expr {
            Expr::BoolConstant(..) => Ty::Bool,
            Expr::IntegerConstant(..) => Ty::Int,
            Expr::StringConstant(..) | Expr::CharConstant(..) => Ty::Text,
            Expr::Unit(_) => Ty::Nothing,
            Expr::DynamicConstant(value, at) => {
                if self.function(expr, &[]) {
                    self.kept_function(*at, 1);
                    return Ty::Any;
                }
                if value.is_decimal() { Ty::Decimal } else { Ty::Any }
            }
            Expr::InterpolatedString(parts, at) => {
                if !self.is_script {
                    // It would read nothing as an empty text.
                    let message = "an expression does not fill in texts".to_owned();
                    self.mistake(*at, 1, message, Some("join them with `+`, or use `{{ }}`".to_owned()));
                }
                parts.iter().for_each(|part| drop(self.expr(part)));
                Ty::Text
            }
            Expr::Array(items, _) => {
                let types: Vec<Ty> = items.iter().map(|item| self.expr(item)).collect();
                let same = types.first().filter(|first| types.iter().all(|ty| ty == *first));
                Ty::List(Box::new(same.cloned().unwrap_or(Ty::Any)))
            }
            Expr::Map(it, _) => {
                it.0.iter().for_each(|(_, value)| drop(self.expr(value)));
                Ty::Map
            }
            Expr::Variable(it, _, at) => self.variable(&it.1, *at),
            Expr::ThisPtr(at) => {
                let hint = "name what the function works on: `|item| item.quantity`".to_owned();
                self.mistake(*at, 4, "there is no `this`".to_owned(), Some(hint));
                Ty::Any
            }
            Expr::Stmt(block) => {
                if self.function(expr, &[]) {
                    self.kept_function(block.position(), 1);
                } else {
                    self.block_expression(block);
                }
                Ty::Any
            }
            Expr::FnCall(call, at) => self.call(call, *at),
            Expr::Dot(it, flags, _) => {
                self.note_path(&it.lhs, Some((&it.rhs, *flags)));
                let first = first_link(&it.rhs, *flags);
                if let Some(name) = root_variable(&it.lhs).filter(|name| self.local(name).is_some()) {
                    self.not_its_own(name, first);
                }
                let is_called = matches!(first, Expr::MethodCall(call, _) if call.name == "call");
                let base = match is_called && self.is_function(&it.lhs) {
                    true => Ty::Function,
                    false => self.expr(&it.lhs),
                };
                self.chain(base, &it.rhs, *flags, false)
            }
            Expr::Index(it, flags, _) => {
                let base = self.expr(&it.lhs);
                self.chain(base, &it.rhs, *flags, true)
            }
            Expr::And(sides, _) | Expr::Or(sides, _) => {
                for side in sides.iter() {
                    let ty = self.expr(side);
                    if !ty.is_open() && ty != Ty::Bool {
                        let message = format!("`&&` and `||` stand between conditions, and this is {}", ty.name());
                        self.mistake(side.start_position(), 1, message, None);
                    }
                }
                Ty::Bool
            }
            Expr::Coalesce(sides, _) => {
                let types: Vec<Ty> = sides.iter().map(|side| self.expr(side)).collect();
                let mut known = types.into_iter().filter(|ty| *ty != Ty::Nothing);
                let first = known.next().unwrap_or(Ty::Nothing);
                if known.all(|ty| ty == first) { first } else { Ty::Any }
            }
            _ => Ty::Any,
        }
    }

    fn block_expression(&mut self, block: &StmtBlock) {
        if self.is_script {
            self.block(block.statements());
        } else {
            let message = "an expression only looks; it cannot hold statements".to_owned();
            self.mistake(block.position(), 1, message, Some("put this into a script".to_owned()));
        }
    }

    fn variable(&mut self, name: &str, at: Position) -> Ty {
        if let Some(ty) = self.local(name) {
            if ty == Ty::Function {
                self.kept_function(at, name.len());
                return Ty::Any;
            }
            return ty;
        }
        if self.is_own_function(name) {
            return Ty::Any;
        }
        if let Some(item) = self.scope.item.filter(|_| name == ITEM) {
            return item.clone();
        }
        let ty = match name {
            "event" => Some(Ty::Record("event", Fields(Envelope::FIELDS))),
            "inputs" => Some(Ty::Inputs),
            "steps" if !self.is_script => Some(Ty::Steps),
            "now" => Some(Ty::Time),
            _ => self
                .scope
                .catalog
                .records()
                .iter()
                .find(|field| field.name == name)
                .map(|field| Ty::of(field.name, &field.kind)),
        };
        if let Some(ty) = ty {
            if matches!(ty, Ty::Record(..)) && name != "event" && !self.is_heard(name) {
                let message = format!("no event that this rule listens to has {} `{name}`", article(name));
                let records = self.heard().collect::<Vec<_>>().join("`, `");
                let hint = if records.is_empty() {
                    "its events have no records".to_owned()
                } else {
                    format!("its events have `{records}`")
                };
                self.mistake(at, name.len(), message, Some(hint));
            } else if ty == Ty::Time {
                self.add_path(vec![name.to_owned()]);
            }
            return ty;
        }
        let mut known: Vec<&str> = self.locals.iter().map(|(local, _)| local.as_str()).collect();
        known.extend_from_slice(&["event", "inputs", "steps", "now"]);
        self.heard().for_each(|record| known.push(record));
        let hint = match name {
            ITEM if !self.is_script => Some("only a step with `for_each:` has one; elsewhere name the list".to_owned()),
            _ => write_nearest(name, known),
        };
        self.mistake(at, name.len(), format!("there is no `{name}`"), hint);
        Ty::Any
    }

    fn heard(&self) -> impl Iterator<Item = &'static str> + use<'a> {
        let events = self.scope.events;
        let records = self.scope.catalog.records().iter().map(|field| field.name);
        records.filter(move |name| events.iter().any(|event| event.records.contains(name)))
    }

    /// A rule without a known event has that mistake already.
    fn is_heard(&self, record: &str) -> bool {
        self.scope.events.is_empty() || self.scope.events.iter().any(|event| event.records.contains(&record))
    }

    /// The links of `base.a.b[c].d()`, which Rhai nests to the right.
    fn chain(&mut self, base: Ty, rest: &Expr, flags: ASTFlags, is_index: bool) -> Ty {
        let (link, next) = match rest {
            Expr::Dot(it, next, _) if !flags.contains(ASTFlags::BREAK) => (&it.lhs, Some((&it.rhs, *next, false))),
            Expr::Index(it, next, _) if !flags.contains(ASTFlags::BREAK) => (&it.lhs, Some((&it.rhs, *next, true))),
            _ => (rest, None),
        };
        let ty = match link {
            _ if is_index => self.index(base, link),
            Expr::Property(it, at) => self.field(base, &it.2, *at),
            Expr::MethodCall(call, at) => self.method(base, call, *at),
            _ => Ty::Any,
        };
        match next {
            Some((rest, flags, is_index)) => self.chain(ty, rest, flags, is_index),
            None => ty,
        }
    }

    fn index(&mut self, base: Ty, index: &Expr) -> Ty {
        let by = self.expr(index);
        match (base, index) {
            (Ty::List(of), _) if by == Ty::Int => *of,
            (base @ (Ty::Record(..) | Ty::Inputs | Ty::Steps), Expr::StringConstant(name, at)) => {
                self.field(base, name, *at)
            }
            _ => Ty::Any,
        }
    }

    fn field(&mut self, base: Ty, name: &str, at: Position) -> Ty {
        let inputs = self.scope.inputs;
        let steps = self.scope.steps;
        let (what, names): (String, Vec<&str>) = match &base {
            Ty::Record(label, fields) => {
                if let Some(field) = fields.0.iter().find(|field| field.name == name) {
                    return Ty::of(field.name, &field.kind);
                }
                let message = format!("{} {label} has no field `{name}`", article(label));
                (message, fields.0.iter().map(|field| field.name).collect())
            }
            Ty::Inputs => {
                if let Some(input) = inputs.iter().find(|input| input.name == name) {
                    return Ty::of_input(input.kind);
                }
                let message = format!("the rule has no input `{name}`");
                (message, inputs.iter().map(|input| input.name.as_str()).collect())
            }
            Ty::Steps => {
                match steps.iter().find(|step| step.id == name) {
                    Some(EarlierStep { is_list: true, .. }) => return Ty::List(Box::new(Ty::Any)),
                    Some(_) => return Ty::Any,
                    None => {}
                }
                let message = format!("there is no earlier step `{name}`");
                (message, steps.iter().map(|step| step.id.as_str()).collect())
            }
            Ty::Money => match name {
                "amount" => return Ty::Decimal,
                "currency" => return Ty::Text,
                _ => ("money has `amount` and `currency`".to_owned(), vec!["amount", "currency"]),
            },
            Ty::Text | Ty::List(_) => match name {
                "len" => return Ty::Int,
                "is_empty" => return Ty::Bool,
                "chars" | "bytes" => return Ty::Any,
                _ => (format!("{} has no field `{name}`", base.name()), vec!["len", "is_empty"]),
            },
            Ty::Bool | Ty::Time => (format!("{} has no field `{name}`", base.name()), Vec::new()),
            _ => return Ty::Any,
        };
        let hint = write_nearest(name, names.iter().copied()).or_else(|| {
            let all = names.join("`, `");
            (!names.is_empty() && names.len() <= 12).then(|| format!("there is `{all}`"))
        });
        self.mistake(at, name.len(), what, hint);
        Ty::Any
    }

    fn method(&mut self, base: Ty, call: &FnCallExpr, at: Position) -> Ty {
        let item = base.items();
        let function_at = function_argument(&call.name);
        let makes_branches = call.name == "map" && self.makes_branches == Some(at);
        for (i, arg) in call.args.iter().enumerate() {
            if Some(i) != function_at || !self.function_of(arg, std::slice::from_ref(&item), makes_branches) {
                self.expr(arg);
            }
        }
        if call.name == "ask" {
            let message = "`ask` wants the capability first".to_owned();
            self.mistake(at, 3, message, Some("write `ask(\"order.tag\", #{ … })`".to_owned()));
            return Ty::Any;
        }
        self.known_function(&call.name, at);
        match (call.name.as_str(), base) {
            ("filter" | "extract", base @ Ty::List(_)) => base,
            ("find" | "shift" | "pop" | "get", Ty::List(of)) => *of,
            ("map", Ty::List(_)) => Ty::List(Box::new(Ty::Any)),
            (name, _) => result_of(name),
        }
    }

    // Functions as values.
    //
    // A function shares the variables that it captures. Kept in one of them it would hold itself, and nobody would
    // ever free it; one that captures the last, again and again, makes a chain that overflows the stack when it is
    // freed. So a function stands only where it is used: in a call that takes one, among the branches of `all`, or
    // under a name that stays its own.

    /// Walks a function that stands where one may: written there, or by its name.
    fn function(&mut self, expr: &Expr, params: &[Ty]) -> bool {
        self.function_of(expr, params, false)
    }

    fn function_of(&mut self, expr: &Expr, params: &[Ty], makes_branches: bool) -> bool {
        let Some((name, captured)) = closure_of(expr) else { return self.is_function(expr) };
        self.closure(&name, &captured, params, makes_branches);
        true
    }

    fn is_function(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Variable(it, ..) if self.local(&it.1) == Some(Ty::Function))
    }

    fn kept_function(&mut self, at: Position, len: usize) {
        let message = "a function is no value to be kept or given back".to_owned();
        let hint = "hand it to `map`, `filter`, `all` and the like where it is needed, call it, or write \
                    `fn name(item) { … }`";
        self.mistake(at, len, message, Some(hint.to_owned()));
    }

    /// A function that works on the items of a variable and looks at that variable: Rhai has it locked meanwhile.
    fn not_its_own(&mut self, name: &str, link: &Expr) {
        let Expr::MethodCall(call, at) = link else { return };
        let captures = |arg: &Expr| closure_of(arg).is_some_and(|(_, captured)| captured.contains(&name));
        if function_argument(&call.name).and_then(|i| call.args.get(i)).is_some_and(captures) {
            let message = format!("the function given to `{}` cannot look at `{name}`, which it works on", call.name);
            self.mistake(*at, call.name.len(), message, Some(format!("copy it first: `let all_{name} = {name};`")));
        }
    }

    fn closure(&mut self, name: &str, captured: &[&str], types: &[Ty], makes_branches: bool) {
        // Taken out while its body is walked, so that nothing is walked in circles.
        let Some(key) = self.functions.keys().find(|(known, _)| known == name).cloned() else { return };
        let Some(function) = self.functions.remove(&key) else { return };
        let depth = self.locals.len();
        let start = function.body.first().map_or(Position::START, Stmt::position);
        let own = function.params.iter().filter(|param| !captured.contains(&param.as_str()));
        for (i, param) in own.enumerate() {
            self.declare(param, types.get(i).cloned().unwrap_or(Ty::Any), start);
        }
        match &*function.body {
            [Stmt::Expr(branch)] if makes_branches && self.function(branch, &[]) => {}
            body => self.block(body),
        }
        self.locals.truncate(depth);
        self.functions.insert(key, function);
    }

    /// As [`is_fact`], and `item` where there is one.
    fn is_fact(&self, name: &str) -> bool {
        is_fact(name) || name == ITEM && self.scope.item.is_some()
    }

    /// The branches of `all`: written as a list, or made by a `map`.
    fn branches(&mut self, branches: &Expr) -> Ty {
        let outside = std::mem::replace(&mut self.outside, self.locals.len());
        let maker = std::mem::replace(&mut self.makes_branches, maker_of(branches));
        let ty = match branches {
            Expr::Array(items, _) => {
                for item in items.iter() {
                    if !self.function(item, &[]) {
                        self.expr(item);
                    }
                }
                Ty::List(Box::new(Ty::Any))
            }
            other => self.expr(other),
        };
        (self.outside, self.makes_branches) = (outside, maker);
        ty
    }

    fn is_own_function(&self, name: &str) -> bool {
        self.functions.keys().any(|(known, _)| known == name)
    }

    fn call(&mut self, call: &FnCallExpr, at: Position) -> Ty {
        if call.is_operator_call() {
            return self.operator(call, at);
        }
        if call.name == "ask" {
            self.ask(call, at);
            return Ty::Any;
        }
        // In front of the arguments that it has as a method stands the list.
        let function_at = match call.name.as_str() {
            "call" => Some(0),
            name if self.is_own_function(name) => None,
            name => function_argument(name).map(|at| at + 1),
        };
        let types: Vec<Ty> = match &*call.args {
            [branches] if call.name == "all" => vec![self.branches(branches)],
            args => args
                .iter()
                .enumerate()
                .map(|(i, arg)| match Some(i) == function_at && self.function(arg, &[]) {
                    true => Ty::Function,
                    false => self.expr(arg),
                })
                .collect(),
        };
        self.known_function(&call.name, at);
        match (call.name.as_str(), types.first(), call.args.first()) {
            ("money", Some(Ty::Int | Ty::Decimal), _) => {
                let message = "`money` needs the currency".to_owned();
                self.mistake(at, 5, message, Some("write `money(\"20 EUR\")`".to_owned()));
            }
            ("money", _, Some(Expr::StringConstant(text, at))) => {
                if let Err(error) = text.parse::<crate::domain::Money>() {
                    self.mistake(*at, text.len() + 2, error.to_string(), None);
                }
            }
            ("duration", _, Some(Expr::StringConstant(text, at))) if super::value::parse_duration(text).is_none() => {
                let message = format!("`{text}` is not a length of time");
                self.mistake(*at, text.len() + 2, message, Some("write it like `30m`, `24h`, `7d`".to_owned()));
            }
            _ => {}
        }
        result_of(&call.name)
    }

    fn ask(&mut self, call: &FnCallExpr, at: Position) {
        for arg in &call.args {
            self.expr(arg);
        }
        if !self.is_script {
            let message = "an expression only looks; it cannot `ask`".to_owned();
            return self.mistake(at, 3, message, Some("make it a step of its own".to_owned()));
        }
        match call.args.get(2) {
            None => {}
            Some(Expr::Map(options, _)) => match options.0.iter().find(|(key, _)| key.name == "id") {
                None => {}
                Some((_, Expr::StringConstant(id, _))) => drop(self.found.ids.0.insert(id.to_string())),
                Some(_) => self.found.ids.1 = true,
            },
            Some(_) => self.found.ids.1 = true,
        }
        match call.args.first() {
            Some(Expr::StringConstant(name, at)) => {
                let offset = offset_of(self.text, *at);
                self.found.asks.push((name.to_string(), offset + 1));
                self.plain_input(name, call.args.get(1));
                if name == AWAITS {
                    self.awaits(call.args.get(1), *at);
                }
            }
            _ => {
                let message = "`ask` needs the capability's name as a plain text".to_owned();
                let hint = "write `ask(\"order.tag\", #{ … })`, so that the check can see what the rule may do";
                self.mistake(at, 3, message, Some(hint.to_owned()));
            }
        }
    }

    fn plain_input(&mut self, capability: &str, input: Option<&Expr>) {
        let Some(Expr::Map(input, _)) = input else { return };
        let texts = input.0.iter().filter_map(|(key, value)| match value {
            Expr::StringConstant(text, at) => Some([
                (key.name.to_string(), offset_of(self.text, key.pos)),
                // Behind the quote that begins it.
                (text.to_string(), offset_of(self.text, *at) + 1),
            ]),
            _ => None,
        });
        let texts = texts.collect();
        self.found.inputs.push(PlainInput { capability: capability.to_owned(), texts });
    }

    /// The event that is waited for, out of the input as it is written.
    fn awaits(&mut self, input: Option<&Expr>, at: Position) {
        let pairs = match input {
            Some(Expr::Map(it, _)) => it.0.iter(),
            _ => [].iter(),
        };
        let event = pairs.filter(|(key, _)| key.name == "event").map(|(_, event)| event).next_back();
        if let Some(Expr::StringConstant(name, at)) = event {
            let offset = offset_of(self.text, *at);
            return self.found.awaits.push((name.to_string(), offset + 1));
        }
        let message = format!("`{AWAITS}` needs the event's name as a plain text");
        let hint =
            format!("write `ask(\"{AWAITS}\", #{{ event: \"order.fulfilled\", … }})`, so that the event is kept");
        let (at, len) = event.map_or((at, AWAITS.len() + 2), |event| (event.start_position(), 1));
        self.mistake(at, len, message, Some(hint));
    }

    fn known_function(&mut self, name: &str, at: Position) {
        let in_script = |name: &str| self.is_script && SCRIPT_FUNCTIONS.contains(&name);
        if functions::known().any(|known| known == name) || in_script(name) || self.is_own_function(name) {
            return;
        }
        let own = self.functions.keys().map(|(name, _)| name.as_str()).filter(|name| !is_closure(name));
        let mut known: Vec<&str> = own.collect();
        if self.is_script {
            known.extend(SCRIPT_FUNCTIONS);
        }
        functions::known().for_each(|function| known.push(function));
        let hint = match name {
            "print" | "debug" => Some("write `ask(\"log\", #{ message: … })`".to_owned()),
            "timestamp" => Some("write `now`".to_owned()),
            _ => write_nearest(name, known),
        };
        self.mistake(at, name.len(), format!("there is no function `{name}`"), hint);
    }

    fn operator(&mut self, call: &FnCallExpr, at: Position) -> Ty {
        let types: Vec<Ty> = call.args.iter().map(|arg| self.expr(arg)).collect();
        let name = call.name.as_str();
        let ([left, right], [left_type, right_type]) = (&*call.args, &*types) else {
            return match (name, types.into_iter().next()) {
                ("!", Some(ty)) => {
                    if !ty.is_open() && ty != Ty::Bool {
                        let message = format!("`!` turns a condition round, and this is {}", ty.name());
                        self.mistake(at, 1, message, None);
                    }
                    Ty::Bool
                }
                (_, ty) => ty.unwrap_or(Ty::Any),
            };
        };
        match name {
            "==" | "!=" | "<" | "<=" | ">" | ">=" => {
                if !left_type.compares_with(right_type) {
                    let sides = [(left, left_type), (right, right_type)];
                    let message = format!(
                        "{} is {} and {} is {}; `{name}` compares like with like",
                        self.quoted(left),
                        left_type.name(),
                        self.quoted(right),
                        right_type.name()
                    );
                    let hint = comparison_hint(&sides);
                    self.mistake(left.start_position(), 1, message, hint);
                }
                Ty::Bool
            }
            "contains" => Ty::Bool,
            "+" | "-"
                if *left_type == Ty::Money && right_type.is_number()
                    || left_type.is_number() && *right_type == Ty::Money =>
            {
                let hint = comparison_hint(&[(left, left_type), (right, right_type)]);
                let message = format!("`{name}` works on money and money, not on money and a number");
                self.mistake(left.start_position(), 1, message, hint);
                Ty::Money
            }
            _ => arithmetic(name, left_type, right_type),
        }
    }

    /// The first line of an expression's text, for a message.
    fn quoted(&self, expr: &Expr) -> String {
        match expr {
            Expr::StringConstant(text, _) => format!("`\"{text}\"`"),
            Expr::IntegerConstant(number, _) => format!("`{number}`"),
            _ => path_of(expr).map_or_else(|| "one side".to_owned(), |path| format!("`{}`", path.join("."))),
        }
    }

    // Paths: what the why-not shows.

    fn note_path(&mut self, root: &Expr, rest: Option<(&Expr, ASTFlags)>) {
        let Some(root) = root_variable(root).filter(|root| self.is_fact(root) && self.local(root).is_none()) else {
            return;
        };
        let mut path = vec![root.to_owned()];
        let mut rest = rest;
        while let Some((expr, flags)) = rest {
            let (link, next) = match expr {
                Expr::Dot(it, next, _) if !flags.contains(ASTFlags::BREAK) => (&it.lhs, Some((&it.rhs, *next))),
                Expr::Index(it, ..) if !flags.contains(ASTFlags::BREAK) => (&it.lhs, None),
                _ => (expr, None),
            };
            let Expr::Property(it, _) = link else { break };
            path.push(it.2.to_string());
            rest = next;
        }
        self.add_path(path);
    }

    fn add_path(&mut self, path: Vec<String>) {
        if !self.found.paths.contains(&path) {
            self.found.paths.push(path);
        }
    }
}

/// Names that are the event's, the rule's or the run's, in every expression and script.
pub(crate) fn is_fact(name: &str) -> bool {
    matches!(name, "event" | "inputs" | "steps" | "now")
        || crate::domain::Records::FIELDS.iter().any(|field| field.name == name)
}

fn is_closure(name: &str) -> bool {
    name.starts_with("anon$")
}

/// A function written where it stands: its name, and the variables that it captures. Where there are any, Rhai makes a
/// block of it, which shares the variables and curries the function.
fn closure_of(expr: &Expr) -> Option<(String, Vec<&str>)> {
    let name = |expr: &Expr| match expr {
        Expr::DynamicConstant(value, _) => Some(value.read_lock::<FnPtr>()?.fn_name().to_owned()),
        _ => None,
    };
    let Expr::Stmt(block) = expr else { return Some((name(expr)?, Vec::new())) };
    let [Stmt::Share(_), Stmt::Expr(expr)] = block.statements() else { return None };
    let Expr::FnCall(curry, _) = &**expr else { return None };
    let (function, captured) = curry.args.split_first()?;
    Some((name(function)?, captured.iter().filter_map(root_variable).collect()))
}

/// Which argument of a list's method may be a function.
fn function_argument(method: &str) -> Option<usize> {
    match method {
        "all" | "any" | "some" | "filter" | "map" | "find" | "find_map" | "reduce" | "for_each" | "sort"
        | "sort_by" | "order" | "order_by" | "dedup" | "retain" | "drain" | "index_of" => Some(0),
        "zip" => Some(1),
        _ => None,
    }
}

/// The first link of what follows a dot.
fn first_link(rest: &Expr, flags: ASTFlags) -> &Expr {
    match rest {
        Expr::Dot(it, ..) | Expr::Index(it, ..) if !flags.contains(ASTFlags::BREAK) => &it.lhs,
        _ => rest,
    }
}

/// The place of a `map` that comes last: `order.lines.filter(…).map(…)`.
fn maker_of(expr: &Expr) -> Option<Position> {
    match expr {
        Expr::Dot(it, ..) | Expr::Index(it, ..) => maker_of(&it.rhs),
        Expr::MethodCall(call, at) if call.name == "map" => Some(*at),
        _ => None,
    }
}

fn root_variable(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Variable(it, ..) => Some(&it.1),
        Expr::Dot(it, ..) | Expr::Index(it, ..) => root_variable(&it.lhs),
        _ => None,
    }
}

fn path_of(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Variable(it, ..) => Some(vec![it.1.to_string()]),
        Expr::Property(it, _) => Some(vec![it.2.to_string()]),
        Expr::Dot(it, ..) => {
            let mut path = path_of(&it.lhs)?;
            path.extend(path_of(&it.rhs)?);
            Some(path)
        }
        _ => None,
    }
}

fn top_level(ast: &AST) -> Vec<Stmt> {
    let mut statements = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(statement)] = path {
            statements.push((*statement).clone());
        }
        true
    });
    statements
}

fn article(label: &str) -> &'static str {
    if label.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn comparison_hint(sides: &[(&Expr, &Ty); 2]) -> Option<String> {
    let other = |i: usize| sides[1 - i].1;
    (0..2).find_map(|i| match (sides[i], other(i)) {
        ((Expr::IntegerConstant(number, _), _), Ty::Money) => Some(format!("write `money(\"{number} EUR\")`")),
        ((Expr::DynamicConstant(number, _), Ty::Decimal), Ty::Money) => {
            Some(format!("write `money(\"{number} EUR\")`"))
        }
        ((Expr::StringConstant(text, _), _), Ty::Money) => Some(format!("write `money(\"{text}\")`")),
        ((Expr::IntegerConstant(number, _), _), Ty::Text) => Some(format!("write `\"{number}\"`")),
        ((Expr::StringConstant(text, _), _), Ty::List(_)) => Some(format!("write `\"{text}\" in …`")),
        ((Expr::StringConstant(text, _), _), Ty::Time) => Some(format!("write `time(\"{text}\")`")),
        _ => None,
    })
}

fn arithmetic(operator: &str, left: &Ty, right: &Ty) -> Ty {
    match (operator, left, right) {
        ("+", Ty::Text, _) | ("+", _, Ty::Text) => Ty::Text,
        ("/", Ty::Money, Ty::Money) => Ty::Decimal,
        (_, Ty::Money, Ty::Any) | (_, Ty::Any, Ty::Money) => Ty::Any,
        (_, Ty::Money, _) | (_, _, Ty::Money) => Ty::Money,
        ("-", Ty::Time, Ty::Time) => Ty::Duration,
        (_, Ty::Time, Ty::Duration) => Ty::Time,
        (_, Ty::Duration, Ty::Duration) => Ty::Duration,
        (_, Ty::Int, Ty::Int) => Ty::Int,
        _ if left.is_number() && right.is_number() => Ty::Decimal,
        _ => Ty::Any,
    }
}

/// What a function gives, where that does not depend on what it is given.
fn result_of(function: &str) -> Ty {
    match function {
        "money" => Ty::Money,
        "time" => Ty::Time,
        "duration" | "days" | "hours" | "minutes" => Ty::Duration,
        "contains" | "starts_with" | "ends_with" | "any" | "some" | "all" | "is_empty" | "is_odd" | "is_even"
        | "is_zero" => Ty::Bool,
        "to_lower" | "to_upper" | "trim" | "replace" | "sub_string" | "to_string" | "join" | "type_of" | "to_json" => {
            Ty::Text
        }
        "len" | "index_of" | "to_int" | "parse_int" | "sign" => Ty::Int,
        "to_decimal" | "parse_decimal" => Ty::Decimal,
        _ => Ty::Any,
    }
}
