//! How campaigns get on: what was sent, how fast, when it will be over, what it waits for right now.

mod ahead;
pub(super) mod bar;
mod tally;
pub(super) mod watch;

use std::collections::HashMap;
use std::path::Path;

use crate::cli::campaign::{acked, of, standing};
use crate::cli::out::safe;
use crate::cli::place::Zone;
use crate::clock::{self, Stopwatch};
use crate::domain::ack::Ack;
use crate::domain::campaign::{CampaignName, CampaignState, Standing};
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::engine::explain::{Gate, GateName};
use crate::explain;
use crate::future::Undone;
use crate::store::view::CampaignView;
use crate::store::{Pause, SqliteStore, StoreError};
use ahead::{Ahead, Foretold, Wanted};
use bar::{Ends, Figures, Waits};
use tally::Tally;

/// How many times longer than it takes to look for the gate it is until the next look for it.
const GATE_COST: i64 = 20;

/// Nearer than this an end is told to the second.
const NEAR: Millis = Millis::seconds(600);

/// The spans over which rates are told.
const MINUTE: Millis = Millis::seconds(60);
const FIVE_MINUTES: Millis = Millis::seconds(300);

/// Columns of a note that is told with a gate.
const NOTE: usize = 32;

/// A campaign at one look.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// How its messages stand.
    pub view: CampaignView,
    /// How it stands itself.
    pub state: CampaignState,
    /// The gate that its next message waits on.
    pub waits: Option<Gate>,
    /// Whether a daemon serves one of its instances.
    pub served: bool,
    /// What was foreseen of its end while it stood as it does now.
    pub foretold: Option<Foretold>,
}

/// Looks at campaigns again and again.
pub(super) struct Looks {
    tally: Tally,
    ahead: Ahead,
    /// The gate found last, when to look for it again, and how the campaign stood then.
    gates: HashMap<CampaignName, (Option<Gate>, Timestamp, CampaignState)>,
    /// Since when a campaign stands as it does: what was foreseen before is not so any more.
    stands: HashMap<CampaignName, (CampaignState, Timestamp)>,
}

impl Looks {
    /// Looks at campaigns of a database; whole counts of one take one part in `cost` of the time.
    pub(super) fn new(database: &Path, cost: i64) -> Looks {
        Looks { tally: Tally::new(cost), ahead: Ahead::start(database), gates: HashMap::new(), stands: HashMap::new() }
    }

    /// Looks at these campaigns and at no others. Those that are gone are missing from the answer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn at(
        &mut self,
        store: &SqliteStore,
        names: &[CampaignName],
        pauses: &[Pause],
        now: Timestamp,
    ) -> Result<Vec<Progress>, StoreError> {
        self.tally.keep_only(names);
        self.gates.retain(|name, _| names.contains(name));
        self.stands.retain(|name, _| names.contains(name));
        self.tally.catch_up(store).await?;
        let (mut all, mut wanted) = (Vec::new(), Vec::new());
        for name in names {
            let Some(progress) = self.one(store, name, pauses, now).await? else { continue };
            if progress.state == CampaignState::Running {
                wanted.push(Wanted {
                    name: name.clone(),
                    occurrence: progress.view.occurrence,
                    undone: undone(&progress.view),
                });
            }
            all.push(progress);
        }
        self.ahead.want(wanted);
        Ok(all)
    }

    async fn one(
        &mut self,
        store: &SqliteStore,
        name: &CampaignName,
        pauses: &[Pause],
        now: Timestamp,
    ) -> Result<Option<Progress>, StoreError> {
        let Some(mut view) = self.tally.view(store, name, false, now).await? else { return Ok(None) };
        let mut state = state_of(&view, pauses, now);
        let ends = matches!(state, CampaignState::Finished | CampaignState::Cancelled);
        let known = self.gates.get(name);
        let gate = match known {
            _ if ends => None,
            Some((gate, again_at, then)) if now < *again_at && *then == state && holds(gate.as_ref(), now) => {
                gate.clone()
            }
            _ => {
                let took = Stopwatch::start();
                let gate = first_gate(store, &view, now).await?;
                let again_at = clock::now() + Millis(took.elapsed().0.saturating_mul(GATE_COST));
                self.gates.insert(name.clone(), (gate.clone(), again_at, state));
                gate
            }
        };
        // It is over only when it was counted so as a whole. What nobody finds any more was taken back by a person.
        let gone = gate.is_none() && of(&view, StateName::Scheduled) > 0 && view.flow.is_some_and(|f| !f.is_of_class());
        if ends || gone && store.first_waiting(&view).await?.is_none() {
            let Some(counted) = self.tally.view(store, name, true, now).await? else { return Ok(None) };
            view = counted;
            state = state_of(&view, pauses, now);
        }
        let mut served = false;
        for instance in &view.instances {
            served |= store.serves(&crate::domain::id::InstanceName::new(instance), now).await?;
        }
        let stands = self.stands.entry(name.clone()).or_insert((state, now));
        if stands.0 != state {
            *stands = (state, now);
        }
        let since = stands.1;
        let foretold = self.ahead.foretold(name).filter(|f| state == CampaignState::Running && f.made_at >= since);
        Ok(Some(Progress { view, state, waits: gate, served, foretold }))
    }
}

