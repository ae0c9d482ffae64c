//! When a job fires.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::cron::{self, Cron, CronError, first_instant};
use crate::domain::event::{self, Remind};
use crate::domain::time::{Millis, Timestamp, parse_duration};

/// The "when" of a job. Zones are kept by name beside it and handed in as values.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// At these instants, in rising order.
    At(Vec<Timestamp>),
    /// This long after the job was first applied, once.
    In(Millis),
    /// Again and again, this far apart, whatever the clock shows: on the grid of `anchor`, else from `starts` on, else
    /// from one period after the job was first applied.
    Every {
        /// At least one second.
        period: Millis,
        /// An instant at which it fires, and so all others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anchor: Option<Timestamp>,
        /// What bounds it.
        #[serde(flatten)]
        bounds: Bounds,
    },
    /// So far before and after an event.
    Event {
        /// When the event begins.
        at: Timestamp,
        /// Its reminders.
        remind: Vec<Remind>,
    },
    /// When any of these patterns matches the wall clock of the job's zone.
    Cron {
        /// Patterns that [`parse_pattern`] accepted.
        patterns: Vec<String>,
        /// What bounds them.
        #[serde(flatten)]
        bounds: Bounds,
    },
}

/// What bounds a recurring schedule.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// Nothing before it.
    pub starts: Option<Timestamp>,
    /// Nothing after it.
    pub ends: Option<Timestamp>,
    /// Only so many occurrences, counted from `starts` or from when the job was first applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Days on which it does not fire, in the job's zone.
    #[serde(default, skip_serializing_if = "Excluded::is_empty")]
    pub exclude: Excluded,
}

/// Days on which a schedule does not fire.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Excluded {
    /// Days of one year.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dates: BTreeSet<Date>,
    /// Days of every year: month and day.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub yearly: BTreeSet<(i8, i8)>,
}

impl Excluded {
    /// Whether no day is excluded.
    pub fn is_empty(&self) -> bool {
        self.dates.is_empty() && self.yearly.is_empty()
    }

    /// Whether a day is excluded.
    pub fn contains(&self, day: Date) -> bool {
        self.dates.contains(&day) || self.yearly.contains(&(day.month(), day.day()))
    }
}

/// Shortest distance of `every`.
pub const SHORTEST_PERIOD: Millis = Millis::seconds(1);

/// Most occurrences that `count` counts: the bound on the work of finding the last.
pub const COUNT_LIMIT: u32 = 10_000;

/// Excluded days stepped over in search of an occurrence: forty years of every day.
const DAYS_OVER: usize = 15_000;

/// One source of occurrences in a `cron` key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// By the wall clock.
    Clock(Cron),
    /// `@every 90s`: as the key `every`.
    Every(Millis),
}

/// Reads a cron pattern, or `@every` with a duration of at least one second.
///
/// # Errors
/// [`CronError`] for what cannot be read and for what never matches, such as `0 0 30 2 *`.
pub fn parse_pattern(text: &str) -> Result<Pattern, CronError> {
    let Some(length) = text.trim().strip_prefix("@every ") else { return Cron::parse(text).map(Pattern::Clock) };
    let wrong = |what| CronError::Syntax { pattern: text.chars().take(120).collect(), what };
    match parse_duration(length) {
        Ok(period) if period >= SHORTEST_PERIOD => Ok(Pattern::Every(period)),
        Ok(period) => Err(wrong(format!("{period} is shorter than {SHORTEST_PERIOD}"))),
        Err(e) => Err(wrong(e.to_string())),
    }
}

/// A recurring schedule made ready to be asked for many occurrences.
struct Times<'s> {
    sources: Vec<Source>,
    bounds: &'s Bounds,
    zone: &'s TimeZone,
    first_applied: Timestamp,
    /// The last occurrence that `count` allows.
    last: Option<Timestamp>,
}

enum Source {
    Clock(Cron),
    Every { period: Millis, origin: Timestamp },
}

