//! Whose turn it is among the flows of a lane: start-time fair queueing (Goyal, Vin, Cheng 1996), once over the classes
//! with their weights and, within a class, once over its flows. A flow that was idle gains nothing by it and loses
//! nothing: it comes in where the others are.

use std::collections::BTreeMap;

use crate::domain::class::Class;
use crate::domain::flow::Flow;

/// Divisible by every weight.
const WHOLE: u64 = 60;

/// Flows remembered in a class before those that are owed nothing are forgotten.
const REMEMBERED: usize = 32;

/// Turns taken so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    classes: Turns<Class>,
    flows: BTreeMap<Class, Turns<Flow>>,
}

/// Where a flow stands in the order of turns: the lowest is next. In the end the more pressing class.
pub(super) type Turn = (u64, Class, u64);

impl Shares {
    pub(super) fn turn(&self, flow: Flow) -> Turn {
        let class = flow.class();
        (self.classes.start(class), class, self.flows.get(&class).map_or(0, |flows| flows.start(flow)))
    }

    /// A message of a flow has its slot. What is strict knows no turns.
    pub(super) fn took(&mut self, flow: Flow) {
        let class = flow.class();
        if class.is_strict() {
            return;
        }
        self.classes.took(class, WHOLE / u64::from(class.weight().max(1)));
        self.flows.entry(class).or_default().took(flow, 1);
    }
}

#[derive(Clone, Debug)]
struct Turns<K> {
    /// The start of what had the last turn.
    now: u64,
    /// When each is next, unless `now` is later.
    next: BTreeMap<K, u64>,
}

impl<K> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns { now: 0, next: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Turns<K> {
    fn start(&self, of: K) -> u64 {
        self.next.get(&of).map_or(self.now, |next| self.now.max(*next))
    }

    fn took(&mut self, of: K, cost: u64) {
        self.now = self.start(of);
        self.next.insert(of, self.now + cost);
        if self.next.len() > REMEMBERED {
            let now = self.now;
            self.next.retain(|_, next| *next > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(shares: &mut Shares, flows: &[Flow]) -> Flow {
        let flow = flows.iter().copied().min_by_key(|f| shares.turn(*f)).unwrap();
        shares.took(flow);
        flow
    }

    fn counted(shares: &mut Shares, flows: &[Flow], turns: usize) -> Vec<usize> {
        let mut counts = vec![0; flows.len()];
        for _ in 0..turns {
            let flow = next(shares, flows);
            counts[flows.iter().position(|f| *f == flow).unwrap()] += 1;
        }
        counts
    }

    fn campaign(number: i64, class: Class) -> Flow {
        Flow::of_occurrence(number, class, 100)
    }

    #[test]
    fn classes_share_by_weight_and_flows_of_a_class_take_turns() {
        let flows = [
            Flow::of_class(Class::Normal),
            campaign(1, Class::Campaign),
            campaign(2, Class::Campaign),
            campaign(3, Class::Bulk),
        ];
        assert_eq!(counted(&mut Shares::default(), &flows, 200), [120, 30, 30, 20]);
        assert_eq!(
            counted(&mut Shares::default(), &flows[1..3], 7),
            [4, 3],
            "the weights of who is not there are void"
        );
    }

    #[test]
    fn a_flow_that_comes_late_is_neither_ahead_nor_behind() {
        let (one, two) = (campaign(1, Class::Campaign), campaign(2, Class::Campaign));
        let mut shares = Shares::default();
        assert_eq!(counted(&mut shares, &[one], 1_000), [1_000]);
        assert_eq!(counted(&mut shares, &[one, two], 100), [50, 50]);
        assert_eq!(counted(&mut shares, &[two], 500), [500]);
        assert_eq!(counted(&mut shares, &[one, two], 100), [51, 49], "one has the first turn");
        let single = Flow::of_class(Class::Normal);
        assert_eq!(next(&mut shares, &[one, two, single]), single, "one message alone waits for no campaign");
    }

    #[test]
    fn what_is_owed_nothing_is_forgotten() {
        let mut shares = Shares::default();
        for n in 1..10_000 {
            (0..20).for_each(|_| shares.took(campaign(n, Class::Bulk)));
        }
        assert!(shares.flows[&Class::Bulk].next.len() <= REMEMBERED + 1);
    }
}
