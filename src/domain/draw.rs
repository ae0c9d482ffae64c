//! Randomness as a function: every draw is a hash of what it is for, so the same file and seed plan the same
//! instants, and a prediction can be checked against what happened.

/// Builds a draw from a stored seed and the parts that name its purpose.
///
/// The mixing function is SplitMix64's finaliser over FNV-1a: not for secrets, only for evenness.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Starts from the database's stored seed and the purpose of the draw (`"jitter"`, `"gap"`, …).
    pub fn new(seed: u64, purpose: &str) -> Draw {
        Draw(seed ^ 0xcbf2_9ce4_8422_2325).with_text(purpose)
    }

    /// Mixes in a text part, such as a job's name or a chat.
    #[must_use]
    pub fn with_text(self, part: &str) -> Draw {
        let mut h = self.0;
        for b in part.as_bytes() {
            h = (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Draw((h ^ 0xff).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// Mixes in a number, such as an instant or the number of an attempt.
    #[must_use]
    pub fn with_number(self, part: i64) -> Draw {
        let mut h = self.0;
        for b in part.to_le_bytes() {
            h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Draw(h)
    }

    fn bits(self) -> u64 {
        let mut z = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A fraction in `0.0..1.0`, evenly spread.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn fraction(self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number in `low..=high`; `low` when the range is empty.
    pub fn between(self, low: i64, high: i64) -> i64 {
        if high <= low {
            return low;
        }
        let width = u64::try_from(high - low).unwrap_or(0) + 1;
        low + i64::try_from(self.bits() % width).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_draw_the_same_number_and_others_do_not() {
        let a = Draw::new(7, "gap").with_text("shop").with_number(1);
        assert_eq!(a.fraction().to_bits(), Draw::new(7, "gap").with_text("shop").with_number(1).fraction().to_bits());
        assert_ne!(a.fraction().to_bits(), Draw::new(8, "gap").with_text("shop").with_number(1).fraction().to_bits());
    }

    #[test]
    fn draws_fill_their_range_evenly() {
        let mut counts = [0_u32; 10];
        for i in 0..10_000 {
            counts[usize::try_from(Draw::new(1, "x").with_number(i).between(0, 9)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
