//! Messages that are to be stored.

use crate::domain::class::Class;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::misfire::MissedRun;
use crate::domain::recipient::Chat;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};

/// A message about to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its id, made by the caller.
    pub id: MessageId,
    /// To which chat.
    pub chat: Chat,
    /// The place of its recipient in the audience.
    pub place: Option<i64>,
    /// See [`guard`](crate::store::guard).
    pub guard: i64,
    /// When it should leave.
    pub due_at: Timestamp,
    /// When it first needs us.
    pub wake_at: Timestamp,
    /// How long typing leads it.
    pub lead: Millis,
    /// After this instant it must not leave any more.
    pub expires_at: Option<Timestamp>,
    /// How pressing.
    pub class: Class,
    /// Makes it idempotent: a message whose key is known is not stored again.
    pub key: Option<String>,
    /// Its place in a sequence; below zero for the second, third … message to a chat within one import, and for what
    /// follows another message.
    pub step: i32,
    /// How long after the message of its sequence before it, it leaves at the earliest; zero where it follows at once.
    pub after: Millis,
    /// `Scheduled`, or `Expired` or `Skipped` for what is only recorded.
    pub state: StateName,
    /// Why, where not scheduled.
    pub reason: Option<Reason>,
    /// Whether it is followed until it is answered.
    pub followed: bool,
    /// The message it follows.
    pub follows: Option<MessageId>,
}

/// Messages stored in one go: a single one, or a chunk of an occurrence.
#[derive(Clone, Debug)]
pub struct NewMessages {
    /// The job, where there is one.
    pub job: Option<String>,
    /// The occurrence's nominal instant, where there is one.
    pub nominal_at: Option<Timestamp>,
    /// Through which instance.
    pub instance: InstanceName,
    /// Its content's row.
    pub content: i64,
    /// Whether they count for `frequency`; of a sequence the first does.
    pub counted: bool,
    /// Whether their recipients stay with this instance, since their job goes through several.
    pub sticky: bool,
    /// The length of the sequence they belong to.
    pub steps: u32,
    /// Its audience, where there is one.
    pub audience: Option<i64>,
    /// How many recipients its occurrence has, at least: from how many on it takes turns by itself.
    pub recipients: u64,
    /// How they come about.
    pub making: Making,
    /// When their job was applied as they say it; `None` where they do not depend on that.
    pub applied_at: Option<Timestamp>,
    /// The messages.
    pub rows: Vec<NewMessage>,
    /// Makes the occurrence visible and advances the job, with its last chunk.
    pub publish: Option<Publish>,
    /// When.
    pub now: Timestamp,
}

/// How messages come about: by it the store knows that they are not wanted any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Making {
    /// As the next occurrence of their job.
    Next,
    /// As an occurrence that is planned anew, since its job was changed.
    Renewal,
    /// Beside the schedule: by hand, by an import, to who joined, or after another message.
    Beside,
}

impl NewMessages {
    /// One message of no job.
    pub fn single(instance: InstanceName, content: i64, message: NewMessage, now: Timestamp) -> NewMessages {
        NewMessages {
            job: None,
            nominal_at: None,
            instance,
            content,
            counted: false,
            sticky: false,
            steps: 1,
            audience: None,
            recipients: 1,
            making: Making::Beside,
            applied_at: None,
            rows: vec![message],
            publish: None,
            now,
        }
    }
}

/// How a job goes on after an occurrence was planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish {
    /// The occurrence after this one.
    pub next_at: Option<Timestamp>,
    /// When the planner must look again.
    pub plan_at: Option<Timestamp>,
    /// Occurrences before this one that are not served.
    pub missed: [Option<MissedRun>; 2],
    /// When it is to be looked at whether the occurrence before it is finished.
    pub gate_at: Option<Timestamp>,
    /// When the event begins that it reminds of.
    pub event_at: Option<Timestamp>,
    /// Whether somebody asked for it beside the schedule.
    pub extra: bool,
}
