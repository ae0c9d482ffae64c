//! One instance's line: who is next, when its slot is, and what keeps the line from moving.

use std::collections::HashSet;

use jiff::tz::TimeZone;

use crate::domain::draw::Draw;
use crate::domain::id::{InstanceName, MessageSet};
use crate::domain::message::{Departure, Due};
use crate::domain::outcome::DownCause;
use crate::domain::pace::{After, Ledger, Pacing, Rule};
use crate::domain::recipient::Chat;
use crate::domain::retry::jittered;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window;
use crate::engine::effect::Standing;
use crate::engine::lateness::Backlog;
use crate::engine::shares::Shares;
use crate::engine::waiting::Waiting;

/// What a lane begins with: its settings, and what the store remembers of it.
#[derive(Clone, Debug)]
pub struct LaneStart {
    /// Whose lane.
    pub instance: InstanceName,
    /// How fast it may go.
    pub pacing: Pacing,
    /// How often typing must be shown again: the gateway's capability.
    pub refresh_every: Millis,
    /// When its latest sends left, as far back as [`Pacing::memory`] reaches.
    pub recent_sends: Vec<Departure>,
    /// Stretches in which nothing could be sent, rising.
    pub outages: Vec<(Timestamp, Timestamp)>,
    /// How it stood last: one that could not send is asked before it gets a message, however short its rest was.
    pub standing: Standing,
    /// How long after a doubtful send evidence is looked for.
    pub quarantine: Millis,
    /// The seed of its draws.
    pub seed: u64,
    /// The zone whose days `per_day` counts.
    pub zone: TimeZone,
}

/// Messages of one lane in hand at once. Bounds memory; a broadcast's next rows are claimed as these leave.
pub const HAND_LIMIT: usize = 4_096;

/// Most ordinary messages of all lanes in hand: some hundred megabytes. Many lanes share it.
const ALL_HANDS_LIMIT: usize = 32_768;

/// Each lane has so many all the same.
const LEAST_SHARE: usize = 4;

/// The part of each of so many lanes.
pub(super) fn share(lanes: usize) -> usize {
    (ALL_HANDS_LIMIT / lanes.max(1)).clamp(LEAST_SHARE, HAND_LIMIT)
}

/// Urgent and reminder messages in hand beside a full line of others.
pub const STRICT_LIMIT: usize = 256;

/// How far ahead of now a paced lane takes messages into hand: what it can use soon.
const HAND_SPAN_MS: i64 = 60_000;

/// Waits after failed connections in a row.
const UNREACHABLE_STEPS: [Millis; 5] = [Millis(1_000), Millis(2_000), Millis(5_000), Millis(10_000), Millis(30_000)];

/// Waits after "too many requests" in a row where the gateway names none.
const RATE_LIMITED_STEPS: [Millis; 6] =
    [Millis(5_000), Millis(10_000), Millis(20_000), Millis(60_000), Millis(120_000), Millis(300_000)];

/// A longer wait asked for by a gateway is cut to this.
const LONGEST_REST: Millis = Millis(3_600_000);

/// Waits between two probes of an instance that is down.
const PROBE_STEPS: [Millis; 5] = [Millis(5_000), Millis(10_000), Millis(20_000), Millis(60_000), Millis(300_000)];

/// Sends in a row without a clear answer that open the circuit: whatever is wrong, each further one would be a doubt more.
const UNCLEAR_IN_A_ROW: u32 = 5;

/// Second and later tries may be a tenth of a lane's traffic: each clear answer earns a tenth of one, and a lane begins with
/// twenty. In tenths.
const RETRY_COSTS: i64 = 10;
const RETRIES_AT_FIRST: i64 = 20 * RETRY_COSTS;

/// What a lane that used them up puts between two retries.
const RETRIES_APART: Millis = Millis::seconds(10);

/// Longest wait that the budget adds to a retry.
const RETRY_WAITS_MOST: Millis = Millis::seconds(300);

