//! A step's `with`: built with its templates, and held against the schema of its capability.

use std::collections::BTreeMap;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value as Json;

use super::expr::Template;
use super::fields;
use super::finding::{Code, Report, shown};
use super::mistakes::Names;
use super::near::{nearest, write_ascii, write_nearest};
use super::rule::With;
use super::yaml::{Data, Node};
use crate::domain::parse_duration;

/// Builds a value whose texts may hold templates.
pub(super) fn build(report: &mut Report, node: &Node, names: Names<'_>) -> With {
    match &node.data {
        Data::Scalar { .. } => match node.json() {
            Json::String(text) if Template::is_template(&text) => match names.template(report, node, &text) {
                Some(template) => With::Template(template),
                // Its mistakes are reported; no rule comes of this file.
                None => With::Plain(Json::Null),
            },
            plain => With::Plain(plain),
        },
        Data::List(items) => {
            let built: Vec<With> = items.iter().map(|item| build(report, item, names)).collect();
            if built.iter().all(is_plain) { With::Plain(node.json()) } else { With::List(built) }
        }
        Data::Map(entries) => {
            let built: BTreeMap<String, With> = entries
                .iter()
                .filter_map(|(key, value)| Some((key.text()?.to_owned(), build(report, value, names))))
                .collect();
            if built.values().all(is_plain) { With::Plain(node.json()) } else { With::Map(built) }
        }
    }
}

fn is_plain(with: &With) -> bool {
    matches!(with, With::Plain(_))
}

/// How much of a schema a value must fulfil.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// What is given must fit; what must be given need not be: a test names a part.
    Part,
}

/// Holds a value against a schema, as far as it can be known while its templates are not filled in.
///
/// `node` is the value; where there is none, `around` is what lacks it.
pub(super) fn check(
    report: &mut Report,
    node: Option<&Node>,
    around: &Node,
    schema: &Json,
    what: &str,
    extent: Extent,
) {
    // A schema that is wrong itself is found where it is made: a test holds every capability's against the standard.
    let Ok(validator) = jsonschema::validator_for(schema) else { return };
    let value = node.map_or_else(|| Json::Object(serde_json::Map::new()), Node::json);
    for error in validator.iter_errors(&value).take(20) {
        let place = Place::of(&error, node, around, schema, what);
        place.report(report, &error, extent);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let (Some(at), Some(longest)) = (node.and_then(|node| node.get(name)), schema["longest"].as_str()) {
            too_long(report, at, longest, &format!("`{name}` of {what}"));
        }
        if let (Some(at), Some(models)) = (node.and_then(|node| node.get(name)), schema["models"].as_array()) {
            no_model(report, at, models, &format!("`{name}` of {what}"));
        }
    }
}

/// A length of time that is longer than may be: no keyword of JSON Schema says so.
fn too_long(report: &mut Report, at: &Node, longest: &str, name: &str) {
    let written = at.text().unwrap_or_default();
    if let (Ok(length), Ok(most)) = (parse_duration(written), parse_duration(longest))
        && length > most
    {
        report
            .error(
                at.at.clone(),
                Code::Input,
                format!("{name} is `{}`, and `{longest}` is the longest", shown(written)),
            )
            .hint(format!("write `{longest}` or less"));
    }
}

/// Where a value does not fit.
struct Place<'a> {
    /// The value that does not fit.
    at: &'a Node,
    /// `tags[0]`; empty for the whole.
    path: String,
    /// The part of the schema that it does not fit.
    schema: &'a Json,
    what: &'a str,
}

