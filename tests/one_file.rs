//! A database is one file: gone it is not taken for a new one, under a running daemon it is missed at once, and under none of
//! its names does a second daemon run on it. Processes and files are real. A bind mount needs root: where it cannot be made,
//! the test says so and is skipped.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use onthedot::domain::job::OnDoubt;
use onthedot::store::{Opening, SqliteStore};
use process::{Bench, Running, until};
use supply::{Supply, gateway};

const LIMIT: Duration = Duration::from_secs(60);

/// How long a daemon may take to miss its file and end.
const MISSED_WITHIN: Duration = Duration::from_secs(2);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn count_at(bench: &Bench, database: &Path, state: &str) -> i64 {
    let output = bench.command_on(database, &["--json", "stats"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    stats["states"][state].as_i64().unwrap()
}

fn sends(bench: &Bench) -> usize {
    bench.journal().iter().filter(|l| l.path == "/v2/send/text").count()
}

/// How much is paused.
fn pauses(bench: &Bench) -> usize {
    runtime().block_on(async {
        let store = SqliteStore::open(&bench.path("db"), Opening::Reading).await.unwrap();
        let pauses = store.pauses(onthedot::clock::now()).await.unwrap().len();
        store.close().await;
        pauses
    })
}

/// A bench whose database has sent three messages and was closed in order.
fn used(runtime: &tokio::runtime::Runtime) -> Bench {
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [] }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    runtime.block_on(supply.add(3, 0));
    runtime.block_on(supply.close());
    let ran = bench.run(&supply::SANDBOX_RUN);
    assert!(ran.status.success() && sends(&bench) == 3, "{}", said(&ran));
    bench
}

/// Every command that would make a database refuses to, and nothing stands in its place afterwards that did not before.
fn assert_refused(bench: &Bench, how: &str) {
    bench.write("people.csv", "to\n201000000001\n");
    bench.write("other.yaml", &supply::jobs_file("http://127.0.0.1:1"));
    let bytes = || fs::metadata(bench.path("db")).ok().map(|m| m.len());
    let before = bytes();
    let commands: [&[&str]; 6] = [
        &supply::SANDBOX_RUN,
        &["send", "--to", "201000000001", "--text", "hello", "--instance", "shop"],
        &["import", "people.csv", "--job", "new", "--text", "hello", "--instance", "shop"],
        &["job", "apply", "other.yaml"],
        &["pause"],
        &["list"],
    ];
    for command in commands {
        let refused = bench.run(command);
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(74), "{how}, {command:?}: {said}");
        for way in ["Put the file back", "db restore", &bench.path("db.witness").display().to_string()] {
            assert!(said.contains(way), "{how}, {command:?}: {way} in {said}");
        }
    }
    assert_eq!(bytes(), before, "{how}: nothing was made");
}

