//! The single writer: an actor that owns the only writing connection, drains its queue into one transaction, and
//! answers each caller after the commit. Batches form by themselves under load; an idle writer adds no delay.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::message::{Change, Verdict};
use crate::store::StoreError;
use crate::store::sqlite_apply::apply_changes;

/// Commands waiting for the writer. More block their callers, which is the back-pressure wanted.
const QUEUE: usize = 4_096;

/// Changes of state in one transaction: keeps a commit to some tens of milliseconds.
const CHANGES_IN_A_COMMIT: usize = 4_096;

/// How often other processes' changes are looked for: one `PRAGMA data_version` each time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Work = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Answer> + Send>;

enum Command {
    Apply(Vec<Change>, oneshot::Sender<Result<Vec<Verdict>, StoreError>>),
    Work(Work),
    Close(oneshot::Sender<()>),
}

/// A handle to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
    changes: Arc<watch::Sender<u64>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Starts the actor on its connection.
    pub(super) fn start(connection: SqliteConnection, daemon: bool) -> Writer {
        let (queue, commands) = mpsc::channel(QUEUE);
        let changes = Arc::new(watch::Sender::new(0));
        let actor = Actor { connection, commands, changes: Arc::clone(&changes), data_version: None, daemon };
        tokio::spawn(actor.run());
        Writer { queue, changes }
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
        let (reply, answer) = oneshot::channel();
        self.queue.send(Command::Apply(changes, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` inside the next transaction, in a savepoint of its own, and answers after the commit.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let boxed: Work = Box::new(move |connection| {
            Box::pin(async move {
                let done = in_savepoint(connection, work).await;
                let answer: Answer = Box::new(move |committed| {
                    let _ = reply.send(committed.and(done));
                });
                answer
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

async fn in_savepoint<T, F>(connection: &mut SqliteConnection, work: F) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    let doing = StoreError::database("begin a step");
    sqlx::query("SAVEPOINT step").execute(&mut *connection).await.map_err(doing)?;
    let done = work(&mut *connection).await;
    let end = if done.is_ok() { "RELEASE step" } else { "ROLLBACK TO step; RELEASE step" };
    sqlx::query(end).execute(&mut *connection).await.map_err(StoreError::database("end a step"))?;
    done
}

struct Actor {
    connection: SqliteConnection,
    commands: mpsc::Receiver<Command>,
    changes: Arc<watch::Sender<u64>>,
    data_version: Option<i64>,
    /// Whether this process is the daemon, which keeps the log short; other commands must not stall it by that.
    daemon: bool,
}

impl Actor {
    async fn run(mut self) {
        let mut batch = Vec::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Only receiving and ticking stand in the select: neither loses anything when the other wins.
            let received = tokio::select! {
                biased;
                n = self.commands.recv_many(&mut batch, 256) => Some(n),
                _ = look.tick() => None,
            };
            match received {
                Some(0) => break,
                Some(_) => {
                    if let Some(closed) = self.commit(std::mem::take(&mut batch)).await {
                        self.close().await;
                        let _ = closed.send(());
                        return;
                    }
                }
                None => self.look_for_others().await,
            }
        }
        self.close().await;
    }

    /// One transaction for the whole batch. Answers the close request, if the batch held one.
    async fn commit(&mut self, batch: Vec<Command>) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        let mut applies = Vec::new();
        let mut works = Vec::new();
        for command in batch {
            match command {
                Command::Apply(changes, reply) => applies.push((changes, reply)),
                Command::Work(work) => works.push(work),
                Command::Close(reply) => closing = Some(reply),
            }
        }
        // State changes first: somebody's send waits for them. Other work only when its turn has come, one by one in
        // the same commit.
        while !applies.is_empty() || !works.is_empty() {
            let mut taken = 0;
            let mut now_applies = Vec::new();
            while let Some((changes, _)) = applies.first() {
                if taken > 0 && taken + changes.len() > CHANGES_IN_A_COMMIT {
                    break;
                }
                taken += changes.len();
                now_applies.push(applies.remove(0));
            }
            self.transaction(now_applies, std::mem::take(&mut works)).await;
        }
        closing
    }

    #[expect(clippy::type_complexity, reason = "a list of pending answers, used here only")]
    async fn transaction(
        &mut self,
        applies: Vec<(Vec<Change>, oneshot::Sender<Result<Vec<Verdict>, StoreError>>)>,
        works: Vec<Work>,
    ) {
        if let Err(e) = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await {
            fail_all(applies, &e);
            // Their answers are dropped with them: the callers read `Closed`, and try again.
            tracing::warn!(error = %e, "the database could not begin a transaction");
            return;
        }
        let (all, replies) = split(applies);
        let applied = if all.is_empty() { Ok(Vec::new()) } else { apply_in_savepoint(&mut self.connection, all).await };
        let mut answers = Vec::with_capacity(works.len());
        for work in works {
            answers.push(work(&mut self.connection).await);
        }
        let committed = sqlx::query("COMMIT").execute(&mut self.connection).await;
        if let Err(e) = &committed {
            tracing::error!(error = %e, "the database could not commit");
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        }
        let outcome = || match &committed {
            Ok(_) => Ok(()),
            Err(e) => Err(StoreError::Database { doing: "commit", source: copy_of(e) }),
        };
        match applied {
            Ok(verdicts) => hand_out(replies, &verdicts, outcome),
            Err(e) => {
                tracing::error!(error = %e, "a batch of changes failed");
                for (reply, _) in replies {
                    let source = sqlx::Error::Protocol(e.to_string());
                    let _ = reply.send(Err(StoreError::Database { doing: "write changes", source }));
                }
            }
        }
        for answer in answers {
            answer(outcome());
        }
    }

    async fn look_for_others(&mut self) {
        let version = sqlx::query_scalar::<_, i64>("PRAGMA data_version").fetch_one(&mut self.connection).await.ok();
        if version.is_some() && self.data_version.replace(version.unwrap_or(0)) != version {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    async fn close(mut self) {
        if self.daemon {
            let _ = sqlx::query("PRAGMA optimize").execute(&mut self.connection).await;
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await;
        }
        let _ = self.connection.close().await;
    }
}

type Reply = oneshot::Sender<Result<Vec<Verdict>, StoreError>>;

fn split(applies: Vec<(Vec<Change>, Reply)>) -> (Vec<Change>, Vec<(Reply, usize)>) {
    let mut all = Vec::new();
    let mut replies = Vec::with_capacity(applies.len());
    for (changes, reply) in applies {
        replies.push((reply, changes.len()));
        all.extend(changes);
    }
    (all, replies)
}

fn hand_out(replies: Vec<(Reply, usize)>, verdicts: &[Verdict], outcome: impl Fn() -> Result<(), StoreError>) {
    let mut rest = verdicts;
    for (reply, length) in replies {
        let (own, others) = rest.split_at(length.min(rest.len()));
        rest = others;
        let _ = reply.send(outcome().map(|()| own.to_vec()));
    }
}

fn fail_all(applies: Vec<(Vec<Change>, Reply)>, error: &sqlx::Error) {
    for (_, reply) in applies {
        let _ = reply.send(Err(StoreError::Database { doing: "begin a transaction", source: copy_of(error) }));
    }
}

/// sqlx's errors cannot be cloned; several callers of one commit each get its words.
fn copy_of(error: &sqlx::Error) -> sqlx::Error {
    sqlx::Error::Protocol(error.to_string())
}

async fn apply_in_savepoint(
    connection: &mut SqliteConnection,
    changes: Vec<Change>,
) -> Result<Vec<Verdict>, StoreError> {
    in_savepoint(connection, move |c| Box::pin(async move { apply_changes(c, &changes).await })).await
}
