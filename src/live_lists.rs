//! Keeps the recipients of jobs that follow a list (`live: true`) as the list is: who joins is written to, who leaves is not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Joiners;
use crate::domain::flow::OWN_FLOW_FROM;
use crate::domain::recipient::Chat;
use crate::domain::time::{Millis, Timestamp};
use crate::planner::Planner;
use crate::store::{FoundList, Joined, NewMessages, OpenOccurrence, Recipient, SqliteStore, StoreError, StoredJob};

/// How often it is looked whether a list changed: a few rows, unless one did.
const LOOK_EVERY: Millis = Millis::seconds(2);

/// Recipients taken in, or let go, by one transaction: some ten milliseconds of the writer.
const AT_ONCE: usize = 500;

/// Members compared in one go: each comparison reads the whole audience.
const PAGE: u32 = 10_000;

/// An occurrence whose planning ended so shortly ago, or is to come, may lack who joined while it was planned. Later it is not
/// looked at: what was sent in it may have been pruned.
const JUST_PLANNED: Millis = Millis::seconds(3_600);

/// What a comparison of a job with its list depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mark {
    audience: i64,
    revision: i64,
    contents: Vec<i64>,
    open: Vec<OpenOccurrence>,
    /// Those that take nobody any more included: one that passes its gate late may hold who left meanwhile.
    visible: Vec<OpenOccurrence>,
}

/// See the [module](self).
pub struct LiveLists {
    store: Arc<SqliteStore>,
    planner: Planner,
    /// With what each job was last compared.
    seen: HashMap<String, Mark>,
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
    ///
    /// # Errors
    /// When the database cannot be read or written; what was compared by then stays done.
    pub async fn look(&mut self, now: Timestamp) -> Result<(), StoreError> {
        for name in self.store.jobs_of_live_lists().await? {
            let Some(stored) = self.store.job(&name).await? else { continue };
            let Some(live) = &stored.job.live else { continue };
            // Without its list it keeps who it has.
            let Some(list) = self.store.find_list(&live.list).await? else { continue };
            let visible = self.store.occurrences_to_join(&name).await?;
            let open = open(&stored, visible.clone(), now);
            let (audience, revision, contents) = (stored.audience, list.revision, stored.contents.clone());
            let mark = Mark { audience, revision, contents, open, visible };
            let before = self.seen.get(&name);
            if before == Some(&mark) {
                continue;
            }
            self.let_go(&stored, list, now).await?;
            let ended = self.store.end_for_leavers(&name, audience, now).await?;
            if ended > 0 {
                tracing::info!(job = name, messages = ended, "what waited for who left the list is skipped");
            }
            let mut whole = self.take_in(&stored, list, &mark.open, now).await?;
            let is_new = |o: &&OpenOccurrence| !before.is_some_and(|mark| mark.open.contains(o));
            for occurrence in mark.open.iter().filter(is_new) {
                whole &= self.complete(&stored, *occurrence, now).await?;
            }
            // Where the job was changed meanwhile it is compared again.
            if whole {
                self.seen.insert(name, mark);
            }
        }
        Ok(())
    }

