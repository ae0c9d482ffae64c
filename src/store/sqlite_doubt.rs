//! Doubts: what is to be looked at, the evidence about it, and what gateways told by themselves.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sqlx::SqlStr;
use sqlx::sqlite::SqliteRow;

use crate::domain::doubt::{CLOCK_SLACK, KnownSend, Looks};
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::{claimed, get, id, with_numbers};
use crate::store::view::DoubtAttemptView;
use crate::store::{Doubt, EchoFits, EchoKind, EchoNews, Evidence, SqliteStore, StoreError};

/// A doubt that nobody will look at again by itself.
const NEVER: i64 = Timestamp::MAX.0;

static DOUBTS: LazyLock<SqlStr> = LazyLock::new(|| with_numbers(include_str!("sql/doubts.sql")));

/// Echoes read in one go.
const ECHOES_AT_ONCE: i64 = 500;

pub(super) async fn instances_in_doubt(store: &SqliteStore, now: Timestamp) -> Result<Vec<InstanceName>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(include_str!("sql/instances_in_doubt.sql"))
        .bind(now.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("look for doubts"))?;
    Ok(names.iter().map(|name| InstanceName::new(name)).collect())
}

pub(super) async fn doubts_to_look_at(
    store: &SqliteStore,
    instance: &InstanceName,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Doubt>, StoreError> {
    let rows = sqlx::query(DOUBTS.clone())
        .bind(now.0)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(&*instance.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find doubts to look at"))?;
    let count = |row: &SqliteRow, column| Ok::<u32, StoreError>(get::<i64>(row, column)?.try_into().unwrap_or(0));
    let mut doubts = Vec::with_capacity(rows.len());
    for row in &rows {
        doubts.push(Doubt {
            claimed: claimed(store, instance, row).await?,
            number: count(row, 6)?,
            marked_at: Timestamp(get(row, 7)?),
            slot_at: Timestamp(get(row, 8)?),
            looks: Looks { absent: count(row, 9)?, out_of_reach: count(row, 10)?, failed: count(row, 11)? },
            withdrawn: get(row, 12)?,
        });
    }
    Ok(doubts)
}

pub(super) async fn known_sends(
    store: &SqliteStore,
    instance: &InstanceName,
    gateway_ids: Vec<String>,
    (of, number): (MessageId, u32),
    shown_after: Millis,
) -> Result<HashMap<String, KnownSend>, StoreError> {
    let rows: Vec<(String, bool)> = sqlx::query_as(include_str!("sql/known_sends.sql"))
        .bind(&*instance.0)
        .bind(Value::from(gateway_ids).to_string())
        .bind(of.0.to_vec())
        .bind(number)
        .bind(shown_after.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("look up message ids"))?;
    let known = |before| if before { KnownSend::Before } else { KnownSend::Sometime };
    Ok(rows.into_iter().map(|(gateway_id, before)| (gateway_id, known(before))).collect())
}

pub(super) async fn rivals(
    store: &SqliteStore,
    instance: &InstanceName,
    of: MessageId,
    chat: &Chat,
    body: i64,
) -> Result<usize, StoreError> {
    let count: i64 = sqlx::query_scalar(include_str!("sql/rivals.sql"))
        .bind(&*instance.0)
        .bind(of.0.to_vec())
        .bind(chat.as_str().to_owned())
        .bind(body)
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("look who said the same"))?;
    Ok(count.try_into().unwrap_or(0))
}

pub(super) async fn add_evidence(store: &SqliteStore, evidence: Evidence) -> Result<(), StoreError> {
    store
        .writer()?
        .run(move |c| {
            Box::pin(async move {
                let doing = "write evidence";
                let id = evidence.id.0.to_vec();
                sqlx::query(
                    "INSERT INTO evidence (message, number, at, kind, verdict, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .bind(id.clone())
                .bind(i64::from(evidence.number))
                .bind(evidence.at.0)
                .bind(evidence.kind)
                .bind(evidence.verdict)
                .bind(evidence.note)
                .execute(&mut *c)
                .await
                .map_err(StoreError::database(doing))?;
                sqlx::query("UPDATE messages SET wake_at = ?2 WHERE id = ?1 AND state = 'in_doubt' AND attempts = ?3")
                    .bind(id)
                    .bind(evidence.next_look_at.map_or(NEVER, |t| t.0))
                    .bind(i64::from(evidence.number))
                    .execute(&mut *c)
                    .await
                    .map_err(StoreError::database(doing))?;
                Ok(())
            })
        })
        .await
}

/// The next look at a doubt, or `None` when nobody will look by itself.
pub(super) fn next_look(wake_at: i64) -> Option<Timestamp> {
    (wake_at < NEVER).then_some(Timestamp(wake_at))
}

pub(super) async fn record_echoes(store: &SqliteStore, echoes: Vec<EchoNews>) -> Result<u64, StoreError> {
    let rows: Vec<Value> = echoes
        .iter()
        .map(|e| json!([e.instance.0, e.gateway_id, e.kind.name(), e.chat, e.body, e.sent_at, e.told_at]))
        .collect();
    store
        .writer()?
        .run(move |c| {
            Box::pin(async move { insert(c, include_str!("sql/insert_echoes.sql"), rows, "keep echoes").await })
        })
        .await
}

pub(super) async fn echoes_to_settle(store: &SqliteStore) -> Result<Vec<EchoFits>, StoreError> {
    let rows = sqlx::query(include_str!("sql/echoes_to_settle.sql"))
        .bind(CLOCK_SLACK.0)
        .bind(ECHOES_AT_ONCE)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("read echoes"))?;
    rows.iter().map(fits).collect()
}

fn fits(row: &SqliteRow) -> Result<EchoFits, StoreError> {
    let state: String = get(row, 7)?;
    let wrong = || StoreError::Inconsistent { table: "messages", column: "state", what: state.clone() };
    Ok(EchoFits {
        instance: InstanceName::new(&get::<String>(row, 0)?),
        gateway_id: get(row, 1)?,
        kind: if get::<String>(row, 2)? == "ack" { EchoKind::Ack } else { EchoKind::Echo },
        sent_at: Timestamp(get(row, 3)?),
        id: id(row, 4)?,
        number: get::<i64>(row, 5)?.try_into().unwrap_or(0),
        marked_at: Timestamp(get(row, 6)?),
        state: StateName::from_name(&state).ok_or_else(wrong)?,
        attempts: get::<i64>(row, 8)?.try_into().unwrap_or(0),
        wake_at: Timestamp(get(row, 9)?),
        tries: get::<i64>(row, 10)?.try_into().unwrap_or(0),
    })
}

/// Echoes kept at most so long after they were told: acks of unknown messages are kept as long.
const ECHOES_KEPT_MS: i64 = 86_400_000;

/// Forgets echoes of messages that are known meanwhile, and those nobody recognised for a day.
pub(super) async fn forget_echoes(store: &SqliteStore, now: Timestamp) -> Result<(), StoreError> {
    let known = "SELECT count(*) FROM echoes AS e WHERE e.told_at < ?1 OR EXISTS (SELECT 1 FROM messages AS m
                 WHERE m.instance = e.instance AND m.gateway_id = e.gateway_id AND m.state IS NOT 'in_doubt')";
    let some: i64 = sqlx::query_scalar(known)
        .bind(now.0 - ECHOES_KEPT_MS)
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("count echoes"))?;
    if some == 0 {
        return Ok(());
    }
    store
        .writer()?
        .run(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM echoes WHERE told_at < ?1 OR EXISTS (SELECT 1 FROM messages AS m
                     WHERE m.instance = echoes.instance AND m.gateway_id = echoes.gateway_id
                       AND m.state IS NOT 'in_doubt')",
                )
                .bind(now.0 - ECHOES_KEPT_MS)
                .execute(c)
                .await
                .map_err(StoreError::database("forget echoes"))
            })
        })
        .await?;
    Ok(())
}

