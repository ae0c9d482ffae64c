//! Lists: contacts of a file, in a list that a job writes to, with a condition on what is known of them.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::fmt::Write as _;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use onthedot::clock::Stopwatch;
use onthedot::domain::draw::Draw;
use process::{Bench, Running, pause, until};
use serde_json::Value;

/// Longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

const HEAD: &str = "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n";

const PEOPLE: &str = "phone,name,city,tags\n\
    0170 1234501,Ada,Rome,\"vip, press\"\n\
    +49 170 1234502,Bob,Rome,\n\
    0049 170 1234503,Cleo,Oslo,press\n\
    +39 340 1234567,Dino,Rome,\n\
    +49 170 1234502,Robert,,\n";

fn import(bench: &Bench, more: &[&str]) -> (Option<i32>, Value) {
    let args = [&["--json", "contact", "import", "people.csv", "--chat", "phone", "--country", "DE"], more].concat();
    let output = bench.run(&args);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

fn chats(bench: &Bench, job: &str) -> Vec<String> {
    let listed = bench.json(&["list", "--job", job, "--state", "scheduled"]);
    let all = listed["messages"].as_array().unwrap().iter();
    let mut chats: Vec<String> = all.map(|m| m["to"].as_str().unwrap().to_owned()).collect();
    chats.sort();
    chats
}

#[test]
fn a_job_writes_to_those_of_a_list_that_its_condition_takes() {
    let bench = Bench::new();
    bench.write("people.csv", PEOPLE);
    let (code, done) = import(&bench, &["--list", "customers"]);
    let counts = ["rows", "contacts", "merged", "added", "joined", "bad"].map(|k| done[k].as_i64().unwrap());
    assert_eq!((code, counts), (Some(0), [5, 4, 1, 4, 4, 0]));
    bench.write(
        "jobs.yaml",
        &format!(
            "{HEAD}  all: {{ at: 2099-01-01T10:00, to: {{ list: customers }}, text: \"Hi {{{{ name }}}}\" }}\n  \
             rome:\n    at: 2099-01-01T10:00\n    text: hi\n    \
             to: {{ list: customers, where: \"city == 'Rome' and not tag('VIP')\" }}\n"
        ),
    );
    let daemon = ["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"];
    let ran = bench.run(&daemon);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(chats(&bench, "all").len(), 4);
    assert_eq!(chats(&bench, "rome"), ["393401234567@c.us", "491701234502@c.us"]);
    let bob = bench.json(&["contact", "show", "+49 170 1234502"])["contact"].clone();
    assert_eq!(
        (bob["attributes"]["name"].as_str(), bob["attributes"]["city"].as_str()),
        (Some("Robert"), Some("Rome"))
    );
    assert_eq!(bob["lists"][0], "customers");

    // Applied again after the list changed, the job goes to the list as it is now.
    bench.write("people.csv", "phone,name,city\n+49 170 1234599,Eve,Rome\n");
    assert_eq!(import(&bench, &["--list", "customers"]).1["joined"], 1);
    assert!(bench.run(&daemon).status.success());
    assert_eq!(chats(&bench, "rome"), ["393401234567@c.us", "491701234502@c.us", "491701234599@c.us"]);
    let listed = bench.json(&["contact", "list", "--list", "customers", "--limit", "2"]);
    assert_eq!((listed["contacts"].as_array().unwrap().len(), listed["lists"][0]["members"].as_i64()), (2, Some(5)));
    let next = listed["next"].as_str().unwrap();
    let rest = bench.json(&["contact", "list", "--list", "customers", "--cursor", next]);
    assert_eq!((rest["contacts"].as_array().unwrap().len(), rest["next"].is_null()), (3, true));
}

#[test]
fn bad_rows_let_nobody_join_and_what_a_file_asks_of_lists_is_checked() {
    let bench = Bench::new();
    bench.write("people.csv", &format!("{PEOPLE}0170,Fay,Bonn,\n"));
    let (code, done) = import(&bench, &["--list", "customers"]);
    assert_eq!((code, done["stored"].as_bool(), done["bad"].as_i64()), (Some(65), Some(false), Some(1)));
    assert_eq!(done["errors"][0]["line"], 7);
    assert_eq!(bench.run(&["contact", "list", "--list", "customers"]).status.code(), Some(3));
    assert_eq!(import(&bench, &["--list", "customers", "--dry-run", "--allow-partial"]).1["joined"], 0);
    assert_eq!(import(&bench, &["--list", "customers", "--allow-partial"]).0, Some(4));
    assert_eq!(bench.json(&["contact", "list"])["contacts"].as_array().unwrap().len(), 4);
    for (to, expected) in [
        ("{ list: custmers }", "did you mean 'customers'?"),
        ("{ list: customers, where: \"city = 'Rome'\" }", "cannot be read"),
        ("{ list: customers, where: \"city == 'Bonn'\" }", "takes nobody"),
        ("{ list: customers, where: \"ctiy == 'Rome'\" }", "names 'ctiy', which nobody has"),
        ("{ list: customers, where: \"ctiy == 'Rome'\" }", "did you mean 'city'?"),
        ("{ list: customers, where: \"not ctiy\" }", "did you mean 'city'?"),
        ("{ list: customers, where: \"city != 5\" }", "compares city (the text 'Rome') with the number 5"),
        ("{ list: customers, chat: phone }", "chat belongs to csv"),
        ("{ list: customers, csv: people.csv }", "needs either csv: FILE or list: NAME"),
        ("{ csv: people.csv, chat: phone, country: XX }", "'XX' is no country"),
        ("{ csv: people.csv, chat: phone, country: DE }", "the country hands out no such number"),
    ] {
        bench.write("jobs.yaml", &format!("{HEAD}  j: {{ at: 2099-01-01T10:00, to: {to}, text: hi }}\n"));
        let said = bench.run(&["check", "jobs.yaml", "--sandbox"]);
        assert_eq!(said.status.code(), Some(78), "{to}");
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(expected), "{to}: {said}");
    }
    bench.write("few.csv", "to,city\n0170 1234501,Rome\n0170 1234502,Oslo\n");
    let to = "{ csv: few.csv, country: DE, where: \"city != 'Oslo'\" }";
    bench.write("jobs.yaml", &format!("{HEAD}  j: {{ at: 2099-01-01T10:00, to: {to}, text: hi }}\n"));
    assert_eq!(bench.json(&["check", "jobs.yaml", "--sandbox"])["jobs"][0]["recipients"], 1);
}

