//! A campaign once more, for those whom it did not reach: what failed gets another chance where it is; what was sent and not
//! delivered, or not read, becomes a campaign of its own, so that the first one keeps saying what happened. Who opted out meanwhile is
//! skipped in it when its time comes, as everywhere.

use std::collections::{BTreeMap, HashSet};

use crate::clock;
use crate::domain::ack::Ack;
use crate::domain::campaign::CampaignName;
use crate::domain::id::MessageId;
use crate::domain::recipient::{Chat, is_forgotten};
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::intake::IdMaker;
use crate::repair::{Repair, Repaired, repair};
use crate::store::view::{CampaignMessage, CampaignView, MessageView, Place};
use crate::store::{
    ImportEnd, ImportLock, NewMessage, NewMessages, OpenImport, Recipient, SqliteStore, Store, StoreError, guard,
    vars_json,
};

/// Messages looked at, and stored, in one step: some milliseconds of the writer.
const AT_ONCE: u32 = 400;

/// Whom a campaign did not reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreached {
    /// The message failed.
    Failed,
    /// It was sent, and no device is known to have it.
    Undelivered,
    /// It was sent, and is not known to have been read.
    Unread,
}

impl Unreached {
    /// All of them, with the words they are chosen by.
    pub const ALL: [(Unreached, &'static str); 3] =
        [(Unreached::Failed, "failed"), (Unreached::Undelivered, "undelivered"), (Unreached::Unread, "unread")];

    /// Whether a message is one of these.
    fn is(self, m: &MessageView) -> bool {
        let sent = m.state == StateName::Sent;
        match self {
            Unreached::Failed => m.state == StateName::Failed,
            Unreached::Undelivered => sent && !matches!(m.ack, Some(Ack::Device | Ack::Read | Ack::Played)),
            Unreached::Unread => sent && !matches!(m.ack, Some(Ack::Read | Ack::Played)),
        }
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resent {
    /// Failed messages that got another chance.
    pub retried: u64,
    /// Messages that are sent again.
    pub again: u64,
    /// Messages that are not, since their recipients were sent the campaign again before.
    pub before: u64,
    /// The campaign in which they are sent again.
    pub campaign: Option<CampaignName>,
}

/// Gives those whom a campaign did not reach another chance. Whom it was sent again before is left out, but `once_more`. In a dry
/// run nothing is changed.
///
/// # Errors
/// When the database cannot be read or written, or somebody imports meanwhile: nothing is sent again then, and calling it once more
/// is harmless.
pub async fn resend(
    store: &SqliteStore,
    campaign: &CampaignView,
    only: &[Unreached],
    (once_more, dry_run): (bool, bool),
) -> Result<Resent, StoreError> {
    let mut done = Resent::default();
    let _lock = if dry_run { None } else { Some(ImportLock::take(store.path())?) };
    let now = clock::now();
    let mut open = None;
    let event = store.event_of(campaign.occurrence).await?;
    let mut again = Again::new(campaign.name.job.clone(), event, now);
    // Who left the list that the job follows is written to no more.
    let left = match store.job(&campaign.name.job).await? {
        Some(stored) if stored.job.live.is_some() => store.left(stored.audience).await?,
        _ => HashSet::new(),
    };
    let mut after = Place::START;
    loop {
        let states = [StateName::Failed, StateName::Sent];
        let page = store.campaign_messages(campaign.occurrence, &states, &after, AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = last.place.clone();
        let had = match once_more {
            true => HashSet::new(),
            false => store.sent_again(&file_of(&campaign.name), page.iter().map(|m| m.message.chat.clone())).await?,
        };
        let wanted = |m: &MessageView| !is_forgotten(&m.chat) && !left.contains(&Chat::from_stored(&m.chat));
        let chosen = page.into_iter().filter(|m| only.iter().any(|o| o.is(&m.message)) && wanted(&m.message));
        let (failed, sent): (Vec<_>, Vec<_>) = chosen.partition(|m| m.message.state == StateName::Failed);
        let (had, sent): (Vec<_>, Vec<_>) = sent.into_iter().partition(|m| had.contains(&m.message.chat));
        done.before += count(had.iter());
        let failed: Vec<MessageView> = failed.into_iter().map(|m| m.message).collect();
        let answers = repair(store, Repair::Retry, &failed, dry_run, now).await?;
        done.retried += count(answers.iter().filter(|a| matches!(a, Repaired::Done { .. })));
        done.again += count(sent.iter());
        if dry_run || sent.is_empty() {
            continue;
        }
        let import = match open {
            Some(import) => import,
            None => {
                let file = file_of(&campaign.name);
                let import = open.insert(store.begin_import(campaign.name.job.clone(), file, now).await?);
                store.reminds_of(import.occurrence, event).await?;
                *import
            }
        };
        again.store(store, import, sent).await?;
    }
    if let Some(import) = open {
        let end = ImportEnd { imported: done.again, ..ImportEnd::default() };
        store.publish_import(import, end, clock::now()).await?;
        done.campaign = Some(CampaignName { job: campaign.name.job.clone(), nominal: now });
    }
    Ok(done)
}

/// From what a campaign was imported that is another one once more.
const RESEND_OF: &str = "resend of ";

fn file_of(campaign: &CampaignName) -> String {
    format!("{RESEND_OF}{campaign}")
}

/// The campaign that one is once more, if it is.
pub fn resend_of(campaign: &CampaignView) -> Option<&str> {
    campaign.file.as_deref()?.strip_prefix(RESEND_OF)
}

/// Sends one message of a campaign to another chat, as its recipient would get it: a test. Answers its id; `None` where its content
/// is not there any more.
///
/// # Errors
/// When the database cannot be read or written, or somebody imports meanwhile.
pub async fn send_copy(
    store: &SqliteStore,
    campaign: &CampaignView,
    mut message: CampaignMessage,
    to: &Chat,
) -> Result<Option<MessageId>, StoreError> {
    let _lock = ImportLock::take(store.path())?;
    let now = clock::now();
    to.as_str().clone_into(&mut message.message.chat);
    // Of no occurrence of its job: the campaign stays the latest one.
    let job = format!("test of {}", campaign.name.job);
    let import = store.begin_import(job.clone(), format!("test of {}", campaign.name), now).await?;
    let mut copy = Again::new(job, None, now);
    copy.store(store, import, vec![message]).await?;
    store.publish_import(import, ImportEnd { imported: 1, ..ImportEnd::default() }, clock::now()).await?;
    Ok(copy.made.first().copied())
}

fn count<T>(all: impl Iterator<Item = T>) -> u64 {
    u64::try_from(all.count()).unwrap_or(u64::MAX)
}

/// Makes the messages of the new campaign, by chat as they come.
struct Again {
    job: String,
    now: Timestamp,
    /// When the event begins that the campaign reminds of.
    event: Option<Timestamp>,
    ids: IdMaker,
    /// The chat of the message before, whose messages are told apart by their steps, and when that one is due.
    chat: Option<String>,
    step: i32,
    due: Timestamp,
    place: i64,
    /// The ids of all of them.
    made: Vec<MessageId>,
}

impl Again {
    fn new(job: String, event: Option<Timestamp>, now: Timestamp) -> Again {
        Again { job, now, event, ids: IdMaker::default(), chat: None, step: 0, due: now, place: 0, made: Vec::new() }
    }

    async fn store(
        &mut self,
        store: &SqliteStore,
        import: OpenImport,
        sent: Vec<CampaignMessage>,
    ) -> Result<(), StoreError> {
        let mut recipients = Vec::with_capacity(sent.len());
        let mut batches: BTreeMap<(String, i64, bool, u32), Vec<NewMessage>> = BTreeMap::new();
        for m in sent {
            let content = store.content(m.content).await?;
            let body = serde_json::to_string(&content.content).unwrap_or_default();
            let chat = Chat::from_stored(&m.message.chat);
            let again = self.chat.as_deref() == Some(chat.as_str());
            // What was a sequence is one again, with the same distances.
            let follows = again && m.place.step > 0 && self.step >= 0;
            self.step = match (again, follows) {
                (false, _) => 0,
                (true, true) => self.step + 1,
                (true, false) => self.step.min(0) - 1,
            };
            self.chat = Some(chat.as_str().to_owned());
            self.place += 1;
            let lead = m.message.lead;
            let after = if follows { m.after } else { Millis::ZERO };
            let due_at = if follows { self.due + after } else { self.now + lead };
            self.due = due_at;
            let id = self.ids.make(self.now);
            self.made.push(id);
            let message = NewMessage {
                id,
                guard: guard(&chat, &body, vars_json(&m.vars).as_deref()),
                chat: chat.clone(),
                place: Some(self.place),
                due_at,
                wake_at: due_at - lead,
                lead,
                expires_at: content.manner.expires.map(|e| e.of(due_at)).into_iter().chain(self.event).min(),
                class: m.message.class,
                key: None,
                step: self.step,
                after,
                state: StateName::Scheduled,
                reason: None,
                followed: false,
                follows: None,
            };
            recipients.push((self.place, Recipient { chat, vars: m.vars }));
            let counted = content.manner.frequency.is_some();
            batches.entry((m.message.instance, m.content, counted, m.steps)).or_default().push(message);
        }
        let batches = batches.into_iter().map(|((instance, content, counted, steps), rows)| NewMessages {
            job: Some(self.job.clone()),
            nominal_at: Some(self.now),
            instance: crate::domain::id::InstanceName::new(&instance),
            content,
            counted,
            sticky: false,
            steps,
            audience: Some(import.audience),
            recipients: crate::domain::flow::OWN_FLOW_FROM,
            making: crate::store::Making::Beside,
            applied_at: None,
            rows,
            publish: None,
            now: self.now,
        });
        store.import_chunk(import, recipients, batches.collect()).await?;
        Ok(())
    }
}
