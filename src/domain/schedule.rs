//! When a job fires.

use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::time::{Millis, Timestamp};

/// The "when" of a job. Zones are kept by name beside it and handed in as values.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// At these instants, in rising order.
    At(Vec<Timestamp>),
    /// This long after the job was first applied, once.
    In(Millis),
    /// Again and again, this far apart, counted from `starts` or from when the job was first applied.
    Every {
        /// At least one second.
        period: Millis,
        /// Nothing before it; also the first occurrence.
        starts: Option<Timestamp>,
        /// Nothing after it.
        ends: Option<Timestamp>,
    },
    /// When any of these five-field cron patterns matches the wall clock of the job's zone.
    Cron {
        /// Patterns that [`parse_cron`] accepted.
        patterns: Vec<String>,
        /// Nothing before it.
        starts: Option<Timestamp>,
        /// Nothing after it.
        ends: Option<Timestamp>,
    },
}

/// Shortest distance of `every`.
pub const SHORTEST_PERIOD: Millis = Millis::seconds(1);

/// Why a cron pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It cannot be parsed.
    #[error("'{pattern}' is not a cron pattern of five fields (minute hour day month weekday): {what}")]
    Syntax {
        /// What was written.
        pattern: String,
        /// What the parser says.
        what: String,
    },
    /// It can never match.
    #[error("the cron pattern '{pattern}' never matches any date")]
    Never {
        /// What was written.
        pattern: String,
    },
}

/// Reads a five-field cron pattern and makes sure it matches some date after `from`.
///
/// # Errors
/// [`CronError`] for what cannot be parsed and for what never matches, such as `0 0 30 2 *`.
pub fn parse_cron(pattern: &str, from: Timestamp) -> Result<croner::Cron, CronError> {
    let cron = compile(pattern)?;
    match cron.find_next_occurrence(&from.in_zone(&TimeZone::UTC), false) {
        Ok(_) => Ok(cron),
        Err(_) => Err(CronError::Never { pattern: pattern.to_owned() }),
    }
}

fn compile(pattern: &str) -> Result<croner::Cron, CronError> {
    CronParser::builder().seconds(Seconds::Disallowed).build().parse(pattern).map_err(|e| {
        let hint = match pattern.split_whitespace().count() {
            5 => String::new(),
            n => format!(" ({n} fields given)"),
        };
        CronError::Syntax { pattern: pattern.chars().take(120).collect(), what: format!("{e}{hint}") }
    })
}

impl Schedule {
    /// The first occurrence strictly after `after`, or `None` when there is none.
    ///
    /// `first_applied` is when the job entered the database; `zone` is the job's zone.
    pub fn next_after(&self, after: Timestamp, first_applied: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::At(instants) => instants.iter().copied().filter(|t| *t > after).min(),
            Schedule::In(delay) => Some(first_applied + *delay).filter(|t| *t > after),
            Schedule::Every { period, starts, ends } => {
                let origin = starts.unwrap_or(first_applied + *period);
                let next = if origin > after {
                    origin
                } else {
                    let steps = after.since(origin).0 / period.0 + 1;
                    origin + Millis(steps.saturating_mul(period.0))
                };
                Some(next).filter(|t| ends.is_none_or(|e| *t <= e))
            }
            Schedule::Cron { patterns, starts, ends } => {
                let after = starts.map_or(after, |s| after.max(s - Millis(1)));
                patterns.iter().filter_map(|p| next_cron(p, after, zone)).min().filter(|t| ends.is_none_or(|e| *t <= e))
            }
        }
    }

    /// The first occurrence of all, which may lie in the past when the job is applied late.
    pub fn first(&self, first_applied: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::At(instants) => instants.iter().copied().min(),
            Schedule::In(delay) => Some(first_applied + *delay),
            Schedule::Every { .. } | Schedule::Cron { .. } => {
                self.next_after(first_applied - Millis(1), first_applied, zone)
            }
        }
    }

    /// The distance between two occurrences where the schedule recurs; for cron, between the next two.
    pub fn period(&self, now: Timestamp, zone: &TimeZone) -> Option<Millis> {
        match self {
            Schedule::At(_) | Schedule::In(_) => None,
            Schedule::Every { period, .. } => Some(*period),
            Schedule::Cron { .. } => {
                let first = self.next_after(now, now, zone)?;
                let second = self.next_after(first, now, zone)?;
                Some(second.since(first))
            }
        }
    }

    /// The schedule in words.
    pub fn words(&self, zone: &TimeZone) -> String {
        match self {
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
            Schedule::Every { period, .. } => format!("every {period}"),
            Schedule::Cron { patterns, .. } => {
                let words: Vec<String> =
                    patterns.iter().map(|p| compile(p).map_or_else(|_| p.clone(), |c| c.describe())).collect();
                words.join("; ")
            }
        }
    }
}

