//! The neutral language of the shop, and the seams between the rooms.
//!
//! Everything here is plain data and small traits: what a shop reports ([`Event`], the records in
//! `records`), what may be done about it ([`Capability`]), how a run reaches the world ([`Door`]), where
//! deliveries come from ([`Source`]) and who tells the time ([`Clock`]).
//!
//! *Architecture Invariant*: no IO, no async runtime, no platform's payload, no row, no wire type.

mod about;
mod capability;
mod catalog;
mod clock;
mod codes;
mod decision;
mod door;
mod duration;
mod event;
mod fuses;
mod ids;
mod limits;
mod money;
mod names;
mod on_record;
mod pause;
mod platform;
mod platform_writes;
mod program;
pub mod record;
mod records;
pub mod redact;
mod run;
mod schema;
mod secret;
mod source;
mod version;

pub use about::{about, is_of_kind};
pub use capability::{
    Attempt, Capability, Example, Inverse, Kind, Lookup, Makes, MemoryOp, Repeat, Spec, TextSink, Verdict, Written,
};
pub use catalog::{Catalog, EVENT_TYPES, EventType};
pub use clock::{Clock, ManualClock, SystemClock};
pub use codes::{ErrorCode, FAILURES, PROBLEMS};
pub use decision::{Decided, Says};
pub use door::{Answer, AskOptions, Asked, Door, Failure, Retry, digest};
pub(crate) use duration::parse_duration;
pub use event::{Context, Envelope, Event, Facts, Inputs, Missing, NewEvent};
pub use fuses::Fuses;
pub use ids::{EventId, IdMaker, ParseIdError, RunId, ShopId};
pub use limits::{Limits, MoneyRate, ParseRateError, Rate};
pub use money::{Currency, Money, ParseMoneyError};
pub use names::RecordName;
pub use on_record::{OnRecord, Open, OpenKind, Waiting};
pub use pause::{Pause, Pauses};
pub use platform::{CancelReason, Cancellation, Mailer, Outgoing, Platform, Shop};
pub use platform_writes::{Adjustment, Changed, Hold, HoldReason, ProductChange, RefundOrder, StockReason};
pub use program::{Program, ProgramDoor, Ran, Task};
pub use record::{Field, FieldKind, Record, Text, Value};
pub use records::{
    Address, Customer, Dispute, Inventory, Line, Message, Order, Product, RecordKey, RecordKind, Records, Refund,
    Return, ReturnLine,
};
pub use run::{Awaits, Call, CallState, End, Heard, Listeners, LogLine, Mode, Run, RunState, WhyNot};
pub use schema::{Shape, Validator, validate};
pub use secret::{Secret, Secrets};
pub use source::{Delivery, LoggedIn, Received, Refused, Reply, Source, Verified};
pub use version::{OnChange, Origin, Pin, Role, RoleChange, Roles, Versions, previous};
