//! How fast one instance may send: true sliding windows, gaps, rests and a daily cap, ours because a token bucket lets
//! nearly twice the rate through a window.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::draw::Draw;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::warm_up::WarmUp;

/// The pacing of one instance. An absent key is no limit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pacing {
    /// At most so many sends in any window of that length.
    pub rate: Option<Rate>,
    /// From one send to the next, drawn anew each time between the two.
    pub gap: Option<(Millis, Millis)>,
    /// Chats being typed or sent to at once; at least 1.
    pub concurrency: Option<u32>,
    /// At most so many sends in any sixty minutes.
    pub per_hour: Option<u32>,
    /// At most so many sends on a day of the lane's zone, which on the days of daylight saving has 23 or 25 hours.
    pub per_day: Option<u32>,
    /// How `per_day` rises to what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// After so many sends in a row the lane rests.
    pub batch: Option<u32>,
    /// How long it then rests, drawn anew each time between the two. A pause of at least the shorter one is a rest,
    /// whatever it came from.
    pub rest: Option<(Millis, Millis)>,
    /// Of `rate`, `per_hour` and `per_day` so many percent, 0 to 90, are kept for urgent messages and reminders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<u32>,
}

/// A sliding-window rate, such as 20 a minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Sends in a window; at least 1.
    pub count: u32,
    /// The window's length.
    pub window: Millis,
}

impl Rate {
    /// Reads `20/min`: a whole number of 1 to 100,000 and `/s`, `/min`, `/h` or `/day`.
    pub fn parse(text: &str) -> Option<Rate> {
        let (count, unit) = text.split_once('/')?;
        let window = match unit.trim() {
            "s" => Millis::seconds(1),
            "min" => Millis::seconds(60),
            "h" => Millis::seconds(3_600),
            "day" => Millis::seconds(86_400),
            _ => return None,
        };
        let count = count.trim().parse::<u32>().ok().filter(|n| (1..=100_000).contains(n))?;
        Some(Rate { count, window })
    }
}

/// A rule that keeps a send waiting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// `rate`.
    Rate,
    /// `gap`.
    Gap,
    /// `per_hour`.
    PerHour,
    /// `per_day`.
    PerDay,
    /// `batch` and `rest`.
    Rest,
}

/// Added to every gap, rest and window: two requests planned exactly a gap apart may reach the gateway a little closer,
/// because the first was held up on its way. Twenty milliseconds cover a loaded machine's scheduling.
pub const MARGIN: Millis = Millis(20);

/// How much later than planned a send may leave without a pause before it ceasing to be a rest.
const PLAN_SLACK: Millis = Millis(300);

const HOUR: Millis = Millis(3_600_000);

/// The longest day of a zone's calendar, with room: a day on which clocks are set back.
const LONGEST_DAY: Millis = Millis(26 * 3_600_000);

/// A row of sends without a rest is followed no further back than this.
const LONGEST_BATCH: Millis = Millis(7 * 86_400_000);

impl Pacing {
    /// Whether sends wait for earlier sends at all.
    pub fn spaces_sends(&self) -> bool {
        let counted = self.rate.is_some() || self.per_hour.is_some() || self.per_day.is_some();
        counted || self.gap.is_some() || self.batch.is_some()
    }

    /// What is left of it for messages that are neither urgent nor reminders; at least one send in each window.
    pub fn without_reserve(&self) -> Pacing {
        let kept = u64::from(self.reserve.unwrap_or(0).min(90));
        let left = |count: u32| u32::try_from(u64::from(count) * (100 - kept) / 100).unwrap_or(count).max(1);
        Pacing {
            rate: self.rate.map(|r| Rate { count: left(r.count), ..r }),
            per_hour: self.per_hour.map(left),
            per_day: self.per_day.map(left),
            warm_up: self.warm_up.map(|w| WarmUp { from: left(w.from), ..w }),
            ..self.clone()
        }
    }

    /// At most so many sends on that day.
    pub fn per_day_on(&self, day: Date) -> Option<u32> {
        let full = self.per_day?;
        Some(self.warm_up.map_or(full, |w| w.cap_on(day, full)))
    }

    /// What follows one send; `draw` is that send's own.
    pub fn after(&self, draw: Draw) -> After {
        let drawn = |range: Option<(Millis, Millis)>, word| {
            range.map_or(Millis::ZERO, |(low, high)| Millis(draw.with_text(word).between(low.0, high.0)) + MARGIN)
        };
        After { gap: drawn(self.gap, "gap"), rest: drawn(self.rest, "rest") }
    }

