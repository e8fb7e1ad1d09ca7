//! The integration tests, all in one binary: linking is the dear part.

mod engine;
mod licences;
mod support;
mod tidy;
