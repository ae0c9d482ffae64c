//! What the engine wants done.

use crate::domain::claim::Wanted;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::Change;
use crate::domain::outcome::DownCause;
use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;

/// One thing to do. Every effect but [`Effect::DropTyping`], [`Effect::Lane`] and [`Effect::Release`] is answered by
/// an [`Input`](crate::engine::Input).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Hand over messages of an instance, most pressing first.
    Claim {
        /// Whose messages.
        instance: InstanceName,
        /// Which of them.
        wanted: Wanted,
    },
    /// Say which of these may no longer be sent by us, and how the others stand.
    Verify {
        /// Messages in hand and not yet marked.
        ids: Vec<MessageId>,
    },
    /// Show typing in a chat, once.
    StartTyping {
        /// For which message.
        id: MessageId,
        /// Through which instance.
        instance: InstanceName,
        /// In which chat.
        chat: Chat,
        /// When the message shall leave.
        slot: Timestamp,
    },
    /// Give up waiting for the answer to a start-typing call.
    DropTyping {
        /// For which message.
        id: MessageId,
    },
    /// Take typing back, after a start-typing call that is still open has ended: the other order would leave the chat
    /// typing.
    StopTyping {
        /// For which message.
        id: MessageId,
        /// Through which instance.
        instance: InstanceName,
        /// In which chat.
        chat: Chat,
    },
    /// Write a change, durably where it is a mark or a record.
    Persist(Change),
    /// Hand the message to its gateway now, once.
    Send {
        /// Which message.
        id: MessageId,
        /// Its slot; never in the future.
        slot: Timestamp,
    },
    /// Ask the gateway whether an instance can send again.
    Probe {
        /// Which instance.
        instance: InstanceName,
    },
    /// An instance's standing changed: remember it and tell people.
    Lane {
        /// Which instance.
        instance: InstanceName,
        /// How it stands now.
        standing: Standing,
        /// The stretch of time that was lost, when an outage just ended.
        outage: Option<(Timestamp, Timestamp)>,
    },
    /// The engine no longer holds this message.
    Release {
        /// Which message.
        id: MessageId,
    },
}

/// How an instance stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It sends.
    Working,
    /// It waits out a time: too many requests, or no connection.
    Resting {
        /// Until when.
        until: Timestamp,
        /// Why, for a person.
        why: String,
    },
    /// It cannot send until its gateway says that it can again.
    Down {
        /// Which kind.
        cause: DownCause,
        /// Why, for a person.
        why: String,
    },
}
