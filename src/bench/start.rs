//! The daemon begins beside many messages of another day: how long until the first one leaves, and what that is made of.

use crate::bench::drain::ANOTHER_DAY;
use crate::bench::figures::{Beginning, Figures};
use crate::bench::machine::{Bench, BenchError, Running, jobs_file};
use crate::bench::supply::{Maker, Rest, instance};
use crate::clock::{self, Stopwatch};
use crate::domain::claim::Wanted;
use crate::domain::time::Millis;
use crate::store::{Opening, SqliteStore, Store};

#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Messages due another day.
    pub(super) backlog: u64,
}

/// Due at once.
const DUE: u64 = 256;

/// Claimed in one go.
const IN_ONE_GO: usize = 256;

impl Start {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let (_gateway, url) = bench.gateway(&folder)?;
        folder.write("jobs.yaml", &jobs_file(&url, bench.instances, bench.in_flight, None))?;
        let took = Stopwatch::start();
        SqliteStore::open(&folder.path("new"), Opening::Daemon).await?.close().await;
        let new = took.elapsed();

        let behind = bench.behind.unwrap_or(self.backlog);
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, Millis::ZERO, bench.instances).await?;
        let now = clock::now();
        maker.fill(&store, 0..DUE, |_| now).await?;
        maker.fill(&store, DUE..DUE + behind, |_| now + ANOTHER_DAY).await?;
        store.checkpoint().await?;
        store.close().await;

        let took = Stopwatch::start();
        let store = SqliteStore::open(&folder.database(), Opening::Daemon).await?;
        let open = took.elapsed();
        let took = Stopwatch::start();
        store.claim(&instance(0), now, &Wanted::up_to(now, IN_ONE_GO, Vec::new())).await?;
        let claim = took.elapsed();
        let took = Stopwatch::start();
        store.check_whole(|| true).await?;
        let check = took.elapsed();
        store.close().await;

        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let began = clock::now();
        let mut daemon = Running::daemon(&folder, None)?;
        let mut rest = Rest::of(bench.instances);
        daemon.until("the last message's record", async || rest.until(&store, now).await).await?;
        let first = store.first_marked_at().await?;
        store.close().await;
        Ok(Figures {
            messages: DUE,
            memory_kib: daemon.memory_kib(),
            first_ms: first.and_then(|f| u64::try_from(f.since(began).0).ok()),
            beginning: Some(Beginning { new, open, claim, check }),
            ..Figures::default()
        })
    }
}
