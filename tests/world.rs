//! The whole of what the daemon runs, in virtual time, with persons who edit, cancel, pause and repeat while messages are in
//! motion, and peers who lie, delay, repeat and reorder. The store is the real one on a real file; only time and the network
//! belong to the test. Each history is drawn from a seed, and the claims in `world/claims.rs` must hold in it.
//!
//! `SEEDS=n` plays more histories, from `FROM=n` on; `SEED=n` plays one and prints it; `PUT_BACK=…` says which fault a build has
//! (see `tests/faults/put_back.sh`).

#![cfg(debug_assertions)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of a test stand outside its functions"
)]

#[path = "world/claims.rs"]
mod claims;
#[path = "simulation/dice.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod dice;
#[path = "world/file.rs"]
mod file;
#[path = "world/machine.rs"]
mod machine;
#[path = "world/outside.rs"]
mod outside;
#[path = "world/persons.rs"]
mod persons;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use machine::{BEGIN, World};
use onthedot::store::{Opening, SqliteStore};

/// Histories of a run without `SEEDS`.
const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|v| v.parse().ok())
}

/// A folder in memory where there is one: what a disk does is proved elsewhere.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

/// An empty database, to be copied: making the tables takes longer than most histories.
fn template(folder: &Path) -> PathBuf {
    let path = folder.join("template");
    runtime().block_on(async {
        let store = SqliteStore::open_with_seed(&path, Opening::Daemon, None).await.unwrap();
        store.close().await;
    });
    path
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps this thread and those it starts on one core: the threads of a history hand work to each other tens of thousands of times,
/// which takes half as long within a core.
fn stay_on(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

fn empty(path: &Path) {
    use sqlx::{Connection, SqliteConnection};
    runtime().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        // Each history brings its own seed.
        sqlx::query("DELETE FROM meta").execute(&mut connection).await.unwrap();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// Plays a history. Answers what is broken in it, and the history in lines.
fn play(seed: u64, template: &Path) -> (Vec<String>, Vec<String>) {
    let folder = folder();
    std::fs::copy(template, folder.path().join("db")).unwrap();
    runtime().block_on(async {
        let mut world = World::begin(seed, folder.path()).await;
        let first = world.file.text();
        world.run().await;
        let broken = claims::broken(&world).await;
        let mut lines = vec![first];
        if !broken.is_empty() || number("SEED").is_some() {
            lines.extend(world.log.iter().map(|e| format!("{:>8} ms {:?}", e.at.0 - BEGIN, e.fact)));
            lines.extend(claims::rows(&world).await);
        }
        world.store.close().await;
        (broken, lines)
    })
}

#[test]
fn no_history_with_persons_and_peers_breaks_a_claim() {
    let shared = folder();
    let template = template(shared.path());
    empty(&template);
    if let Some(seed) = number("SEED") {
        let (broken, lines) = play(seed, &template);
        let again = play(seed, &template).1;
        let differs = lines.iter().zip(&again).find(|(a, b)| a != b);
        assert!(differs.is_none(), "SEED={seed} is not played the same way twice: {differs:?}");
        lines.iter().for_each(|l| println!("{l}"));
        assert!(broken.is_empty(), "SEED={seed}: {broken:#?}");
        return;
    }
    let (from, seeds) = (number("FROM").unwrap_or(0), number("SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(from);
    let found = std::sync::Mutex::new(Vec::new());
    let most = usize::try_from(number("MOST").unwrap_or(5)).unwrap();
    let cores = cores();
    std::thread::scope(|scope| {
        for core in &cores {
            let (next, found, template) = (&next, &found, &template);
            scope.spawn(move || {
                stay_on(*core);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || found.lock().unwrap().len() >= most {
                        return;
                    }
                    // A thread of its own: what a history that panics leaves in its thread is met by no other.
                    let played = std::thread::scope(|alone| alone.spawn(|| play(seed, template)).join());
                    let broken = match played {
                        Ok((broken, _)) => broken,
                        Err(cause) => {
                            let words = cause.downcast_ref::<String>().cloned();
                            vec![format!("it panicked: {}", words.unwrap_or_default())]
                        }
                    };
                    if !broken.is_empty() {
                        println!("SEED={seed}: {broken:#?}");
                        found.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "claims are broken in the histories {found:?}; SEED=n cargo test --test world shows one");
    println!("{seeds} histories from seed {from} on kept every claim");
}
