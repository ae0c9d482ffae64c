//! A clock that is set ahead and back, a machine that sleeps: nothing fires twice, nothing is lost silently.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/faked_clock.rs"]
mod faked_clock;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use faked_clock::FakedClock;
use process::{Bench, Running, now_ms, pause, until};

const LIMIT: Duration = Duration::from_secs(30);

/// One job every two seconds, that makes up for three missed occurrences not older than a minute.
const JOB: &str = "version: 1
timezone: UTC
instances: { shop: { gateway: sandbox } }
jobs:
  tick: { cron: \"*/2 * * * * *\", to: \"201000000001\", text: \"{{ nominal | iso }}\", typing: off, overlap: allow,
          misfire: run_all, max_lateness: 1m, max_catchup: 3 }
";

/// Starts a daemon by a clock, its log beside the others.
fn daemon(bench: &Bench, clock: &FakedClock) -> Running {
    let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    clock.give(&mut command);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(bench.path("log")).unwrap();
    Running(command.stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap())
}

struct Stepped {
    bench: Bench,
    clock: FakedClock,
    daemon: Running,
}

fn start() -> Option<Stepped> {
    let bench = Bench::new();
    let clock = FakedClock::new(bench.folder.path())?;
    clock.off_by(0);
    bench.write("jobs.yaml", JOB);
    let daemon = daemon(&bench, &clock);
    until("two were sent", LIMIT, || bench.journal().len() >= 2);
    Some(Stepped { bench, clock, daemon })
}

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

impl Stepped {
    /// What became of every occurrence from the first to the last one sent, by nominal second: sent, expired, missed.
    /// Each stands for exactly one of them.
    fn account(&self) -> BTreeMap<i64, String> {
        let mut all: BTreeMap<i64, String> = BTreeMap::new();
        for m in self.bench.messages() {
            let nominal = ms(m["occurrence"].as_str().unwrap()) / 1_000;
            let state = m["state"].as_str().unwrap().to_owned();
            if ["sent", "expired"].contains(&state.as_str()) {
                assert!(all.insert(nominal, state).is_none(), "an occurrence has two messages");
            }
        }
        for run in self.bench.json(&["job", "show", "tick", "--missed", "10000"])["missed"].as_array().unwrap() {
            let (first, last) = (ms(run["first"].as_str().unwrap()), ms(run["last"].as_str().unwrap()));
            for nominal in (first / 1_000..=last / 1_000).step_by(2) {
                let known = all.insert(nominal, "missed".to_owned());
                assert!(known.is_none(), "{nominal} is missed and {known:?}");
            }
            assert_eq!((last - first) / 2_000 + 1, run["count"].as_i64().unwrap());
        }
        all
    }

    /// Every occurrence between the first and the last is accounted for, and none was sent twice.
    fn is_whole(&self) {
        let all = self.account();
        let (first, last) = (*all.first_key_value().unwrap().0, *all.last_key_value().unwrap().0);
        let absent: Vec<i64> = (first..=last).step_by(2).filter(|n| !all.contains_key(n)).collect();
        assert!(absent.is_empty(), "of nobody knows what became: {absent:?}\n{}", self.bench.log());
        let sends = self.bench.journal().len();
        let sent = all.values().filter(|s| *s == "sent").count();
        // What was sent while this was looked at may stand in only one of the two.
        assert!(sends.abs_diff(sent) <= 1, "{sends} sends for {sent} sent messages\n{}", self.bench.log());
    }

    fn stop(&mut self) {
        Command::new("kill").arg(self.daemon.0.id().to_string()).status().unwrap();
        self.daemon.0.wait().unwrap();
    }
}

#[test]
fn an_hour_ahead_is_an_outage_and_is_made_up_for_as_the_policy_says() {
    let Some(mut stepped) = start() else { return };
    let before = stepped.bench.journal().len();
    let step = now_ms();
    stepped.clock.off_by(3_600_000);
    until("the made up for and two more are sent", LIMIT, || stepped.bench.journal().len() >= before + 5);
    stepped.stop();
    stepped.is_whole();
    let all = stepped.account();
    let made_up: Vec<&String> = all.range((step + 3_590_000) / 1_000..).map(|(_, s)| s).collect();
    let gap: Vec<&String> = all.range((step + 8_000) / 1_000..(step + 3_580_000) / 1_000).map(|(_, s)| s).collect();
    assert!(gap.len() > 1_700, "{} of the hour are recorded", gap.len());
    // What was planned ahead before the step is recorded as expired.
    assert!(gap.iter().all(|s| *s != "sent"), "{gap:?}");
    assert!(gap.iter().filter(|s| **s == "missed").count() > 1_700);
    assert!(made_up.iter().filter(|s| **s == "sent").count() >= 4, "{made_up:?}");
    assert!(stepped.bench.log().contains("nobody worked for a while"));
}

#[test]
fn an_hour_back_fires_nothing_a_second_time() {
    let Some(mut stepped) = start() else { return };
    stepped.clock.off_by(-3_600_000);
    until("it was noticed", LIMIT, || stepped.bench.log().contains("the clock was set back"));
    let before = stepped.bench.journal().len();
    pause(Duration::from_secs(5));
    // What was on its way may leave; nothing is due for an hour.
    assert!(stepped.bench.journal().len() <= before + 1, "{}", stepped.bench.log());
    stepped.clock.off_by(0);
    until("it goes on where it was", LIMIT, || stepped.bench.journal().len() >= before + 3);
    stepped.stop();
    stepped.is_whole();
}

