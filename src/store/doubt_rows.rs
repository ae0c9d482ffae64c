//! What the store hands over, and takes, about sends of unknown outcome.

use crate::domain::doubt::Looks;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::store::Claimed;

/// What a start found and mended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Requests that were out when the program stopped: now in doubt.
    pub in_doubt: u64,
    /// Messages whose typing was shown and that wait again.
    pub rescheduled: u64,
    /// Messages that several dead runs in a row had in their hands: now held.
    pub poisoned: u64,
}

/// How a gateway told of a message by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EchoKind {
    /// With the message itself.
    Echo,
    /// By an ack, which only names it.
    Ack,
}

impl EchoKind {
    /// The word in the database and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            EchoKind::Echo => "echo",
            EchoKind::Ack => "ack",
        }
    }
}

/// A message that one of our accounts sent, as a webhook tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EchoNews {
    /// Through which instance.
    pub instance: InstanceName,
    /// Its bare id.
    pub gateway_id: String,
    /// How it was told.
    pub kind: EchoKind,
    /// In which chat, where told.
    pub chat: Option<String>,
    /// The hash of its content, where told: see [`body_hash`](crate::store::body_hash).
    pub body: Option<i64>,
    /// When it was sent, as the gateway says.
    pub sent_at: Timestamp,
    /// When it was told.
    pub told_at: Timestamp,
}

/// An attempt in doubt that an echo may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EchoFits {
    /// Through which instance.
    pub instance: InstanceName,
    /// The bare id of the echo.
    pub gateway_id: String,
    /// How it was told.
    pub kind: EchoKind,
    /// When it was sent, as the gateway says.
    pub sent_at: Timestamp,
    /// The message.
    pub id: MessageId,
    /// Its attempt that was in doubt.
    pub number: u32,
    /// When that attempt was marked.
    pub marked_at: Timestamp,
    /// Where the message is.
    pub state: StateName,
    /// How many attempts it has by now.
    pub attempts: u32,
    /// When it next needs us.
    pub wake_at: Timestamp,
    /// Tries it used up.
    pub tries: u32,
}

/// What a claim of doubts yields: see [`Store::doubts_to_look_at`](crate::store::Store::doubts_to_look_at).
#[derive(Clone, Debug)]
pub struct Doubt {
    /// The message, as far as a resend would need it.
    pub claimed: Claimed,
    /// The attempt in doubt.
    pub number: u32,
    /// When it was marked.
    pub marked_at: Timestamp,
    /// Its slot, from which its text was rendered.
    pub slot_at: Timestamp,
    /// The looks at its history so far.
    pub looks: Looks,
    /// Whether a person recalled it, called its campaign off or removed its job: then it does not go again.
    pub withdrawn: bool,
}

/// A piece of evidence about a doubt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// About which message.
    pub id: MessageId,
    /// About which attempt.
    pub number: u32,
    /// When it was found.
    pub at: Timestamp,
    /// Its kind: `history`, `echo`, `ack`, `person`.
    pub kind: &'static str,
    /// What it says: `found`, `not_found`, `out_of_reach`, `unclear`, `earlier`, `several`, `shared`, `unavailable`, `indistinct`,
    /// `duplicate`, `sent`, `resend`, `drop`.
    pub verdict: &'static str,
    /// For a person.
    pub note: String,
    /// When to look again, if at all.
    pub next_look_at: Option<Timestamp>,
}
