//! Keeps the recipients of jobs that follow a list (`live: true`) as the list is: who joins is written to, who leaves is not.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Joiners;
use crate::domain::time::{Millis, Timestamp};
use crate::planner::Planner;
use crate::store::{FoundList, Joined, Joiner, OpenOccurrence, Recipient, SqliteStore, StoreError, StoredJob};

/// How often it is looked whether a list changed: a few rows, unless one did.
const LOOK_EVERY: Millis = Millis::seconds(2);

/// Recipients taken in, or let go, by one transaction: some ten milliseconds of the writer.
const AT_ONCE: usize = 500;

/// Members compared in one go: each comparison reads the whole audience.
const PAGE: u32 = 5_000;

/// An occurrence whose planning ended so shortly ago, or is to come, may lack who joined while it was planned. Later it is not
/// looked at: what was sent in it may have been pruned.
const JUST_PLANNED: Millis = Millis::seconds(3_600);

/// See the [module](self).
pub struct LiveLists {
    store: Arc<SqliteStore>,
    planner: Planner,
    /// The audience, the revision of the list and the occurrences with which each job was last compared.
    seen: HashMap<String, (i64, i64, Vec<OpenOccurrence>)>,
}

impl LiveLists {
    /// Follows the lists of a database.
    pub fn new(store: Arc<SqliteStore>, planner: Planner) -> LiveLists {
        LiveLists { store, planner, seen: HashMap::new() }
    }

    /// Follows them until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(e) = self.look(clock::now()).await {
                tracing::error!(error = %e, "a list could not be followed; it is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Compares every job that follows a list with it.
    async fn look(&mut self, now: Timestamp) -> Result<(), StoreError> {
        for name in self.store.jobs_of_live_lists().await? {
            let Some(stored) = self.store.job(&name).await? else { continue };
            let Some(live) = &stored.job.live else { continue };
            // Without its list it keeps who it has.
            let Some(list) = self.store.find_list(&live.list).await? else { continue };
            let open = self.open(&stored, now).await?;
            let mark = (stored.audience, list.revision, open);
            if self.seen.get(&name) == Some(&mark) {
                continue;
            }
            self.let_go(&stored, list, &mark.2, now).await?;
            self.take_in(&stored, list, &mark.2, now).await?;
            let is_new = |o: &&OpenOccurrence| !self.seen.get(&name).is_some_and(|(.., open)| open.contains(o));
            for occurrence in mark.2.iter().filter(is_new) {
                self.complete(&stored, *occurrence, now).await?;
            }
            self.seen.insert(name, mark);
        }
        Ok(())
    }

    async fn let_go(
        &self,
        stored: &StoredJob,
        list: FoundList,
        open: &[OpenOccurrence],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        loop {
            let gone = self.store.leavers(list, stored.audience, PAGE).await?;
            if gone.is_empty() {
                return Ok(());
            }
            for part in gone.chunks(AT_ONCE) {
                let skipped = self.store.let_go(stored.audience, part.to_vec(), open, now).await?;
                let job = &stored.job.name;
                tracing::info!(job, people = part.len(), skipped, "they left the list, and get no more of the job");
            }
        }
    }

    async fn take_in(
        &self,
        stored: &StoredJob,
        list: FoundList,
        open: &[OpenOccurrence],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let job = &stored.job.name;
        let Some(mut reader) = Joiners::of(&stored.job, now) else {
            tracing::error!(job, "its condition cannot be read any more: nobody new joins it; apply its file again");
            return Ok(());
        };
        let (mut after, mut place) = (String::new(), self.store.next_place(stored.audience).await?);
        loop {
            let page = self.store.joiners(list, stored.audience, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.recipient.chat.as_str().to_owned();
            let mut meant: Vec<(i64, Recipient, bool)> = Vec::new();
            for Joiner { recipient, returns } in page {
                if let Some(recipient) = reader.read(recipient) {
                    meant.push((place, recipient, returns));
                    place += 1;
                }
            }
            for part in meant.chunks(AT_ONCE) {
                let new = self.take_in_some(stored, part, open, now).await?;
                tracing::info!(job, people = part.len(), messages = new, "they joined the list");
            }
        }
    }

    async fn take_in_some(
        &self,
        stored: &StoredJob,
        some: &[(i64, Recipient, bool)],
        open: &[OpenOccurrence],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let all: Vec<(i64, Recipient)> = some.iter().map(|(place, r, _)| (*place, r.clone())).collect();
        let first_time: Vec<(i64, Recipient)> =
            some.iter().filter(|(.., returns)| !returns).map(|(place, r, _)| (*place, r.clone())).collect();
        let mut messages = Vec::new();
        for occurrence in open {
            // Who was there before has had, or let go, what has begun.
            let theirs = if occurrence.nominal > now { &all } else { &first_time };
            let made = self.planner.joining(stored, occurrence.nominal, theirs, now).await?;
            messages.extend(made.into_iter().map(|m| (occurrence.id, m)));
        }
        let (job, audience) = (stored.job.name.clone(), stored.audience);
        self.store.join(Joined { job, audience, recipients: all, messages }).await
    }

    /// Gives a message to those who joined while an occurrence was planned.
    async fn complete(&self, stored: &StoredJob, occurrence: OpenOccurrence, now: Timestamp) -> Result<(), StoreError> {
        // On clocks of their own some recipients have none, since their hour had passed.
        if occurrence.nominal < now - JUST_PLANNED || stored.job.manner.own_clock {
            return Ok(());
        }
        let mut after = -1;
        loop {
            let left_out = self.store.forgotten(stored.audience, occurrence.id, after, PAGE).await?;
            let Some((last, _)) = left_out.last() else { return Ok(()) };
            after = *last;
            for part in left_out.chunks(AT_ONCE) {
                let made = self.planner.joining(stored, occurrence.nominal, part, now).await?;
                let messages = made.into_iter().map(|m| (occurrence.id, m)).collect();
                let (job, audience) = (stored.job.name.clone(), stored.audience);
                self.store.join(Joined { job, audience, recipients: Vec::new(), messages }).await?;
            }
        }
    }

    /// The occurrences that still take recipients: those to come, and of a job that does not recur the latest that has.
    async fn open(&self, stored: &StoredJob, now: Timestamp) -> Result<Vec<OpenOccurrence>, StoreError> {
        let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
        let schedule = &stored.job.schedule;
        let is_of_schedule = |o: &OpenOccurrence| {
            schedule.next_after(o.nominal - Millis(1), stored.first_applied_at, &zone) == Some(o.nominal)
        };
        let mut open = self.store.occurrences_to_join(&stored.job.name).await?;
        open.retain(is_of_schedule);
        let latest = open.iter().find(|o| o.nominal <= now).copied().filter(|_| !schedule.recurs());
        open.retain(|o| o.nominal > now || Some(*o) == latest);
        Ok(open)
    }
}
