//! The rules of a time zone change between two runs: what was planned by the old ones moves, and it is said.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::path::{Path, PathBuf};
use std::process::Output;

use jiff::ToSpan;
use process::Bench;
use serde_json::Value;

/// Copies the files of zones, but for the two other forms of the tree.
fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            if name != "right" && name != "posix" {
                copy_tree(&path, &to.join(name));
            }
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

struct Trees {
    bench: Bench,
    old: PathBuf,
    new: PathBuf,
}

fn trees() -> Option<Trees> {
    let system = Path::new("/usr/share/zoneinfo");
    if !system.join("Europe/Berlin").exists() {
        println!("SKIPPED: this machine has no database of time zones (apt-get install tzdata)");
        return None;
    }
    let bench = Bench::new();
    let (old, new) = (bench.path("old"), bench.path("new"));
    copy_tree(system, &old);
    copy_tree(system, &new);
    // Berlin's clocks show New York's time from now on.
    std::fs::copy(system.join("America/New_York"), new.join("Europe/Berlin")).unwrap();
    Some(Trees { bench, old, new })
}

impl Trees {
    fn run(&self, tree: &Path, arguments: &[&str]) -> Output {
        let output = self.bench.command(arguments).env("TZDIR", tree).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn daemon(&self, tree: &Path) -> String {
        let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"];
        String::from_utf8_lossy(&self.run(tree, &run).stderr).into_owned()
    }

    fn waiting(&self, job: &str) -> Vec<Value> {
        let all = self.bench.messages();
        all.into_iter().filter(|m| m["job"] == job && m["state"] == "scheduled").collect()
    }
}

fn hour(message: &Value) -> &str {
    &message["due_at"].as_str().unwrap()[11..16]
}

/// A day half a year away, on which neither zone changes its clocks.
fn far_day() -> jiff::civil::Date {
    let now = jiff::Timestamp::from_millisecond(process::now_ms()).unwrap();
    let date = now.to_zoned(jiff::tz::TimeZone::UTC).date().checked_add(180.days()).unwrap();
    // The same summer or winter time in both, whenever this runs.
    jiff::civil::date(date.year(), if (5..=9).contains(&date.month()) { 7 } else { 1 }, 15)
}

#[test]
fn when_the_rules_of_a_zone_change_what_was_planned_moves_and_it_is_said() {
    let Some(trees) = trees() else { return };
    let day = far_day();
    let year = day.year() + 1;
    let (month, summer) = (day.month(), day.month() == 7);
    let file = format!(
        "version: 1
timezone: UTC
instances: {{ shop: {{ gateway: sandbox }} }}
defaults: {{ typing: off }}
jobs:
  moves: {{ cron: \"0 10 15 {month} *\", timezone: Europe/Berlin, to: [\"201000000001\", \"201000000002\"], text: a }}
  stays: {{ cron: \"0 10 15 {month} *\", timezone: Asia/Tokyo, to: \"201000000003\", text: b }}
  civil: {{ at: {year}-{month:02}-15T10:00, timezone: Europe/Berlin, to: \"201000000004\", text: c }}
  every: {{ every: 300d, timezone: Europe/Berlin, to: \"201000000005\", text: d }}
"
    );
    trees.bench.write("jobs.yaml", &file);
    let log = trees.daemon(&trees.old);
    assert!(log.contains(&format!("zones of {}", trees.old.display())), "{log}");
    assert!(!log.contains("moves from"), "{log}");
    let (berlin, new_york) = if summer { ("08:00", "14:00") } else { ("09:00", "15:00") };
    assert_eq!(trees.waiting("moves").iter().map(hour).collect::<Vec<_>>(), [berlin; 2]);
    assert_eq!(trees.waiting("civil").iter().map(hour).collect::<Vec<_>>(), [berlin]);
    let (tokyo, every) = (trees.waiting("stays"), trees.waiting("every"));

    let log = trees.daemon(&trees.new);
    assert!(log.contains("job moves: ") && log.contains("-15 10:00 moves from "), "{log}");
    assert!(!log.contains("job stays: ") && !log.contains("job every: "), "{log}");
    assert_eq!(trees.waiting("moves").iter().map(hour).collect::<Vec<_>>(), [new_york; 2]);
    assert_eq!(trees.waiting("civil").iter().map(hour).collect::<Vec<_>>(), [new_york], "the file is read anew");
    assert_eq!((trees.waiting("stays"), trees.waiting("every")), (tokyo, every), "nothing else was touched");
    let replaced =
        trees.bench.messages().into_iter().find(|m| m["job"] == "moves" && m["state"] == "cancelled").unwrap();
    assert_eq!(replaced["reason"], "replaced");
    let shown = trees.bench.json(&["show", replaced["id"].as_str().unwrap()]);
    let notes: Vec<&str> = shown["events"].as_array().unwrap().iter().filter_map(|e| e["note"].as_str()).collect();
    assert!(notes.iter().any(|n| n.contains(":00 moves from ") && n.contains("Europe/Berlin")), "{notes:?}");

    let before = trees.bench.messages();
    assert!(!trees.daemon(&trees.new).contains("moves from"), "a second run moves nothing");
    assert_eq!(trees.bench.messages(), before);

    // A command that applies the file beside moves it too, and says so.
    let apply = trees.run(&trees.old, &["job", "apply", "jobs.yaml", "--sandbox"]);
    assert!(String::from_utf8_lossy(&apply.stderr).contains("job moves: "), "{apply:?}");
    // And so does a daemon that has no file.
    let log =
        String::from_utf8(trees.run(&trees.old, &["run", "--sandbox", "--listen", "off", "--until-idle=1s"]).stderr);
    assert!(!log.unwrap().contains("moves from"));
    assert_eq!(trees.waiting("moves").iter().map(hour).collect::<Vec<_>>(), [berlin; 2]);
    let log =
        String::from_utf8(trees.run(&trees.new, &["run", "--sandbox", "--listen", "off", "--until-idle=1s"]).stderr);
    assert!(log.unwrap().contains("job moves: "));
    assert_eq!(trees.waiting("moves").iter().map(hour).collect::<Vec<_>>(), [new_york; 2]);
}

#[test]
fn a_running_daemon_reads_changed_zone_files_anew_on_sighup() {
    let Some(trees) = trees() else { return };
    let day = far_day();
    let (year, month) = (day.year() + 1, day.month());
    trees.bench.write(
        "jobs.yaml",
        &format!(
            "version: 1
timezone: Europe/Berlin
instances: {{ shop: {{ gateway: sandbox }} }}
jobs:
  moves: {{ cron: \"0 10 15 {month} *\", to: \"201000000001\", text: a }}
  civil: {{ at: {year}-{month:02}-15T10:00, to: \"201000000002\", text: b }}
"
        ),
    );
    let log = std::fs::File::create(trees.bench.path("log")).unwrap();
    let mut command = trees.bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off"]);
    let child = command.env("TZDIR", &trees.old).stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap();
    let daemon = process::Running(child);
    let both = || (trees.waiting("moves"), trees.waiting("civil"));
    let limit = std::time::Duration::from_secs(20);
    process::until("both are planned", limit, || {
        trees.bench.log().contains("ready") && both().0.len() == 1 && both().1.len() == 1
    });
    let before = both();
    // As an update of the system does it: the file is replaced while the daemon runs.
    std::fs::rename(trees.new.join("Europe/Berlin"), trees.old.join("Europe/Berlin")).unwrap();
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    process::until("both moved six hours", limit, || {
        let now = both();
        let moved = |old: &[Value], new: &[Value]| {
            let ms = |m: &Value| m["due_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
            old.len() == 1 && new.len() == 1 && ms(&new[0]) - ms(&old[0]) == 6 * 3_600_000
        };
        moved(&before.0, &now.0) && moved(&before.1, &now.1)
    });
    assert!(trees.bench.log().contains("job moves: "), "{}", trees.bench.log());
}

#[test]
fn check_and_doctor_tell_which_zones_are_in_use() {
    let Some(trees) = trees() else { return };
    trees.bench.write("jobs.yaml", "version: 1\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    let zones = format!("zones of {}", trees.new.display());
    for command in [&["--json", "check", "jobs.yaml", "--sandbox"][..], &["--json", "doctor"]] {
        let document: Value = serde_json::from_slice(&trees.run(&trees.new, command).stdout).unwrap();
        assert!(document["zones"].as_str().unwrap().starts_with(&zones), "{document}");
    }
    for command in [&["check", "jobs.yaml", "--sandbox"][..], &["doctor"]] {
        assert!(String::from_utf8_lossy(&trees.run(&trees.new, command).stdout).contains(&zones));
    }
}
