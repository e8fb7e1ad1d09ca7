//! The integration tests, all in one binary: linking is the dear part.

mod licences;
mod tidy;
