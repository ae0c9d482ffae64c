//! What *we* did with a message: one enum, one pure function that changes it.
//!
//! What *they* say about it is an [ack](crate::domain::ack), never a state.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The state of a message. Each variant carries only what is true in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Waits for its wake.
    Scheduled {
        /// When it next needs us: due − lead, or the next try − lead.
        wake_at: Timestamp,
    },
    /// In this node's hands. Never in a row of the SQLite database: its lock makes the claim safe in memory.
    Claimed,
    /// The recipient sees typing.
    Typing,
    /// The mark is durable: the request may be out. Only its record, or a recovery, moves it on.
    Sending,
    /// The gateway has it.
    Sent {
        /// When it left.
        sent_at: Timestamp,
    },
    /// It may or may not have been carried out.
    InDoubt {
        /// When evidence is next looked for.
        look_at: Timestamp,
    },
    /// Waits for a person.
    Held,
    /// Refused for good, or its tries are used up.
    Failed,
    /// Taken back before it left.
    Cancelled,
    /// Its time passed while nobody could serve it.
    Expired,
    /// Never to be sent: a template error, a duplicate.
    Skipped,
}

/// A state's name: what is stored, filtered by and counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// See [`State::Scheduled`].
    Scheduled,
    /// See [`State::Claimed`].
    Claimed,
    /// See [`State::Typing`].
    Typing,
    /// See [`State::Sending`].
    Sending,
    /// See [`State::Sent`].
    Sent,
    /// See [`State::InDoubt`].
    InDoubt,
    /// See [`State::Held`].
    Held,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Cancelled`].
    Cancelled,
    /// See [`State::Expired`].
    Expired,
    /// See [`State::Skipped`].
    Skipped,
}

impl StateName {
    /// All names, in the order of a message's life.
    pub const ALL: [StateName; 11] = [
        StateName::Scheduled,
        StateName::Claimed,
        StateName::Typing,
        StateName::Sending,
        StateName::Sent,
        StateName::InDoubt,
        StateName::Held,
        StateName::Failed,
        StateName::Cancelled,
        StateName::Expired,
        StateName::Skipped,
    ];

    /// The word used in commands, JSON and the database.
    pub fn name(self) -> &'static str {
        match self {
            StateName::Scheduled => "scheduled",
            StateName::Claimed => "claimed",
            StateName::Typing => "typing",
            StateName::Sending => "sending",
            StateName::Sent => "sent",
            StateName::InDoubt => "in_doubt",
            StateName::Held => "held",
            StateName::Failed => "failed",
            StateName::Cancelled => "cancelled",
            StateName::Expired => "expired",
            StateName::Skipped => "skipped",
        }
    }

    /// The state of a word.
    pub fn from_name(name: &str) -> Option<StateName> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Why a message is where it is: a closed list, each code with one sentence in the reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The gateway refused it for good.
    Refused,
    /// Every try was used up.
    TriesUsedUp,
    /// A person cancelled it.
    CancelledByPerson,
    /// Its job was changed; a new row took its place.
    Replaced,
    /// Its job was removed.
    Removed,
    /// It was too late: outages or retries took longer than `max_lateness`.
    TooLate,
    /// Its occurrence passed while nobody could serve it.
    Misfire,
    /// Its template could not be filled in.
    Template,
    /// Its stored content no longer matches the hash taken when it was planned.
    Damaged,
    /// The request was out when the program stopped.
    Crash,
    /// The gateway gave no clear answer.
    NoClearAnswer,
    /// A person, or the job's policy, gave it up while in doubt.
    Dropped,
    /// A person said it went out.
    SaidSent,
    /// The gateway's history shows it.
    FoundInHistory,
    /// A person, or the job's policy, had it sent again while in doubt.
    ResentOnDoubt,
    /// Refused for now: another try is planned.
    RefusedForNow,
    /// The connection did not open, or the request was never begun.
    NotSent,
    /// The gateway asked to wait.
    RateLimited,
    /// The instance cannot send.
    InstanceDown,
    /// The lead ended without a send: a pause, a stop of the daemon, a restart.
    LeadEnded,
}

impl Reason {
    /// Every reason with its sentence: what the reference prints and a test holds against the code.
    pub const ALL: [(Reason, &'static str, &'static str); 20] = [
        (Reason::Refused, "refused", "The gateway refused the message for good."),
        (Reason::TriesUsedUp, "tries_used_up", "Every try of `retry.attempts` was used up."),
        (Reason::CancelledByPerson, "cancelled_by_person", "Somebody cancelled it."),
        (Reason::Replaced, "replaced", "Its job was changed, and a new message took its place."),
        (Reason::Removed, "removed", "Its job was removed."),
        (Reason::TooLate, "too_late", "Outages or retries took longer than `max_lateness`."),
        (Reason::Misfire, "misfire", "Its occurrence passed while nobody could serve it."),
        (Reason::Template, "template", "Its template could not be filled in for this recipient."),
        (Reason::Damaged, "damaged", "Its stored content does not match the hash taken when it was planned."),
        (Reason::Crash, "crash", "Its request was out when the program stopped, and the answer is unknown."),
        (Reason::NoClearAnswer, "no_clear_answer", "The gateway gave no clear answer."),
        (Reason::Dropped, "dropped", "It was given up while in doubt, by a person or by `on_doubt: drop`."),
        (Reason::SaidSent, "said_sent", "A person said that it went out."),
        (Reason::FoundInHistory, "found_in_history", "The gateway's history of the chat shows it."),
        (
            Reason::ResentOnDoubt,
            "resent_on_doubt",
            "It is sent again after a doubt, by a person or by `on_doubt: resend`.",
        ),
        (Reason::RefusedForNow, "refused_for_now", "The gateway refused it for now; another try is planned."),
        (Reason::NotSent, "not_sent", "The connection did not open, or the request was never begun."),
        (Reason::RateLimited, "rate_limited", "The gateway asked to wait."),
        (
            Reason::InstanceDown,
            "instance_down",
            "The instance cannot send until its session or credentials work again.",
        ),
        (Reason::LeadEnded, "lead_ended", "Typing ended without a send: a pause, or a stop of the daemon."),
    ];

    /// The code used in JSON and in the database.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(r, ..)| *r == self).map_or("", |(_, name, _)| name)
    }

    /// The reason of a code.
    pub fn from_name(name: &str) -> Option<Reason> {
        Self::ALL.iter().find(|(_, n, _)| *n == name).map(|(r, ..)| *r)
    }
}

/// What happened to a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// This node took it.
    Claimed,
    /// The recipient is shown typing.
    TypingShown,
    /// The durable point before the request leaves.
    Marked,
    /// The gateway has it; it left at this instant.
    Accepted {
        /// When the request left.
        sent_at: Timestamp,
    },
    /// It did not go out and shall be tried again at `wake_at`.
    TryAgain {
        /// When it next needs us.
        wake_at: Timestamp,
        /// Why it did not go out.
        reason: Reason,
    },
    /// It will not be tried again.
    GivenUp {
        /// Why.
        reason: Reason,
    },
    /// Nobody can say whether it went out.
    Unclear {
        /// Why.
        reason: Reason,
        /// When evidence may first be looked for: after the gateway's own latency.
        look_at: Timestamp,
    },
    /// Somebody took it back.
    Cancelled {
        /// Who or what.
        reason: Reason,
    },
    /// Its time is over.
    TooLate {
        /// Which limit.
        reason: Reason,
    },
    /// It must never be sent.
    Unsendable {
        /// Why.
        reason: Reason,
    },
    /// The lead ended without a send; it waits again.
    LeadEnded {
        /// When it next needs us.
        wake_at: Timestamp,
    },
    /// Evidence or a person settled a doubt: it went out.
    ProvedSent {
        /// When it left, as far as known.
        sent_at: Timestamp,
        /// The kind of evidence.
        reason: Reason,
    },
}

/// A change that the rules allow. Only [`apply`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    from: StateName,
    accepts: &'static [StateName],
    to: State,
    reason: Option<Reason>,
}

impl Transition {
    /// The state it was made from, which in memory may be ahead of the row.
    pub fn from(&self) -> StateName {
        self.from
    }

    /// The states a *row* may be in for this change to be carried out; any other answers `Stale`.
    pub fn accepts(&self) -> &'static [StateName] {
        self.accepts
    }

    /// The state after it.
    pub fn to(&self) -> &State {
        &self.to
    }

    /// Why, where the new state has a reason.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

/// An event that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message that is {} cannot take the event {event:?}", state.name())]
pub struct InvalidTransition {
    /// Where the message was.
    pub state: StateName,
    /// What should have happened to it.
    pub event: Event,
}

impl State {
    /// The state's name.
    pub fn name(&self) -> StateName {
        match self {
            State::Scheduled { .. } => StateName::Scheduled,
            State::Claimed => StateName::Claimed,
            State::Typing => StateName::Typing,
            State::Sending => StateName::Sending,
            State::Sent { .. } => StateName::Sent,
            State::InDoubt { .. } => StateName::InDoubt,
            State::Held => StateName::Held,
            State::Failed => StateName::Failed,
            State::Cancelled => StateName::Cancelled,
            State::Expired => StateName::Expired,
            State::Skipped => StateName::Skipped,
        }
    }
}

const WAITING: &[StateName] = &[StateName::Scheduled];
const BEFORE_MARK: &[StateName] = &[StateName::Scheduled, StateName::Typing];
const MARKED: &[StateName] = &[StateName::Sending];
const DOUBTFUL: &[StateName] = &[StateName::InDoubt];

/// The one rule of how states follow each other.
///
/// `accepts` of the result speaks of rows: typing is written behind, so what is `Typing` in memory may still be
/// `scheduled` in its row, and both may be marked.
///
/// # Errors
/// [`InvalidTransition`] when `state` does not allow `event`. From `Sending` on nothing can be cancelled.
pub fn apply(state: &State, event: &Event) -> Result<Transition, InvalidTransition> {
    let done = |accepts, to, reason| Ok(Transition { from: state.name(), accepts, to, reason });
    let refuse = || Err(InvalidTransition { state: state.name(), event: event.clone() });
    match state {
        State::Scheduled { .. } | State::Claimed | State::Typing => match event {
            Event::Claimed => match state {
                State::Scheduled { .. } => done(WAITING, State::Claimed, None),
                _ => refuse(),
            },
            Event::TypingShown => done(WAITING, State::Typing, None),
            Event::Marked => done(BEFORE_MARK, State::Sending, None),
            Event::Cancelled { reason } => done(BEFORE_MARK, State::Cancelled, Some(*reason)),
            Event::TooLate { reason } => done(BEFORE_MARK, State::Expired, Some(*reason)),
            Event::Unsendable { reason } => done(BEFORE_MARK, State::Skipped, Some(*reason)),
            Event::LeadEnded { wake_at } => {
                done(BEFORE_MARK, State::Scheduled { wake_at: *wake_at }, Some(Reason::LeadEnded))
            }
            Event::Accepted { .. }
            | Event::TryAgain { .. }
            | Event::GivenUp { .. }
            | Event::Unclear { .. }
            | Event::ProvedSent { .. } => refuse(),
        },
        State::Sending => match event {
            Event::Accepted { sent_at } => done(MARKED, State::Sent { sent_at: *sent_at }, None),
            Event::TryAgain { wake_at, reason } => done(MARKED, State::Scheduled { wake_at: *wake_at }, Some(*reason)),
            Event::GivenUp { reason } => done(MARKED, State::Failed, Some(*reason)),
            Event::TooLate { reason } => done(MARKED, State::Expired, Some(*reason)),
            Event::Unclear { reason, look_at } => done(MARKED, State::InDoubt { look_at: *look_at }, Some(*reason)),
            Event::Claimed
            | Event::TypingShown
            | Event::Marked
            | Event::Cancelled { .. }
            | Event::Unsendable { .. }
            | Event::LeadEnded { .. }
            | Event::ProvedSent { .. } => refuse(),
        },
        State::InDoubt { .. } => match event {
            Event::ProvedSent { sent_at, reason } => done(DOUBTFUL, State::Sent { sent_at: *sent_at }, Some(*reason)),
            Event::TryAgain { wake_at, reason } => {
                done(DOUBTFUL, State::Scheduled { wake_at: *wake_at }, Some(*reason))
            }
            Event::GivenUp { reason } => done(DOUBTFUL, State::Failed, Some(*reason)),
            Event::Claimed
            | Event::TypingShown
            | Event::Marked
            | Event::Accepted { .. }
            | Event::Unclear { .. }
            | Event::Cancelled { .. }
            | Event::TooLate { .. }
            | Event::Unsendable { .. }
            | Event::LeadEnded { .. } => refuse(),
        },
        State::Sent { .. } | State::Held | State::Failed | State::Cancelled | State::Expired | State::Skipped => {
            refuse()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let t = Timestamp(5);
        let r = Reason::Refused;
        vec![
            Event::Claimed,
            Event::TypingShown,
            Event::Marked,
            Event::Accepted { sent_at: t },
            Event::TryAgain { wake_at: t, reason: r },
            Event::GivenUp { reason: r },
            Event::Unclear { reason: r, look_at: t },
            Event::Cancelled { reason: r },
            Event::TooLate { reason: r },
            Event::Unsendable { reason: r },
            Event::LeadEnded { wake_at: t },
            Event::ProvedSent { sent_at: t, reason: r },
        ]
    }

    fn states() -> Vec<State> {
        let t = Timestamp(5);
        vec![
            State::Scheduled { wake_at: t },
            State::Claimed,
            State::Typing,
            State::Sending,
            State::Sent { sent_at: t },
            State::InDoubt { look_at: t },
            State::Held,
            State::Failed,
            State::Cancelled,
            State::Expired,
            State::Skipped,
        ]
    }

    #[test]
    fn nothing_marked_can_be_cancelled() {
        for state in [State::Sending, State::Sent { sent_at: Timestamp(1) }, State::InDoubt { look_at: Timestamp(1) }] {
            assert!(apply(&state, &Event::Cancelled { reason: Reason::CancelledByPerson }).is_err());
        }
    }

    #[test]
    fn only_a_marked_message_can_be_sent_and_only_one_before_the_mark_can_be_marked() {
        for state in states() {
            let sent = apply(&state, &Event::Accepted { sent_at: Timestamp(1) });
            assert_eq!(sent.is_ok(), state == State::Sending, "{state:?}");
            let marked = apply(&state, &Event::Marked);
            let before = matches!(state, State::Scheduled { .. } | State::Claimed | State::Typing);
            assert_eq!(marked.is_ok(), before, "{state:?}");
        }
    }

    #[test]
    fn no_transition_accepts_the_state_it_leads_to_or_claimed() {
        for state in states() {
            for event in events() {
                if let Ok(t) = apply(&state, &event) {
                    assert!(!t.accepts().contains(&StateName::Claimed));
                    let back = matches!(event, Event::LeadEnded { .. });
                    assert!(back || !t.accepts().contains(&t.to().name()), "{state:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_settled_message_takes_no_event() {
        for state in states().into_iter().filter(|s| {
            matches!(
                s.name(),
                StateName::Sent | StateName::Failed | StateName::Cancelled | StateName::Expired | StateName::Skipped
            )
        }) {
            for event in events() {
                assert!(apply(&state, &event).is_err(), "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn every_name_is_read_back() {
        for s in StateName::ALL {
            assert_eq!(StateName::from_name(s.name()), Some(s));
        }
        for (r, name, sentence) in Reason::ALL {
            assert_eq!(Reason::from_name(name), Some(r));
            assert!(sentence.ends_with('.'));
            assert_eq!(serde_json::to_value(r).unwrap(), name);
        }
    }
}
