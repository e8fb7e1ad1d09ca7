//! The capabilities that runs may use, with their schemas made ready.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::domain::{Call, Capability, Catalog, Failure, Program, Spec, Validator};

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

    /// The program that answers a call, where one does.
    pub(crate) fn program(&self, call: &Call) -> Option<Result<Arc<dyn Program>, Failure>> {
        self.get(&call.capability)?.program(call.options.version.as_deref())
    }

    /// Whether a run of a rule that allows `allow` may make this call.
    ///
    /// # Errors
    /// The answer that it gets instead: `unknown_capability`, `denied` or `invalid_input`.
    pub(crate) fn permit(&self, name: &str, input: &Json, allow: &[String]) -> Result<&Spec, Failure> {
        self.allowed(name, allow)?;
        self.fits(name, input)
    }

    /// Whether a rule that allows `allow` may use this capability at all.
    ///
    /// # Errors
    /// `unknown_capability` or `denied`.
    pub(crate) fn allowed(&self, name: &str, allow: &[String]) -> Result<(), Failure> {
        if self.known(name)?.must_be_allowed() && !allow.iter().any(|allowed| allowed == name) {
            let message = format!("the rule's `allow` does not list `{name}`");
            return Err(Failure::new("denied", message));
        }
        Ok(())
    }

    /// The capability's declaration.
    ///
    /// # Errors
    /// `unknown_capability`.
    pub(crate) fn known(&self, name: &str) -> Result<&Spec, Failure> {
        self.by_name
            .get(name)
            .map(|registered| registered.capability.spec())
            .ok_or_else(|| Failure::new("unknown_capability", format!("there is no capability `{name}`")))
    }

    /// Whether a capability can be asked this.
    ///
    /// # Errors
    /// `unknown_capability` or `invalid_input`.
    pub(crate) fn fits(&self, name: &str, input: &Json) -> Result<&Spec, Failure> {
        let spec = self.known(name)?;
        let schema = self.by_name.get(name).map(|registered| &registered.input);
        schema
            .map_or(Ok(()), |schema| schema.check(input))
            .map_err(|mistakes| Failure::new("invalid_input", format!("`{name}` cannot be asked that: {mistakes}")))?;
        Ok(spec)
    }
}
