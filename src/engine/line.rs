//! How a lane's line moves: claims, slots, and who begins now.

use std::collections::HashSet;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use crate::domain::claim::Wanted;
use crate::domain::flow::Flow;
use crate::domain::frequency;
use crate::domain::id::{ByMessage, InstanceName, MessageId};
use crate::domain::pace::After;
use crate::domain::recipient::Chat;
use crate::domain::state::{Event, Reason};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::{self, CLAIM_AHEAD, CLAIM_SPAN, Leave};
use crate::domain::window;
use crate::engine::effect::{Effect, Standing};
use crate::engine::hand::{Hand, begins};
use crate::engine::lane::{Lane, STRICT_LIMIT};
use crate::engine::shares::Shares;
use crate::engine::waiting::Place;
use crate::engine::{ASK_AGAIN, Engine, KNOWN_BEFORE};

impl Engine {
    pub(super) fn advance_lanes(&mut self, now: Timestamp) {
        for name in self.lanes.awake(now) {
            self.advance_lane(&name, now);
        }
    }

    fn advance_lane(&mut self, name: &InstanceName, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        match &lane.standing {
            Standing::Working => {}
            Standing::Resting { until, .. } if *until <= now => {
                let outage = lane.up(now);
                let instance = name.clone();
                self.effects.push_back(Effect::Lane { instance, standing: Standing::Working, outage });
            }
            Standing::Down { .. } if lane.probe_at.is_some_and(|p| p <= now) => {
                lane.probe_at = None;
                lane.probing = true;
                self.effects.push_back(Effect::Probe { instance: name.clone() });
                return;
            }
            Standing::Resting { .. } | Standing::Down { .. } => return,
        }
        self.move_line(name, now);
        self.claim(name, now);
    }

    fn claim(&mut self, name: &InstanceName, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        if lane.claiming || lane.claim_at.is_none_or(|c| c.max(lane.not_before) > now) {
            return;
        }
        let limit = lane.capacity();
        let strict_limit = STRICT_LIMIT.saturating_sub(lane.waiting.strict());
        lane.claim_at = None;
        if lane.waiting.ordinary() >= limit && strict_limit == 0 {
            lane.more = true;
            return;
        }
        lane.claiming = true;
        let mut except: Vec<MessageId> = lane.held.iter().copied().collect();
        except.sort_unstable();
        let horizon = now + CLAIM_AHEAD + CLAIM_SPAN;
        let wanted = Wanted { horizon, limit, strict_limit, except, held: lane.waiting.taking_turns() };
        self.effects.push_back(Effect::Claim { instance: name.clone(), wanted });
    }

    /// Asks for more once half of the line has left.
    pub(super) fn refill(lane: &mut Lane, now: Timestamp) {
        if lane.more && !lane.claiming && lane.waiting.ordinary() <= lane.capacity() / 2 {
            lane.claim_by(now);
        }
    }

    /// Gives out slots along the line and begins every message whose time has come. Later ones are only looked at as
    /// far as they could matter: their slots are tentative and worked out anew each time, always to the same result.
    fn move_line(&mut self, name: &InstanceName, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        if lane.plan_at.is_none_or(|p| p > now) {
            return;
        }
        self.make_way(name, now);
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let Some(planned) = lane.plan_at.take() else { return };
        lane.ledger.forget_before(now - lane.pacing.memory() - Millis(1_000));
        let before = lane.waiting.ordinary();
        let mut walk = Walk::new(planned, lane, &mut self.hands, now);
        let mut begin: Vec<(MessageId, Leave)> = Vec::new();
        let mut ends = Ends::default();
        // What is to be known before a message begins is asked for ahead of it.
        let ahead = if lane.has_judged { KNOWN_BEFORE } else { Millis::ZERO };
        let mut room = lane.pacing.concurrency.map_or(u32::MAX, |c| c.saturating_sub(lane.in_flight));
        // When strict messages begin that have their slots: a place each is kept for them.
        let mut kept: Vec<Timestamp> = Vec::new();
        while let Some(step) = walk.next(lane, &mut self.hands, self.mark_ahead, now) {
            let Some((id, leave, begin_at, shut)) = ends.leaves(step, lane, now) else { continue };
            let strict = self.hands.get(&id).is_some_and(|h| h.due.class.is_strict());
            let kept_for_others = if strict { 0 } else { kept.iter().filter(|at| **at < leave.slot).count() };
            if begin_at > now {
                kept.extend(strict.then_some(begin_at));
                lane.plan_by(begin_at);
                // Nobody behind it can begin before this: looked at again then, since a longer lead begins earlier. What waits for
                // its window keeps nobody from an earlier instant.
                let earliest = leave.slot - lane.longest_lead - self.mark_ahead;
                if earliest - ahead > now && !shut {
                    lane.plan_by(earliest - ahead);
                    break;
                }
            } else if usize::try_from(room).unwrap_or(usize::MAX) <= kept_for_others {
                lane.full_at = now;
                break;
            } else {
                room -= 1;
                begin.push((id, leave));
            }
        }
        if let Some(at) = walk.look_at {
            lane.plan_by(at);
        }
        for (slot, after) in walk.tentative {
            lane.ledger.remove(slot, after);
        }
        if !walk.asks.is_empty() {
            self.effects.push_back(Effect::Verify { ids: walk.asks });
        }
        for (id, leave) in begin {
            self.begin(id, leave, now);
        }
        self.end_these(name, ends, now);
        if let Some(lane) = self.lanes.get_mut(name)
            && lane.waiting.ordinary() < before
        {
            Self::refill(lane, now);
        }
    }

