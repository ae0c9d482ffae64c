//! Messages due one after the other, evenly over a while: how late each arrives at the gateway.

use std::collections::HashMap;

use serde_json::Value;

use crate::bench::drain::per_second;
use crate::bench::figures::{Figures, Lateness};
use crate::bench::machine::{Bench, BenchError, Folder, Hooks, Running, jobs_file};
use crate::bench::supply::{Maker, chat, instance};
use crate::clock;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Opening, SqliteStore};

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) messages: u64,
    /// Over how long they are due.
    pub(super) span: Millis,
    /// How long typing leads each.
    pub(super) lead: Millis,
    /// Whether each is told to have reached its device, by a signed webhook of its own.
    pub(super) acks: bool,
}

/// The daemon has started by then, and taken the first messages into hand.
const STARTED_AFTER: Millis = Millis(4_000);

/// As many in flight as the pace asks for.
const ALL_AT_ONCE: u32 = 100_000;

impl Pace {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let hooks = if self.acks { Some(Hooks::new(&folder)?) } else { None };
        let (_gateway, url) = bench.journaled(&folder, "lateness", hooks.as_ref())?;
        folder.write("jobs.yaml", &jobs_file(&url, ALL_AT_ONCE, hooks.as_ref()))?;
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, self.lead).await?;
        let Pace { messages, span, lead, .. } = self;
        let begins = clock::now() + STARTED_AFTER + lead;
        let offset = |n: u64| i64::try_from(u128::from(n) * u128::from(span.0.unsigned_abs()) / u128::from(messages));
        let due_at = |n: u64| begins + Millis(offset(n).unwrap_or(i64::MAX));
        maker.fill(&store, 0..messages, due_at).await?;
        let mut daemon = Running::daemon(&folder, hooks.as_ref())?;
        daemon
            .until("the last message's record", async || Ok(store.rests_until(&instance(), begins + span).await?))
            .await?;
        let mut acks_per_second = None;
        if self.acks {
            daemon.until("the last ack's record", async || Ok(store.acks_recorded().await? >= messages)).await?;
            acks_per_second = Some(per_second(messages, clock::now().since(begins)));
        }
        let due: HashMap<String, Timestamp> = (0..messages).map(|n| (chat(n), due_at(n))).collect();
        let figures = Figures {
            messages,
            late: Lateness::of(lateness(&folder, &due)?),
            cpu_us: daemon.cpu_us().map(|us| us / messages),
            memory_kib: daemon.memory_kib(),
            acks_per_second,
            ..Figures::default()
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
