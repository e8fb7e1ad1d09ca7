//! The one integration binary.

mod engine;
mod support;
