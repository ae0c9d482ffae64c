//! What takes turns in a lane: a campaign by itself, and all other messages of a class together.

use crate::domain::class::Class;

/// An occurrence with so many recipients or more takes turns by itself. Smaller ones share the flow of their class:
/// a turn of their own would be looked for at every claim, and they are over soon.
pub const OWN_FLOW_FROM: u64 = 20;

/// Room for the class beside the number of an occurrence in a flow's number.
const CLASSES: i64 = 8;

/// A flow: messages that leave in due order among themselves and by turns with those of other flows. The flow of a class
/// holds its single messages and small occurrences; a campaign is one of its own. Urgent messages and reminders know
/// no turns: all of a class are one flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow(i64);

impl Flow {
    /// That of all messages of a class which have none of their own.
    pub fn of_class(class: Class) -> Flow {
        Flow(class.code())
    }

    /// That of an occurrence, by its number and how many recipients it has.
    pub fn of_occurrence(number: i64, class: Class, recipients: u64) -> Flow {
        if class.is_strict() || recipients < OWN_FLOW_FROM {
            return Flow::of_class(class);
        }
        Flow(number.max(1).saturating_mul(CLASSES).saturating_add(class.code()))
    }

    /// The flow of a stored number.
    pub fn from_code(code: i64) -> Flow {
        Flow(code)
    }

    /// The number stored in the database: 0 to 4 for a class, else eight times the occurrence's plus that of its class.
    pub fn code(self) -> i64 {
        self.0
    }

    /// Whether it is the one of a class, and of no occurrence.
    pub fn is_of_class(self) -> bool {
        self.0 < CLASSES
    }

    /// The class of its messages.
    pub fn class(self) -> Class {
        Class::from_code(self.0.rem_euclid(CLASSES)).unwrap_or_default()
    }
}

/// How what an instance may have in hand is shared out among the flows that have something: by the weights of their classes,
/// evenly within a class, and what one does not need goes to the others.
#[derive(Debug)]
pub struct Room {
    limit: usize,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    flow: Flow,
    /// How many it has in hand.
    has: usize,
    /// How many it may bring in this round.
    may: usize,
    /// Whether it may have more.
    open: bool,
}

impl Room {
    /// Room for so many messages, some of which are `held` already. `open` are the flows that have more, those first that
    /// shall not go empty-handed where there are more flows than places.
    pub fn new(limit: usize, held: &[(Flow, usize)], open: impl IntoIterator<Item = Flow>) -> Room {
        let held_by = |flow| held.iter().find(|(f, _)| *f == flow).map_or(0, |(_, n)| *n);
        let part = |flow, open| Part { flow, has: held_by(flow), may: 0, open };
        let mut parts: Vec<Part> = open.into_iter().map(|flow| part(flow, true)).collect();
        for (flow, _) in held {
            if !parts.iter().any(|p| p.flow == *flow) {
                parts.push(part(*flow, false));
            }
        }
        Room { limit, parts }
    }

    /// What each flow may bring in the next round; empty once the room is used up or no flow has more.
    pub fn round(&mut self) -> Vec<(Flow, usize)> {
        let taken: usize = self.parts.iter().filter(|p| !p.open).map(|p| p.has).sum();
        let room = self.limit.saturating_sub(taken);
        let of_class = |class| self.parts.iter().filter(|p| p.open && p.flow.class() == class).count();
        // A flow weighs what its class does, shared by the flows of the class.
        let weight = |p: &Part| {
            let class = p.flow.class();
            let whole = usize::try_from(class.weight()).unwrap_or(1) * SCALE;
            if p.open { (whole / of_class(class).max(1)).max(1) } else { 0 }
        };
        let weights: Vec<usize> = self.parts.iter().map(weight).collect();
        let shares = shares_of(room, &weights);
        for (part, share) in self.parts.iter_mut().zip(shares) {
            part.may = share.saturating_sub(part.has);
        }
        self.parts.iter().filter(|p| p.open && p.may > 0).map(|p| (p.flow, p.may)).collect()
    }

    /// How many a flow brought of what it might in this round.
    pub fn brought(&mut self, flow: Flow, count: usize) {
        if let Some(part) = self.parts.iter_mut().find(|p| p.flow == flow) {
            part.has += count;
            part.open &= count >= part.may;
        }
    }

