//! Everything is due when the daemon begins: how many go out a second until the last one is recorded.

use crate::bench::figures::Figures;
use crate::bench::machine::{Bench, BenchError, Running, jobs_file};
use crate::bench::supply::{Maker, Rest};
use crate::clock;
use crate::domain::time::Millis;
use crate::store::{Opening, SqliteStore};

#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) typing: bool,
    /// Messages due another day.
    pub(super) backlog: u64,
}

/// Long enough to be shown, short enough to cost nothing but its request.
const LEAD: Millis = Millis(1);

/// Longer than any run takes.
pub(super) const ANOTHER_DAY: Millis = Millis(30 * 86_400_000);

impl Drain {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let (_gateway, url) = bench.gateway(&folder)?;
        folder.write("jobs.yaml", &jobs_file(&url, bench.instances, bench.in_flight, None))?;
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, if self.typing { LEAD } else { Millis::ZERO }, bench.instances).await?;
        let now = clock::now();
        maker.fill(&store, 0..bench.messages, |_| now).await?;
        let behind = bench.behind.unwrap_or(self.backlog);
        maker.fill(&store, bench.messages..bench.messages + behind, |_| now + ANOTHER_DAY).await?;
        store.checkpoint().await?;
        let began = clock::now();
        let mut daemon = Running::daemon(&folder, None)?;
        let mut rest = Rest::of(bench.instances);
        daemon.until("the last message's record", async || rest.until(&store, now).await).await?;
        let last = clock::now();
        let first = store.first_marked_at().await?;
        let figures = Figures {
            messages: bench.messages,
            per_second: first.map(|f| per_second(bench.messages, last.since(f))),
            cpu_us: daemon.cpu_us().map(|us| us / bench.messages.max(1)),
            memory_kib: daemon.memory_kib(),
            first_ms: first.and_then(|f| u64::try_from(f.since(began).0).ok()),
            ..Figures::default()
        };
        store.close().await;
        Ok(figures)
    }
}

pub(super) fn per_second(count: u64, took: Millis) -> u64 {
    count.saturating_mul(1_000) / u64::try_from(took.0).unwrap_or(0).max(1)
}
