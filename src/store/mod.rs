//! Where everything durable is: one trait whose methods are verbs of the domain, each one transaction.
//!
//! Rules of the house: what is not found is an `Option`; time is always a parameter; no transaction leaves the store;
//! a state changes only by [`Store::apply`], guarded by id, number of attempts and the states the row may be in.

mod ack_queue;
mod ballast;
mod doubt_rows;
mod error;
mod fault;
mod file_lock;
mod lock;
mod names;
mod new_messages;
mod news;
mod sqlite;
mod sqlite_acks;
mod sqlite_apply;
mod sqlite_audience;
mod sqlite_brake;
mod sqlite_campaign;
mod sqlite_care;
mod sqlite_chores;
mod sqlite_claim;
mod sqlite_contact;
mod sqlite_days;
mod sqlite_doubt;
mod sqlite_erase;
mod sqlite_event;
mod sqlite_file;
mod sqlite_flows;
mod sqlite_follow;
mod sqlite_foreign;
mod sqlite_import;
mod sqlite_insert;
mod sqlite_jobs;
mod sqlite_list;
mod sqlite_live;
mod sqlite_moved;
mod sqlite_overlap;
mod sqlite_overview;
mod sqlite_pause;
mod sqlite_plan;
mod sqlite_progress;
mod sqlite_prune;
mod sqlite_read;
mod sqlite_recall;
mod sqlite_renew;
mod sqlite_rescue;
mod sqlite_restore;
mod sqlite_rows;
mod sqlite_senders;
mod sqlite_upkeep;
mod sqlite_usual;
mod sqlite_watch;
mod sqlite_words;
mod sqlite_writer;
mod sqlite_zones;
pub mod view;
mod whereabouts;
mod witness;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::campaign::CampaignName;
use crate::domain::claim::{Ours, Wanted};
use crate::domain::content::Content;
use crate::domain::doubt::KnownSend;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::job::{Job, Manner, Overlap};
use crate::domain::message::{Change, Departure, Due, Verdict};
use crate::domain::recipient::Chat;
use crate::domain::sender::Senders;
use crate::domain::state::{Event, Reason};
use crate::domain::template::Vars;
use crate::domain::time::{Millis, Timestamp};

pub use doubt_rows::{Doubt, EchoFits, EchoKind, EchoNews, Evidence, Recovery};
pub use error::StoreError;
pub use fault::StorageFault;
pub use lock::{ChoreLock, DaemonLock, ImportLock};
pub use names::real_path;
pub use new_messages::{Making, NewMessage, NewMessages, Publish};
pub use news::{AckNews, AckTally, Confirmation, ConsentNews, ReplyNews};
pub use sqlite::{Opening, SqliteStore};
pub use sqlite_audience::OpenAudience;
pub(crate) use sqlite_audience::vars_json;
pub use sqlite_care::Folded;
pub use sqlite_chores::ChoreRow;
pub use sqlite_days::{Day, DayFigures, KeptDay};
pub use sqlite_doubt::DoubtFigures;
pub use sqlite_erase::{Erased, Traces};
pub use sqlite_file::FileApply;
pub use sqlite_follow::{FollowedMessage, WaitingFollower, step_of};
pub use sqlite_import::{ImportEnd, OpenImport};
pub use sqlite_list::{ContactsStored, FoundList, Joining};
pub use sqlite_live::{Joined, OpenOccurrence};
pub use sqlite_prune::{Forget, Pruned};
pub use sqlite_recall::{Recall, RecallAsked, RecallResult, RecallWish, UnsettledRecall};
pub use sqlite_renew::{Removed, Renewal};
pub use sqlite_rescue::{InMotion, Unfinished};
pub use sqlite_restore::SetBack;
pub use sqlite_zones::{Moved, PlannedAhead};
pub use whereabouts::refuse_dangling;

/// A content with its manner of sending, as stored once for many messages.
#[derive(Debug)]
pub struct StoredContent {
    /// Its row.
    pub id: i64,
    /// What is said.
    pub content: Content,
    /// How it is sent.
    pub manner: Manner,
    /// The zone of instants in its texts, by IANA name.
    pub zone: String,
    /// How much time outages and retries may cost a message with it.
    pub max_lateness: Millis,
}

/// A stretch in which nothing could be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outage {
    /// By which instance; by none, since no daemon ran, if absent.
    pub instance: Option<InstanceName>,
    /// From when.
    pub began_at: Timestamp,
    /// Until when.
    pub ended_at: Timestamp,
}

