//! `plan`: what applying a file would do to the database; `job apply`: doing it.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::clock;
use crate::config::{self, InstanceSettings, Settings};
use crate::intake::{self, Planned};
use crate::store::{Applied, Opening};
use crate::zones;

/// Say what applying a file would add, change and leave, without touching anything
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
    let settings = config::load(path, args.sandbox, clock::now())?;
    apply(global, &settings, args.prune, true, out).await
}

/// Applies settings, or says what applying them would do.
pub(super) async fn apply(
    global: &Global,
    settings: &Settings,
    prune: bool,
    dry_run: bool,
    out: &Out,
) -> anyhow::Result<Exit> {
    settings.warnings.iter().for_each(|w| out.note(&format!("warning: {w}")));
    let planned = if place::database(global)?.exists() {
        let store = place::open(global, Opening::Reading).await?;
        let planned = intake::plan_file(&store, settings, clock::now()).await;
        store.close().await;
        planned?
    } else {
        Planned::onto_nothing(settings)
    };
    if !dry_run {
        let store = place::open(global, Opening::Beside).await?;
        let before = store.instances().await?;
        let applied = intake::apply_file(&store, settings, prune, clock::now()).await;
        let moved = if applied.is_ok() { zones::settle(&store, clock::now()).await } else { Ok(Vec::new()) };
        store.close().await;
        applied?;
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
    tell(&planned, prune, dry_run, out)?;
    Ok(Exit::Ok)
}

fn tell(planned: &Planned, prune: bool, dry_run: bool, out: &Out) -> anyhow::Result<()> {
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
            .map(|j| {
                json!({
                    "name": j.name, "change": word(j.change), "recipients": j.recipients,
                    "cancels": j.cancels, "next": j.next.map(crate::domain::time::Timestamp::to_rfc3339),
                })
            })
            .collect();
        let vanished: Vec<serde_json::Value> =
            planned.vanished.iter().map(|n| json!({ "name": n, "change": of_vanished })).collect();
        return out.document(&json!({ "applied": !dry_run, "jobs": jobs, "vanished": vanished }));
    }
    let mut lines = Vec::new();
    for j in &planned.jobs {
        let next = j.next.map_or("never again".to_owned(), |t| format!("next {t}"));
        let moved =
            if j.cancels > 0 { format!(", replaces {}", counted(j.cancels, "waiting message")) } else { String::new() };
        lines.push(format!("{:<9} {}  {}, {next}{moved}", word(j.change), j.name, counted(j.recipients, "recipient")));
    }
    for name in &planned.vanished {
        lines.push(format!("{of_vanished:<9} {name}  no longer in the file"));
    }
    let count = |a: Applied| planned.jobs.iter().filter(|j| j.change == a).count();
    let would = if dry_run { "would be " } else { "" };
    lines.push(format!(
        "{} {would}added, {} changed, {} unchanged",
        count(Applied::Added),
        count(Applied::Changed),
        count(Applied::Unchanged)
    ));
    out.data(&lines.join("\n"))
}
