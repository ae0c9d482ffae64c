//! What a sandbox does wrong, and when: read from a YAML file with the same care as a jobs file.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use secrecy::SecretString;

use crate::config::read::{Map, Reading, describe};
use crate::config::tree::{self, Node, Value};
use crate::config::{ConfigError, Finding};
use crate::domain::ack::Ack;
use crate::domain::draw::Draw;
use crate::domain::time::Millis;
use crate::sandbox::Wait;
use crate::sandbox::contract::Endpoint;

/// Longest wait a scenario may ask for.
const LONGEST: Millis = Millis(86_400_000);

/// Everything a sandbox does besides keeping the contract.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Waiting before a send is carried out, without a fault.
    pub doing: Wait,
    /// Waiting between carrying out and answering, without a fault.
    pub answering: Wait,
    /// How acks come.
    pub acks: AckPlan,
    /// The shape of a success.
    pub shape: Shape,
    /// The only token taken; any if absent.
    pub access_token: Option<SecretString>,
    /// Stretches since the start in which the session is down: from, length.
    pub session_down: Vec<(Millis, Millis)>,
    /// Chats that are not on WhatsApp, with `*`.
    pub not_on_whatsapp: Vec<String>,
    /// Faults, the first that fits is played.
    pub faults: Vec<Fault>,
    /// The seed of its draws.
    pub seed: u64,
}

/// The engine a success looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shape {
    /// The message object of the documentation.
    #[default]
    Webjs,
    /// A serialized id as a string.
    Gows,
    /// A key with the bare id.
    Noweb,
    /// The envelope of the old API.
    Legacy,
}

/// How acks come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckPlan {
    /// The levels in the order posted.
    pub levels: Vec<Ack>,
    /// Before the first.
    pub first: Millis,
    /// Between two.
    pub step: Millis,
    /// How often each is posted.
    pub repeat: u32,
    /// Whether the order is shuffled, anew for each message.
    pub shuffle: bool,
}

impl Default for AckPlan {
    fn default() -> Self {
        AckPlan {
            levels: vec![Ack::Server, Ack::Device, Ack::Read],
            first: Millis(150),
            step: Millis(350),
            repeat: 1,
            shuffle: false,
        }
    }
}

impl AckPlan {
    /// Waits and levels for one message.
    pub fn steps(&self, gateway_id: &str) -> Vec<(Millis, Ack)> {
        let mut levels = self.levels.clone();
        if self.shuffle {
            let draw = Draw::new(0, "acks").with_text(gateway_id);
            levels.sort_by_key(|a| draw.with_number(a.level()).between(0, i64::MAX));
        }
        let mut wait = self.first;
        let mut steps = Vec::new();
        for ack in levels {
            for _ in 0..self.repeat {
                steps.push((wait, ack));
                wait = Millis::ZERO;
            }
            wait = self.step;
        }
        steps
    }
}

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    on: On,
    chat: Option<String>,
    text: Option<String>,
    skip: u32,
    times: Option<u32>,
    /// Before answering.
    pub delay: Millis,
    /// Before doing.
    pub do_delay: Millis,
    /// Whether the call is carried out all the same.
    pub does: Does,
    /// How it is answered.
    pub manner: Manner,
}

/// Which calls a fault meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Send,
    Typing,
    StopTyping,
    Session,
    History,
    Any,
}

/// Whether a faulty call is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    /// Before the delay and the answer.
    Before,
    /// After the delay, when the caller may have given up.
    After,
    /// Not at all.
    Never,
}

/// How a faulty call is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Manner {
    /// With a status and a body.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        body: String,
        /// The header of that name.
        retry_after: Option<String>,
    },
    /// Never.
    Hang,
    /// By a reset of the connection.
    Reset,
    /// One byte at a time.
    Drip(Millis),
    /// With a page that is no JSON.
    Garbage,
    /// With a redirect.
    Redirect(String),
    /// As usual, only later.
    None,
}

