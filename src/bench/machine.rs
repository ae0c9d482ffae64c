//! The folder, and the processes in it: one for the gateway, one for the daemon.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bench::supply::instance;
use crate::clock;
use crate::domain::time::Millis;
use crate::store::StoreError;

/// What is longer than any scenario takes.
const LONGEST: Millis = Millis::seconds(600);

/// How often it is looked at whether something has happened.
const LOOK: Millis = Millis(5);

/// Why a scenario could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The folder, or a file in it, cannot be made or read.
    #[error("{doing} in {folder}: {source}", folder = folder.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// Where.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A process cannot be started.
    #[error("the {who} cannot be started: {source}")]
    Start {
        /// Which one.
        who: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A process ended by itself.
    #[error("the {who} ended by itself; its last words: {words}")]
    Ended {
        /// Which one.
        who: &'static str,
        /// The end of its log.
        words: String,
    },
    /// Something did not happen.
    #[error("{what} did not happen within {LONGEST}")]
    TooLong {
        /// What was waited for.
        what: &'static str,
    },
    /// Only the sandbox's journal tells it.
    #[error("{what} is read from the sandbox's journal: it cannot be measured with another gateway")]
    NeedsSandbox {
        /// What is measured.
        what: &'static str,
    },
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where scenarios run and with how much.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The folder in which each run makes one of its own: its disk is measured.
    pub folder: PathBuf,
    /// Messages of a scenario.
    pub messages: u64,
    /// How long scenarios take that have so many messages each second.
    pub seconds: u32,
    /// Messages in flight at a time: the concurrency of the instance.
    pub in_flight: u32,
    /// Where a server on this machine speaks Wawp, in place of the sandbox.
    pub gateway: Option<String>,
    /// Messages due another day, where it is not as many as the scenario says.
    pub behind: Option<u64>,
    /// Instances over which the messages are spread.
    pub instances: u32,
}

