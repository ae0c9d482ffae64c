//! Applying a file anew beside a running daemon: all of it or nothing.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/broken.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod broken;
#[path = "support/dump.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod dump;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use dump::{difference, dump};
use process::{Bench, Running, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// Nothing of it is due soon, and no chore runs meanwhile.
const GOOD: &str = "version: 1
timezone: UTC
maintenance: { tidy: off, checkpoint: off, report: off }
instances: { shop: { gateway: sandbox, pacing: { gap: 1s..2s } } }
defaults: { instance: shop, typing: off }
jobs:
  once: { at: [2098-01-01T10:00, 2098-02-01T10:00], to: [\"201000000001\", \"201000000002\"], text: one }
  daily: { cron: \"0 4 29 2 *\", to: \"201000000003\", text: two }
  often: { every: 400d, to: \"201000000004\", text: three }
";

fn hang_up(daemon: &Running) {
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

fn schedules(bench: &Bench) -> Vec<Value> {
    ["once", "daily", "often"].iter().map(|job| bench.json(&["next", job])).collect()
}

fn start() -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("jobs.yaml", GOOD);
    let daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    until("everything is planned", LIMIT, || {
        bench.log().contains("ready") && bench.json(&["stats"])["states"]["scheduled"] == 6
    });
    (bench, daemon)
}

#[tokio::test]
async fn an_invalid_reload_of_each_bad_fixture_changes_no_row_and_no_schedule() {
    let (bench, daemon) = start();
    let (rows, next) = (dump(&bench.path("db")).await, schedules(&bench));
    assert!(rows["messages"].len() == 6 && rows["jobs"].len() == 3 && rows["chores"].len() == 5, "{rows:?}");
    let refused = || bench.log().matches("the jobs file has errors").count();
    let files = broken::files();
    for (n, (marked, words)) in files.iter().enumerate() {
        bench.write("jobs.yaml", &marked.replace('§', ""));
        hang_up(&daemon);
        until(&format!("the daemon refuses {marked}"), LIMIT, || refused() == n + 1);
        let apply = bench.run(&["job", "apply", "jobs.yaml"]);
        assert_eq!(apply.status.code(), Some(78), "{marked}");
        assert!(String::from_utf8_lossy(&apply.stderr).starts_with("error: "), "{marked}: {words}");
        let changed = difference(&rows, &dump(&bench.path("db")).await);
        assert!(changed.is_empty(), "{marked}: {changed:#?}\n{}", bench.log());
    }
    assert_eq!(schedules(&bench), next);
    assert!(files.len() >= 110, "{} files", files.len());

    // A good one afterwards does what it says, and nothing else.
    let good = GOOD.replace("text: two", "text: deux").replace("tidy: off", "tidy: \"3 * * * *\"").replace(
        "  often: { every: 400d, to: \"201000000004\", text: three }\n",
        "  new: { at: 2097-01-01T00:00, to: \"201000000009\", text: four }\n",
    );
    bench.write("jobs.yaml", &good);
    hang_up(&daemon);
    let states = || bench.json(&["stats"])["states"].clone();
    until("the changed job is planned anew", LIMIT, || {
        let s = states();
        s["cancelled"] == 1 && s["scheduled"] == 7
    });
    let after = dump(&bench.path("db")).await;
    assert_eq!(after["jobs"].len(), 4, "what vanished is kept");
    assert_eq!(after["instances"], rows["instances"]);
    assert_eq!(bench.json(&["db", "chores"])["chores"][4]["cron"], "3 * * * *");
    assert!(bench.log().contains("the job is no longer in the file"), "{}", bench.log());
    assert_eq!(bench.json(&["job", "show", "daily"])["content"]["text"], "deux");
    let kept = |m: &Value| m["job"] == "once" && m["state"] == "scheduled";
    assert_eq!(bench.messages().iter().filter(|m| kept(m)).count(), 4);
}

#[test]
fn what_counts_only_after_a_restart_is_said_when_a_file_is_read_anew() {
    let (bench, daemon) = start();
    let file =
        GOOD.replace("gap: 1s..2s", "gap: 3s..4s").replace("version: 1\n", "version: 1\ndaemon: { shutdown: 5s }\n");
    bench.write("jobs.yaml", &file);
    hang_up(&daemon);
    until("both are said", LIMIT, || {
        let log = bench.log();
        log.contains("it is served so after a restart") && log.contains("`daemon` of the jobs file changed")
    });
}

/// A process that ends between the swap of a file and the replacing of what waited leaves hidden messages: the next start
/// goes on where it stopped.
#[tokio::test]
async fn a_reload_that_is_cut_off_after_the_swap_is_finished_by_the_next_start() {
    use sqlx::{Connection, SqliteConnection};
    let (bench, daemon) = start();
    drop(daemon);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "UPDATE occurrences SET state = 'planning', gate_at = NULL, renew = 1 WHERE job = 'once'",
        // And a job whose removal got as far.
        "UPDATE occurrences SET state = 'planning', gate_at = NULL, renew = 1 WHERE job = 'daily'",
        "DELETE FROM jobs WHERE name = 'daily'",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    bench.write("jobs.yaml", &GOOD.replace("  daily: { cron: \"0 4 29 2 *\", to: \"201000000003\", text: two }\n", ""));
    let run = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let messages = bench.messages();
    let count = |job: &str, state: &str, reason: Option<&str>| {
        messages.iter().filter(|m| m["job"] == job && m["state"] == state && m["reason"].as_str() == reason).count()
    };
    assert_eq!(count("once", "cancelled", Some("replaced")), 4, "{messages:?}");
    assert_eq!(count("once", "scheduled", None), 4, "everybody has a new one");
    assert_eq!(count("daily", "cancelled", Some("removed")), 1);
    assert_eq!(count("often", "scheduled", None), 1);
}

/// Messages that wait and say what the job says now.
async fn of_the_job(bench: &Bench) -> i64 {
    use sqlx::{Connection, SqliteConnection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db")).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar(
        "SELECT count(*) FROM jobs AS j JOIN messages AS m ON m.job = j.name AND m.content = j.content
         WHERE m.state = 'scheduled'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

/// The planner of a running daemon sees a swapped job at once; it must not plan it around rows that are still to be
/// replaced, or whoever they belong to would get nothing.
#[tokio::test]
async fn a_large_job_changed_beside_a_daemon_has_a_new_message_for_everybody() {
    const PEOPLE: i64 = 30_000;
    let bench = Bench::new();
    let rows: Vec<String> = (0..PEOPLE).map(|n| format!("2010{n:08}")).collect();
    bench.write("people.csv", &format!("phone\n{}\n", rows.join("\n")));
    let file = |text: &str| {
        format!(
            "version: 1\ninstances: {{ shop: {{ gateway: sandbox, pacing: {{ gap: 1s..2s }} }} }}\njobs:\n  \
             a: {{ at: 2098-01-01T10:00, to: {{ csv: people.csv, chat: phone }}, text: {text} }}\n"
        )
    };
    bench.write("jobs.yaml", &file("one"));
    let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    let states = || bench.json(&["stats"])["states"].clone();
    // The first change comes while the job is being planned.
    until("planning has begun", LIMIT, || {
        bench.path("db").exists() && bench.log().contains("ready") && states()["scheduled"].as_u64().unwrap() > 0
    });
    for text in ["two", "three"] {
        let cancelled = states()["cancelled"].as_u64().unwrap();
        bench.write("jobs.yaml", &file(text));
        assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
        until("the old ones are replaced, and everybody has a new one", LIMIT, || {
            let s = states();
            s["cancelled"].as_u64().unwrap() > cancelled && s["scheduled"] == PEOPLE
        });
        assert_eq!(of_the_job(&bench).await, PEOPLE, "all of them say {text}");
    }
    assert!(bench.messages().iter().filter(|m| m["state"] == "cancelled").all(|m| m["reason"] == "replaced"));
}

#[tokio::test]
async fn a_job_that_ends_by_a_change_cut_off_leaves_no_hidden_message_behind() {
    let (bench, daemon) = start();
    drop(daemon);
    // The job ends in the past by what the file now says; its process died before what waited was replaced.
    bench.write("jobs.yaml", &GOOD.replace("every: 400d", "every: 400d, ends: 2020-01-01"));
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    for cut_off in [
        "UPDATE messages SET state = 'scheduled', reason = NULL WHERE job = 'often'",
        "UPDATE occurrences SET state = 'planning', renew = 1 WHERE job = 'often'",
    ] {
        assert_eq!(sqlx::query(cut_off).execute(&mut connection).await.unwrap().rows_affected(), 1);
    }
    sqlx::Connection::close(connection).await.unwrap();
    let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    until("it is finished", LIMIT, || {
        let list = bench.json(&["list", "--job", "often"]);
        list["messages"][0]["state"] == "cancelled" && list["messages"][0]["reason"] == "replaced"
    });
}

#[test]
fn a_recurring_job_that_is_edited_over_and_over_stays_one_occurrence_ahead() {
    let (bench, _daemon) = start();
    for n in 0..5 {
        bench.write("jobs.yaml", &GOOD.replace("text: two", &format!("text: two {n}")));
        assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
        until("it is planned anew", LIMIT, || {
            let states = bench.json(&["stats"])["states"].clone();
            states["cancelled"] == n + 1 && states["scheduled"] == 6
        });
    }
}
