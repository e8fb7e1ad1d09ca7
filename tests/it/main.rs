//! The one integration binary.

mod engine;
mod support;
mod capabilities;
mod shops;