    /// Ends the stay of what does not leave.
    fn end_these(&mut self, name: &InstanceName, ends: Ends, now: Timestamp) {
        for (id, open) in ends.closed {
            self.postpone(id, open, now);
        }
        for id in ends.expired.iter().chain(&ends.too_often) {
            if let (Some(hand), Some(lane)) = (self.hands.get(id), self.lanes.get_mut(name)) {
                lane.remove(&hand.due);
            }
        }
        for id in ends.expired {
            self.expire(id, now);
        }
        for id in ends.too_often {
            let event = Event::Unsendable { reason: Reason::TooOften };
            self.settle_unmarked(id, &event, frequency::ENOUGH.to_owned(), now);
        }
    }
}

/// Messages whose stay ends with a walk, since they do not leave.
#[derive(Default)]
struct Ends {
    closed: Vec<(MessageId, Option<Timestamp>)>,
    expired: Vec<MessageId>,
    too_often: Vec<MessageId>,
}

impl Ends {
    /// Takes in what does not leave. Answers what does, when, when work on it begins, and whether its windows are closed until then.
    fn leaves(&mut self, step: Step, lane: &mut Lane, now: Timestamp) -> Option<(MessageId, Leave, Timestamp, bool)> {
        match step {
            Step::Leaves(id, leave, begin_at, shut) => return Some((id, leave, begin_at, shut)),
            Step::Closed(id, open) => self.closed.push((id, open)),
            Step::Expired(id) => self.expired.push(id),
            // It takes nobody's turn.
            Step::TooOften(_, begin_at) if begin_at > now => lane.plan_by(begin_at),
            Step::TooOften(id, _) => self.too_often.push(id),
        }
        None
    }
}

/// A window that opens later than this is waited for in the store, sooner in hand.
const WAIT_IN_HAND: Millis = Millis::seconds(60);

/// What a walk finds at one message.
#[derive(Clone, Copy)]
enum Step {
    /// It leaves then, and work on it begins at that instant; whether its windows are closed until then.
    Leaves(MessageId, Leave, Timestamp, bool),
    /// Its windows are closed until then; `None` = for ever.
    Closed(MessageId, Option<Timestamp>),
    /// Its last instant passes before it can leave.
    Expired(MessageId),
    /// When it would leave its recipient has had as many as `frequency` allows; when work on it would begin.
    TooOften(MessageId, Timestamp),
}

/// One walk along a lane's line, in the order in which its messages will leave.
struct Walk {
    /// When it was to take place; it may be late.
    planned: Timestamp,
    /// The first message of every flow that was not passed yet.
    heads: Vec<Head>,
    /// Whose turn it will be after those that were passed.
    shares: Shares,
    /// Slots noted in the ledger during this walk only.
    tentative: Vec<(Timestamp, After)>,
    /// Chats of messages met on this walk: the next one for the same chat must wait for them.
    met: HashSet<Chat>,
    /// When the first message that waits for its chat should begin.
    look_at: Option<Timestamp>,
    /// Messages of which must be known anew what `frequency` says.
    asks: Vec<MessageId>,
}

