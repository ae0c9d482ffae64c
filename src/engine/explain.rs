//! Why a message waits, and when it leaves at the earliest: the gates it has to pass, one by one, and a forecast made
//! by the very engine that will send it, run ahead in virtual time with a gateway that answers at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::domain::claim::{Ours, Wanted};
use crate::domain::flow::{Flow, Room};
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Due, Verdict};
use crate::domain::pace::Rule;
use crate::domain::state::{Reason, State, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window;
use crate::engine::{Effect, Engine, Holds, Input, LaneStart};

/// A gate that a message passes on its way: a closed list, each with its sentence in the reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GateName {
    /// `due`
    Due,
    /// `retry`
    Retry,
    /// `person`
    Person,
    /// `evidence`
    Evidence,
    /// `planning`
    Planning,
    /// `consent`
    Consent,
    /// `frequency`
    Frequency,
    /// `pause`
    Pause,
    /// `instance`
    Instance,
    /// `sequence`
    Sequence,
    /// `window`
    Window,
    /// `chat`
    Chat,
    /// `line`
    Line,
    /// `rate`
    Rate,
    /// `gap`
    Gap,
    /// `per_hour`
    PerHour,
    /// `per_day`
    PerDay,
    /// `rest`
    Rest,
    /// `daemon`
    Daemon,
}

impl GateName {
    /// Every gate with its sentence, in the order in which they are shown.
    pub const ALL: [(GateName, &'static str, &'static str); 19] = [
        (GateName::Due, "due", "Its instant has not come."),
        (GateName::Retry, "retry", "It was refused for now, or never left, and waits for its next try."),
        (GateName::Person, "person", "It is held: somebody has to release it."),
        (GateName::Evidence, "evidence", "It is in doubt: evidence is sought whether it went out."),
        (GateName::Planning, "planning", "The rest of its broadcast or import is still being written."),
        (GateName::Consent, "consent", "Its recipient is suppressed: it is skipped when its time comes."),
        (
            GateName::Frequency,
            "frequency",
            "Its recipient has had as many messages as the `frequency` of its job allows: it is skipped when its time comes.",
        ),
        (GateName::Pause, "pause", "Somebody paused everything, its instance, its job or its campaign."),
        (GateName::Instance, "instance", "Its instance rests, or cannot send at all."),
        (GateName::Sequence, "sequence", "An earlier message of its sequence has not been sent yet."),
        (GateName::Window, "window", "Its window, or that of its instance, is closed."),
        (GateName::Chat, "chat", "Another message to the same chat goes first."),
        (GateName::Line, "line", "Other messages of its instance go first, or all places of `concurrency` are taken."),
        (GateName::Rate, "rate", "The instance has used up its `rate`."),
        (GateName::Gap, "gap", "The `gap` after the send before it is not over."),
        (GateName::PerHour, "per_hour", "The instance has used up its `per_hour`."),
        (GateName::PerDay, "per_day", "The instance has used up its `per_day`."),
        (GateName::Rest, "rest", "The instance rests after a `batch`."),
        (
            GateName::Daemon,
            "daemon",
            "No daemon runs on this database, or the one that runs does not serve its instance yet.",
        ),
    ];

    /// The code used in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(g, ..)| *g == self).map_or("", |(_, name, _)| name)
    }
}

/// A gate, and whether it is passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// Which.
    pub name: GateName,
    /// Whether it holds the message no more.
    pub passed: bool,
    /// Until when it holds, as far as that is known.
    pub until: Option<Timestamp>,
    /// For a person.
    pub note: Option<String>,
}

