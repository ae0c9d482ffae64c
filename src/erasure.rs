//! Forgetting a person while others work: what waits for them is cancelled, and only what has ended is made nameless.

use crate::domain::id::MessageId;
use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;
use crate::repair::{Repair, Repaired, repair};
use crate::store::view::MessageView;
use crate::store::{Erased, SqliteStore, StoreError};

/// Messages cancelled in one commit: some milliseconds of the writer.
const AT_ONCE: usize = 200;

/// Looks for what was planned for them, or given another chance, meanwhile.
const LOOKS: usize = 5;

/// What came of forgetting a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Erasure {
    /// They are forgotten, after the messages that waited for them were cancelled.
    Done {
        /// What was forgotten.
        erased: Erased,
        /// What was cancelled first.
        cancelled: Vec<MessageId>,
    },
    /// So many messages to them are on the way, in doubt or being recalled: what becomes of them is found by the chat.
    Open {
        /// How many.
        messages: u64,
        /// What was cancelled all the same.
        cancelled: Vec<MessageId>,
    },
}

/// Forgets a person.
///
/// # Errors
/// When the database cannot be read or written; run again it goes on.
pub async fn erase(store: &SqliteStore, chat: &Chat, now: fn() -> Timestamp) -> Result<Erasure, StoreError> {
    let mut all: Option<Erased> = None;
    let mut cancelled = Vec::new();
    for _ in 0..LOOKS {
        let mut traces = store.traces(chat).await?;
        if all.is_some() && traces.messages.is_empty() {
            break;
        }
        if traces.waiting > 0 || !traces.beside.is_empty() {
            let waiting = [&traces.messages[..], &traces.beside].concat();
            cancelled.extend(cancel(store, &waiting, now()).await?);
            traces = store.traces(chat).await?;
        }
        if traces.open > 0 {
            return Ok(Erasure::Open { messages: traces.open, cancelled });
        }
        let Erased { contact, lists, messages, suppressed } = store.erase(chat, traces).await?;
        let done = all.get_or_insert_default();
        (done.contact, done.suppressed) = (done.contact || contact, suppressed);
        (done.lists, done.messages) = (done.lists + lists, done.messages + messages);
    }
    let open = store.traces(chat).await?.messages.len();
    match u64::try_from(open).unwrap_or(u64::MAX) {
        0 => Ok(Erasure::Done { erased: all.unwrap_or_default(), cancelled }),
        messages => Ok(Erasure::Open { messages, cancelled }),
    }
}

async fn cancel(store: &SqliteStore, of: &[MessageId], now: Timestamp) -> Result<Vec<MessageId>, StoreError> {
    let mut cancelled = Vec::new();
    for ids in of.chunks(AT_ONCE) {
        let mut messages: Vec<MessageView> = Vec::with_capacity(ids.len());
        for id in ids {
            messages.extend(store.show(*id).await?.map(|m| m.message));
        }
        messages.retain(|m| Repair::Cancel.states().contains(&m.state));
        let answers = repair(store, Repair::Cancel, &messages, false, now).await?;
        let done = messages.iter().zip(answers).filter(|(_, a)| matches!(a, Repaired::Done { .. }));
        cancelled.extend(done.map(|(m, _)| m.id));
    }
    Ok(cancelled)
}
