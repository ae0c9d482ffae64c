//! What the daemon does all the time beside sending: its heartbeat, the service manager's watchdog, a doubt about the
//! clock, expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sd_notify::NotifyState;
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
            () = clock::beat(HEARTBEAT_EVERY) => {}
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
            () = clock::beat(EXPIRE_EVERY) => {}
        }
    }
}

/// Tells the service manager, where there is one, how the daemon stands.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::debug!(error = %e, "the service manager could not be told");
    }
}

/// Feeds the service manager's watchdog, where it has one, as long as the loop that sends goes round: one that hangs is
/// killed and started again. To be run until the last send is answered.
pub async fn watchdog(beat: Arc<AtomicU64>, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // Half of the limit, as the manual of sd_watchdog_enabled says.
    let every = Millis(i64::try_from(limit.as_millis() / 2).unwrap_or(i64::MAX).max(1));
    let mut known = None;
    while !stop.is_cancelled() {
        let now = beat.load(Ordering::Relaxed);
        if known.replace(now) != Some(now) {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the loop that sends stands still: the watchdog is not fed");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(every) => {}
        }
    }
}
