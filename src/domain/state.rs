//! What *we* did with a message: one enum, one pure function that changes it.
//!
//! What *they* say about it is an [ack](crate::domain::ack), never a state.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

pub use crate::domain::reason::Reason;

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
    /// It must wait for something else before its work begins.
    Postponed {
        /// When it next needs us.
        wake_at: Timestamp,
        /// For what.
        reason: Reason,
    },
    /// It waits for a person.
    Held {
        /// Why.
        reason: Reason,
    },
    /// A person lets it go on, or gives it another instant or chance.
    Resumed {
        /// When it next needs us.
        wake_at: Timestamp,
        /// What the person did.
        reason: Reason,
    },
    /// Evidence or a person settled a doubt: it went out. Evidence may come late, when another verdict was acted upon.
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
const HELD: &[StateName] = &[StateName::Held];

/// The one rule of how states follow each other.
///
/// `accepts` of the result speaks of rows: typing is written behind, so what is `Typing` in memory may still be
/// `scheduled` in its row, and both may be marked.
///
/// # Errors
/// [`InvalidTransition`] when `state` does not allow `event`. From `Sending` on nothing can be cancelled.
pub fn apply(state: &State, event: &Event) -> Result<Transition, InvalidTransition> {
    let step = match state {
        State::Scheduled { .. } => before_mark(event, true),
        State::Claimed | State::Typing => before_mark(event, false),
        State::Sending => marked(event),
        State::InDoubt { .. } => doubtful(event),
        State::Held => held(event),
        State::Failed | State::Cancelled | State::Expired | State::Skipped => settled(state, event),
        // What was sent stays sent.
        State::Sent { .. } => None,
    };
    match step {
        Some((accepts, to, reason)) => Ok(Transition { from: state.name(), accepts, to, reason }),
        None => Err(InvalidTransition { state: state.name(), event: event.clone() }),
    }
}

