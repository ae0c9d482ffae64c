//! What the daemon does all the time beside sending: its heartbeat, a doubt about the clock, expiry.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::sane;
use crate::domain::time::Millis;
use crate::store::{SqliteStore, Store, StoreError};

/// How often the daemon writes down that it is alive: the next start knows from it since when nobody was.
const HEARTBEAT_EVERY: Millis = Millis::seconds(3);

/// Writes down that the daemon is alive until told to stop.
pub async fn heartbeat(store: Arc<SqliteStore>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(e) = store.heartbeat(clock::now()).await {
            tracing::warn!(error = %e, "the heartbeat could not be written");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(HEARTBEAT_EVERY) => {}
        }
    }
}

/// How often a clock that cannot be right is looked at again.
const CLOCK_LOOK: Millis = Millis::seconds(1);

/// Waits until the clock can be right: nothing is planned or sent by one that shows 1970 or 2037.
///
/// # Errors
/// When the database cannot be read.
pub async fn await_sane_clock(store: &SqliteStore) -> Result<(), StoreError> {
    let last = store.alive_at().await?.map(|(at, _)| at);
    let mut told = false;
    loop {
        let now = clock::now();
        match sane::judge(now, last) {
            Ok(()) if told => {
                tracing::info!(clock = %now, "the clock is right again: the daemon starts");
                return Ok(());
            }
            Ok(()) => return Ok(()),
            Err(why) if !told => {
                tracing::error!(
                    clock = %now,
                    "the clock cannot be right: {why}. Nothing is sent until it is set; where it is right all the same, start with --trust-clock"
                );
                told = true;
            }
            Err(_) => {}
        }
        clock::sleep(CLOCK_LOOK).await;
    }
}

/// How often messages are looked for that are of no use any more.
const EXPIRE_EVERY: Millis = Millis::seconds(1);

/// Expires what is of no use any more and waits in the store, until told to stop.
pub async fn expire(store: Arc<SqliteStore>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match store.expire(clock::now()).await {
            Ok(0) => {}
            Ok(n) => tracing::warn!(
                n,
                "messages are of no use any more and will not be sent: their `expires`, or their event, has passed"
            ),
            Err(e) => tracing::warn!(error = %e, "expired messages could not be looked for"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(EXPIRE_EVERY) => {}
        }
    }
}
