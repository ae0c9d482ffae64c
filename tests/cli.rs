//! Commands from outside: bad input gets a clear error and an exit code, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::process::Stdio;
use std::time::Duration;

use process::{Bench, until};

const HEAD: &str = "version: 1\ninstances: { shop: { gateway: sandbox, base_url: \"http://127.0.0.1:9\" } }\n";

/// What is wrong with a file, and words its error must hold.
const BAD_FILES: [(&str, &[&str]); 22] = [
    ("", &["empty"]),
    ("# nothing\n", &["empty"]),
    ("instances: {}\njobs: {}\n", &["version"]),
    ("version: 2\ninstances: { a: { gateway: sandbox, base_url: \"http://x\" } }\n", &["version '2'"]),
    ("version: 1\njobs: [\n", &["not YAML"]),
    ("jobs:\n  a: { in: 3s, too: \"201234567890\", text: hi }\n", &["4:", "unknown key 'too'", "did you mean 'to'"]),
    ("jobs:\n  a: { in: 3s, to: \"201234567890\", text: hi, nag: 1m }\n", &["nag must be a map"]),
    (
        "jobs:\n  a: { in: 3s, to: \"201234567890\", text: hi, window: { hours: \"9-20\" } }\n",
        &["window.hours", "09:00-20:00"],
    ),
    (
        "jobs:\n  a: { in: 3s, to: \"201234567890\", link: { text: \"https://x.test\", url: \"https://x.test\", title: t } }\n",
        &["cannot carry a link"],
    ),
    ("jobs:\n  a: { in: soon, to: \"201234567890\", text: hi }\n", &["'soon' is not a duration"]),
    ("jobs:\n  a: { cron: \"61 * * * *\", to: \"201234567890\", text: hi }\n", &["cron pattern"]),
    ("jobs:\n  a: { cron: \"0 0 30 2 *\", to: \"201234567890\", text: hi }\n", &["never matches"]),
    ("timezone: Europe/Berln\n", &["Europe/Berln", "time zone"]),
    ("jobs:\n  a: { in: 3s, to: [], text: hi }\n", &["empty list"]),
    ("jobs:\n  a: { in: 3s, to: \"0170 123\", text: hi }\n", &["0170 123"]),
    ("jobs:\n  a: { in: 3s, to: [\"+49 170 1234567\", \"491701234567\"], text: hi }\n", &["stands twice", "line"]),
    ("jobs:\n  a: { in: 3s, to: \"201234567890\", text: \"{{ name }}\" }\n", &["'name'"]),
    ("jobs:\n  a: { in: 3s, to: { csv: rows.csv, chat: phone }, text: \"{{ name }}\" }\n", &["rows.csv:501", "'name'"]),
    ("jobs:\n  a: { in: 3s, at: 2099-01-01T00:00, to: \"201234567890\", text: hi }\n", &["several schedules"]),
    ("jobs:\n  a: { in: 3s, to: \"201234567890\" }\n", &["no content"]),
    (
        "jobs:\n  a: { in: 3s, to: \"201234567890\", text: hi }\n  a: { in: 3s, to: \"201234567890\", text: hi }\n",
        &["stands twice"],
    ),
    ("jobs:\n  a: { in: 3s, to: { csv: absent.csv }, text: hi }\n", &["absent.csv", "cannot be read"]),
];

#[test]
fn every_bad_file_is_refused_with_its_place_and_nothing_is_applied() {
    let bench = Bench::new();
    let mut rows = "phone,name\n".to_owned();
    for n in 0..1_000 {
        let name = if n == 499 { "" } else { "Ada" };
        rows.push_str(&format!("20100000{n:04},{name}\n"));
    }
    bench.write("rows.csv", &rows);
    for (text, words) in BAD_FILES {
        let whole =
            text.is_empty() || text.starts_with('#') || text.starts_with("instances") || text.starts_with("version");
        let text = if whole { text.to_owned() } else { format!("{HEAD}{text}") };
        bench.write("jobs.yaml", &text);
        for command in [vec!["check", "jobs.yaml"], vec!["run", "jobs.yaml", "--listen", "off", "--until-idle=1s"]] {
            let output = bench.run(&command);
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{command:?} of {text}: {errors}");
            for word in words {
                assert!(errors.contains(word), "{text}: '{word}' is missing in {errors}");
            }
        }
        assert!(!bench.path("db").exists(), "{text}: something was applied");
    }
}

