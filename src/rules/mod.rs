//! Rules: YAML and Rhai become a [`rule::Rule`]; whether it matches; what it does next.

pub mod advance;
mod eval;
pub mod expr;
mod language;
pub mod matching;
mod names;
pub mod rule;
pub mod script;
mod steps;
pub mod template;
mod value;

#[cfg(test)]
mod tests;
