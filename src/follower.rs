//! Follows messages until they are answered: sends them again, tells somebody else, and takes back what became needless.
//! What is to be done is decided by [`FollowUp::decide`]; every nag and every escalation is a row of the queue.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::content::Content;
use crate::domain::draw::Draw;
use crate::domain::follow::{FollowUp, Followed, Kind};
use crate::domain::id::MessageId;
use crate::domain::job::Manner;
use crate::domain::message::{Change, Facts};
use crate::domain::state::{self, Event, Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::intake::{SharedIds, lead_of};
use crate::store::{
    FollowedMessage, NewMessage, NewMessages, SqliteStore, StoreError, StoredContent, WaitingFollower, guard, step_of,
    vars_json,
};

/// Looked at least this often: a message that was just sent is noticed no later.
const LOOK_EVERY: Millis = Millis(500);

/// Messages looked at side by side.
const SIDE_BY_SIDE: usize = 16;

/// Messages looked at in one go.
const AT_ONCE: u32 = 500;

/// What whoever is told of a message reads first, where nobody knows whether that went out.
const UNKNOWN: &str = "It is not known whether this went out:";

/// See the [module](self).
pub struct Follower {
    store: Arc<SqliteStore>,
    ids: SharedIds,
    news: Arc<Notify>,
    side_by_side: usize,
}

impl Follower {
    /// A follower that also looks when it is told of `news`: an ack, or a reply.
    pub fn new(store: Arc<SqliteStore>, ids: SharedIds, news: Arc<Notify>) -> Follower {
        Follower { store, ids, news, side_by_side: SIDE_BY_SIDE }
    }

    /// The same one message after the other, for whoever needs the same order each time.
    pub fn one_by_one(self) -> Follower {
        Follower { side_by_side: 1, ..self }
    }

    /// Follows until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(e) = self.look(clock::now()).await {
                tracing::warn!(error = %e, "what is followed could not be looked at; it is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.news.notified() => {}
                () = clock::beat(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks at everything whose time has come; many at a time, so that their commits form groups.
    ///
    /// # Errors
    /// When the database cannot be read or written; what was looked at by then stays done.
    pub async fn look(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let ids = self.store.to_follow(now, AT_ONCE).await?;
            let more = ids.len() >= usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
            let looked: Vec<Result<bool, StoreError>> =
                stream::iter(ids).map(|id| self.look_at(id, now)).buffer_unordered(self.side_by_side).collect().await;
            let moved = looked.into_iter().collect::<Result<Vec<bool>, _>>()?.contains(&true);
            // What an ack has just changed is looked at the next time.
            if !more || !moved {
                return Ok(());
            }
        }
    }

    async fn look_at(&self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        match self.store.followed(id, now).await? {
            Some(message) => self.go_on(&message, now).await,
            None => Ok(false),
        }
    }

    /// Answers whether it was done: not where it was looked at again meanwhile.
    async fn go_on(&self, message: &FollowedMessage, now: Timestamp) -> Result<bool, StoreError> {
        use StateName::{Expired, Failed, InDoubt, Sent};
        if !matches!(message.family.state, Sent | Failed | Expired | InDoubt) {
            // On its way once more, or taken back: it is looked at when it rests, if anybody may be asked then.
            let (followed, at) = match message.followed {
                Some(Followed::Waiting) if message.gone => (Some(Followed::Unknown), None),
                followed => (followed, followed.map(|_| Timestamp(0))),
            };
            return self.store.follow(message, Vec::new(), followed, at, now).await;
        }
        let follows = message.as_it_is.as_ref().filter(|_| message.goes_on && !message.gone);
        let Some((follow, says)) = follows.and_then(|says| Some((says.manner.follow.as_ref()?, says))) else {
            // Its job is gone, or follows it no more, or it was recalled: nothing follows it any more.
            let left = message.followed.map(|_| Followed::Unknown);
            return self.store.follow(message, Vec::new(), left, None, now).await;
        };
        let decision = follow.decide(&message.family, message.claimed.due.lead, now);
        let taken_back: Vec<Change> = message
            .waiting
            .iter()
            .filter(|w| decision.take_back.contains(&w.kind))
            .filter_map(|w| take_back(w, Reason::Reached, "what it follows was read or answered", now))
            .collect();
        if !taken_back.is_empty() {
            self.store.take_back(taken_back).await?;
        }
        if message.family.state != InDoubt {
            let outdated = message.waiting.iter().filter(|w| calls_it_unknown(w, follow, says));
            let note = "it is known by now what became of the message that it is about";
            let replaced: Vec<Change> = outdated.filter_map(|w| take_back(w, Reason::Replaced, note, now)).collect();
            if !replaced.is_empty() {
                // It is made anew the next time it is looked at.
                self.store.take_back(replaced).await?;
                return Ok(true);
            }
        }
        let mut followers = Vec::with_capacity(decision.create.len());
        for (kind, due) in &decision.create {
            followers.push(self.follower(message, (follow, says), *kind, *due, now).await?);
        }
        let done = self.store.follow(message, followers, Some(decision.followed), decision.look_at, now).await?;
        if done {
            tell(message, &decision.create, decision.followed);
        }
        Ok(done)
    }

    async fn follower(
        &self,
        message: &FollowedMessage,
        (follow, says): (&FollowUp, &StoredContent),
        kind: Kind,
        due_at: Timestamp,
        now: Timestamp,
    ) -> Result<NewMessages, StoreError> {
        let claimed = &message.claimed;
        let mut manner = Manner { follow: None, ..says.manner.clone() };
        let (mut content, mut chat) = (says.content.clone(), claimed.due.chat.clone());
        let mut instance = claimed.due.instance.clone();
        let mut useless_from = None;
        match kind {
            Kind::Nag(_) => {
                manner.window = follow.nag.as_ref().and_then(|n| n.window.clone()).or(manner.window);
                useless_from = message.family.useless_from;
            }
            Kind::Escalation(place) => {
                if let Some(step) = follow.escalate.get(place) {
                    chat = step.to.clone().unwrap_or(chat);
                    instance = step.instance.clone().unwrap_or(instance);
                    content = step.content.clone().unwrap_or(content);
                    if step.to.is_some() && message.family.state == StateName::InDoubt {
                        content = content.behind(UNKNOWN);
                    }
                }
            }
        }
        let step = step_of(kind, message.place);
        let draw = Draw::new(self.store.seed(), "typing")
            .with_text(claimed.job.as_deref().unwrap_or(""))
            .with_number(due_at.0)
            .with_text(chat.as_str());
        let lead = lead_of(&content, &manner.typing, &claimed.vars, due_at, &says.zone, draw);
        let body = serde_json::to_string(&content).unwrap_or_default();
        let (class, expires) = (manner.class, manner.expires.map(|e| e.of(due_at)));
        let id = self.store.store_content(content, manner, says.zone.clone(), says.max_lateness).await?;
        let row = NewMessage {
            id: self.ids.make(now),
            guard: guard(&chat, &body, vars_json(&claimed.vars).as_deref()),
            chat,
            place: message.place,
            due_at,
            wake_at: due_at - lead,
            lead,
            expires_at: expires.into_iter().chain(useless_from).min(),
            class,
            key: None,
            step,
            after: Millis::ZERO,
            state: StateName::Scheduled,
            reason: None,
            followed: false,
            follows: Some(claimed.due.id),
        };
        Ok(NewMessages {
            job: claimed.job.clone(),
            nominal_at: claimed.nominal_at,
            instance,
            content: id,
            counted: false,
            sticky: false,
            steps: 1,
            audience: message.audience,
            recipients: 1,
            making: crate::store::Making::Beside,
            applied_at: None,
            rows: vec![row],
            publish: None,
            now,
        })
    }
}

fn take_back(follower: &WaitingFollower, reason: Reason, note: &str, now: Timestamp) -> Option<Change> {
    let transition = state::apply(&follower.state, &Event::Cancelled { reason }).ok()?;
    let facts = Facts::Note(note.to_owned());
    Some(Change { id: follower.id, attempts: follower.attempts, at: now, transition, facts })
}

/// Whether what waits says that nobody knows whether the message went out that it is about.
fn calls_it_unknown(follower: &WaitingFollower, follow: &FollowUp, says: &StoredContent) -> bool {
    let Kind::Escalation(place) = follower.kind else { return false };
    let own = follow.escalate.get(place).and_then(|step| step.content.as_ref()).unwrap_or(&says.content);
    let said = |content: &Content| serde_json::to_string(content).unwrap_or_default();
    follower.says != said(own) && follower.says == said(&own.clone().behind(UNKNOWN))
}

fn tell(message: &FollowedMessage, created: &[(Kind, Timestamp)], followed: Followed) {
    let id = message.claimed.due.id;
    for (kind, due) in created {
        match kind {
            Kind::Nag(n) => tracing::info!(%id, n, %due, "not answered so far: it will be sent again"),
            Kind::Escalation(n) => tracing::warn!(%id, step = n + 1, %due, "not answered so far: it will be escalated"),
        }
    }
    match followed {
        // Told when it came to be so, and not again with every later ack.
        _ if message.followed == Some(followed) => {}
        Followed::Waiting => {}
        Followed::Reached => tracing::info!(%id, "what it was followed for came"),
        Followed::Unknown => tracing::warn!(%id, "nothing more follows, and no answer is known"),
    }
}
