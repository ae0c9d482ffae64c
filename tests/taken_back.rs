//! What persons take back, and what they give another chance: a sequence that broke off, a job that is removed and declared
//! again while something of it is in doubt, an import that ended halfway.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, pause, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

fn file(jobs: &str) -> String {
    format!(
        "version: 1\ntimezone: UTC\nmaintenance: {{ tidy: off, checkpoint: off, report: off }}\n\
         instances: {{ shop: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", timeouts: {{ send: 500ms }}, doubt: {{ quarantine: 1s }} }} }}\n\
         defaults: {{ instance: shop, typing: {{ lead: 50ms }} }}\njobs:\n{jobs}"
    )
}

fn start(bench: &Bench, scenario: &str) -> Running {
    let daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    daemon
}

fn of(bench: &Bench, what: impl Fn(&Value) -> bool) -> Value {
    bench.messages().into_iter().find(|m| what(m)).unwrap_or(Value::Null)
}

fn id(message: &Value) -> &str {
    message["id"].as_str().unwrap()
}

fn sends(bench: &Bench) -> usize {
    bench.journal().iter().filter(|l| l.path == "/v2/send/text").count()
}

const SEQUENCE: &str =
    "  pair: { in: 100ms, to: \"491701234001\", messages: [{ text: one }, { after: 2s, text: two }] }\n";

/// The first of two is refused, so the second is skipped.
fn broken_sequence() -> (Bench, Running, Value, Value) {
    let bench = Bench::new();
    bench.write("jobs.yaml", &file(SEQUENCE));
    let daemon = start(&bench, "faults: [{ times: 1, answer: { status: 400 } }]");
    until("the sequence breaks off", LIMIT, || of(&bench, |m| m["reason"] == "sequence") != Value::Null);
    let first = of(&bench, |m| m["state"] == "failed");
    let second = of(&bench, |m| m["reason"] == "sequence");
    (bench, daemon, first, second)
}

#[test]
fn what_follows_in_a_broken_sequence_gets_another_chance_only_with_what_it_follows() {
    let (bench, _daemon, first, second) = broken_sequence();
    let alone = bench.run(&["retry", id(&second)]);
    let said = String::from_utf8_lossy(&alone.stdout).into_owned() + &String::from_utf8_lossy(&alone.stderr);
    assert!(!alone.status.success() && said.contains("retry that one"), "{said}");
    assert_eq!(of(&bench, |m| m["id"] == second["id"])["state"], "skipped");
    // Both at once, in whatever order they are named.
    assert!(bench.run(&["retry", id(&second), id(&first)]).status.success());
    until("both go out", LIMIT, || bench.messages().iter().all(|m| m["state"] == "sent"));
    assert_eq!(sends(&bench), 3);
}

#[test]
fn a_filter_gives_a_whole_broken_sequence_another_chance() {
    let (bench, _daemon, ..) = broken_sequence();
    assert!(bench.run(&["retry", "--job", "pair", "--yes"]).status.success());
    until("both go out", LIMIT, || bench.messages().iter().all(|m| m["state"] == "sent"));
}

#[test]
fn what_a_person_holds_in_a_sequence_that_breaks_off_waits_for_nothing_more() {
    let bench = Bench::new();
    let later = "  pair: { in: 4s, to: \"491701234001\", messages: [{ text: one }, { after: 2s, text: two }] }\n";
    bench.write("jobs.yaml", &file(later));
    let _daemon = start(&bench, "{}");
    until("both are planned", LIMIT, || bench.messages().len() == 2);
    let mut both = bench.messages();
    both.sort_by_key(|m| m["due_at"].as_str().unwrap().to_owned());
    assert!(bench.run(&["hold", id(&both[1])]).status.success());
    assert!(bench.run(&["cancel", id(&both[0])]).status.success());
    let held = of(&bench, |m| m["id"] == both[1]["id"]);
    assert_eq!((held["state"].as_str(), held["reason"].as_str()), (Some("skipped"), Some("sequence")));
}

