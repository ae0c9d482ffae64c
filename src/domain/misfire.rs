//! What becomes of occurrences that passed while nobody could serve them.

use serde::{Deserialize, Serialize};

use crate::domain::time::{Millis, Timestamp};

/// What happens to occurrences that passed while nobody could serve them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// The latest one is sent, if it is not older than `max_lateness`.
    #[default]
    RunOnce,
    /// None is sent once `grace` has passed.
    Skip,
    /// All are sent that are not older than `max_lateness`, the latest `max_catchup` of them.
    RunAll,
}

/// Why an occurrence is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missed {
    /// It is later than the policy allows.
    Late,
    /// A later one is sent in its place.
    Superseded,
    /// More than `max_catchup` were missed.
    Catchup,
}

impl Missed {
    /// Every reason with its sentence, for the reference.
    pub const ALL: [(Missed, &'static str, &'static str); 3] = [
        (Missed::Late, "late", "It passed while nobody could serve it, and is later than `misfire` allows."),
        (Missed::Superseded, "superseded", "Several were missed, and only the latest is sent (`misfire: run_once`)."),
        (Missed::Catchup, "catchup", "More than `max_catchup` were missed."),
    ];

    /// The code in the database and in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(m, ..)| *m == self).map_or("", |(_, name, _)| name)
    }
}

/// A run of occurrences, one after the other, that are not served for one reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MissedRun {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// Why.
    pub why: Missed,
}

/// What a policy allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Which occurrences are made up for.
    pub misfire: Misfire,
    /// Up to this late it is in time.
    pub grace: Millis,
    /// How late it may be at all.
    pub max_lateness: Millis,
    /// How many are made up for at most.
    pub max_catchup: u32,
}

/// What is made up for after an outage.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CatchUp {
    /// The first occurrence to serve; those after it are served too.
    pub first: Option<Timestamp>,
    /// How many those are.
    pub served: usize,
    /// What is not served: first what is too late, then what gives way to later ones.
    pub missed: [Option<MissedRun>; 2],
}

/// Occurrences looked at one by one; a run that is longer is counted no further.
const LOOKED_AT: usize = 1_000_000;

impl Policy {
    /// How late an occurrence may be and still be served.
    pub fn allowed(&self) -> Millis {
        match self.misfire {
            Misfire::RunOnce | Misfire::RunAll => self.max_lateness,
            Misfire::Skip => self.grace.min(self.max_lateness),
        }
    }

    /// How many missed occurrences are served.
    pub fn most(&self) -> usize {
        match self.misfire {
            Misfire::RunOnce => 1,
            Misfire::Skip | Misfire::RunAll => usize::try_from(self.max_catchup).unwrap_or(usize::MAX),
        }
    }

    /// Decides about the occurrences that passed, the earliest first, none of them after `now`.
    pub fn catch_up(&self, passed: impl Iterator<Item = Timestamp>, now: Timestamp) -> CatchUp {
        let mut catch_up = CatchUp::default();
        let mut in_time: std::collections::VecDeque<Timestamp> = std::collections::VecDeque::new();
        let gives_way = if self.misfire == Misfire::RunOnce { Missed::Superseded } else { Missed::Catchup };
        let [late, over] = &mut catch_up.missed;
        for at in passed.take(LOOKED_AT) {
            if now.since(at) > self.allowed() {
                note(late, at, Missed::Late);
                continue;
            }
            in_time.push_back(at);
            if in_time.len() > self.most()
                && let Some(first) = in_time.pop_front()
            {
                note(over, first, gives_way);
            }
        }
        catch_up.first = in_time.front().copied();
        catch_up.served = in_time.len();
        catch_up
    }
}

fn note(run: &mut Option<MissedRun>, at: Timestamp, why: Missed) {
    let run = run.get_or_insert(MissedRun { first: at, last: at, count: 0, why });
    run.last = at;
    run.count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(misfire: Misfire) -> Policy {
        Policy { misfire, grace: Millis(60), max_lateness: Millis(300), max_catchup: 3 }
    }

    /// Every 100 from 0 to 900, looked at when it is `now`: from which one on is served, and what is missed and why.
    fn at(misfire: Misfire, now: i64) -> String {
        let passed = (0..10).map(|n| Timestamp(n * 100)).take_while(|t| t.0 <= now);
        let catch_up = policy(misfire).catch_up(passed, Timestamp(now));
        let mut told = catch_up.first.map_or("none".to_owned(), |t| format!("from {}", t.0));
        for run in catch_up.missed.into_iter().flatten() {
            told.push_str(&format!(", {}..{} {} {}", run.first.0, run.last.0, run.count, run.why.name()));
        }
        told
    }

    #[test]
    fn run_once_serves_the_latest_that_is_not_too_old() {
        assert_eq!(at(Misfire::RunOnce, 0), "from 0");
        assert_eq!(at(Misfire::RunOnce, 650), "from 600, 0..300 4 late, 400..500 2 superseded");
        assert_eq!(at(Misfire::RunOnce, 1_201), "none, 0..900 10 late");
    }

    #[test]
    fn skip_serves_only_what_is_within_its_grace() {
        assert_eq!(at(Misfire::Skip, 650), "from 600, 0..500 6 late");
        assert_eq!(at(Misfire::Skip, 670), "none, 0..600 7 late");
    }

    #[test]
    fn run_all_serves_the_latest_so_many() {
        assert_eq!(at(Misfire::RunAll, 250), "from 0");
        assert_eq!(at(Misfire::RunAll, 300), "from 100, 0..0 1 catchup");
        assert_eq!(at(Misfire::RunAll, 650), "from 400, 0..300 4 late");
    }
}
