//! `plugins/sdk/src/typed.rs` is made and not written: of each capability's declaration a type for its input and one for
//! its answer. `UPDATE_PAGES=1` writes it anew.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use storehand::app;
use storehand::domain::{Kind, Spec};

use crate::pages::is_current;

const HEAD: &str = "\
//! Every capability of Storehand with a type for its input and one for its answer: `typed::order::tag(&Tag::new([\"vip\"]))`.
//! It can do no more than [`ask`](crate::ask), which takes any JSON and reaches the capabilities of other plugins too.
//!
//! Made from the capabilities' declarations, as `REFERENCE.md` is; a test keeps it current. Money and decimals are texts
//! or numbers (`\"120.00 EUR\"`, `3`), lengths of time are texts (`14d`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Failure, Question};
";

#[test]
fn the_sdks_types_are_current() {
    let registry = app::unconnected().expect("a registry");
    // A log line is no question: the door has a function of its own for it.
    let specs =
        registry.catalog().capabilities.values().filter(|spec| spec.kind != Kind::Instant && !spec.is_plugins());
    let (mut page, mut family) = (HEAD.to_owned(), None);
    for spec in specs {
        let (its, verb) = spec.name.split_once('.').map_or((None, spec.name), |(family, verb)| (Some(family), verb));
        if its != family {
            page += if family.is_some() { "}\n" } else { "" };
            if let Some(its) = its {
                let _ = write!(page, "\n/// `{its}.*`\npub mod {its} {{\n    use super::*;\n");
            }
            family = its;
        }
        let made = capability(spec, verb);
        for line in made.lines() {
            let indent = if family.is_some() && !line.is_empty() { "    " } else { "" };
            let _ = writeln!(page, "{indent}{line}");
        }
    }
    page += if family.is_some() { "}\n" } else { "" };
    is_current("plugins/sdk/src/typed.rs", &page);
}

/// The function, the two types, and what they are made of.
fn capability(spec: &Spec, verb: &str) -> String {
    let Spec { name, doc, input, output, .. } = spec;
    let question = camel(verb);
    let answer = format!("{question}Answer");
    let mut made = String::new();
    said(&mut made, "", &format!("{doc}\n\nThe manifest wants `{name}`.\n\n# Errors\nWhy it was not done."));
    let _ = write!(
        made,
        "pub fn {}(question: &{question}) -> Result<{answer}, Failure> {{\n    question.ask()\n}}\n",
        raw(verb)
    );
    Types { made: &mut made, way: Way::Asked }.record(&question, &format!("What `{name}` is asked."), input);
    let _ = write!(
        made,
        "\nimpl Question for {question} {{\n    const CAPABILITY: &'static str = \"{name}\";\n    type Answer = {answer};\n}}\n"
    );
    Types { made: &mut made, way: Way::Answered }.record(&answer, &format!("What `{name}` answers."), output);
    format!("\n{made}")
}

/// Which way a value goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Asked,
    Answered,
}

struct Types<'p> {
    made: &'p mut String,
    way: Way,
}

