//! The machine of a history: the real planner, engine, store, receipts, follower, seeker and live parts, stepped by one
//! seeded loop in virtual time. Whoever writes stands still before each transaction, so that anybody may come in between.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use onthedot::clock;
use onthedot::config::InstanceSettings;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::message::{Change, Due, Facts, SendFacts, Verdict};
use onthedot::domain::outcome::{DownCause, Outcome};
use onthedot::domain::render::Rendered;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::domain::timeline::{CLAIM_AHEAD, CLAIM_SPAN};
use onthedot::doubt::DoubtSeeker;
use onthedot::engine::{Effect, Engine, Input, LaneStart, Standing};
use onthedot::feed::Feed;
use onthedot::follower::Follower;
use onthedot::gateway::Gateway;
use onthedot::gateway::signature::{self, Algorithm, DEFAULT_HEADER, HookProof};
use onthedot::intake::{IdMaker, SharedIds};
use onthedot::live_lists::LiveLists;
use onthedot::planner::Planner;
use onthedot::receipts::{Inbox, Receipts};
use onthedot::rendering::Renderer;
use onthedot::rescuer::Rescuer;
use onthedot::store::{Claimed, Opening, SqliteStore, Store, StoreError, body_hash};
use onthedot::yield_point::{self, Step};
use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::claims::Looks;
use crate::dice::Dice;
use crate::file::{CHATS, File};
use crate::outside::{self, Carried, LATENCY, Lying};
use crate::persons::{self, Told};

/// Where virtual time begins: 2030-01-01.
pub(crate) const BEGIN: i64 = 1_893_456_000_000;

/// Persons and peers act so long.
pub(crate) const BUSY: Millis = Millis(70_000);

/// Then everything that stops anything is lifted, and it is looked what becomes of it, until this much after the beginning.
pub(crate) const END: Millis = Millis(190_000);

/// How long a history of a chat is not asked after an attempt.
const QUARANTINE: Millis = Millis(5_000);

/// What the outside will tell, and when.
enum Pending {
    Input(Box<Input>),
    Nudge,
    Write(Box<Change>),
    /// Signed with the account's key, or by somebody who has another one.
    Hook {
        instance: &'static str,
        body: String,
        forged: bool,
    },
}

/// What somebody is doing.
pub(crate) enum Ended {
    Planner(Option<Timestamp>),
    Part,
    Lists(LiveLists),
    Settled,
    Person(Told),
    Failed(StoreError),
}

type Doing = Pin<Box<dyn Future<Output = Ended>>>;

struct Actor {
    name: String,
    doing: Doing,
    /// When it goes on.
    at: Timestamp,
}

/// What really happened.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "a history that breaks a claim is printed with all of it")]
pub(crate) enum Fact {
    Claimed(MessageId),
    Typing(MessageId),
    StopTyping(MessageId),
    Marked(MessageId),
    Left { id: MessageId, slot: Timestamp },
    Answered(MessageId, &'static str),
    Released(MessageId),
    Write(MessageId, String, Option<Verdict>),
    Began(String),
    Ended(String),
    Told(Told),
    Hook(String),
    Forged(String),
    Crash,
    Slept(Timestamp),
}

pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) fact: Fact,
}

struct Cargo {
    claimed: Claimed,
    rendered: Option<Rendered>,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    /// What somebody said before a word, and is told of only later.
    earlier: Dice,
    pub(crate) now: Timestamp,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) ids: SharedIds,
    pub(crate) file: File,
    pub(crate) gateway: Lying,
    pub(crate) log: Vec<Entry>,
    /// Whether nobody does anything but the daemon, and the gateway is honest: then predictions must hold.
    pub(crate) calm: bool,
    pub(crate) planner: Planner,
    pub(crate) path: PathBuf,
    pub(crate) looks: Looks,
    pub(crate) rescuer: Option<Rescuer>,
    /// None while it is at work.
    live_lists: Option<LiveLists>,
    engine: Engine,
    instances: Vec<InstanceSettings>,
    cargo: HashMap<MessageId, Cargo>,
    /// Through which account each message that left went.
    went_through: HashMap<MessageId, String>,
    renderer: Renderer,
    receipts: Receipts,
    news: Arc<Notify>,
    changes: watch::Receiver<u64>,
    pending: BTreeMap<(Timestamp, u64), Pending>,
    sequence: u64,
    actors: Vec<Actor>,
    planner_at: Timestamp,
    parts_at: Timestamp,
    pub(crate) person_at: Timestamp,
    look_at: Timestamp,
    crashes_left: i64,
    naps_left: i64,
    lies: i64,
    session_down_until: Timestamp,
    heartbeat_at: Timestamp,
}

