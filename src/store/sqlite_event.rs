//! Moving and calling off the event of a job.

use sqlx::SqliteConnection;

use crate::domain::state::{Event, Reason};
use crate::domain::time::{Millis, Timestamp};
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
        for occurrence in self.open_occurrences(job).await? {
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

    async fn open_occurrences(&self, job: &str) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT o.id FROM occurrences AS o
             WHERE o.job = ?1 AND o.extra = 0 AND o.id NOT IN (SELECT occurrence FROM imports) AND EXISTS
               (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced'
                AND (m.state IN ('scheduled', 'typing') OR m.state = 'held' AND m.reason IN ('approval', 'held_by_person', 'repeated')))
             ORDER BY o.nominal_at LIMIT ?2",
        )
        .bind(job.to_owned())
        .bind(OPEN_LIMIT)
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

async fn plan_now(connection: &mut SqliteConnection, name: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE jobs SET plan_at = ?2 WHERE name = ?1 AND plan_at > ?2")
        .bind(name.to_owned())
        .bind(now.0)
        .execute(connection)
        .await
        .map_err(StoreError::database("move an event"))?;
    Ok(())
}
