//! How long the recipient sees typing before a message.

use serde::{Deserialize, Serialize};

use crate::domain::draw::Draw;
use crate::domain::time::Millis;

/// How the lead of a message is found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Typing {
    /// No typing is shown.
    Off,
    /// The same length for every message.
    Lead(Millis),
    /// As long as a person would type: characters ÷ speed, within bounds, varied by ± `jitter` (a fraction).
    BySpeed {
        /// Characters a second; above 0.
        chars_per_second: f64,
        /// Never shorter.
        min: Millis,
        /// Never longer.
        max: Millis,
        /// 0.0 … 1.0: how far the length may be off in either direction before the bounds apply.
        jitter: f64,
    },
}

/// The lead where nothing is said: long enough to be seen, as Wawp's pages recommend (2–3 s).
pub const DEFAULT_LEAD: Millis = Millis(2_500);

/// The longest lead accepted. Nobody watches three dots for longer than ten minutes.
pub const LONGEST_LEAD: Millis = Millis(600_000);

impl Default for Typing {
    fn default() -> Self {
        Typing::Lead(DEFAULT_LEAD)
    }
}

impl Typing {
    /// The lead of one message of `chars` characters; `draw` decides the jitter.
    pub fn lead(&self, chars: usize, draw: Draw) -> Millis {
        match *self {
            Typing::Off => Millis::ZERO,
            Typing::Lead(lead) => lead,
            Typing::BySpeed { chars_per_second, min, max, jitter } => {
                let chars = f64::from(u32::try_from(chars).unwrap_or(u32::MAX));
                let factor = 1.0 + jitter * (2.0 * draw.fraction() - 1.0);
                let ms = (chars / chars_per_second * 1_000.0 * factor).min(1e12);
                #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
                let ms = ms.round() as i64;
                Millis(ms.clamp(min.0, max.0.max(min.0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_by_speed_stays_within_its_bounds() {
        let typing = Typing::BySpeed { chars_per_second: 8.0, min: Millis(1_500), max: Millis(12_000), jitter: 0.2 };
        for i in 0..200 {
            let lead = typing.lead(40, Draw::new(3, "typing").with_number(i));
            assert!((4_000..=6_000).contains(&lead.0), "{lead}");
        }
        assert_eq!(typing.lead(1, Draw::new(3, "typing")), Millis(1_500));
        assert_eq!(typing.lead(4_000, Draw::new(3, "typing")), Millis(12_000));
    }
}
