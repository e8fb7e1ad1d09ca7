//! How far the mailboxes were read that a shop looks into.

use jiff::Timestamp;
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use super::events::moment;
use super::{Store, StoreError};
use crate::domain::ShopId;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "inboxes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub mailbox: String,
    pub validity: i64,
    pub uid: i64,
    pub looked: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// How far a mailbox was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// The number below holds as long as this stays the same.
    pub validity: u32,
    /// The last mail that was taken.
    pub uid: u32,
    /// When that was.
    pub looked: Timestamp,
}

impl Store {
    /// How far a mailbox of this shop was read; `None` where it never was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inbox(&self, shop: &ShopId, mailbox: &str) -> Result<Option<InboxRow>, StoreError> {
        let row = Entity::find_by_id((shop.to_string(), mailbox.to_owned())).one(&self.readers).await?;
        let number = |number: i64| u32::try_from(number).map_err(|error| StoreError::Unreadable(error.to_string()));
        row.map(|row| {
            Ok(InboxRow { validity: number(row.validity)?, uid: number(row.uid)?, looked: moment(row.looked) })
        })
        .transpose()
    }

    /// Keeps how far a mailbox was read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_inbox(&self, shop: &ShopId, mailbox: &str, row: InboxRow) -> Result<(), StoreError> {
        let row = ActiveModel {
            shop: Set(shop.to_string()),
            mailbox: Set(mailbox.to_owned()),
            validity: Set(row.validity.into()),
            uid: Set(row.uid.into()),
            looked: Set(row.looked.as_millisecond()),
        };
        self.writer
            .write(move |tx| {
                Box::pin(async move {
                    let name = OnConflict::columns([Column::Shop, Column::Mailbox]);
                    let now = name.clone().update_columns([Column::Validity, Column::Uid, Column::Looked]).to_owned();
                    Entity::insert(row).on_conflict(now).exec_without_returning(tx).await.map(|_| ())
                })
            })
            .await
    }
}
