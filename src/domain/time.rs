//! Instants and lengths of time, in whole milliseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, as in every `…_at` column of the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A signed length of time in milliseconds, as in every `…_ms` column and field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Timestamp {
    /// The latest instant the program works with: the end of the year 9999.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// The instant as RFC 3339 in UTC with milliseconds, as all JSON of the product prints it.
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .map_or_else(|| format!("{} ms", self.0), |t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    }

    /// The length of time from `earlier` to this instant; negative when this instant comes first.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant on a wall clock in `zone`. Instants outside the calendar's range become its nearest end.
    pub fn in_zone(self, zone: &jiff::tz::TimeZone) -> jiff::Zoned {
        let clamped = self.0.clamp(-377_705_023_201_000, Self::MAX.0 - 86_400_000);
        jiff::Timestamp::from_millisecond(clamped).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(t: jiff::Timestamp) -> Self {
        Timestamp(t.as_millisecond())
    }
}

impl Millis {
    /// No time at all.
    pub const ZERO: Millis = Millis(0);

    /// Whole seconds.
    pub const fn seconds(s: i64) -> Millis {
        Millis(s * 1_000)
    }

    /// As a `Duration`; a negative length becomes zero.
    pub fn to_duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Never below zero.
    pub fn at_least_zero(self) -> Millis {
        Millis(self.0.max(0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(rhs.0).min(Timestamp::MAX.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Timestamp;
    fn sub(self, rhs: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub(rhs.0))
    }
}

impl Add for Millis {
    type Output = Millis;
    fn add(self, rhs: Millis) -> Millis {
        Millis(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Millis {
    type Output = Millis;
    fn sub(self, rhs: Millis) -> Millis {
        Millis(self.0.saturating_sub(rhs.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// `2.5s`, `1h30m`, `2d`, `0s`: as a person writes it in the jobs file.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if rest < 1_000 {
            return write!(f, "{rest}ms");
        }
        for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)] {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        match (rest / 1_000, rest % 1_000) {
            (0, 0) => Ok(()),
            (s, 0) => write!(f, "{s}s"),
            (s, ms) => write!(f, "{s}.{}s", format!("{ms:03}").trim_end_matches('0')),
        }
    }
}

/// Why a written length of time was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not a duration: write a number with a unit, such as 500ms, 2.5s, 90s, 5m, 1h30m or 2d")]
pub struct BadDuration {
    given: String,
}

/// Longest length accepted from a person: ten years of 365 days. Longer is a slip of the unit.
const LONGEST_MS: f64 = 10.0 * 365.0 * 86_400_000.0;

/// Reads `500ms`, `2.5s`, `90s`, `5m`, `1h30m`, `2d`. A day is 24 hours.
///
/// # Errors
/// [`BadDuration`] when a unit is missing or unknown, the number is negative, or the sum is over ten years.
pub fn parse_duration(given: &str) -> Result<Millis, BadDuration> {
    let bad = || BadDuration { given: given.to_owned() };
    let mut rest = given.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let factor = match &rest[..letters] {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" | "min" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "w" => 604_800_000.0,
            _ => return Err(bad()),
        };
        total += number * factor;
        rest = rest[letters..].trim_start();
    }
    if total > LONGEST_MS {
        return Err(bad());
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded by LONGEST_MS above")]
    Ok(Millis(total.round() as i64))
}

/// Reads an instant: RFC 3339 with an offset, or a civil date and time in `zone`. In the hour that daylight saving
/// skips it moves later, in the one that comes twice it takes the earlier. A date alone is its first or last instant.
pub fn parse_instant(text: &str, zone: &jiff::tz::TimeZone, end_of_day: bool) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(t) = text.parse::<jiff::Timestamp>() {
        return Some(t.into());
    }
    let civil = if let (Ok(date), false) = (text.parse::<jiff::civil::Date>(), text.contains(':')) {
        if end_of_day { date.at(23, 59, 59, 999_000_000) } else { date.at(0, 0, 0, 0) }
    } else {
        text.parse::<jiff::civil::DateTime>().ok()?
    };
    Some(civil.to_zoned(zone.clone()).ok()?.timestamp().into())
}

/// The wall clock time that a text names, unless it names an instant by its offset.
pub fn civil_of(text: &str) -> Option<jiff::civil::DateTime> {
    let text = text.trim();
    if text.parse::<jiff::Timestamp>().is_ok() {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_alike() {
        for text in ["500ms", "2.5s", "1m30s", "5m", "1h30m", "2d", "0s", "1d1h1m1.001s"] {
            assert_eq!(parse_duration(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_duration("90s").unwrap(), Millis(90_000));
        assert_eq!(parse_duration("1w").unwrap(), Millis(604_800_000));
    }

    #[test]
    fn durations_without_a_known_unit_are_refused() {
        for text in ["", "5", "5 parsecs", "-5s", "s", "1h30", "1..5s", "400000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_print_as_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp(1_760_000_000_001).to_rfc3339(), "2025-10-09T08:53:20.001Z");
    }
}
