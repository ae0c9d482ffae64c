//! Cron patterns, and the rule by which they meet daylight saving.
//!
//! A pattern is *fixed-time* when its seconds, minutes and hours are single values or lists of them. Vixie's rule: a
//! fixed time fires once on each of its days, when the wall clock first shows it or, where the clock is set forward
//! over it, something later. All other patterns follow the clock: they fire whenever it shows a matching time, twice
//! in an hour that comes twice, not at all in one that is skipped.

mod parse;
mod words;

use jiff::Timestamp as Instant;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::domain::time::{Millis, Timestamp};

pub use parse::{CronError, settle_spread};
pub use words::words;

/// A cron pattern of five to seven fields, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: Days,
    /// Bits 1 to 12.
    months: u64,
    weekdays: Weekdays,
    /// Runs of years; none = every year.
    years: Vec<Run>,
    fixed: bool,
}

/// Days of the month.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Days {
    /// Bits 1 to 31.
    set: u64,
    /// Bit n: n days before the last.
    from_last: u64,
    /// Bits 1 to 31: the weekday nearest to that day, within the month.
    nearest_weekday: u64,
    /// The last weekday of the month.
    last_weekday: bool,
    /// Whether it is written with a star, and so restricts nothing by itself.
    star: bool,
}

/// Days of the week; Sunday is 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Weekdays {
    set: u64,
    /// By week of the month, the first to the fifth.
    nth: [u64; 5],
    /// The last one of the month.
    last: u64,
    star: bool,
}

/// Values from one to another, every so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    from: u32,
    to: u32,
    step: u32,
}

/// The Gregorian calendar repeats after this many years: what does not match within them never does.
const CYCLE: i16 = 400;

const LAST_YEAR: i16 = 9_998;

impl Cron {
    /// Whether it fires at fixed times rather than following the clock.
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Whether days of the month and days of the week are both given, and how they are joined: `Some(true)` when
    /// either is enough, as in Vixie cron, `Some(false)` when one of them begins with a star, so that both must match.
    pub fn joins_days(&self) -> Option<bool> {
        let all_days = self.days.set == bits(1, 31);
        let all_weekdays = self.weekdays.set == bits(0, 6);
        (!all_days && !all_weekdays).then_some(!self.days.star && !self.weekdays.star)
    }

    /// The first occurrence strictly after `after`, or `None` when there is none.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.fixed { self.next_fixed(after, zone) } else { self.next_by_clock(after, zone) }
    }

    /// The first wall clock time from `from` on, itself included, that the pattern names.
    pub fn next_named(&self, from: DateTime) -> Option<DateTime> {
        let mut from = from;
        loop {
            let date = self.next_date(from.date())?;
            if date != from.date() {
                from = date.at(0, 0, 0, 0);
            }
            if let Some(found) = self.next_time(from) {
                return Some(found);
            }
            from = date.tomorrow().ok()?.at(0, 0, 0, 0);
        }
    }

    fn next_fixed(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // What the clock skips before `after` was made up for before it too, so nothing named earlier is to come.
        let mut from = after.in_zone(zone).datetime().with().subsec_nanosecond(0).build().ok()?;
        loop {
            let named = self.next_named(from)?;
            let at = first_instant(named, zone)?;
            if at > after {
                return Some(at);
            }
            from = named.checked_add(jiff::SignedDuration::from_secs(1)).ok()?;
        }
    }

    fn next_by_clock(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = Instant::from_second(after.0.div_euclid(1_000) + 1).ok()?;
        loop {
            // Until the next transition the clock is a straight line.
            let offset = zone.to_offset(from);
            let until = zone.following(from).next().map(|t| t.timestamp());
            let named = self.next_named(offset.to_datetime(from))?;
            let at = offset.to_timestamp(named).ok()?;
            match until {
                Some(until) if at >= until => from = until,
                _ => return Some(at.into()),
            }
        }
    }

    fn next_date(&self, from: Date) -> Option<Date> {
        let last = from.year().saturating_add(CYCLE).min(LAST_YEAR);
        let (mut year, mut month, mut day) = (from.year(), from.month(), from.day());
        while year <= last {
            if self.in_year(year) && self.months & bit(month.unsigned_abs().into()) != 0 {
                let days = self.days_of(year, month) & !below(day.unsigned_abs().into());
                if days != 0 {
                    return Date::new(year, month, i8::try_from(days.trailing_zeros()).ok()?).ok();
                }
            }
            (month, day) = (month + 1, 1);
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        None
    }

    fn in_year(&self, year: i16) -> bool {
        let year = u32::from(year.unsigned_abs());
        self.years.is_empty()
            || self.years.iter().any(|r| (r.from..=r.to).contains(&year) && (year - r.from).is_multiple_of(r.step))
    }

    /// The days of a month on which it fires.
    fn days_of(&self, year: i16, month: i8) -> u64 {
        let Ok(first) = Date::new(year, month, 1) else { return 0 };
        let length = u32::from(first.days_in_month().unsigned_abs());
        let weekday_of_first = u32::from(first.weekday().to_sunday_zero_offset().unsigned_abs());
        let weekday = |day: u32| (weekday_of_first + day - 1) % 7;
        let by_day = self.days.of_month(length, weekday);
        let by_weekday = self.weekdays.of_month(length, weekday);
        let matching = if self.days.star || self.weekdays.star { by_day & by_weekday } else { by_day | by_weekday };
        matching & bits(1, length)
    }

    /// The first named time of a day from `from` on.
    fn next_time(&self, from: DateTime) -> Option<DateTime> {
        let [hour, minute, second] = [from.hour(), from.minute(), from.second()].map(|v| u32::from(v.unsigned_abs()));
        let next = |set: u64, from: u32| {
            let left = set & !below(from);
            (left != 0).then(|| left.trailing_zeros())
        };
        let at = |h: u32, m: u32, s: u32| {
            let part = |v: u32| i8::try_from(v).ok();
            Some(from.date().at(part(h)?, part(m)?, part(s)?, 0))
        };
        let (first_minute, first_second) = (next(self.minutes, 0)?, next(self.seconds, 0)?);
        let h = next(self.hours, hour)?;
        if h > hour {
            return at(h, first_minute, first_second);
        }
        if let Some(m) = next(self.minutes, minute) {
            if m > minute {
                return at(h, m, first_second);
            }
            if let Some(s) = next(self.seconds, second) {
                return at(h, m, s);
            }
            if let Some(m) = next(self.minutes, minute + 1) {
                return at(h, m, first_second);
            }
        }
        at(next(self.hours, hour + 1)?, first_minute, first_second)
    }
}

