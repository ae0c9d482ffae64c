//! Recalling a campaign: what waits does not leave, and what was sent is deleted for everyone, whatever the gateway answers and
//! whenever the process dies. The processes, the file and the HTTP are real.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use process::{Bench, Running, until};
use serde_json::Value;
use sqlx::Connection;
use supply::gateway;

const LIMIT: Duration = Duration::from_secs(90);

const TOKEN: &str = "a-token-nobody-may-read";

const RUN: [&str; 4] = ["run", "jobs.yaml", "--listen", "off"];

/// A bench with a gateway of its own, which outlives the daemon, and a file with these jobs.
fn prepare(scenario: &str, pacing: &str, jobs: &str) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("scenario.yaml", &format!("acks: {{ levels: [] }}\naccess_token: {TOKEN}\n{scenario}"));
    let (running, url) = gateway(&bench);
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: wawp, base_url: \"{url}\", instance_id: i, \
             access_token: {TOKEN}, doubt: {{ quarantine: 2s }}, {pacing} }}\n\
             defaults: {{ typing: off }}\njobs:\n{jobs}"
        ),
    );
    (bench, running)
}

fn chats(count: usize) -> String {
    (1..=count).map(|n| format!("\"20100000000{n}\"")).collect::<Vec<_>>().join(", ")
}

/// Starts the daemon and waits until its file is applied.
fn start(bench: &Bench) -> Running {
    let before = bench.log().matches(" ready ms=").count();
    let daemon = bench.start(&RUN);
    until("the daemon is ready", LIMIT, || bench.log().matches(" ready ms=").count() > before);
    daemon
}

fn stop(mut daemon: Running) {
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
}

fn show(bench: &Bench) -> Value {
    bench.json(&["campaign", "show", "launch"])
}

fn sent(bench: &Bench) -> u64 {
    let output = bench.run(&["campaign", "show", "launch", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    told["counts"]["sent"].as_u64().unwrap_or(0)
}

/// A campaign to so many that was sent, and no daemon.
fn sent_to(count: usize, scenario: &str) -> (Bench, Running) {
    let jobs = format!("  launch: {{ in: 0s, to: [{}], text: \"wrong price\" }}\n", chats(count));
    let (bench, gateway) = prepare(scenario, "pacing: { concurrency: 1 }", &jobs);
    let daemon = start(&bench);
    until("all of it left", LIMIT, || sent(&bench) == count as u64);
    stop(daemon);
    (bench, gateway)
}

/// The gateway's ids of what was carried out at a path, in order.
fn done_at(bench: &Bench, path: &str) -> Vec<String> {
    lines(bench, path).into_iter().filter(|l| !l["done_ms"].is_null()).map(|l| id_of(&l)).collect()
}

fn id_of(line: &Value) -> String {
    line["gateway_id"].as_str().unwrap().to_owned()
}

fn lines(bench: &Bench, path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(bench.path("journal")).unwrap_or_default();
    text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l["path"] == path).collect()
}

const SEND: &str = "/v2/send/text";
const DELETE: &str = "/v2/messages/delete";

/// Waits until nothing of the recall is open, and answers how it stands.
fn settled(bench: &Bench) -> Value {
    until("the recall rests", LIMIT, || show(bench)["recall"]["open"] == 0);
    show(bench)["recall"].clone()
}

fn counts(recall: &Value) -> [u64; 6] {
    ["asked", "done", "failed", "too_late", "unsent", "open"].map(|word| recall[word].as_u64().unwrap())
}

/// Changes the file by hand, as only time does otherwise.
fn change(bench: &Bench, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        assert_eq!(sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected(), 1);
        connection.close().await.unwrap();
    });
}

