//! The premise of a database: what waits in it, and the future occurrences of its jobs.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::clock;
use crate::config;
use crate::domain::claim::Wanted;
use crate::domain::frequency::Frequency;
use crate::domain::id::InstanceName;
use crate::domain::pace::Pacing;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::Window;
use crate::engine::{LaneStart, Standing};
use crate::future::of_file::REFRESH_EVERY;
use crate::future::rows::Mould;
use crate::future::{Answer, Answered, Counted, JobPremise, LanePremise, Premise, Stop, Waiting};
use crate::hours::hours;
use crate::intake;
use crate::store::view::{AnswerView, LaneView};
use crate::store::{Claimed, Pause, PauseScope, Recipient, SqliteStore, Store, StoreError, StoredJob};

/// Waiting messages of one instance that are looked at.
pub(super) const WAITING: usize = 200_000;

/// Answers of a gateway from which it is told how it answers.
const SEEN: u32 = 500;

/// Recipients read in one go.
const CHUNK: usize = 10_000;

/// Recipients of all jobs together that a prediction holds in memory.
const RECIPIENTS: usize = 5_000_000;

/// A database holds more than a prediction can hold in memory.
#[derive(Debug, thiserror::Error)]
pub enum NotForeseeable {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much.
    #[error("the jobs of this database have more than {RECIPIENTS} recipients in all: too many to look ahead for")]
    TooMany,
}

/// The premise of a database at `now`.
///
/// # Errors
/// [`NotForeseeable`] when the database cannot be read, or holds too much.
pub async fn of_store(store: &SqliteStore, now: Timestamp, until: Timestamp) -> Result<Premise, NotForeseeable> {
    let zone = intake::stored_defaults(store).await?.and_then(|d| clock::zone(&d.zone).ok()).unwrap_or(TimeZone::UTC);
    let stored: Vec<StoredJob> = store.job_views(None, now).await?.into_iter().map(|v| v.stored).collect();
    let (jobs, by_name) = jobs(store, &stored, (now, until)).await?;
    let pauses = store.pauses(now).await?;
    // A daemon that runs has taken up what should have begun by now, and its lane keeps it waiting.
    let kept = pauses.is_empty() && store.is_served(now).await?;
    let views = store.lanes(now).await?;
    let mut lanes = Vec::new();
    for row in store.instances().await? {
        let settings = config::stored_instance(&row, true).ok();
        let (pacing, window) = settings.map_or((Pacing::default(), None), |s| (s.pacing, s.window));
        let stops = stops(&row.name, &pauses, views.iter().find(|v| *v.name == *row.name.0), now);
        let mut waiting = waiting(store, &row.name, window.as_ref(), (&jobs, &by_name), (now, until)).await?;
        for w in waiting.iter_mut().filter(|w| kept && w.typed.is_none()) {
            w.due.kept_waiting |= w.due.target - w.due.lead < now;
        }
        let recent_sends = store.recent_sends(&row.name, now - pacing.memory()).await?;
        let start = LaneStart {
            instance: row.name.clone(),
            pacing,
            refresh_every: REFRESH_EVERY,
            recent_sends,
            outages: Vec::new(),
            standing: Standing::Working,
            quarantine: Millis::ZERO,
            seed: store.seed(),
            zone: zone.clone(),
        };
        let seen = store.recent_answers(&row.name, SEEN).await?;
        let answer = |a: &AnswerView| {
            let (late, took) = (a.late.at_least_zero(), a.took.at_least_zero());
            Answered::from_outcome(&a.outcome).map(|kind| Answer { late, took, kind })
        };
        let seen = seen.iter().filter_map(answer).collect();
        lanes.push(LanePremise { start, window, stops, waiting, seen });
    }
    let often = jobs.iter().any(|j| j.job.manner.frequency.is_some());
    let waits = lanes.iter().flat_map(|l| &l.waiting).any(|w| w.frequency.is_some());
    let counted = if often || waits { store.counted_since(now - Frequency::LONGEST).await? } else { Counted::new() };
    Ok(Premise { from: now, until, seed: store.seed(), chance: None, lanes, jobs, counted })
}

/// The rows of a job's contents, by its place among the jobs.
type ByName = HashMap<String, (usize, Vec<i64>)>;

async fn jobs(
    store: &SqliteStore,
    stored: &[StoredJob],
    (now, until): (Timestamp, Timestamp),
) -> Result<(Vec<JobPremise>, ByName), NotForeseeable> {
    let (mut jobs, mut by_name, mut held) = (Vec::new(), HashMap::new(), 0);
    for s in stored {
        let zone = clock::zone(s.job.schedule_zone()).unwrap_or(TimeZone::UTC);
        // What passed while nobody planned is made up for by the daemon's own rules when it comes up.
        let after = s.next_at.map_or(until, |t| t.max(now) - Millis(1));
        let fires = !s.event_cancelled
            && s.job.schedule.next_after(after, s.first_applied_at, &zone).is_some_and(|t| t < until);
        let (mut recipients, mut senders) = (Vec::new(), HashMap::new());
        if fires {
            held += usize::try_from(s.size).unwrap_or(usize::MAX);
            if held > RECIPIENTS {
                return Err(NotForeseeable::TooMany);
            }
            recipients = all_recipients(store, s.audience).await?;
            if !s.job.others.is_empty() {
                senders = store.senders(recipients.iter().map(|r| r.chat.clone()).collect()).await?;
            }
        }
        by_name.insert(s.job.name.clone(), (jobs.len(), s.contents.clone()));
        jobs.push(JobPremise {
            name: Arc::from(s.job.name.as_str()),
            job: s.job.clone(),
            zone,
            first_applied: s.first_applied_at,
            after: if fires { after } else { until },
            recipients,
            senders,
        });
    }
    Ok((jobs, by_name))
}