/// A folder that is gone when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path("db")
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), BenchError> {
        std::fs::write(self.path(name), text).map_err(|e| self.error("writing a file", e))
    }

    pub(super) fn read(&self, name: &str) -> Result<String, BenchError> {
        std::fs::read_to_string(self.path(name)).map_err(|e| self.error("reading a file", e))
    }

    fn error(&self, doing: &'static str, source: std::io::Error) -> BenchError {
        BenchError::Folder { doing, folder: self.0.clone(), source }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Bench {
    /// Where messages go: to another server if one is given, else to a sandbox that runs until it is dropped.
    pub(super) fn gateway(&self, folder: &Folder) -> Result<(Option<Running>, String), BenchError> {
        match &self.gateway {
            Some(url) => Ok((None, url.clone())),
            None => Running::gateway(folder, false, None).map(|(running, url)| (Some(running), url)),
        }
    }

    /// The sandbox with its journal.
    pub(super) fn journaled(
        &self,
        folder: &Folder,
        what: &'static str,
        hooks: Option<&Hooks>,
    ) -> Result<(Running, String), BenchError> {
        match self.gateway {
            Some(_) => Err(BenchError::NeedsSandbox { what }),
            None => Running::gateway(folder, true, hooks),
        }
    }

    /// A folder for one run.
    pub(super) fn folder(&self) -> Result<Folder, BenchError> {
        let folder = Folder(self.folder.join(format!("onthedot-bench-{}-{}", std::process::id(), clock::now().0)));
        std::fs::create_dir(&folder.0).map_err(|e| folder.error("making a folder", e))?;
        Ok(folder)
    }
}

/// The variable that holds the key of webhooks.
const HOOK_SECRET: &str = "ONTHEDOT_BENCH_HOOK_SECRET";

/// Where the daemon takes webhooks.
pub(super) struct Hooks {
    address: String,
    url: String,
}

impl Hooks {
    /// At a port that nobody uses now.
    pub(super) fn new(folder: &Folder) -> Result<Hooks, BenchError> {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = taken.map_err(|e| folder.error("finding a free port", e))?.to_string();
        Ok(Hooks { url: format!("http://{address}/hooks/{}", instance(0)), address })
    }

    /// The same, but they are posted to another process.
    pub(super) fn posted_to(self, url: &str) -> Hooks {
        Hooks { url: format!("{url}/hooks"), ..self }
    }
}

/// A process that is killed when it is dropped.
pub(super) struct Running {
    child: Child,
    who: &'static str,
    log: PathBuf,
}

fn start(folder: &Folder, who: &'static str, arguments: &[&str], stdout: Stdio) -> Result<Running, BenchError> {
    let cannot = |source| BenchError::Start { who, source };
    let log = folder.path(who);
    let stderr = std::fs::File::create(&log).map_err(cannot)?;
    let child = Command::new(std::env::current_exe().map_err(cannot)?)
        .arg("--db")
        .arg(folder.database())
        .args(arguments)
        .current_dir(&folder.0)
        .env("RUST_LOG", "warn")
        .env(HOOK_SECRET, "bench")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(cannot)?;
    Ok(Running { child, who, log })
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// The sandbox gateway in a process of its own, and where it listens. It keeps a journal where one is asked for.
    fn gateway(folder: &Folder, journal: bool, hooks: Option<&Hooks>) -> Result<(Running, String), BenchError> {
        let levels = if hooks.is_some() { "device" } else { "" };
        folder.write("scenario.yaml", &format!("acks: {{ levels: [{levels}] }}\n"))?;
        let mut arguments = vec!["--json", "sandbox", "--listen", "127.0.0.1:0", "--scenario", "scenario.yaml"];
        if journal {
            arguments.extend(["--journal", "journal"]);
        }
        if let Some(hooks) = hooks {
            arguments.extend(["--hook", &hooks.url, "--hook-secret-env", HOOK_SECRET]);
        }
        Running::sandbox(folder, "gateway", &arguments)
    }

    /// A sandbox that takes no webhooks, and answers each with 404.
    pub(super) fn elsewhere(folder: &Folder) -> Result<(Running, String), BenchError> {
        Running::sandbox(folder, "elsewhere", &["--json", "sandbox", "--listen", "127.0.0.1:0"])
    }

    fn sandbox(folder: &Folder, who: &'static str, arguments: &[&str]) -> Result<(Running, String), BenchError> {
        let mut running = start(folder, who, arguments, Stdio::piped())?;
        let told = running.child.stdout.take().map(BufReader::new);
        let line = told.and_then(|lines| lines.lines().map_while(Result::ok).find(|line| line.contains("url")));
        match line.and_then(|line| line.split('"').nth(3).map(str::to_owned)) {
            Some(url) => Ok((running, url)),
            None => Err(running.ended()),
        }
    }

    /// The daemon.
    pub(super) fn daemon(folder: &Folder, hooks: Option<&Hooks>) -> Result<Running, BenchError> {
        let listen = hooks.map_or("off", |hooks| &hooks.address);
        start(folder, "daemon", &["run", "jobs.yaml", "--listen", listen], Stdio::null())
    }

    /// An import of a file, for another day.
    pub(super) fn import(folder: &Folder, file: &str) -> Result<Running, BenchError> {
        let arguments =
            ["import", file, "--job", "guests", "--config", "jobs.yaml", "--in", "30d", "--text", "Hi {{ name }}"];
        start(folder, "import", &arguments, Stdio::null())
    }

    /// Waits until it ends by itself, as it should.
    pub(super) async fn end(&mut self) -> Result<(), BenchError> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(None) => clock::sleep(LOOK).await,
                Ok(Some(_)) | Err(_) => return Err(self.ended()),
            }
        }
    }

    fn ended(&self) -> BenchError {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let words: Vec<&str> = log.lines().rev().take(3).collect();
        BenchError::Ended { who: self.who, words: words.into_iter().rev().collect::<Vec<_>>().join(" / ") }
    }

    /// Waits until something is so, as long as the process runs.
    pub(super) async fn until(
        &mut self,
        what: &'static str,
        mut is_so: impl AsyncFnMut() -> Result<bool, BenchError>,
    ) -> Result<(), BenchError> {
        let waited = clock::Stopwatch::start();
        while !is_so().await? {
            if self.child.try_wait().ok().flatten().is_some() {
                return Err(self.ended());
            }
            if waited.elapsed() > LONGEST {
                return Err(BenchError::TooLong { what });
            }
            clock::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Processor time so far, in microseconds, where the system tells it.
    pub(super) fn cpu_us(&self) -> Option<u64> {
        let stat = self.proc("stat")?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// Its memory at its highest, in KiB, where the system tells it.
    pub(super) fn memory_kib(&self) -> Option<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    fn proc(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(Path::new("/proc").join(self.child.id().to_string()).join(name)).ok()
    }
}

/// The beginning of a jobs file with instances at a gateway, or all of one without jobs.
pub(super) fn jobs_file(url: &str, instances: u32, in_flight: u32, hooks: Option<&Hooks>) -> String {
    let webhook = hooks.map(|_| format!(", webhook: {{ secret: {{ env: {HOOK_SECRET} }} }}")).unwrap_or_default();
    let mut text = "version: 1\ntimezone: UTC\ninstances:\n".to_owned();
    for number in 0..instances {
        let name = instance(number);
        text += &format!(
            "  {name}: {{ gateway: wawp, base_url: \"{url}\", instance_id: {name}, access_token: bench, \
             pacing: {{ concurrency: {in_flight} }}{webhook} }}\n"
        );
    }
    text
}
