//! One message in hand, and the changes made to it.

use std::sync::Arc;

use crate::domain::ack::Ack;
use crate::domain::class::Class;
use crate::domain::draw::Draw;
use crate::domain::flow::Flow;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::recipient::Chat;
use crate::domain::retry::RetryPolicy;
use crate::domain::state::Transition;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::Late;
use crate::domain::window::OpenHours;

/// What the engine needs to know of a message it decides about. The content stays outside.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which message.
    pub id: MessageId,
    /// Through which instance.
    pub instance: InstanceName,
    /// To which chat.
    pub chat: Chat,
    /// How pressing.
    pub class: Class,
    /// With which others it leaves in due order; those of other flows it takes turns with.
    pub flow: Flow,
    /// When it should leave, for lateness.
    pub due_at: Timestamp,
    /// When it should leave now: due, or the next try.
    pub target: Timestamp,
    /// How long typing leads the slot.
    pub lead: Millis,
    /// What gives way when it is late.
    pub late: Late,
    /// Attempts made so far.
    pub attempts: u32,
    /// Tries of the retry policy used up so far.
    pub tries: u32,
    /// When its first attempt was marked, if one was.
    pub first_marked_at: Option<Timestamp>,
    /// How it may be tried again.
    pub retry: RetryPolicy,
    /// How much time outages and retries may cost it.
    pub max_lateness: Millis,
    /// After this instant it must not leave any more.
    pub expires_at: Option<Timestamp>,
    /// When the event begins that it belongs to.
    pub event_at: Option<Timestamp>,
    /// The windows in which it may leave; all of them must be open.
    pub hours: Vec<OpenHours>,
    /// When the message of its sequence before it left: before that it could not.
    pub free_from: Timestamp,
    /// Pauses of it that are over.
    pub stopped: Vec<(Timestamp, Timestamp)>,
    /// From when on `frequency` lets it go, by what was known to have left when it was read; `None` where none concerns it.
    pub allowed_from: Option<Timestamp>,
    /// Whether an earlier message of its sequence kept it waiting, or a person's pause kept it past its target: it is
    /// typed in full all the same.
    pub kept_waiting: bool,
    /// Whether another message of a sequence waits for it.
    pub leads_on: bool,
    /// The base of its draws (jitter, gap).
    pub draw: Draw,
}

impl Due {
    /// The base of what follows its next send: see [`Pacing::after`](crate::domain::pace::Pacing::after).
    pub fn draw_after(&self) -> Draw {
        draw_after(self.draw, self.attempts)
    }
}

/// The base of what follows the send of the attempt after `attempts` others.
pub fn draw_after(draw: Draw, attempts: u32) -> Draw {
    draw.with_text("after").with_number(i64::from(attempts))
}

/// The base of a message's draws: the same wherever and whenever it is asked for. `moment` is its occurrence's nominal
/// instant, or its due instant where it is of none.
pub fn draw_of(seed: u64, job: Option<&str>, moment: Timestamp, chat: &str) -> Draw {
    Draw::new(seed, "message").with_text(job.unwrap_or("")).with_number(moment.0).with_text(chat)
}

/// A send that left, or whose slot is fixed.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// When.
    pub at: Timestamp,
    /// The base of what follows it.
    pub draw: Draw,
}

/// What is known about the typing of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypingFacts {
    /// When the first start-typing call was made.
    pub started_at: Timestamp,
    /// The HTTP status of the latest answer, where one came in time.
    pub status: Option<u16>,
    /// The latest answer's body, masked and capped, or why none came.
    pub response: Option<Arc<str>>,
    /// Calls after the first.
    pub refreshes: u32,
    /// When stop-typing was called, if it was.
    pub stopped_at: Option<Timestamp>,
}

/// What is known about the send of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendFacts {
    /// When the request left.
    pub started_at: Timestamp,
    /// When its outcome was known.
    pub finished_at: Timestamp,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The outcome's name.
    pub outcome: &'static str,
    /// The answer's body, masked and capped, or what happened instead.
    pub response: Arc<str>,
}

/// What became of an attempt in doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DoubtVerdict {
    /// It went out.
    Sent,
    /// It did not.
    Unsent,
    /// Nobody knows; its message is sent again.
    Resent,
    /// Nobody knows; its message is given up.
    Dropped,
}

impl DoubtVerdict {
    /// The word in the database and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            DoubtVerdict::Sent => "sent",
            DoubtVerdict::Unsent => "unsent",
            DoubtVerdict::Resent => "resent",
            DoubtVerdict::Dropped => "dropped",
        }
    }
}

/// The rows a change writes besides the message's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Facts {
    /// Typing began; written behind.
    TypingShown {
        /// When.
        started_at: Timestamp,
        /// When the message leaves.
        slot: Timestamp,
        /// When it was due as it was claimed: of what was moved since nothing is shown.
        due_at: Timestamp,
    },
    /// The mark: attempt `number` is about to leave at `slot`.
    Mark {
        /// 1 for the first attempt.
        number: u32,
        /// When the mark was begun.
        marked_at: Timestamp,
        /// When it shall leave. A row that waits for a later wake is not marked.
        slot: Timestamp,
        /// Whether the lane made it later than due.
        paced: bool,
        /// The typing that led it.
        typing: Option<TypingFacts>,
        /// When it was due as it was claimed: what was moved since is not marked.
        due_at: Timestamp,
        /// Hash of what is sent, filled in where it is rendered: by it the same text to the same chat is noticed.
        body: Option<i64>,
    },
    /// The record of attempt `number`.
    Record {
        /// The attempt.
        number: u32,
        /// Tries used up now.
        tries: u32,
        /// What happened; `None` when the request was never begun.
        send: Option<SendFacts>,
        /// Typing facts that came after the mark.
        late_typing: Option<TypingFacts>,
        /// The bare message id, where accepted.
        gateway_id: Option<String>,
        /// The ack level the response told.
        ack: Option<Ack>,
        /// The bare message id that an unclear answer named all the same.
        named: Option<String>,
    },
    /// What evidence or a person said about a doubt.
    Verdict {
        /// The attempt it is about.
        number: u32,
        /// What became of that attempt.
        verdict: DoubtVerdict,
        /// Tries used up now.
        tries: u32,
        /// The bare message id, where evidence named it.
        gateway_id: Option<String>,
        /// When it is due now, where a person has it sent again: how late it is counts from there. It expires as before.
        due_at: Option<Timestamp>,
        /// For the timeline.
        note: String,
    },
    /// A person gave it another instant, or another chance.
    Moved {
        /// When it is due now.
        due_at: Timestamp,
        /// Whether its tries begin anew and it expires no more.
        afresh: bool,
        /// For the timeline.
        note: String,
    },
    /// What is judged of a message that was claimed: refused where it is due at another instant by now.
    Judged {
        /// When it was due as it was claimed.
        due_at: Timestamp,
        /// For the timeline.
        note: String,
    },
    /// Nothing but the change of state, with a word for the timeline.
    Note(String),
}

/// One guarded change of one message: carried out only if the row still has `attempts` attempts and is in one of the
/// states the transition accepts; otherwise the store answers [`Verdict::Stale`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which message.
    pub id: MessageId,
    /// The number of attempts its row must have.
    pub attempts: u32,
    /// When it happened.
    pub at: Timestamp,
    /// The new state.
    pub transition: Transition,
    /// What else is written with it.
    pub facts: Facts,
}

/// What the store says to a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is durable.
    Applied,
    /// The row had moved on; nothing was written. Or nobody wants the message of a mark any more, and it has ended.
    Stale,
    /// A mark was refused because sending is paused; nothing was written.
    Paused,
}
