//! The one integration binary.

mod capabilities;
mod demo_shop;
mod shops;
