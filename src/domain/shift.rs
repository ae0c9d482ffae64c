//! Where an occurrence belongs when the rules of its zone have changed.

use jiff::tz::TimeZone;

use crate::domain::schedule::Schedule;
use crate::domain::time::{Millis, Timestamp};

/// How far before an instant its successor is looked for: near first, since most schedules fire often.
const LOOKS: [Millis; 3] = [Millis(2 * 3_600_000), Millis(12 * 3_600_000), Millis(50 * 3_600_000)];

/// Occurrences looked at in one look; more only has a schedule that fires every few seconds.
const LOOKED_AT: usize = 10_000;

/// Whether a schedule fires at an instant.
pub fn fires_at(schedule: &Schedule, at: Timestamp, first_applied: Timestamp, zone: &TimeZone) -> bool {
    schedule.next_after(at - Millis(1), first_applied, zone) == Some(at)
}

/// The instant of a schedule that takes the place of one it no longer has: the nearest to it, but after `after`, the
/// last occurrence that was served. `None` when nothing comes any more.
pub fn moved_to(
    schedule: &Schedule,
    at: Timestamp,
    after: Option<Timestamp>,
    first_applied: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let served = |t: &Timestamp| after.is_none_or(|a| *t > a);
    let later = schedule.next_after(at.max(after.unwrap_or(at)), first_applied, zone);
    let earlier = LOOKS.into_iter().find_map(|span| {
        let coming = schedule.all_after(at - span, first_applied, zone).take(LOOKED_AT);
        coming.take_while(|t| *t <= at).filter(served).last()
    });
    match (earlier, later) {
        (Some(e), Some(l)) if l.since(at) < at.since(e) => Some(l),
        (Some(e), _) => Some(e),
        (None, later) => later,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;
    use crate::domain::schedule::Bounds;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn an_occurrence_moves_to_the_nearest_instant_of_the_new_rules_but_never_before_what_was_served() {
        let daily = Schedule::Cron { patterns: vec!["0 10 * * *".to_owned()], bounds: Bounds::default() };
        let zone = |hours: i8| TimeZone::fixed(Offset::constant(hours));
        let day = |d: i64, h: i64| Timestamp((d * 24 + h) * HOUR);
        let moved = |hours, at, after| moved_to(&daily, at, after, Timestamp(0), &zone(hours));
        let (at, yesterday) = (day(9, 9), Some(day(8, 9)));
        assert!(fires_at(&daily, at, Timestamp(0), &zone(1)) && !fires_at(&daily, at, Timestamp(0), &zone(2)));
        assert_eq!(moved(2, at, yesterday), Some(day(9, 8)), "an hour earlier");
        assert_eq!(moved(0, at, yesterday), Some(day(9, 10)), "an hour later");
        assert_eq!(moved(-5, at, yesterday), Some(day(9, 15)), "six hours later");
        assert_eq!(moved(9, at, yesterday), Some(day(9, 1)), "eight hours earlier");
        assert_eq!(moved(9, at, Some(day(9, 2))), Some(day(10, 1)), "what was served is not served again");
    }
}
