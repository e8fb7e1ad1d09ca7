//! A shop to play with: a stateful fake of the platform, in the process, and deliveries as the platform would
//! send them. `storehand demo` and the integration tests use it. [`store`] is the same shop for others to use: with a till,
//! a mailbox, and webhooks of what happens there.
//!
//! *Architecture Invariant*: nothing here is reachable from `serve`; what is here goes the same ways as a real
//! shop: signed deliveries in, Admin GraphQL and mail out.
//!
//! It must not reach into the engine or the store: it sees only what a platform sees.

mod admin;
mod deliveries;
mod mailbox;
mod morning;
mod orders;
mod shop;
pub mod store;

pub use admin::{Beside, DemoProduct, DemoRefund};
pub use deliveries::{Signed, Signer};
pub use morning::{Scene, morning};
pub use orders::{DemoAddress, DemoCustomer, DemoLine, DemoOrder};
pub use shop::{DemoMailer, DemoShop, Fault, Reached};
