//! Storehand: a shop's extra pair of hands. See ARCHITECTURE.md for the rooms and how an event goes through them.

pub mod allocator;
pub mod app;
pub mod capabilities;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod http;
pub mod models;
mod outgoing;
pub mod plugins;
pub mod rules;
pub mod shops;
pub mod store;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;