#[test]
fn a_recall_stops_what_waits_and_deletes_what_was_sent_newest_first() {
    let jobs = format!("  launch: {{ in: 0s, to: [{}], text: \"wrong price\" }}\n", chats(9));
    let (bench, _gateway) = prepare("", "pacing: { gap: 250ms..260ms }", &jobs);
    let _daemon = start(&bench);
    until("some of it left", LIMIT, || sent(&bench) >= 4);
    // What is on its way when it is recalled would be known as sent only later, and so be deleted out of turn.
    bench.json(&["campaign", "pause", "launch"]);
    until("nothing is on its way", LIMIT, || show(&bench)["counts"]["sending"] == 0);
    let before = show(&bench);
    assert!(before["recall"].is_null(), "nobody asked for one");
    let gone = before["counts"]["sent"].as_u64().unwrap();

    let refused = bench.run(&["campaign", "recall", "launch"]);
    assert_eq!(refused.status.code(), Some(5));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains(&format!("{gone} messages would be deleted for everyone; --yes does it")), "{why}");
    let would = bench.json(&["campaign", "recall", "launch", "--dry-run"]);
    assert_eq!((&would["to_delete"], &would["cancelled"]), (&gone.into(), &(9 - gone).into()));
    assert_eq!(show(&bench), before, "neither did anything");
    assert_eq!(bench.run(&["campaign", "recall", "lanch", "--yes"]).status.code(), Some(3));

    let done = bench.json(&["campaign", "recall", "launch", "--within", "2h", "--yes"]);
    assert_eq!((&done["to_delete"], &done["cancelled"]), (&gone.into(), &(9 - gone).into()));
    assert_eq!(counts(&settled(&bench)), [gone, gone, 0, 0, 0, 0]);
    let sends = done_at(&bench, SEND);
    assert_eq!(sends.len() as u64, gone, "nothing more left");
    let newest_first: Vec<String> = sends.into_iter().rev().collect();
    assert_eq!(done_at(&bench, DELETE), newest_first);

    let after = show(&bench);
    assert_eq!((&after["state"], &after["counts"]["sent"]), (&"cancelled".into(), &gone.into()), "it stays sent");
    let id = bench.json(&["list", "--state", "sent"])["messages"][0]["id"].as_str().unwrap().to_owned();
    let one = bench.json(&["show", &id]);
    assert_eq!((&one["recall"]["state"], &one["recall"]["status"]), (&"done".into(), &200.into()));
    let told = |e: &Value| e["note"].as_str().is_some_and(|n| n.starts_with("recalled"));
    assert!(one["events"].as_array().unwrap().iter().any(told), "{one}");
    let text = String::from_utf8(bench.run(&["show", &id]).stdout).unwrap();
    assert!(text.contains("\nrecalled  "), "{text}");

    let again = bench.json(&["campaign", "recall", "launch", "--yes"]);
    assert_eq!(
        (&again["to_delete"], &again["cancelled"]),
        (&0.into(), &0.into()),
        "a second time there is nothing left"
    );
    assert_eq!(show(&bench)["recall"], after["recall"]);
    assert!(!bench.log().contains(TOKEN));
}

#[test]
fn a_recall_killed_in_the_middle_is_finished_by_the_next_daemon_and_deletes_each_once_or_again_but_never_misses_one() {
    for (point, again) in [("recall_begins:2", 0), ("recall_answered:2", 1), ("recalled:2", 0)] {
        let (bench, _gateway) = sent_to(4, "");
        let asked = bench.run(&["campaign", "recall", "launch", "--yes"]);
        assert!(asked.status.success());
        let told = String::from_utf8_lossy(&asked.stdout).into_owned();
        assert!(told.contains("4 messages to be deleted for everyone"), "{told}");
        let died = bench.command(&RUN).env("ONTHEDOT_CRASH_AT", point).output().unwrap();
        assert_eq!(died.status.signal(), Some(6), "{point}: {}", String::from_utf8_lossy(&died.stderr));
        let open = show(&bench)["recall"]["open"].as_u64().unwrap();
        assert!((2..=3).contains(&open), "{point}: {open}");
        // What is to be recalled is in hand: a run until idle ends when it is done.
        let finished = bench.run(&[&RUN[..], &["--until-idle=100ms"]].concat());
        assert_eq!(finished.status.code(), Some(0), "{}", String::from_utf8_lossy(&finished.stderr));
        assert_eq!(counts(&show(&bench)["recall"]), [4, 4, 0, 0, 0, 0], "{point}");
        let (mut sends, mut deleted) = (done_at(&bench, SEND), done_at(&bench, DELETE));
        assert_eq!(deleted.len(), 4 + again, "{point}: {deleted:?}");
        sends.sort();
        deleted.sort();
        deleted.dedup();
        assert_eq!(deleted, sends, "{point}");
    }
}

#[test]
fn a_message_in_doubt_at_the_recall_is_deleted_once_it_proves_sent() {
    // One was not carried out, one was, and nobody knows which: the histories of their chats tell it later. What came before
    // stands longer than the quarantine.
    let scenario = "faults:\n  - { text: price, chat: \"201000000001*\", times: 1, answer: { status: 502 } }\n  \
                    - { text: price, chat: \"201000000002*\", times: 1, do: before, reset: true }\n";
    let jobs = "  before: { in: 0s, to: \"201000000001\", text: hello }\n  \
                launch: { in: 4s, to: [\"201000000001\", \"201000000002\"], text: \"wrong price\" }\n";
    let (bench, _gateway) = prepare(scenario, "pacing: { concurrency: 4 }", jobs);
    let _daemon = start(&bench);
    until("both are in doubt", LIMIT, || {
        bench.run(&["campaign", "show", "launch"]).status.success() && show(&bench)["counts"]["in_doubt"] == 2
    });
    let asked = bench.json(&["campaign", "recall", "launch", "--yes"]);
    assert_eq!((&asked["in_motion"], &asked["to_delete"]), (&2.into(), &0.into()));
    assert_eq!(show(&bench)["recall"]["open"], 2);
    let recall = settled(&bench);
    assert_eq!(counts(&recall), [2, 1, 0, 0, 1, 0]);
    let told = show(&bench);
    assert_eq!((&told["counts"]["sent"], &told["counts"]["failed"]), (&1.into(), &1.into()), "it does not go again");
    let deletes = lines(&bench, DELETE);
    assert_eq!((deletes.len(), deletes[0]["chat"].as_str().unwrap()), (1, "201000000002@c.us"));
    let sends = lines(&bench, SEND);
    assert_eq!(sends.iter().filter(|l| l["chat"] == "201000000001@c.us").count(), 2, "{sends:?}");
}