impl Types<'_> {
    /// A struct of an object's schema, and before it what its fields are made of.
    fn record(&mut self, name: &str, doc: &str, schema: &Json) {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let is_required = |field: &str| schema["required"].as_array().is_some_and(|it| it.iter().any(|it| it == field));
        let (mut fields, mut parameters, mut values) = (String::new(), Vec::new(), Vec::new());
        for (field, schema) in properties {
            let (kind, may_be_null) = self.kind(name, field, schema);
            let is_optional = may_be_null || !is_required(field);
            said(&mut fields, "    ", schema["description"].as_str().unwrap_or(""));
            if is_optional && self.way == Way::Asked {
                fields += "    #[serde(skip_serializing_if = \"Option::is_none\")]\n";
            }
            let field = raw(field);
            let whole = if is_optional { format!("Option<{kind}>") } else { kind.clone() };
            let _ = writeln!(fields, "    pub {field}: {whole},");
            if is_optional {
                values.push(format!("{field}: None"));
                continue;
            }
            let (given, value) = match kind.as_str() {
                "String" | "Value" => (format!("impl Into<{kind}>"), format!("{field}: {field}.into()")),
                "Vec<String>" => (
                    "impl IntoIterator<Item = impl Into<String>>".to_owned(),
                    format!("{field}: {field}.into_iter().map(Into::into).collect()"),
                ),
                _ => (kind, field.clone()),
            };
            parameters.push(format!("{field}: {given}"));
            values.push(value);
        }
        let is_asked = self.way == Way::Asked;
        let derived = match (is_asked, parameters.is_empty()) {
            (true, true) => "Clone, Debug, Default, PartialEq, Serialize",
            (true, false) => "Clone, Debug, PartialEq, Serialize",
            (false, _) => "Clone, Debug, PartialEq, Deserialize",
        };
        self.made.push('\n');
        said(self.made, "", doc);
        let body = if fields.is_empty() { "{}".to_owned() } else { format!("{{\n{fields}}}") };
        let _ = write!(self.made, "#[derive({derived})]\npub struct {name} {body}\n");
        if is_asked && !parameters.is_empty() {
            let (parameters, values) = (parameters.join(", "), values.join(", "));
            let _ = write!(
                self.made,
                "\nimpl {name} {{\n    /// With what must be given; the rest is left out.\n    pub fn new({parameters}) -> Self {{\n        Self {{ {values} }}\n    }}\n}}\n"
            );
        }
    }

    /// The type of a field, and whether it may be `null`.
    fn kind(&mut self, owner: &str, field: &str, schema: &Json) -> (String, bool) {
        let name = format!("{owner}{}", camel(field));
        if let Some(words) = schema["enum"].as_array() {
            self.words(&name, schema, words);
            return (name, false);
        }
        let kind = match &schema["type"] {
            Json::String(kind) => kind.as_str(),
            Json::Array(kinds) => match kinds.iter().filter_map(Json::as_str).collect::<Vec<_>>()[..] {
                [kind, "null"] => return (self.kind(owner, field, &of_type(schema, kind)).0, true),
                // A number, or a text where it has a point.
                _ => "",
            },
            _ => "",
        };
        let kind = match kind {
            "string" => "String".to_owned(),
            "integer" => "i64".to_owned(),
            "number" => "f64".to_owned(),
            "boolean" => "bool".to_owned(),
            "array" => {
                let one = field.strip_suffix('s').unwrap_or(field);
                format!("Vec<{}>", self.kind(owner, one, &schema["items"]).0)
            }
            "object" if schema["properties"].is_object() => {
                let doc = schema["description"].as_str().unwrap_or_default();
                let doc = if doc.is_empty() { format!("One of the `{owner}`'s.") } else { doc.to_owned() };
                self.record(&name, &doc, schema);
                name
            }
            "object" if schema["additionalProperties"]["type"] == "string" => "BTreeMap<String, String>".to_owned(),
            _ => "Value".to_owned(),
        };
        (kind, false)
    }

    fn words(&mut self, name: &str, schema: &Json, words: &[Json]) {
        let (derived, own) = match self.way {
            Way::Asked => ("Serialize", ""),
            // What a newer Storehand says is no reason to break off.
            Way::Answered => {
                ("Deserialize", "    /// A word that this SDK does not know.\n    #[serde(other)]\n    Other,\n")
            }
        };
        self.made.push('\n');
        said(self.made, "", schema["description"].as_str().unwrap_or_default());
        let _ = write!(self.made, "#[derive(Clone, Copy, Debug, PartialEq, Eq, {derived})]\npub enum {name} {{\n");
        for word in words.iter().filter_map(Json::as_str) {
            let _ = write!(self.made, "    /// `{word}`\n    #[serde(rename = \"{word}\")]\n    {},\n", camel(word));
        }
        let _ = writeln!(self.made, "{own}}}");
    }
}

fn of_type(schema: &Json, kind: &str) -> Json {
    let mut schema = schema.clone();
    schema["type"] = kind.into();
    schema
}

/// `wait_for`, `order.*` and `GET` as types are named.
fn camel(name: &str) -> String {
    let words = name.split(['.', '_', '-', ' ']).map(|word| if word == "*" { "any" } else { word });
    let upper = |word: &str| format!("{}{}", word[..1].to_uppercase(), word[1..].to_lowercase());
    words.filter(|word| !word.is_empty()).map(upper).collect()
}

/// A name that may be a word of the language.
fn raw(name: &str) -> String {
    if ["for", "type", "move", "use", "in", "ref", "match"].contains(&name) {
        format!("r#{name}")
    } else {
        name.to_owned()
    }
}

/// Doc comments, in lines of a reader's width.
fn said(page: &mut String, indent: &str, text: &str) {
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + word.chars().count() > 105 {
                let _ = writeln!(page, "{indent}/// {line}");
                line.clear();
            }
            line += if line.is_empty() { "" } else { " " };
            line += word;
        }
        let _ = writeln!(page, "{indent}{}", format!("/// {line}").trim_end());
    }
}
