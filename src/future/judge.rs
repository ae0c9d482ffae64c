//! Whether what shall be true of a prediction is.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::future::assertion::{Assertion, Per, Period, Rule};
use crate::future::{Foreseen, Premise};

/// Offences told of each assertion; the rest is only counted.
const TOLD: usize = 5;

/// An assertion with what speaks against it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// As it was written.
    pub text: String,
    /// How many messages, or for `at least` stretches of the calendar, break it.
    pub offences: u64,
    /// The first of them, in words.
    pub first: Vec<String>,
}

/// Listens to a prediction.
#[derive(Debug)]
pub struct Judge {
    assertion: Assertion,
    zone: TimeZone,
    span: (Timestamp, Timestamp),
    /// The stretch of the calendar that is being counted, and the sends in it so far.
    period: Option<(Timestamp, Timestamp)>,
    counts: HashMap<Arc<str>, u64>,
    /// Sends of whole stretches, for `at least`.
    found: HashMap<Timestamp, u64>,
    verdict: Verdict,
}

impl Judge {
    /// A judge of one assertion about a premise; stretches of the calendar are those of `zone`.
    pub fn new(assertion: Assertion, premise: &Premise, zone: TimeZone) -> Judge {
        let verdict = Verdict { text: assertion.text.clone(), offences: 0, first: Vec::new() };
        Judge {
            assertion,
            zone,
            span: (premise.from, premise.until),
            period: None,
            counts: HashMap::new(),
            found: HashMap::new(),
            verdict,
        }
    }

    /// Hears of one message; those that leave must come in the order in which they do.
    pub fn hear(&mut self, f: &Foreseen) {
        if self.assertion.job.as_deref().is_some_and(|job| f.job.as_deref() != Some(job)) {
            return;
        }
        let sent = f.sends_at.filter(|_| f.state == StateName::Sent);
        match &self.assertion.rule {
            Rule::Never(hours) => {
                if let Some(at) = sent
                    && is_within(hours, at)
                {
                    let zone = hours.zone.clone();
                    self.offence(|| told(f, at, &zone));
                }
            }
            Rule::AtMost { count, per, period } => {
                if let Some(at) = sent {
                    let (count, per, period) = (*count, *per, *period);
                    self.count(f, at, (count, per, period));
                }
            }
            Rule::AtLeast { period, .. } => {
                if let Some(at) = sent {
                    let period = *period;
                    let (from, _) = self.stretch(at, period);
                    *self.found.entry(from).or_default() += 1;
                }
            }
            Rule::NothingLate(most) => {
                let counts = sent.is_some() || f.state == StateName::Scheduled;
                if counts && f.late() > *most {
                    let zone = self.zone.clone();
                    let late = f.late();
                    self.offence(|| format!("{}, {late} late", told(f, sent.unwrap_or(f.due_at), &zone)));
                }
            }
            Rule::NothingSkipped => {
                if !matches!(f.state, StateName::Sent | StateName::Scheduled) {
                    let zone = self.zone.clone();
                    let why = f.reason.map_or("", |r| r.name());
                    self.offence(|| format!("{}, {} ({why})", told(f, f.due_at, &zone), f.state.name()));
                }
            }
        }
    }

    fn offence(&mut self, words: impl FnOnce() -> String) {
        self.verdict.offences += 1;
        if self.verdict.first.len() < TOLD {
            self.verdict.first.push(words());
        }
    }

    fn count(&mut self, f: &Foreseen, at: Timestamp, (most, per, period): (u64, Per, Period)) {
        let known = self.period;
        if self.stretch(at, period) != known.unwrap_or((at, at)) {
            self.counts.clear();
        }
        let key = match per {
            Per::Recipient => f.to.0.clone(),
            Per::Instance => f.instance.0.clone(),
            Per::Job => f.job.clone().unwrap_or_else(|| Arc::from("")),
            Per::Total => Arc::from(""),
        };
        let count = self.counts.entry(key).or_default();
        *count += 1;
        let number = *count;
        if number > most {
            let zone = self.zone.clone();
            self.offence(|| format!("{}, the {}", told(f, at, &zone), ordinal(number)));
        }
    }

    /// The stretch of the calendar an instant lies in; kept, since the next one mostly lies in it too.
    fn stretch(&mut self, at: Timestamp, period: Period) -> (Timestamp, Timestamp) {
        match self.period {
            Some((from, until)) if from <= at && at < until => (from, until),
            _ => *self.period.insert(stretch(at, period, &self.zone)),
        }
    }

    /// The verdict, once everything was heard.
    pub fn judge(mut self) -> Verdict {
        if let Rule::AtLeast { count, period } = self.assertion.rule {
            let (mut at, end) = self.span;
            while at < end {
                let (from, until) = stretch(at, period, &self.zone);
                let found = self.found.get(&from).copied().unwrap_or(0);
                // Only a whole one can be held to its number.
                if from >= self.span.0 && until <= end && found < count {
                    let begins = from.in_zone(&self.zone).strftime("%a %Y-%m-%d %H:%M").to_string();
                    self.offence(|| format!("from {begins} only {found}"));
                }
                at = until.max(at + Millis(1));
            }
        }
        self.verdict
    }
}

fn is_within(hours: &crate::domain::window::OpenHours, at: Timestamp) -> bool {
    // What would be too late to begin in a window still lies within the hours.
    let whole = hours.hours == crate::domain::window::Hours::ALL;
    let local = at.in_zone(&hours.zone);
    if whole {
        return hours.days.has(local.date().weekday());
    }
    let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
    let (from, to) = (hours.hours.from, hours.hours.to);
    if from < to { from <= minute && minute < to } else { minute >= from || minute < to }
}

fn told(f: &Foreseen, at: Timestamp, zone: &TimeZone) -> String {
    let job = f.job.as_deref().unwrap_or("a message of no job");
    let at = at.in_zone(zone).strftime("%a %Y-%m-%d %H:%M:%S%.3f %Z").to_string();
    format!("{at} {job} to {} through {}", f.to, f.instance)
}

fn ordinal(n: u64) -> String {
    let ending = match (n % 10, n % 100) {
        (1, r) if r != 11 => "st",
        (2, r) if r != 12 => "nd",
        (3, r) if r != 13 => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// The stretch of the calendar an instant lies in: its first instant and that of the next.
fn stretch(at: Timestamp, period: Period, zone: &TimeZone) -> (Timestamp, Timestamp) {
    let local = at.in_zone(zone);
    if period == Period::Hour {
        let into = i64::from(local.minute()) * 60_000 + i64::from(local.second()) * 1_000;
        let from = at - Millis(into + i64::from(local.millisecond()));
        return (from, from + Millis(3_600_000));
    }
    let day = local.date();
    let (first, next) = match period {
        Period::Hour | Period::Day => (Some(day), day.tomorrow().ok()),
        Period::Week => {
            let back = i64::from(day.weekday().to_monday_zero_offset());
            let monday = day.checked_sub(back.days()).ok();
            (monday, monday.and_then(|m| m.checked_add(7.days()).ok()))
        }
        Period::Month => {
            let first = day.first_of_month();
            (Some(first), first.checked_add(1.month()).ok())
        }
    };
    let begins = |d: Option<Date>| Some(Timestamp::from(d?.to_zoned(zone.clone()).ok()?.timestamp()));
    (begins(first).unwrap_or(at), begins(next).unwrap_or(Timestamp::MAX))
}
