//! Builds everything from settings, runs it, and stops it in order.

mod lanes;
mod parts;
mod reading;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::check;
use crate::chores::ChoresError;
use crate::clock::{self, Stopwatch};
use crate::config::{self, ConfigError, DEFAULT_SHUTDOWN, InstanceSettings, Settings};
use crate::crash_point;
use crate::domain::id::InstanceName;
use crate::domain::time::{Millis, Timestamp};
use crate::feed::Feed;
use crate::gateway::{self, Gateway};
use crate::intake::{AppliedFile, IntakeError};
use crate::recall::Recaller;
use crate::receipts::Receipts;
use crate::sandbox::scenario::Scenario;
use crate::sandbox::{Sandbox, SandboxError, SandboxOptions};
use crate::store::view::RunSummary;
use crate::store::{self, DaemonLock, Opening, SqliteStore, StoreError};
use crate::upkeep;
use crate::worker::Activity;
use crate::zones;
use parts::{Parts, Running};

/// Where the daemon listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// How often a run that ends when idle looks whether it is.
const IDLE_LOOK: Millis = Millis(100);

/// How long after the latest ack or send a run that ends when idle still waits for acks.
const ACKS_AWAITED: Millis = Millis::seconds(10);

/// How the daemon is run.
#[derive(Debug)]
pub struct DaemonOptions {
    /// The database file.
    pub database: PathBuf,
    /// The jobs file, read; without one the database's own jobs and instances are served.
    pub settings: Option<Settings>,
    /// Serve every instance by the embedded sandbox.
    pub sandbox: Option<SandboxRun>,
    /// Where to listen, as the command says: an address or `off`.
    pub listen: Option<String>,
    /// End when idle for this long.
    pub until_idle: Option<Millis>,
    /// Serve, but send nothing.
    pub passive: bool,
    /// Remove jobs that the file no longer declares.
    pub prune: bool,
    /// The revision of the jobs when the file began to be read; with none nobody could change them.
    pub revision: Option<i64>,
    /// Hangups from the program's first moment on.
    pub hangup: Option<Signal>,
    /// The seed of every draw of a new database; one that exists must have it.
    pub seed: Option<u64>,
    /// Do not doubt the clock.
    pub trust_clock: bool,
    /// Where what happens is told.
    pub feed: Feed,
    /// Called before a second signal ends the process at once: whoever changed the terminal restores it.
    pub before_abrupt_end: fn(),
}

/// How the embedded sandbox is run.
#[derive(Clone, Debug, Default)]
pub struct SandboxRun {
    /// The faults it plays.
    pub scenario: Scenario,
    /// Where its journal is appended.
    pub journal: Option<PathBuf>,
}