/// Everything that decides about one message.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The message, with its windows.
    pub due: Due,
    /// Where its row is.
    pub state: StateName,
    /// Why it is there.
    pub reason: Option<Reason>,
    /// When typing was shown, where it is being typed to now.
    pub typing_at: Option<Timestamp>,
    /// When it leaves, where it is being typed to now.
    pub slot: Option<Timestamp>,
    /// When evidence is next sought, where it is in doubt.
    pub look_at: Option<Timestamp>,
    /// Whether its occurrence is still hidden.
    pub planning: bool,
    /// Whether its recipient is suppressed.
    pub suppressed: bool,
    /// Pauses that stop it: until when, and why.
    pub pauses: Vec<(Option<Timestamp>, Option<String>)>,
    /// Where its instance does not send: until when, and why.
    pub blocked: Option<(Option<Timestamp>, String)>,
    /// The message of its sequence that must go before it, where that has not been sent.
    pub waits_for: Option<MessageId>,
    /// Messages of the same instance that may go before it.
    pub others: Vec<Due>,
    /// Whether there are more of those than can be looked at.
    pub too_many: bool,
    /// Messages of the same instance that are being typed, with the instants at which they leave.
    pub typed: Vec<(Due, Timestamp)>,
    /// Its lane.
    pub lane: LaneStart,
    /// Whether a daemon serves the database.
    pub served: bool,
}

/// Why a message waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// Its gates, passed and not.
    pub gates: Vec<Gate>,
    /// The earliest instant it can leave; `None` where that depends on a person or the gateway.
    pub earliest: Option<Timestamp>,
    /// When its typing then begins.
    pub typing_from: Option<Timestamp>,
}

/// Explains a situation at `now`.
pub fn explain(s: &Situation, now: Timestamp) -> Explanation {
    let mut gates = Vec::new();
    let mut gate = |name, passed, until, note| gates.push(Gate { name, passed, until, note });
    match s.state {
        StateName::Scheduled | StateName::Claimed => {}
        StateName::Typing => {
            let slot = s.slot;
            gate(GateName::Due, false, slot, Some("it is being typed".to_owned()));
            return Explanation { gates, earliest: slot, typing_from: s.typing_at };
        }
        StateName::Held => gate(GateName::Person, false, None, s.reason.map(|r| r.name().to_owned())),
        StateName::InDoubt => gate(GateName::Evidence, false, s.look_at, None),
        StateName::Sending
        | StateName::Sent
        | StateName::Failed
        | StateName::Cancelled
        | StateName::Expired
        | StateName::Skipped => {}
    }
    if !matches!(s.state, StateName::Scheduled | StateName::Claimed) {
        return Explanation { gates, earliest: None, typing_from: None };
    }
    let target = s.due.target;
    if s.due.attempts > 0 {
        let why = s.reason.map(|r| r.name().to_owned());
        gate(GateName::Retry, target <= now, Some(target), why);
    } else {
        gate(GateName::Due, s.due.due_at <= now, Some(s.due.due_at), None);
    }
    if s.planning {
        gate(GateName::Planning, false, None, None);
    }
    if s.suppressed {
        gate(GateName::Consent, false, None, None);
    }
    let outlook = outlook(s, now);
    if matches!(outlook, Outlook::TooOften) {
        gate(GateName::Frequency, false, None, None);
    }
    for (until, note) in &s.pauses {
        gate(GateName::Pause, false, *until, note.clone());
    }
    if let Some((until, why)) = &s.blocked {
        gate(GateName::Instance, false, *until, Some(why.clone()));
    }
    if let Some(id) = s.waits_for {
        gate(GateName::Sequence, false, None, Some(format!("{id} goes before it")));
    }
    if !s.due.hours.is_empty() {
        let open = window::next_open(&s.due.hours, now.max(s.due.due_at));
        let at = now.max(s.due.due_at);
        gate(GateName::Window, open == Some(at), open, None);
    }
    if s.too_many {
        gate(
            GateName::Line,
            false,
            None,
            Some(format!("more than {} messages of its instance wait before it", s.others.len())),
        );
    }
    let forecast = match outlook {
        Outlook::Leaves(forecast) => Some(forecast),
        Outlook::TooOften | Outlook::Unknown => None,
    };
    if let Some(f) = &forecast {
        for (name, note) in &f.held_by {
            gate(*name, false, Some(f.leaves_at), note.clone());
        }
    }
    if !s.served {
        gate(GateName::Daemon, false, None, Some(UNSERVED.to_owned()));
    }
    let earliest = forecast.as_ref().map(|f| f.leaves_at);
    Explanation { gates, earliest, typing_from: forecast.and_then(|f| f.typing_from) }
}