    async fn let_go(&self, stored: &StoredJob, list: FoundList, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let gone = self.store.leavers(list, stored.audience, PAGE).await?;
            if gone.is_empty() {
                return Ok(());
            }
            for part in gone.chunks(AT_ONCE) {
                self.store.let_go(stored.audience, part.to_vec(), now).await?;
            }
            tracing::info!(
                job = stored.job.name,
                people = gone.len(),
                "they left the list, and get no more of the job"
            );
        }
    }

    /// Answers whether everybody was taken in.
    async fn take_in(
        &self,
        stored: &StoredJob,
        list: FoundList,
        open: &[OpenOccurrence],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let job = &stored.job.name;
        let Some(mut reader) = Joiners::of(&stored.job, now) else {
            tracing::error!(job, "its condition cannot be read any more: nobody new joins it; apply its file again");
            return Ok(true);
        };
        let (mut after, mut place) = (String::new(), self.store.next_place(stored.audience).await?);
        let gone = self.store.gone_from(stored.audience).await?;
        loop {
            let page = self.store.joiners(list, stored.audience, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(true) };
            after = last.chat.as_str().to_owned();
            let meant: Vec<(i64, Recipient)> = (place..).zip(meant(job, &mut reader, page)).collect();
            place += i64::try_from(meant.len()).unwrap_or(0);
            let mut messages = 0;
            for part in meant.chunks(AT_ONCE) {
                match self.take_in_some(stored, (part, &gone), open, now).await? {
                    Some(new) => messages += new,
                    None => return Ok(false),
                }
            }
            if !meant.is_empty() {
                tracing::info!(job, people = meant.len(), messages, "they joined the list");
            }
        }
    }

    async fn take_in_some(
        &self,
        stored: &StoredJob,
        (all, gone): (&[(i64, Recipient)], &HashSet<Chat>),
        open: &[OpenOccurrence],
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let first_time: Vec<(i64, Recipient)> = all.iter().filter(|(_, r)| !gone.contains(&r.chat)).cloned().collect();
        let mut messages = Vec::new();
        for occurrence in open {
            // Who was there before has had, or let go, what has begun.
            let theirs = if occurrence.nominal > now { all } else { &first_time };
            messages.extend(self.made(stored, *occurrence, theirs, now).await?);
        }
        let (job, audience) = (stored.job.name.clone(), stored.audience);
        self.store.join(Joined { job, audience, recipients: all.to_vec(), messages }).await
    }

    /// What recipients get of an occurrence, in the flow of those who are there.
    async fn made(
        &self,
        stored: &StoredJob,
        occurrence: OpenOccurrence,
        recipients: &[(i64, Recipient)],
        now: Timestamp,
    ) -> Result<Vec<(i64, NewMessages)>, StoreError> {
        let mut made = self.planner.joining(stored, occurrence.nominal, recipients, now).await?;
        made.iter_mut().for_each(|part| part.recipients = if occurrence.own_flow { OWN_FLOW_FROM } else { 1 });
        Ok(made.into_iter().map(|part| (occurrence.id, part)).collect())
    }

    /// Gives a message to those who joined while an occurrence was planned.
    async fn complete(
        &self,
        stored: &StoredJob,
        occurrence: OpenOccurrence,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // On clocks of their own some recipients have none, since their hour had passed.
        if occurrence.nominal < now - JUST_PLANNED || stored.job.manner.own_clock {
            return Ok(true);
        }
        let mut after = -1;
        loop {
            let left_out = self.store.forgotten(stored.audience, occurrence.id, after, PAGE).await?;
            let Some((last, _)) = left_out.last() else { return Ok(true) };
            after = *last;
            for part in left_out.chunks(AT_ONCE) {
                let messages = self.made(stored, occurrence, part, now).await?;
                let (job, audience) = (stored.job.name.clone(), stored.audience);
                let joined = Joined { job, audience, recipients: Vec::new(), messages };
                if self.store.join(joined).await?.is_none() {
                    return Ok(false);
                }
            }
        }
    }
}

/// Those of them whom a job means. Of whom that cannot be said does not join; that is told, not passed over.
fn meant(job: &str, reader: &mut Joiners, page: Vec<Recipient>) -> Vec<Recipient> {
    let mut untold = (0_u64, None);
    let mut read = |recipient: Recipient| {
        let chat = recipient.chat.clone();
        reader.read(recipient).unwrap_or_else(|e| {
            untold.0 += 1;
            untold.1.get_or_insert((chat, e));
            None
        })
    };
    let meant = page.into_iter().filter_map(&mut read).collect();
    if let (people, Some((chat, error))) = untold {
        tracing::error!(
            job,
            people,
            %chat,
            %error,
            "they do not join: what is known of them does not fit its condition. Correct it by `contact import`, or its file"
        );
    }
    meant
}

/// The occurrences that still take recipients: those to come, and of a job that does not recur the latest that has come.
fn open(stored: &StoredJob, mut visible: Vec<OpenOccurrence>, now: Timestamp) -> Vec<OpenOccurrence> {
    let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    let schedule = &stored.job.schedule;
    visible.retain(|o| schedule.next_after(o.nominal - Millis(1), stored.first_applied_at, &zone) == Some(o.nominal));
    let latest = visible.iter().find(|o| o.nominal <= now).copied().filter(|_| !schedule.recurs());
    // Who has no message of one of which messages were forgotten may have had one.
    visible.retain(|o| !o.forgotten && (o.nominal > now || Some(*o) == latest));
    visible
}
