//! The power cut again and again under a running daemon: an ext4 file system on a loop device is shut down as by a pulled
//! plug, so that whatever was not flushed is gone. Then it is mounted anew and the daemon started again.
//!
//! Needs root, a loop device, `mkfs.ext4` and perl; without them it says so and is skipped. `CUTS=n` says how often (5 by
//! default), `SEED=n` by which draws.

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

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use accounts::accounts;
use onthedot::domain::draw::Draw;
use onthedot::domain::job::OnDoubt;
use process::{Bench, Running, pause, until};
use supply::{Supply, gateway};

const LIMIT: Duration = Duration::from_secs(120);

fn quiet(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

/// A file system of its own in a file.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn make(bench: &Bench) -> Option<Disk> {
        let disk = Disk { image: bench.path("image"), at: bench.path("disk") };
        std::fs::create_dir_all(&disk.at).unwrap();
        std::fs::File::create(&disk.image).unwrap().set_len(96 * 1024 * 1024).unwrap();
        let made = quiet("mkfs.ext4", &["-q", "-F", disk.image.to_str().unwrap()]);
        (made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        quiet("mount", &["-o", "loop", self.image.to_str().unwrap(), self.at.to_str().unwrap()])
    }

    /// `EXT4_IOC_SHUTDOWN` without flushing the journal: what is not on the disk by now is gone.
    fn cut(&self) {
        let script = "open(F, '<', $ARGV[0]) or die; my $how = pack('L', 2); ioctl(F, 0x8004587d, $how) or die";
        assert!(quiet("perl", &["-e", script, self.at.to_str().unwrap()]), "the power cannot be cut");
    }

    fn mount_again(&self) {
        until("the dead file system lets go", LIMIT, || quiet("umount", &[self.at.to_str().unwrap()]));
        assert!(self.mount(), "the file system mounts again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        quiet("umount", &["-l", self.at.to_str().unwrap()]);
    }
}

fn start(bench: &Bench, database: &Path) -> Running {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(bench.path("log")).unwrap();
    let mut command = bench.command_on(database, &["run", "jobs.yaml", "--listen", "off"]);
    Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

/// Stops a process in the instant the power goes: a program does not outlive its disk by the moments the kernel needs to
/// shut that down, in which a flush may still seem to succeed. A flush that is on its way is left to its fate.
fn freeze(process: &Running) {
    let id = process.0.id().to_string();
    assert!(quiet("kill", &["-STOP", &id]));
    until("no thread runs", LIMIT, || {
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let state = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            stat.rsplit_once(") ")?.1.chars().next()
        };
        tasks.filter_map(state).all(|s| matches!(s, 'T' | 'D'))
    });
}

/// Lets the daemon run until nothing waits and everything in doubt was looked at.
fn calm(bench: &Bench, database: &Path) {
    let _daemon = start(bench, database);
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = bench.command_on(database, arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let waits = || {
        let stats = json(&["--json", "stats"]);
        let of = |state: &str| stats["states"][state].as_i64().unwrap_or(1);
        of("scheduled") + of("typing") + of("sending")
    };
    until("everything came to rest", LIMIT, || {
        if waits() > 0 {
            return false;
        }
        let doubts = json(&["--json", "doubt", "list", "--limit", "1000"]);
        let looked = doubts["messages"].as_array().is_some_and(|l| l.iter().all(|m| m["next_look_at"].is_null()));
        // A doubt that was proved unsent between the two is no doubt any more, and about to be sent.
        looked && waits() == 0
    });
}

#[test]
fn a_power_cut_loses_nothing_and_sends_nothing_twice() {
    let bench = Bench::new();
    let Some(disk) = Disk::make(&bench) else {
        println!("SKIPPED: power cuts need root, a loop device, mkfs.ext4 and perl");
        return;
    };
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (cuts, seed) = (number("CUTS", 5), number("SEED", 3));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    bench.write("scenario.yaml", "doing: 0ms..20ms\nanswering: 0ms..10ms\nacks: { levels: [] }\n");
    let (_gateway, url) = gateway(&bench);
    bench.write("jobs.yaml", &supply::jobs_file(&url));
    let database = disk.at.join("db");
    std::os::unix::fs::symlink(&database, bench.path("db")).unwrap();
    let draw = Draw::new(seed, "cuts");
    let (mut made, mut held) = (0, 0);
    let add = |made: &mut u64, n: u64, span: i64| {
        runtime.block_on(async {
            let mut supply = Supply::open_at(&database, seed, OnDoubt::Hold).await;
            supply.go_on_from(*made);
            supply.add(n, span).await;
            supply.close().await;
        });
        *made += n;
    };
    add(&mut made, supply::CHATS, 0);
    calm(&bench, &database);
    for n in 0..cuts {
        let number = i64::try_from(n).unwrap();
        add(&mut made, 3, draw.with_text("spread").with_number(number).between(0, 250));
        let mut daemon = start(&bench, &database);
        let life = draw.with_text("life").with_number(number).between(60, 400);
        pause(Duration::from_millis(u64::try_from(life).unwrap()));
        freeze(&daemon);
        disk.cut();
        let _ = daemon.0.kill();
        daemon.0.wait().unwrap();
        disk.mount_again();
        held += usize::from(bench.log().matches("was set back or copied").count() > 0);
    }
    calm(&bench, &database);
    let found = runtime.block_on(accounts(&bench));
    println!("seed {seed}: {cuts} cuts, {}", found.told());
    found.assert_clean();
    assert_eq!((found.twice, held), (0, 0), "{}", found.told());
    assert_eq!(u64::try_from(found.messages).unwrap(), made, "every message that was stored is there");
}
