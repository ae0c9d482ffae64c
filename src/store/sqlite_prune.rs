//! Forgetting what was settled long ago, in steps so small that no due message waits for them.

use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::clock::{self, Stopwatch};
use crate::domain::id::InstanceName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite::connect;
use crate::store::{ImportLock, SqliteStore, StoreError};

/// Most rows forgotten in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 500;

/// Fewest rows forgotten in one transaction.
const FORGOTTEN_AT_LEAST: i64 = 25;

/// Holds of a message that was settled before ?1 (before ?2 where it failed or expired), that is followed no more and follows nothing
/// that is, behind which nothing of its sequence waits or may get another chance, which nothing waits to follow, of whose occurrence
/// nothing is being planned, and that counts for no pace and no `frequency` any more.
fn settled(forget: &Forget) -> String {
    let left = "coalesce(sent_at, first_marked_at, 0)";
    let often = format!("(counted IS NULL OR {left} < {})", forget.often_from.0);
    let paces = forget.paces_from.iter().map(|(instance, from)| {
        format!(" AND (instance <> '{}' OR {left} < {})", instance.0.replace('\'', "''"), from.0)
    });
    let counts_no_more: String = std::iter::once(often).chain(paces).collect();
    format!(
        "(state IN ('cancelled', 'skipped') AND due_at < ?1 AND created_at < ?1
          OR state = 'sent' AND follow_at IS NULL AND due_at < ?1 AND created_at < ?1
          OR state IN ('failed', 'expired') AND follow_at IS NULL AND due_at < ?2 AND created_at < ?2)
         AND {counts_no_more}
         AND NOT EXISTS (SELECT 1 FROM messages AS n
                         WHERE n.occurrence = messages.occurrence AND n.chat = messages.chat AND n.step > messages.step
                           AND n.reason IS NOT 'replaced' AND n.state <> 'sent')
         AND NOT EXISTS (SELECT 1 FROM messages AS n
                         WHERE n.follows = messages.id
                           AND n.state IN ('scheduled', 'typing', 'sending', 'in_doubt', 'held'))
         AND NOT EXISTS (SELECT 1 FROM messages AS n WHERE n.id = messages.follows AND n.follow_at IS NOT NULL)
         AND NOT EXISTS (SELECT 1 FROM occurrences AS o
                         WHERE o.id = messages.occurrence AND (o.renew > 0 OR o.state = 'planning'))"
    )
}

/// What one step may take: less than the time by which a mark is begun before its slot, even twice in a row.
const STEP: Millis = Millis(5);

/// After a step the writer is left alone at least this long.
const PAUSE: Millis = Millis(10);

/// How many rows are forgotten in the next step, as the last one took: steps stay short on slow disks too.
fn next_step(rows: i64, took: Millis) -> i64 {
    let wanted = if took > STEP { rows / 2 } else { rows + rows / 4 + 1 };
    wanted.clamp(FORGOTTEN_AT_LEAST, FORGOTTEN_AT_ONCE)
}

/// What was made so lately may not be seen yet by the look that found something unused.
const LATELY: Millis = Millis(60_000);

/// What pruning did, or would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// Settled messages, with everything about them.
    pub messages: u64,
    /// Occurrences none of whose messages is left.
    pub occurrences: u64,
    /// Lists of recipients that nothing uses any more.
    pub audiences: u64,
    /// Contents that nothing uses any more.
    pub contents: u64,
}

/// What is old enough to be forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forget {
    /// Messages that were due and made before this instant.
    pub before: Timestamp,
    /// The same for those that failed or expired.
    pub failed_before: Timestamp,
    /// What left since then counts for a `frequency` still, where it counts at all, and stays.
    pub often_from: Timestamp,
    /// What left through an instance since then counts for its pace still, and stays.
    pub paces_from: Vec<(InstanceName, Timestamp)>,
}

impl Forget {
    /// The later of the two instants, as the id of a message made then: ids sort by when they were made.
    fn below(&self) -> String {
        id_at(Timestamp(self.before.max(self.failed_before).0.saturating_add(1_000)))
    }
}

/// The lowest id of a message made at an instant, in hex.
fn id_at(at: Timestamp) -> String {
    format!("{:012X}{:020}", at.0.max(0), 0)
}

