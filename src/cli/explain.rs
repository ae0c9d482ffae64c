//! `explain`: every gate a message passed and waits on, and the earliest instant it can go.

use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, safe};
use crate::cli::place::Zone;
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::Timestamp;
use crate::engine::explain::{Explanation, GateName};
use crate::explain;
use crate::report;
use crate::store::Opening;
use crate::store::view::MessageDetail;

/// Say why a message waits: every gate, until when, and the earliest instant it can go
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot explain 01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f

The instant is found by running the scheduler ahead with everything that goes before it.")]
pub(super) struct ExplainArgs {
    /// The message's id
    id: String,
}

pub(super) async fn explain(global: &Global, args: &ExplainArgs, out: &Out) -> anyhow::Result<Exit> {
    let id: MessageId = args.id.parse().map_err(|e| told(Exit::Usage, format!("{e}")))?;
    let store = place::open(global, Opening::Reading).await?;
    let now = clock::now();
    let found = store.show(id).await?;
    let explained = match &found {
        Some(detail) => Some(explain::of(&store, detail, now).await?),
        None => None,
    };
    let zone = place::zone(&store).await?;
    store.close().await;
    let (Some(detail), Some(explanation)) = (found, explained) else {
        return Err(told(Exit::NotFound, format!("there is no message {id}")));
    };
    if out.json {
        let instant = |t: Option<Timestamp>| t.map(Timestamp::to_rfc3339);
        out.document(&json!({
            "id": id.to_string(),
            "state": detail.message.state.name(),
            "reason": detail.message.reason,
            "earliest_at": instant(explanation.earliest),
            "typing_from": instant(explanation.typing_from),
            "gates": report::gates(&explanation.gates),
        }))?;
    } else {
        out.data(&words(&detail, &explanation, &zone, now))?;
    }
    Ok(Exit::Ok)
}

/// Whether a gate is not passed.
fn holds(e: &Explanation, name: GateName) -> bool {
    e.gates.iter().any(|g| g.name == name && !g.passed)
}

fn words(detail: &MessageDetail, e: &Explanation, zone: &Zone, now: Timestamp) -> String {
    let at = |t: Timestamp| zone.show_exactly(t);
    let m = &detail.message;
    let reason = m.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let mut lines = vec![format!("{} is {}{reason}", m.id, m.state.name().replace('_', " "))];
    for gate in &e.gates {
        let mark = if gate.passed { "✓" } else { "…" };
        let until = gate.until.filter(|_| !gate.passed).map(|t| format!(" until {}", at(t))).unwrap_or_default();
        let note = gate.note.as_deref().map(|n| format!("  {}", safe(n))).unwrap_or_default();
        lines.push(format!("  {mark} {:<9}{until}{note}", gate.name.name()));
    }
    let waits = matches!(m.state, StateName::Scheduled | StateName::Typing);
    lines.push(match e.earliest {
        Some(t) if t <= now => "it leaves as soon as a daemon takes it up".to_owned(),
        Some(t) => {
            let typing = e.typing_from.map(|f| format!(", typing from {}", at(f))).unwrap_or_default();
            format!("it leaves at the earliest {}{typing}", at(t))
        }
        None if waits && e.gates.iter().any(|g| g.name == GateName::Line && !g.passed && g.until.is_none()) => {
            "its turn is too far off to be foreseen; `onthedot campaign eta` says about when all of a campaign has left"
                .to_owned()
        }
        None if waits && holds(e, GateName::Consent) => {
            format!(
                "as things stand it is skipped when its time comes; `onthedot contact show {}` tells why",
                safe(&m.chat)
            )
        }
        None if waits && holds(e, GateName::Frequency) => {
            "as things stand it is skipped when its time comes: its recipient has had enough by then".to_owned()
        }
        None if waits => "nobody can say when it leaves: that is up to a person or the gateway".to_owned(),
        None => match m.state {
            StateName::Held => format!("it is held; `onthedot release {}` lets it go", m.id),
            StateName::InDoubt => "it may have gone out; `onthedot doubt list` shows what is known".to_owned(),
            StateName::Sent => "it has left".to_owned(),
            StateName::Sending => "its request is out".to_owned(),
            _ if m.reason.as_deref() == Some(Reason::OptedOut.name()) => {
                format!(
                    "it was not sent; `onthedot contact show {}` tells why, and it stays so while that stands",
                    safe(&m.chat)
                )
            }
            _ if m.reason.as_deref() == Some(Reason::TooOften.name()) => {
                "it was not sent: its recipient had had as many messages as the `frequency` of its job allows"
                    .to_owned()
            }
            _ => format!("it will not be sent; `onthedot retry {}` gives it another chance", m.id),
        },
    });
    lines.join("\n")
}
