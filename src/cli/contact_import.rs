//! `contact import`: contacts of a file, into a list.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::exit::{Exit, told};
use crate::cli::import::{country_of, flaws_json, tell_flaws, write_report};
use crate::cli::out::{Out, counted, safe};
use crate::cli::{Global, place};
use crate::clock;
use crate::contacts::{ContactImport, ImportedContacts, import_contacts};
use crate::gateway::Kind;
use crate::import::ImportError;
use crate::store::Opening;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot contact import customers.csv --list customers --chat phone
  onthedot contact import customers.csv --list customers --country DE --dry-run
  onthedot contact import prices.jsonl

Columns: `to` (or the one --chat names); all others are attributes, among them `zone`, and `tags` parted by commas.
What is known of a contact stays where the file says nothing else. A job writes to a list by `to: { list: customers }`.")]
pub(super) struct ContactImportArgs {
    /// The file: .csv, or .jsonl with an object a line
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The list they join; it is made if it is not there
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// The column that names the chat
    #[arg(long, value_name = "COLUMN", default_value = "to")]
    chat: String,
    /// Where numbers without a country code are dialled: its two letters, such as DE
    #[arg(long, value_name = "COUNTRY")]
    country: Option<String>,
    /// They opted in: written down for jobs with `consent: opt_in`. Who is suppressed stays so
    #[arg(long)]
    opted_in: bool,
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

pub(super) async fn contact_import(global: &Global, args: ContactImportArgs, out: &Out) -> anyhow::Result<Exit> {
    let country = country_of(args.country.as_deref())?;
    if args.list.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(told(Exit::Usage, "--list: a list needs a name"));
    }
    let import = ContactImport {
        file: args.file.clone(),
        chat_column: args.chat.clone(),
        list: args.list.clone(),
        kind: Kind::Wawp,
        country,
        opted_in: args.opted_in,
        allow_partial: args.allow_partial,
        dry_run: args.dry_run,
    };
    let store = place::open(global, Opening::Beside).await?;
    let done = import_contacts(&store, import, clock::now()).await;
    store.close().await;
    let done = match done {
        Ok(done) => done,
        Err(e @ ImportError::File { .. }) => return Err(told(Exit::BadData, e.to_string())),
        Err(ImportError::Store(e)) => return Err(e.into()),
    };
    if let Some(path) = &args.report {
        write_report(path, &args.file, &done.flaws)?;
    }
    tell(&args, &done, out)?;
    Ok(match done.bad {
        0 => Exit::Ok,
        _ if args.allow_partial && done.contacts > 0 => Exit::Partly,
        _ => Exit::BadData,
    })
}

fn tell(args: &ContactImportArgs, done: &ImportedContacts, out: &Out) -> anyhow::Result<()> {
    let file = args.file.display().to_string();
    if out.json {
        return out.document(&json!({
            "file": file, "list": args.list, "stored": done.done, "rows": done.rows, "contacts": done.contacts,
            "merged": done.merged, "added": done.stored.added, "changed": done.stored.changed, "joined": done.joined,
            "opted_in": done.opted_in,
            "bad": done.bad, "errors": flaws_json(&file, &done.flaws), "dry_run": args.dry_run,
        }));
    }
    tell_flaws(&file, &done.flaws, done.bad, out);
    let rows = counted(done.rows, "row");
    let said = match (done.done, args.dry_run && (done.bad == 0 || args.allow_partial)) {
        (true, _) => {
            let joined = match &args.list {
                Some(list) => format!(", {} joined '{}'", done.joined, safe(list)),
                None => String::new(),
            };
            format!(
                "{} stored: {} new, {} changed{joined}",
                counted(done.contacts, "contact"),
                done.stored.added,
                done.stored.changed
            )
        }
        (false, true) => format!("{} would be stored", counted(done.contacts, "contact")),
        (false, false) => "nothing was imported".to_owned(),
    };
    let counts = [(done.merged, "merged"), (done.bad, "bad")];
    let rest: Vec<String> = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
    out.data(&format!("{rows}: {said}{rest}"))
}
