//! Messages that are followed until they are answered, and what follows them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr, SqliteConnection};

use crate::domain::ack::Ack;
use crate::domain::follow::{Answer, ESCALATIONS_LIMIT, Family, Followed, Follower, Kind};
use crate::domain::id::MessageId;
use crate::domain::message::Change;
use crate::domain::recipient::Chat;
use crate::domain::state::{Reason, State, StateName};
use crate::domain::time::Timestamp;
use crate::store::sqlite_apply::{hex, insert};
use crate::store::sqlite_claim::{content, get, gone, id};
use crate::store::sqlite_insert::insert_rows;
use crate::store::sqlite_renew::end;
use crate::store::view::{FollowUpView, FollowerView};
use crate::store::{Claimed, NewMessages, ReplyNews, SqliteStore, StoreError, StoredContent};

/// Steps of escalations begin here; nags are numbered below.
const ESCALATIONS_FROM: i64 = 1_000;

/// Escalations of one recipient are numbered within so many.
const ESCALATIONS_OF_ONE: i64 = 16;

/// Followed messages looked up anew in one transaction: some milliseconds of the writer.
const FOLLOWED_AT_ONCE: usize = 500;

/// A message that is followed, with everything that decides about it.
#[derive(Clone, Debug)]
pub struct FollowedMessage {
    /// The message, as a claim would hand it over.
    pub claimed: Claimed,
    /// Its recipients' list, and its place there.
    pub audience: Option<i64>,
    /// See `audience`.
    pub place: Option<i64>,
    /// Its occurrence's row.
    pub occurrence: Option<i64>,
    /// What is known of it and its followers.
    pub family: Family,
    /// Its followers that still wait.
    pub waiting: Vec<WaitingFollower>,
    /// When it was to be looked at: the look counts only while this is so.
    pub follow_at: Option<Timestamp>,
    /// How it stands.
    pub followed: Option<Followed>,
    /// Whether its job still exists, with its event, and nobody recalled it.
    pub goes_on: bool,
    /// Whether whom it went to is not to be written to any more: nobody follows it from now on.
    pub gone: bool,
    /// What its job says now, where it says something.
    pub as_it_is: Option<Arc<StoredContent>>,
}

/// A follower that still waits: how it would be taken back.
#[derive(Clone, Debug)]
pub struct WaitingFollower {
    /// What it is.
    pub kind: Kind,
    /// Which.
    pub id: MessageId,
    /// Attempts made so far.
    pub attempts: u32,
    /// Where it is.
    pub state: State,
    /// What it says, as its content is stored.
    pub says: String,
}

/// The step under which a follower is stored.
pub fn step_of(kind: Kind, place: Option<i64>) -> i32 {
    let step = match kind {
        Kind::Nag(n) => i64::from(n),
        Kind::Escalation(i) => {
            ESCALATIONS_FROM + place.unwrap_or(0) * ESCALATIONS_OF_ONE + i64::try_from(i).unwrap_or(0)
        }
    };
    i32::try_from(-step).unwrap_or(i32::MIN)
}

fn kind_of(step: i64) -> Kind {
    match -step {
        n if n < ESCALATIONS_FROM => Kind::Nag(u32::try_from(n).unwrap_or(0)),
        n => Kind::Escalation(usize::try_from((n - ESCALATIONS_FROM) % ESCALATIONS_OF_ONE).unwrap_or(0)),
    }
}

