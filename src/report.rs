//! The JSON of the product: one shape for commands and, later, the API. Instants are RFC 3339 UTC with milliseconds,
//! lengths are integer `…_ms`, absent values are `null` and never left out.

use serde_json::{Map, Value, json};

use crate::domain::ack::Ack;
use crate::domain::follow::{Followed, Kind};
use crate::domain::id::MessageId;
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::engine::explain::{Explanation, Gate};
use crate::store::KeptDay;
use crate::store::view::{
    AttemptView, DoubtAttemptView, DoubtView, FollowUpView, FollowerView, MessageDetail, MessageView, RecallView,
    StatsView,
};

fn instant(t: Option<Timestamp>) -> Value {
    t.map_or(Value::Null, |t| Value::String(t.to_rfc3339()))
}

/// One message, as in `list`.
pub fn message(m: &MessageView) -> Value {
    json!({
        "id": m.id.to_string(),
        "job": m.job,
        "campaign": m.campaign.as_ref().map(ToString::to_string),
        "occurrence": instant(m.occurrence),
        "instance": m.instance,
        "to": m.chat,
        "class": m.class.name(),
        "kind": m.kind,
        "state": m.state.name(),
        "reason": m.reason,
        "due_at": m.due_at.to_rfc3339(),
        "wake_at": instant(m.wake_at),
        "attempts": m.attempts,
        "gateway_id": m.gateway_id,
        "typing_at": instant(m.typing_at),
        "sent_at": instant(m.sent_at),
        "late_ms": m.sent_at.map(|t| t.since(m.due_at).0),
        "ack": m.ack.map(Ack::name),
        "ack_at": instant(m.ack_at),
        "created_at": m.created_at.to_rfc3339(),
    })
}

/// A page of messages.
pub fn list(messages: &[MessageView], next: Option<MessageId>) -> Value {
    json!({ "messages": messages.iter().map(message).collect::<Vec<_>>(), "next": next.map(|n| n.to_string()) })
}

/// One message whole.
pub fn detail(d: &MessageDetail, explanation: &Explanation) -> Value {
    let mut all = match message(&d.message) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let acks: Vec<Value> = d
        .acks
        .iter()
        .map(|a| json!({ "ack": a.ack.name(), "at": a.at.to_rfc3339(), "participant": a.participant, "source": a.source }))
        .collect();
    let events: Vec<Value> = d
        .events
        .iter()
        .map(|e| json!({ "at": e.at.to_rfc3339(), "from": e.from, "to": e.to, "note": e.note }))
        .collect();
    all.insert("content".to_owned(), json!(d.content));
    all.insert("vars".to_owned(), json!(d.vars));
    all.insert("waiting".to_owned(), waiting(explanation));
    all.insert("attempt_log".to_owned(), d.attempts.iter().map(attempt).collect());
    all.insert("acks".to_owned(), Value::Array(acks));
    all.insert("events".to_owned(), Value::Array(events));
    all.insert("recall".to_owned(), d.recall.as_ref().map_or(Value::Null, recall));
    let follow_up = d.follow_up.as_ref();
    all.insert("follow_up".to_owned(), follow_up.filter(|f| f.state.is_some()).map_or(Value::Null, followed));
    all.insert("follows".to_owned(), json!(follow_up.and_then(|f| f.follows).map(|id| id.to_string())));
    Value::Object(all)
}

/// How the recall of a message stands.
fn recall(r: &RecallView) -> Value {
    json!({
        "state": r.state.name(),
        "reason": r.reason,
        "asked_at": r.asked_at.to_rfc3339(),
        "settled_at": instant(r.settled_at),
        "tries": r.tries,
        "status": r.status,
        "response": body(r.response.as_deref()),
    })
}

/// How following a message stands.
fn followed(f: &FollowUpView) -> Value {
    let follower = |v: &FollowerView| {
        let (kind, number) = match v.follower.kind {
            Kind::Nag(n) => ("nag", u64::from(n)),
            Kind::Escalation(place) => ("escalation", u64::try_from(place + 1).unwrap_or(0)),
        };
        json!({
            "id": v.id.to_string(), "kind": kind, "number": number, "state": v.follower.state.name(),
            "due_at": v.follower.due_at.to_rfc3339(), "sent_at": instant(v.follower.sent_at),
        })
    };
    json!({
        "state": f.state.map(Followed::name),
        "next_at": instant(f.next_at),
        "messages": f.followers.iter().map(follower).collect::<Vec<_>>(),
    })
}

/// Gates with whether they are passed, as `explain` prints them.
pub fn gates(gates: &[Gate]) -> Value {
    let gate =
        |g: &Gate| json!({ "gate": g.name.name(), "passed": g.passed, "until": instant(g.until), "note": g.note });
    gates.iter().map(gate).collect()
}

