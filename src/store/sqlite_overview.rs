//! Jobs and instances as people look at them.

use sqlx::sqlite::SqliteRow;

use crate::domain::id::InstanceName;
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::get;
use crate::store::sqlite_file::raise_revision;
use crate::store::sqlite_plan::stored_job;
use crate::store::sqlite_renew::{Removed, hide_removed};
use crate::store::view::{InstanceView, JobView};
use crate::store::{SqliteStore, StoreError};

impl SqliteStore {
    /// Every job, or the one of this name, with how it stands at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job_views(&self, name: Option<&str>, now: Timestamp) -> Result<Vec<JobView>, StoreError> {
        let rows = sqlx::query(include_str!("sql/job_views.sql"))
            .bind(name.map(str::to_owned))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the jobs"))?;
        let mut views = Vec::with_capacity(rows.len());
        for row in &rows {
            let stored = stored_job(row)?;
            let counts = self.counts_of_job(&stored.job.name).await?;
            let last = self.last_occurrence(&stored.job.name, now).await?;
            views.push(JobView { stored, vanished: get::<i64>(row, 11)? != 0, counts, last });
        }
        Ok(views)
    }

    async fn counts_of_job(&self, name: &str) -> Result<Vec<(StateName, i64)>, StoreError> {
        let rows = sqlx::query(include_str!("sql/counts_of_job.sql"))
            .bind(name.to_owned())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("count a job's messages"))?;
        let count = |row: &SqliteRow| {
            let name: String = get(row, 0)?;
            let wrong = || StoreError::Inconsistent { table: "messages", column: "state", what: name.clone() };
            Ok((StateName::from_name(&name).ok_or_else(wrong)?, get(row, 1)?))
        };
        rows.iter().map(count).collect()
    }

    /// The latest occurrence that has begun, and the state its messages are in: the least settled of them.
    async fn last_occurrence(&self, name: &str, now: Timestamp) -> Result<Option<(Timestamp, String)>, StoreError> {
        let row = sqlx::query(include_str!("sql/last_occurrence.sql"))
            .bind(name.to_owned())
            .bind(now.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find a job's latest occurrence"))?;
        row.map(|r| Ok((Timestamp(get(&r, 0)?), get(&r, 1)?))).transpose()
    }

    /// Removes a job: what waits of it is cancelled, and so is what is being typed; what was marked goes out. Answers what
    /// became of its messages; `None` where there is no such job, nor any message under its name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remove_job(&self, name: &str, now: Timestamp) -> Result<Option<Removed>, StoreError> {
        let job = name.to_owned();
        let writer = self.writer()?;
        let removed = writer
            .run(move |c| {
                Box::pin(async move {
                    hide_removed(c, serde_json::json!([job]).to_string(), now).await?;
                    let done = sqlx::query("DELETE FROM jobs WHERE name = ?1")
                        .bind(job)
                        .execute(&mut *c)
                        .await
                        .map_err(StoreError::database("remove a job"))?;
                    raise_revision(c).await?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await?;
        if !removed && !self.names_messages(name).await? {
            return Ok(None);
        }
        let removed = self.cancel_removed(name, now).await?;
        writer.tell();
        Ok(Some(removed))
    }

    /// Whether messages bear the name of a job, be it one or only the name of an import.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn names_messages(&self, job: &str) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM occurrences WHERE job = ?1)")
            .bind(job.to_owned())
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("look for a job's messages"))
    }

    /// Every instance with how it stands.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn instance_views(&self, now: Timestamp) -> Result<Vec<InstanceView>, StoreError> {
        let lanes = self.lanes(now).await?;
        let mut views = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let name = InstanceName::new(&lane.name);
            let row = sqlx::query(include_str!("sql/instance_view.sql"))
                .bind(lane.name.clone())
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::database("read an instance"))?;
            views.push(InstanceView {
                name,
                lane,
                typing_now: get(&row, 0)?,
                in_flight: get(&row, 1)?,
                last_ok_at: get::<Option<i64>>(&row, 2)?.map(Timestamp),
            });
        }
        Ok(views)
    }
}
