//! What a person does by hand beside a running daemon: repairs, pauses, jobs, instances.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, now_ms, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

fn jobs(jobs: &str) -> String {
    format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n{jobs}")
}

fn daemon(bench: &Bench) -> process::Running {
    let running = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    until("the daemon is ready", LIMIT, || bench.log().contains("ready"));
    running
}

fn state(bench: &Bench, id: &str) -> String {
    bench.json(&["show", id])["state"].as_str().unwrap().to_owned()
}

fn send(bench: &Bench, arguments: &[&str]) -> String {
    let sent = bench.json(&[&["send", "--to", "201234567890"], arguments].concat());
    sent["id"].as_str().unwrap().to_owned()
}

fn code(bench: &Bench, arguments: &[&str]) -> i32 {
    bench.run(arguments).status.code().unwrap()
}

#[test]
fn messages_are_held_released_put_off_moved_and_tried_again() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &jobs("  {}\n").replace("jobs:\n  {}\n", "jobs: {}\n"));
    let _daemon = daemon(&bench);
    let held = send(&bench, &["--text", "one", "--in", "1h"]);
    assert_eq!(code(&bench, &["hold", &held]), 0);
    assert_eq!(state(&bench, &held), "held");
    assert_eq!(bench.json(&["show", &held])["waiting"][0]["gate"], "person");
    assert_eq!(code(&bench, &["snooze", &held, "--for", "1h"]), 5, "a held message is released first");
    assert_eq!(code(&bench, &["release", &held]), 0);
    let shown = bench.json(&["show", &held]);
    assert_eq!((shown["state"].as_str(), shown["reason"].as_str()), (Some("scheduled"), Some("released")));
    let due = |id: &str| bench.json(&["show", id])["due_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let before = due(&held);
    assert_eq!(code(&bench, &["snooze", &held, "--for", "90m"]), 0);
    assert_eq!(due(&held).duration_since(before).as_secs(), 5_400, "put off from its due, which is still to come");
    assert_eq!(code(&bench, &["reschedule", &held, "--at", "2099-01-01T10:00:00Z", "--dry-run"]), 0);
    assert_ne!(due(&held).to_string(), "2099-01-01T10:00:00Z", "a dry run changes nothing");
    assert_eq!(code(&bench, &["cancel", &held]), 0);
    assert_eq!(code(&bench, &["retry", &held]), 0);
    until("it is sent", LIMIT, || state(&bench, &held) == "sent");
    assert_eq!(code(&bench, &["retry", &held]), 5, "what was sent stays sent");
    assert_eq!(code(&bench, &["retry", "00000000-0000-7000-8000-000000000000"]), 3);
    assert_eq!(code(&bench, &["retry", "nonsense"]), 2);
    // Moved to an instant while it is being typed to: typing ends, and it leaves then.
    let typed = send(&bench, &["--text", "two", "--lead", "4s"]);
    until("it is typed", LIMIT, || state(&bench, &typed) == "typing");
    assert_eq!(code(&bench, &["snooze", &typed, "--for", "1h"]), 0);
    until("typing is taken back", LIMIT, || bench.journal().iter().any(|l| l.path.ends_with("stop-typing")));
    assert_eq!(state(&bench, &typed), "scheduled");
}

#[test]
fn filters_need_yes_and_do_what_they_found() {
    let bench = Bench::new();
    let list: Vec<String> = (0..700).map(|n| format!("\"2010000{n:04}\"")).collect();
    bench.write("jobs.yaml", &jobs(&format!("  a: {{ at: 2099-01-01T00:00, to: [{}], text: hi }}\n", list.join(", "))));
    let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"];
    assert!(bench.run(&run).status.success());
    assert_eq!(code(&bench, &["hold", "--job", "a"]), 5, "off a terminal a filter needs --yes");
    assert_eq!(code(&bench, &["hold"]), 2);
    let held = bench.json(&["hold", "--job", "a", "--yes"]);
    assert_eq!(held["results"].as_array().unwrap().len(), 700);
    assert_eq!(bench.json(&["stats"])["states"]["held"], 700);
    assert_eq!(code(&bench, &["release", "--job", "a", "--to", "20100000005", "--yes"]), 0);
    assert_eq!(bench.json(&["stats"])["states"]["scheduled"], 1);
    assert_eq!(code(&bench, &["cancel", "--job", "a", "--yes"]), 0);
    assert_eq!(bench.json(&["stats"])["states"]["cancelled"], 700);
    assert_eq!(code(&bench, &["cancel", "--job", "nobody", "--yes"]), 0, "nothing to do is done");
}

