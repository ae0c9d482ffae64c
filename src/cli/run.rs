//! `run`: the daemon.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::live::{self, Live};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, check, place, plan};
use crate::clock;
use crate::config::{self, Settings};
use crate::daemon::{self, DaemonOptions, RunEnd, SandboxRun};
use crate::domain::ack::Ack;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, parse_duration};
use crate::feed::Feed;
use crate::sandbox::{scenario, scenario_file};

/// Run the daemon: apply the file, plan, type, send, receive acks
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot run jobs.example.yaml --sandbox --until-idle   try it: nothing leaves this machine
  onthedot run jobs.yaml                                  the daemon; SIGTERM stops it in order
  onthedot run jobs.yaml --listen off                     without webhooks, so without acks")]
pub(super) struct RunArgs {
    /// The jobs file; without one the database's own jobs are served
    #[arg(value_name = "JOBS.yaml")]
    file: Option<PathBuf>,
    /// Where webhooks are received: an address, or off [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve every instance by the embedded sandbox gateway: nothing leaves this machine
    #[arg(long)]
    sandbox: bool,
    /// Faults the embedded sandbox plays (see `onthedot sandbox --help`)
    #[arg(long, value_name = "FILE", requires = "sandbox")]
    scenario: Option<PathBuf>,
    /// Where the embedded sandbox writes its journal
    #[arg(long, value_name = "FILE", requires = "sandbox")]
    journal: Option<PathBuf>,
    /// End when nothing is left to do within this span
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = "5s")]
    until_idle: Option<String>,
    /// Serve, but send nothing
    #[arg(long)]
    passive: bool,
    /// Remove jobs that the file no longer declares
    #[arg(long)]
    prune: bool,
    /// Draw gaps, jitter and typing lengths by this seed, as `simulate --seed` does: of a new database only
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run although the clock cannot be right: it shows a time before this program existed, more than a day before the
    /// daemon last ran, or more than 400 days after
    #[arg(long)]
    trust_clock: bool,
    /// Read the file and say what would be applied, without touching anything
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(global: &Global, args: RunArgs, out: &Out) -> anyhow::Result<Exit> {
    // A hangup that comes while it starts is no reason to end, but to read the file again.
    let hangup = daemon::hangups()?;
    let until_idle = match args.until_idle.as_deref().map(parse_duration) {
        None => None,
        Some(Ok(span)) => Some(span),
        Some(Err(e)) => return Err(told(Exit::Usage, format!("--until-idle: {e}"))),
    };
    if let Some(listen) = args.listen.as_deref().filter(|l| !config::is_listen(l)) {
        return Err(told(Exit::Usage, format!("--listen cannot be '{listen}'; such as 127.0.0.1:8080, or off")));
    }
    let file = args.file.clone().or_else(|| global.config.clone());
    let revision = if file.is_some() { plan::revision(global).await } else { None };
    let settings = match &file {
        Some(path) => Some(config::load(path, args.sandbox, place::lists(global).as_deref(), clock::now())?),
        None => None,
    };
    if let Some(settings) = &settings {
        settings.warnings.iter().for_each(|w| out.note(&format!("warning: {w}")));
    }
    if args.dry_run {
        return dry_run(settings.as_ref(), out);
    }
    let scenario = match &args.scenario {
        Some(path) => scenario_file::load(path)?,
        None => scenario::Scenario::default(),
    };
    let database = if global.db.is_none() && args.sandbox { temporary(out)? } else { place::database(global)? };
    raise_file_limit();
    let feed = Feed::default();
    let view = if live::fits(global) { Live::start(global, &database, args.sandbox, feed.watch()).ok() } else { None };
    let options = DaemonOptions {
        database,
        settings,
        sandbox: args.sandbox.then_some(SandboxRun { scenario, journal: args.journal }),
        listen: args.listen,
        until_idle,
        passive: args.passive,
        prune: args.prune,
        revision,
        hangup: Some(hangup),
        seed: args.seed,
        trust_clock: args.trust_clock,
        feed,
        before_abrupt_end: live::restore,
    };
    let ended = daemon::run(options).await;
    if let Some(view) = view {
        view.end().await;
    }
    let end = ended?;
    if out.json {
        out.document(&summary_json(&end))?;
    } else {
        out.data(&summary(&end))?;
    }
    Ok(if end.idle && troubled(&end) { Exit::Partly } else { Exit::Ok })
}

