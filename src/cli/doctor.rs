//! `doctor`: what a person should know before asking somebody else.

use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::out::{Out, counted, safe};
use crate::cli::{Global, place};
use crate::clock;
use crate::config;
use crate::domain::time::Millis;
use crate::store::{Opening, SqliteStore, StoreError};

/// A daemon writes its heartbeat every three seconds.
const ALIVE_WITHIN: Millis = Millis(7_000);

/// Before this a clock is surely wrong: 2026-01-01.
const EARLIEST_MS: i64 = 1_767_225_600_000;

/// Open files below which a broadcast over many connections may run dry.
const FILES_WANTED: u64 = 1_024;

/// Look at the database, the daemon, the clock, the zones and the jobs file, and say what is amiss
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot doctor
  onthedot doctor --config jobs.yaml")]
pub(super) struct DoctorArgs {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Warning,
    Wrong,
}

struct Finding {
    topic: &'static str,
    verdict: Verdict,
    text: String,
}

pub(super) async fn doctor(global: &Global, _args: &DoctorArgs, out: &Out) -> anyhow::Result<Exit> {
    let mut findings = vec![clock_looks(), zones(), files()];
    findings.extend(database(global).await);
    findings.extend(jobs_file(global));
    let wrong = findings.iter().any(|f| f.verdict == Verdict::Wrong);
    let word = |v: Verdict| match v {
        Verdict::Fine => "ok",
        Verdict::Warning => "warning",
        Verdict::Wrong => "wrong",
    };
    if out.json {
        let all: Vec<serde_json::Value> =
            findings.iter().map(|f| json!({ "topic": f.topic, "verdict": word(f.verdict), "text": f.text })).collect();
        let zones = clock::zones_version();
        out.document(&json!({ "ok": !wrong, "version": env!("CARGO_PKG_VERSION"), "zones": zones, "findings": all }))?;
    } else {
        let lines: Vec<String> =
            findings.iter().map(|f| format!("{:<8} {:<10} {}", word(f.verdict), f.topic, safe(&f.text))).collect();
        out.data(&format!("onthedot {}\n{}", env!("CARGO_PKG_VERSION"), lines.join("\n")))?;
    }
    Ok(if wrong { Exit::Failed } else { Exit::Ok })
}

fn finding(topic: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
    Finding { topic, verdict, text: text.into() }
}

fn clock_looks() -> Finding {
    let now = clock::now();
    if now.0 < EARLIEST_MS {
        return finding("clock", Verdict::Wrong, format!("the clock says {now}: it is not set"));
    }
    finding("clock", Verdict::Fine, format!("{now}"))
}

fn zones() -> Finding {
    let name = clock::system_zone_name();
    match clock::zone(&name) {
        Ok(_) => finding("zones", Verdict::Fine, format!("the system's zone is {name}; {}", clock::zones_version())),
        Err(e) => finding("zones", Verdict::Wrong, format!("the system's zone '{name}' is not known: {e}")),
    }
}

fn files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let text = format!("the daemon may open {most} files at once");
    if most < FILES_WANTED {
        let text = format!("{text}; `ulimit -Hn {FILES_WANTED}` or more is needed for broadcasts");
        return finding("files", Verdict::Warning, text);
    }
    finding("files", Verdict::Fine, text)
}

async fn database(global: &Global) -> Vec<Finding> {
    let path = match place::database(global) {
        Ok(path) => path,
        Err(e) => return vec![finding("database", Verdict::Wrong, e.to_string())],
    };
    let mut all = Vec::new();
    let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
    match SqliteStore::open(&path, Opening::Reading).await {
        Err(StoreError::Absent { .. }) => {
            let text = format!("there is none at {} yet; `onthedot run JOBS.yaml` makes it", path.display());
            return vec![finding("database", Verdict::Warning, text)];
        }
        Err(e) => all.push(finding("database", Verdict::Wrong, e.to_string())),
        Ok(store) => {
            let mode = store.mode().await.ok().flatten().unwrap_or_else(|| "new".to_owned());
            all.push(finding("database", Verdict::Fine, format!("{} ({mode}, {bytes} bytes)", path.display())));
            all.push(daemon(&store).await);
            all.extend(doubts_and_pauses(&store).await);
            all.extend(chores(&store).await);
            store.close().await;
        }
    }
    all.extend(open_to_others(&path));
    all
}

