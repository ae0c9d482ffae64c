//! Declared jobs: what is new, what changed, what vanished, and the replacing of what waits.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::job::Job;
use crate::domain::schedule::Schedule;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::get;
use crate::store::sqlite_plan::{fingerprint, store_content};
use crate::store::{Applied, JobApply, SqliteStore, StoreError};

/// Rows replaced in one transaction when a job changed: some milliseconds of the writer.
const REPLACE_CHUNK: i64 = 500;

impl SqliteStore {
    /// What applying a job with this audience would do, and since when the job is known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn compare_job(
        &self,
        job: &Job,
        audience: Option<i64>,
    ) -> Result<(Applied, Option<Timestamp>), StoreError> {
        let row = sqlx::query("SELECT fingerprint, first_applied_at FROM jobs WHERE name = ?1")
            .bind(job.name.clone())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("compare a job"))?;
        let Some(row) = row else { return Ok((Applied::Added, None)) };
        let same = audience.is_some_and(|a| get::<Vec<u8>>(&row, 0).is_ok_and(|known| known == print_of(job, a)));
        Ok((if same { Applied::Unchanged } else { Applied::Changed }, Some(Timestamp(get(&row, 1)?))))
    }

    /// How many messages of a job wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting_of_job(&self, job: &str) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
             WHERE o.job = ?1 AND m.state = 'scheduled' AND m.reason IS NOT 'replaced' AND m.follows IS NULL
               AND o.extra = 0 AND o.id NOT IN (SELECT occurrence FROM imports)",
        )
        .bind(job.to_owned())
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("count a job's waiting messages"))?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// Cancels what waits of a removed job, or of the hidden occurrences of a changed one, step by step.
    pub(super) async fn replace_waiting(
        &self,
        job: String,
        reason: &'static str,
        note: &str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut replaced = 0;
        loop {
            let (job, note) = (job.clone(), note.to_owned());
            let changed = self
                .writer()?
                .run(move |c| Box::pin(async move { replace_chunk(c, &job, reason, &note, now).await }))
                .await?;
            if changed == 0 {
                return Ok(replaced);
            }
            replaced += changed;
        }
    }
}

/// Jobs (a JSON list of names) that were removed and are declared again: what their removal cancelled makes room for its
/// successors. Answers how many rows of this step.
pub(super) async fn make_room(connection: &mut SqliteConnection, jobs: String) -> Result<u64, StoreError> {
    let done = sqlx::query(include_str!("sql/make_room.sql"))
        .bind(jobs)
        .bind(REPLACE_CHUNK)
        .execute(connection)
        .await
        .map_err(StoreError::database("make room for a job's messages"))?;
    Ok(done.rows_affected())
}

/// Those of these jobs that are known just as they are, and declared all along: nothing is to be done about them.
pub(super) async fn known_as_they_are(
    connection: &mut SqliteConnection,
    jobs: &[JobApply],
) -> Result<HashSet<String>, StoreError> {
    let prints: Vec<Value> = jobs
        .iter()
        .map(|j| {
            let print: String = print_of(&j.job, j.audience).iter().map(|b| format!("{b:02x}")).collect();
            json!([j.job.name, print])
        })
        .collect();
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT j.name FROM json_each(?1) AS v
         CROSS JOIN jobs AS j ON j.name = v.value ->> 0 AND j.fingerprint = unhex(v.value ->> 1) AND j.vanished = 0",
    )
    .bind(Value::Array(prints).to_string())
    .fetch_all(connection)
    .await
    .map_err(StoreError::database("compare jobs"))?;
    Ok(names.into_iter().collect())
}

/// The hash by which a job is known to be the same.
fn print_of(job: &Job, audience: i64) -> Vec<u8> {
    fingerprint(&[&serde_json::to_string(job).unwrap_or_default(), &audience.to_string()])
}