#[test]
fn a_condition_takes_whom_it_can_be_meant_for_by_number_and_by_any_name() {
    let bench = Bench::new();
    let people = "to,age,größe,first name\n201000000001,9,180,Ada\n201000000002,41,90,Bob\n201000000003,,1000,\n201000000004,100,,Dino\n";
    bench.write("people.csv", people);
    let taken = |condition: &str| {
        let to = format!("{{ csv: people.csv, where: \"{condition}\" }}");
        bench.write("jobs.yaml", &format!("{HEAD}  j: {{ at: 2099-01-01T10:00, to: {to}, text: hi }}\n"));
        bench.json(&["check", "jobs.yaml", "--sandbox"])["jobs"][0]["recipients"].as_i64()
    };
    for (condition, people) in [
        ("age > 40", 2),
        ("age < 40", 1),
        ("not (age > 40)", 2),
        ("age == '9'", 1),
        ("größe >= 180", 2),
        ("größe > age", 2),
        ("attribute('first name') == 'Ada'", 1),
        ("not attribute('first name')", 1),
        ("tag('vip') or age > 0", 3),
    ] {
        assert_eq!(taken(condition), Some(people), "{condition}");
    }
    bench.write("people.csv", &people.replace("9,180", "unknown,180"));
    let to = "{ csv: people.csv, where: \"age > 40\" }";
    bench.write("jobs.yaml", &format!("{HEAD}  j: {{ at: 2099-01-01T10:00, to: {to}, text: hi }}\n"));
    let said = bench.run(&["check", "jobs.yaml", "--sandbox"]);
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(78), "{told}");
    let expected = "people.csv:2: for 201000000001@c.us: the condition \"age > 40\" compares age (the text 'unknown') with the number 40";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_rehearsal_without_a_database_of_its_own_reads_the_lists_of_the_real_one_and_reads_them_anew() {
    let bench = Bench::new();
    bench.write("people.csv", PEOPLE);
    assert_eq!(import(&bench, &["--list", "customers"]).0, Some(0));
    bench.write("jobs.yaml", &format!("{HEAD}  j: {{ at: 2099-01-01T10:00, to: {{ list: customers }}, text: hi }}\n"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_onthedot"));
    command.args(["run", "jobs.yaml", "--sandbox", "--listen", "off"]).current_dir(bench.path("."));
    command.env("ONTHEDOT_DB", bench.path("db")).stdin(Stdio::null()).stdout(Stdio::null());
    let daemon = Running(command.stderr(File::create(bench.path("log")).unwrap()).spawn().unwrap());
    until("it is ready", LIMIT, || bench.log().contains(" ready ms="));
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("the file is read anew", LIMIT, || bench.log().matches("the jobs file is applied").count() == 2);
    assert!(!bench.log().contains("there is no list"));
}

#[test]
fn kill_9_at_any_moment_of_an_import_lets_all_join_a_list_or_nobody() {
    let bench = Bench::new();
    let mut people = "phone,name\n".to_owned();
    for n in 0..20_000 {
        writeln!(people, "+4917012{n:05},Ada {n}").unwrap();
    }
    bench.write("people.csv", &people);
    let members = || bench.json(&["contact", "list", "--limit", "1"])["lists"][0]["members"].as_i64().unwrap_or(0);
    let arguments = ["contact", "import", "people.csv", "--chat", "phone", "--list", "all"];
    let took = Stopwatch::start();
    assert!(bench.run(&[&arguments[..], &["--dry-run"]].concat()).status.success());
    let check = took.elapsed().0;
    let kills: i64 = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let (draw, mut halfway) = (Draw::new(7, "kills of an import"), 0);
    for n in 0..kills {
        let mut running = bench.start(&arguments);
        let life = draw.with_number(n).between(0, check * 4);
        pause(Duration::from_millis(u64::try_from(life).unwrap()));
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        let (joined, known) = (members(), bench.run(&["contact", "list", "--limit", "1", "--json"]).stdout);
        let known = serde_json::from_slice::<Value>(&known).unwrap_or_default()["contacts"][0].is_object();
        if joined == 20_000 {
            break;
        }
        assert_eq!(joined, 0, "kill {n} after {life} ms");
        halfway += u64::from(known);
    }
    println!("after {halfway} kills some contacts were stored");
    let done = bench.json(&arguments);
    assert_eq!((done["contacts"].as_i64(), done["changed"].as_i64(), members()), (Some(20_000), Some(0), 20_000));
}

/// Attributes that a spreadsheet would carry out, quotes, line breaks, apostrophes, other scripts, and a column named `to`.
const ODD: &str = "phone,name,to,formula,note\n\
    201000000001,\"Ada, \"\"the\"\" first\",home,=1+1,\"two\nlines\"\n\
    201000000002,'twas,,+49 170,  spaces  \n\
    201000000003,''=x,-5,@SUM(A1),Zoë 李\n\
    201000000004,,,'=quoted,\n";

#[test]
fn contacts_that_are_exported_and_imported_again_are_the_same() {
    let bench = Bench::new();
    bench.write("odd.csv", ODD);
    bench.json(&["contact", "import", "odd.csv", "--list", "odd", "--chat", "phone"]);
    let contacts = |b: &Bench| -> Vec<Value> {
        let all = b.json(&["contact", "list", "--list", "odd"])["contacts"].as_array().unwrap().clone();
        all.into_iter().map(|c| serde_json::json!([c["chat"], c["attributes"], c["lists"]])).collect()
    };
    let before = contacts(&bench);
    assert_eq!(before.len(), 4);
    assert_eq!(before[0][1]["formula"], "=1+1");
    assert_eq!(before[1][1]["name"], "'twas");
    for format in ["csv", "jsonl"] {
        let file = format!("out.{format}");
        let wrote = bench.run(&["contact", "export", "--list", "odd", "--format", format, "--to-file", &file]);
        assert!(String::from_utf8_lossy(&wrote.stderr).contains("--chat chat"), "{wrote:?}");
        let other = Bench::new();
        std::fs::copy(bench.path(&file), other.path(&file)).unwrap();
        other.json(&["contact", "import", &file, "--list", "odd", "--chat", "chat"]);
        assert_eq!(contacts(&other), before, "{format}");
        let again = other.run(&["contact", "export", "--list", "odd", "--format", format]);
        assert_eq!(again.stdout, std::fs::read(bench.path(&file)).unwrap(), "{format}");
        let there = bench.run(&["contact", "export", "--to-file", &file]);
        assert_eq!(there.status.code(), Some(1), "no file is written over");
    }
    let nobody = bench.run(&["contact", "export", "--list", "od"]);
    assert_eq!(nobody.status.code(), Some(3));
}

#[test]
fn a_forgotten_contact_is_named_nowhere_and_their_messages_are_still_accounted_for() {
    let bench = Bench::new();
    let rows: String = (0..30).map(|n| format!("2010000{n:05},Canary{n}\n")).collect();
    bench.write("guests.csv", &format!("to,name\n{rows}"));
    bench.json(&["contact", "import", "guests.csv", "--list", "guests"]);
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox, base_url: \"http://127.0.0.1:9\" } }\ndefaults: { typing: off }\njobs:\n  \
         now: { in: 0s, to: { list: guests }, text: \"Hi {{ name }}\" }\n  \
         later: { at: 2097-01-01T00:00, to: { csv: guests.csv }, text: \"Hi {{ name }}\" }\n",
    );
    {
        let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "127.0.0.1:0"]);
        let sent = || bench.json(&["stats"])["states"]["sent"] == 30;
        until("all of it left", LIMIT, || bench.path("db").exists() && sent());
        bench.json(&["send", "--to", "201000000007", "--text", "For Canary7 alone", "--in", "1h"]);
        bench.json(&["contact", "suppress", "201000000007", "--note", "Canary7 said so"]);
        let would = bench.json(&["contact", "erase", "201000000007", "--dry-run"])["erased"][0].clone();
        let did = bench.json(&["contact", "erase", "+201000000007"])["erased"][0].clone();
        assert_eq!(did, would);
        assert_eq!((&did["messages"], &did["cancelled"], &did["lists"]), (&3.into(), &2.into(), &1.into()));
        assert_eq!((&did["contact"], &did["suppressed"]), (&true.into(), &true.into()));
        let campaign = bench.json(&["campaign", "show", "now"]);
        assert_eq!((&campaign["messages"], &campaign["counts"]["sent"]), (&30.into(), &30.into()));
        assert_eq!(bench.json(&["contact", "show", "201000000007"])["suppressed"]["note"], Value::Null);
        assert_eq!(bench.json(&["list", "--to", "201000000007"])["messages"], serde_json::json!([]));
        assert_eq!(bench.json(&["contact", "list", "--list", "guests"])["contacts"].as_array().unwrap().len(), 29);
    }
    bench.json(&["contact", "erase", "201000000009"]);
    // The file, whose CSV file still names them, brings nobody back.
    bench.json(&["job", "apply", "jobs.yaml"]);
    assert_eq!(bench.json(&["list", "--to", "201000000009"])["messages"], serde_json::json!([]));
    // What a backup holds.
    bench.json(&["db", "backup", "copy"]);
    let bytes = std::fs::read(bench.path("copy")).unwrap();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    assert!(holds(b"Canary8") && holds(b"201000000008"), "the search is broken");
    assert!(!holds(b"Canary7"), "an attribute, a text or a note is left");
    assert!(!holds(b"Canary9") && !holds(b"201000000009"), "and of who did not opt out not even the number");
}

