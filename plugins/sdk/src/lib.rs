//! Plugins for Storehand, in Rust. A plugin that adds capabilities implements `Capabilities` and says
//! `storehand_plugin::capabilities!(ItsName);`; one that adds a source implements `Source` and says
//! `storehand_plugin::source!(ItsName);`. `plugins/README.md` goes through one from beginning to end.
//!
//! A capability is run from its start each time there is a new answer, and gets the same answers to the same questions as
//! before. So it must ask the same things in the same order for the same input, and keep nothing in variables that it
//! wants to know later: `memory.*` is for that.
//!
//! `ask` takes any capability by name; `typed` has a function and types for each of Storehand's own.

#[cfg(all(feature = "capability", feature = "source"))]
compile_error!("a plugin adds capabilities or a source: choose one of the features `capability` and `source`");

pub use serde_json::{Value, json};

#[cfg(feature = "capability")]
mod capability;
#[cfg(feature = "source")]
mod delivery;
#[cfg(feature = "capability")]
pub mod typed;

#[cfg(feature = "capability")]
pub use capability::*;
#[cfg(feature = "source")]
pub use delivery::*;
