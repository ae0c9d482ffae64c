//! When campaigns will be finished, foreseen beside whoever draws: a prediction of a large one takes seconds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::clock::{self, Stopwatch};
use crate::domain::campaign::CampaignName;
use crate::domain::time::{Millis, Timestamp};
use crate::future::{Finish, LeftOut, Undone, WhatIf, eta};
use crate::store::{Opening, SqliteStore};

/// A campaign is foreseen no more often, and no more of the time is spent on it than one part in `COST`.
const EVERY: Millis = Millis::seconds(30);
const COST: i64 = 20;

/// By how much it gives way to other threads.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// How often it is looked whether something is to be foreseen.
const LOOK: Millis = Millis(200);

/// A campaign to be foreseen: its occurrence, and what of it is undone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub name: CampaignName,
    pub occurrence: i64,
    pub undone: Undone,
}

/// What was foreseen of a campaign, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Foretold {
    /// What.
    pub finish: Finish,
    /// Messages of it that are to be skipped.
    pub left_out: LeftOut,
    /// As of when.
    pub made_at: Timestamp,
}

#[derive(Default)]
struct Shared {
    wanted: Vec<Wanted>,
    foretold: HashMap<CampaignName, Foretold>,
}

/// Foresees campaigns on a thread of its own, until it is dropped.
pub(super) struct Ahead {
    shared: Arc<Mutex<Shared>>,
    stop: CancellationToken,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Ahead {
    /// Begins to foresee what is wanted of a database.
    pub(super) fn start(database: &Path) -> Ahead {
        let ahead = Ahead { shared: Arc::default(), stop: CancellationToken::new() };
        let (database, shared, stop) = (database.to_owned(), Arc::clone(&ahead.shared), ahead.stop.clone());
        // With a runtime of its own: nobody waits for a prediction when the command ends.
        std::thread::spawn(move || {
            // The daemon's sends go first. Elsewhere than on Linux this would be said of all threads.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICE);
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(foresee(database, shared, stop));
            }
        });
        ahead
    }

    /// Says what is to be foreseen from now on.
    pub(super) fn want(&self, wanted: Vec<Wanted>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.foretold.retain(|name, _| wanted.iter().any(|w| w.name == *name));
        shared.wanted = wanted;
    }

    /// What was foreseen of a campaign, where anything was yet.
    pub(super) fn foretold(&self, name: &CampaignName) -> Option<Foretold> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).foretold.get(name).copied()
    }
}

async fn foresee(database: PathBuf, shared: Arc<Mutex<Shared>>, stop: CancellationToken) {
    let mut next: HashMap<CampaignName, Timestamp> = HashMap::new();
    let mut store = None;
    while !stop.is_cancelled() {
        let wanted = shared.lock().unwrap_or_else(PoisonError::into_inner).wanted.clone();
        next.retain(|name, _| wanted.iter().any(|w| w.name == *name));
        let now = clock::now();
        if let Some(w) = wanted.into_iter().find(|w| next.get(&w.name).is_none_or(|at| *at <= now)) {
            if store.is_none() {
                store = SqliteStore::open(&database, Opening::Reading).await.ok();
            }
            let took = Stopwatch::start();
            if let Some(foretold) = of(store.as_ref(), &w, now).await {
                shared.lock().unwrap_or_else(PoisonError::into_inner).foretold.insert(w.name.clone(), foretold);
            }
            next.insert(w.name, clock::now() + EVERY.max(Millis(took.elapsed().0.saturating_mul(COST))));
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(LOOK) => {}
        }
    }
    if let Some(store) = store {
        store.close().await;
    }
}

async fn of(store: Option<&SqliteStore>, w: &Wanted, now: Timestamp) -> Option<Foretold> {
    let store = store?;
    let left_out = LeftOut::of(store, &w.name, w.occurrence, now).await.ok()?;
    let finish = eta(store, &w.name, w.undone.without(left_out), WhatIf::default(), now).await.ok()?;
    Some(Foretold { finish, left_out, made_at: now })
}
