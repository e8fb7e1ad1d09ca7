//! The layers of a configuration as one tree: each value knows where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Mistake;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file, and the line in it (1 is the first).
    File(Arc<Path>, usize),
    /// A variable.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) origin: Origin,
}

/// A value. Numbers with a point and dates are kept as they were written.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Text(String),
    Int(i64),
    Bool(bool),
    Other(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    pub(super) fn table(origin: Origin) -> Self {
        Self { data: Data::Table(BTreeMap::new()), origin }
    }

    /// Puts `over` on top: tables are joined, anything else is replaced.
    pub(super) fn overlay(&mut self, over: Self) {
        match (&mut self.data, over) {
            (Data::Table(mine), Self { data: Data::Table(theirs), origin }) => {
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(old) => old.overlay(node),
                        None => drop(mine.insert(key, node)),
                    }
                }
                self.origin = origin;
            }
            (_, over) => *self = over,
        }
    }

    /// As it would be written, for people.
    pub(super) fn shown(&self) -> String {
        match &self.data {
            Data::Text(text) => format!("{text:?}"),
            Data::Int(number) => number.to_string(),
            Data::Bool(flag) => flag.to_string(),
            Data::Other(text) => text.clone(),
            Data::List(items) => format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", ")),
            Data::Table(_) => "a table".to_owned(),
        }
    }
}

/// Reads TOML; `place` gives the origin of a line.
///
/// # Errors
/// Every mistake of syntax, with its line.
pub(super) fn parse(text: &str, place: impl Fn(usize) -> Origin) -> Result<Node, Vec<Mistake>> {
    let line = |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(from_table(table.get_ref(), place(1), &|offset| place(line(offset))));
    }
    Err(errors
        .iter()
        .map(|error| Mistake {
            origin: place(error.span().map_or(1, |span| line(span.start))),
            key: String::new(),
            message: error.message().to_owned(),
            hint: None,
        })
        .collect())
}

fn from_table(table: &DeTable<'_>, origin: Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    let entries = table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), from_value(value.get_ref(), place(key.span().start), place)));
    Node { data: Data::Table(entries.collect()), origin }
}

fn from_value(value: &DeValue<'_>, origin: Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    let data = match value {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Data::Other(number.as_str().to_owned()), Data::Int),
        DeValue::Float(number) => Data::Other(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Data::Bool(*flag),
        DeValue::Datetime(time) => Data::Other(time.to_string()),
        DeValue::Array(items) => {
            Data::List(items.iter().map(|item| from_value(item.get_ref(), place(item.span().start), place)).collect())
        }
        DeValue::Table(table) => return from_table(table, origin, place),
    };
    Node { data, origin }
}

/// Variables that begin with `STOREHAND_` and are read elsewhere: by the command line and by `models`.
const NOT_SETTINGS: &[&str] =
    &["STOREHAND_CONFIG", "STOREHAND_MODEL_FOLDER", "STOREHAND_MODEL_LIBRARY", "STOREHAND_TOKEN", "STOREHAND_URL"];

/// The settings among the variables. Those of tests (`STOREHAND_TEST_…`) are left alone; any other name without
/// `__` is a slip that would otherwise go unnoticed.
pub(super) fn from_variables(variables: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Node {
    let mut root = Node::table(Origin::Default);
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix("STOREHAND_") else { continue };
        if NOT_SETTINGS.contains(&name.as_str()) || rest.starts_with("TEST_") {
            continue;
        }
        let origin = Origin::Env(name.clone());
        if !rest.contains("__") {
            let hint = "settings have two underscores between their parts, such as STOREHAND_SERVER__LISTEN";
            mistakes.push(Mistake {
                origin,
                key: String::new(),
                message: "this variable is not a setting".to_owned(),
                hint: Some(hint.to_owned()),
            });
            continue;
        }
        let leaf = Node { data: Data::Text(value.clone()), origin: origin.clone() };
        let path = rest.to_ascii_lowercase();
        root.overlay(path.rsplit("__").fold(leaf, |node, key| Node {
            data: Data::Table(BTreeMap::from([(key.to_owned(), node)])),
            origin: origin.clone(),
        }));
    }
    root
}

/// Whether secrets are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolve {
    /// Each must be there.
    Secrets,
    /// They stay empty.
    NoSecrets,
}

/// What values are read against: the folder of the file, and the variables that secrets may name.
pub(super) struct Surroundings<'a> {
    pub(super) folder: PathBuf,
    pub(super) resolve: Resolve,
    pub(super) variables: &'a BTreeMap<String, String>,
}

impl Surroundings<'_> {
    /// A path as the value's place means it.
    pub(super) fn path(&self, text: &str, origin: &Origin) -> PathBuf {
        match origin {
            Origin::Env(_) => PathBuf::from(text),
            _ => self.folder.join(text),
        }
    }
}
