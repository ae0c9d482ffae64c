//! Seeks evidence for messages that may or may not have gone out: what gateways told by themselves, and after a
//! quarantine longer than the gateway's own latency the history of the chat, twice. What follows from it is decided in
//! [`crate::domain::doubt`]. What nothing settles is left to the job's policy, and by default to a person.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::crash_point;
use crate::domain::doubt::{self, History, Look, Ruling};
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Change, DoubtVerdict, Facts, Verdict};
use crate::domain::state::{self, Event, Reason, State, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::gateway::Gateway;
use crate::rendering::Renderer;
use crate::store::{Doubt, EchoFits, Evidence, Store, StoreError, body_hash};

/// How often doubts are looked for.
const LOOK_EVERY: Millis = Millis::seconds(1);

/// Doubts of one instance looked at in one round: a gateway's history is asked gently.
const AT_ONCE: usize = 20;

/// Messages asked of a chat's history.
const HISTORY: u32 = 50;

/// Gateways by instance, each with its quarantine.
pub type Accounts = HashMap<InstanceName, (Arc<dyn Gateway>, Millis)>;

/// See the [module](self).
#[derive(Clone)]
pub struct DoubtSeeker {
    store: Arc<dyn Store>,
    accounts: Arc<Accounts>,
}

impl DoubtSeeker {
    /// Seeks through these gateways, each with its quarantine.
    pub fn new(store: Arc<dyn Store>, accounts: Accounts) -> DoubtSeeker {
        DoubtSeeker { store, accounts: Arc::new(accounts) }
    }

    /// Seeks until told to stop. Each instance is asked on its own: one that does not answer keeps no other waiting.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.run_histories(&stop), self.run_echoes(&stop));
    }

    async fn run_histories(&self, stop: &CancellationToken) {
        let mut looks = JoinSet::new();
        let mut looked_at: HashMap<tokio::task::Id, InstanceName> = HashMap::new();
        while !stop.is_cancelled() {
            while let Some(done) = looks.try_join_next_with_id() {
                looked_at.remove(&done.map_or_else(|e| e.id(), |(id, ())| id));
            }
            let doubted = self.store.instances_in_doubt(clock::now()).await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "doubts could not be looked for");
                Vec::new()
            });
            for instance in doubted {
                if self.accounts.contains_key(&instance) && !looked_at.values().any(|i| *i == instance) {
                    let look = self.clone().look(instance.clone(), stop.clone());
                    looked_at.insert(looks.spawn(look).id(), instance);
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::beat(LOOK_EVERY) => {}
            }
        }
        looks.join_all().await;
    }

    async fn run_echoes(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(e) = self.settle_echoes(clock::now()).await {
                tracing::warn!(error = %e, "echoes could not be compared with doubts");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::beat(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks at every doubt of an instance whose time has come.
    async fn look(self, instance: InstanceName, stop: CancellationToken) {
        if let Err(e) = self.look_at_some(&instance, &stop, clock::now()).await {
            tracing::warn!(%instance, error = %e, "doubts could not be looked at");
        }
    }

    /// Looks at some doubts of an instance whose time has come at `now`, until told to stop.
    ///
    /// # Errors
    /// When the database cannot be read or written; what was looked at by then stays done.
    pub async fn look_at_some(
        &self,
        instance: &InstanceName,
        stop: &CancellationToken,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for doubt in self.store.doubts_to_look_at(instance, now, AT_ONCE).await? {
            if stop.is_cancelled() {
                break;
            }
            self.look_at(&doubt, now).await?;
        }
        Ok(())
    }

    async fn look_at(&self, doubt: &Doubt, now: Timestamp) -> Result<(), StoreError> {
        let due = &doubt.claimed.due;
        let Some((gateway, quarantine)) = self.accounts.get(&due.instance) else { return Ok(()) };
        let (look, note) = self.see(doubt, gateway.as_ref(), *quarantine).await?;
        let policy = doubt.claimed.content.manner.on_doubt;
        let ruling = doubt::rule(&look, doubt.looks, policy, (doubt.marked_at, *quarantine, now));
        let next_look_at = match ruling {
            Ruling::LookAgain(at) => Some(at),
            // Settled right after; where the program ends in between, the next one looks again.
            Ruling::Sent | Ruling::Unsent | Ruling::Resend | Ruling::Drop => Some(now + *quarantine),
            Ruling::Wait => None,
        };
        let (id, number, note_of) = (due.id, doubt.number, note.clone());
        let evidence =
            Evidence { id, number, at: now, kind: "history", verdict: word(&look), note: note_of, next_look_at };
        self.store.add_evidence(evidence).await?;
        crash_point::pass("evidence_kept");
        let (event, verdict) = match ruling {
            Ruling::LookAgain(_) | Ruling::Wait => return Ok(()),
            Ruling::Sent => {
                let event = Event::ProvedSent { sent_at: doubt.slot_at, reason: Reason::FoundInHistory };
                (event, DoubtVerdict::Sent)
            }
            Ruling::Unsent if doubt.withdrawn => (not_again(), DoubtVerdict::Unsent),
            Ruling::Resend if doubt.withdrawn => (not_again(), DoubtVerdict::Dropped),
            Ruling::Unsent => (next_try(doubt, Reason::ProvedUnsent, now), DoubtVerdict::Unsent),
            Ruling::Resend => (next_try(doubt, Reason::ResentOnDoubt, now), DoubtVerdict::Resent),
            Ruling::Drop => (Event::GivenUp { reason: Reason::Dropped }, DoubtVerdict::Dropped),
        };
        let gateway_id = match look {
            Look::Found { gateway_id } => Some(gateway_id),
            _ => None,
        };
        let tries = due.tries + u32::from(verdict != DoubtVerdict::Sent);
        let facts = Facts::Verdict { number: doubt.number, verdict, tries, gateway_id, due_at: None, note };
        self.settle(due.id, &State::InDoubt { look_at: now }, doubt.number, &event, facts, now).await?;
        Ok(())
    }

    /// Asks the history of the chat, and says what it shows in words too.
    async fn see(
        &self,
        doubt: &Doubt,
        gateway: &dyn Gateway,
        shown_after: Millis,
    ) -> Result<(Look, String), StoreError> {
        let due = &doubt.claimed.due;
        let Ok(rendered) = Renderer::default().render(&doubt.claimed, doubt.slot_at) else {
            return Ok((Look::Indistinct, "its text cannot be rendered again".to_owned()));
        };
        let Some(text) = rendered.text() else {
            let kind = rendered.content.kind();
            return Ok((Look::Indistinct, format!("a {kind} cannot be told from others in a history")));
        };
        let history = match gateway.history(&due.chat, HISTORY).await {
            Ok(history) => history,
            Err(why) => return Ok((Look::Unavailable, why)),
        };
        let sent = history.messages.iter().filter(|m| m.from_me).map(|m| m.gateway_id.clone()).collect();
        let known = self.store.known_sends(&due.instance, sent, (due.id, doubt.number), shown_after).await?;
        let rivals =
            self.store.rivals(&due.instance, due.id, &due.chat, body_hash(&due.chat, &rendered.content)).await?;
        let look = doubt::look(&history, text, doubt.marked_at, rivals, |id| known.get(id).copied());
        let note = match &look {
            Look::Found { gateway_id } => format!("the chat's history shows it as {gateway_id}"),
            Look::Absent => "the chat's history does not show it".to_owned(),
            Look::OutOfReach if history.messages.is_empty() => "the chat's history is empty, or not kept".to_owned(),
            Look::OutOfReach => "the chat's history does not reach back far enough".to_owned(),
            Look::Unclear => unclear(&history),
            Look::Earlier => {
                "the chat's history shows it before it was attempted: a clock may have been wrong".to_owned()
            }
            Look::Several(n) => format!("the chat's history shows {n} that could be it"),
            Look::Shared(n) => format!("the chat's history shows one that could be it, or {n} more that said the same"),
            Look::Unavailable | Look::Indistinct => String::new(),
        };
        Ok((look, note))
    }

    /// Compares what gateways told by themselves with the attempts whose outcome is, or was, unknown. It may only confirm
    /// that something went out, whoever told it: nothing is ever sent because of it.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn settle_echoes(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut by_echo: BTreeMap<(InstanceName, String), Vec<EchoFits>> = BTreeMap::new();
        for fits in self.store.echoes_to_settle().await? {
            by_echo.entry((fits.instance.clone(), fits.gateway_id.clone())).or_default().push(fits);
        }
        for fits in by_echo.into_values() {
            match fits.as_slice() {
                [one] => self.settle_echo(one, now).await?,
                _ => {
                    tracing::debug!(echo = %fits[0].gateway_id, "an echo fits several attempts, and proves none of them");
                }
            }
        }
        self.store.forget_echoes(now).await
    }

    async fn settle_echo(&self, echo: &EchoFits, now: Timestamp) -> Result<(), StoreError> {
        let before = match echo.state {
            // Its answer is on its way, and will tell the same.
            StateName::Sending if echo.number == echo.attempts => return Ok(()),
            // Another attempt of the message was accepted, or is out: this one went out beside it.
            StateName::Sent | StateName::Sending => {
                let note = format!("attempt {} went out too, as {}", echo.number, echo.gateway_id);
                let noted = self.store.note_duplicate(evidence_of(echo, "duplicate", note, now)).await?;
                if noted {
                    tracing::warn!(id = %echo.id, number = echo.number, "an earlier attempt turned out to have gone out too: a duplicate");
                }
                return Ok(());
            }
            StateName::InDoubt => State::InDoubt { look_at: now },
            StateName::Scheduled | StateName::Claimed => State::Scheduled { wake_at: echo.wake_at },
            StateName::Typing => State::Typing,
            StateName::Held => State::Held,
            StateName::Failed => State::Failed,
            StateName::Cancelled => State::Cancelled,
            StateName::Expired => State::Expired,
            StateName::Skipped => State::Skipped,
        };
        let event = Event::ProvedSent { sent_at: echo.sent_at.max(echo.marked_at), reason: Reason::ToldSent };
        let note = format!("the gateway told of it as {}", echo.gateway_id);
        let facts = Facts::Verdict {
            number: echo.number,
            verdict: DoubtVerdict::Sent,
            tries: echo.tries,
            gateway_id: Some(echo.gateway_id.clone()),
            due_at: None,
            note: note.clone(),
        };
        if self.settle(echo.id, &before, echo.attempts, &event, facts, now).await? {
            return self.store.add_evidence(evidence_of(echo, "found", note, now)).await;
        }
        // What took its place went out too, since its job was changed in between.
        if echo.state == StateName::Cancelled {
            self.store.note_duplicate(evidence_of(echo, "duplicate", note, now)).await?;
        }
        Ok(())
    }

    /// Answers whether the message was still as it was seen.
    async fn settle(
        &self,
        id: MessageId,
        before: &State,
        attempts: u32,
        event: &Event,
        facts: Facts,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Ok(transition) = state::apply(before, event) else { return Ok(false) };
        let to = transition.to().name().name();
        let applied = self.store.apply(vec![Change { id, attempts, at: now, transition, facts }]).await?;
        let done = applied.first() == Some(&Verdict::Applied);
        if done {
            tracing::info!(%id, to, "a doubt was settled");
        }
        Ok(done)
    }
}

/// Another try by the message's retry policy, or the end where all are used up. It begins now: the quarantine was the wait.
fn next_try(doubt: &Doubt, reason: Reason, now: Timestamp) -> Event {
    let due = &doubt.claimed.due;
    if due.tries + 1 >= due.retry.attempts {
        return Event::GivenUp { reason: Reason::TriesUsedUp };
    }
    Event::TryAgain { wake_at: now, reason }
}

/// The end of what is not to go out any more.
fn not_again() -> Event {
    Event::GivenUp { reason: Reason::CancelledByPerson }
}

fn evidence_of(echo: &EchoFits, verdict: &'static str, note: String, now: Timestamp) -> Evidence {
    let (id, number, kind) = (echo.id, echo.number, echo.kind.name());
    Evidence { id, number, at: now, kind, verdict, note, next_look_at: None }
}

/// Why a history leaves open whether it shows a message.
fn unclear(history: &History) -> String {
    match history.unread {
        0 => "the chat's history shows one of ours that may be it, with its text cut or missing".to_owned(),
        n => format!("of the chat's history {n} could not be read: one of them may be it"),
    }
}

/// The word of a look in evidence.
fn word(look: &Look) -> &'static str {
    match look {
        Look::Found { .. } => "found",
        Look::Absent => "not_found",
        Look::OutOfReach => "out_of_reach",
        Look::Unclear => "unclear",
        Look::Earlier => "earlier",
        Look::Several(_) => "several",
        Look::Shared(_) => "shared",
        Look::Unavailable => "unavailable",
        Look::Indistinct => "indistinct",
    }
}