#[test]
fn a_database_that_is_gone_beside_its_used_witness_is_refused_until_it_is_back() {
    let runtime = runtime();
    let bench = used(&runtime);
    assert!(bench.run(&["db", "backup", "copy"]).status.success());
    fs::rename(bench.path("db"), bench.path("aside")).unwrap();
    assert_refused(&bench, "removed");
    bench.write("db", "");
    assert_refused(&bench, "emptied");
    runtime.block_on(async {
        use sqlx::Connection;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db"));
        let mut bare = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("PRAGMA user_version = 7").execute(&mut bare).await.unwrap();
        bare.close().await.unwrap();
    });
    assert!(fs::metadata(bench.path("db")).unwrap().len() > 0);
    assert_refused(&bench, "without tables");
    // Each of the ways out leads out.
    fs::rename(bench.path("aside"), bench.path("db")).unwrap();
    assert!(bench.run(&supply::SANDBOX_RUN).status.success(), "it is back");
    assert_eq!(pauses(&bench), 0);
    fs::remove_file(bench.path("db")).unwrap();
    let restored = bench.run(&["db", "restore", "copy"]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert!(bench.run(&supply::SANDBOX_RUN).status.success());
    fs::remove_file(bench.path("db")).unwrap();
    fs::rename(bench.path("db.witness"), bench.path("witness")).unwrap();
    assert!(bench.run(&supply::SANDBOX_RUN).status.success(), "anew");
    assert_eq!((sends(&bench), count_at(&bench, &bench.path("db"), "sent")), (3, 0));
}

#[test]
fn a_database_that_is_gone_beside_a_witness_that_says_nothing_is_refused() {
    let bench = used(&runtime());
    fs::remove_file(bench.path("db")).unwrap();
    for witness in ["", "garbage\n"] {
        bench.write("db.witness", witness);
        assert_refused(&bench, &format!("witness {witness:?}"));
    }
}

#[test]
fn a_symbolic_link_whose_file_is_gone_is_refused_until_a_backup_stands_there() {
    let bench = used(&runtime());
    assert!(bench.run(&["db", "backup", "copy"]).status.success());
    fs::create_dir(bench.path("volume")).unwrap();
    let (link, volume) = (bench.path("link"), bench.path("volume/db"));
    std::os::unix::fs::symlink(&volume, &link).unwrap();
    let on_link = |arguments: &[&str]| bench.command_on(&link, arguments).output().unwrap();
    bench.write("other.yaml", &supply::jobs_file("http://127.0.0.1:1"));
    let send = ["send", "--to", "201000000001", "--text", "hello", "--instance", "shop"];
    for command in [&supply::SANDBOX_RUN[..], &send, &["job", "apply", "other.yaml"], &["pause"], &["list"]] {
        let refused = on_link(command);
        assert_eq!(refused.status.code(), Some(74), "{command:?}: {}", said(&refused));
        assert!(said(&refused).contains("db restore"), "{command:?}: {}", said(&refused));
    }
    assert_eq!(fs::read_dir(bench.path("volume")).unwrap().count(), 0, "nothing was made");
    let restored = on_link(&["db", "restore", "copy"]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(on_link(&supply::SANDBOX_RUN).status.success());
    assert_eq!((sends(&bench), count_at(&bench, &link, "sent")), (3, 3));
}

#[test]
fn a_name_that_sqlite_takes_for_no_path_is_refused_before_anything_is_opened_or_made() {
    let bench = used(&runtime());
    let names = |bench: &Bench| {
        let mut names: Vec<_> = fs::read_dir(bench.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&bench);
    let uri = format!("file:{}", bench.path("db").display());
    let read_only = format!("{uri}?mode=ro");
    let send = ["send", "--to", "201000000001", "--text", "hello", "--instance", "shop"];
    let restore = ["db", "restore", "db"];
    for name in [&uri, &read_only, &format!("sqlite:{uri}"), "file:db", ":memory:", "", "file:///db"] {
        for command in [&supply::SANDBOX_RUN[..], &send, &["pause"], &["list"], &["db", "migrate"], &restore] {
            let refused = bench.command_on(Path::new(name), command).output().unwrap();
            assert_eq!(refused.status.code(), Some(78), "{name} {command:?}: {}", said(&refused));
            assert!(said(&refused).contains("give a path"), "{name} {command:?}: {}", said(&refused));
        }
    }
    assert_eq!(bench.run(&["db", "backup", "file:copy"]).status.code(), Some(78));
    assert_eq!(bench.run(&["db", "restore", &uri]).status.code(), Some(78));
    assert_eq!((names(&bench), pauses(&bench)), (before, 0));
}

#[test]
fn a_backup_from_before_the_first_start_comes_up_held() {
    let runtime = runtime();
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [] }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    runtime.block_on(supply.add(3, 0));
    assert!(bench.run(&["db", "backup", "copy"]).status.success());
    runtime.block_on(supply.close());
    assert!(bench.run(&supply::SANDBOX_RUN).status.success());
    assert!(bench.run(&["db", "restore", "copy"]).status.success());
    let ran = bench.run(&supply::SANDBOX_RUN);
    assert!(said(&ran).contains("was set back or copied"), "{}", said(&ran));
    assert_eq!((sends(&bench), count_at(&bench, &bench.path("db"), "held")), (3, 3));
}

#[test]
fn a_log_whose_file_is_gone_is_kept() {
    let runtime = runtime();
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [] }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    assert!(bench.run(&["db", "backup", "copy"]).status.success());
    runtime.block_on(supply.add_later(3, 3_600_000));
    // Its file is taken from under the writer, as a machine does that dies.
    for file in ["db", "db-wal"] {
        fs::copy(bench.path(file), bench.path(&format!("dead-{file}"))).unwrap();
    }
    runtime.block_on(supply.close());
    let log = fs::read(bench.path("dead-db-wal")).unwrap();
    assert!(!log.is_empty());
    fs::remove_file(bench.path("db")).unwrap();
    fs::rename(bench.path("dead-db-wal"), bench.path("db-wal")).unwrap();
    for there in [false, true] {
        if there {
            bench.write("db", "");
        }
        let refused = bench.run(&supply::SANDBOX_RUN);
        assert_eq!(refused.status.code(), Some(74), "{}", said(&refused));
        assert!(said(&refused).contains("db-wal"), "{}", said(&refused));
        assert_eq!(fs::read(bench.path("db-wal")).unwrap(), log, "SQLite would have removed it");
    }
    let restored = bench.json(&["db", "restore", "copy"]);
    assert_eq!(fs::read(restored["kept"].as_str().unwrap()).unwrap(), log, "{restored}");
    assert_eq!(count_at(&bench, &bench.path("db"), "scheduled"), 0, "the log was not played into the backup");
}

/// A daemon that has sent three messages, with the gateway it sends to.
fn running(runtime: &tokio::runtime::Runtime) -> (Bench, Running, Running) {
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [] }\n");
    let (gateway, url) = gateway(&bench);
    bench.write("jobs.yaml", &supply::jobs_file(&url));
    let mut supply = runtime.block_on(Supply::open(&bench, 1, OnDoubt::Hold));
    let daemon = bench.start(&["run", "jobs.yaml", "--listen", "off"]);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    runtime.block_on(supply.add(3, 0));
    until("three are sent", LIMIT, || count_at(&bench, &bench.path("db"), "sent") == 3);
    runtime.block_on(supply.add_later(5, 3_600_000));
    runtime.block_on(supply.close());
    (bench, gateway, daemon)
}