/// A message taken into hand, with what is needed to render it.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What the engine decides on.
    pub due: Due,
    /// What it says.
    pub content: Arc<StoredContent>,
    /// Its recipient's variables.
    pub vars: Vars,
    /// The job it belongs to.
    pub job: Option<String>,
    /// The occurrence it belongs to.
    pub nominal_at: Option<Timestamp>,
    /// The hash taken at planning, see [`guard`].
    pub guard: i64,
    /// Whether nobody vouched that it is no repetition: it is of no job, has no key, and no person released it.
    pub unvouched: bool,
    /// Whether it goes to those who opted in only, and no opt-in of its recipient is recorded.
    pub no_opt_in: bool,
    /// Until when it does not break into what its recipient writes.
    pub quiet_until: Option<Timestamp>,
    /// Whether it follows another message, or is a further one of an import: its occurrence is finished without it.
    pub beside: bool,
    /// Whether it counts for `frequency`.
    pub counted: bool,
}

/// One message as a claim would hand it over, whatever state it is in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The message.
    pub claimed: Claimed,
    /// Whether its occurrence is still hidden.
    pub planning: bool,
    /// The message of its sequence that must be sent before it, and has not been.
    pub waits_for: Option<MessageId>,
    /// When it leaves, fixed when its typing began.
    pub slot: Option<Timestamp>,
    /// Why it will be skipped when its time comes, as things stand.
    pub unwanted: Option<Reason>,
}

/// The answer to [`Store::claim`].
#[derive(Debug, Default)]
pub struct ClaimAnswer {
    /// The messages, urgent ones and reminders first, each flow by wake.
    pub messages: Vec<Claimed>,
    /// Whether the limit cut the ordinary classes short.
    pub more: bool,
    /// The earliest wake after the horizon.
    pub next_wake: Option<Timestamp>,
}

/// An instance as the database knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct InstanceRow {
    /// Its name.
    pub name: InstanceName,
    /// Its gateway's kind.
    pub gateway: String,
    /// Its settings with references to secrets.
    pub definition: serde_json::Value,
}

/// One recipient of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// Where.
    pub chat: Chat,
    /// What a template may use.
    pub vars: Vars,
}

/// A job ready to be stored.
#[derive(Clone, Debug)]
pub struct JobApply {
    /// The declaration.
    pub job: Job,
    /// Its recipients, by the id of a complete audience.
    pub audience: i64,
    /// How much time outages and retries may cost its messages.
    pub max_lateness: Millis,
}

/// What applying one job did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is new.
    Added,
    /// It was known and is the same.
    Unchanged,
    /// It was known and changed: its waiting messages were replaced.
    Changed,
}

/// A job as the planner sees it.
#[derive(Clone, Debug)]
pub struct StoredJob {
    /// The declaration.
    pub job: Job,
    /// The rows of its contents, in the order in which they are sent.
    pub contents: Vec<i64>,
    /// Its recipients.
    pub audience: i64,
    /// How many they are.
    pub size: u64,
    /// When it entered the database.
    pub first_applied_at: Timestamp,
    /// When it was applied as it is now.
    pub applied_at: Timestamp,
    /// The next occurrence to plan.
    pub next_at: Option<Timestamp>,
    /// Whether an occurrence of it is planned anew, since it was changed: that is no misfire.
    pub resumes: bool,
    /// When the jobs file says that its event begins; a person may have moved it since.
    pub declared_event: Option<Timestamp>,
    /// Whether a person called its event off.
    pub event_cancelled: bool,
}

impl StoredJob {
    /// What a declaration of this job comes to: an event that a person moved or called off stays so, as long as the
    /// declaration says of it what the last one said. `None` = it is called off.
    pub fn as_declared(&self, declared: &Job) -> Option<Job> {
        let mut job = declared.clone();
        if self.declared_event.is_some() && self.declared_event == declared.schedule.event_at() {
            if self.event_cancelled {
                return None;
            }
            self.job.schedule.event_at().into_iter().for_each(|at| job.schedule.move_event(at));
        }
        Some(job)
    }
}

/// An occurrence about which it is to be found out whether the one before it is finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// Its row.
    pub occurrence: i64,
    /// Its job.
    pub job: String,
    /// Its nominal instant.
    pub nominal: Timestamp,
    /// Whether it waits in the queue already.
    pub queued: bool,
    /// What its job does when occurrences overlap.
    pub overlap: Overlap,
    /// How many occurrences of the job may wait in the queue.
    pub most_queued: u32,
}

/// What a person stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PauseScope {
    /// Every instance.
    All,
    /// One instance.
    Instance(String),
    /// One job.
    Job(String),
    /// One occurrence of a job.
    Campaign(CampaignName),
}

impl PauseScope {
    /// The words it is stored under.
    fn parts(&self) -> (&'static str, String) {
        match self {
            PauseScope::All => ("all", String::new()),
            PauseScope::Instance(name) => ("instance", name.clone()),
            PauseScope::Job(name) => ("job", name.clone()),
            PauseScope::Campaign(name) => ("campaign", format!("{}@{}", name.job, name.nominal.0)),
        }
    }

