//! The single writer: an actor that owns the only writing connection, drains its queue into one transaction, and
//! answers each caller after the commit. Batches form by themselves under load; an idle writer adds no delay.

mod actor;
mod faults;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::message::{Change, Verdict};
use crate::store::ballast::Ballast;
use crate::store::sqlite_foreign::Foreign;
use crate::store::sqlite_insert::InsertReply;
use crate::store::whereabouts::OpenFiles;
use crate::store::witness::{Testimony, Witness};
use crate::store::{NewMessages, StorageFault, StoreError};
use crate::yield_point;
use actor::Actor;
pub(super) use faults::again;
use steps::in_savepoint;

/// Commands waiting for the writer. More block their callers, which is the back-pressure wanted.
const QUEUE: usize = 4_096;

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Work = Box<dyn for<'c> FnOnce(Result<&'c mut SqliteConnection, StoreError>) -> BoxFuture<'c, Worked> + Send>;

/// A piece of work that was carried out, or was not.
struct Worked {
    answer: Answer,
    /// What it met, after which nothing more of its transaction may be believed.
    fault: Option<StorageFault>,
}

enum Command {
    Apply(Vec<Change>, oneshot::Sender<Result<Vec<Verdict>, StoreError>>),
    Insert(Box<NewMessages>, InsertReply),
    Work(Work),
    Close(oneshot::Sender<()>),
}

/// A handle to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
    changes: Arc<watch::Sender<u64>>,
    fault: Arc<watch::Sender<Option<StorageFault>>>,
}

/// What belongs to the daemon's writer alone.
pub(super) struct DaemonsOwn {
    pub witness: Witness,
    pub testimony: Testimony,
    pub ballast: Ballast,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Starts the actor on its connection.
    pub(super) fn start(connection: SqliteConnection, path: PathBuf, own: Option<DaemonsOwn>) -> Writer {
        let (queue, commands) = mpsc::channel(QUEUE);
        let changes = Arc::new(watch::Sender::new(0));
        let fault = Arc::new(watch::Sender::new(None));
        let actor = Actor {
            connection,
            commands,
            changes: Arc::clone(&changes),
            foreign: Foreign::new(&path),
            files: OpenFiles::of(&path),
            path,
            own,
            fault: Arc::clone(&fault),
            looks: 0,
            unusual: 0,
        };
        tokio::spawn(actor.run());
        Writer { queue, changes, fault }
    }

    /// What is wrong with the storage, if anything is.
    pub(super) fn fault(&self) -> watch::Receiver<Option<StorageFault>> {
        self.fault.subscribe()
    }

    /// Somebody who only reads met a fault after which nothing may be believed.
    pub(super) fn report(&self, fault: StorageFault) {
        if !fault.heals() && self.fault.borrow().as_ref().is_none_or(StorageFault::heals) {
            self.fault.send_replace(Some(fault));
        }
    }

    /// Counts up whenever somebody changed the database.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells this process's own listeners that new work may have come.
    pub(super) fn tell(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Carries out guarded changes in the next commit.
    pub(super) async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Verdict>, StoreError> {
        yield_point::pass().await;
        let (reply, answer) = oneshot::channel();
        self.queue.send(Command::Apply(changes, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Stores messages of no occurrence in the next commit, together with those of other callers. Answers how many are new.
    pub(super) async fn insert(&self, messages: NewMessages) -> Result<u64, StoreError> {
        yield_point::pass().await;
        let (reply, answer) = oneshot::channel();
        self.queue.send(Command::Insert(Box::new(messages), reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` inside the next transaction, in a savepoint of its own, and answers after the commit.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        yield_point::pass().await;
        let (reply, answer) = oneshot::channel();
        let boxed: Work = Box::new(move |connection| {
            Box::pin(async move {
                let done = match connection {
                    Ok(connection) => in_savepoint(connection, work).await,
                    Err(e) => Err(e),
                };
                let fault = done.as_ref().err().and_then(StoreError::storage_fault);
                let answer: Answer = Box::new(move |committed| {
                    let _ = reply.send(committed.and(done));
                });
                Worked { answer, fault }
            })
        });
        self.queue.send(Command::Work(boxed)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits what is queued, folds the log into the file, and ends.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Command::Close(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// Under this name the database counts the marks it has made.
pub(super) const MARKS: &str = "marks";
