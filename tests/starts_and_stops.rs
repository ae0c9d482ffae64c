//! Daemons started at once, stopped in the middle of a broadcast, watched by a service manager, and started on a damaged
//! file. Everything is real. `ROUNDS`, `STOPS` and `FLIPS` say how often, `SEED` by which draws.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onthedot::domain::draw::Draw;
use onthedot::domain::job::OnDoubt;
use process::{Bench, Running, pause, until};
use supply::{Supply, gateway};

const LIMIT: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn signal(process: &Running, name: &str) {
    assert!(Command::new("kill").args([name, &process.0.id().to_string()]).status().unwrap().success());
}

#[expect(clippy::disallowed_methods, reason = "the test times another process")]
fn stopwatch() -> Instant {
    Instant::now()
}

#[test]
fn of_ten_daemons_started_at_once_exactly_one_runs_and_the_next_takes_over() {
    let bench = Bench::new();
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off"];
    let mut slowest = Duration::ZERO;
    let rounds = usize::try_from(number("ROUNDS", 5)).unwrap();
    for round in 0..rounds {
        let mut all: Vec<Running> = (0..10).map(|_| bench.start(&run)).collect();
        let mut refused = 0;
        until("nine give way", LIMIT, || {
            all.retain_mut(|daemon| match daemon.0.try_wait().unwrap() {
                Some(status) => {
                    assert_eq!(status.code(), Some(75), "round {round}");
                    refused += 1;
                    false
                }
                None => true,
            });
            refused == 9
        });
        // One line of the one of this round, and two of each round before.
        until("the one is ready", LIMIT, || bench.log().matches(" ready ms=").count() > 2 * round);
        assert!(all.len() == 1 && all[0].0.try_wait().unwrap().is_none(), "round {round}: exactly one runs");
        let before = bench.log().matches(" ready ms=").count();
        all[0].0.kill().unwrap();
        let killed = stopwatch();
        let next = bench.start(&run);
        until("the next takes over", LIMIT, || bench.log().matches(" ready ms=").count() > before);
        slowest = slowest.max(killed.elapsed());
        drop(next);
    }
    println!("the slowest takeover took {} ms", slowest.as_millis());
    assert!(slowest < Duration::from_secs(5));
}

#[test]
fn an_instance_that_was_down_is_asked_before_it_gets_another_message() {
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let broken =
        "faults:\n  - { on: send, times: 5, reset: true }\n  - { on: session, times: 1, answer: { status: 500 } }\n";
    bench.write("scenario.yaml", broken);
    let (_gateway, url) = gateway(&bench);
    bench.write("jobs.yaml", &supply::jobs_file(&url));
    let asked = |path: &str| bench.journal().iter().filter(|l| l.path == path).count();
    let run = || bench.start(&["run", "jobs.yaml", "--listen", "off"]);
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    let mut daemon = run();
    runtime.block_on(supply.add(5, 0));
    let state = || bench.json(&["instance", "list"])["instances"][0]["state"].clone();
    until("the circuit opens", LIMIT, || state() == "down");
    let (sends, probes) = (asked("/v2/send/text"), asked("/v2/session/info"));
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    runtime.block_on(supply.add(5, 0));
    let mut daemon = run();
    until("it is asked", LIMIT, || asked("/v2/session/info") > probes);
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    assert_eq!(asked("/v2/send/text"), sends, "no message more is put at risk");
    bench.run(&["run", "jobs.yaml", "--listen", "off", "--until-idle=100ms"]);
    assert_eq!(asked("/v2/send/text"), sends + 5, "a quiet end waits for its answer");
    runtime.block_on(supply.close());
}

/// Stops a daemon in the middle of a broadcast, again and again. Answers how long the slowest stop took.
fn stops(count: u64, seed: u64) -> Duration {
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    bench.write(
        "scenario.yaml",
        &format!("seed: {seed}\ndoing: 0ms..30ms\nanswering: 0ms..30ms\nacks: {{ levels: [] }}\n"),
    );
    let (_gateway, url) = gateway(&bench);
    bench.write("jobs.yaml", &supply::jobs_file(&url));
    let mut supply = runtime.block_on(Supply::open(&bench, seed, OnDoubt::Hold));
    let draw = Draw::new(seed, "stops");
    let mut slowest = Duration::ZERO;
    for n in 0..count {
        runtime.block_on(supply.add(30, 600));
        let mut daemon = bench.start(&["run", "jobs.yaml", "--listen", "off"]);
        let life = draw.with_number(i64::try_from(n).unwrap()).between(80, 600);
        pause(Duration::from_millis(u64::try_from(life).unwrap()));
        let told = stopwatch();
        signal(&daemon, "-TERM");
        let status = daemon.0.wait().unwrap();
        slowest = slowest.max(told.elapsed());
        // Before it has begun to listen for signals, one ends it as any other process.
        use std::os::unix::process::ExitStatusExt;
        assert!(status.code() == Some(0) || status.signal() == Some(15), "stop {n}: {status:?}");
    }
    let stats = bench.json(&["stats"]);
    assert_eq!(stats["states"]["in_doubt"], 0, "the gateway answered in time: nothing is in doubt");
    assert_eq!(stats["doubts"]["open"], 0);
    let mut typing: BTreeMap<String, i64> = BTreeMap::new();
    for line in bench.journal() {
        match line.path.as_str() {
            "/v2/send/start-typing" => *typing.entry(line.chat).or_default() = 1,
            "/v2/send/stop-typing" | "/v2/send/text" => *typing.entry(line.chat).or_default() = 0,
            _ => {}
        }
    }
    let left: Vec<_> = typing.iter().filter(|(_, n)| **n != 0).collect();
    assert!(left.is_empty(), "left typing: {left:?}");
    runtime.block_on(supply.close());
    slowest
}