#[test]
fn a_pause_takes_typing_back_and_nothing_leaves_until_it_is_over() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &jobs("  a: { in: 1h, to: \"201000000001\", text: hi }\n"));
    let _daemon = daemon(&bench);
    let sends = || bench.journal().iter().filter(|l| l.path == "/v2/send/text").count();
    let pauses: [(&[&str], &[&str]); 2] = [
        (&["pause", "--note", "wrong price"], &["resume"]),
        (&["instance", "pause", "shop", "--for", "1h"], &["instance", "resume", "shop"]),
    ];
    for (n, (pause, resume)) in pauses.into_iter().enumerate() {
        let id = send(&bench, &["--text", &format!("hi {n}"), "--lead", "3s"]);
        until("it is typed", LIMIT, || state(&bench, &id) == "typing");
        assert_eq!(code(&bench, pause), 0);
        until("typing is taken back", LIMIT, || {
            bench.journal().iter().filter(|l| l.path.ends_with("stop-typing")).count() == n + 1
        });
        process::pause(Duration::from_secs(4));
        assert_eq!(sends(), n, "nothing leaves while paused");
        let waiting = bench.json(&["show", &id])["waiting"].to_string();
        assert!(waiting.contains("\"pause\""), "{waiting}");
        assert_eq!(bench.json(&["instance", "list"])["instances"][0]["state"], "paused");
        assert_eq!(code(&bench, resume), 0);
        until("it is sent", LIMIT, || state(&bench, &id) == "sent");
    }
    // One that ends by itself.
    assert_eq!(code(&bench, &["pause", "--for", "2s"]), 0);
    let id = send(&bench, &["--text", "bye", "--lead", "0s"]);
    until("it is sent when the pause is over", LIMIT, || state(&bench, &id) == "sent");
    let late = bench.json(&["show", &id])["late_ms"].as_i64().unwrap();
    assert!((1_000..2_600).contains(&late), "{late} ms");
    assert_eq!(code(&bench, &["job", "pause", "nobody"]), 3);
}

#[test]
fn the_same_text_to_the_same_chat_within_a_minute_is_held_and_said() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &jobs("  a: { in: 1h, to: \"201000000001\", text: hi }\n"));
    let _daemon = daemon(&bench);
    let first = send(&bench, &["--text", "order ready", "--lead", "0s", "--wait"]);
    let twice = send(&bench, &["--text", "order ready", "--lead", "0s"]);
    until("the second is held", LIMIT, || state(&bench, &twice) == "held");
    let shown = bench.json(&["show", &twice]);
    assert_eq!(shown["reason"], "repeated");
    assert!(shown["events"].to_string().contains(&first), "the first one is named");
    let keyed = send(&bench, &["--text", "order ready", "--lead", "0s", "--key", "second-order", "--wait"]);
    assert_eq!(state(&bench, &keyed), "sent", "a key vouches for it");
    assert_eq!(code(&bench, &["release", &twice]), 0);
    until("the released one is sent", LIMIT, || state(&bench, &twice) == "sent");
}

