//! Templates: texts with expressions between `{{ }}`.

use serde_json::Value as Json;

use super::bounds::MAX_TEXT;
use super::eval::Evaluator;
use super::expr::{Expr, Mistake, Scope};
use super::value::{RecordRef, show, to_json};
use crate::domain::Failure;

/// A checked text with expressions in it.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Value(Expr),
}

impl Template {
    /// Whether a text holds an expression, and so is a template.
    pub fn is_template(text: &str) -> bool {
        text.contains("{{")
    }

    /// Reads and checks a template.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn compile(text: &str, scope: &Scope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut parts = Vec::new();
        let mut mistakes = Vec::new();
        let mut rest = 0;
        while let Some(open) = text[rest..].find("{{").map(|at| rest + at) {
            if open > rest {
                parts.push(Part::Text(text[rest..open].to_owned()));
            }
            let start = open + 2;
            let Some(end) = closing(&text[start..]).map(|at| start + at) else {
                mistakes.push(Mistake {
                    offset: open,
                    len: 2,
                    message: "`{{` is not closed".to_owned(),
                    hint: Some("write `}}` after the expression, and close the quotes within it".to_owned()),
                });
                rest = text.len();
                break;
            };
            match Expr::compile(&text[start..end], scope) {
                Ok(expr) => parts.push(Part::Value(expr)),
                Err(found) => mistakes
                    .extend(found.into_iter().map(|mistake| Mistake { offset: mistake.offset + start, ..mistake })),
            }
            rest = end + 2;
        }
        if rest < text.len() {
            parts.push(Part::Text(text[rest..].to_owned()));
        }
        if mistakes.is_empty() { Ok(Self { text: text.to_owned(), parts }) } else { Err(mistakes) }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value: of its own type where the template is exactly one expression, else text.
    ///
    /// # Errors
    /// `missing_value` where an expression gives nothing: what is missing is said, never left out in silence.
    /// `expression_error` where the text grows too long.
    pub(crate) fn render(&self, evaluator: &Evaluator<'_>) -> Result<Json, Failure> {
        if let [Part::Value(expr)] = &*self.parts {
            let value = evaluator.known(expr)?;
            return to_json(&value).map_err(|error| unusable(expr, &error));
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(it) => text.push_str(it),
                Part::Value(expr) => {
                    let value = evaluator.known(expr)?;
                    if value.is::<RecordRef>() || value.is_map() {
                        return Err(unusable(expr, "a record is no text; name one of its fields"));
                    }
                    text.push_str(&show(&value));
                }
            }
            if text.len() > MAX_TEXT {
                let message = format!("the text grows longer than {} KB", MAX_TEXT / 1024);
                return Err(Failure::new("expression_error", message));
            }
        }
        Ok(text.into())
    }
}

fn unusable(expr: &Expr, why: &str) -> Failure {
    Failure::new("expression_error", format!("`{}`: {why}", expr.text().trim()))
}

/// Where the `}}` stands that ends an expression: not one within quotes, nor one that closes a map.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if chars.peek().is_some_and(|(_, next)| *next == '}') => return Some(at),
            (None, _) => {}
        }
    }
    None
}
