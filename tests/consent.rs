//! Whoever opted out gets nothing: by command or in their own words, also while they are being typed to.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use process::{Bench, Running, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

fn begin(jobs: &str, scenario: &str) -> (Bench, Running) {
    begin_at("", jobs, scenario)
}

/// With more keys of the instance.
fn begin_at(instance: &str, jobs: &str, scenario: &str) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        &format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox{instance} }} }}\njobs:\n{jobs}"),
    );
    let daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    (bench, daemon)
}

/// The only message of a job.
fn message(bench: &Bench, job: &str) -> Value {
    bench.json(&["list", "--job", job])["messages"][0].clone()
}

/// Whether nothing becomes of the only message of a job any more.
fn rests(bench: &Bench, job: &str) -> bool {
    let state = message(bench, job)["state"].clone();
    ["sent", "skipped", "failed", "cancelled", "expired"].iter().any(|s| state == **s)
}

fn sends_to(bench: &Bench, chat: &str) -> usize {
    bench.journal().iter().filter(|l| l.path == "/v2/send/text" && l.chat.starts_with(chat)).count()
}

#[test]
fn who_is_suppressed_while_being_typed_to_gets_nothing_and_typing_stops() {
    let jobs = "  slow: { in: 4s, to: \"201000000001\", text: hi, typing: { lead: 3s } }\n  \
                more: { in: 4s, to: \"201000000002\", messages: [{ text: one }, { text: two }], typing: { lead: 3s } }\n";
    let (bench, _daemon) = begin(jobs, "acks: { levels: [] }\n");
    until("both are being typed to", LIMIT, || {
        message(&bench, "slow")["state"] == "typing"
            && bench.json(&["list", "--job", "more", "--state", "typing"])["messages"][0].is_object()
    });
    let done = bench.json(&["contact", "suppress", "201000000001", "+201000000002", "--note", "asked by phone"]);
    assert_eq!(done["changed"].as_array().unwrap().len(), 2);
    until("it is skipped, before it would have left", Duration::from_secs(2), || {
        message(&bench, "slow")["reason"] == "opted_out"
    });
    until("what followed rests", LIMIT, || {
        bench.json(&["list", "--job", "more"])["messages"].as_array().unwrap().iter().all(|m| m["state"] == "skipped")
    });
    until("typing is taken back", LIMIT, || {
        bench.journal().iter().filter(|l| l.path == "/v2/send/stop-typing").count() == 2
    });
    assert_eq!((sends_to(&bench, "201000000001"), sends_to(&bench, "201000000002")), (0, 0));
    let shown = bench.json(&["contact", "show", "201000000001"]);
    assert_eq!(shown["suppressed"]["note"], "asked by phone");
    assert_eq!(shown["consents"][0]["verdict"], "out");
}

#[test]
fn a_campaign_skips_who_is_suppressed_and_accounts_for_them() {
    let jobs = "  launch: { in: 4s, to: [\"201000000001\", \"201000000002\", \"201000000003\"], text: hi, typing: { lead: 200ms } }\n";
    let (bench, _daemon) = begin(jobs, "acks: { levels: [] }\n");
    bench.json(&["contact", "suppress", "201000000002", "201000000003"]);
    bench.json(&["contact", "unsuppress", "201000000003", "--note", "a mistake"]);
    until("the campaign is finished", LIMIT, || bench.json(&["campaign", "show", "launch"])["state"] == "finished");
    let shown = bench.json(&["campaign", "show", "launch"]);
    assert_eq!((&shown["counts"]["sent"], &shown["counts"]["skipped"]), (&2.into(), &1.into()));
    assert_eq!(shown["reasons"][0]["reason"], "opted_out");
    assert_eq!((sends_to(&bench, "201000000002"), sends_to(&bench, "201000000003")), (0, 1));
    let listed = bench.json(&["contact", "list", "--suppressed"]);
    assert_eq!(listed["suppressed"].as_array().unwrap().len(), 1);
    let typed =
        bench.journal().iter().filter(|l| l.path.contains("typing") && l.chat.starts_with("201000000002")).count();
    assert_eq!(typed, 0, "nobody is shown typing in vain");
}