#[test]
fn jobs_are_listed_paused_run_now_applied_and_removed() {
    let bench = Bench::new();
    let file =
        "  a: { cron: \"0 9 * * *\", to: [\"201000000001\", \"201000000002\"], text: hi, typing: { lead: 300ms } }\n";
    bench.write("jobs.yaml", &jobs(file));
    let daemon = daemon(&bench);
    let listed = bench.json(&["job", "list"])["jobs"][0].clone();
    let expected = [("name", "a"), ("schedule", "cron 0 9 * * *"), ("zone", "UTC"), ("state", "active")];
    for (key, value) in expected {
        assert_eq!(listed[key], value, "{listed}");
    }
    assert_eq!(listed["next"].as_array().unwrap().len(), 3);
    assert_eq!((listed["counts"]["scheduled"].as_i64(), &listed["last"]), (Some(2), &Value::Null));
    assert_eq!(code(&bench, &["job", "pause", "a", "--note", "holiday"]), 0);
    assert_eq!(bench.json(&["job", "show", "a"])["state"], "paused");
    assert_eq!(code(&bench, &["job", "resume", "a"]), 0);
    assert_eq!(code(&bench, &["job", "run-now", "a"]), 0);
    until("both are sent", LIMIT, || bench.json(&["stats"])["states"]["sent"] == 2);
    assert_eq!(bench.json(&["stats"])["states"]["scheduled"], 2, "its schedule goes on as before");
    assert_eq!(bench.json(&["job", "list"])["jobs"][0]["last"]["state"], "sent");
    // Another file: what it would do, then doing it, then the same by a signal.
    bench.write("jobs.yaml", &jobs(&file.replace("text: hi", "text: bye")));
    let planned = bench.json(&["plan", "jobs.yaml", "--sandbox"]);
    assert_eq!(
        (planned["jobs"][0]["change"].as_str(), planned["jobs"][0]["cancels"].as_i64()),
        (Some("changed"), Some(2))
    );
    assert_eq!(
        bench.json(&["plan", "jobs.yaml", "--sandbox"])["jobs"][0]["change"],
        "changed",
        "planning touches nothing"
    );
    assert_eq!(code(&bench, &["job", "apply", "jobs.yaml", "--sandbox"]), 0);
    until("the new ones are planned", LIMIT, || bench.json(&["stats"])["states"]["scheduled"] == 2);
    assert_eq!(bench.json(&["plan", "jobs.yaml", "--sandbox"])["jobs"][0]["change"], "unchanged");
    bench.write(
        "jobs.yaml",
        &jobs(&format!("{file}  b: {{ in: 100ms, to: \"201000000003\", text: hi, typing: off }}\n")),
    );
    let pid = i32::try_from(daemon.0.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::HUP).unwrap();
    until("the new job is sent", LIMIT, || bench.json(&["stats"])["states"]["sent"] == 3);
    bench.write("jobs.yaml", "version: 1\njobs: [\n");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::HUP).unwrap();
    until("the errors are told", LIMIT, || bench.log().contains("the jobs file has errors"));
    assert_eq!(code(&bench, &["job", "remove", "a"]), 0);
    assert_eq!(bench.json(&["stats"])["states"]["scheduled"], 0);
    assert_eq!(code(&bench, &["job", "show", "a"]), 3);
    // Declared again it fires again: what its removal cancelled is in nobody's way.
    bench.write("jobs.yaml", &jobs(file));
    assert_eq!(code(&bench, &["job", "apply", "jobs.yaml", "--sandbox"]), 0);
    until("it is planned again", LIMIT, || bench.json(&["stats"])["states"]["scheduled"] == 2);
}

