//! Real processes on a real file: the daemon, the sandbox gateway, commands, and what they leave behind.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a database, a jobs file and a journal.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
}

/// A process that is killed when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One line of the sandbox's journal.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) received_ms: i64,
    pub(crate) done: bool,
    pub(crate) path: String,
    pub(crate) chat: String,
    /// The id of the account it came with.
    pub(crate) instance: String,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A command on this bench's database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_on(&self.path("db"), arguments)
    }

    /// A command on a database elsewhere.
    pub(crate) fn command_on(&self, database: &Path, arguments: &[&str]) -> Command {
        // A long run may name a binary of its own, which no build replaces meanwhile.
        let own = std::env::var_os("ONTHEDOT_BIN");
        let mut command = Command::new(own.unwrap_or_else(|| env!("CARGO_BIN_EXE_onthedot").into()));
        command.arg("--db").arg(database).args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).env_remove("ONTHEDOT_CONFIG").env_remove("ONTHEDOT_DB");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The JSON document of a command that must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts the daemon and lets it run.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(arguments);
        Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Starts the daemon on `jobs.yaml` with the embedded sandbox, its scenario and its journal.
    pub(crate) fn start_sandboxed(&self, scenario: &str) -> Running {
        self.write("scenario.yaml", scenario);
        let played = ["--sandbox", "--scenario", "scenario.yaml", "--journal", "journal"];
        self.start(&[&["run", "jobs.yaml", "--listen", "127.0.0.1:0"], &played[..]].concat())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// All messages.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut arguments = vec!["list", "--limit", "1000"];
            if let Some(c) = &cursor {
                arguments.extend(["--cursor", c]);
            }
            let page = self.json(&arguments);
            all.extend(page["messages"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return all,
            }
        }
    }

    /// Posts a webhook without a signature to the daemon. Answers the status.
    pub(crate) fn post_hook(&self, instance: &str, body: &str) -> u16 {
        let log = self.log();
        let line = log.lines().find(|l| l.contains("listening for webhooks")).unwrap();
        let address = line.split("address=").nth(1).unwrap().trim();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = body.len();
        let head = format!(
            "POST /hooks/{instance} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The journal of the sandbox.
    pub(crate) fn journal(&self) -> Vec<Line> {
        read_journal(&self.path("journal"))
    }
}

pub(crate) fn read_journal(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|l| {
            let v: Value = serde_json::from_str(l).unwrap();
            Line {
                received_ms: v["received_ms"].as_i64().unwrap(),
                done: !v["done_ms"].is_null(),
                path: v["path"].as_str().unwrap().to_owned(),
                chat: v["chat"].as_str().unwrap_or("").to_owned(),
                instance: v["instance_id"].as_str().unwrap_or("").to_owned(),
            }
        })
        .collect()
}

/// Looks again and again until something is true; a test against real processes has no other way to wait.
#[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
pub(crate) fn until(what: &str, limit: Duration, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < limit, "{what} did not happen within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "the test lets another process run for a while")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// An instant of the wall clock in ms.
pub(crate) fn now_ms() -> i64 {
    onthedot::clock::now().0
}
