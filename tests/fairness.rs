//! What shares an instance: broadcasts take turns, a single message does not stand behind them, and an urgent one is typed
//! to at once, however long the line is. The latter with real processes, a real file and real HTTP, judged by what the
//! gateway saw.
//!
//! `BROADCAST=n` says how many the broadcast goes to (20,000 by default), `URGENT=n` how many urgent messages arrive
//! (60 by default), `SEED=n` by which draws.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use onthedot::domain::draw::Draw;
use process::{Bench, Line, pause, until};
use supply::gateway;

const LIMIT: Duration = Duration::from_secs(120);

/// What the sandbox does to a send takes so long at most, in ms.
const SEND_TAKES: i64 = 60;

/// The longest gap between two sends, in ms.
const GAP: i64 = 40;

/// What a request takes beside that, and a message from its row to the daemon's hand, in ms: two processes on a busy
/// machine, a commit, and the file that tells the daemon of it.
const ON_THE_WAY: i64 = 150;

/// Two accounts: one whose concurrency is all taken by what is being typed, and one with none.
const ACCOUNTS: [(&str, &str); 2] = [("full", ", concurrency: 3"), ("free", "")];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// When a request to a chat of a path reached the gateway first.
fn first_at(journal: &[Line], path: &str) -> HashMap<String, i64> {
    let mut first = HashMap::new();
    for line in journal.iter().filter(|l| l.path.contains(path)) {
        first.entry(line.chat.clone()).or_insert(line.received_ms);
    }
    first
}

#[test]
fn what_waits_for_its_window_in_hand_keeps_no_other_from_its_instant() {
    let bench = Bench::new();
    // Windows open at whole minutes: the next one, but no sooner than all of this takes.
    let minute = 60_000;
    if minute - process::now_ms() % minute < 12_000 {
        pause(Duration::from_millis(u64::try_from(minute - process::now_ms() % minute).unwrap()));
    }
    let opens = (process::now_ms() / minute + 1) * minute;
    let clock = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().strftime("%H:%M").to_string();
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox, pacing: {{ concurrency: 1 }} }} }}\n\
             defaults: {{ typing: {{ lead: 500ms }} }}\njobs:\n  \
             shut: {{ in: 1s, to: [\"201000000001\", \"201000000002\"], text: hi, window: {{ hours: \"{}-{}\" }} }}\n  \
             open: {{ in: 4s, to: [\"201000000001\", \"201000000003\"], text: ho }}\n",
            clock(opens),
            clock(opens + 30 * minute),
        ),
    );
    let _daemon = bench.start_sandboxed("{}\n");
    let sent = || -> Vec<i64> {
        let all = bench.json(&["list", "--job", "open", "--state", "sent"]);
        all["messages"].as_array().unwrap().iter().map(|m| m["late_ms"].as_i64().unwrap()).collect()
    };
    until("both that are open are sent", Duration::from_secs(30), || {
        bench.log().contains(" ready ms=") && sent().len() == 2
    });
    assert!(process::now_ms() < opens, "before the window of the others opens");
    assert!(sent().iter().all(|late| *late < 2_000), "the second one is typed to after the first: {:?}", sent());
}

