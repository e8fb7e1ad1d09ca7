//! Writing many rows at a time: the one way in which a turn's changes and deliveries are written; and asking for many.
//!
//! The builder of sea-orm makes a statement for its rows each time, which costs more than writing them. Here the
//! statement for 1 row, 2 rows, … 64 rows is written out, prepared once and kept by the connection. Whoever changes
//! something makes the statements; the one writer, for whom everybody waits, only hands them to its connection, since
//! each is a way to that connection's thread and back.

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement, Value};

/// The most rows of a statement.
pub(super) const MOST: usize = 64;

/// How to write rows of `N` values.
#[derive(Clone, Copy)]
pub(super) struct Rows<const N: usize> {
    /// What stands before the rows: `INSERT INTO payloads (event, body) VALUES `.
    pub(super) head: &'static str,
    /// What stands behind them.
    pub(super) tail: &'static str,
}

/// Statements that are made and not yet written.
#[derive(Default)]
pub(super) struct Batches(Vec<Batch>);

impl Batches {
    /// Adds rows of one table, however many.
    pub(super) fn add<const N: usize>(&mut self, into: &Rows<N>, rows: impl IntoIterator<Item = [Value; N]>) {
        let mut rows = rows.into_iter();
        loop {
            let mut batch = Batch::default();
            batch.add(into, rows.by_ref().take(MOST));
            if batch.values.is_empty() {
                return;
            }
            self.0.push(batch);
        }
    }

    /// Writes them in their order.
    pub(super) async fn write(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        for batch in self.0 {
            batch.write(tx).await?;
        }
        Ok(())
    }
}

impl<const N: usize> Rows<N> {
    /// The statements that ask for these: `SELECT … FROM (VALUES (?,?),(?,?)) AS asked CROSS JOIN …`. The join is a
    /// cross join so that the rows come first: SQLite looks each up by the index, where `OR` has it go through the table.
    pub(super) fn ask(&self, rows: impl IntoIterator<Item = [Value; N]>) -> Vec<Statement> {
        let mut batches = Batches::default();
        batches.add(self, rows);
        batches.0.into_iter().map(Batch::statement).collect()
    }
}

/// Rows of several tables that are written together, at most 64 of each.
#[derive(Default)]
pub(super) struct Batch {
    sql: String,
    values: Vec<Value>,
}

impl Batch {
    /// Adds rows of one table.
    pub(super) fn add<const N: usize>(&mut self, into: &Rows<N>, rows: impl Iterator<Item = [Value; N]>) {
        let before = self.values.len();
        self.values.extend(rows.flatten());
        let count = (self.values.len() - before) / N;
        if count == 0 {
            return;
        }
        let row = row(N);
        self.sql.reserve(into.head.len() + into.tail.len() + count * row.len() + 2);
        self.sql.push_str(into.head);
        self.sql.push_str(&row[1..]);
        (1..count).for_each(|_| self.sql.push_str(&row));
        self.sql.push_str(into.tail);
        self.sql.push(';');
    }

    fn statement(self) -> Statement {
        Statement::from_sql_and_values(DbBackend::Sqlite, self.sql, self.values)
    }

    /// Writes them, and says how many rows it has changed.
    pub(super) async fn write(self, connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
        Ok(connection.execute_raw(self.statement()).await?.rows_affected())
    }

    /// Writes them in a transaction of their own: one way to the connection's thread and back for all of it.
    ///
    /// # Errors
    /// [`DbErr`], and then nothing of it is written.
    pub(super) async fn commit(mut self, connection: &DatabaseConnection) -> Result<(), DbErr> {
        self.sql = format!("BEGIN IMMEDIATE;{}COMMIT;", self.sql);
        let written = self.write(connection).await;
        if written.is_err() {
            // Some errors have ended the transaction already, and then there is none to undo.
            let _ = connection.execute_unprepared("ROLLBACK").await;
        }
        written.map(|_| ())
    }
}

/// `,(?,?)`.
fn row(columns: usize) -> String {
    let mut row = String::with_capacity(2 * columns + 2);
    row.push_str(",(?");
    (1..columns).for_each(|_| row.push_str(",?"));
    row.push(')');
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_written_out_for_its_rows() {
        let rows: Rows<2> = Rows { head: "INSERT INTO a (b, c) VALUES ", tail: " ON CONFLICT DO NOTHING" };
        let others: Rows<1> = Rows { head: "DELETE FROM d WHERE e IN (VALUES ", tail: ")" };
        let mut batch = Batch::default();
        batch.add(&rows, [[1.into(), 2.into()], [3.into(), 4.into()]].into_iter());
        batch.add(&others, [[5.into()]].into_iter());
        batch.add(&others, std::iter::empty());
        let first = "INSERT INTO a (b, c) VALUES (?,?),(?,?) ON CONFLICT DO NOTHING;";
        assert_eq!(batch.sql, format!("{first}DELETE FROM d WHERE e IN (VALUES (?));"));
        assert_eq!(batch.values.len(), 5);

        let mut batches = Batches::default();
        batches.add(&others, (0..130).map(|number| [number.into()]));
        batches.add(&others, []);
        assert_eq!(batches.0.iter().map(|batch| batch.values.len()).collect::<Vec<_>>(), [64, 64, 2]);
    }
}
