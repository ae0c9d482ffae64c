//! Draws of one history, one after the other.

use onthedot::domain::draw::Draw;

#[derive(Clone, Debug)]
pub(crate) struct Dice(Draw, i64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice::of(seed, "simulation")
    }

    /// Draws of their own for one matter: what is drawn for others stays as it was before the matter was thought of.
    pub(crate) fn of(seed: u64, matter: &str) -> Dice {
        Dice(Draw::new(seed, matter), 0)
    }

    pub(crate) fn roll(&mut self, low: i64, high: i64) -> i64 {
        self.1 += 1;
        self.0.with_number(self.1).between(low, high)
    }

    pub(crate) fn chance(&mut self, percent: i64) -> bool {
        self.roll(0, 99) < percent
    }
}
