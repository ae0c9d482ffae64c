//! The machine that decides: which message leaves when, when typing begins, what is written before what.
//!
//! Sans I/O: [`Engine::handle`] is told what happened, [`Engine::poll_effect`] says what to do, and
//! [`Engine::poll_wakeup`] when to come back. Time only enters as an argument, so the same machine runs the daemon,
//! a simulated year, and every prediction.
//!
//! **Invariant:** [`Effect::Send`] of a message is only emitted after its mark came back [`Verdict::Applied`], once
//! per mark, and never before its slot.

mod effect;
pub mod explain;
mod hand;
mod input;
mod lane;
mod lanes;
mod lateness;
mod line;
mod settle;
mod shares;
mod steps;
mod waiting;
mod way;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::domain::claim::Ours;
use crate::domain::id::{ByMessage, InstanceName, MessageId};
use crate::domain::message::{Change, Due, Facts, TypingFacts, Verdict};
use crate::domain::state::{self, Event, Reason, State};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::{self, CLAIM_AHEAD, Leave, MARK_AHEAD, MARK_AHEAD_MOST};
use crate::domain::window;
use crate::engine::lanes::Lanes;

pub use effect::{Effect, Standing};
use hand::{Hand, Phase};
pub use input::Input;
pub use lane::{HAND_LIMIT, Holds, LaneStart, STRICT_LIMIT};
pub use lateness::latest_began;
use lateness::open_for;

/// The store is asked at least this often even if nobody nudged: a safety net under the nudge.
const CLAIM_AT_LEAST_EVERY: Millis = Millis(30_000);

/// All lanes together ask for safety no more often: ten thousand, each every five minutes, cost what a few do.
const SAFETY_CLAIMS_APART: Millis = Millis(30);

/// How soon a claim or a change that could not be written is tried again.
const STORE_RETRY: Millis = Millis(250);

/// How soon messages are taken into hand again after a mark could not be written.
const UNWRITTEN_RETRY: Millis = Millis(2_000);

/// Typing shorter than this is not written to the row: nobody could look in time. What is not written is not known to
/// `explain` and `campaign eta`, which take it for about to begin, and are late by at most this.
const WRITE_TYPING_FROM: Millis = Millis(250);

/// A slot missed by more was missed because nobody worked, and not by the wakes and commits on its way: what may leave
/// then is weighed anew.
const SLOT_SLACK: Millis = Millis(50);

/// What `frequency` says of a message is to be known from so short a time before work on it begins: a read takes less, and
/// little can leave in between. What does so nevertheless, its mark finds.
const KNOWN_BEFORE: Millis = Millis(500);

/// How soon it is asked for again where no answer came.
const ASK_AGAIN: Millis = Millis(1_000);

/// Commits remembered for the mark's head start.
const COMMITS_REMEMBERED: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Refresh,
    Mark,
    Slot,
    Rewrite,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Engine {
    lanes: Lanes,
    hands: ByMessage<Hand>,
    /// Each timer names the stay it was set in: what was set for an earlier stay of the same message is void.
    timers: BinaryHeap<Reverse<(Timestamp, MessageId, u64, Timer)>>,
    stays: u64,
    effects: VecDeque<Effect>,
    commits: VecDeque<Millis>,
    mark_ahead: Millis,
    stopping: bool,
}