    /// Whether some flow may have more than there was room for.
    pub fn is_short(&self) -> bool {
        self.parts.iter().any(|p| p.open)
    }

    /// Whether a flow may have more than there was room for.
    pub fn is_short_of(&self, flow: Flow) -> bool {
        self.parts.iter().any(|p| p.open && p.flow == flow)
    }
}

/// Weights are worked out in parts of so much of one.
const SCALE: usize = 1_024;

/// Shares a whole out by weights to the last one: what rounding leaves goes where most of one is missing.
fn shares_of(whole: usize, weights: &[usize]) -> Vec<usize> {
    let all = weights.iter().sum::<usize>().max(1);
    let mut shares: Vec<usize> = weights.iter().map(|w| whole * w / all).collect();
    let mut places: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0).collect();
    places.sort_by_key(|i| std::cmp::Reverse(whole * weights[*i] % all));
    let left = whole.saturating_sub(shares.iter().sum());
    places.into_iter().take(left).for_each(|i| shares[i] += 1);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(number: i64) -> Flow {
        Flow::of_occurrence(number, Class::Campaign, 1_000)
    }

    /// Shares room out among flows that have so much each.
    fn shared(limit: usize, has: &[(Flow, usize)]) -> (Vec<usize>, bool) {
        let mut room = Room::new(limit, &[], has.iter().map(|(f, _)| *f));
        let mut got = vec![0; has.len()];
        loop {
            let round = room.round();
            if round.is_empty() {
                return (got, room.is_short());
            }
            for (flow, part) in round {
                let place = has.iter().position(|(f, _)| *f == flow).unwrap();
                let brings = part.min(has[place].1 - got[place]);
                got[place] += brings;
                room.brought(flow, brings);
            }
        }
    }

    #[test]
    fn a_flow_has_a_number_of_its_own_and_its_class_in_it() {
        for class in Class::ALL {
            assert_eq!(Flow::of_class(class).class(), class);
            let flow = Flow::of_occurrence(77, class, 20);
            assert_eq!((flow.class(), Flow::from_code(flow.code())), (class, flow));
            assert_eq!(flow == Flow::of_class(class), class.is_strict(), "what is strict knows no turns");
            assert_eq!(Flow::of_occurrence(77, class, 19), Flow::of_class(class), "few recipients are soon over");
        }
    }

    #[test]
    fn room_is_shared_by_weight_and_evenly_within_a_class() {
        let (normal, bulk) = (Flow::of_class(Class::Normal), Flow::of_occurrence(3, Class::Bulk, 99));
        let all = [(normal, 900), (campaign(1), 900), (campaign(2), 900), (bulk, 900)];
        assert_eq!(shared(100, &all), (vec![60, 15, 15, 10], true));
    }

    #[test]
    fn what_a_flow_does_not_need_goes_to_the_others_and_nothing_is_short_that_fits() {
        let (normal, big) = (Flow::of_class(Class::Normal), campaign(1));
        assert_eq!(shared(100, &[(normal, 3), (big, 900)]), (vec![3, 97], true));
        assert_eq!(shared(100, &[(big, 40), (normal, 50)]), (vec![40, 50], false));
        assert_eq!(shared(100, &[(big, 0), (normal, 100)]), (vec![0, 100], true), "it may have more");
        assert_eq!(shared(0, &[(big, 1)]), (vec![0], true));
    }

    #[test]
    fn with_more_flows_than_places_the_first_are_served() {
        let flows: Vec<(Flow, usize)> = (1..=10).map(|n| (campaign(n), 5)).collect();
        assert_eq!(shared(4, &flows), (vec![1, 1, 1, 1, 0, 0, 0, 0, 0, 0], true));
    }
    #[test]
    fn who_comes_late_gets_its_part_although_the_hand_is_full() {
        let (one, two) = (campaign(1), campaign(2));
        let mut room = Room::new(20, &[(one, 20)], [one, two]);
        assert_eq!(room.round(), [(two, 10)]);
        room.brought(two, 1);
        assert_eq!(room.round(), [], "one has its part and more");
        assert!(room.is_short_of(one) && !room.is_short_of(two));
        let mut room = Room::new(20, &[(one, 4), (two, 9)], [two]);
        assert_eq!(room.round(), [(two, 7)], "who has no more keeps what it has");
    }
}
