//! What a run may do or ask: one file a capability, and the list of them all.
//!
//! To add one: a file here with its [`Spec`](crate::domain::Spec) and its `perform`, and a line in [`all`]. The spec's example is its
//! test, its page in the reference and its stand-in answer.
//!
//! *Architecture Invariant*: a capability makes one attempt and says what came of it. Retrying, limits, grants,
//! recording and modes are the engine's, and are written once there.
//! *Architecture Invariant*: stateless: an attempt brings the shop, its connections and the run's facts along. What
//! is shared by all shops comes in [`Deps`].
//!
//! It must not know rules, the store, HTTP servers, or in which mode it is called.

mod approval_list;
mod approval_request;
mod asked_model;
mod catalogues;
mod customer_get;
mod customer_note;
mod customer_tag;
mod customer_untag;
mod email;
mod email_send;
mod guarded;
mod held_text;
mod http_request;
mod inventory_adjust;
mod log;
mod mark;
mod memory;
mod message_send;
mod model_classify;
mod model_extract;
mod model_write;
mod order;
mod order_cancel;
mod order_get;
mod order_hold;
mod order_note;
mod order_release;
mod order_tag;
mod order_untag;
mod product_get;
mod product_tag;
mod product_untag;
mod product_update;
mod public_address;
mod record_tags;
mod refund_create;
mod report_add;
mod report_take;
mod wait;
mod wait_for;
mod webhook_send;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::domain::{Capability, Catalog, Verdict};
use crate::models::Models;
use crate::models::encoder::Encoder;
use crate::models::intents::Heads;

/// What capabilities share, whatever the shop.
#[derive(Default)]
pub struct Deps {
    /// The language models.
    pub models: Models,
    /// The encoder, where there is one.
    pub encoder: Option<Encoder>,
    /// What shops have trained it for.
    pub heads: Option<Heads>,
}

/// Every capability there is, by name.
pub fn all(deps: Deps) -> Vec<Arc<dyn Capability>> {
    let catalogues = Arc::new(catalogues::Catalogues::default());
    vec![
        Arc::new(approval_list::ApprovalList::new()),
        Arc::new(approval_request::ApprovalRequest::new()),
        Arc::new(customer_get::CustomerGet::new()),
        Arc::new(customer_note::CustomerNote::new()),
        Arc::new(customer_tag::CustomerTag::new()),
        Arc::new(customer_untag::CustomerUntag::new()),
        Arc::new(email_send::EmailSend::new()),
        Arc::new(http_request::HttpRequest::new()),
        Arc::new(inventory_adjust::InventoryAdjust::new()),
        Arc::new(log::Log::new()),
        Arc::new(memory::Add::new()),
        Arc::new(memory::Get::new()),
        Arc::new(memory::Set::new()),
        Arc::new(message_send::MessageSend::new(Arc::clone(&catalogues))),
        Arc::new(model_classify::ModelClassify::new(deps.encoder, deps.heads, deps.models.clone())),
        Arc::new(model_extract::ModelExtract::new(deps.models.clone())),
        Arc::new(model_write::ModelWrite::new(deps.models, catalogues)),
        Arc::new(order_cancel::OrderCancel::new()),
        Arc::new(order_get::OrderGet::new()),
        Arc::new(order_hold::OrderHold::new()),
        Arc::new(order_note::OrderNote::new()),
        Arc::new(order_release::OrderRelease::new()),
        Arc::new(order_tag::OrderTag::new()),
        Arc::new(order_untag::OrderUntag::new()),
        Arc::new(product_get::ProductGet::new()),
        Arc::new(product_tag::ProductTag::new()),
        Arc::new(product_untag::ProductUntag::new()),
        Arc::new(product_update::ProductUpdate::new()),
        Arc::new(refund_create::RefundCreate::new()),
        Arc::new(report_add::ReportAdd::new()),
        Arc::new(report_take::ReportTake::new()),
        Arc::new(wait::Wait::new()),
        Arc::new(wait_for::WaitFor::new()),
        Arc::new(webhook_send::WebhookSend::new()),
    ]
}

/// What rules are checked against.
pub fn catalog(capabilities: &[Arc<dyn Capability>]) -> Catalog {
    let specs = capabilities.iter().map(|it| it.spec().clone());
    Catalog { capabilities: specs.map(|spec| (spec.name.to_owned(), spec)).collect() }
}

/// Reads an input. It has been checked against the schema, so this fails only where the two disagree.
fn read<T: DeserializeOwned>(input: &Json) -> Result<T, Verdict> {
    T::deserialize(input).map_err(|error| Verdict::refused("invalid_input", error.to_string()))
}
