//! The same content to the same chat within a minute is most likely a mistake of whoever asked for it: a request sent
//! twice, a script run twice. It is held and said, and a person may release it.
//!
//! Only messages nobody vouched for are held: those of a job were declared, those with a key are the caller's own
//! affair, and those a person released are meant.

use std::collections::{HashMap, VecDeque};

use crate::domain::id::MessageId;
use crate::domain::render::Rendered;
use crate::domain::state::Reason;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Claimed, RecentBody, body_hash};

/// How close together is a repetition.
pub const REPEATED_WITHIN: Millis = Millis::seconds(60);

/// What went out lately, by the hash of chat and content.
#[derive(Debug, Default)]
pub struct Repeats {
    recent: HashMap<i64, (MessageId, Timestamp)>,
    /// The same in the order in which it went out: what is older than a minute is forgotten from its front.
    order: VecDeque<(Timestamp, i64)>,
}

impl Repeats {
    /// Notes what was sent before, the oldest first.
    pub fn note(&mut self, recent: &RecentBody) {
        self.recent.insert(recent.body, (recent.id, recent.at));
        self.order.push_back((recent.at, recent.body));
    }

    /// The hash of what a message is about to send, noted from now on.
    ///
    /// # Errors
    /// [`Reason::Repeated`] and a word for the timeline, where another message with the same content went to the same
    /// chat less than a minute ago and nobody vouched for this one.
    pub fn check(&mut self, claimed: &Claimed, what: &Rendered, now: Timestamp) -> Result<i64, (Reason, String)> {
        let (id, body) = (claimed.due.id, body_hash(&claimed.due.chat, &what.content));
        if let Some((other, at)) = self.recent.get(&body)
            && *other != id
            && claimed.unvouched
            && now.since(*at) < REPEATED_WITHIN
        {
            let ago = Millis(now.since(*at).0 / 100 * 100);
            return Err((Reason::Repeated, format!("{other} sent the same to this chat {ago} before; it is held")));
        }
        self.forget_old(now);
        self.note(&RecentBody { id, body, at: now });
        Ok(body)
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((at, body)) = self.order.front().copied().filter(|(at, _)| now.since(*at) >= REPEATED_WITHIN) {
            self.order.pop_front();
            // What went out again since stays.
            if self.recent.get(&body).is_some_and(|(_, latest)| *latest == at) {
                self.recent.remove(&body);
            }
        }
    }

    /// Forgets what surely did not go out.
    pub fn forget(&mut self, id: MessageId, body: i64) {
        if self.recent.get(&body).is_some_and(|(known, _)| *known == id) {
            self.recent.remove(&body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(at: i64, body: i64) -> RecentBody {
        RecentBody { id: MessageId([u8::try_from(body).unwrap(); 16]), body, at: Timestamp(at) }
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten_and_what_went_out_again_is_not() {
        let mut repeats = Repeats::default();
        for (at, body) in [(0, 1), (1, 2), (50_000, 1)] {
            repeats.note(&noted(at, body));
        }
        repeats.forget_old(Timestamp(60_000));
        assert_eq!(repeats.recent.len(), 2, "the first of them went out again, the second not a minute ago");
        repeats.forget_old(Timestamp(60_001));
        assert_eq!(repeats.recent.keys().copied().collect::<Vec<_>>(), [1]);
        repeats.forget(MessageId([9; 16]), 1);
        assert_eq!(repeats.recent.len(), 1, "another message's word for it counts for nothing");
        repeats.forget(MessageId([1; 16]), 1);
        repeats.forget_old(Timestamp(200_000));
        assert!(repeats.recent.is_empty() && repeats.order.is_empty());
    }
}
