//! What a person may do to a message that has not gone out: take it back, give it another chance or instant, hold it
//! and let it go. Each is one guarded change, so an answer is never a guess.

use std::collections::{HashMap, HashSet};

use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::recipient::is_forgotten;
use crate::domain::state::{self, Event, Reason, State, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::store::view::{CampaignView, MessageView, Place};
use crate::store::{Pause, PauseScope, RecallAsked, RecallWish, SqliteStore, Store, StoreError};

/// A repair that meets a message in motion looks again this often before it gives an answer.
const LOOKS: u32 = 5;

/// One kind of repair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Take it back before it leaves.
    Cancel,
    /// Give it another chance: its tries begin anew, and it is due as soon as its typing was seen. What was never approved
    /// waits for its approval.
    Retry,
    /// Give it another instant.
    Reschedule(Timestamp),
    /// Put it off: this much later than its due, or than now where that has passed.
    Snooze(Millis),
    /// Keep it until a person lets it go.
    Hold,
    /// Let it go again: at its due, or as soon as its typing was seen where that has passed.
    Release,
}

/// What became of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repaired {
    /// It was done, or, in a dry run, would be.
    Done {
        /// The state it is in now.
        state: StateName,
        /// When it is due now.
        due_at: Timestamp,
    },
    /// There is no such message.
    NotFound,
    /// A rule forbids it.
    Refused {
        /// Where it is.
        state: StateName,
        /// What to do instead.
        why: String,
    },
}

impl Repair {
    /// The word of its command.
    pub fn word(self) -> &'static str {
        match self {
            Repair::Cancel => "cancel",
            Repair::Retry => "retry",
            Repair::Reschedule(_) => "reschedule",
            Repair::Snooze(_) => "snooze",
            Repair::Hold => "hold",
            Repair::Release => "release",
        }
    }

    /// What is said of a message it was done to.
    pub fn done_word(self) -> &'static str {
        match self {
            Repair::Cancel => "cancelled",
            Repair::Retry => "due again",
            Repair::Reschedule(_) => "rescheduled",
            Repair::Snooze(_) => "snoozed",
            Repair::Hold => "held",
            Repair::Release => "released",
        }
    }

    /// The states it can be done in: what a filter without states means.
    pub fn states(self) -> &'static [StateName] {
        match self {
            Repair::Cancel => &[StateName::Scheduled, StateName::Typing, StateName::Held],
            Repair::Retry => &[StateName::Failed, StateName::Cancelled, StateName::Expired, StateName::Skipped],
            Repair::Reschedule(_) | Repair::Snooze(_) | Repair::Hold => &[StateName::Scheduled, StateName::Typing],
            Repair::Release => &[StateName::Held],
        }
    }

    /// The change it makes to a message seen as `m`, or why it may not: to one of a draft that was never approved, to one that may
    /// follow what goes before it from an instant on.
    fn change(
        self,
        m: &MessageView,
        (draft, follows_from): (bool, Option<Timestamp>),
        now: Timestamp,
    ) -> Result<(Change, StateName, Timestamp), String> {
        if !self.states().contains(&m.state) {
            return Err(self.instead(m));
        }
        if is_forgotten(&m.chat) {
            return Err("its recipient was forgotten".to_owned());
        }
        if self == Repair::Retry && m.reason.as_deref() == Some(Reason::Removed.name()) {
            return Err("its job was removed; what is declared again has messages of its own".to_owned());
        }
        let soonest = now + m.lead;
        let due_at = match self {
            Repair::Cancel | Repair::Hold => m.due_at,
            Repair::Retry => soonest,
            Repair::Reschedule(at) => at,
            Repair::Snooze(length) => m.due_at.max(now) + length,
            Repair::Release => m.due_at.max(soonest).max(follows_from.unwrap_or(soonest)),
        };
        let wake_at = due_at - m.lead;
        let event = match self {
            Repair::Cancel => Event::Cancelled { reason: Reason::CancelledByPerson },
            Repair::Hold => Event::Held { reason: Reason::HeldByPerson },
            Repair::Retry if draft => Event::Held { reason: Reason::Approval },
            Repair::Retry => Event::Resumed { wake_at, reason: Reason::Retried },
            Repair::Reschedule(_) => Event::Resumed { wake_at, reason: Reason::Rescheduled },
            Repair::Snooze(_) => Event::Resumed { wake_at, reason: Reason::Snoozed },
            Repair::Release => Event::Resumed { wake_at, reason: Reason::Released },
        };
        let transition = state::apply(&seen(m), &event).map_err(|e| e.to_string())?;
        let facts = match self {
            Repair::Cancel | Repair::Hold => Facts::Note(format!("{} by command", self.done_word())),
            _ => {
                let note = match self {
                    Repair::Retry if draft => {
                        format!("back in its draft by command, and waits for its approval; it was due {}", m.due_at)
                    }
                    _ => format!("{} by command; it was due {}", self.done_word(), m.due_at),
                };
                Facts::Moved { due_at, afresh: self == Repair::Retry, note }
            }
        };
        let state = transition.to().name();
        let attempts = u32::try_from(m.attempts).unwrap_or(0);
        Ok((Change { id: m.id, attempts, at: now, transition, facts }, state, due_at))
    }

    /// What helps where it does not.
    fn instead(self, m: &MessageView) -> String {
        let is = format!("it is {}", m.state.name().replace('_', " "));
        let help = match (self, m.state) {
            (_, StateName::InDoubt) => "; `onthedot doubt resolve` settles it",
            (Repair::Retry, StateName::Held) => "; `onthedot release` lets it go",
            (Repair::Reschedule(_) | Repair::Snooze(_), StateName::Held) => "; `onthedot release` it first",
            (
                Repair::Reschedule(_) | Repair::Snooze(_) | Repair::Release,
                StateName::Failed | StateName::Cancelled | StateName::Expired | StateName::Skipped,
            ) => "; `onthedot retry` gives it another chance",
            (Repair::Retry, StateName::Scheduled) => " already",
            _ => "",
        };
        format!("{is}{help}")
    }
}

