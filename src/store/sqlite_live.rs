//! Lists that jobs follow while they run: who joined since, who left.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::recipient::Chat;
use crate::domain::state::{self, Event, Reason, State};
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_apply::{hex, parse_hex, skip_these_behind_ended};
use crate::store::sqlite_audience::{LEFT, STANDS, insert_recipients};
use crate::store::sqlite_claim::{get, id, left, read_vars};
use crate::store::sqlite_insert::insert_rows;
use crate::store::sqlite_list::VISIBLE;
use crate::store::sqlite_plan::{ONE_OR_MORE, still_says};
use crate::store::sqlite_renew::{keep_words, take_over_words};
use crate::store::{FoundList, NewMessages, Recipient, SqliteStore, StoreError, vars_json};

/// An occurrence that still takes recipients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOccurrence {
    /// Its row.
    pub id: i64,
    /// Its nominal instant.
    pub nominal: Timestamp,
    /// Whether messages of it were forgotten: who has none of it may have had one.
    pub forgotten: bool,
    /// Whether its messages take turns by themselves, as they were planned to.
    pub own_flow: bool,
}

/// Recipients who joined, with the messages they get.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The job.
    pub job: String,
    /// Its audience: where it has another one by now, nothing is done.
    pub audience: i64,
    /// Who, by place.
    pub recipients: Vec<(i64, Recipient)>,
    /// Their messages, by occurrence.
    pub messages: Vec<(i64, NewMessages)>,
}

