//! A prediction in numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::id::InstanceName;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::future::Foreseen;

/// Occurrences of one job that are remembered as counted: more than ever wait beside each other.
const MET_LIMIT: usize = 256;

/// The numbers of one job through one instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// Occurrences of which something is foreseen.
    pub occurrences: u64,
    /// Messages in all.
    pub messages: u64,
    /// Those that leave.
    pub sent: u64,
    /// Those of them that leave later than due.
    pub late: u64,
    /// How late those are in all.
    pub late_sum: Millis,
    /// How late the latest one is.
    pub late_most: Millis,
    /// What made them late, by the word for it.
    pub held_by: BTreeMap<&'static str, u64>,
    /// What is not sent, by state and reason.
    pub unsent: BTreeMap<(StateName, Option<&'static str>), u64>,
    /// The latest occurrences met, and the latest that is no more remembered.
    met: BTreeSet<Timestamp>,
    forgotten: Option<Timestamp>,
}

impl Line {
    fn note(&mut self, f: &Foreseen) {
        self.messages += 1;
        // Messages of several occurrences may come mixed, where something holds them back; one that is older than the
        // oldest still remembered was counted.
        if let Some(occurrence) = f.occurrence.filter(|o| self.forgotten.is_none_or(|f| *o > f))
            && self.met.insert(occurrence)
        {
            self.occurrences += 1;
            if self.met.len() > MET_LIMIT {
                self.forgotten = self.met.pop_first();
            }
        }
        if f.state != StateName::Sent {
            *self.unsent.entry((f.state, f.reason.map(|r| r.name()))).or_default() += 1;
            return;
        }
        self.sent += 1;
        let late = f.late();
        if late > Millis::ZERO {
            self.late += 1;
            self.late_sum = self.late_sum + late;
            self.late_most = self.late_most.max(late);
            if let Some(held) = f.held_by {
                *self.held_by.entry(held.name()).or_default() += 1;
            }
        }
    }

    /// How late those that are late are on average.
    pub fn late_mean(&self) -> Millis {
        let count = i64::try_from(self.late).unwrap_or(i64::MAX);
        Millis(self.late_sum.0.checked_div(count).unwrap_or(0))
    }
}

/// When most is sent; nothing where nothing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busiest {
    /// The day, and its sends.
    pub day: Option<(Date, u64)>,
    /// When the hour begins, and its sends.
    pub hour: Option<(Timestamp, u64)>,
}

/// A prediction in numbers. Its size depends on the jobs and the days, never on the messages.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Everything.
    pub total: Line,
    /// By job and instance.
    pub lines: BTreeMap<(Option<Arc<str>>, InstanceName), Line>,
    /// Sends by day of the zone.
    days: BTreeMap<Date, u64>,
    /// The busiest hour: when it begins, and its sends.
    hour: Option<(Timestamp, u64)>,
    current: Option<Current>,
    zone: TimeZone,
}

/// The hour that is being counted.
#[derive(Clone, Debug)]
struct Current {
    day: Date,
    from: Timestamp,
    until: Timestamp,
    sends: u64,
}

impl Summary {
    /// An empty one; days and hours are those of `zone`.
    pub fn new(zone: TimeZone) -> Summary {
        Summary {
            total: Line::default(),
            lines: BTreeMap::new(),
            days: BTreeMap::new(),
            hour: None,
            current: None,
            zone,
        }
    }

    /// Counts one message; those that leave must come in the order in which they do.
    pub fn note(&mut self, f: &Foreseen) {
        self.total.note(f);
        self.lines.entry((f.job.clone(), f.instance.clone())).or_default().note(f);
        let Some(at) = f.sends_at.filter(|_| f.state == StateName::Sent) else { return };
        match &mut self.current {
            Some(hour) if hour.from <= at && at < hour.until => hour.sends += 1,
            _ => {
                self.close_hour();
                self.current = self.hour_of(at);
            }
        }
    }

    fn close_hour(&mut self) {
        let Some(hour) = self.current.take() else { return };
        *self.days.entry(hour.day).or_default() += hour.sends;
        if self.hour.is_none_or(|(_, most)| hour.sends > most) {
            self.hour = Some((hour.from, hour.sends));
        }
    }

    fn hour_of(&self, at: Timestamp) -> Option<Current> {
        let local = at.in_zone(&self.zone);
        let into = i64::from(local.minute()) * 60_000 + i64::from(local.second()) * 1_000;
        let from = at - Millis(into + i64::from(local.millisecond()));
        Some(Current { day: local.date(), from, until: from + Millis(3_600_000), sends: 1 })
    }

    /// The day with the most sends, and the hour with the most: when it begins. Call it once all are counted.
    pub fn busiest(&mut self) -> Busiest {
        self.close_hour();
        let day = self.days.iter().max_by_key(|(day, sends)| (**sends, std::cmp::Reverse(**day)));
        Busiest { day: day.map(|(day, sends)| (*day, *sends)), hour: self.hour }
    }

    /// How many occurrences there are in all.
    pub fn occurrences(&self) -> u64 {
        self.lines.values().map(|l| l.occurrences).sum()
    }
}