/// With which the gateway signs what it posts.
fn key() -> SecretString {
    SecretString::from("a key")
}

fn text_of(rendered: &Rendered) -> String {
    rendered.text().unwrap_or_default().to_owned()
}

impl World {
    pub(crate) async fn begin(seed: u64, folder: &std::path::Path) -> World {
        let mut dice = Dice::of(seed, "world");
        let now = Timestamp(BEGIN);
        clock::show(now);
        onthedot::intake::count_ids_anew();
        let path = folder.join("db");
        let store = Arc::new(SqliteStore::open_with_seed(&path, Opening::Beside, Some(seed)).await.unwrap());
        let members: Vec<usize> = (0..CHATS).filter(|_| dice.chance(50)).chain([0]).collect();
        onthedot::contacts::import_contacts(&store, persons::contacts(&path, now, &members), now).await.unwrap();
        let ids: SharedIds = Arc::new(IdMaker::default());
        let file = File::drawn(seed, &mut dice, now);
        let settings = persons::read(&path, &file, now).unwrap();
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let planner = Planner::new(shared, Arc::clone(&ids), seed).one_by_one();
        let cap = [1, 2, 3, 5, 50, 50][usize::try_from(dice.roll(0, 5)).unwrap()];
        let gateway = Lying::new(cap, if dice.chance(20) { now } else { Timestamp(0) });
        let news = Arc::new(Notify::new());
        let proof = HookProof::Signature {
            secret: key(),
            header: DEFAULT_HEADER.to_owned(),
            algorithm: Algorithm::Sha512,
            prefix: String::new(),
        };
        let inbox = |settings: &InstanceSettings| {
            let gateway: Arc<dyn Gateway> = Arc::new(gateway.clone());
            let keywords = settings.opt_out.keywords.clone();
            Inbox { gateway, proof: proof.clone(), keywords, lifts_manual: false, confirm: Arc::new(|_, _, _| None) }
        };
        let inboxes = settings.instances.iter().map(|s| (s.name.clone(), inbox(s))).collect();
        let receipts = Receipts::new(Arc::clone(&store), inboxes, Feed::default(), Arc::clone(&news));
        let calm = seed % 5 == 4;
        let changes = store.changes();
        let mut world = World {
            seed,
            now,
            engine: Engine::new(Vec::new(), now),
            instances: settings.instances.clone(),
            ids,
            file,
            gateway,
            log: Vec::new(),
            calm,
            planner,
            path,
            looks: Looks::default(),
            rescuer: None,
            live_lists: None,
            went_through: HashMap::new(),
            cargo: HashMap::new(),
            renderer: Renderer::default(),
            receipts,
            news,
            changes,
            pending: BTreeMap::new(),
            sequence: 0,
            actors: Vec::new(),
            planner_at: now,
            parts_at: now,
            person_at: now + Millis(dice.roll(500, 9_000)),
            look_at: now + Millis(dice.roll(0, 20_000)),
            crashes_left: if calm { 0 } else { dice.roll(-2, 2) },
            naps_left: if calm { 0 } else { dice.roll(-3, 1) },
            lies: if calm { 0 } else { dice.roll(0, 30) },
            session_down_until: Timestamp(0),
            heartbeat_at: now,
            store,
            dice,
            earlier: Dice::of(seed, "earlier"),
        };
        world.store.ensure_mode("sandbox").await.unwrap();
        world.start(true).await;
        let jobs = settings.jobs.clone();
        onthedot::intake::apply_file(&world.store, &settings, jobs, (false, None), now).await.unwrap();
        world
    }

