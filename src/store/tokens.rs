//! Tokens for people and programs that use the API: only their digests are kept.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, QueryOrder, Set};

use super::events::moment;
use super::{Store, StoreError};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub digest: String,
    pub made: i64,
    pub revoked: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// A token, without what would let anybody use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// SHA-256 of the token, in hex.
    pub digest: String,
    /// When it was made.
    pub made: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Store {
    /// All tokens, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        let rows = Entity::find().order_by_asc(Column::Name).all(&self.readers).await?;
        let token = |row: Model| TokenRow {
            name: row.name,
            digest: row.digest,
            made: moment(row.made),
            revoked: row.revoked.map(moment),
        };
        Ok(rows.into_iter().map(token).collect())
    }

    /// Keeps a new token; `false` where the name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_token(&self, name: &str, digest: &str, now: Timestamp) -> Result<bool, StoreError> {
        let row = ActiveModel {
            name: Set(name.to_owned()),
            digest: Set(digest.to_owned()),
            made: Set(now.as_millisecond()),
            revoked: Set(None),
        };
        self.writer.write(move |tx| Box::pin(async move { insert(tx, row).await })).await
    }

    /// Revokes a token; `false` where there is none of this name that is in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_token(&self, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |tx| Box::pin(async move { revoke(tx, &name, now).await })).await
    }
}

async fn insert(tx: &DatabaseTransaction, row: ActiveModel) -> Result<bool, DbErr> {
    let taken = OnConflict::new().do_nothing().to_owned();
    Ok(Entity::insert(row).on_conflict(taken).exec_without_returning(tx).await? == 1)
}

async fn revoke(tx: &DatabaseTransaction, name: &str, now: Timestamp) -> Result<bool, DbErr> {
    let revoked = Entity::update_many()
        .col_expr(Column::Revoked, Expr::value(now.as_millisecond()))
        .filter(Column::Name.eq(name))
        .filter(Column::Revoked.is_null())
        .exec(tx)
        .await?;
    Ok(revoked.rows_affected == 1)
}
