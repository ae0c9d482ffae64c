//! Contents, jobs and the planning of occurrences.

use serde_json::json;
use sha2::Digest;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::content::Content;
use crate::domain::job::{Job, Manner};
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::get;
use crate::store::sqlite_insert::insert_rows;
use crate::store::sqlite_renew::{end_broken_sequences, take_over_words};
use crate::store::{Making, NewMessages, Publish, SqliteStore, StoreError, StoredJob};

impl SqliteStore {
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

pub(super) fn fingerprint(parts: &[&str]) -> Vec<u8> {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(0).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_vec()
}

pub(super) async fn store_content(
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

pub(super) fn stored_job(row: &SqliteRow) -> Result<StoredJob, StoreError> {
    let definition: String = get(row, 0)?;
    let wrong =
        |e: serde_json::Error| StoreError::Inconsistent { table: "jobs", column: "definition", what: e.to_string() };
    let mut contents = vec![get::<i64>(row, 1)?];
    if let Some(more) = get::<Option<String>>(row, 2)? {
        let wrong = |e: serde_json::Error| StoreError::Inconsistent {
            table: "jobs",
            column: "then_contents",
            what: e.to_string(),
        };
        contents.extend(serde_json::from_str::<Vec<i64>>(&more).map_err(wrong)?);
    }
    let mut job: Job = serde_json::from_str(&definition).map_err(wrong)?;
    let declared_event = job.schedule.event_at();
    if let Some(moved) = get::<Option<i64>>(row, 8)? {
        job.schedule.move_event(Timestamp(moved));
    }
    Ok(StoredJob {
        job,
        declared_event,
        event_cancelled: get::<i64>(row, 9)? != 0,
        contents,
        audience: get(row, 3)?,
        size: get::<i64>(row, 4)?.try_into().unwrap_or(0),
        first_applied_at: Timestamp(get(row, 5)?),
        next_at: get::<Option<i64>>(row, 6)?.map(Timestamp),
        resumes: get::<i64>(row, 7)? != 0,
        applied_at: Timestamp(get(row, 10)?),
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

/// The same in order of their names, the next ones after one.
pub(super) async fn jobs_passed(
    store: &SqliteStore,
    now: Timestamp,
    after: &str,
    limit: usize,
) -> Result<Vec<StoredJob>, StoreError> {
    let rows = sqlx::query(include_str!("sql/jobs_passed.sql"))
        .bind(now.0)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(after)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find jobs whose time passed"))?;
    rows.iter().map(stored_job).collect()
}

pub(super) async fn known_occurrence(
    store: &SqliteStore,
    job: &str,
    nominal: Timestamp,
) -> Result<Option<(i64, bool)>, StoreError> {
    sqlx::query_as(
        "SELECT id, state = 'planning' AND planned_at IS NULL AND gate_at IS NULL AND renew = 0
         FROM occurrences WHERE job = ?1 AND nominal_at = ?2 AND state <> 'missed'",
    )
    .bind(job.to_owned())
    .bind(nominal.0)
    .fetch_optional(&store.readers)
    .await
    .map_err(StoreError::database("look whether an occurrence is planned"))
}

pub(super) async fn next_plan_at(store: &SqliteStore) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = sqlx::query_scalar("SELECT min(plan_at) FROM jobs WHERE plan_at IS NOT NULL")
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("find when to plan next"))?;
    Ok(at.map(Timestamp))
}

/// Stores messages, in a transaction of the caller's. Answers how many are new.
///
/// # Errors
/// [`StoreError::JobChanged`] where the job was changed or removed while they were made: what it said before is not stored
/// beside what it says.
pub(super) async fn insert(connection: &mut SqliteConnection, mut messages: NewMessages) -> Result<u64, StoreError> {
    let occurrence = match (messages.job.clone(), messages.nominal_at) {
        (Some(job), Some(_)) if !still_says(connection, &job, &messages).await? => {
            return Err(StoreError::JobChanged { job });
        }
        (Some(job), Some(nominal)) => {
            let (id, cancelled, renews) =
                occurrence(connection, &job, nominal, messages.making == Making::Beside).await?;
            // What waits of it says what its job said before: it is replaced first, and then planned anew.
            if renews && messages.making == Making::Next {
                if let Some(publish) = messages.publish {
                    advance_job(connection, &job, Some(nominal), publish).await?;
                }
                return Ok(0);
            }
            if cancelled {
                cancel(&mut messages);
            }
            Some(id)
        }
        _ => None,
    };
    leave_out_forgotten(connection, &mut messages).await?;
    let new = insert_rows(connection, &messages, occurrence).await?;
    if let (Some(occurrence), None) = (occurrence, messages.publish) {
        is_campaign(connection, occurrence).await?;
    }
    if let (Some(occurrence), Making::Renewal | Making::Next) = (occurrence, messages.making) {
        take_over_words(connection, occurrence).await?;
        // A person may have ended some of it before all of it was there.
        if messages.publish.is_some() && messages.steps > 1 {
            end_broken_sequences(connection, occurrence, messages.now).await?;
        }
    }
    if let (Some(job), Some(nominal), Some(publish)) = (&messages.job, messages.nominal_at, messages.publish) {
        publish_occurrence(connection, occurrence, &messages, publish).await?;
        advance_job(connection, job, Some(nominal), publish).await?;
    }
    Ok(new)
}

/// Who was forgotten while messages were made for them gets none.
async fn leave_out_forgotten(connection: &mut SqliteConnection, messages: &mut NewMessages) -> Result<(), StoreError> {
    let places: Vec<i64> = messages.rows.iter().filter_map(|row| row.place).collect();
    let Some(audience) = messages.audience.filter(|_| !places.is_empty()) else { return Ok(()) };
    let gone: Vec<i64> = sqlx::query_scalar(
        "SELECT value FROM json_each(?2)
         WHERE NOT EXISTS (SELECT 1 FROM recipients WHERE audience = ?1 AND place = value)",
    )
    .bind(audience)
    .bind(serde_json::json!(places).to_string())
    .fetch_all(connection)
    .await
    .map_err(StoreError::database("look whether somebody was forgotten"))?;
    if !gone.is_empty() {
        messages.rows.retain(|row| row.place.is_none_or(|place| !gone.contains(&place)));
    }
    Ok(())
}

/// Somebody called the campaign off while its messages were made: each has its row all the same.
fn cancel(messages: &mut NewMessages) {
    for row in messages.rows.iter_mut().filter(|r| matches!(r.state, StateName::Scheduled | StateName::Held)) {
        (row.state, row.reason) = (StateName::Cancelled, Some(Reason::CancelledByPerson));
    }
}

/// One that was visible before, for one recipient, is a campaign as soon as others have a message of it.
async fn is_campaign(connection: &mut SqliteConnection, occurrence: i64) -> Result<(), StoreError> {
    let statement = format!(
        "UPDATE occurrences SET recipients = {ONE_OR_MORE} WHERE id = ?1 AND state = 'planned' AND coalesce(recipients, 0) < 2"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(occurrence)
        .execute(connection)
        .await
        .map_err(StoreError::database("show an occurrence"))?;
    Ok(())
}

/// Whether an occurrence has messages for nobody (0), for one recipient, or for more (2): then it is a campaign.
pub(super) const ONE_OR_MORE: &str = "(SELECT count(*) FROM (
    SELECT DISTINCT m.chat FROM messages AS m
    WHERE m.occurrence = occurrences.id AND m.step >= 0 AND m.reason IS NOT 'replaced' LIMIT 2))";

async fn publish_occurrence(
    connection: &mut SqliteConnection,
    occurrence: Option<i64>,
    messages: &NewMessages,
    publish: Publish,
) -> Result<(), StoreError> {
    // What is at its gate already stays hidden until it has passed it.
    let hidden = publish.gate_at.is_some_and(|t| t <= messages.now);
    // A campaign that went to others before its list was changed stays one.
    let statement = format!(
        "UPDATE occurrences SET state = ?4, gate_at = ?3, event_at = ?5, event_begins = ?5, extra = ?6,
             -- What is planned anew keeps when it first was.
             planned_at = iif(renew > 0, coalesce(planned_at, ?2), ?2), renew = 0,
             recipients = max(coalesce((SELECT size FROM audiences WHERE id = ?7), 0), {ONE_OR_MORE})
         WHERE id = ?1"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(occurrence)
        .bind(messages.now.0)
        .bind(publish.gate_at.map(|t| t.0))
        .bind(if hidden { "planning" } else { "planned" })
        .bind(publish.event_at.map(|t| t.0))
        .bind(i64::from(publish.extra))
        .bind(messages.audience)
        .execute(connection)
        .await
        .map_err(StoreError::database("show an occurrence"))?;
    Ok(())
}

/// Whether a job is as it was applied, with the content and the recipients, when messages were made from it, and their occurrence is still
/// the one that is to be made.
pub(super) async fn still_says(
    connection: &mut SqliteConnection,
    job: &str,
    messages: &NewMessages,
) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE name = ?1 AND audience IS ?2 AND (?6 IS NULL OR applied_at = ?6)
           AND (content = ?3 OR ?3 IN (SELECT value FROM json_each(coalesce(then_contents, '[]'))))
           AND CASE ?4 WHEN 'next' THEN next_at IS ?5
                       WHEN 'renewal' THEN EXISTS (SELECT 1 FROM occurrences
                                                   WHERE job = ?1 AND nominal_at = ?5 AND renew IN (2, 4))
                       ELSE 1 END)",
    )
    .bind(job.to_owned())
    .bind(messages.audience)
    .bind(messages.content)
    .bind(match messages.making {
        Making::Next => "next",
        Making::Renewal => "renewal",
        Making::Beside => "beside",
    })
    .bind(messages.nominal_at.map(|t| t.0))
    .bind(messages.applied_at.map(|t| t.0))
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("look whether a job was changed"))
}

/// The row of an occurrence, made if absent; whether a person called it off, and whether it is to be planned anew.
pub(super) async fn occurrence(
    connection: &mut SqliteConnection,
    job: &str,
    nominal: Timestamp,
    extra: bool,
) -> Result<(i64, bool, bool), StoreError> {
    sqlx::query_as(
        "INSERT INTO occurrences (job, nominal_at, state, extra) VALUES (?1, ?2, 'planning', ?3)
         ON CONFLICT (job, nominal_at) DO UPDATE SET job = excluded.job RETURNING id, cancelled_at IS NOT NULL, renew > 0",
    )
    .bind(job.to_owned())
    .bind(nominal.0)
    .bind(i64::from(extra))
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
    for missed in publish.missed.into_iter().flatten() {
        sqlx::query(
            "INSERT INTO occurrences (job, nominal_at, state, reason, until_at, count)
             VALUES (?1, ?2, 'missed', ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )
        .bind(name.to_owned())
        .bind(missed.first.0)
        .bind(missed.why.name())
        .bind(missed.last.0)
        .bind(i64::from(missed.count))
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
