//! The integration tests, all in one binary: linking is the dear part.

mod capabilities;
mod engine;
mod licences;
mod demo_shop;
mod shops;
mod support;
mod tidy;