impl SqliteStore {
    /// Messages whose followers are to be looked at by `now`, the earliest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn to_follow(&self, now: Timestamp, limit: u32) -> Result<Vec<MessageId>, StoreError> {
        let rows = sqlx::query(include_str!("sql/to_follow.sql"))
            .bind(now.0)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find messages to follow"))?;
        rows.iter().map(|r| id(r, 0)).collect()
    }

    /// A message that is followed, with everything that decides about it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn followed(&self, of: MessageId, now: Timestamp) -> Result<Option<FollowedMessage>, StoreError> {
        let doing = "read a message that is followed";
        let Some(seen) = self.claimed(of, now).await? else { return Ok(None) };
        let row = sqlx::query(FOLLOWED.clone())
            .bind(of.0.to_vec())
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let rows = sqlx::query(include_str!("sql/family.sql"))
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let Some(first) = rows.first() else { return Ok(None) };
        let (as_it_is, event) = self.as_its_job_is(&seen.claimed).await?;
        let reminds = get::<i64>(&row, 7)? != 0;
        let mut family = Family {
            state: state(first)?,
            since: Timestamp(get::<Option<i64>>(first, 6)?.unwrap_or(get(first, 5)?)),
            answer: Answer::default(),
            useless_from: event.filter(|_| reminds),
            followers: Vec::with_capacity(rows.len() - 1),
        };
        let places = places(&rows, as_it_is.as_deref(), &seen.claimed.due.chat)?;
        let mut waiting = Vec::new();
        for r in &rows {
            if get::<i64>(r, 10)? != 0 {
                family.answer = family.answer.and(answer(r)?);
            }
            if get::<i64>(r, 1)? == 0 {
                continue;
            }
            let mut follower = follower(r)?;
            if let Some(place) = places.get(&id(r, 0)?) {
                follower.kind = Kind::Escalation(*place);
            }
            let attempts = get::<i64>(r, 8)?.try_into().unwrap_or(0);
            let open = match follower.state {
                StateName::Scheduled => Some(State::Scheduled { wake_at: Timestamp(get(r, 7)?) }),
                StateName::Typing => Some(State::Typing),
                StateName::Held => Some(State::Held),
                _ => None,
            };
            if let Some(state) = open {
                let (kind, says) = (follower.kind, get::<Option<String>>(r, 13)?.unwrap_or_default());
                waiting.push(WaitingFollower { kind, id: id(r, 0)?, attempts, state, says });
            }
            family.followers.push(follower);
        }
        Ok(Some(FollowedMessage {
            claimed: seen.claimed,
            audience: get(&row, 0)?,
            place: get(&row, 1)?,
            occurrence: get(&row, 2)?,
            family,
            waiting,
            follow_at: get::<Option<i64>>(&row, 3)?.map(Timestamp),
            followed: get::<Option<String>>(&row, 4)?.and_then(|f| Followed::from_name(&f)),
            goes_on: get::<i64>(&row, GOES_ON)? != 0,
            gone: get::<i64>(&row, GONE)? != 0,
            as_it_is,
        }))
    }

    /// What the job of a message says now, and when its event begins.
    async fn as_its_job_is(
        &self,
        claimed: &Claimed,
    ) -> Result<(Option<Arc<StoredContent>>, Option<Timestamp>), StoreError> {
        let Some(name) = &claimed.job else { return Ok((None, None)) };
        let Some(stored) = self.job(name).await? else { return Ok((None, None)) };
        let nominal = claimed.nominal_at.unwrap_or(claimed.due.due_at);
        let number = stored.job.variant_of(self.seed, nominal, &claimed.due.chat).unwrap_or(0);
        let content = match stored.contents.get(number) {
            Some(id) => Some(content(self, *id).await?),
            None => None,
        };
        Ok((content, stored.job.schedule.event_at()))
    }

    /// Lets what follows the messages of a changed job be looked up anew: what waits of it is replaced, and whoever is no recipient any
    /// more is followed no more.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub(super) async fn follow_anew(&self, job: &str, now: Timestamp) -> Result<(), StoreError> {
        let doing = "find what is followed of a changed job";
        let Some(stored) = self.job(job).await? else { return Ok(()) };
        // Its audience is given, so that its recipients are read once.
        let open: Vec<(String, bool)> = sqlx::query_as(
            "SELECT hex(p.id), p.audience IS NOT ?2 AND p.chat NOT IN (SELECT chat FROM recipients WHERE audience = ?2)
             FROM messages AS p
             WHERE p.job = ?1 AND p.follow_at IS NOT NULL AND p.followed = 'waiting'
               AND p.state IN ('sent', 'failed', 'expired', 'in_doubt')",
        )
        .bind(job.to_owned())
        .bind(stored.audience)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database(doing))?;
        for some in open.chunks(FOLLOWED_AT_ONCE) {
            let rows: Vec<Value> = some.iter().map(|(id, gone)| json!([id, gone])).collect();
            let rows = Value::Array(rows).to_string();
            self.writer()?.run(move |c| Box::pin(async move { follow_anew(c, rows, now).await })).await?;
        }
        Ok(())
    }

    /// Stores followers and how it goes on with the message they follow, where it was not looked at again meanwhile.
    /// Answers whether it was done.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn follow(
        &self,
        message: &FollowedMessage,
        followers: Vec<NewMessages>,
        followed: Option<Followed>,
        look_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, occurrence) = (message.claimed.due.id, message.occurrence);
        let (expected, before) = (message.follow_at, message.followed);
        let state = message.family.state.name();
        let gone = message.gone;
        let done = self
            .writer()?
            .run(move |c| {
                Box::pin(async move {
                    // What was stored for them a moment ago may have been forgotten, since nobody used it yet.
                    if !are_stored(c, &followers).await? {
                        return Ok(false);
                    }
                    // So may its campaign have been called off since it was read, or whom it went to be gone.
                    if !followers.is_empty() && !may_be_followed(c, id).await? {
                        return Ok(false);
                    }
                    let step = Step { id, expected, followed, look_at, state, gone, tell: before != followed, now };
                    if !go_on(c, &step).await? {
                        return Ok(false);
                    }
                    for rows in followers {
                        insert_rows(c, &rows, occurrence).await?;
                    }
                    Ok(true)
                })
            })
            .await?;
        self.writer()?.tell();
        Ok(done)
    }

    /// Takes back followers that still wait. What is marked meanwhile goes out.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take_back(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.writer()?.apply(changes).await?;
        self.writer()?.tell();
        Ok(())
    }

    /// Notes that somebody wrote, once however often it is told.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_replies(&self, replies: Vec<ReplyNews>) -> Result<(), StoreError> {
        let rows: Vec<Value> =
            replies.iter().map(|r| json!([r.instance.0, r.gateway_id, r.chat.as_str(), r.at])).collect();
        let writer = self.writer()?;
        let typed = writer
            .run(move |c| {
                Box::pin(async move {
                    let statement = "INSERT INTO replies (instance, gateway_id, chat, at)
                        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE true
                        ON CONFLICT DO NOTHING";
                    insert(c, statement, rows.clone(), "note replies").await?;
                    insert(c, include_str!("sql/wake_replied.sql"), rows.clone(), "note replies").await?;
                    is_typed_to(c, rows).await
                })
            })
            .await?;
        // What is being typed may end with the reply, or keep out of the conversation: whoever holds it looks again.
        if typed {
            writer.tell();
        }
        Ok(())
    }

    /// How following a message stands, as `show` tells it; `None` where it neither is followed nor follows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn follow_view(&self, of: MessageId) -> Result<Option<FollowUpView>, StoreError> {
        let doing = "read what follows a message";
        let row = sqlx::query(
            "SELECT iif(state IN ('cancelled', 'skipped'), NULL, followed), follow_at, follows FROM messages WHERE id = ?1",
        )
            .bind(of.0.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let Some(row) = row else { return Ok(None) };
        let followed: Option<String> = get(&row, 0)?;
        let follows = match get::<Option<Vec<u8>>>(&row, 2)? {
            Some(_) => Some(id(&row, 2)?),
            None => None,
        };
        if followed.is_none() && follows.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query(include_str!("sql/family.sql"))
            .bind(of.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database(doing))?;
        let followers = rows
            .iter()
            .skip(1)
            .map(|r| Ok(FollowerView { id: id(r, 0)?, follower: follower(r)? }))
            .collect::<Result<_, StoreError>>()?;
        let next_at = get::<Option<i64>>(&row, 1)?.filter(|t| *t > 0).map(Timestamp);
        Ok(Some(FollowUpView { state: followed.and_then(|f| Followed::from_name(&f)), follows, next_at, followers }))
    }
}

