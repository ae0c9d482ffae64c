//! What the database knows of itself and its accounts: seed, mode, heartbeat, standings, outages.

use serde_json::Value;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::id::InstanceName;
use crate::domain::message::{Change, Departure, Facts, Verdict, draw_after, draw_of};
use crate::domain::state::{self, Event, Reason, State};
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::{get, id};
use crate::store::sqlite_writer::Writer;
use crate::store::{InstanceRow, Outage, Recovery, SqliteStore, StoreError};

/// A pause between two heartbeats that is still no outage.
const ALIVE_WITHIN_MS: i64 = 7_000;

/// Under this name the database keeps which instances its daemon serves.
const SERVED: &str = "served";

/// Reads the seed, making one for a new database: the wanted one, where one is wanted.
pub(super) async fn seed(
    connection: &mut SqliteConnection,
    reading: bool,
    wanted: Option<u64>,
) -> Result<u64, StoreError> {
    if let Some(text) = meta(connection, "seed").await? {
        let wrong = |_| StoreError::Inconsistent { table: "meta", column: "seed", what: text.clone() };
        let is: u64 = text.parse().map_err(wrong)?;
        return match wanted {
            Some(wanted) if wanted != is => Err(StoreError::OtherSeed { is, wanted }),
            _ => Ok(is),
        };
    }
    let seed = wanted.unwrap_or_else(|| getrandom::u64().unwrap_or(0x5eed));
    if !reading {
        set_meta(connection, "seed", &seed.to_string()).await?;
    }
    Ok(seed)
}

pub(super) async fn meta(connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = ?1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::database("read what the database knows of itself"))
}

pub(super) async fn set_meta(connection: &mut SqliteConnection, name: &str, value: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(connection)
    .await
    .map_err(StoreError::database("write what the database knows of itself"))?;
    Ok(())
}

/// Stores the settings of instances, in a transaction of the caller's.
pub(super) async fn store_instances(
    connection: &mut SqliteConnection,
    rows: Vec<InstanceRow>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for row in rows {
        sqlx::query(include_str!("sql/upsert_instance.sql"))
            .bind(&*row.name.0)
            .bind(row.gateway)
            .bind(row.definition.to_string())
            .bind(now.0)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("store an instance"))?;
    }
    Ok(())
}

pub(super) async fn heartbeat(writer: &Writer, now: Timestamp) -> Result<(), StoreError> {
    writer.run(move |c| Box::pin(async move { set_meta(c, "alive_at", &now.0.to_string()).await })).await
}

