//! Guarded changes of state, batched: one statement however many messages.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr, SqliteConnection};

use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, TypingFacts, Verdict};
use crate::domain::state::{Reason, State, StateName};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::sqlite_claim::{get, id, skip, unwanted, unwanted_because};

pub(super) async fn apply_changes(
    connection: &mut SqliteConnection,
    changes: &[Change],
) -> Result<Vec<Verdict>, StoreError> {
    let mut verdicts = vec![Verdict::Stale; changes.len()];
    let mut left: Vec<usize> = (0..changes.len()).collect();
    displace(connection, changes).await?;
    // One statement changes a row once: a second change of the same message waits for the next round.
    while !left.is_empty() {
        let mut met = HashSet::new();
        let (round, rest): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|i| met.insert(changes[*i].id));
        let refused = refused_marks(connection, changes, &round).await?;
        refused.paused.iter().for_each(|i| verdicts[*i] = Verdict::Paused);
        let waits = |i: &usize| refused.paused.contains(i) || refused.crowded.contains(i);
        let round: Vec<usize> = round.into_iter().filter(|i| !waits(i)).collect();
        let made: Vec<&Change> = round.iter().map(|i| refused.ended.get(i).unwrap_or(&changes[*i])).collect();
        let applied = update(connection, &made).await?;
        let done: Vec<&Change> = made.into_iter().filter(|c| applied.contains(&c.id)).collect();
        insert_facts(connection, &done).await?;
        break_sequences(connection, &done).await?;
        revive_sequences(connection, &done).await?;
        for i in round {
            if applied.contains(&changes[i].id) && !refused.ended.contains_key(&i) {
                verdicts[i] = Verdict::Applied;
            }
        }
        left = refused.crowded.into_iter().chain(rest).collect();
    }
    skip_behind_ended(connection, changes).await?;
    Ok(verdicts)
}

static MARKED: LazyLock<SqlStr> = LazyLock::new(|| {
    let text = format!(
        "SELECT m.id, m.instance, m.job, o.nominal_at, iif(m.counted = 1, m.chat, NULL), {}, m.state = 'typing', m.wake_at,
             m.due_at <> (j.value ->> 2) OR o.state = 'planning' AND (m.state <> 'typing' OR o.gate_at IS NOT NULL)
         FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value ->> 0)
         LEFT JOIN occurrences AS o ON o.id = m.occurrence
         WHERE m.state IN ('scheduled', 'typing')",
        unwanted("(j.value ->> 1)")
    );
    AssertSqlSafe(text).into_sql_str()
});

/// What becomes of marks that are not made, by their places among the changes.
#[derive(Default)]
struct Refused {
    /// A pause holds them.
    paused: HashSet<usize>,
    /// Nobody wants them any more: this ends them instead.
    ended: HashMap<usize, Change>,
    /// They count for `frequency`, and go to whom another one goes that is marked in this round: they are judged beside it.
    crowded: Vec<usize>,
}