impl Times<'_> {
    fn after(&self, after: Timestamp) -> Option<Timestamp> {
        self.uncounted(after).filter(|t| self.last.is_none_or(|last| *t <= last))
    }

    fn uncounted(&self, after: Timestamp) -> Option<Timestamp> {
        let mut after = self.bounds.starts.map_or(after, |s| after.max(s - Millis(1)));
        for _ in 0..DAYS_OVER {
            let next = self.sources.iter().filter_map(|s| s.after(after, self.zone)).min()?;
            if self.bounds.ends.is_some_and(|e| next > e) {
                return None;
            }
            if self.bounds.exclude.is_empty() {
                return Some(next);
            }
            let day = next.in_zone(self.zone).date();
            if !self.bounds.exclude.contains(day) {
                return Some(next);
            }
            after = first_instant(day.tomorrow().ok()?.at(0, 0, 0, 0), self.zone)? - Millis(1);
        }
        None
    }

    /// The occurrence at which `count` is used up; when the schedule ends before, its last.
    fn last_counted(&self, count: u32) -> Option<Timestamp> {
        let mut at = self.first_applied - Millis(1);
        for _ in 0..count.min(COUNT_LIMIT) {
            match self.uncounted(at) {
                Some(t) => at = t,
                None => break,
            }
        }
        Some(at)
    }
}

impl Source {
    fn after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Source::Clock(cron) => cron.next_after(after, zone),
            Source::Every { period, origin } => {
                let steps = if *origin > after { 0 } else { after.since(*origin).0 / period.0 + 1 };
                let next = *origin + Millis(steps.saturating_mul(period.0));
                Some(next).filter(|t| *t > after && *t < Timestamp::MAX)
            }
        }
    }
}

impl Schedule {
    /// Whether it fires again and again.
    pub fn recurs(&self) -> bool {
        self.bounds().is_some()
    }

    /// Whether several of its occurrences may be missed at once: it recurs, or names several instants.
    pub fn repeats(&self) -> bool {
        matches!(self, Schedule::At(instants) if instants.len() > 1) || self.recurs()
    }

    /// What bounds it, where it recurs.
    pub fn bounds(&self) -> Option<&Bounds> {
        match self {
            Schedule::At(_) | Schedule::In(_) | Schedule::Event { .. } => None,
            Schedule::Every { bounds, .. } | Schedule::Cron { bounds, .. } => Some(bounds),
        }
    }

    fn times<'s>(&'s self, first_applied: Timestamp, zone: &'s TimeZone) -> Option<Times<'s>> {
        let bounds = self.bounds()?;
        let every = |period: Millis, anchor: Option<Timestamp>| {
            let begin = if anchor.is_some() { first_applied } else { first_applied + period };
            let from = bounds.starts.unwrap_or(begin);
            // The first instant of the anchor's grid from there on.
            let origin = anchor.map_or(from, |a| from + Millis(a.since(from).0.rem_euclid(period.0)));
            Source::Every { period, origin }
        };
        let sources = match self {
            Schedule::At(_) | Schedule::In(_) | Schedule::Event { .. } => return None,
            Schedule::Every { period, anchor, .. } => vec![every(*period, *anchor)],
            Schedule::Cron { patterns, .. } => patterns
                .iter()
                .filter_map(|p| match parse_pattern(p).ok()? {
                    Pattern::Clock(cron) => Some(Source::Clock(cron)),
                    Pattern::Every(period) => Some(every(period, None)),
                })
                .collect(),
        };
        let mut times = Times { sources, bounds, zone, first_applied, last: None };
        times.last = bounds.count.and_then(|c| times.last_counted(c));
        Some(times)
    }