impl Fault {
    /// A word for the journal.
    pub fn name(&self) -> &'static str {
        match self.manner {
            Manner::Answer { .. } => "answer",
            Manner::Hang => "hang",
            Manner::Reset => "reset",
            Manner::Drip(_) => "drip",
            Manner::Garbage => "garbage",
            Manner::Redirect(_) => "redirect",
            Manner::None => "delay",
        }
    }

    /// The status of its answer, where one comes.
    pub fn status(&self) -> Option<u16> {
        match &self.manner {
            Manner::Answer { status, .. } => Some(*status),
            Manner::Hang | Manner::Reset => None,
            Manner::Drip(_) | Manner::Garbage | Manner::None => Some(200),
            Manner::Redirect(_) => Some(302),
        }
    }

    fn meets(&self, endpoint: Endpoint, chat: Option<&str>, text: Option<&str>) -> bool {
        let on = match self.on {
            On::Send => endpoint.is_send(),
            On::Typing => endpoint == Endpoint::StartTyping,
            On::StopTyping => endpoint == Endpoint::StopTyping,
            On::Session => endpoint == Endpoint::SessionInfo,
            On::History => endpoint == Endpoint::History,
            On::Any => true,
        };
        on && self.chat.as_ref().is_none_or(|p| chat.is_some_and(|c| fits(p, c)))
            && self.text.as_ref().is_none_or(|t| text.is_some_and(|x| x.contains(t.as_str())))
    }
}

impl Scenario {
    /// Whether a chat is none.
    pub fn is_not_on_whatsapp(&self, chat: &str) -> bool {
        self.not_on_whatsapp.iter().any(|p| fits(p, chat))
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// How often each fault was met and played.
pub(super) struct Plays {
    faults: Vec<(Fault, AtomicU32)>,
    draw: Draw,
    draws: AtomicI64,
}

impl Plays {
    pub(super) fn new(scenario: &Scenario) -> Plays {
        Plays {
            faults: scenario.faults.iter().map(|f| (f.clone(), AtomicU32::new(0))).collect(),
            draw: Draw::new(scenario.seed, "sandbox"),
            draws: AtomicI64::new(0),
        }
    }

    /// The fault to play for a call, if any.
    pub(super) fn next(&self, endpoint: Endpoint, chat: Option<&str>, text: Option<&str>) -> Option<Fault> {
        for (fault, met) in &self.faults {
            if fault.meets(endpoint, chat, text) {
                let n = met.fetch_add(1, Ordering::SeqCst);
                if n >= fault.skip && fault.times.is_none_or(|t| n < fault.skip.saturating_add(t)) {
                    return Some(fault.clone());
                }
            }
        }
        None
    }

    /// A length drawn from a range.
    pub(super) fn between(&self, (low, high): Wait) -> Millis {
        if high <= Millis::ZERO {
            return Millis::ZERO;
        }
        let n = self.draws.fetch_add(1, Ordering::Relaxed);
        Millis(self.draw.with_number(n).between(low.0, high.0))
    }
}

/// Reads a scenario file.
///
/// # Errors
/// [`ConfigError`] with every error of the file.
pub fn load(path: &Path) -> Result<Scenario, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        let (file, message) = (path.display().to_string(), format!("the scenario cannot be read: {e}"));
        ConfigError(vec![Finding { file, line: 0, column: 0, message, hint: None }])
    })?;
    parse(path, &text)
}

/// Reads the text of a scenario.
///
/// # Errors
/// [`ConfigError`] with every error found.
pub fn parse(path: &Path, text: &str) -> Result<Scenario, ConfigError> {
    let env = |name: &str| std::env::var(name).ok();
    let mut reading = Reading::new(path, &env, false);
    let scenario = match tree::parse(text) {
        Ok(Some(root)) => reading.scenario(&root),
        Ok(None) => Some(Scenario::default()),
        Err(e) => {
            let node = Node { line: e.line, column: e.column, value: Value::Null };
            reading.error(&node, e.message, None);
            None
        }
    };
    match scenario {
        Some(scenario) if reading.errors.is_empty() => Ok(scenario),
        _ => Err(ConfigError(reading.errors)),
    }
}

