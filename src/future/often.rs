//! Who has had as many messages as `frequency` allows, as it will be.

use std::cmp::Reverse;
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

    /// From when on a recipient gets one more, by what left so far.
    pub(super) fn allowed_from(&self, chat: &Chat, frequency: Frequency) -> Timestamp {
        let mut left: Vec<Timestamp> =
            [self.before, &self.since].iter().filter_map(|c| c.get(chat)).flatten().copied().collect();
        left.sort_unstable_by_key(|at| Reverse(*at));
        let fills = usize::try_from(frequency.at_most).ok().and_then(|most| left.get(most.checked_sub(1)?));
        fills.map_or(Timestamp(0), |at| *at + frequency.within)
    }

    /// A message that counts leaves.
    pub(super) fn leaves(&mut self, chat: &Chat, at: Timestamp) {
        self.since.entry(chat.clone()).or_default().push(at);
    }
}
