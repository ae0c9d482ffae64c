//! Renewal: what a changed job has waiting is replaced, and its occurrences are planned anew. What is being typed, sent or
//! settled stays as it was.
//!
//! An occurrence is hidden from claims meanwhile (`renew` 1, then 2), and shown again by the planner, or by the removal of
//! its job. Each step is one transaction, so whatever ends in between is found by the next start.

use serde_json::json;
use sqlx::SqliteConnection;

use crate::domain::job::Job;
use crate::domain::time::Timestamp;
use crate::store::sqlite_apply::{IS_DRAFT, expires_at, skip_in_sequence};
use crate::store::sqlite_claim::get;
use crate::store::sqlite_plan::{ONE_OR_MORE, stored_job};
use crate::store::{SqliteStore, StoreError, StoredJob};

/// An occurrence that is to be planned anew, since its job was changed.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The job, as it is now.
    pub stored: StoredJob,
    /// The occurrence's nominal instant.
    pub nominal: Timestamp,
    /// Whether anything of it was begun: then it has passed its gate.
    pub began: bool,
    /// Whether only who waited for a person is left of it, past its time, or messages of it were forgotten: nobody else joins it.
    pub held_only: bool,
}

/// What became of the messages of a job that was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Messages that were cancelled.
    pub cancelled: u64,
    /// Those of them that were being typed, which was taken back.
    pub typing: u64,
    /// Messages that were marked already: they go out.
    pub leaving: u64,
}

/// Rows replaced in one transaction: some milliseconds of the writer.
const REPLACE_CHUNK: i64 = 500;

/// Steps that the planner does at one look: nobody else's planning waits longer than some tenths of a second.
const REPLACE_STEPS: usize = 20;

/// What is written beside a message that was replaced.
const CHANGED: &str = "its job was changed";

/// What is written beside a message whose job was removed.
const REMOVED: &str = "its job was removed";

/// The rows `m` that a change of their job replaces: those that wait, for their time or for a person. What may have gone out
/// in a life that the database does not know of, or kills the daemon, stays with the person who is asked about it.
const REPLACEABLE: &str = "m.reason IS NOT 'replaced' AND m.follows IS NULL
    AND (m.state = 'scheduled' OR m.state = 'held' AND m.reason IN ('approval', 'held_by_person', 'repeated'))";

impl SqliteStore {
    /// Replaces what waits of a job's hidden occurrences, step by step, and then lets them be planned anew. Answers how many
    /// messages.
    pub(super) async fn replace_waiting(&self, job: &str, note: &str, now: Timestamp) -> Result<u64, StoreError> {
        let mut replaced = 0;
        loop {
            let (job, note) = (job.to_owned(), note.to_owned());
            let step = self.writer()?.run(move |c| Box::pin(async move { replace_step(c, &job, &note, now).await }));
            let (rows, left) = step.await?;
            replaced += rows;
            if !left {
                return Ok(replaced);
            }
        }
    }

