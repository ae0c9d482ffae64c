//! The daemon's chores as the database keeps them: when each runs, and how its last run went.

use jiff::tz::TimeZone;
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::chore::{Chore, ChoreName, Task, next_run};
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::get;
use crate::store::{SqliteStore, StoreError};

/// A chore with its last run and its next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChoreRow {
    /// Which.
    pub name: ChoreName,
    /// Its pattern and what it does; `None` = switched off, or not asked for.
    pub chore: Option<Chore>,
    /// The zone of its pattern, by IANA name.
    pub zone: String,
    /// When it runs next.
    pub next_at: Option<Timestamp>,
    /// When its last run began.
    pub started_at: Option<Timestamp>,
    /// When that ended; `None` while it goes on, or when its process ended before it did.
    pub finished_at: Option<Timestamp>,
    /// How long it took.
    pub took: Option<Millis>,
    /// Its result in words, or what went wrong.
    pub result: Option<Result<String, String>>,
}

impl SqliteStore {
    /// The chores, those that are off included, by name. None where no file was applied and no daemon ran yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn chores(&self) -> Result<Vec<ChoreRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, cron, zone, task, next_at, started_at, finished_at, took_ms, ok, result FROM chores
             ORDER BY name",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("read the chores"))?;
        rows.iter().filter_map(|r| chore_row(r).transpose()).collect()
    }

    /// Keeps which chores are asked for. One whose pattern and zone stay keeps its next run.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_chores(&self, chores: Vec<Chore>, zone: String, now: Timestamp) -> Result<(), StoreError> {
        self.writer()?.run(move |c| Box::pin(async move { keep_chores(c, &chores, &zone, now).await })).await
    }

    /// Notes when a chore runs next.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_next_run(&self, name: ChoreName, at: Option<Timestamp>) -> Result<(), StoreError> {
        self.write_chore(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE chores SET next_at = ?2 WHERE name = ?1")
                    .bind(name.name())
                    .bind(at.map(|t| t.0))
                    .execute(c)
                    .await
            })
        })
        .await
    }

    /// Writes down that a chore begins, and when it runs next (unless that is `None`).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_chore(
        &self,
        name: ChoreName,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_chore(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO chores (name, zone, started_at) VALUES (?1, 'UTC', ?2)
                     ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, finished_at = NULL,
                         took_ms = NULL, ok = NULL, result = NULL, next_at = coalesce(?3, next_at)",
                )
                .bind(name.name())
                .bind(now.0)
                .bind(next_at.map(|t| t.0))
                .execute(c)
                .await
            })
        })
        .await
    }

    /// Writes down how a chore ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn end_chore(
        &self,
        name: ChoreName,
        took: Millis,
        result: Result<String, String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_chore(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE chores SET finished_at = ?2, took_ms = ?3, ok = ?4, result = ?5 WHERE name = ?1")
                    .bind(name.name())
                    .bind(now.0)
                    .bind(took.0)
                    .bind(i64::from(result.is_ok()))
                    .bind(result.unwrap_or_else(|e| e))
                    .execute(c)
                    .await
            })
        })
        .await
    }

    async fn write_chore<F>(&self, statement: F) -> Result<(), StoreError>
    where
        F: for<'c> FnOnce(
                &'c mut SqliteConnection,
            )
                -> futures_util::future::BoxFuture<'c, Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>>
            + Send
            + 'static,
    {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    statement(c).await.map_err(StoreError::database("write down a chore"))?;
                    Ok(())
                })
            })
            .await
    }
}

pub(super) async fn keep_chores(
    connection: &mut SqliteConnection,
    chores: &[Chore],
    zone: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let place = crate::clock::zone(zone).unwrap_or(TimeZone::UTC);
    for (name, text, _) in ChoreName::ALL {
        let chore = chores.iter().find(|c| c.task.name() == name);
        sqlx::query(
            "INSERT INTO chores (name, cron, zone, task, next_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, zone = excluded.zone, task = excluded.task,
                 next_at = CASE WHEN cron IS excluded.cron AND zone = excluded.zone THEN coalesce(next_at, excluded.next_at)
                                ELSE excluded.next_at END
             WHERE cron IS NOT excluded.cron OR zone <> excluded.zone OR task IS NOT excluded.task",
        )
        .bind(text)
        .bind(chore.map(|c| c.cron.clone()))
        .bind(zone.to_owned())
        .bind(chore.map(|c| json!(c.task).to_string()))
        .bind(chore.and_then(|c| next_run(&c.cron, &place, None, now)).map(|t| t.0))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database("keep the chores"))?;
    }
    Ok(())
}

/// `None` for a chore of a later version.
fn chore_row(row: &SqliteRow) -> Result<Option<ChoreRow>, StoreError> {
    let Some(name) = ChoreName::parse(&get::<String>(row, 0)?) else { return Ok(None) };
    let (cron, task): (Option<String>, Option<String>) = (get(row, 1)?, get(row, 3)?);
    let task = task.and_then(|t| serde_json::from_str::<Task>(&t).ok());
    let instant = |at: usize| Ok::<_, StoreError>(get::<Option<i64>>(row, at)?.map(Timestamp));
    let (ok, words): (Option<i64>, Option<String>) = (get(row, 8)?, get(row, 9)?);
    Ok(Some(ChoreRow {
        name,
        chore: cron.zip(task).map(|(cron, task)| Chore { task, cron }),
        zone: get(row, 2)?,
        next_at: instant(4)?,
        started_at: instant(5)?,
        finished_at: instant(6)?,
        took: get::<Option<i64>>(row, 7)?.map(Millis),
        result: ok.zip(words).map(|(ok, words)| if ok == 1 { Ok(words) } else { Err(words) }),
    }))
}
