//! What every instance's lane begins with: its settings, and what the database remembers of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::parts::Parts;
use crate::clock;
use crate::domain::time::Millis;
use crate::engine::{LaneStart, Standing, latest_began};
use crate::store::view::LaneView;
use crate::store::{Outage, Store, StoreError};
use crate::worker::{Served, stood};

/// How far back outages are remembered: longer than any sensible `max_lateness`.
const OUTAGES_REMEMBERED: Millis = Millis(30 * 86_400_000);

/// The instances with their lanes; the days of `per_day` are those of the zone named.
pub(super) async fn served(parts: &Parts, zone: &str) -> Result<Vec<Served>, StoreError> {
    let (now, store) = (clock::now(), &parts.store);
    let known = clock::zone(zone).ok();
    let zone = known.or_else(|| clock::zone(&clock::system_zone_name()).ok()).unwrap_or(jiff::tz::TimeZone::UTC);
    let known: HashMap<String, LaneView> = store.lanes(now).await?.into_iter().map(|l| (l.name.clone(), l)).collect();
    let outages = store.outages(now - OUTAGES_REMEMBERED).await?;
    let mut served = Vec::with_capacity(parts.instances.len());
    for instance in &parts.instances {
        let known = known.get(&*instance.name.0);
        let standing = known.map_or(Standing::Working, |l| stood(l, now));
        let Some(gateway) = parts.accounts.get(&instance.name) else { continue };
        let met = |o: &&Outage| o.instance.as_ref().is_none_or(|name| *name == instance.name);
        let outages: Vec<_> = outages.iter().filter(met).map(|o| (o.began_at, o.ended_at)).collect();
        let paced_since = latest_began(&outages).map_or(now, |began| began.min(now)) - instance.pacing.memory();
        let lane = LaneStart {
            instance: instance.name.clone(),
            pacing: instance.pacing.clone(),
            refresh_every: gateway.capabilities().refresh_every,
            recent_sends: if instance.pacing.spaces_sends() {
                store.recent_sends(&instance.name, paced_since).await?
            } else {
                Vec::new()
            },
            outages,
            standing,
            quarantine: instance.quarantine,
            seed: store.seed(),
            zone: zone.clone(),
        };
        // Each is a commit: only where it says something new.
        if lane.standing == Standing::Working && known.is_some_and(|l| l.state != "working") {
            store.remember_standing(&instance.name, "working", None, None, None, now).await?;
        }
        served.push(Served { gateway: Arc::clone(gateway), lane, window: instance.window.clone() });
    }
    Ok(served)
}
