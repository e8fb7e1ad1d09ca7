//! The one integration binary.

mod capabilities;
mod shops;
