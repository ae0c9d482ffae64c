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

/// A day, in ms.
const DAY: i64 = 86_400_000;

/// The windows of a week are looked at so often, in ms.
const SLOT: i64 = 900_000;

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
            if let Some(text) = over_before_due(job, now) {
                let hint = "nothing of it would ever leave: `expires` is counted from when it is due, or comes after"
                    .to_owned();
                self.warn(&place, format!("job '{}': {text}", job.job.name), Some(hint));
                continue;
            }
            let slow = |i: &&InstanceSettings| cannot_finish(job, i, pool.len(), now);
            if let Some((text, proposal)) = pool.iter().find_map(slow) {
                self.warn(&place, format!("job '{}': {text}", job.job.name), Some(proposal));
            }
        }
    }
}

/// Where it expires before it is due.
fn over_before_due(job: &JobSettings, now: Timestamp) -> Option<String> {
    let Some(Expires::At(end)) = job.job.manner.expires else { return None };
    let zone = clock::zone(job.job.schedule_zone()).unwrap_or(TimeZone::UTC);
    let due = job.job.schedule.next_after(now, now, &zone)?;
    (end <= due).then(|| format!("it expires at {end}, and is due at {due}"))
}

/// The hours of windows. A recipient may be anywhere; as elsewhere, the sender stands in.
fn hours(windows: &[Option<&Window>], zone: &str) -> Vec<OpenHours> {
    let of_one = |w: &&Window| {
        let name = match &w.zone {
            WindowZone::Named(name) => name,
            WindowZone::Sender | WindowZone::Recipient => zone,
        };
        let zone = clock::zone(name).unwrap_or(TimeZone::UTC);
        OpenHours { days: w.days, hours: w.hours, zone }
    };
    windows.iter().flatten().map(of_one).collect()
}

fn never_open(windows: &[Option<&Window>], zone: &str, now: Timestamp) -> Option<String> {
    let open = hours(windows, zone);
    if open.is_empty() || next_open(&open, now).is_some() {
        return None;
    }
    Some("its window and that of its instance are never open together".to_owned())
}

/// Where one occurrence, or its part through one of several accounts, takes longer than it has: that, and what would do.
fn cannot_finish(
    job: &JobSettings,
    instance: &InstanceSettings,
    accounts: usize,
    now: Timestamp,
) -> Option<(String, String)> {
    let (room, what) = room(job, now)?;
    let steps = u64::try_from(job.job.steps()).unwrap_or(1);
    let part = job.recipients.size.div_ceil(u64::try_from(accounts.max(1)).unwrap_or(1));
    let sends = i64::try_from(part.saturating_mul(steps)).unwrap_or(i64::MAX);
    let pacing = &instance.pacing;
    let open = hours(&[instance.window.as_ref(), job.job.manner.window.as_ref()], &job.job.zone);
    let sending = Millis(each(pacing).saturating_mul(sends.saturating_sub(1)));
    let by_the_day = pacing.per_day.map_or(Millis::ZERO, |n| Millis(sends.saturating_sub(1) / i64::from(n) * DAY));
    let zone = clock::zone(job.job.schedule_zone()).unwrap_or(TimeZone::UTC);
    let due = job.job.schedule.next_after(now, now, &zone).unwrap_or(now);
    let at_any_hour = sending.max(by_the_day).max(warming(pacing, sends, due));
    let takes = in_the_open(sending, &open, now).max(at_any_hour);
    if takes <= room {
        return None;
    }
    let coarse = |m: Millis| if m.0 > 600_000 { Millis(m.0 / 60_000 * 60_000) } else { Millis(m.0 / 1_000 * 1_000) };
    // Tenths, rounded up.
    let times = takes.0.saturating_mul(10).div_euclid(room.0.max(1)) + 1;
    let more = (times + 9) / 10 * i64::try_from(accounts).unwrap_or(1);
    let whole = format!("{}.{}", times / 10, times % 10);
    let windows = if takes > at_any_hour { " in its windows" } else { "" };
    let (takes, room) = (coarse(takes), coarse(room));
    let text = format!("pacing cannot finish: {sends} messages take about {takes}{windows}, and {what} after {room}");
    Some((text, format!("it would at {whole} times the pace, through {more} such accounts, or with {takes} for it")))
}

/// How long an occurrence has, and what ends that.
fn room(job: &JobSettings, now: Timestamp) -> Option<(Millis, &'static str)> {
    let zone = clock::zone(job.job.schedule_zone()).unwrap_or(TimeZone::UTC);
    let expires = match job.job.manner.expires {
        Some(Expires::After(length)) => Some(length + job.job.spread.unwrap_or_default()),
        Some(Expires::At(end)) => {
            job.job.schedule.next_after(now, now, &zone).map(|due| end.since(due).at_least_zero())
        }
        None => None,
    };
    let next = job.job.schedule.period(now, &zone).map(|period| (period, "the next occurrence comes"));
    expires.map(|room| (room, "it expires")).into_iter().chain(next).min_by_key(|(room, _)| *room)
}

/// How long it takes to send for so long where that is done in some hours only: what one opening holds is not stretched.
fn in_the_open(sending: Millis, open: &[OpenHours], now: Timestamp) -> Millis {
    if open.is_empty() || sending.0 <= SLOT {
        return sending;
    }
    let is_open = |slot: &i64| {
        let at = now + Millis(slot * SLOT);
        next_open(open, at) == Some(at)
    };
    let (mut all, mut run, mut longest) = (0, 0, 0);
    for slot in 0..7 * DAY / SLOT {
        run = if is_open(&slot) { run + 1 } else { 0 };
        all += i64::from(run > 0);
        longest = longest.max(run);
    }
    // What is never open is told of by itself.
    if all == 0 || sending.0 <= longest * SLOT {
        return sending;
    }
    Millis(sending.0.saturating_mul(7 * DAY / SLOT) / all)
}

/// How long so many sends take at least where the daily cap still rises.
fn warming(pacing: &Pacing, sends: i64, now: Timestamp) -> Millis {
    let (Some(warm_up), Some(full)) = (pacing.warm_up, pacing.per_day) else { return Millis::ZERO };
    let mut day = now.in_zone(&TimeZone::UTC).date();
    let (mut left, mut days) = (sends, 0);
    // Days that are used up before the last one.
    while warm_up.rises_after(day) && left > i64::from(warm_up.cap_on(day, full)) && days < i64::from(WarmUp::LONGEST) {
        left -= i64::from(warm_up.cap_on(day, full));
        let Ok(next) = day.tomorrow() else { break };
        (day, days) = (next, days + 1);
    }
    Millis((days + left.saturating_sub(1).max(0) / i64::from(full)).saturating_mul(DAY))
}

/// The time from one send to the next that the pace allows in the long run of a day, in ms.
fn each(pacing: &Pacing) -> i64 {
    let mean = |(low, high): (Millis, Millis)| i64::midpoint(low.0, high.0);
    let gap = pacing.gap.map_or(0, mean);
    let rest = match (pacing.batch, pacing.rest) {
        (Some(batch), Some(rest)) => mean(rest) / i64::from(batch),
        _ => 0,
    };
    let per = |count: Option<u32>, span: i64| count.map_or(0, |c| span / i64::from(c));
    let rate = pacing.rate.map_or(0, |r| r.window.0 / i64::from(r.count));
    (gap + rest).max(rate).max(per(pacing.per_hour, 3_600_000))
}
