//! Random rules, as the text that a merchant would write: what the property tests of the journal are fed with.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use storehand::domain::Catalog;
use storehand::rules::{self, Rule};

/// A rule to be written.
#[derive(Clone, Debug)]
pub(crate) struct RandomRule {
    pub(crate) overlap: &'static str,
    /// All its runs share one lane, rather than those of one subject.
    pub(crate) is_one_lane: bool,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Steps(Vec<Step>),
    Script(Vec<Statement>),
}

/// Something to ask for.
#[derive(Clone, Debug)]
enum Use {
    /// `world.key`, `world.look`, `world.once`, `world.read`; with so many attempts at the most.
    World(&'static str, Option<u32>),
    Wait(u32),
    WaitFor(Awaited),
    Approval(u32, &'static str),
    Add(u8, i32),
    Get(u8),
    Set(u8),
    Log,
}

/// An event to be waited for.
#[derive(Clone, Debug)]
struct Awaited {
    kind: &'static str,
    /// Of another order than the event's.
    order: Option<u8>,
    within_ms: u32,
}

#[derive(Clone, Debug)]
struct Step {
    uses: Use,
    /// Only where the answer of one of the steps before it is above this.
    above: Option<(usize, i64)>,
    on_error: Option<&'static str>,
    /// Once for each of so many items, which are earlier answers as far as there are some.
    for_each: Option<usize>,
}

#[derive(Clone, Debug)]
enum Statement {
    Ask(Use, bool),
    All(Vec<Vec<Use>>, bool),
    If(usize, i64, Vec<Statement>, Vec<Statement>),
}

fn uses() -> impl Strategy<Value = Use> {
    let attempts = || proptest::option::weighted(0.3, 1_u32..4);
    let world = prop_oneof![Just("world.key"), Just("world.look"), Just("world.once"), Just("world.read")];
    let on_timeout = prop_oneof![Just("approve"), Just("reject"), Just("fail")];
    prop_oneof![
        9 => (world, attempts()).prop_map(|(name, attempts)| Use::World(name, attempts)),
        2 => (0_u32..5000).prop_map(Use::Wait),
        3 => awaited().prop_map(Use::WaitFor),
        2 => (0_u32..9000, on_timeout).prop_map(|(ms, on_timeout)| Use::Approval(ms, on_timeout)),
        2 => (0_u8..3, -5_i32..50).prop_map(|(key, by)| Use::Add(key, by)),
        1 => (0_u8..3).prop_map(Use::Get),
        1 => (0_u8..3).prop_map(Use::Set),
        1 => Just(Use::Log),
    ]
}

fn awaited() -> impl Strategy<Value = Awaited> {
    let kind = prop_oneof![Just("order.paid"), Just("order.fulfilled"), Just("order.*")];
    (kind, proptest::option::weighted(0.3, 0_u8..3), 0_u32..9000).prop_map(|(kind, order, within_ms)| Awaited {
        kind,
        order,
        within_ms,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let on_error = prop_oneof![
        3 => Just(None),
        2 => Just(Some("continue")),
        1 => Just(Some("stop")),
        1 => Just(Some("{ use: { value: 77 } }")),
    ];
    let for_each = proptest::option::weighted(0.2, 0_usize..4);
    (uses(), proptest::option::weighted(0.3, (0_usize..6, 0_i64..100)), on_error, for_each)
        .prop_map(|(uses, above, on_error, for_each)| Step { uses, above, on_error, for_each })
}

fn statement() -> impl Strategy<Value = Statement> {
    let branches = || proptest::collection::vec(proptest::collection::vec(uses(), 0..3), 1..4);
    let leaf = prop_oneof![
        4 => (uses(), any::<bool>()).prop_map(|(it, guarded)| Statement::Ask(it, guarded)),
        2 => (branches(), any::<bool>()).prop_map(|(all, guarded)| Statement::All(all, guarded)),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let some = || proptest::collection::vec(inner.clone(), 0..3);
        (0_usize..6, 0_i64..100, some(), some())
            .prop_map(|(of, above, then, other)| Statement::If(of, above, then, other))
    })
}

/// Any rule.
pub(crate) fn random_rule() -> impl Strategy<Value = RandomRule> {
    let overlap = prop_oneof![4 => Just("queue"), 2 => Just("parallel"), 1 => Just("restart"), 1 => Just("skip")];
    let body = prop_oneof![
        proptest::collection::vec(step(), 1..8).prop_map(Body::Steps),
        proptest::collection::vec(statement(), 1..6).prop_map(Body::Script),
    ];
    (overlap, any::<bool>(), body).prop_map(|(overlap, is_one_lane, body)| RandomRule { overlap, is_one_lane, body })
}

impl RandomRule {
    /// The rule's file and its script's.
    pub(crate) fn text(&self, id: &str) -> (String, String) {
        let mut yaml = format!(
            "id: {id}\nstatus: live\ntriggers: [{{ event: order.created }}]\noverlap: {}\n\
             allow: [world.key, world.look, world.once]\n",
            self.overlap
        );
        if self.is_one_lane {
            yaml.push_str("key: '\"one\"'\n");
        }
        let mut script = String::new();
        match &self.body {
            Body::Steps(steps) => {
                yaml.push_str("steps:\n");
                for (i, step) in steps.iter().enumerate() {
                    yaml.push_str(&step.line(id, i, steps));
                }
            }
            Body::Script(statements) => {
                yaml.push_str("script: body.rhai\n");
                let variables = count(statements);
                for i in 0..variables {
                    let _ = writeln!(script, "let v{i} = -1;");
                }
                write_script(statements, id, variables, &mut 0, &mut script);
            }
        }
        (yaml, script)
    }

    /// The rule with its beginning, and then as `other` goes on: what an edited rule is like.
    pub(crate) fn edited(&self, other: &Self, kept: usize) -> Self {
        let body = match (&self.body, &other.body) {
            (Body::Steps(one), Body::Steps(two)) => Body::Steps(joined(one, two, kept)),
            (Body::Script(one), Body::Script(two)) => Body::Script(joined(one, two, kept)),
            (_, two) => two.clone(),
        };
        Self { body, ..self.clone() }
    }

    /// The rule, read by the real reader.
    pub(crate) fn rule(&self, id: &str, catalog: &Catalog) -> Arc<Rule> {
        let (yaml, script) = self.text(id);
        let beside = |_: &str| -> io::Result<String> { Ok(script.clone()) };
        let read = rules::read(Path::new("random.yaml"), &yaml, &beside, catalog);
        let Some(rule) = read.rule else { panic!("{yaml}\n{script}\n{:#?}", read.findings) };
        Arc::new(rule)
    }
}

/// The first `kept` of the one, then the rest of the other; never nothing.
fn joined<T: Clone>(one: &[T], two: &[T], kept: usize) -> Vec<T> {
    let kept = kept.min(one.len());
    let rest = two.get(kept.min(two.len() - usize::from(kept == 0))..).unwrap_or_default();
    one[..kept].iter().chain(rest).cloned().collect()
}

impl Use {
    fn name(&self) -> &'static str {
        match self {
            Self::World(name, _) => name,
            Self::Wait(_) => "wait",
            Self::WaitFor(_) => "wait_for",
            Self::Approval(..) => "approval.request",
            Self::Add(..) => "memory.add",
            Self::Get(_) => "memory.get",
            Self::Set(_) => "memory.set",
            Self::Log => "log",
        }
    }

    /// Whether its answer holds a number under `value`.
    fn has_number(&self) -> bool {
        matches!(self, Self::World(..) | Self::Add(..))
    }

    /// The input, as pairs. `of` is what else the input may depend on: an expression.
    fn input(&self, rule: &str, of: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::World(..) => vec![("n", of.to_owned()), ("by", format!("\"{rule}\""))],
            Self::Wait(ms) => vec![("for", format!("\"{ms}ms\""))],
            Self::WaitFor(Awaited { kind, order, within_ms }) => {
                let order = order.map(|order| ("order_id", format!("\"{order}\"")));
                let input = [("event", format!("\"{kind}\"")), ("within", format!("\"{within_ms}ms\""))];
                input.into_iter().chain(order).collect()
            }
            Self::Approval(ms, on_timeout) => vec![
                ("to", "\"support\"".to_owned()),
                ("show", "\"go on?\"".to_owned()),
                ("timeout", format!("\"{ms}ms\"")),
                ("on_timeout", format!("\"{on_timeout}\"")),
            ],
            Self::Add(key, by) => vec![("key", format!("\"sum{key}\"")), ("by", by.to_string())],
            Self::Get(key) => vec![("key", format!("\"set{key}\""))],
            Self::Set(key) => vec![("key", format!("\"set{key}\"")), ("value", of.to_owned())],
            Self::Log => vec![("message", "\"here\"".to_owned())],
        }
    }

    fn asked(&self, rule: &str, of: &str) -> String {
        let input: Vec<String> =
            self.input(rule, of).into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let retry = match self {
            Self::World(_, Some(attempts)) => {
                format!(", #{{ retry: #{{ attempts: {attempts}, first: \"1s\", max: \"9s\" }} }}")
            }
            _ => String::new(),
        };
        format!("ask(\"{}\", #{{ {} }}{retry})", self.name(), input.join(", "))
    }
}

impl Step {
    /// Whether later steps find a number under its `value`.
    fn has_number(&self) -> bool {
        self.uses.has_number() && self.for_each.is_none()
    }