impl SqliteStore {
    /// Forgets messages that were settled and due long ago, with their attempts and acks; then what nothing refers to
    /// any more. What waits, is out or is in doubt is never touched. Rows are looked for beside the writer, and after
    /// every step the writer is left alone at least as long as the step took.
    ///
    /// # Errors
    /// When the database cannot be written; what was forgotten so far stays forgotten.
    pub async fn prune(&self, forget: Forget, dry_run: bool, now: Timestamp) -> Result<Pruned, StoreError> {
        if dry_run {
            let statement = format!("SELECT count(*) FROM messages WHERE id < unhex(?3) AND {}", settled(&forget));
            let messages: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .bind(forget.before.0)
                .bind(forget.failed_before.0)
                .bind(forget.below())
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::database("count what is old"))?;
            return Ok(Pruned { messages: messages.try_into().unwrap_or(0), ..Pruned::default() });
        }
        let mut pruned = Pruned::default();
        let mut after = String::new();
        let mut rows = FORGOTTEN_AT_LEAST;
        loop {
            let statement = format!(
                "SELECT hex(id) FROM messages WHERE id < unhex(?3) AND id > unhex(?4) AND {} ORDER BY id LIMIT ?5",
                settled(&forget)
            );
            let ids: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .bind(forget.before.0)
                .bind(forget.failed_before.0)
                .bind(forget.below())
                .bind(after)
                .bind(rows)
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("find what is old"))?;
            let Some(last) = ids.last() else { break };
            after = last.clone();
            let took = Stopwatch::start();
            let forget = forget.clone();
            pruned.messages += self.writer()?.run(move |c| Box::pin(forget_some(c, ids, forget))).await?;
            rows = next_step(rows, took.elapsed());
            clock::sleep(took.elapsed().max(PAUSE)).await;
        }
        let quiet_from = now - self.longest_quiet().await?;
        self.forget_replies(forget.before.min(self.answers_count_from().await?).min(quiet_from)).await?;
        self.forget_unused(&mut pruned, forget.before, now).await?;
        Ok(pruned)
    }

    /// Since when answers may end a sequence of which something waits.
    async fn answers_count_from(&self) -> Result<Timestamp, StoreError> {
        let first: Option<i64> = sqlx::query_scalar(
            "SELECT min(f.sent_at) FROM (
                 SELECT occurrence, chat FROM messages WHERE state = 'scheduled' AND step > 0
                 UNION ALL
                 SELECT occurrence, chat FROM messages WHERE state IN ('typing', 'sending', 'in_doubt') AND step > 0
                 UNION ALL
                 SELECT occurrence, chat FROM messages WHERE state = 'held' AND step > 0) AS m
             CROSS JOIN messages AS f ON f.occurrence = m.occurrence AND f.chat = m.chat AND f.step = 0
             WHERE f.reason IS NOT 'replaced'",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("find which answers count still"))?;
        Ok(first.map_or(Timestamp::MAX, Timestamp))
    }

    /// The longest span over which a `frequency` counts what was sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn longest_frequency(&self) -> Result<Millis, StoreError> {
        let longest: Option<i64> = sqlx::query_scalar(
            "SELECT max(c.manner ->> '$.frequency.within') FROM jobs AS j JOIN contents AS c ON c.id = j.content",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("find how far back is counted"))?;
        Ok(Millis(longest.unwrap_or(0)))
    }

    /// For how long a reply keeps messages away from who wrote it, at the longest.
    async fn longest_quiet(&self) -> Result<Millis, StoreError> {
        let longest: Option<i64> = sqlx::query_scalar("SELECT max(manner ->> '$.quiet_after_reply') FROM contents")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("find how far back replies count"))?;
        Ok(Millis(longest.unwrap_or(0)))
    }

    /// Forgets that somebody wrote before an instant.
    async fn forget_replies(&self, before: Timestamp) -> Result<(), StoreError> {
        loop {
            let took = Stopwatch::start();
            let done = self
                .writer()?
                .run(move |c| {
                    Box::pin(async move {
                        sqlx::query(
                            "DELETE FROM replies WHERE (instance, gateway_id) IN
                               (SELECT instance, gateway_id FROM replies WHERE at < ?1 LIMIT ?2)",
                        )
                        .bind(before.0)
                        .bind(FORGOTTEN_AT_ONCE)
                        .execute(c)
                        .await
                        .map_err(StoreError::database("forget old replies"))
                    })
                })
                .await?;
            if done.rows_affected() == 0 {
                return Ok(());
            }
            clock::sleep(took.elapsed().max(PAUSE)).await;
        }
    }

    /// Forgets what no message refers to any more. The references to messages have no index of their own, so each kind
    /// is looked for in one pass over them, beside the writer; before a row goes, those made since are looked at. An
    /// own connection does it, which does not check references row by row.
    async fn forget_unused(&self, pruned: &mut Pruned, before: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        // What an import that goes on will refer to is not referred to yet.
        let Ok(_lock) = ImportLock::take(self.path()) else { return Ok(()) };
        let lately = id_at(now - LATELY);
        let mut connection = connect(self.path(), false).await?;
        let doing = "forget what is no longer used";
        sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut connection).await.map_err(StoreError::database(doing))?;
        let mut done = Ok(());
        for step in STEPS {
            match forget_kind(&mut connection, step, before, &lately).await {
                Ok(n) => match step.kind {
                    Kind::Import => {}
                    Kind::Occurrence => pruned.occurrences += n,
                    Kind::Audience => pruned.audiences += n,
                    Kind::Content => pruned.contents += n,
                },
                Err(e) => done = Err(e),
            }
        }
        let _ = connection.close().await;
        done
    }
}

