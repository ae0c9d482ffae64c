//! Writes what the engine wants written, as many changes as have gathered in one commit.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Told;
use crate::clock::Stopwatch;
use crate::crash_point;
use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, Verdict};
use crate::engine::Input;
use crate::store::Store;

/// Changes written in one go; more wait for the next commit.
const CHANGES_AT_ONCE: usize = 4_096;

/// Writes changes in the order they came, as many as have gathered in one commit, and answers each after it. Marks are
/// handed over apart, since a full disk stops them before anything else: what a message's other changes are, they come
/// before its mark.
pub(super) async fn write_changes(
    store: Arc<dyn Store>,
    mut changes: mpsc::UnboundedReceiver<Change>,
    tell: mpsc::UnboundedSender<Told>,
) {
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, CHANGES_AT_ONCE).await > 0 {
        let (marks, others): (Vec<Change>, Vec<Change>) =
            batch.drain(..).partition(|c| matches!(c.facts, Facts::Mark { .. }));
        let took = (!marks.is_empty()).then(Stopwatch::start);
        tokio::join!(write(&store, others, &tell), write(&store, marks, &tell));
        if let Some(took) = took {
            let _ = tell.send(Told::Input(Input::CommitTook(took.elapsed())));
        }
    }
}

async fn write(store: &Arc<dyn Store>, changes: Vec<Change>, tell: &mpsc::UnboundedSender<Told>) {
    if changes.is_empty() {
        return;
    }
    let ids: Vec<(MessageId, bool)> =
        changes.iter().map(|c: &Change| (c.id, matches!(c.facts, Facts::TypingShown { .. }))).collect();
    let (marks, records) =
        (has(&changes, |f| matches!(f, Facts::Mark { .. })), has(&changes, |f| matches!(f, Facts::Record { .. })));
    if records {
        crash_point::pass("record_begins");
    }
    let applied = tokio::select! {
        biased;
        // The worker was given up, and nobody sends any more what would be marked now: the store drops such marks.
        () = tell.closed(), if marks => return,
        applied = store.apply(changes) => applied,
    };
    let verdicts: Vec<Option<Verdict>> = match applied {
        Ok(verdicts) => verdicts.into_iter().map(Some).collect(),
        Err(e) => {
            // Of its storage's faults the store tells by itself, once.
            if e.storage_fault().is_none() {
                tracing::error!(error = %e, "changes could not be written; they are tried again");
            }
            vec![None; ids.len()]
        }
    };
    if marks {
        crash_point::pass("marked");
    }
    if records {
        crash_point::pass("recorded");
    }
    for ((id, behind), verdict) in ids.into_iter().zip(verdicts) {
        // Typing is written behind: the engine waits for no answer, but the count of what is awaited does.
        let input = if behind { Input::Gone { ids: Vec::new() } } else { Input::Persisted { id, verdict } };
        let _ = tell.send(Told::Input(input));
    }
}

fn has(changes: &[Change], what: impl Fn(&Facts) -> bool) -> bool {
    changes.iter().any(|c| what(&c.facts))
}
