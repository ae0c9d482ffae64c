//! `cancel`: take messages back before they leave.

use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::state::{self, Event, Reason, State, StateName};
use crate::domain::time::Timestamp;
use crate::store::view::MessageView;
use crate::store::{Opening, SqliteStore, Store};

/// A cancel that meets a message in motion looks again this often before it gives an answer.
const LOOKS: u32 = 5;

/// Cancel messages that have not left yet
#[derive(clap::Args, Debug)]
#[command(after_help = "A message that is marked, sending or sent cannot be taken back: exit 5.")]
pub(super) struct CancelArgs {
    /// The messages' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Say what would be cancelled
    #[arg(long)]
    dry_run: bool,
}

/// What became of one request to cancel.
enum Outcome {
    Cancelled,
    Would,
    NotFound,
    TooLate(StateName),
}

pub(super) async fn cancel(global: &Global, args: &CancelArgs, out: &Out) -> anyhow::Result<Exit> {
    let ids: Vec<MessageId> =
        args.ids.iter().map(|i| i.parse().map_err(|e| told(Exit::Usage, format!("{e}")))).collect::<Result<_, _>>()?;
    let store = place::open(global, Opening::Beside).await?;
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        outcomes.push((id, cancel_one(&store, id, args.dry_run).await?));
    }
    store.close().await;
    tell(&outcomes, out)?;
    Ok(exit(&outcomes))
}

async fn cancel_one(store: &SqliteStore, id: MessageId, dry_run: bool) -> anyhow::Result<Outcome> {
    let mut last = StateName::Sending;
    for _ in 0..LOOKS {
        let Some(detail) = store.show(id).await? else { return Ok(Outcome::NotFound) };
        last = detail.message.state;
        let Some(change) = change(&detail.message, clock::now()) else { return Ok(Outcome::TooLate(last)) };
        if dry_run {
            return Ok(Outcome::Would);
        }
        // Stale: it moved on between the look and the write; what it is now decides.
        if store.apply(vec![change]).await?.first() == Some(&Verdict::Applied) {
            return Ok(Outcome::Cancelled);
        }
    }
    Ok(Outcome::TooLate(last))
}

fn change(m: &MessageView, now: Timestamp) -> Option<Change> {
    let state = match m.state {
        StateName::Scheduled => State::Scheduled { wake_at: m.wake_at.unwrap_or(m.due_at) },
        StateName::Typing => State::Typing,
        _ => return None,
    };
    let event = Event::Cancelled { reason: Reason::CancelledByPerson };
    let transition = state::apply(&state, &event).ok()?;
    let attempts = u32::try_from(m.attempts).ok()?;
    Some(Change { id: m.id, attempts, at: now, transition, facts: Facts::Note("cancelled by command".to_owned()) })
}

fn tell(outcomes: &[(MessageId, Outcome)], out: &Out) -> anyhow::Result<()> {
    let word = |o: &Outcome| match o {
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Would => "would be cancelled".to_owned(),
        Outcome::NotFound => "not found".to_owned(),
        Outcome::TooLate(state) => format!("refused: it is {}", state.name().replace('_', " ")),
    };
    if out.json {
        let results: Vec<Value> = outcomes
            .iter()
            .map(|(id, o)| {
                json!({
                    "id": id.to_string(),
                    "cancelled": matches!(o, Outcome::Cancelled),
                    "state": match o { Outcome::TooLate(s) => Some(s.name()), Outcome::Cancelled => Some("cancelled"), _ => None },
                    "note": word(o),
                })
            })
            .collect();
        return out.document(&json!({ "results": results }));
    }
    let lines: Vec<String> = outcomes.iter().map(|(id, o)| format!("{id} {}", word(o))).collect();
    out.data(&lines.join("\n"))
}

fn exit(outcomes: &[(MessageId, Outcome)]) -> Exit {
    let done = outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Cancelled | Outcome::Would)).count();
    match done {
        n if n == outcomes.len() => Exit::Ok,
        n if n > 0 => Exit::Partly,
        _ if outcomes.iter().all(|(_, o)| matches!(o, Outcome::NotFound)) => Exit::NotFound,
        _ => Exit::Refused,
    }
}
