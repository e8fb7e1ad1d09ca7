//! What crosses the border between host and component: the types of `plugins/wit/storehand.wit`, and their bounds.

use wasmtime::component::{ComponentType, Lift, Lower};

/// The interface that a capability component exports, without its version.
pub(super) const CAPABILITIES: &str = "storehand:plugin/capabilities";
/// The interface that a source component exports.
pub(super) const DELIVERIES: &str = "storehand:plugin/deliveries";
/// The interface that a capability component may import.
pub(super) const DOOR: &str = "storehand:plugin/door";
/// Types only: components import it where their tools do not inline them.
pub(super) const TYPES: &str = "storehand:plugin/types";
/// The functions of the door.
pub(super) const DOORS_FUNCTIONS: [&str; 3] = ["ask", "now", "log"];

/// The largest JSON text, in bytes, either way.
pub(super) const MOST_JSON: usize = 256 << 10;
/// The longest name of a capability.
pub(super) const MOST_NAME: usize = 128;
/// The longest line in the journal, in characters.
pub(super) const MOST_LINE: usize = 2_000;
/// Lines that one pass may write into the journal.
pub(super) const MOST_LINES: u32 = 100;
/// All that a component may hand over in one go, in bytes: a source's facts are the most.
pub(super) const MOST_AT_ONCE: usize = 8 << 20;
/// Facts of one delivery.
pub(super) const MOST_FACTS: usize = 100;
/// A reply's body, in bytes.
pub(super) const MOST_REPLY: usize = 64 << 10;

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) subject: String,
    pub(super) topic: String,
    pub(super) time: String,
    pub(super) shop: String,
    pub(super) records: Option<String>,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct Later {
    pub(super) seconds: u32,
    pub(super) reason: String,
}

#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(super) enum Error {
    #[component(name = "invalid")]
    Invalid(String),
    #[component(name = "retry-after")]
    RetryAfter(Later),
    #[component(name = "fatal")]
    Fatal(String),
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) detail: String,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct Options {
    pub(super) label: Option<String>,
    pub(super) attempts: Option<u32>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Delivery {
    pub(super) method: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) received: u64,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct Fact {
    pub(super) kind: Option<String>,
    pub(super) topic: String,
    pub(super) subject: String,
    pub(super) time: Option<String>,
    #[component(name = "delivery-key")]
    pub(super) delivery_key: String,
    pub(super) records: String,
    pub(super) payload: String,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct Reply {
    pub(super) status: u16,
    #[component(name = "content-type")]
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct Received {
    pub(super) facts: Vec<Fact>,
    pub(super) reply: Reply,
}

#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(super) enum Refused {
    #[component(name = "signature")]
    Signature(String),
    #[component(name = "stale")]
    Stale(i64),
    #[component(name = "malformed")]
    Malformed(String),
}
