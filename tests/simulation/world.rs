//! The world around the engine: a store in memory, a gateway that lies, nodes that freeze, crash and take over from each
//! other, a machine that sleeps, a clock that is set back, and people who cancel and pause.

#[path = "gateway.rs"]
mod gateway;
#[path = "stumbles.rs"]
mod stumbles;

use std::collections::BTreeMap;

pub(crate) use gateway::policy;
use onthedot::domain::ack::Ack;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::message::{Change, Facts, Verdict};
use onthedot::domain::outcome::DownCause;
use onthedot::domain::state::StateName;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::engine::{Effect, Engine, Input, LaneStart};

use crate::dice::Dice;
use crate::model_store::ModelStore;
use crate::supply;

/// How long a history is not asked after an attempt.
pub(crate) const QUARANTINE: Millis = Millis(60_000);

/// Where virtual time begins.
pub(crate) const BEGIN: i64 = 1_000_000_000;

/// A history that has not come to rest by then never will.
const END: i64 = BEGIN + 4 * 3_600_000;

/// A node that did not work for longer knows that it did not.
const NOTICED: Millis = Millis(10_000);

/// Nodes that work at one time.
const NODES: usize = 3;

/// What the outside will tell, and when.
#[derive(Clone, Debug)]
enum Pending {
    /// A node's engine is told.
    Input(usize, Input),
    /// Every node is told that somebody changed the store.
    Nudge,
    /// The gateway carries a message out, whatever the engine is told.
    Done(MessageId, String),
    /// The network tells of a message by its gateway's id.
    Ack(MessageId, String, Ack),
    /// A node's change reaches the disk.
    Write(usize, Change),
    /// A frozen node goes on.
    Thaw(usize),
    /// Somebody takes a frozen node for dead: another one begins.
    TakeOver,
}

/// What really happened, for the checkers.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Typing(MessageId),
    StopTyping(MessageId),
    Marked(MessageId),
    Sent(MessageId),
    Delivered(MessageId),
    Cancelled(MessageId),
    /// It was typed to, and goes back into the line for an urgent message.
    GaveWay(MessageId),
    /// The ack that is shown from now on.
    Acked(MessageId, Ack),
    /// Everything is paused until then.
    Paused(Timestamp),
    /// Nobody worked for a while.
    Slept,
    /// One node does nothing for a while.
    Froze,
    /// A node begins while others may go on.
    TookOver,
    /// The clock was set back.
    SetBack,
    Crash,
}

/// One fact.
pub(crate) struct Entry {
    /// When, on a clock that nobody sets.
    pub(crate) at: Timestamp,
    /// What the machine's clock read.
    pub(crate) clock: Timestamp,
    pub(crate) fact: Fact,
}

/// One step of one node with an attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: MessageId,
    pub(crate) number: u32,
    pub(crate) node: usize,
}

struct Frozen {
    since: Timestamp,
    /// On the clock as it will be.
    until: Timestamp,
    /// Whether what was on its way to the disk arrives there all the same.
    writes_go_on: bool,
}

struct Node {
    engine: Engine,
    frozen: Option<Frozen>,
}

impl Node {
    fn new(engine: Engine) -> Node {
        Node { engine, frozen: None }
    }
}

pub(crate) struct World {
    dice: Dice,
    pub(crate) now: Timestamp,
    pub(crate) store: ModelStore,
    pub(crate) lanes: Vec<LaneStart>,
    nodes: Vec<Node>,
    pending: BTreeMap<(Timestamp, u64), Pending>,
    sequence: u64,
    pub(crate) log: Vec<Entry>,
    /// Marks that were applied, and requests that left.
    pub(crate) marks: Vec<Attempt>,
    pub(crate) requests: Vec<Attempt>,
    crashes_left: i64,
    pub(crate) lies: i64,
    pub(crate) outages: Vec<(Timestamp, Timestamp)>,
    session_down_until: Timestamp,
    end: Timestamp,
    /// Whether people cancel and pause meanwhile.
    people: bool,
    /// Whether a node begins with its lanes standing as they stood.
    remembers_standings: bool,
    /// Draws of when the machine sleeps, where it does.
    naps: Option<Dice>,
    /// Draws of when a node freezes and another one takes over, where there are several.
    rivals: Option<Dice>,
    /// Draws of when the clock is set back and by how much, where it is.
    steps: Option<(Dice, Millis)>,
    /// How far the clock was set back so far.
    set_back: Millis,
    /// How far the gateway's clock is behind the machine's at the beginning.
    gateway_behind: Millis,
    /// Draws of acks, where the network tells any.
    acks: Option<Dice>,
    /// Draws of what histories show.
    looker: Dice,
    pub(crate) seed: u64,
}

