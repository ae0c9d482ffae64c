//! Warnings about jobs that are allowed but cannot do what they say: a window that is never open, a pace that cannot
//! finish in time.

use jiff::tz::TimeZone;

use crate::clock;
use crate::config::read::Reading;
use crate::config::tree::Node;
use crate::config::{InstanceSettings, JobSettings};
use crate::domain::id::InstanceName;
use crate::domain::job::Expires;
use crate::domain::pace::Pacing;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::warm_up::WarmUp;
use crate::domain::window::{OpenHours, Window, WindowZone, next_open};

impl Reading<'_> {
    /// Notes what jobs cannot do. Each warning stands at the job's line.
    pub(crate) fn warn_of_the_impossible(
        &mut self,
        jobs: &[JobSettings],
        instances: &[InstanceSettings],
        now: Timestamp,
    ) {
        for job in jobs {
            let find = |name: &InstanceName| instances.iter().find(|i| i.name == *name);
            let Some(pool) = job.job.instances().map(find).collect::<Option<Vec<_>>>() else { continue };
            let place = Node { line: job.line, column: 0, value: crate::config::tree::Value::Null };
            let shut = |i: &&InstanceSettings| {
                never_open(&[i.window.as_ref(), job.job.manner.window.as_ref()], &job.job.zone, now)
            };
            if let Some(text) = pool.iter().find_map(shut) {
                let hint = "nothing of this job would ever leave".to_owned();
                self.warn(&place, format!("job '{}': {text}", job.job.name), Some(hint));
            }
            if job.job.schedule.recurs() {
                let zone = clock::zone(job.job.schedule_zone()).unwrap_or(TimeZone::UTC);
                if job.job.schedule.next_after(now, now, &zone).is_none() {
                    let hint = "look at ends, count and exclude".to_owned();
                    self.warn(&place, format!("job '{}': it has no occurrence to come", job.job.name), Some(hint));
                }
            }
            let slow = |i: &&InstanceSettings| cannot_finish(job, &i.pacing, pool.len(), now);
            if let Some(text) = pool.iter().find_map(slow) {
                let hint = "raise the pace, lengthen the time, or split the recipients over instances".to_owned();
                self.warn(&place, format!("job '{}': {text}", job.job.name), Some(hint));
            }
        }
    }
}

fn never_open(windows: &[Option<&Window>], zone: &str, now: Timestamp) -> Option<String> {
    let open: Vec<OpenHours> = windows
        .iter()
        .flatten()
        .map(|w| {
            // A recipient may be anywhere; as elsewhere, the sender stands in.
            let name = match &w.zone {
                WindowZone::Named(name) => name,
                WindowZone::Sender | WindowZone::Recipient => zone,
            };
            let zone = clock::zone(name).unwrap_or(TimeZone::UTC);
            OpenHours { days: w.days, hours: w.hours, zone }
        })
        .collect();
    if open.is_empty() || next_open(&open, now).is_some() {
        return None;
    }
    Some("its window and that of its instance are never open together".to_owned())
}

/// How long one occurrence, or its part through one of several accounts, takes at the instance's pace, where that is longer than it has.
fn cannot_finish(job: &JobSettings, pacing: &Pacing, accounts: usize, now: Timestamp) -> Option<String> {
    let steps = u64::try_from(job.job.steps()).unwrap_or(1);
    let part = job.recipients.size.div_ceil(u64::try_from(accounts.max(1)).unwrap_or(1));
    let sends = i64::try_from(part.saturating_mul(steps)).unwrap_or(i64::MAX);
    let takes = Millis(each(pacing).saturating_mul(sends.saturating_sub(1))).max(warming(pacing, sends, now));
    if takes <= Millis::ZERO {
        return None;
    }
    let zone = clock::zone(job.job.schedule_zone()).unwrap_or(TimeZone::UTC);
    let room = match job.job.manner.expires {
        Some(Expires::After(length)) => Some((length + job.job.spread.unwrap_or_default(), "it expires")),
        Some(Expires::At(_)) | None => job.job.schedule.period(now, &zone).map(|p| (p, "the next occurrence comes")),
    };
    let (room, what) = room?;
    let coarse = |m: Millis| if m.0 > 600_000 { Millis(m.0 / 60_000 * 60_000) } else { Millis(m.0 / 1_000 * 1_000) };
    (takes > room).then(|| {
        let (takes, room) = (coarse(takes), coarse(room));
        format!("pacing cannot finish: {sends} messages take about {takes}, and {what} after {room}")
    })
}

/// How long so many sends take at least where the daily cap still rises.
fn warming(pacing: &Pacing, sends: i64, now: Timestamp) -> Millis {
    let (Some(warm_up), Some(full)) = (pacing.warm_up, pacing.per_day) else { return Millis::ZERO };
    let mut day = now.in_zone(&TimeZone::UTC).date();
    let (mut left, mut days) = (sends, 0);
    while left > 0 && warm_up.rises_after(day) && days < i64::from(WarmUp::LONGEST) {
        left -= i64::from(warm_up.cap_on(day, full));
        let Ok(next) = day.tomorrow() else { break };
        (day, days) = (next, days + 1);
    }
    Millis((days + left.max(0) / i64::from(full)).saturating_mul(86_400_000))
}

/// The time from one send to the next that the pace allows in the long run, in ms.
fn each(pacing: &Pacing) -> i64 {
    let mean = |(low, high): (Millis, Millis)| i64::midpoint(low.0, high.0);
    let gap = pacing.gap.map_or(0, mean);
    let rest = match (pacing.batch, pacing.rest) {
        (Some(batch), Some(rest)) => mean(rest) / i64::from(batch),
        _ => 0,
    };
    let per = |count: Option<u32>, span: i64| count.map_or(0, |c| span / i64::from(c));
    let rate = pacing.rate.map_or(0, |r| r.window.0 / i64::from(r.count));
    (gap + rest).max(rate).max(per(pacing.per_hour, 3_600_000)).max(per(pacing.per_day, 86_400_000))
}