/// The first message of a flow.
struct Head {
    flow: Flow,
    place: Place,
    chat: Chat,
}

impl Walk {
    fn new(planned: Timestamp, lane: &Lane, hands: &mut ByMessage<Hand>, now: Timestamp) -> Walk {
        let shares = lane.shares.clone();
        let (tentative, met, asks) = (Vec::new(), HashSet::new(), Vec::new());
        let mut walk = Walk { planned, heads: Vec::new(), shares, tentative, met, look_at: None, asks };
        walk.heads = lane.waiting.flows().filter_map(|flow| walk.head(flow, Unbounded, lane, hands, now)).collect();
        walk
    }

    /// The next message of the line with what becomes of it.
    fn next(
        &mut self,
        lane: &mut Lane,
        hands: &mut ByMessage<Hand>,
        mark_ahead: Millis,
        now: Timestamp,
    ) -> Option<Step> {
        let number = self.whose_turn(lane, hands, mark_ahead, now)?;
        let Head { flow, place, chat } = self.heads.swap_remove(number);
        let step = self.step(place.1, lane, hands, mark_ahead, now)?;
        if matches!(step, Step::Leaves(.., false)) {
            self.shares.took(flow);
            self.met.insert(chat.clone());
            let same: Vec<Head> = self.heads.extract_if(.., |h| h.chat == chat).collect();
            for h in same {
                let next = self.head(h.flow, Included(h.place), lane, hands, now);
                self.heads.extend(next);
            }
        }
        let next = self.head(flow, Excluded(place), lane, hands, now);
        self.heads.extend(next);
        Some(step)
    }

    /// Whose turn it is: of those that could take the next instant that is free for them the most pressing class, then by
    /// the shares. Of what is kept for strict classes the others know nothing, and what is still to be typed in full leaves
    /// no sooner than that takes.
    fn whose_turn(&self, lane: &Lane, hands: &ByMessage<Hand>, mark_ahead: Millis, now: Timestamp) -> Option<usize> {
        let heads =
            |strict: bool| self.heads.iter().enumerate().filter(move |(_, h)| h.flow.class().is_strict() == strict);
        let free = |strict: bool| {
            let first = heads(strict).map(|(_, h)| h.place.0).min()?;
            let pacing = if strict { &lane.pacing } else { lane.ordinary_pace() };
            Some((first, lane.ledger.earliest(pacing, first.max(now), After::default()).0))
        };
        let leaves = |(_, head): (usize, &Head)| {
            let hand = hands.get(&head.place.1)?;
            Some(self.leave(lane, hand, mark_ahead, now, |wish| wish).slot)
        };
        let ordinary = free(false);
        if let Some((first, free_at)) = free(true)
            && ordinary.is_none_or(|(_, ordinary_at)| {
                let soonest = heads(false).filter_map(leaves).min();
                first <= soonest.map_or(ordinary_at, |leaves| leaves.max(ordinary_at))
            })
        {
            let could = heads(true).filter(|(_, h)| h.place.0 <= free_at);
            return could.min_by_key(|(_, h)| (h.flow.class(), h.place)).map(|(number, _)| number);
        }
        let could = heads(false).filter(|(_, h)| ordinary.is_some_and(|(_, free_at)| h.place.0 <= free_at));
        could.min_by_key(|(_, h)| (self.shares.turn(h.flow), h.place)).map(|(number, _)| number)
    }

    /// What becomes of a message whose turn it is.
    fn step(
        &mut self,
        id: MessageId,
        lane: &mut Lane,
        hands: &mut ByMessage<Hand>,
        mark_ahead: Millis,
        now: Timestamp,
    ) -> Option<Step> {
        let hand = hands.get_mut(&id)?;
        let shut = match self.opens(lane, hand, mark_ahead, now) {
            None => false,
            Some(Some(open)) if open.since(now) <= WAIT_IN_HAND + hand.due.lead => true,
            Some(open) => return Some(Step::Closed(id, open)),
        };
        let holds = std::cell::Cell::new(None);
        let earliest = |wish| {
            let (at, why) = lane.earliest(&hand.due, wish);
            holds.set(why);
            at
        };
        let leave = self.leave(lane, hand, mark_ahead, now, earliest);
        let begin = begins(&leave, mark_ahead);
        if hand.due.expires_at.is_some_and(|e| leave.slot > e && (begin <= now || e <= now)) {
            return Some(Step::Expired(id));
        }
        let begin = self.known_by(id, hand, begin, now);
        if hand.due.allowed_from.is_some_and(|from| from > leave.slot) {
            return Some(Step::TooOften(id, begin));
        }
        hand.was_paced |= leave.paced;
        hand.holds = holds.get().or(hand.holds);
        if lane.pacing.spaces_sends() {
            let after = lane.after(&hand.due);
            lane.ledger.add(leave.slot, after);
            self.tentative.push((leave.slot, after));
        }
        Some(Step::Leaves(id, leave, begin, shut))
    }

