//! What was spent: one row a write, written in the transaction that writes the write as pending. Limits and fuses count
//! these; whether an event only tells of our own write, and what there is to take back, is looked up here too.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{FromQueryResult, Value};

use super::events::moment;
use super::rows::{Batches, Rows};
use super::{Store, StoreError, calls};
use crate::domain::{Call, Mode, Money, RunId, ShopId};

/// Amounts that are added up at the most; whoever has more has spent too much to be counted.
const MOST_AMOUNTS: usize = 100_000;

/// A write that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// Of which rule.
    pub rule: String,
    /// When it was planned.
    pub at: Timestamp,
    /// Of which run.
    pub run: RunId,
    /// Which call.
    pub path: String,
    /// Whether a live run makes it or a run that takes back. The latter is not counted.
    pub mode: Mode,
    /// What it uses.
    pub capability: String,
    /// Which customer sees it, where one does; any text that is the same for the same customer.
    pub customer: Option<String>,
    /// Money that it moves.
    pub money: Option<Money>,
    /// What it changes at the platform: `order/1042`.
    pub about: Option<String>,
}

#[derive(FromQueryResult)]
struct At {
    at: i64,
}

#[derive(FromQueryResult)]
struct Amount {
    amount: String,
    currency: String,
}

#[derive(FromQueryResult)]
struct Place {
    run: i64,
    path: String,
}

#[derive(FromQueryResult)]
struct OfRun {
    run: i64,
}

#[derive(FromQueryResult)]
struct Undone {
    run: i64,
    undo: i64,
}

#[derive(FromQueryResult)]
struct Began {
    rule: String,
    subject: String,
    started: i64,
}

/// When a run of a rule on a subject began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentRun {
    /// The rule's id.
    pub rule: String,
    /// The event's subject.
    pub subject: String,
    /// When it began.
    pub started: Timestamp,
}

