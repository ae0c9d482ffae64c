//! `cancel`, `retry`, `reschedule`, `snooze`, `hold`, `release`: by id, or by the filters of `list`.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::filter::{FilterArgs, instant};
use crate::cli::out::{Out, counted};
use crate::cli::place::Zone;
use crate::cli::send::not_long_past;
use crate::cli::{Global, place, replan};
use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::job::DEFAULT_MAX_LATENESS;
use crate::domain::state::StateName;
use crate::domain::time::parse_duration;
use crate::repair::{self, Repair, Repaired};
use crate::store::view::MessageView;
use crate::store::{Opening, SqliteStore};

/// Messages repaired in one commit.
const AT_ONCE: u32 = 500;

/// Which messages, and whether for real.
#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    /// The messages' ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Do it to everything the filters find, without asking
    #[arg(long)]
    yes: bool,
    /// Say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Cancel messages that have not left yet
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot cancel 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f
  onthedot cancel --job launch --yes

A message that is marked, sending or sent cannot be taken back: exit 5.")]
pub(super) struct CancelArgs {
    #[command(flatten)]
    which: Selection,
}

/// Give messages that failed, expired, were skipped or cancelled another chance, now
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot retry 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f
  onthedot retry --job launch --state failed --yes")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    which: Selection,
}

/// Give waiting messages another instant
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot reschedule 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f --at 2026-12-01T10:00")]
pub(super) struct RescheduleArgs {
    #[command(flatten)]
    which: Selection,
    /// When: 2026-12-01T10:00, or with an offset
    #[arg(long, value_name = "INSTANT")]
    at: String,
}

/// Put waiting messages off
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot snooze 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f --for 1h")]
pub(super) struct SnoozeArgs {
    #[command(flatten)]
    which: Selection,
    /// How much later than its due, or than now where that has passed
    #[arg(long = "for", value_name = "SPAN", id = "span", allow_hyphen_values = true)]
    span: String,
}

/// Keep waiting messages until they are released
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot hold --to \"+49 170 1234567\" --yes")]
pub(super) struct HoldArgs {
    #[command(flatten)]
    which: Selection,
}

/// Let held messages go
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot release --job launch --yes")]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    which: Selection,
}

pub(super) async fn cancel(global: &Global, args: CancelArgs, out: &Out) -> anyhow::Result<Exit> {
    run(global, args.which, Repair::Cancel, out).await
}

pub(super) async fn retry(global: &Global, args: RetryArgs, out: &Out) -> anyhow::Result<Exit> {
    run(global, args.which, Repair::Retry, out).await
}

pub(super) async fn reschedule(global: &Global, args: RescheduleArgs, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let zone = place::zone(&store).await?;
    store.close().await;
    let (at, now) = (instant("--at", &args.at, &zone.zone)?, clock::now());
    not_long_past("--at", at, DEFAULT_MAX_LATENESS, now)?;
    run(global, args.which, Repair::Reschedule(at), out).await
}

pub(super) async fn snooze(global: &Global, args: SnoozeArgs, out: &Out) -> anyhow::Result<Exit> {
    let span = parse_duration(&args.span).map_err(|e| told(Exit::Usage, format!("--for: {e}")))?;
    run(global, args.which, Repair::Snooze(span), out).await
}

pub(super) async fn hold(global: &Global, args: HoldArgs, out: &Out) -> anyhow::Result<Exit> {
    run(global, args.which, Repair::Hold, out).await
}

pub(super) async fn release(global: &Global, args: ReleaseArgs, out: &Out) -> anyhow::Result<Exit> {
    run(global, args.which, Repair::Release, out).await
}

async fn run(global: &Global, which: Selection, how: Repair, out: &Out) -> anyhow::Result<Exit> {
    let by_id = !which.ids.is_empty();
    if by_id && !which.filter.is_empty() {
        return Err(told(Exit::Usage, "give either ids or filters, not both"));
    }
    if !by_id && which.filter.is_empty() {
        let word = how.word();
        return Err(told(Exit::Usage, format!("which messages? `onthedot {word} ID…`, or filters as of `list`")));
    }
    let ids: Vec<MessageId> =
        which.ids.iter().map(|i| i.parse().map_err(|e| told(Exit::Usage, format!("{e}")))).collect::<Result<_, _>>()?;
    let store = Arc::new(place::open(global, Opening::Beside).await?);
    let zone = place::zone(&store).await?;
    let results = if by_id {
        by_ids(&store, how, ids, which.dry_run).await
    } else {
        match replan::settled(&store).await {
            Ok(()) => by_filter(&store, how, which, &zone, out).await,
            Err(e) => Err(e.into()),
        }
    };
    store.close().await;
    let (results, dry_run) = results?;
    tell(&results, how, dry_run, &zone, out)?;
    Ok(exit(&results))
}

type Results = (Vec<(MessageId, Repaired)>, bool);

