//! The jobs file: what was written becomes what is meant, or every error of it in one run.

pub(crate) mod content;
mod event;
mod exclude;
mod feasible;
mod finding;
mod follow;
mod instance;
mod job;
mod list;
mod live;
mod maintenance;
mod manner;
mod opt_out;
mod pacing;
pub(crate) mod read;
mod recipients;
mod schedule;
mod secret;
pub(crate) mod tree;
mod whereabouts;
mod window;

use std::path::{Path, PathBuf};

use crate::clock;
use crate::config::read::Reading;
use crate::config::tree::{Node, Value};
use crate::domain::chore::Chore;
use crate::domain::id::InstanceName;
use crate::domain::job::Manner;
use crate::domain::time::{Millis, Timestamp};
use crate::gateway::Kind;
use crate::store::InstanceRow;

pub use content::content_from_json;
pub use finding::{ConfigError, Finding};
pub use instance::InstanceSettings;
pub use job::JobSettings;
pub use live::Joiners;
pub use recipients::{Recipients, Source};

/// Largest jobs file, in bytes.
const FILE_LIMIT: u64 = 5 * 1024 * 1024;

/// Most jobs in a file.
const JOBS_LIMIT: usize = 100_000;

/// The version of the jobs file this program reads.
const VERSION: &str = "1";

/// A jobs file as it is meant.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// The database in which its lists of contacts stand.
    pub lists: Option<PathBuf>,
    /// The zone of jobs that name none.
    pub zone: String,
    /// Whether the file named it; otherwise it is the system's.
    pub zone_given: bool,
    /// The accounts.
    pub instances: Vec<InstanceSettings>,
    /// The instance of jobs and commands that name none.
    pub default_instance: Option<InstanceName>,
    /// The manner of jobs that say nothing else.
    pub defaults: Manner,
    /// The jobs, as they stand.
    pub jobs: Vec<JobSettings>,
    /// The daemon's own settings.
    pub daemon: DaemonSettings,
    /// The daemon's chores; their patterns are read in `zone`.
    pub maintenance: Vec<Chore>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Finding>,
}

/// How the daemon runs.
#[derive(Clone, Debug, Default)]
pub struct DaemonSettings {
    /// How long open sends may take when it stops; `None` = [`DEFAULT_SHUTDOWN`].
    pub shutdown: Option<Millis>,
    /// Where it listens: an address, or `off`.
    pub listen: Option<String>,
}

/// How long open sends may take when the daemon stops, unless the file says otherwise.
pub const DEFAULT_SHUTDOWN: Millis = Millis::seconds(20);

/// Reads a jobs file. With `sandbox`, unset secrets are fine: nothing will leave the machine. `lists` is the database in
/// which its lists of contacts stand; reading one needs the program's runtime.
///
/// # Errors
/// [`ConfigError`] with every error found.
pub fn load(path: &Path, sandbox: bool, lists: Option<&Path>, now: Timestamp) -> Result<Settings, ConfigError> {
    let env = |name: &str| std::env::var(name).ok();
    let whole = |message: String, hint: Option<&str>| {
        let (file, hint) = (path.display().to_string(), hint.map(str::to_owned));
        ConfigError(vec![Finding { file, line: 0, column: 0, message, hint }])
    };
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            whole("there is no such file".to_owned(), Some("name a jobs file, such as jobs.example.yaml"))
        }
        _ => whole(format!("the file cannot be read: {e}"), Some("check its permissions")),
    })?;
    if meta.is_dir() {
        return Err(whole("this is a folder, not a jobs file".to_owned(), None));
    }
    if !meta.is_file() {
        return Err(whole("this is not a regular file".to_owned(), None));
    }
    if meta.len() > FILE_LIMIT {
        return Err(whole(
            format!("the file has {} bytes; the limit is {FILE_LIMIT}", meta.len()),
            Some("put recipients into a CSV file"),
        ));
    }
    let bytes = std::fs::read(path)
        .map_err(|e| whole(format!("the file cannot be read: {e}"), Some("check its permissions")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        let mut error = whole("the file is not UTF-8".to_owned(), None);
        error.0[0].line = line;
        error
    })?;
    parse(path, &text, &env, (sandbox, lists), now)
}

/// Reads the text of a jobs file as [`load`] does; `path` names it in errors and is where relative paths start from.
///
/// # Errors
/// [`ConfigError`] with every error found.
pub fn parse(
    path: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    (sandbox, lists): (bool, Option<&Path>),
    now: Timestamp,
) -> Result<Settings, ConfigError> {
    let mut reading = Reading::new(path, env, sandbox);
    reading.lists = lists.map(Path::to_owned);
    let root = match tree::parse(text.trim_start_matches('\u{feff}')) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let root = Node { line: 0, column: 0, value: Value::Null };
            reading.error(&root, "the file is empty", Some("it begins with `version: 1`".to_owned()));
            return Err(ConfigError(reading.errors));
        }
        Err(e) => {
            let root = Node { line: e.line, column: e.column, value: Value::Null };
            // Inside { … } a brace ends a plain text, so `${VAR}` cannot stand there.
            let in_braces = text.lines().nth(e.line.saturating_sub(1)).is_some_and(|l| l.contains("${"));
            let hint = "inside { … } write { env: VAR } instead of ${VAR}, or give the key a line of its own";
            reading.error(&root, e.message, in_braces.then(|| hint.to_owned()));
            return Err(ConfigError(reading.errors));
        }
    };
    let settings = reading.settings(path, &root, now);
    match settings {
        Some(settings) if reading.errors.is_empty() => Ok(Settings { warnings: reading.warnings, ..settings }),
        _ => {
            reading.errors.sort_by(|a, b| {
                (a.file != reading.file, &a.file, a.line, a.column).cmp(&(
                    b.file != reading.file,
                    &b.file,
                    b.line,
                    b.column,
                ))
            });
            Err(ConfigError(reading.errors))
        }
    }
}

