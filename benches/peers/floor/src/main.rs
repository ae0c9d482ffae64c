//! The floor: a heap of due instants, a writer that commits what has come together, and a client. It keeps what the
//! program keeps (a durable mark before the send, both answers) and does nothing else: no accounts, no pacing, no
//! retries, no doubts, no jobs.
//!
//! `CLIENT=hyper` posts with hyper-util in place of reqwest, `TYPING=1` posts typing first, `INSERTS=1` only measures
//! how many rows a second a bare connection stores. Two of its parts can be left out, to know what the other costs alone:
//! with `CLIENT=none` nothing is posted (`ANSWER_BYTES` is the length of the answers kept), with `WRITER=none` nothing is
//! written.

mod http;
mod inserts;
mod writer;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Mode, Order, Said, cpu_us, given, now_us, rate};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor, Row};
use tokio::sync::Semaphore;

use crate::http::Client;
use crate::writer::{Kind, Writer};

const TABLES: &str = "CREATE TABLE message(id INTEGER PRIMARY KEY, chat_id INTEGER NOT NULL, text TEXT NOT NULL, \
    state INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL, lead INTEGER NOT NULL DEFAULT 0, marked_at INTEGER, sent_at INTEGER); \
    CREATE INDEX waiting ON message(due) WHERE state = 0; \
    CREATE TABLE response(id INTEGER PRIMARY KEY, message INTEGER NOT NULL, kind INTEGER NOT NULL, status INTEGER, at INTEGER, body TEXT);";

const FILL: &str = "INSERT INTO message(id, chat_id, text, due, lead) \
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1) \
    SELECT ?2 + i, i % 1000, ?3, ?4 + i * ?5 / ?1, ?6 FROM n";

/// A mark is made so long before its message is due.
const MARK_AHEAD_US: i64 = 20_000;

async fn open(order: &Order) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(&order.database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "4000")
        .statement_cache_capacity(200)
        .command_buffer_size(4_096)
        .row_buffer_size(1_024);
    Ok(options.connect().await?)
}

async fn fill(
    db: &mut SqliteConnection,
    count: u64,
    first: u64,
    due: i64,
    span_us: i64,
    lead_us: i64,
) -> anyhow::Result<()> {
    sqlx::query(FILL)
        .bind(count as i64)
        .bind(first as i64)
        .bind("m".repeat(215))
        .bind(due)
        .bind(span_us)
        .bind(lead_us)
        .execute(db)
        .await?;
    Ok(())
}

async fn until(at_us: i64) {
    let wait = at_us - now_us() as i64;
    if wait > 0 {
        tokio::time::sleep(Duration::from_micros(wait as u64)).await;
    }
}

/// A message in hand.
struct Due {
    id: i64,
    chat: i64,
    due_us: i64,
    text: String,
}

/// What all messages share.
struct Way {
    client: Client,
    writer: Writer,
    typing: bool,
    timed: bool,
    lead_us: i64,
}

impl Way {
    async fn carry(&self, due: Due) {
        let at = if self.timed { due.due_us } else { 0 };
        let (status, body) = if self.typing {
            let typing = serde_json::json!({ "chat_id": due.chat, "id": due.id, "due_us": (at - self.lead_us).max(0), "action": "typing" });
            self.client.post("/t", typing.to_string()).await
        } else {
            (0, bytes::Bytes::new())
        };
        until(at - MARK_AHEAD_US).await;
        self.writer.write(due.id, Kind::Mark, status, body).await;
        until(at).await;
        let message = serde_json::json!({ "chat_id": due.chat, "id": due.id, "due_us": at, "text": due.text });
        let (status, body) = self.client.post("/m", message.to_string()).await;
        self.writer.write(due.id, Kind::Record, status, body).await;
    }
}

async fn run() -> anyhow::Result<()> {
    let order = Order::given();
    let mut db = open(&order).await?;
    if given("INSERTS", 0) == 1 {
        return inserts::measure(&mut db, order.messages).await;
    }
    db.execute(TABLES).await?;
    let timed = order.mode == Mode::Late;
    let lead_us: i64 = given("LEAD_MS", 0) * 1_000;
    let begins = now_us() as i64 + if timed { 3_000_000 + lead_us } else { 0 };
    let span_us = if timed { order.span_s as i64 * 1_000_000 } else { 0 };
    fill(&mut db, order.messages, 0, begins, span_us, lead_us).await?;
    if order.backlog > 0 {
        fill(&mut db, order.backlog, order.messages, begins + 86_400_000_000, 864_000_000_000, lead_us).await?;
    }
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;

    let waiting = sqlx::query("SELECT due - lead, id FROM message WHERE state = 0 AND due < ?")
        .bind(begins + span_us + 3_600_000_000)
        .fetch_all(&mut db)
        .await?;
    let mut heap: BinaryHeap<Reverse<(i64, i64)>> = waiting.iter().map(|r| Reverse((r.get(0), r.get(1)))).collect();
    let mut reader = open(&order).await?;
    let (writer, written) = Writer::start(db);
    let way =
        Arc::new(Way { client: Client::new(&order.server), writer, typing: given("TYPING", 0) == 1, timed, lead_us });
    let room = Arc::new(Semaphore::new(order.in_flight));
    let (began, cpu) = (Instant::now(), cpu_us());
    let mut running = tokio::task::JoinSet::new();
    while let Some(Reverse((at, _))) = heap.peek().copied() {
        until(at).await;
        let now = now_us() as i64;
        let mut ids = Vec::new();
        while ids.len() < room.available_permits().clamp(1, 256)
            && let Some(Reverse((at, id))) = heap.peek()
            && *at <= now
        {
            ids.push(*id);
            heap.pop();
        }
        let rows =
            sqlx::query("SELECT id, chat_id, text, due FROM message WHERE id IN (SELECT value FROM json_each(?))")
                .bind(format!("{ids:?}"))
                .fetch_all(&mut reader)
                .await?;
        for row in rows {
            let place = Arc::clone(&room).acquire_owned().await?;
            let due = Due { id: row.get(0), chat: row.get(1), text: row.get(2), due_us: row.get(3) };
            let way = Arc::clone(&way);
            running.spawn(async move {
                way.carry(due).await;
                drop(place);
            });
        }
        while let Some(done) = running.try_join_next() {
            done?;
        }
    }
    while let Some(done) = running.join_next().await {
        done?;
    }
    let per_second = rate(order.messages, began);
    let cpu = (cpu_us() - cpu) / order.messages as f64;
    drop(way);
    let mut db = written.await?;
    let done: i64 = sqlx::query_scalar("SELECT count(*) FROM message WHERE state = 2").fetch_one(&mut db).await?;
    Said { per_second: Some(per_second), recorded: done as u64, cpu_us: Some(cpu), ..Said::default() }.print()
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(run()).await? })
}