impl SqliteStore {
    /// The jobs that follow a list.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs_of_live_lists(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(include_str!("sql/jobs_of_live_lists.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find the jobs that follow a list"))
    }

    /// Members of a list, by chat after one of them, who are not in an audience.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn joiners(
        &self,
        list: FoundList,
        audience: i64,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Recipient>, StoreError> {
        let statement = format!(
            "SELECT m.chat, c.vars FROM members AS m JOIN contacts AS c ON c.chat = m.chat
             WHERE m.list = ?1 AND m.chat > ?2 AND m.{VISIBLE}
               AND m.chat NOT IN (SELECT chat FROM recipients WHERE audience = ?4)
             ORDER BY m.chat LIMIT ?3"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(list.id)
            .bind(after.to_owned())
            .bind(limit)
            .bind(audience)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look who joined a list"))?;
        let one = |r: &SqliteRow| {
            let chat = Chat::from_stored(&get::<String>(r, 0)?);
            Ok(Recipient { chat, vars: read_vars(get::<Option<String>>(r, 1)?.as_deref()) })
        };
        rows.iter().map(one).collect()
    }

    /// Those of these messages whose recipients are not in the list that their jobs follow.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn whose_recipients_left(&self, of: Vec<MessageId>) -> Result<HashSet<MessageId>, StoreError> {
        let ids: Vec<String> = of.into_iter().map(hex).collect();
        let statement = format!(
            "SELECT hex(f.id) FROM json_each(?1) AS j CROSS JOIN messages AS f ON f.id = unhex(j.value)
             WHERE f.follows IS NULL AND {}",
            left()
        );
        let found: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(json!(ids).to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look who left the list of a message"))?;
        found.iter().map(|hex| parse_hex(hex)).collect()
    }

    /// Those of these messages whose campaign waits for its approval and that ended without it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn never_approved(&self, of: Vec<MessageId>) -> Result<HashSet<MessageId>, StoreError> {
        let ids: Vec<String> = of.into_iter().map(hex).collect();
        let found: Vec<String> = sqlx::query_scalar(include_str!("sql/never_approved.sql"))
            .bind(json!(ids).to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look which messages were never approved"))?;
        found.iter().map(|hex| parse_hex(hex)).collect()
    }

    /// Those of these messages that follow others in a sequence, each with the earliest instant at which it may, where what goes
    /// before it and has not left leaves at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn follow_from(
        &self,
        of: Vec<MessageId>,
        now: Timestamp,
    ) -> Result<HashMap<MessageId, Timestamp>, StoreError> {
        let ids: Vec<String> = of.into_iter().map(hex).collect();
        let found: Vec<(String, Option<i64>, i64)> = sqlx::query_as(include_str!("sql/behind_by.sql"))
            .bind(json!(ids).to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look what messages follow in their sequences"))?;
        let one = |(hex, sent_at, after): &(String, Option<i64>, i64)| {
            Ok((parse_hex(hex)?, sent_at.map_or(now, Timestamp) + Millis(*after)))
        };
        found.iter().map(one).collect()
    }

    /// Who was in an audience and left it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn gone_from(&self, audience: i64) -> Result<HashSet<Chat>, StoreError> {
        let statement = format!("SELECT substr(chat, 2) FROM recipients WHERE audience = ?1 AND chat GLOB '{LEFT}*'");
        let chats: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(audience)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look who left a list before"))?;
        Ok(chats.iter().map(|chat| Chat::from_stored(chat)).collect())
    }

    /// Who left the list of an audience, and is not back.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn left(&self, audience: i64) -> Result<HashSet<Chat>, StoreError> {
        let chats: Vec<String> = sqlx::query_scalar(
            "SELECT substr(chat, 2) FROM recipients WHERE audience = ?1 AND chat GLOB '~*'
             EXCEPT SELECT chat FROM recipients WHERE audience = ?1",
        )
        .bind(audience)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("look who left a list"))?;
        Ok(chats.iter().map(|chat| Chat::from_stored(chat)).collect())
    }

    /// Recipients of an audience after a place who have no message in an occurrence.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn forgotten(
        &self,
        audience: i64,
        occurrence: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Recipient)>, StoreError> {
        let rows = sqlx::query(include_str!("sql/forgotten.sql"))
            .bind(audience)
            .bind(occurrence)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look whether everybody of a list has a message"))?;
        let one = |r: &SqliteRow| {
            let chat = Chat::from_stored(&get::<String>(r, 1)?);
            Ok((get(r, 0)?, Recipient { chat, vars: read_vars(get::<Option<String>>(r, 2)?.as_deref()) }))
        };
        rows.iter().map(one).collect()
    }

    /// Recipients of an audience who are no members of a list any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn leavers(&self, list: FoundList, audience: i64, limit: u32) -> Result<Vec<String>, StoreError> {
        let statement = format!(
            "SELECT r.chat FROM recipients AS r
             WHERE r.audience = ?2 AND {STANDS}
               AND NOT EXISTS (SELECT 1 FROM members AS m WHERE m.list = ?1 AND m.chat = r.chat AND m.{VISIBLE})
             LIMIT ?3"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(list.id)
            .bind(audience)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("look who left a list"))
    }

    /// The place after the last one of an audience.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_place(&self, audience: i64) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT coalesce(max(place), -1) + 1 FROM recipients WHERE audience = ?1")
            .bind(audience)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("find the end of an audience"))
    }

    /// The occurrences of a job that are visible and that nobody cancelled, the latest first; none of an event that was
    /// called off.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn occurrences_to_join(&self, job: &str) -> Result<Vec<OpenOccurrence>, StoreError> {
        let rows = sqlx::query(include_str!("sql/occurrences_to_join.sql"))
            .bind(job.to_owned())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find what still takes recipients"))?;
        rows.iter()
            .map(|r| {
                Ok(OpenOccurrence {
                    id: get(r, 0)?,
                    nominal: Timestamp(get(r, 1)?),
                    forgotten: get::<i64>(r, 2)? != 0,
                    own_flow: get::<Option<bool>>(r, 3)?.unwrap_or(false),
                })
            })
            .collect()
    }

    /// Takes recipients in, with the messages they get. Answers how many messages are new, or `None` where the job has
    /// another audience or other contents by now.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing of it is done.
    pub async fn join(&self, mut joined: Joined) -> Result<Option<u64>, StoreError> {
        joined.messages.iter_mut().for_each(|(_, messages)| self.hold_maybe_sent(messages, true));
        let writer = self.writer()?;
        let new = writer.run(move |c| Box::pin(async move { join(c, &joined).await })).await?;
        writer.tell();
        Ok(new)
    }

    /// Lets recipients of an audience go: no later occurrence writes to them, and nobody follows what they got.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn let_go(&self, audience: i64, chats: Vec<String>, now: Timestamp) -> Result<(), StoreError> {
        let chats = json!(chats).to_string();
        self.writer()?.run(move |c| Box::pin(async move { forget(c, audience, chats, now).await })).await
    }

    /// Ends what waits for those who left an audience, in any occurrence of a job. Answers how many messages. What cannot be
    /// ended now, since it is leaving, is not found the next time.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn end_for_leavers(&self, job: &str, audience: i64, now: Timestamp) -> Result<usize, StoreError> {
        let mut ended = 0;
        loop {
            let rows = sqlx::query(include_str!("sql/waits_for_leavers.sql"))
                .bind(job.to_owned())
                .bind(audience)
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("find what waits for who left a list"))?;
            let mut changes = Vec::with_capacity(rows.len());
            for row in &rows {
                let before = match get::<&str>(row, 2)? {
                    "typing" => State::Typing,
                    "held" => State::Held,
                    _ => State::Scheduled { wake_at: Timestamp(get(row, 3)?) },
                };
                changes.extend(end(id(row, 0)?, get(row, 1)?, &before, now));
            }
            let writer = self.writer()?;
            let all = changes.len();
            let ids = json!(changes.iter().map(|c| hex(c.id)).collect::<Vec<_>>()).to_string();
            writer.run(move |c| Box::pin(keep_words(c, ids))).await?;
            let done = writer.apply(changes).await?.iter().filter(|v| **v == Verdict::Applied).count();
            ended += done;
            if all == 0 || done == 0 {
                if ended > 0 {
                    writer.tell();
                }
                return Ok(ended);
            }
        }
    }
}

