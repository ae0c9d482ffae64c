//! `list`: messages.

use crate::cli::exit::{Exit, told};
use crate::cli::filter::FilterArgs;
use crate::cli::out::{Out, safe, table};
use crate::cli::place::Zone;
use crate::cli::{Global, place};
use crate::domain::ack::Ack;
use crate::domain::id::MessageId;
use crate::report;
use crate::store::Opening;
use crate::store::view::{MessageFilter, MessageView};

/// List messages, newest first
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot list --state scheduled,in_doubt
  onthedot list --job launch --ack read --limit 1000
  onthedot list --json | jq '.messages[].gateway_id'")]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Continue where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

pub(super) async fn list(global: &Global, args: ListArgs, out: &Out) -> anyhow::Result<Exit> {
    let after = args
        .cursor
        .map(|c| c.parse::<MessageId>().map_err(|e| told(Exit::Usage, format!("--cursor: {e}"))))
        .transpose()?;
    let store = place::open(global, Opening::Reading).await?;
    let zone = place::zone(&store).await?;
    let filter = MessageFilter { after, ..args.filter.read(&[], args.limit, &zone.zone)? };
    let (messages, next) = store.list(&filter).await?;
    store.close().await;
    if out.json {
        out.document(&report::list(&messages, next))?;
    } else if messages.is_empty() {
        out.note("no messages");
    } else {
        out.data(&rows(&messages, &zone))?;
        if let Some(next) = next {
            out.note(&format!("more: --cursor {next}"));
        }
    }
    Ok(Exit::Ok)
}

/// Messages as a table, in this zone.
pub(super) fn rows(messages: &[MessageView], zone: &Zone) -> String {
    let row = |m: &MessageView| {
        let state = match &m.reason {
            Some(reason) => format!("{} ({reason})", m.state.name()),
            None => m.state.name().to_owned(),
        };
        let late = m.sent_at.map_or(String::new(), |t| format!("{:+} ms", t.since(m.due_at).0));
        vec![
            m.id.to_string(),
            zone.show(m.due_at),
            safe(m.job.as_deref().unwrap_or("-")),
            safe(&m.chat),
            state,
            late,
            m.ack.map_or("", Ack::name).to_owned(),
        ]
    };
    table(
        &["id", &format!("due ({})", zone.name), "job", "to", "state", "late", "ack"],
        messages.iter().map(row).collect(),
    )
}
