//! What the database tells of campaigns.

use crate::domain::ack::Ack;
use crate::domain::campaign::CampaignName;
use crate::domain::class::Class;
use crate::domain::flow::Flow;
use crate::domain::recall::RecallState;
use crate::domain::state::StateName;
use crate::domain::template::Vars;
use crate::domain::time::{Millis, Timestamp};
use crate::store::view::MessageView;

/// A campaign and how its messages stand.
#[derive(Clone, Debug)]
pub struct CampaignView {
    /// Its occurrence's row.
    pub occurrence: i64,
    /// What it is called.
    pub name: CampaignName,
    /// How many recipients have a message in it. While it is planned anew, those it was planned for at least.
    pub recipients: u64,
    /// When a person called it off.
    pub cancelled_at: Option<Timestamp>,
    /// Whether it is being planned anew, since its job was changed.
    pub renewed: bool,
    /// How many earlier versions of its messages were replaced. They count nowhere else.
    pub replaced: u64,
    /// The file it was imported from.
    pub file: Option<String>,
    /// Through which instances its messages go.
    pub instances: Vec<String>,
    /// Their class.
    pub class: Class,
    /// The flow in which those that wait take turns.
    pub flow: Option<Flow>,
    /// When the first of those that wait expires.
    pub expires: Option<Timestamp>,
    /// How they stand.
    pub counts: Vec<CampaignCount>,
    /// When the first and the last of them are due.
    pub due: Option<(Timestamp, Timestamp)>,
    /// When the first and the last of them left.
    pub sent: Option<(Timestamp, Timestamp)>,
    /// How many left within the last minute, and the last five.
    pub sent_lately: (u64, u64),
    /// The number of the latest record of an answer that they were counted with.
    pub recorded: i64,
}

/// What was recorded of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordView {
    /// The number of the record: later ones have higher ones.
    pub number: i64,
    /// The occurrence of its message.
    pub occurrence: Option<i64>,
    /// The state it left its message in.
    pub state: StateName,
    /// Why.
    pub reason: Option<String>,
    /// When the request left.
    pub left_at: Option<Timestamp>,
}

/// Messages of a campaign that stand alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CampaignCount {
    /// Their state.
    pub state: StateName,
    /// Why, where there is a reason.
    pub reason: Option<String>,
    /// Their ack.
    pub ack: Option<Ack>,
    /// How many they are.
    pub messages: u64,
}

impl CampaignView {
    /// How many messages are in each state.
    pub fn states(&self) -> Vec<(StateName, u64)> {
        let count = |state| self.counts.iter().filter(|c| c.state == state).map(|c| c.messages).sum();
        StateName::ALL.into_iter().map(|state| (state, count(state))).filter(|(_, n)| *n > 0).collect()
    }

    /// How many messages there are.
    pub fn messages(&self) -> u64 {
        self.counts.iter().map(|c| c.messages).sum()
    }
}

/// How the recall of a campaign stands: every message of which it was asked is in one of the counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecallReport {
    /// Messages of which it was asked.
    pub asked: u64,
    /// Those that are still to be deleted, or not known as sent yet.
    pub open: u64,
    /// Those that were deleted for everyone.
    pub done: u64,
    /// Those that could not be.
    pub failed: u64,
    /// Those that were sent too long ago.
    pub too_late: u64,
    /// Those that did not go out after all.
    pub unsent: u64,
    /// Why they failed, and how often.
    pub reasons: Vec<(String, u64)>,
}

/// How the recall of one message stands.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct RecallView {
    pub state: RecallState,
    pub reason: Option<String>,
    pub asked_at: Timestamp,
    pub settled_at: Option<Timestamp>,
    pub tries: i64,
    pub status: Option<i64>,
    pub response: Option<String>,
}

/// Where in a campaign a reader is: its messages come by chat, and those of one chat by step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The chat.
    pub chat: String,
    /// The step.
    pub step: i64,
}

impl Place {
    /// Before every message.
    pub const START: Place = Place { chat: String::new(), step: i64::MIN };
}

/// One message of a campaign, as it is exported.
#[derive(Clone, Debug)]
pub struct CampaignMessage {
    /// The row.
    pub message: MessageView,
    /// Its recipient's variables.
    pub vars: Vars,
    /// The row of its content.
    pub content: i64,
    /// Where it stands.
    pub place: Place,
    /// How long after the message of its sequence before it, it leaves at the earliest.
    pub after: Millis,
    /// The length of its sequence.
    pub steps: u32,
}

/// What became of the messages of a campaign with one content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VariantView {
    /// The content, as JSON.
    pub content: String,
    /// Its messages.
    pub messages: u64,
    /// Those that were sent.
    pub sent: u64,
    /// Those of them that reached a device.
    pub device: u64,
    /// Those of them that were read, or played.
    pub read: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Sent messages whose recipients wrote since.
    pub replied: u64,
    /// Sent messages whose recipients opted out since.
    pub opted_out: u64,
}
