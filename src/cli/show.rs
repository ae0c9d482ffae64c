//! `show`: one message with everything known about it.

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, safe};
use crate::cli::place::Zone;
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::content::Body;
use crate::domain::follow::Kind;
use crate::domain::id::MessageId;
use crate::domain::recall::RecallState;
use crate::domain::time::Timestamp;
use crate::engine::explain::Explanation;
use crate::explain;
use crate::report;
use crate::store::Opening;
use crate::store::view::{FollowUpView, MessageDetail, RecallView};

/// Show one message: timeline, attempts with both responses, acks
#[derive(clap::Args, Debug)]
pub(super) struct ShowArgs {
    /// The message's id
    id: String,
}

pub(super) async fn show(global: &Global, args: &ShowArgs, out: &Out) -> anyhow::Result<Exit> {
    let id: MessageId = args.id.parse().map_err(|e| told(Exit::Usage, format!("{e}")))?;
    let store = place::open(global, Opening::Reading).await?;
    let found = store.show(id).await?;
    let explained = match &found {
        Some(detail) => Some(explain::of(&store, detail, clock::now()).await?),
        None => None,
    };
    let zone = place::zone(&store).await?;
    store.close().await;
    let (Some(detail), Some(explanation)) = (found, explained) else {
        return Err(told(Exit::NotFound, format!("there is no message {id}")));
    };
    if out.json {
        out.document(&report::detail(&detail, &explanation))?;
    } else {
        out.data(&words(&detail, &explanation, &zone))?;
    }
    Ok(Exit::Ok)
}

fn words(d: &MessageDetail, explanation: &Explanation, zone: &Zone) -> String {
    let at = |t: Timestamp| zone.show_exactly(t);
    let m = &d.message;
    let said = match &d.content.body {
        Body::Text(text) => text.clone(),
        _ => serde_json::to_string(&d.content).unwrap_or_default(),
    };
    let mut lines = vec![
        format!("message   {}", m.id),
        format!("to        {} through {}", safe(&m.chat), safe(&m.instance)),
        format!("job       {}", safe(m.job.as_deref().unwrap_or("-"))),
        format!("{:<9} {}", d.content.kind(), safe(&said)),
    ];
    for (name, value) in &d.vars {
        lines.push(format!("          {} = {}", safe(name), safe(value)));
    }
    lines.push(format!("due       {}", at(m.due_at)));
    let reason = m.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    lines.push(format!("state     {}{reason}", m.state.name()));
    if let Some(sent) = m.sent_at {
        lines.push(format!("left      {} ({:+} ms)", at(sent), sent.since(m.due_at).0));
    }
    if let Some(id) = &m.gateway_id {
        lines.push(format!("known as  {}", safe(id)));
    }
    for g in explanation.gates.iter().filter(|g| !g.passed) {
        let until = g.until.map(|t| format!(" until {}", at(t))).unwrap_or_default();
        lines.push(format!("waits     {}{until}  {}", g.name.name(), safe(g.note.as_deref().unwrap_or(""))));
    }
    if let Some(r) = &d.recall {
        lines.push(recalled(r, zone));
    }
    if let Some(f) = &d.follow_up {
        lines.extend(followed(f, zone));
    }
    lines.push(String::new());
    for e in &d.events {
        let from = e.from.as_deref().map(|f| format!("{f} → ")).unwrap_or_default();
        let note = e.note.as_deref().map(|n| format!("  {}", safe(n))).unwrap_or_default();
        lines.push(format!("{}  {from}{}{note}", at(e.at), e.to));
    }
    for a in &d.acks {
        let who = a.participant.as_deref().map(|p| format!(" by {}", safe(p))).unwrap_or_default();
        lines.push(format!("{}  {}{who}", at(a.at), a.ack.name()));
    }
    for a in &d.attempts {
        lines.push(String::new());
        lines.push(format!("attempt {}", a.number));
        if let Some(t) = &a.typing {
            let status = t.status.map_or("no answer".to_owned(), |s| s.to_string());
            let response = safe(t.response.as_deref().unwrap_or(""));
            lines.push(format!(
                "  typing  {}  {status}  refreshed {} times  {response}",
                at(t.started_at),
                t.refreshes
            ));
        }
        if let Some(s) = &a.send {
            let began = s.started_at.map_or("never begun".to_owned(), at);
            let status = s.status.map_or(String::new(), |x| x.to_string());
            lines.push(format!(
                "  send    {began}  {status}  {}  {}",
                s.outcome,
                safe(s.response.as_deref().unwrap_or(""))
            ));
        }
    }
    lines.join("\n")
}

/// How its recall stands.
fn recalled(r: &RecallView, zone: &Zone) -> String {
    let at = zone.show_exactly(r.settled_at.unwrap_or(r.asked_at));
    let reason = r.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let answer = r.response.as_deref().map(|r| format!("  {}", safe(r))).unwrap_or_default();
    let status = r.status.map(|s| format!("  {s}")).unwrap_or_default();
    match r.state {
        RecallState::Done => format!("recalled  {at}{status}{answer}"),
        RecallState::Open => format!("recall    open, asked {at}{status}{answer}"),
        state => format!("recall    {}{reason}, {at}{status}{answer}", state.name()),
    }
}

/// How following it stands.
fn followed(f: &FollowUpView, zone: &Zone) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(id) = f.follows {
        lines.push(format!("follows   {id}"));
    }
    if let Some(state) = f.state {
        let next = f.next_at.map(|t| format!(", looked at next {}", zone.show_exactly(t))).unwrap_or_default();
        lines.push(format!("followed  {}{next}", state.name()));
    }
    for v in &f.followers {
        let name = match v.follower.kind {
            Kind::Nag(n) => format!("nag {n}"),
            Kind::Escalation(place) => format!("escalation {}", place + 1),
        };
        let at = zone.show_exactly(v.follower.sent_at.unwrap_or(v.follower.due_at));
        lines.push(format!("          {name}  {}  {at}  {}", v.follower.state.name(), v.id));
    }
    lines
}
