//! Shop platforms and the ways out to a shop: one folder a platform, a source that receives and a client that
//! acts; and the shop's mail, out and in.
//!
//! To add a platform: a folder here, a line in [`ALL`], deliveries in `tests/fixtures/deliveries/<name>/`, which
//! an existing test picks up by itself.
//!
//! *Architecture Invariant*: a platform's payloads and wire types stay in its folder; what leaves this room is
//! the neutral language of `domain`.
//! *Architecture Invariant*: sources are pure; clients make one attempt a call and never retry.
//!
//! It must not know rules, runs, models or the store, nor who calls it.

mod email;
mod form;
pub mod imap;
pub mod mail;
pub mod mailgun;
mod order_numbers;
mod read;
pub mod shopify;
pub mod signature;
pub mod standard;

use crate::domain::Source;

/// Every source there is, by name.
pub const ALL: &[&dyn Source] = &[&mailgun::Mailgun, &shopify::Shopify, &standard::Standard];

/// The source of this name.
pub fn source(name: &str) -> Option<&'static dyn Source> {
    ALL.iter().copied().find(|source| source.name() == name)
}

/// Why a connection of a shop could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ShopsError {
    /// The address of the platform or the mail server is not one.
    #[error("`{setting}`: `{value}` cannot be used: {problem}")]
    Setting {
        /// Which setting, as the configuration names it.
        setting: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// TLS could not be set up.
    #[error(
        "TLS could not be set up: {0}\n  hint: is the system's list of certificate authorities installed (`ca-certificates`)?"
    )]
    Tls(String),
}