pub(super) async fn apply_job(
    connection: &mut SqliteConnection,
    apply: JobApply,
    now: Timestamp,
) -> Result<Applied, StoreError> {
    let JobApply { job, audience, max_lateness } = apply;
    let definition = serde_json::to_string(&job).unwrap_or_default();
    let print = print_of(&job, audience);
    let doing = "apply a job";
    let known = sqlx::query(
        "SELECT fingerprint, first_applied_at, vanished, definition, event_moved_to, event_cancelled
         FROM jobs WHERE name = ?1",
    )
    .bind(job.name.clone())
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if let Some(row) = &known
        && get::<Vec<u8>>(row, 0)? == print
    {
        if get::<i64>(row, 2)? != 0 {
            sqlx::query("UPDATE jobs SET vanished = 0 WHERE name = ?1")
                .bind(job.name.clone())
                .execute(connection)
                .await
                .map_err(StoreError::database(doing))?;
        }
        return Ok(Applied::Unchanged);
    }
    // An event that a person moved or called off stays so, as long as the file says of it what it said.
    let mut job = job;
    let (moved_to, cancelled) = match &known {
        Some(row) => kept_event(row, &job)?,
        None => (None, false),
    };
    if let Some(moved) = moved_to {
        job.schedule.move_event(Timestamp(moved));
    }
    still_complete(connection, audience, &job.name).await?;
    let content = store_content(connection, &job.content, &job.manner, &job.zone, max_lateness).await?;
    let mut then = Vec::with_capacity(job.then.len());
    for c in &job.then {
        then.push(store_content(connection, c, &job.manner, &job.zone, max_lateness).await?);
    }
    let first_applied_at = match &known {
        Some(row) => Timestamp(get(row, 1)?),
        None => now,
    };
    let zone = crate::clock::zone(job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    let (next_at, replaces) = match &known {
        None => (job.first(first_applied_at, &zone), false),
        Some(_) => {
            let (next_at, replaces) = resume_from(connection, &job, first_applied_at, &zone, now).await?;
            (next_at.filter(|_| !cancelled), replaces)
        }
    };
    sqlx::query(include_str!("sql/upsert_job.sql"))
        .bind(job.name.clone())
        .bind(definition)
        .bind(print)
        .bind(content)
        .bind(audience)
        .bind(first_applied_at.0)
        .bind(now.0)
        .bind(next_at.map(|t| t.0))
        // Not to be planned before what waits is replaced: a next occurrence without an instant to plan it.
        .bind(next_at.filter(|_| !replaces).map(|_| now.0))
        .bind((!then.is_empty()).then(|| json!(then).to_string()))
        .bind(moved_to)
        .bind(i64::from(cancelled))
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(if known.is_some() { Applied::Changed } else { Applied::Added })
}

/// A list of recipients that was stored a moment ago may have been forgotten since, where nobody used it yet.
async fn still_complete(connection: &mut SqliteConnection, audience: i64, job: &str) -> Result<(), StoreError> {
    let complete: Option<i64> = sqlx::query_scalar("SELECT complete FROM audiences WHERE id = ?1")
        .bind(audience)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::database("apply a job"))?;
    if complete != Some(1) {
        let what = format!("the recipients of job '{job}' were forgotten meanwhile: apply the file again");
        return Err(StoreError::Inconsistent { table: "audiences", column: "complete", what });
    }
    Ok(())
}

/// Where a person moved the event of a job to, and whether it was called off, if the file still says what it said.
fn kept_event(row: &SqliteRow, job: &Job) -> Result<(Option<i64>, bool), StoreError> {
    let before = serde_json::from_str::<Job>(&get::<String>(row, 3)?).ok().and_then(|j| j.schedule.event_at());
    if before.is_none() || before != job.schedule.event_at() {
        return Ok((None, false));
    }
    Ok((get(row, 4)?, get::<i64>(row, 5)? != 0))
}

