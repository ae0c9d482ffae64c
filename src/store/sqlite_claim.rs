//! Taking messages into hand, and looking whether they are still ours.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlSafeStr, SqlStr};

use crate::domain::claim::{Ours, Wanted};
use crate::domain::class::Class;
use crate::domain::flow::Flow;
use crate::domain::frequency;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Change, Due, Facts, draw_of};
use crate::domain::misfire::Misfire;
use crate::domain::recipient::Chat;
use crate::domain::state::{self, Event, Reason, State};
use crate::domain::template::Vars;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::CLAIM_AHEAD;
use crate::store::sqlite_apply::hex;
use crate::store::sqlite_flows::Asked;
use crate::store::{
    ClaimAnswer, Claimed, Pause, PauseScope, RecentBody, Seen, SqliteStore, StoreError, StoredContent, Verified,
};

pub(super) async fn claim(
    store: &SqliteStore,
    instance: &InstanceName,
    now: Timestamp,
    wanted: &Wanted,
) -> Result<ClaimAnswer, StoreError> {
    let known = store.known_pauses().await?;
    let pauses: Vec<&Pause> = known.iter().filter(|p| p.until.is_none_or(|t| t > now)).collect();
    // Whoever claims ahead of a wake asks again right when a pause ends, not ahead of it.
    let ends = pauses.iter().filter_map(|p| p.until).min().map(|end| end + CLAIM_AHEAD);
    let mut answer = ClaimAnswer { next_wake: ends, ..ClaimAnswer::default() };
    if pauses.iter().any(|p| p.scope.stops(&instance.0, None, None)) {
        return Ok(answer);
    }
    let mut unsendable = Vec::new();
    let asked = Asked { instance, wanted, except: ids(&wanted.except), paused: paused(&pauses) };
    let found = asked.rows(store).await?;
    answer.next_wake = answer.next_wake.into_iter().chain(found.next_wake).min();
    answer.more = found.more;
    for row in &found.rows {
        if let Some((reason, note)) = unwanted_because(get(row, 5)?) {
            tracing::info!(id = %id(row, 0)?, "{note}, and it is not sent");
            unsendable.extend(skipped(row, reason, note.to_owned(), now)?);
            continue;
        }
        let mut message = match claimed(store, instance, row).await {
            Ok(message) => message,
            // One row that cannot be read keeps no other waiting, and is never sent.
            Err(e @ (StoreError::Inconsistent { .. } | StoreError::Unreadable { .. })) => {
                unsendable.extend(unreadable(row, &e, now)?);
                continue;
            }
            Err(e) => return Err(e),
        };
        if message.no_opt_in {
            tracing::info!(id = %message.due.id, "no opt-in of its recipient is recorded, and it gets nothing");
            unsendable.extend(skipped(row, Reason::NoOptIn, NOT_IN.to_owned(), now)?);
            continue;
        }
        // It is looked at again when it may follow the message before it, or what its recipient wrote.
        let wake_at = message.due.target - message.due.lead;
        if wake_at > wanted.horizon {
            answer.next_wake = answer.next_wake.into_iter().chain([wake_at]).min();
            unsendable.extend(follows_later(&message, now));
            continue;
        }
        message.due.kept_waiting |= was_paused(&known, &message);
        message.due.stopped = past_pauses(&known, &message, now);
        answer.messages.push(message);
    }
    // Whoever only looks what would be claimed changes nothing.
    if let (false, Some(writer)) = (unsendable.is_empty(), &store.writer) {
        writer.apply(unsendable).await?;
    }
    Ok(answer)
}

/// The jobs and occurrences that are paused, as `claim.sql` reads them.
fn paused(pauses: &[&Pause]) -> String {
    let (mut jobs, mut campaigns) = (Vec::new(), Vec::new());
    for pause in pauses {
        match &pause.scope {
            PauseScope::Job(_) => jobs.push(pause.scope.parts().1),
            PauseScope::Campaign(_) => campaigns.push(pause.scope.parts().1),
            PauseScope::All | PauseScope::Instance(_) => {}
        }
    }
    match jobs.is_empty() && campaigns.is_empty() {
        true => "{}".to_owned(),
        false => serde_json::json!({ "jobs": jobs, "campaigns": campaigns }).to_string(),
    }
}

/// The change that ends a message whose row, or content, holds what no version of this program writes.
fn unreadable(row: &SqliteRow, error: &StoreError, now: Timestamp) -> Result<Option<Change>, StoreError> {
    tracing::error!(id = %id(row, 0)?, %error, "a message cannot be read, and is not sent");
    skipped(row, Reason::Damaged, error.to_string(), now)
}

