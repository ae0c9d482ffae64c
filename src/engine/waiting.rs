//! The messages of a lane that wait in hand, by flow.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Unbounded};

use crate::domain::flow::Flow;
use crate::domain::id::MessageId;
use crate::domain::message::Due;
use crate::domain::time::Timestamp;

/// Order in a flow: by target, then by id.
pub(super) type Place = (Timestamp, MessageId);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Waiting {
    flows: BTreeMap<Flow, BTreeSet<Place>>,
    strict: usize,
    ordinary: usize,
}

impl Waiting {
    pub(super) fn insert(&mut self, due: &Due) {
        if self.flows.entry(due.flow).or_default().insert((due.target, due.id)) {
            *self.count(due) += 1;
        }
    }

    pub(super) fn remove(&mut self, due: &Due) {
        let Some(places) = self.flows.get_mut(&due.flow) else { return };
        let was_there = places.remove(&(due.target, due.id));
        if places.is_empty() {
            self.flows.remove(&due.flow);
        }
        if was_there {
            *self.count(due) -= 1;
        }
    }

    fn count(&mut self, due: &Due) -> &mut usize {
        if due.class.is_strict() { &mut self.strict } else { &mut self.ordinary }
    }

    /// How many urgent messages and reminders.
    pub(super) fn strict(&self) -> usize {
        self.strict
    }

    /// How many of the classes that take turns.
    pub(super) fn ordinary(&self) -> usize {
        self.ordinary
    }

    pub(super) fn len(&self) -> usize {
        self.strict + self.ordinary
    }

    /// The flows that have something, the strict ones first.
    pub(super) fn flows(&self) -> impl Iterator<Item = Flow> {
        self.flows.keys().copied()
    }

    /// How many each flow has that knows turns.
    pub(super) fn taking_turns(&self) -> Vec<(Flow, usize)> {
        self.flows.iter().filter(|(f, _)| !f.class().is_strict()).map(|(f, places)| (*f, places.len())).collect()
    }

    /// The first place of a flow from one on.
    pub(super) fn next(&self, flow: Flow, from: Bound<Place>) -> Option<Place> {
        self.flows.get(&flow)?.range((from, Unbounded)).next().copied()
    }
}
