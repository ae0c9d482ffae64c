//! Who is not to be written to.

use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::consent::{Consent, ConsentSource};
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::get;
use crate::store::sqlite_insert::insert_rows;
use crate::store::sqlite_plan::store_content;
use crate::store::view::{ConsentView, SuppressionView};
use crate::store::{Confirmation, ConsentNews, NewMessage, NewMessages, SqliteStore, StoreError, guard};

impl SqliteStore {
    /// Writes down who is not to be written to any more, or again. Nothing is marked for them once this returns; what the daemon has in
    /// hand is skipped at once, and what waits when its time comes. Answers of how many that is new.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_consents(&self, news: Vec<ConsentNews>) -> Result<u64, StoreError> {
        let writer = self.writer()?;
        let new = writer.run(move |c| Box::pin(async move { record(c, &news).await })).await?;
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
        let record = "INSERT INTO consents (chat, at, source, verdict)
            SELECT value ->> 0, value ->> 1, 'import', 'in' FROM json_each(?1)
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

    /// What was said about writing to a chat, the earliest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn consents(&self, chat: &str) -> Result<Vec<ConsentView>, StoreError> {
        let rows = sqlx::query("SELECT at, verdict, source, note FROM consents WHERE chat = ?1 ORDER BY id")
            .bind(chat.to_owned())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read what was said about writing to somebody"))?;
        let one = |row: &SqliteRow| {
            let out = get::<&str>(row, 1)? == Consent::Out.name();
            Ok(ConsentView {
                at: Timestamp(get(row, 0)?),
                verdict: if out { Consent::Out } else { Consent::In },
                source: source(get(row, 2)?)?,
                note: get(row, 3)?,
            })
        };
        rows.iter().map(one).collect()
    }
}

async fn record(connection: &mut SqliteConnection, news: &[ConsentNews]) -> Result<u64, StoreError> {
    let mut new = 0;
    for said in news {
        let row = vec![json!([said.chat.as_str(), said.at, said.source.name(), said.note, said.verdict.name()])];
        let changed = match said.verdict {
            Consent::Out => {
                let statement = "INSERT INTO suppressions (chat, since, source, note)
                    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE true
                    ON CONFLICT DO NOTHING";
                let gone = "DELETE FROM opt_ins WHERE chat IN (SELECT value ->> 0 FROM json_each(?1))";
                insert(connection, gone, row.clone(), "write down who is not to be written to").await?;
                insert(connection, statement, row.clone(), "write down who is not to be written to").await?
            }
            Consent::In => {
                let statement = "DELETE FROM suppressions WHERE chat IN (SELECT value ->> 0 FROM json_each(?1))";
                let doing = "write down who may be written to again";
                let changed = insert(connection, statement, row.clone(), doing).await?;
                // That a person takes an opt-out back is not the recipient's own wish.
                let statement = "INSERT INTO opt_ins (chat, since, source)
                    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE value ->> 2 <> 'person'
                    ON CONFLICT DO NOTHING";
                changed.max(insert(connection, statement, row.clone(), doing).await?)
            }
        };
        if changed > 0 {
            let statement = "INSERT INTO consents (chat, at, source, note, verdict)
                SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)";
            insert(connection, statement, row, "note what was said about writing to somebody").await?;
            confirm(connection, said).await?;
        }
        new += changed;
    }
    Ok(new)
}

/// How late the answer to an opt-out or an opt-in may be: the next morning, where an instance is silent at night.
const LATEST_CONFIRMATION: Millis = Millis(86_400_000);

/// Stores what is answered, if anything. What an opt-out is answered with is exempt from it.
async fn confirm(connection: &mut SqliteConnection, said: &ConsentNews) -> Result<(), StoreError> {
    let Some(answer) = &said.confirm else { return Ok(()) };
    let Confirmation { id, instance, content, manner, zone, lead } = (**answer).clone();
    let guard = guard(&said.chat, &serde_json::to_string(&content).unwrap_or_default(), None);
    let content = store_content(connection, &content, &manner, &zone, LATEST_CONFIRMATION).await?;
    let row = NewMessage {
        id,
        chat: said.chat.clone(),
        place: None,
        guard,
        due_at: said.at + lead,
        wake_at: said.at,
        lead,
        expires_at: None,
        class: manner.class,
        // Nobody needs to vouch that it is no repetition.
        key: Some(format!("consent:{id}")),
        step: 0,
        state: StateName::Scheduled,
        reason: None,
        followed: false,
        follows: None,
    };
    let messages = NewMessages::single(instance, content, row, said.at);
    insert_rows(connection, &messages, None).await?;
    if said.verdict == Consent::Out {
        sqlx::query("UPDATE suppressions SET farewell = ?2 WHERE chat = ?1")
            .bind(said.chat.as_str().to_owned())
            .bind(id.0.to_vec())
            .execute(connection)
            .await
            .map_err(StoreError::database("let the answer to an opt-out through"))?;
    }
    Ok(())
}

fn suppression(row: &SqliteRow) -> Result<SuppressionView, StoreError> {
    Ok(SuppressionView {
        chat: get(row, 0)?,
        since: Timestamp(get(row, 1)?),
        source: source(get(row, 2)?)?,
        note: get(row, 3)?,
    })
}

fn source(name: &str) -> Result<ConsentSource, StoreError> {
    let wrong = || StoreError::Inconsistent { table: "consents", column: "source", what: format!("'{name}'") };
    ConsentSource::from_name(name).ok_or_else(wrong)
}