/// One step of following a message.
struct Step {
    id: MessageId,
    expected: Option<Timestamp>,
    followed: Option<Followed>,
    look_at: Option<Timestamp>,
    state: &'static str,
    gone: bool,
    tell: bool,
    now: Timestamp,
}

static FOLLOWED: LazyLock<SqlStr> =
    LazyLock::new(|| AssertSqlSafe(include_str!("sql/followed.sql").replace("{gone}", &gone())).into_sql_str());

/// The place in its rows that says whether anything follows a message still.
const GOES_ON: usize = 5;

/// The place in its rows that says whether whom a message went to is gone.
const GONE: usize = 6;

/// Followed messages of a changed job (a JSON list of ids, each with whether its recipient is none any more).
async fn follow_anew(connection: &mut SqliteConnection, rows: String, now: Timestamp) -> Result<(), StoreError> {
    let doing = "look up anew what follows";
    let waiting: Vec<String> = sqlx::query_scalar(
        "SELECT hex(m.id) FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.follows = unhex(j.value ->> 0)
         WHERE m.state IN ('scheduled', 'held') AND m.reason IS NOT 'replaced'",
    )
    .bind(rows.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if !waiting.is_empty() {
        end(&mut *connection, json!(waiting).to_string(), Reason::Replaced.name(), "its job was changed", now).await?;
    }
    sqlx::query(
        "UPDATE messages SET followed = iif(v.gone, 'unknown', followed), follow_at = iif(v.gone, NULL, 0),
             unfollowed_at = iif(v.gone, ?2, unfollowed_at)
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS gone FROM json_each(?1)) AS v
         WHERE messages.id = v.id AND messages.follow_at IS NOT NULL",
    )
    .bind(rows)
    .bind(now.0)
    .execute(connection)
    .await
    .map_err(StoreError::database(doing))?;
    Ok(())
}

/// Whether anything may follow a message.
async fn may_be_followed(connection: &mut SqliteConnection, id: MessageId) -> Result<bool, StoreError> {
    let row = sqlx::query(FOLLOWED.clone())
        .bind(id.0.to_vec())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("look whether a message is followed"))?;
    Ok(get::<i64>(&row, GOES_ON)? != 0 && get::<i64>(&row, GONE)? == 0)
}

