//! Campaigns: every recipient is accounted for, and a person can stop one, let it go on, call it off and read who got it.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, pause, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// How many people are on the list.
const GUESTS: usize = 30;

/// A campaign through a lane of ten a second.
fn begin() -> (Bench, Running) {
    let bench = Bench::new();
    let rows: String = (0..GUESTS).map(|n| format!("2010000{n:05},\"N, {n}\",=1+{n}\n")).collect();
    bench.write("guests.csv", &format!("phone,name,state\n{rows}"));
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, pacing: { rate: 10/s } } }\njobs:\n  \
         launch: { in: 1s, class: campaign, to: { csv: guests.csv, chat: phone }, text: \"Hi {{ name }}\", typing: { lead: 200ms } }\n  \
         alone: { at: 2097-01-01T00:00, to: \"201000000901\", text: hi }\n  \
         later: { at: 2097-01-01T00:00, to: [\"201000000902\", \"201000000903\"], text: hi }\n",
    );
    let daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "127.0.0.1:0"]);
    until("some of it left", LIMIT, || bench.path("db").exists() && sent(&bench) >= 5);
    (bench, daemon)
}

fn show(bench: &Bench) -> Value {
    bench.json(&["campaign", "show", "launch"])
}

fn sent(bench: &Bench) -> u64 {
    let output = bench.run(&["campaign", "show", "launch", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    told["counts"]["sent"].as_u64().unwrap_or(0)
}

/// How many messages all its counts name together.
fn accounted(campaign: &Value) -> u64 {
    campaign["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
}

#[test]
fn a_paused_campaign_sends_nothing_until_it_is_resumed_and_is_finished_when_all_rest() {
    let (bench, _daemon) = begin();
    assert_eq!(show(&bench)["state"], "running");
    bench.json(&["campaign", "pause", "launch", "--note", "wrong price"]);
    // What was marked before goes out.
    pause(Duration::from_millis(700));
    let paused = show(&bench);
    pause(Duration::from_millis(700));
    let still = show(&bench);
    assert_eq!((&still["state"], &still["note"]), (&"paused".into(), &"wrong price".into()));
    assert_eq!(still["counts"], paused["counts"], "nothing leaves meanwhile");
    assert_eq!(accounted(&still), GUESTS as u64);
    let waits = bench.json(&["list", "--job", "launch", "--state", "scheduled", "--limit", "1"]);
    let id = waits["messages"][0]["id"].as_str().unwrap().to_owned();
    let gates = bench.json(&["show", &id])["waiting"].clone();
    assert!(gates.as_array().unwrap().iter().any(|g| g["gate"] == "pause" && g["note"] == "wrong price"), "{gates}");
    bench.json(&["campaign", "resume", "launch"]);
    until("all of it left", LIMIT, || sent(&bench) == GUESTS as u64);
    let done = show(&bench);
    assert_eq!((&done["state"], &done["undone"]), (&"finished".into(), &0.into()));
    assert_eq!(done["counts"]["sent"].as_u64().unwrap(), GUESTS as u64);
}

#[test]
fn a_campaign_that_is_called_off_sends_nothing_more_and_accounts_for_everybody() {
    let (bench, _daemon) = begin();
    let would = bench.json(&["campaign", "cancel", "launch", "--dry-run"]);
    assert!(would["cancelled"].as_u64().unwrap() > 0 && show(&bench)["state"] == "running");
    let done = bench.json(&["campaign", "cancel", "launch"]);
    until("what was on the way rests", LIMIT, || show(&bench)["undone"] == 0);
    let after = show(&bench);
    assert_eq!(after["state"], "cancelled");
    assert_eq!(after["counts"]["cancelled"], done["cancelled"]);
    assert_eq!(accounted(&after), GUESTS as u64);
    pause(Duration::from_millis(700));
    assert_eq!(show(&bench)["counts"], after["counts"]);
    let again = bench.json(&["campaign", "cancel", "launch"]);
    assert_eq!(again["cancelled"], 0, "a second time there is nothing left");
}

#[test]
fn a_campaign_is_listed_by_its_name_and_one_recipient_alone_is_none() {
    let (bench, _daemon) = begin();
    let list = bench.json(&["campaign", "list"]);
    let jobs: Vec<&str> = list["campaigns"].as_array().unwrap().iter().map(|c| c["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["later", "launch"], "the latest first");
    let name = list["campaigns"][1]["name"].as_str().unwrap().to_owned();
    assert_eq!(bench.json(&["campaign", "show", &name])["name"], *name);
    let message = &bench.json(&["list", "--job", "launch", "--limit", "1"])["messages"][0];
    assert_eq!(message["campaign"], *name);
    assert!(bench.json(&["list", "--job", "alone"])["messages"][0]["campaign"].is_null());
    assert_eq!(bench.json(&["campaign", "list", "--job", "later"])["campaigns"].as_array().unwrap().len(), 1);
    let unknown = bench.run(&["campaign", "show", "lanch"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean 'launch'"));
}

#[test]
fn an_export_has_a_line_for_everybody_and_no_cell_that_a_spreadsheet_carries_out() {
    let (bench, _daemon) = begin();
    until("all of it left", LIMIT, || sent(&bench) == GUESTS as u64);
    let output = bench.run(&["campaign", "export", "launch"]);
    let mut csv = csv::Reader::from_reader(&output.stdout[..]);
    let header: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header[..3], ["to", "state", "reason"]);
    assert_eq!(header[header.len() - 2..], ["name", "vars.state"], "a variable does not hide a column");
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), GUESTS);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!((&row[0], &row[1]), (format!("2010000{n:05}@c.us").as_str(), "sent"));
        assert_eq!((&row[header.len() - 2], &row[header.len() - 1]), (&*format!("N, {n}"), &*format!("'=1+{n}")));
    }
    let lines = bench.run(&["campaign", "export", "launch", "--format", "jsonl", "--state", "sent"]);
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert_eq!(lines.lines().count(), GUESTS);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["vars"]["state"], &first["state"]), (&"=1+0".into(), &"sent".into()));
}

#[test]
fn the_predicted_finish_is_when_the_last_message_leaves_and_a_faster_rate_ends_earlier() {
    let (bench, _daemon) = begin();
    let instant = |v: &Value| chrono::DateTime::parse_from_rfc3339(v.as_str().unwrap()).unwrap().timestamp_millis();
    let told = bench.json(&["campaign", "eta", "launch", "--rate", "20/s"]);
    assert_eq!(told["waiting"], told["leave"]);
    assert!(instant(&told["what_if"]["finish_at"]) < instant(&told["finish_at"]), "{told}");
    bench.json(&["campaign", "pause", "launch"]);
    assert!(bench.json(&["campaign", "eta", "launch"])["finish_at"].is_null(), "nobody knows when it goes on");
    bench.json(&["campaign", "resume", "launch"]);
    let told = bench.json(&["campaign", "eta", "launch"]);
    until("all of it left", LIMIT, || sent(&bench) == GUESTS as u64);
    let (last, foretold) = (instant(&show(&bench)["last_sent_at"]), instant(&told["finish_at"]));
    // Slots count from sends before them, each a millisecond or two after its own slot.
    assert!((0..=250).contains(&(last - foretold)), "foretold {told}, and the last left {} ms later", last - foretold);
    let after = bench.json(&["campaign", "eta", "launch"]);
    assert_eq!((&after["waiting"], &after["finish_at"]), (&0.into(), &Value::Null));
}

#[test]
fn those_whom_a_campaign_did_not_reach_get_it_once_more_and_nobody_else_does() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server, device, read], first: 20ms, step: 20ms }\n\
        acks_of: [{ chat: \"201000000002*\", levels: [server, device] }, { chat: \"201000000003*\", levels: [server] }]\n\
        not_on_whatsapp: [\"201000000004*\"]\n";
    let to: Vec<String> = (1..=5).map(|n| format!("\"20100000000{n}\"")).collect();
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n  \
             launch: {{ in: 500ms, to: [{}], text: hi, typing: off }}\n",
            to.join(", ")
        ),
    );
    let _daemon = bench.start_sandboxed(scenario);
    let stands = |name: &str, acks: [u64; 3], failed: u64| {
        let c: Value =
            serde_json::from_slice(&bench.run(&["campaign", "show", name, "--json"]).stdout).unwrap_or_default();
        let found = ["server", "device", "read"].map(|a| c["acks"][a].as_u64().unwrap_or(0));
        found == acks && c["counts"]["failed"] == failed
    };
    until("the acks rest", LIMIT, || stands("launch", [1, 1, 2], 1));
    let name = show(&bench)["name"].as_str().unwrap().to_owned();
    let would = bench.json(&["campaign", "resend", &name, "--only", "failed,undelivered,unread", "--dry-run"]);
    assert_eq!((&would["retried"], &would["again"]), (&1.into(), &2.into()));
    let done = bench.json(&["campaign", "resend", &name, "--only", "failed,undelivered,unread"]);
    assert_eq!((&done["retried"], &done["again"]), (&1.into(), &2.into()));
    let new = done["new_campaign"].as_str().unwrap().to_owned();
    until("it went to two once more", LIMIT, || stands(&new, [1, 1, 0], 0));
    until("what failed was tried", LIMIT, || stands(&name, [1, 1, 2], 1));
    let sends =
        |chat: &str| bench.journal().iter().filter(|l| l.path == "/v2/send/text" && l.chat.starts_with(chat)).count();
    let each = ["1", "2", "3", "4", "5"].map(|n| sends(&format!("20100000000{n}")));
    assert_eq!(each, [1, 2, 2, 2, 1]);
    // Whom it went to again is not written to a third time, by either name, unless that is said.
    for name in [&name[..], "launch"] {
        let more = bench.json(&["campaign", "resend", name, "--only", "undelivered,unread"]);
        assert_eq!(
            (&more["again"], &more["before"], &more["new_campaign"]),
            (&0.into(), &2.into(), &Value::Null),
            "{name}"
        );
    }
    let would = bench.json(&["campaign", "resend", &name, "--only", "unread", "--again", "--dry-run"]);
    assert_eq!((&would["again"], &would["before"]), (&2.into(), &0.into()));
    let nobody = bench.json(&["campaign", "resend", &new, "--only", "failed"]);
    assert!(nobody["new_campaign"].is_null() && nobody["again"] == 0);
    for nobody in ["read", "", " , "] {
        assert_eq!(bench.run(&["campaign", "resend", &new, "--only", nobody]).status.code(), Some(2), "'{nobody}'");
    }
}

