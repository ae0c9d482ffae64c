//! Messages due one after the other at a steady pace: how late each arrives at the gateway.

use std::collections::HashMap;

use serde_json::Value;

use crate::bench::figures::{Figures, Lateness};
use crate::bench::machine::{Bench, BenchError, Folder, Running, jobs_file};
use crate::bench::supply::{Maker, chat, instance};
use crate::clock;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Opening, SqliteStore};

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) per_second: u64,
    pub(super) typing: bool,
}

/// The daemon has started and taken the first messages into hand by then.
const BEGINS_AFTER: Millis = Millis(6_000);

/// For so long messages are due.
const SPAN: Millis = Millis(10_000);

const LEAD: Millis = Millis(2_000);

/// As many in flight as the pace asks for.
const ALL_AT_ONCE: u32 = 100_000;

impl Pace {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let (_gateway, url) = Running::gateway(&folder, true)?;
        folder.write("jobs.yaml", &jobs_file(&url, ALL_AT_ONCE))?;
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, if self.typing { LEAD } else { Millis::ZERO }).await?;
        let messages = self.per_second * u64::try_from(SPAN.0 / 1_000).unwrap_or(0);
        let begins = clock::now() + BEGINS_AFTER;
        let due_at = |n: u64| begins + Millis(i64::try_from(n * 1_000 / self.per_second).unwrap_or(i64::MAX));
        maker.fill(&store, 0..messages, due_at).await?;
        let mut daemon = Running::daemon(&folder)?;
        daemon
            .until("the last message's record", async || Ok(store.rests_until(&instance(), begins + SPAN).await?))
            .await?;
        let due: HashMap<String, Timestamp> = (0..messages).map(|n| (chat(n), due_at(n))).collect();
        let figures = Figures {
            messages,
            per_second: None,
            late: Lateness::of(lateness(&folder, &due)?),
            cpu_us: daemon.cpu_us().map(|us| us / messages),
            memory_kib: daemon.memory_kib(),
            first_ms: None,
        };
        store.close().await;
        Ok(figures)
    }
}

/// How late each send arrived by the gateway's journal, in microseconds.
fn lateness(folder: &Folder, due: &HashMap<String, Timestamp>) -> Result<Vec<i64>, BenchError> {
    let journal = folder.read("journal")?;
    let late = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let sent = entry["path"].as_str() == Some("/v2/send/text");
        let due_at = due.get(entry["chat"].as_str()?)?;
        sent.then_some(entry["received_us"].as_i64()? - due_at.0 * 1_000)
    };
    Ok(journal.lines().filter_map(late).collect())
}
