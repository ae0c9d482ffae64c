//! The virtual planner of one instance: which occurrence is laid out next, and what becomes of those that meet.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::iter::Peekable;

use crate::domain::job::Overlap;
use crate::domain::occurrence::{FASTEST_CLOCK, SLOWEST_CLOCK};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::CLAIM_AHEAD;
use crate::future::queue::Number;
use crate::future::rows::Mould;

/// An occurrence is laid out this long before its typing must begin: further ahead than a lane looks by itself, so that
/// no lane needs to be told of it.
const AHEAD: Millis = Millis(30_000 + CLAIM_AHEAD.0 + 1_000);

/// As the planner's: whether an occurrence overlaps the one before it is looked at this long before it is due.
const GATE_AHEAD: Millis = Millis(250);

/// As the planner's: how often an occurrence in the queue asks whether the one before it is finished.
const ASK_AGAIN_AFTER: Millis = Millis(1_000);

/// An occurrence of which something waits.
#[derive(Debug)]
pub(super) struct Occurrence {
    pub job: usize,
    pub rows: Vec<Number>,
    /// Which one of its job, counted from 1.
    place: u64,
    /// Rows that wait and are not marked.
    waiting: usize,
    /// When it first stood at its gate.
    gate: Option<Timestamp>,
    /// Whether it waits in the queue of its job.
    queued: bool,
}

/// A job as the planner follows it.
pub(super) struct Followed<'p> {
    pub mould: Mould<'p>,
    times: Peekable<Box<dyn Iterator<Item = Timestamp> + Send + 'p>>,
    /// Those of its occurrences of which something waits, the earliest first.
    live: VecDeque<u64>,
    count: u64,
    queued: u32,
}

/// What stands at its gate.
pub(super) enum Gate {
    /// It may begin.
    Open(u64),
    /// What waits of it gives way to the one at the gate, which is looked at again.
    GivesWay(u64),
    /// It waits in the queue.
    Queued(u64),
    /// It is not sent.
    Skipped(u64),
}

/// See the [module](self).
pub(super) struct Planner<'p> {
    pub jobs: Vec<Followed<'p>>,
    coming: BinaryHeap<Reverse<(Timestamp, usize)>>,
    occurrences: HashMap<u64, Occurrence>,
    gates: BTreeSet<(Timestamp, u64)>,
    last: u64,
    until: Timestamp,
}

impl<'p> Planner<'p> {
    pub(super) fn new(moulds: Vec<Mould<'p>>, until: Timestamp) -> Planner<'p> {
        let mut planner = Planner {
            jobs: Vec::with_capacity(moulds.len()),
            coming: BinaryHeap::new(),
            occurrences: HashMap::new(),
            gates: BTreeSet::new(),
            last: 0,
            until,
        };
        for mould in moulds {
            let p = mould.premise;
            let times: Box<dyn Iterator<Item = Timestamp> + Send + 'p> =
                Box::new(p.job.schedule.all_after(p.after, p.first_applied, &p.zone));
            planner.jobs.push(Followed { mould, times: times.peekable(), live: VecDeque::new(), count: 0, queued: 0 });
            planner.await_next(planner.jobs.len() - 1);
        }
        planner
    }

    fn await_next(&mut self, job: usize) {
        let (mut until, followed) = (self.until, &mut self.jobs[job]);
        let mut ahead = followed.mould.longest_lead() + AHEAD;
        if followed.mould.premise.job.manner.own_clock {
            (until, ahead) = (until + FASTEST_CLOCK, ahead + FASTEST_CLOCK);
        } else if followed.mould.own_instants() {
            ahead = ahead + FASTEST_CLOCK + SLOWEST_CLOCK;
        }
        if let Some(next) = followed.times.peek().filter(|t| **t < until) {
            let at = *next - ahead;
            self.coming.push(Reverse((at, job)));
        }
    }

    /// When the planner must be asked again.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let coming = self.coming.peek().map(|Reverse((at, _))| *at);
        coming.into_iter().chain(self.gates.first().map(|(at, _)| *at)).min()
    }