/// What waits is skipped; what is held waits for nobody any more.
fn end(id: MessageId, attempts: u32, before: &State, now: Timestamp) -> Option<Change> {
    let reason = Reason::LeftList;
    let event = match before {
        State::Held => Event::Cancelled { reason },
        _ => Event::Unsendable { reason },
    };
    let transition = state::apply(before, &event).ok()?;
    Some(Change { id, attempts, at: now, transition, facts: Facts::Note("its recipient left the list".to_owned()) })
}

/// When the messages of an occurrence that were replaced, to these chats, were due.
pub(super) async fn replaced(
    store: &SqliteStore,
    job: &str,
    nominal: Timestamp,
    chats: Vec<Chat>,
) -> Result<HashMap<(Chat, i32), Timestamp>, StoreError> {
    let chats: Vec<&str> = chats.iter().map(Chat::as_str).collect();
    let rows = sqlx::query(include_str!("sql/replaced.sql"))
        .bind(job.to_owned())
        .bind(nominal.0)
        .bind(json!(chats).to_string())
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("read what is planned anew"))?;
    let one = |r: &SqliteRow| {
        let key = (Chat::from_stored(&get::<String>(r, 0)?), get::<i32>(r, 1)?);
        Ok((key, Timestamp(get(r, 2)?)))
    };
    rows.iter().map(one).collect()
}

/// Their places stay, since messages refer to them, and so does that they were there: who comes back gets nothing twice.
async fn forget(
    connection: &mut SqliteConnection,
    audience: i64,
    chats: String,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "let go who left a list";
    sqlx::query(
        "UPDATE messages SET followed = 'unknown', follow_at = NULL, unfollowed_at = ?3
         WHERE chat IN (SELECT value FROM json_each(?2)) AND followed = 'waiting'
           AND job IN (SELECT name FROM jobs WHERE audience = ?1)",
    )
    .bind(audience)
    .bind(chats.clone())
    .bind(now.0)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let statement = format!(
        "UPDATE recipients SET chat = '{LEFT}' || chat
         WHERE audience = ?1 AND chat IN (SELECT value FROM json_each(?2))"
    );
    let gone = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(audience)
        .bind(chats)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    sqlx::query("UPDATE audiences SET size = max(size - ?2, 0) WHERE id = ?1")
        .bind(audience)
        .bind(i64::try_from(gone.rows_affected()).unwrap_or(0))
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(())
}

