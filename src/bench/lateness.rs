//! Messages due one after the other, evenly over a while: how late each arrives at the gateway.

use std::collections::HashMap;

use serde_json::Value;

use crate::bench::drain::{ANOTHER_DAY, per_second};
use crate::bench::figures::{Figures, Lateness};
use crate::bench::machine::{Bench, BenchError, Folder, Hooks, Running, jobs_file};
use crate::bench::supply::{Maker, Rest, chat};
use crate::clock::{self, Stopwatch};
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Opening, SqliteStore};

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) amount: Amount,
    /// How long typing leads each.
    pub(super) lead: Millis,
    pub(super) acks: Acks,
    /// Whether a file is imported and the database read meanwhile.
    pub(super) busy: bool,
}

/// How many are due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    /// So many each second, for as long as is asked for.
    EachSecond(u64),
    /// So many, or as many as are asked for, within one second.
    WithinASecond(Option<u64>),
}

/// Whether each message is told to have reached its device, by a signed webhook of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acks {
    No,
    /// The daemon takes them in.
    Recorded,
    /// Another process turns them away: what they cost the machine without the daemon's part.
    TurnedAway,
}

/// The daemon has started by then, and taken the first messages into hand.
const STARTED_AFTER: Millis = Millis(4_000);

/// Rows that are imported meanwhile, and the first of their numbers.
const IMPORTED: u64 = 300_000;
const IMPORTED_FROM: u64 = 1_000_000;

/// As many in flight as the pace asks for.
const ALL_AT_ONCE: u32 = 100_000;

impl Pace {
    pub(super) const fn of(amount: Amount, lead: Millis) -> Pace {
        Pace { amount, lead, acks: Acks::No, busy: false }
    }

    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let (_elsewhere, hooks) = self.hooks(&folder)?;
        let (_gateway, url) = bench.journaled(&folder, "lateness", hooks.as_ref())?;
        folder.write("jobs.yaml", &jobs_file(&url, bench.instances, ALL_AT_ONCE, hooks.as_ref()))?;
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, self.lead, bench.instances).await?;
        let lead = self.lead;
        let (messages, span) = self.amount.of(bench);
        if let Some(behind) = bench.behind {
            let another_day = clock::now() + ANOTHER_DAY;
            maker.fill(&store, messages..messages + behind, |_| another_day).await?;
            store.checkpoint().await?;
        }
        // Where messages are many instances' they are stored by ones and twos.
        let stored_within = Millis(i64::from(bench.instances));
        let begins = clock::now() + stored_within + STARTED_AFTER + lead;
        let offset = |n: u64| i64::try_from(u128::from(n) * u128::from(span.0.unsigned_abs()) / u128::from(messages));
        let due_at = |n: u64| begins + Millis(offset(n).unwrap_or(i64::MAX));
        maker.fill(&store, 0..messages, due_at).await?;
        let mut daemon = Running::daemon(&folder, hooks.as_ref())?;
        let mut rest = Rest::of(bench.instances);
        let others = async {
            match self.busy {
                true => import_and_read(&folder, begins, begins + span).await.map(Some),
                false => Ok(None),
            }
        };
        let carried = daemon.until("the last message's record", async || rest.until(&store, begins + span).await);
        let (imported, ()) = tokio::try_join!(others, carried)?;
        let mut acks_per_second = None;
        if self.acks == Acks::Recorded {
            daemon.until("the last ack's record", async || Ok(store.acks_recorded().await? >= messages)).await?;
            acks_per_second = Some(per_second(messages, clock::now().since(begins)));
        }
        let due: HashMap<String, Timestamp> = (0..messages).map(|n| (chat(n), due_at(n))).collect();
        let figures = Figures {
            messages,
            late: Lateness::of(lateness(&folder, &due)?),
            per_second: imported,
            cpu_us: daemon.cpu_us().map(|us| us / messages),
            memory_kib: daemon.memory_kib(),
            acks_per_second,
            ..Figures::default()
        };
        store.close().await;
        Ok(figures)
    }

    /// Where webhooks are posted, if any are, and the process that turns them away.
    fn hooks(self, folder: &Folder) -> Result<(Option<Running>, Option<Hooks>), BenchError> {
        match self.acks {
            Acks::No => Ok((None, None)),
            Acks::Recorded => Ok((None, Some(Hooks::new(folder)?))),
            Acks::TurnedAway => {
                let (elsewhere, url) = Running::elsewhere(folder)?;
                Ok((Some(elsewhere), Some(Hooks::new(folder)?.posted_to(&url))))
            }
        }
    }
}

impl Amount {
    /// How many, and over how long.
    fn of(self, bench: &Bench) -> (u64, Millis) {
        match self {
            Amount::EachSecond(rate) => (rate * u64::from(bench.seconds), Millis::seconds(i64::from(bench.seconds))),
            Amount::WithinASecond(messages) => (messages.unwrap_or(bench.messages), Millis::seconds(1)),
        }
    }
}

/// Imports a file from an instant on, and reads what a dashboard shows ten times a second until another one. Answers how many rows
/// a second were imported.
async fn import_and_read(folder: &Folder, from: Timestamp, until: Timestamp) -> Result<u64, BenchError> {
    let mut file = String::from("to,name\n");
    (IMPORTED_FROM..IMPORTED_FROM + IMPORTED)
        .for_each(|number| file += &format!("{},somebody {number}\n", chat(number)));
    folder.write("guests.csv", &file)?;
    drop(file);
    let store = SqliteStore::open(&folder.database(), Opening::Reading).await?;
    clock::sleep(from.since(clock::now()).at_least_zero()).await;
    let importing = async {
        let took = Stopwatch::start();
        Running::import(folder, "guests.csv")?.end().await?;
        Ok::<u64, BenchError>(per_second(IMPORTED, took.elapsed()))
    };
    let reading = async {
        while clock::now() < until {
            store.lanes(clock::now()).await?;
            store.coming(20).await?;
            store.doubt_count().await?;
            clock::sleep(Millis(100)).await;
        }
        Ok::<(), BenchError>(())
    };
    let (rows, ()) = tokio::try_join!(importing, reading)?;
    store.close().await;
    Ok(rows)
}

/// To which chat each send went, and when it arrived by the gateway's journal, in microseconds (Unix).
pub(super) fn sends(folder: &Folder) -> Result<Vec<(String, i64)>, BenchError> {
    let journal = folder.read("journal")?;
    let send = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let sent = entry["path"].as_str() == Some("/v2/send/text");
        sent.then_some((entry["chat"].as_str()?.to_owned(), entry["received_us"].as_i64()?))
    };
    Ok(journal.lines().filter_map(send).collect())
}

/// How late each send arrived, in microseconds.
fn lateness(folder: &Folder, due: &HashMap<String, Timestamp>) -> Result<Vec<i64>, BenchError> {
    let late = |(chat, at): &(String, i64)| due.get(chat).map(|due_at| at - due_at.0 * 1_000);
    Ok(sends(folder)?.iter().filter_map(late).collect())
}