/// The states a row may be in, the state after it, and why; `None` where the event is not allowed.
type Step = Option<(&'static [StateName], State, Option<Reason>)>;

fn before_mark(event: &Event, unclaimed: bool) -> Step {
    match event {
        Event::Claimed => unclaimed.then_some((WAITING, State::Claimed, None)),
        Event::TypingShown => Some((WAITING, State::Typing, None)),
        Event::Marked => Some((BEFORE_MARK, State::Sending, None)),
        Event::Cancelled { reason } => Some((BEFORE_MARK, State::Cancelled, Some(*reason))),
        Event::TooLate { reason } => Some((BEFORE_MARK, State::Expired, Some(*reason))),
        Event::Unsendable { reason } => Some((BEFORE_MARK, State::Skipped, Some(*reason))),
        Event::Held { reason } => Some((BEFORE_MARK, State::Held, Some(*reason))),
        Event::LeadEnded { wake_at } => {
            Some((BEFORE_MARK, State::Scheduled { wake_at: *wake_at }, Some(Reason::LeadEnded)))
        }
        Event::Postponed { wake_at, reason } | Event::Resumed { wake_at, reason } => {
            Some((BEFORE_MARK, State::Scheduled { wake_at: *wake_at }, Some(*reason)))
        }
        // An attempt before this one was in doubt, and had been judged otherwise.
        Event::ProvedSent { sent_at, reason } => Some((BEFORE_MARK, State::Sent { sent_at: *sent_at }, Some(*reason))),
        Event::Accepted { .. } | Event::TryAgain { .. } | Event::GivenUp { .. } | Event::Unclear { .. } => None,
    }
}

fn marked(event: &Event) -> Step {
    match event {
        Event::Accepted { sent_at } => Some((MARKED, State::Sent { sent_at: *sent_at }, None)),
        Event::TryAgain { wake_at, reason } => Some((MARKED, State::Scheduled { wake_at: *wake_at }, Some(*reason))),
        Event::GivenUp { reason } => Some((MARKED, State::Failed, Some(*reason))),
        Event::TooLate { reason } => Some((MARKED, State::Expired, Some(*reason))),
        Event::Unclear { reason, look_at } => Some((MARKED, State::InDoubt { look_at: *look_at }, Some(*reason))),
        Event::Claimed
        | Event::TypingShown
        | Event::Marked
        | Event::Cancelled { .. }
        | Event::Unsendable { .. }
        | Event::LeadEnded { .. }
        | Event::Postponed { .. }
        | Event::Held { .. }
        | Event::Resumed { .. }
        | Event::ProvedSent { .. } => None,
    }
}

fn doubtful(event: &Event) -> Step {
    match event {
        Event::ProvedSent { sent_at, reason } => Some((DOUBTFUL, State::Sent { sent_at: *sent_at }, Some(*reason))),
        Event::TryAgain { wake_at, reason } => Some((DOUBTFUL, State::Scheduled { wake_at: *wake_at }, Some(*reason))),
        Event::GivenUp { reason } => Some((DOUBTFUL, State::Failed, Some(*reason))),
        Event::Claimed
        | Event::TypingShown
        | Event::Marked
        | Event::Accepted { .. }
        | Event::Unclear { .. }
        | Event::Cancelled { .. }
        | Event::TooLate { .. }
        | Event::Unsendable { .. }
        | Event::LeadEnded { .. }
        | Event::Postponed { .. }
        | Event::Held { .. }
        | Event::Resumed { .. } => None,
    }
}

fn held(event: &Event) -> Step {
    match event {
        Event::Cancelled { reason } => Some((HELD, State::Cancelled, Some(*reason))),
        Event::TooLate { reason } => Some((HELD, State::Expired, Some(*reason))),
        Event::Unsendable { reason } => Some((HELD, State::Skipped, Some(*reason))),
        Event::Resumed { wake_at, reason } => Some((HELD, State::Scheduled { wake_at: *wake_at }, Some(*reason))),
        Event::ProvedSent { sent_at, reason } => Some((HELD, State::Sent { sent_at: *sent_at }, Some(*reason))),
        Event::Claimed
        | Event::TypingShown
        | Event::Marked
        | Event::Accepted { .. }
        | Event::TryAgain { .. }
        | Event::GivenUp { .. }
        | Event::Unclear { .. }
        | Event::LeadEnded { .. }
        | Event::Postponed { .. }
        | Event::Held { .. } => None,
    }
}

/// What rests stays so, unless a person gives it another chance, or it turns out that it had been sent.
fn settled(state: &State, event: &Event) -> Step {
    let accepts: &'static [StateName] = match state {
        State::Failed => &[StateName::Failed],
        State::Cancelled => &[StateName::Cancelled],
        State::Expired => &[StateName::Expired],
        _ => &[StateName::Skipped],
    };
    match event {
        Event::Resumed { wake_at, reason: Reason::Retried } => {
            Some((accepts, State::Scheduled { wake_at: *wake_at }, Some(Reason::Retried)))
        }
        // What was never approved gets its other chance by its approval.
        Event::Held { reason: Reason::Approval } => Some((accepts, State::Held, Some(Reason::Approval))),
        Event::ProvedSent { sent_at, reason } => Some((accepts, State::Sent { sent_at: *sent_at }, Some(*reason))),
        Event::Claimed
        | Event::TypingShown
        | Event::Marked
        | Event::Accepted { .. }
        | Event::TryAgain { .. }
        | Event::GivenUp { .. }
        | Event::Unclear { .. }
        | Event::Cancelled { .. }
        | Event::TooLate { .. }
        | Event::Unsendable { .. }
        | Event::LeadEnded { .. }
        | Event::Postponed { .. }
        | Event::Held { .. }
        | Event::Resumed { .. } => None,
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
            Event::Postponed { wake_at: t, reason: Reason::Window },
            Event::Held { reason: Reason::HeldByPerson },
            Event::Held { reason: Reason::Approval },
            Event::Resumed { wake_at: t, reason: Reason::Retried },
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
                    let back =
                        matches!(event, Event::LeadEnded { .. } | Event::Postponed { .. } | Event::Resumed { .. });
                    assert!(back || !t.accepts().contains(&t.to().name()), "{state:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_settled_message_takes_no_event_but_a_person_s_other_chance_and_late_evidence() {
        use StateName::{Cancelled, Expired, Failed, Sent, Skipped};
        for state in states().into_iter().filter(|s| [Sent, Failed, Cancelled, Expired, Skipped].contains(&s.name())) {
            for event in events() {
                let retry = matches!(event, Event::Resumed { reason: Reason::Retried, .. });
                let proof = matches!(event, Event::ProvedSent { .. });
                let draft = matches!(event, Event::Held { reason: Reason::Approval });
                let allowed = (retry || proof || draft) && state.name() != Sent;
                assert_eq!(apply(&state, &event).is_ok(), allowed, "{state:?} {event:?}");
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