/// Why the daemon did not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jobs file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The HTTP client.
    #[error(transparent)]
    Client(#[from] gateway::http::ClientError),
    /// The chores.
    #[error(transparent)]
    Chores(#[from] ChoresError),
    /// The address.
    #[error("the daemon cannot listen on {0}: {1}; give another with --listen, or --listen off")]
    Listen(String, std::io::Error),
    /// Signals.
    #[error("the daemon cannot receive signals: {0}")]
    Signals(std::io::Error),
    /// The part that sends ended by itself, which it never should.
    #[error("the part that sends ended unexpectedly; what was out is in doubt at the next start")]
    WorkerEnded,
    /// Neither a file nor stored instances.
    #[error("there is nothing to serve: give a jobs file, as in `onthedot run jobs.yaml`")]
    NothingToServe,
}

impl From<IntakeError> for DaemonError {
    fn from(e: IntakeError) -> Self {
        match e {
            IntakeError::Store(e) => DaemonError::Store(e),
            IntakeError::Config(e) => DaemonError::Config(e),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// What it did.
    pub summary: RunSummary,
    /// How long it ran.
    pub took: Millis,
    /// Whether it ended because nothing was left to do.
    pub idle: bool,
}

/// Runs the daemon until a signal, or until it is idle where asked for.
///
/// # Errors
/// [`DaemonError`] for everything that keeps it from running.
pub async fn run(mut options: DaemonOptions) -> Result<RunEnd, DaemonError> {
    let took = Stopwatch::start();
    options.database = store::real_path(&options.database);
    let mut lock = take_lock(&options.database).await?;
    let store = Arc::new(SqliteStore::open_with_seed(&options.database, Opening::Daemon, options.seed).await?);
    lock.take_made(&options.database)?;
    store.ensure_mode(if options.sandbox.is_some() { "sandbox" } else { "real" }).await?;
    if !options.trust_clock {
        upkeep::await_sane_clock(&store).await?;
    }
    let started_at = clock::now();
    let stop = CancellationToken::new();
    let mut instances = instances(&store, &options).await?;
    let listener = listen(&options).await?;
    let sandbox = start_sandbox(&options, &mut instances, listener.as_ref()).await?;
    let accounts = open_accounts(&instances)?;
    let longest_quarantine = instances.iter().map(|i| i.quarantine).max().unwrap_or(Millis::ZERO);
    let recovery = store.recover(clock::now(), longest_quarantine.0).await?;
    crash_point::pass("recovered");
    if recovery.in_doubt > 0 {
        tracing::warn!(
            n = recovery.in_doubt,
            "requests were out when the program last stopped: they are in doubt, see `onthedot doubt list`"
        );
    }
    if recovery.poisoned > 0 {
        tracing::error!(
            n = recovery.poisoned,
            "messages were in the hands of three runs that died: they are held, see `onthedot list --state held`"
        );
    }
    if let Some(found) = store.set_back().await? {
        tracing::error!(
            held = found.held,
            "the database was set back or copied ({}): everything is paused. See `onthedot list --state held` for what may have gone out already, `--state scheduled` for what waits, and `onthedot resume --after-restore` to go on",
            found.why
        );
    }
    store.say_served(&instances.iter().map(|i| i.name.clone()).collect::<Vec<_>>()).await?;
    store.finish_replacing(clock::now()).await?;
    reading::apply_first(&mut options, &store).await?;
    tracing::info!(zones = clock::zones_version(), "time zones");
    zones::settle(&store, clock::now()).await?;
    let parts = Parts { store: Arc::clone(&store), instances, accounts, stop: stop.clone() };
    // Before the first message is taken into hand: from then on a signal must find somebody who takes back what is typed. Not
    // earlier, so that a start that takes long can be ended.
    let signals = Signals::listen(options.hangup.take())?;
    let mut running = parts.start(listener, &options, took).await?;
    let waited = wait(&options, &store, &mut running, signals, started_at).await;
    if let Err(DaemonError::Store(e)) = &waited
        && e.storage_fault().is_some()
    {
        // Nothing can be handed back or recorded any more: what is out is in doubt at the next start.
        running.abandon();
        return Err(waited.err().unwrap_or(DaemonError::WorkerEnded));
    }
    let shutdown = options.settings.as_ref().and_then(|s| s.daemon.shutdown).unwrap_or(DEFAULT_SHUTDOWN);
    running.stop(&stop, shutdown).await;
    if let Some(sandbox) = sandbox {
        sandbox.stop();
    }
    let idle = waited?;
    let summary = store.run_summary(started_at).await?;
    let _ = store.say_stopped(clock::now()).await;
    store.close().await;
    if let Some(fault) = store.fault().borrow().clone().filter(|f| !f.heals()) {
        return Err(fault.error(store.path().to_owned()).into());
    }
    Ok(RunEnd { summary, took: took.elapsed(), idle })
}

/// A daemon that was killed holds its lock until the system has cleared it away, and a command that migrates until it is
/// done: waited for so long, and looked at so often.
const LOCK_WAITS: Millis = Millis(1_000);
const LOCK_LOOK: Millis = Millis(20);

async fn take_lock(database: &Path) -> Result<DaemonLock, StoreError> {
    if let Some(folder) = database.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|e| StoreError::Unwritable { path: database.to_owned(), what: e.to_string() })?;
    }
    let waited = Stopwatch::start();
    loop {
        match DaemonLock::take(database) {
            Err(StoreError::Locked { .. }) if waited.elapsed() < LOCK_WAITS => clock::sleep(LOCK_LOOK).await,
            taken => return taken,
        }
    }
}

async fn instances(store: &SqliteStore, options: &DaemonOptions) -> Result<Vec<InstanceSettings>, DaemonError> {
    if let Some(settings) = &options.settings {
        return Ok(settings.instances.clone());
    }
    let rows = store.instances().await?;
    if rows.is_empty() {
        return Err(DaemonError::NothingToServe);
    }
    let read = rows.iter().map(|row| config::stored_instance(row, options.sandbox.is_some()));
    Ok(read.collect::<Result<Vec<_>, _>>()?)
}

async fn listen(options: &DaemonOptions) -> Result<Option<TcpListener>, DaemonError> {
    let from_file = options.settings.as_ref().and_then(|s| s.daemon.listen.clone());
    let chosen = options.listen.clone().or(from_file);
    let address = chosen.clone().unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    if address == "off" {
        return Ok(None);
    }
    match TcpListener::bind(&address).await {
        Ok(listener) => Ok(Some(listener)),
        // Nobody chose the address, and in the sandbox nobody outside needs to know it.
        Err(_) if chosen.is_none() && options.sandbox.is_some() => {
            let free = "127.0.0.1:0".to_owned();
            TcpListener::bind(&free).await.map(Some).map_err(|e| DaemonError::Listen(free, e))
        }
        Err(e) => Err(DaemonError::Listen(address, e)),
    }
}

async fn start_sandbox(
    options: &DaemonOptions,
    instances: &mut [InstanceSettings],
    listener: Option<&TcpListener>,
) -> Result<Option<Sandbox>, DaemonError> {
    let Some(run) = &options.sandbox else { return Ok(None) };
    let secret = SecretString::from(format!("sandbox-{:016x}", getrandom::u64().unwrap_or(1)));
    let hook = listener.and_then(|l| l.local_addr().ok()).map(|a| format!("http://{a}/hooks/{{instance_id}}"));
    let sandbox = Sandbox::start(
        SandboxOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            hook,
            hook_secret: Some(secret.clone()),
            scenario: run.scenario.clone(),
            journal: run.journal.clone(),
        },
        // Its own token: it must outlive the sends that are awaited while the daemon stops.
        CancellationToken::new(),
    )
    .await?;
    tracing::info!(address = %sandbox.address, "the embedded sandbox serves every instance: nothing leaves this machine");
    for instance in instances {
        instance.redirect_to_sandbox(&sandbox.url(), secret.clone());
    }
    Ok(Some(sandbox))
}

