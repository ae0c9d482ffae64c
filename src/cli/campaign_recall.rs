//! `campaign recall`: stops what has not left, and has what was sent deleted for everyone.

use std::io::{BufRead, IsTerminal};

use serde_json::{Value, json};

use crate::cli::campaign::found;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::time::{Millis, parse_duration};
use crate::gateway::Kind;
use crate::repair::{self, CalledOff};
use crate::store::view::RecallReport;
use crate::store::{InstanceRow, Opening, RecallAsked, RecallWish, SqliteStore};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot campaign recall launch --dry-run
  onthedot campaign recall launch --within 2h --yes

What has not left is cancelled, as `campaign cancel` does. What was sent is deleted for everyone by the daemon, the one \
that was sent last first, one a second through each instance; `campaign show` tells how far that is. What is on the way \
or in doubt is deleted once it is known as sent. What follows a recalled message (nags, escalations) is recalled with it.

WhatsApp deletes for everyone for about two days; what is older stays, and is counted as too late. Whoever has read a \
message has read it, and WhatsApp shows that one was deleted. A pause keeps nothing from being recalled. Where some of \
it cannot be recalled: exit 4.")]
pub(super) struct RecallArgs {
    /// The campaign, or its job
    name: String,
    /// Only what was sent within so long before now; all that the gateway still deletes if absent
    #[arg(long, value_name = "SPAN")]
    within: Option<String>,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Say how many messages would be cancelled and deleted
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn campaign_recall(global: &Global, args: &RecallArgs, out: &Out) -> anyhow::Result<Exit> {
    let span = args.within.as_deref().map(parse_duration).transpose();
    let span = span.map_err(|e| told(Exit::Usage, format!("--within: {e}")))?;
    let store = place::open(global, Opening::Beside).await?;
    let done = recall(&store, args, span, out).await;
    store.close().await;
    done
}

async fn recall(store: &SqliteStore, args: &RecallArgs, span: Option<Millis>, out: &Out) -> anyhow::Result<Exit> {
    let now = clock::now();
    let view = found(store, &args.name, now).await?;
    let within = limits(store).await?;
    if let Some(span) = span {
        fits(span, &within)?;
    }
    let wish = RecallWish { occurrence: view.occurrence, since: span.map(|span| now - span), within };
    let would = repair::recall(store, &view, &wish, true, clock::now).await?;
    let nothing = would == (CalledOff::default(), RecallAsked::default());
    if !args.yes && !args.dry_run && !nothing && !agreed(&would, out)? {
        return Err(told(Exit::Refused, "nothing was done"));
    }
    let done = if args.dry_run { would } else { repair::recall(store, &view, &wish, false, clock::now).await? };
    let name = view.name.to_string();
    if out.json {
        let (CalledOff { cancelled, .. }, asked) = done;
        out.document(&json!({
            "campaign": name, "cancelled": cancelled, "to_delete": asked.to_delete, "in_motion": asked.in_motion,
            "too_late": asked.too_late, "cannot": asked.cannot, "dry_run": args.dry_run,
        }))?;
    } else {
        out.data(&format!("'{}': {}", safe(&name), words(&done, args.dry_run)))?;
        tell(store, &done.1, &wish, args.dry_run, out).await?;
    }
    let all = done.1.too_late == 0 && done.1.cannot == 0;
    Ok(if all { Exit::Ok } else { Exit::Partly })
}

/// How long the gateway of each instance deletes for everyone, where it can.
async fn limits(store: &SqliteStore) -> anyhow::Result<Vec<(String, Option<Millis>)>> {
    let rows = store.instances().await?;
    let limit = |row: &InstanceRow| {
        let kind = Kind::from_name(&row.gateway);
        (row.name.0.to_string(), kind.and_then(|kind| kind.capabilities().deletes_within))
    };
    // All of them: what follows a message may go through another instance than the message.
    Ok(rows.iter().map(limit).collect())
}

/// A longer span than any gateway deletes would promise what nobody can do.
fn fits(span: Millis, within: &[(String, Option<Millis>)]) -> anyhow::Result<()> {
    match within.iter().filter_map(|(_, limit)| *limit).max() {
        Some(longest) if span > longest => Err(told(
            Exit::Usage,
            format!(
                "--within: {span} is longer than the {longest} for which messages can be deleted for everyone; \
                 without --within all of those are"
            ),
        )),
        _ => Ok(()),
    }
}

fn words((called_off, asked): &(CalledOff, RecallAsked), dry_run: bool) -> String {
    let (cancelled, deleted) =
        if dry_run { ("would be cancelled", "would be deleted") } else { ("cancelled", "to be deleted") };
    let (stopped, gone) = (counted(called_off.cancelled, "message"), counted(asked.to_delete, "message"));
    format!("{stopped} {cancelled}, {gone} {deleted} for everyone")
}

/// Asks the person at the terminal; without one, `--yes` is needed: what is deleted does not come back.
fn agreed(would: &(CalledOff, RecallAsked), out: &Out) -> anyhow::Result<bool> {
    let words = words(would, true);
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(told(Exit::Refused, format!("{words}; --yes does it, --dry-run shows what `recall` would do")));
    }
    out.note(&format!("{words}. Recall it? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What a person has to know about it besides.
async fn tell(
    store: &SqliteStore,
    asked: &RecallAsked,
    wish: &RecallWish,
    dry_run: bool,
    out: &Out,
) -> anyhow::Result<()> {
    if asked.in_motion > 0 {
        let n = counted(asked.in_motion, "message");
        out.note(&format!("{n} on the way or in doubt: deleted once known as sent"));
    }
    if asked.too_late > 0 {
        let longest = wish.within.iter().filter_map(|(_, limit)| *limit).max().unwrap_or(Millis::ZERO);
        out.note(&format!("{} sent more than {longest} ago: too late", counted(asked.too_late, "message")));
    }
    if asked.cannot > 0 {
        out.note(&format!("{} stay: their gateway cannot delete for everyone", counted(asked.cannot, "message")));
    }
    if dry_run || asked.to_delete + asked.in_motion == 0 {
        return Ok(());
    }
    out.note(if store.is_served(clock::now()).await? {
        "the daemon deletes them, the newest first; `onthedot campaign show` tells how far it is"
    } else {
        "no daemon runs: the next `onthedot run` deletes them"
    });
    Ok(())
}

/// The recall of a campaign, as `campaign show` tells it.
pub(super) fn report_json(report: Option<&RecallReport>) -> Value {
    let Some(r) = report else { return Value::Null };
    let reasons: Vec<Value> = r.reasons.iter().map(|(reason, n)| json!({ "reason": reason, "messages": n })).collect();
    json!({
        "asked": r.asked, "done": r.done, "failed": r.failed, "too_late": r.too_late, "unsent": r.unsent,
        "open": r.open, "reasons": reasons,
    })
}

/// The same in a line.
pub(super) fn report_words(r: &RecallReport) -> String {
    let counts = [
        (r.done, "deleted"),
        (r.open, "to be deleted"),
        (r.failed, "failed"),
        (r.too_late, "too late"),
        (r.unsent, "not sent"),
    ];
    let counts: Vec<String> =
        counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let why: Vec<String> = r.reasons.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    let why = if why.is_empty() { String::new() } else { format!("  ({})", why.join(", ")) };
    format!("recall     {} of {} asked{why}", counts.join(", "), r.asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_held_against_what_the_gateways_can() {
        let hours = |n: i64| Millis::seconds(n * 3_600);
        let within = [("a".to_owned(), Some(hours(48))), ("b".to_owned(), None)];
        assert!(fits(hours(48), &within).is_ok() && fits(hours(49), &within).is_err());
        assert!(fits(hours(49), &within[1..]).is_ok(), "which says for itself that it cannot");
    }
}
