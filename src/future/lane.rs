//! One instance in virtual time: its engine, its planner, its store, and a gateway that answers at once, or by chance.

use std::collections::BTreeMap;

use crate::domain::claim::{Ours, Wanted};
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Change, Facts, Verdict};
use crate::domain::pace::{Pacing, Rule};
use crate::domain::state::{Reason, State, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::CLAIM_AHEAD;
use crate::engine::explain::GateName;
use crate::engine::{Effect, Engine, Holds, Input};
use crate::future::habits::Chances;
use crate::future::often::Had;
use crate::future::plan::{Gate, Planner};
use crate::future::queue::{Number, Queue, Row, id_of, number_of};
use crate::future::rows::{Mould, row};
use crate::future::{Foreseen, HeldBy, LanePremise, Premise, Stop, Waiting};

/// Messages laid out in one go, as the planner does: what decides which of two due at one instant goes first.
const CHUNK: usize = 500;

/// See the [module](self).
pub(super) struct LaneWorld<'p> {
    engine: Engine,
    queue: Queue,
    planner: Planner<'p>,
    stops: &'p [Stop],
    pacing: &'p Pacing,
    instance: &'p InstanceName,
    seed: u64,
    span: (Timestamp, Timestamp),
    told: Vec<Foreseen>,
    /// Where answers come by chance, which; else they come at once.
    chances: Option<Chances>,
    had: Had<'p>,
    /// Answers on their way, by when they arrive.
    answers: BTreeMap<(Timestamp, MessageId), Input>,
}

