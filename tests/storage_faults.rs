//! What a full disk, a failing one, another program's lock and a restored file do to a running daemon. Each part is real: a
//! small tmpfs, strace's fault injection, SQLite itself.
//!
//! `ROUNDS=n` says how often the disk is filled (3 by default). Filling needs root and injection needs strace: where either
//! is missing the test says so and is skipped.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/accounts.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod accounts;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use accounts::accounts;
use onthedot::domain::job::OnDoubt;
use onthedot::domain::time::Millis;
use onthedot::store::{Opening, SqliteStore};
use process::{Bench, Running, now_ms, pause, until};
use supply::{Supply, gateway};

const LIMIT: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A bench with a gateway, a jobs file and a first message that went through.
fn begin(bench: &Bench, scenario: &str) -> Running {
    bench.write("scenario.yaml", scenario);
    let (gateway, url) = gateway(bench);
    bench.write("jobs.yaml", &supply::jobs_file(&url));
    gateway
}

fn start(bench: &Bench) -> Running {
    bench.start(&["run", "jobs.yaml", "--listen", "off"])
}

fn count(bench: &Bench, state: &str) -> i64 {
    bench.json(&["stats"])["states"][state].as_i64().unwrap()
}

fn sends(bench: &Bench) -> usize {
    bench.journal().iter().filter(|l| l.path == "/v2/send/text").count()
}

/// A tmpfs of some size, unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Fills a disk to its last byte.
fn fill(at: &Path) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(at).unwrap();
    for size in [65_536, 4_096, 1] {
        let piece = vec![b'x'; size];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn a_full_disk_stops_sends_before_their_mark_and_heals_by_itself() {
    let bench = Bench::new();
    let Some(_disk) = SmallDisk::mount(&bench.path("disk"), "40m") else {
        println!("SKIPPED: a full disk needs root, for a tmpfs of its own");
        return;
    };
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    let runtime = runtime();
    let _gateway = begin(&bench, "answering: 300ms..300ms\n");
    // The database is on the small disk; everything else is beside it.
    std::os::unix::fs::symlink(bench.path("disk/db"), bench.path("db")).unwrap();
    let disk_db = bench.path("disk/db");
    let run = |bench: &Bench| {
        let log = fs::OpenOptions::new().create(true).append(true).open(bench.path("log")).unwrap();
        let mut command = bench.command_on(&disk_db, &["run", "jobs.yaml", "--listen", "off"]);
        Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    };
    let mut supply = runtime.block_on(Supply::open_at(&disk_db, 1, OnDoubt::Hold));
    let mut slowest = 0;
    for round in 0..rounds {
        // A daemon that stopped in order left no log behind, so that each round must find room for a new one.
        let mut daemon = run(&bench);
        until("the daemon is ready", LIMIT, || bench.log().matches(" ready ms=").count() > round);
        // Some are out when the disk fills up, others come due while it is full.
        runtime.block_on(supply.add(40, 1_500));
        pause(Duration::from_millis(500));
        fill(&bench.path("disk/filler"));
        until("the daemon says that there is no room", LIMIT, || {
            bench.log().matches("nothing is sent until there is room").count() > round
        });
        pause(Duration::from_millis(1_200));
        let asked = sends(&bench);
        assert!(count_at(&bench, &disk_db, "scheduled") >= 0, "reading goes on");
        pause(Duration::from_millis(600));
        assert_eq!(sends(&bench), asked, "nothing is sent while no mark can be written");
        fs::remove_file(bench.path("disk/filler")).unwrap();
        let freed = now_ms();
        until("everything is sent", LIMIT, || {
            count_at(&bench, &disk_db, "sent") == i64::try_from(40 * (round + 1)).unwrap()
        });
        let sent_first = bench.journal().iter().filter(|l| l.received_ms > freed).map(|l| l.received_ms).min();
        let waited = sent_first.map_or(0, |t| t - freed);
        assert!(waited <= 5_000, "it took {waited} ms to go on");
        slowest = slowest.max(waited);
        assert!(Command::new("kill").args(["-TERM", &daemon.0.id().to_string()]).status().unwrap().success());
        assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    }
    runtime.block_on(supply.close());
    let found = runtime.block_on(accounts(&bench));
    found.assert_clean();
    assert_eq!((found.twice, found.in_doubt), (0, 0), "{}", found.told());
    println!("{rounds} full disks, sending again {slowest} ms after there was room: {}", found.told());
}

fn count_at(bench: &Bench, database: &Path, state: &str) -> i64 {
    let output = bench.command_on(database, &["--json", "stats"]).output().unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    stats["states"][state].as_i64().unwrap()
}

#[test]
fn a_flush_that_fails_ends_the_process_and_loses_nothing() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: failing flushes need strace");
        return;
    }
    let runtime = runtime();
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [read], first: 0ms }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    assert!(bench.run(&supply::SANDBOX_RUN).status.success());
    let most: usize = std::env::var("FLUSHES").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let mut ended = 0;
    for n in 1..=most {
        runtime.block_on(supply.add(3, 300));
        let inject = format!("inject=fdatasync,fsync:error=EIO:when={n}");
        let plain = bench.command(&supply::SANDBOX_RUN);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", &inject]);
        traced.arg(plain.get_program()).args(plain.get_args()).current_dir(bench.folder.path());
        let output = traced.output().unwrap();
        let (code, told) = (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
        if told.contains("the storage of the database") {
            ended += 1;
            assert_eq!(code, Some(74), "flush {n}: {told}");
        } else {
            assert!(matches!(code, Some(0 | 4 | 74)), "flush {n}: {code:?} {told}");
        }
    }
    assert!(ended > 0, "no flush of the database failed");
    // What was out when a flush failed stays in doubt: the gateway ended with the process, and its history too.
    assert!(matches!(bench.run(&supply::SANDBOX_RUN).status.code(), Some(0 | 4)));
    assert_eq!((count(&bench, "scheduled"), count(&bench, "sending")), (0, 0));
    runtime.block_on(supply.close());
    let found = runtime.block_on(accounts(&bench));
    found.assert_clean();
    assert_eq!(found.twice, 0, "{}", found.told());
    println!("{ended} of {most} flushes ended the process: {}", found.told());
}

