//! What persons and peers do while messages are in motion: a file is edited, a job removed, a draft changed, an answer comes.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::BTreeMap;
use std::time::Duration;

use process::{Bench, Running, now_ms, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// An instant in so many milliseconds, as a jobs file takes it.
fn in_ms(ms: i64) -> String {
    onthedot::domain::time::Timestamp(now_ms() + ms).to_rfc3339()
}

fn chats(n: usize) -> String {
    let all: Vec<String> = (0..n).map(|k| format!("\"4917012340{k:02}\"")).collect();
    format!("[{}]", all.join(", "))
}

fn file(defaults: &str, jobs: &str) -> String {
    format!(
        "version: 1\ntimezone: UTC\nmaintenance: {{ tidy: off, checkpoint: off, report: off }}\n\
         instances: {{ shop: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\" }}, other: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\" }} }}\n\
         defaults: {{ instance: shop, {defaults} }}\njobs:\n{jobs}"
    )
}

fn start(bench: &Bench, scenario: &str) -> Running {
    let before = bench.log().matches(" ready ms=").count();
    let daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || bench.log().matches(" ready ms=").count() > before);
    daemon
}

fn hang_up(daemon: &Running) {
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

/// How many messages are in each state, and for which reason.
fn states(bench: &Bench) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for m in bench.messages() {
        let word = |key: &str| m[key].as_str().unwrap_or("-").to_owned();
        *all.entry(format!("{} {}", word("state"), word("reason"))).or_default() += 1;
    }
    all
}

fn count(bench: &Bench, what: impl Fn(&Value) -> bool) -> usize {
    bench.messages().iter().filter(|m| what(m)).count()
}

fn typed(bench: &Bench) -> usize {
    count(bench, |m| m["state"] == "typing")
}

/// How often each chat got something.
fn sends(bench: &Bench) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for line in bench.journal().iter().filter(|l| l.path == "/v2/send/text" && l.done) {
        *all.entry(line.chat.clone()).or_default() += 1;
    }
    all
}

fn in_motion(bench: &Bench) -> usize {
    count(bench, |m| ["scheduled", "typing", "sending"].contains(&m["state"].as_str().unwrap()))
}

/// Ten recipients are being typed to when the job changes: each gets one message, and nothing stays in motion.
fn changed_while_typed(before: &str, after: &str, by_command: bool) {
    let bench = Bench::new();
    bench.write("jobs.yaml", before);
    let daemon = start(&bench, "{}");
    until("all are typed to", LIMIT, || typed(&bench) == 10);
    bench.write("jobs.yaml", after);
    if by_command {
        bench.json(&["job", "apply", "jobs.yaml"]);
    } else {
        hang_up(&daemon);
        until("the file is read anew", LIMIT, || bench.log().matches("the jobs file is applied").count() == 2);
    }
    until("nothing is in motion", LIMIT, || in_motion(&bench) == 0);
    let sent = sends(&bench);
    assert!(sent.len() == 10 && sent.values().all(|n| *n == 1), "{sent:?}\n{:?}\n{}", states(&bench), bench.log());
}

#[test]
fn what_is_being_typed_when_its_text_changes_goes_out_once() {
    let job = |at: &str, text: &str| {
        file("typing: { lead: 2s }", &format!("  launch: {{ at: \"{at}\", to: {}, text: {text} }}\n", chats(10)))
    };
    for by_command in [true, false] {
        let at = in_ms(6_000);
        changed_while_typed(&job(&at, "one"), &job(&at, "two"), by_command);
    }
}

#[test]
fn what_is_being_typed_when_its_instance_changes_goes_out_once() {
    let at = in_ms(6_000);
    let job = |instance: &str| {
        file(
            "typing: { lead: 2s }",
            &format!("  launch: {{ at: \"{at}\", to: {}, text: one, instance: {instance} }}\n", chats(10)),
        )
    };
    changed_while_typed(&job("shop"), &job("other"), true);
}

