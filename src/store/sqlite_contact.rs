//! Who is not to be written to.

use serde_json::json;
use sqlx::sqlite::SqliteRow;

use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::get;
use crate::store::sqlite_words::{self, source, verdict};
use crate::store::view::{ConsentView, SuppressionView};
use crate::store::{ConsentNews, SqliteStore, StoreError};

impl SqliteStore {
    /// Writes down who is not to be written to any more, or again: of several words about a chat the later one counts, and a
    /// message told again is nothing. Nothing is marked for them once this returns; what the daemon has in
    /// hand is skipped at once, and what waits when its time comes. Answers of how many that is new.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_consents(&self, news: Vec<ConsentNews>) -> Result<u64, StoreError> {
        let writer = self.writer()?;
        let new = writer.run(move |c| Box::pin(async move { sqlite_words::record(c, &news).await })).await?;
        writer.tell();
        Ok(new)
    }

    /// Writes down that contacts of an import opted in, but of those who are suppressed. Answers of how many that is new.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_imported_opt_ins(&self, chats: Vec<Chat>, now: Timestamp) -> Result<u64, StoreError> {
        let rows: Vec<serde_json::Value> = chats.iter().map(|chat| json!([chat.as_str(), now.0])).collect();
        let doing = "write down who opted in";
        let record = "INSERT INTO consents (chat, at, said_at, source, verdict)
            SELECT value ->> 0, value ->> 1, value ->> 1, 'import', 'in' FROM json_each(?1)
            WHERE value ->> 0 NOT IN (SELECT chat FROM suppressions) AND value ->> 0 NOT IN (SELECT chat FROM opt_ins)";
        let opt_in = "INSERT INTO opt_ins (chat, since, source)
            SELECT value ->> 0, value ->> 1, 'import' FROM json_each(?1)
            WHERE value ->> 0 NOT IN (SELECT chat FROM suppressions)
            ON CONFLICT DO NOTHING";
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    insert(c, record, rows.clone(), doing).await?;
                    insert(c, opt_in, rows, doing).await
                })
            })
            .await
    }

    /// Who is not to be written to, by chat, after one of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn suppressions(&self, after: &str, limit: u32) -> Result<Vec<SuppressionView>, StoreError> {
        let rows =
            sqlx::query("SELECT chat, since, source, note FROM suppressions WHERE chat > ?1 ORDER BY chat LIMIT ?2")
                .bind(after.to_owned())
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("list who is not to be written to"))?;
        rows.iter().map(suppression).collect()
    }

    /// Whether and since when a chat is not to be written to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn suppression(&self, chat: &str) -> Result<Option<SuppressionView>, StoreError> {
        let row = sqlx::query("SELECT chat, since, source, note FROM suppressions WHERE chat = ?1")
            .bind(chat.to_owned())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("look whether somebody is not to be written to"))?;
        row.as_ref().map(suppression).transpose()
    }

    /// Whether there is a message to a chat, but for answers to what it said about being written to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn was_written_to(&self, chat: &str) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE chat = ?1 AND ifnull(key, '') NOT LIKE 'consent:%')",
        )
        .bind(chat.to_owned())
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("look whether somebody was written to"))
    }

    /// What was said about writing to a chat, the earliest told first, without what said again what stood already.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn consents(&self, chat: &str) -> Result<Vec<ConsentView>, StoreError> {
        let statement = "SELECT at, verdict, source, note, said_at, effect = 'overruled' FROM consents
            WHERE chat = ?1 AND effect <> 'again' ORDER BY id";
        let rows = sqlx::query(statement)
            .bind(chat.to_owned())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read what was said about writing to somebody"))?;
        let one = |row: &SqliteRow| {
            Ok(ConsentView {
                at: Timestamp(get(row, 0)?),
                verdict: verdict(get(row, 1)?),
                source: source(get(row, 2)?)?,
                note: get(row, 3)?,
                said_at: get::<Option<i64>>(row, 4)?.map(Timestamp),
                overruled: get(row, 5)?,
            })
        };
        rows.iter().map(one).collect()
    }
}

fn suppression(row: &SqliteRow) -> Result<SuppressionView, StoreError> {
    Ok(SuppressionView {
        chat: get(row, 0)?,
        since: Timestamp(get(row, 1)?),
        source: source(get(row, 2)?)?,
        note: get(row, 3)?,
    })
}