fn next_cron(pattern: &str, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    // Cron works on whole seconds: begin at the second `after` lies in, and take what is strictly later.
    let second = Timestamp(after.0.div_euclid(1_000) * 1_000);
    let cron = compile(pattern).ok()?;
    let found = cron.find_next_occurrence(&second.in_zone(zone), false).ok()?;
    Some(Timestamp::from(found.timestamp())).filter(|t| *t > after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New York's rule, written out: the floor knows no names of zones.
    fn new_york() -> TimeZone {
        TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn cron_follows_the_wall_clock_of_its_zone() {
        let s = Schedule::Cron { patterns: vec!["0 9 * * mon-fri".into()], starts: None, ends: None };
        let next = s.next_after(at("2026-11-22T12:00:00Z"), Timestamp(0), &new_york());
        assert_eq!(next, Some(at("2026-11-23T14:00:00Z")));
        assert_eq!(s.next_after(next.unwrap(), Timestamp(0), &new_york()), Some(at("2026-11-24T14:00:00Z")));
    }

    #[test]
    fn a_daily_time_in_the_spring_gap_fires_once_at_the_first_valid_instant() {
        let s = Schedule::Cron { patterns: vec!["30 2 * * *".into()], starts: None, ends: None };
        let ny = new_york();
        let first = s.next_after(at("2026-03-08T05:00:00Z"), Timestamp(0), &ny).unwrap();
        assert_eq!(first, at("2026-03-08T07:00:00Z"));
        assert_eq!(s.next_after(first, Timestamp(0), &ny), Some(at("2026-03-09T06:30:00Z")));
    }

    #[test]
    fn every_counts_from_its_origin_and_stops_at_its_end() {
        let s = Schedule::Every { period: Millis(6_000), starts: Some(Timestamp(100)), ends: Some(Timestamp(12_100)) };
        assert_eq!(s.next_after(Timestamp(0), Timestamp(0), &TimeZone::UTC), Some(Timestamp(100)));
        assert_eq!(s.next_after(Timestamp(100), Timestamp(0), &TimeZone::UTC), Some(Timestamp(6_100)));
        assert_eq!(s.next_after(Timestamp(6_500), Timestamp(0), &TimeZone::UTC), Some(Timestamp(12_100)));
        assert_eq!(s.next_after(Timestamp(12_100), Timestamp(0), &TimeZone::UTC), None);
    }

    #[test]
    fn patterns_that_cannot_be_or_never_match_are_refused() {
        let now = at("2026-11-22T12:00:00Z");
        assert!(matches!(parse_cron("61 * * * *", now), Err(CronError::Syntax { .. })));
        assert!(matches!(parse_cron("* * * *", now), Err(CronError::Syntax { .. })));
        assert!(matches!(parse_cron("0 0 30 2 *", now), Err(CronError::Never { .. })));
        assert!(parse_cron("*/5 9-17 * jan mon#2", now).is_ok());
    }
}