    /// Whether anything is still to be planned, or planned anew, that a command may mean.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_planning(&self, now: Timestamp) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM occurrences WHERE renew > 0 AND job IN (SELECT name FROM jobs))
                 OR EXISTS (SELECT 1 FROM jobs WHERE plan_at <= ?1)",
        )
        .bind(now.0)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("look what is being planned"))
    }

    /// Replaces some of what changed jobs have waiting, whoever else is at it too. Answers whether more is left.
    pub(super) async fn replace_some(&self, now: Timestamp) -> Result<bool, StoreError> {
        for _ in 0..REPLACE_STEPS {
            let job: Option<String> = sqlx::query_scalar(
                "SELECT job FROM occurrences WHERE renew IN (1, 3) AND job IN (SELECT name FROM jobs) LIMIT 1",
            )
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find what is still to be replaced"))?;
            let Some(job) = job else { return Ok(false) };
            let step = self.writer()?.run(move |c| Box::pin(async move { replace_step(c, &job, CHANGED, now).await }));
            step.await?;
        }
        Ok(true)
    }

    /// Replaces what waits of a job that was changed. Answers how many messages.
    pub(super) async fn replace_changed(&self, job: &str, now: Timestamp) -> Result<u64, StoreError> {
        let replaced = self.replace_waiting(job, CHANGED, now).await?;
        self.follow_anew(job, now).await?;
        Ok(replaced)
    }

    /// Cancels what waits of a job that is gone, and takes back what is being typed, step by step; then its occurrences are
    /// shown again, with what went out of them.
    pub(super) async fn cancel_removed(&self, job: &str, now: Timestamp) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        loop {
            let job = job.to_owned();
            let step = self.writer()?.run(move |c| Box::pin(async move { remove_step(c, &job, now).await })).await?;
            removed.cancelled += step.cancelled;
            removed.typing += step.typing;
            removed.leaving = step.leaving;
            if step.cancelled == 0 {
                return Ok(removed);
            }
        }
    }

    /// To whom messages wait of occurrences of a job that have begun by `now`: those that its removal would cancel, or those that a
    /// change of it would replace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waits_of_begun(&self, job: &str, removed: bool, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let which = if removed {
            "m.reason IS NOT 'replaced' AND m.state IN ('scheduled', 'typing', 'held')".to_owned()
        } else {
            format!(
                "{REPLACEABLE} AND o.extra = 0 AND o.cancelled_at IS NULL AND o.id NOT IN (SELECT occurrence FROM imports)"
            )
        };
        let statement = format!(
            "SELECT m.chat FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
             WHERE o.job = ?1 AND o.nominal_at <= ?2 AND {which}"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(job.to_owned())
            .bind(now.0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find what waits of a job"))
    }

    /// Ends what a process began that ended in between: the replacing of what waited when a job was changed, and the
    /// cancelling when one was removed. To be called before anything is planned. Answers how many messages.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn finish_replacing(&self, now: Timestamp) -> Result<u64, StoreError> {
        let doing = "find what is still to be replaced";
        let changed: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT job FROM occurrences WHERE renew IN (1, 3) AND job IN (SELECT name FROM jobs)",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database(doing))?;
        let removed: Vec<String> = sqlx::query_scalar(include_str!("sql/half_removed.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let mut replaced = 0;
        for job in changed {
            replaced += self.replace_changed(&job, now).await?;
        }
        for job in removed {
            replaced += self.cancel_removed(&job, now).await?.cancelled;
        }
        Ok(replaced)
    }
}

/// Hides the occurrences of a changed job of which something waits, or which are being planned anew already. Answers their
/// instants, rising. What was imported or asked for beside the schedule stays as it is.
pub(super) async fn hide_open(
    connection: &mut SqliteConnection,
    job: &str,
    now: Timestamp,
) -> Result<Vec<Timestamp>, StoreError> {
    let doing = "hide what a changed job has waiting";
    let mut hidden: Vec<i64> = sqlx::query_scalar(
        "UPDATE occurrences SET state = 'planning', gate_at = NULL,
             renew = CASE WHEN forgotten = 1 THEN 3
                          WHEN renew IN (1, 2) THEN 1
                          WHEN EXISTS (SELECT 1 FROM messages AS m
                                       WHERE m.occurrence = occurrences.id AND m.follows IS NULL AND m.reason IS NOT 'replaced'
                                         AND (m.state IN ('scheduled', 'typing')
                                              OR m.state = 'held' AND (m.reason = 'approval' OR m.due_at > ?2))) THEN 1
                          ELSE 3 END
         WHERE job = ?1 AND (extra = 0 OR planned_at IS NULL) AND cancelled_at IS NULL AND id NOT IN (SELECT occurrence FROM imports)
           AND (renew > 0
                OR EXISTS (SELECT 1 FROM messages AS m
                           WHERE m.occurrence = occurrences.id AND m.follows IS NULL AND m.reason IS NOT 'replaced'
                             AND (m.state IN ('scheduled', 'typing')
                                  OR m.state = 'held' AND m.reason IN ('approval', 'held_by_person', 'repeated'))))
         RETURNING nominal_at",
    )
        .bind(job.to_owned())
        .bind(now.0)
        .fetch_all(connection)
        .await
        .map_err(StoreError::database(doing))?;
    hidden.sort_unstable();
    Ok(hidden.into_iter().map(Timestamp).collect())
}

/// Hides those passed occurrences of a changed job that its schedule knows again, and of which somebody got nothing. Answers their
/// instants.
pub(super) async fn come_back(
    connection: &mut SqliteConnection,
    job: &str,
    known: impl Fn(Timestamp) -> bool,
    now: Timestamp,
) -> Result<Vec<Timestamp>, StoreError> {
    let doing = "find what a changed job left behind";
    let left: Vec<(i64, i64)> = sqlx::query_as(include_str!("sql/left_behind.sql"))
        .bind(job.to_owned())
        .bind(now.0)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let mut back = Vec::new();
    for (occurrence, nominal) in left.into_iter().filter(|(_, nominal)| known(Timestamp(*nominal))) {
        // Nobody joins it: who was named then is whom it was for.
        sqlx::query("UPDATE occurrences SET state = 'planning', gate_at = NULL, renew = 3 WHERE id = ?1")
            .bind(occurrence)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
        back.push(Timestamp(nominal));
    }
    Ok(back)
}

/// Hides occurrences of a job by their instants: they are to be replaced.
pub(super) async fn hide(connection: &mut SqliteConnection, job: &str, gone: &[Timestamp]) -> Result<(), StoreError> {
    let instants: Vec<i64> = gone.iter().map(|t| t.0).collect();
    sqlx::query(
        "UPDATE occurrences SET state = 'planning', gate_at = NULL, renew = iif(forgotten = 1, 3, 1)
         WHERE job = ?1 AND nominal_at IN (SELECT value FROM json_each(?2))",
    )
    .bind(job.to_owned())
    .bind(json!(instants).to_string())
    .execute(connection)
    .await
    .map_err(StoreError::database("hide what a job has waiting"))?;
    Ok(())
}

/// Hides what waits of jobs (a JSON list of names) that go: it is cancelled step by step afterwards, and nothing of it
/// begins meanwhile.
pub(super) async fn hide_removed(
    connection: &mut SqliteConnection,
    jobs: String,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE occurrences SET state = 'planning', gate_at = NULL, renew = 1, removed_at = ?2
         WHERE job IN (SELECT value FROM json_each(?1)) AND state <> 'missed'
           AND (renew > 0 OR EXISTS (SELECT 1 FROM messages AS m
                                     WHERE m.occurrence = occurrences.id AND m.reason IS NOT 'replaced'
                                       AND m.state IN ('scheduled', 'typing', 'sending', 'in_doubt', 'held')))",
    )
    .bind(jobs)
    .bind(now.0)
    .execute(connection)
    .await
    .map_err(StoreError::database("hide what waits of a removed job"))?;
    Ok(())
}

