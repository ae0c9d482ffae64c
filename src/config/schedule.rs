//! The "when" of a job: its schedule keys, read in the job's zone.

use jiff::tz::TimeZone;

use crate::config::event;
use crate::config::read::{Map, Reading, short};
use crate::config::tree::{Node, Value};
use crate::domain::cron::{self, CronError, Transition, settle_spread, transitions};
use crate::domain::schedule::{Bounds, COUNT_LIMIT, Pattern, SHORTEST_PERIOD, Schedule, parse_pattern};
use crate::domain::time::{Millis, Timestamp, civil_of, parse_instant};

/// The keys of which a job has exactly one.
const KINDS: [&str; 5] = ["at", "in", "every", "cron", "event"];

/// The keys that bound a recurring schedule.
const BOUNDS: [&str; 4] = ["starts", "ends", "count", "exclude"];

/// Instants of one `at` list.
const AT_LIMIT: usize = 10_000;

const TEN_YEARS: Millis = Millis(3_650 * 86_400_000);

/// How far ahead transitions of the clock are told.
const TOLD_AHEAD: Millis = Millis(366 * 86_400_000);

/// What reading a schedule needs to know of its job.
pub(crate) struct When<'w> {
    /// The job's name; `~` in a cron pattern depends on it.
    pub name: &'w str,
    /// The job, for messages.
    pub what: &'w str,
    /// The zone's name.
    pub zone_name: &'w str,
    /// The zone.
    pub zone: &'w TimeZone,
    /// Whether its hours are those of each recipient's own clock.
    pub own_clock: bool,
    /// Serves only to find what is past and what is to come.
    pub now: Timestamp,
}