impl Engine {
    /// An engine with these lanes and nothing in hand.
    pub fn new(lanes: Vec<LaneStart>, now: Timestamp) -> Engine {
        Engine {
            lanes: Lanes::new(lanes, now),
            hands: ByMessage::default(),
            timers: BinaryHeap::new(),
            stays: 0,
            effects: VecDeque::new(),
            commits: VecDeque::new(),
            mark_ahead: MARK_AHEAD,
            stopping: false,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Nudge => self.nudged(now),
            Input::Claimed { instance, messages, more, next_wake } => {
                self.claimed(&instance, messages, more, next_wake, now);
            }
            Input::ClaimFailed { instance } => {
                if let Some(lane) = self.lanes.get_mut(&instance) {
                    lane.claiming = false;
                    lane.claim_by(now + STORE_RETRY);
                }
            }
            Input::Gone { ids } => ids.into_iter().for_each(|id| self.gone(id, now)),
            Input::Ours { messages } => self.ours(messages, now),
            Input::Paused { ids } => ids.into_iter().for_each(|id| self.give_up_hold(id, "sending is paused", now)),
            Input::TypingAnswered { id, status, response } => self.typing_answered(id, status, response),
            Input::Persisted { id, verdict } => self.persisted(id, verdict, now),
            Input::Unsendable { id, reason, note } => self.unsendable(id, reason, note, now),
            Input::SendDone { id, outcome, facts } => self.send_done(id, &outcome, facts, now),
            Input::Probed { instance, down } => self.probed(&instance, down, now),
            Input::Slept { from, to } => self.slept(from, to, now),
            Input::Settled => self.settled(now),
            Input::SetBack { by } => self.set_back(by, now),
            Input::CommitTook(took) => self.commit_took(took),
            Input::Stop => self.stop(now),
        }
    }

    /// The next thing to do at `now`, or `None` when nothing is left to do before [`Engine::poll_wakeup`].
    pub fn poll_effect(&mut self, now: Timestamp) -> Option<Effect> {
        if self.effects.is_empty() {
            self.advance(now);
        }
        self.effects.pop_front()
    }

    /// When to poll again if nothing happens before.
    pub fn poll_wakeup(&self) -> Option<Timestamp> {
        let lane = self.lanes.wakeup().filter(|_| !self.stopping);
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        lane.into_iter().chain(timer).min()
    }

    /// How many messages are in hand.
    pub fn in_hand(&self) -> usize {
        self.hands.len()
    }

    /// Messages in hand of instances that can send: those a quiet end waits for.
    pub fn in_hand_of_working_lanes(&self) -> usize {
        self.hands.len().saturating_sub(self.lanes.stuck())
    }

    /// Takes into hand what is being typed already and leaves at its slot, as if this engine had begun it.
    pub fn adopt(&mut self, due: Due, slot: Timestamp, now: Timestamp) {
        let id = due.id;
        let typing_from = (due.lead > Millis::ZERO).then_some(slot - due.lead);
        self.stays += 1;
        self.hold(Hand::new(due, self.stays, now));
        self.begin(id, Leave { slot, typing_from, paced: false }, now);
    }

    /// What kept the slot of a message in hand from being earlier.
    pub fn holds(&self, id: MessageId) -> Option<Holds> {
        self.hands.get(&id).and_then(|h| h.holds)
    }

    /// How every instance stands.
    pub fn standings(&self) -> impl Iterator<Item = (&InstanceName, &Standing)> {
        self.lanes.iter().map(|lane| (&lane.instance, &lane.standing))
    }

