//! Pauses: what a person stopped, and until when.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::campaign::CampaignName;
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::get;
use crate::store::{Pause, PauseScope, SqliteStore, StoreError};

const SELECT: &str = "SELECT scope, name, note, since, until FROM pauses WHERE until IS NULL OR until > ?1";

impl SqliteStore {
    /// What is paused at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pauses(&self, now: Timestamp) -> Result<Vec<Pause>, StoreError> {
        let rows = sqlx::query(SELECT)
            .bind(now.0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read what is paused"))?;
        rows.iter().map(pause).collect()
    }

    /// What is paused, and of each thing the latest pause that is over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn known_pauses(&self) -> Result<Vec<Pause>, StoreError> {
        let rows = sqlx::query("SELECT scope, name, note, since, until FROM pauses")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read what is paused"))?;
        rows.iter().map(pause).collect()
    }

    /// Pauses something, or changes the note and end of its pause.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn pause(&self, pause: Pause) -> Result<(), StoreError> {
        let writer = self.writer()?;
        writer
            .run(move |c| {
                Box::pin(async move {
                    let (scope, name) = pause.scope.parts();
                    sqlx::query(
                        "INSERT INTO pauses (scope, name, note, since, until) VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT (scope, name) DO UPDATE SET
                             until = excluded.until,
                             note = CASE WHEN pauses.until <= excluded.since THEN excluded.note
                                         ELSE coalesce(excluded.note, pauses.note) END,
                             since = CASE WHEN pauses.until <= excluded.since THEN excluded.since ELSE pauses.since END",
                    )
                    .bind(scope)
                    .bind(name)
                    .bind(pause.note)
                    .bind(pause.since.0)
                    .bind(pause.until.map(|t| t.0))
                    .execute(c)
                    .await
                    .map_err(StoreError::database("pause"))?;
                    Ok(())
                })
            })
            .await?;
        writer.tell();
        Ok(())
    }

    /// Ends a pause. Answers whether there was one at `now`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn resume(&self, scope: PauseScope, now: Timestamp) -> Result<bool, StoreError> {
        let writer = self.writer()?;
        let ended = writer
            .run(move |c| {
                Box::pin(async move {
                    let (scope, name) = scope.parts();
                    // It is kept as one that is over: what it kept waiting is typed in full.
                    let done = sqlx::query(
                        "UPDATE pauses SET until = ?3 WHERE scope = ?1 AND name = ?2 AND (until IS NULL OR until > ?3)",
                    )
                    .bind(scope)
                    .bind(name)
                    .bind(now.0)
                    .execute(c)
                    .await
                    .map_err(StoreError::database("resume"))?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await?;
        writer.tell();
        Ok(ended)
    }
}

/// What is paused, as the writer sees it inside its transaction.
pub(super) async fn active(connection: &mut SqliteConnection, now: Timestamp) -> Result<Vec<Pause>, StoreError> {
    let rows = sqlx::query(SELECT)
        .bind(now.0)
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("read what is paused"))?;
    rows.iter().map(pause).collect()
}

fn pause(row: &SqliteRow) -> Result<Pause, StoreError> {
    let (scope, name): (String, String) = (get(row, 0)?, get(row, 1)?);
    Ok(Pause {
        scope: match scope.as_str() {
            "all" => PauseScope::All,
            "instance" => PauseScope::Instance(name),
            "job" => PauseScope::Job(name),
            _ => PauseScope::Campaign(campaign(&name)?),
        },
        note: get(row, 2)?,
        since: Timestamp(get(row, 3)?),
        until: get::<Option<i64>>(row, 4)?.map(Timestamp),
    })
}

/// What [`PauseScope::parts`] made of a campaign's name.
fn campaign(name: &str) -> Result<CampaignName, StoreError> {
    let parts = name.rsplit_once('@').and_then(|(job, at)| Some((job, at.parse().ok()?)));
    let wrong = || StoreError::Inconsistent { table: "pauses", column: "name", what: format!("'{name}'") };
    let (job, nominal) = parts.ok_or_else(wrong)?;
    Ok(CampaignName { job: job.to_owned(), nominal: Timestamp(nominal) })
}