#[test]
fn a_sequence_goes_out_in_order_and_ends_where_one_of_it_fails() {
    let bench = Bench::new();
    bench.write("scenario.yaml", "faults:\n  - { on: send, chat: \"2020*\", text: two, answer: { status: 400 } }\n");
    bench.write(
        "jobs.yaml",
        &jobs("  a: { in: 3s, to: [\"201000000001\", \"202000000001\"], typing: { lead: 300ms }, messages: [{ text: one }, { text: two }, { text: three }] }\n"),
    );
    let output = bench.run(&[
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--listen",
        "off",
        "--journal",
        "journal",
        "--until-idle=4s",
    ]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let mut by_chat: Vec<(String, String, String)> = bench
        .messages()
        .iter()
        .map(|m| {
            let text = bench.json(&["show", m["id"].as_str().unwrap()])["content"]["text"].as_str().unwrap().to_owned();
            let reason = m["reason"].as_str().unwrap_or("").to_owned();
            (m["to"].as_str().unwrap().to_owned(), text, format!("{} {reason}", m["state"].as_str().unwrap()))
        })
        .collect();
    by_chat.sort();
    let expected = [
        ("201000000001@c.us", "one", "sent "),
        ("201000000001@c.us", "three", "sent "),
        ("201000000001@c.us", "two", "sent "),
        ("202000000001@c.us", "one", "sent "),
        ("202000000001@c.us", "three", "skipped sequence"),
        ("202000000001@c.us", "two", "failed refused"),
    ];
    assert_eq!(by_chat, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    // Typing before every one of them, and never two at once in a chat.
    let first: Vec<String> =
        bench.journal().into_iter().filter(|l| l.chat == "201000000001@c.us").map(|l| l.path).collect();
    assert_eq!(first.join(" ").matches("start-typing /v2/send/text").count(), 3, "{first:?}");
}

#[test]
fn spread_expiry_and_windows_hold_for_real() {
    let bench = Bench::new();
    let now: jiff::Timestamp = jiff::Timestamp::from_millisecond(process::now_ms()).unwrap();
    let hour = now.to_zoned(jiff::tz::TimeZone::UTC).hour();
    let (closed_from, closed_to) = ((hour + 2) % 24, (hour + 3) % 24);
    let file = format!(
        "  spread: {{ in: 1s, to: [\"201000000001\", \"201000000002\", \"201000000003\", \"201000000004\"], text: hi, typing: off, spread: 4s }}
  closed: {{ in: 1s, to: \"201000000005\", text: hi, typing: off, window: {{ hours: \"{closed_from:02}:00-{closed_to:02}:00\" }} }}
  useless: {{ in: 1s, to: \"201000000006\", text: hi, typing: off, expires: 2s, window: {{ hours: \"{closed_from:02}:00-{closed_to:02}:00\" }} }}
"
    );
    bench.write("jobs.yaml", &jobs(&file));
    let _daemon = daemon(&bench);
    until("four are sent", LIMIT, || bench.json(&["stats"])["states"]["sent"] == 4);
    until("one expired", LIMIT, || bench.json(&["stats"])["states"]["expired"] == 1);
    let at: Vec<i64> = bench.journal().iter().map(|l| l.received_ms).collect();
    for pair in at.windows(2) {
        assert!((pair[1] - pair[0] - 1_000).abs() < 100, "evenly over the span: {at:?}");
    }
    let of = |to: &str| bench.messages().into_iter().find(|m| m["to"] == format!("{to}@c.us")).unwrap();
    assert_eq!(
        (of("201000000006")["state"].as_str(), of("201000000006")["reason"].as_str()),
        (Some("expired"), Some("expires"))
    );
    let waits = of("201000000005");
    assert_eq!((waits["state"].as_str(), waits["reason"].as_str()), (Some("scheduled"), Some("window")));
    let wake: jiff::Timestamp = waits["wake_at"].as_str().unwrap().parse().unwrap();
    let opens = wake.to_zoned(jiff::tz::TimeZone::UTC);
    assert_eq!((opens.hour(), opens.minute(), opens.second()), (closed_from, 0, 0));
}

#[test]
fn what_explain_foretells_is_what_happens() {
    let bench = Bench::new();
    let to: Vec<String> = (0..12).map(|n| format!("\"2010000{n:05}\"")).collect();
    let file = format!(
        "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox, pacing: {{ gap: 300ms..900ms, rate: 5/min, concurrency: 2, batch: 4, rest: 3s..4s }} }} }}
jobs:
  a: {{ in: 4s, to: [{}], text: hi, typing: {{ lead: 1500ms }} }}
",
        to[..8].join(", ")
    );
    bench.write("jobs.yaml", &file.replace("rate: 5/min", "rate: 6/s"));
    let _daemon = daemon(&bench);
    // Asked while the first of them is being typed to already.
    until("one is typed", LIMIT, || bench.json(&["stats"])["states"]["typing"] != 0);
    let mut foretold = Vec::new();
    for m in bench.messages() {
        let id = m["id"].as_str().unwrap().to_owned();
        let explained = bench.json(&["explain", &id]);
        let at: jiff::Timestamp = explained["earliest_at"].as_str().unwrap().parse().unwrap();
        foretold.push((id, at.as_millisecond(), explained));
    }
    assert_eq!(foretold.len(), 8);
    until("all are sent", LIMIT, || bench.json(&["stats"])["states"]["sent"] == 8);
    for (id, at, explained) in foretold {
        let sent: jiff::Timestamp = bench.json(&["show", &id])["sent_at"].as_str().unwrap().parse().unwrap();
        let off = sent.as_millisecond() - at;
        assert!((0..150).contains(&off), "{id} left {off} ms after what was foretold: {explained:#}");
    }
}

#[test]
fn explain_counts_what_is_more_pressing_and_comes_while_a_message_waits_for_its_lane() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ndefaults: { typing: off }\ninstances:\n  shop: { gateway: sandbox, pacing: { gap: 5s..5s } }\njobs: {}\n",
    );
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    let due = (now_ms() / 1_000 + 3_600) * 1_000;
    let at = |ms: i64| onthedot::domain::time::Timestamp(ms).to_rfc3339();
    let send = |to: &str, ms: i64, class: &str| {
        let sent = bench.json(&["send", "--to", to, "--text", "hi", "--at", &at(ms), "--class", class]);
        sent["id"].as_str().unwrap().to_owned()
    };
    send("201000000001", due, "normal");
    send("201000000002", due, "normal");
    let last = send("201000000003", due, "normal");
    // The lane adds a few milliseconds to each gap: whole seconds are compared.
    let second = |instant: &str| instant[..19].to_owned();
    let earliest = |id: &str| second(bench.json(&["explain", id])["earliest_at"].as_str().unwrap());
    assert_eq!(earliest(&last), second(&at(due + 10_000)));
    // It wakes after the three, and goes before two of them.
    let urgent = send("201000000004", due + 3_000, "urgent");
    assert_eq!(earliest(&urgent), second(&at(due + 5_000)));
    assert_eq!(earliest(&last), second(&at(due + 15_000)));
}

#[test]
fn explain_knows_of_the_turns_that_another_campaign_takes() {
    let bench = Bench::new();
    let to = |first: u32| {
        let all: Vec<String> = (first..first + 22).map(|n| format!("\"2010000{n:05}\"")).collect();
        all.join(", ")
    };
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ndefaults: {{ typing: off, class: campaign }}\ninstances:\n  shop: {{ gateway: sandbox, pacing: {{ gap: 200ms..200ms }} }}\njobs:\n  \
             a: {{ in: 3s, to: [{}], text: hi }}\n  b: {{ in: 4s, to: [{}], text: hello }}\n",
            to(0),
            to(100)
        ),
    );
    let _daemon = daemon(&bench);
    until("both are planned", LIMIT, || bench.messages().len() == 44);
    let mut of_a = bench.json(&["list", "--job", "a", "--limit", "100"])["messages"].as_array().unwrap().clone();
    of_a.sort_by_key(|m| m["id"].to_string());
    let last = of_a.last().unwrap()["id"].as_str().unwrap().to_owned();
    let ms = |v: &Value| v.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let foretold = ms(&bench.json(&["explain", &last])["earliest_at"]);
    until("all are sent", LIMIT, || bench.json(&["stats"])["states"]["sent"] == 44);
    let off = ms(&bench.json(&["show", &last])["sent_at"]) - foretold;
    // A turn is 220 ms; alone it would have gone some three seconds earlier.
    assert!((-500..1_000).contains(&off), "it left {off} ms after what was foretold");
}
