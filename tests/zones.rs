//! Cron patterns in every zone of the system's database, 2024 to 2035, against the rule itself: an oracle that only
//! asks what a clock shows at an instant. And the grammar against another implementation.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

use std::collections::BTreeMap;

use jiff::Timestamp as Instant;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use onthedot::domain::cron::Cron;
use onthedot::domain::time::Timestamp;
use proptest::prelude::{Strategy, proptest};
use proptest::{prop_assert_eq, sample};

const FROM: Date = date(2024, 1, 1);
const TO: Date = date(2036, 1, 1);

fn zones() -> Vec<(String, TimeZone)> {
    let database = jiff::tz::db();
    let all: Vec<(String, TimeZone)> =
        database.available().map(|n| (n.to_string(), database.get(n.as_str()).unwrap())).collect();
    assert!(all.len() > 400, "the system has a database of zones: {}", all.len());
    all
}

/// What the clocks of a zone do: from each instant on they are off UTC by so many seconds. Found by looking at the
/// clock every three hours and halving; nothing is asked about transitions.
fn line(zone: &TimeZone) -> Vec<(i64, i64)> {
    let shows = |at: i64| i64::from(zone.to_offset(Instant::from_second(at).unwrap()).seconds());
    let begin = FROM.yesterday().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
    let end = TO.tomorrow().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
    let mut line = vec![(begin, shows(begin))];
    let mut at = begin;
    while at < end {
        let next = at + 10_800;
        if shows(next) != shows(at) {
            let (mut low, mut high) = (at, next);
            while high - low > 1 {
                let middle = low.midpoint(high);
                if shows(middle) == shows(at) { low = middle } else { high = middle }
            }
            line.push((high, shows(high)));
        }
        at = next;
    }
    line
}

fn wall(civil: DateTime) -> i64 {
    civil.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second()
}

/// The rule: the first instant at which the clock shows a time or something later.
fn first_showing(line: &[(i64, i64)], wall: i64) -> i64 {
    let ends = line.iter().skip(1).map(|(at, _)| *at).chain([i64::MAX]);
    for ((from, offset), end) in line.iter().zip(ends) {
        let at = (wall - offset).max(*from);
        if at < end {
            return at;
        }
    }
    unreachable!("the last stretch has no end")
}

fn firings(pattern: &str, zone: &TimeZone, from: i64, to: i64) -> Vec<i64> {
    let cron = Cron::parse(pattern).unwrap();
    let next = |t: &Timestamp| cron.next_after(*t, zone);
    let all = std::iter::successors(next(&Timestamp(from * 1_000 - 1)), next);
    all.map(|t| t.0 / 1_000).take_while(|t| *t < to).collect()
}

#[test]
fn a_daily_time_fires_exactly_once_for_every_civil_day_of_every_zone() {
    // Zones by what their clocks do: many names stand for one line.
    let mut lines: BTreeMap<Vec<(i64, i64)>, (String, TimeZone)> = BTreeMap::new();
    for (name, zone) in zones() {
        lines.entry(line(&zone)).or_insert((name, zone));
    }
    assert!(lines.len() > 60, "the world keeps many clocks: {}", lines.len());
    let mut odd = 0;
    for (line, (name, zone)) in &lines {
        for (pattern, hour, minute) in [("0 0 * * *", 0, 0), ("30 2 * * *", 2, 30), ("30 23 * * *", 23, 30)] {
            let days = std::iter::successors(Some(FROM), |d| d.tomorrow().ok()).take_while(|d| *d < TO);
            let expected: Vec<i64> = days.map(|d| first_showing(line, wall(d.at(hour, minute, 0, 0)))).collect();
            let (from, to) = (expected[0], expected[expected.len() - 1] + 1);
            let mut once = expected.clone();
            once.dedup();
            assert_eq!(once.len(), 12 * 365 + 3, "{name}: one for every civil day");
            assert_eq!(firings(pattern, zone, from, to), expected, "{name}: {pattern}");
            odd += expected.windows(2).filter(|w| w[1] - w[0] != 86_400).count();
        }
    }
    assert!(odd > 1_000, "the odd days were met: {odd}");
}

