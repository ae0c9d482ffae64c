//! `campaign preview`: what recipients of a campaign will read, and one of it sent to oneself.

use serde_json::{Value, json};

use crate::cli::campaign::found;
use crate::cli::contact::chat_of;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, safe};
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::id::MessageId;
use crate::domain::recipient::Chat;
use crate::rendering::Renderer;
use crate::resend::send_copy;
use crate::store::view::{CampaignMessage, CampaignView, Place};
use crate::store::{Opening, SqliteStore};

/// Messages of one recipient at most: more than a sequence holds.
const OF_ONE: u32 = 100;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot campaign preview launch
  onthedot campaign preview launch --chat 491701234567
  onthedot campaign preview launch --chat 491701234567 --send-to 491709999999")]
pub(super) struct PreviewArgs {
    /// The campaign, or its job: then the latest that has come, else the first that is to come
    name: String,
    /// What this recipient will read
    #[arg(long, value_name = "CHAT")]
    chat: Option<String>,
    /// What so many recipients will read, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Send the first of what is shown to this chat, now; it counts in no campaign
    #[arg(long, value_name = "CHAT")]
    send_to: Option<String>,
    /// With --send-to: send nothing
    #[arg(long)]
    dry_run: bool,
}

/// What one message says, or why it says nothing.
struct Preview {
    message: CampaignMessage,
    said: Result<Value, String>,
}

pub(super) async fn campaign_preview(global: &Global, args: &PreviewArgs, out: &Out) -> anyhow::Result<Exit> {
    let chat = args.chat.as_deref().map(chat_of).transpose()?;
    let to = args.send_to.as_deref().map(chat_of).transpose()?;
    let sends = to.as_ref().filter(|_| !args.dry_run);
    let opening = if sends.is_some() { Opening::Beside } else { Opening::Reading };
    let store = place::open(global, opening).await?;
    let done = async {
        let view = found(&store, &args.name, clock::now()).await?;
        let previews = previews(&store, &view, chat.as_ref(), args.limit).await?;
        let sent = match (sends, previews.first()) {
            (Some(to), Some(first)) => send_copy(&store, &view, first.message.clone(), to).await?,
            _ => None,
        };
        Ok::<_, anyhow::Error>((view, previews, sent))
    };
    let done = done.await;
    store.close().await;
    let (view, previews, sent) = done?;
    let name = view.name.to_string();
    if previews.is_empty() {
        let whom = chat.map_or(String::new(), |c| format!(" for {c}"));
        return Err(told(Exit::NotFound, format!("'{name}' has no message{whom}")));
    }
    if out.json {
        let all: Vec<Value> = previews.iter().map(json_of).collect();
        out.document(&json!({
            "campaign": name, "previews": all, "sent": sent.map(|id| id.to_string()), "dry_run": args.dry_run,
        }))?;
    } else {
        for preview in &previews {
            out.data(&words(preview))?;
        }
        if let (Some(id), Some(to)) = (sent, &to) {
            out.note(&format!("the first of them goes to {to} as {id}"));
        }
    }
    Ok(if previews.iter().any(|p| p.said.is_err()) { Exit::Partly } else { Exit::Ok })
}

async fn previews(
    store: &SqliteStore,
    view: &CampaignView,
    chat: Option<&Chat>,
    limit: u32,
) -> anyhow::Result<Vec<Preview>> {
    let (after, limit) = match chat {
        Some(chat) => (Place { chat: chat.as_str().to_owned(), step: i64::MIN }, OF_ONE),
        None => (Place::START, limit),
    };
    let mut messages = store.campaign_messages(view.occurrence, &[], &after, limit).await?;
    messages.retain(|m| chat.is_none_or(|chat| m.message.chat == chat.as_str()));
    let mut renderer = Renderer::default();
    let mut previews = Vec::with_capacity(messages.len());
    for message in messages {
        let Some(seen) = store.claimed(message.message.id, clock::now()).await? else { continue };
        let said = renderer.render(&seen.claimed, message.message.due_at);
        let said = said.map(|r| json!(r.content)).map_err(|(reason, why)| format!("{}: {why}", reason.name()));
        previews.push(Preview { message, said });
    }
    Ok(previews)
}

fn json_of(p: &Preview) -> Value {
    let id: MessageId = p.message.message.id;
    json!({
        "id": id.to_string(), "to": p.message.message.chat, "content": p.said.as_ref().ok(), "error": p.said.as_ref().err(),
    })
}

fn words(p: &Preview) -> String {
    let said = match &p.said {
        Ok(content) => content["text"].as_str().map_or_else(|| content.to_string(), str::to_owned),
        Err(why) => format!("says nothing: {why}"),
    };
    let lines: Vec<String> = said.lines().map(|line| format!("  {}", safe(line))).collect();
    format!("{}\n{}", safe(&p.message.message.chat), lines.join("\n"))
}