#[expect(clippy::disallowed_methods, reason = "the test times another process")]
fn assert_missed(bench: &Bench, daemon: &mut Running, how: &str) {
    let began = Instant::now();
    until("the daemon ends", LIMIT, || daemon.0.try_wait().unwrap().is_some());
    let took = began.elapsed();
    assert_eq!(daemon.0.wait().unwrap().code(), Some(74), "{how}: {}", bench.log());
    assert!(took < MISSED_WITHIN, "{how}: it took {took:?}");
    assert!(bench.log().contains("db restore"), "{how}: {}", bench.log());
    println!("{how}: missed after {} ms", took.as_millis());
}

#[test]
fn a_database_deleted_or_moved_under_a_daemon_is_missed_within_a_second() {
    let runtime = runtime();
    let (bench, _gateway, mut daemon) = running(&runtime);
    fs::remove_file(bench.path("db")).unwrap();
    assert_missed(&bench, &mut daemon, "deleted");
    assert_eq!(bench.run(&["run", "jobs.yaml", "--listen", "off"]).status.code(), Some(74));
    let (bench, _gateway, mut daemon) = running(&runtime);
    fs::rename(bench.path("db"), bench.path("moved")).unwrap();
    assert_missed(&bench, &mut daemon, "moved away");
    assert_eq!(fs::metadata(bench.path("db-wal")).map_or(0, |m| m.len()), 0, "no log is left for another file");
    assert_eq!(count_at(&bench, &bench.path("moved"), "scheduled"), 5, "whoever moved it has it whole");
    fs::rename(bench.path("moved"), bench.path("db")).unwrap();
    let back = bench.run(&["run", "jobs.yaml", "--listen", "off", "--until-idle=100ms"]);
    assert!(back.status.success() && !said(&back).contains("set back"), "{}", said(&back));
    assert_eq!(sends(&bench), 3);
}

