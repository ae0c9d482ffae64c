//! What every peer is given (by its environment) and what it says at its end (one line of JSON).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What a peer is to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// All messages are due at once.
    Drain,
    /// They are due one after the other over `span`.
    Late,
}

/// What a peer is to do.
#[derive(Clone, Debug)]
pub struct Order {
    pub mode: Mode,
    /// Messages.
    pub messages: u64,
    /// Messages in flight at a time.
    pub in_flight: usize,
    /// Over how many seconds they are due, in mode `late`.
    pub span_s: u64,
    /// Messages of another day beside them.
    pub backlog: u64,
    /// The database's file.
    pub database: PathBuf,
    /// Where the server listens.
    pub server: String,
}

/// A value of the environment.
pub fn given<T: FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

impl Order {
    pub fn given() -> Order {
        let order = Order {
            mode: if given("MODE", String::new()) == "late" { Mode::Late } else { Mode::Drain },
            messages: given("MESSAGES", 20_000),
            in_flight: given("IN_FLIGHT", 256),
            span_s: given("SPAN_S", 20),
            backlog: given("BACKLOG", 0),
            database: given("DATABASE", PathBuf::from("peer.db")),
            server: given("SERVER", "http://127.0.0.1:9700".to_owned()),
        };
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut file = order.database.clone().into_os_string();
            file.push(end);
            let _ = std::fs::remove_file(file);
        }
        order
    }

    /// When message `n` is due if the first one is at `begins`, in microseconds since 1970.
    pub fn due_us(&self, begins: u64, n: u64) -> u64 {
        begins + n * self.span_s * 1_000_000 / self.messages
    }
}

/// A message as every peer posts it.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Message {
    pub id: u64,
    /// Microseconds since 1970; 0 if nobody asks how late it is.
    pub due_us: u64,
    pub chat_id: i64,
    pub text: String,
}

impl Message {
    pub fn new(id: u64, due_us: u64) -> Message {
        Message { id, due_us, chat_id: -1_001_234_567_890, text: "m".repeat(215) }
    }
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_micros() as u64)
}

/// The client all peers in Rust post with.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().pool_max_idle_per_host(4_096).tcp_nodelay(true).build().expect("no TLS, nothing to fail")
}

/// Posts a message and reads the whole answer.
pub async fn post(client: &reqwest::Client, server: &str, message: &Message) -> anyhow::Result<()> {
    let answer = client.post(format!("{server}/m")).json(message).send().await?.error_for_status()?;
    answer.bytes().await?;
    Ok(())
}

/// Waits until the server has got so many messages, or nothing has moved for 40 s.
pub async fn until_posted(client: &reqwest::Client, server: &str, count: u64) -> anyhow::Result<()> {
    let mut seen = (0, Instant::now());
    loop {
        let now: u64 = client.get(format!("{server}/count")).send().await?.text().await?.parse()?;
        if now >= count {
            return Ok(());
        }
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        anyhow::ensure!(seen.1.elapsed() < Duration::from_secs(40), "nothing has moved for 40 s at {now} of {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a peer says at its end. A figure that it does not have is absent.
#[derive(Clone, Default, Serialize, Debug)]
pub struct Said {
    /// Messages a second from the start of the worker to the last record.
    pub per_second: Option<f64>,
    /// Messages that its database calls done.
    pub recorded: u64,
    /// Stored a second, one after the other; 64 at a time; a thousand in one call.
    pub enqueue_one: Option<f64>,
    pub enqueue_64: Option<f64>,
    pub enqueue_bulk: Option<f64>,
    /// Processor time for each message, in microseconds.
    pub cpu_us: Option<f64>,
    /// Memory at its highest, in MiB.
    pub memory_mib: u64,
}

impl Said {
    pub fn print(mut self) -> anyhow::Result<()> {
        self.memory_mib = memory_mib();
        println!("{}", serde_json::to_string(&self)?);
        Ok(())
    }
}

/// Processor time of this process so far, in microseconds.
pub fn cpu_us() -> f64 {
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: the place is a whole `rusage`, and the call writes nothing else.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let us = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// So many of something a second.
pub fn rate(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}