/// What is said of a message that was given another chance, and was never approved.
pub const BACK_IN_DRAFT: &str = "back in its draft, which waits for its approval";

fn seen(m: &MessageView) -> State {
    match m.state {
        StateName::Typing => State::Typing,
        StateName::Held => State::Held,
        StateName::Failed => State::Failed,
        StateName::Cancelled => State::Cancelled,
        StateName::Expired => State::Expired,
        StateName::Skipped => State::Skipped,
        _ => State::Scheduled { wake_at: m.wake_at.unwrap_or(m.due_at) },
    }
}

/// Lets the messages of a campaign go that wait for an approval. Answers how many.
///
/// # Errors
/// When the database cannot be read or written; then only the first of them were let go, and it can be done again.
pub async fn approve(
    store: &SqliteStore,
    campaign: &CampaignView,
    dry_run: bool,
    now: impl Fn() -> Timestamp,
) -> Result<u64, StoreError> {
    let (mut approved, mut after) = (0, Place::START);
    loop {
        let page = store.campaign_messages(campaign.occurrence, &[StateName::Held], &after, AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(approved) };
        after = last.place.clone();
        let waits = |m: &MessageView| m.reason.as_deref() == Some(Reason::Approval.name());
        let messages: Vec<MessageView> = page.into_iter().map(|m| m.message).filter(waits).collect();
        let answers = repair(store, Repair::Release, &messages, dry_run, now()).await?;
        let done = answers.iter().filter(|a| matches!(a, Repaired::Done { .. }));
        approved += u64::try_from(done.count()).unwrap_or(0);
    }
}

