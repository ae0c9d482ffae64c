//! What the database tells people: messages, their timelines, counts.

mod campaigns;
mod people;

use crate::domain::ack::Ack;
use crate::domain::campaign::CampaignName;
use crate::domain::class::Class;
use crate::domain::content::Content;
use crate::domain::follow::{Followed, Follower};
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::state::StateName;
use crate::domain::template::Vars;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{DoubtFigures, StoredJob};

pub use campaigns::{
    CampaignCount, CampaignMessage, CampaignView, Place, RecallReport, RecallView, RecordView, VariantView,
};
pub use people::{ConsentView, ContactView, ListView, SuppressionView};

/// One message, as `list` shows it.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the fields bear the names of the columns and of the JSON, described in docs/reference/json.md"
)]
pub struct MessageView {
    pub id: MessageId,
    pub job: Option<String>,
    pub occurrence: Option<Timestamp>,
    pub campaign: Option<CampaignName>,
    pub instance: String,
    pub chat: String,
    pub class: Class,
    pub kind: String,
    pub state: StateName,
    pub reason: Option<String>,
    pub due_at: Timestamp,
    pub wake_at: Option<Timestamp>,
    pub lead: Millis,
    pub attempts: i64,
    pub gateway_id: Option<String>,
    pub typing_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub ack: Option<Ack>,
    pub ack_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// Which messages `list` shows.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Any of these states; empty = all.
    pub states: Vec<StateName>,
    /// Of this job.
    pub job: Option<String>,
    /// Through this instance.
    pub instance: Option<String>,
    /// To this chat.
    pub chat: Option<String>,
    /// With this ack.
    pub ack: Option<Ack>,
    /// Due at or after.
    pub since: Option<Timestamp>,
    /// Due before.
    pub until: Option<Timestamp>,
    /// 1 … 1,000.
    pub limit: u32,
    /// Continue after this message.
    pub after: Option<MessageId>,
}

/// One message with everything known about it.
#[derive(Clone, Debug)]
pub struct MessageDetail {
    /// The row.
    pub message: MessageView,
    /// Its content, with templates unfilled.
    pub content: Content,
    /// Its recipient's variables.
    pub vars: Vars,
    /// Its attempts by number.
    pub attempts: Vec<AttemptView>,
    /// Its acks by time.
    pub acks: Vec<AckView>,
    /// Its whole timeline by time.
    pub events: Vec<EventView>,
    /// How following it stands, where it is followed or follows another.
    pub follow_up: Option<FollowUpView>,
    /// How its recall stands, where one was asked.
    pub recall: Option<RecallView>,
    /// How its instance stands, where it does not send: state, reason, until.
    pub blocked: Option<(String, Option<String>, Option<Timestamp>)>,
}

/// One attempt.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct AttemptView {
    pub number: i64,
    pub typing: Option<TypingView>,
    pub marked_at: Timestamp,
    pub send: Option<SendView>,
}

/// The typing of an attempt.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct TypingView {
    pub started_at: Timestamp,
    pub status: Option<i64>,
    pub response: Option<String>,
    pub refreshes: i64,
    pub stopped_at: Option<Timestamp>,
}

/// The send of an attempt. All but the outcome may be unknown: the request was never begun.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct SendView {
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub status: Option<i64>,
    pub outcome: String,
    pub response: Option<String>,
}

/// One ack.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct AckView {
    pub ack: Ack,
    pub at: Timestamp,
    pub participant: Option<String>,
    pub source: String,
}

/// How following a message stands.
#[derive(Clone, Debug)]
pub struct FollowUpView {
    /// How it stands, where it is followed.
    pub state: Option<Followed>,
    /// The message it follows itself.
    pub follows: Option<MessageId>,
    /// When it is looked at next, where nothing is told before.
    pub next_at: Option<Timestamp>,
    /// What follows it, the earliest first.
    pub followers: Vec<FollowerView>,
}

/// A message that follows another.
#[derive(Clone, Copy, Debug)]
pub struct FollowerView {
    /// Its id.
    pub id: MessageId,
    /// Which one, and where it is.
    pub follower: Follower,
}

/// One step of a message's timeline.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct EventView {
    pub at: Timestamp,
    pub from: Option<String>,
    pub to: String,
    pub note: Option<String>,
}

/// A piece of evidence about a doubt.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields bear the names of the JSON, described in docs/reference/json.md")]
pub struct EvidenceView {
    pub at: Timestamp,
    pub attempt: i64,
    pub kind: String,
    pub verdict: String,
    pub note: Option<String>,
}

