//! `campaign export`: who got what, a line each.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::campaign::found;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::ack::Ack;
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::report;
use crate::store::view::{CampaignMessage, Place};
use crate::store::{Opening, SqliteStore};
use crate::table::harmless;

/// Messages read at a time.
const PAGE: u32 = 1_000;

/// The columns before those of the variables.
const COLUMNS: [&str; 11] =
    ["to", "state", "reason", "due_at", "sent_at", "late_ms", "ack", "ack_at", "attempts", "gateway_id", "id"];

#[derive(clap::Args, Debug)]
#[command(
    after_help = "A cell that a spreadsheet would carry out begins with an apostrophe; `import` takes it off again.

Examples:
  onthedot campaign export launch > launch.csv
  onthedot campaign export launch --state failed,skipped --to-file rest.csv
  onthedot campaign export launch@2026-12-01T09:00:00Z --format jsonl | jq -r 'select(.ack == null) | .to'"
)]
pub(super) struct ExportArgs {
    /// The campaign, or its job: then the latest that has come, else the first that is to come
    name: String,
    /// How it is written
    #[arg(long, value_parser = ["csv", "jsonl"], default_value = "csv")]
    format: String,
    /// Messages in any of these states only, parted by commas
    #[arg(long, value_name = "STATE,…")]
    state: Option<String>,
    /// Write it into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
}

pub(super) async fn export(global: &Global, args: &ExportArgs, out: &Out) -> anyhow::Result<Exit> {
    let states = states(args.state.as_deref())?;
    let store = place::open(global, Opening::Reading).await?;
    let written = write(&store, args, &states).await;
    store.close().await;
    let count = written?;
    if let Some(file) = &args.to_file {
        out.note(&format!("{} in {}", counted(count, "message"), file.display()));
    }
    Ok(Exit::Ok)
}

fn states(text: Option<&str>) -> anyhow::Result<Vec<StateName>> {
    let known = StateName::ALL.map(StateName::name).join(", ");
    let wrong = |word: &str| told(Exit::Usage, format!("--state: '{word}' is not a state; known: {known}"));
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty());
    words.map(|word| StateName::from_name(word).ok_or_else(|| wrong(word))).collect()
}

async fn write(store: &SqliteStore, args: &ExportArgs, states: &[StateName]) -> anyhow::Result<u64> {
    let view = found(store, &args.name, clock::now()).await?;
    let sink: Box<dyn Write + Send> = match &args.to_file {
        Some(path) => Box::new(
            std::fs::File::create_new(path)
                .map_err(|e| told(Exit::Failed, format!("--to-file {}: {e}", path.display())))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    let mut lines = match args.format.as_str() {
        "csv" => Lines::csv(sink, store.variables_of_campaign(view.occurrence).await?)?,
        _ => Lines::Json(std::io::BufWriter::new(sink)),
    };
    let (mut after, mut count) = (Place::START, 0);
    loop {
        let page = store.campaign_messages(view.occurrence, states, &after, PAGE).await?;
        for message in &page {
            lines.write(message)?;
            count += 1;
        }
        match page.into_iter().last() {
            Some(last) => after = last.place,
            None => break,
        }
    }
    lines.end()?;
    Ok(count)
}

/// Where messages are written.
enum Lines {
    Csv { writer: Box<csv::Writer<Box<dyn Write + Send>>>, variables: Vec<String> },
    Json(std::io::BufWriter<Box<dyn Write + Send>>),
}

impl Lines {
    fn csv(sink: Box<dyn Write + Send>, variables: Vec<String>) -> anyhow::Result<Lines> {
        let mut writer = csv::Writer::from_writer(sink);
        // A variable that bears the name of a column of ours is told apart.
        let title = |name: &String| match COLUMNS.contains(&name.as_str()) {
            true => format!("vars.{name}"),
            false => harmless(name).into_owned(),
        };
        writer.write_record(COLUMNS.iter().map(|c| (*c).to_owned()).chain(variables.iter().map(title)))?;
        Ok(Lines::Csv { writer: Box::new(writer), variables })
    }

    fn write(&mut self, m: &CampaignMessage) -> anyhow::Result<()> {
        match self {
            Lines::Csv { writer, variables } => {
                let own = columns(m);
                let of = |name: &String| m.vars.get(name).map(String::as_str).unwrap_or_default();
                let cells = own.iter().map(String::as_str).chain(variables.iter().map(of));
                writer.write_record(cells.map(|cell| harmless(cell).into_owned()))?;
            }
            Lines::Json(writer) => {
                let mut line = report::message(&m.message);
                line["vars"] = json!(m.vars);
                writeln!(writer, "{}", Value::to_string(&line))?;
            }
        }
        Ok(())
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Lines::Csv { mut writer, .. } => writer.flush()?,
            Lines::Json(mut writer) => writer.flush()?,
        }
        Ok(())
    }
}

fn columns(m: &CampaignMessage) -> [String; 11] {
    let m = &m.message;
    let instant = |t: Option<Timestamp>| t.map(Timestamp::to_rfc3339).unwrap_or_default();
    [
        m.chat.clone(),
        m.state.name().to_owned(),
        m.reason.clone().unwrap_or_default(),
        m.due_at.to_rfc3339(),
        instant(m.sent_at),
        m.sent_at.map(|t| t.since(m.due_at).0.to_string()).unwrap_or_default(),
        m.ack.map(Ack::name).unwrap_or_default().to_owned(),
        instant(m.ack_at),
        m.attempts.to_string(),
        m.gateway_id.clone().unwrap_or_default(),
        m.id.to_string(),
    ]
}