/// A model that is not configured. A warning: the call is refused when it is made and the rule goes its other way, and
/// a setting that was taken away must not take the rule out of force.
fn no_model(report: &mut Report, at: &Node, models: &[Json], name: &str) {
    let written = at.text().unwrap_or_default();
    let models: Vec<&str> = models.iter().filter_map(Json::as_str).collect();
    let wanted = written.rsplit_once('@').map_or(written, |(name, _)| name);
    if Template::is_template(written) || models.contains(&wanted) || models.contains(&written) {
        return;
    }
    let hint = nearest(wanted, models.iter().copied()).map_or_else(
        || format!("there is {}", models.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        |near| format!("write `{near}`"),
    );
    let message = format!("{name} is `{}`, and no such model is configured", shown(written));
    report.warning(at.at.clone(), Code::Input, message).hint(hint);
}

impl<'a> Place<'a> {
    fn of(
        error: &ValidationError<'_>,
        node: Option<&'a Node>,
        around: &'a Node,
        schema: &'a Json,
        what: &'a str,
    ) -> Self {
        let pointer = error.instance_path().to_string();
        let at = node.map_or(around, |node| node.at_pointer(&pointer));
        // The last step of the schema's path is the keyword; what holds it describes the value.
        let keyword = error.schema_path().to_string();
        let holder = keyword.rsplit_once('/').map_or("", |(holder, _)| holder);
        Self { at, path: path(&pointer), schema: schema.pointer(holder).unwrap_or(schema), what }
    }

    fn report(&self, report: &mut Report, error: &ValidationError<'_>, extent: Extent) {
        match error.kind() {
            Kind::Required { .. } if extent == Extent::Part => {}
            Kind::Required { property } => self.missing(report, property.as_str().unwrap_or_default()),
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                unexpected.iter().for_each(|name| self.unknown(report, name));
            }
            Kind::Type { .. } => self.wrong_type(report),
            Kind::MinItems { .. } | Kind::MaxItems { .. } => self.other(report, error),
            // What a template will be is not known.
            _ if holds_template(self.at) => {}
            Kind::Enum { options } => self.not_one_of(report, options),
            Kind::Pattern { .. } | Kind::Format { .. } => self.wrong_form(report, error),
            Kind::Minimum { limit } => self.bound(report, "at least", limit),
            Kind::Maximum { limit } => self.bound(report, "at most", limit),
            _ => self.other(report, error),
        }
    }

    /// `tags[0]` of `order.tag`.
    fn name(&self) -> String {
        if self.path.is_empty() { self.what.to_owned() } else { format!("`{}` of {}", self.path, self.what) }
    }

    fn properties(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.schema.get("properties").and_then(Json::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    fn missing(&self, report: &mut Report, name: &str) {
        if fields::has_slip_of(self.at, name) {
            return;
        }
        let doc = self.schema["properties"][name]["description"].as_str();
        let at = match self.at.data {
            Data::Scalar { .. } => self.at.at.clone(),
            _ => self.at.at.start..self.at.at.start,
        };
        report
            .error(at, Code::Input, format!("{} needs `{name}:`", self.name()))
            .maybe(doc.map(|doc| format!("`{name}`: {doc}")));
    }

    fn unknown(&self, report: &mut Report, name: &str) {
        let key = self.at.key(name).unwrap_or(self.at);
        let hint = write_nearest(name, self.properties()).unwrap_or_else(|| {
            let all: Vec<String> = self.properties().map(|name| format!("`{name}`")).collect();
            if all.is_empty() { "leave it out".to_owned() } else { format!("it takes {}", all.join(", ")) }
        });
        report.error(key.at.clone(), Code::Input, format!("{} takes no `{}`", self.name(), shown(name))).hint(hint);
    }

    fn wrong_type(&self, report: &mut Report) {
        let types: Vec<&str> = match &self.schema["type"] {
            Json::String(one) => vec![one],
            Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
            _ => return,
        };
        let written = self.at.text().unwrap_or_default();
        // A text that is one template keeps the type of its expression, which is known only when it runs.
        if is_one_template(written) {
            return;
        }
        let hint = match (types.as_slice(), self.at.json()) {
            (_, Json::Null) => self.schema["description"].as_str().map(str::to_owned),
            (["string", ..], Json::Number(_) | Json::Bool(_)) => Some(format!("write \"{}\"", shown(written))),
            (["array", ..], Json::String(_) | Json::Number(_)) => Some(format!("write [{}]", shown(written))),
            (["integer" | "number", ..], Json::String(text)) if text.parse::<f64>().is_ok() => {
                Some(format!("write {text} without quotes"))
            }
            (["boolean", ..], Json::String(_)) => Some("write true or false".to_owned()),
            _ => None,
        };
        let wanted: Vec<&str> = types.iter().map(|name| in_words(name)).collect();
        let message = format!("{} is {}, and {} belongs here", self.name(), self.at.what(), wanted.join(" or "));
        report.error(self.at.at.clone(), Code::Input, message).maybe(hint);
    }

    fn not_one_of(&self, report: &mut Report, options: &Json) {
        let written = self.at.text().unwrap_or_default();
        let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let hint = nearest(written, options.iter().copied()).map_or_else(
            || {
                format!(
                    "write one of {}",
                    options.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
                )
            },
            |word| format!("write `{word}`"),
        );
        let message = format!("{} cannot be `{}`", self.name(), shown(written));
        report.error(self.at.at.clone(), Code::Input, message).hint(hint);
    }

    fn wrong_form(&self, report: &mut Report, error: &ValidationError<'_>) {
        let written = self.at.text().unwrap_or_default();
        if self.schema["format"] == "duration" {
            let how = parse_duration(written).err();
            report
                .error(
                    self.at.at.clone(),
                    Code::Input,
                    format!("{} is not a length of time: `{}`", self.name(), shown(written)),
                )
                .maybe(write_ascii(written).or(how));
        } else {
            self.other(report, error);
        }
    }

    fn bound(&self, report: &mut Report, which: &str, limit: &Json) {
        let written = self.at.text().unwrap_or_default();
        report
            .error(self.at.at.clone(), Code::Input, format!("{} is {}", self.name(), shown(written)))
            .hint(format!("write {which} {limit}"));
    }

    fn other(&self, report: &mut Report, error: &ValidationError<'_>) {
        let message: String = error.to_string().chars().take(200).collect();
        let doc = self.schema["description"].as_str();
        report
            .error(self.at.at.clone(), Code::Input, format!("{} does not fit: {message}", self.name()))
            .maybe(doc.map(str::to_owned));
    }
}

/// `/tags/0` as `tags[0]`.
fn path(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, step| {
        if step.bytes().all(|b| b.is_ascii_digit()) {
            format!("{path}[{step}]")
        } else if path.is_empty() {
            step.to_owned()
        } else {
            format!("{path}.{step}")
        }
    })
}

fn in_words(schema_type: &str) -> &str {
    match schema_type {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a group of keys",
        "null" => "nothing",
        other => other,
    }
}

/// Whether a text is exactly one `{{ }}`, as far as its type is concerned: a text that begins and ends with
/// braces and might be two is given the benefit of the doubt.
fn is_one_template(text: &str) -> bool {
    let text = text.trim();
    Template::is_template(text) && text.starts_with("{{") && text.ends_with("}}")
}

fn holds_template(node: &Node) -> bool {
    match &node.data {
        Data::Scalar { text, .. } => Template::is_template(text),
        Data::List(items) => items.iter().any(holds_template),
        Data::Map(entries) => entries.iter().any(|(_, value)| holds_template(value)),
    }
}
