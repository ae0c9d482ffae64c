//! Nothing is due: what waiting costs.

use std::fmt::Write;

use crate::bench::drain::ANOTHER_DAY;
use crate::bench::figures::Figures;
use crate::bench::machine::{Bench, BenchError, Running, jobs_file};
use crate::bench::supply::Maker;
use crate::clock;
use crate::domain::time::Millis;
use crate::store::{Opening, SqliteStore};

#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// Cron jobs, each due once a day.
    pub(super) jobs: usize,
    /// Messages due another day.
    pub(super) backlog: u64,
}

/// After its jobs are stored the daemon has planned and compared what there is within this.
const SETTLES_WITHIN: Millis = Millis::seconds(20);

/// For so long it is looked at.
const SPAN: Millis = Millis::seconds(20);

impl Idle {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let (_gateway, url) = bench.gateway(&folder)?;
        folder.write(
            "jobs.yaml",
            &(jobs_file(&url, bench.instances, bench.in_flight, None) + &daily_jobs(self.jobs, bench.instances)),
        )?;
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, Millis::ZERO, bench.instances).await?;
        let now = clock::now();
        maker.fill(&store, 0..bench.behind.unwrap_or(self.backlog), |_| now + ANOTHER_DAY).await?;
        store.checkpoint().await?;
        let mut daemon = Running::daemon(&folder, None)?;
        daemon.until("the last job's storing", async || Ok(store.job_names().await?.len() == self.jobs)).await?;
        clock::sleep(SETTLES_WITHIN).await;
        let before = daemon.cpu_us();
        clock::sleep(SPAN).await;
        let busy = daemon.cpu_us().zip(before).map(|(after, before)| after - before);
        store.close().await;
        let span_us = SPAN.0.unsigned_abs() * 1_000;
        Ok(Figures {
            messages: bench.behind.unwrap_or(self.backlog),
            core_ppm: busy.map(|us| us * 1_000_000 / span_us),
            memory_kib: daemon.memory_kib(),
            ..Figures::default()
        })
    }
}

/// Jobs that are due at the far end of the day, so that none is planned meanwhile.
pub(super) fn daily_jobs(count: usize, instances: u32) -> String {
    let far = (clock::now().0 / 3_600_000 + 12) % 24;
    let mut text = String::from("jobs:\n");
    for j in 0..count {
        let via = j % instances as usize;
        let _ = writeln!(
            text,
            "  j{j}: {{ cron: \"{} {far} * * *\", to: \"2010{j:08}\", text: hi {j}, instance: bench{via} }}",
            j % 60
        );
    }
    text
}
