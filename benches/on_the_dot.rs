//! How close to its instant a message leaves, how many leave at one instant, and what a hundred thousand recipients
//! cost: run with `cargo bench`. Prints figures, asserts nothing about them.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing better to do than stop")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures other processes")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const HEAD: &str = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n";

fn onthedot(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onthedot"));
    command.arg("--db").arg(folder.join("db")).args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

/// Receive times of sends and typing calls, in ms, in the order of the journal.
fn journal(folder: &Path, path: &str) -> Vec<(String, i64)> {
    journal_us(folder, path).into_iter().map(|(chat, us)| (chat, us.div_euclid(1_000))).collect()
}

/// The same in microseconds.
fn journal_us(folder: &Path, path: &str) -> Vec<(String, i64)> {
    let text = fs::read_to_string(folder.join("journal")).unwrap_or_default();
    text.lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap())
        .filter(|v| v["path"] == path)
        .map(|v| (v["chat"].as_str().unwrap().to_owned(), v["received_us"].as_i64().unwrap()))
        .collect()
}

fn percentiles(mut values: Vec<i64>) -> String {
    values.sort_unstable();
    let at = |p: usize| values[(values.len() * p).div_ceil(100).saturating_sub(1)];
    format!(
        "min {} p50 {} p99 {} max {} ms (n = {})",
        values[0],
        at(50),
        at(99),
        values[values.len() - 1],
        values.len()
    )
}

/// Messages one by one, 100 ms apart: when each arrived against its due instant, and how far typing led it.
fn lone(n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = HEAD.to_owned();
    for i in 0..n {
        writeln!(text, "  j{i}: {{ in: {}ms, to: \"2010000{i:04}\", text: hi }}", 4_000 + i * 100).unwrap();
    }
    fs::write(folder.path().join("jobs.yaml"), text).unwrap();
    let arguments = ["run", "jobs.yaml", "--sandbox", "--until-idle=10s", "--listen", "off", "--journal", "journal"];
    let output = onthedot(folder.path(), &arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let due = due_by_chat(folder.path());
    let sent = journal(folder.path(), "/v2/send/text");
    let late: Vec<i64> = sent.iter().map(|(chat, at)| at - due[chat]).collect();
    println!("lone messages, arrival at the gateway after due: {}", percentiles(late));
    let typed: std::collections::HashMap<String, i64> =
        journal(folder.path(), "/v2/send/start-typing").into_iter().collect();
    let lead: Vec<i64> = sent.iter().map(|(chat, at)| at - typed[chat]).collect();
    println!("lone messages, typing before the send: {}", percentiles(lead));
}

/// When messages that were sent were due.
fn due_by_chat(folder: &Path) -> std::collections::HashMap<String, i64> {
    let mut all = std::collections::HashMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut arguments = vec!["--json", "list", "--limit", "1000", "--state", "sent"];
        if let Some(c) = &cursor {
            arguments.extend(["--cursor", c]);
        }
        let output = onthedot(folder, &arguments).output().unwrap();
        let page: Value = serde_json::from_slice(&output.stdout).unwrap();
        for m in page["messages"].as_array().unwrap() {
            let due: jiff::Timestamp = m["due_at"].as_str().unwrap().parse().unwrap();
            all.insert(m["to"].as_str().unwrap().to_owned(), due.as_millisecond());
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return all,
        }
    }
}

/// Many messages due at one instant.
fn burst(n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = "to\n".to_owned();
    (0..n).for_each(|i| writeln!(csv, "2010{i:08}").unwrap());
    fs::write(folder.path().join("list.csv"), csv).unwrap();
    let text = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, pacing: { concurrency: 2000 } } }\njobs:\n  a: { in: 6s, to: { csv: list.csv }, text: hi }\n";
    fs::write(folder.path().join("jobs.yaml"), text).unwrap();
    let arguments =
        ["run", "jobs.yaml", "--sandbox", "--until-idle=10s", "--listen", "off", "--journal", "journal", "-q"];
    let output = onthedot(folder.path(), &arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let due = due_by_chat(folder.path());
    let late: Vec<i64> = journal(folder.path(), "/v2/send/text").iter().map(|(chat, at)| at - due[chat]).collect();
    println!("{n} messages due at one instant, arrival after due: {}", percentiles(late));
}