#[test]
fn what_is_older_than_the_limit_is_reported_as_too_late() {
    let (bench, _gateway) = sent_to(3, "");
    change(&bench, "UPDATE messages SET sent_at = sent_at - 172800000 WHERE chat = '201000000001@c.us'");
    let long = bench.run(&["campaign", "recall", "launch", "--within", "3d", "--yes"]);
    assert_eq!(long.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&long.stderr).contains("longer than the 2d"));
    let output = bench.run(&["--json", "campaign", "recall", "launch", "--yes"]);
    assert_eq!(output.status.code(), Some(4), "some of it stays");
    let asked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&asked["to_delete"], &asked["too_late"]), (&2.into(), &1.into()));
    // Nobody got to another one in time.
    change(
        &bench,
        "UPDATE recalls SET sent_at = sent_at - 172800000
         WHERE message = (SELECT id FROM messages WHERE chat = '201000000002@c.us')",
    );
    let _daemon = start(&bench);
    assert_eq!(counts(&settled(&bench)), [3, 1, 0, 2, 0, 0]);
    let deletes = lines(&bench, DELETE);
    assert_eq!((deletes.len(), deletes[0]["chat"].as_str().unwrap()), (1, "201000000003@c.us"));
}

#[test]
fn only_what_was_sent_within_the_span_is_recalled() {
    let (bench, _gateway) = sent_to(2, "");
    change(&bench, "UPDATE messages SET sent_at = sent_at - 3600000 WHERE chat = '201000000001@c.us'");
    let asked = bench.json(&["campaign", "recall", "launch", "--within", "30m", "--yes"]);
    assert_eq!((&asked["to_delete"], &asked["too_late"]), (&1.into(), &0.into()));
    let _daemon = start(&bench);
    assert_eq!(counts(&settled(&bench)), [1, 1, 0, 0, 0, 0]);
    assert_eq!(lines(&bench, DELETE)[0]["chat"], "201000000002@c.us");
    let more = bench.json(&["campaign", "recall", "launch", "--yes"]);
    assert_eq!(more["to_delete"], 1, "the rest can be recalled later");
}

