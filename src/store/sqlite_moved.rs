//! What a person said of an occurrence, where the job names another instant in its place: whom they keep waiting waits on, and a
//! campaign that they paused stays paused.

use sqlx::SqliteConnection;

use crate::domain::campaign::CampaignName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_plan::occurrence;
use crate::store::{PauseScope, StoreError};

/// What passed longer ago is served by no `max_lateness` that anybody gives.
const SERVED_UNTIL: Millis = Millis(7 * 86_400_000);

/// Has what a person said of a job's occurrences count for those that take their place: pairs of instants, before and after.
pub(super) async fn carry_words(
    connection: &mut SqliteConnection,
    job: &str,
    moved: impl IntoIterator<Item = (Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    // An instant that has just passed is served at once.
    let served = |after: Timestamp| after > now - SERVED_UNTIL;
    for (before, after) in moved.into_iter().filter(|(before, after)| before != after && served(*after)) {
        carry_holds(connection, job, (before, after)).await?;
        carry_pause(connection, job, (before, after)).await?;
    }
    Ok(())
}

async fn carry_holds(
    connection: &mut SqliteConnection,
    job: &str,
    (before, after): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let doing = "find whom a person keeps waiting";
    let known: Option<(i64, bool)> = sqlx::query_as(
        "SELECT o.id, EXISTS (SELECT 1 FROM kept_words AS k WHERE k.occurrence = o.id AND k.due_at IS NULL)
                      OR EXISTS (SELECT 1 FROM messages AS m
                                 WHERE m.occurrence = o.id AND m.state = 'held' AND m.reason IN ('held_by_person', 'repeated'))
         FROM occurrences AS o WHERE o.job = ?1 AND o.nominal_at = ?2",
    )
    .bind(job.to_owned())
    .bind(before.0)
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let Some((from, any)) = known else { return Ok(()) };
    // Whoever was let go since does not wait again where the file names an instant of before.
    sqlx::query(
        "DELETE FROM kept_words AS k WHERE k.due_at IS NULL
           AND k.occurrence IN (SELECT id FROM occurrences WHERE job = ?2 AND nominal_at = ?3)
           AND EXISTS (SELECT 1 FROM messages AS m
                       WHERE m.occurrence = ?1 AND m.chat = k.chat AND m.step = k.step AND m.reason IS NOT 'replaced'
                         AND m.state <> 'held')",
    )
    .bind(from)
    .bind(job.to_owned())
    .bind(after.0)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if !any {
        return Ok(());
    }
    let (next, ..) = occurrence(connection, job, after, false).await?;
    for statement in [
        include_str!("sql/carry_holds.sql"),
        // Of messages that are not made yet.
        "INSERT INTO kept_words (occurrence, chat, step, reason, due_at)
         SELECT ?2, k.chat, k.step, k.reason, NULL FROM kept_words AS k WHERE k.occurrence = ?1 AND k.due_at IS NULL
         ON CONFLICT DO NOTHING",
    ] {
        sqlx::query(statement)
            .bind(from)
            .bind(next)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("keep whom a person keeps waiting"))?;
    }
    Ok(())
}

/// The pause stays with what is being typed of the one before, too. Where that was paused and goes on by a person's word, so does the
/// one after, also where that had been paused when the file named it before.
async fn carry_pause(
    connection: &mut SqliteConnection,
    job: &str,
    (before, after): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let of = |nominal| PauseScope::Campaign(CampaignName { job: job.to_owned(), nominal }).parts();
    let ((scope, from), (_, to)) = (of(before), of(after));
    sqlx::query(
        "INSERT INTO pauses (scope, name, note, since, until)
         SELECT scope, ?3, note, since, until FROM pauses WHERE scope = ?1 AND name = ?2
         ON CONFLICT (scope, name) DO UPDATE SET note = excluded.note, since = excluded.since, until = excluded.until",
    )
    .bind(scope)
    .bind(from)
    .bind(to)
    .execute(connection)
    .await
    .map_err(StoreError::database("keep a campaign paused"))?;
    Ok(())
}