/// The marks among these changes that a pause, the recipient's opting out, or `frequency` refuses. Looked at in the very
/// transaction that would write them: once a pause is answered, nothing begins any more.
async fn refused_marks(
    connection: &mut SqliteConnection,
    changes: &[Change],
    round: &[usize],
) -> Result<Refused, StoreError> {
    let slot = |c: &Change| match &c.facts {
        // A mark is written a moment before its slot, and what left counts for `frequency` up to that.
        Facts::Mark { slot, .. } => Some((*slot).max(c.at)),
        _ => None,
    };
    let marks: HashMap<MessageId, (usize, Timestamp)> =
        round.iter().filter_map(|i| Some((changes[*i].id, (*i, slot(&changes[*i])?)))).collect();
    let Some(now) = marks.values().map(|(i, _)| changes[*i].at).max() else { return Ok(Refused::default()) };
    let pauses = super::sqlite_pause::active(&mut *connection, now).await?;
    let asked: Vec<Value> = round
        .iter()
        .filter_map(|i| Some(json!([hex(changes[*i].id), slot(&changes[*i])?, judged(&changes[*i])])))
        .collect();
    let rows = sqlx::query(MARKED.clone())
        .bind(Value::Array(asked).to_string())
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("look what is paused"))?;
    let (mut refused, mut counted) = (Refused::default(), HashSet::new());
    for row in &rows {
        let Some((place, slot)) = marks.get(&id(row, 0)?).copied() else { continue };
        let change = &changes[place];
        let (instance, job): (String, Option<String>) = (get(row, 1)?, get(row, 2)?);
        let nominal = get::<Option<i64>>(row, 3)?.map(Timestamp);
        if pauses.iter().any(|p| p.scope.stops(&instance, job.as_deref(), nominal)) {
            refused.paused.insert(place);
            continue;
        }
        let wake_at = Timestamp(get(row, 7)?);
        // What was put off or moved, or is being planned anew, is not judged here: its mark is refused for that.
        let put_off = wake_at > slot || get::<Option<bool>>(row, 8)?.unwrap_or(false);
        let why = unwanted_because(get(row, 5)?).filter(|_| !put_off);
        if let Some((reason, note)) = why {
            let before = if get(row, 6)? { State::Typing } else { State::Scheduled { wake_at } };
            let end = skip(change.id, (&before, change.attempts), (reason, note.to_owned()), change.at);
            refused.ended.extend(end.map(|end| (place, end)));
        } else if get::<Option<String>>(row, 4)?.is_some_and(|chat| !counted.insert(chat)) {
            refused.crowded.push(place);
        }
    }
    refused.crowded.sort_unstable();
    Ok(refused)
}

/// Takes back what took the place of a message that was replaced, where that one turns out to have gone out: its recipient
/// has had it.
async fn displace(connection: &mut SqliteConnection, changes: &[Change]) -> Result<(), StoreError> {
    let is_proof = |c: &&Change| {
        matches!(c.facts, Facts::Verdict { .. })
            && c.transition.from() == StateName::Cancelled
            && c.transition.to().name() == StateName::Sent
    };
    let proofs: Vec<&Change> = changes.iter().filter(is_proof).collect();
    let Some(at) = proofs.first().map(|c| c.at) else { return Ok(()) };
    let ids: Vec<Value> = proofs.iter().map(|c| json!(hex(c.id))).collect();
    let doing = "take back what took the place of a message that went out";
    let rows: Vec<(String, String)> = sqlx::query_as(include_str!("sql/displaced.sql"))
        .bind(Value::Array(ids).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if rows.is_empty() {
        return Ok(());
    }
    let note = "an earlier version of it turned out to have gone out";
    let events = rows.iter().map(|(id, from)| json!([id, at, from, "cancelled", note])).collect();
    insert(connection, include_str!("sql/insert_events.sql"), events, doing).await?;
    let ids: Vec<&String> = rows.iter().map(|(id, _)| id).collect();
    sqlx::query(
        "UPDATE messages SET state = 'cancelled', reason = 'replaced'
         WHERE id IN (SELECT unhex(value) FROM json_each(?1))
           AND state IN ('scheduled', 'typing', 'held', 'failed', 'cancelled', 'expired', 'skipped')",
    )
    .bind(json!(ids).to_string())
    .execute(connection)
    .await
    .map_err(StoreError::database(doing))?;
    Ok(())
}

/// Skips what follows messages that will not be sent, with a word in their timelines.
async fn break_sequences(connection: &mut SqliteConnection, done: &[&Change]) -> Result<(), StoreError> {
    use StateName::{Cancelled, Expired, Failed, Skipped};
    let lost: Vec<&&Change> =
        done.iter().filter(|c| [Failed, Cancelled, Expired, Skipped].contains(&c.transition.to().name())).collect();
    let Some(at) = lost.first().map(|c| c.at) else { return Ok(()) };
    let ids: Vec<Value> = lost.iter().map(|c| json!(hex(c.id))).collect();
    let behind: Vec<(String, String)> = sqlx::query_as(include_str!("sql/break_sequences.sql"))
        .bind(Value::Array(ids).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database("end a sequence"))?;
    skip_in_sequence(connection, behind, at).await
}

static REVIVE: LazyLock<SqlStr> = LazyLock::new(|| {
    let text = format!(
        "UPDATE messages SET state = v.state, reason = v.reason, due_at = v.due_at, wake_at = v.due_at - messages.lead_ms,
             expires_at = {}
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS state, value ->> 2 AS reason, value ->> 3 AS due_at, 0 AS attempts
               FROM json_each(?1)) AS v
         WHERE messages.id = v.id AND messages.attempts = v.attempts
           AND messages.state = 'skipped' AND messages.reason = 'sequence'",
        expires_at("v.due_at", "v.reason IS 'approval'")
    );
    AssertSqlSafe(text).into_sql_str()
});

