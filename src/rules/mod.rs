//! Rules: a merchant's YAML and Rhai, read into what a run follows.
//!
//! A file becomes a [`Rule`] or a list of [`Finding`]s, all of its mistakes in one go ([`read`]); a folder
//! becomes a set of rules that was looked at as a whole ([`load`], [`RuleSet`]). [`matches()`] says whether a rule
//! holds for an event, [`advance`] what a run of it does next.
//!
//! *Architecture Invariant*: pure. Only `load` touches files, nothing here touches the network, the clock or a
//! database, and the same text gives the same rule (on machines that agree on what time zones are).
//! *Architecture Invariant*: no other room knows Rhai or YAML.
//! *Architecture Invariant*: what may be used and named comes from the `Catalog`; no capability, event or field is
//! known here by name, except `schedule.due`, the event of a rule's own schedule.
//! *Architecture Invariant*: a rule that exists has been checked; there is none with an error.

mod advance;
mod between;
mod bounds;
mod eval;
mod exclude;
pub mod expr;
mod fields;
mod file;
mod finding;
mod functions;
mod in_force;
mod input;
mod keys;
mod language;
mod lists;
mod load;
mod matching;
mod mistakes;
mod names;
mod near;
mod read_inputs;
mod read_steps;
mod read_tests;
mod read_when;
mod rule;
mod schedule;
mod schema;
pub mod script;
mod set;
mod simple;
mod steps;
mod template;
mod tuning;
mod value;
mod yaml;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use advance::{Outcome, Progress, advance};
pub use file::{Read, read};
pub use finding::{Code, FINDINGS, Finding, Severity};
pub use functions::{FUNCTIONS, Function, Group};
pub use in_force::{Because, Wanted, in_force};
pub use keys::{KEYS, Key, Keys};
pub use load::{Loaded, Unusable, load, load_folder};
pub use matching::{Match, WhyNot, first_false, lane_key, matches, seen, why_not};
pub use rule::{
    Body, Condition, Expect, ExpectedCall, Input, InputKind, OnChange, OnError, OnViolation, Overlap, Rule, RuleTest,
    Status, Step, Trigger, With,
};
pub use schedule::{Missed, Schedule};
pub use schema::json_schema;
pub use set::{Listening, RuleSet, Standing};
pub use tuning::{Tuning, from_bundle};
