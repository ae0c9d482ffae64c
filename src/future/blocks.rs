//! When an instance cannot send, and why: what is declared, and what held messages back.

use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::{OpenHours, next_open};
use crate::future::{Foreseen, HeldBy, LanePremise};
use crate::hours::open_hours;

/// A stretch of time in which an instance does not send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Why: `window`, a rule of the pacing, or what somebody said about a pause.
    pub why: String,
}

/// Windows open and close at whole minutes.
const MINUTE: Millis = Millis(60_000);

/// The stretches within `from` and `until` in which an instance is stopped, its window is closed, or its pacing holds
/// back one of its messages. `zone` is the sender's.
pub fn blocks(
    lane: &LanePremise,
    foreseen: &[Foreseen],
    zone: &str,
    (from, until): (Timestamp, Timestamp),
) -> Vec<Block> {
    let mut all = Vec::new();
    for stop in lane.stops.iter().filter(|s| s.job.is_none()) {
        all.push(Block { from, until: stop.until.unwrap_or(until).min(until), why: stop.why.clone() });
    }
    all.extend(closed(&open_hours([lane.window.as_ref(), None], zone, None), from, until));
    all.extend(held(lane, foreseen, (from, until)));
    all.retain(|b| b.from < b.until);
    all.sort_by(|a, b| (a.from, a.until, &a.why).cmp(&(b.from, b.until, &b.why)));
    all
}

fn closed(hours: &[OpenHours], from: Timestamp, until: Timestamp) -> Vec<Block> {
    let mut all = Vec::new();
    if hours.is_empty() {
        return all;
    }
    let mut at = from;
    while at < until {
        let open = next_open(hours, at).unwrap_or(until);
        if open > at {
            all.push(Block { from: at, until: open.min(until), why: "window".to_owned() });
            at = open;
            continue;
        }
        at = Timestamp((at.0.div_euclid(MINUTE.0) + 1) * MINUTE.0);
    }
    all
}

/// What the pacing held back: from when a message was due, or the send before it left, until it leaves. Stretches that
/// touch are one.
fn held(lane: &LanePremise, foreseen: &[Foreseen], (from, until): (Timestamp, Timestamp)) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut before = from;
    for f in foreseen.iter().filter(|f| f.instance == lane.start.instance) {
        let leaves = f.sends_at.unwrap_or(until);
        if let Some(HeldBy::Gate(gate)) = f.held_by
            && matches!(gate.name(), "rate" | "gap" | "per_hour" | "per_day" | "rest")
        {
            let begins = before.max(f.due_at).max(from);
            match all.last_mut().filter(|b| b.why == gate.name() && begins.since(b.until) <= Millis(1)) {
                Some(last) => last.until = last.until.max(leaves.min(until)),
                None => all.push(Block { from: begins, until: leaves.min(until), why: gate.name().to_owned() }),
            }
        }
        if f.sends_at.is_some() {
            before = before.max(leaves);
        }
    }
    all
}
