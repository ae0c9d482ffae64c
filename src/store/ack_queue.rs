//! Acks of many webhooks, recorded together: each by itself would take half a dozen statements of its own.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use crate::store::sqlite_acks;
use crate::store::sqlite_writer::{Writer, again};
use crate::store::{AckNews, AckTally, StoreError};

/// Calls that wait; more block their callers, and so the gateways that post.
const WAITING: usize = 1_024;

/// Calls recorded in one step of a transaction: some two milliseconds, which a send that is marked in the same commit waits
/// for.
const CALLS_AT_ONCE: usize = 64;

type Call = (Vec<AckNews>, oneshot::Sender<Result<AckTally, StoreError>>);

/// A handle to the queue.
#[derive(Clone, Debug)]
pub(super) struct AckQueue(mpsc::Sender<Call>);

impl AckQueue {
    /// Starts to take in acks, in front of the writer of the database at `path`.
    pub(super) fn start(writer: Writer, path: PathBuf) -> AckQueue {
        let (queue, calls) = mpsc::channel(WAITING);
        tokio::spawn(take_in(writer, path, calls));
        AckQueue(queue)
    }

    /// Records acks, in one step with those of other callers, and answers after the commit: what became of all that were
    /// recorded together.
    ///
    /// # Errors
    /// When they could not be stored: none of them is then.
    pub(super) async fn record(&self, acks: Vec<AckNews>) -> Result<AckTally, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send((acks, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

async fn take_in(writer: Writer, path: PathBuf, mut calls: mpsc::Receiver<Call>) {
    let mut some = Vec::new();
    while calls.recv_many(&mut some, CALLS_AT_ONCE).await > 0 {
        let (acks, replies): (Vec<Vec<AckNews>>, Vec<_>) = some.drain(..).unzip();
        let acks = acks.concat();
        let done = writer.run(move |c| Box::pin(async move { sqlite_acks::record(c, &acks).await })).await;
        for reply in replies {
            let _ = reply.send(done.as_ref().copied().map_err(|e| again(e, &path)));
        }
    }
}
