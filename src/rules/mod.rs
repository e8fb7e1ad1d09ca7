//! Rules: a merchant's YAML and Rhai, read into what a run follows.
//!
//! A file becomes a [`Rule`] or a list of [`Finding`]s, all of its mistakes in one go ([`read`]); a folder
//! becomes a set of rules that was looked at as a whole ([`load`]); an [`Index`] finds those that listen.
//!
//! *Architecture Invariant*: pure. Only `load` touches files, nothing here touches the network, the clock or a
//! database, and the same text gives the same rule.
//! *Architecture Invariant*: no other room knows Rhai or YAML.
//! *Architecture Invariant*: what may be used and named comes from the `Catalog`; no capability, event or field is
//! known here by name, except where `between` says which write makes which event.
//! *Architecture Invariant*: a rule that exists has been checked; there is none with an error.

mod between;
mod duration;
pub mod expr;
mod fields;
mod file;
mod finding;
mod index;
mod input;
mod keys;
mod load;
mod mistakes;
mod near;
mod read_inputs;
mod read_steps;
mod read_tests;
mod read_when;
pub mod rule;
mod schema;
pub mod script;
mod yaml;

#[cfg(test)]
mod fixtures;

pub use file::{Read, read, read_version};
pub use finding::{Code, Finding, Severity};
pub use index::Index;
pub use load::{Loaded, load, load_folder};
pub use rule::{
    Body, Condition, Expect, ExpectedCall, Input, InputKind, OnChange, OnError, OnViolation, Overlap, Rule, RuleTest,
    Status, Step, Trigger, With,
};
pub use schema::json_schema;
