//! Reminders of an event: how far before or after it each is due, on its recipient's clock.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::cron::first_instant;
use crate::domain::time::{Millis, Timestamp};

/// How far from its event a reminder is due: `-1d` (a day of the calendar, at the event's own time of day), `-2h`
/// (elapsed time), `-1d@18:00` (the evening before), `+3d`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Remind {
    /// Days of the calendar; below zero before the event.
    days: i32,
    /// The time of day, where it is not the event's own.
    at: Option<Time>,
    /// Elapsed time besides the days.
    span: Millis,
}

/// A text is no distance from an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no distance from an event: write -2h, -1d, -1d@18:00 or +3d")]
pub struct BadRemind(pub String);

/// Furthest distance from an event, in days: ten years.
const DAYS_LIMIT: i64 = 3_650;

impl Remind {
    /// When the reminder is due of an event at `event`, for a recipient in `zone`. A time of day that the clock skips
    /// is due at the first instant after.
    pub fn instant(&self, event: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.days == 0 && self.at.is_none() {
            return Some(event + self.span);
        }
        let civil = event.in_zone(zone).datetime();
        let date = civil.date().checked_add(i64::from(self.days).days()).ok()?;
        let day = date.to_datetime(self.at.unwrap_or(civil.time()));
        Some(first_instant(day, zone)? + self.span)
    }

    /// Whether it comes before the event, and so is of no use once that has begun.
    pub fn is_before(&self) -> bool {
        self.days < 0 || self.span < Millis::ZERO
    }
}

impl FromStr for Remind {
    type Err = BadRemind;

    fn from_str(text: &str) -> Result<Remind, BadRemind> {
        let bad = || BadRemind(text.chars().take(40).collect());
        let trimmed = text.trim();
        let (distance, at) = match trimmed.split_once('@') {
            Some((d, t)) => (d, Some(time_of_day(t).ok_or_else(bad)?)),
            None => (trimmed, None),
        };
        let (sign, rest) = match distance.as_bytes().first() {
            Some(b'-') => (-1, &distance[1..]),
            Some(b'+') => (1, &distance[1..]),
            _ => (1, distance),
        };
        let (mut days, mut span) = (0_i64, 0_i64);
        let mut left = rest;
        while !left.is_empty() {
            let digits = left.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = left[..digits].parse().map_err(|_| bad())?;
            let unit = left[digits..].chars().next().ok_or_else(bad)?;
            match unit {
                'w' => days = number.checked_mul(7).and_then(|n| days.checked_add(n)).ok_or_else(bad)?,
                'd' => days = days.checked_add(number).ok_or_else(bad)?,
                'h' | 'm' | 's' => {
                    let ms = [('h', 3_600_000), ('m', 60_000), ('s', 1_000)].iter().find(|(u, _)| *u == unit);
                    let ms = number.checked_mul(ms.map_or(0, |(_, ms)| *ms)).ok_or_else(bad)?;
                    span = span.checked_add(ms).ok_or_else(bad)?;
                }
                _ => return Err(bad()),
            }
            left = &left[digits + unit.len_utf8()..];
        }
        // Without a sign only the event itself is meant: `2h` could be either side of it.
        let unsigned = !distance.starts_with(['-', '+']) && (days != 0 || span != 0);
        let too_far = days > DAYS_LIMIT || span > DAYS_LIMIT * 86_400_000;
        if rest.is_empty() || unsigned || too_far || (at.is_some() && span != 0) {
            return Err(bad());
        }
        let days = i32::try_from(days * sign).map_err(|_| bad())?;
        Ok(Remind { days, at, span: Millis(span * sign) })
    }
}

/// `18:00`, or `18:00:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text
        .trim()
        .split(':')
        .map(|p| p.parse::<i8>().ok().filter(|_| p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit())));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None => 0,
    };
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

impl TryFrom<String> for Remind {
    type Error = BadRemind;
    fn try_from(text: String) -> Result<Remind, BadRemind> {
        text.parse()
    }
}

impl From<Remind> for String {
    fn from(remind: Remind) -> String {
        remind.to_string()
    }
}

