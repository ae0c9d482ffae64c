//! Occurrences of one job beside each other: whether the one before is finished, and what gives way.

use crate::domain::job::{Job, Overlap};
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::state::{self, Event, State};
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::{get, id};
use crate::store::view::MissedView;
use crate::store::{Gate, SqliteStore, StoreError};

/// Gates looked at in one go.
const GATES_AT_ONCE: i64 = 1_000;

/// Rows settled in one transaction: some milliseconds of the writer.
const SETTLED_AT_ONCE: i64 = 500;

impl SqliteStore {
    /// The latest `limit` runs of occurrences of a job that were not served, the latest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn missed_of_job(&self, job: &str, limit: u32) -> Result<Vec<MissedView>, StoreError> {
        let rows = sqlx::query(
            "SELECT nominal_at, coalesce(until_at, nominal_at), count, coalesce(reason, 'late') FROM occurrences
             WHERE state = 'missed' AND job = ?1 ORDER BY nominal_at DESC LIMIT ?2",
        )
        .bind(job.to_owned())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("read what was missed of a job"))?;
        rows.iter()
            .map(|r| {
                let (first, last) = (Timestamp(get(r, 0)?), Timestamp(get(r, 1)?));
                Ok(MissedView { first, last, count: get(r, 2)?, reason: get(r, 3)? })
            })
            .collect()
    }
}

pub(super) async fn gates(store: &SqliteStore, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
    let rows = sqlx::query(
        "SELECT o.id, o.job, o.nominal_at, o.state = 'planning', j.definition
         FROM occurrences AS o LEFT JOIN jobs AS j ON j.name = o.job
         WHERE o.gate_at IS NOT NULL AND o.gate_at <= ?1 ORDER BY o.gate_at, o.nominal_at LIMIT ?2",
    )
    .bind(now.0)
    .bind(GATES_AT_ONCE)
    .fetch_all(&store.readers)
    .await
    .map_err(StoreError::database("find occurrences at their gates"))?;
    rows.iter()
        .map(|r| {
            let definition: Option<String> = get(r, 4)?;
            let manner = definition.and_then(|d| serde_json::from_str::<Job>(&d).ok()).map(|j| j.manner);
            Ok(Gate {
                occurrence: get(r, 0)?,
                job: get(r, 1)?,
                nominal: Timestamp(get(r, 2)?),
                queued: get::<i64>(r, 3)? != 0,
                // Of a job that is gone nothing is in the way.
                overlap: manner.as_ref().map_or(Overlap::Allow, |m| m.overlap),
                most_queued: manner.map_or(0, |m| m.max_catchup),
            })
        })
        .collect()
}

pub(super) async fn next_gate_at(store: &SqliteStore) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = sqlx::query_scalar("SELECT min(gate_at) FROM occurrences WHERE gate_at IS NOT NULL")
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("find the next gate"))?;
    Ok(at.map(Timestamp))
}

pub(super) async fn unfinished_before(store: &SqliteStore, gate: &Gate) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(include_str!("sql/unfinished_before.sql"))
        .bind(gate.job.clone())
        .bind(gate.nominal.0)
        .fetch_optional(&store.readers)
        .await
        .map_err(StoreError::database("look whether an occurrence is finished"))
}

pub(super) async fn queued(store: &SqliteStore, job: &str) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM occurrences WHERE gate_at IS NOT NULL AND job = ?1 AND state = 'planning'",
    )
    .bind(job.to_owned())
    .fetch_one(&store.readers)
    .await
    .map_err(StoreError::database("count a queue"))?;
    Ok(count.try_into().unwrap_or(0))
}

pub(super) async fn pass_gate(
    store: &SqliteStore,
    occurrence: i64,
    again: Option<Timestamp>,
) -> Result<(), StoreError> {
    let state = if again.is_some() { "planning" } else { "planned" };
    store
        .writer()?
        .run(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE occurrences SET state = ?2, gate_at = ?3 WHERE id = ?1 AND gate_at IS NOT NULL")
                    .bind(occurrence)
                    .bind(state)
                    .bind(again.map(|t| t.0))
                    .execute(c)
                    .await
                    .map_err(StoreError::database("pass a gate"))
            })
        })
        .await?;
    store.writer()?.tell();
    Ok(())
}

/// What of an occurrence is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    /// What waits for its time, and what is being typed.
    Waiting,
    /// What waits for a person too.
    HeldToo,
}

pub(super) async fn settle_waiting(
    store: &SqliteStore,
    (occurrence, whom): (i64, Whom),
    event: &Event,
    note: &'static str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut settled = 0;
    loop {
        let rows = sqlx::query(
            "SELECT id, state, wake_at, attempts FROM messages
             WHERE occurrence = ?1 AND reason IS NOT 'replaced'
               AND (state IN ('scheduled', 'typing')
                    OR ?3 AND state = 'held' AND reason IN ('approval', 'held_by_person', 'repeated')) LIMIT ?2",
        )
        .bind(occurrence)
        .bind(SETTLED_AT_ONCE)
        .bind(whom == Whom::HeldToo)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find what waits of an occurrence"))?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let state = match get::<String>(row, 1)?.as_str() {
                "typing" => State::Typing,
                "held" => State::Held,
                _ => State::Scheduled { wake_at: Timestamp(get(row, 2)?) },
            };
            let Ok(transition) = state::apply(&state, event) else { continue };
            let attempts = get::<i64>(row, 3)?.try_into().unwrap_or(0);
            let facts = Facts::Note(note.to_owned());
            changes.push(Change { id: id(row, 0)?, attempts, at: now, transition, facts });
        }
        if changes.is_empty() {
            return Ok(settled);
        }
        let verdicts = store.writer()?.apply(changes).await?;
        let applied = verdicts.iter().filter(|v| **v == Verdict::Applied).count();
        settled += u64::try_from(applied).unwrap_or(0);
        store.writer()?.tell();
        // What is being sent meanwhile is no longer ours to settle.
        if applied == 0 {
            return Ok(settled);
        }
    }
}

pub(super) async fn untouched_since_outage(
    store: &SqliteStore,
    job: &str,
    before: Timestamp,
) -> Result<Vec<(i64, Timestamp)>, StoreError> {
    let rows = sqlx::query(include_str!("sql/untouched_since_outage.sql"))
        .bind(job.to_owned())
        .bind(before.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find occurrences that an outage kept from being served"))?;
    rows.iter().map(|r| Ok((get(r, 0)?, Timestamp(get(r, 1)?)))).collect()
}
