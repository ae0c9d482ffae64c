//! `job`: the jobs of the database.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe, table};
use crate::cli::pause::{PauseHow, pause_scope, resume_scope};
use crate::cli::{Global, event, place, plan};
use crate::clock;
use crate::config::read::suggest;
use crate::domain::schedule::Schedule;
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::intake::IdMaker;
use crate::planner::Planner;
use crate::store::view::JobView;
use crate::store::{Opening, Pause, PauseScope, Removed, SqliteStore, Store};

/// Coming occurrences shown of a job.
pub(super) const COMING: usize = 3;

#[derive(clap::Subcommand, Debug)]
pub(super) enum JobCommand {
    /// List jobs with their next occurrences and how they stand
    List,
    /// Show one job whole
    Show {
        /// The job
        name: String,
        /// How many runs of missed occurrences are shown, the latest
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        missed: u32,
    },
    /// Apply a jobs file, as SIGHUP does for a running daemon
    Apply {
        /// The jobs file
        #[arg(value_name = "JOBS.yaml")]
        file: PathBuf,
        /// Remove jobs that the file no longer declares
        #[arg(long)]
        prune: bool,
        /// Unset secrets are fine, as with `run --sandbox`
        #[arg(long)]
        sandbox: bool,
        /// Say what would be applied, like `plan`
        #[arg(long)]
        dry_run: bool,
    },
    /// Stop a job: what waits of it waits on, what it is typing is taken back
    Pause {
        /// The job
        name: String,
        #[command(flatten)]
        how: PauseHow,
    },
    /// Let a paused job go on
    Resume {
        /// The job
        name: String,
        /// Say what would be resumed
        #[arg(long)]
        dry_run: bool,
    },
    /// Send a job once more, now; its schedule goes on as before
    RunNow {
        /// The job
        name: String,
        /// Say what would be sent
        #[arg(long)]
        dry_run: bool,
    },
    /// Move the event of a job, or call it off: its reminders move, or are cancelled
    Event {
        /// The job
        name: String,
        /// When it begins now: 2026-12-04T09:00 in the job's zone, or with an offset
        #[arg(long, value_name = "INSTANT", required_unless_present = "cancel", conflicts_with = "cancel")]
        at: Option<String>,
        /// It does not take place
        #[arg(long)]
        cancel: bool,
        /// Say what would be moved or cancelled
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a job; what still waits of it is cancelled
    Remove {
        /// The job
        name: String,
        /// Say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn job(global: &Global, command: JobCommand, out: &Out) -> anyhow::Result<Exit> {
    if !matches!(command, JobCommand::Apply { .. }) {
        place::must_exist(global).await?;
    }
    match command {
        JobCommand::List => list(global, out).await,
        JobCommand::Show { name, missed } => show(global, &name, missed, out).await,
        JobCommand::Apply { file, prune, sandbox, dry_run } => {
            plan::apply_file(global, &file, (sandbox, prune, dry_run), out).await
        }
        JobCommand::Pause { name, how } => pause_scope(global, PauseScope::Job(name), how, out).await,
        JobCommand::Resume { name, dry_run } => resume_scope(global, PauseScope::Job(name), dry_run, out).await,
        JobCommand::RunNow { name, dry_run } => run_now(global, &name, dry_run, out).await,
        JobCommand::Event { name, at, cancel: _, dry_run } => event::event(global, &name, at, dry_run, out).await,
        JobCommand::Remove { name, dry_run } => remove(global, &name, dry_run, out).await,
    }
}

async fn list(global: &Global, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let now = clock::now();
    let (views, pauses) = (store.job_views(None, now).await?, store.pauses(now).await?);
    store.close().await;
    if out.json {
        let all: Vec<Value> = views.iter().map(|v| json_of(v, &pauses, now)).collect();
        out.document(&json!({ "jobs": all }))?;
        return Ok(Exit::Ok);
    }
    if views.is_empty() {
        out.note("no jobs; `onthedot run JOBS.yaml` applies a file");
        return Ok(Exit::Ok);
    }
    let row = |v: &JobView| {
        let zone = zone_of(v);
        let next = coming(v, now, 1).first().map_or("-".to_owned(), |t| v.stored.job.shown(*t, &zone));
        let last = v.last.as_ref().map_or("-".to_owned(), |(_, state)| state.clone());
        vec![safe(&v.stored.job.name), state(v, &pauses).to_owned(), next, last, counts_words(v)]
    };
    out.data(&table(&["job", "state", "next", "last", "messages"], views.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

async fn show(global: &Global, name: &str, limit: u32, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let now = clock::now();
    let found = found(&store, name).await;
    let pauses = store.pauses(now).await?;
    let missed = store.missed_of_job(name, limit).await;
    store.close().await;
    let (view, missed) = (found?, missed?);
    let mut document = json_of(&view, &pauses, now);
    let job = &view.stored.job;
    document["instance"] = json!(job.instance.0);
    document["instances"] = json!(job.instances().map(|i| &i.0).collect::<Vec<_>>());
    document["recipients"] = json!(view.stored.size);
    document["content"] = json!(job.content);
    document["then"] = json!(job.then);
    document["weights"] = json!(job.weights);
    document["after"] = json!(job.after);
    document["manner"] = json!(job.manner);
    document["spread_ms"] = json!(job.spread);
    document["jitter_ms"] = json!(job.jitter);
    document["missed"] = missed
        .iter()
        .map(|m| {
            json!({
                "first": m.first.to_rfc3339(), "last": m.last.to_rfc3339(), "count": m.count, "reason": m.reason,
            })
        })
        .collect();
    document["first_applied_at"] = json!(view.stored.first_applied_at.to_rfc3339());
    if out.json {
        out.document(&document)?;
        return Ok(Exit::Ok);
    }
    let zone = zone_of(&view);
    let mut lines = vec![
        format!("job        {}", safe(&job.name)),
        format!("state      {}", state(&view, &pauses)),
        format!("schedule   {} ({})", job.words(&zone), job.zone),
        format!("through    {}", job.instances().map(|i| safe(&i.0)).collect::<Vec<_>>().join(", ")),
        format!("recipients {}", view.stored.size),
        format!("content    {}", safe(&serde_json::to_string(&job.content)?)),
    ];
    let word = if job.weights.is_empty() { "then       " } else { "or         " };
    lines.extend(job.then.iter().map(|c| format!("{word}{}", safe(&serde_json::to_string(c).unwrap_or_default()))));
    if let (Some(declared), Some(at)) = (view.stored.declared_event, job.schedule.event_at()) {
        let shown = |t: Timestamp| t.in_zone(&zone).strftime("%a %Y-%m-%d %H:%M %Z").to_string();
        let how = match (view.stored.event_cancelled, at == declared) {
            (true, _) => ", called off".to_owned(),
            (false, false) => format!(", moved from {}", shown(declared)),
            (false, true) => String::new(),
        };
        lines.push(format!("event      {}{how}", shown(at)));
    }
    lines.push(format!("messages   {}", counts_words(&view)));
    let stops = |p: &Pause| job.instances().any(|i| p.scope.stops(&i.0, Some(&job.name), None));
    for p in pauses.iter().filter(|p| stops(p)) {
        let end = p.until.map_or(String::new(), |t| format!(" until {t}"));
        lines.push(format!("paused     since {}{end}  {}", p.since, safe(p.note.as_deref().unwrap_or(""))));
    }
    if let Some((nominal, state)) = &view.last {
        lines.push(format!("last       {}  {state}", job.shown(*nominal, &zone)));
    }
    let local = |t: Timestamp| job.shown(t, &zone);
    for m in &missed {
        let span = if m.count == 1 {
            local(m.first)
        } else {
            format!("{} to {}, {} in all", local(m.first), local(m.last), m.count)
        };
        lines.push(format!("missed     {span}  ({})", m.reason));
    }
    for t in coming(&view, now, COMING) {
        lines.push(format!("next       {}", job.shown(t, &zone)));
    }
    out.data(&lines.join("\n"))?;
    Ok(Exit::Ok)
}

async fn run_now(global: &Global, name: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let view = match found(&store, name).await {
        Ok(view) => view,
        Err(e) => {
            store.close().await;
            return Err(e);
        }
    };
    if view.stored.event_cancelled {
        store.close().await;
        let why = format!(
            "the event of '{name}' was called off, and nobody is reminded of it; `onthedot job event {name} --at …` has it take place again"
        );
        return Err(told(Exit::Refused, why));
    }
    let (now, size) = (clock::now(), view.stored.size);
    let store = Arc::new(store);
    let mut nominal = None;
    if !dry_run {
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let planner = Planner::new(shared, Arc::new(IdMaker::default()), store.seed());
        nominal = Some(planner.plan_extra(&view.stored, now).await?.to_rfc3339());
    }
    store.close().await;
    if out.json {
        out.document(&json!({ "job": name, "occurrence": nominal, "recipients": size, "done": !dry_run }))?;
    } else {
        let would = match (dry_run, size) {
            (true, _) => "would be",
            (false, 1) => "is",
            (false, _) => "are",
        };
        out.data(&format!("{} of '{name}' {would} due now", counted(size, "recipient")))?;
    }
    Ok(Exit::Ok)
}

async fn remove(global: &Global, name: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let checked = found(&store, name).await;
    let done = match &checked {
        Ok(view) if dry_run => Ok(Some(would_remove(view))),
        Ok(_) => store.remove_job(name, clock::now()).await,
        Err(_) => Ok(None),
    };
    store.close().await;
    checked?;
    let removed = done?.unwrap_or_default();
    if out.json {
        out.document(&json!({
            "job": name, "removed": !dry_run, "cancelled": removed.cancelled,
            "taken_back": removed.typing, "in_motion": removed.leaving,
        }))?;
        return Ok(Exit::Ok);
    }
    let would = if dry_run { "would be" } else { "is" };
    let mut said = format!("'{name}' {would} removed, {} cancelled", counted(removed.cancelled, "waiting message"));
    if removed.typing > 0 {
        said +=
            &format!("; {} of them {} being typed", removed.typing, if removed.typing == 1 { "was" } else { "were" });
    }
    if removed.leaving > 0 {
        said += &format!("; {} on the way already and cannot be taken back", counted(removed.leaving, "message"));
    }
    out.data(&said)?;
    out.note("a file that declares it brings it back when it is applied");
    Ok(Exit::Ok)
}

/// What removing a job would do to its messages, as they stand.
fn would_remove(view: &JobView) -> Removed {
    let count = |state| view.counts.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| (*n).try_into().unwrap_or(0));
    let typing = count(StateName::Typing);
    let cancelled = count(StateName::Scheduled) + count(StateName::Held) + typing;
    Removed { cancelled, typing, leaving: count(StateName::Sending) }
}

/// A job by its name, or an error with the nearest one.
pub(super) async fn found(store: &SqliteStore, name: &str) -> anyhow::Result<JobView> {
    if let Some(view) = store.job_views(Some(name), clock::now()).await?.pop() {
        return Ok(view);
    }
    if store.names_messages(name).await? {
        let help =
            format!("`onthedot list --job {name}` shows them, `job pause` and `cancel --job {name}` work on them");
        let what = "only messages that were imported under this name, or left by a job that was removed";
        return Err(told(Exit::NotFound, format!("there is no job '{name}', {what}; {help}")));
    }
    let names = store.job_names().await?;
    if names.is_empty() {
        return Err(told(Exit::NotFound, format!("there is no job '{name}': this database has none")));
    }
    let known: Vec<&str> = names.iter().map(String::as_str).take(20).collect();
    Err(told(Exit::NotFound, format!("there is no job '{name}'; {}", suggest(name, &known))))
}

pub(super) fn zone_of(view: &JobView) -> TimeZone {
    clock::zone(view.stored.job.schedule_zone()).unwrap_or(TimeZone::UTC)
}

/// Coming occurrences after now.
fn coming(view: &JobView, now: Timestamp, count: usize) -> Vec<Timestamp> {
    if view.stored.event_cancelled {
        return Vec::new();
    }
    let (zone, first) = (zone_of(view), view.stored.first_applied_at);
    let mut all = Vec::new();
    let mut after = now;
    while all.len() < count {
        match view.stored.job.schedule.next_after(after, first, &zone) {
            Some(t) => {
                all.push(t);
                after = t;
            }
            None => break,
        }
    }
    all
}

/// `active`, `paused`, `finished` (nothing is left to plan or send), `vanished` (the file no longer declares it).
fn state(view: &JobView, pauses: &[Pause]) -> &'static str {
    let job = &view.stored.job;
    let waits = [StateName::Scheduled, StateName::Typing, StateName::Sending, StateName::Held, StateName::InDoubt];
    let open = view.counts.iter().any(|(s, n)| waits.contains(s) && *n > 0);
    if view.vanished {
        "vanished"
    } else if job.instances().all(|i| pauses.iter().any(|p| p.scope.stops(&i.0, Some(&job.name), None))) {
        "paused"
    } else if view.stored.next_at.is_none() && !open {
        "finished"
    } else {
        "active"
    }
}

fn counts_words(view: &JobView) -> String {
    let words: Vec<String> = view.counts.iter().map(|(s, n)| format!("{n} {}", s.name().replace('_', " "))).collect();
    if words.is_empty() { "none yet".to_owned() } else { words.join(", ") }
}

fn json_of(view: &JobView, pauses: &[Pause], now: Timestamp) -> Value {
    let job = &view.stored.job;
    let counts: Map<String, Value> = StateName::ALL
        .into_iter()
        .map(|s| (s.name().to_owned(), json!(view.counts.iter().find(|(x, _)| *x == s).map_or(0, |(_, n)| *n))))
        .collect();
    json!({
        "name": job.name,
        "schedule": schedule_text(&job.schedule),
        "words": job.words(&zone_of(view)),
        "zone": job.zone,
        "state": state(view, pauses),
        "event": view.stored.declared_event.map(|declared| json!({
            "at": job.schedule.event_at().map(Timestamp::to_rfc3339),
            "declared_at": declared.to_rfc3339(),
            "cancelled": view.stored.event_cancelled,
        })),
        "next": coming(view, now, COMING).iter().map(|t| t.to_rfc3339()).collect::<Vec<_>>(),
        "last": view.last.as_ref().map(|(t, s)| json!({ "nominal": t.to_rfc3339(), "state": s })),
        "counts": counts,
    })
}

/// The schedule as its keys say it.
fn schedule_text(schedule: &Schedule) -> String {
    match schedule {
        Schedule::At(instants) => {
            let all: Vec<String> = instants.iter().take(20).map(|t| t.to_rfc3339()).collect();
            format!("at {}", all.join(", "))
        }
        Schedule::In(delay) => format!("in {delay}"),
        Schedule::Every { period, .. } => format!("every {period}"),
        Schedule::Event { at, remind } => {
            let distances: Vec<String> = remind.iter().map(ToString::to_string).collect();
            format!("event {} remind {}", at.to_rfc3339(), distances.join(", "))
        }
        Schedule::Cron { patterns, .. } => format!("cron {}", patterns.join("; ")),
    }
}
