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
        Noted { wakeup: lane.wakeup(), stuck: if lane.works() { 0 } else { lane.waiting() } }
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
