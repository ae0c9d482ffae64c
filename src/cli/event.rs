//! `job event`: an event moved, or called off, with its reminders.

use jiff::tz::TimeZone;
use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::filter::instant;
use crate::cli::job::{COMING, found, zone_of};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::time::Timestamp;
use crate::store::{Opening, SqliteStore};

/// Moves the event of a job to an instant, or (`None`) calls it off.
pub(super) async fn event(
    global: &Global,
    name: &str,
    at: Option<String>,
    dry_run: bool,
    out: &Out,
) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let done = move_event(&store, name, at, dry_run).await;
    let now = clock::now();
    let after = found(&store, name).await;
    store.close().await;
    let ((at, replaced), view) = (done?, after?);
    // A dry run has not moved it: what would come is worked out beside.
    let mut job = view.stored.job.clone();
    at.into_iter().for_each(|at| job.schedule.move_event(at));
    let zone = clock::zone(job.schedule_zone()).unwrap_or(TimeZone::UTC);
    let next: Vec<Timestamp> = match at {
        Some(_) => job.schedule.all_after(now, view.stored.first_applied_at, &zone).take(COMING).collect(),
        None => Vec::new(),
    };
    if out.json {
        out.document(&json!({
            "job": name, "event_at": at.map(Timestamp::to_rfc3339), "cancelled": at.is_none(), "replaced": replaced,
            "next": next.iter().map(|t| t.to_rfc3339()).collect::<Vec<_>>(), "done": !dry_run,
        }))?;
        return Ok(Exit::Ok);
    }
    let local = |t: Timestamp| t.in_zone(&zone).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string();
    let would = if dry_run { "would be " } else { "" };
    let reminders = counted(replaced, "reminder");
    let mut lines = vec![match at {
        Some(at) => format!("the event of '{name}' {would}moved to {}, {reminders} replaced", local(at)),
        None => format!("the event of '{name}' {would}called off, {reminders} cancelled"),
    }];
    if at.is_some_and(|at| at <= now) {
        lines.push("it has begun by then: what reminds of it beforehand is skipped".to_owned());
    }
    lines.extend(next.iter().map(|t| format!("next       {}", local(*t))));
    out.data(&lines.join("\n"))?;
    Ok(Exit::Ok)
}

/// Moves an event. Answers where to, and how many reminders waited.
async fn move_event(
    store: &SqliteStore,
    name: &str,
    at: Option<String>,
    dry_run: bool,
) -> anyhow::Result<(Option<Timestamp>, u64)> {
    let (view, now) = (found(store, name).await?, clock::now());
    if view.stored.declared_event.is_none() {
        let what = view.stored.job.words(&zone_of(&view));
        return Err(told(Exit::Refused, format!("'{name}' reminds of no event: it is due {what}")));
    }
    let at = match at {
        Some(text) => Some(instant("--at", &text, &zone_of(&view))?),
        None => None,
    };
    // What is so already is left alone, typing included.
    if at.is_some() && at == view.stored.job.schedule.event_at() && !view.stored.event_cancelled {
        return Ok((at, 0));
    }
    if dry_run {
        return Ok((at, store.waiting_of_job(name).await?));
    }
    Ok((at, store.move_event(name, at, now).await?.unwrap_or(0)))
}
