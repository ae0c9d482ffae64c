//! The daemon's chores with real processes: rung by a daemon, run by hand, each with its result, none in the way of a
//! message.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/dump.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod dump;
#[path = "support/faked_clock.rs"]
mod faked_clock;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use faked_clock::FakedClock;
use process::{Bench, Running, now_ms, until};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

const LIMIT: Duration = Duration::from_secs(30);

fn file(maintenance: &str) -> String {
    format!(
        "version: 1
timezone: UTC
{maintenance}
instances: {{ shop: {{ gateway: sandbox }} }}
defaults: {{ typing: off }}
jobs:
  a: {{ in: 100ms, to: \"201000000001\", text: hi }}
"
    )
}

fn run_to_end(bench: &Bench) {
    let run = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn chore(bench: &Bench, name: &str) -> Value {
    let all = bench.json(&["db", "chores"]);
    all["chores"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone()
}

async fn connect(bench: &Bench) -> SqliteConnection {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db")).busy_timeout(Duration::from_secs(10));
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn copies(folder: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn every_chore_runs_by_hand_and_shows_its_last_run_and_its_next() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("maintenance: { prune: { keep: 1h }, backup: { to: copies, keep: 2 } }"));
    run_to_end(&bench);
    let all = bench.json(&["db", "chores"]);
    let names: Vec<&str> = all["chores"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["backup", "checkpoint", "prune", "report", "tidy"]);
    assert!(all["chores"].as_array().unwrap().iter().all(|c| c["next_at"].is_string() && c["zone"] == "UTC"), "{all}");
    for name in names {
        let would = bench.json(&["db", "chores", "run", name, "--dry-run"]);
        assert_eq!((&would["done"], &would["result"]), (&Value::Bool(false), &Value::Null));
        let next = chore(&bench, name)["next_at"].clone();
        let done = bench.json(&["db", "chores", "run", name]);
        assert_eq!((&done["done"], &done["ok"]), (&Value::Bool(true), &Value::Bool(true)), "{done}");
        let after = chore(&bench, name);
        assert!(after["last"]["ok"] == true && after["last"]["took_ms"].is_i64(), "{after}");
        assert_eq!(after["last"]["result"], done["result"]);
        assert_eq!(after["next_at"], next, "its next run stays");
    }
    let doctor = bench.json(&["doctor"]);
    let told = doctor["findings"].as_array().unwrap().iter().filter(|f| f["topic"] == "chore").count();
    assert_eq!(told, 5, "{doctor}");
    let table = String::from_utf8(bench.run(&["db", "chores"]).stdout).unwrap();
    assert!(table.lines().count() == 6 && table.contains("bytes written to"), "{table}");
    assert_eq!(bench.run(&["db", "chores", "run", "vacuum"]).status.code(), Some(3));
    assert_eq!(bench.json(&["stats"])["states"]["sent"], 1, "what was sent just now is kept");
}

#[test]
fn a_backup_is_whole_private_and_only_the_newest_are_kept() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("maintenance: { backup: { to: copies, keep: 2 } }"));
    run_to_end(&bench);
    let folder = bench.path("copies");
    std::fs::create_dir(&folder).unwrap();
    for name in ["db-20200101T000000Z.db", "db-20200102T000000Z.db", "db-20200101T000000Z.part", "mine.db", "db-old.db"]
    {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    assert_eq!(bench.json(&["db", "chores", "run", "backup"])["ok"], true);
    let all = copies(&folder);
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(all[0], "db-20200102T000000Z.db", "the second newest stays, what others made too: {all:?}");
    assert_eq!(all[2..], ["db-old.db", "mine.db"]);
    let copy = folder.join(&all[1]);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let stats = std::process::Command::new(env!("CARGO_BIN_EXE_onthedot"))
        .args(["--json", "--db"])
        .arg(&copy)
        .arg("stats")
        .output()
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stats.stdout).unwrap()["states"]["sent"], 1);

    // One that cannot be written is an error that is kept and shown.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let failed = bench.run(&["db", "chores", "run", "backup"]);
    assert_eq!(failed.status.code(), Some(1));
    let last = chore(&bench, "backup")["last"].clone();
    assert!(last["ok"] == false && last["result"].as_str().unwrap().contains("cannot be made"), "{last}");
    let doctor = bench.json(&["doctor"]);
    let finding = doctor["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["topic"] == "chore" && f["text"].as_str().unwrap().starts_with("backup"));
    assert_eq!(finding.unwrap()["verdict"], "warning");
    bench.write("jobs.yaml", &file("maintenance: { tidy: off }"));
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    assert_eq!(bench.run(&["db", "chores", "run", "backup"]).status.code(), Some(78), "nobody says where to");
    assert_eq!(chore(&bench, "tidy")["cron"], Value::Null);
}

/// Starts a daemon whose clock shows three seconds before a full minute.
fn before_the_bell(bench: &Bench) -> Option<(FakedClock, Running)> {
    let clock = FakedClock::new(bench.folder.path())?;
    clock.off_by(57_000 - now_ms() % 60_000);
    let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    clock.give(&mut command);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(bench.path("log")).unwrap();
    Some((clock, Running(command.stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap())))
}

#[test]
fn a_daemon_does_what_is_due_at_the_ring_and_a_file_applied_beside_counts_from_the_next() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        &file("maintenance: { tidy: \"* * * * *\", report: off, backup: { cron: \"* * * * *\", to: copies } }"),
    );
    let Some((clock, mut daemon)) = before_the_bell(&bench) else { return };
    until("both were done", LIMIT, || {
        bench.path("db").exists()
            && bench.log().contains("ready")
            && chore(&bench, "tidy")["last"]["ok"] == true
            && chore(&bench, "backup")["last"]["ok"] == true
    });
    assert_eq!(chore(&bench, "report")["cron"], Value::Null);
    assert_eq!(chore(&bench, "checkpoint")["last"], Value::Null, "its time has not come");
    assert_eq!(copies(&bench.path("copies")).len(), 1);
    bench.write("jobs.yaml", &file("maintenance: { tidy: off, report: \"* * * * *\" }"));
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    clock.off_by(57_000 - now_ms() % 60_000 + 60_000);
    until("the report was made", LIMIT, || chore(&bench, "report")["last"]["ok"] == true);
    assert_eq!(copies(&bench.path("copies")).len(), 1, "the backup is off");
    // The scheduler holds nobody up.
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the daemon ends", Duration::from_secs(5), || daemon.0.try_wait().unwrap().is_some());
}

