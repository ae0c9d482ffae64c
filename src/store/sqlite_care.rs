//! Caring for the file: backups, checks, and forgetting what was settled long ago.

use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::domain::time::Timestamp;
use crate::store::sqlite::{connect, create_private};
use crate::store::{SqliteStore, StoreError};

/// Messages forgotten in one transaction: some milliseconds of the writer.
const FORGOTTEN_AT_ONCE: i64 = 500;

/// What pruning did, or would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// Settled messages, with everything about them.
    pub messages: u64,
    /// Occurrences none of whose messages is left.
    pub occurrences: u64,
    /// Lists of recipients that nothing uses any more.
    pub audiences: u64,
    /// Contents that nothing uses any more.
    pub contents: u64,
}

impl SqliteStore {
    /// Writes a whole and consistent copy of the database beside whatever goes on. The file must not exist.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] when it exists or cannot be made.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let unwritable = |what: String| StoreError::Unwritable { path: to.to_owned(), what };
        if to.exists() {
            return Err(unwritable("it exists already; a backup overwrites nothing".to_owned()));
        }
        // Made first, so that it is nobody else's to read for a moment either.
        create_private(to)?;
        let mut connection: SqliteConnection = connect(self.path(), true).await?;
        let copied = sqlx::query("VACUUM INTO ?1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await
            .map_err(|e| unwritable(e.to_string()));
        let _ = connection.close().await;
        if copied.is_err() {
            let _ = std::fs::remove_file(to);
        }
        copied.map(|_| ())
    }

    /// Checks the file from end to end, and that no row refers to one that is not there. Answers what is wrong.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub async fn check_all(&self) -> Result<Vec<String>, StoreError> {
        let mut connection = connect(self.path(), true).await?;
        let doing = StoreError::database("check the file");
        let mut found: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check(100)").fetch_all(&mut connection).await.map_err(doing)?;
        found.retain(|line| line != "ok");
        let dangling: Vec<String> = sqlx::query_scalar("SELECT DISTINCT \"table\" FROM pragma_foreign_key_check")
            .fetch_all(&mut connection)
            .await
            .map_err(StoreError::database("check references"))?;
        found.extend(dangling.into_iter().map(|t| format!("rows of {t} refer to rows that are not there")));
        let _ = connection.close().await;
        Ok(found)
    }

    /// Forgets messages that were settled and due before an instant, with their attempts and acks, in small steps; then
    /// what nothing refers to any more. What waits, is out or is in doubt is never touched.
    ///
    /// # Errors
    /// When the database cannot be written; what was forgotten so far stays forgotten.
    pub async fn prune(&self, before: Timestamp, dry_run: bool) -> Result<Pruned, StoreError> {
        if dry_run {
            let messages: i64 = sqlx::query_scalar(include_str!("sql/prunable.sql"))
                .bind(before.0)
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::database("count what is old"))?;
            return Ok(Pruned { messages: messages.try_into().unwrap_or(0), ..Pruned::default() });
        }
        let mut pruned = Pruned::default();
        loop {
            let n = self.writer()?.run(move |c| Box::pin(forget_some(c, before))).await?;
            pruned.messages += n;
            if n == 0 {
                break;
            }
        }
        let rest = self.writer()?.run(|c| Box::pin(forget_unused(c))).await?;
        (pruned.occurrences, pruned.audiences, pruned.contents) = rest;
        Ok(pruned)
    }
}

async fn forget_some(connection: &mut SqliteConnection, before: Timestamp) -> Result<u64, StoreError> {
    let doing = "forget old messages";
    let ids: Vec<String> = sqlx::query_scalar(include_str!("sql/prunable_some.sql"))
        .bind(before.0)
        .bind(FORGOTTEN_AT_ONCE)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let list = serde_json::json!(ids).to_string();
    for statement in [
        "DELETE FROM acks WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM events WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM evidence WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM results WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM attempts WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM messages WHERE id IN (SELECT unhex(value) FROM json_each(?1))",
    ] {
        sqlx::query(statement)
            .bind(list.clone())
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    }
    Ok(u64::try_from(ids.len()).unwrap_or(0))
}

async fn forget_unused(connection: &mut SqliteConnection) -> Result<(u64, u64, u64), StoreError> {
    let mut counts = [0; 4];
    // The latest occurrence of a job stays: by it a changed job knows where it goes on.
    for (i, statement) in [
        "DELETE FROM imports WHERE done_at IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = imports.occurrence
                           AND m.reason IS NOT 'replaced')
           AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = imports.occurrence)",
        "DELETE FROM occurrences WHERE state IN ('planned', 'missed')
           AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = occurrences.id)
           AND NOT EXISTS (SELECT 1 FROM imports AS i WHERE i.occurrence = occurrences.id)
           AND nominal_at < (SELECT max(o.nominal_at) FROM occurrences AS o WHERE o.job = occurrences.job)",
        "DELETE FROM audiences WHERE complete = 1
           AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.audience = audiences.id)
           AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.audience = audiences.id)
           AND NOT EXISTS (SELECT 1 FROM imports AS i WHERE i.audience = audiences.id)",
        "DELETE FROM contents WHERE
               NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.content = contents.id)
           AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.content = contents.id)
           AND NOT EXISTS (SELECT 1 FROM jobs AS j, json_each(j.then_contents) AS t WHERE t.value = contents.id)",
    ]
    .into_iter()
    .enumerate()
    {
        let done = sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("forget what is no longer used"))?;
        counts[i] = done.rows_affected();
    }
    Ok((counts[1], counts[2], counts[3]))
}
