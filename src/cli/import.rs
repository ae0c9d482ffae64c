//! `import`: many messages from a file, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::cli::content_args::ContentArgs;
use crate::cli::exit::{Exit, told};
use crate::cli::filter::instant;
use crate::cli::out::{Out, counted, safe};
use crate::cli::send::known;
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::content::Content;
use crate::domain::country::Country;
use crate::domain::job::DEFAULT_MAX_LATENESS;
use crate::domain::time::{Timestamp, parse_duration};
use crate::import::{self, Import, ImportError, Imported};
use crate::store::{Opening, SqliteStore, Store, StoredContent};
use crate::table::{Flaw, Table, harmless};

/// Flaws shown on a terminal, and in the JSON document.
const SHOWN: usize = 20;
const SHOWN_JSON: usize = 1_000;

/// Import messages from a CSV or JSON lines file: all of them or none
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot import guests.csv --job launch --chat phone
  onthedot import orders.jsonl --job shipped --text \"Hi {{ name }}, order {{ order }} is on its way.\"
  onthedot import guests.csv --job launch --dry-run --report bad-rows.csv

Columns: `to` (or the one --chat names), and where present `at`, `in`, `zone`, `key`, `class`; all others are
variables of the text. The job says what is sent and through which instance; a job that does not exist yet needs a
content here. A row that says the same as an earlier one, chat and instant, is merged with it.")]
pub(super) struct ImportArgs {
    /// The file: .csv, or .jsonl with an object a line
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The job whose content is sent, or the name of a new one
    #[arg(long, value_name = "NAME")]
    job: String,
    /// The column that names the chat
    #[arg(long, value_name = "COLUMN", default_value = "to")]
    chat: String,
    /// Where numbers without a country code are dialled: its two letters, such as DE
    #[arg(long, value_name = "COUNTRY")]
    country: Option<String>,
    #[command(flatten)]
    content: ContentArgs,
    /// Through which instance, for a new job [default: that of the jobs file]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// When rows without `at` and `in` are due
    #[arg(long, value_name = "INSTANT", conflicts_with = "in_")]
    at: Option<String>,
    /// The same, after a while
    #[arg(long = "in", value_name = "SPAN", id = "in_", allow_hyphen_values = true)]
    in_: Option<String>,
    /// Import the good rows although some are bad: exit 4
    #[arg(long)]
    allow_partial: bool,
    /// Where every bad row is written, as CSV: its line, its cell, what is wrong, and the row itself
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Check every row, store nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn import(global: &Global, args: ImportArgs, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let done = run(global, &args, &store).await;
    store.close().await;
    let done = match done {
        Ok(done) => done,
        Err(e) => {
            return Err(match e.downcast::<ImportError>() {
                Ok(e @ ImportError::File { .. }) => told(Exit::BadData, e.to_string()),
                Ok(ImportError::Store(e)) => e.into(),
                Err(e) => e,
            });
        }
    };
    if let Some(path) = &args.report {
        write_report(path, &args.file, &done.flaws)?;
    }
    tell(&args, &done, out)?;
    Ok(match done.bad {
        0 => Exit::Ok,
        _ if args.allow_partial && done.imported > 0 => Exit::Partly,
        _ => Exit::BadData,
    })
}

async fn run(global: &Global, args: &ImportArgs, store: &SqliteStore) -> anyhow::Result<Imported> {
    let now = clock::now();
    let (kinds, defaults) = known(global, store, now).await?;
    let zone = clock::zone(&defaults.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let at = match (&args.at, &args.in_) {
        (Some(at), _) => Some(instant("--at", at, &zone)?),
        (None, Some(span)) => Some(now + parse_duration(span).map_err(|e| told(Exit::Usage, format!("--in: {e}")))?),
        (None, None) => None,
    };
    let stored = store.job(&args.job).await?;
    let name = match &stored {
        Some(job) => job.job.instance.to_string(),
        None => args
            .instance
            .clone()
            .or(defaults.instance.as_ref().map(ToString::to_string))
            .ok_or_else(|| told(Exit::Usage, "there are several instances: say which with --instance"))?,
    };
    let Some((instance, kind)) = kinds.into_iter().find(|(n, _)| *n.0 == *name) else {
        return Err(told(Exit::NotFound, format!("there is no instance '{name}'")));
    };
    let given: Option<Content> = args.content.read(kind)?;
    let like = stored.as_ref().map(|s| s.job.clone());
    let contents = match (stored, given) {
        (Some(_), Some(_)) => {
            let job = &args.job;
            return Err(told(
                Exit::Usage,
                format!("the job '{job}' says what is sent; give another --job for a new text"),
            ));
        }
        (Some(job), None) => {
            let mut contents = Vec::new();
            for id in job.contents {
                contents.push(store.content(id).await?);
            }
            contents
        }
        (None, Some(content)) => {
            let max_lateness = defaults.manner.max_lateness.unwrap_or(DEFAULT_MAX_LATENESS);
            let (manner, zone) = (defaults.manner, defaults.zone);
            let id = match args.dry_run {
                true => 0,
                false => store.store_content(content.clone(), manner.clone(), zone.clone(), max_lateness).await?,
            };
            vec![Arc::new(StoredContent { id, content, manner, zone, max_lateness })]
        }
        (None, None) => {
            let names = store.job_names().await?;
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = crate::config::read::suggest(&args.job, &known);
            let job = &args.job;
            return Err(told(Exit::NotFound, format!("there is no job '{job}' ({near}); for a new one say --text …")));
        }
    };
    let import = Import {
        file: args.file.clone(),
        chat_column: args.chat.clone(),
        job: args.job.clone(),
        instance,
        kind,
        contents,
        like,
        at,
        country: country_of(args.country.as_deref())?,
        allow_partial: args.allow_partial,
        dry_run: args.dry_run,
    };
    Ok(import::import(store, import, now).await?)
}

/// A country by its two letters.
pub(super) fn country_of(code: Option<&str>) -> anyhow::Result<Option<Country>> {
    let read = code.map(Country::from_code).transpose();
    read.map_err(|e| told(Exit::Usage, format!("--country: {e}")))
}

/// Writes what is wrong with rows, each beside the row as it stands in `of`.
pub(super) fn write_report(path: &Path, of: &Path, flaws: &[Flaw]) -> anyhow::Result<()> {
    let unwritable =
        |e: std::io::Error| told(Exit::Failed, format!("the report {} cannot be written: {e}", path.display()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(unwritable)?);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let lines: BTreeSet<u64> = flaws.iter().map(|f| f.line).filter(|line| *line > 0).collect();
    let mut rows = BTreeMap::new();
    // Where the file is gone by now, the report still says what was wrong.
    let read = Table::open(of).and_then(|table| table.as_they_stand(&lines, |line, row| drop(rows.insert(line, row))));
    if let Err(e) = read {
        tracing::warn!(error = %e, "the report lacks the rows themselves");
    }
    writeln!(file, "line,column,message,row").map_err(unwritable)?;
    for f in flaws {
        let row = rows.get(&f.line).map_or("", String::as_str);
        writeln!(file, "{},{},{},{}", f.line, f.column, quoted(&f.message), quoted(&harmless(row)))
            .map_err(unwritable)?;
    }
    file.flush().map_err(unwritable)
}

fn tell(args: &ImportArgs, done: &Imported, out: &Out) -> anyhow::Result<()> {
    let file = args.file.display().to_string();
    let refused = done.bad > 0 && !args.allow_partial;
    let imported = if done.stored || (args.dry_run && !refused) { done.imported } else { 0 };
    if out.json {
        let flaws = flaws_json(&file, &done.flaws);
        return out.document(&json!({
            "job": args.job, "stored": done.stored, "occurrence": done.nominal.map(Timestamp::to_rfc3339),
            "rows": done.rows, "imported": imported, "merged": done.merged,
            "known": done.known, "expired": done.expired, "bad": done.bad, "errors": flaws,
        }));
    }
    tell_flaws(&file, &done.flaws, done.bad, out);
    let mut said = Vec::new();
    let counts = [(done.merged, "merged"), (done.known, "known before"), (done.expired, "too late"), (done.bad, "bad")];
    for (n, word) in counts.into_iter().filter(|(n, _)| *n > 0) {
        said.push(format!("{n} {word}"));
    }
    let rest = if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) };
    let verb = match (done.stored, args.dry_run) {
        (true, _) => format!("{} imported", counted(done.imported, "message")),
        (false, true) => format!("{} would be imported", counted(imported, "message")),
        (false, false) => "nothing was imported".to_owned(),
    };
    out.data(&format!("{}: {verb}{rest}", counted(done.rows, "row")))
}

/// What is wrong with rows, as the JSON document has it: the first thousand.
pub(super) fn flaws_json(file: &str, flaws: &[Flaw]) -> Vec<serde_json::Value> {
    let one = |f: &Flaw| {
        let (line, column) = ((f.line > 0).then_some(f.line), (f.column > 0).then_some(f.column));
        json!({ "file": file, "line": line, "column": column, "message": f.message, "hint": f.hint })
    };
    flaws.iter().take(SHOWN_JSON).map(one).collect()
}

/// Says what is wrong with rows: the first twenty, and how many more there are.
pub(super) fn tell_flaws(file: &str, flaws: &[Flaw], bad: u64, out: &Out) {
    for f in flaws.iter().take(SHOWN) {
        let place = match (f.line, f.column) {
            (0, _) => String::new(),
            (line, 0) => format!(":{line}"),
            (line, column) => format!(":{line}:{column}"),
        };
        let hint = f.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        out.note(&format!("error: {}{place}: {}{hint}", safe(file), safe(&f.message)));
    }
    let shown = u64::try_from(flaws.len().min(SHOWN)).unwrap_or(0);
    if bad > shown {
        out.note(&format!("error: and {}; --report FILE lists them", counted(bad - shown, "more bad row")));
    }
}
