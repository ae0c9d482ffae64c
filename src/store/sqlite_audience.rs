//! Lists of recipients, stored once however many occurrences use them.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::domain::recipient::Chat;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::{get, read_vars};
use crate::store::{Recipient, SqliteStore, StoreError};

/// Before the chat of a recipient who left the list that their job follows.
pub(super) const LEFT: &str = "~";

/// Holds of a recipient `r` where somebody is written to: an import needs no chats beside its messages, and some left.
pub(super) const STANDS: &str = "r.chat <> '' AND r.chat NOT GLOB '~*'";

/// Since when an audience that is not complete is taken to be one whose command died: storing a million recipients takes some ten
/// seconds.
const ABANDONED: Millis = Millis::seconds(3_600);

/// An audience that is being stored. Nobody finds it until it is complete.
#[derive(Clone, Debug)]
pub struct OpenAudience {
    id: i64,
    /// Stands in place of its fingerprint.
    mark: Vec<u8>,
}

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

    /// Begins to store an audience step by step. Whoever stores the same one at the same time has another row.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_audience(&self, now: Timestamp) -> Result<OpenAudience, StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let doing = "begin an audience";
                    // Pruning empties it step by step.
                    sqlx::query(
                        "UPDATE audiences SET complete = 2, fingerprint = CAST('forgotten ' || id AS BLOB)
                         WHERE complete = 0 AND fingerprint >= CAST('being stored ' AS BLOB)
                           AND fingerprint < CAST(format('being stored %015d', ?1) AS BLOB)",
                    )
                    .bind(now.0 - ABANDONED.0)
                    .execute(&mut *c)
                    .await
                    .map_err(StoreError::database(doing))?;
                    let row = sqlx::query(
                        "INSERT INTO audiences (fingerprint, size)
                         VALUES (CAST(format('being stored %015d %s', ?1, hex(randomblob(16))) AS BLOB), 0)
                         RETURNING id, fingerprint",
                    )
                    .bind(now.0)
                    .fetch_one(c)
                    .await
                    .map_err(StoreError::database(doing))?;
                    Ok(OpenAudience { id: get(&row, 0)?, mark: get(&row, 1)? })
                })
            })
            .await
    }

    /// Adds recipients to an audience that is being stored, the first at `from_place`.
    ///
    /// # Errors
    /// When the database cannot be written, or storing it took so long that it was taken to be abandoned.
    pub async fn add_recipients(
        &self,
        audience: OpenAudience,
        from_place: i64,
        recipients: Vec<Recipient>,
    ) -> Result<(), StoreError> {
        let rows = rows_from(from_place, &recipients);
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    still_open(c, &audience).await?;
                    insert_recipients(c, audience.id, rows).await
                })
            })
            .await
    }

    /// Completes an audience: it is found by its fingerprint from now on. Answers its id; where somebody else stored the same one
    /// meanwhile, the id of theirs.
    ///
    /// # Errors
    /// When the database cannot be written, or storing it took so long that it was taken to be abandoned.
    pub async fn complete_audience(
        &self,
        audience: OpenAudience,
        fingerprint: Vec<u8>,
        size: u64,
    ) -> Result<i64, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    still_open(c, &audience).await?;
                    complete(c, audience.id, fingerprint, size).await
                })
            })
            .await
    }
}

/// Fails where an audience was taken to be abandoned.
async fn still_open(connection: &mut SqliteConnection, audience: &OpenAudience) -> Result<(), StoreError> {
    let open: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM audiences WHERE id = ?1 AND fingerprint = ?2 AND complete = 0)",
    )
    .bind(audience.id)
    .bind(audience.mark.clone())
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("look whether an audience is being stored"))?;
    if open { Ok(()) } else { Err(StoreError::AudienceAbandoned) }
}

async fn complete(
    connection: &mut SqliteConnection,
    id: i64,
    fingerprint: Vec<u8>,
    size: i64,
) -> Result<i64, StoreError> {
    let doing = "complete an audience";
    let known: Option<(i64, i64)> = sqlx::query_as("SELECT id, complete FROM audiences WHERE fingerprint = ?1")
        .bind(fingerprint.clone())
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    // Pruning empties step by step what nobody needs.
    let forgotten = known.map(|(other, state)| if state == 1 { id } else { other });
    if let Some(forgotten) = forgotten {
        sqlx::query("UPDATE audiences SET complete = 2, fingerprint = CAST('forgotten ' || id AS BLOB) WHERE id = ?1")
            .bind(forgotten)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    }
    if let Some((theirs, 1)) = known {
        return Ok(theirs);
    }
    sqlx::query("UPDATE audiences SET complete = 1, size = ?2, fingerprint = ?3 WHERE id = ?1")
        .bind(id)
        .bind(size)
        .bind(fingerprint)
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(id)
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