impl SqliteStore {
    /// Makes sure the database is of this mode (`sandbox` or `real`), noting it in a new one.
    ///
    /// # Errors
    /// [`StoreError::OtherMode`] for a database of the other one.
    pub async fn ensure_mode(&self, wanted: &'static str) -> Result<(), StoreError> {
        let path = self.path().to_owned();
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    match meta(c, "mode").await? {
                        None => set_meta(c, "mode", wanted).await,
                        Some(is) if is == wanted => Ok(()),
                        Some(is) => Err(StoreError::OtherMode { path, is, wanted: wanted.to_owned() }),
                    }
                })
            })
            .await
    }

    /// The mode of the database, where it has one yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mode(&self) -> Result<Option<String>, StoreError> {
        self.setting("mode").await
    }

    /// When a daemon last wrote down that it is alive, and whether it has stopped in order since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn alive_at(&self) -> Result<Option<(Timestamp, bool)>, StoreError> {
        let instant = |text: Option<String>| text.and_then(|t| t.parse().ok()).map(Timestamp);
        let stopped = instant(self.setting("stopped_at").await?);
        let alive = instant(self.setting("alive_at").await?);
        Ok(alive.map(|at| (at, stopped.is_some_and(|s| s >= at))))
    }

    /// Whether a daemon runs on this database at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_served(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.alive_at().await?.is_some_and(|(t, stopped)| !stopped && now.since(t).0 < ALIVE_WITHIN_MS))
    }

    /// Whether the daemon that runs at `now` serves an instance: one that is new since it started waits for a restart.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn serves(&self, instance: &InstanceName, now: Timestamp) -> Result<bool, StoreError> {
        let served = self.setting(SERVED).await?.and_then(|s| serde_json::from_str::<Vec<String>>(&s).ok());
        let known = served.is_none_or(|names| names.iter().any(|n| **n == *instance.0));
        Ok(known && self.is_served(now).await?)
    }

    /// Writes down which instances the daemon serves.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn say_served(&self, instances: &[InstanceName]) -> Result<(), StoreError> {
        let names: Vec<&str> = instances.iter().map(|i| &*i.0).collect();
        self.keep_setting(SERVED, serde_json::json!(names).to_string()).await
    }

    /// Writes down that the daemon stopped in order.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn say_stopped(&self, now: Timestamp) -> Result<(), StoreError> {
        heartbeat(self.writer()?, now).await?;
        self.keep_setting("stopped_at", now.0.to_string()).await
    }

    /// A value the database keeps under a name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("read what the database knows of itself"))
    }

    /// Keeps a value under a name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_setting(&self, name: &'static str, value: String) -> Result<(), StoreError> {
        self.writer()?.run(move |c| Box::pin(async move { set_meta(c, name, &value).await })).await
    }

    /// Mends what a stop in mid-flight left behind. To be called while the daemon's lock is held and before anything
    /// is claimed: then every `sending` row is of a dead run, and its outcome unknown.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn recover(&self, now: Timestamp, look_after_ms: i64) -> Result<Recovery, StoreError> {
        self.writer()?.run(move |c| Box::pin(async move { recover(c, now, look_after_ms).await })).await
    }

    /// Stores the settings of instances, with references in place of secrets.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn store_instances(&self, rows: Vec<InstanceRow>, now: Timestamp) -> Result<(), StoreError> {
        self.writer()?.run(move |c| Box::pin(async move { store_instances(c, rows, now).await })).await
    }

    /// The instances known to this database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn instances(&self) -> Result<Vec<InstanceRow>, StoreError> {
        let rows = sqlx::query("SELECT name, gateway, definition FROM instances ORDER BY name")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the instances"))?;
        rows.iter()
            .map(|r| {
                let definition: String = get(r, 2)?;
                Ok(InstanceRow {
                    name: InstanceName::new(&get::<String>(r, 0)?),
                    gateway: get(r, 1)?,
                    definition: serde_json::from_str(&definition).unwrap_or(Value::Null),
                })
            })
            .collect()
    }

    /// Forgets early acks whose message never became known. Answers how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_orphan_acks(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    let done = sqlx::query("DELETE FROM orphan_acks WHERE at < ?1")
                        .bind(before.0)
                        .execute(c)
                        .await
                        .map_err(StoreError::database("forget early acks"))?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }
}

/// Empties what SQLite once counted in the tables. With the counts of a database that held three messages it would choose to
/// read the whole table where it holds three million; without any it takes every table to be large, as the statements do.
pub(super) async fn forget_statistics(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let doing = "forget statistics";
    let counted: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1')")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if !counted {
        return Ok(());
    }
    let emptied = sqlx::query("DELETE FROM sqlite_stat1")
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?
        .rows_affected();
    if emptied > 0 {
        // It counts nothing: it has the connection forget what it has read of the counts.
        sqlx::query("ANALYZE sqlite_schema").execute(connection).await.map_err(StoreError::database(doing))?;
    }
    Ok(())
}

async fn recover(
    connection: &mut SqliteConnection,
    now: Timestamp,
    look_after_ms: i64,
) -> Result<Recovery, StoreError> {
    let doing = "recover from the last run";
    if let Some(alive) = meta(connection, "alive_at").await?.and_then(|t| t.parse::<i64>().ok())
        && now.0 - alive > ALIVE_WITHIN_MS
    {
        sqlx::query("INSERT INTO outages (instance, began_at, ended_at) VALUES (NULL, ?1, ?2)")
            .bind(alive)
            .bind(now.0)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    }
    set_meta(connection, "alive_at", &now.0.to_string()).await?;
    recover_messages(connection, now, look_after_ms).await
}

