//! Events: facts that a shop reported, in one neutral shape whatever the platform.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{EventId, ShopId};
use super::record::{Text, Value, record};
use super::records::{RecordKey, RecordKind, Records};

/// A fact as a source has read it from a verified delivery, or as we have read it ourselves over the shop's own
/// connection; not yet accepted. Only [`Verified::event`](super::Verified::event) and [`NewEvent::found`] make one.
#[derive(Clone, Debug)]
#[expect(clippy::manual_non_exhaustive, reason = "sealed within the crate too, where `non_exhaustive` does nothing")]
pub struct NewEvent {
    /// Dotted and past tense: `order.created`; `None` where the source does not know the platform's topic.
    pub kind: Option<Text>,
    /// The platform's own word: `orders/create`.
    pub topic: Text,
    /// What it is about: `order/1042`.
    pub subject: Text,
    /// When it happened, by the platform's clock where it says, else when it was received.
    pub time: Timestamp,
    /// The same for every repetition of this delivery, different for every other event of this source.
    pub delivery_key: String,
    /// What the delivery says, in neutral records.
    pub records: Records,
    /// Further records that the event speaks of, to be looked up: a return names its order.
    pub mentions: Vec<RecordKey>,
    /// The platform's own payload, whole, as it came: UTF-8 text. A mail's is its headers and its text, without the
    /// files that came with it.
    pub payload: String,
    pub(super) _sealed: (),
}

impl NewEvent {
    /// A fact that nobody told and that was found by asking the shop's platform: its own answer over the shop's own
    /// connection is as genuine as a signature.
    pub fn found(
        kind: &str,
        topic: &str,
        subject: &str,
        time: Timestamp,
        delivery_key: String,
        records: Records,
    ) -> Self {
        Self {
            kind: Some(kind.into()),
            topic: topic.into(),
            subject: subject.into(),
            time,
            delivery_key,
            records,
            mentions: Vec::new(),
            payload: "{}".to_owned(),
            _sealed: (),
        }
    }
}

record! {
    /// The envelope of an event, as rules see it under the name `event`.
    Envelope, "event", {
        /// Our id of it, such as `ev_0c3k5m7q9s1t3`.
        id: Option<Text>,
        /// What happened, such as `order.created`.
        kind: Option<Text>,
        /// Where it came from: `/shopify/acme`.
        source: Option<Text>,
        /// What it is about: `order/1042`.
        subject: Option<Text>,
        /// The platform's own word: `orders/create`.
        topic: Option<Text>,
        /// When it happened.
        time: Option<Timestamp>,
        /// Whether a newer version of the record was already known when this arrived.
        late: bool,
        /// Whether it only tells of what one of our own runs did.
        echo: bool,
    }
}

/// An accepted event: on disk, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Ours; sorts by the time of receipt.
    pub id: EventId,
    /// Whose.
    pub shop: ShopId,
    /// `/shopify/acme`: the source's name and the shop's.
    pub source: Text,
    /// `order.created`; `unhandled` where the source does not know the platform's topic.
    pub kind: Text,
    /// `orders/create`.
    pub topic: Text,
    /// `order/1042`.
    pub subject: Text,
    /// When it happened.
    pub time: Timestamp,
    /// When we got it.
    pub received: Timestamp,
    /// What the delivery said.
    pub records: Arc<Records>,
    /// Which further records it speaks of.
    pub mentions: Vec<RecordKey>,
    /// Whether a newer version of its record was already known.
    pub late: bool,
    /// The call (`run_…/path`) of which alone it tells, where it tells of nothing else.
    pub echo: Option<Text>,
}

impl Event {
    /// The type of an event whose topic its source does not know: kept, and no rule can listen to it.
    pub const UNHANDLED: &str = "unhandled";

    /// What rules see under the name `event`.
    pub fn envelope(&self) -> Envelope {
        Envelope {
            id: Some(self.id.to_string().into()),
            kind: Some(self.kind.clone()),
            source: Some(self.source.clone()),
            subject: Some(self.subject.clone()),
            topic: Some(self.topic.clone()),
            time: Some(self.time),
            late: self.late,
            echo: self.echo.is_some(),
        }
    }
}

/// A rule's inputs: what its file says, with what the shop has set in their place.
pub type Inputs = BTreeMap<String, Value>;

/// What a rule may look at: nothing else reaches its conditions, templates and scripts.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The event.
    pub event: Arc<Event>,
    /// The event's context: the records as they were when it was matched.
    pub context: Arc<Records>,
    /// Records that the event speaks of and that are not in its context.
    pub missing: Vec<Missing>,
    /// The rule's inputs.
    pub inputs: Arc<Inputs>,
    /// When the run began: the `now` of expressions, the same however often the run is replayed.
    pub now: Timestamp,
}

/// The context as it is kept with an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// The records as they were.
    pub records: Arc<Records>,
    /// Those that the event speaks of and that are not among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// A record that an event speaks of and that is not in its context. Shown as `order 1042 not known`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What it is.
    pub kind: RecordKind,
    /// The platform's id; `#1042` where the event has only what people call it.
    pub id: Text,
    /// It is known and is not the sender's: what it says is none of theirs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}

impl From<RecordKey> for Missing {
    /// Nobody knows it.
    fn from(RecordKey { kind, id }: RecordKey) -> Self {
        Self { kind, id, withheld: false }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.withheld { "is not this customer's" } else { "not known" };
        write!(f, "{} {} {why}", self.kind.as_str(), self.id)
    }
}
