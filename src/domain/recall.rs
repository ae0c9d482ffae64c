//! Recalling: deleting for everyone what was sent. A gateway may be asked twice without harm, so a try without a clear
//! answer is simply made again; what a gateway deletes for everyone it does for a while only.

use crate::domain::draw::Draw;
use crate::domain::retry::RetryPolicy;
use crate::domain::time::{Millis, Timestamp};

/// How long an instance rests that asked to wait and did not say how long.
const RESTS: Millis = Millis::seconds(20);

/// The longest an instance rests at a gateway's word.
const RESTS_AT_MOST: Millis = Millis::seconds(3_600);

/// What a gateway answered that was asked to delete a message. Which answer is which is each gateway's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// It is deleted for everyone.
    Deleted,
    /// The gateway knows no such message.
    Unknown,
    /// Refused for good.
    Refused,
    /// It may or may not have been carried out.
    Unclear,
    /// The request provably never left.
    NotSent,
    /// Too fast: nothing of this instance may be asked before a while has passed.
    NotNow {
        /// How long the gateway asked us to wait, if it did.
        after: Option<Millis>,
    },
    /// The account can do nothing at the moment.
    InstanceDown,
}

/// How the recall of one message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecallState {
    /// It is to be deleted, once it is known as sent.
    Open,
    /// The gateway deleted it for everyone.
    Done,
    /// It could not be deleted.
    Failed,
    /// It was sent longer ago than the gateway deletes for everyone.
    TooLate,
    /// There is nothing to delete: it is not known to have gone out, and will not any more.
    Unsent,
}

impl RecallState {
    /// Every state with its name and one sentence.
    pub const ALL: [(RecallState, &'static str, &'static str); 5] = [
        (RecallState::Open, "open", "It is to be deleted, as soon as it is known as sent and its turn has come."),
        (RecallState::Done, "done", "The gateway deleted it for everyone."),
        (RecallState::Failed, "failed", "It could not be deleted, and is not tried again."),
        (RecallState::TooLate, "too_late", "It was sent longer ago than its gateway deletes for everyone."),
        (RecallState::Unsent, "unsent", "There is nothing to delete: it did not go out, as far as is known."),
    ];

    /// The word in the database and in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(state, ..)| *state == self).map_or("open", |(_, name, _)| name)
    }

    /// The state of a word.
    pub fn from_name(name: &str) -> Option<RecallState> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(state, ..)| state)
    }
}

/// Why a recall failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecallReason {
    /// Its gateway cannot.
    Cannot,
    /// Nobody knows its id at the gateway.
    Unnamed,
    /// The gateway knows no such message.
    Unknown,
    /// The gateway refused.
    Refused,
    /// Every try was used up.
    TriesUsedUp,
}

impl RecallReason {
    /// Every reason with its name and one sentence.
    pub const ALL: [(RecallReason, &'static str, &'static str); 5] = [
        (RecallReason::Cannot, "cannot", "The gateway of its instance cannot delete for everyone."),
        (RecallReason::Unnamed, "unnamed", "It was said to be sent, and its id at the gateway is not known."),
        (RecallReason::Unknown, "unknown", "The gateway knows no such message."),
        (RecallReason::Refused, "refused", "The gateway refused to delete it."),
        (RecallReason::TriesUsedUp, "tries_used_up", "No try got a clear answer, and all are used up."),
    ];

    /// The word in the database and in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(reason, ..)| *reason == self).map_or("refused", |(_, name, _)| name)
    }
}

/// How the recall of a message begins that was sent at `sent_at`, or of which that is not known yet, through a gateway that
/// deletes for everyone `within` so long.
pub fn begin(
    sent_at: Option<Timestamp>,
    within: Option<Millis>,
    now: Timestamp,
) -> (RecallState, Option<RecallReason>) {
    match within {
        None => (RecallState::Failed, Some(RecallReason::Cannot)),
        Some(within) if sent_at.is_some_and(|t| now.since(t) >= within) => (RecallState::TooLate, None),
        Some(_) => (RecallState::Open, None),
    }
}

/// What follows from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It rests.
    Settled(RecallState, Option<RecallReason>),
    /// It is tried again after this length.
    Again(Millis),
    /// It says nothing about the message, and its try does not count: the instance rests for this length.
    Rest(Millis),
}

