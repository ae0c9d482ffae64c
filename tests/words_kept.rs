//! What a person said last counts, whoever else works on the same jobs: a file that was read before does not undo it, and a word on a
//! recipient outlives moves, departures and absences.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, now_ms, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

fn file(jobs: &str) -> String {
    format!(
        "version: 1\ntimezone: UTC\nmaintenance: {{ tidy: off, checkpoint: off, report: off }}\n\
         instances: {{ shop: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\" }} }}\n\
         defaults: {{ instance: shop, typing: {{ lead: 50ms }} }}\njobs:\n{jobs}"
    )
}

const TWO: &str = "[\"491701234001\", \"491701234002\"]";

fn news(when: &str, to: &str) -> String {
    file(&format!("  news: {{ {when}, to: {to}, text: hi }}\n"))
}

fn start(bench: &Bench) -> Running {
    let ready = bench.log().matches(" ready ms=").count();
    let daemon = bench.start_sandboxed("acks: { levels: [server] }\n");
    until("the daemon is ready", LIMIT, || bench.log().matches(" ready ms=").count() > ready);
    daemon
}

fn apply(bench: &Bench, text: &str) {
    bench.write("jobs.yaml", text);
    let done = bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The latest message to a chat that was not replaced.
fn theirs(bench: &Bench, to: &str) -> Value {
    let all = bench.messages();
    let of = all.into_iter().filter(|m| m["to"] == format!("{to}@c.us") && m["reason"] != "replaced");
    of.max_by_key(|m| m["created_at"].as_str().unwrap().to_owned()).unwrap_or(Value::Null)
}

fn hold_the_first(bench: &Bench) {
    until("both are planned", LIMIT, || theirs(bench, "491701234002") != Value::Null);
    assert!(bench.run(&["hold", "--to", "491701234001", "--yes"]).status.success());
}

fn is_held(bench: &Bench) {
    until("the second is there", LIMIT, || theirs(bench, "491701234002") != Value::Null);
    let m = theirs(bench, "491701234001");
    assert_eq!((m["state"].as_str(), m["reason"].as_str()), (Some("held"), Some("held_by_person")), "{m}");
}

/// A file of many recipients, which takes a while to be read and stored.
fn many(bench: &Bench) -> String {
    let rows: String = (0..6_000).map(|n| format!("4917{n:08}\n")).collect();
    bench.write("many.csv", &format!("phone\n{rows}"));
    news("at: 2099-01-01T00:00", "{ csv: many.csv, chat: phone }")
}

#[test]
fn a_file_that_was_read_before_a_later_one_was_applied_does_not_overrule_it() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &news("at: 2099-01-01T00:00", TWO));
    let daemon = start(&bench);
    until("both are planned", LIMIT, || bench.messages().len() == 2);
    // An older reading by the daemon and by a command, while somebody withdraws it.
    bench.write("jobs.yaml", &many(&bench));
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let mut older = bench.start(&["job", "apply", "jobs.yaml", "--sandbox"]);
    process::pause(Duration::from_millis(100));
    apply(&bench, &news("at: 2099-01-01T00:00", "\"491701234003\""));
    assert!(older.0.wait().unwrap().success());
    until("the daemon has read it too", LIMIT, || bench.log().matches("the jobs file is applied").count() >= 2);
    assert_eq!(bench.json(&["job", "show", "news"])["recipients"], 1);
}

#[test]
fn a_job_that_is_removed_while_its_file_is_read_stays_removed() {
    let bench = Bench::new();
    let both = |text: &str| format!("{text}  other: {{ at: 2099-01-01T00:00, to: \"491701234009\", text: hi }}\n");
    bench.write("jobs.yaml", &both(&news("at: 2099-01-01T00:00", TWO)));
    let _daemon = start(&bench);
    bench.write("jobs.yaml", &both(&many(&bench)));
    let mut older = bench.start(&["job", "apply", "jobs.yaml", "--sandbox"]);
    process::pause(Duration::from_millis(100));
    bench.write("jobs.yaml", &both(&file("")));
    assert!(bench.run(&["job", "remove", "news"]).status.success());
    assert!(older.0.wait().unwrap().success());
    assert_eq!(bench.run(&["job", "show", "news"]).status.code(), Some(3));
}

