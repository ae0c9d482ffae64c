//! What a person said of an occurrence, where the job names another instant in its place: whom they keep waiting waits on, and a
//! campaign that they paused stays paused.

use sqlx::SqliteConnection;

use crate::domain::campaign::CampaignName;
use crate::domain::time::Timestamp;
use crate::store::sqlite_plan::occurrence;
use crate::store::{PauseScope, StoreError};

/// Has what a person said of a job's occurrences count for those that take their place: pairs of instants, before and after.
pub(super) async fn carry_words(
    connection: &mut SqliteConnection,
    job: &str,
    moved: impl IntoIterator<Item = (Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (before, after) in moved.into_iter().filter(|(before, after)| before != after && *after > now) {
        carry_holds(connection, job, (before, after)).await?;
        carry_pause(connection, job, (before, after), now).await?;
    }
    Ok(())
}

async fn carry_holds(
    connection: &mut SqliteConnection,
    job: &str,
    (before, after): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let held: Option<i64> = sqlx::query_scalar(
        "SELECT o.id FROM occurrences AS o WHERE o.job = ?1 AND o.nominal_at = ?2 AND EXISTS (
             SELECT 1 FROM messages AS m
             WHERE m.occurrence = o.id AND m.state = 'held' AND m.reason IN ('held_by_person', 'repeated'))",
    )
    .bind(job.to_owned())
    .bind(before.0)
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::database("find whom a person keeps waiting"))?;
    let Some(held) = held else { return Ok(()) };
    let (next, _) = occurrence(connection, job, after, false).await?;
    sqlx::query(include_str!("sql/carry_holds.sql"))
        .bind(held)
        .bind(next)
        .execute(connection)
        .await
        .map_err(StoreError::database("keep whom a person keeps waiting"))?;
    Ok(())
}

/// The pause stays with what is being typed of the one before, too.
async fn carry_pause(
    connection: &mut SqliteConnection,
    job: &str,
    (before, after): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    let of = |nominal| PauseScope::Campaign(CampaignName { job: job.to_owned(), nominal }).parts();
    let ((scope, from), (_, to)) = (of(before), of(after));
    sqlx::query(
        "INSERT INTO pauses (scope, name, note, since, until)
         SELECT scope, ?3, note, since, until FROM pauses
         WHERE scope = ?1 AND name = ?2 AND (until IS NULL OR until > ?4)
         ON CONFLICT DO NOTHING",
    )
    .bind(scope)
    .bind(from)
    .bind(to)
    .bind(now.0)
    .execute(connection)
    .await
    .map_err(StoreError::database("keep a campaign paused"))?;
    Ok(())
}