impl<'p> LaneWorld<'p> {
    pub(super) fn new(premise: &'p Premise, lane: &'p LanePremise) -> LaneWorld<'p> {
        let own = premise.jobs.iter().filter(|j| j.job.instances().any(|i| *i == lane.start.instance));
        let moulds = own.map(|j| Mould::new(j, lane.window.as_ref(), premise.from)).collect();
        let mut world = LaneWorld {
            engine: Engine::new(vec![lane.start.clone()], premise.from),
            queue: Queue::default(),
            planner: Planner::new(moulds, premise.until),
            stops: &lane.stops,
            pacing: &lane.start.pacing,
            instance: &lane.start.instance,
            seed: premise.seed,
            span: (premise.from, premise.until),
            told: Vec::new(),
            chances: premise.chance.map(|play| Chances::new(&lane.seen, premise.seed, play)),
            had: Had::before(&premise.counted),
            answers: BTreeMap::new(),
        };
        let begun = world.begin_known(&lane.waiting, premise.from);
        for waiting in &lane.waiting {
            let key = waiting.nominal.zip(waiting.job.as_deref()).filter(|_| !waiting.beside);
            world.take_over(waiting, key.and_then(|k| begun.get(&k).copied()), premise.from);
        }
        world
    }

    /// Begins the occurrences of messages that wait already, the earliest first, and answers their numbers.
    fn begin_known<'w>(&mut self, all: &'w [Waiting], now: Timestamp) -> BTreeMap<(Timestamp, &'w str), u64> {
        let mut begun: BTreeMap<(Timestamp, &str), u64> =
            all.iter().filter_map(|w| Some((w.nominal?, w.job.as_deref()?))).map(|key| (key, 0)).collect();
        begun.retain(|(nominal, name), number| {
            let Some(job) = self.planner.job_named(name) else { return false };
            let layout = self.planner.jobs[job].mould.layout(self.seed);
            *number = self.planner.begin(job, *nominal + layout.jitter(*nominal), now);
            true
        });
        begun
    }

    fn take_over(&mut self, waiting: &Waiting, occurrence: Option<u64>, now: Timestamp) {
        let make = |due| row(due, waiting.job.clone(), waiting.nominal, occurrence);
        let first = self.add(Row { frequency: waiting.frequency, ..make(waiting.due.clone()) });
        let mut before = first;
        for due in &waiting.then {
            let next = self.add(Row { blocked: true, ..make(due.clone()) });
            self.follows(before, next);
            before = next;
        }
        if let Some(slot) = waiting.typed
            && let Some(row) = self.queue.get_mut(first)
        {
            row.in_hand = true;
            row.foreseen.typing_from = (row.due.lead > Millis::ZERO).then(|| slot - row.due.lead);
            let due = row.due.clone();
            self.queue.withdraw(first);
            self.engine.adopt(due, slot.max(now), now);
        }
    }

    fn add(&mut self, row: Row) -> Number {
        let occurrence = row.occurrence;
        let number = self.queue.add(row);
        if let Some(o) = occurrence {
            self.planner.joins(o, number);
        }
        number
    }

    fn follows(&mut self, before: Number, next: Number) {
        if let Some(row) = self.queue.get_mut(before) {
            row.then = Some(next);
        }
    }

    /// Plays everything that happens at `now`, adds what is known then to `told`, and answers when something happens
    /// next.
    pub(super) fn play(&mut self, now: Timestamp, told: &mut Vec<Foreseen>) -> Option<Timestamp> {
        while let Some((job, nominal, following)) = self.planner.next_due(now) {
            self.lay_out(job, nominal, following, now);
        }
        while let Some(gate) = self.planner.next_gate(now) {
            self.pass(&gate, now);
        }
        while let Some(number) = self.queue.next_expired(now) {
            let event = self.queue.get(number).is_some_and(|row| row.due.event_at == row.due.expires_at);
            let (state, reason) = match event {
                true => (StateName::Skipped, Reason::EventPassed),
                false => (StateName::Expired, Reason::Expires),
            };
            self.finish(number, state, Some(reason), now);
        }
        self.take_answers(now);
        while let Some(effect) = self.engine.poll_effect(now) {
            self.perform(effect, now);
        }
        told.append(&mut self.told);
        self.next_at(now)
    }

    fn take_answers(&mut self, now: Timestamp) {
        while let Some(entry) = self.answers.first_entry().filter(|e| e.key().0 <= now) {
            let answer = entry.remove();
            self.engine.handle(answer, now);
        }
    }

    fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.stops.iter().filter_map(|s| s.until).filter(|t| *t > now).min();
        let stopped = |row: &Row| self.stops.iter().any(|s| s.holds_at(now) && s.concerns(row));
        // With nothing in hand the lane only looks for what is not there yet: that is skipped.
        let engine = match self.engine.in_hand() {
            0 => match self.queue.first_wake(stopped).map(|wake| wake - CLAIM_AHEAD) {
                Some(at) if at <= now => self.engine.poll_wakeup(),
                later => later,
            },
            _ => self.engine.poll_wakeup(),
        };
        let answer = self.answers.first_key_value().map(|((at, _), _)| *at);
        let others = [self.planner.next_at(), self.queue.next_expiry(), ends, answer];
        engine.into_iter().chain(others.into_iter().flatten()).min().map(|t| t.max(now + Millis(1)))
    }

    /// Lays out the messages of an occurrence, in the order in which the planner makes them.
    fn lay_out(&mut self, job: usize, nominal: Timestamp, following: Option<Timestamp>, now: Timestamp) {
        let mould = &self.planner.jobs[job].mould;
        let (premise, steps, layout) = (mould.premise, mould.steps(), mould.layout(self.seed));
        let jitter = layout.jitter_before(nominal, following);
        let misfire = self.planner.is_misfire(job, nominal, now);
        let own_clock = premise.job.manner.own_clock;
        // Of an occurrence that a database has begun on faster clocks, what is left.
        let served = if premise.after < self.span.0 - Millis(1) { self.span.0 } else { Timestamp(i64::MIN) };
        let occurrence = if misfire { 0 } else { self.planner.begin(job, nominal + jitter, Timestamp(i64::MIN)) };
        let mut place = 0_i64;
        for chunk in premise.recipients.chunks(CHUNK) {
            let mut before: Vec<Option<Number>> = vec![None; chunk.len()];
            for step in 0..steps {
                for (i, recipient) in chunk.iter().enumerate() {
                    if premise.sender_of(&recipient.chat) != self.instance {
                        continue;
                    }
                    let at = place + i64::try_from(i).unwrap_or(0);
                    let mould = &self.planner.jobs[job].mould;
                    let due = mould.due(&layout, (nominal, jitter), step, (at, recipient));
                    if own_clock && (due.due_at < served || due.due_at >= self.span.1) {
                        continue;
                    }
                    let fate = mould.fate(&due, misfire, now);
                    let mut row = mould.row(due, nominal, occurrence);
                    if let Some((state, reason)) = fate {
                        self.told.push(Foreseen { state, reason: Some(reason), at: now, ..row.foreseen });
                        continue;
                    }
                    row.blocked = step > 0;
                    let number = self.add(row);
                    if let Some(earlier) = before[i].replace(number) {
                        self.follows(earlier, number);
                    }
                }
            }
            place += i64::try_from(chunk.len()).unwrap_or(0);
        }
    }

    fn pass(&mut self, gate: &Gate, now: Timestamp) {
        match *gate {
            Gate::Open(occurrence) => self.show(occurrence, now),
            Gate::GivesWay(before) => self.settle(before, StateName::Cancelled, Reason::Overtaken, now),
            Gate::Queued(occurrence) => self.hide(occurrence, now),
            Gate::Skipped(occurrence) => self.settle(occurrence, StateName::Skipped, Reason::Overlap, now),
        }
    }

    fn show(&mut self, occurrence: u64, now: Timestamp) {
        let mut shown = false;
        for number in self.planner.rows_of(occurrence) {
            if let Some(row) = self.queue.get_mut(number)
                && std::mem::take(&mut row.hidden)
            {
                shown = true;
                self.queue.offer(number);
            }
        }
        if shown {
            self.engine.handle(Input::Nudge, now);
        }
    }

    fn hide(&mut self, occurrence: u64, now: Timestamp) {
        let mut gone = Vec::new();
        for number in self.planner.rows_of(occurrence) {
            self.queue.withdraw(number);
            let Some(row) = self.queue.get_mut(number).filter(|r| !r.marked) else { continue };
            row.hidden = true;
            row.kept_by = Some(HeldBy::Overlap);
            if std::mem::take(&mut row.in_hand) {
                row.foreseen.typing_from = None;
                gone.push(id_of(number));
            }
        }
        self.let_go(gone, now);
    }

    /// Ends what waits of an occurrence.
    fn settle(&mut self, occurrence: u64, state: StateName, reason: Reason, now: Timestamp) {
        let mut gone = Vec::new();
        for number in self.planner.rows_of(occurrence) {
            let Some(row) = self.queue.get(number).filter(|r| !r.marked) else { continue };
            if row.in_hand {
                gone.push(id_of(number));
            }
            self.finish(number, state, Some(reason), now);
        }
        self.let_go(gone, now);
    }

    fn let_go(&mut self, ids: Vec<MessageId>, now: Timestamp) {
        if !ids.is_empty() {
            self.engine.handle(Input::Gone { ids }, now);
        }
    }

    fn perform(&mut self, effect: Effect, now: Timestamp) {
        let answer = match effect {
            Effect::Claim { instance, wanted } => {
                let (messages, more, next_wake) = self.claim(&wanted, now);
                Input::Claimed { instance, messages, more, next_wake }
            }
            Effect::Verify { ids } => {
                let known = |id: &MessageId| {
                    let (number, allowed_from) = (number_of(*id), self.allowed_from(number_of(*id)));
                    self.queue.get(number).map(|row| Ours { id: *id, due_at: row.due.due_at, allowed_from })
                };
                Input::Ours { messages: ids.iter().filter_map(known).collect() }
            }
            Effect::StartTyping { id, .. } => {
                if let Some(row) = self.queue.get_mut(number_of(id)) {
                    row.foreseen.typing_from.get_or_insert(now);
                }
                Input::TypingAnswered { id, status: Some(200), response: String::new() }
            }
            Effect::Persist(change) => {
                if matches!(change.facts, Facts::TypingShown { .. }) {
                    return;
                }
                // As the store does: a mark is judged by the instant at which it leaves.
                let too_often = match &change.facts {
                    Facts::Mark { slot, .. } => {
                        self.allowed_from(number_of(change.id)).is_some_and(|from| from > now.max(*slot))
                    }
                    _ => false,
                };
                let verdict = if too_often {
                    self.finish(number_of(change.id), StateName::Skipped, Some(Reason::TooOften), now);
                    Verdict::Stale
                } else {
                    self.persist(&change, now);
                    Verdict::Applied
                };
                Input::Persisted { id: change.id, verdict: Some(verdict) }
            }
            Effect::Send { id, slot } => match self.send(id, slot, now) {
                Some(answer) => answer,
                None => return,
            },
            Effect::Release { id } => {
                if let Some(row) = self.queue.get_mut(number_of(id)) {
                    row.in_hand = false;
                    self.queue.offer(number_of(id));
                }
                return;
            }
            Effect::Probe { instance } => Input::Probed { instance, down: None },
            Effect::DropTyping { .. } | Effect::StopTyping { .. } | Effect::Lane { .. } => return,
        };
        self.engine.handle(answer, now);
    }

    fn claim(
        &mut self,
        wanted: &Wanted,
        now: Timestamp,
    ) -> (Vec<crate::domain::message::Due>, bool, Option<Timestamp>) {
        let stops = self.stops;
        // As the store says: whoever claims ahead of a wake asks again right when a pause ends.
        let ends = stops.iter().filter(|s| s.holds_at(now)).filter_map(|s| s.until).min().map(|t| t + CLAIM_AHEAD);
        if stops.iter().any(|s| s.holds_at(now) && s.job.is_none()) {
            return (Vec::new(), false, ends);
        }
        let stopped = |row: &Row| stops.iter().any(|s| s.holds_at(now) && s.concerns(row));
        let (mut messages, more, next_wake) = self.queue.claim(wanted, stopped);
        for due in &mut messages {
            due.allowed_from = self.allowed_from(number_of(due.id));
        }
        for due in messages.iter_mut().filter(|_| !stops.is_empty()) {
            let was = |s: &Stop| !s.holds_at(now) && s.until.is_some_and(|t| due.target < t);
            let row = self.queue.get(number_of(due.id));
            due.kept_waiting |= row.is_some_and(|row| stops.iter().any(|s| was(s) && s.concerns(row)));
        }
        (messages, more, next_wake.into_iter().chain(ends).min())
    }

    /// From when on `frequency` lets a message go, where it concerns it.
    fn allowed_from(&self, number: Number) -> Option<Timestamp> {
        let row = self.queue.get(number)?;
        Some(self.had.allowed_from(&row.due.chat, row.frequency?))
    }

    fn persist(&mut self, change: &Change, now: Timestamp) {
        let number = number_of(change.id);
        let Some(row) = self.queue.get_mut(number) else { return };
        match change.transition.to() {
            State::Sending => {
                row.marked = true;
                if row.frequency.is_some() {
                    self.had.leaves(&row.due.chat, now);
                }
                let occurrence = row.occurrence;
                self.planner.moved_on(occurrence, false, now);
            }
            State::Scheduled { wake_at } => {
                let wake_at = *wake_at;
                self.waits_again(number, wake_at, change.transition.reason(), now);
            }
            State::Sent { .. } => self.finish(number, StateName::Sent, None, now),
            State::Claimed | State::Typing => {}
            State::InDoubt { .. }
            | State::Held
            | State::Failed
            | State::Cancelled
            | State::Expired
            | State::Skipped => {
                let (state, reason) = (change.transition.to().name(), change.transition.reason());
                self.finish(number, state, reason, now);
            }
        }
    }

    fn waits_again(&mut self, number: Number, wake_at: Timestamp, reason: Option<Reason>, now: Timestamp) {
        let Some(row) = self.queue.get_mut(number) else { return };
        row.due.target = wake_at + row.due.lead;
        row.in_hand = false;
        row.foreseen.typing_from = None;
        row.foreseen.reason = reason;
        if reason == Some(Reason::Window) {
            row.kept_by = Some(HeldBy::Gate(GateName::Window));
        }
        if std::mem::take(&mut row.marked) {
            row.due.attempts += 1;
            let occurrence = row.occurrence;
            self.planner.moved_on(occurrence, true, now);
        }
        self.queue.offer(number);
    }

    /// Answers what the gateway does, where it does so at once.
    fn send(&mut self, id: MessageId, slot: Timestamp, now: Timestamp) -> Option<Input> {
        let holds = self.engine.holds(id);
        let attempt = self.queue.get(number_of(id)).map_or(0, |row| row.due.attempts);
        if let Some(row) = self.queue.get_mut(number_of(id)) {
            row.foreseen.sends_at = Some(now);
            row.foreseen.held_by = (now > row.due.due_at).then(|| held_by(row, holds, self.pacing));
        }
        let Some(chances) = &self.chances else { return Some(Input::accepted(id, now)) };
        let (at, answer) = chances.answer(id, attempt, slot.max(now));
        self.answers.insert((at, id), answer);
        None
    }

    /// A message comes to its end, and with it what follows it in its sequence, unless it was sent.
    fn finish(&mut self, number: Number, state: StateName, reason: Option<Reason>, now: Timestamp) {
        let mut next = Some((number, state, reason));
        while let Some((number, state, reason)) = next.take() {
            let Some(row) = self.queue.remove(number) else { return };
            if !row.marked {
                self.planner.moved_on(row.occurrence, false, now);
            }
            if let Some(then) = row.then {
                if state == StateName::Sent {
                    self.unblock(then, row.due.due_at, row.foreseen.sends_at.unwrap_or(now));
                } else {
                    next = Some((then, StateName::Skipped, Some(Reason::Sequence)));
                }
            }
            self.told.push(Foreseen { state, reason, at: now, ..row.foreseen });
        }
    }

    /// A message may follow the one before it, which was due at one instant and left at another.
    fn unblock(&mut self, number: Number, was_due: Timestamp, left: Timestamp) {
        if let Some(row) = self.queue.get_mut(number) {
            let after = row.due.due_at.since(was_due);
            if after > Millis::ZERO {
                row.due.target = row.due.target.max(left + after);
            }
            row.blocked = false;
            row.kept_by = Some(HeldBy::Gate(GateName::Sequence));
            self.queue.offer(number);
        }
    }

    /// What has not left when the play ends at `until`.
    pub(super) fn end(mut self, until: Timestamp, told: &mut Vec<Foreseen>) {
        told.append(&mut self.told);
        for row in self.queue.rest() {
            let held = row.kept_by.filter(|_| row.due.due_at < until);
            told.push(Foreseen { at: until, held_by: held, ..row.foreseen });
        }
    }
}

impl Stop {
    fn concerns(&self, row: &Row) -> bool {
        let of_job = self.job.is_none() || self.job == row.foreseen.job;
        of_job && (self.nominal.is_none() || self.nominal == row.foreseen.occurrence)
    }
}

/// What made a message leave later than due.
fn held_by(row: &Row, holds: Option<Holds>, pacing: &Pacing) -> HeldBy {
    let gate = match holds {
        Some(Holds::Pace(Rule::Rate)) => GateName::Rate,
        Some(Holds::Pace(Rule::Gap)) => GateName::Gap,
        Some(Holds::Pace(Rule::PerHour)) => GateName::PerHour,
        Some(Holds::Pace(Rule::PerDay)) => GateName::PerDay,
        Some(Holds::Pace(Rule::Rest)) => GateName::Rest,
        Some(Holds::Window) => GateName::Window,
        None => match row.kept_by {
            Some(kept) => return kept,
            None if row.due.due_at < row.due.target => GateName::Due,
            None if pacing.concurrency.is_some() => GateName::Line,
            None => GateName::Chat,
        },
    };
    HeldBy::Gate(gate)
}
