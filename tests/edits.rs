//! A jobs file that is edited over and over while a paced broadcast of it goes out: the real binary, SIGHUP and `job apply` mixed.
//!
//! `ROUNDS=10 VERSIONS=126 SPAN=120 cargo test --test edits` is the long run; `SEED=n` draws other versions.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "simulation/dice.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod dice;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dice::Dice;
use process::{Bench, Running, now_ms, pause, until};

fn number(name: &str, usual: i64) -> i64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(usual)
}

fn chat(k: i64) -> String {
    format!("49170{k:07}")
}

/// One version of the file: its text, its recipients and how they are sent to.
struct Version {
    text: String,
    to: BTreeSet<i64>,
    class: &'static str,
    instance: &'static str,
    lead: &'static str,
}

impl Version {
    fn edit(&mut self, dice: &mut Dice, number: i64, all: i64) {
        match dice.roll(0, 9) {
            0..=4 => self.text = format!("version {number}"),
            5 => {
                let some: Vec<i64> = (0..dice.roll(1, 5)).map(|_| dice.roll(0, all - 1)).collect();
                some.iter().for_each(|k| _ = self.to.remove(k));
            }
            6 => (0..dice.roll(1, 5)).for_each(|_| _ = self.to.insert(dice.roll(0, all - 1))),
            7 => self.class = ["campaign", "normal", "bulk"][usize::try_from(dice.roll(0, 2)).unwrap()],
            8 => self.instance = if self.instance == "shop" { "desk" } else { "shop" },
            _ => self.lead = ["2s", "3s", "1200ms"][usize::try_from(dice.roll(0, 2)).unwrap()],
        }
    }

    fn file(&self, at: &str, gap_ms: i64) -> String {
        let to: Vec<String> = self.to.iter().map(|k| format!("\"{}\"", chat(*k))).collect();
        let account = format!("gateway: sandbox, base_url: \"http://127.0.0.1:9\", pacing: {{ gap: {gap_ms}ms }}");
        format!(
            "version: 1\ntimezone: UTC\nmaintenance: {{ tidy: off, checkpoint: off, report: off }}\n\
             instances: {{ shop: {{ {account} }}, desk: {{ {account} }} }}\n\
             jobs:\n  launch:\n    at: \"{at}\"\n    to: [{}]\n    text: \"{}\"\n    class: {}\n    instance: {}\n    typing: {{ lead: {} }}\n",
            to.join(", "),
            self.text,
            self.class,
            self.instance,
            self.lead
        )
    }
}

fn hang_up(daemon: &Running) {
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

fn round(seed: u64, versions: i64, seconds: i64) {
    let mut dice = Dice::of(seed, "edits");
    // It lasts a little longer than the edits: who is added once it is over gets nothing.
    let (all, gap_ms) = (seconds * 2, 700);
    let to = (0..all).filter(|_| dice.chance(90)).collect();
    let mut version = Version { text: "version 0".to_owned(), to, class: "campaign", instance: "shop", lead: "2s" };
    let mut ever = version.to.clone();
    let at = onthedot::domain::time::Timestamp(now_ms() + 5_000).to_rfc3339();
    let bench = Bench::new();
    bench.write("jobs.yaml", &version.file(&at, gap_ms));
    let daemon = bench.start_sandboxed("{}");
    until("the daemon is ready", Duration::from_secs(30), || bench.log().contains(" ready ms="));
    let began = now_ms();
    for number in 1..=versions {
        let due = began + number * seconds * 1_000 / versions;
        pause(Duration::from_millis(u64::try_from((due - now_ms()).max(0)).unwrap()));
        version.edit(&mut dice, number, all);
        ever.extend(&version.to);
        bench.write("jobs.yaml", &version.file(&at, gap_ms));
        if dice.chance(50) {
            hang_up(&daemon);
        } else {
            bench.json(&["job", "apply", "jobs.yaml"]);
        }
    }
    // Of hang-ups that come close together the system may keep one: the last version is applied for sure.
    bench.json(&["job", "apply", "jobs.yaml"]);
    let campaign = || bench.json(&["campaign", "show", "launch"]);
    let limit = Duration::from_secs(u64::try_from(seconds).unwrap() + 60);
    until("everything rests", limit, || campaign()["state"] == "finished");
    let moving = |m: &serde_json::Value| ["scheduled", "typing", "sending"].contains(&m["state"].as_str().unwrap());
    assert_eq!(bench.messages().iter().filter(|m| moving(m)).count(), 0, "seed {seed}: nothing stays in motion");
    let mut sends: BTreeMap<String, usize> = BTreeMap::new();
    for line in bench.journal().iter().filter(|l| l.path == "/v2/send/text" && l.done) {
        *sends.entry(line.chat.clone()).or_default() += 1;
    }
    let twice: Vec<_> = sends.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: sent more than once: {twice:?}");
    let messages = bench.messages();
    for k in &ever {
        let of: Vec<_> = messages.iter().filter(|m| m["to"] == format!("{}@c.us", chat(*k))).collect();
        let sent = of.iter().filter(|m| m["state"] == "sent").count();
        let told = of.iter().all(|m| m["state"] == "sent" || m["reason"].is_string());
        let is_sent = sends.contains_key(&format!("{}@c.us", chat(*k)));
        // Who was named only by a version that was overwritten before it was read has no row.
        assert!(told && sent == usize::from(is_sent), "seed {seed}: {k} {is_sent}: {of:#?}");
        assert!(is_sent || !version.to.contains(k), "seed {seed}: {k} is a recipient and got nothing: {of:#?}");
    }
    assert_eq!(campaign()["undone"], 0, "seed {seed}");
    println!(
        "seed {seed}: {versions} versions in {seconds} s; {} of {} chats ever named got one message",
        sends.len(),
        ever.len()
    );
}

#[test]
fn a_broadcast_whose_file_is_edited_over_and_over_reaches_everybody_once() {
    let (rounds, seed) = (number("ROUNDS", 1), number("SEED", 1));
    for n in 0..rounds {
        round(u64::try_from(seed + n).unwrap(), number("VERSIONS", 16), number("SPAN", 12));
    }
}
