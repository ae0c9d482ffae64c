//! What the sandbox remembers: the messages of each chat.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::time::Timestamp;

/// Messages remembered of one chat, and in all: a history, not an archive.
const PER_CHAT: usize = 200;
const IN_ALL: usize = 200_000;

/// One message the sandbox carried out.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub id: String,
    pub chat: String,
    pub text: String,
    pub at: Timestamp,
}

/// Messages by account and chat, and how many in all.
#[derive(Default)]
struct Remembered {
    lists: HashMap<(String, String), Vec<Sent>>,
    count: usize,
}

#[derive(Default)]
pub(super) struct Chats {
    chats: Mutex<Remembered>,
    counter: AtomicU64,
}

impl Chats {
    /// Notes a message and names it as WhatsApp's own clients do.
    pub(super) fn add(&self, instance_id: &str, chat: &str, text: Option<&str>, at: Timestamp) -> Sent {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let id = format!("3EB0{:010X}{:06X}", at.0, number & 0xff_ffff);
        let sent = Sent { id, chat: chat.to_owned(), text: text.unwrap_or("").to_owned(), at };
        let mut chats = self.chats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if chats.count >= IN_ALL {
            chats.lists.clear();
            chats.count = 0;
        }
        chats.count += 1;
        let list = chats.lists.entry((instance_id.to_owned(), chat.to_owned())).or_default();
        if list.len() == PER_CHAT {
            list.remove(0);
        }
        list.push(sent.clone());
        sent
    }

    /// Deletes a message for everyone: what remains of it says nothing. Answers whether it was ever there.
    pub(super) fn delete(&self, instance_id: &str, chat: &str, id: &str) -> bool {
        let mut chats = self.chats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let list = chats.lists.get_mut(&(instance_id.to_owned(), chat.to_owned()));
        let Some(sent) = list.and_then(|l| l.iter_mut().find(|s| s.id == id)) else { return false };
        sent.text.clear();
        true
    }

    /// The latest messages of a chat, newest first.
    pub(super) fn history(&self, instance_id: &str, chat: &str, limit: usize) -> Vec<Sent> {
        let chats = self.chats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let list = chats.lists.get(&(instance_id.to_owned(), chat.to_owned()));
        list.map(|l| l.iter().rev().take(limit).cloned().collect()).unwrap_or_default()
    }
}
