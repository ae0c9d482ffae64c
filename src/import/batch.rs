//! The messages that a chunk of an import makes.

use std::sync::Arc;

use super::{Import, Planned, is_too_late};
use crate::domain::draw::Draw;
use crate::domain::id::MessageId;
use crate::domain::recipient::Chat;
use crate::domain::sender::Senders;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::intake::{IdMaker, by_sender, lead_of};
use crate::store::{NewMessage, NewMessages, StoredContent, guard, vars_json};

/// What the messages of an import have in common.
pub(super) struct Making<'m> {
    pub(super) import: &'m Import,
    pub(super) seed: u64,
    pub(super) audience: i64,
    pub(super) ids: &'m IdMaker,
    /// Its contents as the database keeps them.
    pub(super) bodies: &'m [String],
    /// Which account wrote to whom before.
    pub(super) senders: Senders,
    pub(super) now: Timestamp,
}

/// One row of the chunk: who gets what and when, the step of its message, the place of its variables, and the id of its
/// first message.
type Made<'c> = (&'c Planned, i32, Option<i64>, MessageId);

impl Making<'_> {
    /// The messages of a chunk: one batch a content, those that come too late apart, and each account's.
    pub(super) fn batches(&self, (chunk, places): (&[(Planned, i32)], &[Option<i64>])) -> Vec<NewMessages> {
        let (import, now) = (self.import, self.now);
        // In the order of the rows, whichever variant each gets.
        let rows: Vec<Made<'_>> =
            chunk.iter().zip(places).map(|((m, step), place)| (m, *step, *place, self.ids.make(now))).collect();
        let mut all = Vec::new();
        for (number, (content, body)) in import.contents.iter().zip(self.bodies).enumerate() {
            let is_theirs = |chat: &Chat| import.variant_of(self.seed, now, chat).is_none_or(|v| v == number);
            let step = if import.steps() > 1 { number } else { 0 };
            for late in [false, true] {
                let theirs =
                    rows.iter().filter(|(m, ..)| is_too_late(import, m.due, now) == late && is_theirs(&m.chat));
                let messages: Vec<NewMessage> =
                    theirs.map(|made| self.message(made, (step, content, body), late)).collect();
                if !messages.is_empty() {
                    all.extend(self.parted(content, messages));
                }
            }
        }
        all
    }

    /// The messages of one content, parted by the account that writes to each recipient.
    fn parted(&self, content: &StoredContent, messages: Vec<NewMessage>) -> Vec<NewMessages> {
        let import = self.import;
        let (parts, sticky) = match &import.like {
            Some(job) if !job.others.is_empty() => (by_sender(job, &self.senders, messages), true),
            _ => (vec![(import.instance.clone(), messages)], false),
        };
        let of_one = |(instance, rows)| NewMessages {
            job: Some(import.job.clone()),
            nominal_at: Some(self.now),
            instance,
            content: content.id,
            counted: content.manner.frequency.is_some(),
            sticky,
            steps: u32::try_from(import.steps()).unwrap_or(1),
            audience: Some(self.audience),
            recipients: crate::domain::flow::OWN_FLOW_FROM,
            making: crate::store::Making::Beside,
            applied_at: None,
            rows,
            publish: None,
            now: self.now,
        };
        parts.into_iter().map(of_one).collect()
    }

    fn message(
        &self,
        (m, first_step, place, first_id): &Made<'_>,
        (step, content, body): (usize, &Arc<StoredContent>, &str),
        late: bool,
    ) -> NewMessage {
        let (import, now, manner) = (self.import, self.now, &content.manner);
        let n = i32::try_from(step).unwrap_or(i32::MAX);
        let later = import.like.as_ref().map_or(Millis::ZERO, |job| job.offset(step));
        let due = m.due.unwrap_or(now);
        let draw = Draw::new(self.seed, "typing").with_text(&import.job).with_number(due.0).with_text(m.chat.as_str());
        let lead = lead_of(&content.content, &manner.typing, &m.vars, due, &content.zone, draw);
        let due_at = m.due.unwrap_or(now + lead) + later;
        let (state, reason) = match (late, manner.hold) {
            (true, _) => (StateName::Expired, Some(Reason::Misfire)),
            (false, true) => (StateName::Held, Some(Reason::Approval)),
            (false, false) => (StateName::Scheduled, None),
        };
        NewMessage {
            id: if n == 0 { *first_id } else { self.ids.make(now) },
            guard: guard(&m.chat, body, vars_json(&m.vars).as_deref()),
            chat: m.chat.clone(),
            place: *place,
            due_at,
            wake_at: due_at - lead,
            lead,
            expires_at: manner.expires.and_then(|e| e.of_one_in(state, due_at)),
            class: m.class,
            key: m.key.clone().filter(|_| n == 0),
            step: if n == 0 { *first_step } else { n },
            after: import.like.as_ref().map_or(Millis::ZERO, |job| job.after_step_before(step)),
            state,
            reason,
            followed: false,
            follows: None,
        }
    }
}
