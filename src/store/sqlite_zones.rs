//! What is planned by the rules of time zones that have changed since.

use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::get;
use crate::store::sqlite_plan::stored_job;
use crate::store::sqlite_renew::hide;
use crate::store::{SqliteStore, StoreError, StoredJob};

/// A job with what is planned of it.
#[derive(Clone, Debug)]
pub struct PlannedAhead {
    /// The job.
    pub stored: StoredJob,
    /// The occurrences to come whose messages wait, rising.
    pub waiting: Vec<Timestamp>,
    /// The last occurrence that was begun or has passed.
    pub served: Option<Timestamp>,
}

/// How a job goes on whose occurrences are other ones now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The job.
    pub job: String,
    /// The next occurrence that was noted: somebody who advanced the job meanwhile comes first.
    pub expected: Option<Timestamp>,
    /// Occurrences whose waiting messages are replaced.
    pub gone: Vec<Timestamp>,
    /// The next occurrence.
    pub next_at: Option<Timestamp>,
    /// What is written beside each replaced message.
    pub note: String,
}

/// Jobs read in one go.
const JOBS_AT_ONCE: i64 = 500;

impl SqliteStore {
    /// Jobs with a next occurrence or with messages that wait for one to come at `now`, in order of their names: some of those
    /// after a name, which the empty one comes before; none where there are no more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn planned_ahead(&self, now: Timestamp, after: &str) -> Result<Vec<PlannedAhead>, StoreError> {
        let doing = "read what is planned ahead";
        let rows = sqlx::query(include_str!("sql/planned_ahead.sql"))
            .bind(now.0)
            .bind(after)
            .bind(JOBS_AT_ONCE)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            let waiting: Option<String> = get(row, 11)?;
            let mut waiting: Vec<Timestamp> = waiting.and_then(|w| serde_json::from_str(&w).ok()).unwrap_or_default();
            waiting.sort_unstable();
            let served = get::<Option<i64>>(row, 12)?.map(Timestamp);
            all.push(PlannedAhead { stored: stored_job(row)?, waiting, served });
        }
        Ok(all)
    }

    /// Moves occurrences of a job: their waiting messages are hidden and replaced, and the job goes on at its new next
    /// occurrence. Answers how many messages were replaced; `None` when the job went on meanwhile.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn move_occurrences(&self, moved: Moved, now: Timestamp) -> Result<Option<u64>, StoreError> {
        let Moved { job, expected, gone, next_at, note } = moved;
        let name = job.clone();
        let done = self
            .writer()?
            .run(move |c| {
                Box::pin(async move {
                    let doing = "move a job's occurrences";
                    let done =
                        sqlx::query("UPDATE jobs SET next_at = ?3, plan_at = ?4 WHERE name = ?1 AND next_at IS ?2")
                            .bind(name.clone())
                            .bind(expected.map(|t| t.0))
                            .bind(next_at.map(|t| t.0))
                            .bind(next_at.map(|_| now.0))
                            .execute(&mut *c)
                            .await
                            .map_err(StoreError::database(doing))?;
                    if done.rows_affected() == 0 {
                        return Ok(false);
                    }
                    hide(c, &name, &gone).await?;
                    Ok(true)
                })
            })
            .await?;
        if !done {
            return Ok(None);
        }
        let replaced = self.replace_waiting(&job, &note, now).await?;
        self.writer()?.tell();
        Ok(Some(replaced))
    }
}