/// What keeps a message from an earlier slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// A rule of its lane's pacing.
    Pace(Rule),
    /// A window that is closed.
    Window,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub instance: InstanceName,
    pub pacing: Pacing,
    /// The same for what is neither urgent nor a reminder.
    ordinary: Pacing,
    pub refresh_every: Millis,
    pub quarantine: Millis,
    pub ledger: Ledger,
    /// Messages in hand that wait.
    pub waiting: Waiting,
    /// Whose turn it is among them.
    pub shares: Shares,
    /// Its part of what all lanes may have in hand.
    pub share: usize,
    /// All its messages in hand.
    pub held: MessageSet,
    /// The longest lead among those that wait; shrinks only when the line is empty.
    pub longest_lead: Millis,
    /// Whether `frequency` concerns some of those that wait; false again only when the line is empty.
    pub has_judged: bool,
    pub in_flight: u32,
    pub busy_chats: HashSet<Chat>,
    /// When the lane was last known to be full.
    pub full_at: Timestamp,
    pub claiming: bool,
    pub claim_again: bool,
    pub claim_at: Option<Timestamp>,
    /// Nothing is claimed before it.
    pub not_before: Timestamp,
    /// Whether the store has more that could be claimed now.
    pub more: bool,
    /// When the line must be looked at again.
    pub plan_at: Option<Timestamp>,
    pub standing: Standing,
    down_since: Option<Timestamp>,
    pub probe_at: Option<Timestamp>,
    pub probing: bool,
    setbacks: u32,
    unclear: u32,
    /// After the circuit was open one message goes alone, until one gets a clear answer.
    half_open: bool,
    retries: i64,
    pub outages: Vec<(Timestamp, Timestamp)>,
    /// What outages have left to do, where sends wait for each other.
    pub(super) backlog: Option<Backlog>,
    draw: Draw,
}

