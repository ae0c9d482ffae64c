//! `contact export`: contacts with their attributes, as `contact import` reads them.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::contact::list_named;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted};
use crate::cli::{Global, place};
use crate::store::view::ContactView;
use crate::store::{FoundList, Opening, SqliteStore};
use crate::table::harmless;

/// Contacts read at a time.
const PAGE: u32 = 1_000;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "`contact import` reads it back as it was. A CSV cell that a spreadsheet would carry out begins with \
an apostrophe, which the import takes off again.

Examples:
  onthedot contact export --list customers > customers.csv
  onthedot contact export --format jsonl --to-file contacts.jsonl"
)]
pub(super) struct ContactExportArgs {
    /// Members of this list only
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// How it is written
    #[arg(long, value_parser = ["csv", "jsonl"], default_value = "csv")]
    format: String,
    /// Write it into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
}

pub(super) async fn contact_export(global: &Global, args: &ContactExportArgs, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let written = write(&store, args).await;
    store.close().await;
    let (count, column) = written?;
    if let Some(file) = &args.to_file {
        out.note(&format!("{} in {}", counted(count, "contact"), file.display()));
    }
    if column != "to" {
        out.note(&format!(
            "an attribute is named 'to': the chats stand in '{column}' (`contact import --chat {column}`)"
        ));
    }
    Ok(Exit::Ok)
}

async fn write(store: &SqliteStore, args: &ContactExportArgs) -> anyhow::Result<(u64, String)> {
    let list = match &args.list {
        Some(name) => Some(list_named(store, name).await?),
        None => None,
    };
    let attributes = store.attributes(list).await?;
    let column = free_name(&attributes);
    let mut sink: Box<dyn Write + Send> = match &args.to_file {
        Some(path) => Box::new(
            std::fs::File::create_new(path)
                .map_err(|e| told(Exit::Failed, format!("--to-file {}: {e}", path.display())))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    let count = match args.format.as_str() {
        "csv" => write_csv(store, list, (&column, &attributes), &mut sink).await?,
        _ => write_lines(store, list, &column, &mut sink).await?,
    };
    sink.flush()?;
    Ok((count, column))
}

/// What the column of the chats is called: `to`, unless an attribute is.
fn free_name(attributes: &[String]) -> String {
    let names = ["to".to_owned(), "chat".to_owned()].into_iter().chain((2..).map(|n| format!("chat_{n}")));
    let mut free = names.filter(|name| !attributes.contains(name));
    free.next().unwrap_or_default()
}

async fn write_csv(
    store: &SqliteStore,
    list: Option<FoundList>,
    (column, attributes): (&str, &[String]),
    sink: &mut (dyn Write + Send),
) -> anyhow::Result<u64> {
    // With one column only, an empty line would be no row.
    let mut writer = csv::WriterBuilder::new().from_writer(sink);
    let titles = std::iter::once(column).chain(attributes.iter().map(String::as_str));
    writer.write_record(titles.map(|t| harmless(t).into_owned()))?;
    let mut pages = Pages { store, list, after: String::new(), count: 0 };
    while let Some(page) = pages.next().await? {
        for c in page {
            let of = |name: &String| c.vars.get(name).map(String::as_str).unwrap_or_default();
            let cells = std::iter::once(c.chat.as_str()).chain(attributes.iter().map(of));
            writer.write_record(cells.map(|cell| harmless(cell).into_owned()))?;
        }
    }
    writer.flush()?;
    Ok(pages.count)
}

async fn write_lines(
    store: &SqliteStore,
    list: Option<FoundList>,
    column: &str,
    sink: &mut (dyn Write + Send),
) -> anyhow::Result<u64> {
    let mut writer = std::io::BufWriter::new(sink);
    let mut pages = Pages { store, list, after: String::new(), count: 0 };
    while let Some(page) = pages.next().await? {
        for c in page {
            let chat = (column.to_owned(), json!(c.chat));
            let attributes = c.vars.into_iter().map(|(name, value)| (name, json!(value)));
            let line: Map<String, Value> = std::iter::once(chat).chain(attributes).collect();
            writeln!(writer, "{}", Value::Object(line))?;
        }
    }
    writer.flush()?;
    Ok(pages.count)
}

/// Contacts, page by page.
struct Pages<'s> {
    store: &'s SqliteStore,
    list: Option<FoundList>,
    after: String,
    count: u64,
}

impl Pages<'_> {
    async fn next(&mut self) -> anyhow::Result<Option<Vec<ContactView>>> {
        let page = self.store.contacts(self.list, &self.after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after.clone_from(&last.chat);
        self.count += u64::try_from(page.len()).unwrap_or(0);
        Ok(Some(page))
    }
}