/// An attempt that was ever in doubt.
#[derive(Clone, Debug)]
pub struct DoubtAttemptView {
    /// Which.
    pub number: i64,
    /// What became of it: `sent`, `unsent`, `resent`, `dropped`; none while nobody knows.
    pub verdict: Option<String>,
    /// Whether it went out beside another attempt of its message.
    pub duplicate: bool,
}

/// One message in doubt, or that once was.
#[derive(Clone, Debug)]
pub struct DoubtView {
    /// The row.
    pub message: MessageView,
    /// What was found out.
    pub evidence: Vec<EvidenceView>,
    /// Its attempts that were ever in doubt.
    pub attempts: Vec<DoubtAttemptView>,
    /// When the history is asked next, if it is.
    pub next_look_at: Option<Timestamp>,
}

/// What one run of the daemon did.
#[derive(Clone, Debug, Default)]
pub struct RunSummary {
    /// Messages it attempted or settled, by state.
    pub states: Vec<(StateName, i64)>,
    /// What it sent, by ack; `None` = no ack.
    pub acks: Vec<(Option<Ack>, i64)>,
    /// Lateness of first attempts not held by pacing, in ms: median, 99th percentile, greatest.
    pub late_ms: Option<(i64, i64, i64)>,
    /// Attempts, and those of them that showed typing.
    pub attempts: (i64, i64),
    /// Messages in doubt in the whole database.
    pub in_doubt: i64,
}

/// Counts and lateness.
#[derive(Clone, Debug, Default)]
pub struct StatsView {
    /// Messages by state.
    pub states: Vec<(StateName, i64)>,
    /// Messages by ack; `None` = no ack.
    pub acks: Vec<(Option<Ack>, i64)>,
    /// Lateness of first attempts not held by pacing, in ms: median, 99th percentile, greatest.
    pub late_ms: Option<(i64, i64, i64)>,
    /// Attempts that showed typing.
    pub typing_started: i64,
    /// Those whose typing call failed or was not answered in time.
    pub typing_failed: i64,
    /// Sends that left in the last minute and hour.
    pub rates: (i64, i64),
    /// Occurrences that were not served.
    pub missed: i64,
    /// Webhooks rightly signed and not understood.
    pub ignored_hooks: i64,
    /// Acks that belong to no message of their instance, as far as is known yet.
    pub orphan_acks: i64,
    /// What became of doubts.
    pub doubts: DoubtFigures,
    /// How often something was rescued that should not have been: rows that were `typing`, that were `sending`, and what a
    /// command left halfway.
    pub rescued: [u64; 3],
}

/// A message that leaves soon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coming {
    /// Which one.
    pub id: MessageId,
    /// Of which job.
    pub job: Option<String>,
    /// Through which instance.
    pub instance: String,
    /// To which chat.
    pub chat: String,
    /// When it leaves if its lane can take it then.
    pub leaves_at: Timestamp,
}

/// An instance as a watcher sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneView {
    /// Its name.
    pub name: String,
    /// Its gateway's kind.
    pub gateway: String,
    /// `working`, `resting` or `down`.
    pub state: String,
    /// Why it does not send, for a person.
    pub reason: Option<String>,
    /// Until when it rests.
    pub until: Option<Timestamp>,
    /// Messages whose instant has come and that wait for it, counted up to ten thousand.
    pub waiting: i64,
}

/// A job as people look at it.
#[derive(Clone, Debug)]
pub struct JobView {
    /// The job as the planner sees it.
    pub stored: StoredJob,
    /// Whether the file applied last no longer declares it.
    pub vanished: bool,
    /// Its messages by state, without those that were replaced.
    pub counts: Vec<(StateName, i64)>,
    /// Its latest occurrence and the state of its messages: the least settled one, or `missed`.
    pub last: Option<(Timestamp, String)>,
}

/// A run of occurrences of a job that were not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissedView {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub count: i64,
    /// Why.
    pub reason: String,
}

/// An instance as people look at it.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// Its name.
    pub name: InstanceName,
    /// How its lane stands.
    pub lane: LaneView,
    /// Chats in which typing is shown, as far as rows tell.
    pub typing_now: i64,
    /// Requests that are out.
    pub in_flight: i64,
    /// When a send last went well.
    pub last_ok_at: Option<Timestamp>,
}

/// How one attempt was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerView {
    /// How much later than its slot the request left.
    pub late: Millis,
    /// How long it took.
    pub took: Millis,
    /// The word of its outcome.
    pub outcome: String,
}
