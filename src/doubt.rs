//! Seeks evidence for messages that may or may not have gone out: after a quarantine longer than the gateway's own
//! latency it asks the history of the chat, twice. What nothing settles is left to the job's policy, and by default to
//! a person.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::id::InstanceName;
use crate::domain::job::OnDoubt;
use crate::domain::message::{Change, Facts};
use crate::domain::state::{self, Event, Reason, State};
use crate::domain::time::{Millis, Timestamp};
use crate::gateway::{Gateway, HistoryMessage};
use crate::store::{Doubt, Evidence, Store, StoreError};
use crate::worker::render;

/// How often doubts are looked for.
const LOOK_EVERY: Millis = Millis::seconds(1);

/// Doubts looked at in one round: a gateway's history is asked gently.
const AT_ONCE: usize = 20;

/// Messages asked of a chat's history.
const HISTORY: u32 = 50;

/// A gateway's clock may be a little behind ours, and its stamps are whole seconds.
const CLOCK_SLACK: Millis = Millis::seconds(60);

/// How many looks that did not find it must agree.
const EMPTY_LOOKS: u32 = 2;

/// See the [module](self).
#[derive(Clone)]
pub struct DoubtSeeker {
    store: Arc<dyn Store>,
    accounts: HashMap<InstanceName, (Arc<dyn Gateway>, Millis)>,
}

impl DoubtSeeker {
    /// Seeks through these gateways, each with its quarantine.
    pub fn new(store: Arc<dyn Store>, accounts: HashMap<InstanceName, (Arc<dyn Gateway>, Millis)>) -> DoubtSeeker {
        DoubtSeeker { store, accounts }
    }

    /// Seeks until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(e) = self.look(clock::now()).await {
                tracing::warn!(error = %e, "doubts could not be looked at");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks at every doubt whose time has come.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn look(&self, now: Timestamp) -> Result<(), StoreError> {
        for doubt in self.store.doubts_to_look_at(now, AT_ONCE).await? {
            self.look_at(&doubt, now).await?;
        }
        Ok(())
    }

    async fn look_at(&self, doubt: &Doubt, now: Timestamp) -> Result<(), StoreError> {
        let due = &doubt.claimed.due;
        let evidence = |verdict, note: String, next_look_at| Evidence {
            id: due.id,
            number: doubt.number,
            at: now,
            kind: "history",
            verdict,
            note,
            next_look_at,
        };
        let Some((gateway, quarantine)) = self.accounts.get(&due.instance) else {
            let note = format!("the instance '{}' is not served by this daemon", due.instance);
            return self.store.add_evidence(evidence("unavailable", note, None)).await;
        };
        let again = Some(now + *quarantine);
        let Ok(rendered) = render(&doubt.claimed, doubt.slot_at) else {
            let note = "its text cannot be rendered again".to_owned();
            return self.store.add_evidence(evidence("unavailable", note, None)).await;
        };
        let Some(text) = rendered.text() else {
            let note = format!("a {} cannot be told from others in a history", rendered.content.kind());
            return self.store.add_evidence(evidence("unavailable", note, None)).await;
        };
        let history = match gateway.history(&due.chat, HISTORY).await {
            Ok(history) => history,
            Err(why) => return self.store.add_evidence(evidence("unavailable", why, again)).await,
        };
        let mut candidates = candidates(&history, text, doubt.marked_at);
        // What is already known as another message of ours is no evidence for this one.
        let named = candidates.iter().map(|c| c.gateway_id.clone()).collect();
        let known = self.store.known_gateway_ids(&due.instance, named).await?;
        candidates.retain(|c| !known.contains(&c.gateway_id));
        match candidates.as_slice() {
            [found] => {
                let note = format!("the chat's history shows it as {}", found.gateway_id);
                self.store.add_evidence(evidence("found", note.clone(), None)).await?;
                let event = Event::ProvedSent { sent_at: doubt.slot_at, reason: Reason::FoundInHistory };
                self.settle(doubt, &event, Some(found.gateway_id.clone()), note, now).await
            }
            [] if !covers(&history, doubt.marked_at) => {
                let note = "the chat's history does not reach back far enough".to_owned();
                self.store.add_evidence(evidence("unavailable", note, None)).await
            }
            [] => {
                let looks = doubt.empty_looks + 1;
                let next = (looks < EMPTY_LOOKS).then_some(now + *quarantine);
                let note = "the chat's history does not show it".to_owned();
                self.store.add_evidence(evidence("not_found", note.clone(), next)).await?;
                if looks < EMPTY_LOOKS { Ok(()) } else { self.by_policy(doubt, note, now).await }
            }
            several => {
                let note = format!("the chat's history shows {} that could be it", several.len());
                self.store.add_evidence(evidence("several", note, None)).await
            }
        }
    }

    async fn by_policy(&self, doubt: &Doubt, note: String, now: Timestamp) -> Result<(), StoreError> {
        let event = match doubt.claimed.content.manner.on_doubt {
            OnDoubt::Hold => return Ok(()),
            OnDoubt::Resend => Event::TryAgain { wake_at: now, reason: Reason::ResentOnDoubt },
            OnDoubt::Drop => Event::GivenUp { reason: Reason::Dropped },
        };
        self.settle(doubt, &event, None, note, now).await
    }

    async fn settle(
        &self,
        doubt: &Doubt,
        event: &Event,
        gateway_id: Option<String>,
        note: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let due = &doubt.claimed.due;
        let before = State::InDoubt { look_at: now };
        if let Ok(transition) = state::apply(&before, event) {
            let tries = due.tries + u32::from(matches!(event, Event::TryAgain { .. }));
            let facts = Facts::Verdict { tries, gateway_id, note };
            let change = Change { id: due.id, attempts: doubt.number, at: now, transition, facts };
            tracing::info!(id = %due.id, "a doubt was settled");
            self.store.apply(vec![change]).await?;
        }
        Ok(())
    }
}

/// Messages of the history that could be the one in doubt: from us, with its text, not older than its mark.
fn candidates<'h>(history: &'h [HistoryMessage], text: &str, marked_at: Timestamp) -> Vec<&'h HistoryMessage> {
    let oldest = marked_at - CLOCK_SLACK;
    history.iter().filter(|m| m.from_me && m.text == text && m.at >= oldest).collect()
}

/// Whether the history reaches back before the mark, so that its silence means something.
fn covers(history: &[HistoryMessage], marked_at: Timestamp) -> bool {
    let full = u32::try_from(history.len()).is_ok_and(|n| n >= HISTORY);
    !full || history.iter().any(|m| m.at < marked_at - CLOCK_SLACK)
}