/// Writes down that an attempt went out after all, though another one of its message did too.
pub(super) async fn note_duplicate(store: &SqliteStore, evidence: Evidence) -> Result<bool, StoreError> {
    let (message, number, at) = (evidence.id.0.to_vec(), i64::from(evidence.number), evidence.at.0);
    let noted = store
        .writer()?
        .run(move |c| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE doubts SET verdict = 'sent', closed_at = ?3, duplicate = 1
                     WHERE message = ?1 AND number = ?2 AND verdict IS NOT 'sent'",
                )
                .bind(message)
                .bind(number)
                .bind(at)
                .execute(c)
                .await
                .map_err(StoreError::database("note a duplicate"))?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await?;
    if noted {
        add_evidence(store, evidence).await?;
    }
    Ok(noted)
}

/// What became of all doubts that are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DoubtFigures {
    /// Nobody knows yet.
    pub open: i64,
    /// They went out.
    pub sent: i64,
    /// They did not.
    pub unsent: i64,
    /// Sent again without knowing.
    pub resent: i64,
    /// Given up without knowing.
    pub dropped: i64,
    /// Attempts that went out beside another one of their message.
    pub duplicates: i64,
}

impl SqliteStore {
    /// What became of all doubts that are remembered.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn doubt_figures(&self) -> Result<DoubtFigures, StoreError> {
        let rows = sqlx::query("SELECT verdict, count(*), sum(duplicate) FROM doubts GROUP BY verdict")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("count doubts"))?;
        let mut figures = DoubtFigures::default();
        for row in &rows {
            let (verdict, n, duplicates): (Option<String>, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            figures.duplicates += duplicates;
            *match verdict.as_deref() {
                None => &mut figures.open,
                Some("sent") => &mut figures.sent,
                Some("unsent") => &mut figures.unsent,
                Some("resent") => &mut figures.resent,
                Some(_) => &mut figures.dropped,
            } += n;
        }
        Ok(figures)
    }

    /// The attempts of a message that were ever in doubt.
    pub(super) async fn doubtful_attempts(&self, of: MessageId) -> Result<Vec<DoubtAttemptView>, StoreError> {
        let rows = sqlx::query("SELECT number, verdict, duplicate FROM doubts WHERE message = ?1 ORDER BY number")
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read doubts"))?;
        let one = |r: &SqliteRow| {
            Ok(DoubtAttemptView { number: get(r, 0)?, verdict: get(r, 1)?, duplicate: get::<i64>(r, 2)? > 0 })
        };
        rows.iter().map(one).collect()
    }
}