    /// The next occurrence to lay out at `now`: its job, its nominal instant and the one after it.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<(usize, Timestamp, Option<Timestamp>)> {
        self.coming.peek().filter(|Reverse((at, _))| *at <= now)?;
        let Reverse((_, job)) = self.coming.pop()?;
        let nominal = self.jobs[job].times.next()?;
        let following = self.jobs[job].times.peek().copied();
        self.await_next(job);
        Some((job, nominal, following))
    }

    /// Whether an instant that is past at `now` is too late to be served.
    pub(super) fn is_misfire(&self, job: usize, nominal: Timestamp, now: Timestamp) -> bool {
        let mould = &self.jobs[job].mould;
        !mould.own_instants() && nominal < now && now.since(nominal) > mould.allowed()
    }

    /// Begins an occurrence of a job that is due at `due`, jitter and all, and answers its number. A gate that lies
    /// before `since` it has passed already.
    pub(super) fn begin(&mut self, job: usize, due: Timestamp, since: Timestamp) -> u64 {
        self.last += 1;
        let followed = &mut self.jobs[job];
        followed.count += 1;
        followed.live.push_back(self.last);
        let schedule = &followed.mould.premise.job.schedule;
        let checked = schedule.recurs()
            && followed.mould.premise.job.manner.overlap != Overlap::Allow
            && !followed.mould.premise.job.manner.own_clock;
        let gate = checked.then(|| due - GATE_AHEAD).filter(|at| *at >= since);
        if let Some(at) = gate {
            self.gates.insert((at, self.last));
        }
        let place = followed.count;
        let begun = Occurrence { job, rows: Vec::new(), place, waiting: 0, gate, queued: false };
        self.occurrences.insert(self.last, begun);
        self.last
    }

    /// A message belongs to an occurrence.
    pub(super) fn joins(&mut self, occurrence: u64, row: Number) {
        if let Some(o) = self.occurrences.get_mut(&occurrence) {
            o.rows.push(row);
            o.waiting += 1;
        }
    }

    /// A message of an occurrence does not wait any more at `now`, or (`back`) does again.
    pub(super) fn moved_on(&mut self, occurrence: Option<u64>, back: bool, now: Timestamp) {
        let Some(number) = occurrence else { return };
        let Some(o) = self.occurrences.get_mut(&number) else { return };
        if back {
            o.waiting += 1;
            return;
        }
        o.waiting = o.waiting.saturating_sub(1);
        if o.waiting > 0 {
            return;
        }
        let job = o.job;
        // What waited in the queue behind it finds out when it next asks.
        let asks = |gate: Timestamp| {
            let every = ASK_AGAIN_AFTER.0;
            gate + Millis((now.since(gate).at_least_zero().0 + every - 1) / every * every)
        };
        for behind in self.jobs[job].live.iter().filter(|b| **b > number) {
            if let Some(gate) = self.occurrences.get(behind).filter(|o| o.queued).and_then(|o| o.gate) {
                self.gates.insert((asks(gate), *behind));
            }
        }
        let live = &mut self.jobs[job].live;
        while let Some(first) = live.front().copied() {
            if self.occurrences.get(&first).is_some_and(|o| o.waiting > 0 || o.queued) {
                break;
            }
            live.pop_front();
            self.occurrences.remove(&first);
        }
    }

    /// What stands at its gate at `now`, and whether it may begin.
    pub(super) fn next_gate(&mut self, now: Timestamp) -> Option<Gate> {
        let (number, job, place, was_queued) = loop {
            let (_, number) = self.gates.first().copied().filter(|(at, _)| *at <= now)?;
            self.gates.pop_first();
            // One of which nothing waits any more has left its gate behind.
            if let Some(o) = self.occurrences.get(&number) {
                break (number, o.job, o.place, o.queued);
            }
        };
        let manner = &self.jobs[job].mould.premise.job.manner;
        let Some(before) = self.unfinished_before(job, place) else {
            self.set_queued(number, false);
            return Some(Gate::Open(number));
        };
        let full = !was_queued && self.jobs[job].queued >= manner.max_catchup;
        match manner.overlap {
            Overlap::Replace => {
                self.gates.insert((now, number));
                Some(Gate::GivesWay(before))
            }
            Overlap::Queue if !full => {
                self.set_queued(number, true);
                Some(Gate::Queued(number))
            }
            Overlap::Skip | Overlap::Queue | Overlap::Allow => Some(Gate::Skipped(number)),
        }
    }

    fn set_queued(&mut self, number: u64, queued: bool) {
        let Some(o) = self.occurrences.get_mut(&number) else { return };
        if std::mem::replace(&mut o.queued, queued) != queued {
            let count = &mut self.jobs[o.job].queued;
            *count = if queued { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// The latest unfinished one among the occurrences of a job just before the one at `place`.
    fn unfinished_before(&self, job: usize, place: u64) -> Option<u64> {
        let live = self.jobs[job].live.iter().rev();
        let known = live.filter_map(|n| Some((*n, self.occurrences.get(n)?)));
        let mut before = known.filter(|(_, o)| o.place < place);
        before.find(|(_, o)| o.waiting > 0).map(|(n, _)| n)
    }

    /// The messages of an occurrence.
    pub(super) fn rows_of(&self, occurrence: u64) -> Vec<Number> {
        self.occurrences.get(&occurrence).map(|o| o.rows.clone()).unwrap_or_default()
    }

    /// The job of this name.
    pub(super) fn job_named(&self, name: &str) -> Option<usize> {
        self.jobs.iter().position(|j| *j.mould.premise.name == *name)
    }
}