#[test]
fn an_eta_leaves_out_who_is_suppressed() {
    let (bench, mut daemon) = begin();
    bench.json(&["campaign", "pause", "launch", "--for", "1h"]);
    // What a daemon has in hand is skipped at once; without one, the suppressed message waits.
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    bench.json(&["contact", "suppress", &format!("2010000{:05}", GUESTS - 1)]);
    let told = bench.json(&["campaign", "eta", "launch"]);
    assert_eq!((&told["suppressed"], &told["waiting"]), (&1.into(), &told["leave"]));
    assert!(told["finish_at"].is_string(), "{told}");
}

#[test]
fn a_campaign_whose_calling_off_is_killed_stays_paused_and_is_called_off_the_second_time() {
    const MANY: usize = 3_000;
    let mut halfway = 0;
    for kill_after in [20_u64, 40, 60, 80, 120] {
        let bench = Bench::new();
        let rows: String = (0..MANY).map(|n| format!("2010000{n:05}\n")).collect();
        bench.write("guests.csv", &format!("phone\n{rows}"));
        bench.write(
            "jobs.yaml",
            "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, pacing: { rate: 20/s } } }\njobs:\n  \
             launch: { in: 1s, to: { csv: guests.csv, chat: phone }, text: hi, typing: off }\n",
        );
        let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
        until("some of it left", LIMIT, || bench.path("db").exists() && sent(&bench) >= 5);
        let mut calling_off = bench.start(&["campaign", "cancel", "launch"]);
        pause(Duration::from_millis(kill_after));
        let _ = calling_off.0.kill();
        calling_off.0.wait().unwrap();
        let seen = show(&bench);
        assert_eq!(accounted(&seen), MANY as u64);
        if seen["state"] == "paused" {
            halfway += 1;
            pause(Duration::from_millis(500));
            let before = sent(&bench);
            pause(Duration::from_millis(500));
            assert_eq!((sent(&bench), &show(&bench)["note"]), (before, &"it is being called off".into()));
        }
        bench.json(&["campaign", "cancel", "launch"]);
        until("it is called off", LIMIT, || show(&bench)["state"] == "cancelled");
        let (after, sends) = (show(&bench), bench.journal().iter().filter(|l| l.path == "/v2/send/text").count());
        assert_eq!(after["counts"]["sent"].as_u64().unwrap(), sends as u64);
        assert_eq!(accounted(&after), MANY as u64);
    }
    println!("{halfway} of 5 were killed halfway");
}

