//! How a gateway answered lately, and what that makes likely: a play by chance draws each answer from those that were
//! seen, late, slow and refused ones among them.

use crate::domain::draw::Draw;
use crate::domain::id::MessageId;
use crate::domain::message::SendFacts;
use crate::domain::outcome::Outcome;
use crate::domain::time::{Millis, Timestamp};
use crate::engine::Input;

/// One answer that was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// How much later than its slot the request left.
    pub late: Millis,
    /// How long it took.
    pub took: Millis,
    /// What it was.
    pub kind: Answered,
}

/// What an answer was. An instance that cannot send at all is an outage, which nobody foresees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// `accepted`
    Accepted,
    /// `refused`
    Refused,
    /// `refused_for_now`
    RefusedForNow,
    /// `not_now`
    NotNow,
    /// `not_sent`
    NotSent,
    /// `in_doubt`
    InDoubt,
}

impl Answered {
    /// What an outcome's word stands for; `None` for an outage.
    pub fn from_outcome(word: &str) -> Option<Answered> {
        Some(match word {
            "accepted" => Answered::Accepted,
            "refused" => Answered::Refused,
            "refused_for_now" => Answered::RefusedForNow,
            "not_now" => Answered::NotNow,
            "not_sent" => Answered::NotSent,
            "in_doubt" => Answered::InDoubt,
            _ => return None,
        })
    }

    fn outcome(self) -> Outcome {
        let why = String::new;
        match self {
            Answered::Accepted => Outcome::Accepted { gateway_id: String::new(), ack: None },
            Answered::Refused => Outcome::Refused { why: why() },
            Answered::RefusedForNow => Outcome::RefusedForNow { why: why() },
            Answered::NotNow => Outcome::NotNow { after: None },
            Answered::NotSent => Outcome::NotSent { why: why() },
            Answered::InDoubt => Outcome::InDoubt { why: why(), named: None },
        }
    }
}

/// With fewer answers seen, what is usual counts too.
const FEW: usize = 30;

/// Answers that are usual: assumed where little is known, as so many of `FEW`.
const USUAL: [(i64, i64, Answered); 6] = [
    (1, 150, Answered::Accepted),
    (1, 250, Answered::Accepted),
    (2, 350, Answered::Accepted),
    (2, 500, Answered::Accepted),
    (3, 800, Answered::Accepted),
    (5, 1_500, Answered::Accepted),
];

/// The answers of one play. Each play draws anew which of those seen it takes for how the gateway is, so that plays
/// differ more the less was seen.
#[derive(Debug)]
pub(super) struct Chances {
    answers: Vec<Answer>,
    draw: Draw,
}

impl Chances {
    pub(super) fn new(seen: &[Answer], seed: u64, play: u64) -> Chances {
        let draw = Draw::new(seed, "chances").with_number(play.cast_signed());
        let usual = USUAL.map(|(late, took, kind)| Answer { late: Millis(late), took: Millis(took), kind });
        let missing = FEW.saturating_sub(seen.len());
        let all: Vec<Answer> = seen.iter().copied().chain(usual.into_iter().cycle().take(missing)).collect();
        let pick = |n: usize| all[index(draw.with_text("habit").with_number(place(n)), all.len())];
        Chances { answers: (0..all.len()).map(pick).collect(), draw }
    }

    /// How the attempt of a message is answered that was to leave at `slot`, and when.
    pub(super) fn answer(&self, id: MessageId, attempt: u32, slot: Timestamp) -> (Timestamp, Input) {
        let mut number = [0; 8];
        number.copy_from_slice(&id.0[8..]);
        let draw = self.draw.with_number(i64::from_be_bytes(number)).with_number(i64::from(attempt));
        let Answer { late, took, kind } = self.answers[index(draw, self.answers.len())];
        let (started_at, outcome) = (slot + late, kind.outcome());
        let finished_at = started_at + took;
        let facts =
            SendFacts { started_at, finished_at, status: Some(200), outcome: outcome.name(), response: "".into() };
        (finished_at, Input::SendDone { id, outcome, facts })
    }
}

fn index(draw: Draw, len: usize) -> usize {
    usize::try_from(draw.between(0, place(len) - 1)).unwrap_or(0)
}

fn place(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