#[test]
fn a_stop_in_a_broadcast_leaves_nothing_in_doubt_and_nobody_waiting_for_a_text() {
    let (count, seed) = (number("STOPS", 9), number("SEED", 4));
    let slowest = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|n| scope.spawn(move || stops(count.div_ceil(3), seed * 10 + n))).collect();
        runs.into_iter().map(|r| r.join().unwrap()).max().unwrap()
    });
    println!("{count} stops, the slowest took {} ms", slowest.as_millis());
    assert!(slowest < Duration::from_secs(21), "the deadline is 20 s");
}

#[test]
fn the_watchdog_is_fed_by_the_loop_that_sends_and_not_by_a_clock() {
    let bench = Bench::new();
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    let socket = std::os::unix::net::UnixDatagram::bind(bench.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let heard = || {
        let mut words = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(n) = socket.recv(&mut buffer) {
            words.push(String::from_utf8_lossy(&buffer[..n]).trim().to_owned());
        }
        words
    };
    let run = |hang: Option<&str>| {
        let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
        command.env("NOTIFY_SOCKET", bench.path("notify")).env("WATCHDOG_USEC", "600000");
        if let Some(point) = hang {
            command.env("ONTHEDOT_HANG_AT", point);
        }
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut all = Vec::new();
    let mut daemon = run(None);
    until("it is ready and feeds the watchdog", LIMIT, || {
        all.extend(heard());
        all.iter().any(|w| w == "READY=1") && all.iter().filter(|w| *w == "WATCHDOG=1").count() >= 3
    });
    signal(&daemon, "-TERM");
    daemon.0.wait().unwrap();
    assert!(heard().iter().any(|w| w == "STOPPING=1"));
    // The loop stands still at its fifth round, while everything else goes on.
    let _hanging = run(Some("round:5"));
    until("it has begun", LIMIT, || heard().iter().any(|w| w == "READY=1"));
    pause(Duration::from_secs(4));
    let _ = heard();
    pause(Duration::from_secs(2));
    assert!(heard().iter().all(|w| w != "WATCHDOG=1"), "a loop that stands still is not alive");
}

#[test]
fn a_flipped_byte_is_refused_or_harmless_and_never_a_wrong_text() {
    let (flips, seed) = (number("FLIPS", 12), number("SEED", 6));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [read], first: 0ms }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    // A daemon has been there once, and left thirty messages behind that are due when the next one starts.
    let mut supply = runtime.block_on(Supply::open(&bench, seed, OnDoubt::Hold));
    assert!(bench.run(&supply::SANDBOX_RUN).status.success());
    runtime.block_on(supply.add(30, 0));
    let wanted: BTreeSet<(String, String)> = supply.made().into_iter().collect();
    runtime.block_on(supply.close());
    let whole = std::fs::read(bench.path("db")).unwrap();
    let log = std::fs::metadata(bench.path("db-wal")).map_or(0, |m| m.len());
    assert_eq!(log, 0, "everything is in the file");
    let witness = std::fs::read(bench.path("db.witness")).unwrap();
    let draw = Draw::new(seed, "flips");
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for n in 0..flips {
        let number = i64::try_from(n).unwrap();
        let at = usize::try_from(
            draw.with_text("at").with_number(number).between(0, i64::try_from(whole.len()).unwrap() - 1),
        );
        let bit = draw.with_text("bit").with_number(number).between(0, 7);
        let mut flipped = whole.clone();
        flipped[at.unwrap()] ^= 1 << bit;
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(bench.path(&format!("db{ending}")));
        }
        std::fs::write(bench.path("db"), &flipped).unwrap();
        // The witness is that of the file before the flip.
        std::fs::write(bench.path("db.witness"), &witness).unwrap();
        let mut daemon = bench.start(&supply::SANDBOX_RUN);
        let mut status = None;
        let began = bench.log().len();
        let patience = stopwatch();
        while status.is_none() {
            assert!(patience.elapsed() < LIMIT, "flip {n} at {at:?} bit {bit} does not end: {}", &bench.log()[began..]);
            pause(Duration::from_millis(20));
            status = daemon.0.try_wait().unwrap();
        }
        let code = status.unwrap().code();
        assert!(code.is_some_and(|c| c != 101), "flip {n} at {at:?} bit {bit}: {status:?}");
        *codes.entry(code.unwrap()).or_default() += 1;
    }
    assert!(!bench.log().contains("panicked"), "{}", bench.log());
    let journal = std::fs::read_to_string(bench.path("journal")).unwrap_or_default();
    let mut sent = 0;
    for line in journal.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()) {
        if line["path"] == "/v2/send/text" {
            let word = |key: &str| line[key].as_str().unwrap_or("").to_owned();
            assert!(wanted.contains(&(word("chat"), word("text_sha256"))), "a wrong text was sent: {line}");
            sent += 1;
        }
    }
    println!("{flips} flips: exit codes {codes:?}, {sent} messages sent, none with a wrong text");
}