impl Reading<'_> {
    fn scenario(&mut self, root: &Node) -> Option<Scenario> {
        let known = [
            "seed",
            "doing",
            "answering",
            "acks",
            "shape",
            "access_token",
            "session_down",
            "not_on_whatsapp",
            "faults",
        ];
        let map = self.map(root, "the scenario", &known, &[])?;
        let mut scenario = Scenario::default();
        if let Some(n) = map.get("seed") {
            scenario.seed = u64::from(self.whole(n, "seed", 0, u32::MAX)?);
        }
        if let Some(n) = map.get("doing") {
            scenario.doing = self.range(n, "doing")?;
        }
        if let Some(n) = map.get("answering") {
            scenario.answering = self.range(n, "answering")?;
        }
        if let Some(n) = map.get("acks") {
            scenario.acks = self.ack_plan(n)?;
        }
        if let Some(n) = map.get("shape") {
            let shape = |t: &str| match t {
                "webjs" => Some(Shape::Webjs),
                "gows" => Some(Shape::Gows),
                "noweb" => Some(Shape::Noweb),
                "legacy" => Some(Shape::Legacy),
                _ => None,
            };
            scenario.shape = self.word(n, "shape", &["webjs", "gows", "noweb", "legacy"], shape)?;
        }
        if let Some(n) = map.get("access_token") {
            scenario.access_token = Some(SecretString::from(self.text(n, "access_token")?));
        }
        for n in list(map.get("session_down")) {
            let m = self.map(n, "session_down", &["from", "for"], &[])?;
            let from = m.get("from").map_or(Some(Millis::ZERO), |n| self.duration(n, "from"))?;
            let length = m.get("for").map_or(Some(LONGEST), |n| self.duration(n, "for"))?;
            scenario.session_down.push((from, length));
        }
        for n in list(map.get("not_on_whatsapp")) {
            scenario.not_on_whatsapp.push(self.text(n, "not_on_whatsapp")?);
        }
        for n in list(map.get("faults")) {
            if let Some(fault) = self.fault(n) {
                scenario.faults.push(fault);
            }
        }
        Some(scenario)
    }

    fn ack_plan(&mut self, node: &Node) -> Option<AckPlan> {
        let map = self.map(node, "acks", &["levels", "first", "step", "repeat", "shuffle"], &[])?;
        let mut plan = AckPlan::default();
        if map.has("levels") {
            let words = Ack::ALL.map(Ack::name);
            let levels: Vec<Option<Ack>> =
                list(map.get("levels")).into_iter().map(|n| self.word(n, "a level", &words, Ack::from_name)).collect();
            plan.levels = levels.into_iter().collect::<Option<_>>()?;
        }
        if let Some(n) = map.get("first") {
            plan.first = self.duration(n, "acks.first")?;
        }
        if let Some(n) = map.get("step") {
            plan.step = self.duration(n, "acks.step")?;
        }
        if let Some(n) = map.get("repeat") {
            plan.repeat = self.whole(n, "acks.repeat", 1, 100)?;
        }
        if let Some(n) = map.get("shuffle") {
            plan.shuffle = self.flag(n, "acks.shuffle")?;
        }
        Some(plan)
    }

    fn fault(&mut self, node: &Node) -> Option<Fault> {
        let known = [
            "on", "chat", "text", "skip", "times", "delay", "do_delay", "do", "answer", "hang", "reset", "drip",
            "garbage", "redirect",
        ];
        let map = self.map(node, "a fault", &known, &[])?;
        let on = |t: &str| match t {
            "send" => Some(On::Send),
            "typing" => Some(On::Typing),
            "stop-typing" => Some(On::StopTyping),
            "session" => Some(On::Session),
            "history" => Some(On::History),
            "any" => Some(On::Any),
            _ => None,
        };
        let words = ["send", "typing", "stop-typing", "session", "history", "any"];
        let on = map.get("on").map_or(Some(On::Send), |n| self.word(n, "on", &words, on))?;
        let manner = self.manner_of_fault(&map)?;
        // What is answered as usual was done; what is answered wrongly was not, unless the scenario says so.
        let usual = if matches!(manner, Manner::None | Manner::Drip(_)) { Does::Before } else { Does::Never };
        let does = |t: &str| match t {
            "before" => Some(Does::Before),
            "after" => Some(Does::After),
            "never" => Some(Does::Never),
            _ => None,
        };
        let does = map.get("do").map_or(Some(usual), |n| self.word(n, "do", &["before", "after", "never"], does))?;
        Some(Fault {
            on,
            chat: map.get("chat").map_or(Some(None), |n| self.text(n, "chat").map(Some))?,
            text: map.get("text").map_or(Some(None), |n| self.text(n, "text").map(Some))?,
            skip: map.get("skip").map_or(Some(0), |n| self.whole(n, "skip", 0, u32::MAX))?,
            times: map.get("times").map_or(Some(None), |n| self.whole(n, "times", 1, u32::MAX).map(Some))?,
            delay: map
                .get("delay")
                .map_or(Some(Millis::ZERO), |n| self.duration_in(n, "delay", Millis::ZERO, LONGEST))?,
            do_delay: map
                .get("do_delay")
                .map_or(Some(Millis::ZERO), |n| self.duration_in(n, "do_delay", Millis::ZERO, LONGEST))?,
            does,
            manner,
        })
    }

    fn manner_of_fault(&mut self, map: &Map<'_>) -> Option<Manner> {
        let kinds = ["answer", "hang", "reset", "drip", "garbage", "redirect"];
        let given: Vec<&str> = kinds.into_iter().filter(|k| map.get(k).is_some()).collect();
        let node = match given.as_slice() {
            [] => return Some(Manner::None),
            [one] => map.get(one)?,
            _ => {
                self.error(map.node, format!("a fault is one of {}, not several", given.join(", ")), None);
                return None;
            }
        };
        match given[0] {
            "answer" => {
                let m = self.map(node, "answer", &["status", "body", "retry_after"], &[])?;
                let Some(status) = m.get("status") else {
                    self.error(node, "answer needs a status", None);
                    return None;
                };
                Some(Manner::Answer {
                    status: u16::try_from(self.whole(status, "status", 200, 599)?).ok()?,
                    body: m.get("body").map_or(Some(String::new()), |n| self.text(n, "body"))?,
                    retry_after: m.get("retry_after").map_or(Some(None), |n| self.text(n, "retry_after").map(Some))?,
                })
            }
            "drip" => Some(Manner::Drip(self.duration(node, "drip")?)),
            "redirect" => Some(Manner::Redirect(self.text(node, "redirect")?)),
            kind => match &node.value {
                Value::Scalar { text, .. } if text == "true" => Some(match kind {
                    "hang" => Manner::Hang,
                    "reset" => Manner::Reset,
                    _ => Manner::Garbage,
                }),
                _ => {
                    self.error(node, format!("{kind} can only be true, not {}", describe(node)), None);
                    None
                }
            },
        }
    }
}