async fn join(connection: &mut SqliteConnection, joined: &Joined) -> Result<Option<u64>, StoreError> {
    let doing = "take recipients in";
    let is_still: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM jobs WHERE name = ?1 AND audience = ?2)")
        .bind(joined.job.clone())
        .bind(joined.audience)
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if !is_still {
        return Ok(None);
    }
    for (_, messages) in &joined.messages {
        if !still_says(&mut *connection, &joined.job, messages).await? {
            return Ok(None);
        }
    }
    // What was called off meanwhile, or of which messages were forgotten, takes nobody.
    let visible: Vec<(i64, i64, bool, Option<bool>)> = sqlx::query_as(include_str!("sql/occurrences_to_join.sql"))
        .bind(joined.job.clone())
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let open: Vec<i64> = visible.into_iter().filter(|(_, _, forgotten, _)| !forgotten).map(|(id, ..)| id).collect();
    let row = |(place, r): &(i64, Recipient)| json!([place, r.chat.as_str(), vars_json(&r.vars)]);
    let rows: Vec<Value> = joined.recipients.iter().map(row).collect();
    let count = i64::try_from(rows.len()).unwrap_or(0);
    insert_recipients(&mut *connection, joined.audience, Value::Array(rows).to_string()).await?;
    sqlx::query("UPDATE audiences SET size = size + ?2 WHERE id = ?1")
        .bind(joined.audience)
        .bind(count)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let (mut new, mut raised) = (0, BTreeMap::<i64, usize>::new());
    for (occurrence, messages) in joined.messages.iter().filter(|(o, _)| open.contains(o)) {
        let known = make_room(&mut *connection, *occurrence, messages).await?;
        new += insert_rows(&mut *connection, messages, Some(*occurrence)).await?;
        if messages.steps > 1 {
            // Who had some of it before may have ended a sequence that goes on now.
            let made = messages.rows.iter().map(|m| (hex(m.id), m.state.name())).collect();
            skip_these_behind_ended(&mut *connection, made, messages.now).await?;
        }
        take_over_words(&mut *connection, *occurrence).await?;
        let first = messages.rows.iter().filter(|m| m.step <= 0 && !known.contains(m.chat.as_str())).count();
        *raised.entry(*occurrence).or_default() += first;
    }
    // Those of an occurrence that was planned without some of them are all of the audience in the end.
    let raised = raised.into_iter().map(|(o, n)| json!([o, if count > 0 { n } else { 0 }, joined.audience])).collect();
    let statement = format!(
        "UPDATE occurrences
         SET recipients = max(coalesce(recipients, 0) + (j.value ->> 1),
                              iif(?2, (SELECT a.size FROM audiences AS a WHERE a.id = j.value ->> 2), 0), {ONE_OR_MORE})
         FROM json_each(?1) AS j WHERE occurrences.id = j.value ->> 0"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(Value::Array(raised).to_string())
        .bind(count == 0)
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(Some(new))
}

/// Who left and came back gets what was skipped when they left. Answers who of them has a message of the occurrence already.
async fn make_room(
    connection: &mut SqliteConnection,
    occurrence: i64,
    messages: &NewMessages,
) -> Result<HashSet<String>, StoreError> {
    let doing = "make room for who came back";
    let chats = json!(messages.rows.iter().map(|m| m.chat.as_str()).collect::<Vec<_>>()).to_string();
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT m.chat FROM json_each(?2) AS j CROSS JOIN messages AS m
         WHERE m.occurrence = ?1 AND m.chat = j.value AND m.step = 0 AND m.reason IS NOT 'replaced'",
    )
    .bind(occurrence)
    .bind(chats.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    sqlx::query(include_str!("sql/back_in_list.sql"))
        .bind(occurrence)
        .bind(chats)
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(known.into_iter().collect())
}