#[test]
fn a_contact_whose_forgetting_is_cut_off_is_forgotten_by_the_next_run() {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=100ms"]).status.success());
    // A few thousand messages to one person, each with something about them.
    let row = |n: u32| format!("201000000007,2097-01-01T{:02}:{:02}:{:02},Canary{n}\n", n / 3600, n / 60 % 60, n % 60);
    let rows: String = (0..4_000).map(row).collect();
    bench.write("many.csv", &format!("to,at,name\n{rows}201000000008,2097-01-01T00:00,Other\n"));
    bench.json(&["import", "many.csv", "--job", "many", "--text", "Hi {{ name }}"]);
    bench.json(&["cancel", "--job", "many", "--to", "201000000007", "--yes"]);
    // Each life a little longer, until one of them gets through.
    let (mut lives, mut halfway) = (0, 0);
    for life in (10..2_000).step_by(10) {
        let mut erasing = bench.start(&["contact", "erase", "201000000007"]);
        pause(Duration::from_millis(life));
        let _ = erasing.0.kill();
        erasing.0.wait().unwrap();
        let left =
            bench.json(&["contact", "erase", "201000000007", "--dry-run"])["erased"][0]["messages"].as_u64().unwrap();
        if left == 0 {
            break;
        }
        (lives, halfway) = (lives + 1, halfway + u32::from(left < 4_000));
    }
    bench.json(&["contact", "erase", "201000000007"]);
    bench.json(&["db", "backup", "copy"]);
    let bytes = std::fs::read(bench.path("copy")).unwrap();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    assert!(holds(b"Other") && holds(b"201000000008"), "the search is broken");
    assert!(!holds(b"Canary") && !holds(b"201000000007"), "something of them is left");
    assert_eq!(bench.json(&["stats"])["states"]["cancelled"], 4_000, "and every message is accounted for");
    println!("{lives} were cut off, {halfway} of them with some messages forgotten");
}

