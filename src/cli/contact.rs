//! `contact`: what is known of somebody, who is not to be written to, and what was said about it.

use serde_json::{Value, json};

use crate::cli::contact_erase::{EraseArgs, contact_erase};
use crate::cli::contact_export::{ContactExportArgs, contact_export};
use crate::cli::contact_import::{ContactImportArgs, contact_import};
use crate::cli::contact_leave::{ContactLeaveArgs, contact_leave};
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe, table};
use crate::cli::{Global, place};
use crate::clock;
use crate::config::read::suggest;
use crate::domain::consent::{Consent, ConsentSource};
use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;
use crate::gateway::Kind;
use crate::store::view::{ConsentView, ContactView, MessageFilter, SuppressionView};
use crate::store::{ConsentNews, FoundList, Opening, SqliteStore};

/// Messages shown of a contact, the latest.
const SHOWN: u32 = 10;

#[derive(clap::Subcommand, Debug)]
pub(super) enum ContactCommand {
    /// Import contacts from a CSV or JSON lines file: all of them or none
    Import(ContactImportArgs),
    /// List contacts by chat, or who is suppressed
    List {
        /// Members of this list only
        #[arg(long, value_name = "NAME", conflicts_with = "suppressed")]
        list: Option<String>,
        /// Who is not written to, also such as are no contacts
        #[arg(long)]
        suppressed: bool,
        /// At most so many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Continue where an earlier list ended
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Write contacts with their attributes, as CSV or JSON lines, as `contact import` reads them
    Export(ContactExportArgs),
    /// Take these out of a list
    Leave(ContactLeaveArgs),
    /// Forget these: what names them is deleted, and that something was sent is kept without their names
    Erase(EraseArgs),
    /// Show one contact: whether they may be written to, what was said about it, and their latest messages
    Show {
        /// The chat, or its number
        chat: String,
    },
    /// Write to these no more: what waits for them is skipped, what is being typed to them is taken back
    Suppress {
        /// The chats, or their numbers
        #[arg(value_name = "CHAT", required = true)]
        chats: Vec<String>,
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Say who would be suppressed
        #[arg(long)]
        dry_run: bool,
    },
    /// Write to these again; what was skipped meanwhile stays so
    Unsuppress {
        /// The chats, or their numbers
        #[arg(value_name = "CHAT", required = true)]
        chats: Vec<String>,
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Say who would be written to again
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn contact(global: &Global, command: ContactCommand, out: &Out) -> anyhow::Result<Exit> {
    match command {
        ContactCommand::Import(args) => contact_import(global, args, out).await,
        ContactCommand::Export(args) => contact_export(global, &args, out).await,
        ContactCommand::Leave(args) => contact_leave(global, &args, out).await,
        ContactCommand::Erase(args) => contact_erase(global, &args, out).await,
        ContactCommand::List { suppressed: true, limit, cursor, .. } => {
            suppressed(global, limit, cursor.as_deref().unwrap_or(""), out).await
        }
        ContactCommand::List { list: name, limit, cursor, .. } => {
            list(global, name.as_deref(), (limit, cursor.as_deref().unwrap_or("")), out).await
        }
        ContactCommand::Show { chat } => show(global, &chat, out).await,
        ContactCommand::Suppress { chats, note, dry_run } => {
            record(global, Consent::Out, &chats, note, dry_run, out).await
        }
        ContactCommand::Unsuppress { chats, note, dry_run } => {
            record(global, Consent::In, &chats, note, dry_run, out).await
        }
    }
}

async fn list(global: &Global, name: Option<&str>, (limit, after): (u32, &str), out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let list = match name {
        None => None,
        Some(name) => Some(list_named(&store, name).await?),
    };
    let mut found = store.contacts(list, after, limit + 1).await?;
    let lists = store.lists().await?;
    store.close().await;
    let next = page(&mut found, limit, |c| c.chat.clone());
    if out.json {
        let all: Vec<Value> = found.iter().map(contact_json).collect();
        let lists: Vec<Value> = lists.iter().map(|l| json!({ "name": l.name, "members": l.members })).collect();
        out.document(&json!({ "contacts": all, "lists": lists, "next": next }))?;
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        out.note("no contacts: `onthedot contact import FILE --list NAME` brings some");
        return Ok(Exit::Ok);
    }
    let row = |c: &ContactView| {
        let known: Vec<String> = c.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let state = if c.suppressed { "suppressed" } else { "" };
        vec![safe(&c.chat), safe(&c.lists.join(", ")), state.to_owned(), safe(&known.join("  "))]
    };
    out.data(&table(&["chat", "lists", "state", "attributes"], found.iter().map(row).collect()))?;
    if let Some(next) = next {
        out.note(&format!("more: --cursor {next}"));
    }
    Ok(Exit::Ok)
}

/// A list by its name, or an error with the nearest one.
pub(super) async fn list_named(store: &SqliteStore, name: &str) -> anyhow::Result<FoundList> {
    if let Some(list) = store.find_list(name).await? {
        return Ok(list);
    }
    let known = store.lists().await?;
    let names: Vec<&str> = known.iter().map(|l| l.name.as_str()).collect();
    let near = if names.is_empty() { "there is none".to_owned() } else { suggest(name, &names) };
    Err(told(Exit::NotFound, format!("there is no list '{name}' ({near})")))
}

/// Cuts what was found, one more than is shown, to what is shown. Answers the last of it, where there is more.
fn page<T>(found: &mut Vec<T>, limit: u32, chat: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more).map(chat)
}

fn contact_json(c: &ContactView) -> Value {
    json!({
        "chat": c.chat, "attributes": c.vars, "lists": c.lists, "suppressed": c.suppressed, "opted_in": c.opted_in,
        "added_at": c.added_at.to_rfc3339(), "changed_at": c.changed_at.to_rfc3339(),
    })
}

async fn suppressed(global: &Global, limit: u32, after: &str, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let zone = place::zone(&store).await?;
    let mut found = store.suppressions(after, limit + 1).await?;
    store.close().await;
    let next = page(&mut found, limit, |s| s.chat.clone());
    if out.json {
        let all: Vec<Value> = found.iter().map(suppression).collect();
        out.document(&json!({ "suppressed": all, "next": next }))?;
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        out.note("nobody is suppressed");
        return Ok(Exit::Ok);
    }
    let row = |s: &SuppressionView| {
        let note = safe(s.note.as_deref().unwrap_or(""));
        vec![safe(&s.chat), zone.show(s.since), s.source.name().to_owned(), note]
    };
    out.data(&table(&["chat", &format!("since ({})", zone.name), "by", "note"], found.iter().map(row).collect()))?;
    if let Some(next) = next {
        out.note(&format!("more: --cursor {next}"));
    }
    Ok(Exit::Ok)
}

async fn show(global: &Global, chat: &str, out: &Out) -> anyhow::Result<Exit> {
    let chat = chat_of(chat)?;
    let store = place::open(global, Opening::Reading).await?;
    let zone = place::zone(&store).await?;
    let suppressed = store.suppression(chat.as_str()).await?;
    let said = store.consents(chat.as_str()).await?;
    let known = store.contact(chat.as_str()).await?;
    let filter = MessageFilter { chat: Some(chat.as_str().to_owned()), limit: SHOWN, ..MessageFilter::default() };
    let (messages, _) = store.list(&filter).await?;
    store.close().await;
    if suppressed.is_none() && known.is_none() && said.is_empty() && messages.is_empty() {
        return Err(told(Exit::NotFound, format!("nothing is known of {chat}: no message, and nothing was said")));
    }
    if out.json {
        out.document(&json!({
            "chat": chat.as_str(),
            "suppressed": suppressed.as_ref().map(suppression),
            "contact": known.as_ref().map(contact_json),
            "consents": said.iter().map(consent).collect::<Vec<_>>(),
            "messages": messages.iter().map(crate::report::message).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    let may = match &suppressed {
        Some(s) => format!("suppressed since {}", zone.show_exactly(s.since)),
        None => "may be written to".to_owned(),
    };
    let mut lines = vec![format!("contact    {}", safe(chat.as_str())), format!("state      {may}")];
    if let Some(known) = &known {
        lines.push(format!("lists      {}", safe(&known.lists.join(", "))));
        lines.extend(known.vars.iter().map(|(name, value)| format!("{:<10} {}", safe(name), safe(value))));
    }
    lines.extend(said.iter().map(|c| {
        let note = safe(c.note.as_deref().unwrap_or(""));
        let at = zone.show_exactly(c.said_at.unwrap_or(c.at));
        let overruled = if c.overruled { "(changes nothing: another word counts)  " } else { "" };
        format!("opted {:<4} {at}  by {}  {overruled}{note}", c.verdict.name(), c.source.name())
    }));
    out.data(&lines.join("\n"))?;
    if !messages.is_empty() {
        out.data(&format!("\n{}", crate::cli::list::rows(&messages, &zone)))?;
    }
    Ok(Exit::Ok)
}

async fn record(
    global: &Global,
    verdict: Consent,
    chats: &[String],
    note: Option<String>,
    dry_run: bool,
    out: &Out,
) -> anyhow::Result<Exit> {
    let chats: Vec<Chat> = chats.iter().map(|c| chat_of(c)).collect::<Result<_, _>>()?;
    let store = place::open(global, Opening::Beside).await?;
    let (mut changes, mut changed, at) = (Vec::new(), Vec::new(), clock::now());
    for chat in &chats {
        let by = store.suppression(chat.as_str()).await?.map(|s| s.source);
        let is_new = match verdict {
            // What the recipient said a person may say, too: then their opt-in does not lift it.
            Consent::Out => by.is_none_or(|by| by == ConsentSource::Keyword),
            Consent::In => by.is_some(),
        };
        if is_new {
            changed.push(chat.as_str().to_owned());
        }
        // That somebody may be written to is a word also where nobody said otherwise: an older opt-out may be told later.
        if is_new || verdict == Consent::In {
            changes.push(ConsentNews::by_person(chat.clone(), verdict, note.clone(), at));
        }
    }
    let done = if dry_run { Ok(0) } else { store.record_consents(changes).await };
    store.close().await;
    done?;
    if out.json {
        let was: Vec<&str> = chats.iter().map(Chat::as_str).filter(|c| !changed.iter().any(|done| done == c)).collect();
        out.document(&json!({ "verdict": verdict.name(), "changed": changed, "unchanged": was, "dry_run": dry_run }))?;
        return Ok(Exit::Ok);
    }
    let would = match (dry_run, changed.len()) {
        (true, _) => "would be",
        (false, 1) => "is",
        (false, _) => "are",
    };
    let what = match verdict {
        Consent::Out => "suppressed: nothing is sent to them",
        Consent::In => "no longer suppressed",
    };
    out.data(&format!("{} {would} {what}", counted(changed.len(), "contact")))?;
    if changed.len() < chats.len() {
        out.note(&format!("{} before already", counted(chats.len() - changed.len(), "contact")));
    }
    Ok(Exit::Ok)
}

pub(super) fn chat_of(text: &str) -> anyhow::Result<Chat> {
    Kind::Wawp.parse_recipient(text).map_err(|e| told(Exit::Usage, format!("{e}")))
}

fn suppression(s: &SuppressionView) -> Value {
    json!({ "chat": s.chat, "since": s.since.to_rfc3339(), "source": s.source.name(), "note": s.note })
}

fn consent(c: &ConsentView) -> Value {
    json!({
        "at": c.at.to_rfc3339(), "said_at": c.said_at.map(Timestamp::to_rfc3339), "verdict": c.verdict.name(),
        "source": c.source.name(), "note": c.note, "overruled": c.overruled,
    })
}
