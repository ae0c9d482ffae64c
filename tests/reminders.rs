//! Reminders of events, and hours on each recipient's own clock: what is planned when, moved, called off, and skipped.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, now_ms, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

fn rfc(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn start(bench: &Bench, jobs: &str, passive: bool) -> Running {
    let head = "version: 1\ntimezone: Europe/Berlin\ninstances: { shop: { gateway: sandbox } }\n\
                defaults: { typing: { lead: 500ms } }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{jobs}"));
    let ready = bench.log().matches("ready").count();
    let mut arguments = vec!["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"];
    if passive {
        arguments.push("--passive");
    }
    let running = bench.start(&arguments);
    until("it is ready", LIMIT, || bench.log().matches("ready").count() > ready);
    running
}

/// Messages of a job that were not replaced: recipient, due, state and reason, by due.
fn told(bench: &Bench, job: &str) -> Vec<String> {
    let mut all: Vec<Value> = bench.json(&["list", "--job", job])["messages"].as_array().unwrap().clone();
    all.retain(|m| m["reason"] != "replaced");
    all.sort_by_key(|m| (m["due_at"].to_string(), m["to"].to_string()));
    let word = |m: &Value, key: &str| m[key].as_str().unwrap_or("").to_owned();
    all.iter()
        .map(|m| {
            let (to, due) = (word(m, "to").replace("@c.us", ""), word(m, "due_at").replace(":00.000Z", ""));
            format!("{to} {due} {} {}", word(m, "state"), word(m, "reason")).trim().to_owned()
        })
        .collect()
}

#[test]
fn reminders_are_due_on_the_clock_of_each_recipient() {
    let bench = Bench::new();
    bench.write("guests.csv", "to,zone\n491700000001,\n819012345678,\n201000000003,America/New_York\n");
    // 2099-12-03 is a Thursday; Berlin is at +01:00, Tokyo at +09:00, New York at -05:00.
    let jobs = "  dinner: { event: 2099-12-03T20:30, remind: [-1d@18:00, -2h, +1d], to: { csv: guests.csv }, \
                text: \"Dinner at {{ event | time }}\" }\n";
    let _daemon = start(&bench, jobs, true);
    until("all are planned", LIMIT, || told(&bench, "dinner").len() == 9);
    assert_eq!(
        told(&bench, "dinner"),
        [
            // In Tokyo it is the fourth already when the dinner begins at 04:30.
            "491700000001 2099-12-02T17:00 scheduled",
            "201000000003 2099-12-02T23:00 scheduled",
            "819012345678 2099-12-03T09:00 scheduled",
            "201000000003 2099-12-03T17:30 scheduled",
            "491700000001 2099-12-03T17:30 scheduled",
            "819012345678 2099-12-03T17:30 scheduled",
            "201000000003 2099-12-04T19:30 scheduled",
            "491700000001 2099-12-04T19:30 scheduled",
            "819012345678 2099-12-04T19:30 scheduled",
        ]
    );
}

#[test]
fn the_hours_of_a_job_may_be_those_of_each_recipient() {
    let bench = Bench::new();
    bench.write("guests.csv", "to,zone\n491700000001,\n819012345678,\n201000000003,America/New_York\n");
    let jobs = "  morning: { cron: \"0 9 * * *\", starts: 2099-12-03, timezone: recipient, to: { csv: guests.csv }, \
                text: \"{{ nominal | time }} {{ due | iso }}\" }\n  \
                once: { at: 2099-03-29T02:30, timezone: recipient, to: { csv: guests.csv }, text: hi }\n";
    let _daemon = start(&bench, jobs, true);
    until("both are planned", LIMIT, || told(&bench, "morning").len() == 3 && told(&bench, "once").len() == 3);
    assert_eq!(
        told(&bench, "morning"),
        [
            "819012345678 2099-12-03T00:00 scheduled",
            "491700000001 2099-12-03T08:00 scheduled",
            "201000000003 2099-12-03T14:00 scheduled",
        ]
    );
    // Berlin has no 02:30 on that day: it moves later by what is skipped.
    assert_eq!(
        told(&bench, "once"),
        [
            "819012345678 2099-03-28T17:30 scheduled",
            "491700000001 2099-03-29T01:30 scheduled",
            "201000000003 2099-03-29T06:30 scheduled",
        ]
    );
    let next = bench.json(&["job", "show", "morning"])["next"][0].as_str().unwrap().to_owned();
    assert_eq!(next, "2099-12-03T09:00:00.000Z", "named by the hour all clocks will show");
}