#[test]
fn a_database_replaced_or_emptied_under_a_daemon_is_missed_within_a_second() {
    let runtime = runtime();
    let (bench, _gateway, mut daemon) = running(&runtime);
    assert!(bench.run(&["db", "backup", "copy"]).status.success());
    fs::rename(bench.path("copy"), bench.path("db")).unwrap();
    assert_missed(&bench, &mut daemon, "replaced");
    let (bench, _gateway, mut daemon) = running(&runtime);
    fs::OpenOptions::new().write(true).open(bench.path("db")).unwrap().set_len(0).unwrap();
    assert_missed(&bench, &mut daemon, "emptied");
    assert_eq!(bench.run(&["run", "jobs.yaml", "--listen", "off"]).status.code(), Some(74));
    let (bench, _gateway, mut daemon) = running(&runtime);
    fs::remove_file(bench.path("db-wal")).unwrap();
    assert_missed(&bench, &mut daemon, "its log deleted");
    assert_eq!(count_at(&bench, &bench.path("db"), "scheduled"), 5, "what stood in the log is in the file");
}

/// A file mounted at a second place; unmounted when dropped.
struct BindMount(std::path::PathBuf);

impl BindMount {
    fn mount(file: &Path, at: &Path) -> Option<BindMount> {
        fs::write(at, "").unwrap();
        let mut mount = Command::new("mount");
        mount.arg("--bind").arg(file).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then(|| BindMount(at.to_owned()))
    }
}

impl Drop for BindMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A second daemon at another name of a first one's file is refused, and the first sends all that comes while it is.
fn assert_one_daemon(bench: &Bench, supply: &mut Supply, first: &Running, name: &Path) {
    let runtime = runtime();
    let before = count_at(bench, &bench.path("db"), "sent");
    runtime.block_on(supply.add(5, 1_000));
    let second =
        bench.command_on(name, &["run", "jobs.yaml", "--listen", "off", "--until-idle=100ms"]).output().unwrap();
    assert_eq!(second.status.code(), Some(75), "{}: {}", name.display(), said(&second));
    assert!(said(&second).contains(&format!("pid {}", first.0.id())), "{}", said(&second));
    until("the first sends on", LIMIT, || count_at(bench, &bench.path("db"), "sent") == before + 5);
    assert_eq!(pauses(bench), 0, "{}", name.display());
}

