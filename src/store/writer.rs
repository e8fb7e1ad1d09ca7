//! The writer: takes writes from everybody, puts those that wait into one transaction, answers after the commit.
//!
//! It has a thread of its own. Each statement is a question to the connection's thread and an answer; a task among
//! those of a busy server would wait its turn behind the requests for every one of them, in the middle of a transaction
//! that everybody waits for.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::StoreError;

/// What an operation gives back once it is committed.
type Value = Box<dyn Any + Send>;

/// A write under way within the writer's transaction.
pub(super) type Writing<'t, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 't>>;

/// What a write does within the writer's transaction.
type Run = Box<dyn for<'t> FnOnce(&'t DatabaseTransaction) -> Writing<'t, Value> + Send>;

/// A write that waits for its transaction, and who waits for it.
pub(super) struct Operation {
    run: Run,
    reply: oneshot::Sender<Result<Value, StoreError>>,
}

/// Hands writes to the one thread that owns the writing connection.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: Arc<mpsc::Sender<Operation>>,
    closing: Arc<watch::Sender<bool>>,
}

impl Writer {
    /// Starts the thread. It ends when the last handle is dropped, or after [`Writer::close`].
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub(super) fn start(connection: DatabaseConnection, group: usize) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(1024);
        let (closing, close) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let writing = move || runtime.block_on(write_groups(connection, waiting, close, group.max(1)));
        std::thread::Builder::new().name("storehand-writer".to_owned()).spawn(writing)?;
        Ok(Self { queue: Arc::new(queue), closing: Arc::new(closing) })
    }

    /// Runs `operation` in the next transaction and returns its value when that is on disk.
    ///
    /// An error of the database undoes the whole group, and everybody in it hears of it: such errors (disk full,
    /// file damaged) are nobody's own.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: impl for<'t> FnOnce(&'t DatabaseTransaction) -> Writing<'t, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let run: Run = Box::new(move |tx| {
            let writing = operation(tx);
            Box::pin(async move { writing.await.map(|value| Box::new(value) as Value) })
        });
        self.queue.send(Operation { run, reply }).await.map_err(|_| StoreError::Closed)?;
        let value = answer.await.map_err(|_| StoreError::Closed)??;
        value.downcast().map(|value| *value).map_err(|_| StoreError::Closed)
    }

    /// A handle that does not keep the thread alive.
    pub(super) fn downgrade(&self) -> std::sync::Weak<mpsc::Sender<Operation>> {
        Arc::downgrade(&self.queue)
    }

    /// Lets what is queued be written, takes nothing more, and returns when it has ended.
    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        self.closing.closed().await;
    }
}

async fn write_groups(
    connection: DatabaseConnection,
    mut waiting: mpsc::Receiver<Operation>,
    mut close: watch::Receiver<bool>,
    most: usize,
) {
    let mut group = Vec::with_capacity(most);
    loop {
        let taken = tokio::select! {
            biased;
            taken = waiting.recv_many(&mut group, most) => taken,
            closed = close.wait_for(|closed| *closed), if !waiting.is_closed() => {
                // Either we were told to close, or every handle is gone; both end the queue.
                drop(closed);
                waiting.close();
                continue;
            }
        };
        if taken == 0 {
            break;
        }
        write_group(&connection, std::mem::take(&mut group)).await;
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store did not close cleanly");
    }
}

async fn write_group(connection: &DatabaseConnection, group: Vec<Operation>) {
    let mut replies = Vec::with_capacity(group.len());
    let mut values = Vec::with_capacity(group.len());
    let result: Result<(), DbErr> = async {
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = connection.begin_with_options(immediate).await;
        let mut failed = None;
        for Operation { run, reply } in group {
            replies.push(reply);
            if let (Ok(transaction), None) = (&transaction, &failed) {
                match run(transaction).await {
                    Ok(value) => values.push(value),
                    Err(error) => failed = Some(error),
                }
            }
        }
        let transaction = transaction?;
        match failed {
            None => transaction.commit().await,
            Some(error) => {
                transaction.rollback().await?;
                Err(error)
            }
        }
    }
    .await;
    match result {
        // A reply that nobody waits for any more is written all the same.
        Ok(()) => replies.into_iter().zip(values).for_each(|(reply, value)| drop(reply.send(Ok(value)))),
        Err(error) => {
            tracing::error!(%error, writes = replies.len(), "a group of writes was undone");
            let error = StoreError::from(error);
            replies.into_iter().for_each(|reply| drop(reply.send(Err(error.clone()))));
        }
    }
}