/// Starts the daemon and waits until its file is applied.
fn start(bench: &Bench, scenario: &str) -> Running {
    let daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    daemon
}

/// A jobs file with one campaign of so many, and a lane of forty a second.
fn write_campaign(bench: &Bench, guests: usize, keys: &str) {
    let rows: String = (0..guests).map(|n| format!("2010000{n:05}\n")).collect();
    bench.write("guests.csv", &format!("phone\n{rows}"));
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox, pacing: {{ rate: 40/s }} }} }}\njobs:\n  \
             launch: {{ in: 0s, class: campaign, to: {{ csv: guests.csv, chat: phone }}, text: hi, typing: off, {keys} }}\n"
        ),
    );
}

#[test]
fn a_campaign_that_is_held_is_a_draft_until_it_is_approved_and_then_reaches_everybody() {
    let bench = Bench::new();
    write_campaign(&bench, 25, "hold: true");
    let _daemon = start(&bench, "{}\n");
    until("it is there", LIMIT, || bench.run(&["campaign", "show", "launch"]).status.success());
    pause(Duration::from_millis(700));
    let draft = show(&bench);
    assert_eq!(
        (&draft["state"], &draft["counts"]["held"], &draft["undone"]),
        (&"draft".into(), &25.into(), &25.into())
    );
    assert_eq!(draft["reasons"][0]["reason"], "approval");
    assert!(bench.json(&["campaign", "eta", "launch"])["finish_at"].is_null(), "nobody knows when it is approved");
    let would = bench.json(&["campaign", "approve", "launch", "--dry-run"]);
    assert_eq!((&would["approved"], &show(&bench)["state"]), (&25.into(), &"draft".into()));
    assert_eq!(bench.json(&["campaign", "approve", "launch"])["approved"], 25);
    until("all of it left", LIMIT, || sent(&bench) == 25);
    assert_eq!(show(&bench)["state"], "finished");
    assert_eq!(bench.json(&["campaign", "approve", "launch"])["approved"], 0);
    bench.write("more.csv", "phone\n201000000901\n201000000902\n");
    bench.json(&["import", "more.csv", "--job", "launch", "--chat", "phone"]);
    assert_eq!(show(&bench)["state"], "draft", "what is imported for it waits too");
    assert_eq!(bench.json(&["campaign", "approve", "launch"])["approved"], 2);
}