#[test]
fn what_was_in_doubt_when_its_job_was_removed_is_not_sent_again_when_the_job_is_declared_again() {
    let bench = Bench::new();
    let before = "  before: { in: 100ms, to: \"491701234001\", text: first }\n";
    let asked = "  asked: { in: 1700ms, to: \"491701234001\", text: faulty }\n";
    bench.write("jobs.yaml", &file(&[before, asked].concat()));
    let _daemon = start(&bench, "faults: [{ text: faulty, times: 1, answer: { status: 502 } }]");
    let state = || of(&bench, |m| m["job"] == "asked" && !m["attempts"].is_null() && m["attempts"] != 0);
    until("it is in doubt", LIMIT, || state()["state"] == "in_doubt");
    bench.json(&["job", "remove", "asked"]);
    let again = "  asked: { at: 2098-01-01T10:00, to: \"491701234001\", text: anew }\n";
    bench.write("jobs.yaml", &file(&[before, again].concat()));
    bench.json(&["job", "apply", "jobs.yaml"]);
    until("its doubt is settled", LIMIT, || state()["state"] != "in_doubt");
    assert_eq!((state()["state"].as_str(), state()["attempts"].as_i64()), (Some("failed"), Some(1)), "{}", state());
    assert_eq!(sends(&bench), 2);
    // A person may still want it.
    assert!(bench.run(&["retry", id(&state())]).status.success());
    until("it goes out", LIMIT, || state()["state"] == "sent");
}