    fn advance(&mut self, now: Timestamp) {
        while let Some(Reverse((at, id, stay, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if self.hands.get(&id).is_some_and(|h| h.stay == stay) {
                self.timer(id, timer, now);
            }
        }
        if !self.stopping {
            self.advance_lanes(now);
        }
    }

    fn timer(&mut self, id: MessageId, timer: Timer, now: Timestamp) {
        let Some(hand) = self.hands.get(&id) else { return };
        match (timer, &hand.phase) {
            (Timer::Refresh, Phase::Begun) => self.refresh_typing(id, now),
            (Timer::Mark, Phase::Begun) => self.mark(id, now),
            (Timer::Slot, Phase::Marked) => self.send(id, now),
            (Timer::Rewrite, Phase::Settling(change)) if !hand.writing => {
                let change = (**change).clone();
                self.persist(change);
            }
            _ => {}
        }
    }

    fn at(&mut self, at: Timestamp, id: MessageId, timer: Timer) {
        if let Some(hand) = self.hands.get(&id) {
            self.timers.push(Reverse((at, id, hand.stay, timer)));
        }
    }

    fn nudged(&mut self, now: Timestamp) {
        if self.stopping {
            return;
        }
        for lane in self.lanes.iter_mut() {
            lane.claim_again |= lane.claiming;
            lane.claim_at = Some(now);
        }
        let mut ids: Vec<MessageId> = self
            .hands
            .iter()
            .filter(|(_, h)| matches!(h.phase, Phase::Waiting | Phase::Begun))
            .map(|(id, _)| *id)
            .collect();
        if !ids.is_empty() {
            ids.sort_unstable();
            self.effects.push_back(Effect::Verify { ids });
        }
    }

    fn claimed(
        &mut self,
        instance: &InstanceName,
        messages: Vec<Due>,
        more: bool,
        next_wake: Option<Timestamp>,
        now: Timestamp,
    ) {
        let all = i64::try_from(self.lanes.len()).unwrap_or(i64::MAX);
        let Some(lane) = self.lanes.get_mut(instance) else { return };
        lane.claiming = false;
        let safety = now + CLAIM_AT_LEAST_EVERY.max(Millis(SAFETY_CLAIMS_APART.0.saturating_mul(all)));
        lane.claim_at = Some(next_wake.map_or(safety, |w| (w - CLAIM_AHEAD).clamp(now, safety)));
        let changed_meanwhile = std::mem::take(&mut lane.claim_again);
        if changed_meanwhile {
            lane.claim_at = Some(now);
        }
        // What the line had no room for was kept waiting by its lane, not late.
        let was_full = std::mem::replace(&mut lane.more, more);
        let takes = lane.works() && !self.stopping;
        let mut taken = Vec::new();
        for due in messages {
            if self.hands.contains_key(&due.id) {
                continue;
            }
            if takes {
                taken.push(due.id);
                self.take(due, was_full, now);
            } else {
                self.effects.push_back(Effect::Release { id: due.id });
            }
        }
        // The answer may have been read before the change that somebody told of.
        if changed_meanwhile && !taken.is_empty() {
            self.effects.push_back(Effect::Verify { ids: taken });
        }
    }

    fn take(&mut self, due: Due, was_full: bool, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&due.instance) else { return };
        let id = due.id;
        let lost = lane.lost(&due, now);
        let retrying = due
            .first_marked_at
            .filter(|_| due.tries > 0)
            .map_or(Millis::ZERO, |t| open_for(&due, t.max(due.due_at), now));
        let limit = due.max_lateness;
        self.stays += 1;
        let mut hand = Hand::new(due, self.stays, now);
        // What its lane, an earlier step or a pause kept waiting is typed in full once it may go.
        hand.held_by_lane = (hand.due.kept_waiting || was_full) && hand.would_begin() < now;
        if hand.due.expires_at.is_some_and(|e| e <= now) {
            self.hold(hand);
            self.expire(id, now);
            return;
        }
        if lost.max(retrying) > limit {
            self.hold(hand);
            let note = format!("{} were lost to outages and retries; max_lateness is {limit}", lost.max(retrying));
            self.settle_unmarked(id, &Event::TooLate { reason: Reason::TooLate }, note, now);
            return;
        }
        lane.insert(&hand.due);
        lane.plan_by(now);
        self.hold(hand);
    }

    /// Takes in how messages stand that are in hand. One that was moved is claimed anew.
    fn ours(&mut self, messages: Vec<Ours>, now: Timestamp) {
        for Ours { id, due_at, allowed_from } in messages {
            let Some(hand) = self.hands.get_mut(&id) else { continue };
            if hand.due.due_at != due_at {
                self.gone(id, now);
                continue;
            }
            if hand.phase != Phase::Waiting {
                continue;
            }
            let is_news = hand.due.allowed_from != allowed_from || hand.asked_at.is_some();
            (hand.due.allowed_from, hand.known_at, hand.asked_at) = (allowed_from, now, None);
            if is_news && let Some(lane) = self.lanes.get_mut(&hand.due.instance) {
                lane.has_judged |= allowed_from.is_some();
                lane.plan_by(now);
            }
        }
    }

    fn hold(&mut self, hand: Hand) {
        if let Some(lane) = self.lanes.get_mut(&hand.due.instance) {
            lane.held.insert(hand.due.id);
        }
        self.hands.insert(hand.due.id, hand);
    }

    /// Fixes the slot of a message and begins its typing, if it has any.
    fn begin(&mut self, id: MessageId, leave: Leave, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Some(lane) = self.lanes.get_mut(&hand.due.instance) else { return };
        lane.remove(&hand.due);
        lane.enter(&hand.due.chat);
        if lane.pacing.spaces_sends() {
            lane.ledger.add(leave.slot, lane.after(&hand.due));
        }
        lane.shares.took(hand.due.flow);
        hand.in_lane = true;
        hand.holds_chat = true;
        hand.phase = Phase::Begun;
        hand.leave = Some(leave);
        let refresh_every = lane.refresh_every;
        if leave.typing_from.is_some() {
            hand.typing =
                Some(TypingFacts { started_at: now, status: None, response: None, refreshes: 0, stopped_at: None });
            hand.typing_open = true;
            let (instance, chat) = (hand.due.instance.clone(), hand.due.chat.clone());
            self.effects.push_back(Effect::StartTyping { id, instance, chat, slot: leave.slot });
            if leave.slot.since(now) >= WRITE_TYPING_FROM {
                self.write_typing(id, leave.slot, now);
            }
            if let Some(at) = timeline::next_refresh(now, refresh_every, leave.slot) {
                self.at(at, id, Timer::Refresh);
            }
        }
        let mark_at = leave.slot - self.mark_ahead;
        if mark_at > now {
            self.at(mark_at, id, Timer::Mark);
        } else {
            self.mark(id, now);
        }
    }

    fn write_typing(&mut self, id: MessageId, slot: Timestamp, now: Timestamp) {
        let Some(hand) = self.hands.get(&id) else { return };
        let attempts = hand.due.attempts;
        let facts = Facts::TypingShown { started_at: now, slot, due_at: hand.due.due_at };
        if let Some(change) = change(id, attempts, &State::Claimed, &Event::TypingShown, facts, now) {
            self.effects.push_back(Effect::Persist(change));
        }
    }

    fn refresh_typing(&mut self, id: MessageId, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Some(lane) = self.lanes.get(&hand.due.instance) else { return };
        let (Some(leave), Some(facts)) = (hand.leave, hand.typing.as_mut()) else { return };
        let next = timeline::next_refresh(now, lane.refresh_every, leave.slot);
        // A call still open after a whole period is not doubled.
        if !hand.typing_open {
            facts.refreshes += 1;
            hand.typing_open = true;
            let (instance, chat) = (hand.due.instance.clone(), hand.due.chat.clone());
            self.effects.push_back(Effect::StartTyping { id, instance, chat, slot: leave.slot });
        }
        if let Some(at) = next {
            self.at(at, id, Timer::Refresh);
        }
    }

    fn typing_answered(&mut self, id: MessageId, status: Option<u16>, response: String) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        hand.typing_open = false;
        hand.typing_news = !matches!(hand.phase, Phase::Waiting | Phase::Begun);
        if let Some(facts) = hand.typing.as_mut() {
            facts.status = status;
            facts.response = Some(response.into());
        }
    }

