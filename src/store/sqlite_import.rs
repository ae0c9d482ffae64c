//! Imports: many messages of a file, hidden until the last of them is stored.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::domain::time::Timestamp;
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_insert::insert_rows;
use crate::store::sqlite_plan::occurrence;
use crate::store::{NewMessages, Recipient, SqliteStore, StoreError, vars_json};

/// Rows of an interrupted import removed in one transaction.
const REMOVED_AT_ONCE: i64 = 2_000;

/// An import that has begun: what it is stored under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenImport {
    /// Its occurrence, hidden.
    pub occurrence: i64,
    /// Its recipients' variables.
    pub audience: i64,
}

/// How an import ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportEnd {
    /// Messages stored.
    pub imported: u64,
    /// Rows that said the same as an earlier one.
    pub merged: u64,
    /// Rows left out because something is wrong with them.
    pub bad: u64,
}

impl SqliteStore {
    /// Begins an import of a job. What interrupted imports left is removed first; the caller holds the import lock.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_import(&self, job: String, file: String, now: Timestamp) -> Result<OpenImport, StoreError> {
        while self.writer()?.run(|c| Box::pin(remove_leftovers(c))).await? > 0 {}
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let doing = "begin an import";
                    let print = format!("import of {job} at {now}").into_bytes();
                    let audience: i64 =
                        sqlx::query_scalar("INSERT INTO audiences (fingerprint, size) VALUES (?1, 0) RETURNING id")
                            .bind(print)
                            .fetch_one(&mut *c)
                            .await
                            .map_err(StoreError::database(doing))?;
                    let (occurrence, ..) = occurrence(c, &job, now, false).await?;
                    sqlx::query("INSERT INTO imports (occurrence, file, audience, began_at) VALUES (?1, ?2, ?3, ?4)")
                        .bind(occurrence)
                        .bind(file)
                        .bind(audience)
                        .bind(now.0)
                        .execute(c)
                        .await
                        .map_err(StoreError::database(doing))?;
                    Ok(OpenImport { occurrence, audience })
                })
            })
            .await
    }

    /// Stores a chunk of an import: recipients with variables, by place, and messages. Answers how many are new.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn import_chunk(
        &self,
        import: OpenImport,
        recipients: Vec<(i64, Recipient)>,
        batches: Vec<NewMessages>,
    ) -> Result<u64, StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    // Nothing is planned from this audience again, so that the chat need not stand there beside the message.
                    let rows: Vec<Value> = recipients
                        .iter()
                        .map(|(place, r)| json!([import.audience, place, "", vars_json(&r.vars)]))
                        .collect();
                    let statement = "INSERT INTO recipients (audience, place, chat, vars)
                                     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)";
                    insert(c, statement, rows, "store recipients").await?;
                    let mut new = 0;
                    for batch in &batches {
                        new += insert_rows(c, batch, Some(import.occurrence)).await?;
                    }
                    Ok(new)
                })
            })
            .await
    }

    /// Makes an import visible, all at once.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing of it is visible.
    pub async fn publish_import(&self, import: OpenImport, end: ImportEnd, now: Timestamp) -> Result<(), StoreError> {
        let writer = self.writer()?;
        writer.run(move |c| Box::pin(async move { publish(c, import, end, now).await })).await?;
        writer.tell();
        Ok(())
    }

    /// Those of these chats that got something by imports of a file, or are to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sent_again(
        &self,
        file: &str,
        chats: impl Iterator<Item = String>,
    ) -> Result<HashSet<String>, StoreError> {
        let chats: Vec<String> = chats.collect();
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT m.chat FROM imports AS i CROSS JOIN json_each(?2) AS j CROSS JOIN messages AS m
             WHERE i.file = ?1 AND i.done_at IS NOT NULL AND m.occurrence = i.occurrence AND m.chat = j.value
               AND m.reason IS NOT 'replaced' AND m.state IN ('scheduled', 'held', 'typing', 'sending', 'in_doubt', 'sent')",
        )
        .bind(file.to_owned())
        .bind(json!(chats).to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("look who was sent a campaign again"))?;
        Ok(found.into_iter().collect())
    }

    /// Removes an import that shall not be: nothing of it was ever visible.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn abandon_imports(&self) -> Result<(), StoreError> {
        while self.writer()?.run(|c| Box::pin(remove_leftovers(c))).await? > 0 {}
        Ok(())
    }
}

async fn publish(
    connection: &mut SqliteConnection,
    import: OpenImport,
    end: ImportEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "make an import visible";
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query("UPDATE audiences SET complete = 1, size = ?2 WHERE id = ?1")
        .bind(import.audience)
        .bind(count(end.imported))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    sqlx::query("UPDATE imports SET done_at = ?2, imported = ?3, merged = ?4, bad = ?5 WHERE occurrence = ?1")
        .bind(import.occurrence)
        .bind(now.0)
        .bind(count(end.imported))
        .bind(count(end.merged))
        .bind(count(end.bad))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    sqlx::query("UPDATE occurrences SET state = 'planned', recipients = ?2 WHERE id = ?1")
        .bind(import.occurrence)
        .bind(count(end.imported))
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(())
}

/// Removes some of what imports that never ended left. Answers how many rows.
async fn remove_leftovers(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let doing = "remove what an interrupted import left";
    let left: Option<(i64, i64)> =
        sqlx::query_as("SELECT occurrence, audience FROM imports WHERE done_at IS NULL LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    let Some((occurrence, audience)) = left else { return Ok(0) };
    let steps = [
        // A person may have cancelled or held some of it: their word goes with it.
        (
            "DELETE FROM events WHERE rowid IN (SELECT e.rowid FROM messages AS m CROSS JOIN events AS e ON e.message = m.id
             WHERE m.occurrence = ?1 LIMIT ?2)",
            occurrence,
        ),
        ("DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE occurrence = ?1 LIMIT ?2)", occurrence),
        (
            "DELETE FROM recipients WHERE audience = ?1 AND place IN
            (SELECT place FROM recipients WHERE audience = ?1 LIMIT ?2)",
            audience,
        ),
    ];
    for (statement, of) in steps {
        let done = sqlx::query(statement)
            .bind(of)
            .bind(REMOVED_AT_ONCE)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
        if done.rows_affected() > 0 {
            return Ok(done.rows_affected());
        }
    }
    for (statement, of) in [
        ("DELETE FROM imports WHERE occurrence = ?1", occurrence),
        ("DELETE FROM occurrences WHERE id = ?1", occurrence),
        ("DELETE FROM audiences WHERE id = ?1", audience),
    ] {
        sqlx::query(statement).bind(of).execute(&mut *connection).await.map_err(StoreError::database(doing))?;
    }
    Ok(1)
}
