//! Which version of a rule went into which role, when and from where; and the changes whose waiting runs are still
//! being dealt with.

use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, QueryOrder, Set};

use super::events::moment;
use super::rows::{Batches, Rows};
use super::{RuleVersion, Store, StoreError, rule_states, rule_versions};
use crate::domain::{OnChange, Pin, Role, RoleChange, ShopId};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "rule_history")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub shop: String,
    pub rule: String,
    pub version: String,
    pub role: String,
    pub at: i64,
    pub origin: String,
    pub on_change: Option<String>,
    pub unfinished: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

const ROLES: [(Role, &str); 3] = [(Role::Live, "live"), (Role::Shadow, "shadow"), (Role::Off, "off")];

const ON_CHANGE: [(OnChange, &str); 3] =
    [(OnChange::FinishOld, "finish_old"), (OnChange::Migrate, "migrate"), (OnChange::Cancel, "cancel")];

fn word<T: PartialEq>(words: &[(T, &'static str)], of: &T) -> &'static str {
    words.iter().find(|(it, _)| it == of).map_or("", |(_, word)| *word)
}

fn meant<T: Copy>(words: &[(T, &str)], by: &str) -> Result<T, StoreError> {
    let found = words.iter().find(|(_, word)| *word == by).map(|(it, _)| *it);
    found.ok_or_else(|| StoreError::Unreadable(format!("the history of a rule says `{by}`: of a newer release?")))
}

/// What puts versions of rules in force, written in one go.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// The versions, to be kept.
    pub versions: Vec<RuleVersion>,
    /// Which went into which role.
    pub changes: Vec<RoleChange>,
    /// Pins that are set, and those that are lifted.
    pub pins: Vec<(String, Option<Pin>)>,
}

impl Store {
    /// Writes all of it, or nothing. Where a version goes live, or off, whatever was still to be done about runs that
    /// wait on other versions of that rule is not done any more: the newest change decides. Returns the changes as they
    /// are on record.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it is written.
    pub async fn put_in_force(&self, shop: &ShopId, it: InForce) -> Result<Vec<RoleChange>, StoreError> {
        let shop = shop.clone();
        self.writer
            .write(move |tx| {
                Box::pin(async move {
                    rule_versions::insert(tx, &shop, it.versions).await?;
                    rule_states::pin(tx, &shop, it.pins).await?;
                    let mut written = Vec::with_capacity(it.changes.len());
                    for change in it.changes {
                        let id = insert(tx, &shop, &change).await?;
                        written.push(RoleChange { id, ..change });
                    }
                    Ok(written)
                })
            })
            .await
    }

    /// All that happened to the versions of a rule, or of every rule, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn role_changes(&self, shop: &ShopId, rule: Option<&str>) -> Result<Vec<RoleChange>, StoreError> {
        of(&self.readers, shop, rule).await
    }

    /// Changes whose waiting runs have not all been dealt with, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unfinished_changes(&self, shop: &ShopId) -> Result<Vec<RoleChange>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            // In the words of the index, so that it is used.
            .filter(Expr::cust("unfinished = 1"))
            .order_by_asc(Column::Id)
            .all(&self.readers)
            .await?;
        rows.into_iter().map(change).collect()
    }
}

/// All that happened to the versions of a rule, or of every rule, oldest first.
pub(super) async fn of(
    readers: &DatabaseConnection,
    shop: &ShopId,
    rule: Option<&str>,
) -> Result<Vec<RoleChange>, StoreError> {
    let mut query = Entity::find().filter(Column::Shop.eq(shop.as_str()));
    if let Some(rule) = rule {
        query = query.filter(Column::Rule.eq(rule));
    }
    let rows = query.order_by_asc(Column::Id).all(readers).await?;
    rows.into_iter().map(change).collect()
}

fn change(row: Model) -> Result<RoleChange, StoreError> {
    Ok(RoleChange {
        id: row.id,
        rule: row.rule,
        version: row.version,
        role: meant(&ROLES, &row.role)?,
        at: moment(row.at),
        origin: row.origin.parse().map_err(StoreError::Unreadable)?,
        on_change: row.on_change.map(|word| meant(&ON_CHANGE, &word)).transpose()?,
    })
}

async fn insert(tx: &DatabaseTransaction, shop: &ShopId, change: &RoleChange) -> Result<i64, DbErr> {
    if change.role != Role::Shadow {
        Entity::update_many()
            .col_expr(Column::Unfinished, Expr::value(0))
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::Rule.eq(&change.rule))
            .filter(Expr::cust("unfinished = 1"))
            .exec(tx)
            .await?;
    }
    let row = ActiveModel {
        shop: Set(shop.to_string()),
        rule: Set(change.rule.clone()),
        version: Set(change.version.clone()),
        role: Set(word(&ROLES, &change.role).to_owned()),
        at: Set(change.at.as_millisecond()),
        origin: Set(change.origin.to_string()),
        on_change: Set(change.on_change.map(|it| word(&ON_CHANGE, &it).to_owned())),
        unfinished: Set(i32::from(matches!(change.on_change, Some(OnChange::Migrate | OnChange::Cancel)))),
        ..Default::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

const FOLLOWED: Rows<2> = Rows {
    head: "UPDATE rule_history SET unfinished = 0 FROM (VALUES ",
    tail: ") WHERE id = column1 AND shop = column2",
};

/// Every waiting run that these changes concern has been dealt with.
pub(super) fn finish(batches: &mut Batches, shop: &ShopId, changes: Vec<i64>) {
    batches.add(&FOLLOWED, changes.into_iter().map(|change| [change.into(), shop.as_str().into()]));
}
