//! Performs what the engine decides, and tells it what came of it. Dull on purpose: it decides nothing itself.

mod words;
mod writing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{self, Jump};
use crate::crash_point;
use crate::domain::id::{ByMessage, InstanceName, MessageId};
use crate::domain::message::{Change, Due, Facts, SendFacts};
use crate::domain::outcome::{DownCause, Outcome};
use crate::domain::recipient::Chat;
use crate::domain::render::Rendered;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::{CLAIM_AHEAD, CLAIM_SPAN};
use crate::domain::window::Window;
use crate::engine::{Effect, Engine, Input, LaneStart, Standing};
use crate::feed::{Feed, News};
use crate::gateway::{Gateway, Session};
use crate::hours::hours;
use crate::rendering::Renderer;
use crate::repeats::{REPEATED_WITHIN, Repeats};
use crate::store::view::LaneView;
use crate::store::{Claimed, Store, StoreError};
use words::{mask, news_of, report};
use writing::write_changes;

/// The worker never sleeps longer: it notices suspends and steps of the clock.
const LOOK_AT_LEAST_EVERY: Millis = Millis::seconds(1);

/// Inputs taken in before effects are asked for again.
const INPUTS_AT_ONCE: usize = 1_024;

/// What the worker is doing, for those who wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Activity {
    /// Messages in hand of instances that can send.
    pub in_hand: usize,
    /// Claims, changes and other answers awaited.
    pub awaited: usize,
    /// Whether the messages of every instance were claimed at least once, or it said that it cannot send.
    pub settled: bool,
}

/// One instance the worker serves.
pub struct Served {
    /// Its account.
    pub gateway: Arc<dyn Gateway>,
    /// Its lane.
    pub lane: LaneStart,
    /// When it may send.
    pub window: Option<Window>,
}

enum Told {
    Input(Input),
    /// Beside an answer, not counted as one.
    News(Input),
    Claimed {
        instance: InstanceName,
        answer: Option<crate::store::ClaimAnswer>,
    },
}

/// A message in hand with what is needed to send it.
struct Cargo {
    claimed: Claimed,
    rendered: Option<Rendered>,
    /// The hash of what it sends, once rendered.
    body: Option<i64>,
    typing: Option<JoinHandle<()>>,
    /// Typing that is being taken back: shown again only afterwards.
    stopping: Option<JoinHandle<()>>,
}

/// See the [module](self).
pub struct Worker {
    engine: Engine,
    store: Arc<dyn Store>,
    gateways: HashMap<InstanceName, Arc<dyn Gateway>>,
    windows: HashMap<InstanceName, Window>,
    renderer: Renderer,
    repeats: Repeats,
    cargo: ByMessage<Cargo>,
    tell: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    persist: mpsc::UnboundedSender<Change>,
    pending: Vec<Change>,
    tasks: TaskTracker,
    awaited: usize,
    /// Instances whose messages were claimed, or that said whether they can send; of no interest any more once all are.
    asked: HashSet<InstanceName>,
    all_asked: bool,
    activity: watch::Sender<Activity>,
    beat: Arc<AtomicU64>,
    feed: Feed,
    /// Up to which instant gaps are settled.
    settled: watch::Receiver<Timestamp>,
    /// Questions which of some messages are not in hand.
    asks: (mpsc::Sender<Ask>, mpsc::Receiver<Ask>),
}

/// Which of these are not in hand?
type Ask = (Vec<MessageId>, oneshot::Sender<Vec<MessageId>>);

/// Where to ask a worker what it holds.
#[derive(Clone)]
pub struct Holder(mpsc::Sender<Ask>);

