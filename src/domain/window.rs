//! When sending is allowed: days and hours on a wall clock. Everything else is quiet hours.

use jiff::ToSpan;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::time::{Millis, Timestamp};

/// A window as declared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// The days on which it opens.
    pub days: Days,
    /// The hours, as written: `09:00-20:00`.
    pub hours: Hours,
    /// On whose clock.
    pub zone: WindowZone,
}

/// On whose clock a window is read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowZone {
    /// The job's.
    #[default]
    Sender,
    /// The recipient's; where it is unknown, the job's.
    Recipient,
    /// This zone's, by its IANA name.
    Named(String),
}

/// A set of weekdays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Days(u8);

/// Hours of a day, in minutes after midnight. Where they end no later than they begin, they cross midnight and belong
/// to the day they begin on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hours {
    /// 0 … 1439.
    pub from: i16,
    /// 1 … 1440; 1440 is the end of the day.
    pub to: i16,
}

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Days {
    /// Every day.
    pub const ALL: Days = Days(0x7f);

    /// Reads `mon-fri`, `mon,wed,sat`, `sat-mon` or `all`.
    pub fn parse(text: &str) -> Option<Days> {
        let text = text.trim().to_ascii_lowercase();
        if text == "all" {
            return Some(Days::ALL);
        }
        let place = |name: &str| NAMES.iter().position(|n| *n == name.trim());
        let mut days = 0_u8;
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((a, b)) => (place(a)?, place(b)?),
                None => (place(part)?, place(part)?),
            };
            let mut day = first;
            loop {
                days |= 1 << day;
                if day == last {
                    break;
                }
                day = (day + 1) % 7;
            }
        }
        Some(Days(days))
    }

    /// Whether it holds no day at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds a day.
    pub fn has(self, day: Weekday) -> bool {
        let place = u8::try_from(day.to_monday_zero_offset()).unwrap_or(0);
        self.0 & (1 << place) != 0
    }
}

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Days::ALL {
            return f.write_str("all");
        }
        let names: Vec<&str> =
            NAMES.iter().enumerate().filter(|(i, _)| self.0 & (1 << i) != 0).map(|(_, n)| *n).collect();
        f.write_str(&names.join(","))
    }
}

impl Hours {
    /// The whole day.
    pub const ALL: Hours = Hours { from: 0, to: 1_440 };

    /// Reads `09:00-20:00`; `22:00-06:00` crosses midnight; `00:00-24:00` is the whole day.
    pub fn parse(text: &str) -> Option<Hours> {
        let minute = |t: &str| {
            let (h, m) = t.trim().split_once(':')?;
            let two = |s: &str| (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<i16>().ok());
            let (h, m) = (two(h)??, two(m)??);
            (m < 60 && h * 60 + m <= 1_440).then_some(h * 60 + m)
        };
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        let to = if to == 0 { 1_440 } else { to };
        (from < 1_440 && from != to).then_some(Hours { from, to })
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.to / 60, self.to % 60)
    }
}

/// A window on a known clock.
#[derive(Clone, PartialEq, Debug)]
pub struct OpenHours {
    /// The days on which it opens.
    pub days: Days,
    /// The hours.
    pub hours: Hours,
    /// The clock.
    pub zone: TimeZone,
}

/// A window that opens at all opens within a week; one day more for the hours that cross midnight.
const LOOK_DAYS: i64 = 8;

/// What leaves in the last moment of a window would arrive after it.
const CLOSES_EARLY: Millis = Millis(100);

impl OpenHours {
    /// The earliest instant at or after `t` at which it is open. On days of daylight saving the hours are those of the
    /// wall clock; an opening in the skipped hour happens at its end.
    pub fn next_open(&self, t: Timestamp) -> Option<Timestamp> {
        let today = t.in_zone(&self.zone).date();
        for offset in -1..=LOOK_DAYS {
            let day = today.checked_add(offset.days()).ok()?;
            if !self.days.has(day.weekday()) {
                continue;
            }
            let open = self.at(day, self.hours.from)?;
            let crosses = self.hours.to <= self.hours.from;
            let close = self.at(if crosses { day.tomorrow().ok()? } else { day }, self.hours.to)?;
            let last = close - CLOSES_EARLY;
            if t < last {
                return Some(t.max(open)).filter(|at| *at < last);
            }
        }
        None
    }