#[tokio::test]
async fn what_was_missed_while_nobody_ran_is_done_once() {
    let bench = Bench::new();
    bench
        .write("jobs.yaml", &file("maintenance: { tidy: \"* * * * *\", backup: { cron: \"0 3 1 1 *\", to: copies } }"));
    run_to_end(&bench);
    let mut connection = connect(&bench).await;
    sqlx::query("UPDATE chores SET next_at = 1000 WHERE name = 'backup'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let Some((clock, _daemon)) = before_the_bell(&bench) else { return };
    until("it was made up for", LIMIT, || bench.path("copies").exists() && copies(&bench.path("copies")).len() == 1);
    until("that is written down", LIMIT, || chore(&bench, "backup")["last"]["ok"] == true);
    let began = chore(&bench, "backup")["last"]["started_at"].clone();
    until("the first ring is over", LIMIT, || chore(&bench, "tidy")["last"]["ok"] == true);
    let tidied = chore(&bench, "tidy")["last"]["started_at"].clone();
    clock.off_by(57_000 - now_ms() % 60_000 + 60_000);
    until("the bell rings again", LIMIT, || chore(&bench, "tidy")["last"]["started_at"] != tidied);
    assert!(chore(&bench, "backup")["next_at"].as_str().unwrap().contains("-01-01T03:00"));
    assert_eq!(chore(&bench, "backup")["last"]["started_at"], began);
}

/// A million rows would do the same, slower: what counts is that no step holds the writer for long.
#[tokio::test]
async fn pruning_beside_sends_makes_no_message_late_and_keeps_what_failed() {
    const OLD: i64 = 20_000;
    let bench = Bench::new();
    let maintenance = "maintenance: { tidy: off, prune: { keep: 30d, keep_failed: 60d } }";
    bench.write("jobs.yaml", &file(maintenance));
    run_to_end(&bench);
    let mut connection = connect(&bench).await;
    let day = 86_400_000;
    // Due forty days ago, with attempts and acks; every hundredth failed. And a list of recipients that nothing uses.
    for statement in [
        format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OLD})
             INSERT INTO messages (id, instance, chat, class, flow, content, guard, state, due_at, wake_at, lead_ms, created_at, attempts, ack)
             SELECT unhex(printf('%012X%020X', {old}, i)), 'shop', '201000000001@c.us', 2, 2, (SELECT min(id) FROM contents), 0,
                    CASE WHEN i % 100 = 0 THEN 'failed' ELSE 'sent' END, {old}, {old}, 0, {old}, 1, 3 FROM n",
            old = now_ms() - 40 * day
        ),
        "INSERT INTO attempts (message, number, marked_at, slot_at, paced) SELECT id, 1, due_at, due_at, 0 FROM messages WHERE flow = 2 AND job IS NULL".to_owned(),
        "INSERT INTO acks SELECT id, '', 3, due_at, 'webhook' FROM messages WHERE flow = 2 AND job IS NULL".to_owned(),
        "INSERT INTO audiences (id, fingerprint, size, complete) VALUES (99, x'99', 5000, 1)".to_owned(),
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO recipients (audience, place, chat) SELECT 99, i, '2010' || (1000000 + i) || '@c.us' FROM n".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    let job =
        "  tick: { cron: \"* * * * * *\", to: \"201000000007\", text: \"{{ nominal | iso }}\", overlap: allow }\n";
    bench.write("jobs.yaml", &(file(maintenance) + job));
    let daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    let ticks = || {
        let page = bench.json(&["list", "--job", "tick", "--state", "sent", "--limit", "1000"]);
        page["messages"].as_array().unwrap().clone()
    };
    let sent = || ticks().len();
    until("sending has begun", LIMIT, || bench.path("log").exists() && sent() >= 2);
    let began = jiff::Timestamp::from_millisecond(now_ms()).unwrap();
    let done = bench.json(&["db", "chores", "run", "prune"]);
    assert_eq!(done["ok"], true, "{done}");
    assert!(
        done["result"].as_str().unwrap().starts_with(&format!("forgotten: messages {},", OLD - OLD / 100)),
        "{done}"
    );
    let before = sent();
    until("sending goes on", LIMIT, || sent() >= before + 2);
    let since = |m: &&Value| m["due_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() >= began;
    let late: Vec<i64> = ticks().iter().filter(since).filter_map(|m| m["late_ms"].as_i64()).collect();
    println!(
        "pruned in {} ms beside {} sends; the latest left {:?} ms after its instant",
        done["took_ms"],
        late.len(),
        late.iter().max()
    );
    assert!(late.iter().all(|l| *l < 100), "{late:?}");
    drop(daemon);
    let left = |table: &'static str| format!("SELECT count(*) FROM {table}");
    let mut counts = Vec::new();
    for statement in [
        "SELECT count(*) FROM messages WHERE state = 'failed'".to_owned(),
        "SELECT count(*) FROM messages WHERE job IS NULL".to_owned(),
        left("recipients WHERE audience = 99"),
        left("audiences WHERE id = 99"),
    ] {
        let n: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&mut connection).await.unwrap();
        counts.push(n);
    }
    assert_eq!(counts, [OLD / 100, OLD / 100, 0, 0]);
    let again = bench.json(&["db", "chores", "run", "prune"]);
    assert!(again["result"].as_str().unwrap().starts_with("forgotten: messages 0,"), "{again}");
    assert_eq!(bench.json(&["db", "check"])["ok"], true);
}