async fn forget_some(connection: &mut SqliteConnection, ids: Vec<String>, forget: Forget) -> Result<u64, StoreError> {
    let doing = "forget old messages";
    // Somebody may have given one another chance meanwhile. What is to be deleted for everyone is still needed.
    let statement = format!(
        "SELECT hex(id) FROM messages WHERE id IN (SELECT unhex(value) FROM json_each(?3)) AND {}
         AND NOT EXISTS (SELECT 1 FROM recalls AS r WHERE r.message = messages.id AND r.state = 'open')",
        settled(&forget)
    );
    let settled: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(forget.before.0)
        .bind(forget.failed_before.0)
        .bind(json!(ids).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    // What it took the place of would be planned once more where its occurrence is, and what followed it would wait for it.
    let before: Vec<String> = sqlx::query_scalar(
        "SELECT hex(r.id) FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = unhex(j.value)
         CROSS JOIN messages AS r ON r.occurrence = m.occurrence AND r.chat = m.chat AND r.step >= m.step
         WHERE r.reason = 'replaced' AND r.state = 'cancelled'",
    )
    .bind(json!(settled).to_string())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let all: std::collections::BTreeSet<String> = settled.into_iter().chain(before).collect();
    let list = json!(all).to_string();
    for statement in [
        // Who has none of it from now on may have had one.
        "UPDATE occurrences SET forgotten = 1
         WHERE forgotten = 0 AND id IN (SELECT occurrence FROM messages WHERE id IN (SELECT unhex(value) FROM json_each(?1)))",
        "DELETE FROM recalls WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM acks WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM events WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM doubts WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM evidence WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM results WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM attempts WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM messages WHERE id IN (SELECT unhex(value) FROM json_each(?1))",
    ] {
        sqlx::query(statement)
            .bind(list.clone())
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    }
    Ok(u64::try_from(all.len()).unwrap_or(0))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Import,
    Occurrence,
    Audience,
    Content,
}

/// How one kind of row is forgotten: found by its id, and gone where it is still unused. The latest row of a kind stays: SQLite gives
/// its number to the next one otherwise, and whoever knows what that number meant takes the one for the other.
#[derive(Clone, Copy)]
struct Step {
    kind: Kind,
    find: &'static str,
    /// Bound: a JSON list of ids, and the id from which on messages are looked at again.
    forget: &'static str,
}

const STEPS: [Step; 4] = [
    Step {
        kind: Kind::Import,
        find: "SELECT occurrence FROM imports WHERE done_at < ?1
               AND occurrence NOT IN (SELECT occurrence FROM messages WHERE occurrence IS NOT NULL)",
        forget: "DELETE FROM imports WHERE occurrence IN (SELECT value FROM json_each(?1))
                 AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id >= unhex(?2) AND m.occurrence = imports.occurrence)",
    },
    // The latest occurrence of a job stays: by it a changed job knows where it goes on.
    Step {
        kind: Kind::Occurrence,
        find: "SELECT id FROM occurrences WHERE state IN ('planned', 'missed') AND nominal_at < ?1
               AND id NOT IN (SELECT occurrence FROM messages WHERE occurrence IS NOT NULL)
               AND id NOT IN (SELECT occurrence FROM imports)
               AND id < (SELECT max(id) FROM occurrences)
               AND nominal_at < (SELECT max(o.nominal_at) FROM occurrences AS o WHERE o.job = occurrences.job)",
        forget: "DELETE FROM occurrences WHERE id IN (SELECT value FROM json_each(?1))
                 AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id >= unhex(?2) AND m.occurrence = occurrences.id)",
    },
    // Put out of everybody's sight first, then emptied step by step.
    Step {
        kind: Kind::Audience,
        find: "SELECT id FROM audiences WHERE ?1 IS NOT NULL AND complete = 1
               AND id < (SELECT max(id) FROM audiences)
               AND id NOT IN (SELECT audience FROM messages WHERE audience IS NOT NULL)
               AND id NOT IN (SELECT audience FROM jobs)
               AND id NOT IN (SELECT audience FROM imports WHERE audience IS NOT NULL)",
        forget: "UPDATE audiences SET complete = 2, fingerprint = CAST('forgotten ' || id AS BLOB)
                 WHERE id IN (SELECT value FROM json_each(?1)) AND id NOT IN (SELECT audience FROM jobs)
                 AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id >= unhex(?2) AND m.audience = audiences.id)",
    },
    Step {
        kind: Kind::Content,
        find: "SELECT id FROM contents WHERE ?1 IS NOT NULL
               AND id < (SELECT max(id) FROM contents)
               AND id NOT IN (SELECT content FROM messages)
               AND id NOT IN (SELECT content FROM jobs)
               AND id NOT IN (SELECT t.value FROM jobs AS j, json_each(j.then_contents) AS t)",
        forget: "DELETE FROM contents WHERE id IN (SELECT value FROM json_each(?1))
                 AND id NOT IN (SELECT content FROM jobs)
                 AND id NOT IN (SELECT t.value FROM jobs AS j, json_each(j.then_contents) AS t)
                 AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id >= unhex(?2) AND m.content = contents.id)",
    },
];

