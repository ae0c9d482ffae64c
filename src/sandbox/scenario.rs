//! What a sandbox does wrong, and when.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use secrecy::SecretString;

use crate::domain::ack::Ack;
use crate::domain::draw::Draw;
use crate::domain::time::Millis;
use crate::sandbox::Wait;
use crate::sandbox::contract::Endpoint;

/// Everything a sandbox does besides keeping the contract.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Waiting before a send is carried out, without a fault.
    pub doing: Wait,
    /// Waiting between carrying out and answering, without a fault.
    pub answering: Wait,
    /// How acks come.
    pub acks: AckPlan,
    /// How they come for messages to some chats (with `*`) that hold some text: the first that fits.
    pub acks_of: Vec<(Meets, AckPlan)>,
    /// What is written back.
    pub replies: Vec<Answer>,
    /// How long after it was carried out a message is told of as one of the account's own; never if absent.
    pub echo: Option<Millis>,
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

/// Which messages something is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meets {
    /// Only those to these chats, with `*`.
    pub chat: Option<String>,
    /// Only those that hold this text.
    pub text: Option<String>,
}

impl Meets {
    /// Whether a message is meant.
    pub fn fits(&self, chat: &str, text: &str) -> bool {
        self.chat.as_ref().is_none_or(|p| fits(p, chat)) && self.text.as_ref().is_none_or(|t| text.contains(t.as_str()))
    }
}

/// What somebody writes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// To which messages.
    pub to: Meets,
    /// How long after they were carried out.
    pub after: Millis,
    /// What.
    pub text: String,
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
    /// Which calls it meets.
    pub(super) on: On,
    /// Only these chats, with `*`.
    pub(super) chat: Option<String>,
    /// Only texts that hold this.
    pub(super) text: Option<String>,
    /// How many it lets pass first.
    pub(super) skip: u32,
    /// How often it is played; without end if absent.
    pub(super) times: Option<u32>,
    /// In how many of a hundred such calls it is played, drawn anew for each.
    pub(super) percent: u32,
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
pub(super) enum On {
    Send,
    Typing,
    StopTyping,
    Session,
    History,
    Delete,
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
            On::Delete => endpoint == Endpoint::Delete,
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
                let in_turn = n >= fault.skip && fault.times.is_none_or(|t| n < fault.skip.saturating_add(t));
                if in_turn
                    && (fault.percent >= 100 || self.between((Millis(0), Millis(99))).0 < i64::from(fault.percent))
                {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::scenario_file::parse;
    use std::path::Path;

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
}
