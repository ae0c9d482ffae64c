//! `db`: the database file.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::chores::forget;
use crate::cli::chores::{self, ChoresArgs};
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::clock::{self, Stopwatch};
use crate::domain::time::parse_duration;
use crate::store::{DaemonLock, Opening, SqliteStore, StoreError};

/// Settled messages younger than this are not forgotten unless asked for.
const KEPT: &str = "90d";

#[derive(clap::Subcommand, Debug)]
pub(super) enum DbCommand {
    /// Write a consistent copy, also while the daemon runs
    Backup {
        /// The file to make; it must not exist
        to: PathBuf,
        /// Say what would be copied
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the file from end to end
    Check,
    /// The daemon's chores: when each runs, and how its last run went; or run one now
    #[command(subcommand_required = false, args_conflicts_with_subcommands = true)]
    Chores(ChoresArgs),
    /// Bring the file to this version's schema; the daemon does so by itself
    Migrate {
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Put a backup in the place of the database; the daemon must not run. What is there now is kept beside it
    #[command(after_help = RESTORE_HELP)]
    Restore {
        /// The backup
        from: PathBuf,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget messages settled long ago, with their attempts and acks
    Prune {
        /// Settled and due longer ago than this
        #[arg(long, value_name = "SPAN", default_value = KEPT)]
        older_than: String,
        /// Count what would be forgotten
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn db(global: &Global, command: DbCommand, out: &Out) -> anyhow::Result<Exit> {
    match command {
        DbCommand::Backup { to, dry_run } => backup(global, &to, dry_run, out).await,
        DbCommand::Check => check(global, out).await,
        DbCommand::Chores(args) => chores::chores(global, args, out).await,
        DbCommand::Migrate { dry_run } => migrate(global, dry_run, out).await,
        DbCommand::Restore { from, dry_run } => restore(global, &from, dry_run, out).await,
        DbCommand::Prune { older_than, dry_run } => prune(global, &older_than, dry_run, out).await,
    }
}

async fn backup(global: &Global, to: &PathBuf, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    place::refuse_uri(to)?;
    if to.exists() {
        let why = format!("{} exists already; a backup overwrites nothing", to.display());
        return Err(told(Exit::Refused, why));
    }
    let store = place::open(global, Opening::Reading).await?;
    let took = Stopwatch::start();
    let copied = if dry_run { Ok(()) } else { store.backup(to).await };
    let from = store.path().display().to_string();
    store.close().await;
    copied?;
    let bytes = std::fs::metadata(to).map_or(0, |m| m.len());
    if out.json {
        out.document(&json!({ "from": from, "to": to.display().to_string(), "bytes": bytes, "done": !dry_run }))?;
    } else if dry_run {
        out.data(&format!("{from} would be copied to {}", to.display()))?;
    } else {
        out.data(&format!("{bytes} bytes written to {} in {}", to.display(), took.elapsed()))?;
    }
    Ok(Exit::Ok)
}

const RESTORE_HELP: &str = "Example:
  onthedot db restore backups/onthedot-20261124T030000Z.db

The daemon that starts on it sends nothing: what was due since the backup may have gone out already and is held. Look at
`onthedot list --state held`, then `onthedot resume --after-restore`.";

async fn restore(global: &Global, from: &Path, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let path = place::database_to_be(global)?;
    place::refuse_uri(from)?;
    let (found, known) = SqliteStore::schema(from).await?;
    if found > known {
        return Err(StoreError::Newer { path: from.to_owned(), found, known }.into());
    }
    SqliteStore::check_copy(from).await?;
    let lock = DaemonLock::take(&path)?;
    let kept = if dry_run { None } else { SqliteStore::put_in_place(from, &path, clock::now()).await? };
    drop(lock);
    if out.json {
        out.document(&json!({
            "from": from.display().to_string(), "to": path.display().to_string(),
            "kept": kept.as_ref().map(|k| k.display().to_string()), "done": !dry_run,
        }))?;
        return Ok(Exit::Ok);
    }
    let would = if dry_run { "would be" } else { "was" };
    out.data(&format!("{} {would} put in the place of {}", from.display(), path.display()))?;
    if let Some(kept) = kept {
        out.note(&format!("what was there is kept as {}", kept.display()));
    }
    if !dry_run {
        out.note("the daemon that starts on it sends nothing before `onthedot resume --after-restore`");
    }
    Ok(Exit::Ok)
}

async fn check(global: &Global, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let found = store.check_all().await;
    store.close().await;
    let found = found?;
    if out.json {
        out.document(&json!({ "ok": found.is_empty(), "errors": found }))?;
    } else if found.is_empty() {
        out.data("the database is sound")?;
    } else {
        out.data(&found.join("\n"))?;
        out.note("move the file away with its -wal and -shm files and restore a backup");
    }
    Ok(if found.is_empty() { Exit::Ok } else { Exit::Damaged })
}

async fn migrate(global: &Global, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let path = place::database(global)?;
    let (found, known) = SqliteStore::schema(&path).await?;
    if !dry_run && found < known {
        let _lock = DaemonLock::take(&path)?;
        SqliteStore::open(&path, Opening::Daemon).await?.close().await;
    }
    if out.json {
        let done = !dry_run && found < known;
        out.document(&json!({ "from": found, "to": known, "done": done }))?;
    } else if found == known {
        out.data(&format!("the schema is {known} already"))?;
    } else {
        let would = if dry_run { "would be brought" } else { "was brought" };
        out.data(&format!("the schema {would} from {found} to {known}"))?;
    }
    Ok(Exit::Ok)
}

async fn prune(global: &Global, older_than: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let span = parse_duration(older_than).map_err(|e| told(Exit::Usage, format!("--older-than: {e}")))?;
    let store = place::open(global, Opening::Beside).await?;
    let now = clock::now();
    let forget = forget(&store, (now - span, now - span), now).await?;
    let pruned = store.prune(forget, dry_run, now).await;
    store.close().await;
    let p = pruned?;
    if out.json {
        out.document(&json!({
            "messages": p.messages, "occurrences": p.occurrences, "audiences": p.audiences, "contents": p.contents,
            "done": !dry_run,
        }))?;
    } else if dry_run {
        out.data(&format!("{} settled more than {older_than} ago would be forgotten", counted(p.messages, "message")))?;
    } else {
        out.data(&format!(
            "forgotten: {}, {}, {}, {}",
            counted(p.messages, "message"),
            counted(p.occurrences, "occurrence"),
            counted(p.audiences, "recipient list"),
            counted(p.contents, "content")
        ))?;
    }
    Ok(Exit::Ok)
}
