//! Plugins: WebAssembly components that add capabilities and sources, on wasmtime.
//!
//! A plugin is a component with a manifest. It reaches the world by the one door ([`crate::domain::ProgramDoor`]) and by
//! nothing else: WASI is there and empty. It is run from its start for each pass, in a fresh instance; a call that has no
//! answer yet drops the instance. So a plugin may wait for days, and nothing of it is in memory meanwhile.
//!
//! *Architecture Invariant*: it alone knows wasmtime, and no room but `domain`.
//! *Architecture Invariant*: nothing that a component does ends more than its own pass: time, memory, tables, stack and
//! every size that crosses the border are bounded, and after a trap its store is dropped.
//! *Architecture Invariant*: machine code is run only where this host has made it (`artefacts`).
//!
//! It must not know rules, runs, shops' connections or the store.

mod artefacts;
mod border;
mod broken;
mod carried;
mod component;
mod grants;
mod host;
mod installed;
mod manifest;
mod passes;
mod provided;
mod reused;
mod source;
mod state;
mod suspension;
mod wasi;

pub use carried::{MOST_FILES, RULES, carried, is_carried};
pub use component::{Loaded, World};
pub use grants::{Grant, Grants};
pub use host::{Host, Metering, Pooling};
pub use installed::{Folder, Installed};
pub use manifest::{Bounds, Manifest, Provides, Want};
pub use provided::{Plugin, Plugins};
pub use reused::Reused;
pub use state::Used;

/// The version of the interface that this host speaks.
pub const INTERFACE: &str = "0.1.0";

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The manifest is wrong: what, and what to write instead.
    #[error("{file}: {problem}")]
    Manifest {
        /// The file.
        file: String,
        /// Every mistake that was found.
        problem: String,
    },
    /// The component is none, or not one for this host.
    #[error("{file}: {problem}\n  hint: {hint}")]
    Component {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// This machine cannot run plugins.
    #[error("plugins cannot be run here: {0}")]
    Host(String),
    /// It is not installed, or something stands in its way.
    #[error("{0}")]
    Refused(String),
}

impl PluginError {
    pub(crate) fn file(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), error }
    }
}
