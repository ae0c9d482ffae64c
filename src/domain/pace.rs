//! How fast one instance may send: a true sliding window and a gap, ours because a token bucket lets nearly twice
//! the rate through a window.

use serde::{Deserialize, Serialize};

use crate::domain::draw::Draw;
use crate::domain::time::{Millis, Timestamp};

/// The pacing of one instance. An absent key is no limit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pacing {
    /// At most so many sends in any window of that length.
    pub rate: Option<Rate>,
    /// From one send to the next, drawn anew each time between the two.
    pub gap: Option<(Millis, Millis)>,
    /// Chats being typed or sent to at once; at least 1.
    pub concurrency: Option<u32>,
}

/// A sliding-window rate, such as 20 a minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Sends in a window; at least 1.
    pub count: u32,
    /// The window's length.
    pub window: Millis,
}

/// Added to every gap and window: two requests planned exactly a gap apart may reach the gateway a little closer,
/// because the first was held up on its way. Twenty milliseconds cover a loaded machine's scheduling.
pub const MARGIN: Millis = Millis(20);

impl Pacing {
    /// Whether sends wait for earlier sends at all.
    pub fn spaces_sends(&self) -> bool {
        self.rate.is_some() || self.gap.is_some()
    }

    /// The gap after one send; `draw` is that send's own.
    pub fn gap_after(&self, draw: Draw) -> Millis {
        self.gap.map_or(Millis::ZERO, |(low, high)| Millis(draw.between(low.0, high.0)) + MARGIN)
    }

    /// How far back sends must be remembered.
    pub fn memory(&self) -> Millis {
        let window = self.rate.map_or(Millis::ZERO, |r| r.window);
        let gap = self.gap.map_or(Millis::ZERO, |(_, high)| high);
        if self.spaces_sends() { window.max(gap) + MARGIN } else { Millis::ZERO }
    }
}

/// The sends of one instance: those that left and those whose slot is fixed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Rising by instant; each with the gap that must follow it.
    departures: Vec<(Timestamp, Millis)>,
}

impl Ledger {
    /// Notes a send, past or to come.
    pub fn add(&mut self, at: Timestamp, gap_after: Millis) {
        let place = self.departures.partition_point(|(t, _)| *t <= at);
        self.departures.insert(place, (at, gap_after));
    }

    /// Forgets one send noted at exactly `at`, because it did not happen or happened at another instant.
    pub fn remove(&mut self, at: Timestamp) -> Option<Millis> {
        let place = self.departures.iter().rposition(|(t, _)| *t == at)?;
        Some(self.departures.remove(place).1)
    }

    /// Forgets what lies before `instant`.
    pub fn forget_before(&mut self, instant: Timestamp) {
        let keep = self.departures.partition_point(|(t, _)| *t < instant);
        if keep > 64 {
            self.departures.drain(..keep);
        }
    }

    /// The earliest instant at or after `from` at which one more send fits, before and after all that are noted.
    pub fn earliest(&self, pacing: &Pacing, from: Timestamp, gap_after: Millis) -> Timestamp {
        if !pacing.spaces_sends() {
            return from;
        }
        let mut t = from;
        while let Some(later) = self.conflict(pacing, t, gap_after) {
            t = later.max(t + Millis(1));
        }
        t
    }

    /// The earliest instant at or after `from` that keeps the pace to everything noted up to then, whatever comes
    /// later: what a send checks at the moment it leaves, since those before it may have left later than planned.
    pub fn earliest_behind(&self, pacing: &Pacing, from: Timestamp) -> Timestamp {
        let mut t = from;
        loop {
            let past = self.departures.partition_point(|(d, _)| *d <= t);
            let mut later = t;
            if pacing.gap.is_some()
                && let Some((before, gap)) = past.checked_sub(1).map(|i| self.departures[i])
            {
                later = later.max(before + gap);
            }
            if let Some(rate) = pacing.rate {
                let count = usize::try_from(rate.count).unwrap_or(usize::MAX);
                if let Some(i) = past.checked_sub(count) {
                    later = later.max(self.departures[i].0 + rate.window + MARGIN);
                }
            }
            if later == t {
                return t;
            }
            t = later;
        }
    }

    /// An instant to try instead of `t`, or `None` when `t` fits.
    fn conflict(&self, pacing: &Pacing, t: Timestamp, gap_after: Millis) -> Option<Timestamp> {
        let place = self.departures.partition_point(|(d, _)| *d <= t);
        if pacing.gap.is_some() {
            if let Some((before, gap)) = place.checked_sub(1).map(|i| self.departures[i])
                && before + gap > t
            {
                return Some(before + gap);
            }
            if let Some((after, gap)) = self.departures.get(place)
                && t + gap_after > *after
            {
                return Some(*after + *gap);
            }
        }
        let rate = pacing.rate?;
        let count = usize::try_from(rate.count).unwrap_or(usize::MAX);
        let window = rate.window + MARGIN;
        // The list with `t` put in at `place`; every run of count + 1 that holds `t` must span a whole window.
        let with = |i: usize| match i.cmp(&place) {
            std::cmp::Ordering::Less => self.departures[i].0,
            std::cmp::Ordering::Equal => t,
            std::cmp::Ordering::Greater => self.departures[i - 1].0,
        };
        let length = self.departures.len() + 1;
        for first in place.saturating_sub(count)..=place {
            let last = first.saturating_add(count);
            if last >= length {
                break;
            }
            if with(last).since(with(first)) < window {
                return Some(if first == place { with(place + 1) } else { with(first) + window });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(count: u32, window: i64) -> Pacing {
        Pacing { rate: Some(Rate { count, window: Millis(window) }), gap: None, concurrency: None }
    }

    #[test]
    fn the_window_slides() {
        let pacing = rate(2, 1_000);
        let mut ledger = Ledger::default();
        let mut slots = Vec::new();
        for _ in 0..5 {
            let t = ledger.earliest(&pacing, Timestamp(0), Millis::ZERO);
            ledger.add(t, Millis::ZERO);
            slots.push(t.0);
        }
        assert_eq!(slots, [0, 0, 1_020, 1_020, 2_040]);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_rate_and_no_gap_is_shorter(
            wishes in prop::collection::vec((0_i64..20_000, 0_i64..400), 1..80),
            count in 1_u32..6,
            window in 100_i64..3_000,
        ) {
            let mut pacing = rate(count, window);
            pacing.gap = Some((Millis(50), Millis(400)));
            let mut ledger = Ledger::default();
            for (wish, gap) in wishes {
                let gap = Millis(gap.max(50)) + MARGIN;
                let t = ledger.earliest(&pacing, Timestamp(wish), gap);
                prop_assert!(t >= Timestamp(wish));
                ledger.add(t, gap);
            }
            let all = &ledger.departures;
            for pair in all.windows(2) {
                prop_assert!(pair[1].0 >= pair[0].0 + pair[0].1);
            }
            let run = usize::try_from(count).unwrap() + 1;
            for w in all.windows(run) {
                prop_assert!(w[run - 1].0.since(w[0].0) >= Millis(window));
            }
        }
    }
}
