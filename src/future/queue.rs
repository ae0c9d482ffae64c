//! The virtual store of one instance: what waits, in the order in which it is claimed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::domain::claim::Wanted;
use crate::domain::flow::{Flow, Room};
use crate::domain::frequency::Frequency;
use crate::domain::id::MessageId;
use crate::domain::message::Due;
use crate::domain::time::Timestamp;
use crate::future::{Foreseen, HeldBy};

/// A message's number: the order in which messages were made, as ids of the daemon sort.
pub(super) type Number = u64;

/// A message with what is known of it.
#[derive(Debug)]
pub(super) struct Row {
    pub due: Due,
    pub foreseen: Foreseen,
    /// The occurrence it belongs to, by the planner's count.
    pub occurrence: Option<u64>,
    /// Whether that one waits in the queue of its job.
    pub hidden: bool,
    /// Whether an earlier message of its sequence has not left.
    pub blocked: bool,
    /// The next message of its sequence.
    pub then: Option<Number>,
    pub in_hand: bool,
    /// Whether its mark was written: nothing takes it back any more.
    pub marked: bool,
    /// What kept it waiting before it came to its lane.
    pub kept_by: Option<HeldBy>,
    /// How often its recipient may be written to, where it counts for that.
    pub frequency: Option<Frequency>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    rows: HashMap<Number, Row>,
    /// What may be claimed, by flow.
    order: BTreeMap<Flow, BTreeSet<(Timestamp, Number)>>,
    /// When what is in nobody's hands is of no use any more.
    expiries: BTreeSet<(Timestamp, Number)>,
    last: Number,
}

pub(super) fn id_of(number: Number) -> MessageId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

pub(super) fn number_of(id: MessageId) -> Number {
    let mut number = [0; 8];
    number.copy_from_slice(&id.0[8..]);
    u64::from_be_bytes(number)
}

impl Queue {
    /// Takes a message in and answers its number.
    pub(super) fn add(&mut self, mut row: Row) -> Number {
        self.last += 1;
        row.due.id = id_of(self.last);
        if let Some(at) = row.due.expires_at {
            self.expiries.insert((at, self.last));
        }
        self.rows.insert(self.last, row);
        self.offer(self.last);
        self.last
    }

    pub(super) fn get(&self, number: Number) -> Option<&Row> {
        self.rows.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Row> {
        self.rows.get_mut(&number)
    }

    /// Lets a message be claimed if nothing stands against it.
    pub(super) fn offer(&mut self, number: Number) {
        if let Some(row) = self.rows.get(&number)
            && !(row.hidden || row.blocked || row.in_hand || row.marked)
        {
            self.order.entry(row.due.flow).or_default().insert(place(&row.due, number));
        }
    }

    /// No longer lets it be claimed.
    pub(super) fn withdraw(&mut self, number: Number) {
        let Some(row) = self.rows.get(&number) else { return };
        let Some(order) = self.order.get_mut(&row.due.flow) else { return };
        order.remove(&place(&row.due, number));
        if order.is_empty() {
            self.order.remove(&row.due.flow);
        }
    }

    pub(super) fn remove(&mut self, number: Number) -> Option<Row> {
        self.withdraw(number);
        let row = self.rows.remove(&number)?;
        if let Some(at) = row.due.expires_at {
            self.expiries.remove(&(at, number));
        }
        Some(row)
    }

    /// Claims what is wanted and not `stopped`. Answers the messages, whether the limit cut them short, and the earliest
    /// wake after the horizon of what it did not.
    pub(super) fn claim(
        &mut self,
        wanted: &Wanted,
        stopped: impl Fn(&Row) -> bool,
    ) -> (Vec<Due>, bool, Option<Timestamp>) {
        let Wanted { horizon, limit, strict_limit, .. } = *wanted;
        let open = |flow: &Flow, order: &BTreeSet<(Timestamp, Number)>, most: usize| -> Vec<Number> {
            let waiting = order.range(..=(horizon, Number::MAX)).map(|(_, n)| *n);
            let most = if flow.class().is_strict() { strict_limit } else { most };
            waiting.filter(|n| self.rows.get(n).is_some_and(|r| !stopped(r))).take(most).collect()
        };
        let mut numbers: Vec<Number> = Vec::new();
        let mut at_hand: BTreeMap<Flow, VecDeque<Number>> = BTreeMap::new();
        let mut next_wakes: Vec<(Flow, Timestamp)> = Vec::new();
        for (flow, order) in &self.order {
            let waiting = open(flow, order, limit);
            if flow.class().is_strict() {
                numbers.extend(waiting);
                numbers.truncate(strict_limit);
            } else if !waiting.is_empty() {
                at_hand.insert(*flow, waiting.into());
            }
            let later = order.range((horizon, Number::MAX)..).map(|(wake, _)| *wake).find(|w| *w > horizon);
            next_wakes.extend(later.map(|at| (*flow, at)));
        }
        let mut room = Room::new(limit, &wanted.held, in_order(&at_hand, &self.order));
        loop {
            let round = room.round();
            if round.is_empty() {
                break;
            }
            for (flow, part) in round {
                let Some(waiting) = at_hand.get_mut(&flow) else { continue };
                let part = part.min(waiting.len());
                numbers.extend(waiting.drain(..part));
                room.brought(flow, part);
            }
        }
        let mut taken = Vec::with_capacity(numbers.len());
        for number in numbers {
            self.withdraw(number);
            if let Some(row) = self.rows.get_mut(&number) {
                row.in_hand = true;
                taken.push(row.due.clone());
            }
        }
        let next_wake = next_wakes.into_iter().filter(|(flow, _)| !room.is_short_of(*flow)).map(|(_, at)| at).min();
        (taken, room.is_short(), next_wake)
    }

    /// The earliest wake of what may be claimed and is not `stopped`.
    pub(super) fn first_wake(&self, stopped: impl Fn(&Row) -> bool) -> Option<Timestamp> {
        let open = |n: &Number| self.rows.get(n).is_some_and(|r| !stopped(r));
        self.order.values().filter_map(|o| o.iter().find(|(_, n)| open(n)).map(|(wake, _)| *wake)).min()
    }

    /// The next message in nobody's hands whose last instant has passed at `now`.
    pub(super) fn next_expired(&mut self, now: Timestamp) -> Option<Number> {
        while let Some((at, number)) = self.expiries.first().copied() {
            if at > now {
                return None;
            }
            self.expiries.pop_first();
            if self.rows.get(&number).is_some_and(|r| !r.in_hand && !r.marked) {
                return Some(number);
            }
        }
        None
    }

    /// When the next message is of no use any more.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Everything that is left, in the order in which it was made.
    pub(super) fn rest(self) -> Vec<Row> {
        let mut all: Vec<(Number, Row)> = self.rows.into_iter().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, row)| row).collect()
    }
}

/// The flows in the order in which the store finds them: those of the classes, then the others by their first wake.
fn in_order(
    at_hand: &BTreeMap<Flow, VecDeque<Number>>,
    order: &BTreeMap<Flow, BTreeSet<(Timestamp, Number)>>,
) -> Vec<Flow> {
    let mut flows: Vec<Flow> = at_hand.keys().copied().collect();
    let first = |flow: &Flow| order.get(flow).and_then(|o| o.first()).map(|(wake, _)| *wake);
    flows.sort_by_key(|f| if f.is_of_class() { (None, *f) } else { (first(f), *f) });
    flows
}

fn place(due: &Due, number: Number) -> (Timestamp, Number) {
    (due.target - due.lead, number)
}