    fn mark(&mut self, id: MessageId, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Some(leave) = hand.leave else { return };
        let before = hand.state();
        hand.phase = Phase::Marking;
        let facts = Facts::Mark {
            number: hand.number(),
            marked_at: now,
            slot: leave.slot,
            paced: leave.paced || hand.was_put_off(),
            typing: hand.typing.clone(),
            due_at: hand.due.due_at,
            body: None,
        };
        if let Some(change) = change(id, hand.due.attempts, &before, &Event::Marked, facts, now) {
            self.persist(change);
        }
    }

    /// Lets a marked message leave, or waits the few milliseconds by which those before it left later than planned.
    fn send(&mut self, id: MessageId, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Some(leave) = hand.leave else { return };
        if let Some(lane) = self.lanes.get_mut(&hand.due.instance)
            && lane.pacing.spaces_sends()
        {
            let after = lane.after(&hand.due);
            lane.ledger.remove(leave.slot, after);
            let free = lane.ledger.earliest_behind(lane.pace_of(&hand.due), now);
            lane.ledger.add(free, after);
            hand.leave = Some(Leave { slot: free, ..leave });
        }
        let Some(Leave { slot, .. }) = hand.leave else { return };
        let at = slot.max(now);
        if at.since(leave.slot) > SLOT_SLACK || slot > now {
            // Kept waiting past its last instant, or into closed hours, it goes back unsent.
            let too_late = hand.due.expires_at.is_some_and(|e| at > e);
            if too_late || window::next_open(&hand.due.hours, at) != Some(at) {
                self.never_begun(id, now);
                return;
            }
        }
        if slot > now {
            self.at(slot, id, Timer::Slot);
            return;
        }
        hand.phase = Phase::Sending;
        if std::mem::take(&mut hand.typing_open) {
            self.effects.push_back(Effect::DropTyping { id });
        }
        self.effects.push_back(Effect::Send { id, slot });
    }

