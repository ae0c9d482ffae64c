//! Gathers what decides about a message and has the engine explain it: nothing is guessed beside the machine that
//! sends.

use std::collections::HashSet;

use crate::clock;
use crate::config;
use crate::domain::claim::Wanted;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::Due;
use crate::domain::pace::Pacing;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::Window;
use crate::engine::explain::{Explanation, Situation, explain};
use crate::engine::{LaneStart, Standing};
use crate::hours::hours;
use crate::intake;
use crate::store::view::MessageDetail;
use crate::store::{Claimed, SqliteStore, Store, StoreError};

/// Messages before the one in question that a forecast takes into account.
const OTHERS: usize = 200_000;

/// Messages of other flows before the first of a campaign that are taken into account.
const OTHER_FLOWS: usize = 1_000;

/// How often it is asked what more pressing messages come while the message waits for those found before.
const ROUNDS: usize = 8;

/// Explains one message.
///
/// # Errors
/// When the database cannot be read.
pub async fn of(store: &SqliteStore, detail: &MessageDetail, now: Timestamp) -> Result<Explanation, StoreError> {
    explained(store, detail, OTHERS, now).await
}

/// Explains the message of a campaign that wakes first. What comes after it in a flow of its own is of no interest, so that this
/// costs the same however many there are.
///
/// # Errors
/// When the database cannot be read.
pub async fn of_first(store: &SqliteStore, detail: &MessageDetail, now: Timestamp) -> Result<Explanation, StoreError> {
    explained(store, detail, OTHER_FLOWS, now).await
}

async fn explained(
    store: &SqliteStore,
    detail: &MessageDetail,
    most: usize,
    now: Timestamp,
) -> Result<Explanation, StoreError> {
    let m = &detail.message;
    let Some(seen) = store.claimed(m.id, now).await? else {
        return Ok(Explanation { gates: Vec::new(), earliest: None, typing_from: None });
    };
    let instance = seen.claimed.due.instance.clone();
    let settings = store.instances().await?.into_iter().find(|r| r.name == instance);
    let settings = settings.and_then(|row| config::stored_instance(&row, true).ok());
    let (pacing, window) = settings.map_or((Pacing::default(), None), |s| (s.pacing, s.window));
    let pauses: Vec<(Option<Timestamp>, Option<String>)> = store
        .pauses(now)
        .await?
        .into_iter()
        .filter(|p| p.scope.stops(&instance.0, m.job.as_deref(), m.occurrence))
        .map(|p| (p.until, p.note))
        .collect();
    let (mut others, too_many) = match m.state {
        StateName::Scheduled => others(store, &seen.claimed, window.as_ref(), &pauses, (most, now)).await?,
        _ => (Vec::new(), false),
    };
    let lane = lane(store, &instance, pacing, now).await?;
    // What is typed is in its place and its chat until its slot.
    let typed = match m.state {
        StateName::Scheduled => store.typing_now(&instance).await?.into_iter().map(|(t, slot)| (t.due, slot)).collect(),
        _ => Vec::new(),
    };
    let served = store.serves(&instance, now).await?;
    let mut due = with_hours(&seen.claimed, window.as_ref());
    // What a pause keeps past its instant is typed in full; what begins late for it but can still be on time is not.
    let paused_past = |d: &Due| pauses.iter().any(|(until, _)| until.is_none_or(|t| d.target < t));
    // A daemon that runs has taken up what should have begun by now, and its lane keeps it waiting.
    let lane_keeps = |d: &Due| served && pauses.is_empty() && d.target - d.lead < now;
    for d in others.iter_mut().chain([&mut due]) {
        d.kept_waiting |= paused_past(d) || lane_keeps(d);
    }
    let blocked =
        detail.blocked.clone().map(|(state, why, until)| (until.filter(|_| state == "resting"), why.unwrap_or(state)));
    let no_opt_in = seen.claimed.no_opt_in;
    let mut situation = Situation {
        due,
        state: m.state,
        reason: m.reason.as_deref().and_then(Reason::from_name),
        typing_at: m.typing_at,
        slot: seen.slot,
        look_at: if m.state == StateName::InDoubt { m.wake_at } else { None },
        planning: seen.planning,
        suppressed: no_opt_in || seen.unwanted == Some(Reason::OptedOut),
        pauses,
        blocked,
        waits_for: seen.waits_for,
        others,
        too_many,
        typed,
        lane,
        served,
    };
    let mut explanation = explain(&situation, now);
    // What is more pressing goes before it, and other campaigns take turns with it, also what wakes only while it waits for its lane.
    for _ in 0..ROUNDS {
        let Some(leaves) = explanation.earliest.filter(|_| m.state == StateName::Scheduled) else { break };
        let later = store.claim(&instance, leaves, &Wanted::up_to(leaves, most, vec![m.id])).await?;
        let known: HashSet<MessageId> = situation.others.iter().map(|o| o.id).collect();
        let new = later.messages.iter().filter(|c| !known.contains(&c.due.id)).map(|c| with_hours(c, window.as_ref()));
        let before = situation.others.len();
        situation.others.extend(new);
        if situation.others.len() == before {
            break;
        }
        explanation = explain(&situation, now);
    }
    Ok(explanation)
}

fn with_hours(claimed: &Claimed, window: Option<&Window>) -> Due {
    Due { hours: hours(window, claimed), ..claimed.due.clone() }
}

/// What may go before the message: everything of its instance that wakes before it is due.
async fn others(
    store: &SqliteStore,
    claimed: &Claimed,
    window: Option<&Window>,
    pauses: &[(Option<Timestamp>, Option<String>)],
    (most, now): (usize, Timestamp),
) -> Result<(Vec<Due>, bool), StoreError> {
    // As it will be when the pauses that have an end are over.
    let free = pauses.iter().filter_map(|(until, _)| *until).fold(now, Timestamp::max);
    let horizon = claimed.due.target.max(free);
    // Of a flow of the class it may be far from the first.
    let most = if claimed.due.flow.is_of_class() { OTHERS } else { most };
    let answer = store.claim(&claimed.due.instance, free, &Wanted::up_to(horizon, most, vec![claimed.due.id])).await?;
    let others: Vec<Due> = answer.messages.iter().map(|c| with_hours(c, window)).collect();
    // By turns it comes with the first of them, so that only strict ones can be too many before it.
    let before = |o: &&Due| most == OTHERS || o.flow.class().is_strict();
    let too_many = others.iter().filter(before).count() >= most;
    Ok((others, too_many))
}

async fn lane(
    store: &SqliteStore,
    instance: &InstanceName,
    pacing: Pacing,
    now: Timestamp,
) -> Result<LaneStart, StoreError> {
    let zone = intake::stored_defaults(store).await?.and_then(|d| clock::zone(&d.zone).ok());
    Ok(LaneStart {
        instance: instance.clone(),
        refresh_every: Millis(8_000),
        recent_sends: store.recent_sends(instance, now - pacing.memory()).await?,
        // What an outage cost is settled when a message is taken up, and no gate.
        outages: Vec::new(),
        standing: Standing::Working,
        quarantine: Millis::ZERO,
        seed: store.seed(),
        zone: zone.unwrap_or(jiff::tz::TimeZone::UTC),
        pacing,
    })
}
