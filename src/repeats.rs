//! The same content to the same chat within a minute is most likely a mistake of whoever asked for it: a request sent
//! twice, a script run twice. It is held and said, and a person may release it.
//!
//! Only messages nobody vouched for are held: those of a job were declared, those with a key are the caller's own
//! affair, and those a person released are meant.

use std::collections::HashMap;

use crate::domain::id::MessageId;
use crate::domain::recipient::Chat;
use crate::domain::render::Rendered;
use crate::domain::state::Reason;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Claimed, RecentBody, body_hash};

/// How close together is a repetition.
pub const REPEATED_WITHIN: Millis = Millis::seconds(60);

/// Contents remembered before old ones are looked for and forgotten.
const REMEMBERED: usize = 10_000;

/// What went out lately, by chat and hash.
#[derive(Debug, Default)]
pub struct Repeats {
    recent: HashMap<(Chat, i64), (MessageId, Timestamp)>,
    by_id: HashMap<MessageId, (Chat, i64)>,
}

impl Repeats {
    /// Notes what was sent before.
    pub fn note(&mut self, recent: RecentBody) {
        let key = (recent.chat, recent.body);
        self.by_id.insert(recent.id, key.clone());
        self.recent.insert(key, (recent.id, recent.at));
    }

    /// The hash of what a message is about to send, noted from now on.
    ///
    /// # Errors
    /// [`Reason::Repeated`] and a word for the timeline, where another message with the same content went to the same
    /// chat less than a minute ago and nobody vouched for this one.
    pub fn check(&mut self, claimed: &Claimed, what: &Rendered, now: Timestamp) -> Result<i64, (Reason, String)> {
        let chat = &claimed.due.chat;
        let body = body_hash(chat, &what.content);
        let key = (chat.clone(), body);
        if let Some((other, at)) = self.recent.get(&key)
            && *other != claimed.due.id
            && claimed.unvouched
            && now.since(*at) < REPEATED_WITHIN
        {
            let ago = Millis(now.since(*at).0 / 100 * 100);
            return Err((Reason::Repeated, format!("{other} sent the same to this chat {ago} before; it is held")));
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.retain(|_, (_, at)| now.since(*at) < REPEATED_WITHIN);
            let recent = &self.recent;
            self.by_id.retain(|_, key| recent.contains_key(key));
        }
        self.note(RecentBody { id: claimed.due.id, chat: chat.clone(), body, at: now });
        Ok(body)
    }

    /// Forgets what surely did not go out.
    pub fn forget(&mut self, id: MessageId) {
        if let Some(key) = self.by_id.remove(&id)
            && self.recent.get(&key).is_some_and(|(known, _)| *known == id)
        {
            self.recent.remove(&key);
        }
    }
}