#[test]
fn patterns_that_follow_the_clock_fire_whenever_it_shows_their_time() {
    for (name, zone) in zones().into_iter().step_by(3) {
        for (at, _) in line(&zone).into_iter().skip(1) {
            let (from, to) = (at - 7_200 - at.rem_euclid(60), at + 7_200);
            let shown = |t: i64| Instant::from_second(t).unwrap().to_zoned(zone.clone());
            for (pattern, fits) in [
                (
                    "*/30 0-3,22-23 * * *",
                    (|t: DateTime| t.minute() % 30 == 0 && (t.hour() < 4 || t.hour() > 21)) as fn(DateTime) -> bool,
                ),
                ("15 */1 * * *", |t: DateTime| t.minute() == 15),
            ] {
                let expected: Vec<i64> = (from..to).step_by(60).filter(|t| fits(shown(*t).datetime())).collect();
                assert_eq!(firings(pattern, &zone, from, to), expected, "{name}: {pattern} around {at}");
            }
        }
    }
}

#[test]
fn the_pinned_cases_of_the_manual_hold() {
    let zone = |name: &str| jiff::tz::db().get(name).unwrap();
    let told = |pattern: &str, zone_name: &str, day: Date| -> Vec<String> {
        let zone = zone(zone_name);
        let from = day.to_zoned(zone.clone()).unwrap().timestamp().as_second();
        let to = day.tomorrow().unwrap().to_zoned(zone.clone()).unwrap().timestamp().as_second();
        firings(pattern, &zone, from, to)
            .into_iter()
            .map(|t| Instant::from_second(t).unwrap().to_zoned(zone.clone()).strftime("%H:%M %Z").to_string())
            .collect()
    };
    let (spring, autumn) = (date(2026, 3, 29), date(2026, 10, 25));
    assert_eq!(told("0 0 * * *", "Europe/London", spring), ["00:00 GMT"], "not again after the gap");
    assert_eq!(told("30 1 * * *", "Europe/London", spring), ["02:00 BST"], "made up for at the first valid instant");
    assert_eq!(told("30 0-3 * * *", "Europe/London", spring), ["00:30 GMT", "02:30 BST", "03:30 BST"]);
    assert_eq!(
        told("*/30 1 * * *", "Europe/London", autumn),
        ["01:00 BST", "01:30 BST", "01:00 GMT", "01:30 GMT"],
        "both times"
    );
    assert_eq!(told("30 1 * * *", "Europe/London", autumn), ["01:30 BST"], "once, at the first");
    assert_eq!(told("0 1,2,3 * * *", "Europe/London", spring), ["02:00 BST", "03:00 BST"], "a list is fixed-time");
}

/// Patterns of the grammar that both implementations read alike.
fn pattern() -> impl Strategy<Value = String> {
    let minute = sample::select(vec!["0", "*", "*/7", "5-50/9", "3,33", "59"]);
    let hour = sample::select(vec!["*", "0", "23", "*/5", "8-17", "6,18"]);
    let day = sample::select(vec!["*", "1", "31", "L", "15W", "1W", "10-20/3", "5,25", "29"]);
    let month = sample::select(vec!["*", "2", "jan-mar", "*/4", "6,12"]);
    let weekday = sample::select(vec!["*", "mon-fri", "7", "5L", "MON#2", "0,3", "sat"]);
    (minute, hour, day, month, weekday).prop_map(|(m, h, d, mo, w)| format!("{m} {h} {d} {mo} {w}"))
}

proptest! {
    #[test]
    fn the_grammar_means_what_another_implementation_reads(pattern in pattern(), day in 0_i64..4_000) {
        let from = Instant::from_second(1_704_067_200 + day * 86_400).unwrap();
        let other = croner::parser::CronParser::new().parse(&pattern).unwrap();
        let mut at = from.to_zoned(TimeZone::UTC);
        let mut mine = Timestamp::from(from);
        let Ok(cron) = Cron::parse(&pattern) else {
            proptest::prop_assert!(pattern.contains(" 31 2 "), "{pattern} has days");
            return Ok(());
        };
        for _ in 0..5 {
            at = other.find_next_occurrence(&at, false).unwrap();
            mine = cron.next_after(mine, &TimeZone::UTC).unwrap();
            prop_assert_eq!(mine, Timestamp::from(at.timestamp()), "{}", pattern);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~]{0,40}") {
        let _ = Cron::parse(&text);
        let _ = onthedot::domain::cron::settle_spread(&text, "name");
        let _ = onthedot::domain::cron::words(&text);
    }
}

#[test]
fn what_fires_once_in_a_century_is_found() {
    let zone = jiff::tz::db().get("Europe/Berlin").unwrap();
    let cron = Cron::parse("0 0 0 29 2 ? 2096").unwrap();
    let found = cron.next_after(Timestamp(0), &zone).unwrap();
    assert_eq!(found, Timestamp::from(date(2096, 2, 29).to_zoned(zone).unwrap().timestamp()));
}
