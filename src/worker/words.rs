//! What is said of a send: one line of the log, and the news for who watches.

use crate::domain::id::MessageId;
use crate::domain::message::Due;
use crate::domain::outcome::Outcome;
use crate::domain::recipient::Chat;
use crate::domain::time::{Millis, Timestamp};
use crate::feed::News;

/// The news of a send that ended.
pub(super) fn news_of(due: &Due, job: Option<String>, outcome: &Outcome, at: Timestamp) -> News {
    let gateway_id = match outcome {
        Outcome::Accepted { gateway_id, .. } => Some(gateway_id.clone()),
        _ => None,
    };
    News::Sent {
        id: due.id,
        instance: due.instance.clone(),
        chat: due.chat.clone(),
        job,
        at,
        late: at.since(due.due_at),
        outcome: outcome.name(),
        why: outcome.why(),
        gateway_id,
    }
}

/// One line about the end of a send.
pub(super) fn report(id: MessageId, chat: &Chat, outcome: &Outcome, late: Millis, after_slot: Millis) {
    let chat = mask(chat);
    match outcome {
        Outcome::Accepted { gateway_id, .. } => {
            tracing::info!(%id, after_slot_ms = after_slot.0, gateway_id, "sent to {chat}, {:+} ms", late.0);
        }
        Outcome::InDoubt { why, .. } => {
            tracing::warn!(%id, "in doubt, to {chat}: {why}");
        }
        other => {
            tracing::warn!(%id, outcome = other.name(), "not sent to {chat}: {}", other.why());
        }
    }
}

/// A chat for log lines: its last four characters before the @, since logs outlive consent.
pub(super) fn mask(chat: &Chat) -> String {
    let (id, server) = chat.as_str().split_once('@').unwrap_or((chat.as_str(), ""));
    let tail: String = id.chars().skip(id.chars().count().saturating_sub(4)).collect();
    format!("…{tail}@{server}")
}