#[test]
fn what_ended_before_its_draft_was_approved_waits_for_the_approval_once_it_is_retried() {
    let bench = Bench::new();
    write_campaign(&bench, 5, "hold: true");
    let _daemon = start(&bench, "{}\n");
    let counts = || show(&bench)["counts"].clone();
    until("it is there", LIMIT, || bench.run(&["campaign", "show", "launch"]).status.success());
    bench.json(&["cancel", "--job", "launch", "--yes"]);
    assert_eq!(counts()["cancelled"], 5);
    let would = bench.json(&["retry", "--job", "launch", "--yes", "--dry-run"]);
    let note = "back in its draft, which waits for its approval";
    assert_eq!((&would["results"][0]["state"], &would["results"][0]["note"]), (&"held".into(), &note.into()));
    bench.json(&["retry", "--job", "launch", "--yes"]);
    pause(Duration::from_millis(1_500));
    assert_eq!((counts()["held"].clone(), sent(&bench)), (5.into(), 0));
    let held = bench.json(&["list", "--job", "launch", "--state", "held"]);
    assert_eq!(held["messages"][0]["reason"], "approval", "{held}");
    assert_eq!(bench.json(&["campaign", "approve", "launch"])["approved"], 5);
    until("all of it left", LIMIT, || sent(&bench) == 5);
}

#[test]
fn a_draft_expires_by_an_instant_and_not_by_waiting() {
    let bench = Bench::new();
    write_campaign(&bench, 25, "hold: true, expires: 2s");
    let _daemon = start(&bench, "{}\n");
    until("it is there", LIMIT, || bench.run(&["campaign", "show", "launch"]).status.success());
    pause(Duration::from_millis(4_000));
    assert_eq!(show(&bench)["state"], "draft", "{}", show(&bench));
    assert_eq!(bench.json(&["campaign", "approve", "launch"])["approved"], 25);
    until("all of it left", LIMIT, || sent(&bench) == 25);
    let soon = jiff::Timestamp::from_millisecond(process::now_ms() + 3_000).unwrap();
    write_campaign(&bench, 25, &format!("hold: true, expires: \"{soon}\""));
    let text = std::fs::read_to_string(bench.path("jobs.yaml")).unwrap().replace("launch:", "other:");
    bench.write("jobs.yaml", &text);
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    let other = || bench.json(&["campaign", "show", "other"]);
    until("it is there", LIMIT, || bench.run(&["campaign", "show", "other"]).status.success());
    assert_eq!((other()["state"].clone(), other()["expires_at"].as_str().unwrap().len()), ("draft".into(), 24));
    let shown = String::from_utf8_lossy(&bench.run(&["campaign", "show", "other"]).stdout).into_owned();
    assert!(shown.contains("expires "), "{shown}");
    until("its instant comes", LIMIT, || other()["counts"]["expired"] == 25);
}