/// Why a message is skipped, with its note, where `unwanted.sql` says so.
pub(super) fn unwanted_because(word: Option<&str>) -> Option<(Reason, &'static str)> {
    let known = [
        (Reason::OptedOut, SUPPRESSED),
        (Reason::TooOften, frequency::ENOUGH),
        (Reason::Replied, REPLIED),
        (Reason::LeftList, LEFT),
        (Reason::EventCancelled, CALLED_OFF),
        (Reason::Removed, WITHDRAWN),
        (Reason::CancelledByPerson, WITHDRAWN),
    ];
    known.into_iter().find(|(reason, _)| word == Some(reason.name()))
}

fn skipped(row: &SqliteRow, reason: Reason, note: String, now: Timestamp) -> Result<Option<Change>, StoreError> {
    let numbers = get::<String>(row, 2).unwrap_or_default();
    let number = |place| numbers.split(' ').nth(place).and_then(|n| n.parse::<i64>().ok());
    let before = State::Scheduled { wake_at: number(3).map_or(now, Timestamp) };
    let attempts = number(5).and_then(|n| n.try_into().ok()).unwrap_or(0);
    Ok(skip(id(row, 0)?, (&before, attempts), (reason, note), now))
}

/// The note of a message whose recipient is suppressed.
const SUPPRESSED: &str = "its recipient is suppressed";

/// The note of a message that reminds of an event that was called off.
const CALLED_OFF: &str = "its event was called off";

/// The note of a message that goes to those who opted in only.
const NOT_IN: &str = "no opt-in of its recipient is recorded";

/// The note of a message whose recipient has answered the ones before it.
const REPLIED: &str = "its recipient has written since the first message of its sequence";

/// The note of a message that came back from a try when nobody wanted it any more.
const WITHDRAWN: &str = "its campaign was called off, or its job removed, or whom it is about was forgotten";

/// The note of what would follow a message to somebody who left the list of its job.
const LEFT: &str = "whom it is about left the list that its job follows";

/// The change that has a message wait until it may follow the one of its sequence before it, or what its recipient wrote.
fn follows_later(message: &Claimed, now: Timestamp) -> Option<Change> {
    let due = &message.due;
    let seen =
        Waits { id: due.id, state: State::Scheduled { wake_at: now }, attempts: due.attempts, due_at: due.due_at };
    if message.quiet_until == Some(due.target) {
        return keeps_out(&seen, (due.target, due.lead), now);
    }
    let note = format!("the message before it left later than planned: it follows at {}", due.target);
    put_off(&seen, (due.target - due.lead, Reason::After, note), now)
}

/// A message that waits, as it was read.
struct Waits {
    id: MessageId,
    state: State,
    attempts: u32,
    due_at: Timestamp,
}

/// The change that keeps a message out of what its recipient writes, until `quiet`.
fn keeps_out(seen: &Waits, (quiet, lead): (Timestamp, Millis), now: Timestamp) -> Option<Change> {
    let note = format!("its recipient wrote a short while ago: it follows at {quiet}");
    put_off(seen, (quiet - lead, Reason::Conversation, note), now)
}

fn put_off(seen: &Waits, (wake_at, reason, note): (Timestamp, Reason, String), now: Timestamp) -> Option<Change> {
    let transition = state::apply(&seen.state, &Event::Postponed { wake_at, reason }).ok()?;
    let facts = Facts::Judged { due_at: seen.due_at, note };
    Some(Change { id: seen.id, attempts: seen.attempts, at: now, transition, facts })
}

/// The change that ends a message that is not to be sent, where its state lets it.
pub(super) fn skip(
    id: MessageId,
    (before, attempts): (&State, u32),
    (reason, note): (Reason, String),
    now: Timestamp,
) -> Option<Change> {
    let change = |transition| Change { id, attempts, at: now, transition, facts: Facts::Note(note) };
    let event = match reason {
        Reason::Removed | Reason::CancelledByPerson => Event::Cancelled { reason },
        _ => Event::Unsendable { reason },
    };
    state::apply(before, &event).ok().map(change)
}

/// Whether a pause that is over kept a message past the instant it was meant for. Where the pause ended before it, the
/// message came late and its typing is cut, so that it lands on its instant all the same.
fn was_paused(known: &[Pause], message: &Claimed) -> bool {
    let over = |p: &Pause| p.until.is_some_and(|t| message.due.target < t);
    known.iter().any(|p| over(p) && p.scope.stops(&message.due.instance.0, message.job.as_deref(), message.nominal_at))
}