#[test]
fn a_hangup_while_the_daemon_starts_ends_nothing_and_has_the_file_read_again() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &many(&bench));
    let daemon = bench.start_sandboxed("{}");
    until("it begins", LIMIT, || bench.path("db").exists());
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("the file is read twice", LIMIT, || bench.log().matches("the jobs file is applied").count() == 2);
}

#[test]
fn a_hold_outlives_two_moves_while_no_daemon_runs_and_one_to_an_instant_that_has_passed() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &news("at: 2099-01-01T00:00", TWO));
    let daemon = start(&bench);
    hold_the_first(&bench);
    assert!(bench.run(&["snooze", "--for", "10m", "--to", "491701234002", "--yes"]).status.success());
    drop(daemon);
    apply(&bench, &news("at: 2099-02-01T00:00", TWO));
    apply(&bench, &news("at: 2099-01-01T00:00", TWO));
    let _daemon = start(&bench);
    is_held(&bench);
    assert_eq!(theirs(&bench, "491701234002")["due_at"], "2099-01-01T00:10:00.000Z", "at home it is put off again");
    let passed = jiff::Timestamp::from_millisecond(now_ms() - 5_000).unwrap();
    apply(&bench, &news(&format!("at: \"{passed}\""), TWO));
    until("the other one is sent at once", LIMIT, || theirs(&bench, "491701234002")["state"] == "sent");
    is_held(&bench);
}

#[test]
fn a_hold_outlives_another_delay_and_that_its_recipient_is_left_out_for_a_while() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &news("in: 2h", TWO));
    let _daemon = start(&bench);
    hold_the_first(&bench);
    apply(&bench, &news("in: 3h", TWO));
    is_held(&bench);
    apply(&bench, &news("in: 3h", "[\"491701234002\"]"));
    until("they are left out", LIMIT, || theirs(&bench, "491701234001") == Value::Null);
    apply(&bench, &news("in: 3h", TWO));
    until("they are back", LIMIT, || theirs(&bench, "491701234001") != Value::Null);
    is_held(&bench);
}

fn join(bench: &Bench, numbers: &[&str]) {
    bench.write("people.csv", &format!("phone\n{}\n", numbers.join("\n")));
    bench.json(&["contact", "import", "people.csv", "--chat", "phone", "--list", "customers"]);
}

/// A daemon on a database with a list of three.
fn following(when: &str) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("  other: { at: 2099-01-01T00:00, to: \"491701234009\", text: hi }\n"));
    join(&bench, &["491701234001", "491701234002", "491701234003"]);
    bench.write("jobs.yaml", &news(when, "{ list: customers, live: true }"));
    let daemon = start(&bench);
    (bench, daemon)
}

#[test]
fn a_hold_outlives_leaving_a_followed_list_and_coming_back() {
    let (bench, _daemon) = following("at: 2099-01-01T00:00");
    hold_the_first(&bench);
    bench.json(&["contact", "leave", "491701234001", "--list", "customers"]);
    until("they are let go", LIMIT, || theirs(&bench, "491701234001")["reason"] == "left_list");
    join(&bench, &["491701234001"]);
    until("they are back", LIMIT, || theirs(&bench, "491701234001")["reason"] != "left_list");
    is_held(&bench);
}

#[test]
fn who_left_or_was_forgotten_gets_nothing_by_resend_and_retry() {
    let (bench, _daemon) = following("in: 1s");
    until("all have it", LIMIT, || bench.messages().iter().filter(|m| m["state"] == "sent").count() == 3);
    bench.json(&["contact", "leave", "491701234001", "--list", "customers"]);
    bench.json(&["contact", "erase", "491701234002"]);
    until("they are let go", LIMIT, || bench.log().contains("they left the list"));
    assert_eq!(bench.json(&["campaign", "resend", "news", "--only", "unread"])["again"], 1);
    until("it is sent again", LIMIT, || bench.messages().iter().filter(|m| m["state"] == "sent").count() == 4);
    let sends = bench.journal().into_iter().filter(|l| l.path == "/v2/send/text").count();
    assert_eq!(sends, 4);
    let gone = bench.messages().into_iter().find(|m| m["to"].as_str().unwrap().starts_with("erased-")).unwrap();
    let told = bench.run(&["retry", gone["id"].as_str().unwrap()]);
    let said = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success(), "{said}");
}
