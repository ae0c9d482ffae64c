//! When a campaign will be finished: its messages, and everything that shares its lanes, played to their end.

use crate::domain::campaign::CampaignName;
use crate::domain::pace::Rate;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::{Days, Hours, OpenHours};
use crate::engine::LaneStart;
use crate::future::of_store::WAITING;
use crate::future::{Foreseen, LanePremise, NotForeseeable, Premise, Waiting, of_store, play};
use crate::store::{SqliteStore, StoreError};

/// How far it is looked, step by step: most campaigns end within the first, and a play costs what happens in it.
const SPANS: [Millis; 3] = [Millis(2 * 86_400_000), Millis(40 * 86_400_000), Millis(400 * 86_400_000)];

/// What is supposed to be otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WhatIf {
    /// The rate of the campaign's instances.
    pub rate: Option<Rate>,
    /// The only window of its messages, on the clock of the file's zone.
    pub window: Option<(Days, Hours)>,
    /// Through how many instances like its own it goes.
    pub instances: Option<u32>,
}

/// What of a campaign can still leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Undone {
    /// Messages that wait.
    pub waiting: u64,
    /// The number of the latest record of an answer that they were counted with.
    pub recorded: i64,
}

/// Messages of a campaign that wait and will be skipped when their time comes, as things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// Their recipients are suppressed.
    pub suppressed: u64,
    /// Their recipients have had as many messages as `frequency` allows.
    pub too_often: u64,
}

impl LeftOut {
    /// Counts them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn of(
        store: &SqliteStore,
        campaign: &CampaignName,
        occurrence: i64,
        now: Timestamp,
    ) -> Result<LeftOut, StoreError> {
        let suppressed = store.suppressed_of_campaign(occurrence).await?;
        // It is looked at message by message, so only where the job has a say in it.
        let counts = store.job(&campaign.job).await?.is_some_and(|j| j.job.manner.frequency.is_some());
        let too_often = if counts { store.too_often_of_campaign(occurrence, now).await? } else { 0 };
        Ok(LeftOut { suppressed, too_often })
    }
}

impl Undone {
    /// Without those that will be skipped.
    pub fn without(self, left_out: LeftOut) -> Undone {
        let LeftOut { suppressed, too_often } = left_out;
        Undone { waiting: self.waiting.saturating_sub(suppressed + too_often), ..self }
    }
}

/// What is foreseen of a campaign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Finish {
    /// Messages that wait.
    pub waiting: u64,
    /// Those of them that are foreseen to leave.
    pub leave: u64,
    /// When the next of them leaves.
    pub next: Option<Timestamp>,
    /// When the last of them leaves if the gateway answers at once; `None` where some are not foreseen to leave: nobody knows when, not within 400 days, or there are
    /// too many to look at.
    pub last: Option<Timestamp>,
    /// Whether more wait than are played: the end is where the pace of those that are leads.
    pub extrapolated: bool,
    /// Before which instant one, five and nine of ten plays end that answer as the gateway did lately; `None` where they do
    /// not, or were not played.
    pub likely: [Option<Timestamp>; 3],
}

/// The parts of plays by chance told of, in percent.
const PARTS: [usize; 3] = [10, 50, 90];

/// Plays by chance: many of a small campaign, few of a large one, whose end chance moves little.
fn plays(waiting: u64) -> u64 {
    (400_000 / waiting.max(1)).clamp(5, 60)
}

impl Finish {
    /// When the last left, where all of them did.
    fn last_of_all(&self) -> Option<Timestamp> {
        self.last.filter(|_| self.leave == self.waiting)
    }
}

/// When the messages of a campaign leave of which so many were counted to wait at `now`.
///
/// # Errors
/// [`NotForeseeable`] when the database cannot be read, or holds too much.
pub async fn eta(
    store: &SqliteStore,
    campaign: &CampaignName,
    Undone { waiting: counted, recorded }: Undone,
    what_if: WhatIf,
    now: Timestamp,
) -> Result<Finish, NotForeseeable> {
    let mut found = Finish::default();
    let mut waiting = counted;
    for span in SPANS {
        let mut premise = of_store(store, now, now + span).await?;
        suppose(&mut premise, campaign, what_if);
        let played = finish(&premise, campaign);
        // Some may have left between the count and the reading.
        if played.waiting < counted && counted - played.waiting <= store.left_since(recorded).await? {
            waiting = played.waiting;
        }
        found = Finish { waiting, ..played };
        let cut = premise.lanes.iter().any(|lane| lane.waiting.len() >= WAITING);
        if let (true, Some(last)) = (cut && played.leave == played.waiting, played.last) {
            return Ok(Finish {
                last: Some(at_that_pace(now, last, played.leave, waiting)),
                extrapolated: true,
                ..found
            });
        }
        if found.leave == waiting {
            found.likely =
                if waiting > 0 { finish_by_chance(&mut premise, campaign, plays(waiting)) } else { [None; 3] };
            return Ok(found);
        }
    }
    Ok(Finish { last: None, ..found })
}

