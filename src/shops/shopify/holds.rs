//! Holding orders back and letting them go.
//!
//! Shopify sends an order in parts (fulfillment orders), and a hold is on a part. Each hold of ours has a handle, which a
//! part takes once: an attempt that came through in part is made good by the next one.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::client::{Client, NoAnswer, gid, no_order, refused, without};
use super::graphql::{Gid, UserError};
use crate::domain::{Hold, HoldReason, Verdict};

/// An order's parts, and how each is held.
pub(super) const HOLDS: &str = "
query Holds($id: ID!) {
  order(id: $id) {
    fulfillmentOrders(first: 50) {
      nodes {
        id
        supportedActions { action }
        fulfillmentHolds { id handle heldByRequestingApp }
      }
    }
  }
}";

/// Holds a part back.
pub(super) const HOLD: &str = "
mutation Hold($id: ID!, $hold: FulfillmentOrderHoldInput!) {
  fulfillmentOrderHold(id: $id, fulfillmentHold: $hold) {
    fulfillmentHold { id }
    userErrors { code message }
  }
}";

/// Takes holds off a part; those that are gone are passed over.
pub(super) const RELEASE: &str = "
mutation Release($id: ID!, $holds: [ID!]) {
  fulfillmentOrderReleaseHold(id: $id, holdIds: $holds) {
    fulfillmentOrder { id }
    userErrors { code message }
  }
}";

#[derive(Debug, Deserialize)]
struct HoldsData {
    order: Option<Order>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    fulfillment_orders: Parts,
}

#[derive(Debug, Deserialize)]
struct Parts {
    nodes: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    id: Gid,
    #[serde(default)]
    supported_actions: Vec<Supported>,
    #[serde(default)]
    fulfillment_holds: Vec<OnHold>,
}

#[derive(Debug, Deserialize)]
struct Supported {
    action: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnHold {
    id: Gid,
    #[serde(default)]
    handle: Option<String>,
    #[serde(default)]
    held_by_requesting_app: bool,
}

#[derive(Debug, Deserialize)]
struct HoldData {
    #[serde(alias = "fulfillmentOrderHold", alias = "fulfillmentOrderReleaseHold")]
    done: Option<Done>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    #[serde(default)]
    user_errors: Vec<UserError>,
}

impl Part {
    fn can_be_held(&self) -> bool {
        self.supported_actions.iter().any(|it| it.action == "HOLD")
    }

    fn is_held_under(&self, handle: &str) -> bool {
        self.fulfillment_holds.iter().any(|it| it.held_by_requesting_app && it.handle.as_deref() == Some(handle))
    }
}

/// Shopify's word for why an order is held.
fn reason(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::Payment => "AWAITING_PAYMENT",
        HoldReason::Fraud => "HIGH_RISK_OF_FRAUD",
        HoldReason::Address => "INCORRECT_ADDRESS",
        HoldReason::Inventory => "INVENTORY_OUT_OF_STOCK",
        HoldReason::Other => "OTHER",
    }
}

async fn parts(client: &Client, id: &str) -> Result<Vec<Part>, Verdict> {
    let gid = gid(id).ok_or_else(|| no_order(id))?;
    let asked = client.ask::<HoldsData>(HOLDS, json!({ "id": gid })).await;
    let data = asked.map_err(NoAnswer::where_repeats_are_harmless)?;
    Ok(data.order.ok_or_else(|| no_order(id))?.fulfillment_orders.nodes)
}

/// Changes the holds of one part. A repeat is harmless, and so an answer that was lost is no more than a try.
async fn change(client: &Client, document: &str, variables: Json, what: &str) -> Result<(), Verdict> {
    let asked = client.ask::<HoldData>(document, variables).await;
    let done = asked.map_err(NoAnswer::where_repeats_are_harmless)?.done.ok_or_else(|| without(what))?;
    let already = |error: &UserError| error.code.as_deref() == Some("DUPLICATE_FULFILLMENT_HOLD_HANDLE");
    let errors: Vec<UserError> = done.user_errors.into_iter().filter(|error| !already(error)).collect();
    refused(&errors)
}

pub(super) async fn hold(client: &Client, id: &str, hold: &Hold) -> Result<Verdict, Verdict> {
    let mut held = 0;
    for part in parts(client, id).await? {
        if !part.is_held_under(&hold.handle) {
            if !part.can_be_held() {
                continue;
            }
            let how = json!({
                "reason": reason(hold.reason), "reasonNotes": hold.note, "handle": hold.handle, "notifyMerchant": false,
            });
            change(client, HOLD, json!({ "id": part.id.0, "hold": how }), "fulfillmentOrderHold").await?;
        }
        held += 1;
    }
    if held == 0 {
        return Err(Verdict::refused("nothing_to_hold", "nothing of the order is left that could be held back"));
    }
    Ok(Verdict::Done(json!({ "held": held, "handle": hold.handle })))
}

pub(super) async fn release(client: &Client, id: &str, handle: Option<&str>) -> Result<Verdict, Verdict> {
    let mut released = 0;
    for part in parts(client, id).await? {
        let is_meant = |it: &&OnHold| {
            it.held_by_requesting_app && handle.is_none_or(|handle| it.handle.as_deref() == Some(handle))
        };
        let holds: Vec<&Gid> = part.fulfillment_holds.iter().filter(is_meant).map(|it| &it.id).collect();
        if holds.is_empty() {
            continue;
        }
        released += holds.len();
        let holds: Vec<&str> = holds.iter().filter_map(|id| id.0.as_deref()).collect();
        change(client, RELEASE, json!({ "id": part.id.0, "holds": holds }), "fulfillmentOrderReleaseHold").await?;
    }
    Ok(Verdict::Done(json!({ "released": released })))
}
