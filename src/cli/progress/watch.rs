//! The campaigns that are under way, looked at beside whoever draws them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use crate::cli::place::Zone;
use crate::cli::progress::Looks;
use crate::cli::progress::bar::Figures;
use crate::clock;
use crate::domain::campaign::{CampaignName, CampaignState};
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Opening, SqliteStore, StoreError};

/// The database is looked at this often.
const LOOK: Millis = Millis(500);

/// Whole counts of a campaign take no more than one part in so many of the time.
const COST: i64 = 100;

/// Campaigns that are looked at, and those beside them that are known of.
const LOOKED_AT: usize = 3;
const KNOWN: u32 = 200;

/// How long one that came to its end is still shown.
const SHOWN_AFTER: Millis = Millis::seconds(60);

/// The campaigns that are shown.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct UnderWay {
    /// The latest of them.
    pub campaigns: Vec<Figures>,
    /// How many there are beside.
    pub more: usize,
}

/// Looks until it is told to stop.
pub(in crate::cli) struct Watch {
    seen: Arc<Mutex<UnderWay>>,
}

impl Watch {
    /// Begins to look at the campaigns of a database that exists.
    pub(in crate::cli) fn start(database: &Path, stop: CancellationToken) -> Watch {
        let watch = Watch { seen: Arc::default() };
        let (database, seen) = (database.to_owned(), Arc::clone(&watch.seen));
        std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(look(database, seen, stop));
            }
        });
        watch
    }

    /// What was seen last.
    pub(in crate::cli) fn seen(&self) -> UnderWay {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// For how long one that has not begun is left aside.
const ASIDE: Millis = Millis::seconds(60);

/// What is remembered from look to look.
#[derive(Default)]
struct Known {
    /// Campaigns that are shown, and when they came to their end.
    shown: Vec<(CampaignName, Option<Timestamp>)>,
    /// Campaigns that have not begun, and until when they are left aside.
    aside: HashMap<CampaignName, Timestamp>,
}

async fn look(database: PathBuf, seen: Arc<Mutex<UnderWay>>, stop: CancellationToken) {
    let name = clock::system_zone_name();
    let zone = Zone { zone: clock::zone(&name).unwrap_or(TimeZone::UTC), name };
    let (mut looks, mut known, mut store) = (Looks::new(&database, COST), Known::default(), None);
    while !stop.is_cancelled() {
        if store.is_none() {
            store = SqliteStore::open(&database, Opening::Reading).await.ok();
        }
        if let Some(store) = &store
            && let Ok(found) = look_once(store, &mut looks, &mut known, &zone).await
        {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = found;
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

async fn look_once(
    store: &SqliteStore,
    looks: &mut Looks,
    known: &mut Known,
    zone: &Zone,
) -> Result<UnderWay, StoreError> {
    let now = clock::now();
    let (under_way, pauses) = (store.under_way(now, KNOWN).await?, store.pauses(now).await?);
    known.aside.retain(|_, until| *until > now);
    known.shown.retain(|(_, over_at)| over_at.is_none_or(|at| now.since(at) < SHOWN_AFTER));
    let others: Vec<&CampaignName> = under_way
        .iter()
        .filter(|n| !known.shown.iter().any(|(s, _)| s == *n) && !known.aside.contains_key(n))
        .collect();
    let room = LOOKED_AT.saturating_sub(known.shown.iter().filter(|(_, over_at)| over_at.is_none()).count());
    let more = others.len().saturating_sub(room);
    known.shown.extend(others.into_iter().take(room).map(|name| (name.clone(), None)));
    let names: Vec<CampaignName> = known.shown.iter().map(|(name, _)| name.clone()).collect();
    let found = looks.at(store, &names, &pauses, now).await?;
    known.shown.retain_mut(|(name, over_at)| match found.iter().find(|p| p.view.name == *name) {
        Some(p) => match p.state {
            CampaignState::Finished | CampaignState::Cancelled => {
                *over_at = over_at.or(Some(now));
                true
            }
            CampaignState::Running | CampaignState::Paused => {
                *over_at = None;
                true
            }
            CampaignState::Draft | CampaignState::Scheduled => {
                let due = p.view.due.map_or(now + ASIDE, |(first, _)| first);
                known.aside.insert(name.clone(), due.clamp(now, now + ASIDE));
                false
            }
        },
        None => false,
    });
    let shown = found.iter().filter(|p| known.shown.iter().any(|(name, _)| *name == p.view.name));
    Ok(UnderWay { campaigns: shown.map(|p| p.figures(zone, now)).collect(), more })
}