#[test]
fn what_is_being_typed_when_its_schedule_changes_goes_out_once_and_the_rest_at_the_new_instant() {
    let job = |at: &str| {
        file("typing: { lead: 2s }", &format!("  launch: {{ at: \"{at}\", to: {}, text: one }}\n", chats(10)))
    };
    let (soon, later) = (in_ms(6_000), "2098-01-01T10:00:00Z");
    let bench = Bench::new();
    bench.write("jobs.yaml", &job(&soon));
    let _daemon = start(&bench, "{}");
    until("all are typed to", LIMIT, || typed(&bench) == 10);
    bench.write("jobs.yaml", &job(later));
    bench.json(&["job", "apply", "jobs.yaml"]);
    until("what was in hand is sent", LIMIT, || states(&bench).get("sent -") == Some(&10));
    let campaign = bench.json(&["campaign", "show", &format!("launch@{soon}")]);
    assert_eq!(campaign["recipients"], 10, "{campaign}");
}

#[test]
fn what_a_cron_job_is_typing_when_its_text_changes_goes_out_and_the_job_goes_on() {
    let job = |text: &str| {
        file(
            "typing: { lead: 2s }, overlap: allow",
            &format!("  tick: {{ cron: \"*/5 * * * * *\", to: {}, text: {text} }}\n", chats(3)),
        )
    };
    let bench = Bench::new();
    bench.write("jobs.yaml", &job("one"));
    let daemon = start(&bench, "{}");
    for n in 0..4 {
        until("all are typed to", LIMIT, || typed(&bench) == 3);
        bench.write("jobs.yaml", &job(&format!("text {n}")));
        hang_up(&daemon);
        until("the file is read anew", LIMIT, || bench.log().matches("the jobs file is applied").count() == n + 2);
        until("what was typed is sent", LIMIT, || count(&bench, |m| m["state"] == "sent") == 3 * (n + 1));
    }
}

#[test]
fn what_is_being_typed_when_its_job_is_removed_is_taken_back_and_counted() {
    let at = in_ms(6_000);
    let job = format!(
        "  launch: {{ at: \"{at}\", to: {}, text: one }}\n  later: {{ at: 2098-01-01T10:00, to: \"4917012345678\", text: two }}\n",
        chats(10)
    );
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("typing: { lead: 2s }", &job));
    let _daemon = start(&bench, "{}");
    until("all are typed to", LIMIT, || typed(&bench) == 10);
    let removed = bench.json(&["job", "remove", "launch"]);
    assert_eq!(
        (&removed["cancelled"], &removed["taken_back"], &removed["in_motion"]),
        (&10.into(), &10.into(), &0.into())
    );
    let stopped = || bench.journal().iter().filter(|l| l.path.contains("stop")).count();
    until("typing is taken back", LIMIT, || stopped() == 10);
    assert_eq!(states(&bench)["cancelled removed"], 10);
    until("their instant has passed", LIMIT, || {
        now_ms() > at.parse::<jiff::Timestamp>().unwrap().as_millisecond() + 1_000
    });
    assert!(sends(&bench).is_empty(), "{:?}", sends(&bench));
    let campaign = bench.json(&["campaign", "show", "launch"]);
    assert_eq!(campaign["recipients"], 10, "what was removed is still found: {campaign}");
}

#[test]
fn a_queue_of_occurrences_goes_on_after_one_was_refused_for_now() {
    // One recipient's first message is refused for now: its next try comes after the next occurrence has begun to type.
    let job = "  tick: { cron: \"*/4 * * * * *\", to: [\"491701234001\", \"491701234002\"], text: hi }\n";
    let defaults = "typing: { lead: 2.5s }, overlap: queue, retry: { attempts: 3, backoff: [6s], jitter: 0% }";
    let bench = Bench::new();
    bench.write("jobs.yaml", &file(defaults, job));
    let scenario = "faults: [{ chat: \"491701234001*\", times: 1, answer: { status: 409 } }]";
    let _daemon = start(&bench, scenario);
    let sent = || sends(&bench).get("491701234002@c.us").copied().unwrap_or(0);
    until("the queue goes on", Duration::from_secs(60), || sent() >= 5);
    let stuck = |m: &Value| m["state"] == "typing" && m["typing_at"].as_str().unwrap() < in_ms(-8_000).as_str();
    assert_eq!(count(&bench, stuck), 0, "{:?}", states(&bench));
}

const DRAFT: &str = "2098-01-01T10:00:00Z";

fn draft(text: &str, to: &str, hold: bool) -> String {
    file("typing: off", &format!("  sale: {{ at: \"{DRAFT}\", to: {to}, text: {text}, hold: {hold} }}\n"))
}

