//! `send`: one message.

use serde_json::json;

use crate::cli::content_args::ContentArgs;
use crate::cli::exit::{Exit, told};
use crate::cli::filter::instant;
use crate::cli::out::{Out, safe};
use crate::cli::{Global, place};
use crate::clock;
use crate::config;
use crate::domain::class::Class;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::job::DEFAULT_MAX_LATENESS;
use crate::domain::state::StateName;
use crate::domain::template::{Moments, Vars};
use crate::domain::time::{Millis, Timestamp, parse_duration};
use crate::domain::typing::{LONGEST_LEAD, Typing};
use crate::gateway::Kind;
use crate::intake::{self, Defaults, IdMaker, SingleMessage};
use crate::store::{Opening, SqliteStore};

/// How often a waiting `send` looks.
const LOOK_EVERY: Millis = Millis(100);

/// How long `--wait` waits after the message is due, unless it says otherwise.
const DEFAULT_WAIT: &str = "60s";

/// Send one message, now or later; prints its id
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot send --to \"+49 170 1234567\" --text \"Hi\"
  onthedot send --to 120363025246125486@g.us --text \"Lunch?\" --at 2026-12-01T12:00
  onthedot send --to 201234567890 --image https://example.com/menu.png --caption \"Today\" --in 10m
  onthedot send --to 201234567890 --poll \"Lunch?\" --option Yes --option No
  onthedot send --to 201234567890 --text \"Once only\" --key order-4711 --wait")]
pub(super) struct SendArgs {
    /// The chat: a number with country code, or an address such as 120363025246125486@g.us
    #[arg(long, value_name = "CHAT")]
    to: String,
    #[command(flatten)]
    content: ContentArgs,
    /// Through which instance [default: that of the jobs file]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// When: 2026-12-01T10:00 in the file's zone, or with an offset
    #[arg(long, value_name = "INSTANT", conflicts_with = "in_")]
    at: Option<String>,
    /// After a while, such as 10m
    #[arg(long = "in", value_name = "SPAN", id = "in_", allow_hyphen_values = true)]
    in_: Option<String>,
    /// How long typing is shown before it, such as 2.5s; 0s for none
    #[arg(long, value_name = "SPAN")]
    lead: Option<String>,
    /// How pressing it is
    #[arg(long, value_name = "CLASS", value_parser = Class::ALL.map(Class::name))]
    class: Option<String>,
    /// Make it at most once under this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Wait until it is sent or settled, at most this long after it is due
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_WAIT)]
    wait: Option<String>,
    /// Check everything, store nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn send(global: &Global, args: SendArgs, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Beside).await?;
    let sent = send_to(global, &args, out, &store).await;
    store.close().await;
    sent
}

async fn send_to(global: &Global, args: &SendArgs, out: &Out, store: &SqliteStore) -> anyhow::Result<Exit> {
    let now = clock::now();
    let wait = args.wait.as_deref().map(|w| span("--wait", w)).transpose()?;
    let (kinds, defaults) = known(global, store, now).await?;
    let name = args.instance.as_deref().or(defaults.instance.as_ref().map(|i| &*i.0));
    let Some(name) = name else {
        return Err(told(Exit::Usage, "there are several instances: say which with --instance"));
    };
    let Some((instance, kind)) = kinds.iter().find(|(n, _)| *n.0 == *name) else {
        let names: Vec<&str> = kinds.iter().map(|(n, _)| &*n.0).collect();
        return Err(told(Exit::NotFound, format!("there is no instance '{name}'; known: {}", names.join(", "))));
    };
    let message = message(args, instance.clone(), *kind, defaults, now)?;
    let due = message.at;
    if store.suppression(message.chat.as_str()).await?.is_some() {
        let chat = safe(message.chat.as_str());
        out.note(&format!(
            "{chat} is suppressed: it is skipped when its time comes; `onthedot contact show {chat}` tells why"
        ));
    }
    if args.dry_run {
        if out.json {
            let due = due.map(Timestamp::to_rfc3339);
            out.document(&json!({ "id": null, "created": false, "dry_run": true, "to": message.chat, "instance": instance, "due_at": due }))?;
            return Ok(Exit::Ok);
        }
        let when = due.map_or_else(|| "as soon as its typing was seen".to_owned(), Timestamp::to_rfc3339);
        out.data(&format!("would send to {} through {instance}, {when}", message.chat))?;
        return Ok(Exit::Ok);
    }
    let (id, created) = intake::send_one(store, &IdMaker::default(), message, now).await?;
    if !created {
        out.note("its key was taken by the message below before; nothing new was made");
    }
    let exit = match wait {
        Some(limit) => wait_for(store, id, limit, out).await?,
        None => Exit::Ok,
    };
    if out.json {
        out.document(&json!({ "id": id.to_string(), "created": created }))?;
    } else {
        out.data(&id.to_string())?;
    }
    Ok(exit)
}

