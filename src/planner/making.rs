//! The messages of an occurrence: one row a recipient and step, in chunks.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::Planner;
use super::decision::{own_instants, policy};
use crate::clock::{self, Stopwatch};
use crate::domain::job::DEFAULT_MAX_LATENESS;
use crate::domain::occurrence::{Layout, Whose};
use crate::domain::sender::Senders;
use crate::domain::state::{Reason, StateName};
use crate::domain::template::ZONE_VAR;
use crate::domain::time::{Millis, Timestamp};
use crate::intake::{by_sender, lead_of};
use crate::store::{Making, NewMessage, NewMessages, Publish, Recipient, StoreError, StoredContent, StoredJob, guard};

/// Messages stored in one transaction: at most some ten milliseconds of the writer.
const CHUNK: usize = 500;

/// An occurrence to be made.
#[derive(Clone, Copy)]
pub(super) enum Occurrence {
    /// One of the job's schedule, with how its messages begin.
    OfSchedule(Timestamp, StateName),
    /// One whose job was changed; where only who waited for a person is left of it, nobody joins it.
    Renewed { nominal: Timestamp, held_only: bool },
    /// One that somebody asked for beside it: everybody is due at its instant.
    Extra(Timestamp),
}

/// An occurrence whose messages are being made.
#[derive(Clone, Copy)]
pub(super) struct PlannedOccurrence<'p> {
    pub(super) layout: &'p Layout<'p>,
    /// The clock of recipients whose own is unknown.
    pub(super) job_zone: &'p TimeZone,
    pub(super) nominal: Timestamp,
    pub(super) jitter: Millis,
    /// When the event begins of which it reminds beforehand.
    pub(super) useless_from: Option<Timestamp>,
    /// Whether the whole occurrence is too late and only recorded.
    pub(super) state: StateName,
    /// How late each recipient's message may be, where each has an instant of its own.
    pub(super) allowed_each: Option<Millis>,
    /// Whether somebody asked for it beside the schedule.
    pub(super) extra: bool,
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

impl Planner {
    pub(super) async fn insert(
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
            useless_from: match extra {
                true => stored.job.schedule.event_at().filter(|event| nominal < *event),
                false => layout.useless_from(nominal),
            },
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

    pub(super) fn layout<'j>(&self, stored: &'j StoredJob, zone: &'j TimeZone) -> Layout<'j> {
        let first_applied = stored.first_applied_at;
        Layout { job: &stored.job, zone, size: stored.size, first_applied, seed: self.seed }
    }

    /// Through which account each of some recipients was written to before, where the job goes through several.
    pub(super) async fn senders(
        &self,
        stored: &StoredJob,
        recipients: &[(i64, Recipient)],
    ) -> Result<Senders, StoreError> {
        match stored.job.others.is_empty() {
            true => Ok(Senders::new()),
            false => self.store.senders(recipients.iter().map(|(_, r)| r.chat.clone()).collect()).await,
        }
    }

    /// The messages of some recipients, parted by content and account. There is a part even of none.
    pub(super) fn messages(
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
            applied_at: Some(stored.applied_at),
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
        let (state, reason) = match planned.fate(due_at, now) {
            (StateName::Scheduled, _) if manner.hold => (StateName::Held, Some(Reason::Approval)),
            fate => fate,
        };
        let expires = manner.expires.and_then(|e| e.of_one_in(state, due_at));
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
            after: layout.job.after_step_before(usize::try_from(step).unwrap_or(0)),
            state,
            reason,
            followed: manner.follow.is_some(),
            follows: None,
        })
    }
}