/// The pauses that are over and concerned a message.
fn past_pauses(known: &[Pause], message: &Claimed, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let concerns = |p: &&Pause| p.scope.stops(&message.due.instance.0, message.job.as_deref(), message.nominal_at);
    let over = known.iter().filter(concerns).filter_map(|p| Some((p.since, p.until.filter(|t| *t <= now)?)));
    over.filter(|(_, until)| *until > message.due.due_at).collect()
}

pub(super) async fn claimed(
    store: &SqliteStore,
    instance: &InstanceName,
    row: &SqliteRow,
) -> Result<Claimed, StoreError> {
    let chat: &str = get(row, 1)?;
    let mut numbers = Numbers::of(row)?;
    let class = Class::from_code(numbers.next()?).unwrap_or_default();
    let content = content(store, numbers.next()?).await?;
    let (due_at, wake_at) = (Timestamp(numbers.next()?), Timestamp(numbers.next()?));
    let lead = Millis(numbers.next()?);
    let (attempts, tries) = (numbers.count()?, numbers.count()?);
    let (first_marked_at, guard) = (numbers.instant()?, numbers.next()?);
    let nominal_at = numbers.instant()?;
    let (step, steps) = (numbers.next()?, numbers.next()?);
    let (expires_at, has_key, event_at) = (numbers.instant()?, numbers.next()? != 0, numbers.instant()?);
    let flow = Flow::from_code(numbers.next()?);
    let no_opt_in = (numbers.next()? == 0) & content.manner.opt_in;
    let (before_at, after) = (numbers.instant()?, numbers.instant()?);
    let counted = numbers.next()? != 0;
    let follows_at = before_at.zip(after).map(|(at, after)| at + Millis(after.0));
    let job: Option<String> = get(row, 3)?;
    let vars = read_vars(get(row, 4)?);
    let released = get::<Option<&str>>(row, 5)?.is_some_and(|r| r == Reason::Released.name());
    let wrote_at = numbers.instant()?;
    let allowed_from = numbers.instant()?;
    let quiet_until = content.manner.quiet_after_reply.zip(wrote_at).map(|(quiet, at)| at + quiet);
    // What nobody began to send in time is a misfire: of `skip` only its grace is left.
    let max_lateness = match content.manner.misfire {
        Misfire::Skip if attempts == 0 && nominal_at.is_some() => content.max_lateness.min(content.manner.grace),
        Misfire::Skip | Misfire::RunOnce | Misfire::RunAll => content.max_lateness,
    };
    let due = Due {
        id: id(row, 0)?,
        instance: instance.clone(),
        draw: draw_of(store.seed, job.as_deref(), nominal_at.unwrap_or(due_at), chat),
        chat: Chat::from_stored(chat),
        class,
        flow,
        due_at,
        target: [follows_at, quiet_until].into_iter().flatten().fold(wake_at + lead, Timestamp::max),
        lead,
        late: content.manner.late,
        attempts,
        tries,
        first_marked_at,
        retry: content.manner.retry.clone(),
        max_lateness,
        expires_at,
        event_at,
        hours: Vec::new(),
        free_from: before_at.unwrap_or(Timestamp(i64::MIN)),
        stopped: Vec::new(),
        allowed_from,
        kept_waiting: step > 0,
        leads_on: (0..steps - 1).contains(&step),
    };
    let unvouched = job.is_none() && !released && !has_key;
    Ok(Claimed {
        due,
        content,
        vars,
        job,
        nominal_at,
        guard,
        unvouched,
        no_opt_in,
        quiet_until,
        beside: step < 0,
        counted,
    })
}

/// A statement whose rows begin as those of a claim do: `{numbers}` stands for `numbers.sql`, in all of them.
pub(super) fn with_numbers(text: &str) -> SqlStr {
    let numbers = include_str!("sql/numbers.sql").trim_end().replace("{allowed_from}", &allowed_from("m.wake_at"));
    AssertSqlSafe(text.replace("{numbers}", &numbers)).into_sql_str()
}

