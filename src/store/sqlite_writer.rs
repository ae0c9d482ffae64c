//! The single writer: an actor that owns the only writing connection, drains its queue into one transaction, and
//! answers each caller after the commit. Batches form by themselves under load; an idle writer adds no delay.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::time::Millis;
use crate::store::ballast::Ballast;
use crate::store::error::sqlite_code;
use crate::store::sqlite_apply::apply_changes;
use crate::store::sqlite_foreign::Foreign;
use crate::store::sqlite_insert::{InsertReply, Inserts, insert_rows};
use crate::store::sqlite_upkeep::set_meta;
use crate::store::sqlite_usual::Usual;
use crate::store::witness::{Testimony, Witness};
use crate::store::{NewMessages, StorageFault, StoreError};

/// Commands waiting for the writer. More block their callers, which is the back-pressure wanted.
const QUEUE: usize = 4_096;

/// Changes of state in one transaction: keeps a commit to some tens of milliseconds.
const CHANGES_IN_A_COMMIT: usize = 4_096;

/// After a batch in which something was not as usual, so many are carried out change by change: what is unusual seldom comes
/// alone (a pause, a broadcast taken back), and costs its batch twice where it is met.
const UNUSUAL_BATCHES: u32 = 16;

/// How often other processes' changes are looked for.
const LOOK_EVERY: Millis = Millis(100);

/// How often room is looked for while there is none, in looks for others: every second.
const LOOKS_BETWEEN_PROBES: u32 = 10;

