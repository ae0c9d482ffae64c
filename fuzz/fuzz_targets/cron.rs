//! A cron pattern, and after a newline the instant from which its next occurrences are asked for.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use onthedot::domain::cron::{Cron, settle_spread, words};
use onthedot::domain::schedule::parse_pattern;
use onthedot::domain::time::{Millis, Timestamp, parse_instant};

/// Berlin's clock.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// 2026-03-28T00:00:00Z: the day before Berlin's clock is set forward.
const START: Timestamp = Timestamp(1_774_656_000_000);

const OCCURRENCES: usize = 10;

const SPAN: Millis = Millis(3 * 366 * 86_400_000);

fuzz_target!(|text: &str| {
    let (pattern, start) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(settled) = settle_spread(pattern, "job") {
        assert_eq!(settle_spread(&settled, "another").as_ref(), Ok(&settled), "it is settled once");
    }
    let _ = parse_pattern(pattern);
    let told = words(pattern);
    let Ok(cron) = Cron::parse(pattern) else {
        assert_eq!(told, pattern, "what cannot be read is given back");
        return;
    };
    assert!(!pattern.contains('+'), "no number has a sign");
    cron.joins_days();
    let start = parse_instant(start, &TimeZone::UTC, false).unwrap_or(START);
    occurrences(&cron, start, &TimeZone::UTC);
    occurrences(&cron, start, &TimeZone::posix(BERLIN).expect("the zone can be read"));
});

fn occurrences(cron: &Cron, start: Timestamp, zone: &TimeZone) {
    let mut after = start;
    for _ in 0..OCCURRENCES {
        let Some(at) = cron.next_after(after, zone).filter(|at| at.since(start) <= SPAN) else { return };
        assert!(at > after, "occurrences rise");
        assert_eq!(cron.next_after(at - Millis(1), zone), Some(at), "none lies between");
        if *zone == TimeZone::UTC {
            let shown = at.in_zone(zone).datetime();
            assert_eq!(cron.next_named(shown), Some(shown), "the pattern names it");
        }
        after = at;
    }
}