    fn line(&self, rule: &str, i: usize, steps: &[Step]) -> String {
        let earlier = |wanted: usize| (0..i).filter(|&at| steps[at].has_number()).nth(wanted % i.max(1));
        let of = match self.for_each {
            Some(_) => "\"{{ item }}\"".to_owned(),
            None => earlier(i).map_or_else(|| i.to_string(), |at| format!("\"{{{{ steps.s{at}.value }}}}\"")),
        };
        let input: Vec<String> =
            self.uses.input(rule, &of).into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let mut line = format!("  - {{ id: s{i}, uses: {}, with: {{ {} }}", self.uses.name(), input.join(", "));
        if let Some(many) = self.for_each {
            let item = |n| earlier(n).map_or_else(|| n.to_string(), |at| format!("steps.s{at}.value"));
            let items: Vec<String> = (0..many).map(item).collect();
            let _ = write!(line, ", for_each: '[{}]'", items.join(", "));
        }
        if let Some((of, above)) = self.above
            && let Some(at) = earlier(of)
        {
            let _ = write!(line, ", if: steps.s{at}.value > {above}");
        }
        if let (Use::World(..) | Use::Approval(..), Some(on_error)) = (&self.uses, self.on_error) {
            let _ = write!(line, ", on_error: {on_error}");
        }
        if let Use::World(_, Some(attempts)) = self.uses {
            let _ = write!(line, ", retry: {{ attempts: {attempts}, first: 1s, max: 9s }}");
        }
        line.push_str(" }\n");
        line
    }
}

/// How many variables these statements fill.
fn count(statements: &[Statement]) -> usize {
    let one = |statement: &Statement| match statement {
        Statement::Ask(it, _) => usize::from(it.has_number()),
        Statement::All(..) => 0,
        Statement::If(_, _, then, other) => count(then) + count(other),
    };
    statements.iter().map(one).sum()
}

fn write_script(statements: &[Statement], rule: &str, variables: usize, next: &mut usize, out: &mut String) {
    // Depends on an answer where there is one.
    let of = |at: usize| if variables == 0 { "1".to_owned() } else { format!("v{}", at % variables) };
    for statement in statements {
        let (line, guarded) = match statement {
            Statement::Ask(it, guarded) if it.has_number() => {
                let line = format!("v{next} = {}.value;", it.asked(rule, &of(*next + 1)));
                *next += 1;
                (line, *guarded)
            }
            Statement::Ask(it, guarded) => (format!("{};", it.asked(rule, &of(*next))), *guarded),
            Statement::All(branches, guarded) => {
                let branch = |branch: &Vec<Use>| {
                    let asked: Vec<String> =
                        branch.iter().map(|it| format!("{};", it.asked(rule, &of(*next)))).collect();
                    format!("|| {{ {} }}", asked.join(" "))
                };
                let branches: Vec<String> = branches.iter().map(branch).collect();
                (format!("all([{}]);", branches.join(", ")), *guarded)
            }
            Statement::If(at, above, then, other) => {
                let _ = writeln!(out, "if {} > {above} {{", of(*at));
                write_script(then, rule, variables, next, out);
                out.push_str("} else {\n");
                write_script(other, rule, variables, next, out);
                out.push_str("}\n");
                continue;
            }
        };
        let _ = match guarded {
            true => writeln!(out, "try {{ {line} }} catch (error) {{ ask(\"log\", #{{ message: error.code }}); }}"),
            false => writeln!(out, "{line}"),
        };
    }
}
