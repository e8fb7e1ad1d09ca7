//! An instance that is used again and again, for `storehand bench plugins` alone: it shows what a fresh one costs.
//!
//! *Architecture Invariant*: no run is given one. What a component keeps in its memory would be there in another run, or in
//! another shop's, and a replay would not come to the same. So it has no door, and nothing that the engine holds
//! (`Plugins`, a program) leads here.

use serde_json::Value as Json;
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use super::border;
use super::broken::Broken;
use super::host::Host;
use super::passes;
use super::provided::{Plugin, event};
use super::state::State;
use super::{PluginError, World};
use crate::domain::Facts;

type Answered = Result<String, border::Error>;

/// An instance that is kept.
pub struct Reused<'p> {
    host: &'p Host,
    plugin: &'p Plugin,
    store: Store<State>,
    function: TypedFunc<(String, String, border::Event), (Answered,)>,
}

impl<'p> Reused<'p> {
    /// Starts one.
    ///
    /// # Errors
    /// [`PluginError::Refused`] where it breaks off at its start, or adds no capabilities.
    pub fn start(host: &'p Host, plugin: &'p Plugin) -> Result<Self, PluginError> {
        if plugin.loaded.world != World::Capability {
            return Err(PluginError::Refused("it adds no capabilities".to_owned()));
        }
        let state = State::new(plugin.manifest.limits, [0; 32], 0, None);
        let _running = host.running();
        let begun = passes::store(host, state).and_then(|mut store| {
            let function = passes::begin(&mut store, &plugin.loaded)?;
            Ok((store, function))
        });
        let (store, function) = begun.map_err(|error| PluginError::Refused(format!("{error:#}")))?;
        Ok(Self { host, plugin, store, function })
    }

    /// Asks it, as a pass asks a fresh one. After an error it must be dropped.
    ///
    /// # Errors
    /// [`PluginError::Refused`]: it broke off, or did not answer as its manifest says.
    pub fn answer(&mut self, name: &str, input: &Json, facts: &Facts) -> Result<Json, PluginError> {
        let Self { host, plugin, store, function } = self;
        passes::bound(store);
        let _running = host.running();
        let (answered,) = function
            .call(&mut *store, (name.to_owned(), input.to_string(), event(facts, false)))
            .map_err(|error| PluginError::Refused(format!("{:?}", Broken::of(&error, store.data()))))?;
        let text = answered.map_err(|error| PluginError::Refused(format!("{error:?}")))?;
        plugin.answer(name, &text).map_err(PluginError::Refused)
    }
}
