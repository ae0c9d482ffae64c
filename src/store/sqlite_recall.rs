//! Recalls: which messages are to be deleted for everyone, and how far that is.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;

use crate::domain::id::{InstanceName, MessageId};
use crate::domain::recall::{self, RecallReason, RecallState};
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::{hex, insert};
use crate::store::sqlite_claim::{get, id};
use crate::store::sqlite_read::state_name;
use crate::store::view::{Place, RecallReport, RecallView};
use crate::store::{SqliteStore, StoreError};

/// Recalls asked, or settled, in one step: some milliseconds of the writer.
const AT_ONCE: u32 = 500;

/// What is to be recalled of a campaign.
#[derive(Clone, Debug)]
pub struct RecallWish {
    /// The row of its occurrence.
    pub occurrence: i64,
    /// Only what was sent at or after this instant; all of it if absent.
    pub since: Option<Timestamp>,
    /// How long the gateway of each of its instances deletes for everyone, where it can.
    pub within: Vec<(String, Option<Millis>)>,
}

/// What asking for a recall came to, or would come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecallAsked {
    /// Messages that were sent and are to be deleted.
    pub to_delete: u64,
    /// Messages on the way or in doubt: deleted once they are known as sent.
    pub in_motion: u64,
    /// Messages sent longer ago than their gateway deletes for everyone.
    pub too_late: u64,
    /// Messages whose gateway cannot.
    pub cannot: u64,
}

impl std::ops::AddAssign for RecallAsked {
    fn add_assign(&mut self, more: RecallAsked) {
        self.to_delete += more.to_delete;
        self.in_motion += more.in_motion;
        self.too_late += more.too_late;
        self.cannot += more.cannot;
    }
}

/// A message to be deleted next.
#[derive(Clone, Debug)]
pub struct Recall {
    /// Which one.
    pub id: MessageId,
    /// In which chat.
    pub chat: Chat,
    /// Its bare id at the gateway, where it is known.
    pub gateway_id: Option<String>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Requests so far that may have been carried out.
    pub tries: u32,
    /// The answer to its send, as it was kept.
    pub answer: Option<String>,
}

/// A recall of a message that was not known as sent, and is in a state in which something follows from that.
#[derive(Clone, Copy, Debug)]
pub struct UnsettledRecall {
    /// Which message.
    pub id: MessageId,
    /// Where it is.
    pub state: StateName,
}