#[test]
fn another_program_s_lock_is_waited_out_and_loses_nothing() {
    let runtime = runtime();
    let bench = Bench::new();
    let _gateway = begin(&bench, "acks: { levels: [] }\n");
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    let _daemon = start(&bench);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    runtime.block_on(supply.add(20, 500));
    let other = runtime.block_on(lock(&bench));
    pause(Duration::from_secs(7));
    runtime.block_on(unlock(other));
    until("everything is sent", LIMIT, || count(&bench, "sent") == 20);
    assert!(bench.log().contains("another program holds the database"));
    runtime.block_on(supply.close());
    let found = runtime.block_on(accounts(&bench));
    found.assert_clean();
    assert_eq!(found.sent, 20, "{}", found.told());
}

/// Another program's connection, which holds the database.
async fn lock(bench: &Bench) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    other
}

async fn unlock(mut other: sqlx::SqliteConnection) {
    use sqlx::Connection;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

#[test]
fn a_mark_that_waits_for_another_program_s_lock_is_dropped_with_the_daemon_that_wanted_it() {
    let runtime = runtime();
    let bench = Bench::new();
    let _gateway = begin(&bench, "acks: { levels: [] }\n");
    bench.write("jobs.yaml", &(fs::read_to_string(bench.path("jobs.yaml")).unwrap() + "daemon: { shutdown: 1s }\n"));
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    let mut daemon = start(&bench);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    runtime.block_on(supply.add_later(5, 1_000));
    let other = runtime.block_on(lock(&bench));
    until("the marks wait", LIMIT, || bench.log().contains("another program holds the database"));
    terminate(&daemon);
    until("the daemon gives up", LIMIT, || bench.log().contains("did not finish in time"));
    runtime.block_on(unlock(other));
    until("the daemon has ended", LIMIT, || daemon.0.try_wait().unwrap().is_some());
    assert_eq!((sends(&bench), count(&bench, "sending"), count(&bench, "in_doubt")), (0, 0, 0));
    let _daemon = start(&bench);
    until("everything is sent", LIMIT, || count(&bench, "sent") == 5);
    runtime.block_on(supply.close());
    let found = runtime.block_on(accounts(&bench));
    found.assert_clean();
    assert_eq!((found.sent, found.twice), (5, 0), "{}", found.told());
}

fn terminate(daemon: &Running) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// A connection of another program, which reads what was there when it began.
async fn reader(bench: &Bench) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
    let mut reader = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::query("SELECT count(*) FROM messages").fetch_all(&mut reader).await.unwrap();
    reader
}

