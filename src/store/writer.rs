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
use super::commit_watch::{CommitMoment, CommitWatch};
use super::events::{self, Accept, Accepted};
use super::rows::MOST;

/// What an operation gives back once it is committed.
type Value = Box<dyn Any + Send>;

/// A write under way within the writer's transaction.
pub(super) type Writing<'t, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 't>>;

/// What a write does within the writer's transaction.
type Run = Box<dyn for<'t> FnOnce(&'t DatabaseTransaction) -> Writing<'t, Value> + Send>;

/// Who waits for a write.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A write that waits for its transaction, and who waits for it.
pub(super) enum Operation {
    /// Events to be accepted: those of a whole group are written together.
    Accept(Vec<Accept>, Reply<Vec<Accepted>>),
    /// Anything else.
    Run(Run, Reply<Value>),
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
    pub(super) fn start(connection: DatabaseConnection, group: usize, watch: Option<CommitWatch>) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(1024);
        let (closing, close) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let writing = move || runtime.block_on(write_groups(connection, watch.as_ref(), waiting, close, group.max(1)));
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
        self.queue.send(Operation::Run(run, reply)).await.map_err(|_| StoreError::Closed)?;
        let value = answer.await.map_err(|_| StoreError::Closed)??;
        value.downcast().map(|value| *value).map_err(|_| StoreError::Closed)
    }

    /// Accepts events in the next transaction, each once.
    pub(super) async fn accept(&self, events: Vec<Accept>) -> Result<Vec<Accepted>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Operation::Accept(events, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
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
    watch: Option<&CommitWatch>,
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
        write_group(&connection, watch, std::mem::take(&mut group)).await;
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store did not close cleanly");
    }
}

async fn write_group(connection: &DatabaseConnection, watch: Option<&CommitWatch>, group: Vec<Operation>) {
    let look = |moment| watch.iter().for_each(|watch| watch.look(moment));
    let (mut events, mut deliveries) = (Vec::new(), Vec::new());
    let (mut runs, mut replies) = (Vec::new(), Vec::new());
    for operation in group {
        match operation {
            Operation::Accept(some, reply) => {
                deliveries.push((some.len(), reply));
                events.extend(some);
            }
            Operation::Run(run, reply) => {
                runs.push(run);
                replies.push(reply);
            }
        }
    }
    let at_once = if runs.is_empty() && events.len() <= MOST {
        // What this cannot write, such as a repetition, is written one thing after the other.
        look(CommitMoment::Before);
        let accepted = events::insert_new(connection, &events).await.ok();
        accepted.iter().for_each(|_| look(CommitMoment::After));
        accepted
    } else {
        None
    };
    let written = match at_once {
        Some(accepted) => Ok((accepted, Vec::new())),
        None => transact(connection, &look, &events, runs).await,
    };
    // A reply that nobody waits for any more is written all the same.
    match written {
        Ok((accepted, values)) => {
            let mut accepted = accepted.into_iter();
            for (count, reply) in deliveries {
                let _ = reply.send(Ok(accepted.by_ref().take(count).collect()));
            }
            replies.into_iter().zip(values).for_each(|(reply, value)| drop(reply.send(Ok(value))));
        }
        Err(error) => {
            tracing::error!(%error, writes = deliveries.len() + replies.len(), "a group of writes was undone");
            // What other writes came to grief of must not turn deliveries away: they are tried by themselves.
            let alone = if replies.is_empty() {
                Err(error.clone())
            } else {
                transact(connection, &look, &events, Vec::new()).await
            };
            let error = StoreError::from(error);
            replies.into_iter().for_each(|reply| drop(reply.send(Err(error.clone()))));
            match alone {
                Ok((accepted, _)) => {
                    let mut accepted = accepted.into_iter();
                    for (count, reply) in deliveries {
                        let _ = reply.send(Ok(accepted.by_ref().take(count).collect()));
                    }
                }
                Err(error) => {
                    let error = StoreError::from(error);
                    deliveries.into_iter().for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
                }
            }
        }
    }
}

/// Accepts events and makes all other writes, in one transaction.
async fn transact(
    connection: &DatabaseConnection,
    look: &(dyn Fn(CommitMoment) + Sync),
    events: &[Accept],
    runs: Vec<Run>,
) -> Result<(Vec<Accepted>, Vec<Value>), DbErr> {
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(immediate).await?;
    let written = async {
        let accepted = events::insert(&transaction, events).await?;
        let mut values = Vec::with_capacity(runs.len());
        for run in runs {
            values.push(run(&transaction).await?);
        }
        Ok((accepted, values))
    }
    .await;
    match written {
        Ok(written) => {
            look(CommitMoment::Before);
            transaction.commit().await?;
            look(CommitMoment::After);
            Ok(written)
        }
        Err(error) => {
            transaction.rollback().await?;
            Err(error)
        }
    }
}
