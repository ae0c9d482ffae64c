//! `doubt`: messages that may or may not have gone out, and a person's verdict on them.

use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::cli::{Global, list, place};
use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::state::{self, Event, Reason, State, StateName};
use crate::report;
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
    /// Settle doubts: it went out (sent), send it again (resend), or give it up (drop)
    Resolve {
        /// The messages' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// What is true or shall be done
        #[arg(long = "as", value_name = "VERDICT", value_parser = ["sent", "resend", "drop"])]
        verdict: String,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

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
                let messages: Vec<_> = doubts.iter().map(|d| d.message.clone()).collect();
                out.data(&list::rows(&messages, &zone))?;
            }
            Ok(Exit::Ok)
        }
        DoubtCommand::Resolve { ids, verdict, dry_run } => resolve(global, &ids, &verdict, dry_run, out).await,
    }
}

async fn resolve(global: &Global, ids: &[String], verdict: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let ids: Vec<MessageId> =
        ids.iter().map(|i| i.parse().map_err(|e| told(Exit::Usage, format!("{e}")))).collect::<Result<_, _>>()?;
    let store = place::open(global, Opening::Beside).await?;
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
    let facts = Facts::Verdict { tries: attempts, gateway_id: None, note: note.to_owned() };
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