#[tokio::test]
async fn a_day_in_figures_is_kept_when_its_messages_are_forgotten() {
    let bench = Bench::new();
    // Not by the clock, whenever this runs.
    let hour = (now_ms() / 3_600_000 + 12).rem_euclid(24);
    bench.write("jobs.yaml", &file(&format!("maintenance: {{ report: \"5 {hour} * * *\" }}")));
    run_to_end(&bench);
    let mut connection = connect(&bench).await;
    let yesterday = now_ms() - 86_400_000;
    sqlx::query("UPDATE messages SET due_at = ?1").bind(yesterday).execute(&mut connection).await.unwrap();
    let report = || bench.json(&["db", "chores", "run", "report"])["result"].as_str().unwrap().to_owned();
    let said = report();
    assert!(said.contains("messages due 1 (1 sent)"), "{said}");
    sqlx::query("DELETE FROM acks").execute(&mut connection).await.unwrap();
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 1);
    assert!(report().contains("messages due 0"));
    let days = bench.json(&["stats", "--days", "9"])["days"].as_array().unwrap().clone();
    let kept: Vec<&Value> = days.iter().filter(|d| d["messages"].as_i64().unwrap() > 0).collect();
    assert_eq!(kept.len(), 1, "{days:?}");
    assert_eq!(
        (&kept[0]["messages"], &kept[0]["states"]["sent"], &kept[0]["states"]["failed"]),
        (&Value::from(1), &Value::from(1), &Value::from(0))
    );
}

