//! A shop's rules as the engine asks for them: by id, and by the event type that they listen to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rule::{Rule, Status};
use crate::domain::Catalog;

/// A shop's rules.
#[derive(Debug, Default)]
pub struct RuleSet {
    by_id: BTreeMap<String, Arc<Rule>>,
    /// The live ones, in the order of their ids.
    by_type: HashMap<&'static str, Vec<Arc<Rule>>>,
}

impl RuleSet {
    /// These rules. `order.*` listens to every such type of the catalog.
    pub fn new(rules: impl IntoIterator<Item = Arc<Rule>>, catalog: &Catalog) -> Self {
        let by_id: BTreeMap<String, Arc<Rule>> = rules.into_iter().map(|rule| (rule.id.clone(), rule)).collect();
        let mut by_type: HashMap<&'static str, Vec<Arc<Rule>>> = HashMap::new();
        for rule in by_id.values().filter(|rule| rule.status == Status::Live) {
            for event in catalog.events() {
                if rule.triggers.iter().any(|trigger| trigger.hears(event.name)) {
                    by_type.entry(event.name).or_default().push(Arc::clone(rule));
                }
            }
        }
        Self { by_id, by_type }
    }

    /// The rule of this id, live or not.
    pub fn get(&self, id: &str) -> Option<&Arc<Rule>> {
        self.by_id.get(id)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Rule>> {
        self.by_id.values()
    }

    /// Those that start runs.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.iter().filter(|rule| rule.status == Status::Live)
    }

    /// The live rules that listen to events of this type and subject.
    pub fn listening(&self, kind: &str, subject: &str) -> impl Iterator<Item = &Arc<Rule>> {
        let of_type = self.by_type.get(kind).map_or(&[][..], Vec::as_slice);
        of_type.iter().filter(move |rule| rule.hears(kind, subject))
    }
}