/// Starts in a row that find a message in the hands of a dead run before it is held: it may be what kills them.
const POISON_AT: i64 = 3;

/// Each statement changes rows of one state only, and the daemon's lock keeps everybody else from changing them.
async fn recover_messages(
    connection: &mut SqliteConnection,
    now: Timestamp,
    look_after_ms: i64,
) -> Result<Recovery, StoreError> {
    let doing = "recover from the last run";
    let steps = [
        ("sending", "in_doubt", "its request was out when the program stopped"),
        ("typing", "scheduled", "the program stopped while typing was shown"),
    ];
    let mut counts = [0; 2];
    let mut poisoned = 0;
    for (i, (from, to, note)) in steps.into_iter().enumerate() {
        // Whatever becomes of it, what was out is an open question from now on.
        if from == "sending" {
            sqlx::query(
                "INSERT INTO doubts (message, number, instance, chat, body, marked_at, opened_at)
                 SELECT m.id, m.attempts, m.instance, m.chat, a.body, a.marked_at, ?1
                 FROM messages AS m JOIN attempts AS a ON a.message = m.id AND a.number = m.attempts
                 WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'sending' ON CONFLICT DO NOTHING",
            )
            .bind(now.0)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
        }
        for (to, crashes, note) in [
            ("held", POISON_AT - 1..i64::MAX, format!("{note}, for the {POISON_AT}rd time in a row")),
            (to, 0..POISON_AT - 1, note.to_owned()),
        ] {
            sqlx::query(
                "INSERT INTO events (message, at, from_state, to_state, note)
                 SELECT id, ?1, ?2, ?3, ?4 FROM messages
                 WHERE state IN ('typing', 'sending', 'in_doubt') AND state = ?2 AND crashes >= ?5 AND crashes < ?6",
            )
            .bind(now.0)
            .bind(from)
            .bind(to)
            .bind(note)
            .bind(crashes.start)
            .bind(crashes.end)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
            let done = sqlx::query(
                "UPDATE messages SET state = ?2, crashes = crashes + 1,
                        reason = CASE ?2 WHEN 'in_doubt' THEN 'crash' WHEN 'held' THEN 'poison' ELSE 'lead_ended' END,
                        wake_at = CASE ?2 WHEN 'in_doubt' THEN ?3 ELSE wake_at END
                 WHERE state IN ('typing', 'sending', 'in_doubt') AND state = ?1 AND crashes >= ?4 AND crashes < ?5",
            )
            .bind(from)
            .bind(to)
            .bind(now.0 + look_after_ms)
            .bind(crashes.start)
            .bind(crashes.end)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
            if to == "held" { poisoned += done.rows_affected() } else { counts[i] = done.rows_affected() }
        }
    }
    Ok(Recovery { in_doubt: counts[0], rescheduled: counts[1], poisoned })
}

pub(super) async fn note_outage(writer: &Writer, began: Timestamp, ended: Timestamp) -> Result<(), StoreError> {
    writer
        .run(move |c| {
            Box::pin(async move {
                sqlx::query("INSERT INTO outages (instance, began_at, ended_at) VALUES (NULL, ?1, ?2)")
                    .bind(began.0)
                    .bind(ended.0)
                    .execute(c)
                    .await
                    .map_err(StoreError::database("note an outage"))
            })
        })
        .await?;
    Ok(())
}

pub(super) async fn count_ignored_hook(
    writer: &Writer,
    instance: &InstanceName,
    event: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (instance, event) = (instance.clone(), event.chars().take(60).collect::<String>());
    writer
        .run(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO ignored_hooks (instance, event, count, last_at) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT (instance, event) DO UPDATE SET count = count + 1, last_at = excluded.last_at",
                )
                .bind(&*instance.0)
                .bind(event)
                .bind(now.0)
                .execute(c)
                .await
                .map_err(StoreError::database("count an ignored webhook"))?;
                Ok(())
            })
        })
        .await
}