    /// Whether it stops a message of this instance, and of this job and occurrence where it has them.
    pub fn stops(&self, instance: &str, job: Option<&str>, nominal: Option<Timestamp>) -> bool {
        match self {
            PauseScope::All => true,
            PauseScope::Instance(name) => name == instance,
            PauseScope::Job(name) => Some(name.as_str()) == job,
            PauseScope::Campaign(name) => Some(name.job.as_str()) == job && Some(name.nominal) == nominal,
        }
    }
}

/// A pause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pause {
    /// Of what.
    pub scope: PauseScope,
    /// Why, in the words of whoever paused it.
    pub note: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// The answer to [`Store::verify`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// These may no longer be sent by us: cancelled, replaced, hidden, put off, or gone.
    pub gone: Vec<MessageId>,
    /// These are ours, but sending them is paused.
    pub paused: Vec<MessageId>,
    /// The others, paused or not.
    pub ours: Vec<Ours>,
}

/// A content that was sent, or is being sent, lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecentBody {
    /// By which message.
    pub id: MessageId,
    /// The hash of its chat and content.
    pub body: i64,
    /// When it was marked.
    pub at: Timestamp,
}

/// The durable side of the program.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Hands over messages of `instance` as they are wanted, without what is paused at `now`.
    async fn claim(&self, instance: &InstanceName, now: Timestamp, wanted: &Wanted) -> Result<ClaimAnswer, StoreError>;

    /// Which of these may not be sent by us at `now`, and why; those that wake after `horizon` are claimed again later.
    async fn verify(&self, ids: &[MessageId], now: Timestamp, horizon: Timestamp) -> Result<Verified, StoreError>;

    /// Contents marked since an instant and not known to be unsent.
    async fn recent_bodies(&self, since: Timestamp) -> Result<Vec<RecentBody>, StoreError>;

    /// Expires what may not leave after `now` any more and is in nobody's hands. Answers how many.
    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Carries out changes, each guarded, all durable when this returns. Answers in the same order.
    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Verdict>, StoreError>;

    /// Records acks; those without a message yet are kept and joined when its answer comes. Answers what became of them and
    /// of those that were recorded together with them.
    async fn record_acks(&self, acks: Vec<AckNews>) -> Result<AckTally, StoreError>;

    /// Counts a webhook that was rightly signed but not understood.
    async fn count_ignored_hook(&self, instance: &InstanceName, event: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Remembers how an instance stands, and an outage that just ended.
    async fn remember_standing(
        &self,
        instance: &InstanceName,
        state: &'static str,
        reason: Option<String>,
        until: Option<Timestamp>,
        outage: Option<(Timestamp, Timestamp)>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// When sends of an instance left, from `since` on, rising.
    async fn recent_sends(&self, instance: &InstanceName, since: Timestamp) -> Result<Vec<Departure>, StoreError>;

    /// Stretches in which nothing could be sent that ended after `since`, in the order of their ends.
    async fn outages(&self, since: Timestamp) -> Result<Vec<Outage>, StoreError>;

    /// Notes a stretch in which nobody worked.
    async fn note_outage(&self, began: Timestamp, ended: Timestamp) -> Result<(), StoreError>;

    /// The instances with doubts whose next look is due.
    async fn instances_in_doubt(&self, now: Timestamp) -> Result<Vec<InstanceName>, StoreError>;

    /// Doubts of an instance whose next look is due.
    async fn doubts_to_look_at(
        &self,
        instance: &InstanceName,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Doubt>, StoreError>;

    /// Which of these ids belong to messages of ours already, and how each stands to an attempt: its message and number. One is
    /// before it where its answer came longer ago than a history needs to show a message.
    async fn known_sends(
        &self,
        instance: &InstanceName,
        gateway_ids: Vec<String>,
        attempt: (MessageId, u32),
        shown_after: Millis,
    ) -> Result<HashMap<String, KnownSend>, StoreError>;

    /// How many other messages said the same in a chat through an instance, and may have gone out without anybody knowing:
    /// those in doubt, those that were given up or sent again so, and those whose answer is awaited.
    async fn rivals(&self, instance: &InstanceName, of: MessageId, chat: &Chat, body: i64)
    -> Result<usize, StoreError>;

    /// Adds evidence and plans the next look.
    async fn add_evidence(&self, evidence: Evidence) -> Result<(), StoreError>;

    /// Keeps what gateways told of messages of our accounts, where it may settle a doubt. Answers how many.
    async fn record_echoes(&self, echoes: Vec<EchoNews>) -> Result<u64, StoreError>;

    /// Echoes with the attempts each may be.
    async fn echoes_to_settle(&self) -> Result<Vec<EchoFits>, StoreError>;

    /// Forgets echoes that are of no use any more.
    async fn forget_echoes(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Writes down that an attempt went out after all, though another one of its message did too. Answers whether that
    /// is new.
    async fn note_duplicate(&self, evidence: Evidence) -> Result<bool, StoreError>;

    /// Jobs the planner must look at by `now`, the earliest first.
    async fn jobs_to_plan(&self, now: Timestamp, limit: usize) -> Result<Vec<StoredJob>, StoreError>;

    /// The same in order of their names: the first `limit` of those after a name, which the empty one comes before.
    async fn jobs_passed(&self, now: Timestamp, after: &str, limit: usize) -> Result<Vec<StoredJob>, StoreError>;

    /// Replaces some of what changed jobs have waiting, should the command that changed them have ended halfway. Answers
    /// whether more is left.
    async fn replace_left(&self, now: Timestamp) -> Result<bool, StoreError>;

    /// Occurrences of changed jobs that are to be planned anew, the earliest first.
    async fn renewals(&self, limit: usize) -> Result<Vec<Renewal>, StoreError>;

    /// Shows an occurrence that is to be planned anew as it is, since the schedule of its job does not know it any more.
    async fn show_as_it_is(&self, job: &str, nominal: Timestamp) -> Result<(), StoreError>;

    /// When the planner must next look at a job.
    async fn next_plan_at(&self) -> Result<Option<Timestamp>, StoreError>;

    /// When the messages of an occurrence that were replaced, to these chats, were due, by chat and step.
    async fn replaced(
        &self,
        job: &str,
        nominal: Timestamp,
        chats: Vec<Chat>,
    ) -> Result<HashMap<(Chat, i32), Timestamp>, StoreError>;

    /// Through which account each of these chats was written to last by a job that goes through several.
    async fn senders(&self, chats: Vec<Chat>) -> Result<Senders, StoreError>;

    /// Recipients of an audience after `after_place`, by place.
    async fn recipients(
        &self,
        audience: i64,
        after_place: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Recipient)>, StoreError>;

    /// A content by its row.
    async fn content(&self, id: i64) -> Result<Arc<StoredContent>, StoreError>;

    /// Stores messages; a recipient who already has one in the occurrence keeps it. Answers how many are new.
    async fn insert(&self, messages: NewMessages) -> Result<u64, StoreError>;

    /// Advances a job whose next occurrence is not to be planned (none left, or missed).
    async fn advance_job(&self, name: &str, expected: Option<Timestamp>, publish: Publish) -> Result<(), StoreError>;

    /// Occurrences at whose gate it is `now`, the earliest first.
    async fn gates(&self, now: Timestamp) -> Result<Vec<Gate>, StoreError>;

    /// When the next occurrence is at its gate.
    async fn next_gate_at(&self) -> Result<Option<Timestamp>, StoreError>;

    /// The unfinished one among the occurrences of a job just before this one: the latest of them.
    async fn unfinished_before(&self, gate: &Gate) -> Result<Option<i64>, StoreError>;

    /// How many occurrences of a job wait in its queue.
    async fn queued(&self, job: &str) -> Result<u64, StoreError>;

    /// Lets an occurrence pass its gate, or (`Some`) puts it into the queue until it is asked about again.
    async fn pass_gate(&self, gate: &Gate, again: Option<Timestamp>) -> Result<(), StoreError>;

    /// Settles what waits of an occurrence. Answers how many messages.
    async fn settle_waiting(
        &self,
        occurrence: i64,
        event: Event,
        note: &'static str,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// The occurrence of a job at an instant, where it is planned or being planned, and whether that was begun and not finished.
    async fn known_occurrence(&self, job: &str, nominal: Timestamp) -> Result<Option<(i64, bool)>, StoreError>;

    /// The occurrences of a job that were planned in time, passed before `before` while nobody worked, and of which
    /// nothing was begun: the latest first, each with its nominal instant.
    async fn untouched_since_outage(&self, job: &str, before: Timestamp) -> Result<Vec<(i64, Timestamp)>, StoreError>;

    /// Writes down that the daemon is alive, so that the next start knows since when it was not.
    async fn heartbeat(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Counts up whenever somebody, in this process or another, changed the store: a hint to look, never a record.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// The hash of what is sent to a chat: by it a repeated content is noticed, and an echo recognised.
pub fn body_hash(chat: &Chat, content: &Content) -> i64 {
    guard(chat, &serde_json::to_string(content).unwrap_or_default(), None)
}

/// The hash by which a message is checked before it is sent: damage in its row, its content or its recipient must
/// never become a wrong text at a wrong person. First eight bytes of SHA-256.
pub fn guard(chat: &Chat, body: &str, vars: Option<&str>) -> i64 {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in [chat.as_str(), body, vars.unwrap_or("")] {
        hash.update(u64::try_from(part.len()).unwrap_or(0).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}