    pub(crate) fn note(&mut self, fact: Fact) {
        self.log.push(Entry { at: self.now, fact });
    }

    fn later(&mut self, after: i64, what: Pending) {
        self.sequence += 1;
        self.pending.insert((self.now + Millis(after), self.sequence), what);
    }

    /// The daemon starts, as `daemon` does.
    async fn start(&mut self, first: bool) {
        self.store.recover(self.now, QUARANTINE.0).await.unwrap();
        self.store.finish_replacing(self.now).await.unwrap();
        if !first {
            self.planner.settle_passed(self.now).await.unwrap();
        }
        let outages = self.store.outages(Timestamp(0)).await.unwrap();
        let mut lanes = Vec::new();
        for settings in &self.instances {
            let met = |o: &&onthedot::store::Outage| o.instance.as_ref().is_none_or(|name| *name == settings.name);
            lanes.push(LaneStart {
                instance: settings.name.clone(),
                pacing: settings.pacing.clone(),
                refresh_every: self.gateway.capabilities().refresh_every,
                recent_sends: self
                    .store
                    .recent_sends(&settings.name, self.now - settings.pacing.memory())
                    .await
                    .unwrap(),
                outages: outages.iter().filter(met).map(|o| (o.began_at, o.ended_at)).collect(),
                standing: Standing::Working,
                quarantine: QUARANTINE,
                seed: self.seed,
                zone: jiff::tz::TimeZone::UTC,
            });
        }
        self.engine = Engine::new(lanes, self.now);
        self.rescuer = Some(Rescuer::new(Arc::clone(&self.store), QUARANTINE));
        self.live_lists = Some(LiveLists::new(Arc::clone(&self.store), self.planner.clone()));
        self.store.say_served(&self.instances.iter().map(|i| i.name.clone()).collect::<Vec<_>>()).await.unwrap();
        self.planner_at = self.now;
    }

    /// Runs the history to its end.
    pub(crate) async fn run(&mut self) {
        let end = Timestamp(BEGIN) + END;
        let mut steps = 0_u32;
        let mut lifted = false;
        while self.now < end {
            steps += 1;
            let last = self.log.last().map(|e| &e.fact);
            assert!(steps < 40_000, "the history does not come to rest at {} ms: {last:?}", self.now.0 - BEGIN);
            clock::show(self.now);
            self.gateway.known().now = self.now;
            if let Some(effect) = self.engine.poll_effect(self.now) {
                if self.crashes_left > 0 && self.busy() && self.dice.roll(0, 399) == 0 {
                    self.crash().await;
                    continue;
                }
                self.perform(effect).await;
                continue;
            }
            self.notice_changes();
            if let Some(k) = self.next_actor() {
                if self.crashes_left > 0 && self.busy() && self.dice.roll(0, 199) == 0 {
                    self.crash().await;
                    continue;
                }
                self.step(k).await;
                continue;
            }
            // What somebody began while it was busy comes to its end first.
            if !lifted && !self.busy() && self.actors.iter().all(|a| a.name.starts_with("the ")) {
                lifted = true;
                self.lift().await;
                continue;
            }
            if self.start_parts() {
                continue;
            }
            if self.busy() && self.person_at <= self.now {
                self.person_at = self.now + Millis(self.dice.roll(100, 9_000));
                if !self.calm {
                    self.person();
                    continue;
                }
            }
            if self.look_at <= self.now {
                self.look_at = self.now + Millis(self.dice.roll(1_000, 20_000));
                self.look().await;
            }
            if self.now.since(self.heartbeat_at) >= Millis(3_000) {
                self.heartbeat_at = self.now;
                self.store.heartbeat(self.now).await.unwrap();
            }
            let wakes = [self.look_at, self.heartbeat_at + Millis(3_000), end];
            let person = Some(self.person_at).filter(|_| self.busy());
            let next = wakes
                .into_iter()
                .chain(person)
                .chain((!self.is_at("the planner")).then_some(self.planner_at))
                .chain((!self.is_at("the parts")).then_some(self.parts_at))
                .chain(self.busy().then_some(Timestamp(BEGIN) + BUSY))
                .chain(self.engine.poll_wakeup())
                .chain(self.pending.keys().next().map(|(at, _)| *at))
                .chain(self.actors.iter().map(|a| a.at))
                .min();
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            clock::show(self.now);
            self.gateway.known().now = self.now;
            self.nap();
            while let Some(entry) = self.pending.first_entry().filter(|e| e.key().0 <= self.now) {
                let what = entry.remove();
                self.happen(what).await;
            }
        }
    }

