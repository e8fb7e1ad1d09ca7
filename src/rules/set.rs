//! A shop's rules as the engine asks for them: by id, and by the event type that they listen to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rule::{Rule, Status};
use crate::domain::{Catalog, Mode};

/// A rule in all the versions that are in force.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What its file says, live or not; `None` where the file is gone.
    pub file: Option<Arc<Rule>>,
    /// The version that starts runs.
    pub live: Option<Arc<Rule>>,
    /// The version that runs in the shadow of the live one.
    pub shadow: Option<Arc<Rule>>,
}

impl Standing {
    /// What the file alone says.
    pub fn of_file(rule: Arc<Rule>) -> Self {
        let in_role = |status| (rule.status == status).then(|| Arc::clone(&rule));
        Self { live: in_role(Status::Live), shadow: in_role(Status::Shadow), file: Some(rule) }
    }
}

/// A shop's rules.
#[derive(Debug, Default)]
pub struct RuleSet {
    by_id: BTreeMap<String, Standing>,
    /// Those that start runs, in the order of their ids, each live version before its shadow.
    by_type: HashMap<&'static str, Vec<(Arc<Rule>, Mode)>>,
}

impl RuleSet {
    /// These rules, as their files say. `order.*` listens to every such type of the catalog.
    pub fn new(rules: impl IntoIterator<Item = Arc<Rule>>, catalog: &Catalog) -> Self {
        Self::standing(rules.into_iter().map(|rule| (rule.id.clone(), Standing::of_file(rule))).collect(), catalog)
    }

    /// These rules, in these versions.
    pub fn standing(by_id: BTreeMap<String, Standing>, catalog: &Catalog) -> Self {
        let mut by_type: HashMap<&'static str, Vec<(Arc<Rule>, Mode)>> = HashMap::new();
        for standing in by_id.values() {
            let roles = [(&standing.live, Mode::Live), (&standing.shadow, Mode::Shadow)];
            for (rule, mode) in roles.into_iter().filter_map(|(rule, mode)| Some((rule.as_ref()?, mode))) {
                for event in catalog.events() {
                    if rule.triggers.iter().any(|trigger| trigger.hears(event.name)) {
                        by_type.entry(event.name).or_default().push((Arc::clone(rule), mode));
                    }
                }
            }
        }
        Self { by_id, by_type }
    }

    /// How the rule of this id stands.
    pub fn get(&self, id: &str) -> Option<&Standing> {
        self.by_id.get(id)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &Standing)> {
        self.by_id.iter()
    }

    /// Every version that starts runs, with its mode.
    pub fn in_force(&self) -> impl Iterator<Item = (&Arc<Rule>, Mode)> {
        self.by_id.values().flat_map(|standing| {
            let live = standing.live.iter().map(|rule| (rule, Mode::Live));
            live.chain(standing.shadow.iter().map(|rule| (rule, Mode::Shadow)))
        })
    }

    /// The versions that listen to events of this type and subject.
    pub fn listening(&self, kind: &str, subject: &str) -> impl Iterator<Item = (&Arc<Rule>, Mode)> {
        let of_type = self.by_type.get(kind).map_or(&[][..], Vec::as_slice);
        of_type.iter().filter(move |(rule, _)| rule.hears(kind, subject)).map(|(rule, mode)| (rule, *mode))
    }
}
