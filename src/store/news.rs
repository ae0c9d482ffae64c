//! What webhooks and commands tell the store.

use crate::domain::ack::Ack;
use crate::domain::consent::{Consent, ConsentSource};
use crate::domain::content::Content;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::job::Manner;
use crate::domain::recipient::Chat;
use crate::domain::time::{Millis, Timestamp};

/// An ack as a webhook tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckNews {
    /// Through which instance the message went.
    pub instance: InstanceName,
    /// The bare message id.
    pub gateway_id: String,
    /// Who of a group; empty for a single recipient.
    pub participant: String,
    /// The level.
    pub ack: Ack,
    /// When it came.
    pub at: Timestamp,
    /// How it came: `webhook`.
    pub source: &'static str,
}

/// That somebody wrote, as a webhook tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplyNews {
    /// To which instance.
    pub instance: InstanceName,
    /// The bare id of their message.
    pub gateway_id: String,
    /// In which chat.
    pub chat: Chat,
    /// When it was told.
    pub at: Timestamp,
}

/// That somebody is not to be written to any more, or again.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsentNews {
    /// To whom.
    pub chat: Chat,
    /// What was said.
    pub verdict: Consent,
    /// Who said it.
    pub source: ConsentSource,
    /// In which words.
    pub note: Option<String>,
    /// When it was told.
    pub at: Timestamp,
    /// When it was said, by `domain::words::said_at`; a person's word is always the latest.
    pub said_at: Option<Timestamp>,
    /// The message that said so: its instance and its bare id there. Told again it is nothing.
    pub message: Option<(InstanceName, String)>,
    /// Whether it lifts what a person suppressed, too.
    pub lifts_manual: bool,
    /// What is answered where that is new. To an opt-out it is the one message that still goes there.
    pub confirm: Option<Box<Confirmation>>,
}

impl ConsentNews {
    /// What a person says about writing to a chat, by a command.
    pub fn by_person(chat: Chat, verdict: Consent, note: Option<String>, at: Timestamp) -> ConsentNews {
        let source = ConsentSource::Person;
        ConsentNews {
            chat,
            verdict,
            source,
            note,
            at,
            said_at: Some(at),
            message: None,
            lifts_manual: false,
            confirm: None,
        }
    }
}

/// An answer to an opt-out or an opt-in.
#[derive(Clone, PartialEq, Debug)]
pub struct Confirmation {
    /// Its id.
    pub id: MessageId,
    /// Through which instance.
    pub instance: InstanceName,
    /// What it says.
    pub content: Content,
    /// How it is sent.
    pub manner: Manner,
    /// The zone of instants in its text.
    pub zone: String,
    /// How long typing is shown before it.
    pub lead: Millis,
}

/// What became of a batch of acks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AckTally {
    /// Joined to a message.
    pub joined: u64,
    /// Kept until their message is known.
    pub orphaned: u64,
}