#[test]
fn every_error_is_told_in_one_run() {
    let bench = Bench::new();
    let jobs = "jobs:\n  a: { in: soon, to: nobody, text: \"{{\" }\n  b: { every: 1ms, to: [], txt: hi }\n";
    bench.write("jobs.yaml", &format!("{HEAD}{jobs}"));
    let output = bench.run(&["--json", "check", "jobs.yaml"]);
    assert_eq!(output.status.code(), Some(78));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], false);
    let errors = document["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 7, "{errors:#?}");
    assert!(
        errors.iter().all(|e| e["line"].as_i64().unwrap() >= 4 && e["column"].as_i64().unwrap() > 0),
        "{errors:#?}"
    );
}

#[test]
fn huge_files_bombs_folders_and_missing_files_are_refused_quickly() {
    let bench = Bench::new();
    let mut bomb = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let refs = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{refs}]\n"));
    }
    bench.write("bomb.yaml", &bomb);
    let big = std::fs::File::create(bench.path("big.yaml")).unwrap();
    big.set_len(1 << 30).unwrap();
    std::fs::create_dir(bench.path("folder")).unwrap();
    bench.write("binary.yaml", "version: 1\n");
    std::fs::write(bench.path("binary.yaml"), [b'v', 0xff, 0xfe, b'\n']).unwrap();
    for (name, word) in [
        ("bomb.yaml", "aliases"),
        ("big.yaml", "limit"),
        ("folder", "folder"),
        ("absent.yaml", "no such file"),
        ("binary.yaml", "UTF-8"),
        ("/dev/zero", "regular file"),
    ] {
        let output = bench.run(&["check", name]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{name}: {errors}");
        assert!(errors.contains(word), "{name}: {errors}");
    }
}

