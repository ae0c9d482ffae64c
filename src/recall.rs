//! Deletes for everyone what a person wants recalled: the newest first, one after the other through each instance. A request is
//! counted before it leaves and may be made again, so whatever ends in between the next run finishes it. A pause keeps nothing
//! from being recalled: it stops what is sent. An instance that is down, or rests, is not asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::crash_point;
use crate::domain::draw::Draw;
use crate::domain::id::InstanceName;
use crate::domain::recall::{Deletion, Next, RecallReason, RecallState, judge};
use crate::domain::retry::RetryPolicy;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::gateway::Gateway;
use crate::repair::{Repair, repair};
use crate::store::{Recall, RecallResult, SqliteStore, StoreError};

/// How often it is looked what is to be recalled.
const LOOK_EVERY: Millis = Millis::seconds(1);

/// Between two deletions through an instance: each is shown to somebody, and a gateway answers a flood of them with 429.
const GAP: Millis = Millis::seconds(1);

/// Requests in a row that never left, after which a run that ends when idle does not wait for their instance: some seconds.
const GIVEN_UP_AFTER: u32 = 3;

/// Gateways by instance.
pub type Accounts = HashMap<InstanceName, Arc<dyn Gateway>>;

/// See the [module](self).
#[derive(Clone)]
pub struct Recaller {
    store: Arc<SqliteStore>,
    accounts: Arc<Accounts>,
    rests: Arc<Mutex<HashMap<InstanceName, Rest>>>,
}

/// Why an instance is not asked for a while.
#[derive(Clone, Copy, Default)]
struct Rest {
    until: Option<Timestamp>,
    /// Its account could do nothing.
    down: bool,
    /// Requests in a row that never left.
    in_vain: u32,
}

impl Recaller {
    /// Deletes through these gateways.
    pub fn new(store: Arc<SqliteStore>, accounts: Accounts) -> Recaller {
        Recaller { store, accounts: Arc::new(accounts), rests: Arc::default() }
    }

