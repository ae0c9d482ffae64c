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
    "doing: 0ms..20ms\nanswering: 0ms..10ms\nfaults: [{ on: send, percent: 20, do: before, reset: true }]\n";

/// Kills between two calms, in which doubts are settled and the line is worked off.
const KILLS_BETWEEN_CALMS: u64 = 100;

const LIMIT: Duration = Duration::from_secs(120);

fn start(bench: &Bench) -> Running {
    bench.start(&["run", "jobs.yaml", "--listen", "off", "-q"])
}

/// Lets the daemon run until nothing waits any more, and what is in doubt has been looked at.
fn calm(bench: &Bench) {
    let _daemon = start(bench);
    until("everything came to rest", LIMIT, || {
        let stats = bench.json(&["stats"]);
        let of = |state: &str| stats["states"][state].as_i64().unwrap();
        let waits = of("scheduled") + of("claimed") + of("typing") + of("sending");
        let looked_at = || {
            let doubts = bench.json(&["doubt", "list", "--limit", "1000"]);
            doubts["messages"].as_array().unwrap().iter().all(|m| m["next_look_at"].is_null())
        };
        waits == 0 && looked_at()
    });
}

fn kills(count: u64, seed: u64, policy: OnDoubt) -> Accounts {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bench = Bench::new();
    bench.write("scenario.yaml", &format!("seed: {}\n{SCENARIO}", seed % 1_000_000));
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
    println!("{policy:?}, seed {seed}: {count} kills, {}", found.told());
    found
}

#[test]
fn nothing_is_lost_and_nothing_is_sent_twice_however_often_the_process_dies() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (count, seed) = (number("KILLS", 60), number("SEED", 5));
    let benches = 3;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..benches)
            .map(|n| scope.spawn(move || kills(count.div_ceil(benches), seed * 1_000 + n, OnDoubt::Hold)))
            .collect();
        for run in runs {
            let found = run.join().unwrap();
            found.assert_clean();
            assert_eq!(found.twice, 0, "{}", found.told());
            assert!(found.sent > 0, "{}", found.told());
        }
    });
}