    /// The first occurrence strictly after `after`, or `None` when there is none.
    ///
    /// `first_applied` is when the job entered the database; `zone` is the job's zone.
    pub fn next_after(&self, after: Timestamp, first_applied: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::At(instants) => instants.get(instants.partition_point(|t| *t <= after)).copied(),
            Schedule::In(delay) => Some(first_applied + *delay).filter(|t| *t > after),
            Schedule::Event { at, remind } => event::instants(*at, remind, zone).into_iter().find(|t| *t > after),
            Schedule::Every { .. } | Schedule::Cron { .. } => self.times(first_applied, zone)?.after(after),
        }
    }

    /// Its occurrences strictly after `after`, rising: cheaper than asking for each anew.
    pub fn all_after<'s>(
        &'s self,
        after: Timestamp,
        first_applied: Timestamp,
        zone: &'s TimeZone,
    ) -> impl Iterator<Item = Timestamp> + 's {
        let times = self.times(first_applied, zone);
        std::iter::successors(Some(after), move |t| match &times {
            Some(times) => times.after(*t),
            None => self.next_after(*t, first_applied, zone),
        })
        .skip(1)
    }

    /// The first occurrence of all, which may lie in the past when the job is applied late.
    pub fn first(&self, first_applied: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::At(instants) => instants.first().copied(),
            Schedule::In(delay) => Some(first_applied + *delay),
            Schedule::Event { at, remind } => event::instants(*at, remind, zone).first().copied(),
            Schedule::Every { .. } | Schedule::Cron { .. } => {
                self.next_after(first_applied - Millis(1), first_applied, zone)
            }
        }
    }

    /// When its event begins, where it has one.
    pub fn event_at(&self) -> Option<Timestamp> {
        match self {
            Schedule::Event { at, .. } => Some(*at),
            Schedule::At(_) | Schedule::In(_) | Schedule::Every { .. } | Schedule::Cron { .. } => None,
        }
    }

    /// Which of its instants take the place of which ones of a schedule that the same job had before: its reminders one by one
    /// where it has an event, and where it names as many new instants as it names old ones no more, those in their order.
    pub fn moved_from(
        &self,
        before: &Schedule,
        (zone_before, zone): (&TimeZone, &TimeZone),
        first_applied: Timestamp,
    ) -> Vec<(Timestamp, Timestamp)> {
        match (before, self) {
            (Schedule::Event { at: from, remind: before }, Schedule::Event { at, remind }) => {
                let before = event::instants(*from, before, zone_before);
                before.into_iter().zip(event::instants(*at, remind, zone)).collect()
            }
            (Schedule::At(_) | Schedule::In(_), Schedule::At(_) | Schedule::In(_)) => {
                let (before, after) = (before.fixed(first_applied), self.fixed(first_applied));
                let gone: Vec<Timestamp> = before.iter().filter(|t| after.binary_search(t).is_err()).copied().collect();
                let new: Vec<Timestamp> = after.iter().filter(|t| before.binary_search(t).is_err()).copied().collect();
                if gone.len() == new.len() { gone.into_iter().zip(new).collect() } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// The instants of `at`, and that of `in`.
    fn fixed(&self, first_applied: Timestamp) -> Vec<Timestamp> {
        match self {
            Schedule::At(all) => all.clone(),
            Schedule::In(after) => vec![first_applied + *after],
            Schedule::Every { .. } | Schedule::Event { .. } | Schedule::Cron { .. } => Vec::new(),
        }
    }

    /// Has its event begin at another instant, where it has one.
    pub fn move_event(&mut self, to: Timestamp) {
        if let Schedule::Event { at, .. } = self {
            *at = to;
        }
    }

    /// The distance between two occurrences where the schedule recurs; for cron, between the next two.
    pub fn period(&self, now: Timestamp, zone: &TimeZone) -> Option<Millis> {
        match self {
            Schedule::At(_) | Schedule::In(_) | Schedule::Event { .. } => None,
            Schedule::Every { period, .. } => Some(*period),
            Schedule::Cron { .. } => {
                let mut next = self.all_after(now, now, zone);
                let first = next.next()?;
                Some(next.next()?.since(first))
            }
        }
    }

    /// The schedule in words.
    pub fn words(&self, zone: &TimeZone) -> String {
        let told = match self {
            Schedule::At(instants) => {
                let all: Vec<String> = instants
                    .iter()
                    .take(3)
                    .map(|t| t.in_zone(zone).strftime("%Y-%m-%d %H:%M:%S").to_string())
                    .collect();
                let more = if instants.len() > 3 { format!(" and {} more", instants.len() - 3) } else { String::new() };
                format!("at {}{more}", all.join(", "))
            }
            Schedule::In(delay) => format!("once, {delay} after the file is first applied"),
            Schedule::Event { at, remind } => {
                let distances: Vec<String> = remind.iter().map(Remind::to_string).collect();
                format!("{} of {}", distances.join(", "), at.in_zone(zone).strftime("%Y-%m-%d %H:%M"))
            }
            Schedule::Every { period, .. } => format!("every {period}"),
            Schedule::Cron { patterns, .. } => {
                let words: Vec<String> = patterns
                    .iter()
                    .map(|p| match parse_pattern(p) {
                        Ok(Pattern::Every(period)) => format!("every {period}"),
                        _ => cron::words(p),
                    })
                    .collect();
                words.join("; ")
            }
        };
        let Some(bounds) = self.bounds() else { return told };
        let times = bounds.count.map(|c| if c == 1 { ", once".to_owned() } else { format!(", {c} times") });
        let days = bounds.exclude.dates.len() + bounds.exclude.yearly.len();
        let except = match days {
            0 => None,
            1 => Some(", except on 1 day".to_owned()),
            n => Some(format!(", except on {n} days")),
        };
        format!("{told}{}{}", times.unwrap_or_default(), except.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_names_instead_of_an_instant_takes_its_place() {
        let ms = |all: &[i64]| Schedule::At(all.iter().map(|t| Timestamp(*t)).collect());
        let utc = (&TimeZone::UTC, &TimeZone::UTC);
        let moved = |before: &[i64], after: &[i64]| ms(after).moved_from(&ms(before), utc, Timestamp(1));
        let pairs = |all: &[(i64, i64)]| all.iter().map(|(a, b)| (Timestamp(*a), Timestamp(*b))).collect::<Vec<_>>();
        assert_eq!(moved(&[10], &[20]), pairs(&[(10, 20)]));
        assert_eq!(moved(&[10, 20], &[20, 30]), pairs(&[(10, 30)]), "what is named still stays itself");
        assert_eq!(moved(&[10, 20], &[15, 25]), pairs(&[(10, 15), (20, 25)]));
        assert_eq!(moved(&[10], &[20, 30]), [], "which of them it would be nobody knows");
        assert_eq!(Schedule::In(Millis(5)).moved_from(&Schedule::In(Millis(3)), utc, Timestamp(1)), pairs(&[(4, 6)]));
        assert_eq!(Schedule::In(Millis(5)).moved_from(&ms(&[10]), utc, Timestamp(1)), pairs(&[(10, 6)]));
    }

    /// New York's rule, written out: the floor knows no names of zones.
    fn new_york() -> TimeZone {
        TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    fn cron(patterns: &[&str], bounds: Bounds) -> Schedule {
        Schedule::Cron { patterns: patterns.iter().map(|p| (*p).to_owned()).collect(), bounds }
    }

    fn told(s: &Schedule, from: &str, n: usize) -> Vec<String> {
        s.all_after(at(from), at(from), &TimeZone::UTC).take(n).map(Timestamp::to_rfc3339).collect()
    }

    #[test]
    fn cron_follows_the_wall_clock_of_its_zone() {
        let s = cron(&["0 9 * * mon-fri"], Bounds::default());
        let next = s.next_after(at("2026-11-22T12:00:00Z"), Timestamp(0), &new_york());
        assert_eq!(next, Some(at("2026-11-23T14:00:00Z")));
        assert_eq!(s.next_after(next.unwrap(), Timestamp(0), &new_york()), Some(at("2026-11-24T14:00:00Z")));
    }

    #[test]
    fn several_patterns_fire_as_their_union_each_instant_once() {
        let s = cron(&["0 9 * * *", "0 9,10 * * *", "@every 90m"], Bounds::default());
        assert_eq!(
            told(&s, "2026-01-01T08:30:00Z", 4),
            [
                "2026-01-01T09:00:00.000Z",
                "2026-01-01T10:00:00.000Z",
                "2026-01-01T11:30:00.000Z",
                "2026-01-01T13:00:00.000Z"
            ]
        );
    }

    #[test]
    fn every_counts_from_its_origin_and_stops_at_its_end() {
        let bounds = Bounds { starts: Some(Timestamp(100)), ends: Some(Timestamp(12_100)), ..Bounds::default() };
        let s = Schedule::Every { period: Millis(6_000), anchor: None, bounds };
        assert_eq!(s.next_after(Timestamp(0), Timestamp(0), &TimeZone::UTC), Some(Timestamp(100)));
        assert_eq!(s.next_after(Timestamp(100), Timestamp(0), &TimeZone::UTC), Some(Timestamp(6_100)));
        assert_eq!(s.next_after(Timestamp(6_500), Timestamp(0), &TimeZone::UTC), Some(Timestamp(12_100)));
        assert_eq!(s.next_after(Timestamp(12_100), Timestamp(0), &TimeZone::UTC), None);
    }

    #[test]
    fn an_anchor_sets_the_grid_and_starts_only_bounds() {
        let (anchor, starts) = (Some(at("2030-01-01T00:15:00Z")), Some(at("2026-01-01T05:00:00Z")));
        let bounds = Bounds { starts, ..Bounds::default() };
        let s = Schedule::Every { period: Millis(6 * 3_600_000), anchor, bounds };
        assert_eq!(told(&s, "2026-01-01T00:00:00Z", 2), ["2026-01-01T06:15:00.000Z", "2026-01-01T12:15:00.000Z"]);
    }

    #[test]
    fn a_count_ends_it_and_excluded_days_do_not_count() {
        let exclude = Excluded { dates: [jiff::civil::date(2026, 1, 2)].into(), yearly: [(1_i8, 4_i8)].into() };
        let s = cron(&["0 9 * * *"], Bounds { count: Some(3), exclude, ..Bounds::default() });
        let expected = ["2026-01-01T09:00:00.000Z", "2026-01-03T09:00:00.000Z", "2026-01-05T09:00:00.000Z"];
        assert_eq!(told(&s, "2026-01-01T00:00:00Z", 9), expected);
        let applied = at("2026-01-01T00:00:00Z");
        assert_eq!(s.next_after(at(expected[1]), applied, &TimeZone::UTC), Some(at(expected[2])));
        assert_eq!(s.next_after(at(expected[2]), applied, &TimeZone::UTC), None);
        assert_eq!(s.words(&TimeZone::UTC), "at 09:00, 3 times, except on 2 days");
    }

    #[test]
    fn schedules_stored_by_an_earlier_version_read_and_print_alike() {
        for text in [
            r#"{"cron":{"patterns":["0 9 * * *"],"starts":null,"ends":5}}"#,
            r#"{"every":{"period":6000,"starts":1,"ends":null}}"#,
            r#"{"at":[1,2]}"#,
            r#"{"in":3000}"#,
        ] {
            let read: Schedule = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn every_inside_a_cron_key_is_checked_like_every_itself() {
        assert_eq!(parse_pattern("@every 90s"), Ok(Pattern::Every(Millis(90_000))));
        assert!(parse_pattern("@every 10ms").unwrap_err().to_string().contains("shorter than 1s"));
        assert!(parse_pattern("@every soon").is_err());
    }
}
