//! Where recipients are: the zone of each, from its column or from the country of its number.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::clock;
use crate::config::read::Reading;
use crate::config::tree::Node;
use crate::domain::country;
use crate::domain::recipient::Chat;
use crate::domain::template::{Vars, ZONE_VAR};
use crate::domain::time::{Millis, Timestamp};

/// Finds out zones of recipients and remembers what it had to guess.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    /// The zone of the job: what stands in where a recipient's is unknown.
    job_zone: String,
    /// Whether one of the clocks of a country that has several is taken for all of its numbers.
    guesses: bool,
    now: Timestamp,
    /// What each country means, by its code.
    countries: BTreeMap<String, Country>,
    /// Recipients whose zone is unknown.
    unknown: u64,
}

#[derive(Clone, Debug)]
struct Country {
    zone: Option<String>,
    /// How many clocks it has that differ, where the job's own zone is none of them.
    clocks: usize,
    recipients: u64,
}

impl Whereabouts {
    /// For a job in a zone. A schedule on its recipients' clocks needs one for everybody, and guesses where a country has
    /// several; a window does not, and whose clock is not sure is in the sender's.
    pub(crate) fn new(job_zone: &str, guesses: bool, now: Timestamp) -> Whereabouts {
        Whereabouts { job_zone: job_zone.to_owned(), guesses, now, countries: BTreeMap::new(), unknown: 0 }
    }

    /// Whether one of the clocks of a country that has several is taken.
    pub(crate) fn guesses(&self) -> bool {
        self.guesses
    }

    /// Fills in the zone of a recipient that does not say its own.
    pub(crate) fn fill_in(&mut self, chat: &Chat, vars: &mut Vars) {
        if vars.contains_key(ZONE_VAR) {
            return;
        }
        let Some(code) = country::of(chat) else {
            self.unknown += 1;
            return;
        };
        let known = self.countries.entry(code);
        let country = known.or_insert_with_key(|code| look_up(code, &self.job_zone, self.now));
        country.recipients += 1;
        match country.zone.as_ref().filter(|_| self.guesses || country.clocks <= 1) {
            Some(zone) => {
                vars.insert(ZONE_VAR.to_owned(), zone.clone());
            }
            None => self.unknown += 1,
        }
    }

    /// Says what was guessed.
    pub(crate) fn warn(self, reading: &mut Reading<'_>, node: &Node, what: &str) {
        let hint = || Some(format!("a column '{ZONE_VAR}' with names such as Europe/Berlin says it for each"));
        for (code, country) in self.countries.iter().filter(|(_, c)| self.guesses && c.clocks > 1) {
            let zone = country.zone.as_deref().unwrap_or("");
            let message = format!(
                "{what}: {} in {code}, which has {} clocks: {zone} is taken for all of them",
                recipients(country.recipients),
                country.clocks
            );
            reading.warn(node, message, hint());
        }
        if self.unknown > 0 {
            let message =
                format!("{what}: of {} the zone is unknown: {} is taken", recipients(self.unknown), self.job_zone);
            reading.warn(node, message, hint());
        }
    }
}

fn recipients(n: u64) -> String {
    if n == 1 { "1 recipient".to_owned() } else { format!("{n} recipients") }
}

/// The zone of a country: the job's own where it is one of the country's, else the most populous that is listed first.
fn look_up(code: &str, job_zone: &str, now: Timestamp) -> Country {
    let zones = clock::zones_of_country(code);
    if zones.iter().any(|z| z == job_zone) {
        return Country { zone: Some(job_zone.to_owned()), clocks: 1, recipients: 0 };
    }
    let mut clocks: Vec<Vec<i32>> = zones.iter().filter_map(|z| clock::zone(z).ok()).map(|z| shown(&z, now)).collect();
    clocks.sort();
    clocks.dedup();
    Country { zone: zones.first().cloned(), clocks: clocks.len(), recipients: 0 }
}

/// What a zone's clock shows in the coming year: two zones that agree are one clock.
fn shown(zone: &TimeZone, now: Timestamp) -> Vec<i32> {
    (0..53).map(|week| (now + Millis(week * 7 * 86_400_000)).in_zone(zone).offset().seconds()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone_of(number: &str, job_zone: &str) -> (Option<String>, usize) {
        let mut all = Whereabouts::new(job_zone, true, Timestamp(1_796_000_000_000));
        let mut vars = Vars::new();
        all.fill_in(&Chat::from_stored(&format!("{number}@c.us")), &mut vars);
        (vars.remove(ZONE_VAR), all.countries.values().map(|c| c.clocks).max().unwrap_or(0))
    }

    #[test]
    fn a_country_of_one_clock_is_sure_and_one_of_several_is_a_guess() {
        assert_eq!(zone_of("201234567890", "Europe/Berlin"), (Some("Africa/Cairo".into()), 1));
        // Germany has two zones that show the same.
        assert_eq!(zone_of("491701234567", "UTC"), (Some("Europe/Berlin".into()), 1));
        let (zone, clocks) = zone_of("12125550123", "Europe/Berlin");
        assert!(zone.as_deref() == Some("America/New_York") && clocks > 4, "{zone:?} {clocks}");
        assert_eq!(zone_of("12125550123", "America/Chicago"), (Some("America/Chicago".into()), 1));
    }
    #[test]
    fn a_window_takes_no_clock_that_is_not_sure() {
        let zone_of = |number: &str| {
            let mut all = Whereabouts::new("Europe/Berlin", false, Timestamp(1_796_000_000_000));
            let mut vars = Vars::new();
            all.fill_in(&Chat::from_stored(&format!("{number}@c.us")), &mut vars);
            (vars.remove(ZONE_VAR), all.unknown)
        };
        assert_eq!(zone_of("12125550123"), (None, 1), "a country of several clocks");
        assert_eq!(zone_of("201234567890"), (Some("Africa/Cairo".into()), 0));
        assert_eq!(zone_of("491701234567"), (Some("Europe/Berlin".into()), 0));
    }
}
