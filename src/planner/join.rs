//! The messages of recipients who join an occurrence that is planned already.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::Planner;
use super::making::PlannedOccurrence;
use crate::clock;
use crate::domain::job::Expires;
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{NewMessage, NewMessages, Recipient, StoreError, StoredContent, StoredJob};

impl Planner {
    /// What recipients who join an occurrence get. Where its instant has passed they are due once their typing was seen,
    /// and what follows in a sequence as much later as in the job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn joining(
        &self,
        stored: &StoredJob,
        nominal: Timestamp,
        recipients: &[(i64, Recipient)],
        now: Timestamp,
    ) -> Result<Vec<NewMessages>, StoreError> {
        let mut contents: Vec<Arc<StoredContent>> = Vec::new();
        for id in &stored.contents {
            contents.push(self.store.content(*id).await?);
        }
        let zone = clock::zone(stored.job.schedule_zone()).unwrap_or(TimeZone::UTC);
        let job_zone = clock::zone(&stored.job.zone).unwrap_or(TimeZone::UTC);
        let layout = self.layout(stored, &zone);
        let planned = PlannedOccurrence {
            layout: &layout,
            job_zone: &job_zone,
            nominal,
            jitter: layout.jitter(nominal),
            useless_from: layout.useless_from(nominal),
            state: StateName::Scheduled,
            allowed_each: None,
            extra: false,
        };
        let senders = self.senders(stored, recipients).await?;
        let mut all = self.messages(&planned, stored, (&contents, &senders), recipients, now);
        let mut late: HashMap<Chat, Millis> = HashMap::new();
        for m in all.iter().flat_map(|part| &part.rows).filter(|m| m.step <= 0) {
            late.insert(m.chat.clone(), now.since(m.wake_at).at_least_zero());
        }
        let hour_passed = |m: &NewMessage| late.get(&m.chat).is_some_and(|shift| *shift > Millis::ZERO);
        for part in &mut all {
            // On a clock of their own the hour of who joins late comes with the next occurrence.
            if stored.job.manner.own_clock && stored.job.schedule.recurs() {
                part.rows.retain(|m| !hour_passed(m));
            }
            for m in &mut part.rows {
                let shift = late.get(&m.chat).copied().unwrap_or(Millis::ZERO);
                move_by(m, shift, &planned);
            }
        }
        all.retain(|part| !part.rows.is_empty());
        Ok(all)
    }

    /// Of an occurrence that is planned anew since its job was changed, keeps what takes the place of a message that
    /// waited, at the instant of that one: whoever joined late stays as much later. Others have had it.
    pub(super) async fn keep_instants(
        &self,
        stored: &StoredJob,
        nominal: Timestamp,
        recipients: &[(i64, Recipient)],
        parts: &mut [NewMessages],
    ) -> Result<(), StoreError> {
        let chats = recipients.iter().map(|(_, r)| r.chat.clone()).collect();
        let known = self.store.replaced(&stored.job.name, nominal, chats).await?;
        let follows_due = matches!(stored.job.manner.expires, Some(Expires::After(_)));
        for part in parts {
            part.rows.retain_mut(|m| {
                let Some(due) = known.get(&(m.chat.clone(), m.step)) else { return false };
                let shift = due.since(m.due_at);
                (m.due_at, m.wake_at) = (m.due_at + shift, m.wake_at + shift);
                if follows_due {
                    m.expires_at = m.expires_at.map(|at| at + shift);
                }
                true
            });
        }
        Ok(())
    }
}

/// Moves a message, and its end where that is counted from its instant.
fn move_by(m: &mut NewMessage, shift: Millis, planned: &PlannedOccurrence<'_>) {
    (m.due_at, m.wake_at) = (m.due_at + shift, m.wake_at + shift);
    let manner = &planned.layout.job.manner;
    if matches!(manner.expires, Some(Expires::After(_))) && planned.useless_from.is_none() {
        m.expires_at = m.expires_at.map(|at| at + shift);
    }
}
