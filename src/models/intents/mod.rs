//! Intents: what a customer wants, told from what other customers wrote.
//!
//! - [`Examples`] is a shop's file: messages by intent and language, and some that are none of them.
//! - [`train`] makes a [`Head`] of it: which places among all texts belong to which intent. A head says nothing where it
//!   is in doubt: how much doubt is too much follows from the share of wrong answers that the merchant accepts.
//! - [`Heads`] keeps heads on disk, every version, and knows which one is in force.
//!
//! Training is kernel ridge regression over the encoder's vectors. What each message would have got had it not been
//! learnt from is exact and free, so the report and the threshold need no message to be set apart.
//!
//! *Architecture Invariant*: the same encoder and file give the same head.
//! *Architecture Invariant*: a head answers for the encoder only that it was trained with.

mod choices;
mod examples;
mod head;
mod heads;
mod outcome;
mod train;

pub use choices::{Choice, choose};
pub use examples::{Examples, Intent, Message};
pub use head::{Head, Judged, Ranked};
pub use heads::{Heads, Kept};
pub use outcome::{Confusion, Report, Tally};
pub use train::{Progress, test, train};
