//! Sends whose outcome is unknown: what settles them, in whatever order evidence comes. The daemon, the sandbox gateway
//! and the file are real.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, pause, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// A daemon whose one instance is served by the sandbox with this scenario, a quarantine of 1 s, and these jobs.
fn begin(scenario: &str, jobs: &str) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("scenario.yaml", scenario);
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: sandbox, timeouts: {{ send: 500ms }}, doubt: {{ quarantine: 1s }} }}\n\
             defaults: {{ typing: {{ lead: 50ms }} }}\njobs:\n{jobs}"
        ),
    );
    let files = ["--scenario", "scenario.yaml", "--journal", "journal", "--listen", "127.0.0.1:0"];
    let daemon = bench.start(&[&["run", "jobs.yaml", "--sandbox"][..], &files].concat());
    (bench, daemon)
}

fn of_job(bench: &Bench, job: &str) -> Value {
    let found = bench.messages().into_iter().find(|m| m["job"] == job);
    found.unwrap_or(Value::Null)
}

fn becomes(bench: &Bench, job: &str, state: &str, reason: Option<&str>) -> Value {
    until(&format!("{job} becomes {state}"), LIMIT, || {
        bench.path("db").exists() && bench.run(&["stats"]).status.success() && {
            let m = of_job(bench, job);
            m["state"] == state && reason.is_none_or(|r| m["reason"] == r)
        }
    });
    of_job(bench, job)
}

fn evidence(bench: &Bench, message: &Value) -> Vec<(String, String)> {
    let shown = bench.json(&["doubt", "show", message["id"].as_str().unwrap()]);
    let word = |e: &Value, key: &str| e[key].as_str().unwrap().to_owned();
    shown["evidence"].as_array().unwrap().iter().map(|e| (word(e, "kind"), word(e, "verdict"))).collect()
}

fn sends(bench: &Bench, chat: &str) -> (usize, usize) {
    let lines = bench.journal().into_iter().filter(|l| l.path == "/v2/send/text" && l.chat.starts_with(chat));
    let done: Vec<bool> = lines.map(|l| l.done).collect();
    (done.len(), done.iter().filter(|d| **d).count())
}

/// A first message that goes through, so that the history of the chat reaches back, and one whose send is faulty.
fn after_another(policy: &str) -> String {
    format!(
        "  before: {{ in: 100ms, to: \"201000000001\", text: first }}\n\
         \x20 asked: {{ in: 1500ms, to: \"201000000001\", text: faulty, on_doubt: {policy} }}\n"
    )
}

#[test]
fn a_history_that_twice_does_not_show_it_proves_it_unsent_and_it_is_sent_again_whatever_the_policy() {
    for policy in ["hold", "resend", "drop"] {
        let (bench, _daemon) =
            begin("faults: [{ text: faulty, times: 1, answer: { status: 502 } }]", &after_another(policy));
        let m = becomes(&bench, "asked", "sent", None);
        assert_eq!((m["attempts"].as_i64(), sends(&bench, "201000000001")), (Some(2), (3, 2)), "{policy}");
        let looks = [("history".to_owned(), "not_found".to_owned()), ("history".to_owned(), "not_found".to_owned())];
        assert_eq!(evidence(&bench, &m), looks);
        let figures = &bench.json(&["stats"])["doubts"];
        assert_eq!((figures["unsent"].as_i64(), figures["open"].as_i64()), (Some(1), Some(0)));
    }
}

#[test]
fn a_gateway_slower_than_its_timeout_is_found_in_its_history_and_never_sent_to_twice() {
    let (bench, _daemon) =
        begin("faults: [{ text: faulty, times: 1, delay: 900ms, do: after }]", &after_another("resend"));
    let m = becomes(&bench, "asked", "sent", Some("found_in_history"));
    assert_eq!((m["attempts"].as_i64(), sends(&bench, "201000000001")), (Some(1), (2, 2)));
    assert!(!m["gateway_id"].is_null());
    // What acks came before its name was known is joined to it.
    until("its acks are joined", LIMIT, || of_job(&bench, "asked")["ack"] == "read");
}

