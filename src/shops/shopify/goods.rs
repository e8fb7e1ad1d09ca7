//! Customers, products and stock levels, read and written.

use serde::Deserialize;
use serde_json::{Map, json};

use super::client::{Client, NoAnswer, gid_of, none, refused, without};
use super::graphql::{self, Gid, UserError};
use crate::domain::{self, Adjustment, Money, ProductChange, RecordKind, StockReason, Text, Verdict};
use crate::shops::read::{Amount, Moment, Words};

/// A customer with the shop's note about them.
pub(super) const CUSTOMER: &str = "
query Customer($id: ID!) {
  customer(id: $id) {
    id firstName lastName locale tags numberOfOrders updatedAt note
    defaultEmailAddress { emailAddress }
    defaultPhoneNumber { phoneNumber }
  }
}";

/// Writes what the input names of a customer, in the place of what is there.
pub(super) const NOTE_CUSTOMER: &str = "
mutation NoteCustomer($input: CustomerInput!) {
  customerUpdate(input: $input) {
    customer { note }
    userErrors { message }
  }
}";

/// A product with its first 100 variants.
pub(super) const PRODUCT: &str = "
query Product($id: ID!) {
  product(id: $id) {
    id title descriptionHtml vendor productType status tags updatedAt
    priceRangeV2 { minVariantPrice { currencyCode } }
    variants(first: 100) { nodes { sku price } }
  }
}";

/// Writes what the input names of a product, in the place of what is there.
pub(super) const UPDATE_PRODUCT: &str = "
mutation UpdateProduct($product: ProductUpdateInput!) {
  productUpdate(product: $product) {
    product {
      id title descriptionHtml vendor productType status tags updatedAt
      priceRangeV2 { minVariantPrice { currencyCode } }
      variants(first: 100) { nodes { sku price } }
    }
    userErrors { message }
  }
}";

/// Adds to a stock level. The key is Shopify's guard against repeats.
pub(super) const ADJUST_STOCK: &str = "
mutation AdjustStock($input: InventoryAdjustQuantitiesInput!, $key: String!) {
  inventoryAdjustQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { changes { name delta quantityAfterChange } }
    userErrors { code message }
  }
}";

