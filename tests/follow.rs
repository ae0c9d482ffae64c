//! Nagging until a message is read or answered, and telling somebody else when it is not: real processes, a sandbox that
//! reads, stays silent, or answers late.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(40);

fn start(bench: &Bench, jobs: &str, scenario: &str) -> Running {
    let head = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox }, spare: { gateway: sandbox } }\n\
                defaults: { instance: shop, typing: { lead: 500ms } }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{jobs}"));
    bench.write("scenario.yaml", scenario);
    let ready = bench.log().matches("ready").count();
    let running = bench.start(&[
        "run",
        "jobs.yaml",
        "--sandbox",
        "--scenario",
        "scenario.yaml",
        "--listen",
        "127.0.0.1:0",
        "--journal",
        "journal",
    ]);
    until("it is ready", LIMIT, || bench.log().matches("ready").count() > ready);
    running
}

/// The first message of a job, whole.
fn first(bench: &Bench, job: &str) -> Option<Value> {
    let list = bench.json(&["list", "--job", job]);
    let messages = list["messages"].as_array().unwrap();
    let id = messages.last()?["id"].as_str().unwrap().to_owned();
    Some(bench.json(&["show", &id]))
}

fn followed(bench: &Bench, job: &str) -> String {
    first(bench, job).and_then(|m| m["follow_up"]["state"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// Its followers: kind, number and state of each.
fn followers(bench: &Bench, job: &str) -> Vec<String> {
    let all = first(bench, job).unwrap()["follow_up"]["messages"].as_array().unwrap().clone();
    all.iter()
        .map(|f| format!("{} {} {}", f["kind"].as_str().unwrap(), f["number"], f["state"].as_str().unwrap()))
        .collect()
}

fn sends_to(bench: &Bench, chat: &str) -> Vec<i64> {
    let sends =
        bench.journal().into_iter().filter(|l| l.done && l.path.ends_with("/send/text") && l.chat.starts_with(chat));
    sends.map(|l| l.received_ms).collect()
}

#[test]
fn a_message_is_sent_again_until_it_is_read_and_what_waits_then_is_taken_back() {
    let bench = Bench::new();
    // Nothing is read but what comes last: the second nag. It is read 3 s after it came, when the third is on its way.
    let scenario = "acks: { levels: [server, device] }\n\
                    acks_of: [{ chat: \"201000000002*\", levels: [read], first: 2200ms }]\n";
    let jobs = "  silent: { in: 1s, to: \"201000000001\", text: hi, nag: { every: 2s, max: 2, until: read } }\n  \
                read: { in: 1s, to: \"201000000002\", text: hi, nag: { every: 3s, max: 5, until: read } }\n";
    let _daemon = start(&bench, jobs, scenario);
    until("both come to rest", LIMIT, || {
        followed(&bench, "silent") == "unknown" && followed(&bench, "read") == "reached"
    });
    assert_eq!(followers(&bench, "silent"), ["nag 1 sent", "nag 2 sent"]);
    let first_message = first(&bench, "silent").unwrap();
    assert_eq!(first_message["state"], "sent", "a receipt that never comes is no failure");
    let sends = sends_to(&bench, "201000000001");
    assert_eq!(sends.len(), 3);
    for pair in sends.windows(2) {
        assert!((1_950..2_200).contains(&(pair[1] - pair[0])), "{sends:?}");
    }
    // Read after 2.2 s, while the nag due at 3 s was waiting or being typed.
    assert_eq!(followers(&bench, "read"), ["nag 1 cancelled"]);
    assert_eq!(sends_to(&bench, "201000000002").len(), 1);
    let stats = bench.json(&["list", "--job", "read", "--state", "cancelled"]);
    assert_eq!(stats["messages"][0]["reason"], "reached");
}

#[test]
fn a_late_receipt_turns_unknown_into_reached() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [read], first: 5s }\n";
    let jobs = "  late: { in: 1s, to: \"201000000001\", text: hi, nag: { every: 1s, max: 1, until: read } }\n";
    let _daemon = start(&bench, jobs, scenario);
    until("it is unknown", LIMIT, || followed(&bench, "late") == "unknown");
    until("the late receipt counts", LIMIT, || followed(&bench, "late") == "reached");
    assert_eq!(followers(&bench, "late"), ["nag 1 sent"]);
}

#[test]
fn a_reply_ends_the_nagging_where_reading_does_not() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server, device, read], first: 50ms, step: 50ms }\n\
                    replies: [{ chat: \"201000000001*\", after: 3500ms, say: \"on my way\" }]\n";
    let jobs = "  asked: { in: 1s, to: \"201000000001\", text: hi, nag: { every: 2s, max: 9, until: reply } }\n";
    let _daemon = start(&bench, jobs, scenario);
    until("somebody answered", LIMIT, || followed(&bench, "asked") == "reached");
    let sent = followers(&bench, "asked").into_iter().filter(|f| f.ends_with("sent")).count();
    assert_eq!(sent, 1, "one nag at 2 s, the answer to the first at 3.5 s: {:?}", followers(&bench, "asked"));
}

#[test]
fn what_is_not_read_in_time_is_told_to_others_through_another_account() {
    let bench = Bench::new();
    // The doctor reads at once, the patient never does; a third was never reached at all.
    let scenario = "acks: { levels: [server] }\nacks_of: [{ text: \"has not\", levels: [read], first: 100ms }]\n\
                    not_on_whatsapp: [\"201000000003*\"]\n";
    let steps = "escalate: [{ after: 2s, instance: spare }, \
                 { after: 4s, to: \"201000000009\", text: \"{{ name }} has not read it\", ends: all }, \
                 { after: 9s, to: \"201000000008\" }]";
    let jobs = format!("  patients: {{ in: 1s, to: {{ csv: patients.csv }}, text: \"hi {{{{ name }}}}\", {steps} }}\n");
    bench.write("patients.csv", "to,name\n201000000001,Ada\n201000000003,Bob\n");
    let _daemon = start(&bench, &jobs, scenario);
    let message = |to: &str| {
        let list = bench.json(&["list", "--job", "patients", "--to", to]);
        let all = list["messages"].as_array().unwrap().clone();
        let firsts: Vec<Value> = all
            .iter()
            .map(|m| bench.json(&["show", m["id"].as_str().unwrap()]))
            .filter(|m| m["follows"].is_null())
            .collect();
        firsts.into_iter().next()
    };
    let state = |to: &str| message(to).and_then(|m| m["follow_up"]["state"].as_str().map(str::to_owned));
    until("both come to rest", LIMIT, || {
        ["201000000001@c.us", "201000000003@c.us"].iter().all(|to| state(to).as_deref() == Some("reached"))
    });
    for (to, first_step) in [("201000000001@c.us", "sent"), ("201000000003@c.us", "failed")] {
        let message = message(to).unwrap();
        let steps: Vec<String> = message["follow_up"]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| format!("{} {}", f["number"], f["state"].as_str().unwrap()))
            .collect();
        assert_eq!(steps, [format!("1 {first_step}"), "2 sent".to_owned(), "3 cancelled".to_owned()], "{to}");
        let second = message["follow_up"]["messages"][0]["id"].as_str().unwrap();
        assert_eq!(bench.json(&["show", second])["instance"], "spare");
    }
    // The doctor read about each of them, so nobody else is told.
    assert_eq!(sends_to(&bench, "201000000009").len(), 2);
    assert_eq!(sends_to(&bench, "201000000008").len(), 0);
}

