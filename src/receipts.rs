//! Takes in what gateways post back: acks, recorded however late, twice or out of order they come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{Notify, Semaphore};

use crate::clock;
use crate::domain::consent::{Consent, ConsentSource, Keywords};
use crate::domain::content::Content;
use crate::domain::id::InstanceName;
use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;
use crate::domain::words::said_at;
use crate::feed::{Feed, News};
use crate::gateway::signature::{HookProof, STAMP_HEADER, is_stale};
use crate::gateway::{Gateway, HookEvent};
use crate::store::{
    AckNews, Confirmation, ConsentNews, EchoKind, EchoNews, ReplyNews, SqliteStore, Store, StoreError, body_hash,
};

/// Webhooks recorded at once; more are put off with 503, which gateways answer by trying again. One of more than
/// [`SHARE`] bytes counts for several, so that they are 64 MiB at most.
const AT_ONCE: usize = 256;

/// The bytes for which a webhook takes one place of [`AT_ONCE`].
const SHARE: usize = 256 * 1024;

/// What a webhook's sender is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Recorded.
    Recorded,
    /// Rightly signed, not understood, counted.
    Ignored,
    /// No such instance.
    Unknown,
    /// It did not prove where it comes from.
    Forbidden,
    /// It could not be stored; the sender shall try again.
    Unavailable,
}

/// An instance's inbox.
#[derive(Clone)]
pub struct Inbox {
    /// Reads the bodies.
    pub gateway: Arc<dyn Gateway>,
    /// How they prove themselves.
    pub proof: HookProof,
    /// What counts as an opt-out and an opt-in.
    pub keywords: Keywords,
    /// Whether an opt-in lifts what a person suppressed, too.
    pub lifts_manual: bool,
    /// Makes the answer to one.
    pub confirm: Confirm,
}

/// Makes what a chat is answered to what it said about being written to, if anything.
pub type Confirm = Arc<dyn Fn(&Chat, Consent, Timestamp) -> Option<Confirmation> + Send + Sync>;

/// See the [module](self).
#[derive(Clone)]
pub struct Receipts {
    store: Arc<SqliteStore>,
    inboxes: Arc<HashMap<InstanceName, Inbox>>,
    last_ack_ms: Arc<AtomicI64>,
    feed: Feed,
    news: Arc<Notify>,
    room: Arc<Semaphore>,
}

