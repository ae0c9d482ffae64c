//! `stats`: counts by state and ack, lateness, rates.

use std::io::IsTerminal;

use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::out::{Out, table};
use crate::cli::{Global, place};
use crate::clock::{self, Stopwatch};
use crate::domain::ack::Ack;
use crate::domain::state::StateName;
use crate::domain::time::Millis;
use crate::report;
use crate::store::view::StatsView;
use crate::store::{DoubtFigures, KeptDay, Opening};

/// Longest pause between two looks of `--watch`, and how much of the time looking may take.
const WATCH_EVERY: Millis = Millis::seconds(1);
const WATCH_COST: i64 = 10;

/// Count messages by state and ack; lateness and rates
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot stats
  onthedot stats --watch
  onthedot stats --days 30                                day by day, as the chore `report` counted them
  onthedot stats --json | jq .states.in_doubt")]
pub(super) struct StatsArgs {
    /// Look again every second until Ctrl-C; with --json one document a line
    #[arg(long)]
    watch: bool,
    /// The latest N days in figures, as the chore `report` counted them; kept when their messages are forgotten
    #[arg(long, value_name = "N", conflicts_with = "watch", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    days: Option<u32>,
}

pub(super) async fn stats(global: &Global, args: &StatsArgs, out: &Out) -> anyhow::Result<Exit> {
    if args.watch {
        return watch(global, out).await;
    }
    let store = place::open(global, Opening::Reading).await?;
    if let Some(limit) = args.days {
        let kept = store.days(limit).await;
        store.close().await;
        return days(&kept?, out);
    }
    let stats = store.stats(clock::now()).await?;
    store.close().await;
    if out.json {
        out.document(&report::stats(&stats))?;
    } else {
        out.data(&words(&stats))?;
    }
    Ok(Exit::Ok)
}

fn days(kept: &[KeptDay], out: &Out) -> anyhow::Result<Exit> {
    if out.json {
        out.document(&json!({ "days": kept.iter().map(report::day).collect::<Vec<_>>() }))?;
        return Ok(Exit::Ok);
    }
    if kept.is_empty() {
        out.note("no day was counted yet; `onthedot db chores run report` counts the latest ones");
        return Ok(Exit::Ok);
    }
    let row = |d: &KeptDay| {
        let f = &d.figures;
        let of = |state: StateName| f.states.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n);
        let read: i64 =
            f.acks.iter().filter(|(a, _)| matches!(a, Some(Ack::Read | Ack::Played))).map(|(_, n)| *n).sum();
        let sent = of(StateName::Sent);
        let others = f.messages - sent - of(StateName::Failed);
        let late = f.late_ms.map_or("-".to_owned(), |(p50, p99, max)| format!("{p50} / {p99} / {max}"));
        let counts = [f.messages, sent, read, of(StateName::Failed), others].map(|n| n.to_string());
        [d.name.clone()].into_iter().chain(counts).chain([late]).collect()
    };
    let head = ["day", "messages", "sent", "read", "failed", "others", "late ms (50 / 99 / 100 %)"];
    out.data(&table(&head, kept.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

async fn watch(global: &Global, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let screen = std::io::stdout().is_terminal() && !out.json;
    loop {
        let took = Stopwatch::start();
        let stats = store.stats(clock::now()).await?;
        if out.json {
            out.data(&report::stats(&stats).to_string())?;
        } else {
            // Home, then clear what follows: the picture does not flicker.
            let home = if screen { "\u{1b}[H\u{1b}[J" } else { "" };
            out.data(&format!("{home}{}\n", words(&stats)))?;
        }
        let pause = WATCH_EVERY.max(Millis(took.elapsed().0 * WATCH_COST));
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            () = clock::sleep(pause) => {}
        }
    }
    store.close().await;
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
    if s.missed > 0 {
        text.push_str(&format!("\noccurrences missed: {}; `onthedot job show NAME` says which and why", s.missed));
    }
    if s.doubts != DoubtFigures::default() {
        let d = s.doubts;
        text.push_str(&format!(
            "\nattempts in doubt: {} open; settled: {} sent, {} unsent, {} sent again, {} given up; {} went out twice",
            d.open, d.sent, d.unsent, d.resent, d.dropped, d.duplicates
        ));
    }
    if s.rescued != [0; 3] {
        let [typing, sending, unfinished] = s.rescued;
        text.push_str(&format!(
            "\nrescued: {typing} typing and {sending} sending that nobody had in hand, {unfinished} left halfway by a command; the log tells which"
        ));
    }
    if s.orphan_acks > 0 {
        text.push_str(&format!(
            "\nacks of no message known here: {}; does a webhook name the wrong instance?",
            s.orphan_acks
        ));
    }
    text.push_str(&format!("\nsends: {} in the last minute, {} in the last hour", s.rates.0, s.rates.1));
    text
}
