//! Days on which a job does not fire: dates, spans of dates, days of every year, and calendar files.

use std::path::Path;

use jiff::civil::Date;

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
    pub(crate) fn exclude(&mut self, node: &Node) -> Option<Excluded> {
        let mut excluded = Excluded::default();
        let mut fine = true;
        for item in one_or_more(node) {
            let added = if let Value::Map(_) = item.value {
                self.calendar(item, &mut excluded)
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

    fn calendar(&mut self, node: &Node, excluded: &mut Excluded) -> Option<()> {
        let map = self.map(node, "exclude", &["calendar"], &[])?;
        let Some(path_node) = map.get("calendar") else {
            self.error(node, "exclude names no calendar", Some("{ calendar: holidays.ics }".to_owned()));
            return None;
        };
        let shown = self.text(path_node, "calendar")?;
        match read_calendar(&self.folder.join(&shown), excluded) {
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

/// The days of an iCalendar file's events (RFC 5545), or of a plain file with one `exclude` item a line.
fn read_calendar(path: &Path, excluded: &mut Excluded) -> Result<(), String> {
    let size = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
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
            ("DTSTART", day, Some(event)) => event.from = Some(date(day).ok_or_else(wrong)?),
            ("DTEND", day, Some(event)) => event.to = Some((date(day).ok_or_else(wrong)?, day.len() == 8)),
            ("RRULE", rule, Some(event)) if rule == "FREQ=YEARLY" || rule == "FREQ=YEARLY;INTERVAL=1" => {
                event.yearly = true;
            }
            ("RRULE", rule, Some(_)) => {
                return Err(format!("repeats an event by '{}'; only FREQ=YEARLY is understood", short(rule)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// An event of a calendar.
#[derive(Default)]
struct Event {
    from: Option<Date>,
    /// Its end, and whether that is the day after its last.
    to: Option<(Date, bool)>,
    yearly: bool,
}

impl Event {
    fn add(&self, excluded: &mut Excluded) -> Option<()> {
        let from = self.from?;
        let last = match self.to {
            Some((end, true)) => end.yesterday().ok()?.max(from),
            Some((end, false)) => end,
            None => from,
        };
        if !self.yearly {
            return add_span(from, last, excluded);
        }
        let days = std::iter::successors(Some(from), |d| d.tomorrow().ok()).take_while(|d| *d <= last).take(366);
        excluded.yearly.extend(days.map(|d| (d.month(), d.day())));
        Some(())
    }
}

/// The day of `20261225` or `20261225T090000Z`.
fn date(value: &str) -> Option<Date> {
    let digits = value.get(..8).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    Date::new(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("days");
        std::fs::write(&path, text).unwrap();
        let mut excluded = Excluded::default();
        read_calendar(&path, &mut excluded)?;
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
        let weekly = text.replace("YEARLY", "WEEKLY");
        assert!(days(&weekly).unwrap_err().contains("only FREQ=YEARLY"));
    }
}
