//! Storehand: a shop's extra pair of hands. See ARCHITECTURE.md for the rooms and how an event goes through them.

pub mod cli;
pub mod config;
pub mod capabilities;
pub mod domain;
pub mod store;
pub mod http;
pub mod shops;
pub mod models;