#[test]
fn reminders_of_a_past_event_are_skipped_and_say_why() {
    let bench = Bench::new();
    let event = rfc(now_ms() - 600_000);
    let jobs = format!("  gone: {{ event: \"{event}\", remind: [-1h, -5m, +5m], to: \"201000000001\", text: hi }}\n");
    let _daemon = start(&bench, &jobs, false);
    until("all are settled", LIMIT, || told(&bench, "gone").iter().filter(|m| !m.contains("scheduled")).count() == 3);
    let all: Vec<String> = told(&bench, "gone").iter().map(|m| m.split_once("Z ").unwrap().1.to_owned()).collect();
    // What comes after the event is only five minutes late.
    assert_eq!(all, ["skipped event_passed", "skipped event_passed", "sent"]);
}

#[test]
fn moving_an_event_moves_its_reminders_and_calling_it_off_cancels_them() {
    let bench = Bench::new();
    let jobs = |text: &str, event: &str| {
        format!("  dentist: {{ event: {event}, remind: [-1d, -2h], to: \"491700000001\", text: \"{text}\" }}\n")
    };
    let daemon = start(&bench, &jobs("hi", "2099-12-03T15:30"), true);
    until("both are planned", LIMIT, || told(&bench, "dentist").len() == 2);
    let moved = bench.json(&["job", "event", "dentist", "--at", "2099-12-04T15:30", "--dry-run"]);
    assert_eq!((&moved["replaced"], &moved["done"]), (&Value::from(2), &Value::from(false)));
    bench.json(&["job", "event", "dentist", "--at", "2099-12-04T15:30"]);
    // The day before the new instant is the old one of the other reminder's event.
    let expected = ["491700000001 2099-12-03T14:30 scheduled", "491700000001 2099-12-04T12:30 scheduled"];
    until("both moved", LIMIT, || told(&bench, "dentist") == expected);
    // The same file, applied anew, does not move it back, nor does another text.
    drop(daemon);
    let daemon = start(&bench, &jobs("hi", "2099-12-03T15:30"), true);
    assert_eq!(told(&bench, "dentist"), expected);
    drop(daemon);
    let daemon = start(&bench, &jobs("hello", "2099-12-03T15:30"), true);
    until("the text is changed", LIMIT, || told(&bench, "dentist") == expected);
    bench.json(&["job", "event", "dentist", "--cancel"]);
    let cancelled = expected.map(|m| m.replace("scheduled", "cancelled event_cancelled"));
    until("both are cancelled", LIMIT, || told(&bench, "dentist") == cancelled);
    assert_eq!(bench.json(&["job", "show", "dentist"])["event"]["cancelled"], true);
    // It takes place after all, at the instant the file now says.
    drop(daemon);
    let _daemon = start(&bench, &jobs("hello", "2099-12-05T15:30"), true);
    until("both are planned again", LIMIT, || {
        told(&bench, "dentist").iter().filter(|m| m.ends_with("scheduled")).count() == 2
    });
    let refused = bench.run(&["job", "event", "nobody", "--cancel"]);
    assert_eq!(refused.status.code(), Some(3));
}

#[test]
fn a_reminder_lands_on_its_instant_and_a_moved_one_does_too() {
    let bench = Bench::new();
    let event = (now_ms() / 1_000 + 3_600) * 1_000;
    let jobs = format!(
        "  soon: {{ event: \"{}\", remind: -10s, to: \"201000000001\", text: \"at {{{{ event | iso }}}}\" }}\n",
        rfc(event)
    );
    let _daemon = start(&bench, &jobs, false);
    let soon = (now_ms() / 1_000 + 13) * 1_000;
    bench.json(&["job", "event", "soon", "--at", &rfc(soon)]);
    until("it is sent", LIMIT, || told(&bench, "soon").iter().any(|m| m.ends_with("sent")));
    let list = bench.json(&["list", "--job", "soon", "--state", "sent"]);
    let late = list["messages"][0]["late_ms"].as_i64().unwrap();
    assert!((0..100).contains(&late), "{late}");
    assert_eq!(list["messages"][0]["due_at"].as_str().unwrap(), jiff_ms(soon - 10_000));
}