#[test]
fn a_nag_survives_kill_9_and_a_changed_job() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server] }\n";
    let job = |text: &str| {
        format!("  slow: {{ in: 1s, to: \"201000000001\", text: \"{text}\", nag: {{ every: 6s, max: 1 }} }}\n")
    };
    let mut daemon = start(&bench, &job("hi"), scenario);
    until("the nag waits", LIMIT, || {
        first(&bench, "slow").is_some_and(|m| m["follow_up"]["messages"].as_array().is_some_and(|m| !m.is_empty()))
    });
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    let _daemon = start(&bench, &job("hello"), scenario);
    until("it is sent", LIMIT, || followed(&bench, "slow") == "unknown");
    assert_eq!(sends_to(&bench, "201000000001").len(), 2);
}

#[test]
fn a_failed_message_that_gets_another_chance_is_followed_anew() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server] }\nnot_on_whatsapp: [\"201000000003*\"]\n";
    let jobs = "  tried: { in: 1s, to: \"201000000003\", text: hi, escalate: { after: 1s, to: \"201000000009\" } }\n";
    let _daemon = start(&bench, jobs, scenario);
    until("it is told to another", LIMIT, || followed(&bench, "tried") == "unknown");
    assert_eq!(followers(&bench, "tried"), ["escalation 1 sent"]);
    let list = bench.json(&["list", "--job", "tried", "--state", "failed"]);
    let id = list["messages"][0]["id"].as_str().unwrap().to_owned();
    bench.json(&["retry", &id]);
    until("it failed once more", LIMIT, || {
        let message = bench.json(&["show", &id]);
        message["state"] == "failed" && message["attempts"] == 2 && message["follow_up"]["state"] == "unknown"
    });
}

