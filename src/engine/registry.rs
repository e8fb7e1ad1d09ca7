//! The capabilities that runs may use, with their schemas made ready.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Capability, Catalog, Failure, Kind, Spec, Validator};

struct Registered {
    capability: Arc<dyn Capability>,
    input: Validator,
}

/// Every capability by name. Built once by `app`.
pub struct Registry {
    by_name: HashMap<&'static str, Registered>,
    catalog: Arc<Catalog>,
}

impl Registry {
    /// Joins capabilities into a registry.
    ///
    /// # Errors
    /// A name given twice, or a declaration whose schema is none.
    pub fn new(capabilities: Vec<Arc<dyn Capability>>) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        let mut catalog = Catalog::default();
        for capability in capabilities {
            let spec = capability.spec().clone();
            let input = Validator::new(&spec.input).map_err(|error| format!("{}: {error}", spec.name))?;
            if by_name.insert(spec.name, Registered { capability, input }).is_some() {
                return Err(format!("two capabilities are called `{}`", spec.name));
            }
            catalog.capabilities.insert(spec.name.to_owned(), spec);
        }
        Ok(Self { by_name, catalog: Arc::new(catalog) })
    }

    /// What there is, as plain data.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The capability of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Capability>> {
        self.by_name.get(name).map(|registered| &registered.capability)
    }

    /// Whether a run of a rule that allows `allow` may make this call.
    ///
    /// # Errors
    /// The answer that it gets instead: `unknown_capability`, `denied` or `invalid_input`.
    pub(crate) fn permit(&self, name: &str, input: &serde_json::Value, allow: &[String]) -> Result<&Spec, Failure> {
        let Some(registered) = self.by_name.get(name) else {
            return Err(Failure::new("unknown_capability", format!("there is no capability `{name}`")));
        };
        let spec = registered.capability.spec();
        if spec.kind == Kind::Write && !allow.iter().any(|allowed| allowed == name) {
            let message = format!("the rule's `allow` does not list `{name}`");
            return Err(Failure::new("denied", message));
        }
        registered
            .input
            .check(input)
            .map_err(|mistakes| Failure::new("invalid_input", format!("`{name}` cannot be asked that: {mistakes}")))?;
        Ok(spec)
    }
}