    /// Deletes until told to stop. Each instance is asked on its own: one that does not answer keeps no other waiting.
    pub async fn run(self, stop: CancellationToken) {
        let mut works = JoinSet::new();
        let mut at_work: HashMap<tokio::task::Id, InstanceName> = HashMap::new();
        while !stop.is_cancelled() {
            while let Some(done) = works.try_join_next_with_id() {
                at_work.remove(&done.map_or_else(|e| e.id(), |(id, ())| id));
            }
            let now = clock::now();
            let wanted = async {
                self.settle(now).await?;
                self.store.instances_with_recalls(now).await
            };
            let wanted = wanted.await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "it could not be looked what is to be recalled; it is looked again");
                Vec::new()
            });
            for instance in wanted {
                let rests = self.rest(&instance).until.is_some_and(|t| t > now);
                if self.accounts.contains_key(&instance) && !rests && !at_work.values().any(|i| *i == instance) {
                    let work = self.clone().work(instance.clone(), stop.clone());
                    at_work.insert(works.spawn(work).id(), instance);
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::beat(LOOK_EVERY) => {}
            }
        }
        works.join_all().await;
    }

    /// Whether anything is still to be deleted that this run can delete: not what is in doubt, nor what waits for an account
    /// that can do nothing, or cannot be reached.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_at_it(&self) -> Result<bool, StoreError> {
        let can_do = |name: &&InstanceName| {
            let rest = self.rest(name);
            !rest.down && rest.in_vain < GIVEN_UP_AFTER
        };
        let can: Vec<InstanceName> = self.accounts.keys().filter(can_do).cloned().collect();
        self.store.recalls_in_hand(&can).await
    }

    fn rest(&self, instance: &InstanceName) -> Rest {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner).get(instance).copied().unwrap_or_default()
    }

    fn set_rest(&self, instance: &InstanceName, rest: Rest) {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner).insert(instance.clone(), rest);
    }

    /// Takes in what became of messages that were on the way or in doubt. One that is to be tried again is cancelled instead.
    async fn settle(&self, now: Timestamp) -> Result<(), StoreError> {
        let found = self.store.unsettled_recalls().await?;
        let (waiting, resting): (Vec<_>, Vec<_>) = found.into_iter().partition(|r| {
            use StateName::{Claimed, Held, InDoubt, Scheduled, Sending, Typing};
            matches!(r.state, Scheduled | Claimed | Typing | Held | Sending | InDoubt)
        });
        let mut messages = Vec::with_capacity(waiting.len());
        for recall in waiting {
            messages.extend(self.store.show(recall.id).await?.map(|m| m.message));
        }
        if !messages.is_empty() {
            repair(&self.store, Repair::Cancel, &messages, false, now).await?;
        }
        let resting: Vec<_> = resting.into_iter().map(|r| r.id).collect();
        if !resting.is_empty() {
            self.store.settle_unsent_recalls(&resting, now).await?;
        }
        Ok(())
    }

    /// Deletes what is to be deleted through an instance, until nothing is left or the instance has to rest.
    async fn work(self, instance: InstanceName, stop: CancellationToken) {
        let Some(gateway) = self.accounts.get(&instance).cloned() else { return };
        let worked = async {
            let within = gateway.capabilities().deletes_within;
            while !stop.is_cancelled() {
                let late = self.store.settle_late_recalls(&instance, within, clock::now()).await?;
                if late > 0 {
                    tracing::warn!(%instance, n = late, "messages could not be recalled: the gateway cannot, or not any more");
                }
                let Some(recall) = self.store.next_recall(&instance, clock::now()).await? else { break };
                if !self.delete(&instance, gateway.as_ref(), &recall).await? {
                    break;
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = clock::sleep(GAP) => {}
                }
            }
            Ok::<(), StoreError>(())
        };
        if let Err(e) = worked.await {
            tracing::warn!(%instance, error = %e, "messages could not be recalled; it is tried again");
        }
    }

    /// Deletes one message. Answers whether the instance can be asked for another one.
    async fn delete(
        &self,
        instance: &InstanceName,
        gateway: &dyn Gateway,
        recall: &Recall,
    ) -> Result<bool, StoreError> {
        let (id, before) = (recall.id, recall.tries);
        let mut result = RecallResult {
            id,
            state: RecallState::Failed,
            reason: Some(RecallReason::Unnamed),
            tries: before,
            next_at: clock::now(),
            status: None,
            response: None,
            at: clock::now(),
        };
        let Some(gateway_id) = &recall.gateway_id else {
            self.store.record_recall(result).await?;
            tracing::warn!(%id, "it could not be recalled: its id at the gateway is not known");
            return Ok(true);
        };
        self.store.begin_recall(id).await?;
        crash_point::pass("recall_begins");
        let answer = gateway.delete(&recall.chat, gateway_id, recall.answer.as_deref()).await;
        crash_point::pass("recall_answered");
        let mut rest = self.rest(instance);
        rest.in_vain = if answer.deletion == Deletion::NotSent { rest.in_vain.saturating_add(1) } else { 0 };
        let now = clock::now();
        let draw = Draw::new(self.store.seed(), "recall").with_text(&id.to_string()).with_number(i64::from(before));
        let next = judge(&answer.deletion, before + 1, rest.in_vain, &RetryPolicy::default(), draw);
        (result.status, result.response, result.at) = (answer.status, Some(answer.response), now);
        (result.state, result.reason, result.tries) = (RecallState::Open, None, before + 1);
        (rest.until, rest.down) = (None, false);
        match next {
            Next::Settled(state, reason) => (result.state, result.reason) = (state, reason),
            Next::Again(wait) => result.next_at = now + wait,
            Next::Rest(wait) => {
                result.tries = before;
                (rest.until, rest.down) = (Some(now + wait), answer.deletion == Deletion::InstanceDown);
            }
        }
        self.set_rest(instance, rest);
        tell(&result, instance, &answer.deletion, next);
        self.store.record_recall(result).await?;
        crash_point::pass("recalled");
        Ok(rest.until.is_none())
    }
}

fn tell(result: &RecallResult, instance: &InstanceName, answer: &Deletion, next: Next) {
    let (id, status) = (result.id, result.status.unwrap_or(0));
    match next {
        Next::Settled(RecallState::Done, _) => tracing::info!(%id, status, "recalled: deleted for everyone"),
        Next::Settled(_, reason) => {
            let why = reason.map_or("", RecallReason::name);
            tracing::warn!(%id, status, why, "it could not be recalled; `onthedot show` has the gateway's answer");
        }
        Next::Again(wait) => tracing::info!(%id, status, ms = wait.0, "no clear answer to a recall; it is tried again"),
        Next::Rest(wait) => {
            tracing::warn!(%instance, status, ms = wait.0, ?answer, "nothing can be recalled for now; it is tried again");
        }
    }
}
