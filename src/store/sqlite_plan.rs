//! Jobs, audiences and the planning of occurrences.

use serde_json::{Value, json};
use sha2::Digest;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::class::Class;
use crate::domain::content::Content;
use crate::domain::job::{Job, Manner};
use crate::domain::recipient::Chat;
use crate::domain::schedule::Schedule;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::hex;
use crate::store::sqlite_claim::{get, read_vars};
use crate::store::{Applied, JobApply, NewMessages, Publish, Recipient, SqliteStore, StoreError, StoredJob};

/// Rows replaced in one transaction when a job changed: some milliseconds of the writer.
const REPLACE_CHUNK: i64 = 500;

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

    /// Applies jobs, all or nothing, and reports jobs that are no longer declared. The waiting messages of a changed
    /// job are hidden in the same transaction and replaced in chunks after it.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was applied.
    pub async fn apply_jobs(
        &self,
        jobs: Vec<JobApply>,
        prune: bool,
        now: Timestamp,
    ) -> Result<(Vec<(String, Applied)>, Vec<String>), StoreError> {
        let writer = self.writer()?;
        let (applied, vanished) = writer
            .run(move |c| {
                Box::pin(async move {
                    let mut applied = Vec::with_capacity(jobs.len());
                    let mut names = Vec::with_capacity(jobs.len());
                    for job in jobs {
                        names.push(Value::String(job.job.name.clone()));
                        applied.push((job.job.name.clone(), apply_job(c, job, now).await?));
                    }
                    let vanished = vanished(c, Value::Array(names).to_string(), prune).await?;
                    Ok((applied, vanished))
                })
            })
            .await?;
        let mut replaced: Vec<(String, &'static str)> =
            applied.iter().filter(|(_, a)| *a == Applied::Changed).map(|(n, _)| (n.clone(), "replaced")).collect();
        if prune {
            replaced.extend(vanished.iter().map(|n| (n.clone(), "removed")));
        }
        for (name, reason) in replaced {
            self.replace_waiting(name, reason, now).await?;
        }
        writer.tell();
        Ok((applied, vanished))
    }

    async fn replace_waiting(&self, job: String, reason: &'static str, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let job = job.clone();
            let changed =
                self.writer()?.run(move |c| Box::pin(async move { replace_chunk(c, &job, reason, now).await })).await?;
            if changed == 0 {
                return Ok(());
            }
        }
    }

    /// Stores a content once and answers its row.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn store_content(
        &self,
        content: Content,
        manner: Manner,
        zone: String,
        max_lateness: Millis,
    ) -> Result<i64, StoreError> {
        self.writer()?
            .run(move |c| Box::pin(async move { store_content(c, &content, &manner, &zone, max_lateness).await }))
            .await
    }

    /// The message that was stored under an idempotency key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn message_by_key(&self, key: &str) -> Result<Option<crate::domain::id::MessageId>, StoreError> {
        let row = sqlx::query("SELECT id FROM messages WHERE key = ?1")
            .bind(key.to_owned())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find a message by its key"))?;
        row.map(|r| super::sqlite_claim::id(&r, 0)).transpose()
    }

    /// A job by its name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job(&self, name: &str) -> Result<Option<StoredJob>, StoreError> {
        let row = sqlx::query(include_str!("sql/job.sql"))
            .bind(name.to_owned())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("read a job"))?;
        row.as_ref().map(stored_job).transpose()
    }

    /// The names of all jobs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job_names(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT name FROM jobs ORDER BY name")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the jobs"))
    }
}

/// A recipient's variables as stored: nothing for none.
pub(crate) fn vars_json(vars: &crate::domain::template::Vars) -> Option<String> {
    if vars.is_empty() { None } else { serde_json::to_string(vars).ok() }
}

fn fingerprint(parts: &[&str]) -> Vec<u8> {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(0).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_vec()
}

