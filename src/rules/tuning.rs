//! Tuning a rule to a shop, and keeping a version so that it can be run again.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::file::read_kept;
use super::rule::{Input, InputKind, Rule};
use crate::domain::{Catalog, Inputs, Money, Value, parse_duration};

/// Values that a shop sets in place of what a rule's file says, by input.
pub type Tuning = BTreeMap<String, Json>;

/// A version as the store keeps it: enough to run it again, whatever becomes of the file.
#[derive(Serialize, Deserialize)]
struct Bundle {
    text: String,
    #[serde(default)]
    tuning: Tuning,
}

impl Rule {
    /// The rule with the shop's own values for some of its inputs. Tuned otherwise, it is another version.
    ///
    /// # Errors
    /// Every value that does not fit, with what would.
    pub fn tuned(mut self, tuning: &Tuning) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        for (name, json) in tuning {
            let Some(input) = self.inputs.iter_mut().find(|input| input.name == *name) else {
                mistakes.push(format!("rule `{}` has no input `{name}`", self.id));
                continue;
            };
            match value_of(input.kind, json) {
                Ok(value) => input.value = value,
                Err(wanted) => mistakes.push(format!("input `{name}` of rule `{}` is {json}; {wanted}", self.id)),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        self.values = values(&self.inputs);
        self.tuning.clone_from(tuning);
        if !tuning.is_empty() {
            let mut hash = Sha256::new();
            hash.update(&self.text);
            hash.update(serde_json::to_string(tuning).unwrap_or_default());
            self.version = hex::encode(&hash.finalize()[..8]);
        }
        Ok(self)
    }

    /// The inputs' values in force, as expressions see them.
    pub fn values(&self) -> Arc<Inputs> {
        self.values.clone()
    }

    /// The version as text, to be kept; [`from_bundle`] reads it back.
    pub fn bundle(&self) -> String {
        let bundle = Bundle { text: self.text.clone(), tuning: self.tuning.clone() };
        // Texts by text keys: this cannot fail.
        serde_json::to_string(&bundle).unwrap_or_default()
    }
}

/// The values of inputs, as expressions see them.
pub(super) fn values(inputs: &[Input]) -> Arc<Inputs> {
    Arc::new(inputs.iter().map(|input| (input.name.clone(), input.value.clone())).collect())
}

/// Reads a version back as [`Rule::bundle`] wrote it.
///
/// # Errors
/// Why this release cannot run it.
pub fn from_bundle(bundle: &str, catalog: &Catalog) -> Result<Rule, String> {
    let Bundle { text, tuning } = serde_json::from_str(bundle)
        .map_err(|error| format!("its version is kept in a form of another release: {error}"))?;
    let rule = read_kept(&text, catalog)
        .map_err(|findings| format!("this release does not understand its version: {findings}"))?;
    rule.tuned(&tuning).map_err(|mistakes| mistakes.join("; "))
}

fn value_of(kind: InputKind, json: &Json) -> Result<Value, String> {
    let wanted = |what: &str| format!("{what} belongs here");
    match kind {
        InputKind::Text => json.as_str().map(|text| Value::Text(text.into())).ok_or_else(|| wanted("a text")),
        InputKind::Integer => json.as_i64().map(Value::Int).ok_or_else(|| wanted("a whole number")),
        InputKind::Number => {
            let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
            Decimal::from_str_exact(&text).map(Value::Decimal).map_err(|_| wanted("a number"))
        }
        InputKind::Money => {
            let text = json.as_str().ok_or_else(|| wanted("an amount such as \"50 EUR\""))?;
            text.parse::<Money>().map(Value::Money).map_err(|error| error.to_string())
        }
        InputKind::Duration => {
            let text = json.as_str().ok_or_else(|| wanted("a length of time such as \"24h\""))?;
            parse_duration(text).map(|_| Value::Text(text.into()))
        }
        InputKind::Boolean => json.as_bool().map(Value::Bool).ok_or_else(|| wanted("true or false")),
        InputKind::List => {
            let items = json.as_array().ok_or_else(|| wanted("a list of texts"))?;
            let texts: Option<Vec<Value>> =
                items.iter().map(|it| it.as_str().map(|it| Value::Text(it.into()))).collect();
            texts.map(Value::List).ok_or_else(|| wanted("a list of texts"))
        }
    }
}
