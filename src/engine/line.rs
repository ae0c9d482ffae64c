//! How a lane's line moves: claims, slots, and who begins now.

use std::collections::HashSet;

use crate::domain::id::{ByMessage, InstanceName, MessageId};
use crate::domain::pace::After;
use crate::domain::recipient::Chat;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::{self, CLAIM_AHEAD, CLAIM_SPAN, Leave};
use crate::domain::window;
use crate::engine::Engine;
use crate::engine::effect::{Effect, Standing};
use crate::engine::hand::{Hand, begins};
use crate::engine::lane::{Lane, Place, STRICT_LIMIT};

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
        let limit = lane.capacity().saturating_sub(lane.waiting_ordinary());
        let strict_limit = STRICT_LIMIT.saturating_sub(lane.waiting_strict());
        lane.claim_at = None;
        if limit == 0 && strict_limit == 0 {
            lane.more = true;
            return;
        }
        lane.claiming = true;
        let mut except: Vec<MessageId> = lane.held.iter().copied().collect();
        except.sort_unstable();
        let horizon = now + CLAIM_AHEAD + CLAIM_SPAN;
        self.effects.push_back(Effect::Claim { instance: name.clone(), horizon, limit, strict_limit, except });
    }

    /// Asks for more once half of the line has left.
    pub(super) fn refill(lane: &mut Lane, now: Timestamp) {
        if lane.more && !lane.claiming && lane.waiting_ordinary() <= lane.capacity() / 2 {
            lane.claim_by(now);
        }
    }

    /// Gives out slots along the line and begins every message whose time has come. Later ones are only looked at as
    /// far as they could matter: their slots are tentative and worked out anew each time, always to the same result.
    fn move_line(&mut self, name: &InstanceName, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let Some(planned) = lane.plan_at.take_if(|p| *p <= now) else { return };
        lane.ledger.forget_before(now - lane.pacing.memory() - Millis(1_000));
        let before = lane.waiting_ordinary();
        let mut walk = Walk::new(planned);
        let mut begin: Vec<(MessageId, Leave)> = Vec::new();
        let mut closed: Vec<(MessageId, Option<Timestamp>)> = Vec::new();
        let mut expired: Vec<MessageId> = Vec::new();
        let mut room = lane.pacing.concurrency.map_or(u32::MAX, |c| c.saturating_sub(lane.in_flight));
        while let Some(step) = walk.next(lane, &mut self.hands, self.mark_ahead, now) {
            let (id, leave, begin_at) = match step {
                Step::Leaves(id, leave, begin_at) => (id, leave, begin_at),
                Step::Closed(id, open) => {
                    closed.push((id, open));
                    continue;
                }
                Step::Expired(id) => {
                    expired.push(id);
                    continue;
                }
            };
            if begin_at > now {
                lane.plan_by(begin_at);
                // Nobody behind it can begin before this: looked at again then, since a longer lead begins earlier.
                let earliest = leave.slot - lane.longest_lead - self.mark_ahead;
                if earliest > now {
                    lane.plan_by(earliest);
                    break;
                }
            } else if room == 0 {
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
        for (id, leave) in begin {
            self.begin(id, leave, now);
        }
        for (id, open) in closed {
            self.postpone(id, open, now);
        }
        for id in expired {
            if let (Some(hand), Some(lane)) = (self.hands.get(&id), self.lanes.get_mut(name)) {
                lane.remove(&hand.due);
            }
            self.expire(id, now);
        }
        if let Some(lane) = self.lanes.get_mut(name)
            && lane.waiting_ordinary() < before
        {
            Self::refill(lane, now);
        }
    }
}

/// A window that opens later than this is waited for in the store, sooner in hand.
const WAIT_IN_HAND: Millis = Millis::seconds(60);

/// What a walk finds at one message.
enum Step {
    /// It leaves then, and work on it begins at that instant.
    Leaves(MessageId, Leave, Timestamp),
    /// Its windows are closed until then; `None` = for ever.
    Closed(MessageId, Option<Timestamp>),
    /// Its last instant passes before it can leave.
    Expired(MessageId),
}

/// One walk along a lane's line, in the order in which its messages will leave.
struct Walk {
    /// When it was to take place; it may be late.
    planned: Timestamp,
    /// The last place looked at, by rank.
    seen: [Option<Place>; 3],
    /// Slots noted in the ledger during this walk only.
    tentative: Vec<(Timestamp, After)>,
    /// Chats of messages met on this walk: the next one for the same chat must wait for them.
    met: HashSet<Chat>,
    /// When the first message that waits for its chat should begin.
    look_at: Option<Timestamp>,
}

impl Walk {
    fn new(planned: Timestamp) -> Walk {
        Walk { planned, seen: [None; 3], tentative: Vec::new(), met: HashSet::new(), look_at: None }
    }

    /// The next message of the line with what becomes of it.
    fn next(
        &mut self,
        lane: &mut Lane,
        hands: &mut ByMessage<Hand>,
        mark_ahead: Millis,
        now: Timestamp,
    ) -> Option<Step> {
        let mut heads: [Option<Place>; 3] = [None; 3];
        for (rank, head) in heads.iter_mut().enumerate() {
            *head = self.head(rank, lane, hands, now);
        }
        let first_target = heads.iter().flatten().map(|(t, _)| *t).min()?;
        let (free_at, _) = lane.ledger.earliest(&lane.pacing, first_target.max(now), After::default());
        // The most pressing class among those that could take the lane's next free instant.
        let rank = heads.iter().position(|h| h.is_some_and(|(t, _)| t <= free_at))?;
        let place = heads[rank]?;
        self.seen[rank] = Some(place);
        let hand = hands.get_mut(&place.1)?;
        if let Some(open) = closed(lane, hand, now) {
            return Some(Step::Closed(place.1, open));
        }
        let holds = std::cell::Cell::new(None);
        let earliest = |wish| {
            let (at, why) = lane.earliest(&hand.due, wish);
            holds.set(why);
            at
        };
        let mut leave = timeline::leave(hand.facts(hand.held_by_lane), now, earliest);
        // The lane was full when it should have begun, or had planned it later and another's place fell free, or no
        // walk was to come by when it should have begun, since one ahead of it in the line is to leave later.
        let begin = begins(&leave, mark_ahead);
        let passed_by = lane.pacing.spaces_sends() && begin.max(hand.arrived_at) < self.planned;
        if !hand.held_by_lane && (begin <= lane.full_at || (hand.was_paced && begin < now) || passed_by) {
            leave = timeline::leave(hand.facts(true), now, earliest);
        }
        let begin = begins(&leave, mark_ahead);
        if hand.due.expires_at.is_some_and(|e| leave.slot > e && (begin <= now || e <= now)) {
            return Some(Step::Expired(place.1));
        }
        hand.was_paced |= leave.paced;
        hand.holds = holds.get().or(hand.holds);
        self.met.insert(hand.due.chat.clone());
        if lane.pacing.spaces_sends() {
            let after = lane.after(&hand.due);
            lane.ledger.add(leave.slot, after);
            self.tentative.push((leave.slot, after));
        }
        Some(Step::Leaves(place.1, leave, begin))
    }

    /// The first message of a rank, past those seen, whose chat is free.
    fn head(&mut self, rank: usize, lane: &Lane, hands: &mut ByMessage<Hand>, now: Timestamp) -> Option<Place> {
        use std::ops::Bound::{Excluded, Unbounded};
        loop {
            let from = self.seen[rank].map_or(Unbounded, Excluded);
            let place = *lane.waiting[rank].range((from, Unbounded)).next()?;
            let hand = hands.get_mut(&place.1)?;
            let busy = lane.busy_chats.contains(&hand.due.chat) || self.met.contains(&hand.due.chat);
            if !busy {
                return Some(place);
            }
            // Seen at the instant it should begin, it is held by the lane from then on, and typed in full later.
            let begin = hand.would_begin();
            if begin <= now {
                hand.held_by_lane = true;
            } else {
                self.look_at = Some(self.look_at.map_or(begin, |l| l.min(begin)));
            }
            self.seen[rank] = Some(place);
        }
    }
}

/// Whether a message's windows stay closed for a while from the instant at which its lane could take it; then when
/// they open.
fn closed(lane: &Lane, hand: &Hand, now: Timestamp) -> Option<Option<Timestamp>> {
    if hand.due.hours.is_empty() {
        return None;
    }
    let (free, _) = lane.ledger.earliest(&lane.pacing, hand.due.target.max(now), lane.after(&hand.due));
    match window::next_open(&hand.due.hours, free) {
        Some(open) if open <= free || open.since(now) <= WAIT_IN_HAND + hand.due.lead => None,
        open => Some(open),
    }
}
