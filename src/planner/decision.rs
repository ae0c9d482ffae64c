//! Which occurrence of a job is planned next, and what becomes of those that passed.

use jiff::tz::TimeZone;

use crate::domain::job::{Job, Overlap};
use crate::domain::misfire::{Misfire, MissedRun, Policy};
use crate::domain::occurrence::{SLOWEST_CLOCK, to_be_planned};
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::StoredJob;

/// What happens to a job's next occurrences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decision {
    /// The one that is served next, and how its messages begin; `None` when none is left.
    pub(super) serve: Option<(Timestamp, StateName)>,
    /// Those before it that are not served.
    pub(super) missed: [Option<MissedRun>; 2],
    /// The one after it.
    pub(super) following: Option<Timestamp>,
    /// When the planner must look at that one.
    pub(super) plan_at: Option<Timestamp>,
}

pub(super) fn policy(stored: &StoredJob, max_lateness: Millis) -> Policy {
    let manner = &stored.job.manner;
    Policy { misfire: manner.misfire, grace: manner.grace, max_lateness, max_catchup: manner.max_catchup }
}

/// The occurrences of a recurring job from its next one on that have passed.
pub(super) fn passed_since<'s>(
    stored: &'s StoredJob,
    zone: &'s TimeZone,
    now: Timestamp,
) -> impl Iterator<Item = Timestamp> + 's {
    let after = stored.next_at.map_or(now, |t| t - Millis(1));
    stored.job.schedule.all_after(after, stored.first_applied_at, zone).take_while(move |t| *t <= now)
}

/// Whether the recipients of one occurrence are due at instants of their own, each judged by itself.
pub(super) fn own_instants(job: &Job) -> bool {
    job.manner.own_clock || job.schedule.event_at().is_some()
}

/// What is made up for all at once would overlap itself: `skip` means the occurrences of a schedule that runs.
pub(super) fn overlaps_itself(job: &Job) -> bool {
    job.manner.misfire == Misfire::RunAll && job.manner.overlap == Overlap::Skip
}