/// Repairs messages as they were seen, in one commit. One that moved on meanwhile is looked at again and judged by
/// what it is then. Answers in the same order.
///
/// # Errors
/// When the database cannot be read or written; then nothing after the messages answered so far was done.
pub async fn repair(
    store: &SqliteStore,
    how: Repair,
    messages: &[MessageView],
    dry_run: bool,
    now: Timestamp,
) -> Result<Vec<Repaired>, StoreError> {
    let mut answers: Vec<Option<Repaired>> = vec![None; messages.len()];
    let mut open: Vec<(usize, MessageView)> = messages.iter().cloned().enumerate().collect();
    let behind = if matches!(how, Repair::Retry | Repair::Release) {
        behind_ended(store, messages).await?
    } else {
        HashMap::new()
    };
    let (left, drafts) = match how {
        Repair::Retry => {
            let ids = || messages.iter().map(|m| m.id).collect();
            (store.whose_recipients_left(ids()).await?, store.never_approved(ids()).await?)
        }
        _ => Default::default(),
    };
    let events = match how {
        Repair::Retry | Repair::Reschedule(_) | Repair::Snooze(_) | Repair::Release => {
            store.events_reminded_of(messages.iter().map(|m| m.id).collect()).await?
        }
        Repair::Cancel | Repair::Hold => HashMap::new(),
    };
    let follow_from = match how {
        Repair::Release => store.follow_from(messages.iter().map(|m| m.id).collect(), now).await?,
        _ => HashMap::new(),
    };
    for look in 0..LOOKS {
        let mut changes = Vec::new();
        let mut asked = Vec::new();
        for (i, m) in open.drain(..) {
            if is_replaced(&m) {
                answers[i] = Some(Repaired::Refused { state: m.state, why: whats_now(store, &m, now).await? });
                continue;
            }
            let seen = (drafts.contains(&m.id), follow_from.get(&m.id).copied());
            let change = how.change(&m, seen, now).and_then(|change| match (behind.get(&m.id), events.get(&m.id)) {
                (Some(why), _) => Err((*why).to_owned()),
                _ if left.contains(&m.id) => Err("its recipient left the list that its job follows".to_owned()),
                (None, Some(event)) if change.2 >= *event => {
                    Err(format!("it reminds of an event that begins at {event}"))
                }
                _ => Ok(change),
            });
            match change {
                Err(why) => answers[i] = Some(Repaired::Refused { state: m.state, why }),
                Ok((_, state, due_at)) if dry_run => answers[i] = Some(Repaired::Done { state, due_at }),
                Ok((change, state, due_at)) => {
                    changes.push(change);
                    asked.push((i, m, Repaired::Done { state, due_at }));
                }
            }
        }
        if changes.is_empty() {
            break;
        }
        let verdicts = store.apply(changes).await?;
        for ((i, m, done), verdict) in asked.into_iter().zip(verdicts) {
            if verdict == Verdict::Applied {
                answers[i] = Some(done);
                continue;
            }
            match store.show(m.id).await? {
                None => answers[i] = Some(Repaired::NotFound),
                Some(now) if look + 1 == LOOKS => {
                    let why = format!("it is {} and in motion; try again", now.message.state.name());
                    answers[i] = Some(Repaired::Refused { state: now.message.state, why });
                }
                Some(now) => open.push((i, now.message)),
            }
        }
    }
    Ok(answers.into_iter().map(|a| a.unwrap_or(Repaired::NotFound)).collect())
}

fn is_replaced(m: &MessageView) -> bool {
    m.reason.as_deref() == Some(Reason::Replaced.name())
}

/// What became of a message whose job was changed, for whoever has its id still.
async fn whats_now(store: &SqliteStore, m: &MessageView, now: Timestamp) -> Result<String, StoreError> {
    Ok(match store.in_place_of(m.id).await? {
        Some(id) => format!("its job was changed, and {id} took its place"),
        None if store.is_planning(now).await? => {
            "its job was changed, and what takes its place is being made; try again in a moment".to_owned()
        }
        None => "its job was changed, and nothing took its place".to_owned(),
    })
}

/// Why what follows in a broken-off sequence gets no other chance by itself.
const BEHIND_ENDED: &str = "the message before it in its sequence did not go out, so this one would wait for ever; retry that one, or both at once";

/// Why what follows messages that were replaced, or forgotten, gets no other chance.
const BEHIND_NOTHING: &str = "the message before it in its sequence is there no more, since its job was changed or it was forgotten, so this one \
                              would wait for ever";

