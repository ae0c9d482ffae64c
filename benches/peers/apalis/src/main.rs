//! apalis 1.0 on SQLite, `synchronous=NORMAL` as it is shipped. `SHIPPED=1` leaves its index `LIdx`, by which its
//! batches of acknowledgements visit every job that the worker ever had; without it the index is dropped.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use apalis_core::task::builder::TaskBuilder;
use apalis_sqlite::{Config, SqliteStorage};
use common::{Message, Mode, Order, Said, client, cpu_us, given, now_us, rate, until_posted};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::time::{Interval, MissedTickBehavior};

/// Its own strategy by interval lost wake-ups when it was tried, so that jobs came seconds late: this one does not.
struct Ticks(Interval);

impl PollStrategy for Ticks {
    fn poll_drive(&mut self, context: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut ticked = false;
        while self.0.poll_tick(context).is_ready() {
            ticked = true;
        }
        if ticked { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}

async fn send(message: Message, client: Data<reqwest::Client>, server: Data<String>) -> Result<(), BoxDynError> {
    common::post(&client, &server, &message).await?;
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let order = Order::given();
    let options = SqliteConnectOptions::new()
        .filename(&order.database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(30))
        .synchronous(SqliteSynchronous::Normal);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
    SqliteStorage::setup(&pool).await?;
    let config = Config::default().queue("send").batch_size(order.in_flight);
    let mut storage: SqliteStorage<Message> = SqliteStorage::new(&pool).with_config(config);

    let (mut one, mut bulk) = (None, None);
    match order.mode {
        Mode::Drain => {
            let singles = 500.min(order.messages);
            let began = Instant::now();
            for id in 0..singles {
                storage.push(Message::new(id, 0)).await?;
            }
            one = Some(rate(singles, began));
            let began = Instant::now();
            for from in (singles..order.messages).step_by(1_000) {
                let all = (from..order.messages.min(from + 1_000)).map(|id| Message::new(id, 0)).collect();
                storage.push_bulk(all).await?;
            }
            bulk = Some(rate(order.messages - singles, began));
        }
        Mode::Late => {
            let begins = now_us() + 3_000_000;
            for id in 0..order.messages {
                let due = order.due_us(begins, id);
                storage
                    .push_task(TaskBuilder::new(Message::new(id, due)).run_at_timestamp(due / 1_000_000).build())
                    .await?;
            }
        }
    }
    if given("SHIPPED", 0) == 0 {
        sqlx::query("DROP INDEX IF EXISTS LIdx").execute(&pool).await?;
    }

    let mut ticks = tokio::time::interval(Duration::from_millis(if order.mode == Mode::Late { 50 } else { 5 }));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (began, cpu) = (Instant::now(), cpu_us());
    let worker = WorkerBuilder::new("worker")
        .backend(storage.poll_with_strategy(Ticks(ticks)))
        .data(client())
        .data(order.server.clone())
        .concurrency(order.in_flight)
        .build(send);
    let running = tokio::spawn(async move { worker.run().await });
    until_posted(&client(), &order.server, order.messages).await?;
    let waited = Instant::now();
    let recorded = loop {
        let done: i64 = sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status = 'Done'").fetch_one(&pool).await?;
        if done as u64 >= order.messages || waited.elapsed() > Duration::from_secs(15) {
            break done as u64;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let per_second = rate(order.messages, began);
    let cpu = (cpu_us() - cpu) / order.messages as f64;
    Said {
        per_second: Some(per_second),
        recorded,
        enqueue_one: one,
        enqueue_bulk: bulk,
        cpu_us: Some(cpu),
        ..Said::default()
    }
    .print()?;
    running.abort();
    Ok(())
}