    /// Has a change written whose answer is awaited.
    fn persist(&mut self, change: Change) {
        if let Some(hand) = self.hands.get_mut(&change.id) {
            hand.writing = true;
        }
        self.effects.push_back(Effect::Persist(change));
    }

    fn persisted(&mut self, id: MessageId, verdict: Option<Verdict>, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        hand.writing = false;
        match (&hand.phase, verdict) {
            (Phase::Marking, Some(Verdict::Applied)) => {
                hand.phase = Phase::Marked;
                if hand.unwanted || self.stopping {
                    self.never_begun(id, now);
                    return;
                }
                match hand.leave {
                    Some(leave) if leave.slot > now => self.at(leave.slot, id, Timer::Slot),
                    _ => self.send(id, now),
                }
            }
            // Somebody else cancelled, put off or hid it, or nobody wants it any more. Of what ended that change tells the story.
            (Phase::Marking, Some(Verdict::Stale)) => {
                hand.phase = Phase::Begun;
                self.hand_back(id, "it is not to be sent now", now);
            }
            (Phase::Marking, Some(Verdict::Paused)) => {
                hand.phase = Phase::Begun;
                self.hand_back(id, "sending is paused", now);
            }
            (Phase::Marking, None) => {
                hand.phase = Phase::Begun;
                // Taken up again at once it would be typed to, and fail, again and again.
                if let Some(lane) = self.lanes.get_mut(&hand.due.instance) {
                    lane.not_before = lane.not_before.max(now + UNWRITTEN_RETRY);
                }
                self.hand_back(id, "the mark could not be written", now);
            }
            (Phase::Settling(_), Some(Verdict::Applied)) if hand.comes_back => self.come_back(id, now),
            (Phase::Settling(_), Some(_)) => self.release(id, now),
            (Phase::Settling(_), None) => self.at(now + STORE_RETRY, id, Timer::Rewrite),
            _ => {}
        }
    }

    fn commit_took(&mut self, took: Millis) {
        if self.commits.len() == COMMITS_REMEMBERED {
            self.commits.pop_front();
        }
        self.commits.push_back(took);
        let slowest = self.commits.iter().max().copied().unwrap_or(Millis::ZERO);
        self.mark_ahead = Millis((slowest.0 + slowest.0 / 4 + 5).clamp(MARK_AHEAD.0, MARK_AHEAD_MOST.0));
    }

    fn stop(&mut self, now: Timestamp) {
        self.stopping = true;
        let mut ids: Vec<MessageId> = self.hands.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.give_up_hold(id, "the daemon stops", now);
        }
    }

    /// Whether nothing is in hand and nothing waits to be done: after [`Input::Stop`], the moment to end.
    pub fn is_quiet(&self) -> bool {
        self.hands.is_empty() && self.effects.is_empty()
    }
}

/// A change by the rules, or `None` where the rules refuse it, which every caller has made impossible by the phase it
/// checked; a refused change must then not be written at all.
fn change(id: MessageId, attempts: u32, before: &State, event: &Event, facts: Facts, at: Timestamp) -> Option<Change> {
    let transition = state::apply(before, event).ok()?;
    Some(Change { id, attempts, at, transition, facts })
}
