//! Writing many rows at a time, on the way that every event takes.
//!
//! A statement of many rows is prepared once and kept by the connection, so its number of rows must be one of a few:
//! 100 rows are written as 64, 32 and 4. The builder of sea-orm, which makes a statement for any number, costs more
//! than the writing itself.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement, Value};

/// The most rows of a statement: it must be a power of two.
const MOST: usize = 64;

/// A statement over many rows of `N` values.
pub(super) struct Rows<const N: usize> {
    /// What stands before the rows: `INSERT INTO payloads (event, body) VALUES`.
    pub(super) head: &'static str,
    /// What stands behind them.
    pub(super) tail: &'static str,
}

impl<const N: usize> Rows<N> {
    /// Writes them all, and says how many rows of the table it has changed.
    pub(super) async fn write(
        &self,
        tx: &DatabaseTransaction,
        rows: impl ExactSizeIterator<Item = [Value; N]>,
    ) -> Result<u64, DbErr> {
        let (mut rows, mut changed) = (rows, 0);
        while rows.len() > 0 {
            let count = step(rows.len());
            // The rows leave the iterator as they are taken.
            let values: Vec<Value> = rows.by_ref().take(count).flatten().collect();
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), self.sql(count), values);
            changed += tx.execute_raw(statement).await?.rows_affected();
        }
        Ok(changed)
    }

    fn sql(&self, count: usize) -> String {
        let row = row(N);
        let mut sql = String::with_capacity(self.head.len() + self.tail.len() + count * (row.len() + 1) + 2);
        sql.push_str(self.head);
        for at in 0..count {
            sql.push(if at == 0 { ' ' } else { ',' });
            sql.push_str(&row);
        }
        sql.push(' ');
        sql.push_str(self.tail);
        sql
    }
}

/// How many of so many rows the next statement takes: the largest power of two that there is.
fn step(left: usize) -> usize {
    1 << left.clamp(1, MOST).ilog2()
}

/// `(?,?)`.
fn row(columns: usize) -> String {
    let mut row = "?,".repeat(columns);
    row.pop();
    format!("({row})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_a_few_statements() {
        let mut left = 200;
        let mut steps = Vec::new();
        while left > 0 {
            steps.push(step(left));
            left -= step(left);
        }
        assert_eq!(steps, [64, 64, 64, 8]);
        assert_eq!([1, 2, 3, 63, 64, 65].map(step), [1, 2, 2, 32, 64, 64]);
        let rows: Rows<2> = Rows { head: "INSERT INTO a (b, c) VALUES", tail: "ON CONFLICT DO NOTHING" };
        assert_eq!(rows.sql(2), "INSERT INTO a (b, c) VALUES (?,?),(?,?) ON CONFLICT DO NOTHING");
    }
}