impl Lane {
    pub(super) fn new(start: LaneStart, now: Timestamp) -> Lane {
        let draw = Draw::new(start.seed, "lane").with_text(&start.instance.0);
        let sent_before = |instant: Timestamp| {
            let mut ledger = Ledger::new(start.zone.clone());
            for sent in start.recent_sends.iter().filter(|s| s.at < instant) {
                ledger.add(sent.at, start.pacing.after(sent.draw));
            }
            ledger
        };
        let ledger = sent_before(Timestamp::MAX);
        let backlog = start.pacing.spaces_sends().then(|| Backlog::after(&start.outages, sent_before)).flatten();
        let works = start.standing == Standing::Working;
        Lane {
            instance: start.instance,
            ordinary: start.pacing.without_reserve(),
            pacing: start.pacing,
            refresh_every: start.refresh_every,
            quarantine: start.quarantine,
            ledger,
            waiting: Waiting::default(),
            shares: Shares::default(),
            share: HAND_LIMIT,
            held: MessageSet::default(),
            longest_lead: Millis::ZERO,
            has_judged: false,
            in_flight: 0,
            busy_chats: HashSet::new(),
            full_at: Timestamp(i64::MIN),
            claiming: false,
            claim_again: false,
            claim_at: Some(now),
            more: false,
            plan_at: None,
            down_since: (!works).then_some(now),
            probe_at: matches!(start.standing, Standing::Down { .. }).then_some(now),
            standing: start.standing,
            probing: false,
            setbacks: 0,
            unclear: 0,
            half_open: false,
            retries: RETRIES_AT_FIRST,
            outages: start.outages,
            backlog,
            not_before: Timestamp(i64::MIN),
            draw,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pacing.concurrency.is_some_and(|c| self.in_flight >= c) || (self.half_open && self.in_flight > 0)
    }

    pub(super) fn works(&self) -> bool {
        self.standing == Standing::Working
    }

    /// How many ordinary messages the lane can use soon, so that few claims bring many.
    pub(super) fn capacity(&self) -> usize {
        let mut capacity = i64::try_from(HAND_LIMIT).unwrap_or(i64::MAX);
        if let Some(rate) = self.pacing.rate {
            let soon = i64::from(rate.count).saturating_mul(HAND_SPAN_MS) / rate.window.0.max(1);
            capacity = capacity.min(soon + 16);
        }
        if let Some((low, _)) = self.pacing.gap
            && low > Millis::ZERO
        {
            capacity = capacity.min(HAND_SPAN_MS / low.0 + 16);
        }
        if let Some(c) = self.pacing.concurrency {
            capacity = capacity.min(i64::from(c).saturating_mul(4) + 64);
        }
        usize::try_from(capacity).unwrap_or(HAND_LIMIT).clamp(16, HAND_LIMIT).min(self.share)
    }

    pub(super) fn insert(&mut self, due: &Due) {
        self.waiting.insert(due);
        self.longest_lead = self.longest_lead.max(due.lead);
        self.has_judged |= due.allowed_from.is_some();
    }

    pub(super) fn remove(&mut self, due: &Due) {
        self.waiting.remove(due);
        if self.waiting.len() == 0 {
            self.longest_lead = Millis::ZERO;
            self.has_judged = false;
        }
    }

    /// One message more is being typed or sent to.
    pub(super) fn enter(&mut self, chat: &Chat) {
        self.in_flight += 1;
        self.busy_chats.insert(chat.clone());
    }

    /// One message less is being typed or sent to.
    pub(super) fn leave(&mut self, now: Timestamp) {
        if self.is_full() {
            self.full_at = now;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.plan_at = Some(now);
    }

    /// The line must be looked at no later than `at`.
    pub(super) fn plan_by(&mut self, at: Timestamp) {
        self.plan_at = Some(self.plan_at.map_or(at, |p| p.min(at)));
    }

    /// The store must be asked no later than `at`.
    pub(super) fn claim_by(&mut self, at: Timestamp) {
        self.claim_at = Some(self.claim_at.map_or(at, |c| c.min(at)));
    }

    /// How fast it may go for what is neither urgent nor a reminder.
    pub(super) fn ordinary_pace(&self) -> &Pacing {
        &self.ordinary
    }

    /// How fast the lane may go for a message.
    pub(super) fn pace_of(&self, due: &Due) -> &Pacing {
        if due.class.is_strict() { &self.pacing } else { &self.ordinary }
    }

    /// What follows a message's send.
    pub(super) fn after(&self, due: &Due) -> After {
        self.pacing.after(due.draw_after())
    }

    /// The earliest instant at or after `wish` at which the lane can take a message and its windows are open, and what
    /// kept it from an earlier one. The end of all time where its windows never open together.
    pub(super) fn earliest(&self, due: &Due, wish: Timestamp) -> (Timestamp, Option<Holds>) {
        self.earliest_in(&self.ledger, due, wish)
    }

    /// The same beside other sends.
    pub(super) fn earliest_in(&self, ledger: &Ledger, due: &Due, wish: Timestamp) -> (Timestamp, Option<Holds>) {
        let after = self.after(due);
        let (mut at, mut holds) = (wish, None);
        // Each round moves on, and a week has few windows.
        for _ in 0..1_000 {
            let Some(open) = window::next_open(&due.hours, at) else { return (Timestamp::MAX, Some(Holds::Window)) };
            if open > at {
                (at, holds) = (open, Some(Holds::Window));
            }
            let (free, rule) = ledger.earliest(self.pace_of(due), at, after);
            if free == at {
                return (at, holds);
            }
            (at, holds) = (free, rule.map(Holds::Pace));
        }
        (at, holds)
    }

    /// Since when nothing could be sent, where it cannot now.
    pub(super) fn down_since(&self) -> Option<Timestamp> {
        self.down_since
    }

    /// A request went through: the gateway is there.
    pub(super) fn went_well(&mut self) {
        (self.setbacks, self.unclear, self.half_open) = (0, 0, false);
        self.retries = (self.retries + 1).min(RETRIES_AT_FIRST);
    }

    /// A send got no clear answer. After several in a row the lane rests until a probe says that the gateway is there, and
    /// then tries one message alone.
    pub(super) fn got_no_clear_answer(&mut self, why: &str, now: Timestamp) {
        self.unclear += 1;
        if self.works() && (self.half_open || self.unclear >= UNCLEAR_IN_A_ROW) {
            let why = format!("{} sends in a row got no clear answer, the last one: {why}", self.unclear);
            self.down(DownCause::Unclear, &why, now);
        }
    }

    /// What the budget of retries adds to the wait of one more.
    pub(super) fn retry_waits(&mut self) -> Millis {
        self.retries -= RETRY_COSTS;
        let beyond = (-self.retries).max(0);
        Millis((RETRIES_APART.0 * beyond / RETRY_COSTS).min(RETRY_WAITS_MOST.0))
    }

    /// No connection: wait a little longer each time. Answers until when.
    pub(super) fn unreachable(&mut self, why: &str, now: Timestamp) -> Timestamp {
        if let Standing::Resting { until, .. } = self.standing {
            return until;
        }
        let wait = self.step(&UNREACHABLE_STEPS, now);
        self.rest(now, wait, why.to_owned())
    }

    /// Too many requests. Answers until when.
    pub(super) fn rate_limited(&mut self, after: Option<Millis>, now: Timestamp) -> Timestamp {
        let wait = match (after, &self.standing) {
            (Some(asked), _) => Millis(asked.0.clamp(1_000, LONGEST_REST.0)),
            (None, Standing::Resting { until, .. }) => return *until,
            (None, _) => self.step(&RATE_LIMITED_STEPS, now),
        };
        self.rest(now, wait, "too many requests".to_owned())
    }

    fn step(&mut self, steps: &[Millis], now: Timestamp) -> Millis {
        let i = usize::try_from(self.setbacks).unwrap_or(usize::MAX).min(steps.len() - 1);
        self.setbacks += 1;
        jittered(steps[i], 0.1, self.draw.with_text("rest").with_number(now.0))
    }

    fn rest(&mut self, now: Timestamp, wait: Millis, why: String) -> Timestamp {
        let until = now + wait;
        match &mut self.standing {
            Standing::Working => {
                self.down_since = Some(now);
                self.standing = Standing::Resting { until, why };
                until
            }
            Standing::Resting { until: known, .. } => {
                *known = (*known).max(until);
                *known
            }
            Standing::Down { .. } => until,
        }
    }

    /// The instance cannot send until a probe says otherwise.
    pub(super) fn down(&mut self, cause: DownCause, why: &str, now: Timestamp) {
        self.down_since = self.down_since.or(Some(now));
        self.standing = Standing::Down { cause, why: why.to_owned() };
        if self.probe_at.is_none() && !self.probing {
            if !self.half_open {
                self.setbacks = 0;
            }
            self.probe_later(now);
        }
    }

    pub(super) fn probe_later(&mut self, now: Timestamp) {
        let wait = self.step(&PROBE_STEPS, now);
        self.probe_at = Some(now + wait);
    }

    /// The line moves again. Answers the outage that just ended.
    pub(super) fn up(&mut self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        self.half_open |= matches!(self.standing, Standing::Down { cause: DownCause::Unclear, .. });
        self.standing = Standing::Working;
        self.probe_at = None;
        self.probing = false;
        self.claim_by(now);
        self.plan_by(now);
        let outage = (self.down_since.take()?, now);
        self.was_out(outage);
        Some(outage)
    }

    /// Nothing could be sent for a while.
    pub(super) fn was_out(&mut self, outage: (Timestamp, Timestamp)) {
        self.outages.push(outage);
        if self.backlog.is_none() && self.pacing.spaces_sends() {
            self.backlog = Backlog::after(&[outage], |_| self.ledger.clone());
        }
    }

    /// The next instant at which this lane needs the engine.
    pub(super) fn wakeup(&self) -> Option<Timestamp> {
        match &self.standing {
            // Asked for at every step of a simulated year, so without a detour.
            Standing::Working => {
                let claim = self.claim_at.filter(|_| !self.claiming).map(|c| c.max(self.not_before));
                match (claim, self.plan_at) {
                    (Some(claim), Some(plan)) => Some(claim.min(plan)),
                    (claim, plan) => claim.or(plan),
                }
            }
            Standing::Resting { until, .. } => Some(*until),
            Standing::Down { .. } => self.probe_at,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::engine) fn start() -> LaneStart {
        LaneStart {
            instance: InstanceName::new("shop"),
            pacing: Pacing::default(),
            refresh_every: Millis(8_000),
            recent_sends: Vec::new(),
            outages: Vec::new(),
            standing: Standing::Working,
            quarantine: Millis(60_000),
            seed: 1,
            zone: TimeZone::UTC,
        }
    }

    fn lane() -> Lane {
        Lane::new(start(), Timestamp(0))
    }

    #[test]
    fn a_lane_that_was_down_begins_down_and_is_asked_at_once() {
        let down = Standing::Down { cause: DownCause::Unclear, why: "reset".to_owned() };
        let mut lane = Lane::new(LaneStart { standing: down, ..start() }, Timestamp(5));
        assert!(!lane.works());
        assert_eq!(lane.wakeup(), Some(Timestamp(5)));
        assert_eq!(lane.up(Timestamp(9)), Some((Timestamp(5), Timestamp(9))));
        lane.enter(&Chat::from_stored("1@c.us"));
        assert!(lane.is_full(), "one message tries alone");
    }

    #[test]
    fn retries_beyond_a_tenth_of_the_traffic_are_spread_out() {
        let mut lane = lane();
        assert!((0..20).all(|_| lane.retry_waits() == Millis::ZERO), "a lane begins with twenty");
        assert_eq!((lane.retry_waits(), lane.retry_waits()), (Millis(10_000), Millis(20_000)));
        (0..30).for_each(|_| lane.went_well());
        assert_eq!(lane.retry_waits(), Millis::ZERO, "thirty sends earn three");
        (0..1_000).for_each(|_| _ = lane.retry_waits());
        assert_eq!(lane.retry_waits(), RETRY_WAITS_MOST);
    }

    #[test]
    fn the_circuit_opens_after_five_unclear_answers_and_lets_one_message_try() {
        let mut lane = lane();
        (0..4).for_each(|_| lane.got_no_clear_answer("reset", Timestamp(1)));
        lane.went_well();
        (0..4).for_each(|_| lane.got_no_clear_answer("reset", Timestamp(2)));
        assert!(lane.works(), "an answer in between begins the count anew");
        lane.got_no_clear_answer("reset", Timestamp(3));
        assert!(matches!(lane.standing, Standing::Down { cause: DownCause::Unclear, .. }));
        lane.up(Timestamp(9_000));
        assert!(!lane.is_full());
        lane.enter(&Chat::from_stored("1@c.us"));
        assert!(lane.is_full(), "one alone");
        lane.got_no_clear_answer("reset", Timestamp(9_100));
        assert!(!lane.works(), "one more is enough");
        lane.up(Timestamp(20_000));
        lane.went_well();
        assert!(!lane.is_full(), "closed again");
    }
}