#[test]
fn a_campaign_that_goes_wrong_is_paused_by_itself_and_goes_on_once_a_person_has_looked() {
    let bench = Bench::new();
    write_campaign(&bench, 400, "pause_on: { errors: 20%, of: 20 }");
    let scenario =
        "seed: 5\nfaults:\n  - { on: send, percent: 60, answer: { status: 400, body: '{\"message\":\"no\"}' } }\n";
    let _daemon = start(&bench, scenario);
    let paused = || {
        bench.path("db").exists()
            && bench.run(&["campaign", "show", "launch"]).status.success()
            && show(&bench)["state"] == "paused"
    };
    until("it is paused", LIMIT, paused);
    let told = show(&bench);
    let note = told["note"].as_str().unwrap();
    assert!(
        note.starts_with("paused by itself: ")
            && note.ends_with("of the latest 20 sends were refused or got no clear answer; the limit is 20%"),
        "{note}"
    );
    assert!(told["counts"]["scheduled"].as_u64().unwrap() > 150, "most of it did not go the same way: {told}");
    assert_eq!(accounted(&told), 400);
    pause(Duration::from_millis(700));
    assert_eq!(show(&bench)["counts"], told["counts"]);
    // Let go on, it is judged by what it sends from then on.
    bench.json(&["campaign", "resume", "launch"]);
    until("it went on, and is paused again", LIMIT, || {
        let now = show(&bench);
        now["state"] == "paused" && now["counts"]["scheduled"].as_u64() < told["counts"]["scheduled"].as_u64()
    });
}

#[test]
fn each_recipient_gets_one_variant_by_weight_and_the_report_tells_what_became_of_each() {
    let bench = Bench::new();
    let rows: String = (0..200).map(|n| format!("2010000{n:05},Guest {n}\n")).collect();
    bench.write("guests.csv", &format!("phone,name\n{rows}"));
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n  launch:\n    in: 0s\n    class: campaign\n    \
         to: { csv: guests.csv, chat: phone }\n    typing: off\n    variants:\n      - { weight: 3, text: \"Dear {{ name }}\" }\n      \
         - { text: \"Hi {{ name }}\" }\n",
    );
    let _daemon = start(&bench, "replies:\n  - { chat: \"*\", text: \"Hi \", after: 100ms, say: \"Thanks\" }\n");
    let all_sent = || sent(&bench) == 200;
    until("all of it left", LIMIT, all_sent);
    let hi = |told: &Value| told["variants"][1].clone();
    until("the answers came in", LIMIT, || hi(&show(&bench))["replied"] == hi(&show(&bench))["sent"]);
    let told = show(&bench);
    let [dear, hi] = [&told["variants"][0], &told["variants"][1]];
    assert_eq!(
        (&dear["content"]["text"], &hi["content"]["text"]),
        (&"Dear {{ name }}".into(), &"Hi {{ name }}".into())
    );
    let of = |v: &Value, what: &str| v[what].as_u64().unwrap();
    let shown = |m: &Value| bench.json(&["show", m["id"].as_str().unwrap()])["content"]["text"].clone().to_string();
    let last: std::collections::HashSet<String> = bench.messages().iter().take(40).map(shown).collect();
    assert_eq!(last.len(), 2, "neither leaves before the other");
    assert_eq!((of(dear, "sent") + of(hi, "sent"), of(dear, "messages") + of(hi, "messages")), (200, 200));
    assert!((25..=75).contains(&of(hi, "sent")), "a quarter of them: {told}");
    assert_eq!(of(dear, "replied"), 0);
    let chats: std::collections::HashSet<String> =
        bench.journal().into_iter().filter(|l| l.path == "/v2/send/text").map(|l| l.chat).collect();
    assert_eq!(chats.len(), 200, "and nobody got both");
    let more: String = (0..60).map(|n| format!("2010001{n:05},Late {n}\n")).collect();
    bench.write("more.csv", &format!("phone,name\n{more}"));
    assert_eq!(bench.json(&["import", "more.csv", "--job", "launch", "--chat", "phone"])["imported"], 60);
    until("what was imported left", LIMIT, || sent(&bench) == 60);
    let told = show(&bench);
    let parts = [of(&told["variants"][0], "sent"), of(&told["variants"][1], "sent")];
    assert!(parts.iter().sum::<u64>() == 60 && parts[1] > 0, "one each there, too: {told}");
    let both = bench.write("both.yaml", "version: 1\ninstances: { shop: { gateway: sandbox } }\njobs:\n  a: { in: 1s, to: \"201000000001\", text: x, variants: [{ text: a }, { text: b }] }\n");
    let checked = bench.run(&["check", both.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("has both variants and text"), "{checked:?}");
}

#[test]
fn a_later_message_of_a_sequence_counts_from_when_the_one_before_left_and_ends_with_an_answer() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, pacing: { gap: 1s..1s } } }\njobs:\n  course:\n    in: 0s\n    \
         to: [\"201000000001\", \"201000000002\", \"201000000003\", \"201000000004\"]\n    typing: { lead: 200ms }\n    stop_on: reply\n    \
         messages:\n      - text: \"lesson one\"\n      - { after: 5s, text: \"lesson two\" }\n      - { after: 3s, text: \"lesson three\" }\n",
    );
    let scenario = "replies:\n  - { chat: \"201000000002*\", text: \"lesson one\", after: 100ms, say: \"got it\" }\n  \
                    - { chat: \"201000000003*\", text: \"lesson two\", after: 100ms, say: \"enough\" }\n";
    let _daemon = start(&bench, scenario);
    let messages = || bench.json(&["list", "--job", "course"])["messages"].as_array().unwrap().clone();
    let rests = |m: &Value| m["state"] == "sent" || m["state"] == "skipped";
    until("the course is over", LIMIT, || messages().len() == 12 && messages().iter().all(rests));
    let sends_to = |n: usize| -> Vec<i64> {
        let to = format!("20100000000{n}@c.us");
        bench.journal().iter().filter(|l| l.path == "/v2/send/text" && l.chat == to).map(|l| l.received_ms).collect()
    };
    assert_eq!([1, 2, 3, 4].map(|n| sends_to(n).len()), [3, 1, 2, 3], "an answer ends it");
    for n in [1, 4] {
        let at = sends_to(n);
        assert!(at[1] - at[0] >= 4_980 && at[2] - at[1] >= 2_980, "{at:?}");
        assert!(at[2] - at[0] < 12_000, "and not much more: {at:?}");
    }
    let mut reasons: Vec<String> = messages()
        .iter()
        .filter(|m| m["state"] == "skipped")
        .map(|m| format!("{} {}", &m["to"].as_str().unwrap()[11..12], m["reason"].as_str().unwrap()))
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["2 replied", "2 sequence", "3 replied"]);
    let wrong = bench.write("wrong.yaml", "version: 1\ninstances: { shop: { gateway: sandbox } }\njobs:\n  a: { in: 1s, to: \"201000000001\", messages: [{ after: 1s, text: a }, { text: b }] }\n");
    let checked = bench.run(&["check", wrong.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("after stands at the second message"), "{checked:?}");
}