static TYPING_NOW: LazyLock<SqlStr> = LazyLock::new(|| with_numbers(include_str!("sql/typing_now.sql")));
static CLAIMED: LazyLock<SqlStr> = LazyLock::new(|| {
    with_numbers(&include_str!("sql/claimed.sql").replace("{unwanted}", &unwanted("max(m.wake_at, ?2)")))
});
static STILL_OURS: LazyLock<SqlStr> = LazyLock::new(|| {
    // What is being typed has its slot; what waits is judged once its turn comes.
    let often = format!("m.state = 'typing' AND {} > m.slot_at", allowed_from("m.slot_at"));
    let text = include_str!("sql/still_ours.sql").replace("{unwanted}", &unwanted_where(&often));
    AssertSqlSafe(text.replace("{allowed_from}", &allowed_from("m.wake_at"))).into_sql_str()
});

/// Why a message `m` would be skipped at an instant, or NULL, for statements of this program.
pub(super) fn unwanted(now: &str) -> String {
    unwanted_where(&format!("{} > {now}", allowed_from(now)))
}

/// The same of a message that has not come to its turn: `frequency` judges it then.
pub(super) fn unwanted_before_its_turn() -> String {
    unwanted_where("0")
}

/// From when on `frequency` lets a message `m` go where what is being sent leaves at `now`: `allowed_from.sql`.
fn allowed_from(now: &str) -> String {
    include_str!("sql/allowed_from.sql").trim_end().replace("{now}", now)
}

/// `unwanted.sql`, where a message comes too often if `often` says so.
fn unwanted_where(often: &str) -> String {
    include_str!("sql/unwanted.sql")
        .trim_end()
        .replace("{too_often}", often)
        .replace("{gone}", &gone())
        .replace("{left}", left())
}

/// Why nobody is told any more of a message `f`, or NULL: `gone.sql`, for statements of this program.
pub(super) fn gone() -> String {
    include_str!("sql/gone.sql").trim_end().replace("{left}", left())
}

/// Whether whom a message `f` went to left the list that its job follows: `left.sql`, for statements of this program.
pub(super) fn left() -> &'static str {
    include_str!("sql/left.sql").trim_end()
}

/// The numbers of a row that is claimed, in the order of `numbers.sql`.
struct Numbers<'r>(std::str::Split<'r, char>);

/// Their place in the row.
pub(super) const NUMBERS: usize = 2;

impl<'r> Numbers<'r> {
    fn of(row: &'r SqliteRow) -> Result<Numbers<'r>, StoreError> {
        Ok(Numbers(get::<&str>(row, NUMBERS)?.split(' ')))
    }

    fn next(&mut self) -> Result<i64, StoreError> {
        let number = self.0.next().unwrap_or_default();
        number.parse().map_err(|_| StoreError::Unreadable { column: NUMBERS, what: format!("'{number}' is no number") })
    }

    /// A number that is never negative.
    fn count(&mut self) -> Result<u32, StoreError> {
        Ok(self.next()?.try_into().unwrap_or(0))
    }

    /// An instant, where there is one.
    fn instant(&mut self) -> Result<Option<Timestamp>, StoreError> {
        if self.0.clone().next() == Some("-") {
            self.0.next();
            return Ok(None);
        }
        self.next().map(|at| Some(Timestamp(at)))
    }
}

pub(super) fn read_vars(json: Option<&str>) -> Vars {
    json.and_then(|j| serde_json::from_str(j).ok()).unwrap_or_default()
}

pub(super) fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(|e| StoreError::Unreadable { column, what: e.to_string() })
}

pub(super) fn id(row: &SqliteRow, column: usize) -> Result<MessageId, StoreError> {
    let bytes: &[u8] = get(row, column)?;
    let wrong =
        |_| StoreError::Inconsistent { table: "messages", column: "id", what: format!("{} bytes", bytes.len()) };
    bytes.try_into().map(MessageId).map_err(wrong)
}

fn ids(list: &[MessageId]) -> String {
    Value::Array(list.iter().map(|i| Value::String(hex(*i))).collect()).to_string()
}

pub(super) async fn content(store: &SqliteStore, id: i64) -> Result<Arc<StoredContent>, StoreError> {
    let known = store.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let row = sqlx::query("SELECT body, manner, zone, max_lateness_ms FROM contents WHERE id = ?1")
        .bind(id)
        .fetch_one(&store.readers)
        .await
        .map_err(StoreError::database("read a content"))?;
    let wrong = |column, what: serde_json::Error| StoreError::Inconsistent {
        table: "contents",
        column,
        what: what.to_string(),
    };
    let body = serde_json::from_str(get(&row, 0)?).map_err(|e| wrong("body", e))?;
    let manner = serde_json::from_str(get(&row, 1)?).map_err(|e| wrong("manner", e))?;
    let (zone, max_lateness) = (get(&row, 2)?, Millis(get(&row, 3)?));
    let content = Arc::new(StoredContent { id, content: body, manner, zone, max_lateness });
    let mut cache = store.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Ten thousand jobs are cached without a thought; beyond that, contents of single messages would pile up.
    if cache.len() >= 10_000 {
        cache.clear();
    }
    cache.insert(id, Arc::clone(&content));
    Ok(content)
}

