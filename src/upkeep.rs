//! The daemon's own chores, by cron expression. No message depends on them: a chore that fires late or not at all
//! costs tidiness, never a send.

use std::sync::Arc;

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::sane;
use crate::domain::time::Millis;
use crate::store::{SqliteStore, Store, StoreError};

/// Early acks whose message never became known are kept this long.
const ORPHANS_KEPT: Millis = Millis(24 * 3_600_000);

/// How often the daemon writes down that it is alive: the next start knows from it since when nobody was.
const HEARTBEAT_EVERY: Millis = Millis::seconds(3);

/// Starts the chores; they end with the returned scheduler.
///
/// # Errors
/// When the cron expression is refused.
pub async fn start(store: Arc<SqliteStore>, tidy: &str) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let chore = Job::new_async(tidy, move |_, _| {
        let store = Arc::clone(&store);
        Box::pin(async move { tidy_up(&store).await })
    })?;
    scheduler.add(chore).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

async fn tidy_up(store: &SqliteStore) {
    match store.forget_orphan_acks(clock::now() - ORPHANS_KEPT).await {
        Ok(0) => {}
        Ok(n) => tracing::info!(n, "early acks whose message never became known were forgotten"),
        Err(e) => tracing::warn!(error = %e, "early acks could not be tidied up"),
    }
    if let Err(e) = store.optimize().await {
        tracing::warn!(error = %e, "the database's statistics could not be refreshed");
    }
}

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
            Ok(n) => tracing::warn!(n, "messages passed their `expires` and will not be sent"),
            Err(e) => tracing::warn!(error = %e, "expired messages could not be looked for"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(EXPIRE_EVERY) => {}
        }
    }
}
