//! The belt: looks now and then for what should not be, and hands it back. A row in motion that no engine holds, a change of a
//! job or a call beside the schedule that ended halfway, and what should have been looked at long ago. Nothing of it is
//! expected; whatever is found is told as an error and counted.
//!
//! Nothing goes back to the line that may have gone out: `typing` becomes `scheduled`, `sending` becomes `in_doubt`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::state::{self, Event, Reason, State, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::store::{InMotion, SqliteStore, Store, StoreError, Unfinished};

/// How often it is looked. What is found twice in a row is rescued: in between every change on its way has arrived.
const LOOK_EVERY: Millis = Millis::seconds(15);

/// What should have been looked at is overdue after this: the planner and the follower look at least once a second.
const OVERDUE_AFTER: Millis = Millis::seconds(60);

/// See the [module](self).
pub struct Rescuer {
    store: Arc<SqliteStore>,
    /// How long after a send evidence may first be looked for.
    quarantine: Millis,
    /// What was found at the look before.
    motion: HashSet<InMotion>,
    unfinished: HashSet<Unfinished>,
    /// Since when every look found something overdue.
    overdue_since: Option<Timestamp>,
    trouble: watch::Sender<Option<String>>,
}

impl Rescuer {
    /// A rescuer that found nothing yet.
    pub fn new(store: Arc<SqliteStore>, quarantine: Millis) -> Rescuer {
        let trouble = watch::Sender::new(None);
        Rescuer { store, quarantine, motion: HashSet::new(), unfinished: HashSet::new(), overdue_since: None, trouble }
    }

    /// What it found and cannot mend, in words.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Looks until told to stop. `not_held` is asked which of some messages the worker of this process does not hold; it
    /// answers nothing where that has ended.
    pub async fn run(
        mut self,
        not_held: impl AsyncFn(Vec<MessageId>) -> Option<Vec<MessageId>>,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock::beat(LOOK_EVERY) => {}
            }
            let looked = async {
                let suspects = self.suspects().await?;
                let Some(unheld) = not_held(suspects.iter().map(|m| m.id).collect()).await else { return Ok(()) };
                let unheld: HashSet<MessageId> = unheld.into_iter().collect();
                let lost = suspects.into_iter().filter(|m| unheld.contains(&m.id)).collect();
                self.look(lost, clock::now()).await.map(|_| ())
            };
            if let Err(e) = looked.await {
                tracing::warn!(error = %e, "it could not be looked whether anything is stuck");
            }
        }
    }

    /// Messages in motion, whoever holds them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn suspects(&self) -> Result<Vec<InMotion>, StoreError> {
        self.store.in_motion().await
    }

    /// Rescues what is found the second time: of messages in motion those that nobody holds. Answers how many things.
    ///
    /// # Errors
    /// When the database cannot be read or written; what is left is found again.
    pub async fn look(&mut self, unheld: Vec<InMotion>, now: Timestamp) -> Result<u64, StoreError> {
        let unheld: HashSet<InMotion> = unheld.into_iter().collect();
        let mut lost: Vec<InMotion> = unheld.intersection(&self.motion).copied().collect();
        self.motion = unheld;
        lost.sort_unstable_by_key(|m| m.id);
        let mut rescued = self.hand_back(lost, now).await?;
        let found: HashSet<Unfinished> = self.store.unfinished().await?.into_iter().collect();
        let again: Vec<Unfinished> = found.intersection(&self.unfinished).cloned().collect();
        self.unfinished = found;
        rescued += self.finish(again, now).await?;
        self.tell_overdue(now).await?;
        Ok(rescued)
    }

    async fn hand_back(&self, lost: Vec<InMotion>, now: Timestamp) -> Result<u64, StoreError> {
        let changes: Vec<Change> = lost.iter().filter_map(|m| back(m, now + self.quarantine, now)).collect();
        if changes.is_empty() {
            return Ok(0);
        }
        let verdicts = self.store.apply(changes.clone()).await?;
        let mut by_state: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (change, _) in changes.iter().zip(verdicts).filter(|(_, v)| *v == Verdict::Applied) {
            let (from, to) = (change.transition.from().name(), change.transition.to().name().name());
            tracing::error!(id = %change.id, from, to, "a message was in motion and nobody had it in hand: it is handed back");
            *by_state.entry(from).or_default() += 1;
        }
        let all = by_state.values().sum();
        for (what, n) in by_state {
            self.store.count_rescued(what, n).await?;
        }
        Ok(all)
    }

    async fn finish(&self, again: Vec<Unfinished>, now: Timestamp) -> Result<u64, StoreError> {
        if again.is_empty() {
            return Ok(0);
        }
        for what in &again {
            tracing::error!(job = what.job, nominal = %what.nominal, "a command ended halfway: what it began is finished");
        }
        self.store.finish_replacing(now).await?;
        self.store.cancel_abandoned(&again, now).await?;
        let n = u64::try_from(again.len()).unwrap_or(u64::MAX);
        self.store.count_rescued("unfinished", n).await?;
        Ok(n)
    }

    /// What should have been looked at long ago cannot be mended here: whoever looks at it stands still.
    async fn tell_overdue(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let overdue = self.store.overdue(now - OVERDUE_AFTER).await?;
        // What is planned late is overdue from its first moment: it counts where the look after finds it too.
        self.overdue_since = (!overdue.is_empty()).then(|| self.overdue_since.unwrap_or(now));
        let lasts = self.overdue_since.is_some_and(|since| now.since(since) >= LOOK_EVERY);
        let words = lasts.then(|| overdue.join("; "));
        if let Some(words) = &words {
            tracing::error!("nobody looks at what should have been looked at {OVERDUE_AFTER} ago: {words}");
        }
        self.trouble.send_if_modified(|known| std::mem::replace(known, words.clone()) != words);
        Ok(())
    }
}

/// The change that hands a message back.
fn back(m: &InMotion, look_at: Timestamp, now: Timestamp) -> Option<Change> {
    let (before, event) = match m.state {
        StateName::Typing => (State::Typing, Event::LeadEnded { wake_at: m.wake_at }),
        StateName::Sending => (State::Sending, Event::Unclear { reason: Reason::Crash, look_at }),
        _ => return None,
    };
    let transition = state::apply(&before, &event).ok()?;
    let facts = Facts::Note("nobody had it in hand".to_owned());
    Some(Change { id: m.id, attempts: m.attempts, at: now, transition, facts })
}
