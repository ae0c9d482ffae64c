//! How the messages of one occurrence lie in time: what its jitter, its spread and its recipients make of the nominal
//! instant. The planner and every prediction ask here.

use jiff::tz::TimeZone;

use crate::domain::cron::first_instant;
use crate::domain::draw::Draw;
use crate::domain::job::Job;
use crate::domain::schedule::Schedule;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::typing::Typing;

/// A job with what its occurrences are worked out from.
#[derive(Clone, Debug)]
pub struct Layout<'j> {
    /// The job.
    pub job: &'j Job,
    /// The zone of its schedule.
    pub zone: &'j TimeZone,
    /// How many recipients it has.
    pub size: u64,
    /// When it entered the database.
    pub first_applied: Timestamp,
    /// The database's seed.
    pub seed: u64,
}

/// The slowest clock on Earth is so far behind UTC.
pub const SLOWEST_CLOCK: Millis = Millis(12 * 3_600_000);

/// The fastest one is so far ahead.
pub const FASTEST_CLOCK: Millis = Millis(14 * 3_600_000);

/// An occurrence is materialised this long before its typing must begin.
pub const PLANNED_AHEAD: Millis = Millis::seconds(10);

/// The longest a message of a job may be typed.
pub fn longest_lead(typing: &Typing) -> Millis {
    match *typing {
        Typing::Off => Millis::ZERO,
        Typing::Lead(lead) => lead,
        Typing::BySpeed { max, .. } => max,
    }
}

/// When an occurrence must be planned, the one before it being planned. Instants that are all known are all planned at once; a
/// recurring job keeps one occurrence ahead.
pub fn to_be_planned(job: &Job, before: Timestamp, it: Timestamp, now: Timestamp) -> Timestamp {
    let ahead = longest_lead(&job.manner.typing) + PLANNED_AHEAD;
    match (job.schedule.recurs(), job.manner.own_clock) {
        (false, _) => now,
        (true, false) => before.min(it - ahead),
        (true, true) => it - ahead - FASTEST_CLOCK,
    }
}

/// A recipient as far as the layout needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'z> {
    /// Its place in the audience, from 0.
    pub place: i64,
    /// Its clock, or the job's where it is unknown.
    pub zone: &'z TimeZone,
}

/// The instant at which a clock shows the wall clock time that names a nominal instant in UTC.
pub fn own_clock(nominal: Timestamp, zone: &TimeZone) -> Timestamp {
    first_instant(nominal.in_zone(&TimeZone::UTC).datetime(), zone).unwrap_or(nominal)
}

impl Layout<'_> {
    /// How much later than its nominal instant an occurrence is due: drawn once for all its recipients, and never as
    /// far as the next occurrence.
    pub fn jitter(&self, nominal: Timestamp) -> Millis {
        if self.job.jitter.is_none() {
            return Millis::ZERO;
        }
        self.jitter_before(nominal, self.job.schedule.next_after(nominal, self.first_applied, self.zone))
    }

    /// The same for whoever knows the occurrence after it already.
    pub fn jitter_before(&self, nominal: Timestamp, next: Option<Timestamp>) -> Millis {
        let Some(jitter) = self.job.jitter else { return Millis::ZERO };
        let most = next.map_or(jitter, |n| jitter.min(n.since(nominal) - Millis(1)));
        let draw = Draw::new(self.seed, "jitter").with_text(&self.job.name).with_number(nominal.0);
        Millis(draw.between(0, most.at_least_zero().0))
    }

    /// When the message of a recipient is due, whose typing takes `lead`; `jitter` is that of its occurrence.
    pub fn due(&self, nominal: Timestamp, jitter: Millis, whose: &Whose<'_>, lead: Millis) -> Timestamp {
        let due = match &self.job.schedule {
            // Shorter than the lead: due when its typing has been seen.
            Schedule::In(_) => nominal.max(self.first_applied + lead),
            Schedule::Event { at, remind } => {
                let named = remind.iter().find(|r| r.instant(*at, self.zone) == Some(nominal));
                named.and_then(|r| r.instant(*at, whose.zone)).unwrap_or(nominal)
            }
            // An instant of `at` that a clock skips moves later by what is skipped, as everywhere.
            Schedule::At(_) if self.job.manner.own_clock => {
                let civil = nominal.in_zone(&TimeZone::UTC).datetime();
                whose.zone.to_ambiguous_timestamp(civil).compatible().map_or(nominal, Timestamp::from)
            }
            Schedule::Every { .. } | Schedule::Cron { .. } if self.job.manner.own_clock => {
                own_clock(nominal, whose.zone)
            }
            Schedule::At(_) | Schedule::Every { .. } | Schedule::Cron { .. } => nominal,
        };
        due + jitter + self.spread_over(whose.place)
    }

    /// When the message of a recipient is due in an occurrence that somebody asked for beside the schedule.
    pub fn due_now(&self, nominal: Timestamp, whose: &Whose<'_>) -> Timestamp {
        nominal + self.spread_over(whose.place)
    }

    /// Before this instant nobody is due: a recurring job has no occurrence from before it was first applied, on
    /// whosoever's clock.
    pub fn not_before(&self) -> Option<Timestamp> {
        (self.job.manner.own_clock && self.job.schedule.recurs()).then_some(self.first_applied)
    }

    /// When the event begins that an occurrence reminds of beforehand; `None` for what comes after it, or without one.
    pub fn useless_from(&self, nominal: Timestamp) -> Option<Timestamp> {
        match &self.job.schedule {
            Schedule::Event { at, remind } => {
                let named = remind.iter().find(|r| r.instant(*at, self.zone) == Some(nominal));
                named.filter(|r| r.is_before()).map(|_| *at)
            }
            Schedule::At(_) | Schedule::In(_) | Schedule::Every { .. } | Schedule::Cron { .. } => None,
        }
    }

    /// How long after the first recipient the one at `place` is due: the span in as many even steps as there are
    /// recipients, so that the last one is due before its end.
    fn spread_over(&self, place: i64) -> Millis {
        let Some(span) = self.job.spread else { return Millis::ZERO };
        // Places of a list that is followed run on while some are left.
        let place = place.rem_euclid(i64::try_from(self.size.max(1)).unwrap_or(i64::MAX));
        let share = i128::from(span.0) * i128::from(place) / i128::from(self.size.max(1));
        Millis(i64::try_from(share).unwrap_or(span.0))
    }

    /// The base of the draws of a message's typing.
    pub fn typing_draw(&self, nominal: Timestamp, chat: &str) -> Draw {
        Draw::new(self.seed, "typing").with_text(&self.job.name).with_number(nominal.0).with_text(chat)
    }
}