/// What becomes of a message, as far as that is foreseen.
fn outlook(s: &Situation, now: Timestamp) -> Outlook {
    // From when on only the lane decides: what nobody can foresee has no earliest instant.
    let mut ends = s.pauses.iter().map(|(until, _)| *until).chain(s.blocked.iter().map(|(until, _)| *until));
    let free = ends.try_fold(now, |all, until| Some(all.max(until?)));
    match free.filter(|_| !s.planning && !s.suppressed && s.waits_for.is_none() && !s.too_many) {
        Some(from) => forecast(s, from),
        None if s.due.allowed_from.is_some_and(|from| from > now.max(s.due.target)) => Outlook::TooOften,
        None => Outlook::Unknown,
    }
}

/// What running the engine ahead shows.
struct Forecast {
    leaves_at: Timestamp,
    typing_from: Option<Timestamp>,
    held_by: Vec<(GateName, Option<String>)>,
}

/// What becomes of a message.
enum Outlook {
    Leaves(Forecast),
    /// Once its turn comes its recipient has had as many as `frequency` allows.
    TooOften,
    Unknown,
}

/// What helps where nobody serves an instance.
const UNSERVED: &str = "no daemon serves its instance: start `onthedot run`, or restart it where the instance is new";

/// Steps after which a forecast is given up: some hundred thousand messages before this one.
const STEPS: u32 = 5_000_000;

/// How far ahead is looked.
const HORIZON: Millis = Millis(400 * 86_400_000);

/// The store of a forecast: what waits, by flow and in the order in which it is claimed.
#[derive(Default)]
struct Waiting {
    flows: BTreeMap<Flow, BTreeSet<(Timestamp, MessageId)>>,
    rows: HashMap<MessageId, Due>,
}

impl Waiting {
    fn insert(&mut self, due: Due) {
        self.flows.entry(due.flow).or_default().insert((due.target - due.lead, due.id));
        self.rows.insert(due.id, due);
    }

    fn remove(&mut self, id: MessageId) -> Option<Due> {
        let due = self.rows.remove(&id)?;
        self.flows.get_mut(&due.flow)?.remove(&(due.target - due.lead, due.id));
        Some(due)
    }

    fn claim(
        &self,
        instance: &InstanceName,
        Wanted { horizon, limit, strict_limit, except, held: in_hand }: &Wanted,
    ) -> Input {
        let held: HashSet<&MessageId> = except.iter().collect();
        let end = (*horizon, MessageId([0xff; 16]));
        let of = |flow: &Flow, from: usize, most: usize| -> Vec<Due> {
            let order = self.flows.get(flow).into_iter().flat_map(|o| o.range(..=end));
            let due = order.filter(|(_, id)| !held.contains(id)).skip(from).take(most);
            due.filter_map(|(_, id)| self.rows.get(id).cloned()).collect()
        };
        let (strict, turns): (Vec<Flow>, Vec<Flow>) = self.flows.keys().partition(|f| f.class().is_strict());
        let mut messages: Vec<Due> =
            strict.iter().flat_map(|flow| of(flow, 0, *strict_limit)).take(*strict_limit).collect();
        let mut room = Room::new(*limit, in_hand, turns.into_iter().filter(|flow| !of(flow, 0, 1).is_empty()));
        let mut brought: HashMap<Flow, usize> = HashMap::new();
        loop {
            let round = room.round();
            if round.is_empty() {
                break;
            }
            for (flow, part) in round {
                let from = brought.entry(flow).or_default();
                let some = of(&flow, *from, part);
                *from += some.len();
                room.brought(flow, some.len());
                messages.extend(some);
            }
        }
        let later = self.flows.iter().filter(|(flow, _)| !room.is_short_of(**flow));
        let later = later.filter_map(|(_, o)| o.iter().map(|(wake, _)| *wake).find(|w| w > horizon));
        Input::Claimed { instance: instance.clone(), messages, more: room.is_short(), next_wake: later.min() }
    }
}