#[test]
fn a_preview_shows_what_a_recipient_will_read_and_a_test_of_it_goes_to_oneself() {
    let bench = Bench::new();
    bench.write("guests.csv", "phone,name\n201000000001,Ada\n201000000002,Bob\n201000000003,Cy\n201000000004,Di\n");
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n  launch:\n    at: 2097-01-01T10:00\n    hold: true\n    \
         to: { csv: guests.csv, chat: phone }\n    text: \"{{ 'Hi|Hello' | pick }} {{ name }}, {{ due | time }}\"\n",
    );
    let _daemon = start(&bench, "{}\n");
    let shown = bench.json(&["campaign", "preview", "launch"]);
    let texts = |v: &Value| -> Vec<String> {
        v["previews"].as_array().unwrap().iter().map(|p| p["content"]["text"].as_str().unwrap().to_owned()).collect()
    };
    let all = texts(&shown);
    assert_eq!(all.len(), 3);
    assert!(all[0].ends_with("Ada, 10:00") && all[2].ends_with("Cy, 10:00"), "{all:?}");
    assert_eq!(texts(&bench.json(&["campaign", "preview", "launch", "--limit", "4"]))[..3], all, "the same each time");
    let dry = bench.json(&[
        "campaign",
        "preview",
        "launch",
        "--chat",
        "201000000002",
        "--send-to",
        "201000000099",
        "--dry-run",
    ]);
    assert!(dry["sent"].is_null());
    let sent = bench.json(&["campaign", "preview", "launch", "--chat", "201000000002", "--send-to", "201000000099"]);
    assert!(texts(&sent)[0].ends_with("Bob, 10:00"));
    let id = sent["sent"].as_str().unwrap().to_owned();
    until("the test left", LIMIT, || bench.json(&["show", &id])["state"] == "sent");
    let left: Vec<String> =
        bench.journal().iter().filter(|l| l.path == "/v2/send/text").map(|l| l.chat.clone()).collect();
    assert_eq!(left, ["201000000099@c.us"], "nothing went to a recipient");
    assert_eq!(show(&bench)["messages"], 4, "and the campaign is as it was");
    let nobody = bench.run(&["campaign", "preview", "launch", "--chat", "201000000077"]);
    assert_eq!(nobody.status.code(), Some(3));
}

/// Jobs that write to the same two people; `frequency` where they have one.
fn often(jobs: &[(&str, &str, &str)]) -> (Bench, Running) {
    let jobs: String = jobs
        .iter()
        .map(|(name, at, more)| {
            let to = "[\"201000000001\", \"201000000002\"]";
            format!("  {name}: {{ in: {at}, class: campaign, to: {to}, text: {name}, typing: off{more} }}\n")
        })
        .collect();
    let bench = Bench::new();
    let head = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox }, desk: { gateway: sandbox }, \
        slow: { gateway: sandbox, pacing: { gap: 3s..3s } } }\n";
    bench.write("jobs.yaml", &format!("{head}defaults: {{ instance: shop }}\njobs:\n{jobs}"));
    let daemon = bench.start_sandboxed("acks: { levels: [] }\ndoing: 300ms..300ms\n");
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    (bench, daemon)
}

