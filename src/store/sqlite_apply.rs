//! Guarded changes of state, batched: one statement however many messages.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, TypingFacts, Verdict};
use crate::domain::state::{State, StateName};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

pub(super) async fn apply_changes(
    connection: &mut SqliteConnection,
    changes: &[Change],
) -> Result<Vec<Verdict>, StoreError> {
    let mut verdicts = vec![Verdict::Stale; changes.len()];
    let mut left: Vec<usize> = (0..changes.len()).collect();
    // One statement changes a row once: a second change of the same message waits for the next round.
    while !left.is_empty() {
        let mut met = HashSet::new();
        let (round, rest): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|i| met.insert(changes[*i].id));
        left = rest;
        let applied = update(connection, changes, &round).await?;
        let done: Vec<&Change> = round.iter().map(|i| &changes[*i]).filter(|c| applied.contains(&c.id)).collect();
        insert_facts(connection, &done).await?;
        for i in round {
            if applied.contains(&changes[i].id) {
                verdicts[i] = Verdict::Applied;
            }
        }
    }
    Ok(verdicts)
}

async fn update(
    connection: &mut SqliteConnection,
    changes: &[Change],
    round: &[usize],
) -> Result<HashSet<MessageId>, StoreError> {
    let rows: Vec<Value> = round.iter().map(|i| update_row(&changes[*i])).collect();
    let applied: Vec<String> = sqlx::query_scalar(include_str!("sql/apply_changes.sql"))
        .bind(Value::Array(rows).to_string())
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("change states"))?;
    applied.iter().map(|hex| parse_hex(hex)).collect()
}

fn update_row(change: &Change) -> Value {
    let accepts: String =
        std::iter::once(",").chain(change.transition.accepts().iter().flat_map(|s| [s.name(), ","])).collect();
    let to = change.transition.to();
    let reason = change.transition.reason().map(|r| r.name());
    let wake_at = match to {
        State::Scheduled { wake_at } => Some(wake_at.0),
        State::InDoubt { look_at } => Some(look_at.0),
        _ => None,
    };
    let mut sent_at = match to {
        State::Sent { sent_at } => Some(sent_at.0),
        _ => None,
    };
    let (mut number, mut tries, mut marked_at, mut typing_at, mut slot) = (None, None, None, None, None);
    let (mut gateway_id, mut ack, mut ack_at) = (None, None, None);
    match &change.facts {
        Facts::TypingShown { started_at } => typing_at = Some(started_at.0),
        Facts::Mark { number: n, marked_at: m, slot: s, typing, .. } => {
            (number, marked_at, slot) = (Some(*n), Some(m.0), Some(s.0));
            typing_at = typing.as_ref().map(|t| t.started_at.0);
        }
        Facts::Record { tries: t, gateway_id: g, ack: a, send, .. } => {
            (tries, gateway_id) = (Some(*t), g.clone());
            ack = a.map(crate::domain::ack::Ack::level);
            ack_at = a.and(send.as_ref()).map(|s| s.finished_at.0);
            sent_at = sent_at.or(send.as_ref().filter(|_| to.name() == StateName::InDoubt).map(|s| s.started_at.0));
        }
        Facts::Verdict { tries: t, gateway_id: g, .. } => (tries, gateway_id) = (Some(*t), g.clone()),
        Facts::Note(_) => {}
    }
    json!([
        hex(change.id),
        change.attempts,
        accepts,
        to.name().name(),
        reason,
        wake_at,
        number,
        tries,
        marked_at,
        typing_at,
        sent_at,
        gateway_id,
        ack,
        ack_at,
        slot
    ])
}

async fn insert_facts(connection: &mut SqliteConnection, done: &[&Change]) -> Result<(), StoreError> {
    let (mut attempts, mut results, mut events, mut named) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for change in done {
        match &change.facts {
            Facts::TypingShown { .. } => {}
            Facts::Mark { number, marked_at, slot, paced, typing } => {
                let t = typing_columns(typing.as_ref());
                attempts.push(json!([
                    hex(change.id),
                    number,
                    marked_at,
                    slot,
                    i64::from(*paced),
                    typing.as_ref().map(|t| t.started_at.0),
                    t.0,
                    t.1,
                    t.2,
                    t.3
                ]));
            }
            Facts::Record { number, send, late_typing, gateway_id, .. } => {
                let t = typing_columns(late_typing.as_ref());
                let to = change.transition.to().name().name();
                let reason = change.transition.reason().map(|r| r.name());
                results.push(match send {
                    Some(s) => json!([
                        hex(change.id),
                        number,
                        change.at,
                        s.started_at,
                        s.finished_at,
                        s.status,
                        s.outcome,
                        s.response,
                        to,
                        reason,
                        t.0,
                        t.1,
                        t.2,
                        t.3
                    ]),
                    None => json!([
                        hex(change.id),
                        number,
                        change.at,
                        null,
                        null,
                        null,
                        "not_sent",
                        "the request was never begun",
                        to,
                        reason,
                        t.0,
                        t.1,
                        t.2,
                        t.3
                    ]),
                });
                if gateway_id.is_some() {
                    named.push(json!(hex(change.id)));
                }
            }
            Facts::Note(note) | Facts::Verdict { note, .. } => {
                if matches!(&change.facts, Facts::Verdict { gateway_id: Some(_), .. }) {
                    named.push(json!(hex(change.id)));
                }
                let from = change.transition.from().name();
                events.push(json!([hex(change.id), change.at, from, change.transition.to().name().name(), note]));
            }
        }
    }
    insert(connection, include_str!("sql/insert_attempts.sql"), attempts, "write attempts").await?;
    insert(connection, include_str!("sql/insert_results.sql"), results, "write results").await?;
    insert(connection, include_str!("sql/insert_events.sql"), events, "write events").await?;
    if !named.is_empty() {
        super::sqlite_acks::adopt_orphans(connection, named).await?;
    }
    Ok(())
}

type TypingColumns<'a> = (Option<u16>, Option<&'a str>, Option<u32>, Option<Timestamp>);

fn typing_columns(typing: Option<&TypingFacts>) -> TypingColumns<'_> {
    match typing {
        Some(t) => (t.status, t.response.as_deref(), Some(t.refreshes), t.stopped_at),
        None => (None, None, None, None),
    }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<Value>,
    doing: &'static str,
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(statement)
        .bind(Value::Array(rows).to_string())
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(done.rows_affected())
}

/// The id as SQLite's `hex()` writes it.
pub(super) fn hex(id: MessageId) -> String {
    uuid::Uuid::from_bytes(id.0).simple().encode_upper(&mut uuid::Uuid::encode_buffer()).to_owned()
}

pub(super) fn parse_hex(hex: &str) -> Result<MessageId, StoreError> {
    hex.parse().map_err(|_| StoreError::Inconsistent { table: "messages", column: "id", what: hex.to_owned() })
}