impl World {
    /// The world of a seed. One that is `kept` is as it was when it once broke a claim: one node, no acks, no clock set back.
    pub(crate) fn new(seed: u64, kept: bool) -> World {
        let mut dice = Dice::new(seed);
        let now = Timestamp(BEGIN);
        let lanes: Vec<LaneStart> = (0..dice.roll(1, 2)).map(|i| supply::lane(&mut dice, i, seed)).collect();
        let mut store = ModelStore::default();
        for n in 0..dice.roll(1, 24) {
            store.insert(&supply::due(&mut dice, n, &lanes));
        }
        let (crashes_left, lies) = (dice.roll(0, 3), dice.roll(0, 40));
        let mut world = World::of(dice, now, Timestamp(END), lanes, store, (crashes_left, lies), seed);
        world.people = true;
        world.remembers_standings = !kept;
        world.naps = (seed % 5 == 3).then(|| Dice::of(seed, "naps"));
        let some = |matter: &str, percent| {
            let mut dice = Dice::of(seed, matter);
            (!kept && dice.chance(percent)).then_some(dice)
        };
        world.rivals = some("rivals", 25);
        world.acks = some("acks", 60);
        world.steps = some("steps", 15).map(|mut dice| {
            let by = Millis(dice.roll(1_001, 3_600_000));
            // Either the clock was right and is wrong from then on, or the other way round.
            world.gateway_behind = if dice.chance(50) { by } else { Millis::ZERO };
            (dice, by)
        });
        world
    }

    /// A world where nothing stumbles but the process and the gateway.
    pub(crate) fn of(
        dice: Dice,
        now: Timestamp,
        end: Timestamp,
        lanes: Vec<LaneStart>,
        store: ModelStore,
        (crashes_left, lies): (i64, i64),
        seed: u64,
    ) -> World {
        let engine = Engine::new(lanes.clone(), now);
        World {
            dice,
            now,
            store,
            lanes,
            nodes: vec![Node::new(engine)],
            pending: BTreeMap::new(),
            sequence: 0,
            log: Vec::new(),
            marks: Vec::new(),
            requests: Vec::new(),
            crashes_left,
            lies,
            outages: Vec::new(),
            session_down_until: Timestamp(0),
            end,
            people: false,
            remembers_standings: false,
            naps: None,
            rivals: None,
            steps: None,
            set_back: Millis::ZERO,
            gateway_behind: Millis::ZERO,
            acks: None,
            looker: Dice::of(seed, "looker"),
            seed,
        }
    }

    /// Whether several nodes may work at a time.
    pub(crate) fn has_rivals(&self) -> bool {
        self.rivals.is_some()
    }

    fn later(&mut self, after: i64, what: Pending) {
        self.put(self.now + Millis(after), what);
    }

    fn put(&mut self, at: Timestamp, what: Pending) {
        self.sequence += 1;
        self.pending.insert((at, self.sequence), what);
    }

    fn note(&mut self, fact: Fact) {
        self.log.push(Entry { at: self.now + self.set_back, clock: self.now, fact });
    }

    /// Runs until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        let mut steps = 0_u32;
        while self.now < self.end {
            steps += 1;
            assert!(steps < 2_000_000, "the history does not come to rest");
            while let Some((node, effect)) = self.next_effect() {
                if self.crashes_left > 0 && self.dice.chance(1) {
                    self.crash();
                    continue;
                }
                self.perform(node, effect);
                self.nap();
                self.freeze();
            }
            self.meddle();
            self.nap();
            self.freeze();
            self.set_clock_back();
            self.look_at_doubts();
            let next_told = self.pending.keys().next().map(|(at, _)| *at);
            let works = |n: &&Node| n.frozen.is_none();
            let wake = self.nodes.iter().filter(works).filter_map(|n| n.engine.poll_wakeup()).min();
            let next_look = self.next_look();
            let Some(next) = next_told.into_iter().chain(wake).chain(next_look).min() else { break };
            if self.rests() && next_told.is_none() && next_look.is_none() {
                break;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.pending.first_entry().filter(|e| e.key().0 <= self.now) {
                let what = entry.remove();
                self.happen(what);
            }
        }
    }

    /// What a node wants done next, and which.
    fn next_effect(&mut self) -> Option<(usize, Effect)> {
        let now = self.now;
        let mut working = self.nodes.iter_mut().enumerate().filter(|(_, n)| n.frozen.is_none());
        working.find_map(|(k, n)| n.engine.poll_effect(now).map(|effect| (k, effect)))
    }

    fn tell_all(&mut self, input: &Input) {
        for node in self.nodes.iter_mut().filter(|n| n.frozen.is_none()) {
            node.engine.handle(input.clone(), self.now);
        }
    }

    fn rests(&self) -> bool {
        let nothing_in_hand = self.nodes.iter().all(|n| n.engine.in_hand() == 0);
        nothing_in_hand
            && self
                .store
                .rows
                .values()
                .all(|r| !matches!(r.state, StateName::Scheduled | StateName::Typing | StateName::Sending))
    }

    fn write(&mut self, node: usize, change: &Change) -> Verdict {
        let verdict = self.store.apply(change);
        if let (Verdict::Applied, Facts::Mark { number, .. }) = (verdict, &change.facts) {
            self.note(Fact::Marked(change.id));
            self.marks.push(Attempt { id: change.id, number: *number, node });
        }
        verdict
    }