/// Reads an instance back from the form in which the database keeps it.
///
/// # Errors
/// [`ConfigError`] naming the secret that is missing.
pub fn stored_instance(row: &InstanceRow, sandbox: bool) -> Result<InstanceSettings, ConfigError> {
    let env = |name: &str| std::env::var(name).ok();
    let path = PathBuf::from(format!("instance '{}' in the database", row.name));
    let text = serde_json::json!({ &*row.name.0: row.definition }).to_string();
    let mut reading = Reading::new(&path, &env, sandbox);
    let found = match tree::parse(&text) {
        Ok(Some(root)) => reading.instances(&root).0.pop(),
        _ => None,
    };
    match found {
        Some(instance) if reading.errors.is_empty() => Ok(instance),
        _ => Err(ConfigError(reading.errors)),
    }
}

impl Reading<'_> {
    fn settings(&mut self, path: &Path, root: &Node, now: Timestamp) -> Option<Settings> {
        let known = ["version", "timezone", "instances", "defaults", "jobs", "daemon", "maintenance"];
        let map = self.map(root, "the file", &known, &[])?;
        match map.get("version") {
            None => {
                self.error(root, "the file does not say its version", Some("begin it with `version: 1`".to_owned()));
            }
            Some(node) => {
                if let Some(v) = self.text(node, "version").filter(|v| v != VERSION) {
                    let hint = "write `version: 1`".to_owned();
                    self.error(node, format!("version '{v}' is not one this program reads"), Some(hint));
                }
            }
        }
        let mut zone = clock::system_zone_name();
        if let Some(node) = map.get("timezone")
            && let Some(name) = self.text(node, "timezone")
            && let Some((name, _)) = self.zone_named(node, &name)
        {
            zone = name;
        }
        let (instances, declared) = match map.get("instances") {
            Some(node) => self.instances(node),
            None => {
                self.error(
                    root,
                    "the file declares no instances",
                    Some("instances: { shop: { gateway: wawp, … } }".to_owned()),
                );
                (Vec::new(), Vec::new())
            }
        };
        let (default_instance, defaults) = self.defaults(map.get("defaults"), &declared, &zone);
        let around = job::Around {
            declared: &declared,
            instances: &instances,
            default_instance: default_instance.as_ref(),
            defaults: &defaults,
            zone: &zone,
            now,
        };
        let jobs = map.get("jobs").map_or_else(Vec::new, |node| self.jobs(node, &around));
        self.warn_of_the_impossible(&jobs, &instances, now);
        let daemon = map.get("daemon").map_or_else(DaemonSettings::default, |n| self.daemon(n));
        let maintenance = self.maintenance(map.get("maintenance"));
        if let Some(node) = map.get("maintenance") {
            self.keeps_what_counts(node, &maintenance, &instances, &jobs);
        }
        Some(Settings {
            path: path.to_owned(),
            lists: self.lists.clone(),
            zone,
            zone_given: map.get("timezone").is_some(),
            instances,
            default_instance,
            defaults,
            jobs,
            daemon,
            maintenance,
            warnings: Vec::new(),
        })
    }

    fn defaults(
        &mut self,
        node: Option<&Node>,
        declared: &[(InstanceName, Kind)],
        zone: &str,
    ) -> (Option<InstanceName>, Manner) {
        let nothing = (None, Manner::default());
        let Some(node) = node else { return nothing };
        let known: Vec<&str> = manner::KEYS.iter().copied().chain(["instance"]).collect();
        let Some(map) = self.map(node, "defaults", &known, &[]) else {
            return nothing;
        };
        let mut name = None;
        if let Some(n) = map.get("instance")
            && let Some(text) = self.text(n, "instance")
        {
            if declared.iter().any(|(n, _)| *n.0 == *text) {
                name = Some(InstanceName::new(&text));
            } else {
                self.unknown_instance(n, &text, declared);
            }
        }
        let zone = clock::zone(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        (name, self.manner(&map, &Manner::default(), &zone))
    }

    fn jobs(&mut self, node: &Node, around: &job::Around<'_>) -> Vec<JobSettings> {
        let named = self.named(node, "jobs");
        if named.len() > JOBS_LIMIT {
            self.error(node, format!("the file holds {} jobs; the limit is {JOBS_LIMIT}", named.len()), None);
            return Vec::new();
        }
        let mut jobs = Vec::with_capacity(named.len());
        jobs.extend(named.into_iter().filter_map(|(name, _, value)| self.job(name, value, around)));
        jobs
    }

    fn daemon(&mut self, node: &Node) -> DaemonSettings {
        let mut settings = DaemonSettings::default();
        let Some(map) = self.map(node, "daemon", &["shutdown", "listen"], &[]) else { return settings };
        if let Some(n) = map.get("shutdown") {
            settings.shutdown = self.duration_in(n, "daemon.shutdown", Millis::ZERO, Millis::seconds(3_600));
        }
        if let Some(n) = map.get("listen") {
            settings.listen = self.text(n, "daemon.listen");
            if let Some(text) = settings.listen.as_deref().filter(|t| !is_listen(t)) {
                let hint = "such as 127.0.0.1:8080, or off".to_owned();
                self.error(n, format!("daemon.listen cannot be '{text}'"), Some(hint));
            }
        }
        settings
    }
}

/// Whether a text says where to listen.
pub fn is_listen(text: &str) -> bool {
    text == "off" || text.parse::<std::net::SocketAddr>().is_ok()
}