/// What came of a request about a message.
#[derive(Clone, Debug)]
pub struct RecallResult {
    /// Which message.
    pub id: MessageId,
    /// Where its recall is.
    pub state: RecallState,
    /// Why it failed.
    pub reason: Option<RecallReason>,
    /// Requests so far that may have been carried out.
    pub tries: u32,
    /// When it is tried next, where it is open.
    pub next_at: Timestamp,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The body, masked and capped, or what happened instead.
    pub response: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl SqliteStore {
    /// Asks for the recall of what went out of a campaign, or may have. What was asked before stays as it is. In steps: one
    /// that ends halfway is asked for again.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn ask_recalls(
        &self,
        wish: &RecallWish,
        dry_run: bool,
        now: Timestamp,
    ) -> Result<RecallAsked, StoreError> {
        let (mut asked, mut after) = (RecallAsked::default(), Place::START);
        loop {
            let rows = sqlx::query(include_str!("sql/recallable.sql"))
                .bind(wish.occurrence)
                .bind(after.chat.clone())
                .bind(after.step)
                .bind(wish.since.map(|t| t.0))
                .bind(AT_ONCE)
                // What failed in the meantime was asked for by this call, or by one at the same time.
                .bind(now.0)
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("find what is to be recalled"))?;
            let Some(last) = rows.last() else { return Ok(asked) };
            after = Place { chat: get(last, 1)?, step: get(last, 2)? };
            let mut begun = Vec::with_capacity(rows.len());
            for row in &rows {
                let (instance, sent_at): (String, _) = (get(row, 3)?, get::<Option<i64>>(row, 5)?.map(Timestamp));
                let within = wish.within.iter().find(|(name, _)| *name == instance).and_then(|(_, within)| *within);
                let (state, reason) = recall::begin(sent_at, within, now);
                match state {
                    RecallState::TooLate => asked.too_late += 1,
                    RecallState::Failed => asked.cannot += 1,
                    _ if sent_at.is_some() => asked.to_delete += 1,
                    _ => asked.in_motion += u64::from(get::<bool>(row, 6)?),
                }
                let (id, attempts, reason) = (hex(id(row, 0)?), get::<i64>(row, 4)?, reason.map(RecallReason::name));
                begun.push(json!([id, instance, now, attempts, sent_at, state.name(), reason]));
            }
            if !dry_run {
                self.write("ask for a recall", include_str!("sql/insert_recalls.sql"), begun).await?;
            }
        }
    }

    /// The instances through which something is to be deleted at `now` and that can be asked: not what is down, nor what rests.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn instances_with_recalls(&self, now: Timestamp) -> Result<Vec<InstanceName>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT i.name FROM instances AS i
             WHERE (i.state = 'working' OR i.state = 'resting' AND i.until <= ?1)
               AND EXISTS (SELECT 1 FROM recalls AS r WHERE r.state = 'open' AND r.sent_at IS NOT NULL
                             AND r.instance = i.name AND r.next_at <= ?1)",
        )
        .bind(now.0)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("look for recalls"))?;
        Ok(names.iter().map(|name| InstanceName::new(name)).collect())
    }

    /// The message of an instance to delete next, the one that was sent last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_recall(&self, instance: &InstanceName, now: Timestamp) -> Result<Option<Recall>, StoreError> {
        let row = sqlx::query(include_str!("sql/next_recall.sql"))
            .bind(&*instance.0)
            .bind(now.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find what is to be deleted next"))?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Recall {
            id: id(&row, 0)?,
            chat: Chat::from_stored(get(&row, 1)?),
            gateway_id: get(&row, 2)?,
            sent_at: Timestamp(get(&row, 3)?),
            tries: get::<i64>(&row, 4)?.try_into().unwrap_or(0),
            answer: get(&row, 5)?,
        }))
    }

    /// Counts a request about a message before it leaves.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_recall(&self, id: MessageId) -> Result<(), StoreError> {
        let statement = "UPDATE recalls SET tries = tries + 1
                         WHERE state = 'open' AND message IN (SELECT unhex(value) FROM json_each(?1))";
        self.write("begin a recall", statement, vec![json!(hex(id))]).await
    }

    /// Writes down what came of a request about a message, and in its timeline that it was deleted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_recall(&self, result: RecallResult) -> Result<(), StoreError> {
        let RecallResult { id, state, reason, tries, next_at, status, response, at } = result;
        let settled = (state != RecallState::Open).then_some(at);
        let (reason, id) = (reason.map(RecallReason::name), hex(id));
        let row = json!([id, state.name(), reason, tries, next_at, settled, status, response]);
        let event = json!([id, at, "sent", "sent", "recalled: deleted for everyone"]);
        let statement = "UPDATE recalls
            SET state = v.value ->> 1, reason = v.value ->> 2, tries = v.value ->> 3, next_at = v.value ->> 4,
                settled_at = v.value ->> 5, status = v.value ->> 6, response = v.value ->> 7
            FROM json_each(?1) AS v WHERE recalls.message = unhex(v.value ->> 0) AND recalls.state = 'open'";
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let doing = "record a recall";
                    if insert(c, statement, vec![row], doing).await? > 0 && state == RecallState::Done {
                        insert(c, include_str!("sql/insert_events.sql"), vec![event], doing).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Settles what an instance cannot delete any more, `within` which its gateway can, if at all. Answers how many.
    ///
    /// # Errors
    /// When the database cannot be written; what was settled so far stays so.
    pub async fn settle_late_recalls(
        &self,
        instance: &InstanceName,
        within: Option<Millis>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (state, reason) = recall::begin(Some(Timestamp(0)), within, Timestamp::MAX);
        let before = within.map_or(Timestamp::MAX, |within| now - within);
        let mut settled = 0;
        loop {
            let name = instance.0.to_string();
            let done = self
                .writer()?
                .run(move |c| {
                    Box::pin(async move {
                        sqlx::query(
                            "UPDATE recalls SET state = ?1, reason = ?2, settled_at = ?3 WHERE message IN
                               (SELECT message FROM recalls WHERE state = 'open' AND sent_at IS NOT NULL
                                  AND instance = ?4 AND sent_at <= ?5 ORDER BY sent_at LIMIT ?6)",
                        )
                        .bind(state.name())
                        .bind(reason.map(RecallReason::name))
                        .bind(now.0)
                        .bind(name)
                        .bind(before.0)
                        .bind(AT_ONCE)
                        .execute(c)
                        .await
                        .map_err(StoreError::database("settle recalls that come too late"))
                    })
                })
                .await?
                .rows_affected();
            settled += done;
            if done < u64::from(AT_ONCE) {
                return Ok(settled);
            }
        }
    }

    /// Recalls of messages that were not known as sent, and about which more is known now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unsettled_recalls(&self) -> Result<Vec<UnsettledRecall>, StoreError> {
        let rows = sqlx::query(include_str!("sql/unsettled_recalls.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look what became of recalls"))?;
        let one =
            |row: &SqliteRow| Ok(UnsettledRecall { id: id(row, 0)?, state: state_name(&get::<String>(row, 1)?)? });
        rows.iter().map(one).collect()
    }

    /// Takes in what became of messages that were not known as sent: what was is to be deleted, and where nothing will go out
    /// any more there is nothing to delete.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn settle_unsent_recalls(&self, ids: &[MessageId], now: Timestamp) -> Result<(), StoreError> {
        let rows: Vec<Value> = ids.iter().map(|id| json!([hex(*id), now])).collect();
        let statement = "UPDATE recalls
            SET state = iif(m.state = 'sent', 'open', 'unsent'),
                sent_at = iif(m.state = 'sent', m.sent_at, NULL),
                settled_at = iif(m.state = 'sent', NULL, v.value ->> 1)
            FROM json_each(?1) AS v CROSS JOIN messages AS m ON m.id = unhex(v.value ->> 0)
            WHERE recalls.message = m.id AND recalls.sent_at IS NULL AND recalls.state IN ('open', 'unsent')
              AND m.state IN ('sent', 'failed', 'cancelled', 'expired', 'skipped')";
        self.write("take in what became of recalls", statement, rows).await
    }

    /// Whether anything is still to be deleted through these instances. Not counted is what is in doubt, and what is through an
    /// instance that is down.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recalls_in_hand(&self, instances: &[InstanceName]) -> Result<bool, StoreError> {
        let names: Vec<&str> = instances.iter().map(|i| &*i.0).collect();
        sqlx::query_scalar(include_str!("sql/recalls_in_hand.sql"))
            .bind(json!(names).to_string())
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("look what is to be recalled"))
    }

    /// How the recall of a campaign stands; `None` where none was asked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recall_report(&self, occurrence: i64) -> Result<Option<RecallReport>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.state, r.reason, count(*) FROM messages AS m
             CROSS JOIN recalls AS r ON r.message = m.id
             WHERE m.occurrence = ?1 AND m.reason IS NOT 'replaced' AND EXISTS (SELECT 1 FROM recalls)
             GROUP BY r.state, r.reason",
        )
        .bind(occurrence)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("count the recalls of a campaign"))?;
        let mut report = RecallReport::default();
        for row in &rows {
            let n = get::<i64>(row, 2)?.try_into().unwrap_or(0);
            report.asked += n;
            *match recall_state(&get::<String>(row, 0)?)? {
                RecallState::Open => &mut report.open,
                RecallState::Done => &mut report.done,
                RecallState::Failed => &mut report.failed,
                RecallState::TooLate => &mut report.too_late,
                RecallState::Unsent => &mut report.unsent,
            } += n;
            report.reasons.extend(get::<Option<String>>(row, 1)?.map(|reason| (reason, n)));
        }
        Ok((report.asked > 0).then_some(report))
    }

    /// How the recall of a message stands; `None` where none was asked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn recall_of(&self, message: MessageId) -> Result<Option<RecallView>, StoreError> {
        let row = sqlx::query(
            "SELECT state, reason, asked_at, settled_at, tries, status, response FROM recalls WHERE message = ?1",
        )
        .bind(message.0.to_vec())
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::database("read a recall"))?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RecallView {
            state: recall_state(&get::<String>(&row, 0)?)?,
            reason: get(&row, 1)?,
            asked_at: Timestamp(get(&row, 2)?),
            settled_at: get::<Option<i64>>(&row, 3)?.map(Timestamp),
            tries: get(&row, 4)?,
            status: get(&row, 5)?,
            response: get(&row, 6)?,
        }))
    }

    async fn write(&self, doing: &'static str, statement: &'static str, rows: Vec<Value>) -> Result<(), StoreError> {
        self.writer()?.run(move |c| Box::pin(async move { insert(c, statement, rows, doing).await.map(|_| ()) })).await
    }
}

fn recall_state(name: &str) -> Result<RecallState, StoreError> {
    let wrong = || StoreError::Inconsistent { table: "recalls", column: "state", what: name.to_owned() };
    RecallState::from_name(name).ok_or_else(wrong)
}
