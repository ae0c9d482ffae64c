//! `plan`: what applying a file would do to the database; `job apply`: doing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::outlook::{self, Ahead};
use crate::cli::{Global, place, replan};
use crate::clock;
use crate::config::{self, InstanceSettings, Settings};
use crate::domain::time::Timestamp;
use crate::intake::{self, IntakeError, Planned, READINGS};
use crate::store::{Applied, Opening, SqliteStore};
use crate::zones;

/// Say what applying a file would add, change and leave, and which messages of the next 30 days it would add, move and
/// cancel, without touching anything
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot plan jobs.yaml
  onthedot plan jobs.yaml --json | jq '.jobs[] | select(.change != \"unchanged\")'")]
pub(super) struct PlanArgs {
    /// The jobs file
    #[arg(value_name = "JOBS.yaml")]
    file: Option<PathBuf>,
    /// Unset secrets are fine, as with `run --sandbox`
    #[arg(long)]
    sandbox: bool,
    /// As `run --prune` would: jobs the file no longer declares are removed
    #[arg(long)]
    prune: bool,
}

pub(super) async fn plan(global: &Global, args: &PlanArgs, out: &Out) -> anyhow::Result<Exit> {
    let Some(path) = args.file.as_ref().or(global.config.as_ref()) else {
        return Err(told(Exit::Usage, "which file? `onthedot plan jobs.yaml`"));
    };
    let settings = config::load(path, args.sandbox, place::lists(global).as_deref(), clock::now())?;
    apply(global, &settings, (args.prune, None), true, out).await
}

/// Reads a file and applies it, again where others changed the jobs or its recipients meanwhile; or says what applying it would do.
pub(super) async fn apply_file(
    global: &Global,
    file: &Path,
    (sandbox, prune, dry_run): (bool, bool, bool),
    out: &Out,
) -> anyhow::Result<Exit> {
    let mut readings = 1;
    loop {
        let revision = revision(global).await;
        let settings = config::load(file, sandbox, place::lists(global).as_deref(), clock::now())?;
        let applied = apply(global, &settings, (prune, revision), dry_run, out).await;
        match applied {
            Err(e) if readings < READINGS && e.downcast_ref().is_some_and(IntakeError::is_outdated) => readings += 1,
            applied => return applied,
        }
    }
}

/// The revision of the jobs; none where there is no database that could be read.
pub(super) async fn revision(global: &Global) -> Option<i64> {
    let store = place::open_if_there(global).await.ok().flatten()?;
    let revision = store.jobs_revision().await;
    store.close().await;
    revision.ok()
}

/// Applies settings, or says what applying them would do.
pub(super) async fn apply(
    global: &Global,
    settings: &Settings,
    (prune, revision): (bool, Option<i64>),
    dry_run: bool,
    out: &Out,
) -> anyhow::Result<Exit> {
    settings.warnings.iter().for_each(|w| out.note(&format!("warning: {w}")));
    let now = clock::now();
    let (planned, ahead) = if let Some(store) = place::open_if_there(global).await? {
        let looked = look(&store, settings, prune, now).await;
        store.close().await;
        looked?
    } else {
        (Planned::onto_nothing(settings), outlook::look(None, settings, &[], now).await?)
    };
    if !dry_run {
        let store = Arc::new(place::open(global, Opening::Beside).await?);
        let before = store.instances().await?;
        let applied =
            intake::apply_file(&store, settings, settings.jobs.clone(), (prune, revision), clock::now()).await;
        let moved = if applied.is_ok() { zones::settle(&store, clock::now()).await } else { Ok(Vec::new()) };
        let replanned = if applied.is_ok() { replan::settled(&store).await } else { Ok(()) };
        store.close().await;
        applied?;
        replanned?;
        moved?.iter().for_each(|line| out.note(line));
        for row in settings.instances.iter().map(InstanceSettings::row) {
            match before.iter().find(|b| b.name == row.name) {
                Some(known) if known.definition == row.definition => {}
                Some(_) => out.note(&format!(
                    "the instance '{}' changed: a daemon that runs keeps its old settings until it is restarted",
                    row.name
                )),
                None => out.note(&format!(
                    "the instance '{}' is new: a daemon that runs serves it once it is restarted",
                    row.name
                )),
            }
        }
    }
    tell((&planned, &ahead), prune, dry_run, out)?;
    Ok(Exit::Ok)
}

/// What a file would do to a database, and to the messages of the next days.
async fn look(
    store: &SqliteStore,
    settings: &Settings,
    prune: bool,
    now: Timestamp,
) -> anyhow::Result<(Planned, Ahead)> {
    let planned = intake::plan_file(store, settings, now).await?;
    let removed: &[String] = if prune { &planned.vanished } else { &[] };
    let ahead = outlook::look(Some(store), settings, removed, now).await?;
    Ok((planned, ahead))
}

fn tell((planned, ahead): (&Planned, &Ahead), prune: bool, dry_run: bool, out: &Out) -> anyhow::Result<()> {
    let word = |a: Applied| match a {
        Applied::Added => "added",
        Applied::Changed => "changed",
        Applied::Unchanged => "unchanged",
    };
    let of_vanished = if prune { "removed" } else { "kept" };
    if out.json {
        let jobs: Vec<serde_json::Value> = planned
            .jobs
            .iter()
            .enumerate()
            .map(|(place, j)| {
                let mut job = json!({
                    "name": j.name, "change": word(j.change), "recipients": j.recipients,
                    "cancels": j.cancels, "next": j.next.map(Timestamp::to_rfc3339),
                });
                ahead.tell_job(place, &mut job);
                job
            })
            .collect();
        let of = |name: &String| {
            let mut job = json!({ "name": name, "change": of_vanished });
            ahead.tell_removed(name, &mut job);
            job
        };
        let vanished: Vec<serde_json::Value> = planned.vanished.iter().map(of).collect();
        let (applied, span) = (!dry_run, ahead.totals());
        return out.document(&json!({ "applied": applied, "jobs": jobs, "vanished": vanished, "span": span }));
    }
    let mut lines = Vec::new();
    for (place, j) in planned.jobs.iter().enumerate() {
        let next = j.next.map_or("never again".to_owned(), |t| format!("next {t}"));
        let moved =
            if j.cancels > 0 { format!(", replaces {}", counted(j.cancels, "waiting message")) } else { String::new() };
        lines.push(format!("{:<9} {}  {}, {next}{moved}", word(j.change), j.name, counted(j.recipients, "recipient")));
        lines.extend(ahead.words_of(place));
    }
    for name in &planned.vanished {
        lines.push(format!("{of_vanished:<9} {name}  no longer in the file"));
        lines.extend(ahead.words_of_removed(name));
    }
    let count = |a: Applied| planned.jobs.iter().filter(|j| j.change == a).count();
    let would = if dry_run { "would be " } else { "" };
    lines.push(format!(
        "{} {would}added, {} changed, {} unchanged",
        count(Applied::Added),
        count(Applied::Changed),
        count(Applied::Unchanged)
    ));
    lines.push(ahead.total_words());
    out.data(&lines.join("\n"))
}