/// A hundred thousand recipients of a CSV file, due later.
fn crowd(n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = "to,name\n".to_owned();
    (0..n).for_each(|i| writeln!(csv, "2010{i:08},Ada {i}").unwrap());
    fs::write(folder.path().join("list.csv"), csv).unwrap();
    let job = "  a: { at: 2099-01-01T00:00, to: { csv: list.csv }, text: \"Hi {{ name }}\" }\n";
    fs::write(folder.path().join("jobs.yaml"), format!("{HEAD}{job}")).unwrap();
    let began = Instant::now();
    let mut daemon =
        onthedot(folder.path(), &["run", "jobs.yaml", "--sandbox", "--listen", "off", "-q"]).spawn().unwrap();
    let listed = loop {
        let output = onthedot(folder.path(), &["--json", "stats"]).output().unwrap();
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if stats["states"]["scheduled"].as_u64() == Some(u64::try_from(n).unwrap()) {
            break began.elapsed();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    println!("{n} recipients of a CSV file stand in `stats` after {listed:?}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let began = Instant::now();
    let arguments = ["run", "jobs.yaml", "--sandbox", "--listen", "off"];
    let mut daemon = onthedot(folder.path(), &arguments).stderr(log).spawn().unwrap();
    while !fs::read_to_string(folder.path().join("log")).unwrap().contains(" ready") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ready = began.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap_or_default();
    let memory = |key: &str| {
        status.lines().find(|l| l.starts_with(key)).unwrap_or("").split_whitespace().nth(1).unwrap_or("?").to_owned()
    };
    println!(
        "a restart with them is ready after {ready:?}, memory now {} kB, at most {} kB",
        memory("VmRSS"),
        memory("VmHWM")
    );
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// A million rows imported beside a daemon that sends a message every 100 ms: how long, how much memory, how late.
fn import(rows: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = HEAD.to_owned();
    for i in 0..900 {
        writeln!(text, "  j{i}: {{ in: {}ms, to: \"2010000{i:04}\", text: hi }}", 4_000 + i * 100).unwrap();
    }
    fs::write(folder.path().join("jobs.yaml"), text).unwrap();
    let mut csv = "phone,name,city\n".to_owned();
    for n in 0..rows {
        writeln!(csv, "2011{n:08},Person {n},Town {}", n % 1_000).unwrap();
    }
    fs::write(folder.path().join("rows.csv"), csv).unwrap();
    let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"];
    let mut daemon = onthedot(folder.path(), &run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let began = Instant::now();
    let arguments = [
        "import",
        "rows.csv",
        "--job",
        "big",
        "--chat",
        "phone",
        "--text",
        "Hi {{ name }} from {{ city }}",
        "--at",
        "2099-01-01T10:00",
    ];
    let mut importing = onthedot(folder.path(), &arguments).stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while importing.try_wait().unwrap().is_none() {
        most = most.max(peak_kb(importing.id()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = began.elapsed();
    let sent = journal(folder.path(), "/v2/send/text");
    let due = due_by_chat(folder.path());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // The last of them may not be recorded yet.
    let late: Vec<i64> = sent.iter().filter_map(|(chat, at)| Some(at - due.get(chat)?)).collect();
    println!(
        "{rows} rows imported in {took:.1?}, at most {most} kB; meanwhile messages arrived after due: {}",
        percentiles(late)
    );
}

/// A year of a thousand jobs that fire a million times in all, and a month of ten thousand: how long it takes to play
/// them in virtual time, and how much memory.
fn future() {
    let folder = tempfile::tempdir().unwrap();
    let mut year = "version: 1\ntimezone: Europe/Berlin\ninstances:\n".to_owned();
    let pacing = "{ gap: 1s..3s, concurrency: 8, per_day: 5000 }";
    (0..4).for_each(|i| writeln!(year, "  shop{i}: {{ gateway: sandbox, pacing: {pacing} }}").unwrap());
    year.push_str("jobs:\n");
    for j in 0..1_000 {
        let hours = format!("{},{},{}", j * 7 % 8, j * 7 % 8 + 8, j * 7 % 8 + 16);
        let when = format!("cron: \"{} {hours} * * *\", exclude: 2026-12-24..2027-01-24, jitter: 30s", j % 60);
        writeln!(year, "  j{j}: {{ {when}, instance: shop{}, to: \"2010{j:08}\", text: hi }}", j % 4).unwrap();
    }
    fs::write(folder.path().join("year.yaml"), year).unwrap();
    let mut month = HEAD.to_owned();
    for j in 0..10_000 {
        writeln!(month, "  j{j}: {{ cron: \"{} {} * * *\", to: \"2010{j:08}\", text: hi }}", j % 60, j * 7 % 24)
            .unwrap();
    }
    fs::write(folder.path().join("month.yaml"), month).unwrap();
    for (file, from, until) in [("year.yaml", "2026-02-01", "2027-02-01"), ("month.yaml", "2026-10-01", "2026-11-01")] {
        let arguments = ["simulate", file, "--from", from, "--until", until, "--json", "--limit", "0"];
        let began = Instant::now();
        let out = fs::File::create(folder.path().join("told")).unwrap();
        let mut playing = onthedot(folder.path(), &arguments).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        let mut most = 0;
        while playing.try_wait().unwrap().is_none() {
            most = most.max(peak_kb(playing.id()));
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = began.elapsed();
        let told: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("told")).unwrap()).unwrap();
        println!("{file}: {} occurrences played in {took:.1?}, at most {most} kB", told["summary"]["occurrences"]);
    }
}

/// What ten thousand cron jobs cost: reading them, starting with them, waiting with them for a minute; and how long a
/// thousand occurrences of one pattern take to print.
fn schedules(n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = HEAD.replace("UTC", "Europe/Berlin");
    for j in 0..n {
        let when = format!("{} {} * * {}", j % 60, j * 7 % 24, j % 7);
        writeln!(text, "  j{j}: {{ cron: \"{when}\", to: \"2010{j:08}\", text: hi {j} }}").unwrap();
    }
    fs::write(folder.path().join("jobs.yaml"), text).unwrap();
    let timed = |arguments: &[&str]| {
        let mut took: Vec<Duration> = (0..5)
            .map(|_| {
                let began = Instant::now();
                assert!(onthedot(folder.path(), arguments).output().unwrap().status.success());
                began.elapsed()
            })
            .collect();
        took.sort_unstable();
        took[2]
    };
    let thousand = ["next", "--cron", "*/5 9-17 * * mon-fri", "--zone", "Europe/Berlin", "-n", "1000", "--json"];
    println!("1,000 occurrences printed by next: {:.1?} (median of five)", timed(&thousand));
    println!("{n} cron jobs checked: {:.2?} (median of five)", timed(&["check", "jobs.yaml", "--sandbox"]));
    for which in ["first start", "restart"] {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off"];
        let mut daemon = onthedot(folder.path(), &run).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        while !fs::read_to_string(folder.path().join("log")).unwrap_or_default().contains("ready") {
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("{n} cron jobs, {which}: ready after {:.2?}", began.elapsed());
        // What is planned after that settles within some seconds.
        std::thread::sleep(Duration::from_secs(15));
        let before = cpu_ticks(daemon.id());
        std::thread::sleep(Duration::from_secs(60));
        let used = cpu_ticks(daemon.id()) - before;
        let resident = status_kb(daemon.id(), "VmRSS");
        println!("  waiting: {:.2} % of a core over a minute, {resident} kB", f64::from(used) / 60.0);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

/// Hundredths of a second of processor time, as Linux counts them.
fn cpu_ticks(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap()
}

fn status_kb(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(what));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn peak_kb(pid: u32) -> u64 {
    status_kb(pid, "VmHWM")
}

/// The 99th percentile of how late messages of two instances arrive while a third one is, or is not, a black hole: its
/// gateway takes every request and answers none.
fn beside_a_black_hole(black: bool) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let faults = if black { "faults: [{ on: any, chat: \"2099*\", hang: true }]\n" } else { "seed: 1\n" };
    fs::write(folder.path().join("scenario.yaml"), faults).unwrap();
    let mut text = "version: 1\ntimezone: UTC\ninstances:\n".to_owned();
    for name in ["a", "b", "c"] {
        writeln!(text, "  {name}: {{ gateway: sandbox, timeouts: {{ send: 5s, typing: 5s }} }}").unwrap();
    }
    text.push_str("defaults: { typing: { lead: 200ms } }\njobs:\n");
    for n in 0..400 {
        for (name, prefix) in [("a", "2010"), ("b", "2020"), ("c", "2099")] {
            let at = 3_000 + n * 25;
            writeln!(text, "  {name}{n}: {{ in: {at}ms, instance: {name}, to: \"{prefix}000{n:04}\", text: hi }}")
                .unwrap();
        }
    }
    fs::write(folder.path().join("jobs.yaml"), text).unwrap();
    let arguments = [
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--until-idle=5s",
        "--listen",
        "off",
        "--journal",
        "journal",
        "-q",
    ];
    let output = onthedot(folder.path(), &arguments).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", String::from_utf8_lossy(&output.stderr));
    let due = due_by_chat(folder.path());
    let sent = journal_us(folder.path(), "/v2/send/text").into_iter().filter(|(chat, _)| !chat.starts_with("2099"));
    let mut late: Vec<i64> = sent.map(|(chat, at)| at - due[&chat] * 1_000).collect();
    late.sort_unstable();
    assert_eq!(late.len(), 800, "everything of the others was sent");
    late[791]
}

/// Five runs with and five without, in turn.
fn black_hole() {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        without.push(beside_a_black_hole(false));
        with.push(beside_a_black_hole(true));
    }
    with.sort_unstable();
    without.sort_unstable();
    println!("p99 lateness of two instances, us: alone {without:?}, beside a black hole {with:?}");
    println!("medians: {} and {}", without[2], with[2]);
}

fn main() {
    if std::env::args().any(|a| a == "future") {
        return future();
    }
    if std::env::args().any(|a| a == "black_hole") {
        return black_hole();
    }
    if std::env::args().any(|a| a == "schedules") {
        return schedules(10_000);
    }
    lone(200);
    black_hole();
    burst(2_000);
    crowd(100_000);
    import(1_000_000);
    future();
    schedules(10_000);
}
