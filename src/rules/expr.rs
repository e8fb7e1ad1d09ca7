//! Expressions: what stands in `conditions`, `if`, `for_each` and `key`, and between `{{ }}`.

use std::fmt;

use rhai::{AST, ParseErrorType};

use super::language;
use super::names::{self, Ty};
use super::near::ascii;
use super::rule::Input;
use super::simple::Simple;
pub use super::template::Template;
use crate::domain::{Catalog, EventType};

/// What an expression may name.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// What there is.
    pub catalog: &'a Catalog,
    /// The event types that the rule listens to.
    pub events: &'a [&'a EventType],
    /// The rule's inputs.
    pub inputs: &'a [Input],
    /// The earlier steps that have an id.
    pub steps: &'a [EarlierStep],
    /// What `item` is, within a step that has `for_each`.
    pub(crate) item: Option<&'a Ty>,
}

/// A step whose answer may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierStep {
    /// Its name, after `steps.`.
    pub id: String,
    /// Whether it has `for_each`, so that its answer is the list of its items' answers.
    pub is_list: bool,
}

/// A mistake in an expression, a template or a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it begins, in bytes of the given text.
    pub offset: usize,
    /// How long it is, in bytes; at least 1.
    pub len: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 4096;

/// A checked expression.
#[derive(Clone)]
pub struct Expr {
    text: String,
    pub(crate) ast: AST,
    /// The same without the language, where its shape is plain.
    pub(crate) simple: Option<Simple>,
    /// The facts that it names, for the why-not.
    pub(crate) paths: Vec<Vec<String>>,
    /// What it gives, as far as that is known.
    pub(crate) gives: Ty,
}

impl Expr {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// Every mistake that can be found at once: the first one of grammar, else all of the names.
    pub fn compile(text: &str, scope: &Scope<'_>) -> Result<Self, Vec<Mistake>> {
        if text.trim().is_empty() {
            return Err(vec![Mistake {
                offset: 0,
                len: 1,
                message: "the expression is empty".to_owned(),
                hint: Some("write a condition, such as `order.total > money(\"100 EUR\")`".to_owned()),
            }]);
        }
        if text.len() > MAX_EXPRESSION {
            return Err(vec![too_long(MAX_EXPRESSION, "put it into a script")]);
        }
        let full_width = full_width(text);
        if !full_width.is_empty() {
            return Err(full_width);
        }
        let ast = language::reader().compile_expression(text).map_err(|error| vec![in_grammar(text, &error)])?;
        let found = names::in_expression(&ast, text, scope);
        if found.mistakes.is_empty() {
            Ok(Self { text: text.to_owned(), ast, simple: Simple::read(text), paths: found.paths, gives: found.gives })
        } else {
            Err(found.mistakes)
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.text).finish()
    }
}

pub(crate) fn too_long(most: usize, instead: &str) -> Mistake {
    Mistake {
        offset: most,
        len: 1,
        message: format!("this is longer than {most} bytes"),
        hint: Some(instead.to_owned()),
    }
}

/// A mistake of grammar, in words that are not about parsers.
pub(crate) fn in_grammar(text: &str, error: &rhai::ParseError) -> Mistake {
    let offset = names::offset_of(text, error.position()).min(text.len());
    let len = text[offset..].chars().next().map_or(1, char::len_utf8);
    let (message, hint) = match error.err_type() {
        ParseErrorType::AssignmentToInvalidLHS(_) | ParseErrorType::AssignmentToConstant(_) => {
            ("this cannot be assigned to".to_owned(), Some("to compare, write `==`".to_owned()))
        }
        ParseErrorType::BadInput(bad) if bad.to_string().contains("'='") => {
            ("`=` assigns, and an expression only looks".to_owned(), Some("to compare, write `==`".to_owned()))
        }
        ParseErrorType::ExprTooDeep => {
            let hint = "give a part of it a name first: `let part = …`".to_owned();
            ("this nests too deep".to_owned(), Some(hint))
        }
        ParseErrorType::UnexpectedEOF => ("the text ends too early".to_owned(), None),
        ParseErrorType::Reserved(word) if word == "eval" => ("`eval` is not part of this language".to_owned(), None),
        ParseErrorType::BadInput(_) if text[offset..].starts_with('\'') => {
            ("a text stands between double quotes".to_owned(), Some("write `\"…\"`".to_owned()))
        }
        other => (other.to_string(), None),
    };
    let hint = hint.or_else(|| {
        let word: String = text[offset..].chars().take_while(char::is_ascii_alphabetic).collect();
        match word.as_str() {
            "and" => Some("write `&&`".to_owned()),
            "or" => Some("write `||`".to_owned()),
            _ if text[..offset].trim_end().ends_with("not") => Some("for `not`, write `!`".to_owned()),
            "let" | "const" | "if" | "for" | "while" | "loop" | "switch" | "return" | "fn" => {
                Some("an expression only looks; put this into a script".to_owned())
            }
            _ => None,
        }
    });
    Mistake { offset, len, message, hint }
}

/// The full-width signs outside of texts and comments: `（` where `(` is meant.
pub(crate) fn full_width(text: &str) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(c),
            (None, '/') if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                while chars.next_if(|(_, next)| *next != '\n').is_some() {}
            }
            (None, c) => {
                if let Some(plain) = plain_sign(c) {
                    let message = format!("`{c}` is a full-width sign");
                    let hint = Some(format!("write `{plain}`"));
                    mistakes.push(Mistake { offset, len: c.len_utf8(), message, hint });
                }
            }
        }
    }
    mistakes
}

fn plain_sign(c: char) -> Option<char> {
    match c {
        // Whatever somebody's keyboard makes of a quote: here only `"` opens a text.
        '‘' | '’' | '「' | '」' => Some('"'),
        _ => ascii(c),
    }
}