/// The instances and defaults a command works with: of the file it names, else of the latest applied one.
pub(super) async fn known(
    global: &Global,
    store: &SqliteStore,
    now: Timestamp,
) -> anyhow::Result<(Vec<(InstanceName, Kind)>, Defaults)> {
    if let Some(path) = &global.config {
        let settings = config::load(path, true, place::lists(global).as_deref(), now)?;
        let rows = settings.instances.iter().map(config::InstanceSettings::row).collect();
        store.store_instances(rows, now).await?;
        let defaults = intake::defaults(&settings);
        return Ok((settings.instances.iter().map(|i| (i.name.clone(), i.kind)).collect(), defaults));
    }
    let kinds: Vec<(InstanceName, Kind)> =
        store.instances().await?.into_iter().filter_map(|r| Some((r.name, Kind::from_name(&r.gateway)?))).collect();
    let stored = intake::stored_defaults(store).await?;
    match stored {
        Some(defaults) if !kinds.is_empty() => Ok((kinds, defaults)),
        _ => Err(told(
            Exit::Config,
            "this database knows no instance yet; run `onthedot run JOBS.yaml` once, or give --config JOBS.yaml",
        )),
    }
}

fn message(
    args: &SendArgs,
    instance: InstanceName,
    kind: Kind,
    defaults: Defaults,
    now: Timestamp,
) -> anyhow::Result<SingleMessage> {
    let chat = kind.parse_recipient(&args.to).map_err(|e| told(Exit::Usage, format!("--to: {e}")))?;
    let zone = clock::zone(&defaults.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let Some(content) = args.content.read(kind)? else {
        return Err(told(Exit::Usage, "what shall be sent? --text \"Hi\", --image URL, … (see --help)"));
    };
    let moments = Moments { nominal: None, ..Moments::trial(now, zone.clone()) };
    content
        .compile()
        .map_err(|e| e.to_string())
        .and_then(|c| c.render(&Vars::new(), &moments).map_err(|e| e.to_string()))
        .and_then(|rendered| kind.check_content(&rendered))
        .map_err(|e| told(Exit::Usage, format!("the content: {e}")))?;
    let mut manner = defaults.manner;
    if let Some(lead) = &args.lead {
        let lead = span("--lead", lead)?;
        if lead > LONGEST_LEAD {
            return Err(told(Exit::Usage, format!("--lead is {lead}; at most {LONGEST_LEAD}")));
        }
        manner.typing = if lead == Millis::ZERO { Typing::Off } else { Typing::Lead(lead) };
    }
    if let Some(class) = args.class.as_deref().and_then(Class::from_name) {
        manner.class = class;
    }
    let at = match (&args.at, &args.in_) {
        (Some(at), _) => Some(instant("--at", at, &zone)?),
        (None, Some(after)) => Some(now + span("--in", after)?),
        (None, None) => None,
    };
    if let Some(at) = at {
        not_long_past("--at", at, manner.max_lateness.unwrap_or(DEFAULT_MAX_LATENESS), now)?;
    }
    if args.key.as_ref().is_some_and(|k| k.is_empty() || k.len() > 255) {
        return Err(told(Exit::Usage, "--key must have 1 to 255 bytes"));
    }
    Ok(SingleMessage { chat, instance, content, manner, zone: defaults.zone, at, key: args.key.clone() })
}

/// An instant that lies further back than a message may be late is a slip, never sent at once.
pub(super) fn not_long_past(flag: &str, at: Timestamp, limit: Millis, now: Timestamp) -> anyhow::Result<()> {
    let past = now.since(at);
    if past <= limit {
        return Ok(());
    }
    let past = Millis(past.0 / 60_000 * 60_000);
    Err(told(Exit::Usage, format!("{flag} lies {past} in the past; at most {limit} (max_lateness) is sent late")))
}

fn span(flag: &str, text: &str) -> anyhow::Result<Millis> {
    parse_duration(text).map_err(|e| told(Exit::Usage, format!("{flag}: {e}")))
}

async fn wait_for(store: &SqliteStore, id: MessageId, limit: Millis, out: &Out) -> anyhow::Result<Exit> {
    loop {
        let Some(detail) = store.show(id).await? else {
            return Err(told(Exit::NotFound, format!("the message {id} is gone")));
        };
        match detail.message.state {
            StateName::Sent => return Ok(Exit::Ok),
            StateName::InDoubt => {
                out.note("it may or may not have gone out; see `onthedot doubt list`");
                return Ok(Exit::Partly);
            }
            StateName::Failed | StateName::Cancelled | StateName::Expired | StateName::Skipped | StateName::Held => {
                out.note(&format!(
                    "it is {}: {}",
                    detail.message.state.name(),
                    detail.message.reason.unwrap_or_default()
                ));
                return Ok(Exit::Failed);
            }
            StateName::Scheduled | StateName::Claimed | StateName::Typing | StateName::Sending => {}
        }
        if clock::now() > detail.message.due_at + limit {
            out.note("it has not gone out yet; is the daemon running?");
            return Ok(Exit::TimedOut);
        }
        clock::sleep(LOOK_EVERY).await;
    }
}
