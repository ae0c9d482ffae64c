//! When a message may be tried again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::draw::Draw;
use crate::domain::time::Millis;

/// How often and at which distance a refused message is tried again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries in all, the first included; 1 … 100.
    pub attempts: u32,
    /// Distance after the first, second, … try; the last one is used for all later ones. Shared by all messages in hand.
    pub backoff: Arc<[Millis]>,
    /// 0.0 … 1.0: how far each distance may be off in either direction.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { attempts: 8, backoff: [5, 15, 45, 120, 300, 900].map(Millis::seconds).into(), jitter: 0.2 }
    }
}

impl RetryPolicy {
    /// The distance to the next try after `tries` tries were used up, or `None` when none is left.
    pub fn next_after(&self, tries: u32, draw: Draw) -> Option<Millis> {
        if tries >= self.attempts {
            return None;
        }
        let step = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
        let base = self.backoff.get(step).or(self.backoff.last()).copied().unwrap_or(Millis::seconds(5));
        Some(jittered(base, self.jitter, draw))
    }
}

/// `base` varied by ± `jitter` (a fraction), never below one millisecond.
pub fn jittered(base: Millis, jitter: f64, draw: Draw) -> Millis {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "delays are far below 2^53 ms")]
    let off = (base.0 as f64 * jitter * (2.0 * draw.fraction() - 1.0)).round() as i64;
    Millis((base.0 + off).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_climbs_stays_on_its_last_step_and_ends() {
        let policy = RetryPolicy { attempts: 4, backoff: [Millis(10), Millis(20)].into(), jitter: 0.0 };
        let draw = Draw::new(0, "retry");
        assert_eq!(policy.next_after(1, draw), Some(Millis(10)));
        assert_eq!(policy.next_after(2, draw), Some(Millis(20)));
        assert_eq!(policy.next_after(3, draw), Some(Millis(20)));
        assert_eq!(policy.next_after(4, draw), None);
    }
}