#[test]
fn a_recipient_gets_no_more_than_frequency_allows_also_from_two_campaigns_at_one_instant() {
    let two = ", frequency: { at_most: 2, within: 1h }";
    let elsewhere = format!("{two}, instance: desk");
    let jobs = [("first", "2s", two), ("second", "4s", two), ("third", "4s", &elsewhere), ("free", "5s", "")];
    let (bench, _daemon) = often(&jobs);
    let rests = |m: &Value| m["state"] == "sent" || m["state"] == "skipped";
    until("everything rests", LIMIT, || bench.messages().iter().filter(|m| rests(m)).count() == 8);
    let of =
        |job: &str, state: &str| bench.messages().iter().filter(|m| m["job"] == job && m["state"] == state).count();
    assert_eq!(
        (of("first", "sent"), of("free", "sent")),
        (2, 2),
        "what has no such key does not count, nor is it judged"
    );
    // Two at one instant through two accounts: only one of them is the second.
    assert_eq!(of("second", "sent") + of("third", "sent"), 2, "{:?}", bench.messages());
    let skipped: Vec<_> = bench.messages().into_iter().filter(|m| m["state"] == "skipped").collect();
    assert_eq!(skipped.len(), 2);
    assert!(skipped.iter().all(|m| m["reason"] == "too_often"));
    let id = skipped[0]["id"].as_str().unwrap();
    let released = bench.run(&["retry", id]);
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    until("it is skipped again", LIMIT, || bench.json(&["show", id])["state"] == "skipped");
}

#[test]
fn a_message_that_comes_too_often_says_so_before_its_time_and_goes_once_the_span_is_over() {
    let one = ", frequency: { at_most: 1, within: 6s }";
    let (bench, _daemon) = often(&[("first", "1s", one), ("soon", "5s", one), ("later", "9s", one)]);
    let of = |job: &str| bench.json(&["list", "--job", job])["messages"].as_array().unwrap().clone();
    until("the first ones left", LIMIT, || of("first").iter().filter(|m| m["state"] == "sent").count() == 2);
    let told = bench.json(&["explain", of("soon")[0]["id"].as_str().unwrap()]);
    let gates: Vec<&str> = told["gates"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|g| g["passed"] == false)
        .map(|g| g["gate"].as_str().unwrap())
        .collect();
    assert_eq!(gates, ["due", "frequency"], "{told}");
    assert_eq!(bench.json(&["explain", of("later")[0]["id"].as_str().unwrap()])["gates"][0]["gate"], "due");
    until("the later ones rest", LIMIT, || {
        of("later").iter().all(|m| m["state"] != "scheduled" && m["state"] != "sending")
    });
    assert!(of("soon").iter().all(|m| m["reason"] == "too_often"), "{:?}", of("soon"));
    assert!(of("later").iter().all(|m| m["state"] == "sent"), "{:?}", of("later"));
}

#[test]
fn what_waits_for_its_turn_is_judged_by_frequency_when_that_comes() {
    let judged = ", instance: slow, frequency: { at_most: 1, within: 6s }";
    let jobs = [("first", "1s", judged), ("between", "4500ms", ", instance: slow"), ("behind", "5s", judged)];
    let (bench, _daemon) = often(&jobs);
    let rests = |m: &Value| m["state"] == "sent" || m["state"] == "skipped";
    until("everything rests", LIMIT, || bench.messages().iter().filter(|m| rests(m)).count() == 6);
    assert!(bench.messages().iter().all(|m| m["state"] == "sent"), "{:?}", bench.messages());
}

/// Which instance each chat of a job was sent to through.
fn senders(bench: &Bench, job: &str) -> std::collections::BTreeMap<String, String> {
    let of = |m: &Value, key: &str| m[key].as_str().unwrap().to_owned();
    bench.messages().iter().filter(|m| m["job"] == job).map(|m| (of(m, "to"), of(m, "instance"))).collect()
}

