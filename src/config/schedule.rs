//! The "when" of a job: its schedule keys, read in the job's zone.

use jiff::tz::TimeZone;

use crate::config::read::{Map, Reading, short};
use crate::config::tree::{Node, Value};
use crate::domain::schedule::{SHORTEST_PERIOD, Schedule, parse_cron};
use crate::domain::time::{Millis, Timestamp, parse_instant};

/// The keys of which a job has exactly one.
const KINDS: [&str; 4] = ["at", "in", "every", "cron"];

/// Instants of one `at` list.
const AT_LIMIT: usize = 10_000;

const TEN_YEARS: Millis = Millis(3_650 * 86_400_000);

impl Reading<'_> {
    /// The schedule of a job. `now` only serves to find patterns that never match.
    pub(crate) fn schedule(&mut self, map: &Map<'_>, what: &str, zone: &TimeZone, now: Timestamp) -> Option<Schedule> {
        let given: Vec<&str> = KINDS.into_iter().filter(|k| map.get(k).is_some()).collect();
        let &[kind] = given.as_slice() else {
            let message = match given.len() {
                0 => format!("{what} says nowhere when it is due"),
                _ => format!("{what} has several schedules: {}", given.join(", ")),
            };
            self.error(map.node, message, Some(format!("give exactly one of {}", KINDS.join(", "))));
            return None;
        };
        let node = map.get(kind)?;
        let starts = map.get("starts").map(|n| self.instant(n, "starts", zone, false));
        let ends = map.get("ends").map(|n| self.instant(n, "ends", zone, true));
        if matches!(kind, "at" | "in") {
            for key in ["starts", "ends"] {
                if let Some(n) = map.get(key) {
                    self.error(n, format!("'{key}' bounds cron and every; it means nothing beside '{kind}'"), None);
                }
            }
        }
        let (starts, ends) = (starts.flatten(), ends.flatten());
        if let (Some(s), Some(e)) = (starts, ends)
            && e < s
        {
            self.error(map.node, format!("{what} ends before it starts"), None);
        }
        match kind {
            "at" => self.at(node, zone),
            "in" => Some(Schedule::In(self.duration_in(node, "in", Millis::ZERO, TEN_YEARS)?)),
            "every" => {
                let period = self.duration_in(node, "every", SHORTEST_PERIOD, TEN_YEARS)?;
                Some(Schedule::Every { period, starts, ends })
            }
            _ => {
                let nodes = one_or_more(node);
                let patterns: Vec<Option<String>> = nodes.iter().map(|n| self.cron(n, now)).collect();
                let patterns = patterns.into_iter().collect::<Option<Vec<_>>>()?;
                Some(Schedule::Cron { patterns, starts, ends })
            }
        }
    }

    fn cron(&mut self, node: &Node, now: Timestamp) -> Option<String> {
        let text = self.text(node, "cron")?;
        match parse_cron(&text, now) {
            Ok(_) => {
                let fields: Vec<&str> = text.split_whitespace().collect();
                if let [_, _, day, _, weekday] = fields.as_slice()
                    && *day != "*"
                    && *weekday != "*"
                {
                    let hint = "in cron they are joined by OR".to_owned();
                    self.warn(node, format!("'{text}' fires on the days of the month and on the weekdays"), Some(hint));
                }
                Some(text)
            }
            Err(e) => {
                self.error(node, e.to_string(), Some("such as \"0 9 * * mon-fri\"".to_owned()));
                None
            }
        }
    }

    fn at(&mut self, node: &Node, zone: &TimeZone) -> Option<Schedule> {
        let nodes = one_or_more(node);
        if nodes.is_empty() || nodes.len() > AT_LIMIT {
            self.error(node, format!("at needs 1 to {AT_LIMIT} instants"), None);
            return None;
        }
        let instants: Vec<Option<Timestamp>> = nodes.iter().map(|n| self.instant(n, "at", zone, false)).collect();
        let mut instants = instants.into_iter().collect::<Option<Vec<_>>>()?;
        instants.sort_unstable();
        instants.dedup();
        Some(Schedule::At(instants))
    }

    fn instant(&mut self, node: &Node, what: &str, zone: &TimeZone, end_of_day: bool) -> Option<Timestamp> {
        let text = self.text(node, what)?;
        let instant = parse_instant(&text, zone, end_of_day);
        if instant.is_none() {
            let hint = "such as 2026-12-01T10:00 in the job's zone, or 2026-12-01T10:00:00+01:00".to_owned();
            self.error(node, format!("{what} cannot be '{}': no date and time", short(&text)), Some(hint));
        }
        instant
    }
}

fn one_or_more(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::List(list) => list.iter().collect(),
        _ => vec![node],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_their_zone() {
        let berlin = crate::clock::zone("Europe/Berlin").unwrap();
        let read = |t: &str| parse_instant(t, &berlin, false).map(Timestamp::to_rfc3339);
        assert_eq!(read("2026-12-01T10:00").as_deref(), Some("2026-12-01T09:00:00.000Z"));
        assert_eq!(read("2026-12-01 10:00:00").as_deref(), Some("2026-12-01T09:00:00.000Z"));
        assert_eq!(read("2026-12-01T10:00:00+05:00").as_deref(), Some("2026-12-01T05:00:00.000Z"));
        assert_eq!(read("2026-03-29T02:30").as_deref(), Some("2026-03-29T01:30:00.000Z"), "the gap moves later");
        assert_eq!(
            read("2026-10-25T02:30").as_deref(),
            Some("2026-10-25T00:30:00.000Z"),
            "the overlap takes the earlier"
        );
        assert_eq!(read("2026-12-01").as_deref(), Some("2026-11-30T23:00:00.000Z"));
        assert_eq!(read("tomorrow"), None);
        assert_eq!(parse_instant("2026-12-31", &berlin, true).unwrap().to_rfc3339(), "2026-12-31T22:59:59.999Z");
    }
}