#[test]
fn who_writes_stop_gets_no_more_and_who_writes_of_something_else_does() {
    let two = |name: &str, to: &str| {
        format!(
            "  {name}: {{ in: 1s, to: \"{to}\", text: first, typing: off }}\n  {name}-again: {{ in: 6s, to: \"{to}\", text: second, typing: off }}\n"
        )
    };
    let jobs = two("stops", "201000000001") + &two("stays", "201000000002");
    let scenario = "acks: { levels: [] }\nreplies:\n  - { chat: \"201000000001*\", text: first, after: 200ms, say: \"Stop!\" }\n  \
                    - { chat: \"201000000002*\", text: first, after: 200ms, say: \"stop, o Zé não vem\" }\n";
    let (bench, _daemon) = begin(&jobs, scenario);
    until("the second ones rest", LIMIT, || ["stops-again", "stays-again"].iter().all(|job| rests(&bench, job)));
    assert_eq!(message(&bench, "stops-again")["reason"], "opted_out");
    assert_eq!(message(&bench, "stays-again")["state"], "sent");
    assert_eq!((sends_to(&bench, "201000000001"), sends_to(&bench, "201000000002")), (1, 2));
    let shown = bench.json(&["contact", "show", "201000000001"]);
    assert_eq!((&shown["suppressed"]["source"], &shown["suppressed"]["note"]), (&"keyword".into(), &"Stop!".into()));
}

#[test]
fn who_is_suppressed_between_the_claim_and_the_mark_is_skipped_in_time() {
    let (bench, _daemon) =
        begin("  now: { in: 3s, to: \"201000000001\", text: hi, typing: off }\n", "acks: { levels: [] }\n");
    let due = message(&bench, "now")["due_at"].as_str().unwrap().to_owned();
    let due = chrono::DateTime::parse_from_rfc3339(&due).unwrap().timestamp_millis();
    // It is in hand from two seconds before it is due.
    until("it is in hand", LIMIT, || process::now_ms() > due - 1_000);
    bench.json(&["contact", "suppress", "201000000001"]);
    until("it is skipped", Duration::from_secs(10), || message(&bench, "now")["reason"] == "opted_out");
    assert_eq!(sends_to(&bench, "201000000001"), 0);
}

#[test]
fn a_failed_message_that_gets_another_chance_after_an_opt_out_is_skipped() {
    let scenario = "acks: { levels: [] }\nnot_on_whatsapp: [\"201000000001*\"]\n";
    let (bench, _daemon) = begin("  now: { in: 500ms, to: \"201000000001\", text: hi, typing: off }\n", scenario);
    until("it failed", LIMIT, || message(&bench, "now")["state"] == "failed");
    bench.json(&["contact", "suppress", "201000000001"]);
    bench.json(&["retry", message(&bench, "now")["id"].as_str().unwrap()]);
    until("it is skipped", LIMIT, || message(&bench, "now")["reason"] == "opted_out");
    assert_eq!(sends_to(&bench, "201000000001"), 1);
}