async fn daemon(store: &SqliteStore) -> Finding {
    let now = clock::now();
    match store.alive_at().await.ok().flatten() {
        Some((at, false)) if now.since(at) < ALIVE_WITHIN => {
            finding("daemon", Verdict::Fine, "a daemon serves this database")
        }
        Some((at, _)) => {
            let text = format!("no daemon has run since {at}: nothing is sent until `onthedot run`");
            finding("daemon", Verdict::Warning, text)
        }
        None => finding("daemon", Verdict::Warning, "no daemon has ever run: nothing is sent until `onthedot run`"),
    }
}

async fn doubts_and_pauses(store: &SqliteStore) -> Vec<Finding> {
    let mut all = Vec::new();
    match store.doubt_count().await {
        Ok(0) => {}
        Ok(n) => {
            all.push(finding(
                "doubts",
                Verdict::Warning,
                format!("{} in doubt: `onthedot doubt list`", counted(n, "message")),
            ));
        }
        Err(e) => all.push(finding("doubts", Verdict::Wrong, e.to_string())),
    }
    let now = clock::now();
    for pause in store.pauses(now).await.unwrap_or_default() {
        let what = crate::cli::pause::words(&pause.scope);
        let note = pause.note.map_or(String::new(), |n| format!(": {n}"));
        all.push(finding("paused", Verdict::Warning, format!("{what} since {}{note}", pause.since)));
    }
    for lane in store.lanes(now).await.unwrap_or_default().into_iter().filter(|l| l.state != "working") {
        let why = lane.reason.unwrap_or_default();
        all.push(finding("instance", Verdict::Warning, format!("'{}' is {}: {why}", lane.name, lane.state)));
    }
    all
}

/// One line a chore that is asked for.
async fn chores(store: &SqliteStore) -> Vec<Finding> {
    let rows = store.chores().await.unwrap_or_default();
    let asked = rows.into_iter().filter(|r| r.chore.is_some());
    asked
        .map(|row| {
            let troubled =
                matches!(row.result, Some(Err(_))) || (row.started_at.is_some() && row.finished_at.is_none());
            let verdict = if troubled { Verdict::Warning } else { Verdict::Fine };
            let next = row.next_at.map_or("never".to_owned(), |t| t.to_string());
            finding("chore", verdict, format!("{}: {}; next {next}", row.name.name(), super::chores::last_run(&row)))
        })
        .collect()
}

/// Messages are private: the file is for its owner alone.
fn open_to_others(path: &std::path::Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let text = format!("{} is readable by others (mode {mode:o}); chmod 600 it", path.display());
        finding("privacy", Verdict::Warning, text)
    })
}

fn jobs_file(global: &Global) -> Vec<Finding> {
    let Some(path) = &global.config else { return Vec::new() };
    match config::load(path, false, place::lists(global).as_deref(), clock::now()) {
        Ok(settings) => {
            let text = {
                let (jobs, instances) = (settings.jobs.len(), settings.instances.len());
                format!("{}: {}, {}", path.display(), counted(jobs, "job"), counted(instances, "instance"))
            };
            let warnings = settings.warnings.iter().map(|w| finding("jobs file", Verdict::Warning, w.to_string()));
            std::iter::once(finding("jobs file", Verdict::Fine, text)).chain(warnings).collect()
        }
        Err(e) => e.0.iter().map(|f| finding("jobs file", Verdict::Wrong, f.to_string())).collect(),
    }
}
