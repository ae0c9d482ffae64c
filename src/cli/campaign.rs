//! `campaign`: the messages of one occurrence with many recipients, followed as one.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::cli::campaign_eta::{EtaArgs, campaign_eta};
use crate::cli::campaign_export::{ExportArgs, export};
use crate::cli::campaign_preview::{PreviewArgs, campaign_preview};
use crate::cli::campaign_recall::{RecallArgs, campaign_recall, report_json, report_words};
use crate::cli::campaign_watch::campaign_watch;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe, table};
use crate::cli::pause::{PauseHow, pause_scope, resume_scope};
use crate::cli::place::Zone;
use crate::cli::progress::bar::bar;
use crate::cli::progress::{first_gate, state_of};
use crate::cli::{Global, place, replan};
use crate::clock;
use crate::config::read::suggest;
use crate::domain::ack::Ack;
use crate::domain::campaign::{CampaignName, CampaignState, Standing};
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::engine::explain::Gate;
use crate::repair::{self, CalledOff};
use crate::report;
use crate::resend::{Resent, Unreached, resend, resend_of};
use crate::store::view::{CampaignView, VariantView};
use crate::store::{Opening, Pause, PauseScope, SqliteStore};

/// Columns of a progress bar.
pub(super) const BAR: usize = 40;