    /// How far back sends must be remembered.
    pub fn memory(&self) -> Millis {
        let mut reach = Millis::ZERO;
        for length in [
            self.rate.map(|r| r.window),
            self.gap.map(|(_, high)| high),
            self.per_hour.map(|_| HOUR),
            self.per_day.map(|_| LONGEST_DAY),
            self.batch.map(|b| {
                let (low, high) = self.rest.unwrap_or_default();
                Millis(low.0.saturating_mul(i64::from(b)).min(LONGEST_BATCH.0)) + high
            }),
        ] {
            reach = reach.max(length.unwrap_or_default());
        }
        if self.spaces_sends() { reach + MARGIN } else { Millis::ZERO }
    }

    /// The sliding windows with their rules.
    fn windows(&self) -> [Option<(Rule, Rate)>; 2] {
        let hour = self.per_hour.map(|count| (Rule::PerHour, Rate { count, window: HOUR }));
        [self.rate.map(|r| (Rule::Rate, r)), hour]
    }
}

/// What must follow a send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct After {
    /// Before the next send, where this one ends a batch.
    pub rest: Millis,
    /// Before the next send.
    pub gap: Millis,
}

/// The sends of one instance: those that left and those whose slot is fixed.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Rising by instant.
    departures: Vec<(Timestamp, After)>,
    zone: TimeZone,
}

impl Ledger {
    /// An empty one; days are those of `zone`.
    pub fn new(zone: TimeZone) -> Ledger {
        Ledger { departures: Vec::new(), zone }
    }

    /// Notes a send, past or to come. Sends of one instant stand in the order of their rests, whichever came first.
    pub fn add(&mut self, at: Timestamp, after: After) {
        self.departures.insert(self.place(at, after), (at, after));
    }

    fn place(&self, at: Timestamp, after: After) -> usize {
        self.departures.partition_point(|d| *d <= (at, after))
    }

    /// Forgets one send noted at exactly `at`, because it did not happen or happened at another instant: the one that
    /// `after` follows, or, where the pacing has changed since, any. Answers whether there was one.
    pub fn remove(&mut self, at: Timestamp, after: After) -> bool {
        let is = |d: &(Timestamp, After)| *d == (at, after);
        let exact = self.departures.iter().rposition(is);
        let place = exact.or_else(|| self.departures.iter().rposition(|(t, _)| *t == at));
        place.map(|p| self.departures.remove(p)).is_some()
    }

    /// When the latest one leaves.
    pub fn last(&self) -> Option<Timestamp> {
        self.departures.last().map(|(at, _)| *at)
    }

    /// Forgets what lies before `instant`.
    pub fn forget_before(&mut self, instant: Timestamp) {
        let keep = self.departures.partition_point(|(t, _)| *t < instant);
        if keep > 64 {
            self.departures.drain(..keep);
        }
    }

    /// The earliest instant at or after `from` at which one more send fits, before and after all that are noted, and
    /// the rule that kept it from an earlier one.
    pub fn earliest(&self, pacing: &Pacing, from: Timestamp, after: After) -> (Timestamp, Option<Rule>) {
        let (mut t, mut rule) = (from, None);
        if !pacing.spaces_sends() {
            return (t, rule);
        }
        while let Some((later, why)) = self.conflict(pacing, t, after) {
            (t, rule) = (later.max(t + Millis(1)), Some(why));
        }
        (t, rule)
    }

    /// The earliest instant at or after `from` that keeps the pace to everything noted up to then, whatever comes
    /// later: what a send checks at the moment it leaves, since those before it may have left later than planned.
    pub fn earliest_behind(&self, pacing: &Pacing, from: Timestamp) -> Timestamp {
        let mut t = from;
        while let Some((later, _)) = self.conflict_behind(pacing, t, Millis::ZERO) {
            t = later.max(t + Millis(1));
        }
        t
    }

    /// What the sends before `t` say against it. With `slack`, a pause that only just is a rest counts as none: the send
    /// before it may yet leave a little later than planned.
    fn conflict_behind(&self, pacing: &Pacing, t: Timestamp, slack: Millis) -> Option<(Timestamp, Rule)> {
        let place = self.departures.partition_point(|(d, _)| *d <= t);
        let last = place.checked_sub(1).map(|i| self.departures[i]);
        if pacing.gap.is_some()
            && let Some((before, after)) = last
            && before + after.gap > t
        {
            return Some((before + after.gap, Rule::Gap));
        }
        if let (Some(batch), Some((rest, _)), Some((before, after))) = (pacing.batch, pacing.rest, last)
            && self.run_before(place, t, (rest, slack), batch) >= batch
            && before + after.rest > t
        {
            return Some((before + after.rest, Rule::Rest));
        }
        for (rule, rate) in pacing.windows().into_iter().flatten() {
            let count = usize::try_from(rate.count).unwrap_or(usize::MAX);
            if let Some(i) = place.checked_sub(count) {
                let free = self.departures[i].0 + rate.window + MARGIN;
                if free > t {
                    return Some((free, rule));
                }
            }
        }
        self.day_full(pacing, t)
    }

