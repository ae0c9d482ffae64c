//! From schedules to messages: keeps the next occurrence of every job materialised, so that its typing can start
//! before it.

mod decision;
mod join;

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Jump, Stopwatch};
use crate::domain::job::{DEFAULT_MAX_LATENESS, Job, Overlap};
use crate::domain::occurrence::{Layout, Whose, longest_lead};
use crate::domain::sender::Senders;
use crate::domain::state::{Event, Reason, StateName};
use crate::domain::template::ZONE_VAR;
use crate::domain::time::{Millis, Timestamp};
use crate::intake::{SharedIds, by_sender, lead_of};
use crate::store::{
    Gate, Making, NewMessage, NewMessages, Publish, Recipient, Renewal, Store, StoreError, StoredContent, StoredJob,
    guard,
};
use decision::{decide, overlaps_itself, own_instants, passed_since, policy};

/// Jobs planned at once: their commits form groups.
const AT_ONCE: usize = 32;

/// Messages stored in one transaction: at most some ten milliseconds of the writer.
const CHUNK: usize = 500;

/// The planner looks again at least this often: it notices steps of the clock.
const LOOK_AT_LEAST_EVERY: Millis = Millis::seconds(1);

/// Whether an occurrence overlaps the one before it is looked at this long before it is due: its typing may have begun,
/// its send has not.
const GATE_AHEAD: Millis = Millis(250);

/// How often an occurrence in the queue asks whether the one before it is finished.
const ASK_AGAIN_AFTER: Millis = Millis::seconds(1);

