//! How fast this machine carries the program: named scenarios, each with the real binary as daemon, the sandbox gateway in a
//! process of its own and a real file, all in a temporary folder.
//!
//! What is measured is what users get: every mark is flushed to the disk, every response is stored, nothing is switched off.

mod drain;
mod enqueue;
mod figures;
mod lateness;
mod machine;
mod supply;

pub use figures::{Figures, Lateness, median};
pub use machine::{Bench, BenchError};

use crate::bench::drain::Drain;
use crate::bench::enqueue::Enqueue;
use crate::bench::lateness::Pace;

/// One thing that can be measured.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Drain(Drain),
    Lateness(Pace),
    Enqueue(Enqueue),
}

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "drain",
        about: "messages that are due at once, without typing: one request each",
        kind: Kind::Drain(Drain { typing: false, backlog: 0 }),
    },
    Scenario {
        name: "drain-typing",
        about: "the same with typing: two requests each",
        kind: Kind::Drain(Drain { typing: true, backlog: 0 }),
    },
    Scenario {
        name: "drain-behind-1m",
        about: "without typing, beside a million messages due another day",
        kind: Kind::Drain(Drain { typing: false, backlog: 1_000_000 }),
    },
    Scenario {
        name: "late-50",
        about: "how late messages arrive, 50 a second, with 2 s of typing",
        kind: Kind::Lateness(Pace { per_second: 50, typing: true }),
    },
    Scenario {
        name: "late-50-plain",
        about: "the same without typing",
        kind: Kind::Lateness(Pace { per_second: 50, typing: false }),
    },
    Scenario {
        name: "late-2000",
        about: "how late messages arrive, 2,000 a second, with 2 s of typing",
        kind: Kind::Lateness(Pace { per_second: 2_000, typing: true }),
    },
    Scenario {
        name: "late-2000-plain",
        about: "the same without typing",
        kind: Kind::Lateness(Pace { per_second: 2_000, typing: false }),
    },
    Scenario {
        name: "enqueue",
        about: "messages stored one after the other, each durable before the next",
        kind: Kind::Enqueue(Enqueue { callers: 1, at_once: 1 }),
    },
    Scenario {
        name: "enqueue-64",
        about: "the same by 64 callers at a time",
        kind: Kind::Enqueue(Enqueue { callers: 64, at_once: 1 }),
    },
    Scenario {
        name: "enqueue-bulk",
        about: "a thousand messages at a time",
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
            Kind::Drain(drain) => drain.run(bench).await,
            Kind::Lateness(pace) => pace.run(bench).await,
            Kind::Enqueue(enqueue) => enqueue.run(bench).await,
        }
    }
}