/// A job that follows a list of two, and the daemon that serves it.
fn following(job: &str) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    join(&bench, "customers", &[("201000000001", "Rome"), ("201000000002", "Rome")]);
    bench.write(
        "jobs.yaml",
        &format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n{job}"),
    );
    let daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    (bench, daemon)
}

fn join(bench: &Bench, list: &str, people: &[(&str, &str)]) {
    let rows: String = people.iter().map(|(phone, city)| format!("{phone},{city}\n")).collect();
    bench.write("people.csv", &format!("phone,city\n{rows}"));
    bench.json(&["contact", "import", "people.csv", "--chat", "phone", "--list", list]);
}

/// How many messages of a job are sent to a chat.
fn sent(bench: &Bench, job: &str, chat: &str) -> usize {
    let all = bench.json(&["list", "--job", job, "--to", chat, "--limit", "1000"]);
    all["messages"].as_array().unwrap().iter().filter(|m| m["state"] == "sent").count()
}

#[test]
fn who_joins_a_live_list_gets_what_has_begun_once_also_after_a_kill_and_when_coming_back() {
    let job = "  welcome: { in: 500ms, to: { list: customers, where: \"city == 'Rome'\", live: true }, typing: { lead: 300ms }, \
               messages: [{ text: \"Ciao, {{ city }}\" }, { after: 3s, text: two }] }\n";
    let (bench, daemon) = following(job);
    until("the first ones have it", LIMIT, || sent(&bench, "welcome", "201000000002") == 2);
    join(&bench, "customers", &[("201000000003", "Rome"), ("201000000004", "Bari")]);
    until("who joined has the first", LIMIT, || sent(&bench, "welcome", "201000000003") == 1);
    drop(daemon);
    join(&bench, "customers", &[("201000000005", "Rome")]);
    let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("both have all of it", LIMIT, || {
        ["201000000003", "201000000005"].iter().all(|chat| sent(&bench, "welcome", chat) == 2)
    });
    let shown = bench.json(&["campaign", "show", "welcome"]);
    assert_eq!((&shown["recipients"], &shown["counts"]["sent"]), (&4.into(), &8.into()), "{shown}");
    let joined =
        bench.json(&["list", "--to", "201000000003", "--limit", "1000"])["messages"].as_array().unwrap().clone();
    let of_step = |kind: &str| joined.iter().map(|m| m[kind].as_str().unwrap().to_owned()).max().unwrap();
    assert!(of_step("due_at") > of_step("created_at"), "the second is due three seconds after the first: {joined:?}");
    // Who leaves and comes back has had it.
    bench.json(&["contact", "leave", "201000000001", "--list", "customers"]);
    until("they are let go", LIMIT, || bench.log().contains("they left the list"));
    join(&bench, "customers", &[("201000000001", "Rome"), ("201000000006", "Rome")]);
    until("who is new has it", LIMIT, || sent(&bench, "welcome", "201000000006") == 2);
    assert_eq!(sent(&bench, "welcome", "201000000001"), 2);
    assert_eq!(sent(&bench, "welcome", "201000000004"), 0, "the condition does not take them");
    let twice = bench.messages().iter().filter(|m| m["to"] == "201000000001@c.us").count();
    assert_eq!(twice, 2, "{:?}", bench.messages());
}

