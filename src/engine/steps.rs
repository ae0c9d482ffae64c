//! When time itself stumbles: the machine slept, the process was stopped, the clock was set.

use crate::domain::id::MessageId;
use crate::domain::time::{Millis, Timestamp};
use crate::engine::effect::{Effect, Standing};
use crate::engine::{Engine, Phase, Timer};

/// After a gap nothing is taken up before what gives way to later occurrences is settled, but no longer than this: a
/// planner that cannot settle must not stop the sends.
const SETTLES_WITHIN: Millis = Millis::seconds(30);

impl Engine {
    /// Nobody worked between two instants. What is in hand goes back to the store and is taken up anew, as after a
    /// restart: how late it may be, what its lane can take and whether it is still to be sent is decided afresh.
    pub(super) fn slept(&mut self, from: Timestamp, to: Timestamp, now: Timestamp) {
        self.give_back_all("nobody worked for a while: the machine slept, or its clock was set", now);
        for lane in self.lanes.iter_mut() {
            lane.was_out((from, to));
            lane.not_before = now + SETTLES_WITHIN;
        }
    }

    /// What the gap made give way is settled: the lines move on.
    pub(super) fn settled(&mut self, now: Timestamp) {
        for lane in self.lanes.iter_mut() {
            if lane.not_before > now {
                lane.not_before = now;
                lane.claim_at = Some(now);
            }
        }
    }

    /// The clock was set back. What is due keeps its instant; what rests for a while rests no longer than it would have.
    pub(super) fn set_back(&mut self, by: Millis, now: Timestamp) {
        for lane in self.lanes.iter_mut() {
            if let Standing::Resting { until, .. } = &mut lane.standing {
                *until = *until - by;
            }
            lane.probe_at = lane.probe_at.map(|t| t - by);
            lane.full_at = lane.full_at.min(now);
            lane.not_before = lane.not_before.min(now);
        }
        self.give_back_all("the clock was set back", now);
        // Writing goes on: its timers were set by the clock as it was.
        let writing: Vec<MessageId> =
            self.hands.iter().filter(|(_, h)| matches!(h.phase, Phase::Settling(_))).map(|(id, _)| *id).collect();
        for id in writing {
            self.at(now, id, Timer::Rewrite);
        }
    }

    fn give_back_all(&mut self, why: &str, now: Timestamp) {
        // What was about to leave did not.
        self.effects.retain(|effect| {
            let Effect::Send { id, .. } = effect else { return true };
            if let Some(hand) = self.hands.get_mut(id) {
                hand.phase = Phase::Marked;
            }
            false
        });
        let mut ids: Vec<MessageId> = self.hands.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.give_up_hold(id, why, now);
        }
        for lane in self.lanes.iter_mut() {
            lane.claim_again |= lane.claiming;
            lane.claim_at = Some(now);
            lane.plan_at = Some(now);
        }
    }
}