/// Every recipient of an audience, by place.
///
/// # Errors
/// When the database cannot be read.
pub async fn all_recipients(store: &SqliteStore, audience: i64) -> Result<Vec<Recipient>, StoreError> {
    let (mut all, mut after) = (Vec::new(), -1);
    loop {
        let some = store.recipients(audience, after, CHUNK).await?;
        let last = some.len() < CHUNK;
        after = some.last().map_or(after, |(place, _)| *place);
        all.extend(some.into_iter().map(|(_, r)| r));
        if last {
            return Ok(all);
        }
    }
}

/// What stops an instance or its jobs.
fn stops(instance: &InstanceName, pauses: &[Pause], view: Option<&LaneView>, now: Timestamp) -> Vec<Stop> {
    let mut stops = Vec::new();
    for p in pauses {
        let (job, nominal, what) = match &p.scope {
            PauseScope::All => (None, None, "paused"),
            PauseScope::Instance(name) if *name == *instance.0 => (None, None, "paused"),
            PauseScope::Instance(_) => continue,
            PauseScope::Job(name) => (Some(name.as_str()), None, "its job is paused"),
            PauseScope::Campaign(name) => (Some(name.job.as_str()), Some(name.nominal), "its campaign is paused"),
        };
        let why = p.note.as_ref().map_or(what.to_owned(), |note| format!("{what}: {note}"));
        stops.push(Stop { job: job.map(Arc::from), nominal, until: p.until, why });
    }
    if let Some(v) = view.filter(|v| v.state == "resting" || v.state == "down") {
        let until = v.until.filter(|_| v.state == "resting");
        if until.is_none_or(|t| t > now) {
            let why = v.reason.clone().unwrap_or_default();
            stops.push(Stop { job: None, nominal: None, until, why: format!("{}: {why}", v.state) });
        }
    }
    stops
}

async fn waiting(
    store: &SqliteStore,
    instance: &InstanceName,
    window: Option<&Window>,
    (jobs, by_name): (&[JobPremise], &ByName),
    (now, until): (Timestamp, Timestamp),
) -> Result<Vec<Waiting>, StoreError> {
    // As it will be when the pauses that have an end are over.
    let free = store.pauses(now).await?.iter().filter_map(|p| p.until).fold(now, Timestamp::max);
    let answer = store.claim(instance, free, &Wanted::up_to(until, WAITING, Vec::new())).await?;
    let typed = store.typing_now(instance).await?.into_iter().map(|(message, slot)| (message, Some(slot)));
    let all = typed.chain(answer.messages.into_iter().map(|message| (message, None)));
    let mut waiting = Vec::new();
    for (message, slot) in all {
        let mut due = message.due.clone();
        due.hours = hours(window, &message);
        let known = message.job.as_ref().and_then(|name| by_name.get(name));
        let then = known.map_or_else(Vec::new, |(place, contents)| {
            following(&jobs[*place], contents, window, &message, (store.seed(), now))
        });
        let job = known.map(|(place, _)| jobs[*place].name.clone());
        let job = job.or_else(|| message.job.as_deref().map(Arc::from));
        let (nominal, beside) = (message.nominal_at, message.beside);
        let frequency = message.content.manner.frequency.filter(|_| message.counted);
        waiting.push(Waiting { due, job, nominal, beside, frequency, typed: slot, then });
    }
    // What is due at one instant leaves in the order of the ids, and is numbered by its place here.
    waiting.sort_unstable_by_key(|w| w.due.id);
    Ok(waiting)
}

/// The messages of a sequence that follow one that waits.
fn following(
    job: &JobPremise,
    contents: &[i64],
    window: Option<&Window>,
    message: &Claimed,
    (seed, now): (u64, Timestamp),
) -> Vec<crate::domain::message::Due> {
    let (Some(nominal), true) = (message.nominal_at, message.due.leads_on) else { return Vec::new() };
    let Some(step) = contents.iter().position(|c| *c == message.content.id) else { return Vec::new() };
    let mould = Mould::new(job, window, now);
    let layout = mould.layout(seed);
    let recipient = Recipient { chat: message.due.chat.clone(), vars: message.vars.clone() };
    let first = step + 1;
    (first..mould.steps())
        .map(|step| {
            let due = mould.due(&layout, (nominal, Millis::ZERO), step, (0, &recipient));
            // They are due with it, whatever the place of their recipient.
            let later = job.job.offset(step) - job.job.offset(first - 1);
            let due_at = message.due.due_at + later;
            let event = due.event_at.filter(|event| due_at < *event);
            let expires_at = job.job.manner.expires.map(|e| e.of(due_at)).into_iter().chain(event).min();
            crate::domain::message::Due { flow: message.due.flow, due_at, target: due_at, expires_at, ..due }
        })
        .collect()
}