#[test]
fn an_empty_history_proves_nothing_and_the_policy_decides() {
    let jobs = ["hold", "resend", "drop"].map(|policy| {
        format!(
            "  {policy}: {{ in: 100ms, to: \"2010000000{}\", text: faulty, on_doubt: {policy} }}\n",
            10 + policy.len()
        )
    });
    let (bench, _daemon) = begin("faults: [{ times: 3, answer: { status: 500 } }]", &jobs.concat());
    let m = becomes(&bench, "resend", "sent", None);
    assert_eq!(m["attempts"], 2);
    becomes(&bench, "drop", "failed", Some("dropped"));
    let held = of_job(&bench, "hold");
    assert_eq!((held["state"].as_str(), held["attempts"].as_i64()), (Some("in_doubt"), Some(1)));
    let looks = [("history".to_owned(), "out_of_reach".to_owned()), ("history".to_owned(), "out_of_reach".to_owned())];
    assert_eq!(evidence(&bench, &held), looks);
    // By filter a person settles what is left; without --yes nothing happens.
    assert_eq!(bench.run(&["doubt", "resolve", "--job", "hold", "--as", "sent"]).status.code(), Some(5));
    assert_eq!(
        bench.json(&["doubt", "resolve", "--job", "hold", "--as", "sent", "--yes"])["results"][0]["resolved"],
        true
    );
    becomes(&bench, "hold", "sent", Some("said_sent"));
}

#[test]
fn what_a_person_has_sent_again_goes_however_long_it_was_in_doubt() {
    let jobs = "  late: { in: 100ms, to: \"201000000001\", text: faulty, on_doubt: hold, max_lateness: 2s }\n";
    let (bench, _daemon) = begin("faults: [{ times: 1, answer: { status: 500 } }]", jobs);
    let m = becomes(&bench, "late", "in_doubt", None);
    pause(Duration::from_secs(3));
    bench.json(&["doubt", "resolve", m["id"].as_str().unwrap(), "--as", "resend"]);
    let sent = becomes(&bench, "late", "sent", None);
    assert_eq!((sent["attempts"].as_i64(), sends(&bench, "201000000001").1), (Some(2), 1));
}

/// A send that fails, and a history that tells this in place of the truth, and a message of long ago.
fn told_instead(history: &str) -> String {
    let old = r#"{"id":"OLD","fromMe":false,"body":"hello","timestamp":1500000000}"#;
    format!(
        "faults:\n- {{ text: faulty, times: 1, answer: {{ status: 502 }} }}\n\
         - {{ on: history, answer: {{ status: 200, body: '[{history},{old}]' }} }}"
    )
}

#[test]
fn a_history_that_tells_the_text_a_little_differently_shows_it() {
    let history = r#"{"id":"A","fromMe":"true","body":"faulty &amp; trimmed","timestamp":4102444800}"#;
    let (bench, _daemon) = begin(
        &told_instead(history),
        "  asked: { in: 100ms, to: \"201000000001\", text: \" faulty  & trimmed\\n\" }\n",
    );
    let m = becomes(&bench, "asked", "sent", Some("found_in_history"));
    assert_eq!((m["attempts"].as_i64(), m["gateway_id"].as_str()), (Some(1), Some("A")));
}

#[test]
fn a_history_with_what_cannot_be_read_or_has_lost_its_text_is_no_silence() {
    for history in ["1", r#"{"id":"A","fromMe":true,"body":"","timestamp":4102444800}"#] {
        let (bench, _daemon) =
            begin(&told_instead(history), "  asked: { in: 100ms, to: \"201000000001\", text: faulty }\n");
        let unclear = ("history".to_owned(), "unclear".to_owned());
        let m = becomes(&bench, "asked", "in_doubt", None);
        until("it was looked at twice", LIMIT, || evidence(&bench, &m) == [unclear.clone(), unclear.clone()]);
        pause(Duration::from_secs(2));
        assert_eq!(of_job(&bench, "asked")["state"], "in_doubt", "{history}");
        assert_eq!(sends(&bench, "201000000001"), (1, 0), "{history}");
    }
}

