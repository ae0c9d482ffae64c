//! From schedules to messages: keeps the next occurrence of every job materialised, so that its typing can start
//! before it.

mod decision;
mod gates;
mod join;
mod making;

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Jump};
use crate::domain::job::DEFAULT_MAX_LATENESS;
use crate::domain::occurrence::longest_lead;
use crate::domain::state::{Event, Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::intake::SharedIds;
use crate::store::{Publish, Renewal, Store, StoreError, StoredContent, StoredJob};
use decision::{decide, overlaps_itself};
use gates::gated;
use making::Occurrence;

/// Jobs planned at once: their commits form groups.
const AT_ONCE: usize = 32;

/// The planner looks again at least this often: it notices steps of the clock.
const LOOK_AT_LEAST_EVERY: Millis = Millis::seconds(1);

/// See the [module](self).
#[derive(Clone)]
pub struct Planner {
    store: Arc<dyn Store>,
    ids: SharedIds,
    seed: u64,
    at_once: usize,
    /// Up to which instant gaps are settled, for whoever must not send before.
    settled: Arc<watch::Sender<Timestamp>>,
}

impl Planner {
    /// A planner on a store.
    pub fn new(store: Arc<dyn Store>, ids: SharedIds, seed: u64) -> Planner {
        Planner { store, ids, seed, at_once: AT_ONCE, settled: Arc::new(watch::Sender::new(Timestamp(i64::MIN))) }
    }

    /// The same one job after the other, for whoever needs the same order each time.
    pub fn one_by_one(self) -> Planner {
        Planner { at_once: 1, ..self }
    }

    /// Up to which instant gaps in which nobody worked are settled.
    pub fn settled(&self) -> watch::Receiver<Timestamp> {
        self.settled.subscribe()
    }

    /// Plans until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.store.changes();
        let mut watch = clock::Watch::start();
        let mut gap = None;
        while !stop.is_cancelled() {
            if let Some(Jump::Ahead { from, to }) = watch.look().1 {
                gap = Some((gap.map_or(from, |(first, _)| first), to));
            }
            let looked = async {
                if let Some((from, to)) = gap {
                    self.store.note_outage(from, to).await?;
                    self.settle_passed(to).await?;
                    gap = None;
                    self.settled.send_replace(to);
                }
                let next = self.plan_due(clock::now()).await?;
                let gate = self.pass_gates(clock::now()).await?;
                Ok::<_, StoreError>(next.into_iter().chain(gate).min())
            };
            let next = match looked.await {
                Ok(next) => next,
                Err(e) => {
                    tracing::error!(error = %e, "planning failed; it is tried again");
                    None
                }
            };
            let now = clock::now();
            let wake = next.unwrap_or(Timestamp::MAX).min(now + clock::to_beat(LOOK_AT_LEAST_EVERY));
            tokio::select! {
                () = stop.cancelled() => {}
                _ = changes.changed() => {}
                () = clock::sleep_until(wake, LOOK_AT_LEAST_EVERY) => {}
            }
        }
    }

    /// Plans everything that is to be planned at `now`. Answers when to look again.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn plan_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let more = self.store.replace_left(now).await?;
        self.renew(now).await?;
        loop {
            let jobs = self.store.jobs_to_plan(now, AT_ONCE * 4).await?;
            if jobs.is_empty() {
                return if more { Ok(Some(now)) } else { self.store.next_plan_at().await };
            }
            let planned: Vec<Result<(), StoreError>> =
                stream::iter(jobs).map(|job| self.plan(job, now)).buffer_unordered(self.at_once).collect().await;
            planned.into_iter().collect::<Result<(), _>>()?;
        }
    }

    /// Plans anew everything that a change of its job has hidden.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn renew_all(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.store.replace_left(now).await? {}
        self.renew(now).await
    }

    /// Plans anew what a change of its job has hidden. An occurrence that the schedule does not know any more is only shown
    /// again, with what went out of it.
    async fn renew(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let renewals = self.store.renewals(AT_ONCE).await?;
            if renewals.is_empty() {
                return Ok(());
            }
            for Renewal { stored, nominal, began, held_only } in renewals {
                let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(TimeZone::UTC);
                let schedule = &stored.job.schedule;
                let known = schedule.next_after(nominal - Millis(1), stored.first_applied_at, &zone) == Some(nominal);
                if !known || stored.event_cancelled {
                    self.store.show_as_it_is(&stored.job.name, nominal).await?;
                    continue;
                }
                let contents = self.contents(&stored).await?;
                let gated = gated(&stored.job) && !began && !held_only;
                let publish = Publish {
                    next_at: stored.next_at,
                    plan_at: stored.next_at,
                    missed: [None; 2],
                    gate_at: gated.then(|| self.gate_at(&stored, nominal, &zone)),
                    event_at: stored.job.schedule.event_at(),
                    extra: false,
                };
                let planned =
                    self.insert(&stored, &contents, Occurrence::Renewed { nominal, held_only }, publish, now).await;
                unless_changed(planned)?;
            }
        }
    }

    /// Plans one more occurrence of a job, now, beside its schedule. Answers its nominal instant.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn plan_extra(&self, stored: &StoredJob, now: Timestamp) -> Result<Timestamp, StoreError> {
        let contents = self.contents(stored).await?;
        // Due when its typing has been seen, as a single message is.
        let nominal = now + longest_lead(&stored.job.manner.typing);
        // The job's next occurrence is another one, so that nothing advances.
        let publish = Publish {
            next_at: stored.next_at,
            plan_at: stored.next_at,
            missed: [None; 2],
            gate_at: None,
            event_at: stored.job.schedule.event_at(),
            extra: true,
        };
        self.insert(stored, &contents, Occurrence::Extra(nominal), publish, now).await?;
        Ok(nominal)
    }

    async fn contents(&self, stored: &StoredJob) -> Result<Vec<Arc<StoredContent>>, StoreError> {
        let mut contents = Vec::with_capacity(stored.contents.len());
        for id in &stored.contents {
            contents.push(self.store.content(*id).await?);
        }
        Ok(contents)
    }

    async fn plan(&self, stored: StoredJob, now: Timestamp) -> Result<(), StoreError> {
        let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(TimeZone::UTC);
        let contents = self.contents(&stored).await?;
        let max_lateness = contents.first().map_or(DEFAULT_MAX_LATENESS, |c| c.max_lateness);
        let decision = decide(&stored, max_lateness, &zone, now);
        let serves_next = decision.serve.is_some_and(|(nominal, _)| Some(nominal) == stored.next_at);
        if let (false, Some(next)) = (serves_next, stored.next_at)
            && let Some((known, half_planned)) = self.store.known_occurrence(&stored.job.name, next).await?
        {
            if half_planned {
                return self.record_begun(&stored, (known, next), &contents, now).await;
            }
            // It was planned before its job was changed: what was missed begins behind it.
            let next_at = stored.job.schedule.next_after(next, stored.first_applied_at, &zone);
            let plan_at = next_at.map(|_| now);
            let step = Publish { next_at, plan_at, missed: [None; 2], gate_at: None, event_at: None, extra: false };
            return self.store.advance_job(&stored.job.name, stored.next_at, step).await;
        }
        for run in decision.missed.into_iter().flatten() {
            tracing::warn!(
                job = stored.job.name,
                count = run.count,
                first = %run.first,
                last = %run.last,
                why = run.why.name(),
                "occurrences passed unserved and are recorded as missed"
            );
        }
        let Some((nominal, state)) = decision.serve.filter(|(nominal, _)| Some(*nominal) == stored.next_at) else {
            // What passed unserved is left behind first, so that each occurrence is planned by compare-and-set on the one
            // expected.
            let next_at = decision.serve.map(|(nominal, _)| nominal);
            let plan_at = next_at.map(|_| now);
            let step =
                Publish { next_at, plan_at, missed: decision.missed, gate_at: None, event_at: None, extra: false };
            return self.store.advance_job(&stored.job.name, stored.next_at, step).await;
        };
        let job = &stored.job;
        let made_up_for = overlaps_itself(job) && nominal <= now;
        let checked = gated(job) && !made_up_for;
        let publish = Publish {
            next_at: decision.following,
            plan_at: decision.plan_at,
            missed: [None; 2],
            gate_at: checked.then(|| self.gate_at(&stored, nominal, &zone)),
            event_at: job.schedule.event_at(),
            extra: false,
        };
        if state == StateName::Expired {
            tracing::warn!(job = stored.job.name, nominal = %nominal, "an occurrence is too late and recorded as expired");
        }
        unless_changed(self.insert(&stored, &contents, Occurrence::OfSchedule(nominal, state), publish, now).await)
    }

    /// An occurrence was being planned when the daemon died, and its time has passed: each recipient has a row that says so, and
    /// nothing of it stays hidden, where later occurrences would wait for it.
    async fn record_begun(
        &self,
        stored: &StoredJob,
        (begun, nominal): (i64, Timestamp),
        contents: &[Arc<StoredContent>],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(TimeZone::UTC);
        let note = "its time passed while the daemon was away, before all of its occurrence was planned";
        self.store.settle_waiting(begun, Event::TooLate { reason: Reason::Misfire }, note, now).await?;
        tracing::warn!(job = stored.job.name, %nominal, "an occurrence passed half planned and is recorded as expired");
        let next_at = stored.job.schedule.next_after(nominal, stored.first_applied_at, &zone);
        let publish = Publish {
            next_at,
            plan_at: next_at.map(|_| now),
            missed: [None; 2],
            gate_at: None,
            event_at: stored.job.schedule.event_at(),
            extra: false,
        };
        let expired = Occurrence::OfSchedule(nominal, StateName::Expired);
        unless_changed(self.insert(stored, contents, expired, publish, now).await)
    }
}

/// Planning ends where its job was changed meanwhile: the change plans anew.
fn unless_changed(planned: Result<(), StoreError>) -> Result<(), StoreError> {
    match planned {
        Err(StoreError::JobChanged { .. }) => Ok(()),
        other => other,
    }
}
