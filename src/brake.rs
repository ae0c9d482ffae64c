//! Pauses campaigns by themselves (`pause_on`): where too many of their latest sends went wrong, a person is to look before
//! the rest goes the same way.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::time::Millis;
use crate::store::{Pause, PauseScope, SqliteStore, StoreError};

/// How often the campaigns that are under way are looked at.
const LOOK_EVERY: Millis = Millis::seconds(2);

/// Looks after campaigns until told to stop.
pub async fn watch(store: Arc<SqliteStore>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(e) = look(&store).await {
            tracing::warn!(error = %e, "it could not be looked whether a campaign goes wrong; it is looked again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::beat(LOOK_EVERY) => {}
        }
    }
}

async fn look(store: &SqliteStore) -> Result<(), StoreError> {
    let braked = store.braked_campaigns().await?;
    if braked.is_empty() {
        return Ok(());
    }
    let (now, known) = (clock::now(), store.known_pauses().await?);
    for (campaign, occurrence, on) in braked {
        let scope = PauseScope::Campaign(campaign.clone());
        let earlier = known.iter().find(|p| p.scope == scope);
        if earlier.is_some_and(|p| p.until.is_none_or(|t| t > now)) {
            continue;
        }
        // Who lets it go on has seen what was before.
        let since = earlier.and_then(|p| p.until);
        let latest = store.latest_sends(occurrence, &on, since, now).await?;
        if let Some(why) = on.verdict(&latest) {
            tracing::error!(%campaign, "the campaign is {why}; `onthedot campaign resume` lets it go on");
            store.pause(Pause { scope, note: Some(why), since: now, until: None }).await?;
        }
    }
    Ok(())
}