    fn happen(&mut self, what: Pending) {
        match what {
            Pending::Input(k, _) if self.nodes[k].frozen.is_some() => self.when_thawed(k, what),
            Pending::Input(k, input) => self.nodes[k].engine.handle(input, self.now),
            Pending::Nudge => self.tell_all(&Input::Nudge),
            Pending::Done(id, gateway_id) => {
                self.note(Fact::Delivered(id));
                self.plan_acks(id, &gateway_id);
            }
            Pending::Ack(id, gateway_id, ack) => self.ack(id, &gateway_id, ack),
            Pending::Write(k, _) if self.nodes[k].frozen.as_ref().is_some_and(|f| !f.writes_go_on) => {
                self.when_thawed(k, what);
            }
            Pending::Write(k, change) => {
                let id = change.id;
                let behind = matches!(change.facts, Facts::TypingShown { .. });
                // A disk that is full for a moment.
                let verdict = if self.dice.chance(2) { None } else { Some(self.write(k, &change)) };
                let told = Input::Persisted { id, verdict };
                match &self.nodes[k].frozen {
                    _ if behind => {}
                    Some(_) => self.when_thawed(k, Pending::Input(k, told)),
                    None => self.nodes[k].engine.handle(told, self.now),
                }
            }
            Pending::Thaw(k) => self.thaw(k),
            Pending::TakeOver => {
                self.note(Fact::TookOver);
                self.begin();
            }
        }
    }

    fn when_thawed(&mut self, k: usize, what: Pending) {
        if let Some(frozen) = &self.nodes[k].frozen {
            let until = frozen.until;
            self.put(until, what);
        }
    }

    fn perform(&mut self, k: usize, effect: Effect) {
        match effect {
            Effect::Claim { instance, wanted } => {
                let (messages, more, next_wake) = self.store.claim(&instance, self.now, &wanted);
                let after = self.dice.roll(0, 5);
                let input = if self.lies > 0 && self.dice.chance(2) {
                    Input::ClaimFailed { instance }
                } else {
                    Input::Claimed { instance, messages, more, next_wake }
                };
                self.later(after, Pending::Input(k, input));
            }
            Effect::Verify { ids } => {
                let after = self.dice.roll(0, 5);
                let gone = self.store.gone(&ids);
                if self.store.is_paused(self.now) {
                    let ids = ids.into_iter().filter(|i| !gone.contains(i)).collect();
                    self.later(after, Pending::Input(k, Input::Paused { ids }));
                }
                self.later(after, Pending::Input(k, Input::Gone { ids: gone }));
            }
            Effect::StartTyping { id, .. } => {
                self.note(Fact::Typing(id));
                let (after, fails) = (self.dice.roll(1, 3_000), self.dice.chance(10));
                let status = if fails { Some(500) } else { Some(200) };
                self.later(after, Pending::Input(k, Input::TypingAnswered { id, status, response: "{}".into() }));
            }
            Effect::Lane { instance, standing, .. } => {
                let remembers = self.remembers_standings;
                if let Some(lane) = self.lanes.iter_mut().find(|l| remembers && l.instance == instance) {
                    lane.standing = standing;
                }
            }
            Effect::DropTyping { .. } | Effect::Release { .. } => {}
            Effect::StopTyping { id, .. } => self.note(Fact::StopTyping(id)),
            Effect::Persist(change) => {
                if matches!(&change.facts, Facts::Judged { note, .. } if note == "an urgent message took its place") {
                    self.note(Fact::GaveWay(change.id));
                }
                // One disk: writes are carried out in the order they were asked for.
                let latest =
                    self.pending.iter().filter(|(_, p)| matches!(p, Pending::Write(..))).map(|((at, _), _)| *at).max();
                let after = self.dice.roll(0, 30).max(latest.map_or(0, |t| t.since(self.now).0));
                self.later(after, Pending::Write(k, change));
            }
            Effect::Send { id, slot } => self.send(k, id, slot),
            Effect::Probe { instance } => {
                let down = (self.now < self.session_down_until).then(|| (DownCause::Session, "logged out".to_owned()));
                let after = self.dice.roll(1, 500);
                self.later(after, Pending::Input(k, Input::Probed { instance, down }));
            }
        }
    }
}

/// When requests of an instance left, rising, by one of the two clocks.
pub(crate) fn departures(
    log: &[Entry],
    store: &ModelStore,
    instance: &InstanceName,
    at: impl Fn(&Entry) -> Timestamp,
) -> Vec<Timestamp> {
    let of_lane = |entry: &Entry| match entry.fact {
        Fact::Sent(id) if store.rows[&id].due.instance == *instance => Some(at(entry)),
        _ => None,
    };
    let mut left: Vec<Timestamp> = log.iter().filter_map(of_lane).collect();
    left.sort_unstable();
    left
}