#[test]
fn a_recall_outlasts_faults_and_pauses_and_says_what_could_not_be_deleted() {
    let scenario = format!(
        "faults:\n  - {{ on: delete, chat: \"201000000001*\", times: 1, answer: {{ status: 429, retry_after: \"2\" }} }}\n  \
         - {{ on: delete, chat: \"201000000001*\", times: 1, do: before, answer: {{ status: 503 }} }}\n  \
         - {{ on: delete, chat: \"201000000002*\", answer: {{ status: 404, body: '{{\"code\":\"message_not_found\"}}' }} }}\n  \
         - {{ on: delete, chat: \"201000000003*\", answer: {{ status: 400, body: '{{\"message\":\"no: {TOKEN}\"}}' }} }}\n"
    );
    let (bench, _gateway) = sent_to(3, &scenario);
    bench.json(&["pause", "--all"]);
    bench.json(&["campaign", "recall", "launch", "--yes"]);
    let _daemon = start(&bench);
    let recall = settled(&bench);
    assert_eq!(counts(&recall), [3, 1, 2, 0, 0, 0]);
    let reasons: Vec<&str> =
        recall["reasons"].as_array().unwrap().iter().map(|r| r["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["refused", "unknown"]);
    let of = |chat: &str| {
        let id = bench.json(&["list", "--to", chat])["messages"][0]["id"].as_str().unwrap().to_owned();
        bench.json(&["show", &id])["recall"].clone()
    };
    assert_eq!(of("201000000001")["tries"], 2, "being too fast is no try");
    assert_eq!(of("201000000003")["response"]["message"], "no: [secret]");
    let statuses: Vec<i64> = lines(&bench, DELETE)
        .iter()
        .filter(|l| l["chat"] == "201000000001@c.us")
        .map(|l| l["status"].as_i64().unwrap())
        .collect();
    assert_eq!(statuses, [429, 503, 200]);
    assert!(!bench.log().contains(TOKEN));
}

#[test]
fn what_follows_a_recalled_message_is_recalled_with_it_and_nobody_is_asked_again() {
    let jobs = format!(
        "  launch: {{ in: 0s, to: [{}], text: \"wrong price\", nag: {{ every: 2s, max: 9, until: read }} }}\n",
        chats(2)
    );
    let (bench, _gateway) = prepare("", "pacing: { concurrency: 2 }", &jobs);
    let _daemon = start(&bench);
    until("both were asked again", LIMIT, || done_at(&bench, SEND).len() >= 4);
    bench.json(&["campaign", "recall", "launch", "--yes"]);
    let recall = settled(&bench);
    assert_eq!((&recall["failed"], &recall["too_late"]), (&0.into(), &0.into()));
    until("following ends", LIMIT, || {
        let all = bench.messages();
        all.iter().all(|m| matches!(m["state"].as_str().unwrap(), "sent" | "cancelled"))
            && all.iter().all(|m| bench.json(&["show", m["id"].as_str().unwrap()])["follow_up"]["state"] != "waiting")
    });
    let (mut sends, mut deleted) = (done_at(&bench, SEND), done_at(&bench, DELETE));
    sends.sort();
    deleted.sort();
    assert_eq!(deleted, sends);
}

#[test]
fn a_gateway_that_cannot_be_reached_costs_no_try() {
    let (bench, gateway) = sent_to(1, "");
    bench.json(&["campaign", "recall", "launch", "--yes"]);
    drop(gateway);
    let _daemon = start(&bench);
    until("it was asked in vain", LIMIT, || bench.log().contains("nothing can be recalled for now"));
    assert_eq!(counts(&show(&bench)["recall"]), [1, 0, 0, 0, 0, 1]);
    assert_eq!(tries_of_first(&bench), 0);
    // It is found by its chat.
    let refused = bench.run(&["contact", "erase", "201000000001"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("being recalled"));
}

#[test]
fn a_session_that_is_down_makes_a_recall_wait_costs_no_try_and_holds_no_run_back() {
    let (bench, _gateway) = sent_to(1, "");
    bench.json(&["campaign", "recall", "launch", "--yes"]);
    // The same account, logged out.
    bench.write("scenario.yaml", &format!("access_token: {TOKEN}\nsession_down: [{{ from: 0s, for: 1h }}]\n"));
    let (_logged_out, url) = gateway(&bench);
    let file = std::fs::read_to_string(bench.path("jobs.yaml")).unwrap();
    let known = file.split('"').find(|part| part.starts_with("http://")).unwrap().to_owned();
    bench.write("jobs.yaml", &file.replace(&known, &url));
    let ended = bench.run(&[&RUN[..], &["--until-idle=100ms"]].concat());
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(counts(&show(&bench)["recall"]), [1, 0, 0, 0, 0, 1]);
    assert_eq!((tries_of_first(&bench), lines(&bench, DELETE).len()), (0, 1));
    // What can be done again is done.
    bench.write("jobs.yaml", &file);
    let ended = bench.run(&[&RUN[..], &["--until-idle=100ms"]].concat());
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(counts(&show(&bench)["recall"]), [1, 1, 0, 0, 0, 0]);
}

#[test]
fn what_late_evidence_shows_to_have_gone_out_is_recalled_after_all() {
    // Carried out, given up by the job's policy without knowing, and told of long after.
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, doubt: { quarantine: 1s } } }\njobs:\n  \
         launch: { in: 0s, to: [\"201000000001\", \"201000000002\"], text: price, typing: off, on_doubt: drop }\n",
    );
    let scenario = "acks: { levels: [] }\necho: 8s\nfaults:\n  - { on: send, do: before, reset: true }\n  \
                    - { on: history, answer: { status: 200, body: '[]' } }\n";
    let _daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    until("both are given up", LIMIT, || {
        bench.run(&["campaign", "show", "launch"]).status.success() && show(&bench)["counts"]["failed"] == 2
    });
    let asked = bench.json(&["campaign", "recall", "launch", "--yes"]);
    assert_eq!((&asked["to_delete"], &asked["in_motion"]), (&0.into(), &0.into()), "as far as is known");
    until("nothing is left to do", LIMIT, || show(&bench)["recall"]["unsent"] == 2);
    until("both are deleted", LIMIT, || counts(&show(&bench)["recall"]) == [2, 2, 0, 0, 0, 0]);
    assert_eq!(done_at(&bench, DELETE).len(), 2);
}

fn tries_of_first(bench: &Bench) -> i64 {
    let id = bench.json(&["list", "--job", "launch"])["messages"][0]["id"].as_str().unwrap().to_owned();
    bench.json(&["show", &id])["recall"]["tries"].as_i64().unwrap()
}
