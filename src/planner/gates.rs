//! Which occurrences give way: those that begin while the one before them is not finished, and those that passed during an outage.

use jiff::tz::TimeZone;

use super::Planner;
use super::decision::{passed_since, policy};
use crate::clock;
use crate::domain::job::{DEFAULT_MAX_LATENESS, Job, Overlap};
use crate::domain::state::{Event, Reason};
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Gate, StoreError, StoredJob};

/// Jobs read in one go before the first send of a run.
const JOBS: usize = 500;

/// Whether an occurrence overlaps the one before it is looked at this long before it is due: its typing may have begun,
/// its send has not.
const GATE_AHEAD: Millis = Millis(250);

/// How often an occurrence in the queue asks whether the one before it is finished.
const ASK_AGAIN_AFTER: Millis = Millis::seconds(1);

impl Planner {
    /// When it is looked at whether the occurrence before one is finished.
    pub(super) fn gate_at(&self, stored: &StoredJob, nominal: Timestamp, zone: &TimeZone) -> Timestamp {
        nominal + self.layout(stored, zone).jitter(nominal) - GATE_AHEAD
    }

    /// Before anything is sent after an outage: of the occurrences of a job that passed meanwhile, those planned before
    /// the outage included, only so many are served as its policy says. The earlier ones give way.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn settle_passed(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let jobs = self.store.jobs_passed(now, &after, JOBS).await?;
            let Some(last) = jobs.last() else { return Ok(()) };
            after = last.job.name.as_str().to_owned();
            for stored in jobs {
                if stored.job.schedule.repeats() && !stored.job.manner.own_clock {
                    self.settle_passed_of(&stored, now).await?;
                }
            }
        }
    }

    async fn settle_passed_of(&self, stored: &StoredJob, now: Timestamp) -> Result<(), StoreError> {
        let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(TimeZone::UTC);
        let policy = policy(stored, self.max_lateness(stored).await?);
        let catch_up = policy.catch_up(passed_since(stored, &zone, now), now);
        let room = policy.most().saturating_sub(catch_up.served);
        let before = catch_up.first.unwrap_or(now);
        let untouched = self.store.untouched_since_outage(&stored.job.name, before).await?;
        for (occurrence, nominal) in untouched.into_iter().skip(room) {
            let event = Event::TooLate { reason: Reason::Misfire };
            let note = "later occurrences of its job are sent in its place";
            let messages = self.store.settle_waiting(occurrence, event, note, now).await?;
            let job = stored.job.name.as_str();
            tracing::warn!(job, %nominal, messages, "an occurrence gives way to later ones after the outage");
        }
        Ok(())
    }

    /// Decides about occurrences that are about to begin while the one before them may not be finished. Answers when to
    /// look again.
    ///
    /// # Errors
    /// When the database cannot be read or written; what was decided by then stays done.
    pub async fn pass_gates(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        for gate in self.store.gates(now).await? {
            self.pass_gate(&gate, now).await?;
        }
        self.store.next_gate_at().await
    }

    async fn pass_gate(&self, gate: &Gate, now: Timestamp) -> Result<(), StoreError> {
        let unfinished = match gate.overlap {
            Overlap::Allow => None,
            Overlap::Skip | Overlap::Queue | Overlap::Replace => self.store.unfinished_before(gate).await?,
        };
        let Some(before) = unfinished else { return self.store.pass_gate(gate, None).await };
        let queue_is_full = !gate.queued
            && gate.overlap == Overlap::Queue
            && self.store.queued(&gate.job).await? >= u64::from(gate.most_queued);
        match gate.overlap {
            Overlap::Replace => {
                let event = Event::Cancelled { reason: Reason::Overtaken };
                let note = "the next occurrence of its job came before it was finished";
                let n = self.store.settle_waiting(before, event, note, now).await?;
                tracing::warn!(job = gate.job, messages = n, "an unfinished occurrence gives way to the next");
                // There may be another before that one.
                if n > 0 {
                    return Box::pin(self.pass_gate(gate, now)).await;
                }
            }
            Overlap::Queue if !queue_is_full => return self.store.pass_gate(gate, Some(now + ASK_AGAIN_AFTER)).await,
            Overlap::Skip | Overlap::Queue | Overlap::Allow => {
                // Hidden first, so that nothing of it is begun while its rows are settled.
                self.store.pass_gate(gate, Some(now + ASK_AGAIN_AFTER)).await?;
                let event = Event::Unsendable { reason: Reason::Overlap };
                let note = "the occurrence before it was not finished";
                let n = self.store.settle_waiting(gate.occurrence, event, note, now).await?;
                tracing::warn!(
                    job = gate.job,
                    nominal = %gate.nominal,
                    messages = n,
                    "an occurrence is skipped: the one before it is not finished"
                );
            }
        }
        self.store.pass_gate(gate, None).await
    }

    async fn max_lateness(&self, stored: &StoredJob) -> Result<Millis, StoreError> {
        match stored.contents.first() {
            Some(id) => Ok(self.store.content(*id).await?.max_lateness),
            None => Ok(DEFAULT_MAX_LATENESS),
        }
    }
}

/// Whether an occurrence of a job waits until it is known how the one before it ended. On clocks of their own, recipients of
/// two occurrences may well be due side by side.
pub(super) fn gated(job: &Job) -> bool {
    job.schedule.recurs() && job.manner.overlap != Overlap::Allow && !job.manner.own_clock
}