impl fmt::Display for Remind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days == 0 && self.span == Millis::ZERO && self.at.is_none() {
            return f.write_str("0m");
        }
        f.write_str(if self.days < 0 || self.span < Millis::ZERO { "-" } else { "+" })?;
        if self.days != 0 || self.at.is_some() {
            write!(f, "{}d", self.days.abs())?;
        }
        let seconds = self.span.0.abs() / 1_000;
        for (unit, size) in [('h', 3_600), ('m', 60), ('s', 1)] {
            let n = if size == 3_600 { seconds / size } else { seconds / size % 60 };
            if n > 0 {
                write!(f, "{n}{unit}")?;
            }
        }
        match self.at {
            Some(t) if t.second() != 0 => write!(f, "@{}", t.strftime("%H:%M:%S")),
            Some(t) => write!(f, "@{}", t.strftime("%H:%M")),
            None => Ok(()),
        }
    }
}

/// The instants of an event's reminders on a clock, rising, each once.
pub fn instants(event: Timestamp, remind: &[Remind], zone: &TimeZone) -> Vec<Timestamp> {
    let mut all: Vec<Timestamp> = remind.iter().filter_map(|r| r.instant(event, zone)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn due(remind: &str, event: &str) -> String {
        let event: jiff::Timestamp = event.parse().unwrap();
        let remind: Remind = remind.parse().unwrap();
        let at = remind.instant(event.into(), &berlin()).unwrap();
        at.in_zone(&berlin()).strftime("%m-%d %H:%M").to_string()
    }

    #[test]
    fn a_day_is_one_of_the_calendar_and_an_hour_is_elapsed_time() {
        // The clock goes forward on the 29th at 02:00.
        assert_eq!(due("-1d", "2026-03-29T13:30:00Z"), "03-28 15:30");
        assert_eq!(due("-24h", "2026-03-29T13:30:00Z"), "03-28 14:30");
        assert_eq!(due("-1d@18:00", "2026-03-29T13:30:00Z"), "03-28 18:00");
        assert_eq!(due("+3d", "2026-03-27T13:30:00Z"), "03-30 14:30");
        assert_eq!(due("-1w2h", "2026-06-10T12:00:00Z"), "06-03 12:00");
        assert_eq!(due("0m", "2026-06-10T12:00:00Z"), "06-10 14:00");
        assert_eq!(due("+0d@08:00", "2026-06-10T12:00:00Z"), "06-10 08:00");
    }

    #[test]
    fn a_reminder_in_the_skipped_hour_is_due_at_the_first_instant_after_it() {
        assert_eq!(due("-1d@02:30", "2026-03-30T13:30:00Z"), "03-29 03:00");
        // In the hour that comes twice, at the first.
        let event: jiff::Timestamp = "2026-10-26T13:30:00Z".parse().unwrap();
        let at = "-1d@02:30".parse::<Remind>().unwrap().instant(event.into(), &berlin()).unwrap();
        assert_eq!(at.to_rfc3339(), "2026-10-25T00:30:00.000Z");
    }

    #[test]
    fn distances_are_read_and_printed_alike() {
        for text in ["-1d", "-2h", "-1d@18:00", "+3d", "0m", "-1d2h", "+0d@08:00", "-90s", "-7d@06:30:15"] {
            let shown = text.parse::<Remind>().unwrap().to_string();
            assert_eq!(shown.parse::<Remind>().unwrap(), text.parse::<Remind>().unwrap(), "{text} {shown}");
        }
        assert_eq!("-1w".parse::<Remind>().unwrap().to_string(), "-7d");
        for bad in [
            "",
            "2h",
            "-",
            "1d",
            "-1x",
            "-1d@25:00",
            "-2h@18:00",
            "-1d@6:00",
            "-1.5h",
            "-99999d",
            "- 1d",
            "+9223372036854775807d1d",
            "+2562047788015h2562047788015h",
        ] {
            assert!(bad.parse::<Remind>().is_err(), "{bad}");
        }
    }
}
