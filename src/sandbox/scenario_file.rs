//! Reading a scenario from a YAML file, with the same care as a jobs file.

use std::path::Path;

use secrecy::SecretString;

use crate::config::read::{Map, Reading, describe};
use crate::config::tree::{self, Node, Value};
use crate::config::{ConfigError, Finding};
use crate::domain::ack::Ack;
use crate::domain::time::Millis;
use crate::sandbox::scenario::{AckPlan, Answer, Does, Fault, Manner, Meets, On, Scenario, Shape};

/// What says which messages are meant.
const MEETS_KEYS: [&str; 2] = ["chat", "text"];

/// What says how acks come.
const ACK_KEYS: [&str; 5] = ["levels", "first", "step", "repeat", "shuffle"];

/// Longest wait a scenario may ask for.
const LONGEST: Millis = Millis(86_400_000);

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
            "acks_of",
            "replies",
            "echo",
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
            scenario.acks = self.ack_plan(n, &ACK_KEYS)?.1;
        }
        for n in list(map.get("acks_of")) {
            let known: Vec<&str> = MEETS_KEYS.iter().chain(&ACK_KEYS).copied().collect();
            let plan = self.ack_plan(n, &known)?;
            scenario.acks_of.push(plan);
        }
        for n in list(map.get("replies")) {
            let m = self.map(n, "replies", &["chat", "text", "after", "say"], &[])?;
            let to = self.meets(&m)?;
            let after = m.get("after").map_or(Some(Millis::seconds(1)), |n| self.duration(n, "after"))?;
            let text = m.get("say").map_or(Some("ok".to_owned()), |n| self.text(n, "say"))?;
            scenario.replies.push(Answer { to, after, text });
        }
        if let Some(n) = map.get("echo") {
            scenario.echo = Some(self.duration_in(n, "echo", Millis::ZERO, LONGEST)?);
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

    fn meets(&mut self, map: &Map<'_>) -> Option<Meets> {
        let mut meets = Meets::default();
        if let Some(n) = map.get("chat") {
            meets.chat = Some(self.text(n, "chat")?);
        }
        if let Some(n) = map.get("text") {
            meets.text = Some(self.text(n, "text")?);
        }
        Some(meets)
    }

    fn ack_plan(&mut self, node: &Node, known: &[&str]) -> Option<(Meets, AckPlan)> {
        let map = self.map(node, "acks", known, &[])?;
        let meets = self.meets(&map)?;
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
        Some((meets, plan))
    }

    fn fault(&mut self, node: &Node) -> Option<Fault> {
        let known = [
            "on", "chat", "text", "skip", "times", "percent", "delay", "do_delay", "do", "answer", "hang", "reset",
            "drip", "garbage", "redirect",
        ];
        let map = self.map(node, "a fault", &known, &[])?;
        let on = |t: &str| match t {
            "send" => Some(On::Send),
            "typing" => Some(On::Typing),
            "stop-typing" => Some(On::StopTyping),
            "session" => Some(On::Session),
            "history" => Some(On::History),
            "delete" => Some(On::Delete),
            "any" => Some(On::Any),
            _ => None,
        };
        let words = ["send", "typing", "stop-typing", "session", "history", "delete", "any"];
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
            percent: map.get("percent").map_or(Some(100), |n| self.whole(n, "percent", 1, 100))?,
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
    fn errors_of_a_scenario_are_told_with_their_place() {
        let error = parse(Path::new("s.yaml"), "faults:\n  - { on: sent, hang: true }\nshap: gows\n").unwrap_err();
        assert_eq!(error.0.len(), 2);
        assert!(error.to_string().contains("did you mean 'send'"), "{error}");
    }
}
