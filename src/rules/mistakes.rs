//! What an expression at one place of a rule may name, and how its mistakes become findings of the file.

use super::expr::{EarlierStep, Expr, Mistake, Scope, Template};
use super::fields;
use super::finding::{Code, Report};
use super::names::Ty;
use super::rule::Input;
use super::yaml::Node;
use crate::domain::{Catalog, EventType};

/// What an expression may name.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) events: &'a [&'a EventType],
    pub(super) inputs: &'a [Input],
    /// The steps before.
    pub(super) steps: &'a [EarlierStep],
    /// What `item` is, within a step that has `for_each`.
    pub(super) item: Option<&'a Ty>,
    /// The ids of this step and of those after it: not to be named, but worth another message.
    pub(super) later: &'a [String],
}

impl Names<'_> {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope { catalog: self.catalog, events: self.events, inputs: self.inputs, steps: self.steps, item: self.item }
    }

    /// Compiles a bare expression.
    pub(super) fn expr(&self, report: &mut Report, node: &Node, what: &str) -> Option<Expr> {
        let text = fields::expression(report, node, what)?;
        if text.trim().is_empty() {
            report
                .error(node.at.clone(), Code::Expression, format!("{what} is empty"))
                .hint("write an expression, such as `order.total > money(\"50 EUR\")`");
            return None;
        }
        if text.trim_start().starts_with("{{") {
            report
                .error(node.at.clone(), Code::Expression, format!("{what} is an expression already"))
                .hint("leave the braces out; `{{ }}` stands only within texts");
            return None;
        }
        self.kept(report, node, text, Expr::compile(text, &self.scope()))
    }

    /// Compiles a text that holds `{{ }}`.
    pub(super) fn template(&self, report: &mut Report, node: &Node, text: &str) -> Option<Template> {
        self.kept(report, node, text, Template::compile(text, &self.scope()))
    }

    fn kept<T>(&self, report: &mut Report, node: &Node, text: &str, compiled: Result<T, Vec<Mistake>>) -> Option<T> {
        let mistakes = match compiled {
            Ok(it) => return Some(it),
            Err(mistakes) => mistakes,
        };
        let file = report.text();
        for Mistake { offset, len, message, hint } in mistakes.into_iter().take(Report::MOST) {
            let at = node.place(&file, offset, len);
            let named = text.get(offset..offset.saturating_add(len)).unwrap_or_default();
            let named = named.strip_prefix("steps.").unwrap_or(named);
            if self.later.iter().any(|later| later == named) {
                report
                    .error(at, Code::LaterStep, format!("step `{named}` has not run yet when this is needed"))
                    .hint("a step can use only the answers of steps before it; move it down, or that one up");
            } else {
                report.error(at, Code::Expression, message).maybe(hint);
            }
        }
        None
    }
}
