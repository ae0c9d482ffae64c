//! A jobs file swapped in as a whole: instances, defaults, chores and jobs in one transaction.

use serde_json::json;
use sqlx::SqliteConnection;

use crate::domain::chore::Chore;
use crate::domain::time::Timestamp;
use crate::store::sqlite_chores::keep_chores;
use crate::store::sqlite_jobs::{apply_job, known_as_they_are, make_room, vanished};
use crate::store::sqlite_upkeep::{meta, set_meta, store_instances};
use crate::store::{Applied, InstanceRow, JobApply, SqliteStore, StoreError};

/// What a file says, ready to be stored. Its lists of recipients are stored already, where nothing uses them yet.
#[derive(Clone, Debug)]
pub struct FileApply {
    /// The accounts.
    pub instances: Vec<InstanceRow>,
    /// What commands without a file take from it, as JSON.
    pub defaults: String,
    /// The chores.
    pub chores: Vec<Chore>,
    /// The zone of the chores' patterns, by IANA name.
    pub zone: String,
    /// The jobs.
    pub jobs: Vec<JobApply>,
    /// Whether jobs that it does not declare are removed.
    pub prune: bool,
    /// The revision of the jobs when the file began to be read; with none it is applied whatever changed since.
    pub revision: Option<i64>,
}

/// How often the jobs of a database were changed.
const REVISION: &str = "jobs_revision";

/// Counts a change of the jobs: a file that was read before it is older than what the jobs are now.
pub(super) async fn raise_revision(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let next = revision(&mut *connection).await? + 1;
    set_meta(connection, REVISION, &next.to_string()).await
}

async fn revision(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(meta(connection, REVISION).await?.and_then(|r| r.parse().ok()).unwrap_or(0))
}

impl SqliteStore {
    /// The revision of the jobs: raised whenever a file that was applied changed some, and when one is removed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs_revision(&self) -> Result<i64, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(StoreError::database("read the jobs' revision"))?;
        revision(&mut connection).await
    }

    /// Applies a file, all or nothing. Answers what became of each job, and which jobs it does not declare. The waiting
    /// messages of a changed job are hidden in the same transaction, replaced step by step after it, and then planned anew.
    ///
    /// # Errors
    /// When the database cannot be written, or [`StoreError::Overtaken`] where the jobs were changed since the file began to be
    /// read; then nothing was applied.
    pub async fn apply_jobs_file(
        &self,
        file: FileApply,
        now: Timestamp,
    ) -> Result<(Vec<(String, Applied)>, Vec<String>), StoreError> {
        let writer = self.writer()?;
        let prune = file.prune;
        let declared = json!(file.jobs.iter().map(|j| &j.job.name).collect::<Vec<_>>()).to_string();
        loop {
            let declared = declared.clone();
            if writer.run(move |c| Box::pin(async move { make_room(c, declared).await })).await? == 0 {
                break;
            }
        }
        let (applied, vanished) = writer
            .run(move |c| {
                Box::pin(async move {
                    let is_now = revision(&mut *c).await?;
                    if file.revision.is_some_and(|read_at| read_at != is_now) {
                        return Err(StoreError::Overtaken);
                    }
                    store_instances(c, file.instances, now).await?;
                    set_meta(c, "defaults", &file.defaults).await?;
                    keep_chores(c, &file.chores, &file.zone, now).await?;
                    let mut applied = Vec::with_capacity(file.jobs.len());
                    // Ten thousand jobs of which one changed hold the writer no longer than that one.
                    let same = known_as_they_are(c, &file.jobs).await?;
                    for job in file.jobs {
                        let name = job.job.name.clone();
                        let what =
                            if same.contains(&name) { Applied::Unchanged } else { apply_job(c, job, now).await? };
                        applied.push((name, what));
                    }
                    let vanished = vanished(c, declared, file.prune, now).await?;
                    let changed = applied.iter().any(|(_, what)| *what != Applied::Unchanged);
                    if changed || file.prune && !vanished.is_empty() {
                        raise_revision(&mut *c).await?;
                    }
                    Ok((applied, vanished))
                })
            })
            .await?;
        for (name, _) in applied.iter().filter(|(_, a)| *a == Applied::Changed) {
            self.replace_changed(name, now).await?;
        }
        if prune {
            for name in &vanished {
                self.cancel_removed(name, now).await?;
            }
        }
        writer.tell();
        Ok((applied, vanished))
    }
}
