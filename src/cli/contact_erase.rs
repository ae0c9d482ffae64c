//! `contact erase`: a person is forgotten; that something was sent is not.

use serde_json::{Value, json};

use crate::cli::contact::chat_of;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::recipient::Chat;
use crate::erasure::{self, Erasure};
use crate::store::{Opening, SqliteStore};

#[derive(clap::Args, Debug)]
#[command(
    after_help = "What waits for them is cancelled. What was sent to them keeps its state and its instants, so that \
every campaign still adds up, and names nobody: no chat, no variables, no words of the gateway. A contact, its \
attributes and its lists are deleted, and so are the words of what was written to them alone. An opt-out stays, \
without its words.

It does not reach jobs files and their CSV files, earlier backups, or the gateway. What was deleted may stand in \
unused parts of the database file until they are written over; a backup made from now on does not have it."
)]
pub(super) struct EraseArgs {
    /// The chats, or their numbers
    #[arg(value_name = "CHAT", required = true)]
    chats: Vec<String>,
    /// Say what would be forgotten
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn contact_erase(global: &Global, args: &EraseArgs, out: &Out) -> anyhow::Result<Exit> {
    let chats: Vec<Chat> = args.chats.iter().map(|c| chat_of(c)).collect::<Result<_, _>>()?;
    let store = place::open(global, Opening::Beside).await?;
    let mut told = Vec::new();
    let mut exit = Ok(Exit::Ok);
    for chat in &chats {
        match erase(&store, chat, args.dry_run).await {
            Ok(done) => told.push(done),
            Err(e) => {
                exit = Err(e);
                break;
            }
        }
    }
    store.close().await;
    if out.json {
        out.document(&json!({ "erased": told, "dry_run": args.dry_run }))?;
    } else {
        let would = if args.dry_run { "would be " } else { "" };
        for done in &told {
            out.data(&words(done, would))?;
        }
    }
    exit
}

fn words(done: &Value, would: &str) -> String {
    let number = |name: &str| done[name].as_u64().unwrap_or(0);
    let mut parts = Vec::new();
    if done["contact"] == true {
        parts.push(format!("the contact, in {},", counted(number("lists"), "list")));
    }
    parts.push(format!("{} to them", counted(number("messages"), "message")));
    let kept = if done["suppressed"] == true { "; their opt-out is kept" } else { "" };
    let cancelled = match number("cancelled") {
        0 => String::new(),
        n => format!(", {} of them cancelled first", counted(n, "message")),
    };
    format!("{}: {} {would}forgotten{cancelled}{kept}", safe(done["chat"].as_str().unwrap_or("")), parts.join(" and "))
}

async fn erase(store: &SqliteStore, chat: &Chat, dry_run: bool) -> anyhow::Result<Value> {
    let (erased, cancelled) = if dry_run {
        let traces = store.traces(chat).await?;
        if traces.open > 0 {
            return Err(on_the_way(chat, traces.open));
        }
        (store.would_erase(chat, traces.messages.len()).await?, traces.waiting)
    } else {
        match erasure::erase(store, chat, clock::now).await? {
            Erasure::Done { erased, cancelled } => (erased, u64::try_from(cancelled.len()).unwrap_or(u64::MAX)),
            Erasure::Open { messages, .. } => return Err(on_the_way(chat, messages)),
        }
    };
    Ok(json!({
        "chat": chat.as_str(), "contact": erased.contact, "lists": erased.lists, "messages": erased.messages,
        "cancelled": cancelled, "suppressed": erased.suppressed,
    }))
}

fn on_the_way(chat: &Chat, messages: u64) -> anyhow::Error {
    let what = counted(messages, "message");
    told(
        Exit::Refused,
        format!(
            "{chat}: {what} to them on the way, in doubt or being recalled: what became of it is found by their chat. \
             Settle it first (`onthedot doubt list`), or let the recall end, then run this again"
        ),
    )
}