impl Receipts {
    /// Takes in webhooks of these instances; who follows messages is told by `news`.
    pub fn new(
        store: Arc<SqliteStore>,
        inboxes: HashMap<InstanceName, Inbox>,
        feed: Feed,
        news: Arc<Notify>,
    ) -> Receipts {
        Receipts {
            store,
            inboxes: Arc::new(inboxes),
            last_ack_ms: Arc::default(),
            feed,
            news,
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// When the latest ack of this run was recorded.
    pub fn last_ack_at(&self) -> Option<Timestamp> {
        Some(Timestamp(self.last_ack_ms.load(Ordering::Relaxed))).filter(|t| t.0 > 0)
    }

    /// Whether webhooks of this instance are taken in.
    pub fn knows(&self, instance: &str) -> bool {
        self.inboxes.contains_key(&InstanceName::new(instance))
    }

    /// Takes in one webhook. Nothing is written before it proved itself.
    pub async fn take<'h>(
        &self,
        instance: &str,
        header: impl Fn(&str) -> Option<&'h str>,
        token: Option<&str>,
        body: &[u8],
    ) -> Taken {
        let name = InstanceName::new(instance);
        let Some(inbox) = self.inboxes.get(&name) else { return Taken::Unknown };
        if !inbox.proof.lets_in(&header, token, body) {
            if matches!(inbox.proof, HookProof::Missing) {
                tracing::warn!(instance, "a webhook was refused: no secret is configured for this instance");
            } else {
                tracing::warn!(instance, "a webhook was refused: its proof is missing or wrong");
            }
            return Taken::Forbidden;
        }
        let places = u32::try_from(body.len().div_ceil(SHARE)).unwrap_or(u32::MAX).max(1);
        let Ok(_room) = self.room.try_acquire_many(places) else {
            tracing::warn!(instance, "a webhook was put off: {AT_ONCE} others are being recorded");
            return Taken::Unavailable;
        };
        let now = clock::now();
        if is_stale(header(STAMP_HEADER), now) {
            tracing::warn!(instance, "a webhook is not believed: it was stamped long ago, or ahead of our clock");
            return self.ignore(&name, "stale").await;
        }
        let events = match inbox.gateway.parse_webhook(body) {
            Ok(events) => events,
            Err(e) => {
                tracing::warn!(instance, error = %e, "a webhook was not understood");
                return self.ignore(&name, "unreadable").await;
            }
        };
        let sorted = sort(&name, inbox, events, now);
        let mut taken = Taken::Recorded;
        for event in &sorted.others {
            taken = self.ignore(&name, event).await;
        }
        match self.record(sorted, now).await {
            Ok(true) => Taken::Recorded,
            Ok(false) => taken,
            Err(e) => {
                tracing::error!(instance, error = %e, "a webhook could not be stored");
                Taken::Unavailable
            }
        }
    }

    /// Records what a webhook told, and tells those who wait for it. Answers whether that was anything.
    async fn record(&self, told: Sorted, now: Timestamp) -> Result<bool, StoreError> {
        let any = !(told.acks.is_empty() && told.replies.is_empty() && told.echoes.is_empty());
        if !told.echoes.is_empty() {
            self.store.record_echoes(told.echoes).await?;
        }
        if !told.consents.is_empty() {
            for lid in told.unnumbered {
                self.look_for_number(&lid).await;
            }
            self.store.record_consents(told.consents).await?;
        }
        if !told.replies.is_empty() {
            self.store.record_replies(told.replies).await?;
            self.news.notify_one();
        }
        if !told.acks.is_empty() {
            let news: Vec<News> = told
                .acks
                .iter()
                .map(|a| News::Ack { instance: a.instance.clone(), gateway_id: a.gateway_id.clone(), ack: a.ack })
                .collect();
            self.store.record_acks(told.acks).await?;
            news.into_iter().for_each(|n| self.feed.tell(n));
            self.last_ack_ms.fetch_max(now.0, Ordering::Relaxed);
            self.news.notify_one();
        }
        Ok(any)
    }

    /// Tells a person where the opt-out of a LID may stop nothing: we write to their number, and do not know it.
    async fn look_for_number(&self, lid: &Chat) {
        if matches!(self.store.was_written_to(lid.as_str()).await, Ok(true)) {
            return;
        }
        tracing::error!(
            %lid,
            "a person asked to stop, and the gateway does not say which number they have: nothing is sent to their LID, and \
             messages to their number go on. Look for them at the phone, and run `onthedot contact suppress NUMBER`"
        );
    }

    async fn ignore(&self, instance: &InstanceName, event: &str) -> Taken {
        match self.store.count_ignored_hook(instance, event, clock::now()).await {
            Ok(()) => Taken::Ignored,
            Err(_) => Taken::Unavailable,
        }
    }
}

/// What a webhook told, by kind.
#[derive(Default)]
struct Sorted {
    acks: Vec<AckNews>,
    replies: Vec<ReplyNews>,
    consents: Vec<ConsentNews>,
    echoes: Vec<EchoNews>,
    /// LIDs that opted out, beside which no number was told.
    unnumbered: Vec<Chat>,
    others: Vec<String>,
}

/// What somebody wrote.
struct Heard {
    instance: InstanceName,
    chat: Chat,
    lid: Option<Chat>,
    gateway_id: String,
    text: String,
    at: Option<Timestamp>,
}

impl Sorted {
    /// Notes that somebody wrote, and what it says about being written to, under every name that they have.
    fn hear(&mut self, inbox: &Inbox, heard: Heard, now: Timestamp) {
        let Heard { instance, chat, lid, gateway_id, text, at } = heard;
        // In a group somebody speaks for himself only.
        let verdict = inbox.keywords.read(&text).filter(|_| chat.is_of_two());
        if let Some(verdict) = verdict {
            tracing::info!(gateway_id, "somebody opted {}", verdict.name());
        }
        tracing::info!(gateway_id, "somebody wrote");
        if verdict == Some(Consent::Out) && lid.is_none() && is_lid(&chat) {
            self.unnumbered.push(chat.clone());
        }
        // They are answered once, where they are known best.
        let mut confirm = verdict.and_then(|verdict| (inbox.confirm)(&chat, verdict, now)).map(Box::new);
        for chat in std::iter::once(chat).chain(lid) {
            if let Some(verdict) = verdict {
                self.consents.push(ConsentNews {
                    chat: chat.clone(),
                    verdict,
                    source: ConsentSource::Keyword,
                    note: Some(text.clone()),
                    at: now,
                    said_at: said_at(verdict, at, now),
                    message: Some((instance.clone(), gateway_id.clone())),
                    lifts_manual: inbox.lifts_manual && verdict == Consent::In,
                    confirm: confirm.take(),
                });
            }
            // A message is kept once: under the LID it has a name of its own, so that it never takes the place of the number.
            let gateway_id = if is_lid(&chat) { format!("{gateway_id}@lid") } else { gateway_id.clone() };
            self.replies.push(ReplyNews { instance: instance.clone(), gateway_id, chat, at: now });
        }
    }
}

fn is_lid(chat: &Chat) -> bool {
    chat.as_str().ends_with("@lid")
}

/// Names a message that came without an id, so that it is nothing when it is told again.
fn derived_id(chat: &Chat, text: &str, at: Timestamp) -> String {
    format!("{:016x}-{}", body_hash(chat, &Content::text(text)), at.0)
}

fn sort(name: &InstanceName, inbox: &Inbox, events: Vec<HookEvent>, now: Timestamp) -> Sorted {
    let mut sorted = Sorted::default();
    for event in events {
        let instance = name.clone();
        match event {
            HookEvent::Ack { gateway_id, participant, ack } => {
                tracing::info!(gateway_id, "ack: {}", ack.name());
                sorted.acks.push(AckNews { instance, gateway_id, participant, ack, at: now, source: "webhook" });
            }
            HookEvent::Reply { chat, .. } if chat.is_channel() => sorted.others.push("message of a channel".to_owned()),
            HookEvent::Reply { chat, lid, gateway_id, text, at } => {
                let gateway_id = gateway_id.unwrap_or_else(|| derived_id(&chat, &text, at.unwrap_or(now)));
                sorted.hear(inbox, Heard { instance, chat, lid, gateway_id, text, at }, now);
            }
            HookEvent::Stray { text, why } if inbox.keywords.read(&text) == Some(Consent::Out) => {
                tracing::error!(
                    %instance,
                    "somebody opted out, and nobody is suppressed: {why}. Look for it at the phone, and run \
                     `onthedot contact suppress NUMBER`"
                );
                sorted.others.push("opt-out of nobody known".to_owned());
            }
            HookEvent::Stray { why, .. } => {
                tracing::debug!(%instance, why, "somebody wrote, and nobody knows who");
                sorted.others.push("message of nobody known".to_owned());
            }
            HookEvent::Echo { chat, gateway_id, text, at } => {
                let body = Some(body_hash(&chat, &Content::text(&text)));
                let (chat, kind, sent_at) = (Some(chat.as_str().to_owned()), EchoKind::Echo, at.unwrap_or(now));
                sorted.echoes.push(EchoNews { instance, gateway_id, kind, chat, body, sent_at, told_at: now });
            }
            HookEvent::Unreadable { why } => {
                tracing::warn!(%instance, error = %why, "a part of a webhook was not understood; the rest of it counts");
                sorted.others.push("unreadable".to_owned());
            }
            HookEvent::Other { event } => sorted.others.push(event),
        }
    }
    sorted
}