/// Whether a gate that was found earlier may still hold.
fn holds(gate: Option<&Gate>, now: Timestamp) -> bool {
    gate.is_none_or(|g| g.until.is_none_or(|t| t > now))
}

/// How a campaign stands at `now`.
pub(super) fn state_of(view: &CampaignView, pauses: &[Pause], now: Timestamp) -> CampaignState {
    Standing { counts: &view.states(), ..standing(view, pauses) }.state(now)
}

/// What of a campaign can still leave.
pub(super) fn undone(view: &CampaignView) -> Undone {
    let waits = [StateName::Scheduled, StateName::Claimed, StateName::Typing].map(|state| of(view, state));
    Undone { waiting: waits.iter().sum(), recorded: view.recorded }
}

/// The gates that say most about a campaign, the most telling first.
const TELLING: [GateName; 19] = [
    GateName::Pause,
    GateName::Instance,
    GateName::Daemon,
    GateName::Person,
    GateName::Evidence,
    GateName::Planning,
    GateName::Due,
    GateName::Window,
    GateName::PerDay,
    GateName::PerHour,
    GateName::Rest,
    GateName::Rate,
    GateName::Gap,
    GateName::Retry,
    GateName::Line,
    GateName::Chat,
    GateName::Sequence,
    GateName::Consent,
    GateName::Frequency,
];

/// The gate that a campaign's next message waits on; where none waits, what is in doubt of it, or held.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn first_gate(
    store: &SqliteStore,
    view: &CampaignView,
    now: Timestamp,
) -> Result<Option<Gate>, StoreError> {
    if let Some(id) = store.first_waiting(view).await?
        && let Some(detail) = store.show(id).await?
    {
        let explained = explain::of_first(store, &detail, now).await?;
        let open = explained.gates.into_iter().filter(|g| !g.passed && g.until.is_none_or(|t| t > now));
        return Ok(open.min_by_key(|g| TELLING.iter().position(|t| *t == g.name)));
    }
    let held = of(view, StateName::Held);
    let note = Some(format!("{held} held"));
    Ok((held > 0).then_some(Gate { name: GateName::Person, passed: false, until: None, note }))
}

/// Whether nothing of a campaign leaves while its next message waits on this gate.
fn stops(gate: GateName) -> bool {
    match gate {
        GateName::Pause
        | GateName::Instance
        | GateName::Daemon
        | GateName::Person
        | GateName::Evidence
        | GateName::Planning
        | GateName::Window
        | GateName::PerDay
        | GateName::PerHour
        | GateName::Rest => true,
        GateName::Due
        | GateName::Rate
        | GateName::Gap
        | GateName::Retry
        | GateName::Line
        | GateName::Chat
        | GateName::Sequence
        | GateName::Consent
        | GateName::Frequency => false,
    }
}