fn open_texts(bench: &Bench) -> BTreeMap<String, String> {
    let open = |m: &&Value| ["held", "scheduled"].contains(&m["state"].as_str().unwrap());
    let text = |m: &Value| {
        let shown = bench.json(&["show", m["id"].as_str().unwrap()]);
        let state = m["state"].as_str().unwrap();
        (m["to"].as_str().unwrap().to_owned(), format!("{state} {}", shown["content"]["text"].as_str().unwrap()))
    };
    bench.messages().iter().filter(open).map(text).collect()
}

fn start_draft() -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("jobs.yaml", &draft("old", "[\"491701234001\", \"491701234002\", \"491701234003\"]", true));
    let daemon = start(&bench, "{}");
    until("it is drafted", LIMIT, || states(&bench).get("held approval") == Some(&3));
    (bench, daemon)
}

#[test]
fn a_changed_draft_is_drafted_anew_and_keeps_what_a_person_holds() {
    let (bench, _daemon) = start_draft();
    bench.json(&["campaign", "approve", "sale"]);
    let of = |chat: &str| {
        let found = bench.messages().into_iter().find(|m| m["to"] == chat && m["state"] == "scheduled");
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    bench.json(&["hold", &of("491701234001@c.us")]);
    bench.write("jobs.yaml", &draft("new", "[\"491701234001\", \"491701234003\", \"491701234004\"]", true));
    bench.json(&["job", "apply", "jobs.yaml"]);
    until("it is drafted anew", LIMIT, || count(&bench, |m| m["state"] == "held") == 3);
    let all: Vec<(String, String)> = open_texts(&bench).into_iter().collect();
    let held = |n: u32| (format!("49170123400{n}@c.us"), "held new".to_owned());
    assert_eq!(all, [held(1), held(3), held(4)]);
    assert_eq!(states(&bench)["held held_by_person"], 1);
    let approved = bench.json(&["campaign", "approve", "sale"]);
    assert_eq!(approved["approved"], 2, "{approved}");
}

#[test]
fn a_draft_whose_hold_is_taken_away_is_scheduled() {
    let (bench, _daemon) = start_draft();
    bench.write("jobs.yaml", &draft("new", "[\"491701234001\", \"491701234002\"]", false));
    bench.json(&["job", "apply", "jobs.yaml"]);
    until("it is scheduled", LIMIT, || count(&bench, |m| m["state"] == "scheduled") == 2);
    assert_eq!(count(&bench, |m| m["state"] == "held"), 0);
    assert!(open_texts(&bench).values().all(|t| t == "scheduled new"));
}

#[test]
fn a_removed_draft_is_cancelled_and_counted() {
    let (bench, _daemon) = start_draft();
    assert_eq!(bench.json(&["job", "remove", "sale"])["cancelled"], 3);
    assert_eq!(states(&bench), BTreeMap::from([("cancelled removed".to_owned(), 3)]));
}

#[test]
fn a_changed_broadcast_is_found_before_it_is_planned_anew() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &draft("old", &chats(30), false));
    let daemon = start(&bench, "{}");
    until("it is planned", LIMIT, || count(&bench, |m| m["state"] == "scheduled") == 30);
    drop(daemon);
    // Nobody plans it anew now.
    bench.write("jobs.yaml", &draft("new", &chats(30), false));
    bench.json(&["--config", "jobs.yaml", "job", "apply", "jobs.yaml"]);
    let campaign = bench.json(&["campaign", "show", "sale"]);
    assert_eq!((&campaign["recipients"], &campaign["replaced"]), (&30.into(), &30.into()), "{campaign}");
    bench.json(&["campaign", "pause", "sale"]);
    assert_eq!(bench.json(&["campaign", "list"])["campaigns"].as_array().unwrap().len(), 1);
    let _daemon = start(&bench, "{}");
    until("it is planned anew", LIMIT, || count(&bench, |m| m["state"] == "scheduled") == 30);
    assert_eq!(bench.json(&["campaign", "show", "sale"])["state"], "paused");
}

#[test]
fn a_broadcast_that_is_called_off_while_it_is_planned_anew_stays_called_off() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &draft("old", &chats(30), false));
    let daemon = start(&bench, "{}");
    until("it is planned", LIMIT, || count(&bench, |m| m["state"] == "scheduled") == 30);
    drop(daemon);
    bench.write("jobs.yaml", &draft("new", &chats(30), false));
    bench.json(&["--config", "jobs.yaml", "job", "apply", "jobs.yaml"]);
    bench.json(&["campaign", "cancel", "sale"]);
    let _daemon = start(&bench, "{}");
    until("each recipient has a row", LIMIT, || states(&bench).get("cancelled cancelled_by_person") == Some(&30));
    assert_eq!(in_motion(&bench), 0);
}

