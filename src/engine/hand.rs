//! A message in this node's hands, between claim and release.

use crate::domain::message::{Change, Due, TypingFacts};
use crate::domain::state::State;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::{self, Leave};
use crate::engine::lane::Holds;

/// How far a message in hand has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// In its lane's line.
    Waiting,
    /// Its slot is fixed; typing is shown if it has a lead.
    Begun,
    /// The mark is being written.
    Marking,
    /// The mark is durable; the slot has not come.
    Marked,
    /// The request is out.
    Sending,
    /// The change that ends its stay is being written, again if need be.
    Settling(Box<Change>),
}

#[derive(Clone, Debug)]
pub(super) struct Hand {
    pub due: Due,
    /// Counts the times any message came into hand: tells this stay from earlier ones of the same message.
    pub stay: u64,
    pub phase: Phase,
    pub arrived_at: Timestamp,
    /// Since when is known what `frequency` says of it.
    pub known_at: Timestamp,
    /// When that was asked for, where the answer is not there yet.
    pub asked_at: Option<Timestamp>,
    pub held_by_lane: bool,
    /// Whether its lane ever gave it a slot later than it could have taken.
    pub was_paced: bool,
    pub leave: Option<Leave>,
    /// What kept its slot from being earlier.
    pub holds: Option<Holds>,
    pub typing: Option<TypingFacts>,
    /// A start-typing call waits for its answer.
    pub typing_open: bool,
    /// The typing facts changed after the mark took them along.
    pub typing_news: bool,
    /// A mark or the change that ends its stay is on its way to the disk: never two at a time, since an answer says only
    /// of which message it is.
    pub writing: bool,
    /// Somebody asked us to give it back while its mark was on the way.
    pub unwanted: bool,
    /// Others have given way to it: once is enough, whatever came of it.
    pub way_was_made: bool,
    /// What is being written sends it back into the line.
    pub comes_back: bool,
    /// Whether it still counts in its lane's concurrency and holds its chat.
    pub in_lane: bool,
    pub holds_chat: bool,
}

impl Hand {
    pub(super) fn new(due: Due, stay: u64, arrived_at: Timestamp) -> Hand {
        Hand {
            due,
            stay,
            phase: Phase::Waiting,
            arrived_at,
            known_at: arrived_at,
            asked_at: None,
            held_by_lane: false,
            was_paced: false,
            leave: None,
            holds: None,
            typing: None,
            typing_open: false,
            typing_news: false,
            writing: false,
            unwanted: false,
            way_was_made: false,
            comes_back: false,
            in_lane: false,
            holds_chat: false,
        }
    }

    /// Its state in memory, which is ahead of its row while typing is written behind.
    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Waiting => State::Claimed,
            Phase::Begun | Phase::Marking if self.typing.is_some() => State::Typing,
            Phase::Begun | Phase::Marking => State::Claimed,
            Phase::Marked | Phase::Sending | Phase::Settling(_) => State::Sending,
        }
    }

    pub(super) fn facts(&self, held_by_lane: bool) -> timeline::Facts {
        timeline::Facts {
            target: self.due.target,
            lead: self.due.lead,
            late: self.due.late,
            arrived_at: self.arrived_at,
            held_by_lane,
        }
    }

    /// The number of the attempt that is being made.
    pub(super) fn number(&self) -> u32 {
        self.due.attempts + 1
    }

    /// Whether its first attempt was put off for a window or by a person: it is not late by that.
    pub(super) fn was_put_off(&self) -> bool {
        self.due.attempts == 0 && self.due.target > self.due.due_at
    }

    /// When a message that waits should have begun, were its lane free.
    pub(super) fn would_begin(&self) -> Timestamp {
        self.due.target - self.due.lead
    }
}

/// When work on a leave must begin: with its typing, or with its mark where the lead is shorter than a commit.
pub(super) fn begins(leave: &Leave, mark_ahead: Millis) -> Timestamp {
    let mark = leave.slot - mark_ahead;
    leave.typing_from.map_or(mark, |t| t.min(mark))
}
