//! `campaign show --watch`: a campaign until all of it rests.

use std::io::IsTerminal;

use serde_json::{Value, json};

use crate::cli::campaign::{BAR, found, gate_words, json_of, words};
use crate::cli::campaign_eta;
use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::cli::place::Zone;
use crate::cli::progress::bar::{plain, within};
use crate::cli::progress::{Looks, Progress};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::campaign::CampaignState;
use crate::domain::time::{Millis, Timestamp};
use crate::report;
use crate::store::{Opening, Pause, SqliteStore};

/// How much of the time whole counts may take: one part in so many.
const COST: i64 = 10;

/// Columns of the picture that are not the bar's.
const BESIDE: usize = 36;

/// Looks at a campaign every so many seconds until it rests.
pub(super) async fn campaign_watch(global: &Global, name: &str, seconds: u32, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let watched = watch(global, &store, name, Millis::seconds(i64::from(seconds)), *out).await;
    store.close().await;
    watched
}

async fn watch(global: &Global, store: &SqliteStore, name: &str, every: Millis, out: Out) -> anyhow::Result<Exit> {
    let zone = place::zone(store).await?;
    // The name of a job means one campaign, also when another one of it comes meanwhile.
    let names = [found(store, name, clock::now()).await?.name];
    let mut looks = Looks::new(&place::database(global)?, COST);
    let screen = std::io::stdout().is_terminal() && !out.json;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let now = clock::now();
        let pauses = store.pauses(now).await?;
        let Some(progress) = looks.at(store, &names, &pauses, now).await?.pop() else {
            return Err(told(Exit::NotFound, format!("the campaign '{}' is gone", names[0])));
        };
        if out.json {
            out.data(&document(&progress, &pauses, now).to_string())?;
        } else if screen {
            // Home, then clear what follows: the picture does not flicker.
            out.data(&format!("\u{1b}[H\u{1b}[J{}", picture(&progress, &pauses, &zone, now)))?;
        } else {
            let time = now.in_zone(&zone.zone).strftime("%H:%M:%S").to_string();
            let daemon = if progress.served { "" } else { " · no daemon" };
            out.data(&format!("{time}  {}{daemon}", plain(&progress.figures(&zone, now))))?;
        }
        if matches!(progress.state, CampaignState::Finished | CampaignState::Cancelled) {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            _ = &mut interrupted => return Ok(Exit::Interrupted),
            () = clock::sleep(every) => {}
        }
    }
}

fn document(p: &Progress, pauses: &[Pause], now: Timestamp) -> Value {
    let mut document = json_of(&p.view, pauses, now);
    document["waits"] = json!(p.waits.as_ref().map(report::gate));
    document["served"] = json!(p.served);
    document["finish"] = json!(p.foretold.map(|f| {
        let mut finish = campaign_eta::json_of(&f.finish);
        finish["suppressed"] = json!(f.left_out.suppressed);
        finish["too_often"] = json!(f.left_out.too_often);
        finish["made_at"] = json!(f.made_at.to_rfc3339());
        finish
    }));
    document
}

/// What is seen on a terminal, no line wider than it.
fn picture(p: &Progress, pauses: &[Pause], zone: &Zone, now: Timestamp) -> String {
    let width = ratatui::crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
    // Some terminals do not say.
    let width = if width == 0 { 80 } else { width };
    let mut text = words(&p.view, pauses, zone, now, BAR.min(width.saturating_sub(BESIDE)).max(4));
    if let Some(gate) = &p.waits {
        text.push_str(&format!("\nwaits      {}", gate_words(gate, zone)));
    }
    if let Some(f) = &p.foretold {
        let told = campaign_eta::words(&f.finish, zone, f.made_at);
        text.push_str(&format!("\nfinish     {told}\nforeseen   as of {}", zone.show(f.made_at)));
        for line in campaign_eta::left_out_words(f.left_out) {
            text.push_str(&format!("\n{line}"));
        }
    } else if let Some(at) = p.at_this_pace(now) {
        text.push_str(&format!("\nfinish     about {} at the pace of the last five minutes", zone.show(at)));
    }
    if !p.served && !matches!(p.state, CampaignState::Finished | CampaignState::Cancelled) {
        text.push_str("\ndaemon     none serves it: nothing leaves until `onthedot run` does");
    }
    text.lines().map(|line| within(line, width)).collect::<Vec<_>>().join("\n")
}