#[test]
fn a_job_for_those_who_opted_in_goes_to_nobody_else_and_an_import_lifts_no_opt_out() {
    let bench = Bench::new();
    bench.write("in.csv", "to\n201000000001\n201000000002\n201000000003\n");
    bench.json(&["contact", "suppress", "201000000002"]);
    let done = bench.json(&["contact", "import", "in.csv", "--list", "in", "--opted-in"]);
    assert_eq!((&done["contacts"], &done["opted_in"]), (&3.into(), &2.into()), "{done}");
    let again = bench.json(&["contact", "import", "in.csv", "--list", "in", "--opted-in"]);
    assert_eq!(again["opted_in"], 0);
    assert_eq!(bench.json(&["contact", "show", "201000000001"])["consents"][0]["source"], "import");
    assert!(!bench.json(&["contact", "show", "201000000002"])["suppressed"].is_null());
    let to: String = (1..=5).map(|n| format!("\"20100000000{n}\", ")).collect();
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n  \
             news: {{ in: 1s, consent: opt_in, to: [{to}], text: hi, typing: {{ lead: 200ms }} }}\n"
        ),
    );
    let _daemon = bench.start_sandboxed("{}\n");
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    let messages = || bench.json(&["list", "--job", "news"])["messages"].as_array().unwrap().clone();
    let rests = |m: &Value| m["state"] == "sent" || m["state"] == "skipped";
    until("all of it rests", LIMIT, || messages().len() == 5 && messages().iter().all(rests));
    let mut told: Vec<String> = messages()
        .iter()
        .map(|m| format!("{} {} {}", &m["to"].as_str().unwrap()[11..12], m["state"], m["reason"]).replace('"', ""))
        .collect();
    told.sort();
    assert_eq!(
        told,
        ["1 sent null", "2 skipped opted_out", "3 sent null", "4 skipped no_opt_in", "5 skipped no_opt_in"]
    );
    let id = messages().iter().find(|m| m["reason"] == "no_opt_in").unwrap()["id"].as_str().unwrap().to_owned();
    let events = bench.json(&["show", &id])["events"].as_array().unwrap().clone();
    assert_eq!(events.last().unwrap()["note"], "no opt-in of its recipient is recorded");
}

#[test]
fn a_message_keeps_out_of_a_conversation_for_a_while() {
    let jobs = "  first: { in: 1s, to: [\"201000000001\", \"201000000002\"], text: first, typing: off }\n  \
                offer: { in: 5s, quiet_after_reply: 6s, to: [\"201000000001\", \"201000000002\"], text: offer, typing: off }\n";
    let scenario = "replies:\n  - { chat: \"201000000001*\", text: first, after: 500ms, say: \"who is this?\" }\n";
    let (bench, _daemon) = begin(jobs, scenario);
    let offers = || bench.json(&["list", "--job", "offer"])["messages"].as_array().unwrap().clone();
    until("it waits for who writes", LIMIT, || offers().iter().any(|m| m["reason"] == "conversation"));
    until("both left", LIMIT, || offers().len() == 2 && offers().iter().all(|m| m["state"] == "sent"));
    let wrote = bench
        .journal()
        .iter()
        .find(|l| l.path == "/v2/send/text" && l.chat.starts_with("201000000001"))
        .unwrap()
        .received_ms;
    let late = |to: &str| offers().iter().find(|m| m["to"] == to).unwrap()["late_ms"].as_i64().unwrap();
    assert!(late("201000000002@c.us") < 500, "nobody wrote there");
    let sent = bench
        .journal()
        .iter()
        .filter(|l| l.path == "/v2/send/text" && l.chat.starts_with("201000000001"))
        .map(|l| l.received_ms)
        .max()
        .unwrap();
    assert!((6_300..8_500).contains(&(sent - wrote)), "{} ms after the first message", sent - wrote);
}

#[test]
fn who_writes_stop_while_being_typed_to_gets_nothing_and_typing_stops() {
    let jobs = "  first: { in: 1s, to: \"201000000001\", text: first, typing: off }\n  \
                second: { in: 7s, to: \"201000000001\", text: second, typing: { lead: 4s } }\n";
    let scenario =
        "acks: { levels: [] }\nreplies:\n  - { chat: \"201000000001*\", text: first, after: 3500ms, say: \"Stop\" }\n";
    let (bench, _daemon) = begin(jobs, scenario);
    until("the second one is typed", LIMIT, || message(&bench, "second")["state"] == "typing");
    assert!(bench.json(&["contact", "list", "--suppressed"])["suppressed"].as_array().unwrap().is_empty());
    until("it is skipped", LIMIT, || message(&bench, "second")["reason"] == "opted_out");
    let path = |path: &'static str| bench.journal().into_iter().filter(move |l| l.path == path);
    until("typing is taken back", LIMIT, || path("/v2/send/stop-typing").count() == 1);
    let (typed, stopped) =
        (path("/v2/send/start-typing").next().unwrap(), path("/v2/send/stop-typing").next().unwrap());
    assert!((500..4_000).contains(&(stopped.received_ms - typed.received_ms)), "before it would have left");
    assert_eq!(sends_to(&bench, "201000000001"), 1);
}

