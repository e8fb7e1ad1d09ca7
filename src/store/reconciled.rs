//! Up to when a shop's platform was asked what had changed there, and what of that became events.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, FromQueryResult, Statement};

use super::events::moment;
use super::{Store, StoreError};
use crate::domain::ShopId;

#[derive(FromQueryResult)]
struct Until {
    until: i64,
}

#[derive(FromQueryResult)]
struct Key {
    delivery_key: String,
}

/// How the delivery keys of reconciled events begin.
pub const RECONCILED: &str = "reconciled ";

impl Store {
    /// Up to when the shop's platform was asked; `None`: never.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reconciled_until(&self, shop: &ShopId) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT until FROM reconciled WHERE shop = ?";
        let statement =
            Statement::from_sql_and_values(self.readers.get_database_backend(), sql, [shop.as_str().into()]);
        Ok(Until::find_by_statement(statement).one(&self.readers).await?.map(|row| moment(row.until)))
    }

    /// Writes down up to when it was asked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_reconciled_until(&self, shop: &ShopId, until: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO reconciled (shop, until) VALUES (?, ?) ON CONFLICT DO UPDATE SET until = excluded.until";
        let values: [sea_orm::Value; 2] = [shop.as_str().into(), until.as_millisecond().into()];
        let backend = self.readers.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        self.writer.write(move |tx| Box::pin(async move { tx.execute_raw(statement).await.map(|_| ()) })).await
    }

    /// The keys of events that were found by asking and not told by a delivery, which begin like this; the last first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reconciled_keys(
        &self,
        shop: &ShopId,
        source: &str,
        begins: &str,
        most: u64,
    ) -> Result<Vec<String>, StoreError> {
        // All that begins so: the next character behind the last one is none that a key holds.
        let end = format!("{begins}\u{10FFFF}");
        let sql = "SELECT delivery_key FROM delivery_keys WHERE shop = ? AND source = ? AND delivery_key >= ? \
                   AND delivery_key < ? ORDER BY delivery_key DESC LIMIT ?";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let values: [sea_orm::Value; 5] = [shop.as_str().into(), source.into(), begins.into(), end.into(), most.into()];
        let statement = Statement::from_sql_and_values(self.readers.get_database_backend(), sql, values);
        let rows = Key::find_by_statement(statement).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| row.delivery_key).collect())
    }
}