/// Decides which occurrence is planned next and how.
pub(super) fn decide(stored: &StoredJob, max_lateness: Millis, zone: &TimeZone, now: Timestamp) -> Decision {
    let schedule = &stored.job.schedule;
    let after = |t| schedule.next_after(t, stored.first_applied_at, zone);
    let policy = policy(stored, max_lateness);
    let repeats = schedule.repeats();
    // On clocks of their own, an occurrence has passed when it has on the slowest of them.
    let own_clock = stored.job.manner.own_clock;
    let passed = if own_clock { now - SLOWEST_CLOCK } else { now };
    let mut missed = [None; 2];
    let serve = match stored.next_at {
        None => None,
        Some(next) if next >= passed || own_instants(&stored.job) && !repeats => Some((next, StateName::Scheduled)),
        Some(next) if !repeats => {
            let late = now.since(next) > policy.allowed();
            Some((next, if late { StateName::Expired } else { StateName::Scheduled }))
        }
        Some(_) => {
            let catch_up = policy.catch_up(passed_since(stored, zone, passed), passed);
            missed = catch_up.missed;
            catch_up.first.or_else(|| after(passed)).map(|t| (t, StateName::Scheduled))
        }
    };
    let following = serve.and_then(|(nominal, _)| after(nominal));
    let plan_at = serve.zip(following).map(|((nominal, _), f)| to_be_planned(&stored.job, nominal, f, now));
    Decision { serve, missed, following, plan_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::content::Content;
    use crate::domain::id::InstanceName;
    use crate::domain::job::Manner;
    use crate::domain::occurrence::{FASTEST_CLOCK, PLANNED_AHEAD, longest_lead};
    use crate::domain::schedule::Schedule;
    use crate::domain::typing::Typing;

    fn stored(schedule: Schedule, next_at: i64) -> StoredJob {
        let job = Job {
            name: "j".into(),
            schedule,
            zone: "UTC".into(),
            instance: InstanceName::new("i"),
            others: Vec::new(),
            content: Content::text("x"),
            then: Vec::new(),
            weights: Vec::new(),
            after: Vec::new(),
            live: None,
            manner: Manner::default(),
            spread: None,
            jitter: None,
        };
        let (contents, audience, size) = (vec![1], 1, 1);
        StoredJob {
            job,
            contents,
            audience,
            size,
            first_applied_at: Timestamp(0),
            applied_at: Timestamp(0),
            next_at: Some(Timestamp(next_at)),
            resumes: false,
            declared_event: None,
            event_cancelled: false,
        }
    }

    fn every(period: i64) -> Schedule {
        Schedule::Every { period: Millis(period), anchor: None, bounds: crate::domain::schedule::Bounds::default() }
    }

    #[test]
    fn only_what_is_made_up_for_and_would_be_skipped_overlaps_itself() {
        let with = |misfire, overlap| {
            let mut job = stored(every(60_000), 60_000).job;
            (job.manner.misfire, job.manner.overlap) = (misfire, overlap);
            overlaps_itself(&job)
        };
        assert!(with(Misfire::RunAll, Overlap::Skip));
        assert!(!with(Misfire::RunAll, Overlap::Queue));
        assert!(!with(Misfire::RunOnce, Overlap::Skip));
    }

    #[test]
    fn recipients_with_instants_of_their_own_are_judged_one_by_one_and_their_job_is_never_too_late() {
        let mut own = stored(Schedule::At(vec![Timestamp(1_000)]), 1_000);
        assert!(!own_instants(&own.job));
        own.job.manner.own_clock = true;
        assert!(own_instants(&own.job), "each on its own clock");
        let a_week_later = Timestamp(7 * 86_400_000);
        let d = decide(&own, Millis(5_000), &TimeZone::UTC, a_week_later);
        assert_eq!(d.serve, Some((Timestamp(1_000), StateName::Scheduled)));
        let mut recurring = stored(every(60_000), 60_000);
        recurring.job.manner.own_clock = true;
        let d = decide(&recurring, Millis(30_000), &TimeZone::UTC, a_week_later);
        assert!(d.serve.is_some_and(|(t, _)| t > Timestamp(60_000)), "of a schedule the latest is served");
        assert!(d.missed[0].is_some());
        let ahead = longest_lead(&recurring.job.manner.typing) + PLANNED_AHEAD;
        assert_eq!(d.plan_at, d.following.map(|f| f - ahead - FASTEST_CLOCK), "before it begins on the fastest clock");
    }

    #[test]
    fn a_lead_longer_than_the_time_to_the_next_occurrence_has_it_planned_earlier() {
        let mut long = stored(every(60_000), 60_000);
        long.job.manner.typing = Typing::Lead(Millis(90_000));
        let d = decide(&long, Millis(30_000), &TimeZone::UTC, Timestamp(10_000));
        assert_eq!(d.following, Some(Timestamp(120_000)));
        assert_eq!(d.plan_at, Some(Timestamp(120_000 - 90_000) - PLANNED_AHEAD));
    }

    #[test]
    fn a_recurring_job_keeps_one_occurrence_ahead() {
        let d = decide(&stored(every(60_000), 60_000), Millis(30_000), &TimeZone::UTC, Timestamp(10_000));
        assert_eq!(d.serve, Some((Timestamp(60_000), StateName::Scheduled)));
        assert_eq!(d.following, Some(Timestamp(120_000)));
        assert_eq!(d.plan_at, Some(Timestamp(60_000)));
    }

    #[test]
    fn after_an_outage_only_the_latest_occurrence_in_time_is_served() {
        let d = decide(&stored(every(60_000), 60_000), Millis(30_000), &TimeZone::UTC, Timestamp(605_000));
        assert_eq!(d.serve, Some((Timestamp(600_000), StateName::Scheduled)));
        assert_eq!(d.missed[0].map(|r| (r.first, r.last, r.count)), Some((Timestamp(60_000), Timestamp(540_000), 9)));
        let d = decide(&stored(every(60_000), 60_000), Millis(30_000), &TimeZone::UTC, Timestamp(645_000));
        assert_eq!(d.serve, Some((Timestamp(660_000), StateName::Scheduled)), "none in time: the next one");
        assert_eq!(d.missed[0].map(|r| r.count), Some(10));
    }

    #[test]
    fn an_instant_too_long_past_is_recorded_as_expired() {
        let at = Schedule::At(vec![Timestamp(1_000)]);
        let d = decide(&stored(at.clone(), 1_000), Millis(5_000), &TimeZone::UTC, Timestamp(4_000));
        assert_eq!(d.serve, Some((Timestamp(1_000), StateName::Scheduled)));
        let d = decide(&stored(at, 1_000), Millis(5_000), &TimeZone::UTC, Timestamp(7_000));
        assert_eq!(d.serve, Some((Timestamp(1_000), StateName::Expired)));
        assert_eq!(d.following, None);
    }
}
