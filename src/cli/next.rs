//! `next`: coming occurrences of a job or a cron pattern.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::cli::{Global, place};
use crate::clock;
use crate::config;
use crate::domain::cron::settle_spread;
use crate::domain::job::Job;
use crate::domain::schedule::{Bounds, Schedule, parse_pattern};
use crate::domain::time::{Timestamp, parse_instant};
use crate::store::Opening;

/// Show coming occurrences of a job or a cron pattern
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot next stand-up
  onthedot next --cron \"0 9 * * mon-fri\" --zone America/New_York -n 5
  onthedot next --cron \"0 18 LW * *\" --after 2027-01-01")]
pub(super) struct NextArgs {
    /// A job of the database, or of the file given with --config; an event that was moved stays so
    #[arg(value_name = "JOB", required_unless_present = "cron", conflicts_with = "cron")]
    job: Option<String>,
    /// A cron pattern of five fields, six with seconds first, or seven with years last
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// The zone of the pattern [default: the system's]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    zone: Option<String>,
    /// How many, 1 to 10000
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: u32,
    /// Begin after this instant [default: now]
    #[arg(long, value_name = "INSTANT")]
    after: Option<String>,
}

pub(super) async fn next(global: &Global, args: &NextArgs, out: &Out) -> anyhow::Result<Exit> {
    let now = clock::now();
    let Asked { schedule, zone_name, first_applied, own_clock } = match (&args.cron, &args.job) {
        (Some(pattern), _) => {
            let zone = args.zone.clone().unwrap_or_else(clock::system_zone_name);
            let wrong = |e| told(Exit::Usage, format!("--cron: {e}"));
            let settled = settle_spread(pattern, "").map_err(wrong)?;
            parse_pattern(&settled).map_err(wrong)?;
            let schedule = Schedule::Cron { patterns: vec![settled], bounds: Bounds::default() };
            Asked { schedule: Some(schedule), zone_name: zone, first_applied: now, own_clock: false }
        }
        (None, Some(job)) => of_job(global, job, now).await?,
        (None, None) => return Err(told(Exit::Usage, "which job? `onthedot next JOB`")),
    };
    let zone = clock::zone(&zone_name).map_err(|e| told(Exit::Usage, format!("--zone: {e}")))?;
    let after = match &args.after {
        Some(text) => parse_instant(text, &zone, false)
            .ok_or_else(|| told(Exit::Usage, format!("--after cannot be '{text}'; such as 2026-12-01T10:00")))?,
        None => now,
    };
    let count = usize::try_from(args.n).unwrap_or(usize::MAX);
    let occurrences: Vec<Timestamp> = match &schedule {
        Some(schedule) => schedule.all_after(after, first_applied, &zone).take(count).collect(),
        None => Vec::new(),
    };
    // On clocks of their own there is no zone: what all of them will show.
    let shown_zone = if own_clock { "recipient" } else { &zone_name };
    print(&occurrences, (shown_zone, own_clock), &zone, out)?;
    Ok(Exit::Ok)
}

/// Whose occurrences are asked for.
struct Asked {
    /// `None` = nothing comes: its event is called off.
    schedule: Option<Schedule>,
    zone_name: String,
    first_applied: Timestamp,
    /// Whether its hours are those of each recipient's own clock.
    own_clock: bool,
}

fn asked(job: Job, first_applied: Timestamp, called_off: bool) -> Asked {
    let (zone_name, own_clock) = (job.schedule_zone().to_owned(), job.manner.own_clock);
    Asked { schedule: Some(job.schedule).filter(|_| !called_off), zone_name, first_applied, own_clock }
}

async fn of_job(global: &Global, name: &str, now: Timestamp) -> anyhow::Result<Asked> {
    if let Some(path) = &global.config {
        let settings = config::load(path, true, place::lists(global).as_deref(), now)?;
        let found = settings.jobs.into_iter().find(|j| j.job.name == name);
        let job =
            found.ok_or_else(|| told(Exit::NotFound, format!("{} declares no job '{name}'", path.display())))?.job;
        // What a person said of its event holds, as long as the file says the same of it.
        let known = match place::open_if_there(global).await? {
            Some(store) => {
                let known = store.job(name).await;
                store.close().await;
                known?
            }
            None => None,
        };
        return Ok(match known {
            Some(known) => match known.as_declared(&job) {
                Some(job) => asked(job, known.first_applied_at, false),
                None => asked(job, known.first_applied_at, true),
            },
            None => asked(job, now, false),
        });
    }
    let store = place::open(global, Opening::Reading).await?;
    let found = store.job(name).await?;
    let names = store.job_names().await?;
    store.close().await;
    match found {
        Some(stored) => Ok(asked(stored.job, stored.first_applied_at, stored.event_cancelled)),
        None => {
            let known: Vec<&str> = names.iter().map(String::as_str).take(20).collect();
            Err(told(Exit::NotFound, format!("there is no job '{name}'; known: {}", known.join(", "))))
        }
    }
}

fn print(
    occurrences: &[Timestamp],
    (zone_name, own_clock): (&str, bool),
    zone: &TimeZone,
    out: &Out,
) -> anyhow::Result<()> {
    let local = |t: &Timestamp, format: &str| t.in_zone(zone).strftime(format).to_string();
    let format = if own_clock { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    if out.json {
        let all: Vec<Value> = occurrences
            .iter()
            .map(|t| json!({ "at": t.to_rfc3339(), "local": local(t, format), "zone": zone_name }))
            .collect();
        return out.document(&json!({ "occurrences": all }));
    }
    if occurrences.is_empty() {
        out.note("no occurrence is to come");
        return Ok(());
    }
    let line = |t: &Timestamp| match own_clock {
        true => local(t, "%a %Y-%m-%d %H:%M:%S each"),
        false => format!("{}   {}", local(t, "%a %Y-%m-%d %H:%M:%S %Z"), t.to_rfc3339()),
    };
    let lines: Vec<String> = occurrences.iter().map(line).collect();
    out.data(&lines.join("\n"))
}
