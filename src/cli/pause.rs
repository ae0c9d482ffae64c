//! `pause` and `resume`: the red button.

use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp, parse_duration};
use crate::store::{Opening, Pause, PauseScope};

/// How a pause ends and why it was made.
#[derive(clap::Args, Debug, Default)]
pub(super) struct PauseHow {
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How long; without it until `resume`
    #[arg(long = "for", value_name = "SPAN", id = "span", allow_hyphen_values = true)]
    span: Option<String>,
    /// Say what would be paused
    #[arg(long)]
    dry_run: bool,
}

/// Stop sending at once: what is being typed is taken back, what is out is awaited
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot pause --note \"wrong text in launch\"
  onthedot pause --for 30m
  onthedot instance pause shop
  onthedot job pause launch --note \"price is wrong\"")]
pub(super) struct PauseArgs {
    /// Every instance, which is also what no flag means
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: PauseHow,
}

/// Send again after `pause`
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot resume
  onthedot resume --after-restore --dry-run    what a restored database would send, and what it holds")]
pub(super) struct ResumeArgs {
    /// Everything, which is also what no flag means
    #[arg(long)]
    all: bool,
    /// Go on with a database that was set back to an earlier state, or copied
    #[arg(long)]
    after_restore: bool,
    /// Say what would be resumed
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn pause(global: &Global, args: PauseArgs, out: &Out) -> anyhow::Result<Exit> {
    let _ = args.all;
    pause_scope(global, PauseScope::All, args.how, out).await
}

pub(super) async fn resume(global: &Global, args: ResumeArgs, out: &Out) -> anyhow::Result<Exit> {
    let _ = args.all;
    let store = place::open(global, Opening::Beside).await?;
    let set_back = store.set_back().await?;
    if let Some(found) = &set_back {
        let waits = store.count(StateName::Scheduled).await?;
        let held = store.count(StateName::Held).await?;
        out.note(&format!(
            "the database was set back or copied: {}\n{} may have gone out already and stay held: `list --state held`, then `release` or `cancel` them\n{} wait and go on: `list --state scheduled`",
            found.why,
            counted(usize::try_from(held).unwrap_or(0), "message"),
            counted(usize::try_from(waits).unwrap_or(0), "message"),
        ));
        if !args.after_restore {
            store.close().await;
            return Err(told(Exit::Refused, "it goes on only with `onthedot resume --after-restore`"));
        }
        if !args.dry_run {
            store.forget_set_back().await?;
        }
    }
    store.close().await;
    resume_scope(global, PauseScope::All, args.dry_run, out).await
}

/// Pauses one scope. What it names must exist.
pub(super) async fn pause_scope(global: &Global, scope: PauseScope, how: PauseHow, out: &Out) -> anyhow::Result<Exit> {
    let now = clock::now();
    let until = match how.span.as_deref().map(parse_duration) {
        None => None,
        Some(Ok(span)) if span <= Millis::ZERO => {
            return Err(told(
                Exit::Usage,
                "--for: a pause of no length pauses nothing; such as 30m, or leave --for out",
            ));
        }
        Some(Ok(span)) => Some(now + span),
        Some(Err(e)) => return Err(told(Exit::Usage, format!("--for: {e}"))),
    };
    let store = place::open(global, Opening::Beside).await?;
    let pause = Pause { scope: scope.clone(), note: how.note.clone(), since: now, until };
    let known = exists(&store, &scope, now).await?;
    if known && !how.dry_run {
        store.pause(pause).await?;
    }
    store.close().await;
    if !known {
        return Err(told(Exit::NotFound, format!("there is no {}", words(&scope))));
    }
    if out.json {
        out.document(&json!({
            "paused": !how.dry_run, "scope": scope_json(&scope), "note": how.note,
            "until": until.map(crate::domain::time::Timestamp::to_rfc3339),
        }))?;
    } else {
        let would = if how.dry_run { "would be" } else { "is" };
        let end = until.map_or(String::new(), |t| format!(" until {t}"));
        out.data(&format!("{} {would} paused{end}", words(&scope)))?;
    }
    Ok(Exit::Ok)
}

/// Ends the pause of one scope.
pub(super) async fn resume_scope(global: &Global, scope: PauseScope, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let now = clock::now();
    let known = exists(&store, &scope, now).await?;
    let was = match dry_run {
        true => store.pauses(now).await?.iter().any(|p| p.scope == scope),
        false => known && store.resume(scope.clone(), now).await?,
    };
    let others = store.pauses(now).await?;
    store.close().await;
    if !known {
        return Err(told(Exit::NotFound, format!("there is no {}", words(&scope))));
    }
    for other in others.iter().filter(|p| p.scope != scope) {
        out.note(&format!("still paused: {}", words(&other.scope)));
    }
    if out.json {
        out.document(&json!({ "resumed": was && !dry_run, "scope": scope_json(&scope) }))?;
    } else {
        let said = match (was, dry_run) {
            (false, _) => "was not paused",
            (true, true) => "would send again",
            (true, false) => "sends again",
        };
        out.data(&format!("{} {said}", words(&scope)))?;
    }
    Ok(Exit::Ok)
}

async fn exists(store: &crate::store::SqliteStore, scope: &PauseScope, now: Timestamp) -> anyhow::Result<bool> {
    Ok(match scope {
        PauseScope::All => true,
        PauseScope::Instance(name) => store.instances().await?.iter().any(|i| *i.name.0 == **name),
        PauseScope::Job(name) => store.job(name).await?.is_some() || store.names_messages(name).await?,
        PauseScope::Campaign(name) => store.campaign(&name.job, Some(name.nominal), now).await?.is_some(),
    })
}

pub(super) fn words(scope: &PauseScope) -> String {
    match scope {
        PauseScope::All => "everything".to_owned(),
        PauseScope::Instance(name) => format!("instance '{name}'"),
        PauseScope::Job(name) => format!("job '{name}'"),
        PauseScope::Campaign(name) => format!("campaign '{name}'"),
    }
}

pub(super) fn scope_json(scope: &PauseScope) -> serde_json::Value {
    match scope {
        PauseScope::All => json!({ "all": true }),
        PauseScope::Instance(name) => json!({ "instance": name }),
        PauseScope::Job(name) => json!({ "job": name }),
        PauseScope::Campaign(name) => json!({ "campaign": name.to_string() }),
    }
}