/// Those of these messages that would wait for an earlier one of their sequence that ended, and is not among them, or is not
/// there; each with why.
async fn behind_ended(
    store: &SqliteStore,
    messages: &[MessageView],
) -> Result<HashMap<MessageId, &'static str>, StoreError> {
    let ids: Vec<MessageId> = messages.iter().map(|m| m.id).collect();
    let asked: HashSet<MessageId> = ids.iter().copied().collect();
    let behind = store.behind_ended(ids).await?;
    let why = |(id, before): (MessageId, Option<MessageId>)| match before {
        Some(before) => (!asked.contains(&before)).then_some((id, BEHIND_ENDED)),
        None => Some((id, BEHIND_NOTHING)),
    };
    Ok(behind.into_iter().filter_map(why).collect())
}

/// Messages of a campaign cancelled in one step: some milliseconds of the writer.
const AT_ONCE: u32 = 500;

/// What calling a campaign off came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CalledOff {
    /// Messages that were cancelled, or in a dry run would be.
    pub cancelled: u64,
    /// Messages that were leaving, and could not be taken back.
    pub out: u64,
}

/// Calls a campaign off: whatever has not left is cancelled, with what follows others of its messages. It stays paused until the last of its messages is, so that nothing leaves
/// meanwhile, also where this ends halfway: then it is to be called off again.
///
/// # Errors
/// When the database cannot be read or written.
pub async fn call_off(
    store: &SqliteStore,
    campaign: &CampaignView,
    dry_run: bool,
    now: impl Fn() -> Timestamp,
) -> Result<CalledOff, StoreError> {
    let scope = PauseScope::Campaign(campaign.name.clone());
    if !dry_run {
        stop(store, campaign, now()).await?;
    }
    let mut done = CalledOff::default();
    cancel_all(store, campaign, dry_run, &now, &mut done).await?;
    if !dry_run {
        // From now on nobody joins it; who did meanwhile is found by looking once more.
        store.call_off(campaign.occurrence, now()).await?;
        let out = done.out;
        cancel_all(store, campaign, dry_run, &now, &mut done).await?;
        done.out = out;
        store.resume(scope, now()).await?;
    }
    Ok(done)
}

/// Cancels what of a campaign waits, and what follows it.
async fn cancel_all(
    store: &SqliteStore,
    campaign: &CampaignView,
    dry_run: bool,
    now: &impl Fn() -> Timestamp,
    done: &mut CalledOff,
) -> Result<(), StoreError> {
    let mut after = Place::START;
    loop {
        let states = Repair::Cancel.states();
        let page = store.campaign_messages_and_followers(campaign.occurrence, states, &after, AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = last.place.clone();
        let messages: Vec<MessageView> = page.into_iter().map(|m| m.message).collect();
        for answer in repair(store, Repair::Cancel, &messages, dry_run, now()).await? {
            match answer {
                Repaired::Done { .. } => done.cancelled += 1,
                Repaired::Refused { .. } => done.out += 1,
                Repaired::NotFound => {}
            }
        }
    }
    Ok(())
}

/// Pauses a campaign that is being called off: once this returns nothing more of it is marked.
async fn stop(store: &SqliteStore, campaign: &CampaignView, now: Timestamp) -> Result<(), StoreError> {
    let note = Some("it is being called off".to_owned());
    let scope = PauseScope::Campaign(campaign.name.clone());
    store.pause(Pause { scope, note, since: now, until: None }).await
}

/// Calls a campaign off, and asks for the recall of what went out of it or may have. Nothing more is marked before it is looked what
/// did, so no message is in neither. Where this ends halfway the campaign stays paused, and it is to be recalled again.
///
/// # Errors
/// When the database cannot be read or written.
pub async fn recall(
    store: &SqliteStore,
    campaign: &CampaignView,
    wish: &RecallWish,
    dry_run: bool,
    now: impl Fn() -> Timestamp,
) -> Result<(CalledOff, RecallAsked), StoreError> {
    if !dry_run {
        stop(store, campaign, now()).await?;
    }
    let mut asked = store.ask_recalls(wish, dry_run, now()).await?;
    let done = call_off(store, campaign, dry_run, &now).await?;
    if !dry_run {
        // What was made meanwhile to follow a message that nobody had recalled then.
        asked += store.ask_recalls(wish, dry_run, now()).await?;
    }
    Ok((done, asked))
}