    /// Whether the day of `t` has no send left; then the next day's first instant.
    fn day_full(&self, pacing: &Pacing, t: Timestamp) -> Option<(Timestamp, Rule)> {
        let cap = usize::try_from(pacing.per_day_on(self.date_of(t))?).unwrap_or(usize::MAX);
        let (from, to) = self.day_of(t)?;
        let sends =
            self.departures.partition_point(|(d, _)| *d < to) - self.departures.partition_point(|(d, _)| *d < from);
        (sends >= cap).then_some((to, Rule::PerDay))
    }

    /// The day of `t` as `per_day` counts.
    pub fn date_of(&self, t: Timestamp) -> Date {
        t.in_zone(&self.zone).date()
    }

    /// The first instant of the day of `t`, and of the day after it.
    pub fn day_of(&self, t: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let date = self.date_of(t);
        let start = |d: Date| d.to_zoned(self.zone.clone()).ok().map(|z| Timestamp::from(z.timestamp()));
        Some((start(date)?, start(date.tomorrow().ok()?)?))
    }

    /// How many sends in a row, without a rest between them, end right before `t`; counted up to `most`.
    fn run_before(&self, place: usize, t: Timestamp, (rest, slack): (Millis, Millis), most: u32) -> u32 {
        let mut count = 0;
        let mut next = t;
        for (at, after) in self.departures[..place].iter().rev() {
            // The last of them is followed by its own drawn rest; between others any pause of the length is one.
            let ends = if count == 0 { after.rest.max(rest) } else { (rest + slack).min(after.rest.max(rest)) };
            if count >= most || next.since(*at) >= ends {
                break;
            }
            count += 1;
            next = *at;
        }
        count
    }

    /// Whether a send at `t` would end a batch, or make one end sooner, so that a send planned behind it comes before
    /// the rest that is then due.
    fn shortens_a_rest(&self, place: usize, t: Timestamp, own: After, (batch, rest): (u32, Millis)) -> bool {
        // As in `run_before`: a pause that only just is a rest counts as none.
        let is_rest = |pause: Millis, after: After| pause >= (rest + PLAN_SLACK).min(after.rest.max(rest));
        let in_a_row = match place.checked_sub(1).map(|i| self.departures[i]) {
            Some((last, after)) if !is_rest(t.since(last), after) => {
                1 + self.run_before(place, last, (rest, PLAN_SLACK), batch)
            }
            _ => 1,
        };
        let (mut last, mut after) = (t, own);
        for (count, (at, next_after)) in (in_a_row..).zip(&self.departures[place..]) {
            let pause = at.since(last);
            if count >= batch && pause < after.rest.max(rest) {
                return true;
            }
            // From a rest on nothing depends on `t`.
            if is_rest(pause, after) {
                return false;
            }
            (last, after) = (*at, *next_after);
        }
        false
    }

    /// An instant to try instead of `t` and the rule that says so, or `None` when `t` fits.
    fn conflict(&self, pacing: &Pacing, t: Timestamp, own: After) -> Option<(Timestamp, Rule)> {
        if let Some(behind) = self.conflict_behind(pacing, t, PLAN_SLACK) {
            return Some(behind);
        }
        let place = self.place(t, own);
        if pacing.gap.is_some()
            && let Some((next, after)) = self.departures.get(place)
            && t + own.gap > *next
        {
            return Some((*next + after.gap, Rule::Gap));
        }
        if let (Some(batch), Some((rest, _)), Some((next, _))) = (pacing.batch, pacing.rest, self.departures.get(place))
            && self.shortens_a_rest(place, t, own, (batch, rest))
        {
            return Some((*next, Rule::Rest));
        }
        pacing.windows().into_iter().flatten().find_map(|(rule, rate)| Some((self.crowded(place, t, rate)?, rule)))
    }

    /// Whether `t` would make some window hold more than its rate; then an instant to try instead.
    fn crowded(&self, place: usize, t: Timestamp, rate: Rate) -> Option<Timestamp> {
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
        Pacing { rate: Some(Rate { count, window: Millis(window) }), ..Pacing::default() }
    }

