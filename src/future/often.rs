//! Who has had as many messages as `frequency` allows, as it will be.

use std::collections::HashMap;

use crate::domain::frequency::Frequency;
use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;

/// When messages that count for `frequency` left, by recipient.
pub type Counted = HashMap<Chat, Vec<Timestamp>>;

/// What left before a prediction begins, and in it.
#[derive(Debug)]
pub(super) struct Had<'p> {
    before: &'p Counted,
    since: Counted,
}

impl<'p> Had<'p> {
    pub(super) fn before(before: &'p Counted) -> Had<'p> {
        Had { before, since: Counted::new() }
    }

    /// Whether a recipient gets no more at an instant.
    pub(super) fn enough(&self, chat: &Chat, frequency: Frequency, at: Timestamp) -> bool {
        let of = |counted: &Counted| {
            counted.get(chat).map_or(0, |all| all.iter().filter(|t| **t > at - frequency.within).count())
        };
        of(self.before) + of(&self.since) >= usize::try_from(frequency.at_most).unwrap_or(usize::MAX)
    }

    /// A message that counts leaves.
    pub(super) fn leaves(&mut self, chat: &Chat, at: Timestamp) {
        self.since.entry(chat.clone()).or_default().push(at);
    }
}