#[test]
fn a_campaign_that_is_called_off_and_a_person_who_is_forgotten_get_no_nag() {
    let bench = Bench::new();
    let nagged = |name: &str, to: &str| {
        format!("  {name}: {{ in: 100ms, to: [{to}], text: hi, nag: {{ every: 4s, max: 3 }} }}\n")
    };
    let jobs = nagged("off", "\"201000000001\", \"201000000002\"") + &nagged("gone", "\"201000000003\"");
    let _daemon = start(&bench, &jobs, "acks: { levels: [server] }\n");
    let in_state = |state: &str| bench.messages().iter().filter(|m| m["state"] == state).count();
    until("all nags wait", LIMIT, || (in_state("sent"), in_state("scheduled")) == (3, 3));
    assert_eq!(bench.json(&["campaign", "cancel", "off"])["cancelled"], 2);
    bench.json(&["contact", "erase", "201000000003"]);
    assert_eq!((in_state("sent"), in_state("cancelled")), (3, 3));
    // Nobody is followed any more: a second nag would be made long before this.
    process::pause(Duration::from_secs(5));
    assert_eq!((in_state("sent"), in_state("cancelled"), bench.messages().len()), (3, 3, 6));
}

#[test]
fn what_follows_a_message_keeps_no_later_occurrence_waiting() {
    let bench = Bench::new();
    // The third never reads, so a nag of each occurrence waits while the next one comes.
    let scenario = "acks: { levels: [server, device, read], first: 50ms, step: 50ms }\n\
                    acks_of: [{ chat: \"201000000003*\", levels: [server] }]\n";
    let to = "to: [\"201000000001\", \"201000000002\", \"201000000003\"], text: hi";
    let jobs = format!("  beat: {{ every: 3s, count: 4, {to}, nag: {{ every: 4s, max: 9 }} }}\n");
    let _daemon = start(&bench, &jobs, scenario);
    let of = |chat: &str, state: &str| {
        let all = bench.json(&["list", "--job", "beat", "--to", chat, "--state", state]);
        all["messages"].as_array().unwrap().len()
    };
    until("all four came", LIMIT, || of("201000000001", "sent") + of("201000000001", "skipped") == 4);
    assert_eq!(["201000000001", "201000000002", "201000000003"].map(|chat| of(chat, "skipped")), [0; 3]);
}

#[test]
fn whoever_is_told_of_a_message_ends_by_reading_only_what_is_told_to_them() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server] }\nacks_of: [{ chat: \"201000000009*\", levels: [read], first: 100ms }]\n\
                    replies: [{ chat: \"201000000009*\", after: 200ms, say: \"I see\" }]\n";
    let jobs = "  asked: { in: 500ms, to: \"201000000001\", text: hi, nag: { every: 2s, max: 3, until: read }, \
                escalate: { after: 1s, until: reply, to: \"201000000009\", text: \"no answer\" } }\n";
    let _daemon = start(&bench, jobs, scenario);
    until("all of it is done", LIMIT, || followed(&bench, "asked") == "unknown");
    assert_eq!(sends_to(&bench, "201000000001").len(), 4, "nobody read it: {:?}", followers(&bench, "asked"));
    assert_eq!(sends_to(&bench, "201000000009").len(), 1);
}

#[test]
fn a_message_in_doubt_is_told_to_others_as_unknown() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server] }\nfaults: [{ text: alarm, times: 1, answer: { status: 502 } }]\n";
    let jobs = "  alarm: { in: 500ms, to: \"201000000001\", text: alarm, on_doubt: hold, \
                escalate: { after: 2s, to: \"201000000009\", text: \"look at the pump\" } }\n";
    let _daemon = start(&bench, jobs, scenario);
    until("somebody else is told", LIMIT, || sends_to(&bench, "201000000009").len() == 1);
    let told = bench.json(&["list", "--to", "201000000009"])["messages"][0]["id"].as_str().unwrap().to_owned();
    let text = bench.json(&["show", &told])["content"].to_string();
    assert!(text.contains("not known whether") && text.contains("look at the pump"), "{text}");
}

