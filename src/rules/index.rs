//! Which live rules listen to an event type.

use std::collections::HashMap;
use std::sync::Arc;

use super::rule::{Rule, Status};
use crate::domain::Catalog;

/// The live rules by event type, in the order of their ids.
#[derive(Debug, Default)]
pub struct Index {
    by_type: HashMap<&'static str, Vec<Arc<Rule>>>,
}

impl Index {
    /// Those of `rules` that are live. `order.*` listens to every such type of the catalog.
    pub fn new(rules: &[Arc<Rule>], catalog: &Catalog) -> Self {
        let mut live: Vec<&Arc<Rule>> = rules.iter().filter(|rule| rule.status == Status::Live).collect();
        live.sort_by(|a, b| a.id.cmp(&b.id));
        let mut by_type = HashMap::new();
        for event in catalog.events() {
            let hears = |rule: &&&Arc<Rule>| rule.triggers.iter().any(|trigger| trigger.hears(event.name));
            let rules: Vec<Arc<Rule>> = live.iter().filter(hears).map(|rule| Arc::clone(rule)).collect();
            if !rules.is_empty() {
                by_type.insert(event.name, rules);
            }
        }
        Self { by_type }
    }

    /// The live rules that listen to events of this type.
    pub fn listening(&self, kind: &str) -> impl ExactSizeIterator<Item = &Arc<Rule>> {
        self.by_type.get(kind).map_or(&[][..], Vec::as_slice).iter()
    }
}