#[test]
fn the_log_is_cut_to_its_bound_once_a_reader_that_kept_it_lets_go() {
    use sqlx::Connection;
    const MIB: u64 = 1024 * 1024;
    let bench = Bench::new();
    runtime().block_on(async {
        let store = SqliteStore::open(&bench.path("db"), Opening::Beside).await.unwrap();
        let mut reader = reader(&bench).await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
        let mut writer = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("CREATE TABLE ballast (b)").execute(&mut writer).await.unwrap();
        for _ in 0..80 {
            sqlx::query("INSERT INTO ballast VALUES (randomblob(1048576))").execute(&mut writer).await.unwrap();
        }
        let kept = store.checkpoint().await.unwrap();
        assert!(kept.left > 0 && kept.bytes > 64 * MIB, "a reader still needs it: {kept:?}");
        sqlx::query("ROLLBACK").execute(&mut reader).await.unwrap();
        let cut = store.checkpoint().await.unwrap();
        assert!(cut.left == 0 && cut.bytes <= 64 * MIB, "nobody needs it any more: {cut:?}");
        reader.close().await.unwrap();
        writer.close().await.unwrap();
        store.close().await;
    });
}

#[test]
fn a_restored_backup_comes_up_held_and_sends_nothing_twice() {
    let runtime = runtime();
    let bench = Bench::new();
    let _gateway = begin(&bench, "acks: { levels: [] }\n");
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    let mut daemon = start(&bench);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    // Ten leave after the backup was made, ten are due much later.
    runtime.block_on(supply.add_from(Millis(500), 10, 1_000));
    runtime.block_on(supply.add_later(10, 3_600_000));
    assert!(bench.run(&["db", "backup", "copy"]).status.success());
    until("ten are sent", LIMIT, || count(&bench, "sent") == 10);
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    runtime.block_on(supply.close());
    // A restore that is cut off leaves the database as it was, with everything it knew.
    for point in ["kept_aside", "log_removed"] {
        let cut = bench.command(&["db", "restore", "copy"]).env("ONTHEDOT_CRASH_AT", point).output().unwrap();
        assert!(cut.status.code().is_none(), "{point}: {}", String::from_utf8_lossy(&cut.stderr));
        assert_eq!((count(&bench, "sent"), count(&bench, "scheduled")), (10, 10), "{point}");
    }
    let restored = bench.run(&["db", "restore", "copy"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let _daemon = start(&bench);
    until("the daemon is ready again", LIMIT, || bench.log().matches(" ready ms=").count() >= 2);
    pause(Duration::from_millis(1_500));
    assert_eq!(sends(&bench), 10, "nothing is sent before somebody says how to go on");
    assert_eq!((count(&bench, "held"), count(&bench, "scheduled")), (10, 10));
    let refused = bench.run(&["resume"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("10 messages may have gone out already"));
    assert!(bench.run(&["resume", "--after-restore"]).status.success());
    pause(Duration::from_millis(1_500));
    assert_eq!(sends(&bench), 10, "what may have gone out stays held");
    // A restart does not ask again.
    drop(_daemon);
    let _daemon = start(&bench);
    until("the daemon is ready once more", LIMIT, || bench.log().matches(" ready ms=").count() >= 3);
    assert_eq!(bench.log().matches("was set back or copied").count(), 1);
    let note = bench.json(&["list", "--state", "held"]);
    assert_eq!(note["messages"][0]["reason"], "restored");
}
