//! When a campaign is paused by itself.

use serde::{Deserialize, Serialize};

use crate::domain::time::Millis;

/// What pauses a campaign: more than a part of its latest sends that went wrong. An absent part is no limit.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct PauseOn {
    /// Sends that were refused or got no clear answer, as a fraction from 0 to 1.
    pub errors: Option<f64>,
    /// Sent messages that no device has after `patience`, as a fraction.
    pub undelivered: Option<f64>,
    /// Recipients who opted out after they got it, as a fraction.
    pub opt_outs: Option<f64>,
    /// How many of the latest sends are looked at; with fewer nothing is judged.
    pub of: u32,
    /// How long a sent message may be on its way to a device.
    pub patience: Millis,
}

/// Sends looked at where the file does not say.
pub const LOOKED_AT: u32 = 50;

/// How long a message may be on its way where the file does not say.
pub const PATIENCE: Millis = Millis(600_000);

/// What became of the latest sends of a campaign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LatestSends {
    /// Sends with an answer.
    pub answered: u32,
    /// Those of them that were refused or got no clear answer.
    pub errors: u32,
    /// Messages sent longer ago than the patience.
    pub waited_for: u32,
    /// Those of them that no device has.
    pub undelivered: u32,
    /// Messages that were sent.
    pub sent: u32,
    /// Those of them whose recipients opted out since.
    pub opt_outs: u32,
}

impl PauseOn {
    /// Why a campaign is to be paused, for the person who looks after it; `None` where it goes on.
    pub fn verdict(&self, latest: &LatestSends) -> Option<String> {
        let looks = [
            (self.errors, latest.errors, latest.answered, "sends were refused or got no clear answer"),
            (self.undelivered, latest.undelivered, latest.waited_for, "messages reached no device in time"),
            (self.opt_outs, latest.opt_outs, latest.sent, "recipients opted out"),
        ];
        looks.into_iter().find_map(|(limit, wrong, of, what)| {
            let limit = limit?;
            let too_many = of >= self.of && f64::from(wrong) > limit * f64::from(of);
            too_many.then(|| {
                format!("paused by itself: {wrong} of the latest {of} {what}; the limit is {}%", limit * 100.0)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limit_pauses_once_enough_was_seen_and_the_first_cause_is_told() {
        let on = PauseOn { errors: Some(0.1), undelivered: None, opt_outs: Some(0.05), of: 20, patience: PATIENCE };
        let latest = LatestSends { answered: 20, errors: 2, sent: 18, opt_outs: 9, waited_for: 20, undelivered: 20 };
        assert_eq!(on.verdict(&latest), None, "as much as the limit, too few sent to judge, and no limit");
        let told = on.verdict(&LatestSends { errors: 3, ..latest }).unwrap();
        assert_eq!(
            told,
            "paused by itself: 3 of the latest 20 sends were refused or got no clear answer; the limit is 10%"
        );
        let told = on.verdict(&LatestSends { sent: 20, opt_outs: 2, ..latest }).unwrap();
        assert_eq!(told, "paused by itself: 2 of the latest 20 recipients opted out; the limit is 5%");
        assert_eq!(on.verdict(&LatestSends { answered: 19, errors: 19, ..latest }), None, "too few to judge");
    }
}
