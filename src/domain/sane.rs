//! Whether a clock can be right. A machine without a battery wakes in 1970, one with a broken one anywhere: sending by
//! such a clock would send everything at once, or nothing for years.

use crate::domain::time::{Millis, Timestamp};

/// No clock that is right shows an earlier instant: 2026-01-01T00:00:00Z, before this program was first released.
pub const RELEASED: Timestamp = Timestamp(1_767_225_600_000);

/// A clock may be this far behind the last instant the database knows of: somebody may have corrected it.
pub const BEHIND: Millis = Millis(86_400_000);

/// A clock may be this far ahead of it: no daemon is expected to rest for longer.
pub const AHEAD: Millis = Millis(400 * 86_400_000);

/// Why a clock cannot be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insane {
    /// It shows an instant before the program existed.
    BeforeRelease,
    /// It shows an instant more than a day before one that the database has seen.
    Behind(Timestamp),
    /// It shows an instant more than 400 days after the last one that the database has seen.
    Ahead(Timestamp),
}

impl std::fmt::Display for Insane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Insane::BeforeRelease => write!(f, "it is set before {RELEASED}, when this program did not exist"),
            Insane::Behind(last) => write!(f, "it is more than a day behind {last}, when a daemon last ran"),
            Insane::Ahead(last) => write!(f, "it is more than 400 days ahead of {last}, when a daemon last ran"),
        }
    }
}

/// Judges a clock that shows `now` by the last instant the database knows of.
///
/// # Errors
/// [`Insane`] where it cannot be right.
pub fn judge(now: Timestamp, last: Option<Timestamp>) -> Result<(), Insane> {
    if now < RELEASED {
        return Err(Insane::BeforeRelease);
    }
    match last {
        Some(last) if now < last - BEHIND => Err(Insane::Behind(last)),
        Some(last) if now > last + AHEAD => Err(Insane::Ahead(last)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_doubted_before_the_release_a_day_behind_and_four_hundred_days_ahead() {
        assert_eq!(judge(Timestamp(0), None), Err(Insane::BeforeRelease));
        assert_eq!(judge(RELEASED, None), Ok(()));
        let last = RELEASED + Millis(500 * 86_400_000);
        assert_eq!(judge(last - BEHIND, Some(last)), Ok(()));
        assert_eq!(judge(last - BEHIND - Millis(1), Some(last)), Err(Insane::Behind(last)));
        assert_eq!(judge(last + AHEAD, Some(last)), Ok(()));
        assert_eq!(judge(last + AHEAD + Millis(1), Some(last)), Err(Insane::Ahead(last)));
    }
}