fn number(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

impl Store {
    /// When the last `most` writes of a rule were planned, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spent_times(&self, shop: &ShopId, rule: &str, most: usize) -> Result<Vec<Timestamp>, StoreError> {
        let sql = "SELECT at FROM spent WHERE shop = ? AND rule = ? AND mode = 0 ORDER BY at DESC LIMIT ?";
        let values = [shop.as_str().into(), rule.into(), number(most).into()];
        let mut rows = At::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        rows.reverse();
        Ok(rows.into_iter().map(|row| moment(row.at)).collect())
    }

    /// The money that a rule's writes have moved since then; `None` where these are too many to be counted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spent_money(
        &self,
        shop: &ShopId,
        rule: &str,
        since: Timestamp,
    ) -> Result<Option<Vec<Money>>, StoreError> {
        let sql = "SELECT amount, currency FROM spent WHERE shop = ? AND rule = ? AND at > ? AND mode = 0 \
                   AND amount IS NOT NULL AND currency IS NOT NULL LIMIT ?";
        let values = [shop.as_str().into(), rule.into(), since.as_millisecond().into(), number(MOST_AMOUNTS).into()];
        let rows = Amount::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        if rows.len() >= MOST_AMOUNTS {
            return Ok(None);
        }
        let money = |row: &Amount| {
            let read = format!("{} {}", row.amount, row.currency).parse();
            read.map_err(|error| StoreError::Unreadable(format!("an amount that was spent: {error}")))
        };
        rows.iter().map(money).collect::<Result<_, _>>().map(Some)
    }

    /// When the `nth` of the last writes that this customer sees was planned (1 is the last): of one rule, else of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spent_on_customer(
        &self,
        shop: &ShopId,
        customer: &str,
        rule: Option<&str>,
        nth: usize,
    ) -> Result<Option<Timestamp>, StoreError> {
        let of_rule = if rule.is_some() { "AND rule = ?" } else { "" };
        let sql = format!(
            "SELECT at FROM spent WHERE shop = ? AND customer = ? AND mode = 0 {of_rule} ORDER BY at DESC LIMIT 1 OFFSET ?"
        );
        let mut values: Vec<Value> = vec![shop.as_str().into(), customer.into()];
        values.extend(rule.map(Value::from));
        values.push(number(nth.saturating_sub(1)).into());
        let row = At::find_by_statement(self.read(&sql, values)).one(&self.readers).await?;
        Ok(row.map(|row| moment(row.at)))
    }

    /// Our own last writes to something at the platform, the newest first, as they stand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn own_writes(&self, shop: &ShopId, about: &str, most: usize) -> Result<Vec<(RunId, Call)>, StoreError> {
        let sql = "SELECT run, path FROM spent WHERE shop = ? AND about = ? ORDER BY at DESC LIMIT ?";
        let values = [shop.as_str().into(), about.into(), number(most).into()];
        let places = Place::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        let mut of_runs = calls::of_runs(&self.readers, places.iter().map(|place| place.run).collect()).await?;
        let mut taken = |place: Place| {
            let calls = of_runs.get_mut(&place.run)?;
            let at = calls.iter().position(|call| call.path == place.path)?;
            Some((RunId(place.run), calls.swap_remove(at)))
        };
        Ok(places.into_iter().filter_map(&mut taken).collect())
    }

    /// Live runs of a rule with a write that was answered within this time, before `before`, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs_that_wrote(
        &self,
        shop: &ShopId,
        rule: &str,
        (since, until): (Timestamp, Timestamp),
        before: RunId,
        most: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        // A write is answered after it was planned, sometimes long after.
        let sql = "SELECT DISTINCT spent.run AS run FROM spent JOIN calls ON calls.run = spent.run AND calls.path = spent.path \
                   WHERE spent.shop = ? AND spent.rule = ? AND spent.at <= ? AND spent.mode = 0 AND spent.run < ? \
                   AND calls.state = 4 AND calls.answered >= ? AND calls.answered <= ? ORDER BY spent.run DESC LIMIT ?";
        let (since, until) = (since.as_millisecond(), until.as_millisecond());
        let values = [
            shop.as_str().into(),
            rule.into(),
            until.into(),
            before.0.into(),
            since.into(),
            until.into(),
            number(most).into(),
        ];
        let rows = OfRun::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| RunId(row.run)).collect())
    }

    /// For those of these runs that are taken back, by which run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn undone(&self, shop: &ShopId, runs: &[RunId]) -> Result<HashMap<RunId, RunId>, StoreError> {
        let mut undone = HashMap::new();
        for some in runs.chunks(200) {
            let marks = vec!["?"; some.len()].join(", ");
            let sql = format!(
                "SELECT runs.id AS run, undo.id AS undo FROM runs JOIN runs AS undo ON undo.event = runs.event \
                 AND undo.rule = runs.rule AND undo.mode = 2 WHERE runs.shop = ? AND runs.mode = 0 AND runs.id IN ({marks})"
            );
            let values = std::iter::once(shop.as_str().into()).chain(some.iter().map(|run| run.0.into()));
            let rows = Undone::find_by_statement(self.read(&sql, values)).all(&self.readers).await?;
            undone.extend(rows.into_iter().map(|row| (RunId(row.run), RunId(row.undo))));
        }
        Ok(undone)
    }

    /// Live runs of this shop that began after `since`, among the store's newest `most`; the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recent_runs(
        &self,
        shop: &ShopId,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<RecentRun>, StoreError> {
        let sql = "SELECT newest.rule AS rule, events.subject AS subject, newest.started AS started FROM \
                   (SELECT id, shop, rule, event, mode, started FROM runs ORDER BY id DESC LIMIT ?) AS newest \
                   JOIN events ON events.id = newest.event \
                   WHERE newest.shop = ? AND newest.mode = 0 AND newest.started > ? ORDER BY newest.id";
        let values = [number(most).into(), shop.as_str().into(), since.as_millisecond().into()];
        let rows = Began::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        let recent = |row: Began| RecentRun { rule: row.rule, subject: row.subject, started: moment(row.started) };
        Ok(rows.into_iter().map(recent).collect())
    }
}

const SPENT: Rows<11> = Rows {
    head: "INSERT INTO spent (run, path, shop, rule, at, mode, capability, customer, currency, amount, about) VALUES ",
    tail: "",
};

/// Writes down what was spent.
pub(super) fn insert(batches: &mut Batches, shop: &ShopId, spent: Vec<Spent>) {
    let row = |one: Spent| -> [Value; 11] {
        [
            one.run.0.into(),
            one.path.into(),
            shop.as_str().into(),
            one.rule.into(),
            one.at.as_millisecond().into(),
            super::runs::mode_number(one.mode).into(),
            one.capability.into(),
            one.customer.into(),
            one.money.map(|money| money.currency.to_string()).into(),
            one.money.map(|money| money.amount.to_string()).into(),
            one.about.into(),
        ]
    };
    batches.add(&SPENT, spent.into_iter().map(row));
}