impl Holder {
    /// Which of these messages the worker does not hold; `None` where it has ended.
    pub async fn not_held(&self, ids: Vec<MessageId>) -> Option<Vec<MessageId>> {
        let (reply, answer) = oneshot::channel();
        self.0.send((ids, reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Questions that wait.
const ASKS: usize = 1;

impl Worker {
    /// A worker for these instances. The channels between it and its tasks need no bound of their own: everything in
    /// them belongs to a message in hand, and the engine bounds those.
    pub fn new(store: Arc<dyn Store>, served: Vec<Served>, feed: Feed, settled: watch::Receiver<Timestamp>) -> Worker {
        let now = clock::now();
        let gateways = served.iter().map(|s| (s.lane.instance.clone(), Arc::clone(&s.gateway))).collect();
        let windows = served.iter().filter_map(|s| Some((s.lane.instance.clone(), s.window.clone()?))).collect();
        let engine = Engine::new(served.into_iter().map(|s| s.lane).collect(), now);
        let (tell, told) = mpsc::unbounded_channel();
        let (persist, changes) = mpsc::unbounded_channel();
        let tasks = TaskTracker::new();
        tasks.spawn(write_changes(Arc::clone(&store), changes, tell.clone()));
        Worker {
            engine,
            store,
            gateways,
            windows,
            cargo: ByMessage::default(),
            renderer: Renderer::default(),
            repeats: Repeats::default(),
            tell,
            told,
            persist,
            pending: Vec::new(),
            tasks,
            awaited: 0,
            asked: HashSet::new(),
            all_asked: false,
            activity: watch::Sender::default(),
            beat: Arc::default(),
            feed,
            settled,
            asks: mpsc::channel(ASKS),
        }
    }

    /// Where to ask which messages it does not hold.
    pub fn holder(&self) -> Holder {
        Holder(self.asks.0.clone())
    }

    /// What it is doing, for those who wait for it.
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }

    /// Counts up with every round of its work, at least once a second: where it stands still, nothing is sent any more.
    pub fn beat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.beat)
    }

    /// Works until told to stop, then hands back what is not marked and waits for what is out.
    pub async fn run(mut self, stop: CancellationToken) {
        match self.store.recent_bodies(clock::now() - REPEATED_WITHIN).await {
            Ok(recent) => recent.iter().for_each(|r| self.repeats.note(r)),
            Err(e) => tracing::warn!(error = %e, "what was sent lately could not be read"),
        }
        let mut changes = self.store.changes();
        let mut inputs = Vec::new();
        let (mut stopping, mut alone) = (false, false);
        let mut watch = clock::Watch::start();
        let alarm = clock::Alarm::start();
        loop {
            self.beat.fetch_add(1, Ordering::Relaxed);
            crash_point::pass("round");
            self.work(&mut watch);
            if stopping && self.engine.is_quiet() {
                break;
            }
            let cap = clock::to_beat(LOOK_AT_LEAST_EVERY);
            let wake = self.engine.poll_wakeup().unwrap_or(Timestamp::MAX);
            tokio::select! {
                biased;
                _ = self.told.recv_many(&mut inputs, INPUTS_AT_ONCE) => {}
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.engine.handle(Input::Stop, clock::now());
                }
                changed = changes.changed(), if !stopping => {
                    if changed.is_ok() {
                        self.engine.handle(Input::Nudge, clock::now());
                    }
                }
                settled = self.settled.changed(), if !stopping && !alone => {
                    // Without a planner nothing is settled any more, and the lines wait no longer than they must.
                    alone = settled.is_err();
                    self.engine.handle(Input::Settled, clock::now());
                }
                ask = self.asks.1.recv() => {
                    if let Some((ids, reply)) = ask {
                        let _ = reply.send(ids.into_iter().filter(|id| !self.cargo.contains_key(id)).collect());
                    }
                }
                () = alarm.until(wake, cap) => {}
            }
            for told in inputs.drain(..) {
                self.take_in(told);
            }
        }
        let Worker { persist, tasks, .. } = self;
        drop(persist);
        tasks.close();
        tasks.wait().await;
    }

    /// Tells the engine when time itself stumbled, and answers what time it is.
    fn notice(&mut self, watch: &mut clock::Watch) -> Timestamp {
        let (now, jump) = watch.look();
        match jump {
            None => {}
            Some(Jump::Ahead { from, to }) => {
                tracing::warn!(
                    %from, %to, gap = %to.since(from),
                    "nobody worked for a while: the machine slept, the process was stopped, or the clock was set ahead"
                );
                self.engine.handle(Input::Slept { from, to }, now);
                // The planner may have noticed first, and be done.
                if *self.settled.borrow() > from {
                    self.engine.handle(Input::Settled, now);
                }
            }
            Some(Jump::Back { by }) => {
                tracing::warn!(%by, %now, "the clock was set back: what is due keeps its instant");
                self.engine.handle(Input::SetBack { by }, now);
            }
        }
        now
    }

    /// Performs everything the engine wants done now. The machine may fall asleep between any two effects.
    fn work(&mut self, watch: &mut clock::Watch) {
        loop {
            let now = self.notice(watch);
            let Some(effect) = self.engine.poll_effect(now) else { break };
            self.perform(effect);
        }
        for change in self.pending.drain(..) {
            self.awaited += 1;
            // The writer task ends only after this sender is dropped.
            let _ = self.persist.send(change);
        }
        if !self.all_asked {
            self.all_asked = self.gateways.keys().all(|instance| self.asked.contains(instance));
        }
        let activity = Activity {
            in_hand: self.engine.in_hand_of_working_lanes(),
            awaited: self.awaited,
            settled: self.all_asked,
        };
        self.activity.send_if_modified(|a| std::mem::replace(a, activity) != activity);
    }

