//! Sequences in which persons meddle: the distance that is declared is kept from what the message before really did, and what broke off
//! goes on once it is repaired.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, pause, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// How far the second message is declared to be behind the first, in ms.
const AFTER: i64 = 3_000;

fn start(jobs: &str, scenario: &str) -> (Bench, Running) {
    let bench = Bench::new();
    let head = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, doubt: { quarantine: 1s } } }\n\
                defaults: { typing: off }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{jobs}"));
    let daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    (bench, daemon)
}

/// The messages of a job by their due instants.
fn of(bench: &Bench, job: &str) -> Vec<Value> {
    let mut all = bench.json(&["list", "--job", job])["messages"].as_array().unwrap().clone();
    all.sort_by_key(|m| (m["due_at"].to_string(), m["id"].to_string()));
    all
}

fn id(message: &Value) -> String {
    message["id"].as_str().unwrap().to_owned()
}

fn states(all: &[Value]) -> Vec<String> {
    all.iter().map(|m| format!("{} {}", m["state"].as_str().unwrap(), m["reason"].as_str().unwrap_or("-"))).collect()
}

/// How long after one another the messages to a chat were received, in ms.
fn distances(bench: &Bench, chat: &str) -> Vec<i64> {
    let sends =
        bench.journal().into_iter().filter(|l| l.done && l.path.ends_with("/send/text") && l.chat.starts_with(chat));
    let at: Vec<i64> = sends.map(|l| l.received_ms).collect();
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn keeps_its_distance(bench: &Bench, chat: &str, messages: usize) {
    let found = distances(bench, chat);
    assert_eq!(found.len(), messages - 1, "{found:?}");
    assert!(found.iter().all(|d| (AFTER - 50..AFTER + 700).contains(d)), "{chat}: {found:?}");
}

const TWO: &str = "messages: [{ text: one }, { after: 3s, text: two }]";

#[test]
fn a_draft_that_is_approved_late_keeps_the_distances_of_its_sequence() {
    let job = format!("  drip: {{ in: 200ms, hold: true, to: \"201000000001\", {TWO} }}\n");
    let (bench, _daemon) = start(&job, "{}\n");
    until("both wait for an approval", LIMIT, || of(&bench, "drip").len() == 2);
    // Both are due by now.
    pause(Duration::from_millis(3_500));
    assert_eq!(bench.json(&["campaign", "approve", "drip"])["approved"], 2);
    until("both are sent", LIMIT, || states(&of(&bench, "drip")) == ["sent -", "sent -"]);
    keeps_its_distance(&bench, "201000000001", 2);
}

#[test]
fn a_later_step_of_a_draft_expires_no_sooner_than_it_may_leave() {
    let job = format!("  drip: {{ in: 200ms, hold: true, expires: 2s, to: \"201000000001\", {TWO} }}\n");
    let (bench, _daemon) = start(&job, "{}\n");
    until("both wait for an approval", LIMIT, || of(&bench, "drip").len() == 2);
    pause(Duration::from_millis(3_500));
    assert_eq!(bench.json(&["campaign", "approve", "drip"])["approved"], 2);
    until("both are sent", LIMIT, || states(&of(&bench, "drip")) == ["sent -", "sent -"]);
    keeps_its_distance(&bench, "201000000001", 2);
}

#[test]
fn of_a_sequence_whose_beginning_was_forgotten_nothing_is_planned_anew() {
    let jobs = |to: &str| {
        format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\ndefaults: {{ typing: off }}\njobs:\n  \
             drip: {{ in: 200ms, to: [{to}], messages: [{{ text: one }}, {{ after: 1h, text: two }}] }}\n"
        )
    };
    let (bench, _daemon) = start("  {}\n", "{}\n");
    let apply = |to: &str| {
        bench.write("jobs.yaml", &jobs(to));
        bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    };
    let waiting = || of(&bench, "drip").iter().filter(|m| m["state"] == "scheduled").count();
    let sent = || of(&bench, "drip").iter().filter(|m| m["state"] == "sent").count();
    apply("\"201000000001\", \"201000000002\"");
    until("the first ones are sent", LIMIT, || (sent(), waiting()) == (2, 2));
    apply("\"201000000001\"");
    until("one was taken out", LIMIT, || waiting() == 1);
    assert!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"].as_u64().unwrap() >= 1);
    until("of them nothing is left", LIMIT, || sent() == 1);
    apply("\"201000000001\", \"201000000002\"");
    until("it is planned anew", LIMIT, || {
        waiting() >= 1 && bench.json(&["job", "show", "drip"])["state"] != "planning"
    });
    pause(Duration::from_secs(2));
    assert_eq!((sent(), waiting()), (1, 1), "{:?}", of(&bench, "drip"));
}