#[test]
fn an_urgent_message_is_typed_to_within_a_send_and_a_gap_whatever_broadcast_is_running() {
    let (guests, urgent, seed) = (number("BROADCAST", 20_000), number("URGENT", 60), number("SEED", 7));
    let bench = Bench::new();
    bench.write("scenario.yaml", &format!("seed: {seed}\ndoing: 20ms..{SEND_TAKES}ms\n"));
    let (_gateway, url) = gateway(&bench);
    let (mut instances, mut jobs) = (String::new(), String::new());
    for (n, (name, more)) in ACCOUNTS.iter().enumerate() {
        let rows: String = (0..guests / 2).map(|g| format!("20{n}{g:09}\n")).collect();
        bench.write(&format!("{name}.csv"), &format!("phone\n{rows}"));
        writeln!(
            instances,
            "  {name}: {{ gateway: wawp, base_url: \"{url}\", instance_id: i{n}, access_token: t, pacing: {{ gap: 20ms..{GAP}ms{more} }} }}"
        )
        .unwrap();
        writeln!(
            jobs,
            "  all-{name}: {{ in: 1s, class: campaign, instance: {name}, to: {{ csv: {name}.csv, chat: phone }}, text: \"hi\", typing: {{ lead: 300ms }} }}"
        )
        .unwrap();
    }
    bench.write("jobs.yaml", &format!("version: 1\ntimezone: UTC\ninstances:\n{instances}jobs:\n{jobs}"));
    let _daemon = bench.start(&["run", "jobs.yaml", "--listen", "off", "-q"]);
    until("the broadcast runs", LIMIT, || bench.journal().iter().filter(|l| is_send(l)).count() > 20);
    let draw = Draw::new(seed, "urgent");
    let mut ids = Vec::new();
    for n in 0..urgent {
        let to = format!("4915100{n:05}");
        let through = ACCOUNTS[usize::try_from(n % 2).unwrap()].0;
        let arguments = ["send", "--to", &to, "--text", "now", "--class", "urgent", "--lead", "200ms", "--instance"];
        let sent = bench.json(&[&arguments[..], &[through]].concat());
        ids.push(sent["id"].as_str().unwrap().to_owned());
        let wait = draw.with_number(i64::try_from(n).unwrap()).between(50, 400);
        pause(Duration::from_millis(u64::try_from(wait).unwrap()));
    }
    let mut urgent_ones = Vec::new();
    for id in &ids {
        until("the urgent ones left", LIMIT, || bench.json(&["show", id])["state"] == "sent");
        urgent_ones.push(bench.json(&["show", id]));
    }
    let stats = bench.json(&["stats"]);
    assert!(stats["states"]["scheduled"].as_u64().unwrap() > guests / 4, "the broadcast still runs: {stats}");
    let journal = bench.journal();
    let typed = first_at(&journal, "start-typing");
    let mut waited: Vec<(i64, String)> = urgent_ones
        .iter()
        .map(|m| {
            let chat = m["to"].as_str().unwrap();
            let created = m["created_at"].as_str().unwrap();
            let created = chrono::DateTime::parse_from_rfc3339(created).unwrap().timestamp_millis();
            (typed[chat] - created, m["instance"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(waited.len() as u64, urgent);
    waited.sort_unstable();
    let (median, last) = (&waited[waited.len() / 2], &waited[waited.len() - 1]);
    println!(
        "seed {seed}: {urgent} urgent beside {guests}: typed to after {} ms in the middle, {} ms at most ({})",
        median.0, last.0, last.1
    );
    let bound = SEND_TAKES + GAP + ON_THE_WAY;
    assert!(last.0 <= bound, "{:?} of at most {bound} ms", &waited[waited.len().saturating_sub(10)..]);
    assert_pace(&journal);
    // Each makes a few others wait, once.
    let stopped = journal.iter().filter(|l| l.path.ends_with("stop-typing")).count() as u64;
    println!("typing was taken back {stopped} times for {urgent} urgent messages");
    assert!(stopped <= 3 * urgent, "typing was taken back {stopped} times for {urgent} urgent messages");
}

/// A gateway that is slow to begin typing and slower still to end it: longer than the gap, so that a lane that took typing
/// back for every urgent message again and again would do nothing else.
const SLOW: &str =
    "doing: 20ms..60ms\nfaults:\n  - { on: stop-typing, do_delay: 1500ms }\n  - { on: typing, do_delay: 600ms }\n";

#[test]
fn a_gateway_slow_to_end_typing_is_asked_once_for_an_urgent_message_and_nothing_is_sent_twice() {
    let urgent = 6;
    let bench = Bench::new();
    bench.write("scenario.yaml", SLOW);
    let (_gateway, url) = gateway(&bench);
    let rows: String = (0..200).map(|g| format!("20{g:010}\n")).collect();
    bench.write("all.csv", &format!("phone\n{rows}"));
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: wawp, base_url: \"{url}\", instance_id: i, \
             access_token: t, pacing: {{ gap: 300ms..400ms, concurrency: 2 }} }}\njobs:\n  all: {{ in: 1s, class: campaign, \
             to: {{ csv: all.csv, chat: phone }}, text: hi, typing: {{ lead: 3s }} }}\n"
        ),
    );
    let mut daemon = bench.start(&["run", "jobs.yaml", "--listen", "off", "-q"]);
    until("the broadcast runs", LIMIT, || bench.journal().iter().filter(|l| is_send(l)).count() > 2);
    for n in 0..urgent {
        let to = format!("4915100{n:05}");
        let arguments = ["send", "--to", &to, "--text", "now", "--class", "urgent", "--lead", "800ms", "--wait=60s"];
        assert_eq!(bench.json(&arguments)["created"], true);
    }
    let pid = i32::try_from(daemon.0.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM).unwrap();
    until("the daemon ends", Duration::from_secs(10), || daemon.0.try_wait().unwrap().is_some());
    let (mut sends, mut stops) = (HashMap::new(), 0);
    let mut typed: HashMap<String, i64> = HashMap::new();
    let journal = bench.journal();
    for line in &journal {
        if is_send(line) {
            *sends.entry(line.chat.clone()).or_insert(0) += 1;
            assert!(typed.contains_key(&line.chat), "{} was sent to without typing", line.chat);
        } else if line.path.ends_with("stop-typing") {
            stops += 1;
        } else {
            typed.insert(line.chat.clone(), line.received_ms);
        }
    }
    assert!(sends.len() > urgent && sends.values().all(|n| *n == 1), "{sends:?}");
    // Its two places were taken by others, and two are typed in when the daemon ends.
    assert!(stops <= 2 * urgent + 2, "typing was taken back {stops} times for {urgent} urgent messages");
    for message in bench.messages().iter().filter(|m| m["state"] != "scheduled" || m["attempts"] != 0) {
        let shown = bench.json(&["show", message["id"].as_str().unwrap()]);
        let events = shown["events"].as_array().unwrap().len();
        assert!(events <= 20, "{events} events of one message: {shown}");
    }
}

fn is_send(line: &Line) -> bool {
    line.path.ends_with("/send/text")
}

/// Every account keeps its pace all the while: no second has more sends than its shortest gap, with its margin of 20 ms,
/// allows, and a few that were held up on their way.
fn assert_pace(journal: &[Line]) {
    let mut of: HashMap<&str, Vec<i64>> = HashMap::new();
    for line in journal.iter().filter(|l| is_send(l)) {
        of.entry(&line.instance).or_default().push(line.received_ms);
    }
    assert_eq!(of.len(), ACCOUNTS.len());
    for (instance, mut at) in of {
        at.sort_unstable();
        let most = at.iter().map(|t| at.iter().filter(|u| (*t..*t + 1_000).contains(*u)).count()).max();
        assert!(most <= Some(1_000 / 40 + 3), "{instance}: {most:?} sends in a second of {}", at.len());
    }
}

/// Jobs that wait for the same lane, one send every ten seconds.
fn waiting_together() -> Vec<(String, i64)> {
    let bench = Bench::new();
    let list = |job: u32| (0..60).map(|n| format!("\"20{job}0000{n:05}\"")).collect::<Vec<_>>().join(", ");
    let job = |name: &str, number, class: &str| {
        format!("  {name}: {{ at: 2030-01-01T10:00, class: {class}, to: [{}], text: hi }}\n", list(number))
    };
    let jobs = [job("one", 1, "campaign"), job("two", 2, "campaign"), job("rest", 3, "bulk")].concat();
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox, pacing: {{ rate: 6/min }} }} }}\n\
             defaults: {{ typing: off }}\njobs:\n{jobs}  \
             single: {{ at: 2030-01-01T10:05:30, to: \"201000000001\", text: hi }}\n"
        ),
    );
    let span = ["--from", "2030-01-01T09:00", "--until", "2030-01-01T12:00", "--limit", "1000"];
    let told = bench.json(&[&["simulate", "jobs.yaml"][..], &span].concat());
    let instant =
        |v: &serde_json::Value| chrono::DateTime::parse_from_rfc3339(v.as_str().unwrap()).unwrap().timestamp_millis();
    let messages = told["messages"].as_array().unwrap().iter().filter(|m| !m["sends_at"].is_null());
    let mut sends: Vec<(String, i64)> =
        messages.map(|m| (m["job"].as_str().unwrap().to_owned(), instant(&m["sends_at"]))).collect();
    sends.sort_by_key(|(_, at)| *at);
    sends
}

#[test]
fn broadcasts_take_turns_by_the_weights_of_their_classes_and_none_stands_behind_another() {
    let sends = waiting_together();
    assert_eq!(sends.len(), 181, "everybody is served");
    let counted = |job: &str, first: usize| sends[..first].iter().filter(|(j, _)| j == job).count();
    // While all three wait, two campaigns share three parts and the bulk has one.
    let shares = [counted("one", 80), counted("two", 80), counted("rest", 80)];
    assert!(shares.iter().zip([30, 30, 20]).all(|(n, of)| n.abs_diff(of) <= 2), "{shares:?}");
}

#[test]
fn a_single_message_waits_for_the_next_free_slot_and_not_for_a_broadcast() {
    let sends = waiting_together();
    let due = chrono::DateTime::parse_from_rfc3339("2030-01-01T10:05:30Z").unwrap().timestamp_millis();
    let at = sends.iter().find(|(job, _)| job == "single").unwrap().1;
    let after_due = sends.iter().filter(|(_, other)| (due..at).contains(other)).count();
    assert!(
        at > due && after_due == 0,
        "{after_due} of others left after it was due and before it, at {} ms",
        at - due
    );
}