impl Reading<'_> {
    /// The schedule of a job.
    pub(crate) fn schedule(&mut self, map: &Map<'_>, when: &When<'_>) -> Option<Schedule> {
        // An `event` that is a map is a content.
        let is_schedule = |k: &str, n: &Node| k != "event" || event::is_instant(n);
        let given: Vec<&str> = KINDS.into_iter().filter(|k| map.get(k).is_some_and(|n| is_schedule(k, n))).collect();
        let &[kind] = given.as_slice() else {
            let message = match given.len() {
                0 => format!("{} says nowhere when it is due", when.what),
                _ => format!("{} has several schedules: {}", when.what, given.join(", ")),
            };
            self.error(map.node, message, Some(format!("give exactly one of {}", KINDS.join(", "))));
            return None;
        };
        let node = map.get(kind)?;
        if matches!(kind, "at" | "in" | "event") {
            for n in BOUNDS.iter().filter_map(|key| map.get(key).map(|n| (key, n))) {
                self.error(n.1, format!("'{}' bounds cron and every; it means nothing beside '{kind}'", n.0), None);
            }
        }
        if kind != "every"
            && let Some(n) = map.get("anchor")
        {
            self.error(n, format!("'anchor' goes with every; it means nothing beside '{kind}'"), None);
        }
        if kind != "event"
            && let Some(n) = map.get("remind")
        {
            self.error(n, format!("'remind' goes with an event; it means nothing beside '{kind}'"), None);
        }
        if when.own_clock && !matches!(kind, "at" | "cron") {
            let hint = "each recipient's own clock goes with cron and at".to_owned();
            self.error(node, format!("'timezone: recipient' means nothing beside '{kind}'"), Some(hint));
        }
        let bounds = self.bounds(map, when);
        match kind {
            "event" => self.event(map, node, when),
            "at" => self.at(node, when),
            "in" => Some(Schedule::In(self.duration_in(node, "in", Millis::ZERO, TEN_YEARS)?)),
            "every" => {
                let period = self.duration_in(node, "every", SHORTEST_PERIOD, TEN_YEARS)?;
                let anchor = map.get("anchor").map(|n| self.instant(n, "anchor", when.zone, false));
                Some(Schedule::Every { period, anchor: anchor.flatten(), bounds: bounds? })
            }
            _ => {
                let nodes = one_or_more(node);
                if nodes.is_empty() {
                    self.error(node, "cron needs a pattern", Some("such as \"0 9 * * mon-fri\"".to_owned()));
                    return None;
                }
                let patterns: Vec<Option<String>> = nodes.iter().map(|n| self.cron(n, when, bounds.as_ref())).collect();
                let patterns = patterns.into_iter().collect::<Option<Vec<_>>>()?;
                Some(Schedule::Cron { patterns, bounds: bounds? })
            }
        }
    }

    fn bounds(&mut self, map: &Map<'_>, when: &When<'_>) -> Option<Bounds> {
        let starts = map.get("starts").map(|n| self.instant(n, "starts", when.zone, false));
        let ends = map.get("ends").map(|n| self.instant(n, "ends", when.zone, true));
        let count = map.get("count").map(|n| self.whole(n, "count", 1, COUNT_LIMIT));
        let exclude = map.get("exclude").map(|n| self.exclude(n, when.zone));
        let (starts, ends) = (starts.flatten(), ends.flatten());
        if let (Some(s), Some(e)) = (starts, ends)
            && e < s
        {
            self.error(map.node, format!("{} ends before it starts", when.what), None);
        }
        Some(Bounds { starts, ends, count: count.flatten(), exclude: exclude.flatten().unwrap_or_default() })
    }

    fn cron(&mut self, node: &Node, when: &When<'_>, bounds: Option<&Bounds>) -> Option<String> {
        let text = self.text(node, "cron")?;
        let read = settle_spread(&text, when.name).and_then(|settled| parse_pattern(&settled).map(|p| (settled, p)));
        let (settled, pattern) = match read {
            Ok(read) => read,
            Err(e) => {
                let hint = match e {
                    CronError::Syntax { .. } => "such as \"0 9 * * mon-fri\"",
                    CronError::Never { .. } => "no such day exists",
                };
                self.error(node, e.to_string(), Some(hint.to_owned()));
                return None;
            }
        };
        let Pattern::Clock(cron) = &pattern else { return Some(settled) };
        match cron.joins_days() {
            Some(true) => {
                let hint = "in cron they are joined by OR; begin one of them with * to have both match".to_owned();
                self.warn(node, format!("'{text}' fires on the days of the month and on the weekdays"), Some(hint));
            }
            Some(false) => {
                let hint = "a field that begins with * is joined by AND".to_owned();
                self.warn(node, format!("'{text}' fires where the day of the month and the weekday match"), Some(hint));
            }
            None => {}
        }
        if cron.next_after(when.now, when.zone).is_none() {
            self.warn(node, format!("'{text}' has no occurrence left"), None);
        }
        let (starts, ends) = bounds.map_or((None, None), |b| (b.starts, b.ends));
        let runs = |at: Timestamp| starts.is_none_or(|s| s <= at) && ends.is_none_or(|e| at <= e);
        for t in transitions(when.zone, when.now, TOLD_AHEAD).into_iter().filter(|t| runs(t.at)) {
            if cron.next_named(t.from).is_some_and(|named| named < t.to) {
                let message = crossing(cron, &settled, &t, when);
                self.warn(node, message, None);
            }
        }
        Some(settled)
    }

    fn at(&mut self, node: &Node, when: &When<'_>) -> Option<Schedule> {
        let nodes = one_or_more(node);
        if nodes.is_empty() || nodes.len() > AT_LIMIT {
            self.error(node, format!("at needs 1 to {AT_LIMIT} instants"), None);
            return None;
        }
        let instants: Vec<Option<Timestamp>> = nodes
            .iter()
            .map(|n| {
                let instant = self.instant(n, "at", when.zone, false)?;
                if when.own_clock && self.text(n, "at").is_some_and(|t| civil_of(&t).is_none()) {
                    let hint = "each recipient's clock shows it at another instant: write it without".to_owned();
                    self.error(n, "an instant with an offset is the same on every clock", Some(hint));
                }
                self.at_a_transition(n, instant, when);
                Some(instant)
            })
            .collect();
        let mut instants = instants.into_iter().collect::<Option<Vec<_>>>()?;
        instants.sort_unstable();
        instants.dedup();
        Some(Schedule::At(instants))
    }

    /// Says where the clock makes an `at` mean something else than it says.
    pub(super) fn at_a_transition(&mut self, node: &Node, instant: Timestamp, when: &When<'_>) {
        let Some(text) = self.text(node, "at") else { return };
        let Some(civil) = civil_of(&text) else { return };
        let zone = when.zone_name;
        let shown = instant.in_zone(when.zone);
        match when.zone.to_ambiguous_timestamp(civil).offset() {
            jiff::tz::AmbiguousOffset::Gap { .. } => {
                let told = shown.strftime("%H:%M:%S").to_string();
                let message =
                    format!("{} does not exist in {zone} on {}: it is due at {told}", civil.time(), civil.date());
                self.warn(node, message, None);
            }
            jiff::tz::AmbiguousOffset::Fold { .. } => {
                let message = format!(
                    "{} comes twice in {zone} on {}: it is due at the first, {}",
                    civil.time(),
                    civil.date(),
                    instant.to_rfc3339()
                );
                self.warn(node, message, Some("write an offset to choose".to_owned()));
            }
            jiff::tz::AmbiguousOffset::Unambiguous { .. } => {}
        }
    }

    pub(super) fn instant(&mut self, node: &Node, what: &str, zone: &TimeZone, end_of_day: bool) -> Option<Timestamp> {
        let text = self.text(node, what)?;
        let instant = parse_instant(&text, zone, end_of_day);
        if instant.is_none() {
            let hint = "such as 2026-12-01T10:00 in the job's zone, or 2026-12-01T10:00:00+01:00".to_owned();
            self.error(node, format!("{what} cannot be '{}': no date and time", short(&text)), Some(hint));
        }
        instant
    }
}

/// What a pattern does at a transition that it meets.
fn crossing(cron: &cron::Cron, pattern: &str, t: &Transition, when: &When<'_>) -> String {
    let (date, zone) = (t.from.date(), when.zone_name);
    let span = format!("{} to {}", t.from.time().strftime("%H:%M"), t.to.time().strftime("%H:%M"));
    let does = match (t.skips, cron.is_fixed()) {
        (true, true) => format!("it fires once at {}", t.to.time().strftime("%H:%M")),
        (true, false) => "it does not fire then, as it follows the clock".to_owned(),
        (false, true) => "it fires once, at the first".to_owned(),
        (false, false) => "it fires both times, as it follows the clock".to_owned(),
    };
    let happens = if t.skips { "is skipped" } else { "comes twice" };
    format!("'{pattern}': {span} {happens} in {zone} on {date}, {does}")
}

pub(super) fn one_or_more(node: &Node) -> Vec<&Node> {
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
