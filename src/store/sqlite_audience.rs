//! Lists of recipients, stored once however many occurrences use them.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::domain::recipient::Chat;
use crate::store::sqlite_claim::{get, read_vars};
use crate::store::{Recipient, SqliteStore, StoreError};

/// Before the chat of a recipient who left the list that their job follows.
pub(super) const LEFT: &str = "~";

/// Holds of a recipient `r` where somebody is written to: an import needs no chats beside its messages, and some left.
pub(super) const STANDS: &str = "r.chat <> '' AND r.chat NOT GLOB '~*'";

impl SqliteStore {
    /// The audience with this fingerprint, if it is complete.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find_audience(&self, fingerprint: &[u8]) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT id FROM audiences WHERE fingerprint = ?1 AND complete = 1")
            .bind(fingerprint.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find an audience"))
    }

    /// Those of these fingerprints whose audiences are complete, with their ids.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find_audiences(&self, fingerprints: &[Vec<u8>]) -> Result<HashMap<Vec<u8>, i64>, StoreError> {
        let hex: Vec<String> = fingerprints.iter().map(|f| hex_of(f)).collect();
        let rows = sqlx::query(
            "SELECT a.fingerprint, a.id FROM json_each(?1) AS j
             CROSS JOIN audiences AS a ON a.fingerprint = unhex(j.value) AND a.complete = 1",
        )
        .bind(json!(hex).to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("find audiences"))?;
        rows.iter().map(|r| Ok((get(r, 0)?, get(r, 1)?))).collect()
    }

    /// Stores short audiences whole, in one transaction; one that is known by its fingerprint stays. Answers their ids in
    /// the same order.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn store_audiences(&self, lists: Vec<(Vec<u8>, Vec<Recipient>)>) -> Result<Vec<i64>, StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let mut ids = Vec::with_capacity(lists.len());
                    for (fingerprint, recipients) in &lists {
                        ids.push(store_audience(c, fingerprint, recipients).await?);
                    }
                    Ok(ids)
                })
            })
            .await
    }

    /// Begins an audience anew: what an interrupted attempt left is dropped. Nobody uses it until it is complete.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_audience(&self, fingerprint: Vec<u8>) -> Result<i64, StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let doing = "begin an audience";
                    sqlx::query("DELETE FROM audiences WHERE fingerprint = ?1 AND complete = 0")
                        .bind(fingerprint.clone())
                        .execute(&mut *c)
                        .await
                        .map_err(StoreError::database(doing))?;
                    sqlx::query_scalar("INSERT INTO audiences (fingerprint, size) VALUES (?1, 0) RETURNING id")
                        .bind(fingerprint)
                        .fetch_one(c)
                        .await
                        .map_err(StoreError::database(doing))
                })
            })
            .await
    }

    /// Adds recipients to an audience that is not complete, the first at `from_place`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn add_recipients(
        &self,
        audience: i64,
        from_place: i64,
        recipients: Vec<Recipient>,
    ) -> Result<(), StoreError> {
        let rows = rows_from(from_place, &recipients);
        self.writer()?.run(move |c| Box::pin(async move { insert_recipients(c, audience, rows).await })).await
    }

    /// Completes an audience.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn complete_audience(&self, audience: i64, size: u64) -> Result<(), StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    sqlx::query("UPDATE audiences SET complete = 1, size = ?2 WHERE id = ?1")
                        .bind(audience)
                        .bind(i64::try_from(size).unwrap_or(i64::MAX))
                        .execute(c)
                        .await
                        .map_err(StoreError::database("complete an audience"))?;
                    Ok(())
                })
            })
            .await
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn rows_from(from_place: i64, recipients: &[Recipient]) -> String {
    let row = |(r, place): (&Recipient, i64)| json!([place, r.chat.as_str(), vars_json(&r.vars)]);
    Value::Array(recipients.iter().zip(from_place..).map(row).collect()).to_string()
}

/// Stores recipients: a JSON list of place, chat and variables.
pub(super) async fn insert_recipients(
    connection: &mut SqliteConnection,
    audience: i64,
    rows: String,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO recipients (audience, place, chat, vars)
         SELECT ?2, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)",
    )
    .bind(rows)
    .bind(audience)
    .execute(connection)
    .await
    .map_err(StoreError::database("store recipients"))?;
    Ok(())
}

async fn store_audience(
    connection: &mut SqliteConnection,
    fingerprint: &[u8],
    recipients: &[Recipient],
) -> Result<i64, StoreError> {
    let doing = "store an audience";
    let known: Option<(i64, i64)> = sqlx::query_as("SELECT id, complete FROM audiences WHERE fingerprint = ?1")
        .bind(fingerprint.to_vec())
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    match known {
        Some((id, 1)) => return Ok(id),
        // What an interrupted attempt left.
        Some((id, _)) => {
            sqlx::query("DELETE FROM audiences WHERE id = ?1")
                .bind(id)
                .execute(&mut *connection)
                .await
                .map_err(StoreError::database(doing))?;
        }
        None => {}
    }
    let id = sqlx::query_scalar("INSERT INTO audiences (fingerprint, size, complete) VALUES (?1, ?2, 1) RETURNING id")
        .bind(fingerprint.to_vec())
        .bind(i64::try_from(recipients.len()).unwrap_or(i64::MAX))
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    insert_recipients(connection, id, rows_from(0, recipients)).await?;
    Ok(id)
}

/// A recipient's variables as stored: nothing for none.
pub(crate) fn vars_json(vars: &crate::domain::template::Vars) -> Option<String> {
    if vars.is_empty() { None } else { serde_json::to_string(vars).ok() }
}

pub(super) async fn recipients(
    store: &SqliteStore,
    audience: i64,
    after_place: i64,
    limit: usize,
) -> Result<Vec<(i64, Recipient)>, StoreError> {
    let statement = format!(
        "SELECT r.place, r.chat, r.vars FROM recipients AS r
         WHERE r.audience = ?1 AND r.place > ?2 AND {STANDS} ORDER BY r.place LIMIT ?3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(audience)
        .bind(after_place)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("read recipients"))?;
    rows.iter()
        .map(|r| {
            let vars = read_vars(get::<Option<String>>(r, 2)?.as_deref());
            Ok((get(r, 0)?, Recipient { chat: Chat::from_stored(&get::<String>(r, 1)?), vars }))
        })
        .collect()
}