#[test]
fn no_reminder_is_moved_beyond_its_event_and_one_that_waits_for_a_person_says_that_it_has_begun() {
    let bench = Bench::new();
    let event = now_ms() + 8_000;
    let job = |name: &str, keys: &str| {
        format!("  {name}: {{ event: \"{}\", remind: -4s, to: \"201000000001\", text: {name}{keys} }}\n", rfc(event))
    };
    let jobs = job("soon", "") + &job("draft", ", hold: true") + &job("gone", "");
    let _daemon = start(&bench, &jobs, false);
    let one = |job: &str| bench.json(&["list", "--job", job])["messages"][0].clone();
    until("all are planned", LIMIT, || bench.messages().len() == 3);
    let id = |job: &str| one(job)["id"].as_str().unwrap().to_owned();
    let refused = |arguments: &[&str]| {
        let output = bench.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("event that begins"), "{said}");
    };
    refused(&["snooze", &id("soon"), "--for", "1h"]);
    refused(&["reschedule", &id("soon"), "--at", &rfc(event + 60_000)]);
    // A snooze that ends before it is one as always.
    bench.json(&["snooze", &id("soon"), "--for", "2s"]);
    bench.json(&["cancel", &id("gone")]);
    until("the event has begun", LIMIT, || one("draft")["state"] == "skipped");
    assert_eq!(one("draft")["reason"], "event_passed");
    assert_eq!(one("soon")["state"], "sent");
    refused(&["retry", &id("gone")]);
}