    /// When a message may begin that would do so at `begin`: what `frequency` says of it is asked for where it is known from too
    /// long before that.
    fn known_by(&mut self, id: MessageId, hand: &mut Hand, begin: Timestamp, now: Timestamp) -> Timestamp {
        if hand.due.allowed_from.is_none() || hand.known_at >= begin - KNOWN_BEFORE {
            return begin;
        }
        let again = hand.asked_at.map(|asked| asked + ASK_AGAIN);
        let ask_at = again.map_or(begin - KNOWN_BEFORE, |again| again.max(begin - KNOWN_BEFORE));
        if ask_at > now {
            return ask_at;
        }
        self.asks.push(id);
        hand.asked_at = Some(now);
        now + ASK_AGAIN
    }

    /// When the windows of a message open that are closed at the instant at which it would leave, were they open all day: they may
    /// close while it is typed to.
    fn opens(&self, lane: &Lane, hand: &Hand, mark_ahead: Millis, now: Timestamp) -> Option<Option<Timestamp>> {
        if hand.due.hours.is_empty() {
            return None;
        }
        let free = |wish| lane.ledger.earliest(lane.pace_of(&hand.due), wish, lane.after(&hand.due)).0;
        let would = self.leave(lane, hand, mark_ahead, now, free).slot;
        let open = window::next_open(&hand.due.hours, would);
        (open != Some(would)).then_some(open)
    }

    /// When a message leaves, where its lane can take it at the earliest at what `earliest` says.
    fn leave(
        &self,
        lane: &Lane,
        hand: &Hand,
        mark_ahead: Millis,
        now: Timestamp,
        earliest: impl Fn(Timestamp) -> Timestamp + Copy,
    ) -> Leave {
        let leave = timeline::leave(hand.facts(hand.held_by_lane), now, earliest);
        // The lane was full when it should have begun, or had planned it later and another's place fell free, or no
        // walk was to come by when it should have begun, since one ahead of it in the line is to leave later.
        let begin = begins(&leave, mark_ahead);
        // One that came late would have begun when it came.
        let could_begin = if hand.would_begin() < hand.arrived_at { begin.min(hand.arrived_at) } else { begin };
        let passed_by = lane.pacing.spaces_sends() && begin.max(hand.arrived_at) < self.planned;
        match !hand.held_by_lane && (could_begin <= lane.full_at || (hand.was_paced && begin < now) || passed_by) {
            true => timeline::leave(hand.facts(true), now, earliest),
            false => leave,
        }
    }

    /// The first message of a flow from a place on whose chat is free.
    fn head(
        &mut self,
        flow: Flow,
        mut from: Bound<Place>,
        lane: &Lane,
        hands: &mut ByMessage<Hand>,
        now: Timestamp,
    ) -> Option<Head> {
        loop {
            let place = lane.waiting.next(flow, from)?;
            let hand = hands.get_mut(&place.1)?;
            if !lane.busy_chats.contains(&hand.due.chat) && !self.met.contains(&hand.due.chat) {
                return Some(Head { flow, place, chat: hand.due.chat.clone() });
            }
            // What goes before it to its chat may count.
            hand.known_at = Timestamp(i64::MIN);
            // Seen at the instant it should begin, it is held by the lane from then on, and typed in full later.
            let begin = hand.would_begin();
            if begin <= now {
                hand.held_by_lane = true;
            } else {
                self.look_at = Some(self.look_at.map_or(begin, |l| l.min(begin)));
            }
            from = Excluded(place);
        }
    }
}