#[test]
fn a_second_daemon_is_refused_under_every_name_of_the_file_and_the_first_goes_on() {
    let runtime = runtime();
    let (bench, _gateway, first) = running(&runtime);
    let mut supply = runtime.block_on(Supply::open(&bench, 2, OnDoubt::Hold));
    fs::create_dir(bench.path("other")).unwrap();
    std::os::unix::fs::symlink("../db", bench.path("other/symbolic")).unwrap();
    assert_one_daemon(&bench, &mut supply, &first, &bench.path("other/symbolic"));
    fs::hard_link(bench.path("db"), bench.path("other/hard")).unwrap();
    assert_one_daemon(&bench, &mut supply, &first, &bench.path("other/hard"));
    // Neither does a command: it would keep a log of its own.
    for command in [
        &["list"][..],
        &["send", "--to", "201000000001", "--text", "hello", "--instance", "shop"],
        &["db", "restore", "copy"],
    ] {
        let refused = bench.command_on(&bench.path("other/hard"), command).output().unwrap();
        assert_eq!(refused.status.code(), Some(78), "{command:?}: {}", said(&refused));
    }
    assert!(!bench.path("other/hard-wal").exists());
    fs::remove_file(bench.path("other/hard")).unwrap();
    let Some(_mount) = BindMount::mount(&bench.path("db"), &bench.path("other/mounted")) else {
        println!("SKIPPED: a bind mount needs root");
        return;
    };
    assert_one_daemon(&bench, &mut supply, &first, &bench.path("other/mounted"));
    let refused = bench.command_on(&bench.path("other/mounted"), &["list"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
    runtime.block_on(supply.close());
}

#[test]
fn a_command_at_the_plain_name_of_a_file_that_a_daemon_has_by_a_mount_is_refused() {
    let runtime = runtime();
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [] }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    bench.write("db", "");
    fs::create_dir(bench.path("other")).unwrap();
    let mounted = bench.path("other/mounted");
    let Some(_mount) = BindMount::mount(&bench.path("db"), &mounted) else {
        println!("SKIPPED: a bind mount needs root");
        return;
    };
    let log = fs::File::create(bench.path("log")).unwrap();
    let mut run = bench.command_on(&mounted, &["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    let daemon = Running(run.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    let refused = bench.run(&["list"]);
    assert_eq!(refused.status.code(), Some(75), "{}", said(&refused));
    assert!(said(&refused).contains(&format!("pid {}", daemon.0.id())), "{}", said(&refused));
    assert_eq!(count_at(&bench, &mounted, "scheduled"), 0, "the name in use is used by commands too");
    drop(daemon);
    drop(runtime);
}

#[test]
fn a_copy_holds_itself_and_a_second_name_is_not_taken_for_one() {
    let runtime = runtime();
    let bench = used(&runtime);
    fs::create_dir(bench.path("other")).unwrap();
    fs::copy(bench.path("db"), bench.path("other/copy")).unwrap();
    let copy = bench.command_on(&bench.path("other/copy"), &supply::SANDBOX_RUN).output().unwrap();
    assert!(said(&copy).contains("was set back or copied"), "{}", said(&copy));
    fs::hard_link(bench.path("db"), bench.path("other/second")).unwrap();
    let second = bench.command_on(&bench.path("other/second"), &supply::SANDBOX_RUN).output().unwrap();
    assert_eq!(second.status.code(), Some(78), "{}", said(&second));
    let first = bench.run(&supply::SANDBOX_RUN);
    assert!(first.status.success() && said(&first).contains("another name"), "{}", said(&first));
    assert_eq!(pauses(&bench), 0);
}

#[test]
fn a_database_is_the_same_through_a_symbolic_link_and_at_its_place() {
    let runtime = runtime();
    let bench = Bench::new();
    bench.write("scenario.yaml", "acks: { levels: [] }\n");
    bench.write("jobs.yaml", supply::SANDBOX_JOBS);
    for folder in ["real", "link"] {
        fs::create_dir(bench.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink("../real/db", bench.path("link/db")).unwrap();
    let (real, link) = (bench.path("real/db"), bench.path("link/db"));
    let refused = bench.command_on(&link, &supply::SANDBOX_RUN).output().unwrap();
    assert_eq!(refused.status.code(), Some(74), "the link leads to nothing yet: {}", said(&refused));
    let mut supply = runtime.block_on(Supply::open_at(&real, 1, OnDoubt::Hold));
    runtime.block_on(supply.add(3, 0));
    runtime.block_on(supply.close());
    for (n, name) in [&link, &real, &link].into_iter().enumerate() {
        let ran = bench.command_on(name, &supply::SANDBOX_RUN).output().unwrap();
        assert!(ran.status.success() && !said(&ran).contains("set back"), "run {n}: {}", said(&ran));
        assert_eq!((sends(&bench), count_at(&bench, name, "sent")), (3, 3), "run {n}");
    }
    let beside: Vec<_> = fs::read_dir(bench.path("link")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(beside, ["db"], "what belongs to the database stands beside its file");
    assert!(bench.path("real/db.witness").exists() && bench.path("real/db.lock").exists());
    // A restore puts the backup in the place of the file, not of the link.
    let on_link = |arguments: &[&str]| bench.command_on(&link, arguments).output().unwrap();
    assert!(on_link(&["db", "backup", "copy"]).status.success());
    assert!(on_link(&["db", "restore", "copy"]).status.success());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(count_at(&bench, &real, "sent"), 3);
    // And what is gone at its place is gone through the link.
    fs::remove_file(&real).unwrap();
    assert_eq!(on_link(&supply::SANDBOX_RUN).status.code(), Some(74));
}
