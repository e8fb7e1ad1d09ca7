//! Shopify's webhook payloads of what a shop sells: products and their variants.

use serde::Deserialize;

use super::wire::needed;
use crate::domain::{self, Refused, Text};
use crate::shops::read::{Id, Moment, Tags, Words};

/// Prices are left out: the payload says no currency. [`Platform::product`](crate::domain::Platform::product) does.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Product {
    id: Id,
    title: Words,
    body_html: Words,
    vendor: Words,
    product_type: Words,
    status: Words,
    tags: Tags,
    variants: Option<Vec<Article>>,
    updated_at: Moment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Article {
    sku: Words,
}

/// A variant as `variants/out_of_stock` and `variants/in_stock` bring it: over all places together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variant {
    id: Id,
    product_id: Id,
    sku: Words,
    inventory_quantity: Option<i64>,
    updated_at: Moment,
}

impl Product {
    pub(super) fn neutral(self) -> Result<domain::Product, Refused> {
        Ok(domain::Product {
            id: Some(needed(self.id, "id")?),
            title: self.title.0,
            description: self.body_html.0,
            vendor: self.vendor.0,
            kind: self.product_type.0,
            status: self.status.0,
            tags: self.tags.0,
            skus: self.variants.into_iter().flatten().filter_map(|variant| variant.sku.0).collect(),
            price: None,
            updated_at: self.updated_at.0,
        })
    }
}

impl Variant {
    /// The variant's id, and what there is of it. It is no stock level of one place, so it has no level's id and no
    /// record of it is kept.
    pub(super) fn neutral(self) -> Result<(Text, domain::Inventory), Refused> {
        let id = needed(self.id, "id")?;
        let inventory = domain::Inventory {
            sku: self.sku.0,
            product_id: self.product_id.0,
            variant_id: Some(id.clone()),
            available: self.inventory_quantity,
            updated_at: self.updated_at.0,
            ..domain::Inventory::default()
        };
        Ok((id, inventory))
    }
}