/// An instant as short as it can be understood on the clock of a zone.
fn short(t: Timestamp, zone: &Zone, now: Timestamp, seconds: bool) -> String {
    let (at, today) = (t.in_zone(&zone.zone), now.in_zone(&zone.zone));
    let time = if seconds { "%H:%M:%S" } else { "%H:%M" };
    let format = match t.since(now).0 {
        _ if at.date() == today.date() => time.to_owned(),
        0..=518_400_000 => format!("%a {time}"),
        _ => format!("%Y-%m-%d {time}"),
    };
    at.strftime(&format).to_string()
}

/// The last five minutes, or as much of them as there was since the first send; `None` where that is less than one.
fn five_minutes(first: Timestamp, now: Timestamp) -> Option<Millis> {
    let since = now.since(first);
    (since >= MINUTE).then(|| since.min(FIVE_MINUTES))
}

/// Sends of the last minute, and per minute of the last five where it goes on for long enough.
fn rates(view: &CampaignView, now: Timestamp) -> Option<(u64, Option<u64>)> {
    let (first, _) = view.sent?;
    let (one, five) = view.sent_lately;
    let per_minute = |span: Millis| {
        let (minute, span) = (MINUTE.0.unsigned_abs(), span.0.unsigned_abs());
        (five.saturating_mul(minute) + span / 2) / span
    };
    Some((one, five_minutes(first, now).map(per_minute)))
}

impl Progress {
    /// When it ends if it goes on at the pace of the last five minutes; `None` where that says nothing.
    pub(super) fn at_this_pace(&self, now: Timestamp) -> Option<Timestamp> {
        let (first, _) = self.view.sent?;
        let (span, sent) = (five_minutes(first, now)?, i64::try_from(self.view.sent_lately.1).ok()?);
        let left = i64::try_from(undone(&self.view).waiting).ok()?;
        let stopped = !self.served || self.waits.as_ref().is_some_and(|g| stops(g.name));
        let goes = self.state == CampaignState::Running && sent > 1 && !stopped;
        (goes && left > 0).then(|| now + Millis(left.saturating_mul(span.0) / sent))
    }

    /// When it is foreseen to end, in words.
    fn ends(&self, zone: &Zone, now: Timestamp) -> Option<Ends> {
        let words = |t: Timestamp| short(t, zone, now, t.since(now) < NEAR);
        if let Some(f) = &self.foretold {
            let last = f.finish.last.filter(|t| *t > now)?;
            let (at, late) = (words(last), f.finish.likely[2].filter(|late| *late > last).map(words));
            let late = late.filter(|late| *late != at);
            return Some(Ends { at, late, made_at: Some(short(f.made_at, zone, now, true)) });
        }
        self.at_this_pace(now).map(|at| Ends { at: words(at), late: None, made_at: None })
    }

    /// What it waits for, in words.
    fn waits(&self, zone: &Zone, now: Timestamp) -> Option<Waits> {
        let gate = self.waits.as_ref()?;
        let until = gate.until.map(|t| format!(" until {}", short(t, zone, now, true))).unwrap_or_default();
        let telling = matches!(gate.name, GateName::Pause | GateName::Instance | GateName::Person);
        let note = gate.note.as_deref().filter(|_| telling).map(|n| format!(": {}", bar::within(&safe(n), NOTE)));
        let words = format!("{}{until}{}", gate.name.name(), note.unwrap_or_default());
        Some(Waits { words, stops: stops(gate.name) })
    }

    /// What its line shows.
    pub(super) fn figures(&self, zone: &Zone, now: Timestamp) -> Figures {
        let read = [Ack::Read, Ack::Played].map(|a| acked(&self.view, Some(a))).iter().sum();
        Figures {
            name: safe(&self.view.name.job),
            state: self.state,
            sent: (of(&self.view, StateName::Sent), self.view.messages()),
            failed: of(&self.view, StateName::Failed),
            rates: rates(&self.view, now),
            ends: self.ends(zone, now),
            acks: (acked(&self.view, Some(Ack::Device)) + read, read),
            waits: self.waits(zone, now),
        }
    }
}