#[test]
fn each_recipient_keeps_its_account_of_several_also_when_one_is_added_and_in_an_import() {
    let bench = Bench::new();
    let rows: String = (0..60).map(|n| format!("2010000{n:05}\n")).collect();
    bench.write("all.csv", &format!("phone\n{rows}"));
    let run = |instances: &[&str], job: &str| {
        let declared: String = instances.iter().map(|i| format!("  {i}: {{ gateway: sandbox }}\n")).collect();
        let (pool, rest) = (instances.join(", "), "class: campaign, text: hi, typing: off");
        let to = "to: { csv: all.csv, chat: phone }";
        let job = format!("  {job}: {{ in: 100ms, instance: [{pool}], {to}, {rest} }}\n");
        bench.write("jobs.yaml", &format!("version: 1\ntimezone: UTC\ninstances:\n{declared}jobs:\n{job}"));
        let played = ["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=500ms", "--journal", "journal"];
        let output = bench.run(&played);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["a", "b"], "first");
    let first = senders(&bench, "first");
    let through = |all: &std::collections::BTreeMap<String, String>, i: &str| all.values().filter(|v| *v == i).count();
    assert_eq!(first.len(), 60);
    assert!(through(&first, "a") > 15 && through(&first, "b") > 15, "{first:?}");
    run(&["c", "b", "a"], "second");
    assert_eq!(senders(&bench, "second"), first, "nobody hears from another number");
    let more: String = (30..120).map(|n| format!("2010000{n:05}\n")).collect();
    bench.write("more.csv", &format!("phone\n{more}"));
    bench.json(&["import", "more.csv", "--job", "second", "--chat", "phone", "--in", "1h", "--config", "jobs.yaml"]);
    let imported = senders(&bench, "second");
    let (old, new): (Vec<_>, Vec<_>) = imported.iter().partition(|(chat, _)| first.contains_key(*chat));
    assert!(old.iter().all(|(chat, i)| first[*chat] == **i));
    assert!(new.len() == 60 && ["a", "b", "c"].iter().all(|i| new.iter().any(|(_, v)| v == i)), "{new:?}");
    // Predicted as planned: by whoever wrote before.
    let shown = bench.json(&["job", "show", "second"]);
    assert_eq!(shown["instances"], serde_json::json!(["c", "b", "a"]));
}

/// A watch of the campaign that writes a document a line, and the documents it wrote so far.
fn watch(bench: &Bench) -> (Running, impl Fn() -> Vec<Value>) {
    let mut watch = bench.command(&["campaign", "show", "launch", "--watch", "--json"]);
    let path = bench.path("watched");
    let watch = Running(watch.stdout(std::fs::File::create(&path).unwrap()).spawn().unwrap());
    let lines = move || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    };
    (watch, lines)
}

#[test]
fn campaign_show_watch_ends_when_the_campaign_rests() {
    let (bench, daemon) = begin();
    bench.json(&["campaign", "pause", "launch"]);
    let (mut watch, lines) = watch(&bench);
    until("the pause is seen", LIMIT, || lines().last().is_some_and(|c| c["state"] == "paused"));
    assert_eq!(lines()[0]["waits"]["gate"], "pause");
    assert_eq!(lines()[0]["served"], true);
    bench.json(&["campaign", "resume", "launch"]);
    until("it ends", LIMIT, || watch.0.try_wait().unwrap().is_some());
    assert_eq!(watch.0.wait().unwrap().code(), Some(0));
    let all = lines();
    let last = &all[all.len() - 1];
    assert!(all.iter().all(|c| accounted(c) == GUESTS as u64), "everybody is in one of the counts");
    let sent = |c: &Value| c["counts"]["sent"].as_u64().unwrap();
    assert!(all.windows(2).all(|two| sent(&two[0]) <= sent(&two[1])), "what was sent stays so");
    assert!(all[..all.len() - 1].iter().all(|c| c["undone"] != 0), "only the last of them rests");
    assert_eq!((&last["state"], &last["undone"], sent(last)), (&"finished".into(), &0.into(), GUESTS as u64));
    // Who begins to watch later knows what left before.
    assert_eq!(last["rates"], show(&bench)["rates"]);
    drop(daemon);
    let again = bench.run(&["campaign", "show", "launch", "--watch=5"]);
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!((again.status.code(), text.lines().count()), (Some(0), 1), "{text}");
    assert!(text.contains("launch  100 %  30 of 30 sent") && text.contains("finished"), "{text}");
}

#[test]
fn a_watch_sees_that_nobody_sends_and_that_a_campaign_is_called_off() {
    let (bench, daemon) = begin();
    drop(daemon);
    let (mut watch, lines) = watch(&bench);
    until("it says that no daemon serves it", LIMIT, || {
        lines().last().is_some_and(|c| c["served"] == false && c["waits"]["gate"] == "daemon")
    });
    bench.json(&["campaign", "cancel", "launch"]);
    // What the killed daemon was about is still undone: the next one settles it.
    let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "127.0.0.1:0"]);
    until("it ends", LIMIT, || watch.0.try_wait().unwrap().is_some());
    assert_eq!(watch.0.wait().unwrap().code(), Some(0));
    let last = lines().pop().unwrap();
    assert_eq!((&last["state"], accounted(&last)), (&"cancelled".into(), GUESTS as u64));
}
