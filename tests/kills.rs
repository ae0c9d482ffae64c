//! The daemon killed again and again at random moments, with a gateway that takes its time and loses answers: nothing is
//! lost, and nothing is sent twice. The process, the file and the HTTP are real.
//!
//! `KILLS=n` says how often in all (60 by default), `SEED=n` by which draws.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/accounts.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod accounts;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::time::Duration;

use accounts::{Accounts, accounts};
use onthedot::domain::draw::Draw;
use onthedot::domain::job::OnDoubt;
use process::{Bench, Running, pause, until};
use supply::{Supply, gateway};

/// The gateway does what it is asked within 20 ms, and loses the answer to one request in five.
const SCENARIO: &str =
    "doing: 0ms..20ms\nanswering: 0ms..10ms\nfaults:\n  - { on: send, percent: 20, do: before, reset: true }\n";

/// And keeps no history.
const NO_HISTORY: &str = "  - { on: history, answer: { status: 200, body: '[]' } }\n";

/// What a job says of its doubts, and whether the gateway could tell: only the last may send twice, and is to account for it.
const CASES: [(OnDoubt, bool); 3] = [(OnDoubt::Hold, true), (OnDoubt::Hold, false), (OnDoubt::Resend, false)];

/// Kills between two calms, in which doubts are settled and the line is worked off.
const KILLS_BETWEEN_CALMS: u64 = 100;

const LIMIT: Duration = Duration::from_secs(120);

fn start(bench: &Bench) -> Running {
    bench.start(&["run", "jobs.yaml", "--listen", "off", "-q"])
}

fn every_doubt_was_looked_at(bench: &Bench) -> bool {
    let mut page = bench.json(&["doubt", "list", "--limit", "1000"]);
    loop {
        if page["messages"].as_array().unwrap().iter().any(|m| !m["next_look_at"].is_null()) {
            return false;
        }
        let Some(cursor) = page["next"].as_str() else { return true };
        page = bench.json(&["doubt", "list", "--limit", "1000", "--cursor", cursor]);
    }
}

/// Lets the daemon run until nothing waits any more, and what is in doubt has been looked at.
fn calm(bench: &Bench) {
    let _daemon = start(bench);
    // Looked at twice: what is sent again meanwhile is in neither list.
    until("everything came to rest", LIMIT, || {
        nothing_waits(bench) && every_doubt_was_looked_at(bench) && nothing_waits(bench)
    });
}

fn nothing_waits(bench: &Bench) -> bool {
    let stats = bench.json(&["stats"]);
    ["scheduled", "claimed", "typing", "sending"].iter().all(|state| stats["states"][state] == 0)
}

fn kills(count: u64, seed: u64, (policy, history): (OnDoubt, bool)) -> Accounts {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bench = Bench::new();
    let kept = if history { "" } else { NO_HISTORY };
    bench.write("scenario.yaml", &format!("seed: {}\n{SCENARIO}{kept}", seed % 1_000_000));
    let (_gateway, url) = gateway(&bench);
    bench.write("jobs.yaml", &supply::jobs_file(&url));
    // Applies the file, and lets the histories of the chats begin.
    let mut supply = runtime.block_on(Supply::open(&bench, seed, policy));
    runtime.block_on(supply.add(supply::CHATS, 0));
    calm(&bench);
    let draw = Draw::new(seed, "kills");
    for n in 0..count {
        let number = i64::try_from(n).unwrap();
        runtime.block_on(supply.add(3, draw.with_text("spread").with_number(number).between(0, 250)));
        let mut daemon = start(&bench);
        let life = draw.with_text("life").with_number(number).between(20, 320);
        pause(Duration::from_millis(u64::try_from(life).unwrap()));
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        if (n + 1) % KILLS_BETWEEN_CALMS == 0 {
            calm(&bench);
        }
    }
    calm(&bench);
    let found = runtime.block_on(accounts(&bench));
    runtime.block_on(supply.close());
    let kept = if history { "with" } else { "without" };
    println!("{policy:?} {kept} history, seed {seed}: {count} kills, {}", found.told());
    found
}

#[test]
fn nothing_is_lost_and_nothing_is_sent_twice_however_often_the_process_dies() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (count, seed) = (number("KILLS", 60), number("SEED", 5));
    std::thread::scope(|scope| {
        let share = count.div_ceil(CASES.len() as u64);
        let start = |(case, n)| scope.spawn(move || kills(share, seed * 1_000 + n, case));
        let runs: Vec<_> = CASES.into_iter().zip(0..).map(start).collect();
        for (run, (policy, _)) in runs.into_iter().zip(CASES) {
            let found = run.join().unwrap();
            found.assert_clean();
            assert!(policy == OnDoubt::Resend || found.twice == 0, "{}", found.told());
            assert!(found.sent > 0, "{}", found.told());
        }
    });
}
