//! `timeline`: what will be typed and sent through each instance, and what blocks it.

mod axis;
mod chart;
mod svg;

use std::io::IsTerminal;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::cli::{ColorWhen, Global, place};
use crate::clock;
use crate::domain::time::{Millis, Timestamp, parse_instant};
use crate::future::{Block, Foreseen, Premise, blocks, of_store, play};
use crate::store::Opening;

/// What is shown where nothing is said.
const SPAN: Millis = Millis(86_400_000);

/// The longest span: beyond it a chart shows nothing any more, and `simulate` tells more.
const LONGEST: Millis = Millis(400 * 86_400_000);

/// Columns where nobody says how many the terminal has.
const COLUMNS: usize = 80;

/// Show what will be typed and sent, and what blocks it, as the scheduler will really do it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "What waits in the database and the coming occurrences of its jobs are played in virtual time with the engine that will
send them: a gateway that answers at once, no outages, nobody who meddles.

Examples:
  onthedot timeline
  onthedot timeline --until 2026-12-02T08:00 --svg night.svg
  onthedot timeline --json | jq '.instances[] | {name, sends: (.sends | length)}'"
)]
pub(super) struct TimelineArgs {
    /// Where the chart begins [default: now]
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// Where it ends [default: 24 h later]
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// Draw it into a file, to be looked at in a browser
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What is shown.
struct Picture {
    from: Timestamp,
    until: Timestamp,
    zone: place::Zone,
    lanes: Vec<LanePicture>,
}

/// One instance.
struct LanePicture {
    name: String,
    /// What leaves or is typed in the span, by when it leaves.
    messages: Vec<Foreseen>,
    blocked: Vec<Block>,
}

impl LanePicture {
    /// Stretches of typing, by their beginning; those that touch are one.
    fn typing(&self, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut all: Vec<(Timestamp, Timestamp)> =
            self.messages.iter().filter_map(|f| Some((f.typing_from?, f.sends_at.unwrap_or(until)))).collect();
        all.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, to) in all {
            match merged.last_mut().filter(|m| from <= m.1) {
                Some(last) => last.1 = last.1.max(to),
                None => merged.push((from, to)),
            }
        }
        merged
    }

    /// Instants at which something leaves, rising.
    fn sends(&self) -> impl Iterator<Item = (Timestamp, &Foreseen)> {
        self.messages.iter().filter_map(|f| Some((f.sends_at?, f)))
    }
}

pub(super) async fn timeline(global: &Global, args: &TimelineArgs, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let now = clock::now();
    let zone = place::zone(&store).await?;
    let (from, until) = span(args, &zone, now)?;
    let premise = of_store(&store, now, until).await;
    store.close().await;
    let picture = look_ahead(&premise?, zone, (from, until))?;
    if let Some(path) = &args.svg {
        let wrong = |e| told(Exit::Usage, format!("--svg {}: it cannot be written: {e}", path.display()));
        std::fs::write(path, svg::draw(&picture)).map_err(wrong)?;
        out.note(&format!("drawn into {}", path.display()));
    }
    if out.json {
        out.document(&document(&picture))?;
    } else if args.svg.is_none() {
        let terminal = std::io::stdout().is_terminal();
        let coloured = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        let size = if terminal { ratatui::crossterm::terminal::size().ok() } else { None };
        let columns = size.map_or(COLUMNS, |(columns, _)| usize::from(columns));
        out.data(&chart::draw(&picture, columns, coloured))?;
    }
    Ok(Exit::Ok)
}

fn span(args: &TimelineArgs, zone: &place::Zone, now: Timestamp) -> anyhow::Result<(Timestamp, Timestamp)> {
    let read = |flag: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => parse_instant(text, &zone.zone, false)
            .map(Some)
            .ok_or_else(|| told(Exit::Usage, format!("{flag} cannot be '{text}'; such as 2026-12-01T10:00"))),
    };
    let from = read("--from", &args.from)?.unwrap_or(now);
    let until = read("--until", &args.until)?.unwrap_or(from + SPAN);
    if from < now {
        let what = format!("--from {from} has passed; `onthedot list --since` shows what was");
        return Err(told(Exit::Usage, what));
    }
    if until <= from {
        return Err(told(Exit::Usage, format!("--until {until} does not lie after {from}")));
    }
    if until.since(now) > LONGEST {
        return Err(told(Exit::Usage, format!("--until {until} lies more than {LONGEST} ahead")));
    }
    Ok((from, until))
}

/// Plays the premise and keeps what lies in the span.
fn look_ahead(premise: &Premise, zone: place::Zone, (from, until): (Timestamp, Timestamp)) -> anyhow::Result<Picture> {
    let mut all: Vec<Foreseen> = Vec::new();
    play(premise, |f| {
        if f.sends_at.is_some() || f.typing_from.is_some() || f.held_by.is_some() {
            all.push(f.clone());
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let lanes = premise.lanes.iter().map(|lane| {
        let name = lane.start.instance.0.to_string();
        let mut blocked = blocks(lane, &all, &zone.name, (premise.from, premise.until));
        blocked.retain(|b| b.until > from);
        blocked.iter_mut().for_each(|b| b.from = b.from.max(from));
        let shown = |f: &&Foreseen| f.instance == lane.start.instance && f.sends_at.is_none_or(|t| t >= from);
        let messages = all.iter().filter(shown).cloned().map(|mut f| {
            f.typing_from = f.typing_from.map(|t| t.max(from));
            f
        });
        LanePicture { name, messages: messages.collect(), blocked }
    });
    let lanes: Vec<LanePicture> = lanes.collect();
    Ok(Picture { from, until, zone, lanes })
}

/// The contract's document.
fn document(picture: &Picture) -> Value {
    let instances: Vec<Value> = picture
        .lanes
        .iter()
        .map(|lane| {
            let typing: Vec<Value> = lane
                .messages
                .iter()
                .filter_map(|f| {
                    let (from, until) = (f.typing_from?.to_rfc3339(), f.sends_at.unwrap_or(picture.until));
                    Some(json!({ "from": from, "until": until.to_rfc3339(), "to": f.to, "job": f.job }))
                })
                .collect();
            let sends: Vec<Value> = lane
                .sends()
                .map(|(at, f)| {
                    json!({
                        "at": at.to_rfc3339(), "to": f.to, "job": f.job,
                        "occurrence": f.occurrence.map(Timestamp::to_rfc3339),
                        "due_at": f.due_at.to_rfc3339(), "held_by": f.held_by.map(|h| h.name()),
                    })
                })
                .collect();
            let blocked: Vec<Value> = lane
                .blocked
                .iter()
                .map(|b| json!({ "from": b.from.to_rfc3339(), "until": b.until.to_rfc3339(), "why": b.why }))
                .collect();
            json!({ "name": lane.name, "typing": typing, "sends": sends, "blocked": blocked })
        })
        .collect();
    json!({
        "from": picture.from.to_rfc3339(), "until": picture.until.to_rfc3339(),
        "zone": picture.zone.name, "instances": instances,
    })
}