async fn forget_kind(
    connection: &mut SqliteConnection,
    step: Step,
    before: Timestamp,
    lately: &str,
) -> Result<u64, StoreError> {
    let doing = StoreError::database("find what is no longer used");
    let found: Vec<i64> =
        sqlx::query_scalar(step.find).bind(before.0).fetch_all(&mut *connection).await.map_err(doing)?;
    let mut forgotten = 0;
    for ids in found.chunks(usize::try_from(FORGOTTEN_AT_ONCE).unwrap_or(usize::MAX)) {
        let took = Stopwatch::start();
        let done = sqlx::query(step.forget)
            .bind(json!(ids).to_string())
            .bind(lately.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("forget what is no longer used"))?;
        forgotten += done.rows_affected();
        clock::sleep(took.elapsed().max(PAUSE)).await;
    }
    if step.kind == Kind::Audience {
        empty_forgotten(connection).await?;
    }
    Ok(forgotten)
}

/// Drops the recipients of forgotten lists, then the lists.
async fn empty_forgotten(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let doing = "forget lists of recipients";
    let lists: Vec<i64> = sqlx::query_scalar("SELECT id FROM audiences WHERE complete = 2")
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    for list in lists {
        let mut rows = FORGOTTEN_AT_LEAST;
        loop {
            let took = Stopwatch::start();
            let done = sqlx::query(
                "DELETE FROM recipients WHERE audience = ?1 AND place IN
                   (SELECT place FROM recipients WHERE audience = ?1 LIMIT ?2)",
            )
            .bind(list)
            .bind(rows)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
            if done.rows_affected() == 0 {
                break;
            }
            rows = next_step(rows, took.elapsed());
            clock::sleep(took.elapsed().max(PAUSE)).await;
        }
        sqlx::query("DELETE FROM audiences WHERE id = ?1 AND complete = 2")
            .bind(list)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database(doing))?;
    }
    Ok(())
}