/// Brings back what was skipped behind messages that get another chance, or that turn out to have gone out after all, with a word in
/// their timelines. What a person held waits for them again; what a person ended with its job or its campaign comes back by persons alone.
async fn revive_sequences(connection: &mut SqliteConnection, done: &[&Change]) -> Result<(), StoreError> {
    let by_person = |c: &Change| matches!(c.facts, Facts::Moved { .. });
    let goes_on = |c: &&&Change| match &c.facts {
        Facts::Moved { afresh, .. } => *afresh,
        _ => {
            let ended = matches!(c.transition.from(), StateName::Failed | StateName::Expired);
            ended && c.transition.to().name() == StateName::Sent
        }
    };
    let again: Vec<&&Change> = done.iter().filter(goes_on).collect();
    let Some(at) = again.first().map(|c| c.at) else { return Ok(()) };
    let ids: Vec<Value> = again.iter().map(|c| json!([hex(c.id), by_person(c)])).collect();
    let doing = "go on with a sequence";
    let behind: Vec<(String, String, i64, bool)> = sqlx::query_as(include_str!("sql/revived.sql"))
        .bind(Value::Array(ids).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if behind.is_empty() {
        return Ok(());
    }
    let was_held = |from: &str| from == StateName::Held.name();
    let state = |from: &str| if was_held(from) { StateName::Held } else { StateName::Scheduled };
    let reason = |from: &str, draft: bool| {
        let held = if draft { Reason::Approval } else { Reason::HeldByPerson };
        was_held(from).then_some(held.name())
    };
    let row = |(id, from, due, draft): &(String, String, i64, bool)| {
        json!([id, state(from).name(), reason(from, *draft), due])
    };
    let rows: Vec<Value> = behind.iter().map(row).collect();
    sqlx::query(REVIVE.clone())
        .bind(Value::Array(rows).to_string())
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let note = "the message of its sequence before it goes out after all";
    let events = behind.iter().map(|(id, from, ..)| json!([id, at, "skipped", state(from).name(), note])).collect();
    insert(connection, include_str!("sql/insert_events.sql"), events, doing).await.map(|_| ())
}

/// Skips what a person gave another chance though an earlier message of its sequence ended: it would wait for ever.
async fn skip_behind_ended(connection: &mut SqliteConnection, changes: &[Change]) -> Result<(), StoreError> {
    let moved: Vec<&Change> = changes.iter().filter(|c| matches!(c.facts, Facts::Moved { .. })).collect();
    let Some(at) = moved.first().map(|c| c.at) else { return Ok(()) };
    skip_these_behind_ended(connection, moved.iter().map(|c| (hex(c.id), "scheduled")).collect(), at).await
}

/// Skips those of these waiting messages (their ids, and the states they are in) that follow one which ended without going out.
pub(super) async fn skip_these_behind_ended(
    connection: &mut SqliteConnection,
    these: BTreeMap<String, &'static str>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let ids: Vec<&String> = these.keys().collect();
    let behind: Vec<(String, Option<String>)> = sqlx::query_as(include_str!("sql/behind_ended.sql"))
        .bind(json!(ids).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database("look whether a sequence ended"))?;
    let with_state = |(id, before): (String, Option<String>)| {
        before?;
        let state = these.get(&id).copied().unwrap_or("scheduled").to_owned();
        Some((id, state))
    };
    skip_in_sequence(connection, behind.into_iter().filter_map(with_state).collect(), at).await
}

/// Skips waiting messages (their ids, and the states they are in) whose sequence ended, with a word in their timelines.
pub(super) async fn skip_in_sequence(
    connection: &mut SqliteConnection,
    behind: Vec<(String, String)>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let doing = "end a sequence";
    let states: std::collections::BTreeMap<String, String> = behind.into_iter().collect();
    if states.is_empty() {
        return Ok(());
    }
    let ids: Vec<&String> = states.keys().collect();
    let skipped: Vec<String> = sqlx::query_scalar(
        "UPDATE messages SET state = 'skipped', reason = 'sequence'
         WHERE state IN ('scheduled', 'held') AND id IN (SELECT unhex(value) FROM json_each(?1)) RETURNING hex(id)",
    )
    .bind(json!(ids).to_string())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let note = "an earlier message of its sequence did not go out";
    let events = skipped.iter().map(|id| json!([id, at, states.get(id), "skipped", note])).collect();
    insert(connection, include_str!("sql/insert_events.sql"), events, "write events").await?;
    Ok(())
}

static APPLY_CHANGES: LazyLock<SqlStr> = LazyLock::new(|| {
    let text = include_str!("sql/apply_changes.sql").replace("{expires_at}", &expires_at("v.due_at", "0"));
    let text = text.replace("{event}", event_begins());
    AssertSqlSafe(text).into_sql_str()
});

/// That a row of `messages` waits for an approval.
pub(super) const IS_DRAFT: &str = "messages.state = 'held' AND messages.reason IS 'approval'";

/// When a row of `messages` expires that is due at an instant from now on, and waits for an approval where `draft` says so:
/// `expires_at.sql`, for statements of this program.
pub(super) fn expires_at(due: &str, draft: &str) -> String {
    include_str!("sql/expires_at.sql")
        .trim_end()
        .replace("{due}", due)
        .replace("{draft}", draft)
        .replace("{event}", event_begins())
}

/// When the event begins that a row of `messages` reminds of beforehand: `event.sql`, for statements of this program.
pub(super) fn event_begins() -> &'static str {
    include_str!("sql/event.sql").trim_end()
}

