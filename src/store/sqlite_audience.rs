//! Lists of recipients, stored once however many occurrences use them.

use serde_json::{Value, json};

use crate::domain::recipient::Chat;
use crate::store::sqlite_claim::{get, read_vars};
use crate::store::{Recipient, SqliteStore, StoreError};

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
        let rows: Vec<Value> = recipients
            .iter()
            .zip(from_place..)
            .map(|(r, place)| json!([place, r.chat.as_str(), vars_json(&r.vars)]))
            .collect();
        let rows = Value::Array(rows).to_string();
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO recipients (audience, place, chat, vars)
                         SELECT ?2, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)",
                    )
                    .bind(rows)
                    .bind(audience)
                    .execute(c)
                    .await
                    .map_err(StoreError::database("store recipients"))?;
                    Ok(())
                })
            })
            .await
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
    let rows = sqlx::query(
        "SELECT place, chat, vars FROM recipients WHERE audience = ?1 AND place > ?2 ORDER BY place LIMIT ?3",
    )
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