#[test]
fn what_a_pace_or_a_frequency_counts_is_not_forgotten_and_no_file_asks_for_it() {
    let bench = Bench::new();
    let written = |rest: &str, keep: &str| {
        bench.write(
            "jobs.yaml",
            &format!(
                "version: 1\ntimezone: UTC\nmaintenance: {{ prune: {{ keep: {keep} }} }}\ninstances:\n  shop: {{ gateway: sandbox }}\n  \
                 capped: {{ gateway: sandbox, pacing: {{ per_day: 2 }} }}\ndefaults: {{ typing: off }}\njobs:\n{rest}"
            ),
        );
    };
    let jobs = "  day: { in: 100ms, instance: capped, to: [\"201000000001\", \"201000000002\", \"201000000003\"], text: hi }\n  \
                often: { in: 100ms, instance: shop, to: \"201000000004\", text: hi, frequency: { at_most: 1, within: 7d } }\n  \
                free: { in: 100ms, instance: shop, to: \"201000000005\", text: hi }\n";
    written(jobs, "2h");
    let refused = bench.run(&["check", "jobs.yaml", "--sandbox"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("the frequency of job 'often' counts"), "{said}");
    let capped = "  day: { in: 100ms, instance: capped, to: \"201000000001\", text: hi }\n";
    written(capped, "2h");
    let refused = bench.run(&["check", "jobs.yaml", "--sandbox"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("the pacing of 'capped' counts"), "{said}");
    written(jobs, "7d");
    let daemon = bench.start_sandboxed("{}\n");
    let count = |state: &str| bench.messages().iter().filter(|m| m["state"] == state).count();
    until("four are sent", LIMIT, || bench.log().contains(" ready ms=") && count("sent") == 4);
    // Only what counts for nothing goes.
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 1);
    drop(daemon);
    let log = bench.log().len();
    let _daemon = bench.start_sandboxed("{}\n");
    until("it is ready again", LIMIT, || bench.log()[log..].contains(" ready ms="));
    let waits =
        bench.json(&["list", "--job", "day", "--state", "scheduled"])["messages"][0]["id"].as_str().unwrap().to_owned();
    let gates = bench.json(&["explain", &waits])["gates"].to_string();
    assert!(gates.contains("per_day"), "{gates}");
    process::pause(Duration::from_millis(1_500));
    assert_eq!(count("sent"), 3, "the day has its two, and the other counts still");
}

#[test]
fn what_was_forgotten_of_a_campaign_is_not_sent_again_when_its_job_changes() {
    let bench = Bench::new();
    let written = |text: &str| {
        bench.write(
            "jobs.yaml",
            &format!(
                "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: sandbox, pacing: {{ gap: 4s }} }}\n\
                 defaults: {{ typing: off }}\njobs:\n  \
                 campaign: {{ in: 100ms, to: [\"201000000001\", \"201000000002\", \"201000000003\"], text: {text} }}\n"
            ),
        );
    };
    written("one");
    let _daemon = bench.start_sandboxed("{}\n");
    let count = |state: &str| bench.messages().iter().filter(|m| m["state"] == state).count();
    until("two are sent", LIMIT, || bench.log().contains(" ready ms=") && count("sent") == 2);
    // The second holds the pace still.
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 1);
    written("two");
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
    until("the third is sent", LIMIT, || count("sent") == 2 && count("scheduled") == 0);
    process::pause(Duration::from_secs(5));
    let mut sent: Vec<String> = bench
        .journal()
        .into_iter()
        .filter(|l| l.done && l.path.ends_with("/send/text"))
        .map(|l| l.chat.chars().take(12).collect())
        .collect();
    sent.sort();
    assert_eq!(sent, ["201000000001", "201000000002", "201000000003"]);
}

#[test]
fn a_daemon_takes_no_new_text_for_one_that_was_forgotten() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &file(""));
    let _daemon = bench.start_sandboxed("{}\n");
    let sent = || bench.messages().iter().filter(|m| m["state"] == "sent").count();
    until("the job is sent", LIMIT, || bench.log().contains(" ready ms=") && sent() == 1);
    let send = |chat: &str, text: &str| bench.json(&["send", "--to", chat, "--text", text, "--instance", "shop"]);
    send("201000000002", "one");
    until("the first is sent", LIMIT, || sent() == 2);
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 2);
    send("201000000003", "two");
    until("the second is sent", LIMIT, || sent() == 1);
    let journal = std::fs::read_to_string(bench.path("journal")).unwrap();
    let texts: std::collections::BTreeSet<String> = journal
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap()["text_sha256"].as_str().unwrap_or("").to_owned())
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(texts.len(), 3, "hi, one and two: {journal}");
}

#[test]
fn two_chores_never_run_at_once() {
    let bench = Bench::new();
    bench.write("jobs.yaml", &file("maintenance: { tidy: off }"));
    run_to_end(&bench);
    let lock = std::fs::File::options().create(true).append(true).open(bench.path("db.chores")).unwrap();
    lock.lock().unwrap();
    let refused = bench.run(&["db", "chores", "run", "tidy"]);
    assert_eq!(refused.status.code(), Some(75), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(chore(&bench, "tidy")["last"], Value::Null);
    lock.unlock().unwrap();
    assert!(bench.run(&["db", "chores", "run", "tidy"]).status.success());
}