/// Jobs read in one go before the first send of a run.
const JOBS: usize = 500;

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

    /// When it is looked at whether the occurrence before one is finished.
    fn gate_at(&self, stored: &StoredJob, nominal: Timestamp, zone: &TimeZone) -> Timestamp {
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
                if stored.job.schedule.recurs() && !stored.job.manner.own_clock {
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
            && let Some(begun) = self.store.begun_planning(&stored.job.name, next).await?
        {
            return self.record_begun(&stored, (begun, next), &contents, now).await;
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

    async fn insert(
        &self,
        stored: &StoredJob,
        contents: &[Arc<StoredContent>],
        occurrence: Occurrence,
        publish: Publish,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(TimeZone::UTC);
        let job_zone = clock::zone(&stored.job.zone).unwrap_or(TimeZone::UTC);
        let layout = self.layout(stored, &zone);
        let max_lateness = contents.first().map_or(DEFAULT_MAX_LATENESS, |c| c.max_lateness);
        let each = (own_instants(&stored.job) && !stored.resumes).then(|| policy(stored, max_lateness).allowed());
        let (nominal, state, making) = match occurrence {
            Occurrence::OfSchedule(nominal, state) => (nominal, state, Making::Next),
            Occurrence::Renewed { nominal, .. } => (nominal, StateName::Scheduled, Making::Renewal),
            Occurrence::Extra(nominal) => (nominal, StateName::Scheduled, Making::Beside),
        };
        let extra = making == Making::Beside;
        let planned = PlannedOccurrence {
            layout: &layout,
            job_zone: &job_zone,
            nominal,
            jitter: layout.jitter(nominal),
            useless_from: layout.useless_from(nominal).filter(|_| !extra),
            state,
            allowed_each: each.filter(|_| !extra),
            extra,
        };
        let mut after = -1;
        loop {
            let recipients = self.store.recipients(stored.audience, after, CHUNK).await?;
            let last = recipients.len() < CHUNK;
            after = recipients.last().map_or(after, |(place, _)| *place);
            let took = Stopwatch::start();
            let senders = self.senders(stored, &recipients).await?;
            let mut parts = self.messages(&planned, stored, (contents, &senders), &recipients, now);
            let held_only = matches!(occurrence, Occurrence::Renewed { held_only: true, .. });
            if held_only || stored.resumes && stored.job.live.is_some() {
                self.keep_instants(stored, nominal, &recipients, &mut parts).await?;
            }
            parts.iter_mut().for_each(|part| part.making = making);
            if let (true, Some(part)) = (last, parts.last_mut()) {
                part.publish = Some(publish);
            }
            for part in parts {
                self.store.insert(part).await?;
            }
            if last {
                return Ok(());
            }
            // The writer is left to others as long as it was kept.
            clock::sleep(took.elapsed()).await;
        }
    }

    fn layout<'j>(&self, stored: &'j StoredJob, zone: &'j TimeZone) -> Layout<'j> {
        let first_applied = stored.first_applied_at;
        Layout { job: &stored.job, zone, size: stored.size, first_applied, seed: self.seed }
    }

    /// Through which account each of some recipients was written to before, where the job goes through several.
    async fn senders(&self, stored: &StoredJob, recipients: &[(i64, Recipient)]) -> Result<Senders, StoreError> {
        match stored.job.others.is_empty() {
            true => Ok(Senders::new()),
            false => self.store.senders(recipients.iter().map(|(_, r)| r.chat.clone()).collect()).await,
        }
    }

    /// The messages of some recipients, parted by content and account. There is a part even of none.
    fn messages(
        &self,
        planned: &PlannedOccurrence<'_>,
        stored: &StoredJob,
        (contents, senders): (&[Arc<StoredContent>], &Senders),
        recipients: &[(i64, Recipient)],
        now: Timestamp,
    ) -> Vec<NewMessages> {
        let job = &stored.job;
        let bodies: Vec<String> =
            contents.iter().map(|c| serde_json::to_string(&c.content).unwrap_or_default()).collect();
        let batches = self.batches(planned, (contents, &bodies), recipients, now);
        let parts = contents.iter().zip(batches).flat_map(|(content, rows)| {
            by_sender(job, senders, rows).into_iter().map(|(instance, rows)| (content.id, instance, rows))
        });
        let of_one = |(content, instance, rows)| NewMessages {
            job: Some(job.name.clone()),
            nominal_at: Some(planned.nominal),
            instance,
            content,
            counted: job.manner.frequency.is_some(),
            sticky: !job.others.is_empty(),
            steps: u32::try_from(job.steps()).unwrap_or(1),
            audience: Some(stored.audience),
            recipients: stored.size,
            making: Making::Beside,
            rows,
            publish: None,
            now,
        };
        parts.map(of_one).collect()
    }

    /// The messages of some recipients, by content: those of a sequence for everybody, of variants for each one of them. In the
    /// order of the recipients, so that no variant leaves before another.
    fn batches(
        &self,
        planned: &PlannedOccurrence<'_>,
        (contents, bodies): (&[Arc<StoredContent>], &[String]),
        recipients: &[(i64, Recipient)],
        now: Timestamp,
    ) -> Vec<Vec<NewMessage>> {
        let job = planned.layout.job;
        let mut batches: Vec<Vec<NewMessage>> = contents.iter().map(|_| Vec::new()).collect();
        for step in 0..job.steps() {
            for recipient in recipients {
                let number = job.variant_of(self.seed, planned.nominal, &recipient.1.chat).unwrap_or(step);
                let Some(((content, body), batch)) = contents.iter().zip(bodies).zip(&mut batches).nth(number) else {
                    continue;
                };
                let step = i32::try_from(step).unwrap_or(i32::MAX);
                batch.extend(self.row(planned, (step, content, body), recipient, now));
            }
        }
        batches
    }

    fn row(
        &self,
        planned: &PlannedOccurrence<'_>,
        (step, content, body): (i32, &StoredContent, &str),
        (place, recipient): &(i64, Recipient),
        now: Timestamp,
    ) -> Option<NewMessage> {
        let PlannedOccurrence { layout, nominal, jitter, .. } = *planned;
        let manner = &layout.job.manner;
        let draw = layout.typing_draw(nominal, recipient.chat.as_str());
        let lead = lead_of(&content.content, &content.manner.typing, &recipient.vars, nominal, &content.zone, draw);
        let own = recipient.vars.get(ZONE_VAR).and_then(|name| clock::zone(name.trim()).ok());
        let whose = Whose { place: *place, zone: own.as_ref().unwrap_or(planned.job_zone) };
        let due_at = match planned.extra {
            true => layout.due_now(nominal, &whose),
            false => Some(layout.due(nominal, jitter, &whose, lead))
                .filter(|due| layout.not_before().is_none_or(|first| *due >= first))?,
        };
        let due_at = due_at + layout.job.offset(usize::try_from(step).unwrap_or(0));
        let vars = crate::store::vars_json(&recipient.vars);
        let expires = manner.expires.map(|e| e.of(due_at));
        let (state, reason) = match planned.fate(due_at, now) {
            (StateName::Scheduled, _) if manner.hold => (StateName::Held, Some(Reason::Approval)),
            fate => fate,
        };
        Some(NewMessage {
            id: self.ids.make(now),
            guard: guard(&recipient.chat, body, vars.as_deref()),
            chat: recipient.chat.clone(),
            place: Some(*place),
            due_at,
            wake_at: due_at - lead,
            lead,
            expires_at: expires.into_iter().chain(planned.useless_from).min(),
            class: manner.class,
            key: None,
            step,
            state,
            reason,
            followed: manner.follow.is_some(),
            follows: None,
        })
    }
}

/// Whether an occurrence of a job waits until it is known how the one before it ended. On clocks of their own, recipients of
/// two occurrences may well be due side by side.
fn gated(job: &Job) -> bool {
    job.schedule.recurs() && job.manner.overlap != Overlap::Allow && !job.manner.own_clock
}

/// Planning ends where its job was changed meanwhile: the change plans anew.
fn unless_changed(planned: Result<(), StoreError>) -> Result<(), StoreError> {
    match planned {
        Err(StoreError::JobChanged { .. }) => Ok(()),
        other => other,
    }
}

/// An occurrence to be made.
#[derive(Clone, Copy)]
enum Occurrence {
    /// One of the job's schedule, with how its messages begin.
    OfSchedule(Timestamp, StateName),
    /// One whose job was changed; where only who waited for a person is left of it, nobody joins it.
    Renewed { nominal: Timestamp, held_only: bool },
    /// One that somebody asked for beside it: everybody is due at its instant.
    Extra(Timestamp),
}

/// An occurrence whose messages are being made.
#[derive(Clone, Copy)]
struct PlannedOccurrence<'p> {
    layout: &'p Layout<'p>,
    /// The clock of recipients whose own is unknown.
    job_zone: &'p TimeZone,
    nominal: Timestamp,
    jitter: Millis,
    /// When the event begins of which it reminds beforehand.
    useless_from: Option<Timestamp>,
    /// Whether the whole occurrence is too late and only recorded.
    state: StateName,
    /// How late each recipient's message may be, where each has an instant of its own.
    allowed_each: Option<Millis>,
    /// Whether somebody asked for it beside the schedule.
    extra: bool,
}

impl PlannedOccurrence<'_> {
    /// How a message begins that is due at an instant.
    fn fate(&self, due_at: Timestamp, now: Timestamp) -> (StateName, Option<Reason>) {
        if self.useless_from.is_some_and(|event| event <= now) {
            return (StateName::Skipped, Some(Reason::EventPassed));
        }
        let late = self.allowed_each.is_some_and(|allowed| now.since(due_at) > allowed);
        if late || self.state == StateName::Expired {
            return (StateName::Expired, Some(Reason::Misfire));
        }
        (StateName::Scheduled, None)
    }
}
