//! Which orders have changed: what a shop tells when nothing else has.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, NoAnswer, without};
use super::graphql::{Gid, PageInfo};
use crate::domain::{Changed, Verdict};
use crate::shops::read::Moment;

/// A page of orders by the time of their last change: some 100 points.
pub(super) const ORDERS_CHANGED: &str = "
query OrdersChanged($query: String!, $after: String) {
  orders(first: 100, after: $after, sortKey: UPDATED_AT, query: $query) {
    nodes { id updatedAt }
    pageInfo { hasNextPage endCursor }
  }
}";

#[derive(Debug, Deserialize)]
struct Data {
    orders: Option<Page>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    nodes: Vec<Node>,
    page_info: PageInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: Gid,
    updated_at: Moment,
}

pub(super) async fn orders(
    client: &Client,
    from: Timestamp,
    until: Timestamp,
    page: Option<&str>,
) -> Result<Changed, Verdict> {
    let query = format!("updated_at:>='{from:.0}' AND updated_at:<='{until:.0}'");
    let asked = client.ask::<Data>(ORDERS_CHANGED, json!({ "query": query, "after": page })).await;
    let data = asked.map_err(NoAnswer::where_repeats_are_harmless)?;
    let Page { nodes, page_info } = data.orders.ok_or_else(|| without("orders"))?;
    let orders = nodes.into_iter().filter_map(|node| Some((node.id.id()?, node.updated_at.0?)));
    Ok(Changed { orders: orders.collect(), next: page_info.end_cursor.filter(|_| page_info.has_next_page) })
}
