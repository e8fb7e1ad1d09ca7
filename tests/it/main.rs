//! The integration tests, all in one binary: linking is the dear part.

mod capabilities;
mod cli;
mod demo_shop;
mod engine;
mod licences;
mod models;
mod shops;
mod support;
mod tidy;
