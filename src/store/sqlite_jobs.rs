//! Declared jobs: what is new, what changed, what vanished.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::job::Job;
use crate::domain::occurrence::to_be_planned;
use crate::domain::schedule::Schedule;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::get;
use crate::store::sqlite_event::begins_at;
use crate::store::sqlite_moved::carry_words;
use crate::store::sqlite_plan::{fingerprint, store_content};
use crate::store::{Applied, JobApply, SqliteStore, StoreError, sqlite_renew};

/// Rows that make room in one transaction: some milliseconds of the writer.
const ROOM_CHUNK: i64 = 500;

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

    /// How many messages of a job wait that a change of it would replace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting_of_job(&self, job: &str) -> Result<u64, StoreError> {
        sqlite_renew::waiting(self, job).await
    }
}

/// Jobs (a JSON list of names) that were removed and are declared again: what their removal cancelled makes room for its
/// successors. Answers how many rows of this step.
pub(super) async fn make_room(connection: &mut SqliteConnection, jobs: String) -> Result<u64, StoreError> {
    let steps = [
        // What may have gone out before the removal is not tried again: its sender was told that it was called off. The three
        // states are those of the index.
        "UPDATE messages SET withdrawn = 1
         WHERE state IN ('typing', 'sending', 'in_doubt') AND state <> 'typing'
           AND job IN (SELECT value FROM json_each(?1)) AND job NOT IN (SELECT name FROM jobs)
           AND occurrence IN (SELECT id FROM occurrences WHERE removed_at IS NOT NULL)",
        "UPDATE occurrences SET removed_at = NULL
         WHERE removed_at IS NOT NULL AND job IN (SELECT value FROM json_each(?1)) AND job NOT IN (SELECT name FROM jobs)",
    ];
    for step in steps {
        sqlx::query(step)
            .bind(jobs.clone())
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("make room for a job's messages"))?;
    }
    let done = sqlx::query(include_str!("sql/make_room.sql"))
        .bind(jobs)
        .bind(ROOM_CHUNK)
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
    still_complete(connection, audience).await?;
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
    if let Some((before, zone_before)) = known.as_ref().map(schedule).transpose()?.flatten() {
        let moved = job.schedule.moved_from(&before, (&zone_before, &zone), first_applied_at);
        carry_words(connection, &job.name, moved, now).await?;
    }
    if let Some(event) = job.schedule.event_at() {
        begins_at(&mut *connection, &job.name, event).await?;
    }
    let next = match &known {
        None => job.first(first_applied_at, &zone).map(|next| (next, now)),
        Some(_) => goes_on_at(connection, &job, first_applied_at, &zone, now).await?.filter(|_| !cancelled),
    };
    sqlx::query(include_str!("sql/upsert_job.sql"))
        .bind(job.name.clone())
        .bind(definition)
        .bind(print)
        .bind(content)
        .bind(audience)
        .bind(first_applied_at.0)
        .bind(now.0)
        .bind(next.map(|(at, _)| at.0))
        .bind(next.map(|(_, plan_at)| plan_at.0))
        .bind((!then.is_empty()).then(|| json!(then).to_string()))
        .bind(moved_to)
        .bind(i64::from(cancelled))
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(if known.is_some() { Applied::Changed } else { Applied::Added })
}

/// A list of recipients that was stored a moment ago may have been forgotten since, where nobody used it yet.
async fn still_complete(connection: &mut SqliteConnection, audience: i64) -> Result<(), StoreError> {
    let complete: Option<i64> = sqlx::query_scalar("SELECT complete FROM audiences WHERE id = ?1")
        .bind(audience)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::database("apply a job"))?;
    if complete == Some(1) { Ok(()) } else { Err(StoreError::AudienceAbandoned) }
}

/// The schedule of a known job as it stands, and its zone.
fn schedule(row: &SqliteRow) -> Result<Option<(Schedule, jiff::tz::TimeZone)>, StoreError> {
    let Ok(mut job) = serde_json::from_str::<Job>(&get::<String>(row, 3)?) else { return Ok(None) };
    if let Some(moved) = get::<Option<i64>>(row, 4)? {
        job.schedule.move_event(Timestamp(moved));
    }
    let zone = crate::clock::zone(job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    Ok(Some((job.schedule, zone)))
}

/// Where a person moved the event of a job to, and whether it was called off, if the file still says what it said.
fn kept_event(row: &SqliteRow, job: &Job) -> Result<(Option<i64>, bool), StoreError> {
    let before = serde_json::from_str::<Job>(&get::<String>(row, 3)?).ok().and_then(|j| j.schedule.event_at());
    if before.is_none() || before != job.schedule.event_at() {
        return Ok((None, false));
    }
    Ok((get(row, 4)?, get::<i64>(row, 5)? != 0))
}

/// Where a changed job goes on: at the next occurrence of its schedule beside those that are planned anew, which are hidden
/// here. And when that one is planned.
async fn goes_on_at(
    connection: &mut SqliteConnection,
    job: &Job,
    first_applied_at: Timestamp,
    zone: &jiff::tz::TimeZone,
    now: Timestamp,
) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let mut hidden = sqlite_renew::hide_open(connection, &job.name, now).await?;
    let known = |t: Timestamp| job.schedule.next_after(t - Millis(1), first_applied_at, zone) == Some(t);
    hidden.extend(sqlite_renew::come_back(connection, &job.name, known, now).await?);
    hidden.sort_unstable();
    let fired: Option<i64> =
        // One that only keeps what a person said of it has not fired.
        sqlx::query_scalar(
            "SELECT max(nominal_at) FROM occurrences AS o WHERE job = ?1 AND nominal_at <= ?2
               AND (state <> 'planning' OR planned_at IS NOT NULL OR EXISTS (SELECT 1 FROM messages WHERE occurrence = o.id))",
        )
            .bind(job.name.clone())
            .bind(now.0)
            .fetch_one(connection)
            .await
            .map_err(StoreError::database("find where a changed job goes on"))?;
    let next = match (&job.schedule, fired) {
        (Schedule::Every { .. } | Schedule::Cron { .. }, _) => job.schedule.next_after(now, first_applied_at, zone),
        // Each of its reminders has its own fate: what went out already is not planned again.
        (Schedule::Event { .. }, _) => job.schedule.first(first_applied_at, zone),
        (Schedule::At(_) | Schedule::In(_), Some(fired)) => {
            job.schedule.next_after(Timestamp(fired), first_applied_at, zone)
        }
        (Schedule::At(_) | Schedule::In(_), None) => job.schedule.first(first_applied_at, zone),
    };
    let next = sqlite_renew::next_beside(job, &hidden, next, first_applied_at, zone);
    // One that is planned anew is ahead as well as a new one would be.
    Ok(next.map(|next| match hidden.iter().rfind(|t| **t < next && known(**t)) {
        Some(before) => (next, to_be_planned(job, *before, next, now)),
        None => (next, now),
    }))
}

pub(super) async fn vanished(
    connection: &mut SqliteConnection,
    declared: String,
    prune: bool,
    now: Timestamp,
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
        sqlite_renew::hide_removed(connection, list.clone(), now).await?;
        let drop = "DELETE FROM jobs WHERE name IN (SELECT value FROM json_each(?1))";
        sqlx::query(drop).bind(list).execute(connection).await.map_err(StoreError::database(doing))?;
    }
    Ok(names)
}