#[test]
fn what_was_planned_for_an_event_that_was_moved_is_bound_to_it_as_it_stands_now() {
    let bench = Bench::new();
    let event = now_ms() + 40_000;
    let jobs = format!("  soon: {{ event: \"{}\", remind: -39s, to: \"201000000001\", text: hi }}\n", rfc(event));
    let _daemon = start(&bench, &jobs, false);
    let one = || bench.json(&["list", "--job", "soon"])["messages"].as_array().unwrap().clone();
    until("it is sent", LIMIT, || one().iter().any(|m| m["state"] == "sent"));
    bench.json(&["job", "pause", "soon"]);
    bench.json(&["job", "run-now", "soon"]);
    let waits = one().into_iter().find(|m| m["state"] == "scheduled").unwrap();
    let id = waits["id"].as_str().unwrap().to_owned();
    let refused = |at: i64| {
        let output = bench.run(&["reschedule", &id, "--at", &rfc(at)]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("event that begins"), "{said}");
    };
    // What is asked for beside the schedule reminds as well.
    refused(event + 10_000);
    // Later: what would have been too late is not.
    let later = event + 60_000;
    bench.json(&["job", "event", "soon", "--at", &rfc(later)]);
    refused(later + 1_000);
    bench.json(&["reschedule", &id, "--at", &rfc(event + 10_000)]);
    bench.json(&["job", "event", "soon", "--cancel"]);
    let shown = bench.json(&["show", &id]);
    assert_eq!((&shown["state"], &shown["reason"]), (&"cancelled".into(), &"event_cancelled".into()), "{shown}");
    let refused = bench.run(&["job", "run-now", "soon"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("was called off"), "{said}");
}

#[test]
fn nags_end_when_the_event_begins_where_it_was_moved_to() {
    let bench = Bench::new();
    let event = now_ms() + 60_000;
    let job = format!(
        "  soon: {{ event: \"{}\", remind: -58s, to: \"201000000001\", text: hi, nag: {{ every: 3s, max: 9 }} }}\n",
        rfc(event)
    );
    let _daemon = start(&bench, &job, false);
    until("the reminder is sent and its nag waits", LIMIT, || {
        let told = told(&bench, "soon");
        told.iter().any(|m| m.ends_with("sent")) && told.iter().any(|m| m.ends_with("scheduled"))
    });
    let begins = now_ms() + 5_000;
    bench.json(&["job", "event", "soon", "--at", &rfc(begins)]);
    process::pause(Duration::from_secs(9));
    let sends: Vec<i64> = bench
        .journal()
        .into_iter()
        .filter(|l| l.done && l.path.ends_with("/send/text"))
        .map(|l| l.received_ms)
        .collect();
    assert!(sends.iter().all(|at| *at < begins + 50), "{begins}: {sends:?}");
    assert!(!told(&bench, "soon").iter().any(|m| m.ends_with("scheduled")), "{:?}", told(&bench, "soon"));
}

#[test]
fn on_their_own_clocks_run_now_means_now_and_nothing_is_due_from_before_the_job_was_known() {
    let bench = Bench::new();
    // The hour of day that has just begun in Berlin: past there and in Tokyo, to come in New York.
    let now = jiff::Timestamp::from_millisecond(now_ms()).unwrap().in_tz("Europe/Berlin").unwrap();
    bench.write("guests.csv", "to,zone\n491700000001,\n819012345678,\n201000000003,America/New_York\n");
    let to = "timezone: recipient, to: { csv: guests.csv }, typing: off, text: hi";
    let jobs =
        format!("  hourly: {{ cron: \"0 {} * * *\", {to} }}\n  far: {{ cron: \"0 9 1 1 *\", {to} }}\n", now.hour());
    let _daemon = start(&bench, &jobs, false);
    until("both are planned", LIMIT, || told(&bench, "far").len() >= 3 && !told(&bench, "hourly").is_empty());
    let begun = onthedot::domain::time::Timestamp(now_ms() - 60_000).to_rfc3339();
    for message in bench.json(&["list", "--job", "hourly"])["messages"].as_array().unwrap() {
        assert!(message["due_at"].as_str().unwrap() > begun.as_str(), "{message}");
        assert_eq!(message["state"], "scheduled");
    }
    let asked = bench.json(&["job", "run-now", "far"])["occurrence"].as_str().unwrap().to_owned();
    let of_now = || -> Vec<Value> {
        let all = bench.json(&["list", "--job", "far", "--state", "sent"])["messages"].as_array().unwrap().clone();
        all.into_iter().filter(|m| m["occurrence"] == asked.as_str()).collect()
    };
    until("all three are sent now", LIMIT, || of_now().len() == 3);
    assert!(of_now().iter().all(|m| m["due_at"] == asked.as_str()));
}

#[test]
fn what_was_asked_for_beside_the_schedule_stays_when_the_job_changes() {
    let bench = Bench::new();
    let jobs =
        |text: &str| format!("  ev: {{ event: 2099-12-03T15:30, remind: -1d, to: \"491700000001\", text: {text} }}\n");
    let daemon = start(&bench, &jobs("hi"), true);
    until("it is planned", LIMIT, || told(&bench, "ev").len() == 1);
    bench.json(&["job", "pause", "ev"]);
    bench.json(&["job", "run-now", "ev"]);
    drop(daemon);
    let _daemon = start(&bench, &jobs("ho"), true);
    until("the reminder is replaced", LIMIT, || {
        let all = bench.json(&["list", "--job", "ev"])["messages"].as_array().unwrap().clone();
        all.iter().any(|m| m["reason"] == "replaced")
    });
    until("it is planned anew", LIMIT, || told(&bench, "ev").len() == 2);
    assert!(told(&bench, "ev").iter().all(|m| m.ends_with("scheduled")), "{:?}", told(&bench, "ev"));
    // Moving the event to where it is changes nothing; moving it is what `plan` then goes by.
    assert_eq!(bench.json(&["job", "event", "ev", "--at", "2099-12-03T15:30"])["replaced"], 0);
    bench.json(&["job", "event", "ev", "--at", "2099-12-05T15:30"]);
    let plan = bench.json(&["plan", "jobs.yaml", "--sandbox"]);
    assert_eq!(plan["jobs"][0]["change"], "unchanged");
    assert_eq!(plan["jobs"][0]["next"], "2099-12-04T14:30:00.000Z");
    assert_eq!(bench.json(&["next", "ev"])["occurrences"][0]["at"], "2099-12-04T14:30:00.000Z");
    bench.json(&["job", "event", "ev", "--cancel"]);
    assert_eq!(bench.json(&["next", "ev"])["occurrences"].as_array().unwrap().len(), 0);
    assert_eq!(bench.json(&["plan", "jobs.yaml", "--sandbox"])["jobs"][0]["next"], Value::Null);
}

fn jiff_ms(ms: i64) -> String {
    onthedot::domain::time::Timestamp(ms).to_rfc3339()
}
