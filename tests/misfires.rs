//! What becomes of occurrences that pass while no daemon runs, or while the one before is not finished: real processes
//! on a clock of the test's own.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/faked_clock.rs"]
mod faked_clock;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use faked_clock::FakedClock;
use process::{Bench, now_ms, until};

const LIMIT: Duration = Duration::from_secs(30);

const HOUR: i64 = 3_600_000;

/// Noon on a Wednesday without a transition anywhere near.
const NOON: &str = "2026-06-10T12:00:00Z";

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Runs a daemon by a clock that begins at an instant, until `done`, and kills it.
fn run(bench: &Bench, clock: &FakedClock, from: i64, done: impl Fn(&Bench) -> bool) {
    clock.off_by(from - now_ms());
    let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    clock.give(&mut command);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(bench.path("log")).unwrap();
    let mut running = process::Running(command.stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap());
    until("the run comes to rest", LIMIT, || done(bench));
    running.0.kill().unwrap();
    running.0.wait().unwrap();
}

/// A command by the clock of the test.
fn command(bench: &Bench, clock: &FakedClock, at: i64, arguments: &[&str]) {
    clock.off_by(at - now_ms());
    let mut command = bench.command(arguments);
    clock.give(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What is known of every job: its messages by nominal instant with their states, and how many occurrences were missed
/// for which reason. Instants are in minutes after noon.
fn table(bench: &Bench, jobs: &[String], now: i64) -> BTreeMap<String, String> {
    let minutes = |at: i64| (at - ms(NOON)).div_euclid(60_000);
    let mut told: BTreeMap<String, Vec<(i64, String)>> = jobs.iter().map(|j| (j.clone(), Vec::new())).collect();
    for m in bench.messages() {
        let Some(nominal) = m["occurrence"].as_str().map(ms) else { continue };
        // What is planned ahead waits, as always.
        if nominal > now {
            continue;
        }
        let reason = m["reason"].as_str().map(|r| format!(" {r}")).unwrap_or_default();
        let text = format!("{} {}{reason}", minutes(nominal), m["state"].as_str().unwrap());
        told.get_mut(m["job"].as_str().unwrap()).unwrap().push((nominal, text));
    }
    for (job, told) in &mut told {
        for run in bench.json(&["job", "show", job])["missed"].as_array().unwrap() {
            let (first, last) = (ms(run["first"].as_str().unwrap()), ms(run["last"].as_str().unwrap()));
            let count = run["count"].as_i64().unwrap();
            let reason = run["reason"].as_str().unwrap();
            told.push((first, format!("{}..{} {count} {reason}", minutes(first), minutes(last))));
        }
        told.sort();
    }
    told.into_iter().map(|(job, told)| (job, told.into_iter().map(|(_, t)| t).collect::<Vec<_>>().join(", "))).collect()
}

/// Jobs of every schedule under every policy, applied at noon by a daemon that is killed a moment later; what is found
/// when it has been down for so long. Twenty minutes may be lost.
fn after_downtime(down: i64, expected: &[(&str, &str)]) {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    let mut file = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n".to_owned();
    let mut jobs = Vec::new();
    for (p, policy) in ["run_once", "skip", "run_all"].into_iter().enumerate() {
        for (s, (kind, schedule)) in [
            ("cron", "cron: \"*/5 * * * *\""),
            ("every", "every: 5m, anchor: 2026-06-10T12:02:00Z"),
            ("at", "at: 2026-06-10T12:01:30Z"),
            ("reminder", "event: 2026-06-10T12:15:00Z, remind: -13m30s"),
            ("far", "event: 2026-06-20T12:01:30Z, remind: -10d"),
        ]
        .into_iter()
        .enumerate()
        {
            let manner = format!("misfire: {policy}, max_lateness: 20m, max_catchup: 2, overlap: allow, typing: off");
            let to = format!("20100000{p}{s:02}");
            writeln!(file, "  {kind}-{policy}: {{ {schedule}, to: \"{to}\", text: hi, {manner} }}").unwrap();
            jobs.push(format!("{kind}-{policy}"));
        }
    }
    // Without a word about overlap, too: what is made up for must not skip itself.
    let made_up = "misfire: run_all, max_lateness: 20m, max_catchup: 2, typing: off";
    writeln!(file, "  plain-run_all: {{ cron: \"*/5 * * * *\", to: \"2010000099\", text: hi, {made_up} }}").unwrap();
    jobs.push("plain-run_all".to_owned());
    bench.write("jobs.yaml", &file);
    // Everything is planned ahead while the daemon runs for a moment right after noon.
    let begin = ms(NOON) + 10_000;
    run(&bench, &clock, begin, |b| b.log().contains("ready") && b.messages().len() >= 16);
    let end = begin + down;
    let settled = |b: &Bench| {
        let stats = b.json(&["stats"]);
        let open = b.messages().into_iter().any(|m| {
            let overdue = m["occurrence"].as_str().is_some_and(|o| ms(o) <= end);
            overdue && !["sent", "expired", "skipped"].contains(&m["state"].as_str().unwrap())
        });
        let planned = b.messages().iter().filter(|m| m["occurrence"].as_str().is_some_and(|o| ms(o) > end)).count();
        !open && planned >= 6 && stats["states"]["sending"] == 0
    };
    run(&bench, &clock, end, settled);
    let found = table(&bench, &jobs, end);
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(job, told)| ((*job).to_owned(), (*told).to_owned())).collect();
    assert_eq!(found, expected, "{}", bench.log());
}

#[test]
fn what_is_in_time_after_a_minute_or_two_is_sent() {
    after_downtime(
        120_000,
        &[
            ("at-run_all", "1 sent"),
            ("at-run_once", "1 sent"),
            ("at-skip", "1 sent"),
            ("cron-run_all", ""),
            ("plain-run_all", ""),
            ("cron-run_once", ""),
            ("cron-skip", ""),
            ("every-run_all", "2 sent"),
            ("every-run_once", "2 sent"),
            ("every-skip", "2 sent"),
            ("far-run_all", "1 sent"),
            ("far-run_once", "1 sent"),
            ("far-skip", "1 sent"),
            ("reminder-run_all", "1 sent"),
            ("reminder-run_once", "1 sent"),
            ("reminder-skip", "1 sent"),
        ],
    );
}

#[test]
fn an_hour_down_is_made_up_for_as_each_policy_says() {
    after_downtime(
        HOUR,
        &[
            ("at-run_all", "1 expired too_late"),
            ("at-run_once", "1 expired too_late"),
            ("at-skip", "1 expired too_late"),
            ("cron-run_all", "5 expired misfire, 10..40 7 late, 45..50 2 catchup, 55 sent, 60 sent"),
            ("plain-run_all", "5 expired misfire, 10..40 7 late, 45..50 2 catchup, 55 sent, 60 sent"),
            ("cron-run_once", "5 expired misfire, 10..40 7 late, 45..55 3 superseded, 60 sent"),
            ("cron-skip", "5 expired too_late, 10..55 10 late, 60 sent"),
            ("every-run_all", "2 expired misfire, 7..37 7 late, 42..47 2 catchup, 52 sent, 57 sent"),
            ("every-run_once", "2 expired misfire, 7..37 7 late, 42..52 3 superseded, 57 sent"),
            ("every-skip", "2 expired too_late, 7..57 11 late"),
            ("far-run_all", "1 expired too_late"),
            ("far-run_once", "1 expired too_late"),
            ("far-skip", "1 expired too_late"),
            ("reminder-run_all", "1 skipped event_passed"),
            ("reminder-run_once", "1 skipped event_passed"),
            ("reminder-skip", "1 skipped event_passed"),
        ],
    );
}

#[test]
fn three_days_down_are_made_up_for_as_each_policy_says() {
    after_downtime(
        72 * HOUR,
        &[
            ("at-run_all", "1 expired too_late"),
            ("at-run_once", "1 expired too_late"),
            ("at-skip", "1 expired too_late"),
            ("cron-run_all", "5 expired misfire, 10..4300 859 late, 4305..4310 2 catchup, 4315 sent, 4320 sent"),
            ("plain-run_all", "5 expired misfire, 10..4300 859 late, 4305..4310 2 catchup, 4315 sent, 4320 sent"),
            ("cron-run_once", "5 expired misfire, 10..4300 859 late, 4305..4315 3 superseded, 4320 sent"),
            ("cron-skip", "5 expired too_late, 10..4315 862 late, 4320 sent"),
            ("every-run_all", "2 expired misfire, 7..4297 859 late, 4302..4307 2 catchup, 4312 sent, 4317 sent"),
            ("every-run_once", "2 expired misfire, 7..4297 859 late, 4302..4312 3 superseded, 4317 sent"),
            ("every-skip", "2 expired too_late, 7..4317 863 late"),
            ("far-run_all", "1 expired too_late"),
            ("far-run_once", "1 expired too_late"),
            ("far-skip", "1 expired too_late"),
            ("reminder-run_all", "1 skipped event_passed"),
            ("reminder-run_once", "1 skipped event_passed"),
            ("reminder-skip", "1 skipped event_passed"),
        ],
    );
}

#[test]
fn an_occurrence_that_passed_half_planned_is_told_whole_and_keeps_no_later_one_waiting() {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    let rows: String = (0..700).map(|n| format!("2010000{n:05}\n")).collect();
    bench.write("people.csv", &format!("phone\n{rows}"));
    let job = "a: { cron: \"0 * * * *\", to: { csv: people.csv, chat: phone }, text: hi, typing: off, overlap: queue, misfire: skip, max_lateness: 20m }";
    bench.write(
        "jobs.yaml",
        &format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n  {job}\n"),
    );
    // The daemon dies when the first five hundred of noon are planned.
    clock.off_by(ms(NOON) - 10_000 - now_ms());
    let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    clock.give(&mut command);
    let said = std::fs::File::create(bench.path("died")).unwrap();
    let mut dying = process::Running(command.env("ONTHEDOT_CRASH_AT", "plan_begins:2").stderr(said).spawn().unwrap());
    until("the daemon dies", LIMIT, || dying.0.try_wait().unwrap().is_some());
    assert_eq!(bench.json(&["stats"])["states"]["scheduled"], 500);
    // It comes back too late for noon, and for one.
    let states = |b: &Bench| b.json(&["stats"])["states"].clone();
    run(&bench, &clock, ms(NOON) + HOUR * 3 / 2, |b| states(b)["expired"] == 700 && states(b)["scheduled"] == 700);
    run(&bench, &clock, ms(NOON) + 2 * HOUR - 2_000, |b| states(b)["sent"] == 700);
    let told = table(&bench, &["a".to_owned()], ms(NOON) + HOUR);
    let expired = told["a"].matches("0 expired misfire").count();
    assert_eq!(told["a"].replace("0 expired misfire, ", ""), "60..60 1 late");
    assert_eq!(expired, 700);
}

#[test]
fn what_is_missed_behind_an_occurrence_that_was_cancelled_before_its_job_changed_is_told() {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    let file = |text: &str| {
        let job = format!(
            "a: {{ cron: \"*/10 * * * *\", to: \"201000000001\", text: {text}, typing: off, max_lateness: 2m }}"
        );
        bench.write(
            "jobs.yaml",
            &format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n  {job}\n"),
        );
    };
    file("one");
    let count = |b: &Bench, state: &str| b.messages().iter().filter(|m| m["state"] == state).count();
    run(&bench, &clock, ms(NOON) - 2_000, |b| {
        b.log().contains(" ready ms=") && count(b, "sent") == 1 && count(b, "scheduled") == 1
    });
    let next = bench.messages().into_iter().find(|m| m["state"] == "scheduled").unwrap();
    command(&bench, &clock, ms(NOON) + 60_000, &["cancel", next["id"].as_str().unwrap()]);
    file("two");
    command(&bench, &clock, ms(NOON) + 120_000, &["job", "apply", "jobs.yaml", "--sandbox"]);
    run(&bench, &clock, ms(NOON) + 34 * 60_000, |b| count(b, "scheduled") == 1);
    let told = table(&bench, &["a".to_owned()], ms(NOON) + 34 * 60_000);
    assert_eq!(told["a"], "0 sent, 10 cancelled cancelled_by_person, 20..30 2 late");
}

#[test]
fn what_waits_for_a_window_a_pause_or_its_turn_does_not_expire_while_nobody_works() {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    let evening = ms("2026-06-10T18:00:00Z");
    let window = "window: { days: all, hours: \"09:00-20:00\" }";
    let many: Vec<String> = (0..40).map(|n| format!("\"2010000001{n:02}\"")).collect();
    // `capped` has sent its ten of the day, `slow` sends one in half an hour; `late` could have left all the time.
    let jobs = format!(
        "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: sandbox }}\n  capped: {{ gateway: sandbox, pacing: {{ per_day: 10 }} }}\n  \
         slow: {{ gateway: sandbox, pacing: {{ gap: 30m..30m }} }}\n\
         defaults: {{ typing: off, max_lateness: 1h }}\njobs:\n  \
         night: {{ at: 2026-06-10T21:00:00Z, instance: shop, to: \"201000000001\", text: hi, {window} }}\n  \
         stopped: {{ at: 2026-06-10T21:00:00Z, instance: shop, to: \"201000000002\", text: hi }}\n  \
         late: {{ at: 2026-06-10T21:00:00Z, instance: shop, to: \"201000000003\", text: hi }}\n  \
         many: {{ at: 2026-06-10T18:00:05Z, instance: capped, to: [{}], text: hi }}\n  \
         turns: {{ at: 2026-06-10T18:00:05Z, instance: slow, to: [{}], text: hi }}\n",
        many[..20].join(", "),
        many[20..].join(", "),
    );
    bench.write("jobs.yaml", &jobs);
    command(&bench, &clock, evening - 5_000, &["job", "apply", "jobs.yaml", "--sandbox"]);
    command(&bench, &clock, evening - 4_000, &["job", "pause", "stopped"]);
    let count = |b: &Bench, job: &str, state: &str| {
        b.json(&["list", "--job", job, "--state", state, "--limit", "100"])["messages"].as_array().unwrap().len()
    };
    run(&bench, &clock, evening, |b| count(b, "many", "sent") == 10 && count(b, "turns", "sent") == 1);
    // Off until shortly before midnight. Nine turns of `slow` were missed by more than an hour, at 18:30 to 22:30.
    run(&bench, &clock, ms("2026-06-10T23:59:50Z"), |b| {
        let turns = (count(b, "turns", "expired"), count(b, "turns", "sent"));
        count(b, "late", "expired") == 1 && count(b, "many", "sent") == 20 && turns == (9, 2)
    });
    assert_eq!(count(&bench, "many", "expired"), 0, "the next day had not come");
    // Off again until the window opens.
    run(&bench, &clock, ms("2026-06-11T08:59:58Z"), |b| count(b, "night", "sent") == 1);
    command(&bench, &clock, ms("2026-06-11T09:10:00Z"), &["job", "resume", "stopped"]);
    run(&bench, &clock, ms("2026-06-11T09:10:02Z"), |b| count(b, "stopped", "sent") == 1);
}

#[test]
fn an_occurrence_that_waits_has_all_later_ones_skipped_however_many() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n  \
         tick: { every: 1s, to: \"201000000001\", text: hi, typing: off }\n",
    );
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    bench.json(&["job", "pause", "tick"]);
    let _daemon = bench.start_sandboxed("{}\n");
    let count = |state: &str| {
        let all = bench.json(&["list", "--job", "tick", "--state", state, "--limit", "100"]);
        all["messages"].as_array().unwrap().len()
    };
    until("many are skipped", LIMIT, || bench.log().contains(" ready ms=") && count("skipped") >= 15);
    let come = |m: &serde_json::Value| ms(m["occurrence"].as_str().unwrap()) <= now_ms();
    until("of those that have come the first one alone waits", LIMIT, || {
        bench.messages().iter().filter(|m| m["state"] == "scheduled" && come(m)).count() == 1
    });
    bench.json(&["job", "resume", "tick"]);
    until("they go on", LIMIT, || count("sent") >= 2);
}

