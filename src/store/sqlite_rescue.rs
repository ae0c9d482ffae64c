//! What should not be: rows in motion, what a command left halfway, and what nobody looked at for long.

use serde_json::json;

use crate::domain::id::MessageId;
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::{get, id};
use crate::store::sqlite_renew::end;
use crate::store::sqlite_upkeep::{meta, set_meta};
use crate::store::{SqliteStore, StoreError};

/// A message whose row is in motion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InMotion {
    /// Which one.
    pub id: MessageId,
    /// `Typing` or `Sending`.
    pub state: StateName,
    /// How many attempts it has.
    pub attempts: u32,
    /// When it woke.
    pub wake_at: Timestamp,
}

/// An occurrence that a command was changing, removing or planning, as it stood at a look: the same twice is left for good.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Unfinished {
    /// Its row.
    pub occurrence: i64,
    /// Its job.
    pub job: String,
    /// Its nominal instant.
    pub nominal: Timestamp,
    /// How many messages it had.
    pub messages: i64,
    /// How many of them still waited.
    pub waiting: i64,
}

/// Under this name the database counts what was rescued.
const RESCUED: &str = "rescued";

/// Rows read, and cancelled, in one go.
const AT_ONCE: i64 = 500;

impl SqliteStore {
    /// Messages in motion: as many as a daemon may hold.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn in_motion(&self) -> Result<Vec<InMotion>, StoreError> {
        let rows = sqlx::query(include_str!("sql/in_motion.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look what is in motion"))?;
        rows.iter()
            .map(|r| {
                Ok(InMotion {
                    id: id(r, 0)?,
                    state: if get::<&str>(r, 1)? == "typing" { StateName::Typing } else { StateName::Sending },
                    attempts: get::<i64>(r, 2)?.try_into().unwrap_or(0),
                    wake_at: Timestamp(get(r, 3)?),
                })
            })
            .collect()
    }

    /// Occurrences that a change or a removal of their job, or a call beside its schedule, has not finished.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, StoreError> {
        let rows = sqlx::query(include_str!("sql/unfinished.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look what was left halfway"))?;
        rows.iter()
            .map(|r| {
                let (occurrence, job, nominal) = (get(r, 0)?, get(r, 1)?, Timestamp(get(r, 2)?));
                Ok(Unfinished { occurrence, job, nominal, messages: get(r, 3)?, waiting: get(r, 4)? })
            })
            .collect()
    }

    /// Cancels the messages of occurrences beside their schedule whose planning was left halfway: nobody was told that they
    /// are on their way.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn cancel_abandoned(&self, abandoned: &[Unfinished], now: Timestamp) -> Result<(), StoreError> {
        for one in abandoned {
            let occurrence = one.occurrence;
            loop {
                let step = self.writer()?.run(move |c| {
                    Box::pin(async move {
                        let doing = "cancel what was left halfway";
                        let rows: Vec<String> = sqlx::query_scalar(
                            "SELECT hex(m.id) FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
                             WHERE o.id = ?1 AND o.extra = 1 AND o.planned_at IS NULL AND o.state = 'planning'
                               AND m.state IN ('scheduled', 'held') AND m.reason IS NOT 'replaced' LIMIT ?2",
                        )
                        .bind(occurrence)
                        .bind(AT_ONCE)
                        .fetch_all(&mut *c)
                        .await
                        .map_err(StoreError::database(doing))?;
                        let note = "the command that planned it ended halfway";
                        end(c, json!(rows).to_string(), "replaced", note, now).await
                    })
                });
                if step.await? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Counts what was rescued.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn count_rescued(&self, what: &'static str, n: u64) -> Result<(), StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let known = meta(c, RESCUED).await?.and_then(|text| serde_json::from_str(&text).ok());
                    let mut counts: serde_json::Map<String, serde_json::Value> = known.unwrap_or_default();
                    let before = counts.get(what).and_then(serde_json::Value::as_u64).unwrap_or(0);
                    counts.insert(what.to_owned(), json!(before.saturating_add(n)));
                    set_meta(c, RESCUED, &serde_json::Value::Object(counts).to_string()).await
                })
            })
            .await
    }

    /// How often something was rescued: rows that were `typing`, rows that were `sending`, and occurrences left halfway.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn rescued(&self) -> Result<[u64; 3], StoreError> {
        let text = self.setting(RESCUED).await?;
        let counts: serde_json::Value = text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
        Ok(["typing", "sending", "unfinished"].map(|what| counts[what].as_u64().unwrap_or(0)))
    }

    /// What should have been looked at before an instant and was not, in words; nothing where all is well.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn overdue(&self, before: Timestamp) -> Result<Vec<String>, StoreError> {
        let (gates, follow_ups, plans): (i64, i64, i64) = sqlx::query_as(include_str!("sql/overdue.sql"))
            .bind(before.0)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("look what is overdue"))?;
        let words = [
            (gates, "occurrences at their gates"),
            (follow_ups, "messages to be followed"),
            (plans, "jobs to be planned"),
        ];
        Ok(words.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect())
    }
}
