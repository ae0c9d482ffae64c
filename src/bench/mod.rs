//! How fast this machine carries the program: named scenarios, each with the real binary as daemon, the sandbox gateway in a
//! process of its own and a real file, all in a temporary folder.
//!
//! What is measured is what users get: every mark is flushed to the disk, every response is stored, nothing is switched off.

mod drain;
mod enqueue;
mod figures;
mod idle;
mod lateness;
mod machine;
mod mixed;
mod start;
mod supply;

pub use figures::{Beginning, Figures, Lateness, median};
pub use machine::{Bench, BenchError};

use crate::bench::drain::Drain;
use crate::bench::enqueue::Enqueue;
use crate::bench::idle::Idle;
use crate::bench::lateness::{Acks, Amount, Pace};
use crate::bench::mixed::Mixed;
use crate::bench::start::Start;
use crate::domain::time::Millis;

const TEN_SECONDS: Millis = Millis::seconds(10);

/// How long typing leads a message.
const LEAD: Millis = Millis::seconds(2);

/// One thing that can be measured.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// Whether it is run only where it is asked for: it takes minutes, or gigabytes.
    pub large: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Idle(Idle),
    Drain(Drain),
    Lateness(Pace),
    Enqueue(Enqueue),
    Start(Start),
    Mixed(Mixed),
}

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "drain",
        about: "messages that are due at once, without typing: one request each",
        large: false,
        kind: Kind::Drain(Drain { typing: false, backlog: 0 }),
    },
    Scenario {
        name: "drain-typing",
        about: "the same with typing: two requests each",
        large: false,
        kind: Kind::Drain(Drain { typing: true, backlog: 0 }),
    },
    Scenario {
        name: "drain-behind-1m",
        about: "without typing, beside a million messages due another day",
        large: false,
        kind: Kind::Drain(Drain { typing: false, backlog: 1_000_000 }),
    },
    Scenario {
        name: "drain-behind-10m",
        about: "the same beside ten million: some 5 GB on the disk",
        large: true,
        kind: Kind::Drain(Drain { typing: false, backlog: 10_000_000 }),
    },
    Scenario {
        name: "late-50",
        about: "how late messages arrive, 50 a second, with 2 s of typing",
        large: false,
        kind: Kind::Lateness(Pace::of(Amount::EachSecond(50), LEAD)),
    },
    Scenario {
        name: "late-50-plain",
        about: "the same without typing",
        large: false,
        kind: Kind::Lateness(Pace::of(Amount::EachSecond(50), Millis::ZERO)),
    },
    Scenario {
        name: "late-2000",
        about: "how late messages arrive, 2,000 a second, with 2 s of typing",
        large: false,
        kind: Kind::Lateness(Pace::of(Amount::EachSecond(2_000), LEAD)),
    },
    Scenario {
        name: "late-2000-plain",
        about: "the same without typing",
        large: false,
        kind: Kind::Lateness(Pace::of(Amount::EachSecond(2_000), Millis::ZERO)),
    },
    Scenario {
        name: "burst-10000",
        about: "how late messages arrive, 10,000 chats typing for 10 s, all due within a second",
        large: false,
        kind: Kind::Lateness(Pace::of(Amount::WithinASecond(Some(10_000)), TEN_SECONDS)),
    },
    Scenario {
        name: "burst",
        about: "the same with as many chats as --messages says",
        large: true,
        kind: Kind::Lateness(Pace::of(Amount::WithinASecond(None), TEN_SECONDS)),
    },
    Scenario {
        name: "late-2000-busy",
        about: "2,000 a second with 2 s of typing, while 300,000 rows are imported and what a dashboard shows is read",
        large: false,
        kind: Kind::Lateness(Pace { busy: true, ..Pace::of(Amount::EachSecond(2_000), LEAD) }),
    },
    Scenario {
        name: "mixed",
        about: "how late messages arrive: 300 jobs every second, 500 every five, 10,000 a day, and a broadcast of 1,000 a second",
        large: false,
        kind: Kind::Mixed(Mixed { each_second: 300, each_five: 500, daily: 10_000, broadcast: 10_000 }),
    },
    Scenario {
        name: "late-5500-plain",
        about: "how late messages arrive, 5,500 a second, without typing",
        large: false,
        kind: Kind::Lateness(Pace::of(Amount::EachSecond(5_500), Millis::ZERO)),
    },
    Scenario {
        name: "acks",
        about: "the same while a signed webhook comes for each: acks recorded a second",
        large: false,
        kind: Kind::Lateness(Pace { acks: Acks::Recorded, ..Pace::of(Amount::EachSecond(5_500), Millis::ZERO) }),
    },
    Scenario {
        name: "acks-elsewhere",
        about: "the same, but another process turns the webhooks away: what they cost without the daemon's part",
        large: true,
        kind: Kind::Lateness(Pace { acks: Acks::TurnedAway, ..Pace::of(Amount::EachSecond(5_500), Millis::ZERO) }),
    },
    Scenario {
        name: "start",
        about: "from the daemon's start to its first request, beside a million messages due another day",
        large: false,
        kind: Kind::Start(Start { backlog: 1_000_000 }),
    },
    Scenario {
        name: "idle",
        about: "waiting, with 10,000 cron jobs and a million messages due another day",
        large: true,
        kind: Kind::Idle(Idle { jobs: 10_000, backlog: 1_000_000 }),
    },
    Scenario {
        name: "enqueue",
        about: "messages stored one after the other, each durable before the next",
        large: false,
        kind: Kind::Enqueue(Enqueue { callers: 1, at_once: 1 }),
    },
    Scenario {
        name: "enqueue-64",
        about: "the same by 64 callers at a time",
        large: false,
        kind: Kind::Enqueue(Enqueue { callers: 64, at_once: 1 }),
    },
    Scenario {
        name: "enqueue-bulk",
        about: "a thousand messages at a time",
        large: false,
        kind: Kind::Enqueue(Enqueue { callers: 1, at_once: 1_000 }),
    },
];

impl Scenario {
    /// Runs it once in a folder of its own.
    ///
    /// # Errors
    /// [`BenchError`] when a process cannot be started, ends by itself, or does not come to an end.
    pub async fn run(&self, bench: &Bench) -> Result<Figures, BenchError> {
        match &self.kind {
            Kind::Idle(idle) => idle.run(bench).await,
            Kind::Drain(drain) => drain.run(bench).await,
            Kind::Lateness(pace) => pace.run(bench).await,
            Kind::Enqueue(enqueue) => enqueue.run(bench).await,
            Kind::Start(start) => start.run(bench).await,
            Kind::Mixed(mixed) => mixed.run(bench).await,
        }
    }
}