#[test]
fn a_warm_up_that_leads_nowhere_is_refused_and_one_that_takes_too_long_is_told_of() {
    let bench = Bench::new();
    let check = |pacing: &str| {
        let list: Vec<String> = (0..50).map(|n| format!("\"2010000{n:04}\"")).collect();
        let instance = format!(
            "gateway: sandbox, base_url: \"http://127.0.0.1:9\", webhook: {{ unsigned: true }}, pacing: {{ {pacing} }}"
        );
        let job = format!("{{ every: 3d, to: [{}], text: hi }}", list.join(", "));
        bench.write("jobs.yaml", &format!("version: 1\ninstances:\n  shop: {{ {instance} }}\njobs:\n  news: {job}\n"));
        let output = bench.run(&["--json", "check", "jobs.yaml"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = ["errors", "warnings"].into_iter().flat_map(|k| document[k].as_array().unwrap().clone());
        found.map(|e| e["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ramp =
        |from: u32, since: &str| format!("per_day: 100, warm_up: {{ since: {since}, from: {from}, over: 100d }}");
    assert_eq!(
        check("warm_up: { since: 2099-01-01, from: 20, over: 14d }"),
        ["pacing.warm_up needs pacing.per_day, to which it leads"]
    );
    assert_eq!(check("per_day: 100, warm_up: { from: 20, over: 14d }"), ["pacing.warm_up needs since"]);
    assert_eq!(check(&ramp(10, "soon")), ["pacing.warm_up.since cannot be 'soon'"]);
    assert_eq!(
        check(&ramp(100, "2099-01-01")),
        ["pacing.warm_up begins with 100 a day; expected less than the 100 of per_day"]
    );
    let told = "job 'news': pacing cannot finish: 50 messages take about 4d, and the next occurrence comes after 3d";
    assert_eq!(check(&ramp(10, "2099-01-01")), [told]);
    assert_eq!(check(&ramp(10, "2020-01-01")), [""; 0], "it was long ago");
}

#[test]
fn the_file_of_all_keys_is_fine_and_says_every_kind_of_content() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_onthedot"))
        .args(["--json", "check", "examples/all-keys.yaml", "--sandbox"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], true, "{document:#}");
    let kinds: Vec<&str> = document["jobs"].as_array().unwrap().iter().map(|j| j["kind"].as_str().unwrap()).collect();
    for kind in ["text", "image", "document", "video", "voice", "location", "poll", "contact", "list", "event"] {
        assert!(kinds.contains(&kind), "no {kind}");
    }
}

#[test]
fn what_a_job_cannot_do_is_warned_of() {
    let bench = Bench::new();
    let list: Vec<String> = (0..50).map(|n| format!("\"2010000{n:04}\"")).collect();
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1
instances:
  shop: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", pacing: {{ rate: 1/min }}, window: {{ hours: \"09:00-12:00\" }} }}
  slow: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", pacing: {{ rate: 10/h }}, window: {{ hours: \"09:00-12:00\" }} }}
  capped: {{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", pacing: {{ per_day: 10 }} }}
defaults: {{ instance: shop }}
jobs:
  never: {{ at: 2099-01-01T10:00, to: \"201234567890\", text: hi, window: {{ hours: \"13:00-14:00\" }} }}
  slow: {{ every: 10m, to: [{0}], text: hi }}
  late: {{ at: 2099-01-01T10:00, to: [{0}], text: hi, expires: 30m }}
  fine: {{ every: 2h, to: [{0}], text: hi }}
  long: {{ at: 2099-01-05T09:00, expires: 2099-01-05T18:00, to: [{0}], text: hi, instance: slow }}
  daily: {{ every: 3d, to: [{0}], text: hi, instance: capped }}
  kept: {{ every: 3d, expires: 30d, to: [{0}], text: hi, instance: capped }}
",
            list.join(", ")
        ),
    );
    let document = bench.json(&["check", "jobs.yaml"]);
    let warnings: Vec<&str> =
        document["warnings"].as_array().unwrap().iter().map(|w| w["message"].as_str().unwrap()).collect();
    let told = |words: &str| warnings.iter().filter(|w| w.contains(words)).count();
    assert_eq!(told("job 'never': its window and that of its instance are never open together"), 1, "{warnings:?}");
    assert_eq!(
        told("job 'slow': pacing cannot finish: 50 messages take about 49m, and the next occurrence comes after 10m"),
        1,
        "{warnings:?}"
    );
    assert_eq!(told("job 'late': pacing cannot finish"), 1, "{warnings:?}");
    assert_eq!(told("job 'fine'"), 0, "{warnings:?}");
    // 49 tenths of an hour in three hours a day.
    assert_eq!(
        told(
            "job 'long': pacing cannot finish: 50 messages take about 1d15h12m in its windows, and it expires after 9h"
        ),
        1,
        "{warnings:?}"
    );
    assert_eq!(
        told("job 'daily': pacing cannot finish: 50 messages take about 4d, and the next occurrence comes after 3d"),
        1,
        "{warnings:?}"
    );
    let told_of_kept =
        "job 'kept': pacing cannot finish: 50 messages take about 4d, and the next occurrence comes after 3d";
    assert_eq!(told(told_of_kept), 1, "{warnings:?}");
    let hints: Vec<&str> = document["warnings"].as_array().unwrap().iter().filter_map(|w| w["hint"].as_str()).collect();
    let proposed = "it would at 1.4 times the pace, through 2 such accounts, or with 4d for it";
    assert!(hints.contains(&proposed), "{hints:?}");
}

#[test]
fn what_a_clock_that_is_set_does_to_a_pattern_is_told_where_the_job_runs_then() {
    let bench = Bench::new();
    let soon = jiff::Timestamp::from_millisecond(process::now_ms() + 3_600_000).unwrap();
    let job = |name: &str, more: &str| {
        format!("  {name}: {{ cron: \"30 2 * * *\", to: \"201234567890\", text: hi, instance: shop{more} }}\n")
    };
    let jobs = job("open", "") + &job("over", &format!(", ends: \"{soon}\""));
    let head = "version: 1\ntimezone: Europe/Berlin\ninstances: { shop: { gateway: sandbox, \
                base_url: \"http://127.0.0.1:9\" } }\njobs:\n";
    bench.write("jobs.yaml", &format!("{head}{jobs}"));
    let document = bench.json(&["check", "jobs.yaml"]);
    let told: Vec<(u64, &str)> = document["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| (w["line"].as_u64().unwrap(), w["message"].as_str().unwrap()))
        .filter(|(_, message)| message.contains("02:00 to 03:00"))
        .collect();
    assert_eq!(
        told.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [5, 5],
        "a day in spring, one in autumn: {told:?}"
    );
}

#[test]
fn a_missing_secret_names_its_variable() {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ninstances:\n  shop:\n    gateway: wawp\n    instance_id: ${NO_SUCH_ID}\n    access_token: { env: NO_SUCH_TOKEN }\n");
    let output = bench.run(&["check", "jobs.yaml"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78));
    assert!(errors.contains("NO_SUCH_ID") && errors.contains("NO_SUCH_TOKEN"), "{errors}");
    assert!(bench.run(&["check", "jobs.yaml", "--sandbox"]).status.success());
}

#[test]
fn a_second_daemon_is_told_who_holds_the_database() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &format!("{HEAD}jobs: {{}}\n"));
    let first = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    until("the first is ready", Duration::from_secs(20), || bench.log().contains("ready"));
    let second = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    assert_eq!(second.status.code(), Some(75));
    let errors = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(errors.contains(&format!("pid {}", first.0.id())), "{errors}");
    // Other commands work beside it.
    assert!(bench.run(&["stats"]).status.success());
    drop(first);
    let after = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]);
    assert!(after.status.success(), "{}", String::from_utf8_lossy(&after.stderr));
}

#[test]
fn sandbox_and_real_databases_are_kept_apart() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &format!("{HEAD}jobs: {{}}\n"));
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    let real = bench.run(&["run", "jobs.yaml", "--listen", "off", "--until-idle=1s"]);
    assert_eq!(real.status.code(), Some(78), "{}", String::from_utf8_lossy(&real.stderr));
}

#[test]
fn damaged_newer_and_unwritable_databases_are_refused_with_the_way_out() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &format!("{HEAD}jobs: {{}}\n"));
    let run = || bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]);
    bench.write("db", "this is not a database, whatever its name says; it is long enough to be read as one, though");
    let damaged = run();
    assert_eq!(damaged.status.code(), Some(74), "{}", String::from_utf8_lossy(&damaged.stderr));
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("backup"));
    std::fs::remove_file(bench.path("db")).unwrap();
    assert!(run().status.success());
    // A later version's schema: one more migration than this program knows.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
        let mut c = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let insert =
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
                      VALUES (9999, 'later', '2030-01-01', 1, x'00', 0)";
        sqlx::query(insert).execute(&mut c).await.unwrap();
        c.close().await.unwrap();
    });
    let newer = run();
    assert_eq!(newer.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&newer.stderr).contains("newer version"));
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_the_way_out() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &format!("{HEAD}jobs: {{}}\n"));
    // Not even the administrator can make a file there.
    let arguments = ["--db", "/proc/onthedot.db", "run", "jobs.yaml", "--sandbox", "--listen", "off"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_onthedot"))
        .args(arguments)
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{errors}");
    assert!(errors.contains("/proc/onthedot.db") && errors.contains("writable by this user"), "{errors}");
}

