//! What the writer does when the storage fails: say it once, refuse what cannot be written, record all the same what is out, and
//! go on by itself where that may be believed.

use std::path::Path;

use sqlx::SqliteConnection;

use crate::domain::message::{Change, Facts};
use crate::store::sqlite_insert::Inserts;
use crate::store::{StorageFault, StoreError};

use super::Work;
use super::actor::{Actor, Apply, Reply};

fn has_mark(changes: &[Change]) -> bool {
    changes.iter().any(|c| matches!(c.facts, Facts::Mark { .. }))
}

impl Actor {
    /// Where there is no room, the room kept for it is given up, so that what came of requests that are out is recorded. No
    /// mark uses it.
    pub(super) async fn try_without_marks(&mut self, all: Vec<Change>, replies: Vec<(Reply, usize)>, why: &StoreError) {
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

    pub(super) fn without_marks(&self, applies: Vec<Apply>, fault: &StorageFault) -> Vec<Apply> {
        let (marks, others): (Vec<Apply>, Vec<Apply>) = applies.into_iter().partition(|(changes, _)| has_mark(changes));
        for (_, reply) in marks {
            let _ = reply.send(Err(fault.error(self.path.clone())));
        }
        others
    }

    pub(super) async fn refuse(&self, applies: Vec<Apply>, inserts: Inserts, works: Vec<Work>, fault: &StorageFault) {
        self.refuse_for(applies, inserts, works, &fault.error(self.path.clone())).await;
    }

    pub(super) async fn refuse_for(&self, applies: Vec<Apply>, inserts: Inserts, works: Vec<Work>, error: &StoreError) {
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
    pub(super) fn meet(&self, fault: StorageFault) {
        let known = self.fault.borrow().clone();
        if known.as_ref().is_some_and(|k| std::mem::discriminant(k) == std::mem::discriminant(&fault) || !k.heals()) {
            return;
        }
        tracing::error!("{}", fault.error(self.path.clone()));
        self.fault.send_replace(Some(fault));
    }

    /// Whether the paths of the database lead to other files by now; then nothing more is written. The log is folded into the
    /// file that was opened first: whoever moved that one has it whole, and no log is left to be played into another.
    pub(super) async fn meets_loss(&mut self) -> bool {
        let Some(loss) = self.files.loss() else { return false };
        if loss.whole && self.fault.borrow().as_ref().is_none_or(StorageFault::heals) {
            let _ = sqlx::query("PRAGMA busy_timeout = 100").execute(&mut self.connection).await;
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await;
        }
        self.meet(StorageFault::Gone(loss.what));
        true
    }

    /// Something was written: where there was no room, there is some now.
    pub(super) fn recovered(&mut self) {
        if self.fault.borrow().is_none() || !self.own.as_mut().is_none_or(|own| own.ballast.retake()) {
            return;
        }
        tracing::info!("the database can be written again");
        self.fault.send_replace(None);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Writes something that changes nothing.
    pub(super) async fn probe(&mut self) {
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
}

/// sqlx's errors cannot be cloned; several callers of one commit each get its words.
pub(in crate::store) fn again(error: &StoreError, path: &Path) -> StoreError {
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
