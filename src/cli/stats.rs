//! `stats`: counts by state and ack, lateness, rates.

use crate::cli::exit::Exit;
use crate::cli::out::{Out, table};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::ack::Ack;
use crate::report;
use crate::store::Opening;
use crate::store::view::StatsView;

/// Count messages by state and ack; lateness and rates
#[derive(clap::Args, Debug)]
pub(super) struct StatsArgs {}

pub(super) async fn stats(global: &Global, _args: &StatsArgs, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let stats = store.stats(clock::now()).await?;
    store.close().await;
    if out.json {
        out.document(&report::stats(&stats))?;
    } else {
        out.data(&words(&stats))?;
    }
    Ok(Exit::Ok)
}

fn words(s: &StatsView) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut states = s.states.clone();
    states.sort_by_key(|(state, _)| *state);
    for (state, n) in states {
        rows.push(vec![state.name().to_owned(), n.to_string()]);
    }
    let mut text = if rows.is_empty() { "no messages".to_owned() } else { table(&["state", "messages"], rows) };
    if !s.acks.is_empty() {
        let rows =
            s.acks.iter().map(|(a, n)| vec![a.map_or("none yet", Ack::name).to_owned(), n.to_string()]).collect();
        text.push_str("\n\n");
        text.push_str(&table(&["ack", "sent"], rows));
    }
    if let Some((p50, p99, max)) = s.late_ms {
        text.push_str(&format!("\n\nlate: half within {p50} ms, 99 % within {p99} ms, the latest {max} ms"));
    }
    text.push_str(&format!("\ntyping: {} shown, {} failed or unanswered", s.typing_started, s.typing_failed));
    text.push_str(&format!("\nsends: {} in the last minute, {} in the last hour", s.rates.0, s.rates.1));
    text
}
