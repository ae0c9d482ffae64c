//! How an urgent message gets through a lane whose places are taken by what is being typed: what is less pressing and
//! not marked yet gives way, waits in line again and is typed in full later. So an urgent message waits for one send
//! that is out and the gap after it, whatever broadcast is running and however long its lead.

use crate::domain::class::Class;
use crate::domain::flow::Flow;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::pace::{After, MARGIN};
use crate::domain::state::Event;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline;
use crate::domain::window;
use crate::engine::Engine;
use crate::engine::effect::Effect;
use crate::engine::hand::{Hand, Phase};
use crate::engine::lane::Lane;

/// What the person reads who asks why typing ended.
const WHY: &str = "an urgent message took its place";

impl Engine {
    /// Lets the urgent messages of a lane through whose typing should begin now.
    pub(super) fn make_way(&mut self, name: &InstanceName, now: Timestamp) {
        let urgent = Flow::of_class(Class::Urgent);
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let mut from = std::ops::Bound::Unbounded;
        let (mut victims, mut made_way_for) = (Vec::new(), Vec::new());
        while let Some(place) = lane.waiting.next(urgent, from) {
            from = std::ops::Bound::Excluded(place);
            let Some(hand) = self.hands.get(&place.1) else { continue };
            if hand.would_begin() > now || hand.way_was_made {
                continue;
            }
            if !lane.busy_chats.contains(&hand.due.chat) {
                let mut typed: Vec<(Timestamp, MessageId, After)> = lane
                    .held
                    .iter()
                    .filter_map(|id| self.hands.get(id))
                    .filter(|h| h.phase == Phase::Begun && h.due.class != Class::Urgent && !victims.contains(&h.due.id))
                    .filter_map(|h| Some((h.leave?.slot, h.due.id, lane.after(&h.due))))
                    .collect();
                typed.sort_unstable();
                let full = lane.pacing.concurrency.is_some_and(|c| {
                    let gives_way = u32::try_from(victims.len()).unwrap_or(u32::MAX);
                    lane.in_flight.saturating_sub(gives_way) >= c
                });
                let more = in_the_way(lane, hand, &typed, full, now);
                if !more.is_empty() {
                    made_way_for.push(place.1);
                }
                victims.extend(more);
            }
        }
        for id in made_way_for {
            if let Some(hand) = self.hands.get_mut(&id) {
                hand.way_was_made = true;
            }
        }
        for id in victims {
            self.give_way(id, now);
        }
    }

    /// Takes what is being typed back into the line.
    fn give_way(&mut self, id: MessageId, now: Timestamp) {
        self.forget_slot(id);
        self.stop_typing(id, now);
        self.leave_lane(id, now);
        let Some(hand) = self.hands.get_mut(&id) else { return };
        hand.comes_back = true;
        if hand.typing.is_none() {
            self.come_back(id, now);
            return;
        }
        let event = Event::LeadEnded { wake_at: hand.would_begin() };
        self.settle_unmarked(id, &event, WHY.to_owned(), now);
    }

    /// Puts what gave way into the line again.
    pub(super) fn come_back(&mut self, id: MessageId, now: Timestamp) {
        self.stays += 1;
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let lane = self.lanes.get_mut(&hand.due.instance).filter(|lane| lane.works() && !self.stopping);
        let Some(lane) = lane else {
            self.release(id, now);
            return;
        };
        if hand.holds_chat {
            lane.busy_chats.remove(&hand.due.chat);
        }
        let again = Hand::new(hand.due.clone(), self.stays, hand.arrived_at);
        // Its lane kept it waiting: it is typed in full.
        *hand = Hand { held_by_lane: true, was_paced: true, ..again };
        lane.insert(&hand.due);
        lane.plan_by(now);
        // Who changed it meanwhile told of it when it could not be asked about.
        self.effects.push_back(Effect::Verify { ids: vec![id] });
    }
}

/// Which of those that are typed must give way for an urgent message to be typed to now: as few as help.
fn in_the_way(
    lane: &mut Lane,
    urgent: &Hand,
    typed: &[(Timestamp, MessageId, After)],
    full: bool,
    now: Timestamp,
) -> Vec<MessageId> {
    // When it could leave were there nobody else: its windows count all the same.
    let open = |wish| window::next_open(&urgent.due.hours, wish).unwrap_or(Timestamp::MAX);
    // A full lane has kept it waiting: it is typed in full, as the walk along the line will have it.
    let held = urgent.held_by_lane || full;
    let free = timeline::leave(urgent.facts(held), now, open).slot;
    if free - urgent.due.lead > now {
        return Vec::new();
    }
    let shortest_gap = lane.pacing.gap.map_or(Millis::ZERO, |(low, _)| low + MARGIN);
    let good = free + shortest_gap;
    let mut best = (slot(lane, urgent, held, now), 0);
    let reach = lane.pacing.gap.map_or(Millis::ZERO, |(_, high)| high + MARGIN);
    let behind = &typed[typed.partition_point(|(slot, ..)| *slot + reach < free)..];
    if best.0 > good {
        let mut taken_out = 0;
        for (number, (at, _, after)) in behind.iter().enumerate() {
            if best.0 <= good || *at >= best.0 {
                break;
            }
            lane.ledger.remove(*at, *after);
            taken_out = number + 1;
            let without = slot(lane, urgent, held, now);
            if without < best.0 {
                best = (without, taken_out);
            }
        }
        for (at, _, after) in &behind[..taken_out] {
            lane.ledger.add(*at, *after);
        }
    }
    let mut victims: Vec<MessageId> = behind[..best.1].iter().map(|(_, id, _)| *id).collect();
    // A place is of no use to it before its typing begins.
    if full && victims.is_empty() && best.0 - urgent.due.lead <= now {
        victims.extend(typed.last().map(|(_, id, _)| *id));
    }
    victims
}

/// When the lane could take an urgent message.
fn slot(lane: &Lane, urgent: &Hand, held: bool, now: Timestamp) -> Timestamp {
    timeline::leave(urgent.facts(held), now, |wish| lane.earliest(&urgent.due, wish).0).slot
}