pub(super) async fn remember_standing(
    writer: &Writer,
    instance: &InstanceName,
    state: &'static str,
    reason: Option<String>,
    until: Option<Timestamp>,
    outage: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let instance = instance.clone();
    writer
        .run(move |c| {
            Box::pin(async move {
                let doing = "remember how an instance stands";
                sqlx::query(
                    "UPDATE instances SET state = ?2, reason = ?3, until = ?4, changed_at = ?5 WHERE name = ?1",
                )
                .bind(&*instance.0)
                .bind(state)
                .bind(reason)
                .bind(until.map(|t| t.0))
                .bind(now.0)
                .execute(&mut *c)
                .await
                .map_err(StoreError::database(doing))?;
                if let Some((began, ended)) = outage {
                    sqlx::query("INSERT INTO outages (instance, began_at, ended_at) VALUES (?1, ?2, ?3)")
                        .bind(&*instance.0)
                        .bind(began.0)
                        .bind(ended.0)
                        .execute(&mut *c)
                        .await
                        .map_err(StoreError::database(doing))?;
                }
                Ok(())
            })
        })
        .await
}

pub(super) async fn recent_sends(
    store: &SqliteStore,
    instance: &InstanceName,
    since: Timestamp,
) -> Result<Vec<Departure>, StoreError> {
    let rows = sqlx::query(include_str!("sql/recent_sends.sql"))
        .bind(&*instance.0)
        .bind(since.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("read recent sends"))?;
    let departure = |r: &SqliteRow| {
        let (job, nominal, chat): (Option<String>, Option<i64>, String) = (get(r, 1)?, get(r, 2)?, get(r, 4)?);
        let moment = nominal.unwrap_or(get(r, 3)?);
        let draw = draw_of(store.seed, job.as_deref(), Timestamp(moment), &chat);
        let attempts = get::<i64>(r, 5)?.try_into().unwrap_or(0);
        Ok(Departure { at: Timestamp(get(r, 0)?), draw: draw_after(draw, attempts) })
    };
    rows.iter().map(departure).collect()
}

pub(super) async fn outages(store: &SqliteStore, since: Timestamp) -> Result<Vec<Outage>, StoreError> {
    let rows = sqlx::query("SELECT began_at, ended_at, instance FROM outages WHERE ended_at > ?1 ORDER BY ended_at")
        .bind(since.0)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("read outages"))?;
    let outage = |row: &SqliteRow| {
        Ok(Outage {
            instance: get::<Option<&str>>(row, 2)?.map(InstanceName::new),
            began_at: Timestamp(get(row, 0)?),
            ended_at: Timestamp(get(row, 1)?),
        })
    };
    rows.iter().map(outage).collect()
}

/// Messages expired in one go.
const EXPIRED_AT_ONCE: i64 = 500;

pub(super) async fn expire(store: &SqliteStore, now: Timestamp) -> Result<u64, StoreError> {
    let rows = sqlx::query(include_str!("sql/expiring.sql"))
        .bind(now.0)
        .bind(EXPIRED_AT_ONCE)
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("find what expires"))?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let state = match get::<String>(row, 1)?.as_str() {
            "typing" => State::Typing,
            "held" => State::Held,
            _ => State::Scheduled { wake_at: Timestamp(get(row, 2)?) },
        };
        let (until, event_at): (i64, Option<i64>) = (get(row, 4)?, get(row, 5)?);
        let until = Timestamp(until);
        let (event, note) = if event_at == Some(until.0) {
            (Event::Unsendable { reason: Reason::EventPassed }, format!("the event it reminds of began at {until}"))
        } else {
            (Event::TooLate { reason: Reason::Expires }, format!("it was not to leave after {until}"))
        };
        let Ok(transition) = state::apply(&state, &event) else { continue };
        let attempts = get::<i64>(row, 3)?.try_into().unwrap_or(0);
        let facts = Facts::Judged { due_at: Timestamp(get(row, 6)?), note };
        changes.push(Change { id: id(row, 0)?, attempts, at: now, transition, facts });
    }
    if changes.is_empty() {
        return Ok(0);
    }
    let verdicts = store.writer()?.apply(changes).await?;
    store.writer()?.tell();
    Ok(u64::try_from(verdicts.iter().filter(|v| **v == Verdict::Applied).count()).unwrap_or(0))
}