#[test]
fn what_is_snoozed_and_what_is_rescheduled_as_a_whole_keeps_the_distances_of_its_sequence() {
    let job = |name: &str, chat: &str| format!("  {name}: {{ in: 4s, to: \"{chat}\", {TWO} }}\n");
    let (bench, _daemon) = start(&(job("drip", "201000000001") + &job("all", "201000000002")), "{}\n");
    until("all are planned", LIMIT, || of(&bench, "drip").len() + of(&bench, "all").len() == 4);
    bench.json(&["snooze", &id(&of(&bench, "drip")[0]), "--for", "2s"]);
    let at = jiff::Timestamp::from_millisecond(process::now_ms() + 3_000).unwrap().to_string();
    bench.json(&["reschedule", "--job", "all", "--at", &at, "--yes"]);
    until("all are sent", LIMIT, || {
        [of(&bench, "drip"), of(&bench, "all")].iter().all(|all| states(all) == ["sent -", "sent -"])
    });
    keeps_its_distance(&bench, "201000000001", 2);
    keeps_its_distance(&bench, "201000000002", 2);
}

#[test]
fn a_sequence_that_is_repaired_goes_on_where_it_broke_off_with_its_distances() {
    let three = "messages: [{ text: one }, { after: 3s, text: two }, { after: 3s, text: three }]";
    let job = format!("  drip: {{ in: 200ms, to: \"201000000001\", {three} }}\n");
    let (bench, _daemon) = start(&job, "faults: [{ times: 1, answer: { status: 400 } }]\n");
    let broken_off = ["failed refused", "skipped sequence", "skipped sequence"];
    until("the first fails", LIMIT, || states(&of(&bench, "drip")) == broken_off);
    pause(Duration::from_millis(1_500));
    // One of them a person takes back for good.
    bench.json(&["retry", &id(&of(&bench, "drip")[0])]);
    until("all are sent", LIMIT, || states(&of(&bench, "drip")) == ["sent -"; 3]);
    let sends: Vec<Value> = of(&bench, "drip");
    let left = |m: &Value| m["sent_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let apart: Vec<i64> = sends.windows(2).map(|pair| left(&pair[1]) - left(&pair[0])).collect();
    assert!(apart.iter().all(|d| (AFTER - 20..AFTER + 700).contains(d)), "{apart:?}");
}

#[test]
fn a_repaired_sequence_stays_broken_behind_what_ended_for_itself_and_held_where_a_person_held_it() {
    let three = "messages: [{ text: one }, { after: 3s, text: two }, { after: 3s, text: three }]";
    let job = |name: &str, chat: &str| format!("  {name}: {{ in: 5s, to: \"{chat}\", {three} }}\n");
    let (bench, _daemon) = start(&(job("ended", "201000000001") + &job("held", "201000000002")), "{}\n");
    until("all are planned", LIMIT, || of(&bench, "ended").len() + of(&bench, "held").len() == 6);
    let (ended, held) = (of(&bench, "ended"), of(&bench, "held"));
    bench.json(&["cancel", &id(&ended[1])]);
    bench.json(&["cancel", &id(&ended[0])]);
    bench.json(&["hold", &id(&held[1])]);
    bench.json(&["cancel", &id(&held[0])]);
    for first in [&ended[0], &held[0]] {
        bench.json(&["retry", &id(first)]);
    }
    let state = |m: &Value| states(&[bench.json(&["show", &id(m)])]).remove(0);
    until("the first ones are sent", LIMIT, || state(&ended[0]) == "sent -" && state(&held[0]) == "sent -");
    assert_eq!([state(&ended[1]), state(&ended[2])], ["cancelled cancelled_by_person", "skipped sequence"]);
    assert_eq!(state(&held[1]), "held held_by_person");
    bench.json(&["release", &id(&held[1])]);
    until("that one goes on", LIMIT, || state(&held[2]) == "sent -");
    keeps_its_distance(&bench, "201000000002", 3);
}

#[test]
fn a_sequence_that_is_sent_again_keeps_its_distances() {
    let job = format!("  drip: {{ in: 200ms, to: [\"201000000001\", \"201000000002\"], {TWO} }}\n");
    let (bench, _daemon) = start(&job, "acks: { levels: [server] }\n");
    until("both have both", LIMIT, || states(&of(&bench, "drip")) == ["sent -"; 4]);
    let again = bench.json(&["campaign", "resend", "drip", "--only", "undelivered"]);
    assert_eq!(again["again"], 4);
    until("they have both again", LIMIT, || bench.messages().iter().filter(|m| m["state"] == "sent").count() == 8);
    for chat in ["201000000001", "201000000002"] {
        let found = distances(&bench, chat);
        assert!((AFTER - 50..AFTER + 700).contains(&found[2]), "{found:?}");
    }
}

#[test]
fn a_later_message_whose_beginning_an_edit_took_away_gets_no_chance_to_wait_for_ever() {
    let jobs = |to: &str| {
        format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\ndefaults: {{ typing: off }}\njobs:\n  \
             drip: {{ in: 1h, to: [{to}], {TWO} }}\n"
        )
    };
    let (bench, _daemon) = start("  {}\n", "{}\n");
    let apply = |to: &str| {
        bench.write("jobs.yaml", &jobs(to));
        bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    };
    apply("\"201000000001\", \"201000000002\"");
    until("all are planned", LIMIT, || of(&bench, "drip").len() == 4);
    let goes = |m: &&Value| m["to"].as_str().unwrap().starts_with("201000000002");
    let all = of(&bench, "drip");
    let theirs: Vec<&Value> = all.iter().filter(goes).collect();
    bench.json(&["cancel", &id(theirs[1])]);
    apply("\"201000000001\"");
    let state = |m: &Value| states(&[bench.json(&["show", &id(m)])]).remove(0);
    until("what waited was replaced", LIMIT, || state(theirs[0]) == "cancelled replaced");
    until("it is planned anew", LIMIT, || bench.json(&["job", "show", "drip"])["state"] != "planning");
    let refused = bench.run(&["retry", &id(theirs[1])]);
    let words = String::from_utf8_lossy(&refused.stdout);
    assert!(words.contains("is there no more"), "{words}");
    assert_eq!(state(theirs[1]), "cancelled cancelled_by_person");
}

#[test]
fn what_broke_off_stays_broken_off_where_evidence_comes_after_its_job_was_removed() {
    let jobs = format!(
        "  removed: {{ in: 200ms, to: \"201000000001\", on_doubt: drop, {TWO} }}\n  \
         stays: {{ in: 200ms, to: \"201000000002\", on_doubt: drop, {TWO} }}\n"
    );
    // Both first ones are carried out, and no history shows it: the echo comes long after.
    let scenario = "echo: 8s\nfaults:\n  - { text: one, times: 2, do: before, reset: true }\n  \
                    - { on: history, answer: { status: 200, body: '[]' } }\n";
    let (bench, _daemon) = start(&jobs, scenario);
    for job in ["removed", "stays"] {
        until("it broke off", LIMIT, || states(&of(&bench, job)) == ["failed dropped", "skipped sequence"]);
    }
    bench.json(&["job", "remove", "removed"]);
    until("the other one goes on", LIMIT, || of(&bench, "stays")[1]["state"] == "sent");
    assert_eq!(states(&of(&bench, "removed")), ["sent told_sent", "skipped sequence"]);
}
