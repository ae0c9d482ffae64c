//! `doubt`: messages that may or may not have gone out, and a person's verdict on them.

use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::filter::FilterArgs;
use crate::cli::out::{Out, counted, safe, table};
use crate::cli::place::Zone;
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::message::{Change, DoubtVerdict, Facts, Verdict};
use crate::domain::state::{self, Event, Reason, State, StateName};
use crate::report;
use crate::store::view::DoubtView;
use crate::store::{Evidence, Opening, SqliteStore, Store};

#[derive(clap::Subcommand, Debug)]
pub(super) enum DoubtCommand {
    /// List messages in doubt with what was found out about them
    List {
        /// At most so many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Continue where an earlier list ended
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Show one message that is or was in doubt, with all evidence about each of its attempts
    Show {
        /// The message's id
        id: String,
    },
    /// Settle doubts: it went out (sent), send it again (resend), or give it up (drop)
    #[command(after_help = RESOLVE_HELP)]
    Resolve {
        /// The messages' ids
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        filter: FilterArgs,
        /// What is true or shall be done
        #[arg(long = "as", value_name = "VERDICT", value_parser = ["sent", "resend", "drop"])]
        verdict: String,
        /// Settle everything in doubt that the filters find
        #[arg(long)]
        yes: bool,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

const RESOLVE_HELP: &str = "Examples:
  onthedot doubt resolve 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f --as sent
  onthedot doubt resolve --job launch --as drop --yes";

/// Doubts settled in one go by a filter.
const AT_ONCE: u32 = 500;

pub(super) async fn doubt(global: &Global, command: DoubtCommand, out: &Out) -> anyhow::Result<Exit> {
    match command {
        DoubtCommand::List { limit, cursor } => {
            let after = cursor
                .map(|c| c.parse::<MessageId>().map_err(|e| told(Exit::Usage, format!("--cursor: {e}"))))
                .transpose()?;
            let store = place::open(global, Opening::Reading).await?;
            let (doubts, next) = store.doubts(after, limit).await?;
            let zone = place::zone(&store).await?;
            store.close().await;
            if out.json {
                out.document(&report::doubts(&doubts, next))?;
            } else if doubts.is_empty() {
                out.note("nothing is in doubt");
            } else {
                out.data(&rows(&doubts, &zone))?;
            }
            Ok(Exit::Ok)
        }
        DoubtCommand::Show { id } => show(global, &id, out).await,
        DoubtCommand::Resolve { ids, filter, verdict, yes, dry_run } => {
            resolve(global, &ids, filter, &verdict, (yes, dry_run), out).await
        }
    }
}

async fn show(global: &Global, id: &str, out: &Out) -> anyhow::Result<Exit> {
    let id: MessageId = id.parse().map_err(|e| told(Exit::Usage, format!("{e}")))?;
    let store = place::open(global, Opening::Reading).await?;
    let found = store.doubt(id).await;
    let zone = place::zone(&store).await?;
    store.close().await;
    let Some(doubt) = found? else {
        return Err(told(Exit::NotFound, format!("no message {id} is or was in doubt")));
    };
    if out.json {
        out.document(&report::doubt(&doubt))?;
    } else {
        out.data(&words(&doubt, &zone))?;
    }
    Ok(Exit::Ok)
}

fn rows(doubts: &[DoubtView], zone: &Zone) -> String {
    let row = |d: &DoubtView| {
        let known = d.evidence.iter().max_by_key(|e| e.at);
        vec![
            d.message.id.to_string(),
            zone.show(d.message.due_at),
            safe(d.message.job.as_deref().unwrap_or("-")),
            safe(&d.message.chat),
            known.map_or("none so far".to_owned(), |e| format!("{}: {}", e.kind, e.verdict.replace('_', " "))),
            d.next_look_at.map_or("none; a person decides".to_owned(), |at| zone.show(at)),
        ]
    };
    table(
        &["id", &format!("due ({})", zone.name), "job", "to", "latest evidence", "next look"],
        doubts.iter().map(row).collect(),
    )
}

fn words(d: &DoubtView, zone: &Zone) -> String {
    let m = &d.message;
    let reason = m.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let mut lines = vec![
        format!("message   {}", m.id),
        format!("to        {} through {}", safe(&m.chat), safe(&m.instance)),
        format!("state     {}{reason}", m.state.name()),
    ];
    if let Some(at) = d.next_look_at {
        lines.push(format!("next look {}", zone.show_exactly(at)));
    }
    for a in &d.attempts {
        let became = match (a.verdict.as_deref(), a.duplicate) {
            (None, _) => "nobody knows yet",
            (Some("sent"), true) => "went out beside another one: a duplicate",
            (Some("sent"), false) => "went out",
            (Some("unsent"), _) => "did not go out",
            (Some("resent"), _) => "unknown; the message was sent again",
            (Some(_), _) => "unknown; the message was given up",
        };
        lines.push(String::new());
        lines.push(format!("attempt {}: {became}", a.number));
        for e in d.evidence.iter().filter(|e| e.attempt == a.number) {
            let note = safe(e.note.as_deref().unwrap_or(""));
            lines.push(format!("  {}  {:<8} {:<12} {note}", zone.show_exactly(e.at), e.kind, e.verdict));
        }
    }
    lines.join("\n")
}

/// The ids given, or those of everything in doubt that the filters find.
async fn chosen(
    store: &SqliteStore,
    ids: &[String],
    filter: FilterArgs,
    (yes, dry_run): (bool, bool),
) -> anyhow::Result<Vec<MessageId>> {
    if !ids.is_empty() {
        if !filter.is_empty() {
            return Err(told(Exit::Usage, "give either ids or filters, not both"));
        }
        return ids.iter().map(|i| i.parse().map_err(|e| told(Exit::Usage, format!("{e}")))).collect();
    }
    if filter.is_empty() {
        return Err(told(Exit::Usage, "which messages? `onthedot doubt resolve ID…`, or filters as of `list`"));
    }
    let zone = place::zone(store).await?;
    let mut filter = filter.read(&[StateName::InDoubt], AT_ONCE, &zone.zone)?;
    let mut found = Vec::new();
    loop {
        let (page, next) = store.list(&filter).await?;
        found.extend(page.iter().map(|m| m.id));
        filter.after = next;
        if next.is_none() {
            break;
        }
    }
    if !found.is_empty() && !yes && !dry_run {
        let n = counted(found.len(), "message");
        return Err(told(Exit::Refused, format!("the filters find {n}; --yes settles them, --dry-run shows which")));
    }
    Ok(found)
}

async fn resolve(
    global: &Global,
    ids: &[String],
    filter: FilterArgs,
    verdict: &str,
    (yes, dry_run): (bool, bool),
    out: &Out,
) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let ids = match chosen(&store, ids, filter, (yes, dry_run)).await {
        Ok(ids) => ids,
        Err(e) => {
            store.close().await;
            return Err(e);
        }
    };
    if ids.is_empty() {
        out.note("nothing in doubt fits the filters");
    }
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push((id, resolve_one(&store, id, verdict, dry_run).await?));
    }
    store.close().await;
    if out.json {
        let all: Vec<Value> = results
            .iter()
            .map(|(id, r)| json!({ "id": id.to_string(), "resolved": r.is_ok(), "note": r.as_ref().err() }))
            .collect();
        out.document(&json!({ "results": all }))?;
    } else {
        let line = |(id, r): &(MessageId, Result<(), String>)| match r {
            Ok(()) if dry_run => format!("{id} would be resolved as {verdict}"),
            Ok(()) => format!("{id} resolved as {verdict}"),
            Err(why) => format!("{id} {why}"),
        };
        out.data(&results.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    let done = results.iter().filter(|(_, r)| r.is_ok()).count();
    Ok(match done {
        n if n == results.len() => Exit::Ok,
        n if n > 0 => Exit::Partly,
        _ if results.iter().all(|(_, r)| r.as_ref().is_err_and(|e| e == NOT_FOUND)) => Exit::NotFound,
        _ => Exit::Refused,
    })
}

const NOT_FOUND: &str = "not found";

async fn resolve_one(
    store: &SqliteStore,
    id: MessageId,
    verdict: &str,
    dry_run: bool,
) -> anyhow::Result<Result<(), String>> {
    let Some(detail) = store.show(id).await? else { return Ok(Err(NOT_FOUND.to_owned())) };
    let m = &detail.message;
    if m.state != StateName::InDoubt {
        return Ok(Err(format!("refused: it is {}, not in doubt", m.state.name().replace('_', " "))));
    }
    if dry_run {
        return Ok(Ok(()));
    }
    let now = clock::now();
    let sent_at = m.sent_at.or(detail.attempts.last().map(|a| a.marked_at)).unwrap_or(now);
    let (kind, event, note) = match verdict {
        "sent" => ("sent", Event::ProvedSent { sent_at, reason: Reason::SaidSent }, "a person said it went out"),
        "resend" => {
            ("resend", Event::TryAgain { wake_at: now, reason: Reason::ResentOnDoubt }, "a person had it sent again")
        }
        _ => ("drop", Event::GivenUp { reason: Reason::Dropped }, "a person gave it up"),
    };
    let transition = state::apply(&State::InDoubt { look_at: now }, &event)?;
    let attempts = u32::try_from(m.attempts).unwrap_or(0);
    let became = match verdict {
        "sent" => DoubtVerdict::Sent,
        "resend" => DoubtVerdict::Resent,
        _ => DoubtVerdict::Dropped,
    };
    // However long it was in doubt, a person says that it is to go.
    let due_at = (became == DoubtVerdict::Resent).then(|| now + m.lead);
    let facts = Facts::Verdict {
        number: attempts,
        verdict: became,
        tries: attempts,
        gateway_id: None,
        due_at,
        note: note.to_owned(),
    };
    let change = Change { id, attempts, at: now, transition, facts };
    if store.apply(vec![change]).await?.first() != Some(&Verdict::Applied) {
        return Ok(Err("refused: it was settled meanwhile".to_owned()));
    }
    let evidence = Evidence {
        id,
        number: attempts,
        at: now,
        kind: "person",
        verdict: kind,
        note: note.to_owned(),
        next_look_at: None,
    };
    store.add_evidence(evidence).await?;
    Ok(Ok(()))
}
