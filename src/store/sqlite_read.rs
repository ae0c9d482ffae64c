//! Reading for people: lists, one message whole, counts.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;

use crate::domain::ack::Ack;
use crate::domain::campaign::CampaignName;
use crate::domain::class::Class;
use crate::domain::id::MessageId;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::{event_begins, hex, parse_hex};
use crate::store::sqlite_claim::{get, id, read_vars};
use crate::store::sqlite_doubt::next_look;
use crate::store::sqlite_plan::state_list;
use crate::store::view::{
    AckView, AttemptView, DoubtView, EventView, EvidenceView, MessageDetail, MessageFilter, MessageView, RunSummary,
    SendView, StatsView, TypingView,
};
use crate::store::{SqliteStore, StoreError};

impl SqliteStore {
    /// The message that took the place of one that was replaced.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn in_place_of(&self, replaced: MessageId) -> Result<Option<MessageId>, StoreError> {
        let hex: Option<String> = sqlx::query_scalar(
            "SELECT hex(n.id) FROM messages AS m
             JOIN messages AS n ON n.occurrence = m.occurrence AND n.chat = m.chat AND n.step = m.step
             WHERE m.id = ?1 AND n.reason IS NOT 'replaced'",
        )
        .bind(replaced.0.to_vec())
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::database("find what took the place of a message"))?;
        Ok(hex.and_then(|hex| hex.parse().ok()))
    }

    /// Messages, newest first, and the id to continue after when there are more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, filter: &MessageFilter) -> Result<(Vec<MessageView>, Option<MessageId>), StoreError> {
        let limit = i64::from(filter.limit.clamp(1, 1_000));
        let rows = sqlx::query(include_str!("sql/list.sql"))
            .bind(filter.after.map(|i| i.0.to_vec()))
            .bind(state_list(&filter.states))
            .bind(filter.job.clone())
            .bind(filter.instance.clone())
            .bind(filter.chat.clone())
            .bind(filter.ack.map(Ack::level))
            .bind(filter.since.map(|t| t.0))
            .bind(filter.until.map(|t| t.0))
            .bind(limit + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("list messages"))?;
        page(&rows, limit)
    }

    /// Messages in doubt with what was found out about them, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn doubts(
        &self,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<(Vec<DoubtView>, Option<MessageId>), StoreError> {
        let limit = i64::from(limit.clamp(1, 1_000));
        let rows = sqlx::query(include_str!("sql/doubt_list.sql"))
            .bind(after.map(|i| i.0.to_vec()))
            .bind(limit + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("list doubts"))?;
        let (messages, next) = page(&rows, limit)?;
        let mut doubts = Vec::with_capacity(messages.len());
        for (message, row) in messages.into_iter().zip(&rows) {
            doubts.push(self.doubt_of(message, next_look(get(row, 10)?)).await?);
        }
        Ok((doubts, next))
    }

    /// A message with everything that was found out about its doubts; none that never was in doubt.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn doubt(&self, of: MessageId) -> Result<Option<DoubtView>, StoreError> {
        let Some(detail) = self.show(of).await? else { return Ok(None) };
        let in_doubt = detail.message.state == StateName::InDoubt;
        let next = detail.message.wake_at.filter(|_| in_doubt);
        let doubt = self.doubt_of(detail.message, next).await?;
        Ok(Some(doubt).filter(|d| in_doubt || !d.attempts.is_empty()))
    }

    async fn doubt_of(&self, message: MessageView, next_look_at: Option<Timestamp>) -> Result<DoubtView, StoreError> {
        let evidence = self.evidence(message.id).await?;
        let attempts = self.doubtful_attempts(message.id).await?;
        Ok(DoubtView { message, evidence, attempts, next_look_at })
    }

    async fn evidence(&self, of: MessageId) -> Result<Vec<EvidenceView>, StoreError> {
        let rows = sqlx::query("SELECT at, kind, verdict, note, number FROM evidence WHERE message = ?1 ORDER BY id")
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read evidence"))?;
        let view = |r: &SqliteRow| {
            let at = Timestamp(get(r, 0)?);
            Ok(EvidenceView { at, attempt: get(r, 4)?, kind: get(r, 1)?, verdict: get(r, 2)?, note: get(r, 3)? })
        };
        rows.iter().map(view).collect()
    }

    /// Everything about one message.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn show(&self, of: MessageId) -> Result<Option<MessageDetail>, StoreError> {
        let Some(row) = sqlx::query(include_str!("sql/show.sql"))
            .bind(of.0.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("show a message"))?
        else {
            return Ok(None);
        };
        let message = message(&row)?;
        let body: String = get(&row, 20)?;
        let wrong =
            |e: serde_json::Error| StoreError::Inconsistent { table: "contents", column: "body", what: e.to_string() };
        let (attempts, derived) = self.attempts(of).await?;
        let mut events = vec![EventView { at: message.created_at, from: None, to: "scheduled".to_owned(), note: None }];
        events.extend(derived);
        events.extend(self.events(of).await?);
        events.sort_by_key(|e| e.at);
        let state: Option<String> = get(&row, 22)?;
        let blocked = match state.filter(|s| s != "working") {
            Some(state) => Some((state, get(&row, 23)?, get::<Option<i64>>(&row, 24)?.map(Timestamp))),
            None => None,
        };
        Ok(Some(MessageDetail {
            content: serde_json::from_str(&body).map_err(wrong)?,
            vars: read_vars(get::<Option<String>>(&row, 21)?.as_deref()),
            acks: self.acks(of).await?,
            follow_up: self.follow_view(of).await?,
            recall: self.recall_of(of).await?,
            message,
            attempts,
            events,
            blocked,
        }))
    }

    async fn attempts(&self, of: MessageId) -> Result<(Vec<AttemptView>, Vec<EventView>), StoreError> {
        let rows = sqlx::query(include_str!("sql/show_attempts.sql"))
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read attempts"))?;
        let (mut attempts, mut events) = (Vec::new(), Vec::new());
        for row in &rows {
            let attempt = attempt(row)?;
            let mut before = "scheduled";
            if let Some(typing) = &attempt.typing {
                events.push(event(typing.started_at, "scheduled", "typing", None));
                before = "typing";
            }
            let number = format!("attempt {}", attempt.number);
            events.push(event(attempt.marked_at, before, "sending", Some(number)));
            if let Some(at) = get::<Option<i64>>(row, 7)? {
                let (to, reason): (String, Option<String>) = (get(row, 13)?, get(row, 14)?);
                events.push(event(Timestamp(at), "sending", &to, reason));
            }
            attempts.push(attempt);
        }
        Ok((attempts, events))
    }

    async fn events(&self, of: MessageId) -> Result<Vec<EventView>, StoreError> {
        let rows = sqlx::query("SELECT at, from_state, to_state, note FROM events WHERE message = ?1 ORDER BY id")
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read events"))?;
        let view = |r: &SqliteRow| {
            Ok(EventView { at: Timestamp(get(r, 0)?), from: get(r, 1)?, to: get(r, 2)?, note: get(r, 3)? })
        };
        rows.iter().map(view).collect()
    }

    async fn acks(&self, of: MessageId) -> Result<Vec<AckView>, StoreError> {
        let rows = sqlx::query("SELECT level, at, participant, source FROM acks WHERE message = ?1 ORDER BY at, level")
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read acks"))?;
        let view = |r: &SqliteRow| {
            let participant: String = get(r, 2)?;
            Ok(AckView {
                ack: ack(get(r, 0)?)?,
                at: Timestamp(get(r, 1)?),
                participant: (!participant.is_empty()).then_some(participant),
                source: get(r, 3)?,
            })
        };
        rows.iter().map(view).collect()
    }

    /// Of these messages those that stand behind an earlier one of their sequence that ended without going out, each with that one,
    /// or with none where what goes before it is not there: it was replaced or forgotten.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn behind_ended(&self, of: Vec<MessageId>) -> Result<Vec<(MessageId, Option<MessageId>)>, StoreError> {
        let ids: Vec<String> = of.into_iter().map(hex).collect();
        let rows: Vec<(String, Option<String>)> = sqlx::query_as(include_str!("sql/behind_ended.sql"))
            .bind(serde_json::json!(ids).to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look whether a sequence ended"))?;
        rows.iter().map(|(id, before)| Ok((parse_hex(id)?, before.as_deref().map(parse_hex).transpose()?))).collect()
    }

    /// When the events begin that these messages remind of beforehand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_reminded_of(&self, of: Vec<MessageId>) -> Result<HashMap<MessageId, Timestamp>, StoreError> {
        let ids: Vec<String> = of.into_iter().map(hex).collect();
        let statement = format!(
            "SELECT hex(messages.id), {event} FROM json_each(?1) AS j CROSS JOIN messages ON messages.id = unhex(j.value)
             WHERE {event} IS NOT NULL",
            event = event_begins()
        );
        let rows: Vec<(String, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(serde_json::json!(ids).to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find the events of messages"))?;
        rows.iter().map(|(id, event)| Ok((parse_hex(id)?, Timestamp(*event)))).collect()
    }

    /// How many messages are in a state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count(&self, state: StateName) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM messages WHERE state = ?1")
            .bind(state.name())
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("count messages"))
    }

    /// Counts by state and ack, lateness, typing, rates.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stats(&self, now: Timestamp) -> Result<StatsView, StoreError> {
        let doing = "count messages";
        let rows = sqlx::query("SELECT state, ack, count(*) FROM messages GROUP BY state, ack")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let mut stats = StatsView::default();
        for row in &rows {
            let (state, level, n): (String, Option<i64>, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            let state = state_name(&state)?;
            add(&mut stats.states, state, n);
            if state == StateName::Sent {
                add(&mut stats.acks, level.map(ack).transpose()?, n);
            }
        }
        stats.late_ms = self.lateness(Timestamp(0), Timestamp::MAX).await?;
        let typing = sqlx::query(include_str!("sql/typing_counts.sql"))
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        (stats.typing_started, stats.typing_failed) = (get(&typing, 0)?, get(&typing, 1)?);
        let left = "SELECT count(*) FROM results WHERE started_at >= ?1 AND outcome <> 'not_sent'";
        let mut rates = [0; 2];
        for (rate, span) in rates.iter_mut().zip([60_000, 3_600_000]) {
            *rate = sqlx::query_scalar(left)
                .bind(now.0 - span)
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::database(doing))?;
        }
        stats.rates = (rates[0], rates[1]);
        stats.missed = sqlx::query_scalar("SELECT coalesce(sum(count), 0) FROM occurrences WHERE state = 'missed'")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        stats.ignored_hooks = sqlx::query_scalar("SELECT coalesce(sum(count), 0) FROM ignored_hooks")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        stats.doubts = self.doubt_figures().await?;
        stats.rescued = self.rescued().await?;
        stats.orphan_acks = sqlx::query_scalar("SELECT count(*) FROM orphan_acks")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        Ok(stats)
    }

    /// Half, 99 % and the latest of the first attempts from `since` on and before `until`, in ms after due.
    pub(super) async fn lateness(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Option<(i64, i64, i64)>, StoreError> {
        let mut late: Vec<i64> = sqlx::query_scalar(include_str!("sql/lateness.sql"))
            .bind(since.0)
            .bind(until.0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("measure lateness"))?;
        late.sort_unstable();
        let Some(max) = late.last().copied() else { return Ok(None) };
        // Nearest rank: the smallest value with at least p percent at or below it.
        let rank = |p: usize| late[(late.len() * p).div_ceil(100).saturating_sub(1)];
        Ok(Some((rank(50), rank(99), max)))
    }

    /// Whether anything waits that wakes up to `until`, other than through instances that are down.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn wakes_until(&self, until: Timestamp) -> Result<bool, StoreError> {
        sqlx::query_scalar(include_str!("sql/wakes_until.sql"))
            .bind(until.0)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("look what wakes next"))
    }

    /// How many messages sent since `since` may still get a higher ack.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn acks_outstanding(&self, since: Timestamp) -> Result<i64, StoreError> {
        sqlx::query_scalar(include_str!("sql/acks_outstanding.sql"))
            .bind(since.0)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("count acks to come"))
    }

    /// When the latest send left.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_send_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = sqlx::query_scalar("SELECT max(started_at) FROM results WHERE started_at IS NOT NULL")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("find the latest send"))?;
        Ok(at.map(Timestamp))
    }

    /// What was done since an instant.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_summary(&self, since: Timestamp) -> Result<RunSummary, StoreError> {
        let doing = "sum up the run";
        let mut summary = RunSummary::default();
        let rows = sqlx::query(include_str!("sql/run_states.sql"))
            .bind(since.0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        for row in &rows {
            let (state, level, n): (String, Option<i64>, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            let state = state_name(&state)?;
            add(&mut summary.states, state, n);
            if state == StateName::Sent {
                add(&mut summary.acks, level.map(ack).transpose()?, n);
            }
        }
        summary.late_ms = self.lateness(since, Timestamp::MAX).await?;
        let attempts = "SELECT count(*), count(typing_started_at) FROM attempts WHERE marked_at >= ?1";
        let row =
            sqlx::query(attempts).bind(since.0).fetch_one(&self.readers).await.map_err(StoreError::database(doing))?;
        summary.attempts = (get(&row, 0)?, get(&row, 1)?);
        summary.in_doubt = sqlx::query_scalar(
            "SELECT count(*) FROM messages WHERE state IN ('typing', 'sending', 'in_doubt') AND state = 'in_doubt'",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database(doing))?;
        Ok(summary)
    }
}

