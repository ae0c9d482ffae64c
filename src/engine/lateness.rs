//! How late a message is by outages: only time counts in which it could have left, had somebody worked. A closed window, a
//! pause, the message of its sequence before it and its turn in a paced line keep it anyway.

use crate::domain::message::Due;
use crate::domain::pace::Ledger;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::open_between;
use crate::engine::lane::Lane;

/// Outages so close together are one: what was caught up with between them is little.
const TOGETHER: Millis = Millis::seconds(600);

/// Slots are kept a little longer than the pacing needs them: those of other classes may come before.
const KEPT: Millis = Millis::seconds(1);

/// The line as it would have moved without an outage: in it every message has the slot it would have had.
#[derive(Debug)]
pub(super) struct Backlog {
    ledger: Ledger,
    since: Timestamp,
}

impl Backlog {
    /// After these outages (rising), with what left before them.
    pub(super) fn after(outages: &[(Timestamp, Timestamp)], ledger: impl Fn(Timestamp) -> Ledger) -> Option<Backlog> {
        let (began, ended) = latest_of(outages)?;
        // An outage is known to have begun a few seconds early: what left meanwhile left before it.
        let ledger = ledger(ended);
        let since = ledger.last().map_or(began, |sent| sent.max(began));
        Some(Backlog { ledger, since })
    }
}

/// When the latest of these outages (rising) began, with those close before it. What left before that, as far back as the pacing
/// remembers, tells how the line would have moved.
pub fn latest_began(outages: &[(Timestamp, Timestamp)]) -> Option<Timestamp> {
    latest_of(outages).map(|(began, _)| began)
}

/// The first of the latest outages that lie close together.
fn latest_of(outages: &[(Timestamp, Timestamp)]) -> Option<(Timestamp, Timestamp)> {
    let mut first = *outages.last()?;
    for outage in outages.iter().rev().skip(1) {
        if first.0.since(outage.1) > TOGETHER {
            break;
        }
        first = *outage;
    }
    Some(first)
}

impl Lane {
    /// For how long of the time up to `now` a message that is taken in was kept by outages alone.
    pub(super) fn lost(&mut self, due: &Due, now: Timestamp) -> Millis {
        let from = self.could_leave(due);
        let current = self.down_since().map(|began| (began, now));
        let met = self.outages.iter().copied().chain(current);
        met.map(|(began, ended)| open_for(due, began.max(from), ended.min(now))).fold(Millis::ZERO, |sum, x| sum + x)
    }

    /// When it could have left, had there been no outage.
    fn could_leave(&mut self, due: &Due) -> Timestamp {
        // What was never tried was put off, by a window or by what goes before it. Between two tries outages count as before.
        let put_off = if due.attempts == 0 { due.target } else { due.due_at };
        let ready = due.due_at.max(put_off).max(due.free_from);
        let Some(mut backlog) = self.backlog.take() else { return ready };
        let wish = ready.max(backlog.since);
        let (slot, _) = self.earliest_in(&backlog.ledger, due, wish);
        // Whatever is due later finds the line as it is.
        let caught_up = slot == ready && self.outages.last().is_none_or(|(_, ended)| ready >= *ended);
        if !caught_up {
            backlog.ledger.add(slot, self.after(due));
            backlog.ledger.forget_before(slot - self.pacing.memory() - KEPT);
            self.backlog = Some(backlog);
        }
        slot
    }
}

/// How long a message could leave between two instants: its windows were open, and nothing of it was paused.
pub(super) fn open_for(due: &Due, from: Timestamp, to: Timestamp) -> Millis {
    let mut all = Millis::ZERO;
    let mut at = from;
    let mut stopped = due.stopped.clone();
    stopped.sort_unstable();
    for (since, until) in stopped {
        if since > at {
            all = all + open_between(&due.hours, at, since.min(to));
        }
        at = at.max(until);
    }
    all + open_between(&due.hours, at, to)
}
