//! The check of a database too large to be checked before the first send: in the first quiet moment.
//!
//! It reads the whole file, and takes a core for as long: beside a broadcast it would cost a third of the messages a second.
//! It may wait because every message is verified by its hash before it is sent; what only it would find is a row that an index
//! has lost, which nobody sends, early or late.

use tokio::sync::watch;

use crate::clock::{self, Stopwatch};
use crate::domain::time::Millis;
use crate::store::{SqliteStore, StoreError};
use crate::worker::Activity;

/// With fewer messages in hand a core can be spared.
const QUIET: usize = 64;

/// How often it is looked whether it has become quiet.
const LOOK_EVERY: Millis = Millis::seconds(1);

/// It is put off no longer than this, however long a broadcast goes on: damage must be told some time. While it reads, the log
/// is not folded into the file.
const PUT_OFF_MOST: Millis = Millis::seconds(3_600);

/// Checks the whole file once it is quiet, anew where messages come between. Ends only with what is wrong.
pub async fn when_quiet(store: &SqliteStore, activity: watch::Receiver<Activity>) -> StoreError {
    let since = Stopwatch::start();
    let quiet = move || activity.borrow().in_hand < QUIET || since.elapsed() > PUT_OFF_MOST;
    let mut put_off = false;
    loop {
        if quiet() {
            let took = Stopwatch::start();
            match store.check_whole(quiet.clone()).await {
                Err(e) => return e,
                Ok(true) => {
                    tracing::info!(ms = took.elapsed().0, "the large database was checked as a whole");
                    return std::future::pending().await;
                }
                Ok(false) => {}
            }
        }
        if !std::mem::replace(&mut put_off, true) {
            tracing::info!("the check of the large database waits for a quiet moment, for an hour at most");
        }
        clock::beat(LOOK_EVERY).await;
    }
}
