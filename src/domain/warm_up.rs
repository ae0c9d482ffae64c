//! The warm-up of a new account: its daily cap rises from day to day until it is the whole `per_day`.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A ramp of the daily cap, in a straight line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WarmUp {
    /// Its first day, in the zone whose days `per_day` counts.
    pub since: Date,
    /// Sends on its first day, and on every day before it; at least 1.
    pub from: u32,
    /// After so many days the whole `per_day` is allowed; at least 1.
    pub days: u32,
}

impl WarmUp {
    /// The longest, in days.
    pub const LONGEST: u32 = 366;

    /// Whether a later day has a higher cap.
    pub fn rises_after(self, day: Date) -> bool {
        self.cap_on(day, u32::MAX) < u32::MAX
    }

    /// The cap of a day, where the whole one is `full`. A ramp that begins above it is no ramp.
    pub fn cap_on(self, day: Date, full: u32) -> u32 {
        let from = self.from.min(full);
        let passed = day.since(self.since).map_or(0, |span| i64::from(span.get_days())).clamp(0, i64::from(self.days));
        let rise = u64::from(full - from) * passed.unsigned_abs() / u64::from(self.days.max(1));
        from.saturating_add(u32::try_from(rise).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_cap_rises_in_a_straight_line_from_its_first_day_to_the_whole_one() {
        let ramp = WarmUp { since: date(2026, 2, 26), from: 20, days: 10 };
        let on = |month, day| ramp.cap_on(date(2026, month, day), 1_000);
        assert_eq!(
            [on(1, 1), on(2, 26), on(2, 27), on(3, 3), on(3, 7), on(3, 8), on(12, 31)],
            [20, 20, 118, 510, 902, 1_000, 1_000]
        );
        assert_eq!(ramp.cap_on(date(2026, 2, 26), 10), 10, "it never allows more than the whole");
    }
}