/// Where a changed job goes on: at its earliest occurrence that still has waiting messages, if the new schedule knows
/// that one too, else at its next; and whether something waits. The occurrences are hidden until their messages are
/// planned anew.
async fn resume_from(
    connection: &mut SqliteConnection,
    job: &Job,
    first_applied_at: Timestamp,
    zone: &jiff::tz::TimeZone,
    now: Timestamp,
) -> Result<(Option<Timestamp>, bool), StoreError> {
    let doing = "replace a job's waiting messages";
    let open: Vec<i64> = sqlx::query_scalar(
        "SELECT nominal_at FROM occurrences WHERE job = ?1 AND EXISTS
           (SELECT 1 FROM messages AS m WHERE m.occurrence = occurrences.id AND m.state IN ('scheduled', 'typing')
            AND m.reason IS NOT 'replaced' AND m.follows IS NULL)
         -- What was imported or asked for beside the schedule is not planned anew: it stays as it is.
         AND extra = 0 AND id NOT IN (SELECT occurrence FROM imports)
         ORDER BY nominal_at",
    )
    .bind(job.name.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    sqlx::query(
        "UPDATE occurrences SET state = 'planning', gate_at = NULL WHERE job = ?1 AND nominal_at IN (SELECT value FROM json_each(?2))",
    )
    .bind(job.name.clone())
    .bind(json!(open).to_string())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let replaces = !open.is_empty();
    let known = |t: &Timestamp| job.schedule.next_after(*t - Millis(1), first_applied_at, zone) == Some(*t);
    let resumed = open.into_iter().map(Timestamp).find(known);
    let fired: Option<i64> =
        sqlx::query_scalar("SELECT max(nominal_at) FROM occurrences WHERE job = ?1 AND nominal_at <= ?2")
            .bind(job.name.clone())
            .bind(now.0)
            .fetch_one(connection)
            .await
            .map_err(StoreError::database(doing))?;
    let next = match (&job.schedule, fired) {
        (Schedule::Every { .. } | Schedule::Cron { .. }, _) => job.schedule.next_after(now, first_applied_at, zone),
        // Each of its reminders has its own fate: what went out already is not planned again.
        (Schedule::Event { .. }, _) => job.schedule.first(first_applied_at, zone),
        (Schedule::At(_) | Schedule::In(_), Some(fired)) => {
            job.schedule.next_after(Timestamp(fired), first_applied_at, zone)
        }
        (Schedule::At(_) | Schedule::In(_), None) => job.schedule.first(first_applied_at, zone),
    };
    Ok((resumed.into_iter().chain(next).min(), replaces))
}

pub(super) async fn vanished(
    connection: &mut SqliteConnection,
    declared: String,
    prune: bool,
) -> Result<Vec<String>, StoreError> {
    let doing = "find jobs that are no longer declared";
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM jobs WHERE name NOT IN (SELECT value FROM json_each(?1)) ORDER BY name")
            .bind(declared)
            .fetch_all(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    let list = json!(names).to_string();
    let mark = "UPDATE jobs SET vanished = 1 WHERE name IN (SELECT value FROM json_each(?1))";
    sqlx::query(mark).bind(list.clone()).execute(&mut *connection).await.map_err(StoreError::database(doing))?;
    if prune {
        hide_waiting(connection, list.clone()).await?;
        let drop = "DELETE FROM jobs WHERE name IN (SELECT value FROM json_each(?1))";
        sqlx::query(drop).bind(list).execute(connection).await.map_err(StoreError::database(doing))?;
    }
    Ok(names)
}

/// Hides what waits of jobs (a JSON list of names) that go: it is cancelled step by step afterwards, and nothing of it
/// leaves meanwhile.
pub(super) async fn hide_waiting(connection: &mut SqliteConnection, jobs: String) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE occurrences SET state = 'planning', gate_at = NULL
         WHERE job IN (SELECT value FROM json_each(?1)) AND EXISTS
           (SELECT 1 FROM messages AS m WHERE m.occurrence = occurrences.id AND m.state = 'scheduled'
            AND m.reason IS NOT 'replaced')",
    )
    .bind(jobs)
    .execute(connection)
    .await
    .map_err(StoreError::database("hide what waits of a removed job"))?;
    Ok(())
}

async fn replace_chunk(
    connection: &mut SqliteConnection,
    job: &str,
    reason: &'static str,
    note: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let doing = "replace a job's waiting messages";
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT hex(m.id) FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
         WHERE o.job = ?1 AND m.state = 'scheduled' AND m.reason IS NOT 'replaced'
           AND (?3 = 'removed' OR o.state = 'planning' AND o.gate_at IS NULL AND m.follows IS NULL
                                  AND o.id NOT IN (SELECT occurrence FROM imports)) LIMIT ?2",
    )
    .bind(job.to_owned())
    .bind(REPLACE_CHUNK)
    .bind(reason)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if rows.is_empty() {
        return Ok(0);
    }
    let events = rows.iter().map(|id| json!([id, now, "scheduled", "cancelled", note])).collect();
    super::sqlite_apply::insert(connection, include_str!("sql/insert_events.sql"), events, doing).await?;
    let done = sqlx::query(
        "UPDATE messages SET state = 'cancelled', reason = ?2
         WHERE state = 'scheduled' AND id IN (SELECT unhex(value) FROM json_each(?1))",
    )
    .bind(json!(rows).to_string())
    .bind(reason)
    .execute(connection)
    .await
    .map_err(StoreError::database(doing))?;
    Ok(done.rows_affected())
}