#[test]
fn whoever_is_told_late_of_a_message_is_told_what_is_known_of_it_then() {
    let bench = Bench::new();
    let scenario = "acks: { levels: [server] }\nfaults: [{ text: alarm, times: 1, answer: { status: 502 } }]\n";
    let jobs = "  alarm: { in: 500ms, to: \"201000000001\", text: alarm, on_doubt: hold, \
                escalate: { after: 2s, to: \"201000000009\", instance: spare, text: \"look at the pump\" } }\n";
    let _daemon = start(&bench, jobs, scenario);
    bench.json(&["instance", "pause", "spare"]);
    let waiting = || {
        let all = bench.json(&["list", "--to", "201000000009", "--state", "scheduled"])["messages"].clone();
        let id = all[0]["id"].as_str()?.to_owned();
        Some(bench.json(&["show", &id])["content"].to_string())
    };
    until("somebody else is to be told", LIMIT, || waiting().is_some_and(|text| text.contains("not known whether")));
    let alarm = bench.json(&["list", "--to", "201000000001"])["messages"][0]["id"].as_str().unwrap().to_owned();
    bench.json(&["doubt", "resolve", &alarm, "--as", "sent"]);
    until("they are to be told what is known", LIMIT, || waiting().is_some_and(|text| !text.contains("not known")));
    bench.json(&["instance", "resume", "spare"]);
    until("they are told", LIMIT, || sends_to(&bench, "201000000009").len() == 1);
    assert_eq!(followers(&bench, "alarm").iter().filter(|f| f.ends_with("sent")).count(), 1);
}

#[test]
fn whoever_opts_out_leaves_the_list_or_is_forgotten_is_asked_no_more_and_nobody_is_told_of_them() {
    let bench = Bench::new();
    bench.write("people.csv", "phone\n201000000001\n201000000002\n201000000003\n201000000004\n");
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    bench.json(&["contact", "import", "people.csv", "--chat", "phone", "--list", "staff"]);
    let jobs = "  asked: { in: 500ms, to: { list: staff, live: true }, text: hi, nag: { every: 3s, max: 1 }, \
                escalate: { after: 3s, to: \"201000000009\", text: \"somebody has not read it\" } }\n";
    let _daemon = start(&bench, jobs, "acks: { levels: [server] }\n");
    let in_state = |state: &str| bench.messages().iter().filter(|m| m["state"] == state).count();
    until("all of it waits", LIMIT, || (in_state("sent"), in_state("scheduled")) == (4, 8));
    bench.json(&["contact", "suppress", "201000000001"]);
    bench.json(&["contact", "leave", "201000000002", "--list", "staff"]);
    bench.json(&["contact", "erase", "201000000003"]);
    until("the last one is asked", LIMIT, || sends_to(&bench, "201000000004").len() == 2);
    until("nothing waits any more", LIMIT, || in_state("scheduled") + in_state("typing") + in_state("sending") == 0);
    assert_eq!(sends_to(&bench, "201000000009").len(), 1, "of the last one alone somebody is told");
    for chat in ["201000000001", "201000000002", "201000000003"] {
        assert_eq!(sends_to(&bench, chat).len(), 1, "{chat}");
    }
}

#[test]
fn what_follows_is_looked_up_as_the_file_stands_now() {
    let bench = Bench::new();
    let job = |name: &str, to: &str, rest: &str| format!("  {name}: {{ in: 300ms, to: [{to}], {rest} }}\n");
    let nag = "nag: { every: 4s, max: 1 }";
    let both = "\"201000000001\", \"201000000002\"";
    let before = job("words", both, &format!("text: old, {nag}"))
        + &job("silent", "\"201000000003\"", &format!("text: old, {nag}"));
    let _daemon = start(&bench, &before, "acks: { levels: [server] }\n");
    let in_state = |state: &str| bench.messages().iter().filter(|m| m["state"] == state).count();
    until("all nags wait", LIMIT, || (in_state("sent"), in_state("scheduled")) == (3, 3));
    // Other words, one recipient less, and nothing that follows the second.
    let after = job("words", "\"201000000001\"", &format!("text: new, {nag}"))
        + &job("silent", "\"201000000003\"", "text: old");
    let head = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox }, spare: { gateway: sandbox } }\n\
                defaults: { instance: shop, typing: { lead: 500ms } }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{after}"));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("the first one is asked again", LIMIT, || sends_to(&bench, "201000000001").len() == 2);
    process::pause(Duration::from_secs(1));
    assert_eq!((sends_to(&bench, "201000000002").len(), sends_to(&bench, "201000000003").len()), (1, 1));
    let nag = bench.json(&["list", "--to", "201000000001", "--state", "sent"]);
    let said: Vec<String> = nag["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| bench.json(&["show", m["id"].as_str().unwrap()])["content"].to_string())
        .collect();
    assert!(said.iter().any(|text| text.contains("new")) && said.iter().any(|text| text.contains("old")), "{said:?}");
}

