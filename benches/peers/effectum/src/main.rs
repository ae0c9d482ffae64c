//! effectum 0.7, `synchronous=NORMAL` as it is shipped. `TUNED=1` makes the file one of WAL beforehand, which it means to
//! do and does not (`PRAGMA journal` in place of `journal_mode`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Message, Mode, Order, Said, client, cpu_us, given, now_us, rate, until_posted};
use effectum::{Job, JobRunner, Queue, RunningJob, Worker};
use time::OffsetDateTime;

#[derive(Clone, Debug)]
struct Way {
    client: reqwest::Client,
    server: String,
}

async fn send(job: RunningJob, way: Way) -> Result<(), String> {
    let message: Message = job.json_payload().map_err(|e| e.to_string())?;
    common::post(&way.client, &way.server, &message).await.map_err(|e| e.to_string())
}

fn job(id: u64, due_us: u64) -> anyhow::Result<Job> {
    let builder = Job::builder("send").json_payload(&Message::new(id, due_us))?;
    Ok(match due_us {
        0 => builder.build(),
        us => builder.run_at(OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000)?).build(),
    })
}

const SINGLES: u64 = 500;
const CALLERS: u64 = 64;
const OF_EACH: u64 = 8;

/// How many it stores a second: one after the other, by 64 callers, a thousand at a time.
async fn enqueue(queue: &Arc<Queue>, messages: u64) -> anyhow::Result<[f64; 3]> {
    let began = Instant::now();
    for id in 0..SINGLES {
        queue.add_job(job(id, 0)?).await?;
    }
    let one = rate(SINGLES, began);
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let queue = Arc::clone(queue);
            tokio::spawn(async move {
                for n in 0..OF_EACH {
                    queue.add_job(job(SINGLES + caller * OF_EACH + n, 0)?).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let together = rate(CALLERS * OF_EACH, began);
    let first = SINGLES + CALLERS * OF_EACH;
    let began = Instant::now();
    for from in (first..messages).step_by(1_000) {
        let all = (from..messages.min(from + 1_000)).map(|id| job(id, 0)).collect::<anyhow::Result<_>>()?;
        queue.add_jobs(all).await?;
    }
    Ok([one, together, rate(messages - first, began)])
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let order = Order::given();
    if given("TUNED", 0) == 1 {
        let db = rusqlite::Connection::open(&order.database)?;
        db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    }
    let queue = Arc::new(Queue::new(&order.database).await?);
    if order.backlog > 0 {
        let far = now_us() + 86_400_000_000;
        for from in (0..order.backlog).step_by(5_000) {
            let all = (from..from + 5_000).map(|n| job(order.messages + n, far + n % 864_000 * 1_000_000));
            queue.add_jobs(all.collect::<anyhow::Result<_>>()?).await?;
        }
    }
    let mut stored = None;
    if order.mode == Mode::Drain {
        stored = Some(enqueue(&queue, order.messages).await?);
    }
    let (began, cpu) = (Instant::now(), cpu_us());
    let most = u16::try_from(order.in_flight)?;
    let worker = Worker::builder(&queue, Way { client: client(), server: order.server.clone() })
        .max_concurrency(most)
        .min_concurrency(most / 4 * 3)
        .jobs([JobRunner::builder("send", send).build()])
        .build()
        .await?;
    if order.mode == Mode::Late {
        let begins = now_us() + 3_000_000;
        let all = (0..order.messages).map(|id| job(id, order.due_us(begins, id)));
        queue.add_jobs(all.collect::<anyhow::Result<_>>()?).await?;
    }
    until_posted(&client(), &order.server, order.messages).await?;
    let db = rusqlite::Connection::open(&order.database)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let waited = Instant::now();
    let recorded = loop {
        let done: u64 = db.query_row("SELECT count(*) FROM jobs WHERE status = 'succeeded'", [], |row| row.get(0))?;
        if done >= order.messages || waited.elapsed() > Duration::from_secs(15) {
            break done;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let per_second = rate(order.messages, began);
    let cpu = (cpu_us() - cpu) / order.messages as f64;
    let of = |at: usize| stored.map(|all| all[at]);
    Said {
        per_second: Some(per_second),
        recorded,
        enqueue_one: of(0),
        enqueue_64: of(1),
        enqueue_bulk: of(2),
        cpu_us: Some(cpu),
        ..Said::default()
    }
    .print()?;
    worker.unregister(Some(Duration::from_secs(1))).await?;
    Ok(())
}
