//! Names of records: how an order's number and a customer's e-mail address lead to the record.
//!
//! A name that a record has lost stays here, so whoever finds a record by it must look whether it is still called so.
//! That makes writing one cheap: what is there already is left as it is.

use sea_orm::FromQueryResult;

use super::rows::{Batches, Rows};
use super::{Store, StoreError};
use crate::domain::{RecordKey, RecordName, ShopId, Text};

#[derive(FromQueryResult)]
struct Model {
    kind: String,
    name: String,
    id: String,
}

/// Names are all but unique. Where a shop's are not, a thousand records are looked at and no more, the newest first.
const ASKED: Rows<3> = Rows {
    head: "SELECT n.kind, n.name, n.id FROM (VALUES ",
    tail: ") AS asked CROSS JOIN record_names AS n ON n.shop = asked.column1 AND n.kind = asked.column2 \
           AND n.name = asked.column3 ORDER BY n.id DESC LIMIT 1000",
};

impl Store {
    /// The records that are or were called so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn named(&self, shop: &ShopId, names: &[RecordName]) -> Result<Vec<(RecordName, RecordKey)>, StoreError> {
        let mut found = Vec::new();
        let asked = names.iter().map(|it| [shop.as_str().into(), it.kind.as_str().into(), (&*it.name).into()]);
        for statement in ASKED.ask(asked) {
            for row in Model::find_by_statement(statement).all(&self.readers).await? {
                let called = names.iter().find(|name| name.kind.as_str() == row.kind && *name.name == *row.name);
                let Some(name) = called else { continue };
                found.push((name.clone(), RecordKey { kind: name.kind, id: row.id.into() }));
            }
        }
        Ok(found)
    }
}

const NAMES: Rows<4> =
    Rows { head: "INSERT INTO record_names (shop, kind, name, id) VALUES ", tail: " ON CONFLICT DO NOTHING" };

/// Lets these records be found by these names, too.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, names: Vec<(RecordName, Text)>) {
    let row = |(name, id): (RecordName, Text)| {
        [shop.as_str().into(), name.kind.as_str().into(), (&*name.name).into(), (&*id).into()]
    };
    batches.add(&NAMES, names.into_iter().map(row));
}