/// Says what would be applied.
fn dry_run(settings: Option<&Settings>, out: &Out) -> anyhow::Result<Exit> {
    let jobs = settings.map_or(0, |s| s.jobs.len());
    match settings {
        Some(settings) if out.json => out.document(&check::document(settings, clock::now()))?,
        None if out.json => out.document(&json!({ "ok": true, "jobs": [] }))?,
        Some(_) => out.data(&format!("the file is fine: {} would be applied", counted(jobs, "job")))?,
        None => out.data("no jobs file is named: what the database holds would run")?,
    }
    Ok(Exit::Ok)
}

/// A fresh database for a sandbox run that named none: what was tried out should not be found by the next try.
fn temporary(out: &Out) -> anyhow::Result<PathBuf> {
    let name = format!("onthedot-sandbox-{}-{}", std::process::id(), clock::now().0);
    let folder = std::env::temp_dir().join(name);
    place::make_private(&folder)?;
    let path = folder.join("onthedot.db");
    out.note(&format!("sandbox database: {}", path.display()));
    Ok(path)
}

/// Two thousand chats at once are two thousand connections: take what the system allows.
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

fn count(end: &RunEnd, state: StateName) -> i64 {
    end.summary.states.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n)
}

fn troubled(end: &RunEnd) -> bool {
    count(end, StateName::Failed) > 0 || end.summary.in_doubt > 0
}

fn summary(end: &RunEnd) -> String {
    let total: i64 = end.summary.states.iter().map(|(_, n)| n).sum();
    let mut parts = vec![format!("{} sent{}", count(end, StateName::Sent), acks(end))];
    for state in [StateName::Failed, StateName::InDoubt, StateName::Expired, StateName::Skipped, StateName::Cancelled] {
        let n = if state == StateName::InDoubt { end.summary.in_doubt } else { count(end, state) };
        if n > 0 || matches!(state, StateName::Failed | StateName::InDoubt) {
            parts.push(format!("{n} {}", state.name().replace('_', " ")));
        }
    }
    let took = Millis(end.took.0 / 100 * 100);
    let mut lines = vec![format!("{} in {took}: {}", counted(total, "message"), parts.join(", "))];
    if let Some((p50, p99, max)) = end.summary.late_ms {
        lines.push(format!(
            "on the dot, where no pace kept them: half left within {p50} ms of their instant, 99 % within {p99} ms, the latest {max} ms"
        ));
    }
    let (attempts, typed) = end.summary.attempts;
    if attempts > 0 {
        lines.push(format!("typing was shown before {typed} of {attempts} attempts"));
    }
    if end.summary.in_doubt > 0 {
        lines.push("see `onthedot doubt list` for what is in doubt".to_owned());
    }
    lines.join("\n")
}

fn acks(end: &RunEnd) -> String {
    let order = [Ack::Played, Ack::Read, Ack::Device, Ack::Server, Ack::Pending, Ack::Error];
    let known: Vec<String> = order
        .into_iter()
        .filter_map(|a| end.summary.acks.iter().find(|(x, _)| *x == Some(a)).map(|(_, n)| format!("{n} {}", a.name())))
        .collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

fn summary_json(end: &RunEnd) -> serde_json::Value {
    let states: serde_json::Map<String, serde_json::Value> =
        StateName::ALL.into_iter().map(|s| (s.name().to_owned(), json!(count(end, s)))).collect();
    json!({
        "took_ms": end.took,
        "idle": end.idle,
        "states": states,
        "in_doubt": end.summary.in_doubt,
        "late_ms": {
            "p50": end.summary.late_ms.map(|l| l.0),
            "p99": end.summary.late_ms.map(|l| l.1),
            "max": end.summary.late_ms.map(|l| l.2),
        },
        "attempts": end.summary.attempts.0,
        "typing": end.summary.attempts.1,
    })
}