#[test]
fn an_echo_settles_a_doubt_before_any_history_is_asked() {
    let scenario = "echo: 50ms\nfaults: [{ text: faulty, times: 1, do: before, reset: true }, { on: history, answer: { status: 500 } }]";
    let (bench, _daemon) = begin(scenario, "  asked: { in: 100ms, to: \"201000000001\", text: faulty }\n");
    let m = becomes(&bench, "asked", "sent", Some("told_sent"));
    assert_eq!(sends(&bench, "201000000001"), (1, 1));
    assert_eq!(evidence(&bench, &m), [("echo".to_owned(), "found".to_owned())]);
}

#[test]
fn an_ack_for_the_id_that_an_unclear_answer_named_settles_it() {
    // A failure that names the message all the same, and the ack that a gateway posts minutes later.
    let scenario =
        "faults: [{ times: 1, answer: { status: 500, body: '{\"id\":\"true_201000000001@c.us_3EB0NAMED\"}' } }]";
    let (bench, _daemon) = begin(scenario, "  asked: { in: 100ms, to: \"201000000001\", text: hi }\n");
    becomes(&bench, "asked", "in_doubt", None);
    let ack = "{\"event\":\"message.ack\",\"payload\":{\"id\":\"true_201000000001@c.us_3EB0NAMED\",\"fromMe\":true,\"ack\":2}}";
    assert_eq!(bench.post_hook("shop", ack), 401);
    assert_eq!(of_job(&bench, "asked")["state"], "in_doubt", "an unproven webhook changes nothing");
}

#[test]
fn late_evidence_corrects_a_verdict_and_counts_a_duplicate() {
    // Both attempts are carried out, the first one long after its doubt was settled by policy.
    let scenario = "echo: 6s\nfaults:\n  - { text: twice, times: 1, do: before, reset: true }\n\
                    \x20 - { text: dropped, times: 1, do: before, reset: true }\n\
                    \x20 - { on: history, answer: { status: 200, body: '[]' } }\n";
    let jobs = "  twice: { in: 100ms, to: \"201000000001\", text: twice, on_doubt: resend }\n\
                \x20 dropped: { in: 100ms, to: \"201000000002\", text: dropped, on_doubt: drop }\n";
    let (bench, _daemon) = begin(scenario, jobs);
    becomes(&bench, "dropped", "failed", Some("dropped"));
    let m = becomes(&bench, "dropped", "sent", Some("told_sent"));
    assert_eq!(sends(&bench, "201000000002"), (1, 1));
    assert!(!m["gateway_id"].is_null());
    let twice = becomes(&bench, "twice", "sent", None);
    assert_eq!((twice["attempts"].as_i64(), sends(&bench, "201000000001")), (Some(2), (2, 2)));
    until("the duplicate is counted", LIMIT, || bench.json(&["stats"])["doubts"]["duplicates"] == 1);
    assert!(evidence(&bench, &twice).contains(&("echo".to_owned(), "duplicate".to_owned())));
    // The echo of the second attempt is no news.
    pause(Duration::from_secs(7));
    assert_eq!(bench.json(&["stats"])["doubts"]["duplicates"], 1);
}

#[test]
fn five_unclear_answers_in_a_row_open_the_circuit_and_what_waits_is_sent_once_it_closes() {
    let jobs: String = (0..10)
        .map(|n| format!("  j{n}: {{ in: {}ms, to: \"2010000000{n:02}\", text: hi }}\n", 300 + n * 250))
        .collect();
    let (bench, _daemon) = begin("faults: [{ times: 5, answer: { status: 502 } }]", &jobs);
    let instance = || bench.json(&["instance", "list"])["instances"][0].clone();
    until("the circuit opens", LIMIT, || {
        bench.path("db").exists() && bench.run(&["stats"]).status.success() && instance()["state"] == "down"
    });
    let why = instance()["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("5 sends in a row got no clear answer"), "{why}");
    let asked = || bench.journal().iter().filter(|l| l.path == "/v2/send/text").count();
    assert_eq!(asked(), 5);
    pause(Duration::from_millis(1_500));
    assert_eq!(asked(), 5, "nothing more becomes doubtful");
    until("the rest is sent", LIMIT, || bench.json(&["stats"])["states"]["sent"] == 5);
    assert_eq!(instance()["state"], "working");
}
