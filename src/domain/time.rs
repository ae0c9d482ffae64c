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

/// Offsets from UTC that clocks on Earth have ever shown, in seconds: Manila before 1844 and Juneau before 1867 apart.
const OFFSETS: std::ops::RangeInclusive<i32> = -43_200..=50_400;

/// What a text names: a date, with a time of day or without, and an offset or none.
struct Written {
    date: jiff::civil::Date,
    time: Option<jiff::civil::Time>,
    offset: Option<jiff::tz::Offset>,
}

/// Reads `2026-12-01`, `2026-12-01T10:00`, `2026-12-01 10:00:30.500`, each time with `Z` or `+01:00` or without. Nothing
/// is guessed: `2026-12-01T10` names no time, and reading it as midnight would send ten hours early.
fn written(text: &str) -> Option<Written> {
    let text = text.trim();
    let date: jiff::civil::Date =
        text.get(..10).filter(|d| d.as_bytes()[4] == b'-' && d.as_bytes()[7] == b'-')?.parse().ok()?;
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(Written { date, time: None, offset: None });
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[..at], Some(offset_of(&rest[at..])?)),
        None => (rest, None),
    };
    let clock = clock.trim_end();
    let shape = clock.len() >= 5 && clock.as_bytes()[2] == b':' && (clock.len() == 5 || clock.as_bytes()[5] == b':');
    Some(Written { date, time: Some(clock.parse().ok().filter(|_| shape)?), offset })
}

/// `Z`, `+01:00`, `+0100` or `+01`.
fn offset_of(text: &str) -> Option<jiff::tz::Offset> {
    if matches!(text, "Z" | "z") {
        return Some(jiff::tz::Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'-' => -1,
        b'+' => 1,
        _ => return None,
    };
    let (hours, minutes) = match text[1..].split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None => text[1..].split_at_checked(2).map(|(h, m)| (h, if m.is_empty() { "00" } else { m }))?,
    };
    let two = |digits: &str| {
        digits.parse::<i32>().ok().filter(|_| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|m| *m < 60)?);
    let seconds = sign * (hours * 3_600 + minutes * 60);
    OFFSETS.contains(&seconds).then(|| jiff::tz::Offset::from_seconds(seconds).ok())?
}

/// Reads an instant: RFC 3339 with an offset, or a civil date and time in `zone`. In the hour that daylight saving
/// skips it moves later, in the one that comes twice it takes the earlier. A date alone is its first or last instant.
pub fn parse_instant(text: &str, zone: &jiff::tz::TimeZone, end_of_day: bool) -> Option<Timestamp> {
    let Written { date, time, offset } = written(text)?;
    let civil = match time {
        Some(time) => date.to_datetime(time),
        None if end_of_day => date.at(23, 59, 59, 999_000_000),
        None => date.at(0, 0, 0, 0),
    };
    match offset {
        Some(offset) => Some(offset.to_timestamp(civil).ok()?.into()),
        None => Some(civil.to_zoned(zone.clone()).ok()?.timestamp().into()),
    }
}

/// The wall clock time that a text names, unless it names an instant by its offset.
pub fn civil_of(text: &str) -> Option<jiff::civil::DateTime> {
    let Written { date, time, offset } = written(text)?;
    offset.is_none().then(|| date.to_datetime(time.unwrap_or(jiff::civil::Time::midnight())))
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
    fn an_instant_is_read_whole_or_refused() {
        let utc = jiff::tz::TimeZone::UTC;
        let read = |t: &str| parse_instant(t, &utc, false).map(Timestamp::to_rfc3339);
        for text in ["2026-12-05T10:00", "2026-12-05 10:00:00", "2026-12-05T12:00+02:00", "2026-12-05t05:00:00.0-0500"]
        {
            assert_eq!(read(text).as_deref(), Some("2026-12-05T10:00:00.000Z"), "{text}");
        }
        assert_eq!(read("2026-12-05T10:00:00.250Z").as_deref(), Some("2026-12-05T10:00:00.250Z"));
        assert_eq!(read("2026-12-05").as_deref(), Some("2026-12-05T00:00:00.000Z"));
        for text in [
            "2026-12-05T10",
            "2026-12-05T1000",
            "20261205T1000",
            "20261205T10:00",
            "2026-12-05 10",
            "2026-12-05T",
            "2026-12-05T10:00+25:00",
            "2026-12-05T10:00+15:00",
            "2026-12-05T10:00+2",
            "2026-12-05T25:00",
            "2026-13-05",
            "2026-12-05T10:00[Europe/Berlin]",
            "tomorrow",
            "",
            "2026-12-0é",
            "2026-12-05T10:00+1::23",
            "2026-12-05T10:00Z05",
            "2026-12-05T10:00+1:000",
            "2026-12-05T10:00+01:6",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(civil_of("2026-12-05T10:00Z"), None);
        assert!(civil_of("2026-12-05T10:00").is_some());
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