    /// When it closes, at an instant at which it is open.
    fn open_until(&self, t: Timestamp) -> Option<Timestamp> {
        let today = t.in_zone(&self.zone).date();
        let mut until = None;
        for offset in -1..=1 {
            let day = today.checked_add(offset.days()).ok()?;
            if !self.days.has(day.weekday()) {
                continue;
            }
            let crosses = self.hours.to <= self.hours.from;
            let (open, close) = (
                self.at(day, self.hours.from)?,
                self.at(if crosses { day.tomorrow().ok()? } else { day }, self.hours.to)?,
            );
            // The hours of one day may end where those of the next begin.
            if open <= until.unwrap_or(t) && t < close {
                until = until.max(Some(close));
            }
        }
        until
    }

    fn at(&self, day: Date, minute: i16) -> Option<Timestamp> {
        let (day, minute) = if minute == 1_440 { (day.tomorrow().ok()?, 0) } else { (day, minute) };
        let time = Time::new(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0).ok()?;
        Some(Timestamp::from(day.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp()))
    }
}

/// Rounds of looking for an instant at which several windows are open: two that ever overlap do so within a week.
const ROUNDS: usize = 64;

/// The earliest instant at or after `t` at which all are open, or `None` when they never are together.
pub fn next_open(all: &[OpenHours], t: Timestamp) -> Option<Timestamp> {
    let mut at = t;
    for _ in 0..ROUNDS {
        let before = at;
        for window in all {
            at = window.next_open(at)?;
        }
        if at == before {
            return Some(at);
        }
    }
    None
}

/// How long all are open between two instants. What is open for longer than a year is counted no further.
pub fn open_between(all: &[OpenHours], from: Timestamp, to: Timestamp) -> Millis {
    if all.is_empty() {
        return to.since(from).at_least_zero();
    }
    let (mut sum, mut at) = (Millis::ZERO, from);
    for _ in 0..OPENINGS {
        let Some(open) = next_open(all, at).filter(|open| *open < to) else { break };
        let closes = all.iter().filter_map(|w| w.open_until(open)).min().unwrap_or(to);
        sum = sum + closes.min(to).since(open);
        at = closes.max(open + Millis(1));
        if at >= to {
            break;
        }
    }
    sum
}