#[test]
fn who_had_a_campaign_that_was_forgotten_gets_it_no_second_time_by_joining_it() {
    let named = "to: [\"201000000001\", \"201000000003\"]";
    let jobs = |to: &str| format!("  news: {{ in: 100ms, {to}, text: hi, typing: off }}\n");
    let (bench, _daemon) = following(&jobs(named));
    let all = || bench.json(&["list", "--job", "news"])["messages"].as_array().unwrap().len();
    until("all have it", LIMIT, || sent(&bench, "news", "201000000001") + sent(&bench, "news", "201000000003") == 2);
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 2);
    bench.write("jobs.yaml", &format!("{HEAD}{}", jobs("to: { list: customers, live: true }")));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("the list is followed", LIMIT, || bench.json(&["job", "show", "news"])["recipients"] == 2);
    join(&bench, "customers", &[("201000000004", "Rome")]);
    until("who is new joins", LIMIT, || bench.json(&["job", "show", "news"])["recipients"] == 3);
    process::pause(Duration::from_secs(2));
    assert_eq!(all(), 0, "nobody knows who had it");
}

#[test]
fn who_leaves_a_live_list_is_skipped_and_who_joins_is_in_the_next_occurrences() {
    let job = "  news: { every: 4s, to: { list: customers, live: true }, text: news, typing: off }\n";
    let (bench, _daemon) = following(job);
    until("the first ones have it", LIMIT, || sent(&bench, "news", "201000000001") == 1);
    bench.json(&["contact", "leave", "201000000001", "--list", "customers"]);
    join(&bench, "customers", &[("201000000003", "Oslo")]);
    until("they are let go", LIMIT, || bench.log().contains("they left the list"));
    let had = sent(&bench, "news", "201000000001");
    until("who joined has it twice", LIMIT, || sent(&bench, "news", "201000000003") >= 2);
    until("who stayed too", LIMIT, || sent(&bench, "news", "201000000002") >= 3);
    assert!(sent(&bench, "news", "201000000001") <= had + 1, "at most the one that was on its way");
    let of = |chat: &str| {
        let all = bench.json(&["list", "--job", "news", "--to", chat, "--limit", "1000"]);
        all["messages"].as_array().unwrap().clone()
    };
    until("an occurrence was planned without them", LIMIT, || of("201000000002").len() > of("201000000001").len());
    let gone = of("201000000001");
    assert!(gone.iter().all(|m| m["state"] == "sent" || m["reason"] == "left_list"), "{gone:?}");
    assert_eq!(bench.json(&["job", "show", "news"])["recipients"], 2);
}