impl Days {
    fn of_month(&self, length: u32, weekday: impl Fn(u32) -> u32) -> u64 {
        let mut found = self.set;
        let on_weekday = |day: u32| !matches!(weekday(day), 0 | 6);
        for n in (0..length).filter(|n| self.from_last & bit(*n) != 0) {
            found |= bit(length - n);
        }
        for wished in (1..=length).filter(|d| self.nearest_weekday & bit(*d) != 0) {
            let nearest = [0_i64, -1, 1, -2, 2].iter().filter_map(|away| {
                let day = u32::try_from(i64::from(wished) + away).ok()?;
                ((1..=length).contains(&day) && on_weekday(day)).then_some(day)
            });
            found |= nearest.take(1).map(bit).sum::<u64>();
        }
        if self.last_weekday {
            found |= (1..=length).rev().find(|d| on_weekday(*d)).map_or(0, bit);
        }
        found
    }
}

impl Weekdays {
    fn of_month(&self, length: u32, weekday: impl Fn(u32) -> u32) -> u64 {
        let fits = |day: u32| {
            let weekday = bit(weekday(day));
            let week = usize::try_from((day - 1) / 7).unwrap_or(0);
            self.set & weekday != 0 || self.nth[week] & weekday != 0 || (self.last & weekday != 0 && day + 7 > length)
        };
        (1..=length).filter(|d| fits(*d)).map(bit).sum()
    }
}

/// The first instant at which the clock shows a wall clock time or, where it is set forward over it, something later.
pub fn first_instant(named: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(named);
    if let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() {
        // Read by the clock as it was before, it lies past the transition, and no further than the gap is wide.
        let past = before.to_timestamp(named).ok()?;
        let transition = zone.preceding(past.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?).next()?;
        return Some(transition.timestamp().into());
    }
    Some(ambiguous.earlier().ok()?.into())
}

/// What a zone's clock does at a transition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// The first wall clock time that is skipped, or that comes a second time.
    pub from: DateTime,
    /// The wall clock time after the last such one.
    pub to: DateTime,
    /// Whether it is skipped; else it comes twice.
    pub skips: bool,
}

/// The transitions of a zone after `now`, for as long as `span`, at which its clock is set.
pub fn transitions(zone: &TimeZone, now: Timestamp, span: Millis) -> Vec<Transition> {
    let (Ok(from), end) = (Instant::from_millisecond(now.0), now + span) else { return Vec::new() };
    let mut before = zone.to_offset(from);
    let mut found = Vec::new();
    for t in zone.following(from).take_while(|t| Timestamp::from(t.timestamp()) <= end) {
        let (old, new) = (before.to_datetime(t.timestamp()), t.offset().to_datetime(t.timestamp()));
        before = t.offset();
        if old != new {
            let skips = new > old;
            found.push(Transition { at: t.timestamp().into(), from: old.min(new), to: old.max(new), skips });
        }
    }
    found
}

fn bit(n: u32) -> u64 {
    1_u64.checked_shl(n).unwrap_or(0)
}

fn below(n: u32) -> u64 {
    bit(n).wrapping_sub(1)
}

/// The bits from one to another, both included.
fn bits(from: u32, to: u32) -> u64 {
    below(to + 1) & !below(from)
}

#[cfg(test)]
mod tests;
