//! Pauses: what a person stopped, and until when.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

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
                         ON CONFLICT (scope, name) DO UPDATE SET note = excluded.note, until = excluded.until",
                    )
                    .bind(scope)
                    .bind(name.to_owned())
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
                    let until: Vec<Option<i64>> =
                        sqlx::query_scalar("DELETE FROM pauses WHERE scope = ?1 AND name = ?2 RETURNING until")
                            .bind(scope)
                            .bind(name.to_owned())
                            .fetch_all(c)
                            .await
                            .map_err(StoreError::database("resume"))?;
                    Ok(until.iter().any(|u| u.is_none_or(|t| t > now.0)))
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
            _ => PauseScope::Job(name),
        },
        note: get(row, 2)?,
        since: Timestamp(get(row, 3)?),
        until: get::<Option<i64>>(row, 4)?.map(Timestamp),
    })
}
