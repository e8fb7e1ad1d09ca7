//! Storehand: a shop's extra pair of hands. See ARCHITECTURE.md for the rooms and how an event goes through them.

pub mod capabilities;
pub mod demo;
pub mod domain;
pub mod shops;