#[derive(Debug, Deserialize)]
struct CustomerData {
    customer: Option<graphql::Customer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NoteData {
    customer_update: Option<Noted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Noted {
    customer: Option<OnlyNote>,
    #[serde(default)]
    user_errors: Vec<UserError>,
}

#[derive(Debug, Deserialize)]
struct OnlyNote {
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ProductData {
    product: Option<Product>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateData {
    product_update: Option<Updated>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    product: Option<Product>,
    #[serde(default)]
    user_errors: Vec<UserError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Product {
    id: Gid,
    title: Words,
    description_html: Words,
    vendor: Words,
    product_type: Words,
    status: Option<String>,
    tags: Vec<Text>,
    updated_at: Moment,
    price_range_v2: Option<PriceRange>,
    variants: Variants,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceRange {
    min_variant_price: MinPrice,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MinPrice {
    currency_code: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variants {
    nodes: Vec<Variant>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variant {
    sku: Words,
    price: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdjustData {
    inventory_adjust_quantities: Option<Adjusted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Adjusted {
    inventory_adjustment_group: Option<Group>,
    #[serde(default)]
    user_errors: Vec<UserError>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    name: String,
    #[serde(default)]
    quantity_after_change: Option<i64>,
}

impl Product {
    fn neutral(self) -> domain::Product {
        let currency = self.price_range_v2.and_then(|range| range.min_variant_price.currency_code.0?.parse().ok());
        let price = self.variants.nodes.first().and_then(|first| first.price.0);
        domain::Product {
            id: self.id.id(),
            title: self.title.0,
            description: self.description_html.0,
            vendor: self.vendor.0,
            kind: self.product_type.0,
            status: self.status.map(|status| status.to_ascii_lowercase().into()),
            tags: self.tags,
            skus: self.variants.nodes.into_iter().filter_map(|variant| variant.sku.0).collect(),
            price: price.zip(currency).map(|(amount, currency)| Money::new(amount, currency)),
            updated_at: self.updated_at.0,
        }
    }
}

/// A customer and the shop's note about them.
pub(super) async fn customer(client: &Client, id: &str) -> Result<Option<(domain::Customer, String)>, Verdict> {
    let Some(gid) = gid_of("Customer", id) else { return Ok(None) };
    let asked = client.ask::<CustomerData>(CUSTOMER, json!({ "id": gid })).await;
    let customer = asked.map_err(NoAnswer::where_repeats_are_harmless)?.customer;
    Ok(customer.map(|mut customer| {
        let note = customer.note.take().unwrap_or_default();
        (customer.neutral(), note)
    }))
}

pub(super) async fn write_customer_note(client: &Client, id: &str, note: &str) -> Result<Verdict, Verdict> {
    let missing = || none(RecordKind::Customer, id);
    let gid = gid_of("Customer", id).ok_or_else(missing)?;
    let asked = client.ask::<NoteData>(NOTE_CUSTOMER, json!({ "input": { "id": gid, "note": note } })).await;
    let noted = asked.map_err(NoAnswer::where_repeats_do_harm)?.customer_update;
    let noted = noted.ok_or_else(|| without("customerUpdate"))?;
    refused(&noted.user_errors)?;
    let customer = noted.customer.ok_or_else(missing)?;
    Ok(Verdict::Done(json!({ "note": customer.note.unwrap_or_default() })))
}

pub(super) async fn product(client: &Client, id: &str) -> Result<Option<domain::Product>, Verdict> {
    let Some(gid) = gid_of("Product", id) else { return Ok(None) };
    let asked = client.ask::<ProductData>(PRODUCT, json!({ "id": gid })).await;
    Ok(asked.map_err(NoAnswer::where_repeats_are_harmless)?.product.map(Product::neutral))
}

pub(super) async fn update_product(client: &Client, id: &str, change: &ProductChange) -> Result<Verdict, Verdict> {
    let missing = || none(RecordKind::Product, id);
    let gid = gid_of("Product", id).ok_or_else(missing)?;
    let mut input = Map::from_iter([("id".to_owned(), json!(gid))]);
    let ProductChange { title, description, vendor, kind, status } = change;
    let status = status.as_ref().map(|status| status.to_ascii_uppercase());
    for (name, value) in [
        ("title", title),
        ("descriptionHtml", description),
        ("vendor", vendor),
        ("productType", kind),
        ("status", &status),
    ] {
        input.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    // Writing the same twice is writing it once.
    let asked = client.ask::<UpdateData>(UPDATE_PRODUCT, json!({ "product": input })).await;
    let updated = asked.map_err(NoAnswer::where_repeats_are_harmless)?.product_update;
    let updated = updated.ok_or_else(|| without("productUpdate"))?;
    refused(&updated.user_errors)?;
    let product = updated.product.ok_or_else(missing)?.neutral();
    let answer = serde_json::to_value(product).map(Verdict::Done);
    answer.map_err(|error| Verdict::refused("not_understood", error.to_string()))
}

/// Shopify's word for why a stock level is adjusted.
fn reason(reason: StockReason) -> &'static str {
    match reason {
        StockReason::Correction => "correction",
        StockReason::Received => "received",
        StockReason::Restock => "restock",
        StockReason::Damaged => "damaged",
        StockReason::Shrinkage => "shrinkage",
    }
}

pub(super) async fn adjust(client: &Client, adjustment: &Adjustment, key: &str) -> Result<Verdict, Verdict> {
    let Adjustment { level_id, by, reason: why } = adjustment;
    let ids = level_id.split_once(':');
    let ids = ids.and_then(|(item, place)| Some((gid_of("InventoryItem", item)?, gid_of("Location", place)?)));
    let (item, place) = ids.ok_or_else(|| none(RecordKind::Inventory, level_id))?;
    let change = json!({ "delta": by, "inventoryItemId": item, "locationId": place, "changeFromQuantity": null });
    let input = json!({ "reason": reason(*why), "name": "available", "changes": [change] });
    let asked = client.ask::<AdjustData>(ADJUST_STOCK, json!({ "input": input, "key": key })).await;
    // The key guards: a repeat adjusts nothing twice.
    let adjusted = asked.map_err(NoAnswer::where_repeats_are_harmless)?.inventory_adjust_quantities;
    let adjusted = adjusted.ok_or_else(|| without("inventoryAdjustQuantities"))?;
    refused(&adjusted.user_errors)?;
    let changes = adjusted.inventory_adjustment_group.map(|group| group.changes).unwrap_or_default();
    let now = changes.iter().find(|change| change.name == "available").and_then(|change| change.quantity_after_change);
    let mut answer = json!({ "by": by });
    if let Some(now) = now {
        answer["available"] = json!(now);
    }
    Ok(Verdict::Done(answer))
}