/// Judges the answer to the `tries`-th request about a message; `in_vain` is how many requests of its instance in a row, this
/// one included, never left.
pub fn judge(answer: &Deletion, tries: u32, in_vain: u32, policy: &RetryPolicy, draw: Draw) -> Next {
    match answer {
        Deletion::Deleted => Next::Settled(RecallState::Done, None),
        // A request before this one may have been carried out: then there is nothing left to know.
        Deletion::Unknown if tries > 1 => Next::Settled(RecallState::Done, None),
        Deletion::Unknown => Next::Settled(RecallState::Failed, Some(RecallReason::Unknown)),
        Deletion::Refused => Next::Settled(RecallState::Failed, Some(RecallReason::Refused)),
        Deletion::Unclear => match policy.next_after(tries, draw) {
            Some(wait) => Next::Again(wait),
            None => Next::Settled(RecallState::Failed, Some(RecallReason::TriesUsedUp)),
        },
        Deletion::NotSent => {
            let endless = RetryPolicy { attempts: u32::MAX, ..policy.clone() };
            Next::Rest(endless.next_after(in_vain, draw).unwrap_or(RESTS))
        }
        Deletion::NotNow { after } => Next::Rest(after.unwrap_or(RESTS).min(RESTS_AT_MOST)),
        Deletion::InstanceDown => Next::Rest(RESTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn what_was_sent_too_long_ago_or_through_a_gateway_that_cannot_is_settled_at_once() {
        let within = Some(Millis::seconds(60));
        let ago = |seconds| Some(NOW - Millis::seconds(seconds));
        assert_eq!(begin(ago(59), within, NOW), (RecallState::Open, None));
        assert_eq!(begin(ago(60), within, NOW), (RecallState::TooLate, None));
        assert_eq!(begin(None, within, NOW), (RecallState::Open, None), "nobody knows yet whether it went out");
        assert_eq!(begin(ago(1), None, NOW), (RecallState::Failed, Some(RecallReason::Cannot)));
    }

    #[test]
    fn only_answers_about_the_message_use_up_its_tries() {
        let policy = RetryPolicy { attempts: 3, backoff: [Millis(10), Millis(20)].into(), jitter: 0.0 };
        let next = |answer: Deletion, tries| judge(&answer, tries, 1, &policy, Draw::new(0, "recall"));
        assert_eq!(next(Deletion::Deleted, 1), Next::Settled(RecallState::Done, None));
        assert_eq!(next(Deletion::Unclear, 1), Next::Again(Millis(10)));
        assert_eq!(next(Deletion::Unclear, 2), Next::Again(Millis(20)));
        let used_up = Next::Settled(RecallState::Failed, Some(RecallReason::TriesUsedUp));
        assert_eq!(next(Deletion::Unclear, 3), used_up);
        assert_eq!(next(Deletion::NotSent, 99), Next::Rest(Millis(10)));
        assert_eq!(next(Deletion::NotNow { after: Some(Millis(7)) }, 99), Next::Rest(Millis(7)));
        assert_eq!(next(Deletion::NotNow { after: Some(Millis(i64::MAX)) }, 99), Next::Rest(RESTS_AT_MOST));
        assert_eq!(next(Deletion::InstanceDown, 99), Next::Rest(RESTS));
    }

    #[test]
    fn a_message_that_is_unknown_after_an_unclear_try_was_deleted_by_it() {
        let next = |tries| judge(&Deletion::Unknown, tries, 0, &RetryPolicy::default(), Draw::new(0, "recall"));
        assert_eq!(next(1), Next::Settled(RecallState::Failed, Some(RecallReason::Unknown)));
        assert_eq!(next(2), Next::Settled(RecallState::Done, None));
    }

    #[test]
    fn every_name_is_read_back() {
        for (state, name, sentence) in RecallState::ALL {
            assert_eq!((state.name(), RecallState::from_name(name)), (name, Some(state)));
            assert!(sentence.ends_with('.'));
        }
        for (reason, name, sentence) in RecallReason::ALL {
            assert_eq!(reason.name(), name);
            assert!(sentence.ends_with('.'));
        }
    }
}
