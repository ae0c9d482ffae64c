//! Days on which a job does not fire: dates, spans of dates, days of every year, and calendar files.

use std::path::Path;

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::clock;
use crate::config::read::{Reading, short};
use crate::config::schedule::one_or_more;
use crate::config::tree::{Node, Value};
use crate::domain::schedule::Excluded;

/// Days of one `exclude`, spans and calendars counted by their days: some ten years of every day.
const DAYS_LIMIT: usize = 4_000;

/// The largest calendar file.
const FILE_LIMIT: u64 = 1024 * 1024;

impl Reading<'_> {
    /// The days of an `exclude` key.
    pub(crate) fn exclude(&mut self, node: &Node, zone: &TimeZone) -> Option<Excluded> {
        let mut excluded = Excluded::default();
        let mut fine = true;
        for item in one_or_more(node) {
            let added = if let Value::Map(_) = item.value {
                self.calendar(item, zone, &mut excluded)
            } else {
                self.text(item, "exclude").and_then(|text| {
                    let added = add_days(&text, &mut excluded);
                    if added.is_none() {
                        let hint = "such as 2026-12-25, 12-25 for every year, 2026-12-24..2027-01-02, or \
                                    { calendar: holidays.ics }";
                        self.error(item, format!("exclude cannot be '{}'", short(&text)), Some(hint.to_owned()));
                    }
                    added
                })
            };
            fine &= added.is_some();
        }
        if excluded.dates.len() > DAYS_LIMIT {
            self.error(node, format!("exclude names {} days; the limit is {DAYS_LIMIT}", excluded.dates.len()), None);
            return None;
        }
        fine.then_some(excluded)
    }

    fn calendar(&mut self, node: &Node, zone: &TimeZone, excluded: &mut Excluded) -> Option<()> {
        let map = self.map(node, "exclude", &["calendar"], &[])?;
        let Some(path_node) = map.get("calendar") else {
            self.error(node, "exclude names no calendar", Some("{ calendar: holidays.ics }".to_owned()));
            return None;
        };
        let shown = self.text(path_node, "calendar")?;
        match read_calendar(&self.folder.join(&shown), zone, excluded) {
            Ok(()) => Some(()),
            Err(what) => {
                self.error(path_node, format!("the calendar {shown} {what}"), None);
                None
            }
        }
    }
}

/// One day, a day of every year, or a span of days.
fn add_days(text: &str, excluded: &mut Excluded) -> Option<()> {
    let text = text.trim();
    if let Some((from, to)) = text.split_once("..") {
        let (from, to): (Date, Date) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        return add_span(from, to, excluded);
    }
    if let Ok(date) = text.parse::<Date>() {
        excluded.dates.insert(date);
        return Some(());
    }
    let (month, day) = text.split_once('-')?;
    // Any leap year knows every day a year can have.
    let date = Date::new(2028, month.parse().ok()?, day.parse().ok()?).ok()?;
    excluded.yearly.insert((date.month(), date.day()));
    Some(())
}

fn add_span(from: Date, to: Date, excluded: &mut Excluded) -> Option<()> {
    if to < from || from.until(to).ok()?.get_days() > i32::try_from(DAYS_LIMIT).ok()? {
        return None;
    }
    let days = std::iter::successors(Some(from), |d| d.tomorrow().ok()).take_while(|d| *d <= to);
    excluded.dates.extend(days);
    Some(())
}