#[derive(clap::Subcommand, Debug)]
pub(super) enum CampaignCommand {
    /// List campaigns, the latest first
    List {
        /// Of this job only
        #[arg(long)]
        job: Option<String>,
        /// At most so many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show how a campaign stands: every recipient is in one of the counts
    Show {
        /// The campaign, or its job: then the latest that has come, else the first that is to come
        name: String,
        /// Look again every so many seconds until all of it rests; in JSON one document a line
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
              value_parser = clap::value_parser!(u32).range(1..=86_400))]
        watch: Option<u32>,
    },
    /// Stop a campaign: what waits of it waits on, what it is typing is taken back
    Pause {
        /// The campaign, or its job
        name: String,
        #[command(flatten)]
        how: PauseHow,
    },
    /// Let a paused campaign go on
    Resume {
        /// The campaign, or its job
        name: String,
        /// Say what would be resumed
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what recipients of a campaign will read, and send one of it to yourself
    Preview(PreviewArgs),
    /// Let a campaign go that waits for an approval (`hold: true`): what is due by then leaves as soon as it was typed
    Approve {
        /// The campaign, or its job
        name: String,
        /// Say how many messages would be approved
        #[arg(long)]
        dry_run: bool,
    },
    /// Call a campaign off: what has not left is cancelled; `recall` also has what was sent deleted for everyone
    Cancel {
        /// The campaign, or its job
        name: String,
        /// Say how many messages would be cancelled
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a campaign back: what has not left is cancelled, what was sent is deleted for everyone
    Recall(RecallArgs),
    /// Say when a campaign will be finished, as it stands and as it might be
    Eta(EtaArgs),
    /// Once more for those whom a campaign did not reach: what failed gets another chance, what was sent becomes a new campaign
    Resend {
        /// The campaign, or its job
        name: String,
        /// Whom: failed, undelivered (no device has it), unread; parted by commas
        #[arg(long, value_name = "WHOM,…", required = true)]
        only: String,
        /// Also to those whom it was sent again before
        #[arg(long)]
        again: bool,
        /// Say how many there are
        #[arg(long)]
        dry_run: bool,
    },
    /// Write every message of a campaign, with its recipient's variables, as CSV or JSON lines
    Export(ExportArgs),
}

pub(super) async fn campaign(global: &Global, command: CampaignCommand, out: &Out) -> anyhow::Result<Exit> {
    place::must_exist(global).await?;
    match command {
        CampaignCommand::List { job, limit } => list(global, job.as_deref(), limit, out).await,
        CampaignCommand::Show { name, watch: Some(seconds) } => campaign_watch(global, &name, seconds, out).await,
        CampaignCommand::Show { name, watch: None } => show(global, &name, out).await,
        CampaignCommand::Pause { name, how } => pause_scope(global, scope(global, &name).await?, how, out).await,
        CampaignCommand::Resume { name, dry_run } => {
            resume_scope(global, scope(global, &name).await?, dry_run, out).await
        }
        CampaignCommand::Cancel { name, dry_run } => cancel(global, &name, dry_run, out).await,
        CampaignCommand::Recall(args) => campaign_recall(global, &args, out).await,
        CampaignCommand::Preview(args) => campaign_preview(global, &args, out).await,
        CampaignCommand::Approve { name, dry_run } => approve(global, &name, dry_run, out).await,
        CampaignCommand::Resend { name, only, again, dry_run } => {
            once_more(global, &name, &only, (again, dry_run), out).await
        }
        CampaignCommand::Eta(args) => campaign_eta(global, &args, out).await,
        CampaignCommand::Export(args) => export(global, &args, out).await,
    }
}

async fn list(global: &Global, job: Option<&str>, limit: u32, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let (now, zone) = (clock::now(), place::zone(&store).await?);
    let (views, pauses) = (store.campaigns(job, limit, now).await?, store.pauses(now).await?);
    store.close().await;
    if out.json {
        let all: Vec<Value> = views.iter().map(|v| json_of(v, &pauses, now)).collect();
        out.document(&json!({ "campaigns": all }))?;
        return Ok(Exit::Ok);
    }
    if views.is_empty() {
        out.note("no campaigns: an occurrence with more than one recipient is one");
        return Ok(Exit::Ok);
    }
    let row = |v: &CampaignView| {
        let standing = Standing { counts: &v.states(), ..standing(v, &pauses) };
        vec![
            safe(&v.name.to_string()),
            standing.state(now).name().to_owned(),
            zone.show(v.name.nominal),
            v.messages().to_string(),
            of(v, StateName::Sent).to_string(),
            standing.undone().to_string(),
        ]
    };
    let header = ["campaign", "state", &format!("due ({})", zone.name), "messages", "sent", "undone"];
    out.data(&table(&header, views.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

async fn show(global: &Global, name: &str, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let (now, zone) = (clock::now(), place::zone(&store).await?);
    let looked = async {
        let (view, pauses) = (found(&store, name, now).await?, store.pauses(now).await?);
        let rests = matches!(state_of(&view, &pauses, now), CampaignState::Finished | CampaignState::Cancelled);
        let waits = if rests { None } else { first_gate(&store, &view, now).await? };
        let variants = store.variants_of_campaign(view.occurrence).await?;
        let recall = store.recall_report(view.occurrence).await?;
        Ok::<_, anyhow::Error>((view, pauses, waits, variants, recall))
    };
    let looked = looked.await;
    store.close().await;
    let (view, pauses, waits, mut variants, recall) = looked?;
    // One content is no variant.
    if variants.len() < 2 {
        variants.clear();
    }
    if out.json {
        let mut document = json_of(&view, &pauses, now);
        document["waits"] = json!(waits.as_ref().map(report::gate));
        document["variants"] = variants.iter().map(variant_json).collect();
        document["recall"] = report_json(recall.as_ref());
        out.document(&document)?;
        return Ok(Exit::Ok);
    }
    let mut told = words(&view, &pauses, &zone, now, BAR);
    waits.iter().for_each(|gate| told.push_str(&format!("\nwaits      {}", gate_words(gate, &zone))));
    out.data(&told)?;
    if let Some(report) = &recall {
        out.data(&report_words(report))?;
    }
    if !variants.is_empty() {
        let header = ["variant", "messages", "sent", "device", "read", "replied", "opted out", "failed"];
        out.data(&format!("\n{}", table(&header, variants.iter().map(variant_row).collect())))?;
    }
    Ok(Exit::Ok)
}

/// What a campaign waits for, in the words of `explain`.
pub(super) fn gate_words(gate: &Gate, zone: &Zone) -> String {
    let until = gate.until.map(|t| format!(" until {}", zone.show_exactly(t))).unwrap_or_default();
    let note = gate.note.as_deref().map(|n| format!("  {}", safe(n))).unwrap_or_default();
    format!("{}{until}{note}", gate.name.name())
}

fn variant_json(v: &VariantView) -> Value {
    let content: Value = serde_json::from_str(&v.content).unwrap_or(Value::Null);
    json!({
        "content": content, "messages": v.messages, "sent": v.sent, "device": v.device, "read": v.read,
        "replied": v.replied, "opted_out": v.opted_out, "failed": v.failed,
    })
}

/// Columns of a content in the table of variants.
const CONTENT_SHOWN: usize = 48;

fn variant_row(v: &VariantView) -> Vec<String> {
    let part = |n: u64| match v.sent {
        0 => n.to_string(),
        sent => format!("{n} ({} %)", n * 100 / sent),
    };
    let content: Value = serde_json::from_str(&v.content).unwrap_or(Value::Null);
    let words = content["text"].as_str().map_or_else(|| v.content.clone(), str::to_owned);
    let mut shown: String = words.chars().take(CONTENT_SHOWN).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    let counts = [v.messages.to_string(), v.sent.to_string()];
    let parts = [part(v.device), part(v.read), part(v.replied), part(v.opted_out), v.failed.to_string()];
    std::iter::once(safe(&shown)).chain(counts).chain(parts).collect()
}

async fn cancel(global: &Global, name: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let store = Arc::new(place::open(global, Opening::Beside).await?);
    let settled = replan::settled(&store).await;
    let found = found(&store, name, clock::now()).await;
    let done = match &found {
        Ok(view) => Some(repair::call_off(&store, view, dry_run, clock::now).await),
        Err(_) => None,
    };
    store.close().await;
    settled?;
    let (view, Some(done)) = (found?, done) else { return Ok(Exit::NotFound) };
    let CalledOff { cancelled, out: left } = done?;
    if out.json {
        let name = view.name.to_string();
        out.document(&json!({ "campaign": name, "cancelled": cancelled, "in_motion": left, "dry_run": dry_run }))?;
    } else {
        let would = if dry_run { "would be " } else { "" };
        let sent = counted(of(&view, StateName::Sent), "message");
        out.data(&format!(
            "'{}': {} {would}cancelled; {sent} had left",
            safe(&view.name.to_string()),
            counted(cancelled, "message")
        ))?;
        if left > 0 {
            out.note(&format!("{} on the way cannot be taken back", counted(left, "message")));
        }
    }
    Ok(Exit::Ok)
}

async fn approve(global: &Global, name: &str, dry_run: bool, out: &Out) -> anyhow::Result<Exit> {
    let store = Arc::new(place::open(global, Opening::Beside).await?);
    let settled = replan::settled(&store).await;
    let found = found(&store, name, clock::now()).await;
    let done = match &found {
        Ok(view) => Some(repair::approve(&store, view, dry_run, clock::now).await),
        Err(_) => None,
    };
    store.close().await;
    settled?;
    let (view, Some(done)) = (found?, done) else { return Ok(Exit::NotFound) };
    let (approved, name) = (done?, view.name.to_string());
    if out.json {
        out.document(&json!({ "campaign": name, "approved": approved, "dry_run": dry_run }))?;
        return Ok(Exit::Ok);
    }
    let would = if dry_run { "would be " } else { "" };
    let expired = of(&view, StateName::Expired);
    let too_late = match approved {
        0 if expired > 0 => format!(": {} expired before anybody approved", counted(expired, "message")),
        _ => String::new(),
    };
    out.data(&format!("'{}': {} {would}approved{too_late}", safe(&name), counted(approved, "message")))?;
    Ok(Exit::Ok)
}

async fn once_more(
    global: &Global,
    name: &str,
    only: &str,
    (once_more, dry_run): (bool, bool),
    out: &Out,
) -> anyhow::Result<Exit> {
    let known = Unreached::ALL.map(|(_, word)| word).join(", ");
    let wrong = |word: &str| told(Exit::Usage, format!("--only: '{word}' is none of {known}"));
    let find = |word: &str| Unreached::ALL.iter().find(|(_, known)| *known == word).map(|(whom, _)| *whom);
    let words = only.split(',').map(str::trim).filter(|w| !w.is_empty());
    let only: Vec<Unreached> = words.map(|word| find(word).ok_or_else(|| wrong(word))).collect::<Result<_, _>>()?;
    if only.is_empty() {
        return Err(told(Exit::Usage, format!("--only names nobody; expected one or more of {known}")));
    }
    let store = place::open(global, Opening::Beside).await?;
    let mut found = found(&store, name, clock::now()).await;
    // A job's name means what it sent, not what was sent of it again.
    if let Ok(view) = &found
        && CampaignName::read(name).1.is_none()
        && let Some(first) = resend_of(view)
    {
        found = self::found(&store, first, clock::now()).await;
    }
    let done = match &found {
        Ok(view) => Some(resend(&store, view, &only, (once_more, dry_run)).await),
        Err(_) => None,
    };
    store.close().await;
    let (view, Some(done)) = (found?, done) else { return Ok(Exit::NotFound) };
    let Resent { retried, again, before, campaign } = done?;
    if out.json {
        out.document(&json!({
            "campaign": view.name.to_string(), "retried": retried, "again": again, "before": before,
            "new_campaign": campaign.map(|c| c.to_string()), "dry_run": dry_run,
        }))?;
        return Ok(Exit::Ok);
    }
    let would = if dry_run { "would be " } else { "" };
    let new = campaign.map_or(String::new(), |c| format!(" as '{}'", safe(&c.to_string())));
    out.data(&format!(
        "{} {would}tried once more, {again} {would}sent again{new}",
        counted(retried, "failed message")
    ))?;
    if before > 0 {
        let left_out = counted(before, "message");
        out.note(&format!("{left_out} left out, since they were sent again before; --again sends them once more"));
    }
    Ok(Exit::Ok)
}

/// What a pause of a campaign stops.
async fn scope(global: &Global, name: &str) -> anyhow::Result<PauseScope> {
    let store = place::open(global, Opening::Reading).await?;
    let found = found(&store, name, clock::now()).await;
    store.close().await;
    Ok(PauseScope::Campaign(found?.name))
}

/// A campaign by its name or its job's, or an error with the nearest one.
pub(super) async fn found(store: &SqliteStore, name: &str, now: Timestamp) -> anyhow::Result<CampaignView> {
    let (job, nominal) = CampaignName::read(name);
    if let Some(view) = store.campaign(job, nominal, now).await? {
        return Ok(view);
    }
    let known: Vec<String> = store.campaigns(None, 20, now).await?.iter().map(|v| v.name.to_string()).collect();
    let jobs: Vec<&str> =
        known.iter().map(|n| CampaignName::read(n).0).chain(known.iter().map(String::as_str)).collect();
    let help = if jobs.is_empty() { "this database has none".to_owned() } else { suggest(name, &jobs) };
    Err(told(Exit::NotFound, format!("there is no campaign '{name}'; {help}")))
}

pub(super) fn standing<'c>(view: &CampaignView, pauses: &[Pause]) -> Standing<'c> {
    // While it is planned anew there may be no message yet that would name an instance.
    let paused = match view.instances.as_slice() {
        [] => stopped(view, "", pauses).next().is_some(),
        instances => instances.iter().all(|i| stopped(view, i, pauses).next().is_some()),
    };
    let first_due = view.due.map(|(first, _)| first).or(view.renewed.then_some(view.name.nominal));
    Standing { counts: &[], cancelled: view.cancelled_at.is_some(), paused, renewed: view.renewed, first_due }
}

/// The pauses that stop a campaign's messages through an instance.
pub(super) fn stopped<'p>(view: &CampaignView, instance: &str, pauses: &'p [Pause]) -> impl Iterator<Item = &'p Pause> {
    let stops = |p: &&Pause| p.scope.stops(instance, Some(&view.name.job), Some(view.name.nominal));
    pauses.iter().filter(stops)
}

/// How many messages are in a state.
pub(super) fn of(view: &CampaignView, state: StateName) -> u64 {
    view.counts.iter().filter(|c| c.state == state).map(|c| c.messages).sum()
}

/// How many of the messages that were sent have an ack.
pub(super) fn acked(view: &CampaignView, ack: Option<Ack>) -> u64 {
    view.counts.iter().filter(|c| c.state == StateName::Sent && c.ack == ack).map(|c| c.messages).sum()
}

pub(super) fn json_of(view: &CampaignView, pauses: &[Pause], now: Timestamp) -> Value {
    let standing = Standing { counts: &view.states(), ..standing(view, pauses) };
    let counts: Map<String, Value> =
        StateName::ALL.into_iter().map(|s| (s.name().to_owned(), json!(of(view, s)))).collect();
    let mut acks: Map<String, Value> =
        Ack::ALL.into_iter().map(|a| (a.name().to_owned(), json!(acked(view, Some(a))))).collect();
    acks.insert("none".to_owned(), json!(acked(view, None)));
    let instant = |t: Option<Timestamp>| t.map(Timestamp::to_rfc3339);
    let stops: Vec<&Pause> = view.instances.iter().flat_map(|i| stopped(view, i, pauses)).collect();
    json!({
        "name": view.name.to_string(),
        "job": view.name.job,
        "occurrence": view.name.nominal.to_rfc3339(),
        "file": view.file,
        "instances": view.instances,
        "class": view.class.name(),
        "state": standing.state(now).name(),
        "note": stops.iter().find_map(|p| p.note.clone()),
        "paused_until": stops.iter().find_map(|p| p.until).map(Timestamp::to_rfc3339),
        "recipients": view.recipients,
        "messages": view.messages(),
        "replaced": view.replaced,
        "renewed": view.renewed,
        "undone": standing.undone(),
        "counts": counts,
        "acks": acks,
        "reasons": reasons(view).into_iter()
            .map(|(state, reason, n)| json!({ "state": state.name(), "reason": reason, "messages": n }))
            .collect::<Vec<_>>(),
        "due_at": instant(view.due.map(|d| d.0)),
        "last_due_at": instant(view.due.map(|d| d.1)),
        "expires_at": instant(view.expires),
        "first_sent_at": instant(view.sent.map(|s| s.0)),
        "last_sent_at": instant(view.sent.map(|s| s.1)),
        "cancelled_at": instant(view.cancelled_at),
        "rates": { "sends_last_minute": view.sent_lately.0, "sends_last_five_minutes": view.sent_lately.1 },
    })
}

/// Why messages are where they are, the most frequent first.
fn reasons(view: &CampaignView) -> Vec<(StateName, String, u64)> {
    let mut all: Vec<(StateName, String, u64)> = Vec::new();
    for c in &view.counts {
        let Some(reason) = &c.reason else { continue };
        match all.iter_mut().find(|(state, known, _)| *state == c.state && known == reason) {
            Some((_, _, n)) => *n += c.messages,
            None => all.push((c.state, reason.clone(), c.messages)),
        }
    }
    all.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(&b.1)));
    all
}