#[test]
fn a_reader_who_has_enough_ends_a_list_quietly() {
    let bench = Bench::new();
    let list: Vec<String> = (0..900).map(|n| format!("\"2010000{n:04}\"")).collect();
    bench.write(
        "jobs.yaml",
        &format!("{HEAD}jobs:\n  a: {{ at: 2099-01-01T00:00, to: [{}], text: hi }}\n", list.join(", ")),
    );
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    let mut child = bench
        .command(&["list", "--limit", "1000", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn sending_cancelling_and_looking_work_from_the_database_alone() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &format!("{HEAD}jobs: {{}}\n"));
    assert_eq!(
        bench.run(&["send", "--to", "201234567890", "--text", "x"]).status.code(),
        Some(78),
        "no instance is known yet"
    );
    let daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    until("the daemon is ready", Duration::from_secs(20), || bench.log().contains("ready"));
    let sent =
        bench.json(&["send", "--to", "+20 123 456 7890", "--text", "hi", "--lead", "300ms", "--key", "k1", "--wait"]);
    assert_eq!(sent["created"], true);
    let again = bench.json(&["send", "--to", "+20 123 456 7890", "--text", "hi", "--key", "k1"]);
    assert_eq!((again["created"].as_bool(), &again["id"]), (Some(false), &sent["id"]));
    let shown = bench.json(&["show", sent["id"].as_str().unwrap()]);
    assert_eq!((shown["state"].as_str(), shown["to"].as_str()), (Some("sent"), Some("201234567890@c.us")));
    assert_eq!(bench.run(&["cancel", sent["id"].as_str().unwrap()]).status.code(), Some(5));
    let later = bench.json(&["send", "--to", "201234567890", "--text", "hi", "--in", "1h"]);
    assert!(bench.run(&["cancel", later["id"].as_str().unwrap()]).status.success());
    assert_eq!(bench.json(&["show", later["id"].as_str().unwrap()])["state"], "cancelled");
    assert_eq!(bench.run(&["show", "00000000-0000-7000-8000-000000000000"]).status.code(), Some(3));
    assert_eq!(bench.run(&["show", "nonsense"]).status.code(), Some(2));
    assert_eq!(bench.run(&["send", "--to", "hello", "--text", "x"]).status.code(), Some(2));
    assert_eq!(bench.run(&["next", "--cron", "61 * * * *"]).status.code(), Some(2));
    assert_eq!(
        bench.json(&["next", "--cron", "0 9 * * *", "--zone", "UTC", "-n", "3"])["occurrences"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    drop(daemon);
}

#[test]
fn a_pause_of_no_length_is_refused_and_pauses_nothing() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        &format!("{HEAD}jobs: {{ a: {{ at: 2099-01-01T10:00, to: \"201000000001\", text: hi }} }}\n"),
    );
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    for span in ["0s", "0ms", "0d0h", "-5s"] {
        let said = bench.run(&["pause", "--for", span]);
        assert_eq!(said.status.code(), Some(2), "{span}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("--for: "), "{span}");
    }
    assert_eq!(bench.run(&["pause", "--for", "1ms", "--dry-run"]).status.code(), Some(0));
    assert_eq!(bench.json(&["resume"])["resumed"], false, "nothing is paused");
}

#[test]
fn what_would_be_applied_is_told_as_a_document_where_one_is_asked_for() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        &format!("{HEAD}jobs: {{ a: {{ at: 2099-01-01T10:00, to: \"201000000001\", text: hi }} }}\n"),
    );
    let told = bench.json(&["run", "jobs.yaml", "--sandbox", "--dry-run"]);
    assert_eq!((told["ok"].as_bool(), told["jobs"][0]["name"].as_str()), (Some(true), Some("a")), "{told}");
    assert_eq!(told, bench.json(&["check", "jobs.yaml", "--sandbox"]), "`check` says the same");
    let plain = bench.run(&["run", "jobs.yaml", "--sandbox", "--dry-run"]);
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "the file is fine: 1 job would be applied\n");
}

#[test]
fn a_reminder_that_cannot_be_read_is_one_error_however_many_are_reminded() {
    let bench = Bench::new();
    let job = "jobs:\n  a:\n    event: 2099-01-01T10:00\n    remind: [-1d, soon]\n    \
               to: [\"201000000001\", \"201000000002\"]\n    text: \"at {{ event | time }}\"\n";
    bench.write("jobs.yaml", &format!("{HEAD}{job}"));
    let said = bench.run(&["--json", "check", "jobs.yaml", "--sandbox"]);
    let told: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let errors = told["errors"].as_array().unwrap();
    assert_eq!((errors.len(), errors[0]["line"].as_i64()), (1, Some(6)), "{told}");
}