/// Replaces some rows of a job's hidden occurrences. Answers how many, and whether there may be more.
async fn replace_step(
    connection: &mut SqliteConnection,
    job: &str,
    note: &str,
    now: Timestamp,
) -> Result<(u64, bool), StoreError> {
    let doing = "replace a job's waiting messages";
    let statement = format!(
        "SELECT hex(m.id) FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
         WHERE o.job = ?1 AND o.renew IN (1, 3) AND {REPLACEABLE} LIMIT ?2"
    );
    let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(job.to_owned())
        .bind(REPLACE_CHUNK)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let ids = json!(rows).to_string();
    keep_words(&mut *connection, ids.clone()).await?;
    let done = end(connection, ids, "replaced", note, now).await?;
    if rows.len() < usize::try_from(REPLACE_CHUNK).unwrap_or(usize::MAX) {
        // Whoever is handed back meanwhile is replaced with the next step.
        let statement = format!(
            "UPDATE occurrences SET renew = renew + 1 WHERE job = ?1 AND renew IN (1, 3) AND NOT EXISTS (
                 SELECT 1 FROM messages AS m WHERE m.occurrence = occurrences.id AND {REPLACEABLE})"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(job.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    }
    let left = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM occurrences WHERE job = ?1 AND renew IN (1, 3))")
        .bind(job.to_owned())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok((done, left))
}