fn add<K: PartialEq>(counts: &mut Vec<(K, i64)>, key: K, n: i64) {
    match counts.iter_mut().find(|(k, _)| *k == key) {
        Some((_, sum)) => *sum += n,
        None => counts.push((key, n)),
    }
}

fn page(rows: &[SqliteRow], limit: i64) -> Result<(Vec<MessageView>, Option<MessageId>), StoreError> {
    let limit = usize::try_from(limit).unwrap_or(100);
    let messages: Vec<MessageView> = rows.iter().take(limit).map(message).collect::<Result<_, _>>()?;
    let next = if rows.len() > limit { messages.last().map(|m| m.id) } else { None };
    Ok((messages, next))
}

pub(super) fn message(row: &SqliteRow) -> Result<MessageView, StoreError> {
    let state = state_name(&get::<String>(row, 7)?)?;
    let instant = |column| get::<Option<i64>>(row, column).map(|t| t.map(Timestamp));
    let waits = matches!(state, StateName::Scheduled | StateName::Typing | StateName::InDoubt);
    Ok(MessageView {
        id: id(row, 0)?,
        job: get(row, 1)?,
        occurrence: instant(2)?,
        campaign: campaign(row)?,
        instance: get(row, 3)?,
        chat: get(row, 4)?,
        class: Class::from_code(get(row, 5)?).unwrap_or_default(),
        kind: get(row, 6)?,
        state,
        reason: get(row, 8)?,
        due_at: Timestamp(get(row, 9)?),
        wake_at: if waits { next_look(get(row, 10)?) } else { None },
        attempts: get(row, 11)?,
        gateway_id: get(row, 12)?,
        typing_at: instant(13)?,
        sent_at: instant(14)?,
        ack: get::<Option<i64>>(row, 15)?.map(ack).transpose()?,
        ack_at: instant(16)?,
        created_at: Timestamp(get(row, 17)?),
        lead: Millis(get(row, 18)?),
    })
}

