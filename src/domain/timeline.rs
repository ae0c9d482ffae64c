//! From due to slot to typing to mark: when each thing about one message happens.

use serde::{Deserialize, Serialize};

use crate::domain::time::{Millis, Timestamp};

/// What gives way when a message is taken up after its typing should have begun (an outage, a restart).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// The due instant stays; typing is shortened or left out.
    #[default]
    KeepDue,
    /// Typing is shown in full; the send moves.
    KeepLead,
}

/// Typing shorter than this is not worth showing when it had to be cut: it would flash.
pub const SHORTEST_CUT_TYPING: Millis = Millis(500);

/// Messages are taken into hand at the latest this long before they wake, so that nothing is read from disk when typing is due.
pub const CLAIM_AHEAD: Millis = Millis(2_000);

/// A claim takes what wakes within this beyond [`CLAIM_AHEAD`], so that a lane asks twice a second at most however dense its
/// messages lie: a claim passes over everything in hand.
pub const CLAIM_SPAN: Millis = Millis(500);

/// The mark is begun this long before the slot: what a durable commit takes on an idle machine, with room.
pub const MARK_AHEAD: Millis = Millis(25);

/// The mark is never begun earlier than this before the slot, however slow commits have become: from the mark on a
/// cancel is refused.
pub const MARK_AHEAD_MOST: Millis = Millis(100);

/// What is known of a message when its instants are worked out.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Due, or the instant of the next try.
    pub target: Timestamp,
    /// How long typing should lead the slot.
    pub lead: Millis,
    /// What gives way.
    pub late: Late,
    /// When it came into hand.
    pub arrived_at: Timestamp,
    /// Whether its lane kept it waiting past the instant its typing should have begun.
    pub held_by_lane: bool,
}

/// The instants of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leave {
    /// When it leaves.
    pub slot: Timestamp,
    /// When typing begins, if any is shown.
    pub typing_from: Option<Timestamp>,
    /// Whether its lane made it leave later than it could have.
    pub paced: bool,
}

/// Works out when a message leaves and when its typing begins. `earliest` says when the lane can take a send wished
/// for at an instant.
///
/// Typing leads the *slot* by the full lead, so a slow lane shows typing before every message. Only a message that
/// came into hand too late has its typing cut, or its send moved, as [`Late`] says.
pub fn leave(facts: Facts, now: Timestamp, earliest: impl Fn(Timestamp) -> Timestamp) -> Leave {
    let Facts { target, lead, late, arrived_at, held_by_lane } = facts;
    let came_late = arrived_at > target - lead;
    let could = target.max(arrived_at);
    if held_by_lane || (came_late && late == Late::KeepLead) {
        let slot = earliest(target.max(now + lead));
        let could = if came_late && late == Late::KeepLead { arrived_at + lead } else { could };
        return Leave { slot, typing_from: begins(slot, lead), paced: held_by_lane || slot > could.max(target) };
    }
    if !came_late {
        let slot = earliest(target);
        return Leave { slot, typing_from: begins(slot, lead), paced: slot > target };
    }
    let wished = target.max(now);
    let slot = earliest(wished);
    let left = slot.since(now).min(lead);
    let shown = if left < lead.min(SHORTEST_CUT_TYPING) { Millis::ZERO } else { left };
    Leave { slot, typing_from: begins(slot, shown), paced: slot > wished }
}

fn begins(slot: Timestamp, lead: Millis) -> Option<Timestamp> {
    (lead > Millis::ZERO).then(|| slot - lead)
}

/// When typing must be shown again so that the indicator does not die before the slot: every `refresh_every` after
/// it began. `None` when the slot comes first.
pub fn next_refresh(shown_at: Timestamp, refresh_every: Millis, slot: Timestamp) -> Option<Timestamp> {
    let next = shown_at + refresh_every;
    (next < slot - SHORTEST_CUT_TYPING).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(arrived_at: i64) -> Facts {
        Facts {
            target: Timestamp(10_000),
            lead: Millis(2_500),
            late: Late::KeepDue,
            arrived_at: Timestamp(arrived_at),
            held_by_lane: false,
        }
    }

    fn free(t: Timestamp) -> Timestamp {
        t
    }

    #[test]
    fn a_message_in_time_leaves_at_its_due_with_full_typing() {
        let l = leave(facts(5_000), Timestamp(5_000), free);
        assert_eq!(l, Leave { slot: Timestamp(10_000), typing_from: Some(Timestamp(7_500)), paced: false });
    }

    #[test]
    fn waking_a_little_late_does_not_move_the_slot() {
        let l = leave(facts(5_000), Timestamp(7_540), free);
        assert_eq!(l.slot, Timestamp(10_000));
    }

    #[test]
    fn a_slow_lane_moves_the_slot_and_typing_with_it() {
        let l = leave(facts(5_000), Timestamp(5_000), |t| t + Millis(60_000));
        assert_eq!(l, Leave { slot: Timestamp(70_000), typing_from: Some(Timestamp(67_500)), paced: true });
        let held = Facts { held_by_lane: true, ..facts(5_000) };
        let l = leave(held, Timestamp(10_400), free);
        assert_eq!(l, Leave { slot: Timestamp(12_900), typing_from: Some(Timestamp(10_400)), paced: true });
    }

    #[test]
    fn a_late_message_keeps_its_due_by_cutting_its_typing() {
        let l = leave(facts(8_000), Timestamp(8_000), free);
        assert_eq!(l, Leave { slot: Timestamp(10_000), typing_from: Some(Timestamp(8_000)), paced: false });
        let l = leave(facts(9_700), Timestamp(9_700), free);
        assert_eq!(l.typing_from, None);
        let l = leave(facts(90_000), Timestamp(90_000), free);
        assert_eq!(l, Leave { slot: Timestamp(90_000), typing_from: None, paced: false });
    }

    #[test]
    fn a_late_message_may_keep_its_lead_instead() {
        let f = Facts { late: Late::KeepLead, ..facts(90_000) };
        let l = leave(f, Timestamp(90_000), free);
        assert_eq!(l, Leave { slot: Timestamp(92_500), typing_from: Some(Timestamp(90_000)), paced: false });
    }

    #[test]
    fn typing_is_refreshed_only_while_the_slot_is_some_way_off() {
        let every = Millis(8_000);
        assert_eq!(next_refresh(Timestamp(0), every, Timestamp(20_000)), Some(Timestamp(8_000)));
        assert_eq!(next_refresh(Timestamp(8_000), every, Timestamp(16_300)), None);
        assert_eq!(next_refresh(Timestamp(0), every, Timestamp(7_000)), None);
    }
}
