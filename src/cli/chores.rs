//! `db chores`: the daemon's chores, and running one now.

use serde_json::{Value, json};

use crate::chores::{self, do_chore, task_of};
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, safe, table};
use crate::cli::{Global, place};
use crate::clock;
use crate::config;
use crate::domain::chore::ChoreName;
use crate::domain::time::Timestamp;
use crate::store::{ChoreRow, Opening};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot db chores
  onthedot db chores run backup
  onthedot db chores --json | jq '.chores[] | select(.last.ok == false)'")]
pub(super) struct ChoresArgs {
    #[command(subcommand)]
    command: Option<ChoresCommand>,
}

#[derive(clap::Subcommand, Debug)]
enum ChoresCommand {
    /// Run a chore now, beside a daemon or without one, as the file applied last says (or --config)
    Run {
        /// tidy, checkpoint, report, prune or backup
        name: String,
        /// Say what would be run
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn chores(global: &Global, args: ChoresArgs, out: &Out) -> anyhow::Result<Exit> {
    match args.command {
        None => list(global, out).await,
        Some(ChoresCommand::Run { name, dry_run }) => run(global, &name, dry_run, out).await,
    }
}

async fn list(global: &Global, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let rows = store.chores().await;
    let zone = place::zone(&store).await;
    store.close().await;
    let (rows, zone) = (rows?, zone?);
    if out.json {
        out.document(&json!({ "chores": rows.iter().map(json_of).collect::<Vec<_>>() }))?;
        return Ok(Exit::Ok);
    }
    if rows.is_empty() {
        out.note("no chore has run, and no file was applied yet; `onthedot run JOBS.yaml` does both");
        return Ok(Exit::Ok);
    }
    let row = |r: &ChoreRow| {
        let when = r.chore.as_ref().map_or("off".to_owned(), |c| c.cron.clone());
        let next = r.next_at.map_or("-".to_owned(), |t| zone.show(t));
        vec![r.name.name().to_owned(), when, next, last_run(r)]
    };
    out.data(&table(&["chore", "when", "next", "last"], rows.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

/// The last run of a chore in words.
pub(super) fn last_run(row: &ChoreRow) -> String {
    let Some(began) = row.started_at else { return "has not run yet".to_owned() };
    match (&row.result, row.took) {
        (Some(Ok(words)), Some(took)) => format!("{began}, took {took}: {}", safe(words)),
        (Some(Err(what)), Some(took)) => format!("{began}, failed after {took}: {}", safe(what)),
        _ => format!("{began}, and has not ended: it goes on, or its process ended before it did"),
    }
}

fn json_of(row: &ChoreRow) -> Value {
    let last = row.started_at.map(|began| {
        json!({
            "started_at": began.to_rfc3339(),
            "finished_at": row.finished_at.map(Timestamp::to_rfc3339),
            "took_ms": row.took,
            "ok": row.result.as_ref().map(Result::is_ok),
            "result": row.result.as_ref().map(|r| match r { Ok(words) | Err(words) => words.clone() }),
        })
    });
    json!({
        "name": row.name.name(),
        "cron": row.chore.as_ref().map(|c| c.cron.clone()),
        "zone": row.zone,
        "next_at": row.next_at.map(Timestamp::to_rfc3339),
        "last": last,
    })
}

async fn run(global: &Global, name: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let known: Vec<&str> = ChoreName::ALL.iter().map(|(_, n, _)| *n).collect();
    let Some(chore) = ChoreName::parse(name) else {
        return Err(told(Exit::NotFound, format!("there is no chore '{}'; known: {}", safe(name), known.join(", "))));
    };
    let from_file = match &global.config {
        Some(path) => Some(config::load(path, true, place::lists(global).as_deref(), clock::now())?),
        None => None,
    };
    let store = place::open(global, Opening::Beside).await?;
    let told_by_file = from_file.as_ref().and_then(|s| s.maintenance.iter().find(|c| c.task.name() == chore));
    let task = match told_by_file {
        Some(c) => Some(c.task.clone()),
        None => task_of(&store.chores().await?, chore),
    };
    let Some(task) = task else {
        store.close().await;
        let what = "no jobs file says where backups go: write maintenance: { backup: { to: FOLDER } } and apply it, \
                    or use `onthedot db backup FILE`";
        return Err(told(Exit::Config, what));
    };
    let zone = match &from_file {
        Some(settings) => settings.zone.clone(),
        None => place::zone(&store).await?.name,
    };
    let done = if dry_run { None } else { Some(do_chore(&store, &task, &zone, None, clock::now()).await) };
    store.close().await;
    let done: Option<chores::Done> = done.transpose()?;
    let ok = done.as_ref().is_none_or(|d| d.result.is_ok());
    let words = done.as_ref().map(|d| match &d.result {
        Ok(words) | Err(words) => words.clone(),
    });
    if out.json {
        let took = done.as_ref().map(|d| d.took);
        out.document(&json!({ "chore": name, "done": done.is_some(), "ok": ok, "took_ms": took, "result": words }))?;
    } else {
        match (words, done) {
            (Some(words), Some(d)) if ok => out.data(&format!("{name} took {}: {words}", d.took))?,
            (Some(words), Some(_)) => return Err(told(Exit::Failed, format!("{name}: {words}"))),
            _ => out.data(&format!("{name} would be run: {}", serde_json::to_string(&task)?))?,
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::Failed })
}
