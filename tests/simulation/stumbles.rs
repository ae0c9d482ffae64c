//! What stumbles: processes, machines, clocks, and people who change their minds.

use onthedot::domain::draw::Draw;
use onthedot::domain::id::MessageId;
use onthedot::domain::message::{Change, Departure, Facts, Verdict};
use onthedot::domain::state::{self, Event, Reason, State, StateName};
use onthedot::domain::time::Millis;
use onthedot::engine::{Engine, Input};

use super::{Fact, Frozen, NODES, NOTICED, Node, Pending, QUARANTINE, World, departures};

impl World {
    /// Every process dies: everything in memory is gone, what was on its way to the gateway may still be done, what was
    /// on its way to the disk may or may not be durable.
    pub(super) fn crash(&mut self) {
        self.crashes_left -= 1;
        self.note(Fact::Crash);
        self.nodes.clear();
        let pending = std::mem::take(&mut self.pending);
        for ((at, n), what) in pending {
            match what {
                Pending::Done(..) | Pending::Ack(..) => {
                    self.pending.insert((at, n), what);
                }
                Pending::Write(node, change) => {
                    if self.dice.chance(50) {
                        self.write(node, &change);
                    }
                }
                Pending::Input(..) | Pending::Nudge | Pending::Thaw(_) | Pending::TakeOver => {}
            }
        }
        let down = self.dice.roll(10, 20_000);
        self.outages.push((self.now, self.now + Millis(down)));
        let until = self.now + Millis(down);
        while let Some(entry) = self.pending.first_entry().filter(|e| e.key().0 <= until) {
            let ((at, _), what) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(what);
        }
        self.now = until;
        for lane in &mut self.lanes {
            lane.outages = self.outages.clone();
        }
        self.begin();
    }

    /// A node begins with what the store knows.
    pub(super) fn begin(&mut self) {
        self.store.recover(self.now + QUARANTINE);
        for lane in &mut self.lanes {
            // What the database knows of the lane's sends.
            lane.recent_sends = departures(&self.log, &self.store, &lane.instance, |entry| entry.clock)
                .into_iter()
                .map(|at| Departure { at, draw: Draw::new(1, "sent").with_number(at.0) })
                .collect();
        }
        self.nodes.push(Node::new(Engine::new(self.lanes.clone(), self.now)));
    }

    /// People and other processes: cancels now and then.
    pub(super) fn meddle(&mut self) {
        if !self.people || !self.dice.chance(1) {
            return;
        }
        if self.dice.chance(10) && !self.store.is_paused(self.now) {
            let length = self.dice.roll(100, 30_000);
            self.store.pause = Some((self.now, self.now + Millis(length)));
            self.note(Fact::Paused(self.now + Millis(length)));
            self.later(0, Pending::Nudge);
            self.later(length, Pending::Nudge);
            return;
        }
        let ids: Vec<MessageId> = self.store.rows.keys().copied().collect();
        let id = ids[usize::try_from(self.dice.roll(0, i64::try_from(ids.len()).unwrap() - 1)).unwrap()];
        let row = &self.store.rows[&id];
        let before = match row.state {
            StateName::Scheduled => State::Scheduled { wake_at: row.wake_at },
            StateName::Typing => State::Typing,
            _ => return,
        };
        let event = Event::Cancelled { reason: Reason::CancelledByPerson };
        let transition = state::apply(&before, &event).unwrap();
        let change = Change { id, attempts: row.attempts, at: self.now, transition, facts: Facts::Note(String::new()) };
        if self.store.apply(&change) == Verdict::Applied {
            self.note(Fact::Cancelled(id));
            let after = self.dice.roll(0, 100);
            self.later(after, Pending::Nudge);
        }
    }

    /// The machine sleeps, or its clock is set ahead: nobody works for a while, and what was on its way arrives late.
    pub(super) fn nap(&mut self) {
        let Some(dice) = &mut self.naps else { return };
        if !dice.chance(1) {
            return;
        }
        let (from, to) = (self.now, self.now + Millis(dice.roll(NOTICED.0 + 1, 120_000)));
        self.note(Fact::Slept);
        self.now = to;
        self.outages.push((from, to));
        for lane in &mut self.lanes {
            lane.outages = self.outages.clone();
        }
        self.tell_all(&Input::Slept { from, to });
        self.tell_all(&Input::Settled);
    }

    /// A node does nothing for a while, between any two effects, and somebody may take it for dead.
    pub(super) fn freeze(&mut self) {
        let Some(dice) = &mut self.rivals else { return };
        if !dice.chance(1) || self.nodes.is_empty() {
            return;
        }
        let k = usize::try_from(dice.roll(0, 100)).unwrap() % self.nodes.len();
        if self.nodes[k].frozen.is_some() {
            return;
        }
        let (length, taken_after) = (dice.roll(1_000, 200_000), dice.roll(0, 100_000));
        let (takes_over, writes_go_on) = (dice.chance(70) && self.nodes.len() < NODES, dice.chance(50));
        self.nodes[k].frozen = Some(Frozen { since: self.now, until: self.now + Millis(length), writes_go_on });
        self.note(Fact::Froze);
        self.later(length, Pending::Thaw(k));
        if takes_over {
            self.later(taken_after, Pending::TakeOver);
        }
    }

    pub(super) fn thaw(&mut self, k: usize) {
        let Some(frozen) = self.nodes[k].frozen.take() else { return };
        let (from, to) = (frozen.since, self.now);
        let engine = &mut self.nodes[k].engine;
        if to.since(from) > NOTICED {
            engine.handle(Input::Slept { from, to }, to);
            engine.handle(Input::Settled, to);
        } else if from.since(to) > Millis(1_000) {
            engine.handle(Input::SetBack { by: from.since(to) }, to);
        }
        engine.handle(Input::Nudge, to);
    }

    /// The clock is set back, once.
    pub(super) fn set_clock_back(&mut self) {
        let Some((dice, by)) = &mut self.steps else { return };
        let by = *by;
        if self.set_back > Millis::ZERO || !dice.chance(2) {
            return;
        }
        self.note(Fact::SetBack);
        self.now = self.now - by;
        self.set_back = by;
        // What is on its way takes as long as it would have.
        let pending = std::mem::take(&mut self.pending);
        self.pending = pending.into_iter().map(|((at, n), what)| ((at - by, n), what)).collect();
        for frozen in self.nodes.iter_mut().filter_map(|n| n.frozen.as_mut()) {
            frozen.until = frozen.until - by;
        }
        self.session_down_until = self.session_down_until - by;
        self.tell_all(&Input::SetBack { by });
    }
}