/// What an import that was killed leaves is made by hand: its rows are there, and nobody published it.
#[tokio::test]
async fn what_a_person_cancelled_of_an_import_that_ended_halfway_is_removed_by_the_next_one() {
    use sqlx::{Connection, SqliteConnection};
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("  other: { at: 2098-01-01T10:00, to: \"491701234009\", text: hi }\n"));
    bench.json(&["job", "apply", "jobs.yaml"]);
    bench.write("people.csv", "to\n491701234001\n491701234002\n");
    let import =
        ["import", "people.csv", "--job", "list", "--text", "hi", "--at", "2098-01-01T11:00", "--instance", "shop"];
    bench.json(&import);
    let one = of(&bench, |m| m["job"] == "list");
    assert!(bench.run(&["cancel", id(&one)]).status.success());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "UPDATE imports SET done_at = NULL",
        "UPDATE occurrences SET state = 'planning' WHERE id IN (SELECT occurrence FROM imports)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    bench.json(&import);
    let of_list = bench.messages().into_iter().filter(|m| m["job"] == "list");
    assert_eq!(
        of_list.map(|m| m["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
        ["scheduled", "scheduled"]
    );
}

#[test]
fn a_sequence_that_is_cancelled_while_the_rest_is_planned_ends() {
    let bench = Bench::new();
    let rows: String = (0..700).map(|n| format!("4917{n:08}\n")).collect();
    bench.write("people.csv", &format!("phone\n{rows}"));
    let pair = "  pair: { at: 2099-01-01T00:00, to: { csv: people.csv, chat: phone }, messages: [{ text: one }, { after: 2s, text: two }] }\n";
    bench.write("jobs.yaml", &file(pair));
    // The daemon stands still when the first part is planned: one message of each of some recipients is there.
    let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    let planning =
        Running(command.env("ONTHEDOT_HANG_AT", "plan_begins:2").stderr(std::process::Stdio::null()).spawn().unwrap());
    until("there is a database", LIMIT, || bench.run(&["stats"]).status.success());
    until("some are planned", LIMIT, || !bench.messages().is_empty());
    let first = of(&bench, |m| m["to"] == "491700000000@c.us");
    assert!(bench.run(&["cancel", id(&first)]).status.success());
    drop(planning);
    let _daemon = start(&bench, "{}");
    let theirs =
        || bench.json(&["list", "--to", "491700000000", "--limit", "10"])["messages"].as_array().unwrap().clone();
    until("all of it is planned", LIMIT, || bench.json(&["stats"])["states"]["scheduled"] == 1_398);
    let mut told: Vec<String> =
        theirs().iter().map(|m| format!("{} {}", m["state"], m["reason"]).replace('"', "")).collect();
    told.sort();
    assert_eq!(told, ["cancelled cancelled_by_person", "skipped sequence"]);
}

#[test]
fn who_is_held_waits_on_and_a_paused_campaign_stays_paused_when_the_file_moves_it() {
    let bench = Bench::new();
    let news =
        |at: &str| file(&format!("  news: {{ at: {at}, to: [\"491701234001\", \"491701234002\"], text: hi }}\n"));
    bench.write("jobs.yaml", &news("2099-01-01T00:00"));
    let _daemon = start(&bench, "{}");
    until("both are planned", LIMIT, || bench.messages().len() == 2);
    let held = of(&bench, |m| m["to"] == "491701234001@c.us");
    assert!(bench.run(&["hold", id(&held)]).status.success());
    assert!(bench.run(&["campaign", "pause", "news"]).status.success());
    bench.write("jobs.yaml", &news("2099-02-01T00:00"));
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    let moved = |to: &str| {
        of(&bench, |m| m["to"] == format!("{to}@c.us") && m["due_at"].as_str().unwrap().starts_with("2099-02"))
    };
    until("both are planned anew", LIMIT, || moved("491701234002") != Value::Null);
    assert_eq!(moved("491701234001")["state"], "held");
    assert_eq!(moved("491701234001")["reason"], "held_by_person");
    assert_eq!(moved("491701234002")["state"], "scheduled");
    assert_eq!(bench.json(&["campaign", "show", "news"])["state"], "paused");
    // Who resumes it where it is now has resumed it, also when the file names the first instant again.
    assert!(bench.run(&["campaign", "resume", "news"]).status.success());
    bench.write("jobs.yaml", &news("2099-01-01T00:00"));
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    until("it is back", LIMIT, || {
        bench
            .messages()
            .iter()
            .any(|m| m["state"] == "scheduled" && m["due_at"].as_str().unwrap().starts_with("2099-01"))
    });
    assert_eq!(bench.json(&["campaign", "show", "news"])["state"], "scheduled");
}

#[test]
fn what_a_person_moved_waits_for_the_approval_its_job_asks_for_since_and_expires_after_that() {
    let bench = Bench::new();
    let news = |more: &str| {
        file(&format!("  news: {{ at: 2099-01-01T00:00, to: [\"491701234001\", \"491701234002\"], text: hi{more} }}\n"))
    };
    bench.write("jobs.yaml", &news(""));
    let _daemon = start(&bench, "{}");
    until("both are planned", LIMIT, || bench.messages().len() == 2);
    let soon = jiff::Timestamp::from_millisecond(process::now_ms() + 4_000).unwrap().to_string();
    let moved = of(&bench, |m| m["to"] == "491701234001@c.us");
    assert!(bench.run(&["reschedule", id(&moved), "--at", &soon]).status.success());
    bench.write("jobs.yaml", &news(", hold: true, expires: 1s"));
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    let held = || bench.messages().iter().filter(|m| m["state"] == "held").count();
    until("both wait for an approval", LIMIT, || held() == 2);
    pause(Duration::from_secs(6));
    assert_eq!(held(), 2, "{:?}", bench.messages());
    bench.json(&["campaign", "approve", "news"]);
    until("what was moved is sent", LIMIT, || of(&bench, |m| m["state"] == "sent") != Value::Null);
}

#[test]
fn what_a_later_message_of_a_sequence_waits_behind_is_not_pruned() {
    let bench = Bench::new();
    let pair = "  pair: { in: 100ms, to: \"491701234001\", messages: [{ text: one }, { after: 6s, text: two }] }\n";
    bench.write("jobs.yaml", &file(pair));
    let _daemon = start(&bench, "{}");
    until("the first is sent", LIMIT, || of(&bench, |m| m["state"] == "sent") != Value::Null);
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 0);
    until("the second is sent", LIMIT, || sends(&bench) == 2);
    until("both are known as sent", LIMIT, || bench.messages().iter().all(|m| m["state"] == "sent"));
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 2);
}

#[test]
fn whoever_names_a_replaced_message_learns_what_took_its_place() {
    let bench = Bench::new();
    let news = |to: &str, text: &str| file(&format!("  news: {{ at: 2099-01-01T00:00, to: [{to}], text: {text} }}\n"));
    let apply = || assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    bench.write("jobs.yaml", &news("\"491701234001\", \"491701234002\"", "one"));
    let _daemon = start(&bench, "{}");
    until("both are planned", LIMIT, || bench.messages().len() == 2);
    let old = bench.messages();
    bench.write("jobs.yaml", &news("\"491701234001\"", "two"));
    apply();
    until("one is planned anew", LIMIT, || bench.messages().len() == 3);
    let new = of(&bench, |m| m["state"] == "scheduled");
    for m in &old {
        let told = bench.run(&["cancel", id(m)]);
        let said = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
        let wanted = if m["to"] == new["to"] { id(&new) } else { "nothing took its place" };
        assert!(!told.status.success() && said.contains(wanted), "{said}");
    }
}