async fn update(connection: &mut SqliteConnection, changes: &[&Change]) -> Result<HashSet<MessageId>, StoreError> {
    let rows: Vec<Value> = changes.iter().map(|c| update_row(c)).collect();
    let applied: Vec<String> = sqlx::query_scalar(APPLY_CHANGES.clone())
        .bind(Value::Array(rows).to_string())
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("change states"))?;
    applied.iter().map(|hex| parse_hex(hex)).collect()
}

/// When a message was due as a change judges it, where it does.
fn judged(change: &Change) -> Option<Timestamp> {
    match &change.facts {
        Facts::TypingShown { due_at, .. } | Facts::Mark { due_at, .. } | Facts::Judged { due_at, .. } => Some(*due_at),
        _ => None,
    }
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
    let (mut due_at, mut afresh, mut leaves_at) = (None, false, None);
    match &change.facts {
        Facts::TypingShown { started_at, slot, .. } => (typing_at, leaves_at) = (Some(started_at.0), Some(slot.0)),
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
        Facts::Verdict { tries: t, gateway_id: g, due_at: d, .. } => {
            (tries, gateway_id) = (Some(*t), g.clone());
            due_at = d.map(|d| d.0);
        }
        Facts::Moved { due_at: d, afresh: a, .. } => {
            (due_at, afresh) = (Some(d.0), *a);
            tries = afresh.then_some(0);
        }
        Facts::Judged { .. } | Facts::Note(_) => {}
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
        slot,
        due_at,
        i64::from(afresh),
        leaves_at,
        judged(change)
    ])
}

