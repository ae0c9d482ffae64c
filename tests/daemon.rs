//! The daemon as a process, a real SQLite file, the sandbox over real HTTP: what is promised, from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use process::{Bench, now_ms, pause, until};
use serde_json::Value;

fn jobs(settings: &str, jobs: &str) -> String {
    format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox{settings} }} }}\njobs:\n{jobs}")
}

fn field<'v>(m: &'v Value, name: &str) -> &'v str {
    m[name].as_str().unwrap_or("")
}

/// Starts a sandbox gateway of its own with the bench's scenario and journal, and answers where it is.
fn gateway(bench: &Bench) -> (process::Running, String) {
    use std::io::BufRead;
    let files = ["--scenario", "scenario.yaml", "--journal", "journal"];
    let mut command = bench.command(&[&["sandbox", "--json", "--listen", "127.0.0.1:0"][..], &files].concat());
    let mut running = process::Running(command.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufReader::new(running.0.stdout.as_mut().unwrap()).lines();
    let line = lines.find(|l| l.as_ref().is_ok_and(|l| l.contains("url"))).unwrap().unwrap();
    (running, line.split('"').nth(3).unwrap().to_owned())
}

#[test]
fn the_example_sends_everything_with_typing_and_acks() {
    let bench = Bench::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let output = bench
        .command(&["run", "jobs.example.yaml", "--sandbox", "--until-idle", "--listen", "127.0.0.1:0", "--journal"])
        .arg(bench.path("journal"))
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(summary.contains("9 sent (9 read), 0 failed, 0 in doubt"), "{summary}");
    assert!(summary.contains("typing was shown before 9 of 9"), "{summary}");
    for m in bench.messages().iter().filter(|m| m["state"] == "sent") {
        let shown = bench.json(&["show", field(m, "id")]);
        let attempt = &shown["attempt_log"][0];
        assert_eq!(attempt["typing"]["response"]["result"], true);
        assert_eq!(attempt["send"]["outcome"], "accepted");
        assert!(attempt["send"]["response"]["id"]["id"].is_string());
        assert_eq!(shown["ack"], "read");
    }
    for send in bench.journal().iter().filter(|l| l.path.ends_with("/text") || l.path.ends_with("/poll")) {
        let typed = bench
            .journal()
            .into_iter()
            .any(|l| l.path.ends_with("start-typing") && l.chat == send.chat && l.received_ms < send.received_ms);
        assert!(typed, "no typing before the message to {}", send.chat);
    }
}

#[test]
fn typing_leads_every_send_and_is_refreshed_while_it_lasts() {
    let bench = Bench::new();
    let count: usize = std::env::var("MESSAGES").ok().and_then(|k| k.parse().ok()).unwrap_or(40);
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, "  j{n}: {{ in: {}ms, to: \"2010000{n:04}\", text: hi }}", 4_000 + n * 60).unwrap();
    }
    writeln!(text, "  long: {{ in: 14s, to: \"20200000000\", text: hi, typing: {{ lead: 9.5s }} }}").unwrap();
    bench.write("jobs.yaml", &jobs("", &text));
    let output =
        bench.run(&["run", "jobs.yaml", "--sandbox", "--until-idle=5s", "--listen", "off", "--journal", "journal"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut by_chat: HashMap<String, (Vec<i64>, Vec<i64>)> = HashMap::new();
    for line in bench.journal() {
        let entry = by_chat.entry(line.chat.clone()).or_default();
        match line.path.as_str() {
            "/v2/send/start-typing" => entry.0.push(line.received_ms),
            "/v2/send/text" => entry.1.push(line.received_ms),
            other => panic!("unexpected {other}"),
        }
    }
    assert_eq!(by_chat.len(), count + 1);
    for (chat, (typed, sent)) in by_chat {
        assert_eq!(sent.len(), 1, "{chat}");
        let lead = sent[0] - typed[0];
        let (wanted, calls) = if chat.starts_with("2020") { (9_500, 2) } else { (2_500, 1) };
        assert_eq!(typed.len(), calls, "{chat}");
        assert!((lead - wanted).abs() <= 50, "{chat}: typing led by {lead} ms");
    }
}

/// Fault, state it ends in, outcome of the first attempt, sends the gateway saw.
const FAULTS: [(&str, &str, &str, usize); 19] = [
    ("answer: { status: 400, body: '{\"code\":\"invalid_parameter\"}' }", "failed", "refused", 1),
    ("answer: { status: 404, body: '{\"code\":\"nope\"}' }", "failed", "refused", 1),
    ("answer: { status: 422 }", "failed", "refused", 1),
    (
        "answer: { status: 200, body: '{\"success\":false,\"code\":\"number_not_on_whatsapp\"}' }",
        "failed",
        "refused",
        1,
    ),
    ("answer: { status: 500 }", "in_doubt", "in_doubt", 1),
    ("answer: { status: 502 }, do: before", "in_doubt", "in_doubt", 1),
    ("answer: { status: 503, retry_after: \"1\" }", "in_doubt", "in_doubt", 1),
    ("answer: { status: 200, body: '{\"wawp_upstream_error\":\"x\"}' }", "in_doubt", "in_doubt", 1),
    ("answer: { status: 200, body: '{}' }", "in_doubt", "in_doubt", 1),
    ("answer: { status: 408 }", "in_doubt", "in_doubt", 1),
    ("garbage: true", "in_doubt", "in_doubt", 1),
    ("redirect: \"http://127.0.0.1:9/\"", "in_doubt", "in_doubt", 1),
    ("reset: true, do: before", "in_doubt", "in_doubt", 1),
    ("hang: true", "in_doubt", "in_doubt", 1),
    ("drip: 30ms", "in_doubt", "in_doubt", 1),
    ("delay: 3s, do: before", "in_doubt", "in_doubt", 1),
    ("times: 1, answer: { status: 409 }", "sent", "refused_for_now", 2),
    ("times: 1, answer: { status: 429, retry_after: \"1\" }", "sent", "not_now", 2),
    ("times: 1, answer: { status: 404, body: '{\"code\":\"invalid_session\"}' }", "sent", "instance_down", 2),
];

#[test]
fn every_fault_ends_in_the_state_its_class_says() {
    std::thread::scope(|scope| {
        for chunk in FAULTS.chunks(5) {
            let handles: Vec<_> = chunk.iter().map(|fault| scope.spawn(move || one_fault(*fault))).collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        }
    });
}

fn one_fault((fault, state, outcome, sends): (&str, &str, &str, usize)) {
    let bench = Bench::new();
    bench.write("scenario.yaml", &format!("faults:\n  - {{ on: send, {fault} }}\n"));
    let job = "  a: { in: 1200ms, to: \"201234567890\", text: hi, typing: { lead: 200ms }, retry: { attempts: 3, backoff: [200ms] } }\n";
    bench.write("jobs.yaml", &jobs(", timeouts: { send: 1s }", job));
    let run = bench.command(&[
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--journal",
        "journal",
        "--listen",
        "off",
        "--until-idle=1s",
    ]);
    let mut run = run;
    let output = run.output().unwrap();
    if state == "sent" && outcome == "instance_down" {
        // A paused lane does not hold a quiet end back: run again, the session is back.
        let again = bench.run(&["run", "--sandbox", "--journal", "journal", "--listen", "off", "--until-idle=1s"]);
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    }
    let messages = bench.messages();
    assert_eq!(messages.len(), 1);
    let context = format!("{fault}: {}\n{}", messages[0], String::from_utf8_lossy(&output.stderr));
    assert_eq!(field(&messages[0], "state"), state, "{context}");
    let shown = bench.json(&["show", field(&messages[0], "id")]);
    assert_eq!(shown["attempt_log"][0]["send"]["outcome"], outcome, "{context}");
    let seen = bench.journal().iter().filter(|l| l.path == "/v2/send/text").count();
    // What the gateway does late it does although nobody waits any more.
    assert_eq!(seen, sends, "{context}");
    let code = output.status.code().unwrap();
    assert_eq!(code == 4, state != "sent", "exit {code}: {context}");
    if state != "sent" {
        let typing_ended = bench.journal().iter().any(|l| l.path == "/v2/send/stop-typing");
        assert!(typing_ended, "the chat is left typing: {context}");
    }
}

/// Each kind of content as a job says it, and the endpoint that carries it.
const KINDS: [(&str, &str); 10] = [
    ("text: hi, reply_to: false_1@c.us_A", "text"),
    ("image: { url: \"https://x.test/a.png\", caption: c }", "image"),
    ("document: \"https://x.test/a.pdf\"", "pdf"),
    ("video: { url: \"https://x.test/a.mp4\", note: true }", "video"),
    ("voice: { url: \"https://x.test/a.ogg\" }", "voice"),
    ("location: { latitude: 52.52, longitude: 13.4, title: t, address: a }", "location"),
    ("poll: { name: \"Lunch?\", options: [\"Yes\", \"No\"], multiple: true }", "poll"),
    ("contact: [{ name: Ada, phone: \"+49 170 1234567\", organization: o }]", "contact"),
    ("list: { title: t, button: b, sections: [{ title: s, rows: [{ title: r, id: \"1\" }] }] }", "list"),
    ("event: { name: e, start: 2099-01-01T10:00, end: 2099-01-01T11:00, location: l, guests: true }", "event"),
];

#[test]
fn every_kind_of_content_goes_out_against_the_strict_checks_with_typing_first() {
    let bench = Bench::new();
    let mut text = String::new();
    for (n, (content, _)) in KINDS.iter().enumerate() {
        writeln!(text, "  j{n}: {{ in: 1s, to: \"2010000000{n}\", typing: {{ lead: 500ms }}, {content} }}").unwrap();
    }
    bench.write("jobs.yaml", &jobs("", &text));
    let output =
        bench.run(&["run", "jobs.yaml", "--sandbox", "--until-idle=1s", "--listen", "off", "--journal", "journal"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let journal = bench.journal();
    for (n, (content, endpoint)) in KINDS.iter().enumerate() {
        let chat = format!("2010000000{n}@c.us");
        let paths: Vec<&str> = journal.iter().filter(|l| l.chat == chat).map(|l| l.path.as_str()).collect();
        assert_eq!(paths, ["/v2/send/start-typing", &format!("/v2/send/{endpoint}")], "{content}");
    }
    for m in bench.messages() {
        assert_eq!(field(&m, "state"), "sent", "{m}");
        let shown = bench.json(&["show", field(&m, "id")]);
        assert!(
            shown["content"][field(&m, "kind")].is_string()
                || shown["content"][field(&m, "kind")].is_object()
                || shown["content"][field(&m, "kind")].is_array(),
            "{shown}"
        );
    }
}

#[test]
fn too_many_requests_without_a_wait_rests_the_instance_and_burns_no_try() {
    let bench = Bench::new();
    bench.write("scenario.yaml", "faults:\n  - { on: send, times: 1, answer: { status: 429 } }\n");
    let job = "  a: { in: 300ms, to: \"201234567890\", text: hi, typing: off, retry: { attempts: 1 } }\n";
    bench.write("jobs.yaml", &jobs("", job));
    let output = bench.run(&[
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--listen",
        "off",
        "--until-idle=8s",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let message = &bench.messages()[0];
    assert_eq!((field(message, "state"), message["attempts"].as_i64()), ("sent", Some(2)));
    let late = message["late_ms"].as_i64().unwrap();
    assert!((4_000..8_000).contains(&late), "the first rest is about 5 s: {late} ms");
}

#[test]
fn a_session_that_drops_for_a_while_is_waited_for_and_nothing_is_lost() {
    let bench = Bench::new();
    bench.write("scenario.yaml", "session_down: [{ from: 0s, for: 6s }]\n");
    let job =
        "  a: { in: 1s, to: [\"201000000001\", \"201000000002\"], text: hi, typing: off, retry: { attempts: 1 } }\n";
    bench.write("jobs.yaml", &jobs("", job));
    let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--scenario", "scenario.yaml", "--listen", "off"]);
    until("the instance is paused", Duration::from_secs(20), || bench.log().contains("the instance is paused"));
    until("both are sent", Duration::from_secs(40), || bench.json(&["stats"])["states"]["sent"] == 2);
    assert!(bench.log().contains("the instance sends again"));
}

#[test]
fn a_number_that_is_not_on_whatsapp_fails_and_the_others_are_sent() {
    let bench = Bench::new();
    bench.write("scenario.yaml", "not_on_whatsapp: [\"2010000*\"]\n");
    let job = "  a: { in: 300ms, to: [\"201000000001\", \"202000000001\"], text: hi, typing: off }\n";
    bench.write("jobs.yaml", &jobs("", job));
    let output = bench.run(&[
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--listen",
        "off",
        "--until-idle=1s",
    ]);
    assert_eq!(output.status.code(), Some(4));
    for m in bench.messages() {
        let wanted = if field(&m, "to").starts_with("2010") { ("failed", "refused") } else { ("sent", "") };
        assert_eq!((field(&m, "state"), field(&m, "reason")), wanted, "{m}");
    }
}

#[tokio::test]
async fn damage_in_a_large_database_is_found_beside_the_sends_and_stops_them() {
    use sqlx::Connection;
    use std::os::unix::fs::FileExt;
    let bench = Bench::new();
    bench.write("jobs.yaml", &jobs("", "  a: { at: 2099-01-01T00:00, to: \"201234567890\", text: hi }\n"));
    let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off"];
    assert!(bench.run(&[&run[..], &["--until-idle=1s"]].concat()).status.success());
    // Three hundred megabytes in one row, and then a hole in the chain of its pages.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut c = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "CREATE TABLE ballast (b)",
        "INSERT INTO ballast VALUES (zeroblob(300000000))",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ] {
        sqlx::query(statement).execute(&mut c).await.unwrap();
    }
    c.close().await.unwrap();
    let mut sound = bench.start(&run);
    until("the daemon is ready", Duration::from_secs(20), || bench.log().contains("ready"));
    until("the check is over", Duration::from_secs(30), || bench.log().contains("checked as a whole"));
    assert!(sound.0.try_wait().unwrap().is_none(), "{}", bench.log());
    drop(sound);
    let file = std::fs::OpenOptions::new().write(true).open(bench.path("db")).unwrap();
    file.write_all_at(&[0xff; 4096], 150_003_712).unwrap();
    let mut damaged = bench.start(&run);
    until("the daemon stops", Duration::from_secs(30), || damaged.0.try_wait().unwrap().is_some());
    assert_eq!(damaged.0.wait().unwrap().code(), Some(74), "{}", bench.log());
    assert!(bench.log().contains("restore a backup"), "{}", bench.log());
}

#[test]
fn a_failing_typing_call_neither_stops_nor_delays_the_send() {
    let bench = Bench::new();
    bench.write(
        "scenario.yaml",
        "faults:\n  - { on: typing, chat: \"2010*\", hang: true }\n  - { on: typing, answer: { status: 500 } }\n",
    );
    bench.write(
        "jobs.yaml",
        &jobs("", "  a: { in: 2s, to: [\"201000000001\", \"202000000001\"], text: hi, typing: { lead: 1s } }\n"),
    );
    let output = bench.run(&[
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--until-idle=1s",
        "--listen",
        "off",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for m in bench.messages() {
        assert_eq!(field(&m, "state"), "sent");
        assert!(m["late_ms"].as_i64().unwrap() < 100, "{m}");
    }
    assert_eq!(bench.json(&["stats"])["typing"]["failed"], 2);
}

#[test]
fn a_wrong_token_pauses_the_instance_and_burns_no_try() {
    let bench = Bench::new();
    bench.write("scenario.yaml", "access_token: another\n");
    bench.write("jobs.yaml", &jobs("", "  a: { in: 500ms, to: \"201234567890\", text: hi, typing: off }\n"));
    let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--scenario", "scenario.yaml", "--listen", "off"]);
    until("the instance is paused", Duration::from_secs(20), || bench.log().contains("the instance is paused"));
    until("the message waits again", Duration::from_secs(10), || field(&bench.messages()[0], "state") == "scheduled");
    let shown = bench.json(&["show", field(&bench.messages()[0], "id")]);
    assert_eq!(shown["attempt_log"][0]["send"]["outcome"], "instance_down");
    assert!(shown["waiting"].to_string().contains("\"instance\""), "{}", shown["waiting"]);
    assert_eq!(shown["reason"], "instance_down");
}

#[test]
fn acks_in_any_order_and_before_the_answer_never_go_down() {
    let bench = Bench::new();
    bench.write(
        "scenario.yaml",
        "acks: { levels: [server, device, read], first: 0ms, step: 20ms, repeat: 2, shuffle: true }\nanswering: 200ms..400ms\n",
    );
    let mut text = "  a: { in: 3s, text: hi, to: [".to_owned();
    (0..60).for_each(|n| write!(text, "\"2010000{n:04}\", ").unwrap());
    text.push_str("] }\n");
    bench.write("jobs.yaml", &jobs("", &text));
    let arguments =
        ["run", "jobs.yaml", "--sandbox", "--scenario", "scenario.yaml", "--until-idle=1s", "--listen", "127.0.0.1:0"];
    let output = bench.run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = bench.messages();
    assert_eq!(messages.len(), 60);
    assert!(messages.iter().all(|m| field(m, "ack") == "read"), "an ack went down or was lost");
    let shown = bench.json(&["show", field(&messages[0], "id")]);
    assert_eq!(shown["acks"].as_array().unwrap().len(), 3, "one row a level: {}", shown["acks"]);
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_sends_nothing_twice() {
    let kills: u32 = std::env::var("KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(15);
    let mut done = 0;
    let mut round = 0_u64;
    while done < kills {
        round += 1;
        done += killed_round(round, (kills - done).min(8));
    }
    println!("{done} kills");
}

/// Three hundred messages through a gateway of its own, the daemon killed while they go out. Answers the kills.
fn killed_round(round: u64, kills: u32) -> u32 {
    let bench = Bench::new();
    bench.write(
        "scenario.yaml",
        &format!("seed: {round}\ndoing: 0ms..20ms\nanswering: 0ms..10ms\nacks: {{ levels: [] }}\n"),
    );
    let (_sandbox, url) = gateway(&bench);
    let mut text = String::new();
    for n in 0..30 {
        let list: Vec<String> = (0..10).map(|m| format!("\"20{n:03}{m:05}\"")).collect();
        writeln!(
            text,
            "  j{n}: {{ in: {}ms, to: [{}], text: \"hi {n}\", typing: {{ lead: 300ms }} }}",
            800 + n * 100,
            list.join(", ")
        )
        .unwrap();
    }
    bench.write("jobs.yaml", &jobs(&format!(", base_url: \"{url}\", webhook: {{ unsigned: true }}"), &text));
    let mut killed = 0;
    for kill in 0..kills {
        let daemon = bench.start(&["run", "jobs.yaml", "--listen", "off"]);
        // From before the file is applied to the middle of the sends, spread by a hash of round and kill.
        let wait = (round * 7_919 + u64::from(kill) * 104_729) % 700;
        pause(Duration::from_millis(200 + wait));
        drop(daemon);
        killed += 1;
    }
    let last = bench.run(&["run", "jobs.yaml", "--listen", "off", "--until-idle=10s"]);
    assert!(matches!(last.status.code(), Some(0 | 4)), "{}", String::from_utf8_lossy(&last.stderr));
    let mut delivered: HashMap<String, usize> = HashMap::new();
    for line in bench.journal().into_iter().filter(|l| l.path == "/v2/send/text" && l.done) {
        *delivered.entry(line.chat).or_default() += 1;
    }
    let messages = bench.messages();
    assert_eq!(messages.len(), 300, "round {round}");
    let in_doubt = bench.json(&["doubt", "list", "--limit", "1000"])["messages"].as_array().unwrap().len();
    let mut doubtful = 0;
    for m in &messages {
        let times = delivered.remove(field(m, "to")).unwrap_or(0);
        let state = field(m, "state");
        assert!(times <= 1, "round {round}: {} was sent {times} times", field(m, "to"));
        match state {
            "sent" => assert_eq!(times, 1, "round {round}: {m}"),
            "in_doubt" => doubtful += 1,
            other => panic!("round {round}: {} is {other}: {m}", field(m, "to")),
        }
    }
    assert!(delivered.is_empty(), "the gateway sent what nobody knows of: {delivered:?}");
    assert_eq!(in_doubt, doubtful, "what is unknown stands in `doubt list`");
    killed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_was_answered_is_never_followed_by_a_send() {
    use onthedot::domain::message::{Change, Facts, Verdict};
    use onthedot::domain::state::{self, Event, Reason, State};
    use onthedot::store::{Opening, SqliteStore, Store};
    let races: usize = std::env::var("RACES").ok().and_then(|k| k.parse().ok()).unwrap_or(300);
    let bench = Bench::new();
    let mut text = String::new();
    for n in 0..races {
        writeln!(
            text,
            "  j{n}: {{ in: {}ms, to: \"2010000{n:04}\", text: hi, typing: {{ lead: 400ms }} }}",
            2_500 + n * 20
        )
        .unwrap();
    }
    bench.write("jobs.yaml", &jobs("", &text));
    let daemon =
        bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal", "--until-idle=1s"]);
    until("the jobs are planned", Duration::from_secs(20), || {
        bench.run(&["stats"]).status.success() && bench.messages().len() == races
    });
    let mut messages = bench.messages();
    messages.sort_by_key(|m| field(m, "due_at").to_owned());
    let store = SqliteStore::open(&bench.path("db"), Opening::Beside).await.unwrap();
    let mut answered = Vec::new();
    for (n, m) in messages.iter().enumerate() {
        let due: jiff::Timestamp = field(m, "due_at").parse().unwrap();
        // From 90 ms before the due instant to 10 ms after it: before, in and after the mark.
        let at = due.as_millisecond() - 90 + i64::try_from(n * 37 % 100).unwrap();
        let wait = at - now_ms();
        if wait > 0 {
            onthedot::clock::sleep(onthedot::domain::time::Millis(wait)).await;
        }
        let transition = state::apply(&State::Typing, &Event::Cancelled { reason: Reason::CancelledByPerson }).unwrap();
        let id = field(m, "id").parse().unwrap();
        let at = onthedot::clock::now();
        let change = Change { id, attempts: 0, at, transition, facts: Facts::Note("race".into()) };
        if store.apply(vec![change]).await.unwrap() == [Verdict::Applied] {
            answered.push(field(m, "to").to_owned());
        }
    }
    store.close().await;
    let mut daemon = daemon;
    until("the daemon comes to rest", Duration::from_secs(60), || daemon.0.try_wait().unwrap().is_some());
    let journal = bench.journal();
    let sent = |chat: &str| journal.iter().any(|l| l.path == "/v2/send/text" && l.chat == chat);
    for chat in &answered {
        assert!(!sent(chat), "{chat} was cancelled and sent");
        let typed = journal.iter().any(|l| l.path == "/v2/send/start-typing" && l.chat == *chat);
        let stopped = journal.iter().any(|l| l.path == "/v2/send/stop-typing" && l.chat == *chat);
        assert!(stopped || !typed, "{chat} is left typing");
    }
    assert!(
        answered.len() > races / 10 && answered.len() < races,
        "{} of {races} were cancelled: no race",
        answered.len()
    );
}

#[test]
fn stopping_takes_typing_back_and_leaves_nothing_in_doubt() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        &jobs("", "  a: { in: 4s, to: [\"201000000001\", \"201000000002\"], text: hi, typing: { lead: 3s } }\n"),
    );
    let mut daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    until("typing is shown", Duration::from_secs(20), || bench.journal().len() == 2);
    let pid = i32::try_from(daemon.0.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM).unwrap();
    until("the daemon ends", Duration::from_secs(10), || daemon.0.try_wait().unwrap().is_some());
    assert!(daemon.0.wait().unwrap().success());
    let stops = bench.journal().iter().filter(|l| l.path == "/v2/send/stop-typing").count();
    assert_eq!(stops, 2, "both chats are typed in no more");
    for m in bench.messages() {
        assert_eq!(field(&m, "state"), "scheduled");
        let shown = bench.json(&["show", field(&m, "id")]);
        let events: Vec<&str> = shown["events"].as_array().unwrap().iter().map(|e| field(e, "to")).collect();
        assert!(events.ends_with(&["scheduled"]), "{events:?}");
    }
}

#[test]
fn a_canary_token_is_found_nowhere_but_in_the_environment() {
    const CANARY: &str = "canary-7f3e9b21";
    let bench = Bench::new();
    let scenario = "faults:\n  - { on: send, times: 2, answer: { status: 400, body: '{\"code\":\"x\",\"message\":\"bad token canary-7f3e9b21\"}' } }\n";
    bench.write("scenario.yaml", scenario);
    let (_sandbox, url) = gateway(&bench);
    let instance = format!(
        ", base_url: \"{url}\", instance_id: {{ env: ID }}, access_token: {{ env: TOKEN }}, webhook: {{ unsigned: true }}"
    );
    let text = "  a: { in: 300ms, to: [\"201000000001\", \"201000000002\", \"201000000003\"], text: hi, typing: { lead: 200ms } }\n";
    bench.write("jobs.yaml", &jobs(&instance, text));
    let output = bench
        .command(&["run", "jobs.yaml", "--listen", "off", "--until-idle=1s", "-vv"])
        .env("TOKEN", CANARY)
        .env("ID", "A1B2C3D4E5F6")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen = vec![output.stdout, output.stderr];
    for m in bench.messages() {
        let shown = bench.run(&["--json", "show", field(&m, "id")]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains("attempt_log"));
        seen.push(shown.stdout);
    }
    assert!(bench.run(&["db", "backup", "copy.db"]).status.success());
    for arguments in [&["instance", "list"][..], &["job", "show", "a"], &["doctor"], &["--json", "instance", "list"]] {
        let output = bench.run(arguments);
        seen.extend([output.stdout, output.stderr]);
    }
    for name in ["db", "db-wal", "journal", "copy.db"] {
        seen.push(std::fs::read(bench.path(name)).unwrap_or_default());
    }
    for bytes in seen {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(CANARY), "the token shows: {}", &text[text.find(CANARY).unwrap().saturating_sub(200)..]);
    }
}

#[test]
fn applying_the_same_file_again_changes_nothing_and_a_changed_job_replaces_what_waits() {
    let bench = Bench::new();
    let file = |text: &str| {
        jobs(
            "",
            &format!("  a: {{ at: 2099-01-01T00:00, to: [\"201000000001\", \"201000000002\"], text: \"{text}\" }}\n"),
        )
    };
    let apply = |text: &str| {
        bench.write("jobs.yaml", &file(text));
        let run = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    apply("one");
    apply("one");
    assert_eq!(bench.messages().len(), 2);
    apply("two");
    let messages = bench.messages();
    let count = |state: &str| messages.iter().filter(|m| field(m, "state") == state).count();
    assert_eq!((count("scheduled"), count("cancelled")), (2, 2), "{messages:?}");
    assert!(messages.iter().filter(|m| field(m, "state") == "cancelled").all(|m| field(m, "reason") == "replaced"));
}

#[test]
fn changing_a_job_in_mid_broadcast_replaces_what_waits_for_pacing_and_sends_nobody_twice() {
    let bench = Bench::new();
    let file = |text: &str| {
        let to = "[\"201000000001\", \"201000000002\", \"201000000003\", \"201000000004\"]";
        let job = format!("  a: {{ in: 100ms, to: {to}, text: \"{text}\", typing: off, max_lateness: 1s }}\n");
        bench.write("jobs.yaml", &jobs(", pacing: { gap: 2s..2s }", &job));
    };
    file("one");
    let daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    until("two have left", Duration::from_secs(20), || bench.journal().len() >= 2);
    until("both are recorded", Duration::from_secs(5), || bench.json(&["stats"])["states"]["sent"] == 2);
    drop(daemon);
    file("two");
    let last =
        bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal", "--until-idle=5s"]);
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let mut chats: Vec<String> = bench.journal().into_iter().map(|l| l.chat).collect();
    assert_eq!(chats.len(), 4, "{chats:?}");
    chats.sort();
    chats.dedup();
    assert_eq!(chats.len(), 4, "somebody was sent to twice: {chats:?}");
    let states = bench.json(&["stats"])["states"].clone();
    assert_eq!((states["sent"].as_i64(), states["cancelled"].as_i64()), (Some(4), Some(2)), "{states}");
}