/// A gate that something waits on.
pub fn gate(g: &Gate) -> Value {
    json!({ "gate": g.name.name(), "until": instant(g.until), "note": g.note })
}

/// The gates a message waits on.
fn waiting(explanation: &Explanation) -> Value {
    let open = explanation.gates.iter().filter(|g| !g.passed);
    open.map(gate).collect()
}

fn attempt(a: &AttemptView) -> Value {
    let typing = a.typing.as_ref().map(|t| {
        json!({
            "started_at": t.started_at.to_rfc3339(),
            "status": t.status,
            "response": body(t.response.as_deref()),
            "refreshes": t.refreshes,
            "stopped_at": instant(t.stopped_at),
        })
    });
    let send = a.send.as_ref().map(|s| {
        json!({
            "started_at": instant(s.started_at),
            "finished_at": instant(s.finished_at),
            "status": s.status,
            "outcome": s.outcome,
            "response": body(s.response.as_deref()),
        })
    });
    json!({ "number": a.number, "typing": typing, "marked_at": a.marked_at.to_rfc3339(), "send": send })
}

/// A response as JSON where it parses, else as text.
fn body(text: Option<&str>) -> Value {
    match text {
        None => Value::Null,
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

/// A page of doubts.
pub fn doubts(list: &[DoubtView], next: Option<MessageId>) -> Value {
    json!({ "messages": list.iter().map(doubt).collect::<Vec<_>>(), "next": next.map(|n| n.to_string()) })
}

/// One doubt with its evidence.
pub fn doubt(d: &DoubtView) -> Value {
    let mut all = message(&d.message);
    let evidence: Vec<Value> = d
        .evidence
        .iter()
        .map(|e| {
            json!({ "at": e.at.to_rfc3339(), "attempt": e.attempt, "kind": e.kind, "verdict": e.verdict, "note": e.note })
        })
        .collect();
    let attempts = |a: &DoubtAttemptView| json!({ "number": a.number, "verdict": a.verdict, "duplicate": a.duplicate });
    if let Value::Object(map) = &mut all {
        map.insert("evidence".to_owned(), Value::Array(evidence));
        map.insert("next_look_at".to_owned(), instant(d.next_look_at));
        map.insert("doubtful_attempts".to_owned(), d.attempts.iter().map(attempts).collect());
    }
    all
}

/// A day in figures.
pub fn day(d: &KeptDay) -> Value {
    let f = &d.figures;
    let count = |name: StateName| f.states.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| *n);
    let states: Map<String, Value> =
        StateName::ALL.into_iter().map(|n| (n.name().to_owned(), json!(count(n)))).collect();
    let acked = |ack: Option<Ack>| f.acks.iter().find(|(a, _)| *a == ack).map_or(0, |(_, n)| *n);
    let mut acks: Map<String, Value> =
        Ack::ALL.into_iter().map(|a| (a.name().to_owned(), json!(acked(Some(a))))).collect();
    acks.insert("none".to_owned(), json!(acked(None)));
    json!({
        "day": d.name, "zone": d.zone, "messages": f.messages, "states": states, "acks": acks,
        "late_ms": { "p50": f.late_ms.map(|l| l.0), "p99": f.late_ms.map(|l| l.1), "max": f.late_ms.map(|l| l.2) },
        "counted_at": d.counted_at.to_rfc3339(),
    })
}

/// Counts and lateness.
pub fn stats(s: &StatsView) -> Value {
    let count = |name: StateName| s.states.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| *n);
    let states: Map<String, Value> =
        StateName::ALL.into_iter().map(|n| (n.name().to_owned(), json!(count(n)))).collect();
    let ack_count = |ack: Option<Ack>| s.acks.iter().find(|(a, _)| *a == ack).map_or(0, |(_, n)| *n);
    let mut acks: Map<String, Value> =
        Ack::ALL.into_iter().map(|a| (a.name().to_owned(), json!(ack_count(Some(a))))).collect();
    acks.insert("none".to_owned(), json!(ack_count(None)));
    json!({
        "states": states,
        "acks": acks,
        "late_ms": {
            "p50": s.late_ms.map(|l| l.0), "p99": s.late_ms.map(|l| l.1), "max": s.late_ms.map(|l| l.2),
        },
        "typing": { "started": s.typing_started, "failed": s.typing_failed },
        "rates": { "sends_last_minute": s.rates.0, "sends_last_hour": s.rates.1 },
        "occurrences": { "missed": s.missed },
        "ignored_webhooks": s.ignored_hooks,
        "orphan_acks": s.orphan_acks,
        "doubts": {
            "open": s.doubts.open, "sent": s.doubts.sent, "unsent": s.doubts.unsent, "resent": s.doubts.resent,
            "dropped": s.doubts.dropped, "duplicates": s.doubts.duplicates,
        },
        "rescued": { "typing": s.rescued[0], "sending": s.rescued[1], "unfinished": s.rescued[2] },
    })
}