impl SqliteStore {
    /// Messages of an instance that are being typed, and when they leave.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn typing_now(&self, instance: &InstanceName) -> Result<Vec<(Claimed, Timestamp)>, StoreError> {
        let rows = sqlx::query(TYPING_NOW.clone())
            .bind(&*instance.0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read what is being typed"))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            let message = claimed(self, instance, row).await?;
            all.push((message, Timestamp(get(row, 6)?)));
        }
        Ok(all)
    }

    /// A message as a claim would hand it over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn claimed(&self, of: MessageId, now: Timestamp) -> Result<Option<Seen>, StoreError> {
        let row = sqlx::query(CLAIMED.clone())
            .bind(of.0.to_vec())
            .bind(now.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("read a message"))?;
        let Some(row) = row else { return Ok(None) };
        let instance = InstanceName::new(&get::<String>(&row, 6)?);
        let waits_for = match get::<Option<Vec<u8>>>(&row, 8)? {
            Some(_) => Some(id(&row, 8)?),
            None => None,
        };
        let claimed = claimed(self, &instance, &row).await?;
        Ok(Some(Seen {
            claimed,
            planning: get::<i64>(&row, 7)? != 0,
            waits_for,
            slot: get::<Option<i64>>(&row, 9)?.map(Timestamp),
            unwanted: unwanted_because(get(&row, 10)?).map(|(reason, _)| reason),
        }))
    }
}

pub(super) async fn verify(
    store: &SqliteStore,
    asked: &[MessageId],
    now: Timestamp,
    horizon: Timestamp,
) -> Result<Verified, StoreError> {
    let rows = sqlx::query(STILL_OURS.clone())
        .bind(ids(asked))
        .bind(horizon.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("verify messages in hand"))?;
    let pauses = store.pauses(now).await?;
    let mut verified = Verified::default();
    let (mut ours, mut unsendable) = (HashSet::new(), Vec::new());
    for row in &rows {
        let id = id(row, 0)?;
        let wake_at = Timestamp(get(row, 6)?);
        let before = if get::<&str>(row, 4)? == "typing" { State::Typing } else { State::Scheduled { wake_at } };
        let attempts = get(row, 5)?;
        if let Some((reason, note)) = unwanted_because(get(row, 7)?) {
            unsendable.extend(skip(id, (&before, attempts), (reason, note.to_owned()), now));
            continue;
        }
        let lead = Millis(get(row, 8)?);
        if let Some(quiet) = get::<Option<i64>>(row, 9)?.map(Timestamp).filter(|t| *t > wake_at + lead) {
            let seen = Waits { id, state: before, attempts, due_at: Timestamp(get(row, 11)?) };
            unsendable.extend(keeps_out(&seen, (quiet, lead), now));
            continue;
        }
        ours.insert(id);
        let allowed_from = get::<Option<i64>>(row, 10)?.map(Timestamp);
        verified.ours.push(Ours { id, due_at: Timestamp(get(row, 11)?), allowed_from });
        let (instance, job): (String, Option<String>) = (get(row, 1)?, get(row, 2)?);
        let nominal = get::<Option<i64>>(row, 3)?.map(Timestamp);
        if pauses.iter().any(|p| p.scope.stops(&instance, job.as_deref(), nominal)) {
            verified.paused.push(id);
        }
    }
    // What is in hand already is not claimed again, where it would be skipped or put off.
    if let (false, Some(writer)) = (unsendable.is_empty(), &store.writer) {
        writer.apply(unsendable).await?;
    }
    verified.gone = asked.iter().copied().filter(|i| !ours.contains(i)).collect();
    Ok(verified)
}

pub(super) async fn recent_bodies(store: &SqliteStore, since: Timestamp) -> Result<Vec<RecentBody>, StoreError> {
    let rows = sqlx::query(include_str!("sql/recent_bodies.sql"))
        .bind(since.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("read what was sent lately"))?;
    rows.iter().map(|r| Ok(RecentBody { id: id(r, 0)?, body: get(r, 1)?, at: Timestamp(get(r, 2)?) })).collect()
}
