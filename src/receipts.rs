//! Takes in what gateways post back: acks, recorded however late, twice or out of order they come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use crate::clock;
use crate::domain::id::InstanceName;
use crate::domain::time::Timestamp;
use crate::feed::{Feed, News};
use crate::gateway::signature::HookProof;
use crate::gateway::{Gateway, HookEvent};
use crate::store::{AckNews, ReplyNews, SqliteStore, Store};

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
}

/// See the [module](self).
#[derive(Clone)]
pub struct Receipts {
    store: Arc<SqliteStore>,
    inboxes: Arc<HashMap<InstanceName, Inbox>>,
    last_ack_ms: Arc<AtomicI64>,
    feed: Feed,
    news: Arc<Notify>,
}

impl Receipts {
    /// Takes in webhooks of these instances; who follows messages is told by `news`.
    pub fn new(
        store: Arc<SqliteStore>,
        inboxes: HashMap<InstanceName, Inbox>,
        feed: Feed,
        news: Arc<Notify>,
    ) -> Receipts {
        Receipts { store, inboxes: Arc::new(inboxes), last_ack_ms: Arc::default(), feed, news }
    }

    /// When the latest ack of this run was recorded.
    pub fn last_ack_at(&self) -> Option<Timestamp> {
        Some(Timestamp(self.last_ack_ms.load(Ordering::Relaxed))).filter(|t| t.0 > 0)
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
        if !inbox.proof.lets_in(header, token, body) {
            if matches!(inbox.proof, HookProof::Missing) {
                tracing::warn!(instance, "a webhook was refused: no secret is configured for this instance");
            } else {
                tracing::warn!(instance, "a webhook was refused: its proof is missing or wrong");
            }
            return Taken::Forbidden;
        }
        let events = match inbox.gateway.parse_webhook(body) {
            Ok(events) => events,
            Err(e) => {
                tracing::warn!(instance, error = %e, "a webhook was not understood");
                return self.ignore(&name, "unreadable").await;
            }
        };
        let now = clock::now();
        let (mut acks, mut replies) = (Vec::new(), Vec::new());
        let mut taken = Taken::Recorded;
        for event in events {
            match event {
                HookEvent::Ack { gateway_id, participant, ack } => {
                    tracing::info!(gateway_id, "ack: {}", ack.name());
                    acks.push(AckNews {
                        instance: name.clone(),
                        gateway_id,
                        participant,
                        ack,
                        at: now,
                        source: "webhook",
                    });
                }
                HookEvent::Reply { chat, gateway_id } => {
                    tracing::info!(gateway_id, "somebody wrote");
                    replies.push(ReplyNews { instance: name.clone(), gateway_id, chat, at: now });
                }
                HookEvent::Other { event } => taken = self.ignore(&name, &event).await,
            }
        }
        if !replies.is_empty() {
            if let Err(e) = self.store.record_replies(replies).await {
                tracing::error!(instance, error = %e, "replies could not be stored");
                return Taken::Unavailable;
            }
            self.news.notify_one();
        }
        if acks.is_empty() {
            return taken;
        }
        let told: Vec<News> = acks
            .iter()
            .map(|a| News::Ack { instance: a.instance.clone(), gateway_id: a.gateway_id.clone(), ack: a.ack })
            .collect();
        match self.store.record_acks(acks).await {
            Ok(_) => {
                told.into_iter().for_each(|n| self.feed.tell(n));
                self.last_ack_ms.fetch_max(now.0, Ordering::Relaxed);
                self.news.notify_one();
                Taken::Recorded
            }
            Err(e) => {
                tracing::error!(instance, error = %e, "acks could not be stored");
                Taken::Unavailable
            }
        }
    }

    async fn ignore(&self, instance: &InstanceName, event: &str) -> Taken {
        match self.store.count_ignored_hook(instance, event, clock::now()).await {
            Ok(()) => Taken::Ignored,
            Err(_) => Taken::Unavailable,
        }
    }
}