    #[test]
    fn the_window_slides() {
        let pacing = rate(2, 1_000);
        let mut ledger = Ledger::new(TimeZone::UTC);
        let mut slots = Vec::new();
        for _ in 0..5 {
            let (t, _) = ledger.earliest(&pacing, Timestamp(0), After::default());
            ledger.add(t, After::default());
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
            let mut ledger = Ledger::new(TimeZone::UTC);
            for (wish, gap) in wishes {
                let after = After { gap: Millis(gap.max(50)) + MARGIN, rest: Millis::ZERO };
                let (t, _) = ledger.earliest(&pacing, Timestamp(wish), after);
                prop_assert!(t >= Timestamp(wish));
                ledger.add(t, after);
            }
            let all = &ledger.departures;
            for pair in all.windows(2) {
                prop_assert!(pair[1].0 >= pair[0].0 + pair[0].1.gap);
            }
            let run = usize::try_from(count).unwrap() + 1;
            for w in all.windows(run) {
                prop_assert!(w[run - 1].0.since(w[0].0) >= Millis(window));
            }
        }
    }

    /// Fills a ledger from `from` on, as fast as it lets.
    fn fill(pacing: &Pacing, zone: TimeZone, from: Timestamp, sends: i64) -> Vec<Timestamp> {
        let mut ledger = Ledger::new(zone);
        let mut all = Vec::new();
        for n in 0..sends {
            let after = pacing.after(Draw::new(7, "test").with_number(n));
            let (t, _) = ledger.earliest(pacing, from, after);
            ledger.add(t, after);
            all.push(t);
        }
        all
    }

    #[test]
    fn a_batch_is_followed_by_a_rest() {
        let rest = Some((Millis(60_000), Millis(90_000)));
        let pacing = Pacing { batch: Some(5), rest, gap: Some((Millis(100), Millis(900))), ..Pacing::default() };
        let all = fill(&pacing, TimeZone::UTC, Timestamp(0), 40);
        let mut row = 1;
        for pair in all.windows(2) {
            let pause = pair[1].since(pair[0]);
            assert!((100..=920).contains(&pause.0) || (60_000..=90_020).contains(&pause.0), "{pause}");
            row = if pause.0 >= 60_000 { 1 } else { row + 1 };
            assert!(row <= 5);
        }
        assert!(all[39].0 >= 7 * 60_000, "seven rests at least");
    }

    #[test]
    fn a_row_found_after_a_restart_goes_on_being_counted() {
        let rest = Some((Millis(60_000), Millis(60_000)));
        let pacing = Pacing { batch: Some(3), rest, ..Pacing::default() };
        let mut ledger = Ledger::new(TimeZone::UTC);
        for t in [0, 1_000, 2_000] {
            ledger.add(Timestamp(t), pacing.after(Draw::new(1, "x").with_number(t)));
        }
        let free = ledger.earliest(&pacing, Timestamp(3_000), After::default());
        assert_eq!(free, (Timestamp(62_020), Some(Rule::Rest)));
        assert_eq!(ledger.earliest_behind(&pacing, Timestamp(3_000)), Timestamp(62_020));
    }

    #[test]
    fn a_day_of_daylight_saving_has_its_own_length_and_the_same_cap() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let pacing = Pacing { per_day: Some(3), ..Pacing::default() };
        // From 2026-10-24T20:00Z: three on the 24th, three on the 25th (25 hours), three on the 26th.
        let from: Timestamp = "2026-10-24T20:00:00Z".parse::<jiff::Timestamp>().unwrap().into();
        let all = fill(&pacing, zone, from, 9);
        let texts: Vec<String> = all.iter().step_by(3).map(|t| t.to_rfc3339()).collect();
        assert_eq!(texts, ["2026-10-24T20:00:00.000Z", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"]);
    }

    #[test]
    fn a_new_account_sends_more_from_day_to_day_until_its_whole_cap() {
        let warm_up = Some(WarmUp { since: jiff::civil::date(2026, 10, 24), from: 1, days: 2 });
        let pacing = Pacing { per_day: Some(5), warm_up, ..Pacing::default() };
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let from: Timestamp = "2026-10-23T20:00:00Z".parse::<jiff::Timestamp>().unwrap().into();
        let days: Vec<i8> =
            fill(&pacing, zone.clone(), from, 15).iter().map(|t| t.in_zone(&zone).date().day()).collect();
        assert_eq!(days, [23, 24, 25, 25, 25, 26, 26, 26, 26, 26, 27, 27, 27, 27, 27]);
        let kept = Pacing { reserve: Some(40), ..pacing }.without_reserve();
        let caps = [24, 25, 26].map(|d| kept.per_day_on(jiff::civil::date(2026, 10, d)));
        assert_eq!(caps, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn any_sixty_minutes_hold_no_more_than_the_hourly_cap() {
        let gap = Some((Millis(60_000), Millis(240_000)));
        let pacing = Pacing { per_hour: Some(10), gap, ..Pacing::default() };
        let all = fill(&pacing, TimeZone::UTC, Timestamp(0), 100);
        assert!(all.windows(11).all(|w| w[10].since(w[0]) >= HOUR));
        assert!(all[99].since(all[0]) < Millis(11 * HOUR.0), "and no fewer than it allows");
    }
}