#[test]
fn an_opt_out_is_answered_once_and_nothing_else_goes_there_until_they_opt_in() {
    let instance = ", opt_out: { words: [Genug], ignore: cancel, confirm: \"You hear no more of us at {{ due | time }}.\" }, \
                    opt_in: { words: [Wieder], confirm: \"Welcome back.\" }";
    let at = |name: &str, after: u32, to: u32| {
        format!("  {name}: {{ in: {after}s, to: \"20100000000{to}\", text: {name}, typing: off }}\n")
    };
    let jobs = [at("first", 1, 1), at("second", 5, 1), at("third", 9, 1), at("other", 1, 2), at("more", 5, 2)].concat();
    let reply = |to: u32, text: &str, say: &str| {
        format!("  - {{ chat: \"20100000000{to}*\", text: \"{text}\", after: 300ms, say: \"{say}\" }}\n")
    };
    // To the farewell a machine answers with its keyword again; the second opt-out is no news.
    let replies = [reply(1, "first", "genug!"), reply(1, "hear no more", "stop"), reply(2, "other", "Cancel")].concat();
    let (bench, _daemon) = begin_at(instance, &jobs, &format!("acks: {{ levels: [] }}\nreplies:\n{replies}"));
    until("the second ones rest", LIMIT, || ["second", "more"].iter().all(|job| rests(&bench, job)));
    assert_eq!(message(&bench, "second")["reason"], "opted_out");
    assert_eq!(message(&bench, "more")["state"], "sent", "the word means something else here");
    let answers = || bench.messages().into_iter().filter(|m| m["job"].is_null()).collect::<Vec<_>>();
    let farewell = answers();
    assert_eq!(farewell.len(), 1, "{farewell:?}");
    assert_eq!((&farewell[0]["state"], &farewell[0]["class"]), (&"sent".into(), &"urgent".into()));
    assert_eq!(sends_to(&bench, "201000000001"), 2, "the first one and the farewell");
    let consents = bench.json(&["contact", "show", "201000000001"])["consents"].clone();
    assert_eq!(consents.as_array().unwrap().len(), 1, "{consents}");
}

#[test]
fn an_opt_in_is_answered_and_opens_the_way_again() {
    let instance = ", opt_out: { confirm: Bye. }, opt_in: { words: [Wieder], confirm: Welcome back. }";
    let jobs = "  first: { in: 1s, to: \"201000000001\", text: first, typing: off }\n  \
                later: { in: 10s, to: \"201000000001\", text: later, typing: off }\n";
    let replies = "acks: { levels: [] }\nreplies:\n  - { chat: \"2010*\", text: first, after: 100ms, say: stop }\n  \
                   - { chat: \"2010*\", text: Bye, after: 100ms, say: wieder bitte }\n";
    let (bench, _daemon) = begin_at(instance, jobs, replies);
    until("the later one rests", LIMIT, || rests(&bench, "later"));
    assert_eq!(message(&bench, "later")["state"], "sent");
    assert_eq!(sends_to(&bench, "201000000001"), 4, "first, bye, welcome back, later");
    let shown = bench.json(&["contact", "show", "201000000001"]);
    assert!(shown["suppressed"].is_null());
    assert_eq!(shown["consents"].as_array().unwrap().len(), 2, "{shown}");
}

#[test]
fn keywords_that_nobody_could_write_are_refused_where_they_stand() {
    let bench = Bench::new();
    let instance = "{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", opt_out: { words: [\"…\", \"really?\"], ignore: [genug], confirm: \"Bye {{ name }}\" } }";
    bench.write("jobs.yaml", &format!("version: 1\ninstances:\n  shop: {instance}\njobs: {{}}\n"));
    let output = bench.run(&["check", "jobs.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors: Vec<&str> = told["errors"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap()).collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[3].starts_with("opt_out.confirm: ") && errors[3].contains("name"), "{errors:?}");
}
