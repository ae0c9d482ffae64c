//! What a busy installation does at a time: jobs that fire every second and every five, ten thousand that wait for their hour,
//! and a broadcast beside them.

use std::collections::HashMap;
use std::fmt::Write;

use crate::bench::figures::{Figures, Lateness};
use crate::bench::idle::daily_jobs;
use crate::bench::lateness::sends;
use crate::bench::machine::{Bench, BenchError, Running, jobs_file};
use crate::bench::supply::{Maker, Rest, chat};
use crate::clock;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Opening, SqliteStore};

#[derive(Clone, Copy, Debug)]
pub(super) struct Mixed {
    /// Jobs that fire every second.
    pub(super) each_second: usize,
    /// Jobs that fire every five seconds, with a second of typing.
    pub(super) each_five: usize,
    /// Jobs that fire once a day, not now.
    pub(super) daily: usize,
    /// Messages of the broadcast, over ten seconds, with two seconds of typing.
    pub(super) broadcast: u64,
}

/// So long after the daemon's start it has stored and planned its jobs.
const STARTED_AFTER: Millis = Millis::seconds(12);

/// Over how long the broadcast is due, and lateness is looked at.
const SPAN: Millis = Millis::seconds(10);

const LEAD: Millis = Millis::seconds(2);

impl Mixed {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let (_gateway, url) = bench.journaled(&folder, "lateness", None)?;
        let jobs = daily_jobs(self.daily, bench.instances) + &self.jobs();
        folder.write("jobs.yaml", &(jobs_file(&url, bench.instances, 10_000, None) + &jobs))?;
        let store = SqliteStore::open(&folder.database(), Opening::Beside).await?;
        let maker = Maker::new(&store, LEAD, bench.instances).await?;
        let begins = clock::now() + STARTED_AFTER;
        let apart = |n: u64| i64::try_from(n * SPAN.0.unsigned_abs() / self.broadcast.max(1)).unwrap_or(i64::MAX);
        let due_at = |n: u64| begins + Millis(apart(n));
        maker.fill(&store, 0..self.broadcast, due_at).await?;
        let mut daemon = Running::daemon(&folder, None)?;
        let (mut rest, ends) = (Rest::of(bench.instances), begins + SPAN);
        daemon
            .until("the end of the broadcast", async || {
                Ok(clock::now() > ends + LEAD && rest.until(&store, ends).await?)
            })
            .await?;
        store.close().await;
        let due: HashMap<String, Timestamp> = (0..self.broadcast).map(|n| (chat(n), due_at(n))).collect();
        let late = |chat: &str, at: i64| match due.get(chat) {
            Some(due_at) => Some(at - due_at.0 * 1_000),
            // A job fires on a whole second.
            None => (begins.0 * 1_000..ends.0 * 1_000).contains(&at).then(|| from_second(at)),
        };
        let all: Vec<i64> = sends(&folder)?.iter().filter_map(|(chat, at)| late(chat, *at)).collect();
        Ok(Figures {
            messages: u64::try_from(all.len()).unwrap_or(0),
            late: Lateness::of(all),
            memory_kib: daemon.memory_kib(),
            ..Figures::default()
        })
    }

    fn jobs(&self) -> String {
        let mut text = String::new();
        let mut put = |kind: &str, count: usize, cron: &str, typing: &str| {
            for j in 0..count {
                let _ = writeln!(
                    text,
                    "  {kind}{j}: {{ cron: \"{cron}\", to: \"2011{}{j:07}\", text: hi, typing: {typing}, instance: bench0 }}",
                    kind.len()
                );
            }
        };
        put("s", self.each_second, "* * * * * *", "off");
        put("ff", self.each_five, "*/5 * * * * *", "{ lead: 1s }");
        text
    }
}

/// How far an instant is from the nearest whole second, in microseconds.
fn from_second(at_us: i64) -> i64 {
    (at_us + 500_000).rem_euclid(1_000_000) - 500_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_second_is_before_or_after() {
        assert_eq!([5_000_300, 4_999_900, 5_499_999].map(from_second), [300, -100, 499_999]);
    }
}
