//! All lanes, and which of them wakes next: asking costs the same for one lane and for ten thousand.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::InstanceName;
use crate::domain::time::Timestamp;
use crate::engine::lane::{Lane, LaneStart, share};

/// What the order was told of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Noted {
    wakeup: Option<Timestamp>,
    /// Messages that wait in it while it cannot send.
    stuck: usize,
}

impl Noted {
    fn of(lane: &Lane) -> Noted {
        Noted { wakeup: lane.wakeup(), stuck: if lane.works() { 0 } else { lane.waiting.len() } }
    }
}

#[derive(Debug)]
struct Entry {
    lane: Lane,
    noted: Noted,
    /// Somebody may have changed it since.
    touched: bool,
}

/// See the [module](self). Places are in the order of the names.
#[derive(Debug)]
pub(super) struct Lanes {
    places: BTreeMap<InstanceName, usize>,
    entries: Vec<Entry>,
    order: BTreeSet<(Timestamp, usize)>,
    stuck: usize,
    touched: Vec<usize>,
}

impl Lanes {
    pub(super) fn new(starts: Vec<LaneStart>, now: Timestamp) -> Lanes {
        let mut lanes: BTreeMap<InstanceName, Lane> =
            starts.into_iter().map(|l| (l.instance.clone(), Lane::new(l, now))).collect();
        let share = share(lanes.len());
        lanes.values_mut().for_each(|lane| lane.share = share);
        let places = lanes.keys().cloned().zip(0..).collect();
        let touched = (0..lanes.len()).collect();
        let entries = lanes.into_values().map(|lane| Entry { lane, noted: Noted::default(), touched: true }).collect();
        Lanes { places, entries, order: BTreeSet::new(), stuck: 0, touched }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, name: &InstanceName) -> Option<&Lane> {
        self.entries.get(*self.places.get(name)?).map(|e| &e.lane)
    }

    pub(super) fn get_mut(&mut self, name: &InstanceName) -> Option<&mut Lane> {
        let place = *self.places.get(name)?;
        let entry = self.entries.get_mut(place)?;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(place);
        }
        Some(&mut entry.lane)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.entries.iter().map(|e| &e.lane)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.touched = (0..self.entries.len()).collect();
        self.entries.iter_mut().map(|e| {
            e.touched = true;
            &mut e.lane
        })
    }

    /// The lanes whose wake has come.
    pub(super) fn awake(&mut self, now: Timestamp) -> Vec<InstanceName> {
        self.note();
        let places = self.order.range(..=(now, usize::MAX)).map(|(_, place)| *place).collect::<BTreeSet<usize>>();
        places.into_iter().map(|place| self.entries[place].lane.instance.clone()).collect()
    }

    /// When the first of them wakes.
    pub(super) fn wakeup(&self) -> Option<Timestamp> {
        let noted = self.order.iter().find(|(_, place)| !self.entries[*place].touched).map(|(at, _)| *at);
        let changed = self.touched.iter().filter_map(|place| self.entries[*place].lane.wakeup());
        changed.chain(noted).min()
    }

    /// How many messages wait in lanes that cannot send.
    pub(super) fn stuck(&self) -> usize {
        let changed = self.touched.iter().map(|place| &self.entries[*place]);
        changed.fold(self.stuck, |stuck, e| stuck - e.noted.stuck + Noted::of(&e.lane).stuck)
    }

    fn note(&mut self) {
        for place in self.touched.drain(..) {
            let entry = &mut self.entries[place];
            entry.touched = false;
            let before = std::mem::replace(&mut entry.noted, Noted::of(&entry.lane));
            self.stuck = self.stuck - before.stuck + entry.noted.stuck;
            if before.wakeup == entry.noted.wakeup {
                continue;
            }
            if let Some(at) = before.wakeup {
                self.order.remove(&(at, place));
            }
            if let Some(at) = entry.noted.wakeup {
                self.order.insert((at, place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draw::Draw;
    use crate::domain::outcome::DownCause;
    use crate::domain::time::Millis;
    use crate::engine::lane::tests::start;

    fn lanes(count: usize) -> Lanes {
        let start = |n: usize| LaneStart { instance: InstanceName::new(&format!("i{n}")), ..start() };
        Lanes::new((0..count).map(start).collect(), Timestamp(0))
    }

    /// What walking all lanes finds.
    fn walked(lanes: &Lanes, now: Timestamp) -> (Option<Timestamp>, Vec<InstanceName>) {
        let awake = lanes.iter().filter(|l| l.wakeup().is_some_and(|w| w <= now)).map(|l| l.instance.clone());
        (lanes.iter().filter_map(Lane::wakeup).min(), awake.collect())
    }

    #[test]
    fn the_order_says_what_walking_all_lanes_finds() {
        let mut lanes = lanes(20);
        for step in 0..2_000_i64 {
            let draw = Draw::new(7, "lanes").with_number(step);
            let now = Timestamp(step * 10);
            let name = InstanceName::new(&format!("i{}", draw.with_text("which").between(0, 19)));
            let lane = lanes.get_mut(&name).unwrap();
            let at = now + Millis(draw.with_text("when").between(-50, 500));
            match draw.with_text("what").between(0, 4) {
                0 => lane.claim_at = Some(at),
                1 => lane.plan_at = Some(at),
                2 => (lane.claim_at, lane.plan_at) = (None, None),
                3 => lane.down(DownCause::Session, "gone", now),
                _ => _ = lane.up(now),
            }
            if step % 97 == 0 {
                lanes.iter_mut().for_each(|lane| lane.claim_at = Some(at));
            }
            let (wakeup, awake) = walked(&lanes, now);
            assert_eq!(lanes.wakeup(), wakeup, "step {step}, told of before it is noted");
            assert_eq!(lanes.awake(now), awake, "step {step}");
            assert_eq!(lanes.wakeup(), wakeup, "step {step}, noted");
        }
    }

    #[test]
    fn ten_thousand_lanes_have_no_more_in_hand_than_some() {
        assert_eq!([1, 8, 100, 10_000].map(share), [4_096, 4_096, 327, 4]);
    }
}