#[test]
fn of_several_instants_that_were_missed_the_latest_is_sent() {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    let at = "at: [2026-06-10T12:05:00Z, 2026-06-10T12:10:00Z, 2026-06-10T12:15:00Z]";
    let job = |policy: &str, to: u32| {
        format!(
            "  {policy}: {{ {at}, to: \"20100000000{to}\", text: hi, typing: off, misfire: {policy}, max_lateness: 1h }}\n"
        )
    };
    let head = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{}{}", job("run_once", 1), job("run_all", 2)));
    run(&bench, &clock, ms(NOON) + 10_000, |b| b.log().contains("ready") && !b.messages().is_empty());
    let sent =
        |b: &Bench, job: &str| b.json(&["list", "--job", job, "--state", "sent"])["messages"].as_array().unwrap().len();
    run(&bench, &clock, ms(NOON) + 20 * 60_000, |b| sent(b, "run_all") == 3 && sent(b, "run_once") >= 1);
    assert_eq!(sent(&bench, "run_once"), 1, "{:?}", bench.messages());
}

#[test]
fn an_occurrence_that_comes_before_the_last_is_finished_is_handled_as_the_job_says() {
    // Every second two messages, through lanes that take 1.1 s for each: every other occurrence comes too early. It is looked
    // at a quarter of a second before each, a third of a second away from any send.
    let bench = Bench::new();
    let (mut instances, mut jobs) = (String::new(), String::new());
    for policy in ["skip", "queue", "replace", "allow"] {
        writeln!(instances, "  {policy}: {{ gateway: sandbox, pacing: {{ gap: 1100ms..1100ms }} }}").unwrap();
        let schedule = "every: 1s, count: 4, typing: off";
        let to = "[\"201000000001\", \"201000000002\"]";
        writeln!(
            jobs,
            "  {policy}: {{ instance: {policy}, {schedule}, to: {to}, text: \"{policy} {{{{ nominal | iso }}}}\", overlap: {policy} }}"
        )
        .unwrap();
    }
    // Three seconds each, and one place in the queue: the third comes while the second waits for the first.
    writeln!(instances, "  full: {{ gateway: sandbox, pacing: {{ gap: 3s..3s }} }}").unwrap();
    writeln!(
        jobs,
        "  full: {{ instance: full, every: 1s, count: 3, typing: off, to: [\"201000000001\", \"201000000002\"], text: \"full {{{{ nominal | iso }}}}\", overlap: queue, max_catchup: 1 }}"
    )
    .unwrap();
    bench.write("jobs.yaml", &format!("version: 1\ntimezone: UTC\ninstances:\n{instances}jobs:\n{jobs}"));
    let output = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "127.0.0.1:0", "--until-idle=3s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut messages = bench.messages();
    messages.sort_by_key(|m| (m["occurrence"].to_string(), m["to"].to_string()));
    for m in messages {
        let (state, reason) = (m["state"].as_str().unwrap(), m["reason"].as_str().unwrap_or(""));
        told.entry(m["job"].as_str().unwrap().to_owned())
            .or_default()
            .push(format!("{state} {reason}").trim().to_owned());
    }
    let (sent, skipped, overtaken) = ("sent", "skipped overlap", "cancelled overtaken");
    assert_eq!(told["skip"], [sent, sent, skipped, skipped, sent, sent, skipped, skipped]);
    assert_eq!(told["replace"], [sent, overtaken, sent, overtaken, sent, overtaken, sent, sent]);
    assert_eq!(told["queue"], [sent; 8]);
    assert_eq!(told["allow"], [sent; 8]);
    assert_eq!(told["full"], [sent, sent, sent, sent, skipped, skipped]);
}