#[test]
fn a_file_of_recipients_is_followed_by_nobody() {
    let bench = Bench::new();
    bench.write("people.csv", "phone\n201000000001\n");
    let job = "{ in: 1s, to: { csv: people.csv, chat: phone, live: true }, text: hi }";
    bench.write(
        "jobs.yaml",
        &format!("version: 1\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs: {{ a: {job} }}\n"),
    );
    let output = bench.run(&["check", "jobs.yaml", "--sandbox"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("live belongs to list"));
}

#[test]
fn a_list_of_thousands_is_written_to_as_a_short_one() {
    let bench = Bench::new();
    let rows: String = (0..2_500).map(|n| format!("2010000{n:05}\n")).collect();
    bench.write("all.csv", &format!("phone\n{rows}"));
    bench.json(&["contact", "import", "all.csv", "--chat", "phone", "--list", "all"]);
    bench.write("jobs.yaml", &format!("{HEAD}  news: {{ at: 2099-01-01T10:00, to: {{ list: all }}, text: hi }}\n"));
    let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("all of them wait", LIMIT, || bench.json(&["stats"])["states"]["scheduled"] == 2_500);
}

#[test]
fn a_live_job_is_the_same_job_however_its_list_changes_and_an_empty_one_keeps_no_file_from_being_applied() {
    let job = "  welcome: { in: 300ms, to: { list: customers, live: true }, text: hi, typing: off }\n";
    let (bench, daemon) = following(job);
    until("all of it went out", LIMIT, || sent(&bench, "welcome", "201000000002") == 1);
    drop(daemon);
    // Nothing waits any more, and nobody follows the list while they join.
    join(&bench, "customers", &[("201000000003", "Rome")]);
    assert_eq!(bench.json(&["plan", "jobs.yaml", "--sandbox"])["jobs"][0]["change"], "unchanged");
    let daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("who joined has it", LIMIT, || sent(&bench, "welcome", "201000000003") == 1);
    assert_eq!(bench.messages().len(), 3);
    drop(daemon);
    bench.json(&["contact", "leave", "201000000001", "201000000002", "201000000003", "--list", "customers"]);
    let checked = bench.json(&["check", "jobs.yaml", "--sandbox"]);
    assert_eq!(checked["ok"], true, "{checked}");
    let log = bench.log().len();
    let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("the daemon is ready again", LIMIT, || bench.log()[log..].contains(" ready ms="));
}

#[test]
fn a_changed_text_of_a_live_job_reaches_who_waits_at_their_own_instants() {
    let text = |two: &str| {
        format!(
            "  drip: {{ in: 300ms, to: {{ list: customers, live: true }}, typing: off, messages: [{{ text: one }}, {{ after: 9s, text: {two} }}] }}\n"
        )
    };
    let (bench, _daemon) = following(&text("two"));
    until("the first ones have the first", LIMIT, || sent(&bench, "drip", "201000000002") == 1);
    pause(Duration::from_secs(3));
    join(&bench, "customers", &[("201000000003", "Rome")]);
    until("who joined has the first", LIMIT, || sent(&bench, "drip", "201000000003") == 1);
    let second = |chat: &str| {
        let all = bench.json(&["list", "--job", "drip", "--to", chat, "--limit", "1000"])["messages"].clone();
        let waits = all.as_array().unwrap().iter().find(|m| m["state"] == "scheduled").cloned();
        waits.map(|m| m["due_at"].as_str().unwrap().to_owned())
    };
    let before = ["201000000001", "201000000003"].map(|chat| second(chat).unwrap());
    bench.write("jobs.yaml", &format!("{HEAD}{}", text("changed")));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("it is planned anew", LIMIT, || {
        let all = bench.json(&["list", "--job", "drip", "--limit", "1000"])["messages"].clone();
        all.as_array().unwrap().iter().filter(|m| m["state"] == "scheduled").count() == 3
    });
    assert_eq!(["201000000001", "201000000003"].map(|chat| second(chat).unwrap()), before);
    until("everybody has both", LIMIT, || {
        ["201000000001", "201000000002", "201000000003"].iter().all(|chat| sent(&bench, "drip", chat) == 2)
    });
    let went_out = bench.messages().into_iter().filter(|m| m["state"] == "sent");
    let said: Vec<String> =
        went_out.map(|m| bench.json(&["show", m["id"].as_str().unwrap()])["content"].to_string()).collect();
    assert_eq!(said.iter().filter(|text| text.contains("changed")).count(), 3, "{said:?}");
}

#[test]
fn who_leaves_a_live_list_and_comes_back_before_it_begins_is_written_to_once() {
    let job = "  later: { in: 12s, hold: true, to: { list: customers, live: true }, text: hi, typing: off }\n";
    let (bench, _daemon) = following(job);
    let of = |chat: &str| {
        let all = bench.json(&["list", "--job", "later", "--to", chat, "--limit", "1000"])["messages"].clone();
        all.as_array().unwrap().iter().map(|m| m["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until("it waits for an approval", LIMIT, || of("201000000001") == ["held"]);
    bench.json(&["contact", "leave", "201000000001", "201000000002", "--list", "customers"]);
    until("what was held for them is cancelled", LIMIT, || of("201000000001") == ["cancelled"]);
    join(&bench, "customers", &[("201000000001", "Rome")]);
    until("it is held for who came back", LIMIT, || of("201000000001").contains(&"held".to_owned()));
    bench.json(&["campaign", "approve", "later"]);
    until("they have it", LIMIT, || sent(&bench, "later", "201000000001") == 1);
    assert_eq!(sent(&bench, "later", "201000000002"), 0);
}

#[test]
fn who_does_not_fit_the_condition_of_a_followed_list_keeps_nobody_else_from_it() {
    let job = "  news: { in: 500ms, to: { list: customers, where: \"city | int > 5\", live: true }, text: hi, typing: off }\n";
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    join(&bench, "customers", &[("201000000001", "Rome"), ("201000000002", "7")]);
    bench.write(
        "jobs.yaml",
        &format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n{job}"),
    );
    let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("who fits has it", LIMIT, || bench.log().contains(" ready ms=") && sent(&bench, "news", "201000000002") == 1);
    assert_eq!(bench.json(&["job", "apply", "jobs.yaml", "--sandbox"])["jobs"][0]["change"], "unchanged");
    join(&bench, "customers", &[("201000000003", "Oslo"), ("201000000004", "8")]);
    until("who joins and fits has it, too", LIMIT, || sent(&bench, "news", "201000000004") == 1);
    assert!(bench.log().contains("they do not join"), "{}", bench.log());
    join(&bench, "customers", &[("201000000003", "9")]);
    until("who was corrected joins", LIMIT, || sent(&bench, "news", "201000000003") == 1);
    assert_eq!(sent(&bench, "news", "201000000001"), 0);
}

#[test]
fn who_is_taken_in_after_their_sequence_broke_off_waits_for_nothing() {
    let file = |to: &str, steps: &str| {
        format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n  drip: {{ in: 500ms, to: {to}, \
             typing: off, messages: [{{ text: one }}, {{ after: 3s, text: two }}, {{ after: 1s, text: three }}{steps}] }}\n"
        )
    };
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("[\"201000000001\", \"201000000002\"]", ""));
    let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    let of = |chat: &str| {
        let all = bench.json(&["list", "--job", "drip", "--to", chat, "--limit", "1000"])["messages"].clone();
        let mut all = all.as_array().unwrap().clone();
        all.sort_by_key(|m| (m["due_at"].to_string(), m["id"].to_string()));
        all.iter().map(|m| format!("{} {}", m["state"].as_str().unwrap(), m["reason"])).collect::<Vec<_>>()
    };
    until("the first is sent", LIMIT, || sent(&bench, "drip", "201000000001") == 1);
    bench.json(&["contact", "suppress", "201000000001"]);
    let broken_off = ["sent null", "skipped \"opted_out\"", "skipped \"sequence\""];
    until("the rest is skipped", LIMIT, || of("201000000001") == broken_off);
    bench.json(&["contact", "unsuppress", "201000000001"]);
    // The job follows a list now, which they are not in, and has another step.
    join(&bench, "customers", &[("201000000002", "Rome")]);
    bench.write("jobs.yaml", &file("{ list: customers, live: true }", ", { after: 1s, text: four }"));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("who is in it has all of it", LIMIT, || sent(&bench, "drip", "201000000002") >= 3);
    join(&bench, "customers", &[("201000000001", "Rome")]);
    until("they are taken in", LIMIT, || bench.log().contains("they joined the list"));
    let waits = |row: &String| row.starts_with("scheduled");
    assert!(!of("201000000001").iter().any(waits), "{:?}", of("201000000001"));
    assert_eq!(of("201000000001").last().unwrap(), "skipped \"sequence\"", "{:?}", of("201000000001"));
    assert_eq!(sent(&bench, "drip", "201000000001"), 1);
}

#[test]
fn a_campaign_has_as_many_recipients_as_have_a_message_of_it_whoever_was_named_before() {
    let file = |to: &str| {
        format!(
            "{HEAD}  news: {{ in: 500ms, to: {to}, typing: off, messages: [{{ text: one }}, {{ after: 4s, text: two }}] }}\n"
        )
    };
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("[\"201000000001\", \"201000000002\", \"201000000003\"]"));
    let _daemon = bench.start_sandboxed("acks: { levels: [] }\n");
    until("they have the first", LIMIT, || {
        bench.log().contains(" ready ms=") && sent(&bench, "news", "201000000003") == 1
    });
    let shown = || bench.json(&["campaign", "show", "news"]);
    // Somebody else alone is named from now on. The others have had the first.
    bench.write("jobs.yaml", &file("[\"201000000004\"]"));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("it is planned anew", LIMIT, || sent(&bench, "news", "201000000004") == 1);
    let all = bench.json(&["campaign", "list"]);
    assert_eq!(all["campaigns"][0]["recipients"], 4, "it is a campaign still: {all}");
    // Now it follows a list, which those before join: they are counted once.
    join(&bench, "customers", &[("201000000004", "Rome")]);
    bench.write("jobs.yaml", &file("{ list: customers, live: true }"));
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    let early =
        [("201000000001", "Rome"), ("201000000002", "Rome"), ("201000000003", "Rome"), ("201000000005", "Rome")];
    join(&bench, "customers", &early);
    until("all of them have the second", LIMIT, || {
        ["201000000001", "201000000004", "201000000005"].iter().all(|chat| sent(&bench, "news", chat) == 2)
    });
    assert_eq!(
        (shown()["recipients"].clone(), shown()["counts"]["sent"].clone()),
        (5.into(), 10.into()),
        "{}",
        shown()
    );
}

#[test]
fn a_followed_list_is_followed_to_the_end_however_often_the_daemon_dies_over_it() {
    let kills = std::env::var("KILLS").ok().and_then(|v| v.parse::<i64>().ok()).unwrap_or(6);
    let seed = std::env::var("SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(3);
    let job = "  later: { at: 2099-01-01T10:00, to: { list: customers, live: true }, messages: [{ text: one }, { text: two }] }\n";
    let (bench, daemon) = following(job);
    let draw = Draw::new(seed, "kills");
    let people: Vec<String> = (0..3_000).map(|n| format!("2020000{n:05}")).collect();
    let rows: Vec<(&str, &str)> = people.iter().map(|phone| (phone.as_str(), "Rome")).collect();
    let states = || bench.json(&["stats"])["states"].clone();
    // Killed again and again in the middle of what it takes in, or lets go, of the list.
    let dies_over_it = |mut daemon: Running, first: i64| {
        for n in first..first + kills {
            pause(Duration::from_millis(u64::try_from(draw.with_number(n).between(50, 1_200)).unwrap()));
            drop(daemon);
            daemon = bench.start(&["run", "jobs.yaml", "--listen", "off", "--sandbox", "-q"]);
        }
        daemon
    };
    join(&bench, "customers", &rows);
    let daemon = dies_over_it(daemon, 0);
    until("everybody has both, once", LIMIT, || states()["scheduled"] == 6_004);
    assert_eq!(bench.json(&["campaign", "show", "later"])["recipients"], 3_002);
    for part in people[..1_000].chunks(500) {
        let chats: Vec<&str> = part.iter().map(String::as_str).collect();
        bench.json(&[&["contact", "leave", "--list", "customers"][..], &chats].concat());
    }
    let _daemon = dies_over_it(daemon, 1_000);
    until("nothing waits for who left", LIMIT, || states()["skipped"] == 2_000);
    assert_eq!(states()["scheduled"], 4_004);
    assert_eq!(bench.json(&["job", "show", "later"])["recipients"], 2_002);
}