/// Whether the contents of new messages are there.
async fn are_stored(connection: &mut SqliteConnection, messages: &[NewMessages]) -> Result<bool, StoreError> {
    let contents: Vec<i64> = messages.iter().map(|m| m.content).collect();
    sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM json_each(?1) WHERE value NOT IN (SELECT id FROM contents))")
        .bind(json!(contents).to_string())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("look whether what follows is stored"))
}

async fn go_on(connection: &mut SqliteConnection, step: &Step) -> Result<bool, StoreError> {
    let doing = "go on following a message";
    let done = sqlx::query(
        "UPDATE messages SET followed = ?3, follow_at = ?4, unfollowed_at = iif(?6, coalesce(unfollowed_at, ?7), unfollowed_at)
         WHERE id = ?1 AND follow_at IS ?2 AND state = ?5",
    )
    .bind(step.id.0.to_vec())
    .bind(step.expected.map(|t| t.0))
    .bind(step.followed.map(Followed::name))
    .bind(step.look_at.map(|t| t.0))
    .bind(step.state)
    .bind(step.gone)
    .bind(step.now.0)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(include_str!("sql/news_taken_in.sql"))
        .bind(step.id.0.to_vec())
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let note = match step.followed {
        Some(Followed::Reached) => "what it was followed for came",
        Some(Followed::Unknown) => "nothing more follows, and no answer is known",
        Some(Followed::Waiting) | None => return Ok(true),
    };
    if step.tell {
        let events = vec![json!([hex(step.id), step.now, step.state, step.state, note])];
        insert(connection, include_str!("sql/insert_events.sql"), events, doing).await?;
    }
    Ok(true)
}

/// News about messages: what is followed is looked at.
pub(super) async fn wake(connection: &mut SqliteConnection, messages: Vec<Value>) -> Result<(), StoreError> {
    insert(connection, include_str!("sql/wake_followers.sql"), messages, "look at what is followed").await.map(|_| ())
}

fn state(row: &SqliteRow) -> Result<StateName, StoreError> {
    let name: String = get(row, 3)?;
    let wrong = || StoreError::Inconsistent { table: "messages", column: "state", what: name.clone() };
    StateName::from_name(&name).ok_or_else(wrong)
}

/// Where messages that told somebody stand in the list of those to be told, as it is now.
fn places(
    rows: &[SqliteRow],
    says: Option<&StoredContent>,
    own: &Chat,
) -> Result<HashMap<MessageId, usize>, StoreError> {
    let Some(follow) = says.and_then(|says| says.manner.follow.as_ref()) else { return Ok(HashMap::new()) };
    let mut told = Vec::new();
    for row in rows.iter().skip(1) {
        if let Kind::Escalation(place) = kind_of(get(row, 2)?) {
            told.push((id(row, 0)?, place, Chat::from_stored(&get::<String>(row, 12)?)));
        }
    }
    let by_place: Vec<(usize, &Chat)> = told.iter().map(|(_, place, chat)| (*place, chat)).collect();
    let places = follow.places(&by_place, own);
    // Who is told no more stands behind all others.
    Ok(told.iter().zip(places).map(|((id, ..), place)| (*id, place.unwrap_or(ESCALATIONS_LIMIT))).collect())
}

/// What whom a message went to has said to it.
fn answer(row: &SqliteRow) -> Result<Answer, StoreError> {
    let ack = get::<Option<i64>>(row, 9)?.and_then(Ack::from_level);
    Ok(Answer { ack, replied: get::<i64>(row, 11)? != 0 })
}

fn follower(row: &SqliteRow) -> Result<Follower, StoreError> {
    let state = state(row)?;
    let reason = get::<Option<String>>(row, 4)?.and_then(|r| Reason::from_name(&r));
    let taken_back = state == StateName::Cancelled && reason != Some(Reason::Reached);
    Ok(Follower {
        kind: kind_of(get(row, 2)?),
        state,
        taken_back,
        due_at: Timestamp(get(row, 5)?),
        sent_at: get::<Option<i64>>(row, 6)?.map(Timestamp),
        answer: answer(row)?,
    })
}

/// Whether any of the chats of these replies is being typed to.
async fn is_typed_to(connection: &mut SqliteConnection, replies: Vec<Value>) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM messages
                        WHERE state IN ('typing', 'sending', 'in_doubt') AND state = 'typing'
                          AND chat IN (SELECT value ->> 2 FROM json_each(?1)))",
    )
    .bind(Value::Array(replies).to_string())
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("look whether a reply came while typing was shown"))
}