#[test]
fn a_receipt_of_who_is_no_recipient_any_more_has_them_asked_no_more() {
    let bench = Bench::new();
    let jobs = |to: &str| {
        format!("  words: {{ in: 300ms, to: [{to}], text: hi, nag: {{ every: 3s, max: 2, until: read }} }}\n")
    };
    let scenario = "acks: { levels: [device], first: 5s }\n";
    let both = "\"201000000001\", \"201000000002\"";
    let _daemon = start(&bench, &jobs(both), scenario);
    until("both are sent", LIMIT, || bench.messages().iter().filter(|m| m["state"] == "sent").count() == 2);
    let head = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox }, spare: { gateway: sandbox } }\n\
                defaults: { instance: shop, typing: { lead: 500ms } }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{}", jobs("\"201000000001\"")));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("the other is asked twice, and no more", LIMIT, || sends_to(&bench, "201000000001").len() == 3);
    process::pause(Duration::from_secs(4));
    let gone = bench.json(&["list", "--to", "201000000002"])["messages"].as_array().unwrap().clone();
    assert!(gone.iter().any(|m| m["ack"] == "device"), "its receipt came: {gone:?}");
    assert_eq!(sends_to(&bench, "201000000002").len(), 1, "{gone:?}");
}

#[test]
fn kill_9_at_spread_moments_makes_no_nag_twice_and_loses_none() {
    let kills: i64 = std::env::var("KILLS").ok().and_then(|v| v.parse().ok()).unwrap_or(8);
    let bench = Bench::new();
    let chats: Vec<String> = (0..30).map(|n| format!("\"2010000001{n:02}\"")).collect();
    let jobs = format!(
        "  asked: {{ in: 500ms, to: [{}], text: hi, on_doubt: hold, nag: {{ every: 1s, max: 3 }} }}\n",
        chats.join(", ")
    );
    let scenario = "acks: { levels: [server] }\ndoing: 0ms..20ms\n";
    let draw = onthedot::domain::draw::Draw::new(11, "kills");
    for n in 0..kills {
        let mut daemon = start(&bench, &jobs, scenario);
        process::pause(Duration::from_millis(u64::try_from(draw.with_number(n).between(50, 1_200)).unwrap()));
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
    }
    let _daemon = start(&bench, &jobs, scenario);
    // What was out when the process died is in doubt and waits for a person; all others come to their end.
    until("everything else has come to its end", LIMIT, || {
        let all = bench.messages();
        let firsts = all.iter().filter(|m| m["state"] == "sent").count();
        let moves = all.iter().any(|m| ["scheduled", "typing", "sending"].contains(&m["state"].as_str().unwrap()));
        !moves && firsts >= 30 && {
            all.iter().filter(|m| m["state"] == "sent").all(|m| {
                let shown = bench.json(&["show", m["id"].as_str().unwrap()]);
                let family = shown["follow_up"]["messages"].as_array().cloned().unwrap_or_default();
                let doubt = family.iter().any(|f| f["state"] == "in_doubt");
                doubt || !shown["follows"].is_null() || shown["follow_up"]["state"] == "unknown"
            })
        }
    });
    let mut rows = std::collections::BTreeMap::<String, usize>::new();
    for m in bench.messages() {
        *rows.entry(m["to"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let mut sends = std::collections::BTreeMap::<String, usize>::new();
    for l in bench.journal().into_iter().filter(|l| l.done && l.path.ends_with("/send/text")) {
        *sends.entry(l.chat).or_default() += 1;
    }
    for (chat, rows) in &rows {
        let sends = sends.get(chat).copied().unwrap_or(0);
        assert!(*rows <= 4 && sends <= *rows, "{chat}: {sends} sends for {rows} messages\n{}", bench.log());
    }
    // One message a recipient, nag and number; every one of them was sent or is in doubt.
    let undone = bench.messages().into_iter().filter(|m| !["sent", "in_doubt"].contains(&m["state"].as_str().unwrap()));
    assert_eq!(undone.count(), 0);
    assert_eq!(rows.len(), 30);
}