/// When all of so many leave where the first of them take until `last`.
fn at_that_pace(now: Timestamp, last: Timestamp, first: u64, all: u64) -> Timestamp {
    let took = i128::from(last.since(now).0) * i128::from(all) / i128::from(first.max(1));
    now + Millis(i64::try_from(took).unwrap_or(i64::MAX))
}

/// All of a campaign left: the rest of the play is of no interest.
struct AllLeft;

fn finish(premise: &Premise, campaign: &CampaignName) -> Finish {
    let all = premise.lanes.iter().flat_map(|lane| &lane.waiting).filter(|w| is_of(w, campaign));
    let waiting = all.map(|w| 1 + w.then.len()).sum::<usize>();
    let mut found = Finish { waiting: u64::try_from(waiting).unwrap_or(u64::MAX), ..Finish::default() };
    let of_it = |f: &Foreseen| f.job.as_deref() == Some(&*campaign.job) && f.occurrence == Some(campaign.nominal);
    let _ = play(premise, |f| {
        let Some(at) = f.sends_at.filter(|_| of_it(f)) else { return Ok(()) };
        found.leave += 1;
        found.next = Some(found.next.map_or(at, |next| next.min(at)));
        found.last = Some(found.last.map_or(at, |last| last.max(at)));
        if found.leave == found.waiting { Err(AllLeft) } else { Ok(()) }
    });
    found
}

/// Before which instants one, five and nine of ten plays end in which the gateways answer as they did lately; `None` where
/// those do not end.
pub fn finish_by_chance(premise: &mut Premise, campaign: &CampaignName, plays: u64) -> [Option<Timestamp>; 3] {
    let mut ends: Vec<Timestamp> = Vec::new();
    for play in 0..plays {
        premise.chance = Some(play);
        ends.push(finish(premise, campaign).last_of_all().unwrap_or(Timestamp::MAX));
    }
    ends.sort_unstable();
    // Nearest rank: the smallest end with at least so many percent at or before it.
    let end = |part: usize| ends.get((ends.len() * part).div_ceil(100).saturating_sub(1)).copied();
    PARTS.map(|part| end(part).filter(|at| *at < Timestamp::MAX))
}

fn is_of(waiting: &Waiting, campaign: &CampaignName) -> bool {
    waiting.job.as_deref() == Some(&*campaign.job) && waiting.nominal == Some(campaign.nominal)
}

/// Changes the premise as somebody wonders.
fn suppose(premise: &mut Premise, campaign: &CampaignName, what_if: WhatIf) {
    let mut more = Vec::new();
    for lane in &mut premise.lanes {
        if !lane.waiting.iter().any(|w| is_of(w, campaign)) {
            continue;
        }
        lane.start.pacing.rate = what_if.rate.or(lane.start.pacing.rate);
        if let Some((days, hours)) = what_if.window {
            let zone = lane.start.zone.clone();
            for w in lane.waiting.iter_mut().filter(|w| is_of(w, campaign)) {
                let open = vec![OpenHours { days, hours, zone: zone.clone() }];
                for due in w.then.iter_mut().chain([&mut w.due]) {
                    due.hours.clone_from(&open);
                    // Its wake may have been moved to the opening of the window it has.
                    due.target = if due.attempts == 0 { due.due_at } else { due.target };
                }
            }
        }
        more.extend(spread(lane, campaign, what_if.instances.unwrap_or(1)));
    }
    premise.lanes.extend(more);
}

/// Spreads a campaign over a lane and others like it that have nothing else to do. Answers the others.
fn spread(lane: &mut LanePremise, campaign: &CampaignName, lanes: u32) -> Vec<LanePremise> {
    let lanes = usize::try_from(lanes.max(1)).unwrap_or(1);
    let mut others: Vec<LanePremise> = (1..lanes)
        .map(|_| {
            let start = LaneStart { recent_sends: Vec::new(), ..lane.start.clone() };
            LanePremise {
                start,
                window: lane.window.clone(),
                stops: lane.stops.clone(),
                waiting: Vec::new(),
                seen: lane.seen.clone(),
            }
        })
        .collect();
    let (mut kept, mut n) = (Vec::with_capacity(lane.waiting.len()), 0);
    for waiting in lane.waiting.drain(..) {
        // What is being typed is in its place.
        if !is_of(&waiting, campaign) || waiting.typed.is_some() {
            kept.push(waiting);
            continue;
        }
        match n % lanes {
            0 => kept.push(waiting),
            other => others[other - 1].waiting.push(waiting),
        }
        n += 1;
    }
    lane.waiting = kept;
    others
}