/// Cancels some rows of a removed job; where none is left, its occurrences are shown again.
async fn remove_step(connection: &mut SqliteConnection, job: &str, now: Timestamp) -> Result<Removed, StoreError> {
    let doing = "cancel a removed job's messages";
    let rows: Vec<(String, bool)> = sqlx::query_as(
        "SELECT hex(m.id), m.state = 'typing' FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
         WHERE o.job = ?1 AND m.state IN ('scheduled', 'typing', 'held') AND m.reason IS NOT 'replaced' LIMIT ?2",
    )
    .bind(job.to_owned())
    .bind(REPLACE_CHUNK)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let typing = rows.iter().filter(|(_, typing)| *typing).count();
    let ids: Vec<String> = rows.into_iter().map(|(id, _)| id).collect();
    let cancelled = end(connection, json!(ids).to_string(), "removed", REMOVED, now).await?;
    if cancelled == 0 {
        // One that was half planned by then is a campaign like the others.
        let show = format!(
            "UPDATE occurrences SET state = 'planned', renew = 0, recipients = max(coalesce(recipients, 0), {ONE_OR_MORE})
             WHERE job = ?1 AND renew > 0 AND id NOT IN (SELECT occurrence FROM imports WHERE done_at IS NULL)"
        );
        let forget =
            "DELETE FROM kept_words WHERE occurrence IN (SELECT id FROM occurrences WHERE job = ?1)".to_owned();
        for statement in [forget, show] {
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(job.to_owned())
                .execute(&mut *connection)
                .await
                .map_err(StoreError::database(doing))?;
        }
    }
    let leaving: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages WHERE state IN ('typing', 'sending', 'in_doubt') AND state = 'sending' AND job = ?1",
    )
    .bind(job.to_owned())
    .fetch_one(connection)
    .await
    .map_err(StoreError::database(doing))?;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Ok(Removed { cancelled, typing: count(typing), leaving: leaving.try_into().unwrap_or(0) })
}

/// Cancels rows (a JSON list of ids) that wait or are being typed, with a word in their timelines. Answers how many.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    ids: String,
    reason: &'static str,
    note: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let doing = "cancel a job's messages";
    // Typing that no attempt tells of is told by an event of its own.
    sqlx::query(
        "INSERT INTO events (message, at, from_state, to_state, note)
         SELECT m.id, m.typing_at, 'scheduled', 'typing', NULL
         FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value)
         WHERE m.state = 'typing' AND m.typing_at IS NOT NULL",
    )
    .bind(ids.clone())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    sqlx::query(
        "INSERT INTO events (message, at, from_state, to_state, note)
         SELECT m.id, ?2, m.state, 'cancelled', ?3
         FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value)",
    )
    .bind(ids.clone())
    .bind(now.0)
    .bind(note.to_owned())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let done = sqlx::query(
        "UPDATE messages SET state = 'cancelled', reason = ?2
         WHERE state IN ('scheduled', 'typing', 'held') AND id IN (SELECT unhex(value) FROM json_each(?1))",
    )
    .bind(ids)
    .bind(reason)
    .execute(connection)
    .await
    .map_err(StoreError::database(doing))?;
    Ok(done.rows_affected())
}

/// Occurrences that are to be planned anew, the earliest first, each with its job as it is now.
pub(super) async fn renewals(store: &SqliteStore, limit: usize) -> Result<Vec<Renewal>, StoreError> {
    let rows = sqlx::query(include_str!("sql/renewals.sql"))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find what is to be planned anew"))?;
    rows.iter()
        .map(|r| {
            let began = get::<i64>(r, 12)? != 0;
            let held_only = get::<i64>(r, 13)? != 0;
            Ok(Renewal { stored: stored_job(r)?, nominal: Timestamp(get(r, 11)?), began, held_only })
        })
        .collect()
}

