//! The future, played with the scheduler that will really run: the engine in virtual time, a gateway that answers at
//! once, and a planner that lays occurrences out as the daemon's does, by the same draws.
//!
//! Nothing is guessed beside the machine that sends. What it cannot know is left out: a gateway that refuses or is slow,
//! outages, people.

mod assertion;
mod blocks;
mod eta;
mod habits;
mod judge;
mod lane;
mod of_file;
mod of_store;
mod often;
mod outlook;
mod plan;
mod queue;
mod rows;
mod summary;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::domain::frequency::Frequency;
use crate::domain::id::InstanceName;
use crate::domain::job::Job;
use crate::domain::message::Due;
use crate::domain::recipient::Chat;
use crate::domain::sender::Senders;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::Window;
use crate::engine::LaneStart;
use crate::engine::explain::GateName;
use crate::store::Recipient;

pub use assertion::{Assertion, FORMS, NotAnAssertion};
pub use blocks::{Block, blocks};
pub use eta::{Finish, LeftOut, Undone, WhatIf, eta, finish_by_chance};
pub use habits::{Answer, Answered};
pub use judge::{Judge, Verdict};
pub use of_file::{Known, of_file};
pub use of_store::{NotForeseeable, all_recipients, of_store};
pub use often::Counted;
pub use outlook::{Audience, Move, Outlook, Side, outlook};
pub use summary::{Busiest, Line, Summary};

use lane::LaneWorld;

/// What a prediction starts from.
#[derive(Clone, Debug)]
pub struct Premise {
    /// Where virtual time begins.
    pub from: Timestamp,
    /// Where it ends; what fires from then on is not looked at.
    pub until: Timestamp,
    /// The seed of every draw.
    pub seed: u64,
    /// Plays by chance have a number: each draws its answers from those that were seen. Without one the gateway answers at
    /// once and accepts everything.
    pub chance: Option<u64>,
    /// The instances with their lanes.
    pub lanes: Vec<LanePremise>,
    /// The jobs.
    pub jobs: Vec<JobPremise>,
    /// What has left and counts for a `frequency`.
    pub counted: Counted,
}

/// One instance as it stands in the beginning.
#[derive(Clone, Debug)]
pub struct LanePremise {
    /// Its lane.
    pub start: LaneStart,
    /// When it may send.
    pub window: Option<Window>,
    /// What stops it, or a job of it, for a while.
    pub stops: Vec<Stop>,
    /// Messages that wait already.
    pub waiting: Vec<Waiting>,
    /// How its gateway answered lately.
    pub seen: Vec<Answer>,
}

/// A stretch of time in which nothing of an instance, or of one of its jobs, is taken up. It has begun before the
/// prediction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Only this job; otherwise the whole instance.
    pub job: Option<Arc<str>>,
    /// Only this occurrence of the job.
    pub nominal: Option<Timestamp>,
    /// When it ends; `None` = nobody knows.
    pub until: Option<Timestamp>,
    /// Why, for a person.
    pub why: String,
}

impl Stop {
    /// Whether it stops something at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|t| t > now)
    }
}

/// A message that exists already, with those of its sequence that follow it.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The message; its id is replaced.
    pub due: Due,
    /// Its job.
    pub job: Option<Arc<str>>,
    /// Its occurrence.
    pub nominal: Option<Timestamp>,
    /// Whether its occurrence is finished without it.
    pub beside: bool,
    /// How often its recipient may be written to, where it counts for that.
    pub frequency: Option<Frequency>,
    /// The slot it was given, where it is being typed.
    pub typed: Option<Timestamp>,
    /// What follows it.
    pub then: Vec<Due>,
}

/// One job as it stands in the beginning.
#[derive(Clone, Debug)]
pub struct JobPremise {
    /// Its name, shared by everything told about it.
    pub name: Arc<str>,
    /// The declaration.
    pub job: Job,
    /// The zone of its schedule.
    pub zone: TimeZone,
    /// When it entered the database.
    pub first_applied: Timestamp,
    /// Only occurrences after this instant are planned.
    pub after: Timestamp,
    /// Who gets it, by place.
    pub recipients: Vec<Recipient>,
    /// Which account wrote to whom before, where it goes through several.
    pub senders: Senders,
}

impl JobPremise {
    /// The account that writes to a recipient.
    pub fn sender_of(&self, chat: &Chat) -> &InstanceName {
        self.job.sender_of(chat, &self.senders)
    }
}

/// What becomes of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreseen {
    /// Its job.
    pub job: Option<Arc<str>>,
    /// Its occurrence.
    pub occurrence: Option<Timestamp>,
    /// Through which instance.
    pub instance: InstanceName,
    /// To whom.
    pub to: Chat,
    /// When it should leave.
    pub due_at: Timestamp,
    /// When its typing begins.
    pub typing_from: Option<Timestamp>,
    /// When it leaves.
    pub sends_at: Option<Timestamp>,
    /// What made it leave later than due, where something did.
    pub held_by: Option<HeldBy>,
    /// How it ends; `Scheduled` where it has not left when the prediction ends.
    pub state: StateName,
    /// Why, where it is not sent.
    pub reason: Option<Reason>,
    /// When that is known.
    pub at: Timestamp,
}

impl Foreseen {
    /// How late it leaves; for what has not left, how late it is by then.
    pub fn late(&self) -> Millis {
        self.sends_at.unwrap_or(self.at).since(self.due_at).at_least_zero()
    }
}

/// What makes a message leave later than due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HeldBy {
    /// A gate.
    Gate(GateName),
    /// The occurrence of its job before it (`overlap: queue`).
    Overlap,
}

impl HeldBy {
    /// The word used in JSON and CSV: a gate's, or `overlap`.
    pub fn name(self) -> &'static str {
        match self {
            HeldBy::Gate(gate) => gate.name(),
            HeldBy::Overlap => "overlap",
        }
    }
}

/// Plays a premise to its end and hands over what becomes of every message, in the order in which it is known.
///
/// # Errors
/// Whatever `each` answers; then the play ends.
pub fn play<E>(premise: &Premise, mut each: impl FnMut(&Foreseen) -> Result<(), E>) -> Result<(), E> {
    let mut lanes: Vec<LaneWorld<'_>> = premise.lanes.iter().map(|lane| LaneWorld::new(premise, lane)).collect();
    // Lanes do not touch each other, so each has its own engine; they are played side by side for the order's sake.
    let mut next: BinaryHeap<Reverse<(Timestamp, usize)>> =
        (0..lanes.len()).map(|i| Reverse((premise.from, i))).collect();
    let mut told = Vec::new();
    while let Some(Reverse((now, i))) = next.pop() {
        if now >= premise.until {
            break;
        }
        if let Some(later) = lanes[i].play(now, &mut told) {
            next.push(Reverse((later, i)));
        }
        for foreseen in told.drain(..) {
            each(&foreseen)?;
        }
    }
    for lane in lanes {
        lane.end(premise.until, &mut told);
        for foreseen in told.drain(..) {
            each(&foreseen)?;
        }
    }
    Ok(())
}
