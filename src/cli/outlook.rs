//! What applying a file means for the messages of the next days: the part of `plan` that looks ahead.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::out::{counted, safe};
use crate::cli::place::Zone;
use crate::clock;
use crate::config::{JobSettings, Settings};
use crate::domain::time::{Millis, Timestamp};
use crate::future::{Audience, Move, Outlook, Side, all_recipients, outlook};
use crate::store::{Recipient, SqliteStore, StoredJob};

/// How far ahead messages are compared.
const AHEAD: Millis = Millis(30 * 86_400_000);

/// What becomes of coming messages, by job.
#[derive(Debug)]
pub(super) struct Ahead {
    until: Timestamp,
    /// In the order of the file.
    jobs: Vec<Outlook>,
    /// Jobs that the file no longer declares, by name, where they are removed.
    removed: Vec<(String, Outlook)>,
    zone: Zone,
}

/// Compares a file with what is stored. `store` is absent where there is no database yet.
pub(super) async fn look(
    store: Option<&SqliteStore>,
    settings: &Settings,
    removed: &[String],
    now: Timestamp,
) -> anyhow::Result<Ahead> {
    let until = now + AHEAD;
    let mut jobs = Vec::with_capacity(settings.jobs.len());
    for declared in &settings.jobs {
        let known = match store {
            Some(store) => store.job(&declared.job.name).await?,
            None => None,
        };
        jobs.push(match (known, store) {
            (Some(known), Some(store)) => changed(store, &known, declared, (now, until)).await?,
            _ => added(declared, (now, until)),
        });
    }
    let mut gone = Vec::new();
    if let Some(store) = store {
        for name in removed {
            if let Some(known) = store.job(name).await? {
                let zone = zone_of(known.job.schedule_zone());
                let old = Side { job: &known.job, zone: &zone, first_applied: known.first_applied_at, after: now };
                let old = Some(old).filter(|_| !known.event_cancelled);
                let mut seen = outlook(old, None, Audience::Same(known.size), until);
                seen.cancels += count(store.waits_of_begun(name, true, now).await?.len());
                gone.push((name.clone(), seen));
            }
        }
    }
    let zone = Zone { name: settings.zone.clone(), zone: zone_of(&settings.zone) };
    Ok(Ahead { until, jobs, removed: gone, zone })
}

fn zone_of(name: &str) -> TimeZone {
    clock::zone(name).unwrap_or(TimeZone::UTC)
}

fn added(declared: &JobSettings, (now, until): (Timestamp, Timestamp)) -> Outlook {
    let zone = zone_of(declared.job.schedule_zone());
    // An instant that has just passed is sent at once.
    let after = if declared.job.schedule.recurs() { now } else { now - declared.job.max_lateness(now, &zone) };
    let new = Side { job: &declared.job, zone: &zone, first_applied: now, after };
    outlook(None, Some(new), Audience::Same(declared.recipients.size), until)
}

async fn changed(
    store: &SqliteStore,
    known: &StoredJob,
    declared: &JobSettings,
    (now, until): (Timestamp, Timestamp),
) -> anyhow::Result<Outlook> {
    let (old_zone, new_zone) = (zone_of(known.job.schedule_zone()), zone_of(declared.job.schedule_zone()));
    let first_applied = known.first_applied_at;
    let old = Side { job: &known.job, zone: &old_zone, first_applied, after: now };
    // What a person said of its event holds.
    let comes_to = known.as_declared(&declared.job);
    let old = Some(old).filter(|_| !known.event_cancelled);
    let new = comes_to.as_ref().map(|job| Side { job, zone: &new_zone, first_applied, after: now });
    let same = store.find_audience(&declared.recipients.fingerprint).await? == Some(known.audience);
    // What has begun stands beside what is to come.
    let begun = store.waits_of_begun(&known.job.name, false, now).await?;
    if same {
        let mut seen = outlook(old, new, Audience::Same(known.size), until);
        seen.stays += count(begun.len());
        return Ok(seen);
    }
    let before: Vec<Recipient> = all_recipients(store, known.audience).await?;
    let mut after = Vec::new();
    declared.recipients.for_each(|r| after.push(r)).map_err(|f| crate::config::ConfigError(vec![f]))?;
    let mut seen = outlook(old, new, Audience::Two(&before, &after), until);
    let stay: HashSet<&str> = after.iter().map(|r| r.chat.as_str()).collect();
    let staying = begun.iter().filter(|chat| stay.contains(chat.as_str())).count();
    seen.stays += count(staying);
    seen.cancels += count(begun.len() - staying);
    Ok(seen)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Ahead {
    /// Adds to the JSON of one job of the file.
    pub(super) fn tell_job(&self, place: usize, job: &mut Value) {
        if let Some(o) = self.jobs.get(place) {
            tell(o, job);
        }
    }

    /// Adds to the JSON of one job that the file no longer declares.
    pub(super) fn tell_removed(&self, name: &str, job: &mut Value) {
        let none = Outlook::default();
        tell(self.removed.iter().find(|(n, _)| n == name).map_or(&none, |(_, o)| o), job);
    }

    /// The sums as JSON.
    pub(super) fn totals(&self) -> Value {
        let o = self.sum();
        json!({
            "until": self.until.to_rfc3339(), "stays": o.stays, "adds": o.adds, "moves": o.moves, "cancels": o.cancels,
        })
    }

    /// What is said below one job of the file.
    pub(super) fn words_of(&self, place: usize) -> Vec<String> {
        self.jobs.get(place).map_or_else(Vec::new, |o| self.words(o))
    }

    /// What is said below one job that the file no longer declares.
    pub(super) fn words_of_removed(&self, name: &str) -> Vec<String> {
        let found = self.removed.iter().find(|(n, _)| n == name);
        found.map_or_else(Vec::new, |(_, o)| self.words(o))
    }

    fn words(&self, o: &Outlook) -> Vec<String> {
        let mut parts = Vec::new();
        for (n, what) in [(o.adds, "added"), (o.moves, "moved"), (o.cancels, "cancelled")] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        if o.differs && o.stays > 0 {
            parts.push(format!("{} replaced where they are", o.stays));
        }
        let mut lines = Vec::new();
        if !parts.is_empty() {
            lines.push(format!("            messages in 30 days: {}", parts.join(", ")));
        }
        let show = |t: Timestamp| safe(&self.zone.show(t));
        lines.extend(o.first_moves.iter().map(|m| format!("            {} -> {}", show(m.from), show(m.to))));
        lines
    }

    /// The last line.
    pub(super) fn total_words(&self) -> String {
        let o = self.sum();
        format!(
            "in the next 30 days: {} added, {} moved, {} cancelled, {} as before",
            counted(o.adds, "message"),
            o.moves,
            o.cancels,
            o.stays
        )
    }

    fn sum(&self) -> Outlook {
        let all = self.jobs.iter().chain(self.removed.iter().map(|(_, o)| o));
        all.fold(Outlook::default(), |mut sum, o| {
            sum.stays += o.stays;
            sum.adds += o.adds;
            sum.moves += o.moves;
            sum.cancels += o.cancels;
            sum
        })
    }
}

fn tell(o: &Outlook, job: &mut Value) {
    let pair = |m: &Move| json!({ "from": m.from.to_rfc3339(), "to": m.to.to_rfc3339() });
    job["stays"] = json!(o.stays);
    job["replaces"] = json!(o.differs && o.stays > 0);
    job["adds"] = json!(o.adds);
    job["moves"] = json!(o.moves);
    job["cancels_in_span"] = json!(o.cancels);
    job["moved"] = json!(o.first_moves.iter().map(pair).collect::<Vec<_>>());
}