async fn insert_facts(connection: &mut SqliteConnection, done: &[&Change]) -> Result<(), StoreError> {
    let (mut attempts, mut results, mut events, mut named) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut taken_back, mut opened, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for change in done {
        match &change.facts {
            Facts::TypingShown { .. } => {}
            Facts::Mark { .. } => attempts.extend(attempt_row(change)),
            Facts::Record { gateway_id, named: other, .. } => {
                results.extend(result_row(change));
                if change.transition.to().name() == StateName::InDoubt {
                    opened.push(json!([hex(change.id), change.at, other]));
                }
                if gateway_id.is_some() {
                    named.push(json!(hex(change.id)));
                }
            }
            Facts::Note(note)
            | Facts::Judged { note, .. }
            | Facts::Verdict { note, .. }
            | Facts::Moved { note, .. } => {
                if matches!(&change.facts, Facts::Verdict { gateway_id: Some(_), .. }) {
                    named.push(json!(hex(change.id)));
                }
                if let Facts::Verdict { number, verdict, .. } = &change.facts {
                    closed.push(json!([hex(change.id), number, verdict.name(), change.at]));
                }
                let from = change.transition.from();
                // A request whose sender was lost is an open question too.
                if from == StateName::Sending && change.transition.to().name() == StateName::InDoubt {
                    opened.push(json!([hex(change.id), change.at, null]));
                }
                if from == StateName::Typing {
                    taken_back.push(json!(hex(change.id)));
                }
                let from = from.name();
                events.push(json!([hex(change.id), change.at, from, change.transition.to().name().name(), note]));
            }
        }
    }
    insert(connection, include_str!("sql/insert_attempts.sql"), attempts, "write attempts").await?;
    insert(connection, include_str!("sql/insert_results.sql"), results, "write results").await?;
    insert(connection, include_str!("sql/open_doubts.sql"), opened, "open doubts").await?;
    insert(connection, include_str!("sql/close_doubts.sql"), closed.clone(), "close doubts").await?;
    insert(connection, include_str!("sql/give_up_beside.sql"), closed, "close doubts").await?;
    // Typing that no attempt tells of is told by an event of its own.
    insert(connection, include_str!("sql/insert_typing_events.sql"), taken_back, "write events").await?;
    insert(connection, include_str!("sql/insert_events.sql"), events, "write events").await?;
    if !named.is_empty() {
        super::sqlite_acks::adopt_orphans(connection, named).await?;
    }
    Ok(())
}

fn attempt_row(change: &Change) -> Option<Value> {
    let Facts::Mark { number, marked_at, slot, paced, typing, body, .. } = &change.facts else { return None };
    let t = typing_columns(typing.as_ref());
    let typed_from = typing.as_ref().map(|t| t.started_at.0);
    let paced = i64::from(*paced);
    Some(json!([hex(change.id), number, marked_at, slot, paced, typed_from, t.0, t.1, t.2, t.3, body]))
}

fn result_row(change: &Change) -> Option<Value> {
    let Facts::Record { number, send, late_typing, .. } = &change.facts else { return None };
    let t = typing_columns(late_typing.as_ref());
    let to = change.transition.to().name().name();
    let reason = change.transition.reason().map(|r| r.name());
    let (began, ended) = (send.as_ref().map(|s| s.started_at), send.as_ref().map(|s| s.finished_at));
    let status = send.as_ref().and_then(|s| s.status);
    let (outcome, response) = match send {
        Some(s) => (s.outcome, &*s.response),
        None => ("not_sent", "the request was never begun"),
    };
    let id = hex(change.id);
    Some(json!([id, number, change.at, began, ended, status, outcome, response, to, reason, t.0, t.1, t.2, t.3]))
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