async fn store_content(
    connection: &mut SqliteConnection,
    content: &Content,
    manner: &Manner,
    zone: &str,
    max_lateness: Millis,
) -> Result<i64, StoreError> {
    let body = serde_json::to_string(content).unwrap_or_default();
    let manner = serde_json::to_string(manner).unwrap_or_default();
    let fingerprint = fingerprint(&[&body, &manner, zone, &max_lateness.0.to_string()]);
    let doing = "store a content";
    let known: Option<i64> = sqlx::query_scalar("SELECT id FROM contents WHERE fingerprint = ?1")
        .bind(fingerprint.clone())
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if let Some(id) = known {
        return Ok(id);
    }
    sqlx::query_scalar(
        "INSERT INTO contents (fingerprint, kind, body, manner, zone, max_lateness_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
    )
    .bind(fingerprint)
    .bind(content.kind())
    .bind(body)
    .bind(manner)
    .bind(zone.to_owned())
    .bind(max_lateness.0)
    .fetch_one(connection)
    .await
    .map_err(StoreError::database(doing))
}

async fn apply_job(connection: &mut SqliteConnection, apply: JobApply, now: Timestamp) -> Result<Applied, StoreError> {
    let JobApply { job, audience, max_lateness } = apply;
    let definition = serde_json::to_string(&job).unwrap_or_default();
    let print = fingerprint(&[&definition, &audience.to_string()]);
    let doing = "apply a job";
    let known = sqlx::query("SELECT fingerprint, first_applied_at, vanished FROM jobs WHERE name = ?1")
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
    let content = store_content(connection, &job.content, &job.manner, &job.zone, max_lateness).await?;
    let first_applied_at = match &known {
        Some(row) => Timestamp(get(row, 1)?),
        None => now,
    };
    let zone = crate::clock::zone(&job.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let next_at = match &known {
        None => job.schedule.first(first_applied_at, &zone),
        Some(_) => resume_from(connection, &job, first_applied_at, &zone, now).await?,
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
        .bind(next_at.map(|_| now.0))
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(if known.is_some() { Applied::Changed } else { Applied::Added })
}

/// Where a changed job goes on: at its earliest occurrence that still has waiting messages, if the new schedule knows
/// that one too, else at its next. The occurrences are hidden until their messages are planned anew.
async fn resume_from(
    connection: &mut SqliteConnection,
    job: &Job,
    first_applied_at: Timestamp,
    zone: &jiff::tz::TimeZone,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let doing = "replace a job's waiting messages";
    let open: Vec<i64> = sqlx::query_scalar(
        "SELECT nominal_at FROM occurrences WHERE job = ?1 AND EXISTS
           (SELECT 1 FROM messages AS m WHERE m.occurrence = occurrences.id AND m.state IN ('scheduled', 'typing'))
         ORDER BY nominal_at",
    )
    .bind(job.name.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    sqlx::query(
        "UPDATE occurrences SET state = 'planning' WHERE job = ?1 AND nominal_at IN (SELECT value FROM json_each(?2))",
    )
    .bind(job.name.clone())
    .bind(json!(open).to_string())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
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
        (Schedule::At(_) | Schedule::In(_), Some(fired)) => {
            job.schedule.next_after(Timestamp(fired), first_applied_at, zone)
        }
        (Schedule::At(_) | Schedule::In(_), None) => job.schedule.first(first_applied_at, zone),
    };
    Ok(resumed.into_iter().chain(next).min())
}

async fn vanished(connection: &mut SqliteConnection, declared: String, prune: bool) -> Result<Vec<String>, StoreError> {
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
        let drop = "DELETE FROM jobs WHERE name IN (SELECT value FROM json_each(?1))";
        sqlx::query(drop).bind(list).execute(connection).await.map_err(StoreError::database(doing))?;
    }
    Ok(names)
}

async fn replace_chunk(
    connection: &mut SqliteConnection,
    job: &str,
    reason: &'static str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let doing = "replace a job's waiting messages";
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT hex(m.id) FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
         WHERE o.job = ?1 AND m.state = 'scheduled' AND m.reason IS NOT 'replaced' LIMIT ?2",
    )
    .bind(job.to_owned())
    .bind(REPLACE_CHUNK)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if rows.is_empty() {
        return Ok(0);
    }
    let events = rows
        .iter()
        .map(|id| {
            json!([
                id,
                now,
                "scheduled",
                "cancelled",
                format!("its job was {}", if reason == "removed" { "removed" } else { "changed" })
            ])
        })
        .collect();
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

fn stored_job(row: &SqliteRow) -> Result<StoredJob, StoreError> {
    let definition: String = get(row, 0)?;
    let wrong =
        |e: serde_json::Error| StoreError::Inconsistent { table: "jobs", column: "definition", what: e.to_string() };
    Ok(StoredJob {
        job: serde_json::from_str(&definition).map_err(wrong)?,
        content: get(row, 1)?,
        audience: get(row, 2)?,
        size: get::<i64>(row, 3)?.try_into().unwrap_or(0),
        first_applied_at: Timestamp(get(row, 4)?),
        next_at: get::<Option<i64>>(row, 5)?.map(Timestamp),
    })
}

pub(super) async fn jobs_to_plan(
    store: &SqliteStore,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<StoredJob>, StoreError> {
    let rows = sqlx::query(include_str!("sql/jobs_to_plan.sql"))
        .bind(now.0)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find jobs to plan"))?;
    rows.iter().map(stored_job).collect()
}

pub(super) async fn next_plan_at(store: &SqliteStore) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = sqlx::query_scalar("SELECT min(plan_at) FROM jobs WHERE plan_at IS NOT NULL")
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("find when to plan next"))?;
    Ok(at.map(Timestamp))
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

pub(super) async fn insert(connection: &mut SqliteConnection, messages: NewMessages) -> Result<u64, StoreError> {
    let doing = "store messages";
    let occurrence = match (&messages.job, messages.nominal_at) {
        (Some(job), Some(nominal)) => Some(occurrence(connection, job, nominal).await?),
        _ => None,
    };
    let rows: Vec<Value> = messages
        .rows
        .iter()
        .map(|m| json!([hex(m.id), m.chat.as_str(), m.place, m.guard, m.due_at, m.wake_at, m.lead]))
        .collect();
    let class: Class = messages.class;
    let done = sqlx::query(include_str!("sql/insert_messages.sql"))
        .bind(Value::Array(rows).to_string())
        .bind(messages.job.clone())
        .bind(occurrence)
        .bind(messages.instance.0.to_string())
        .bind(class.code())
        .bind(i64::from(class.rank()))
        .bind(messages.content)
        .bind(messages.audience)
        .bind(messages.state.name())
        .bind(messages.reason.map(|r| r.name()))
        .bind(messages.key.clone())
        .bind(messages.now.0)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if let (Some(job), Some(nominal), Some(publish)) = (&messages.job, messages.nominal_at, messages.publish) {
        sqlx::query("UPDATE occurrences SET state = 'planned' WHERE id = ?1")
            .bind(occurrence)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
        advance_job(connection, job, Some(nominal), publish).await?;
    }
    Ok(done.rows_affected())
}

async fn occurrence(connection: &mut SqliteConnection, job: &str, nominal: Timestamp) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "INSERT INTO occurrences (job, nominal_at, state) VALUES (?1, ?2, 'planning')
         ON CONFLICT (job, nominal_at) DO UPDATE SET job = excluded.job RETURNING id",
    )
    .bind(job.to_owned())
    .bind(nominal.0)
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("note an occurrence"))
}

pub(super) async fn advance_job(
    connection: &mut SqliteConnection,
    name: &str,
    expected: Option<Timestamp>,
    publish: Publish,
) -> Result<(), StoreError> {
    let doing = "advance a job";
    if let Some(missed) = publish.missed_since {
        sqlx::query(
            "INSERT INTO occurrences (job, nominal_at, state) VALUES (?1, ?2, 'missed') ON CONFLICT DO NOTHING",
        )
        .bind(name.to_owned())
        .bind(missed.0)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    }
    sqlx::query("UPDATE jobs SET next_at = ?3, plan_at = ?4 WHERE name = ?1 AND next_at IS ?2")
        .bind(name.to_owned())
        .bind(expected.map(|t| t.0))
        .bind(publish.next_at.map(|t| t.0))
        .bind(publish.plan_at.map(|t| t.0))
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(())
}

/// The words by which a state is filtered.
pub(super) fn state_list(states: &[StateName]) -> String {
    json!(states.iter().map(|s| s.name()).collect::<Vec<_>>()).to_string()
}