#[test]
fn random_steps_neither_lose_nor_repeat_anything() {
    let steps = std::env::var("STEPS").ok().and_then(|v| v.parse().ok()).unwrap_or(20);
    let Some(mut stepped) = start() else { return };
    let draw = onthedot::domain::draw::Draw::new(7, "steps");
    let mut off = 0;
    let mut seen = BTreeSet::new();
    for n in 0..steps {
        off += draw.with_number(n).between(-90_000, 120_000);
        seen.insert(off);
        stepped.clock.off_by(off);
        pause(Duration::from_millis(u64::try_from(draw.with_number(n).with_text("rest").between(100, 1_500)).unwrap()));
    }
    // Ahead of all of them, so that everything up to then is settled.
    stepped.clock.off_by(seen.last().unwrap() + 60_000);
    let before = stepped.bench.journal().len();
    until("it goes on", LIMIT, || stepped.bench.journal().len() >= before + 4);
    stepped.stop();
    stepped.is_whole();
}

#[test]
fn a_process_that_was_stopped_for_a_while_goes_on_and_loses_nothing() {
    let seconds = std::env::var("STOPPED").ok().and_then(|v| v.parse().ok()).unwrap_or(12);
    let Some(mut stepped) = start() else { return };
    let pid = stepped.daemon.0.id().to_string();
    let stopped_at = now_ms() / 1_000;
    Command::new("kill").args(["-STOP", &pid]).status().unwrap();
    pause(Duration::from_secs(seconds));
    Command::new("kill").args(["-CONT", &pid]).status().unwrap();
    let before = stepped.bench.journal().len();
    until("it goes on", LIMIT, || stepped.bench.journal().len() >= before + 4);
    stepped.stop();
    stepped.is_whole();
    let seconds = i64::try_from(seconds).unwrap();
    let all = stepped.account();
    let while_stopped: Vec<&String> = all.range(stopped_at + 2..stopped_at + seconds - 1).map(|(_, s)| s).collect();
    let sent = while_stopped.iter().filter(|s| **s == "sent").count();
    assert!(while_stopped.len() > 3 && sent <= 3, "three are made up for: {while_stopped:?}");
}

#[test]
fn a_clock_that_cannot_be_right_sends_nothing_until_it_is_set() {
    let year_1970 = -now_ms() + 86_400_000;
    // A new database knows only when the program was released; a used one also when a daemon last ran.
    for (used, absurd) in [(false, year_1970), (true, year_1970), (true, 11 * 365 * 86_400_000)] {
        let bench = Bench::new();
        let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
        bench.write("jobs.yaml", JOB);
        if used {
            clock.off_by(0);
            let _first = daemon(&bench, &clock);
            until("the database was used", LIMIT, || bench.log().contains("ready"));
        }
        let ready = bench.log().matches("ready").count();
        clock.off_by(absurd);
        let _second = daemon(&bench, &clock);
        until("the clock was doubted", LIMIT, || bench.log().contains("the clock cannot be right"));
        let before = bench.journal().len();
        clock.off_by(1_000);
        until("it starts once the clock is set", LIMIT, || bench.log().matches("ready").count() > ready);
        until("it sends", LIMIT, || bench.journal().len() > before);
    }
}

#[test]
fn a_step_over_several_nags_and_an_event_asks_once_and_skips_what_is_of_no_use() {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    clock.off_by(0);
    let event = onthedot::domain::time::Timestamp(now_ms() + 40 * 60_000).to_rfc3339();
    let jobs =
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\ndefaults: { typing: off }\njobs:\n";
    let asked = "asked: { in: 100ms, to: \"201000000001\", text: hi, nag: { every: 10m, max: 5, until: read } }";
    let meeting = format!("meeting: {{ event: \"{event}\", remind: [-10m, +5m], to: \"201000000002\", text: hi }}");
    bench.write("jobs.yaml", &format!("{jobs}  {asked}\n  {meeting}\n"));
    let _daemon = daemon(&bench, &clock);
    until("it is ready", LIMIT, || bench.log().contains("ready"));
    let sent =
        |chat: &str| bench.journal().iter().filter(|l| l.path.ends_with("/text") && l.chat.starts_with(chat)).count();
    until("the first is sent and followed", LIMIT, || {
        let list = bench.json(&["list", "--job", "asked", "--state", "sent"]);
        list["messages"][0]["id"]
            .as_str()
            .is_some_and(|id| !bench.json(&["show", id])["follow_up"]["next_at"].is_null())
    });
    // An hour later: four nags would have come meanwhile, one reminder before the event, and one after it.
    clock.off_by(3_600_000);
    until("one nag is sent at once", LIMIT, || sent("201000000001") == 2);
    until("the reminder before the event is skipped", LIMIT, || {
        bench.json(&["list", "--job", "meeting", "--state", "skipped"])["messages"][0]["reason"] == "event_passed"
    });
    until("the one after it is made up for", LIMIT, || sent("201000000002") == 1);
    // Back again: nothing of it is sent a second time, and the next nag keeps its instant.
    clock.off_by(0);
    until("it was noticed", LIMIT, || bench.log().contains("the clock was set back"));
    pause(Duration::from_secs(3));
    assert_eq!((sent("201000000001"), sent("201000000002")), (2, 1), "{}", bench.log());
    clock.off_by(3_600_000 + 11 * 60_000);
    until("the next nag", LIMIT, || sent("201000000001") == 3);
}