    pub(crate) fn busy(&self) -> bool {
        self.now < Timestamp(BEGIN) + BUSY
    }

    /// Whoever is in hand, as the daemon holds it.
    pub(crate) fn holds(&self, id: MessageId) -> bool {
        let written = |what: &Pending| matches!(what, Pending::Write(change) if change.id == id);
        self.cargo.contains_key(&id) || self.pending.values().any(written)
    }

    pub(crate) fn instance_of(&self, id: MessageId) -> Option<String> {
        self.went_through.get(&id).cloned()
    }

    /// Whether every account can send.
    pub(crate) fn can_send(&self) -> bool {
        self.engine.standings().all(|(_, standing)| *standing == Standing::Working)
    }

    fn notice_changes(&mut self) {
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            let after = if self.calm { 0 } else { self.dice.roll(0, 100) };
            self.later(after, Pending::Nudge);
            let planner = if self.calm { 0 } else { self.dice.roll(0, 100) };
            self.planner_at = self.planner_at.min(self.now + Millis(planner));
        }
    }

    fn next_actor(&self) -> Option<usize> {
        let ready = self.actors.iter().enumerate().filter(|(_, a)| a.at <= self.now);
        ready.min_by_key(|(_, a)| a.at).map(|(k, _)| k)
    }

    fn is_at(&self, name: &str) -> bool {
        self.actors.iter().any(|a| a.name == name)
    }

    /// What is being done, and when the planner looks next, in words.
    pub(crate) fn doing(&self) -> String {
        let names = self.actors.iter().map(|a| a.name.lines().next().unwrap_or_default());
        let planner = self.planner_at.0 - BEGIN;
        format!("{:?}; the planner looks at {planner} ms", names.collect::<Vec<_>>())
    }

    pub(crate) fn act(&mut self, name: String, doing: impl Future<Output = Ended> + 'static) {
        self.note(Fact::Began(name.clone()));
        self.actors.push(Actor { name, doing: Box::pin(doing), at: self.now });
    }

    /// Lets an actor go on as far as its next transaction, and then stand there for a while.
    async fn step(&mut self, k: usize) {
        let mut actor = self.actors.remove(k);
        let stepped = poll_fn(|context| yield_point::step(&mut actor.doing, context)).await;
        match stepped {
            Step::Parked => {
                // Most go on at once: each of these is a moment in which somebody may come in between.
                let wait = if self.calm || self.dice.chance(60) { 0 } else { self.dice.roll(1, 400) };
                actor.at = self.now + Millis(wait);
                self.actors.push(actor);
            }
            Step::Done(ended) => self.ended(&actor.name, ended),
        }
    }

    fn ended(&mut self, name: &str, ended: Ended) {
        match ended {
            Ended::Planner(next) => {
                let cap = self.now + Millis(5_000);
                self.planner_at = next.map_or(cap, |t| t.min(cap)).max(self.now + Millis(1));
            }
            Ended::Part => {}
            Ended::Lists(lists) => self.live_lists = Some(lists),
            Ended::Settled => self.engine.handle(Input::Settled, self.now),
            Ended::Person(told) => {
                self.note(Fact::Told(told));
                return;
            }
            Ended::Failed(StoreError::JobChanged { .. } | StoreError::Importing { .. }) => {}
            Ended::Failed(e) => panic!("{name}: {e}"),
        }
        if !name.starts_with("the ") {
            self.note(Fact::Ended(name.to_owned()));
        }
    }

    /// The daemon's own parts, when their time has come.
    fn start_parts(&mut self) -> bool {
        if self.planner_at <= self.now && !self.is_at("the planner") {
            self.planner_at = Timestamp::MAX;
            let planner = self.planner.clone();
            let plan = async move {
                let next = planner.plan_due(clock::now()).await?;
                let gate = planner.pass_gates(clock::now()).await?;
                Ok(Ended::Planner(next.into_iter().chain(gate).min()))
            };
            self.actors.push(Actor { name: "the planner".into(), doing: failing(plan), at: self.now });
            return true;
        }
        if self.parts_at <= self.now && !self.is_at("the parts") {
            self.parts_at = self.now + Millis(2_000);
            let follower =
                Follower::new(Arc::clone(&self.store), Arc::clone(&self.ids), Arc::clone(&self.news)).one_by_one();
            let shared: Arc<dyn Store> = Arc::clone(&self.store) as Arc<dyn Store>;
            let accounts = self.instances.iter().map(|i| {
                let gateway: Arc<dyn Gateway> = Arc::new(self.gateway.clone());
                (i.name.clone(), (gateway, QUARANTINE))
            });
            let seeker = DoubtSeeker::new(Arc::clone(&shared), accounts.collect());
            let parts = async move {
                let stop = CancellationToken::new();
                follower.look(clock::now()).await?;
                shared.expire(clock::now()).await?;
                seeker.settle_echoes(clock::now()).await?;
                for instance in shared.instances_in_doubt(clock::now()).await? {
                    seeker.look_at_some(&instance, &stop, clock::now()).await?;
                }
                Ok(Ended::Part)
            };
            self.actors.push(Actor { name: "the parts".into(), doing: failing(parts), at: self.now });
            if let Some(mut lists) = self.live_lists.take() {
                let look = async move {
                    if let Err(e) = lists.look(clock::now()).await {
                        panic!("a list could not be followed: {e}");
                    }
                    Ok(Ended::Lists(lists))
                };
                self.actors.push(Actor { name: "the lists".into(), doing: failing(look), at: self.now });
            }
            return true;
        }
        false
    }

    async fn happen(&mut self, what: Pending) {
        match what {
            Pending::Input(input) => self.engine.handle(*input, self.now),
            Pending::Nudge => self.engine.handle(Input::Nudge, self.now),
            Pending::Write(change) => {
                let (id, behind) = (change.id, matches!(change.facts, Facts::TypingShown { .. }));
                let is_mark = matches!(change.facts, Facts::Mark { .. });
                let to = change.transition.to().name().name().to_owned();
                // A disk that is full for a moment.
                let verdict = if !self.calm && self.dice.chance(1) {
                    None
                } else {
                    Some(self.store.apply(vec![*change]).await.unwrap()[0])
                };
                self.note(Fact::Write(id, to, verdict));
                if is_mark && verdict == Some(Verdict::Applied) {
                    self.note(Fact::Marked(id));
                }
                if !behind {
                    self.engine.handle(Input::Persisted { id, verdict }, self.now);
                }
            }
            Pending::Hook { instance, body, forged } => {
                self.note(if forged { Fact::Forged(body.clone()) } else { Fact::Hook(body.clone()) });
                let receipts = self.receipts.clone();
                let key = if forged { SecretString::from("another key") } else { key() };
                let signed = signature::sign(Algorithm::Sha512, &key, body.as_bytes());
                self.act("a webhook".to_owned(), async move {
                    let header = |name: &str| (name == DEFAULT_HEADER).then_some(signed.as_str());
                    let taken = receipts.take(instance, header, None, body.as_bytes()).await;
                    Ended::Person(if forged { Told::Forged(taken) } else { Told::Hook { body, taken } })
                });
            }
        }
    }

    pub(crate) fn post(&mut self, after: i64, instance: &'static str, body: String) {
        self.later(after, Pending::Hook { instance, body, forged: false });
    }

    /// Somebody who does not have the account's key posts what the gateway could have posted.
    pub(crate) fn forge(&mut self, body: String) {
        self.later(0, Pending::Hook { instance: "desk", body, forged: true });
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Claim { instance, wanted } => {
                let answer = self.store.claim(&instance, self.now, &wanted).await.unwrap();
                let mut messages = Vec::with_capacity(answer.messages.len());
                for claimed in answer.messages {
                    self.note(Fact::Claimed(claimed.due.id));
                    let hours = onthedot::hours::hours(None, &claimed);
                    messages.push(Due { hours, ..claimed.due.clone() });
                    self.cargo.entry(claimed.due.id).or_insert(Cargo { claimed, rendered: None });
                }
                let input = Input::Claimed { instance, messages, more: answer.more, next_wake: answer.next_wake };
                let after = if self.calm { 0 } else { self.dice.roll(0, 5) };
                self.later(after, Pending::Input(Box::new(input)));
            }
            Effect::Verify { ids } => {
                let horizon = self.now + CLAIM_AHEAD + CLAIM_SPAN;
                let verified = self.store.verify(&ids, self.now, horizon).await.unwrap();
                let after = if self.calm { 0 } else { self.dice.roll(0, 5) };
                if !verified.paused.is_empty() {
                    self.later(after, Pending::Input(Box::new(Input::Paused { ids: verified.paused })));
                }
                self.later(after, Pending::Input(Box::new(Input::Ours { messages: verified.ours })));
                self.later(after, Pending::Input(Box::new(Input::Gone { ids: verified.gone })));
            }
            Effect::StartTyping { id, .. } => {
                self.note(Fact::Typing(id));
                let after = self.dice.roll(1, 3_000);
                let input = Input::TypingAnswered { id, status: Some(200), response: "{}".into() };
                self.later(after, Pending::Input(Box::new(input)));
            }
            Effect::StopTyping { id, .. } => self.note(Fact::StopTyping(id)),
            Effect::Persist(change) => self.write(change),
            Effect::Send { id, slot } => self.send(id, slot),
            Effect::Probe { instance } => {
                let down = (self.now < self.session_down_until).then(|| (DownCause::Session, "logged out".to_owned()));
                let after = self.dice.roll(1, 500);
                self.later(after, Pending::Input(Box::new(Input::Probed { instance, down })));
            }
            Effect::Lane { instance, standing, outage } => self.remember(&instance, &standing, outage).await,
            Effect::Release { id } => {
                self.note(Fact::Released(id));
                self.cargo.remove(&id);
            }
            Effect::DropTyping { .. } => {}
        }
    }

    async fn remember(&self, instance: &InstanceName, standing: &Standing, outage: Option<(Timestamp, Timestamp)>) {
        let (state, until) = match standing {
            Standing::Working => ("working", None),
            Standing::Resting { until, .. } => ("resting", Some(*until)),
            Standing::Down { .. } => ("down", None),
        };
        self.store.remember_standing(instance, state, None, until, outage, self.now).await.unwrap();
    }

    /// As the worker does: a mark is only written for what can be rendered. One disk: writes are carried out in order.
    fn write(&mut self, mut change: Change) {
        if let Facts::Mark { slot, body, .. } = &mut change.facts
            && let Some(cargo) = self.cargo.get_mut(&change.id)
        {
            match self.renderer.render(&cargo.claimed, *slot) {
                Ok(rendered) => {
                    *body = Some(body_hash(&cargo.claimed.due.chat, &rendered.content));
                    cargo.rendered = Some(rendered);
                }
                Err((reason, note)) => {
                    let input = Input::Unsendable { id: change.id, reason, note };
                    self.later(0, Pending::Input(Box::new(input)));
                    return;
                }
            }
        }
        let latest = self.pending.iter().filter(|(_, p)| matches!(p, Pending::Write(..))).map(|((at, _), _)| *at).max();
        let takes = if self.calm { 1 } else { self.dice.roll(0, 30) };
        let after = takes.max(latest.map_or(0, |t| t.since(self.now).0));
        self.later(after, Pending::Write(Box::new(change)));
    }

    /// The gateway: mostly honest, sometimes slow, down, or lying about what it did.
    fn send(&mut self, id: MessageId, slot: Timestamp) {
        assert!(self.now >= slot, "a message left before its slot");
        self.note(Fact::Left { id, slot });
        let cargo = self.cargo.get_mut(&id).expect("a message leaves that nobody holds");
        let text = cargo.rendered.take().map(|r| text_of(&r)).expect("a message leaves that was not rendered");
        let due: Due = cargo.claimed.due.clone();
        self.went_through.insert(id, due.instance.0.to_string());
        let gateway_id = format!("3EB0{}{:X}", id.to_string().replace('-', ""), due.attempts);
        let started_at = self.now;
        let (outcome, done) = if self.now < self.session_down_until {
            (Outcome::InstanceDown { cause: DownCause::Session, why: "logged out".into() }, false)
        } else if self.dice.chance(self.lies) {
            self.lie(&gateway_id)
        } else {
            (Outcome::Accepted { gateway_id: gateway_id.clone(), ack: None }, true)
        };
        self.note(Fact::Answered(id, outcome.name()));
        if done {
            let does = if self.calm { 0 } else { self.dice.roll(0, LATENCY.0) };
            let chat = due.chat.as_str().to_owned();
            let carried = Carried { id, chat, text, at: started_at + Millis(does), gateway_id };
            self.gateway.known().carried.push(carried.clone());
            self.answers(&due.instance, &carried);
        }
        let answers = if self.calm { 0 } else { self.dice.roll(1, 400) };
        let finished_at = started_at + Millis(answers);
        let facts = SendFacts { started_at, finished_at, status: None, outcome: outcome.name(), response: "".into() };
        self.later(answers, Pending::Input(Box::new(Input::SendDone { id, outcome, facts })));
    }

    fn lie(&mut self, gateway_id: &str) -> (Outcome, bool) {
        match self.dice.roll(0, 7) {
            0 | 1 => {
                let named = self.dice.chance(30).then(|| gateway_id.to_owned());
                (Outcome::InDoubt { why: "timed out".into(), named }, true)
            }
            2 => (Outcome::InDoubt { why: "reset".into(), named: None }, false),
            3 => (Outcome::Refused { why: "no".into() }, false),
            4 => (Outcome::RefusedForNow { why: "busy".into() }, false),
            5 => (Outcome::NotNow { after: Some(Millis(self.dice.roll(500, 5_000))) }, false),
            6 => (Outcome::NotSent { why: "refused".into() }, false),
            _ => {
                self.session_down_until = self.now + Millis(self.dice.roll(1_000, 15_000));
                (Outcome::InstanceDown { cause: DownCause::Session, why: "logged out".into() }, false)
            }
        }
    }

    /// What the network and the recipient tell of a message later: some of it, in any order, some of it twice.
    fn answers(&mut self, instance: &InstanceName, carried: &Carried) {
        let instance = if &*instance.0 == "desk" { "desk" } else { "shop" };
        if self.calm {
            return;
        }
        for _ in 0..self.dice.roll(0, 2) {
            let (after, level) = (self.dice.roll(0, 20_000), self.dice.roll(-1, 4));
            self.post(after, instance, outside::ack_body(&carried.chat, &carried.gateway_id, level));
        }
        if self.dice.chance(10) {
            let after = self.dice.roll(0, 9_000);
            self.post(after, instance, outside::echo_body(carried));
        }
        if self.dice.chance(12) {
            let says = ["ok", "STOP", "START", "hm", "STOP?"][usize::try_from(self.dice.roll(0, 4)).unwrap()];
            let said = carried.at + Millis(self.dice.roll(500, 15_000));
            self.writes(instance, &carried.chat, says, said);
        }
    }

    /// Somebody writes: it is posted late, now and then twice, from one of the forms of their address.
    pub(crate) fn writes(&mut self, instance: &'static str, chat: &str, says: &str, said: Timestamp) {
        self.sequence += 1;
        let id = format!("W{}", self.sequence);
        self.gateway.known().written.entry(chat.to_owned()).or_default().push((said, says.to_owned()));
        let number = chat.trim_end_matches("@c.us");
        let forms = [chat.to_owned(), chat.to_owned(), format!("{number}@s.whatsapp.net"), format!("{number}:12@c.us")];
        let from = &forms[usize::try_from(self.dice.roll(0, 3)).unwrap()];
        let body = outside::reply_body(from, chat, &id, says, said);
        let wait = said.since(self.now).0.max(0);
        let times = if self.dice.chance(30) { 2 } else { 1 };
        for _ in 0..times {
            let after = wait + if self.dice.chance(70) { self.dice.roll(0, 300) } else { self.dice.roll(0, 20_000) };
            self.post(after, instance, body.clone());
        }
        if ["STOP", "START"].contains(&says) && self.earlier.chance(25) {
            // The opposite, said before: the order in which it is told decides nothing.
            let says = if says == "STOP" { "START" } else { "STOP" };
            let said = said - Millis(self.earlier.roll(1_000, 20_000));
            self.gateway.known().written.entry(chat.to_owned()).or_default().push((said, says.to_owned()));
            let body = outside::reply_body(chat, chat, &format!("{id}E"), says, said);
            let after = wait + self.earlier.roll(100, 8_000);
            self.post(after, instance, body);
        }
    }

    /// The process dies with everything in memory; what was on its way to the disk may or may not be durable.
    async fn crash(&mut self) {
        self.crashes_left -= 1;
        self.note(Fact::Crash);
        self.store.heartbeat(self.now).await.unwrap();
        self.actors.clear();
        self.cargo.clear();
        self.engine = Engine::new(Vec::new(), self.now);
        for ((at, n), what) in std::mem::take(&mut self.pending) {
            match what {
                Pending::Write(change) => {
                    if self.dice.chance(50) {
                        self.store.apply(vec![*change]).await.unwrap();
                    }
                }
                // Nobody answers: a gateway posts it again later.
                Pending::Hook { .. } => _ = self.pending.insert((at, n), what),
                Pending::Input(_) | Pending::Nudge => {}
            }
        }
        self.now = self.now + Millis(self.dice.roll(10, 15_000));
        clock::show(self.now);
        self.gateway.known().now = self.now;
        self.start(false).await;
    }

    /// The machine sleeps, or its clock is set ahead.
    fn nap(&mut self) {
        if self.naps_left <= 0 || !self.busy() || self.dice.roll(0, 299) > 0 {
            return;
        }
        self.naps_left -= 1;
        let (from, to) = (self.now, self.now + Millis(self.dice.roll(11_000, 40_000)));
        self.now = to;
        clock::show(to);
        self.note(Fact::Slept(to));
        self.engine.handle(Input::Slept { from, to }, to);
        let (planner, store) = (self.planner.clone(), Arc::clone(&self.store));
        let settle = async move {
            store.note_outage(from, to).await?;
            planner.settle_passed(to).await?;
            Ok(Ended::Settled)
        };
        self.actors.push(Actor { name: "the planner".into(), doing: failing(settle), at: to });
    }
}

/// What may fail, as something that is being done.
pub(crate) fn failing(doing: impl Future<Output = Result<Ended, StoreError>> + 'static) -> Doing {
    Box::pin(async move { doing.await.unwrap_or_else(Ended::Failed) })
}