/// A campaign in words, with a bar of so many cells.
pub(super) fn words(view: &CampaignView, pauses: &[Pause], zone: &Zone, now: Timestamp, cells: usize) -> String {
    let standing = Standing { counts: &view.states(), ..standing(view, pauses) };
    let (all, sent) = (view.messages(), of(view, StateName::Sent));
    let (done, open) = bar((sent, all), cells);
    let mut lines = vec![
        format!("campaign   {}", safe(&view.name.to_string())),
        format!("state      {}", standing.state(now).name()),
        format!("through    {}", safe(&view.instances.join(", "))),
        format!("recipients {}", view.recipients),
        format!("sent       {done}{open} {sent} of {all}"),
    ];
    if view.renewed {
        lines.push("changed    its job was changed: its messages are being planned anew".to_owned());
    }
    if view.replaced > 0 {
        lines.push(format!("replaced   {} (of what its job said before)", counted(view.replaced, "message")));
    }
    if let Some(file) = &view.file {
        lines.insert(1, format!("from       {}", safe(file)));
    }
    if let Some((first, last)) = view.due {
        let to = if last == first { String::new() } else { format!(" to {}", zone.show_exactly(last)) };
        lines.push(format!("due        {}{to}", zone.show_exactly(first)));
    }
    if let Some(at) = view.expires {
        lines.push(format!("expires    {}, what has not left by then", zone.show_exactly(at)));
    }
    if let Some((first, last)) = view.sent {
        lines.push(format!("left       {} to {}", zone.show_exactly(first), zone.show_exactly(last)));
        let (one, five) = view.sent_lately;
        lines.push(format!("rate       {one} in the last minute, {five} in the last five"));
    }
    let acks = Ack::ALL.into_iter().map(|a| (a.name(), acked(view, Some(a)))).chain([("none yet", acked(view, None))]);
    let acks: Vec<String> = acks.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
    if !acks.is_empty() {
        lines.push(format!("acks       {}", acks.join(", ")));
    }
    for (state, n) in view.states().into_iter().filter(|(state, _)| *state != StateName::Sent) {
        let why = reasons(view).into_iter().filter(|(of, ..)| *of == state);
        let why: Vec<String> = why.map(|(_, reason, n)| format!("{n} {reason}")).collect();
        let why = if why.is_empty() { String::new() } else { format!("  ({})", why.join(", ")) };
        lines.push(format!("{:<10} {n}{why}", state.name().replace('_', " ")));
    }
    let mut told: Vec<&Pause> = Vec::new();
    for pause in view.instances.iter().flat_map(|i| stopped(view, i, pauses)) {
        if !told.contains(&pause) {
            told.push(pause);
            let end = pause.until.map_or(String::new(), |t| format!(" until {}", zone.show_exactly(t)));
            let note = safe(pause.note.as_deref().unwrap_or(""));
            lines.push(format!("paused     {}{end}  {note}", crate::cli::pause::words(&pause.scope)));
        }
    }
    lines.join("\n")
}
