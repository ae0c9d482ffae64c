//! When the database of time zones changed: what was planned by the old rules is planned anew by the new ones.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::shift::{fires_at, moved_to};
use crate::domain::time::{Millis, Timestamp};
use crate::store::{Moved, PlannedAhead, SqliteStore, StoreError};

/// Under this name the database keeps which zones it last planned with.
const KEPT_AS: &str = "zones_version";

/// Compares the zones with those of the last run, and where they are others moves every occurrence that is no longer
/// an instant of its job's schedule. Answers what moved, a line a job. Instants of `at` are read from the file anew and
/// need nothing here.
///
/// # Errors
/// When the database cannot be read or written; then the next call tries again.
pub async fn settle(store: &SqliteStore, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let zones = clock::zones_mark();
    let before = store.setting(KEPT_AS).await?;
    if before.as_deref() == Some(zones.as_str()) {
        return Ok(Vec::new());
    }
    clock::forget_zones();
    let (mut moved, mut after) = (Vec::new(), String::new());
    loop {
        let jobs = store.planned_ahead(now, &after).await?;
        let Some(last) = jobs.last() else { break };
        after.clone_from(&last.stored.job.name);
        for ahead in &jobs {
            moved.extend(move_job(store, ahead, now).await?);
        }
    }
    if let Some(before) = before {
        tracing::warn!(%before, now = %zones, jobs = moved.len(), "the database of time zones changed since the last run");
    }
    store.keep_setting(KEPT_AS, zones).await?;
    Ok(moved)
}

/// Moves the occurrences of one job. Answers what moved, if anything did.
async fn move_job(store: &SqliteStore, ahead: &PlannedAhead, now: Timestamp) -> Result<Option<String>, StoreError> {
    let job = &ahead.stored.job.name;
    let Ok(zone) = clock::zone(ahead.stored.job.schedule_zone()) else {
        let zone = &ahead.stored.job.zone;
        tracing::error!(job, zone, "the zone of the job is no longer known: nothing of it moves");
        return Ok(None);
    };
    let Some((first, step)) = judge(ahead, &zone) else { return Ok(None) };
    let line = format!("job {job}: {}", step.note);
    let Some(messages) = store.move_occurrences(step, now).await? else { return Ok(None) };
    tracing::warn!(messages, from = %first, "{line}");
    Ok(Some(line))
}

/// How often a running daemon looks whether its zones changed.
const LOOK_EVERY: Millis = Millis::seconds(3_600);

/// Looks once an hour whether the zones changed, until told to stop.
pub async fn watch(store: Arc<SqliteStore>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock::sleep(LOOK_EVERY) => {}
        }
        if let Err(e) = settle(&store, clock::now()).await {
            tracing::warn!(error = %e, "it could not be found out whether the time zones changed");
        }
    }
}

/// How a job goes on under the new rules, with the first of its occurrences that moved; `None` where all stay.
fn judge(ahead: &PlannedAhead, zone: &TimeZone) -> Option<(Timestamp, Moved)> {
    let stored = &ahead.stored;
    let schedule = &stored.job.schedule;
    if !schedule.recurs() {
        return None;
    }
    let stays = |t: &Timestamp| fires_at(schedule, *t, stored.first_applied_at, zone);
    let gone: Vec<Timestamp> = ahead.waiting.iter().copied().filter(|t| !stays(t)).collect();
    let first = gone.iter().copied().chain(stored.next_at.filter(|t| !stays(t))).min()?;
    // What comes before the first that moved stays as it is, and nothing moves before it.
    let kept = ahead.waiting.iter().copied().filter(|t| *t < first).chain(ahead.served).max();
    let to = moved_to(schedule, first, kept, stored.first_applied_at, zone);
    let note = match to {
        Some(to) => {
            let civil = to.in_zone(zone).strftime("%Y-%m-%d %H:%M");
            format!("{civil} moves from {first} to {to}: the rules of {} changed", stored.job.zone)
        }
        None => format!("{first} falls away: the rules of {} changed", stored.job.zone),
    };
    let job = stored.job.name.clone();
    Some((first, Moved { job, expected: stored.next_at, gone, next_at: to, note }))
}
