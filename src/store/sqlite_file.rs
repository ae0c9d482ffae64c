//! A jobs file swapped in as a whole: instances, defaults, chores and jobs in one transaction.

use serde_json::json;

use crate::domain::chore::Chore;
use crate::domain::time::Timestamp;
use crate::store::sqlite_chores::keep_chores;
use crate::store::sqlite_jobs::{apply_job, known_as_they_are, make_room, vanished};
use crate::store::sqlite_upkeep::{set_meta, store_instances};
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
}

impl SqliteStore {
    /// Applies a file, all or nothing. Answers what became of each job, and which jobs it does not declare. The waiting
    /// messages of a changed job are hidden in the same transaction and replaced step by step after it; the job is
    /// planned once they are.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was applied.
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
                    let vanished = vanished(c, declared, file.prune).await?;
                    Ok((applied, vanished))
                })
            })
            .await?;
        for (name, _) in applied.iter().filter(|(_, a)| *a == Applied::Changed) {
            self.replace_and_plan(name.clone(), CHANGED, now).await?;
        }
        if prune {
            for name in &vanished {
                self.replace_waiting(name.clone(), "removed", REMOVED, now).await?;
            }
        }
        writer.tell();
        Ok((applied, vanished))
    }

    /// Replaces what waits of a job's hidden occurrences, and then lets the job be planned. Answers how many messages.
    pub(super) async fn replace_and_plan(&self, job: String, note: &str, now: Timestamp) -> Result<u64, StoreError> {
        let replaced = self.replace_waiting(job.clone(), "replaced", note, now).await?;
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    // What follows earlier messages stays, and is seen again.
                    sqlx::query(include_str!("sql/followers_stay.sql"))
                        .bind(job.clone())
                        .execute(&mut *c)
                        .await
                        .map_err(StoreError::database("let a job be planned"))?;
                    sqlx::query(
                        "UPDATE jobs SET plan_at = ?2 WHERE name = ?1 AND plan_at IS NULL AND next_at IS NOT NULL",
                    )
                    .bind(job)
                    .bind(now.0)
                    .execute(c)
                    .await
                    .map_err(StoreError::database("let a job be planned"))
                })
            })
            .await?;
        Ok(replaced)
    }

    /// Ends what a process began that ended in between: the replacing of what waited when a file was swapped in. To be
    /// called before anything is planned. Answers how many messages.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn finish_replacing(&self, now: Timestamp) -> Result<u64, StoreError> {
        let doing = "find what is still to be replaced";
        let changed: Vec<String> = sqlx::query_scalar(include_str!("sql/half_changed.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let removed: Vec<String> = sqlx::query_scalar(include_str!("sql/half_removed.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let mut replaced = 0;
        for job in changed {
            replaced += self.replace_and_plan(job, CHANGED, now).await?;
        }
        for job in removed {
            replaced += self.replace_waiting(job, "removed", REMOVED, now).await?;
        }
        Ok(replaced)
    }
}

/// What is written beside a message that was replaced.
const CHANGED: &str = "its job was changed";

/// What is written beside a message whose job was removed.
const REMOVED: &str = "its job was removed";