/// Shows an occurrence as it is: the schedule of its job, as it is now, does not know it any more.
pub(super) async fn show_as_it_is(store: &SqliteStore, job: &str, nominal: Timestamp) -> Result<(), StoreError> {
    let job = job.to_owned();
    let writer = store.writer()?;
    writer
        .run(move |c| {
            Box::pin(async move {
                // What persons said of its messages stays known: the file may name its instant again.
                let statement = format!(
                    "UPDATE occurrences SET state = 'planned', renew = 0, recipients = max(coalesce(recipients, 0), {ONE_OR_MORE})
                     WHERE job = ?1 AND nominal_at = ?2 AND renew IN (2, 4)"
                );
                sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(job)
                .bind(nominal.0)
                .execute(c)
                .await
                .map_err(StoreError::database("show what a job has left"))?;
                Ok(())
            })
        })
        .await?;
    writer.tell();
    Ok(())
}

/// What persons said of messages that were replaced counts for those that take their place, once these are there. What was said of
/// somebody who gets none now is kept for when they come back.
pub(super) async fn take_over_words(connection: &mut SqliteConnection, occurrence: i64) -> Result<(), StoreError> {
    let take_over = include_str!("sql/take_over_words.sql").replace("{expires_at}", &expires_at("k.due_at", IS_DRAFT));
    let forget = "DELETE FROM kept_words AS k WHERE k.occurrence = ?1 AND EXISTS (
             SELECT 1 FROM messages AS m
             WHERE m.occurrence = k.occurrence AND m.chat = k.chat AND m.step = k.step AND m.reason IS NOT 'replaced')"
        .to_owned();
    for statement in [take_over, forget] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(occurrence)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("take over what a person said of a message"))?;
    }
    Ok(())
}

/// Keeps what persons said of messages (a JSON list of ids in hex) that are about to end, for those that take their place.
pub(super) async fn keep_words(connection: &mut SqliteConnection, ids: String) -> Result<(), StoreError> {
    sqlx::query(include_str!("sql/keep_words.sql"))
        .bind(ids)
        .execute(connection)
        .await
        .map_err(StoreError::database("keep what a person said of a message"))?;
    Ok(())
}

/// Skips what was planned anew behind a message of its sequence that had ended without going out before its job was changed.
pub(super) async fn end_broken_sequences(
    connection: &mut SqliteConnection,
    occurrence: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let behind: Vec<(String, String)> = sqlx::query_as(
        "SELECT hex(m.id), m.state FROM messages AS p CROSS JOIN messages AS m
           ON m.occurrence = p.occurrence AND m.chat = p.chat AND m.step > p.step
         WHERE p.occurrence = ?1 AND p.step >= 0 AND p.reason IS NOT 'replaced'
           AND p.state IN ('failed', 'cancelled', 'expired', 'skipped')
           AND m.reason IS NOT 'replaced' AND m.state IN ('scheduled', 'held')",
    )
    .bind(occurrence)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database("look whether a sequence ended"))?;
    skip_in_sequence(connection, behind, now).await
}

/// The first instant of a changed job's schedule from `first` on that is not among those being planned anew.
pub(super) fn next_beside(
    job: &Job,
    renewed: &[Timestamp],
    first: Option<Timestamp>,
    first_applied_at: Timestamp,
    zone: &jiff::tz::TimeZone,
) -> Option<Timestamp> {
    let mut next = first;
    while let Some(at) = next.filter(|t| renewed.binary_search(t).is_ok()) {
        next = job.schedule.next_after(at, first_applied_at, zone);
    }
    next
}

/// How many messages of a job a change of it would replace.
pub(super) async fn waiting(store: &SqliteStore, job: &str) -> Result<u64, StoreError> {
    let statement = format!(
        "SELECT count(*) FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id
         WHERE o.job = ?1 AND {REPLACEABLE} AND o.extra = 0 AND o.cancelled_at IS NULL
           AND o.id NOT IN (SELECT occurrence FROM imports)"
    );
    let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(job.to_owned())
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("count a job's waiting messages"))?;
    Ok(count.try_into().unwrap_or(0))
}