    fn take_in(&mut self, told: Told) {
        let now = clock::now();
        if let Told::Input(Input::SendDone { id, outcome, .. }) = &told
            && !matches!(outcome, Outcome::Accepted { .. } | Outcome::InDoubt { .. })
            && let Some(body) = self.cargo.get(id).and_then(|c| c.body)
        {
            self.repeats.forget(*id, body);
        }
        let input = match told {
            Told::News(input) => input,
            Told::Input(input) => {
                match &input {
                    Input::Persisted { .. } | Input::Gone { .. } => self.awaited = self.awaited.saturating_sub(1),
                    Input::Probed { instance, .. } => _ = self.asked.insert(instance.clone()),
                    _ => {}
                }
                input
            }
            Told::Claimed { instance, answer: None } => {
                self.awaited = self.awaited.saturating_sub(1);
                Input::ClaimFailed { instance }
            }
            Told::Claimed { instance, answer: Some(answer) } => {
                self.awaited = self.awaited.saturating_sub(1);
                self.asked.insert(instance.clone());
                if !answer.messages.is_empty() {
                    crash_point::pass("claimed");
                }
                let mut messages = Vec::with_capacity(answer.messages.len());
                for claimed in answer.messages {
                    let hours = hours(self.windows.get(&instance), &claimed);
                    messages.push(Due { hours, ..claimed.due.clone() });
                    self.cargo.entry(claimed.due.id).or_insert(Cargo {
                        claimed,
                        rendered: None,
                        body: None,
                        typing: None,
                        stopping: None,
                    });
                }
                Input::Claimed { instance, messages, more: answer.more, next_wake: answer.next_wake }
            }
        };
        self.engine.handle(input, now);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Claim { instance, wanted } => {
                let (store, tell) = (Arc::clone(&self.store), self.tell.clone());
                self.awaited += 1;
                self.tasks.spawn(async move {
                    let now = clock::now();
                    let answer = store.claim(&instance, now, &wanted).await;
                    if let Err(e) = &answer
                        && !matches!(e, StoreError::NoRoom { .. })
                    {
                        tracing::warn!(%instance, error = %e, "a claim failed");
                    }
                    let answer = answer.ok();
                    let _ = tell.send(Told::Claimed { instance, answer });
                });
            }
            Effect::Verify { ids } => {
                let (store, tell) = (Arc::clone(&self.store), self.tell.clone());
                self.awaited += 1;
                self.tasks.spawn(async move {
                    // Unverified messages stay in hand: their mark is guarded anyway.
                    let now = clock::now();
                    let verified = store.verify(&ids, now, now + CLAIM_AHEAD + CLAIM_SPAN).await.unwrap_or_default();
                    if !verified.paused.is_empty() {
                        let _ = tell.send(Told::News(Input::Paused { ids: verified.paused }));
                    }
                    if !verified.ours.is_empty() {
                        let _ = tell.send(Told::News(Input::Ours { messages: verified.ours }));
                    }
                    let _ = tell.send(Told::Input(Input::Gone { ids: verified.gone }));
                });
            }
            Effect::StartTyping { id, instance, chat, slot } => self.start_typing(id, &instance, chat, slot),
            Effect::DropTyping { id } => {
                if let Some(task) = self.cargo.get_mut(&id).and_then(|c| c.typing.take()) {
                    task.abort();
                }
            }
            Effect::StopTyping { id, instance, chat } => self.stop_typing(id, &instance, chat),
            Effect::Persist(change) => self.write(change),
            Effect::Send { id, slot } => self.send(id, slot),
            Effect::Probe { instance } => self.probe(instance),
            Effect::Lane { instance, standing, outage } => self.tell_standing(instance, &standing, outage),
            Effect::Release { id } => {
                if self.cargo.remove(&id).is_some() {
                    self.feed.tell(News::LetGo { id });
                }
            }
        }
    }

    fn start_typing(&mut self, id: MessageId, instance: &InstanceName, chat: Chat, slot: Timestamp) {
        let (Some(gateway), Some(cargo)) = (self.gateways.get(instance), self.cargo.get_mut(&id)) else { return };
        let (gateway, tell) = (Arc::clone(gateway), self.tell.clone());
        tracing::info!(%id, "typing … to {}", mask(&chat));
        let job = cargo.claimed.job.clone();
        let (instance, began_at) = (instance.clone(), clock::now());
        self.feed.tell(News::Typing { id, instance, chat: chat.clone(), job, slot, began_at });
        let before = cargo.stopping.take();
        let task = async move {
            if let Some(stopping) = before {
                let _ = stopping.await;
            }
            crash_point::pass("typing_begins");
            let answer = gateway.start_typing(&chat).await;
            crash_point::pass("typing_shown");
            if !answer.status.is_some_and(|s| (200..300).contains(&s)) {
                tracing::warn!(%id, status = ?answer.status, "typing could not be shown: {}", answer.response);
            }
            let input = Input::TypingAnswered { id, status: answer.status, response: answer.response };
            let _ = tell.send(Told::Input(input));
        };
        cargo.typing = Some(self.tasks.spawn(task));
    }

    fn stop_typing(&mut self, id: MessageId, instance: &InstanceName, chat: Chat) {
        let Some(gateway) = self.gateways.get(instance).cloned() else { return };
        let open = self.cargo.get_mut(&id).and_then(|c| c.typing.take());
        let task = self.tasks.spawn(async move {
            if let Some(open) = open {
                let _ = open.await;
            }
            let answer = gateway.stop_typing(&chat).await;
            if !answer.status.is_some_and(|s| (200..300).contains(&s)) {
                tracing::warn!(%id, status = ?answer.status, "typing could not be taken back");
            }
        });
        if let Some(cargo) = self.cargo.get_mut(&id) {
            cargo.stopping = Some(task);
        }
    }

    /// A mark is only written for a message that can be sent: rendered, and undamaged since it was planned.
    fn write(&mut self, mut change: Change) {
        if let Facts::Mark { slot, body, .. } = &mut change.facts
            && let Some(cargo) = self.cargo.get_mut(&change.id)
        {
            let rendered = self
                .renderer
                .render(&cargo.claimed, *slot)
                .and_then(|rendered| Ok((self.repeats.check(&cargo.claimed, &rendered, change.at)?, rendered)));
            match rendered {
                Ok((hash, rendered)) => {
                    *body = Some(hash);
                    crash_point::pass("rendered");
                    (cargo.rendered, cargo.body) = (Some(rendered), Some(hash));
                }
                Err((reason, note)) => {
                    tracing::error!(id = %change.id, reason = reason.name(), "{note}");
                    let input = Input::Unsendable { id: change.id, reason, note };
                    let _ = self.tell.send(Told::News(input));
                    return;
                }
            }
        }
        self.pending.push(change);
    }

    fn send(&mut self, id: MessageId, slot: Timestamp) {
        let Some(cargo) = self.cargo.get_mut(&id) else { return };
        let due = cargo.claimed.due.clone();
        let (Some(gateway), Some(rendered)) = (self.gateways.get(&due.instance).cloned(), cargo.rendered.take()) else {
            return;
        };
        let (tell, feed, job) = (self.tell.clone(), self.feed.clone(), cargo.claimed.job.clone());
        self.tasks.spawn(async move {
            crash_point::pass("send_begins");
            let started_at = clock::now();
            let answer = gateway.send(&due.chat, &rendered).await;
            crash_point::pass("answered");
            let finished_at = clock::now();
            feed.tell(news_of(&due, job, &answer.outcome, started_at));
            report(id, &due.chat, &answer.outcome, started_at.since(due.due_at), started_at.since(slot));
            let facts = SendFacts {
                started_at,
                finished_at,
                status: answer.status,
                outcome: answer.outcome.name(),
                response: answer.response.into(),
            };
            let _ = tell.send(Told::Input(Input::SendDone { id, outcome: answer.outcome, facts }));
        });
    }

    fn probe(&self, instance: InstanceName) {
        let Some(gateway) = self.gateways.get(&instance).cloned() else { return };
        let tell = self.tell.clone();
        self.tasks.spawn(async move {
            let down = match gateway.session().await {
                Session::Working => None,
                Session::Down { cause, why } => Some((cause, why)),
            };
            let _ = tell.send(Told::Input(Input::Probed { instance, down }));
        });
    }

    fn tell_standing(&self, instance: InstanceName, standing: &Standing, outage: Option<(Timestamp, Timestamp)>) {
        let (state, reason, until) = match standing {
            Standing::Working => {
                tracing::info!(%instance, "the instance sends again");
                ("working", None, None)
            }
            Standing::Resting { until, why } => {
                tracing::warn!(%instance, until = %until, "the instance rests: {why}");
                ("resting", Some(why.clone()), Some(*until))
            }
            Standing::Down { why, .. } => {
                tracing::error!(%instance, "the instance is paused until it can send again: {why}");
                ("down", Some(why.clone()), None)
            }
        };
        let store = Arc::clone(&self.store);
        self.tasks.spawn(async move {
            let now = clock::now();
            if let Err(e) = store.remember_standing(&instance, state, reason, until, outage, now).await {
                tracing::warn!(%instance, error = %e, "its standing could not be written down");
            }
        });
    }
}

/// How an instance stood when it was last remembered. Why it was down is told anew by its probe.
pub fn stood(lane: &LaneView, now: Timestamp) -> Standing {
    let why = lane.reason.clone().unwrap_or_default();
    match (lane.state.as_str(), lane.until) {
        ("down", _) => Standing::Down { cause: DownCause::Unclear, why },
        ("resting", Some(until)) if until > now => Standing::Resting { until, why },
        _ => Standing::Working,
    }
}
