//! The actor at the writing connection: one transaction for whatever has come together.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use super::faults::again;
use super::steps::{apply_in_savepoint, end_step, step};
use super::{Answer, Command, DaemonsOwn, MARKS, Work};
use crate::clock::{self, Stopwatch};
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::time::Millis;
use crate::store::error::sqlite_code;
use crate::store::sqlite_foreign::Foreign;
use crate::store::sqlite_insert::{Inserts, insert_rows};
use crate::store::sqlite_upkeep::set_meta;
use crate::store::sqlite_usual::Usual;
use crate::store::whereabouts::OpenFiles;
use crate::store::{StorageFault, StoreError};

/// Changes of state in one transaction: keeps a commit to some tens of milliseconds.
const CHANGES_IN_A_COMMIT: usize = 4_096;

/// After a batch in which something was not as usual, so many are carried out change by change: what is unusual seldom comes
/// alone (a pause, a broadcast taken back), and costs its batch twice where it is met.
const UNUSUAL_BATCHES: u32 = 16;

/// How often other processes' changes are looked for.
const LOOK_EVERY: Millis = Millis(100);

/// How often room is looked for while there is none, in looks for others: every second.
const LOOKS_BETWEEN_PROBES: u32 = 10;

/// How long a command waits for another program that holds the database, in seconds. The daemon never gives up: what it has to
/// write must not be lost.
const COMMANDS_WAIT_S: u32 = 29;

/// How often it is said, in seconds.
const TOLD_EVERY_S: u32 = 5;

/// How soon the daemon tries again to begin a transaction.
const BEGIN_AGAIN: Millis = Millis(1);

pub(super) type Reply = oneshot::Sender<Result<Vec<Verdict>, StoreError>>;
pub(super) type Apply = (Vec<Change>, Reply);

pub(super) struct Actor {
    pub(super) connection: SqliteConnection,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) changes: Arc<watch::Sender<u64>>,
    pub(super) foreign: Foreign,
    pub(super) files: OpenFiles,
    pub(super) path: PathBuf,
    /// Of the daemon, which keeps the log short too; other commands must not stall it by that.
    pub(super) own: Option<DaemonsOwn>,
    pub(super) fault: Arc<watch::Sender<Option<StorageFault>>>,
    pub(super) looks: u32,
    /// Batches that are not tried as usual ones.
    pub(super) unusual: u32,
}

impl Actor {
    pub(super) async fn run(mut self) {
        self.wait_by_ourselves().await;
        let mut batch = Vec::new();
        let mut look = clock::beats(LOOK_EVERY);
        loop {
            // Only receiving and ticking stand in the select: neither loses anything when the other wins.
            let received = tokio::select! {
                biased;
                // First: a writer that is never idle looks too.
                _ = look.tick() => None,
                n = self.commands.recv_many(&mut batch, 256) => Some(n),
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

    pub(super) async fn transaction(&mut self, applies: Vec<Apply>, inserts: Inserts, works: Vec<Work>) {
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
        let applies = without_forsaken_marks(applies);
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
        let waited = Stopwatch::start();
        let mut told = 0;
        loop {
            let Err(e) = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await else { return Ok(()) };
            if !matches!(sqlite_code(&e), Some(5 | 6)) {
                return Err(StoreError::Database { doing: "begin a transaction", source: e });
            }
            if self.meets_loss().await {
                return Err(self.fault.borrow().as_ref().map_or(StoreError::Closed, |f| f.error(self.path.clone())));
            }
            let seconds = u32::try_from(waited.elapsed().0 / 1_000).unwrap_or(u32::MAX);
            if self.own.is_none() && seconds >= COMMANDS_WAIT_S {
                return Err(StoreError::Occupied { path: self.path.clone(), seconds });
            }
            if seconds >= told + TOLD_EVERY_S {
                told = seconds;
                tracing::warn!(seconds, "another program holds the database; what is to be written waits for it");
            }
            if self.own.is_some() {
                clock::sleep(BEGIN_AGAIN).await;
            }
        }
    }

    /// The daemon tries by itself: SQLite sleeps longer each time, up to a tenth of a second past the other program's end, and
    /// messages wait for it.
    async fn wait_by_ourselves(&mut self) {
        if self.own.is_some() {
            let _ = sqlx::query("PRAGMA busy_timeout = 0").execute(&mut self.connection).await;
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

    /// Looks whether the files are still those that were opened, for changes of other processes, and now and then for room where
    /// there is none.
    async fn look_around(&mut self) {
        let fault = self.fault.borrow().clone();
        if fault.as_ref().is_some_and(|f| !f.heals()) || self.meets_loss().await {
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

    async fn close(mut self) {
        let _ = self.meets_loss().await;
        if self.own.is_some() && self.fault.borrow().is_none() {
            // Whoever still reads keeps the log from being folded in, but not the daemon from ending.
            let _ = sqlx::query("PRAGMA busy_timeout = 100").execute(&mut self.connection).await;
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await;
        }
        let _ = self.connection.close().await;
    }
}

/// Without the marks for whose answer nobody waits any more: their messages will not leave, and would be in doubt. What else
/// there is to be written stays, whoever waits for it.
fn without_forsaken_marks(mut applies: Vec<Apply>) -> Vec<Apply> {
    applies.retain(|(changes, reply)| {
        !reply.is_closed() || !changes.iter().all(|change| matches!(change.facts, Facts::Mark { .. }))
    });
    applies
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