/// The days of an iCalendar file's events (RFC 5545) on a clock, or of a plain file with one `exclude` item a line. What
/// would change an event's days and is not understood is an error: a holiday that is overlooked is one that is sent on.
fn read_calendar(path: &Path, zone: &TimeZone, excluded: &mut Excluded) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    if !meta.is_file() {
        return Err("is not a file".to_owned());
    }
    let size = meta.len();
    if size > FILE_LIMIT {
        return Err(format!("has {size} bytes; the limit is {FILE_LIMIT}"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with("BEGIN:VCALENDAR") {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() && add_days(line, excluded).is_none() {
                return Err(format!("cannot be understood in line {}: '{}'", number + 1, short(line)));
            }
        }
        return Ok(());
    }
    // A long line goes on in the next, which then begins with a space.
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let mut event: Option<Event> = None;
    for (number, line) in unfolded.lines().enumerate() {
        let wrong = || format!("cannot be understood in its (unfolded) line {}: '{}'", number + 1, short(line));
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let name = key.split(';').next().unwrap_or(key);
        match (name, value, &mut event) {
            ("BEGIN", "VEVENT", _) => event = Some(Event::default()),
            ("END", "VEVENT", Some(ended)) => {
                ended.add(excluded).ok_or_else(wrong)?;
                event = None;
            }
            ("DTSTART", at, Some(event)) => event.from = Some(moment(key, at, zone).ok_or_else(wrong)?),
            ("DTEND", at, Some(event)) => event.to = Some(moment(key, at, zone).ok_or_else(wrong)?),
            ("DURATION", length, Some(event)) => event.length = Some(whole_days(length).ok_or_else(wrong)?),
            ("STATUS", "CANCELLED", Some(event)) => event.cancelled = true,
            ("RRULE", rule, Some(event)) if rule == "FREQ=YEARLY" || rule == "FREQ=YEARLY;INTERVAL=1" => {
                event.yearly = true;
            }
            ("RRULE", rule, Some(_)) => {
                return Err(format!("repeats an event by '{}'; only FREQ=YEARLY is understood", short(rule)));
            }
            ("RDATE" | "EXDATE" | "EXRULE" | "RECURRENCE-ID", _, Some(_)) => {
                return Err(format!("has an event with {name}, which is not understood; write its days out"));
            }
            _ => {}
        }
    }
    match event {
        Some(_) => Err("ends in the middle of an event".to_owned()),
        None if !unfolded.contains("END:VCALENDAR") => Err("ends before its END:VCALENDAR".to_owned()),
        None => Ok(()),
    }
}

/// An event of a calendar.
#[derive(Default)]
struct Event {
    from: Option<Moment>,
    to: Option<Moment>,
    /// How many whole days it takes, where it does not say its end.
    length: Option<i64>,
    yearly: bool,
    cancelled: bool,
}

/// A day, and whether an event that ends then ends before it: at its first instant.
#[derive(Clone, Copy)]
struct Moment {
    day: Date,
    begins_day: bool,
}

impl Event {
    fn add(&self, excluded: &mut Excluded) -> Option<()> {
        if self.cancelled {
            return Some(());
        }
        let from = self.from?.day;
        let last = match (self.to, self.length) {
            (Some(end), _) if end.begins_day => end.day.yesterday().ok()?.max(from),
            (Some(end), _) => end.day,
            (None, Some(days)) => from.checked_add((days - 1).max(0).days()).ok()?,
            (None, None) => from,
        };
        if !self.yearly {
            return add_span(from, last, excluded);
        }
        let days = std::iter::successors(Some(from), |d| d.tomorrow().ok()).take_while(|d| *d <= last).take(366);
        excluded.yearly.extend(days.map(|d| (d.month(), d.day())));
        Some(())
    }
}

/// The day of `20261225`; of `20261225T090000` where it is, of `20261225T090000Z` and of one with a `TZID` on the clock
/// of `zone`.
fn moment(key: &str, value: &str, zone: &TimeZone) -> Option<Moment> {
    let digits = value.get(..8).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    let day = Date::new(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?).ok()?;
    if value.len() == 8 {
        return Some(Moment { day, begins_day: true });
    }
    let (clock, utc) = match value[8..].strip_prefix('T')?.strip_suffix('Z') {
        Some(clock) => (clock, true),
        None => (&value[9..], false),
    };
    if clock.len() != 6 || !clock.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let time = Time::new(clock[..2].parse().ok()?, clock[2..4].parse().ok()?, clock[4..].parse().ok()?, 0).ok()?;
    let named = key.split(';').find_map(|p| p.strip_prefix("TZID="));
    let written_in = match named {
        _ if utc => TimeZone::UTC,
        Some(name) => clock::zone(name.trim_matches('"')).ok()?,
        None => zone.clone(),
    };
    let here = day.to_datetime(time).to_zoned(written_in).ok()?.with_time_zone(zone.clone());
    Some(Moment { day: here.date(), begins_day: here.time() == Time::midnight() })
}

/// `P3D` and `P1W`; hours and minutes make no further day.
fn whole_days(text: &str) -> Option<i64> {
    let rest = text.strip_prefix('P').or_else(|| text.strip_prefix("+P"))?;
    if let Some(weeks) = rest.strip_suffix('W') {
        return weeks.parse::<i64>().ok().filter(|w| (1..=600).contains(w)).map(|w| w * 7);
    }
    let (days, more) = rest.split_once('T').unwrap_or((rest, ""));
    let days = if days.is_empty() { 0 } else { days.strip_suffix('D')?.parse::<i64>().ok()? };
    (0..=4_000).contains(&days).then_some(days + i64::from(!more.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("days");
        std::fs::write(&path, text).unwrap();
        let mut excluded = Excluded::default();
        read_calendar(&path, &clock::zone("Europe/Berlin").unwrap(), &mut excluded)?;
        let yearly = excluded.yearly.iter().map(|(m, d)| format!("{m:02}-{d:02}"));
        Ok(excluded.dates.iter().map(ToString::to_string).chain(yearly).collect())
    }

    #[test]
    fn a_plain_file_holds_an_item_a_line() {
        let text = "# closed\n2026-12-24..2026-12-26\n12-31  # every year\n\n2027-01-06\n";
        let expected = ["2026-12-24", "2026-12-25", "2026-12-26", "2027-01-06", "12-31"];
        assert_eq!(days(text).unwrap(), expected);
        assert_eq!(days("2026-12-24\nsoon\n").unwrap_err(), "cannot be understood in line 2: 'soon'");
    }

    #[test]
    fn a_calendar_s_events_are_days_their_ends_excluded() {
        let text = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:a long\r\n  line\r\nDTSTART;VALUE=DATE:20261224\r\n\
                    DTEND;VALUE=DATE:20261226\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20200501\r\n\
                    RRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        assert_eq!(days(text).unwrap(), ["2026-12-24", "2026-12-25", "05-01"]);
        let event = |lines: &str| days(&format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n"));
        let three = ["2026-12-14", "2026-12-15", "2026-12-16"];
        assert_eq!(event("DTSTART;VALUE=DATE:20261214\nDURATION:P3D").unwrap(), three);
        // Hours are read on the clock of the job: this one begins on the eighth in Berlin.
        assert_eq!(event("DTSTART:20261207T230000Z\nDTEND:20261208T010000Z").unwrap(), ["2026-12-08"]);
        let tokyo = "DTSTART;TZID=Asia/Tokyo:20261208T010000\nDTEND;TZID=Asia/Tokyo:20261208T080000";
        assert_eq!(event(tokyo).unwrap(), ["2026-12-07"]);
        assert_eq!(event("DTSTART:20261207T090000\nDTEND:20261208T000000").unwrap(), ["2026-12-07"]);
        assert!(event("DTSTART;VALUE=DATE:20261214\nSTATUS:CANCELLED").unwrap().is_empty());
        assert!(event("DTSTART;VALUE=DATE:20261214\nRDATE:20261218").unwrap_err().contains("RDATE"));
        assert!(event("DTSTART;TZID=Mars/Base:20261208T010000").is_err());
        let half = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261214\n";
        assert_eq!(days(half).unwrap_err(), "ends in the middle of an event");
        let weekly = text.replace("YEARLY", "WEEKLY");
        assert!(days(&weekly).unwrap_err().contains("only FREQ=YEARLY"));
    }
}