fn list(node: Option<&Node>) -> Vec<&Node> {
    match node.map(|n| (&n.value, n)) {
        None => Vec::new(),
        Some((Value::List(list), _)) => list.iter().collect(),
        Some((_, node)) => vec![node],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_with_stars() {
        assert!(fits("2012*", "201234@c.us") && fits("*@g.us", "1@g.us") && fits("a*b*c", "axxbyyc"));
        assert!(!fits("2012*", "301234@c.us") && !fits("a", "ab") && fits("a", "a") && !fits("a*b", "a"));
    }

    #[test]
    fn faults_are_played_as_often_as_they_say() {
        let text = "faults:\n  - { on: send, skip: 1, times: 2, answer: { status: 500 } }\n";
        let scenario = parse(Path::new("s.yaml"), text).unwrap();
        let plays = Plays::new(&scenario);
        let met: Vec<bool> = (0..5).map(|_| plays.next(Endpoint::Text, Some("1@c.us"), None).is_some()).collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert!(plays.next(Endpoint::StartTyping, Some("1@c.us"), None).is_none());
    }

    #[test]
    fn errors_of_a_scenario_are_told_with_their_place() {
        let error = parse(Path::new("s.yaml"), "faults:\n  - { on: sent, hang: true }\nshap: gows\n").unwrap_err();
        assert_eq!(error.0.len(), 2);
        assert!(error.to_string().contains("did you mean 'send'"), "{error}");
    }
}