async fn by_ids(store: &SqliteStore, how: Repair, mut ids: Vec<MessageId>, dry_run: bool) -> anyhow::Result<Results> {
    // The first of a sequence comes before what follows it, which waits for it.
    ids.sort_unstable();
    ids.dedup();
    let mut found: Vec<MessageView> = Vec::with_capacity(ids.len());
    for id in &ids {
        found.extend(store.show(*id).await?.map(|detail| detail.message));
    }
    // All at once: what comes back with the message before it is not asked for a second time.
    let mut answers: BTreeMap<MessageId, Repaired> = BTreeMap::new();
    for chunk in found.chunks(AT_ONCE as usize) {
        let repaired = repair::repair(store, how, chunk, dry_run, clock::now()).await?;
        answers.extend(chunk.iter().map(|m| m.id).zip(repaired));
    }
    let answer = |id: MessageId| answers.get(&id).cloned().unwrap_or(Repaired::NotFound);
    Ok((ids.into_iter().map(|id| (id, answer(id))).collect(), dry_run))
}

async fn by_filter(
    store: &SqliteStore,
    how: Repair,
    which: Selection,
    zone: &Zone,
    out: &Out,
) -> anyhow::Result<Results> {
    let mut filter = which.filter.read(how.states(), AT_ONCE, &zone.zone)?;
    // What is found first is what is asked about and done: nothing that comes later is swept along.
    let mut found: Vec<MessageView> = Vec::new();
    loop {
        let (page, next) = store.list(&filter).await?;
        found.extend(page);
        filter.after = next;
        if next.is_none() {
            break;
        }
    }
    if found.is_empty() {
        out.note("no message fits the filters");
        return Ok((Vec::new(), which.dry_run));
    }
    if !which.yes && !which.dry_run && !agreed(how, found.len(), out)? {
        return Err(told(Exit::Refused, "nothing was done"));
    }
    // The first of a sequence comes before what follows it, which waits for it.
    found.reverse();
    let mut results = Vec::with_capacity(found.len());
    for chunk in found.chunks(AT_ONCE as usize) {
        let answers = repair::repair(store, how, chunk, which.dry_run, clock::now()).await?;
        results.extend(chunk.iter().map(|m| m.id).zip(answers));
    }
    Ok((results, which.dry_run))
}

/// Asks the person at the terminal; without one, a filter needs `--yes`.
fn agreed(how: Repair, count: usize, out: &Out) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let word = how.word();
        return Err(told(
            Exit::Refused,
            format!(
                "the filters find {}; --yes does it, --dry-run shows what `{word}` would do",
                counted(count, "message")
            ),
        ));
    }
    out.note(&format!("{} {}? [y/N]", how.word(), counted(count, "message")));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn tell(results: &[(MessageId, Repaired)], how: Repair, dry_run: bool, zone: &Zone, out: &Out) -> anyhow::Result<()> {
    if out.json {
        let all: Vec<Value> = results.iter().map(|(id, r)| result_json(*id, r, how, dry_run)).collect();
        return out.document(&json!({ "results": all, "dry_run": dry_run }));
    }
    if results.is_empty() {
        return Ok(());
    }
    let line = |(id, r): &(MessageId, Repaired)| match r {
        Repaired::Done { due_at, state } => {
            let would = if dry_run { "would be " } else { "" };
            let when = match (how, state) {
                (Repair::Cancel | Repair::Hold, _) | (_, StateName::Held) => String::new(),
                _ => format!(", due {}", zone.show_exactly(*due_at)),
            };
            format!("{id} {would}{}{when}", done_word(how, *state))
        }
        Repaired::NotFound => format!("{id} not found"),
        Repaired::Refused { why, .. } => format!("{id} refused: {why}"),
    };
    out.data(&results.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn done_word(how: Repair, state: StateName) -> &'static str {
    match (how, state) {
        (Repair::Retry, StateName::Held) => repair::BACK_IN_DRAFT,
        _ => how.done_word(),
    }
}

fn result_json(id: MessageId, result: &Repaired, how: Repair, dry_run: bool) -> Value {
    let (done, state, due_at, note) = match result {
        Repaired::Done { state, due_at } => {
            (true, Some(state.name()), Some(due_at.to_rfc3339()), done_word(how, *state))
        }
        Repaired::NotFound => (false, None, None, "not found"),
        Repaired::Refused { state, why } => (false, Some(state.name()), None, why.as_str()),
    };
    let mut json = json!({ "id": id.to_string(), "done": done, "state": state, "due_at": due_at, "note": note });
    if how == Repair::Cancel {
        json["cancelled"] = json!(done && !dry_run);
    }
    json
}

fn exit(results: &[(MessageId, Repaired)]) -> Exit {
    let done = results.iter().filter(|(_, r)| matches!(r, Repaired::Done { .. })).count();
    match done {
        n if n == results.len() => Exit::Ok,
        n if n > 0 => Exit::Partly,
        _ if results.iter().all(|(_, r)| *r == Repaired::NotFound) => Exit::NotFound,
        _ => Exit::Refused,
    }
}
