//! `check`: what a file means, and everything that is wrong with it. Touches nothing.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::clock;
use crate::config::{self, Finding, JobSettings, Settings};
use crate::domain::chore::{Chore, next_run};
use crate::domain::class::Class;
use crate::domain::content::Content;
use crate::domain::follow::Until;
use crate::domain::job::{Expires, Job};
use crate::domain::time::Timestamp;
use crate::domain::window::WindowZone;

/// How many coming occurrences are shown of each job.
const SHOWN: usize = 3;

/// Read a jobs file, render every text for every recipient, and say what each job means
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot check jobs.yaml
  onthedot check jobs.yaml --json | jq '.errors'")]
pub(super) struct CheckArgs {
    /// The jobs file
    #[arg(value_name = "JOBS.yaml")]
    file: Option<PathBuf>,
    /// Unset secrets are fine, as with `run --sandbox`
    #[arg(long)]
    sandbox: bool,
}

pub(super) fn check(global: &Global, args: &CheckArgs, out: &Out) -> anyhow::Result<Exit> {
    let Some(path) = args.file.as_ref().or(global.config.as_ref()) else {
        return Err(told(Exit::Usage, "which file? `onthedot check jobs.yaml`"));
    };
    let now = clock::now();
    match config::load(path, args.sandbox, place::lists(global).as_deref(), now) {
        Ok(settings) if out.json => {
            out.document(&document(&settings, now))?;
            Ok(Exit::Ok)
        }
        Ok(settings) => {
            for warning in &settings.warnings {
                out.note(&format!("warning: {warning}"));
            }
            out.data(&words(&settings, now))?;
            Ok(Exit::Ok)
        }
        Err(e) if out.json => {
            let errors: Vec<Value> = e.0.iter().map(finding_json).collect();
            out.document(&json!({ "ok": false, "errors": errors, "warnings": [], "zone": null, "zones": clock::zones_version(), "jobs": [], "chores": [] }))?;
            Ok(Exit::Config)
        }
        Err(e) => Err(e.into()),
    }
}

/// What a file without errors says.
pub(super) fn document(settings: &Settings, now: Timestamp) -> Value {
    let jobs: Vec<Value> = settings.jobs.iter().map(|j| job_json(j, now)).collect();
    let warnings: Vec<Value> = settings.warnings.iter().map(finding_json).collect();
    json!({
        "ok": true, "errors": [], "warnings": warnings, "zone": settings.zone,
        "zones": clock::zones_version(), "jobs": jobs, "chores": chores_json(settings, now),
    })
}

fn finding_json(f: &Finding) -> Value {
    json!({ "file": f.file, "line": f.line, "column": f.column, "message": f.message, "hint": f.hint })
}

/// The chores with their next runs.
fn chores(settings: &Settings, now: Timestamp) -> Vec<(&Chore, Option<Timestamp>)> {
    let zone = clock::zone(&settings.zone).unwrap_or(TimeZone::UTC);
    settings.maintenance.iter().map(|c| (c, next_run(&c.cron, &zone, None, now))).collect()
}

fn chores_json(settings: &Settings, now: Timestamp) -> Vec<Value> {
    let one = |(c, next): (&Chore, Option<Timestamp>)| json!({ "name": c.task.name().name(), "cron": c.cron, "next_at": next.map(Timestamp::to_rfc3339) });
    chores(settings, now).into_iter().map(one).collect()
}

/// The coming occurrences of a job as if it were applied now.
fn coming(job: &JobSettings, now: Timestamp) -> (TimeZone, Vec<Timestamp>) {
    let zone = clock::zone(job.job.schedule_zone()).unwrap_or(TimeZone::UTC);
    let mut next = job.job.schedule.first(now, &zone);
    let mut all = Vec::new();
    while let Some(t) = next {
        if all.len() == SHOWN {
            break;
        }
        all.push(t);
        next = job.job.schedule.next_after(t, now, &zone);
    }
    (zone, all)
}

/// The accounts of a job.
fn through(job: &Job) -> String {
    job.instances().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn job_json(job: &JobSettings, now: Timestamp) -> Value {
    let (zone, next) = coming(job, now);
    json!({
        "name": job.job.name,
        "words": job.job.words(&zone),
        "zone": job.job.zone,
        "instance": job.job.instance.0,
        "instances": job.job.instances().map(|i| &i.0).collect::<Vec<_>>(),
        "recipients": job.recipients.size,
        "kind": job.job.content.kind(),
        "next": next.iter().map(|t| t.to_rfc3339()).collect::<Vec<_>>(),
        "line": job.line,
    })
}

fn until(goal: Until) -> &'static str {
    match goal {
        Until::Device => "it reached a device",
        Until::Read => "it is read",
        Until::Reply => "somebody answers",
    }
}