fn open_accounts(
    instances: &[InstanceSettings],
) -> Result<HashMap<InstanceName, Arc<dyn Gateway>>, gateway::http::ClientError> {
    let mut clients = gateway::http::Clients::default();
    instances.iter().map(|i| Ok((i.name.clone(), gateway::open(i.account(), &mut clients)?))).collect()
}

fn tell_applied(applied: &AppliedFile, pruned: bool) {
    use crate::store::Applied;
    let count = |what| applied.jobs.iter().filter(|(_, a)| *a == what).count();
    let (added, changed, same) = (count(Applied::Added), count(Applied::Changed), count(Applied::Unchanged));
    tracing::info!(added, changed, unchanged = same, "the jobs file is applied");
    for name in &applied.vanished {
        if pruned {
            tracing::info!(job = name, "the job is no longer in the file and was removed");
        } else {
            tracing::warn!(job = name, "the job is no longer in the file; it is kept (`run --prune` removes it)");
        }
    }
}

/// The signals a daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Keeps hangups from now on.
///
/// # Errors
/// When the system does not let it.
pub fn hangups() -> Result<Signal, DaemonError> {
    signal(SignalKind::hangup()).map_err(DaemonError::Signals)
}

impl Signals {
    /// From now on they are kept until somebody asks for them.
    fn listen(hangup: Option<Signal>) -> Result<Signals, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Signals);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: hangup.map_or_else(hangups, Ok)?,
        })
    }
}

/// Waits for a signal, or for idleness where asked for. Answers whether it was idleness.
async fn wait(
    options: &DaemonOptions,
    store: &SqliteStore,
    running: &mut Running,
    Signals { mut terminate, mut interrupt, mut hangup }: Signals,
    started_at: Timestamp,
) -> Result<bool, DaemonError> {
    let (activity, receipts) = (running.activity.clone(), running.receipts.clone());
    let recaller = running.sends.then(|| running.recaller.clone());
    let idle = async {
        match options.until_idle {
            Some(span) => until_idle(store, (activity, receipts, recaller), span, started_at).await,
            None => std::future::pending().await,
        }
    };
    let looked_at = running.activity.clone();
    let damaged = async {
        if store.is_unchecked() {
            return check::when_quiet(store, looked_at).await;
        }
        std::future::pending().await
    };
    let mut fault = store.fault();
    let failed = async {
        loop {
            let known = fault.borrow_and_update().clone();
            if let Some(fault) = known.filter(|f| !f.heals()) {
                return fault.error(store.path().to_owned());
            }
            if fault.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::pin!(idle, damaged, failed);
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
            _ = hangup.recv() => reading::reload(options, store).await,
            () = &mut idle => break true,
            damage = &mut damaged => return Err(damage.into()),
            failure = &mut failed => return Err(failure.into()),
            _ = &mut running.worker => return Err(DaemonError::WorkerEnded),
        }
    };
    if !ended {
        tracing::info!("stopping; a second signal stops at once");
        let restore = options.before_abrupt_end;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            restore();
            #[expect(
                clippy::exit,
                reason = "a second signal means at once; what is out is in doubt at the next start"
            )]
            std::process::exit(130);
        });
    }
    Ok(ended)
}

async fn until_idle(
    store: &SqliteStore,
    (activity, receipts, recaller): (watch::Receiver<Activity>, Receipts, Option<Recaller>),
    span: Millis,
    started_at: Timestamp,
) {
    // Where nothing is sent, nothing that waits keeps it from ending.
    let sends = recaller.is_some();
    loop {
        clock::sleep(IDLE_LOOK).await;
        let busy = || {
            let a = *activity.borrow();
            sends && (!a.settled || a.in_hand > 0 || a.awaited > 0)
        };
        if busy() {
            continue;
        }
        let now = clock::now();
        // A database that cannot be read is no reason to end.
        let waits = store.wakes_until(now + span).await.unwrap_or(true);
        // Looked at before and after: a message taken into hand in between stood in neither.
        let recalls = match &recaller {
            Some(recaller) => recaller.is_at_it().await.unwrap_or(true),
            None => false,
        };
        if (waits && sends) || recalls || busy() {
            continue;
        }
        let last_send = store.last_send_at().await.unwrap_or(None).unwrap_or(started_at);
        let last_news = receipts.last_ack_at().unwrap_or(started_at).max(last_send).max(started_at);
        let outstanding = store.acks_outstanding(started_at).await.unwrap_or(0);
        if outstanding == 0 || now.since(last_news) >= ACKS_AWAITED {
            return;
        }
    }
}