/// Runs the engine ahead from `from` until the message leaves.
fn forecast(s: &Situation, from: Timestamp) -> Outlook {
    let id = s.due.id;
    let mut waiting = Waiting::default();
    s.others.iter().chain([&s.due]).for_each(|d| waiting.insert(d.clone()));
    let mut engine = Engine::new(vec![s.lane.clone()], from);
    for (due, slot) in &s.typed {
        engine.adopt(due.clone(), (*slot).max(from), from);
    }
    let (mut now, end) = (from, from + HORIZON);
    let mut typing_from = None;
    // Messages that leave before it, and how many of those go to its chat.
    let (mut ahead, mut in_chat) = (0, 0);
    for _ in 0..STEPS {
        let Some(effect) = engine.poll_effect(now) else {
            let Some(next) = engine.poll_wakeup().filter(|t| *t <= end) else { return Outlook::Unknown };
            now = next.max(now);
            continue;
        };
        let answer = match effect {
            Effect::Claim { instance, wanted } => waiting.claim(&instance, &wanted),
            Effect::Verify { ids } => {
                let known =
                    |id| waiting.rows.get(&id).map(|d| Ours { id, due_at: d.due_at, allowed_from: d.allowed_from });
                Input::Ours { messages: ids.into_iter().filter_map(known).collect() }
            }
            Effect::StartTyping { id: typed, .. } => {
                if typed == id {
                    typing_from = typing_from.or(Some(now));
                }
                Input::TypingAnswered { id: typed, status: Some(200), response: String::new() }
            }
            Effect::Persist(change) => {
                let changed = change.id;
                if let State::Scheduled { wake_at } = change.transition.to()
                    && let Some(mut due) = waiting.remove(changed)
                {
                    due.target = *wake_at + due.lead;
                    waiting.insert(due);
                }
                match (change.transition.to().name(), change.transition.reason()) {
                    (StateName::Expired, _) if changed == id => return Outlook::Unknown,
                    (StateName::Skipped, Some(Reason::TooOften)) if changed == id => return Outlook::TooOften,
                    _ => {}
                }
                Input::Persisted { id: changed, verdict: Some(Verdict::Applied) }
            }
            Effect::Send { id: sent, slot } if sent == id => {
                let held_by = held_by(&engine, s, slot, (ahead, in_chat));
                return Outlook::Leaves(Forecast { leaves_at: slot, typing_from, held_by });
            }
            Effect::Send { id: sent, .. } => {
                if let Some(due) = waiting.remove(sent) {
                    ahead += 1;
                    in_chat += u32::from(due.chat == s.due.chat);
                }
                Input::accepted(sent, now)
            }
            Effect::DropTyping { .. }
            | Effect::StopTyping { .. }
            | Effect::Probe { .. }
            | Effect::Lane { .. }
            | Effect::Release { .. } => continue,
        };
        engine.handle(answer, now);
    }
    Outlook::Unknown
}

/// What made the slot later than the message could have left.
fn held_by(
    engine: &Engine,
    s: &Situation,
    slot: Timestamp,
    (ahead, in_chat): (u32, u32),
) -> Vec<(GateName, Option<String>)> {
    let mut held = Vec::new();
    let target = s.due.target;
    if slot <= target {
        return held;
    }
    if in_chat > 0 {
        held.push((
            GateName::Chat,
            Some(match in_chat {
                1 => "1 to the same chat goes before it".to_owned(),
                n => format!("{n} to the same chat go before it"),
            }),
        ));
    }
    if ahead > in_chat {
        held.push((
            GateName::Line,
            Some(match ahead {
                1 => "1 message of its instance goes before it".to_owned(),
                n => format!("{n} messages of its instance go before it"),
            }),
        ));
    }
    match engine.holds(s.due.id) {
        Some(Holds::Pace(rule)) => held.push((
            match rule {
                Rule::Rate => GateName::Rate,
                Rule::Gap => GateName::Gap,
                Rule::PerHour => GateName::PerHour,
                Rule::PerDay => GateName::PerDay,
                Rule::Rest => GateName::Rest,
            },
            None,
        )),
        Some(Holds::Window) | None => {}
    }
    held
}