/// Waits of five seconds for another program that holds the database, before a command gives up. The daemon never does:
/// what it has to write must not be lost.
const COMMANDS_WAITS: u32 = 6;

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
        let (reply, answer) = oneshot::channel();
        self.queue.send(Command::Apply(changes, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Stores messages of no occurrence in the next commit, together with those of other callers. Answers how many are new.
    pub(super) async fn insert(&self, messages: NewMessages) -> Result<u64, StoreError> {
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

async fn in_savepoint<T, F>(connection: &mut SqliteConnection, work: F) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    step(connection, "SAVEPOINT step").await?;
    let done = work(&mut *connection).await;
    end_step(connection, done).await
}

async fn apply_in_savepoint(connection: &mut SqliteConnection, all: &[Change]) -> Result<Vec<Verdict>, StoreError> {
    step(connection, "SAVEPOINT step").await?;
    let done = apply_changes(&mut *connection, all).await;
    end_step(connection, done).await
}

async fn step(connection: &mut SqliteConnection, how: &'static str) -> Result<(), StoreError> {
    sqlx::query(how).execute(connection).await.map_err(StoreError::database("begin or end a step"))?;
    Ok(())
}

/// A step that failed leaves nothing behind. After a fault of the storage SQLite may have rolled everything back by itself:
/// then the transaction is given up as a whole.
async fn end_step<T>(connection: &mut SqliteConnection, done: Result<T, StoreError>) -> Result<T, StoreError> {
    match &done {
        Ok(_) => step(connection, "RELEASE step").await?,
        Err(e) if e.storage_fault().is_some() => {}
        Err(_) => step(connection, "ROLLBACK TO step; RELEASE step").await?,
    }
    done
}

type Reply = oneshot::Sender<Result<Vec<Verdict>, StoreError>>;
type Apply = (Vec<Change>, Reply);

fn has_mark(changes: &[Change]) -> bool {
    changes.iter().any(|c| matches!(c.facts, Facts::Mark { .. }))
}

struct Actor {
    connection: SqliteConnection,
    commands: mpsc::Receiver<Command>,
    changes: Arc<watch::Sender<u64>>,
    foreign: Foreign,
    path: PathBuf,
    /// Of the daemon, which keeps the log short too; other commands must not stall it by that.
    own: Option<DaemonsOwn>,
    fault: Arc<watch::Sender<Option<StorageFault>>>,
    looks: u32,
    /// Batches that are not tried as usual ones.
    unusual: u32,
}

impl Actor {
    async fn run(mut self) {
        let mut batch = Vec::new();
        let mut look = clock::beats(LOOK_EVERY);
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
                None => self.look_around().await,
            }
        }
        self.close().await;
    }

    /// One transaction for the whole batch. Answers the close request, if the batch held one.
    async fn commit(&mut self, batch: Vec<Command>) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        let mut applies = Vec::new();
        let (mut inserts, mut works) = (Inserts::default(), Vec::new());
        for command in batch {
            match command {
                Command::Apply(changes, reply) => applies.push((changes, reply)),
                Command::Insert(messages, reply) => inserts.push(*messages, reply),
                Command::Work(work) => works.push(work),
                Command::Close(reply) => closing = Some(reply),
            }
        }
        // State changes first: somebody's send waits for them. Other work only when its turn has come, one by one in
        // the same commit.
        while !applies.is_empty() || !inserts.is_empty() || !works.is_empty() {
            let mut taken = 0;
            let mut now_applies = Vec::new();
            while let Some((changes, _)) = applies.first() {
                if taken > 0 && taken + changes.len() > CHANGES_IN_A_COMMIT {
                    break;
                }
                taken += changes.len();
                now_applies.push(applies.remove(0));
            }
            self.transaction(now_applies, std::mem::take(&mut inserts), std::mem::take(&mut works)).await;
        }
        closing
    }

    async fn transaction(&mut self, applies: Vec<Apply>, inserts: Inserts, works: Vec<Work>) {
        let known = self.fault.borrow().clone();
        let applies = match &known {
            // Nothing may be believed any more, and nothing is tried again: a flush that failed once may seem to
            // succeed the next time.
            Some(fault) if !fault.heals() => return self.refuse(applies, inserts, works, fault).await,
            Some(fault) => self.without_marks(applies, fault),
            None => applies,
        };
        let inserts = match applies.is_empty() && works.is_empty() {
            true => match self.insert_alone(inserts).await {
                Some(left) => left,
                None => return,
            },
            false => inserts,
        };
        if let Err(e) = self.begin().await {
            return self.refuse_for(applies, inserts, works, &e).await;
        }
        let usual = self.apply_usual(&applies).await;
        if let Err(e) = &usual
            && e.storage_fault().is_none()
        {
            return self.refuse_for(applies, inserts, works, e).await;
        }
        let (all, replies) = split(applies);
        let (applied, mut fault) = match usual {
            Ok(Some(verdicts)) => (Ok(verdicts), None),
            Ok(None) => self.apply(&all).await,
            Err(e) => {
                let fault = e.storage_fault();
                (Err(e), fault)
            }
        };
        let new = self.insert(&inserts, fault.as_ref()).await;
        fault = fault.or(new.iter().find_map(|new| new.as_ref().err().and_then(StoreError::storage_fault)));
        let (answers, fault) = self.work(works, fault).await;
        let end = self.end(fault).await;
        let outcome = || end.as_ref().copied().map_err(|e| again(e, &self.path));
        inserts.answer(new.into_iter().map(|new| outcome().and(new)));
        for answer in answers {
            answer(outcome());
        }
        match (applied, &end) {
            (_, Err(why)) => self.try_without_marks(all, replies, why).await,
            (Ok(verdicts), Ok(())) => {
                self.testify(&all, &verdicts);
                hand_out(replies, &verdicts);
            }
            (Err(e), Ok(())) => {
                tracing::error!(error = %e, "a batch of changes failed");
                for (reply, _) in replies {
                    let _ = reply.send(Err(again(&e, &self.path)));
                }
            }
        }
    }

    /// Waits for another program that holds the database. Nothing is dropped meanwhile: what is to be written queues.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let mut waits = 0;
        loop {
            let Err(e) = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await else { return Ok(()) };
            if !matches!(sqlite_code(&e), Some(5 | 6)) {
                return Err(StoreError::Database { doing: "begin a transaction", source: e });
            }
            waits += 1;
            if self.own.is_none() && waits >= COMMANDS_WAITS {
                return Err(StoreError::Occupied { path: self.path.clone(), seconds: waits * 5 });
            }
            tracing::warn!(
                seconds = waits * 5,
                "another program holds the database; what is to be written waits for it"
            );
        }
    }

    /// Carries out a batch in which all goes as usual. `None` where it does not, or fails: nothing of it is done then, and
    /// it is to be carried out change by change. Comes before anything else in its transaction.
    ///
    /// # Errors
    /// When the storage fails, or the transaction cannot be begun anew.
    async fn apply_usual(&mut self, applies: &[Apply]) -> Result<Option<Vec<Verdict>>, StoreError> {
        let changes = || applies.iter().flat_map(|(changes, _)| changes);
        let Some(usual) = Usual::of(changes()).filter(|_| self.unusual == 0) else {
            self.unusual = self.unusual.saturating_sub(1);
            return Ok(None);
        };
        let marks = usual.marks();
        let mut done = usual.apply(&mut self.connection).await;
        if let (Ok(true), Some(own), true) = (&done, &self.own, marks > 0)
            && let Err(e) = set_meta(&mut self.connection, MARKS, &(own.testimony.marks + marks).to_string()).await
        {
            done = Err(e);
        }
        if matches!(done, Ok(true)) {
            return Ok(Some(vec![Verdict::Applied; changes().count()]));
        }
        self.unusual = UNUSUAL_BATCHES;
        match done {
            Err(e) if e.storage_fault().is_some() => Err(e),
            done => {
                if let Err(e) = done {
                    tracing::warn!(error = %e, "a batch of changes failed and is carried out change by change");
                }
                let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
                self.begin().await.map(|()| None)
            }
        }
    }

    /// Carries out changes, and counts their marks beside them.
    async fn apply(&mut self, all: &[Change]) -> (Result<Vec<Verdict>, StoreError>, Option<StorageFault>) {
        if all.is_empty() {
            return (Ok(Vec::new()), None);
        }
        let mut applied = apply_in_savepoint(&mut self.connection, all).await;
        if let (Ok(verdicts), Some(own)) = (&applied, &self.own) {
            let marks = marks(all, verdicts);
            if marks > 0
                && let Err(e) = set_meta(&mut self.connection, MARKS, &(own.testimony.marks + marks).to_string()).await
            {
                applied = Err(e);
            }
        }
        let fault = applied.as_ref().err().and_then(StoreError::storage_fault);
        (applied, fault)
    }

    /// Carries out other work, each piece in a step of its own, unless the storage fails.
    async fn work(&mut self, works: Vec<Work>, mut fault: Option<StorageFault>) -> (Vec<Answer>, Option<StorageFault>) {
        let mut answers = Vec::with_capacity(works.len());
        for work in works {
            let connection = match &fault {
                None => Ok(&mut self.connection),
                Some(fault) => Err(fault.error(self.path.clone())),
            };
            let worked = work(connection).await;
            fault = fault.or(worked.fault);
            answers.push(worked.answer);
        }
        (answers, fault)
    }

    /// Where all there is to do is one statement, it is a transaction of its own. Answers what is left to be done in another
    /// one, if anything is.
    async fn insert_alone(&mut self, inserts: Inserts) -> Option<Inserts> {
        if !inserts.is_one_statement() {
            return (!inserts.is_empty()).then_some(inserts);
        }
        match inserts.together(&mut self.connection).await {
            Ok(new) => {
                self.recovered();
                inserts.answer(new.into_iter().flatten().map(Ok));
                None
            }
            Err(e) if e.storage_fault().is_some() => {
                self.refuse_for(Vec::new(), inserts, Vec::new(), &e).await;
                None
            }
            // Another program may hold the database, which is waited for with all that comes meanwhile.
            Err(_) => Some(inserts),
        }
    }

    /// Stores messages of all calls together, or, where some were known or refused, call by call, unless the storage fails.
    async fn insert(&mut self, inserts: &Inserts, fault: Option<&StorageFault>) -> Vec<Result<u64, StoreError>> {
        if let Some(fault) = fault {
            return inserts.calls().map(|_| Err(fault.error(self.path.clone()))).collect();
        }
        if inserts.is_empty() {
            return Vec::new();
        }
        let connection = &mut self.connection;
        let together = match step(connection, "SAVEPOINT step").await {
            Ok(()) => inserts.together(connection).await,
            Err(e) => Err(e),
        };
        match together {
            // Its step ends with the transaction.
            Ok(Some(new)) => return new.into_iter().map(Ok).collect(),
            Err(e) if e.storage_fault().is_some() => {
                return inserts.calls().map(|_| Err(again(&e, &self.path))).collect();
            }
            Ok(None) | Err(_) => {}
        }
        if let Err(e) = step(connection, "ROLLBACK TO step; RELEASE step").await {
            return inserts.calls().map(|_| Err(again(&e, &self.path))).collect();
        }
        let mut new = Vec::new();
        for call in inserts.calls() {
            let done = match step(connection, "SAVEPOINT step").await {
                Ok(()) => insert_rows(connection, call, None).await,
                Err(e) => Err(e),
            };
            new.push(end_step(connection, done).await);
        }
        new
    }

    /// Commits, or takes everything back after a fault.
    async fn end(&mut self, fault: Option<StorageFault>) -> Result<(), StoreError> {
        let failed = match fault {
            None => match sqlx::query("COMMIT").execute(&mut self.connection).await {
                Ok(_) => {
                    self.recovered();
                    return Ok(());
                }
                Err(e) => StoreError::Database { doing: "commit", source: e },
            },
            Some(fault) => fault.error(self.path.clone()),
        };
        tracing::debug!(error = %failed, "a transaction was taken back");
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        if let Some(fault) = failed.storage_fault() {
            self.meet(fault);
        }
        Err(failed)
    }

    /// The witness learns of marks that are durable now.
    fn testify(&mut self, all: &[Change], verdicts: &[Verdict]) {
        let marks = marks(all, verdicts);
        if let (Some(own), true) = (&mut self.own, marks > 0) {
            own.testimony.marks += marks;
            own.testimony.at = clock::now();
            own.witness.note(own.testimony);
        }
    }

    /// Where there is no room, the room kept for it is given up, so that what came of requests that are out is recorded. No
    /// mark uses it.
    async fn try_without_marks(&mut self, all: Vec<Change>, replies: Vec<(Reply, usize)>, why: &StoreError) {
        let mut rest = all.into_iter();
        let mut others = Vec::new();
        let full = matches!(self.fault.borrow().as_ref(), Some(StorageFault::NoRoom(_)));
        let path = self.path.clone();
        let fails = |reply: Reply| {
            let _ = reply.send(Err(again(why, &path)));
        };
        for (reply, length) in replies {
            let own: Vec<Change> = rest.by_ref().take(length).collect();
            if full && !has_mark(&own) { others.push((own, reply)) } else { fails(reply) }
        }
        if others.is_empty() {
            return;
        }
        if self.own.as_mut().is_some_and(|own| own.ballast.release()) {
            tracing::warn!("the room kept for a full disk is given up, to record what came of requests that are out");
            Box::pin(self.transaction(others, Inserts::default(), Vec::new())).await;
        } else {
            others.into_iter().for_each(|(_, reply)| fails(reply));
        }
    }

    fn without_marks(&self, applies: Vec<Apply>, fault: &StorageFault) -> Vec<Apply> {
        let (marks, others): (Vec<Apply>, Vec<Apply>) = applies.into_iter().partition(|(changes, _)| has_mark(changes));
        for (_, reply) in marks {
            let _ = reply.send(Err(fault.error(self.path.clone())));
        }
        others
    }

    async fn refuse(&self, applies: Vec<Apply>, inserts: Inserts, works: Vec<Work>, fault: &StorageFault) {
        self.refuse_for(applies, inserts, works, &fault.error(self.path.clone())).await;
    }

    async fn refuse_for(&self, applies: Vec<Apply>, inserts: Inserts, works: Vec<Work>, error: &StoreError) {
        if let Some(fault) = error.storage_fault() {
            self.meet(fault);
        } else {
            tracing::error!(%error, "the database could not begin a transaction");
        }
        for (_, reply) in applies {
            let _ = reply.send(Err(again(error, &self.path)));
        }
        inserts.answer(std::iter::repeat_with(|| Err(again(error, &self.path))));
        for work in works {
            let answer = work(Err(again(error, &self.path))).await.answer;
            answer(Err(again(error, &self.path)));
        }
    }

    /// Remembers a fault, and says it once.
    fn meet(&self, fault: StorageFault) {
        let known = self.fault.borrow().clone();
        if known.as_ref().is_some_and(|k| std::mem::discriminant(k) == std::mem::discriminant(&fault) || !k.heals()) {
            return;
        }
        tracing::error!("{}", fault.error(self.path.clone()));
        self.fault.send_replace(Some(fault));
    }

    /// Something was written: where there was no room, there is some now.
    fn recovered(&mut self) {
        if self.fault.borrow().is_none() || !self.own.as_mut().is_none_or(|own| own.ballast.retake()) {
            return;
        }
        tracing::info!("the database can be written again");
        self.fault.send_replace(None);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Looks for changes of other processes, and now and then for room where there is none.
    async fn look_around(&mut self) {
        let fault = self.fault.borrow().clone();
        if fault.as_ref().is_some_and(|f| !f.heals()) {
            return;
        }
        self.looks = self.looks.wrapping_add(1);
        if fault.is_some() && self.looks.is_multiple_of(LOOKS_BETWEEN_PROBES) {
            self.probe().await;
        }
        if self.foreign.changed(&mut self.connection).await {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    /// Writes something that changes nothing.
    async fn probe(&mut self) {
        let written = async |c: &mut SqliteConnection| {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut *c).await?;
            sqlx::query("UPDATE meta SET value = value WHERE name = 'seed'").execute(&mut *c).await?;
            sqlx::query("COMMIT").execute(&mut *c).await
        };
        match written(&mut self.connection).await {
            Ok(_) => self.recovered(),
            Err(e) => {
                let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
                if let Some(fault) = StorageFault::of(&e) {
                    self.meet(fault);
                }
            }
        }
    }

    async fn close(mut self) {
        if self.own.is_some() && self.fault.borrow().is_none() {
            // Whoever still reads keeps the log from being folded in, but not the daemon from ending.
            let _ = sqlx::query("PRAGMA busy_timeout = 100").execute(&mut self.connection).await;
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await;
        }
        let _ = self.connection.close().await;
    }
}

fn split(applies: Vec<Apply>) -> (Vec<Change>, Vec<(Reply, usize)>) {
    let mut all = Vec::new();
    let mut replies = Vec::with_capacity(applies.len());
    for (changes, reply) in applies {
        replies.push((reply, changes.len()));
        all.extend(changes);
    }
    (all, replies)
}

/// How many marks were made.
fn marks(all: &[Change], verdicts: &[Verdict]) -> u64 {
    let made =
        all.iter().zip(verdicts).filter(|(c, v)| matches!(c.facts, Facts::Mark { .. }) && **v == Verdict::Applied);
    u64::try_from(made.count()).unwrap_or(0)
}

fn hand_out(replies: Vec<(Reply, usize)>, verdicts: &[Verdict]) {
    let mut rest = verdicts;
    for (reply, length) in replies {
        let (own, others) = rest.split_at(length.min(rest.len()));
        rest = others;
        let _ = reply.send(Ok(own.to_vec()));
    }
}

/// sqlx's errors cannot be cloned; several callers of one commit each get its words.
pub(super) fn again(error: &StoreError, path: &std::path::Path) -> StoreError {
    match (error.storage_fault(), error) {
        (Some(fault), _) => fault.error(path.to_owned()),
        (None, StoreError::Occupied { path, seconds }) => {
            StoreError::Occupied { path: path.clone(), seconds: *seconds }
        }
        (None, StoreError::Database { doing, source }) => {
            StoreError::Database { doing, source: sqlx::Error::Protocol(source.to_string()) }
        }
        (None, other) => {
            StoreError::Database { doing: "write changes", source: sqlx::Error::Protocol(other.to_string()) }
        }
    }
}