#[test]
fn a_reply_ends_a_drip_whose_next_message_is_being_typed() {
    let job = "  drip:\n    in: 1s\n    to: \"491701234001\"\n    stop_on: reply\n    messages: [{ text: one }, { after: 6s, text: two }]\n";
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("typing: { lead: 4s }", job));
    let scenario = "replies: [{ chat: \"491701234001*\", text: one, after: 4s, say: \"ok\" }]";
    let _daemon = start(&bench, scenario);
    let second = |key: &str| {
        let all = bench.messages();
        all.iter().find(|m| m["state"] != "sent" && m["job"] == "drip").map_or(Value::Null, |m| m[key].clone())
    };
    until("the second is being typed", LIMIT, || sends(&bench).len() == 1 && second("state") == "typing");
    until("the reply ends it", LIMIT, || second("reason") == "replied");
    let due: jiff::Timestamp = second("due_at").as_str().unwrap().parse().unwrap();
    until("its instant has passed", LIMIT, || now_ms() > due.as_millisecond() + 3_000);
    assert_eq!(sends(&bench).values().sum::<usize>(), 1);
    let stopped = bench.journal().iter().filter(|l| l.path.contains("stop")).count();
    assert_eq!(stopped, 1, "typing is taken back");
}

#[test]
fn what_is_typed_for_less_than_a_second_is_explained_by_when_it_leaves() {
    let bench = Bench::new();
    let at = in_ms(8_000);
    let job = format!("  soon: {{ at: \"{at}\", to: \"491701234001\", text: hi, late: keep_lead }}\n");
    bench.write("jobs.yaml", &file("typing: { lead: 950ms }", &job));
    let _daemon = start(&bench, "{}");
    let due = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let id = bench.messages()[0]["id"].as_str().unwrap().to_owned();
    until("it has been typed to for a while", LIMIT, || now_ms() > due - 600);
    let said = bench.json(&["explain", &id]);
    if now_ms() >= due {
        println!("SKIPPED: this machine took too long to ask in time");
        return;
    }
    let earliest: jiff::Timestamp = said["earliest_at"].as_str().unwrap().parse().unwrap();
    assert!((earliest.as_millisecond() - due).abs() < 100, "{said}");
}

/// What no part of the program does is done to the rows by hand: the rescuer finds it twice, and hands it back.
#[tokio::test]
async fn what_is_in_motion_and_in_nobodys_hands_is_handed_back_and_counted() {
    use sqlx::{Connection, SqliteConnection};
    let bench = Bench::new();
    let job = "  later: { at: 2098-01-01T10:00, to: [\"491701234001\", \"491701234002\"], text: hi }\n  \
               changed: { at: 2098-01-01T11:00, to: \"491701234003\", text: hi }\n";
    bench.write("jobs.yaml", &file("typing: { lead: 2s }", job));
    let _daemon = start(&bench, "{}");
    until("all is planned", LIMIT, || bench.messages().len() == 3);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "UPDATE messages SET state = 'typing', typing_at = 0 WHERE chat = '491701234001@c.us'",
        "UPDATE messages SET state = 'sending', attempts = 1 WHERE chat = '491701234002@c.us'",
        "INSERT INTO attempts (message, number, marked_at, slot_at, paced)
         SELECT id, 1, 0, 0, 0 FROM messages WHERE chat = '491701234002@c.us'",
        // A `job apply` that was killed after it had swapped the file in.
        "UPDATE occurrences SET state = 'planning', renew = 1 WHERE job = 'changed'",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let rescued = || bench.json(&["stats"])["rescued"].clone();
    // What the killed command left is finished by the planner, before the belt finds it.
    let wanted = serde_json::json!({ "typing": 1, "sending": 1, "unfinished": 0 });
    until("both are rescued", Duration::from_secs(60), || rescued() == wanted);
    until("the changed one is planned anew", LIMIT, || {
        states(&bench).get("scheduled -") == Some(&1) && states(&bench).get("cancelled replaced") == Some(&1)
    });
    let all = states(&bench);
    assert_eq!((all["scheduled lead_ended"], all["in_doubt crash"]), (1, 1), "{all:?}\n{}", bench.log());
    assert!(bench.log().contains("nobody had it in hand"), "{}", bench.log());
}