/// The campaign of a message: one recipient alone is none.
fn campaign(row: &SqliteRow) -> Result<Option<CampaignName>, StoreError> {
    let many = get::<Option<i64>>(row, 19)?.is_some_and(|n| n > 1);
    Ok(match (get(row, 1)?, get::<Option<i64>>(row, 2)?) {
        (Some(job), Some(nominal)) if many => Some(CampaignName { job, nominal: Timestamp(nominal) }),
        _ => None,
    })
}

fn attempt(row: &SqliteRow) -> Result<AttemptView, StoreError> {
    let instant = |column| get::<Option<i64>>(row, column).map(|t| t.map(Timestamp));
    let typing = match instant(2)? {
        Some(started_at) => Some(TypingView {
            started_at,
            status: get(row, 3)?,
            response: get(row, 4)?,
            refreshes: get::<Option<i64>>(row, 5)?.unwrap_or(0),
            stopped_at: instant(6)?,
        }),
        None => None,
    };
    let send = match get::<Option<String>>(row, 11)? {
        Some(outcome) => Some(SendView {
            started_at: instant(8)?,
            finished_at: instant(9)?,
            status: get(row, 10)?,
            outcome,
            response: get(row, 12)?,
        }),
        None => None,
    };
    Ok(AttemptView { number: get(row, 0)?, typing, marked_at: Timestamp(get(row, 1)?), send })
}

fn event(at: Timestamp, from: &str, to: &str, note: Option<String>) -> EventView {
    EventView { at, from: Some(from.to_owned()), to: to.to_owned(), note }
}

pub(super) fn state_name(name: &str) -> Result<StateName, StoreError> {
    let wrong = || StoreError::Inconsistent { table: "messages", column: "state", what: name.to_owned() };
    StateName::from_name(name).ok_or_else(wrong)
}

pub(super) fn ack(level: i64) -> Result<Ack, StoreError> {
    let wrong = || StoreError::Inconsistent { table: "messages", column: "ack", what: level.to_string() };
    Ack::from_level(level).ok_or_else(wrong)
}
