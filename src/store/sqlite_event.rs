//! Moving and calling off the event of a job.

use sqlx::SqliteConnection;

use crate::domain::state::{Event, Reason};
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::{IS_DRAFT, expires_at};
use crate::store::sqlite_moved::carry_words;
use crate::store::sqlite_overlap::{Whom, settle_waiting};
use crate::store::sqlite_plan::stored_job;
use crate::store::{SqliteStore, StoreError};

/// The planner takes up a moved event by itself after so long, should the move be cut off before its end.
const PLANNED_WITHIN: Millis = Millis::seconds(5);

/// Occurrences of one job that wait; a job reminds of its event a hundred times at most.
const OPEN_LIMIT: i64 = 1_000;

impl SqliteStore {
    /// Moves the event of a job, or (`None`) calls it off: what waits of its reminders is replaced, or cancelled. Answers
    /// how many messages that were, and whether the job has an event at all.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn move_event(
        &self,
        job: &str,
        to: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let writer = self.writer()?;
        let name = job.to_owned();
        let known = writer.run(move |c| Box::pin(async move { note_move(c, &name, to, now).await })).await?;
        if !known {
            return Ok(None);
        }
        let (event, note) = match to {
            Some(_) => (Event::Cancelled { reason: Reason::Replaced }, "its event was moved"),
            None => (Event::Cancelled { reason: Reason::EventCancelled }, "its event was called off"),
        };
        let mut settled = 0;
        for occurrence in self.open_occurrences(job, to.is_none()).await? {
            settled += settle_waiting(self, (occurrence, Whom::HeldToo), &event, note, now).await?;
        }
        if to.is_some() {
            let name = job.to_owned();
            writer.run(move |c| Box::pin(async move { plan_now(c, &name, now).await })).await?;
            self.follow_anew(job, now).await?;
        }
        writer.tell();
        Ok(Some(settled))
    }

    /// When the event begins, as it stands now, that an occurrence reminds of beforehand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event_of(&self, occurrence: i64) -> Result<Option<Timestamp>, StoreError> {
        let event: Option<i64> = sqlx::query_scalar(
            "SELECT coalesce(event_begins, event_at) FROM occurrences WHERE id = ?1 AND nominal_at < event_at",
        )
        .bind(occurrence)
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::database("find the event of a campaign"))?;
        Ok(event.map(Timestamp))
    }

    /// Notes that an occurrence reminds of an event, as the one does of which it is a copy.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn reminds_of(&self, occurrence: i64, event: Option<Timestamp>) -> Result<(), StoreError> {
        let Some(event) = event else { return Ok(()) };
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    sqlx::query("UPDATE occurrences SET event_at = ?2, event_begins = ?2 WHERE id = ?1")
                        .bind(occurrence)
                        .bind(event.0)
                        .execute(c)
                        .await
                        .map_err(StoreError::database("note the event of a campaign"))?;
                    Ok(())
                })
            })
            .await
    }

    /// Occurrences of which something waits: those of the schedule, or whatever reminds of the event.
    async fn open_occurrences(&self, job: &str, all: bool) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT o.id FROM occurrences AS o
             WHERE o.job = ?1 AND (?3 OR o.extra = 0 AND o.id NOT IN (SELECT occurrence FROM imports)) AND EXISTS
               (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced'
                AND (m.state IN ('scheduled', 'typing') OR m.state = 'held' AND m.reason IN ('approval', 'held_by_person', 'repeated')))
             ORDER BY o.nominal_at LIMIT ?2",
        )
        .bind(job.to_owned())
        .bind(OPEN_LIMIT)
        .bind(all)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("find what waits of a job"))
    }
}

/// Writes the move down. Answers whether there is such a job with an event.
async fn note_move(
    connection: &mut SqliteConnection,
    name: &str,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let doing = "move an event";
    let row = sqlx::query(include_str!("sql/job.sql"))
        .bind(name.to_owned())
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let Some(mut stored) = row.as_ref().map(stored_job).transpose()? else { return Ok(false) };
    if stored.declared_event.is_none() {
        return Ok(false);
    }
    let zone = crate::clock::zone(stored.job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    let before = stored.job.schedule.clone();
    if let Some(to) = to {
        begins_at(&mut *connection, name, to).await?;
    }
    let next_at = to.and_then(|to| {
        stored.job.schedule.move_event(to);
        stored.job.schedule.first(stored.first_applied_at, &zone)
    });
    carry_words(
        connection,
        name,
        stored.job.schedule.moved_from(&before, (&zone, &zone), stored.first_applied_at),
        now,
    )
    .await?;
    sqlx::query(
        "UPDATE jobs SET event_moved_to = coalesce(?2, event_moved_to), event_cancelled = ?3, next_at = ?4, plan_at = ?5
         WHERE name = ?1",
    )
    .bind(name.to_owned())
    .bind(to.map(|t| t.0))
    .bind(i64::from(to.is_none()))
    .bind(next_at.map(|t| t.0))
    .bind(next_at.map(|_| (now + PLANNED_WITHIN).0))
    .execute(connection)
    .await
    .map_err(StoreError::database(doing))?;
    Ok(true)
}

/// Has what reminds of the event of a job, and was planned before it was moved, end with it as it stands now. What the schedule planned
/// is replaced, so that only what was asked for beside it is looked through.
pub(super) async fn begins_at(
    connection: &mut SqliteConnection,
    job: &str,
    event: Timestamp,
) -> Result<(), StoreError> {
    let doing = "move what reminds of an event";
    let moved = sqlx::query(
        "UPDATE occurrences SET event_begins = ?2 WHERE job = ?1 AND event_at IS NOT NULL AND event_begins IS NOT ?2",
    )
    .bind(job.to_owned())
    .bind(event.0)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if moved.rows_affected() == 0 {
        return Ok(());
    }
    let statement = format!(
        "UPDATE messages SET expires_at = {}
         WHERE id IN (SELECT m.id FROM occurrences AS o CROSS JOIN messages AS m ON m.occurrence = o.id AND m.reason IS NOT 'replaced'
                      WHERE o.job = ?1 AND o.event_at IS NOT NULL
                        AND (o.extra = 1 OR o.id IN (SELECT occurrence FROM imports))
                        AND m.state IN ('scheduled', 'typing', 'held'))",
        expires_at("messages.due_at", IS_DRAFT)
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(job.to_owned())
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(())
}

async fn plan_now(connection: &mut SqliteConnection, name: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE jobs SET plan_at = ?2 WHERE name = ?1 AND plan_at > ?2")
        .bind(name.to_owned())
        .bind(now.0)
        .execute(connection)
        .await
        .map_err(StoreError::database("move an event"))?;
    Ok(())
}