/// What else a job says about itself.
fn details(job: &Job) -> Vec<String> {
    let kinds: Vec<&str> = std::iter::once(&job.content).chain(&job.then).map(Content::kind).collect();
    let mut all = vec![match job.weights.as_slice() {
        [] => kinds.join(", then "),
        weights => {
            let variants: Vec<String> =
                kinds.iter().zip(weights).map(|(kind, weight)| format!("{kind} ({weight})")).collect();
            format!("one of {}", variants.join(", "))
        }
    }];
    if job.manner.class != Class::default() {
        all.push(format!("class {}", job.manner.class.name()));
    }
    if let Some(span) = job.spread {
        all.push(format!("spread over {span}"));
    }
    if let Some(jitter) = job.jitter {
        all.push(format!("up to {jitter} later, drawn each time"));
    }
    if let Some(bounds) = job.schedule.bounds() {
        all.extend(bounds.starts.map(|t| format!("from {t}")));
        all.extend(bounds.ends.map(|t| format!("until {t}")));
    }
    if let Some(follow) = &job.manner.follow {
        if let Some(nag) = &follow.nag {
            all.push(format!(
                "again every {} until {}, {} at most",
                nag.every,
                until(nag.until),
                counted(nag.max, "time")
            ));
        }
        for step in &follow.escalate {
            let to = step.to.as_ref().map_or("the same chat".to_owned(), ToString::to_string);
            let through = step.instance.as_ref().map(|i| format!(" through {i}")).unwrap_or_default();
            all.push(format!("after {} without that to {to}{through}", step.after));
        }
    }
    if let Some(window) = &job.manner.window {
        let zone = match &window.zone {
            WindowZone::Sender => "the job's zone",
            WindowZone::Recipient => "the recipient's zone",
            WindowZone::Named(name) => name,
        };
        all.push(format!("only {} {} in {zone}", window.days, window.hours));
    }
    match job.manner.expires {
        Some(Expires::After(length)) => all.push(format!("of no use {length} after due")),
        Some(Expires::At(instant)) => all.push(format!("of no use after {instant}")),
        None => {}
    }
    all.extend(conditions(job));
    all
}

/// To whom it goes besides, and what may keep it from going.
fn conditions(job: &Job) -> Vec<String> {
    let manner = &job.manner;
    let often = manner.frequency.map(|f| format!("at most {} to a recipient within {}", f.at_most, f.within));
    let quiet = manner.quiet_after_reply.map(|quiet| format!("not within {quiet} after a reply"));
    let said = |is: bool, words: &str| is.then(|| words.to_owned());
    let all = [
        job.live.as_ref().map(|live| format!("also to who joins the list '{}'", live.list)),
        said(manner.opt_in, "to those who opted in only"),
        often,
        quiet,
        said(manner.stop_on_reply, "ends with a reply"),
        said(manner.hold, "waits for an approval"),
        said(manner.pause_on.is_some(), "pauses by itself where too much goes wrong"),
    ];
    all.into_iter().flatten().collect()
}

fn words(settings: &Settings, now: Timestamp) -> String {
    let mut lines = Vec::new();
    let origin = if settings.zone_given { "" } else { " (the system's; `timezone:` names another)" };
    lines.push(format!("zone: {}{origin}; {}", settings.zone, clock::zones_version()));
    for (chore, next) in chores(settings, now) {
        let next = next.map_or("never".to_owned(), |t| t.to_rfc3339());
        lines.push(format!("chore {}: {}, next {next}", chore.task.name().name(), chore.cron));
    }
    for job in &settings.jobs {
        let (zone, next) = coming(job, now);
        let j = &job.job;
        let people = counted(job.recipients.size, "recipient");
        lines.push(String::new());
        lines.push(format!("{}: {}, {people}, through {}", j.name, j.words(&zone), through(j)));
        let more = details(j);
        if !more.is_empty() {
            lines.push(format!("  {}", more.join(", ")));
        }
        for t in next {
            let past = if t < now { "  (past)" } else { "" };
            let utc = if j.manner.own_clock { String::new() } else { format!("   {}", t.to_rfc3339()) };
            lines.push(format!("  {}{utc}{past}", j.shown(t, &zone)));
        }
    }
    lines.push(String::new());
    let recipients: u64 = settings.jobs.iter().map(|j| j.recipients.size).sum();
    lines.push(format!(
        "{} for {}: the file is fine",
        counted(settings.jobs.len(), "job"),
        counted(recipients, "recipient")
    ));
    lines.join("\n")
}
