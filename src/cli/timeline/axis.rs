//! The ticks of a time axis: round times of the wall clock.

use jiff::tz::TimeZone;

use crate::domain::time::{Millis, Timestamp};

/// Distances between two ticks, in seconds.
const STEPS: [i64; 19] = [
    1, 5, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_419_200,
];

/// One tick.
pub(super) struct Tick {
    pub at: Timestamp,
    /// The time, or the day where a new one begins.
    pub label: String,
    /// Whether a new day begins.
    pub day: bool,
}

/// At most `most` ticks within a span.
pub(super) fn ticks(from: Timestamp, until: Timestamp, zone: &TimeZone, most: usize) -> Vec<Tick> {
    let span = until.since(from).0.max(1);
    let most = i64::try_from(most.max(1)).unwrap_or(i64::MAX);
    let step = STEPS.into_iter().find(|s| span / (s * 1_000) < most).unwrap_or(2_419_200);
    let midnight = from.in_zone(zone).date().at(0, 0, 0, 0);
    let mut ticks: Vec<Tick> = Vec::new();
    // By the wall clock, so that labels stay round on the days of daylight saving.
    let first = from.in_zone(zone).datetime().duration_since(midnight).as_secs() / step;
    for n in first.. {
        let civil = midnight.checked_add(jiff::SignedDuration::from_secs(n * step));
        let Some(zoned) = civil.ok().and_then(|c| c.to_zoned(zone.clone()).ok()) else { break };
        let at = Timestamp::from(zoned.timestamp());
        if at >= until {
            break;
        }
        if at < from || ticks.last().is_some_and(|t| at.since(t.at) <= Millis::ZERO) {
            continue;
        }
        let day = zoned.hour() == 0 && zoned.minute() == 0 && zoned.second() == 0;
        let format = if day {
            "%a %d"
        } else if step < 60 {
            "%H:%M:%S"
        } else {
            "%H:%M"
        };
        ticks.push(Tick { at, label: zoned.strftime(format).to_string(), day });
    }
    ticks
}