/// Openings counted: those of a year, twice a day.
const OPENINGS: usize = 732;

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    fn open(days: &str, hours: &str, from: &str) -> Option<String> {
        let window =
            OpenHours { days: Days::parse(days).unwrap(), hours: Hours::parse(hours).unwrap(), zone: berlin() };
        window.next_open(at(from)).map(Timestamp::to_rfc3339)
    }

    #[test]
    fn days_and_hours_are_read_and_printed() {
        assert_eq!(Days::parse("mon-fri").unwrap().to_string(), "mon,tue,wed,thu,fri");
        assert_eq!(Days::parse("sat-mon").unwrap().to_string(), "mon,sat,sun");
        assert_eq!(Days::parse("Mon, wed").unwrap().to_string(), "mon,wed");
        assert_eq!(Days::parse("all"), Some(Days::ALL));
        assert_eq!(Hours::parse("09:00-20:30").unwrap().to_string(), "09:00-20:30");
        for bad in ["9-20", "09:00", "25:00-26:00", "09:60-10:00", "10:00-10:00", "24:00-02:00", "9:00-10:00"] {
            assert_eq!(Hours::parse(bad), None, "{bad}");
        }
        assert!(Days::parse("funday").is_none() && Days::parse("").is_none());
    }

    #[test]
    fn the_window_opens_on_its_days_and_closes_on_the_dot() {
        // 2026-11-23 is a Monday; Berlin is at +01:00.
        assert_eq!(open("mon-fri", "09:00-20:00", "2026-11-23T07:00:00Z").as_deref(), Some("2026-11-23T08:00:00.000Z"));
        assert_eq!(open("mon-fri", "09:00-20:00", "2026-11-23T12:00:00Z").as_deref(), Some("2026-11-23T12:00:00.000Z"));
        assert_eq!(
            open("mon-fri", "09:00-20:00", "2026-11-23T18:59:59.800Z").as_deref(),
            Some("2026-11-23T18:59:59.800Z")
        );
        assert_eq!(open("mon-fri", "09:00-20:00", "2026-11-23T19:00:00Z").as_deref(), Some("2026-11-24T08:00:00.000Z"));
        assert_eq!(open("mon-fri", "09:00-20:00", "2026-11-27T19:00:00Z").as_deref(), Some("2026-11-30T08:00:00.000Z"));
        assert_eq!(open("all", "00:00-24:00", "2026-11-27T23:00:00Z").as_deref(), Some("2026-11-27T23:00:00.000Z"));
    }

    #[test]
    fn hours_that_cross_midnight_belong_to_the_day_they_begin_on() {
        // Friday 22:00 to Saturday 06:00, and nothing on Saturday evening.
        assert_eq!(open("fri", "22:00-06:00", "2026-11-28T03:00:00Z").as_deref(), Some("2026-11-28T03:00:00.000Z"));
        assert_eq!(open("fri", "22:00-06:00", "2026-11-28T05:00:00Z").as_deref(), Some("2026-12-04T21:00:00.000Z"));
    }

    #[test]
    fn on_the_days_of_daylight_saving_the_wall_clock_counts() {
        // 2026-03-29: 02:00 becomes 03:00. 2026-10-25: 03:00 becomes 02:00.
        assert_eq!(open("all", "02:30-04:00", "2026-03-29T00:00:00Z").as_deref(), Some("2026-03-29T01:30:00.000Z"));
        assert_eq!(open("all", "09:00-20:00", "2026-03-29T06:59:00Z").as_deref(), Some("2026-03-29T07:00:00.000Z"));
        assert_eq!(open("all", "09:00-20:00", "2026-10-25T07:59:00Z").as_deref(), Some("2026-10-25T08:00:00.000Z"));
        assert_eq!(open("all", "09:00-20:00", "2026-10-25T18:30:00Z").as_deref(), Some("2026-10-25T18:30:00.000Z"));
    }

    #[test]
    fn the_time_in_which_a_window_is_open_is_counted() {
        let window = |days: &str, hours: &str| OpenHours {
            days: Days::parse(days).unwrap(),
            hours: Hours::parse(hours).unwrap(),
            zone: berlin(),
        };
        let hours = |all: &[OpenHours], from: &str, to: &str| {
            let ms = open_between(all, at(from), at(to)).0;
            assert_eq!(ms % 1_000, 0);
            ms / 1_000
        };
        let work = [window("mon-fri", "09:00-20:00")];
        // From Monday 21:00 to Tuesday 09:30, and from Friday noon to Monday noon, in Berlin.
        assert_eq!(hours(&work, "2026-11-23T20:00:00Z", "2026-11-24T08:30:00Z"), 1_800);
        assert_eq!(hours(&work, "2026-11-27T11:00:00Z", "2026-11-30T11:00:00Z"), 11 * 3_600);
        assert_eq!(hours(&work, "2026-11-23T20:00:00Z", "2026-11-24T08:00:00Z"), 0);
        assert_eq!(hours(&[], "2026-11-23T20:00:00Z", "2026-11-24T08:00:00Z"), 12 * 3_600);
        let always = [window("all", "00:00-24:00")];
        assert_eq!(hours(&always, "2026-11-23T20:00:00Z", "2026-11-25T20:00:00Z"), 48 * 3_600);
        let night = [window("fri", "22:00-06:00")];
        assert_eq!(hours(&night, "2026-11-28T04:00:00Z", "2026-12-04T20:00:00Z"), 3_600);
        let both = [window("all", "09:00-12:00"), window("all", "11:00-18:00")];
        assert_eq!(hours(&both, "2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z"), 2 * 3_600);
    }

    #[test]
    fn several_windows_are_open_where_all_are() {
        let window = |days: &str, hours: &str, zone| OpenHours {
            days: Days::parse(days).unwrap(),
            hours: Hours::parse(hours).unwrap(),
            zone,
        };
        let ny = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let both = [window("all", "09:00-20:00", berlin()), window("mon-fri", "09:00-17:00", ny)];
        assert_eq!(
            next_open(&both, at("2026-11-27T20:00:00Z")).map(Timestamp::to_rfc3339).as_deref(),
            Some("2026-11-30T14:00:00.000Z")
        );
        let never = [window("all", "09:00-10:00", berlin()), window("all", "11:00-12:00", berlin())];
        assert_eq!(next_open(&never, at("2026-11-27T20:00:00Z")), None);
    }
}
