//! The daemon's own chores, by cron pattern. The cron scheduler is only a bell that rings every minute: what is due is
//! read from the database, by our own reckoning of patterns and zones. So a ring that is lost costs a minute, a chore
//! missed while nobody ran is done once, and a file applied beside the daemon counts from the next ring on. No message
//! depends on any of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Stopwatch};
use crate::config::stored_instance;
use crate::domain::ack::Ack;
use crate::domain::chore::{Chore, ChoreName, Task, next_run};
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::{ChoreLock, ChoreRow, Day, DayFigures, Forget, InstanceRow, SqliteStore, StoreError};

/// How far back any pace counts: a row of sends without a rest.
const LONGEST_PACE: Millis = Millis(8 * 86_400_000);

/// When the bell rings: at the beginning of every minute. Seconds stand first.
const EVERY_MINUTE: &str = "0 * * * * *";

/// A bell silent for longer is hung anew: the scheduler falls silent when the clock is set back.
const SILENT: Millis = Millis::seconds(150);

/// How long a chore may go on when the daemon stops. What it did not finish it does the next time.
const GRACE: Millis = Millis::seconds(1);

/// Early acks whose message never became known are kept this long.
const ORPHANS_KEPT: Millis = Millis(24 * 3_600_000);

/// Days rolled up at once: today so far, and the ones whose acks still come.
const DAYS_ROLLED_UP: i32 = 3;

/// The scheduler, and where its rings arrive.
struct Bell {
    scheduler: JobScheduler,
    rings: mpsc::Receiver<()>,
}

impl Bell {
    async fn hang() -> Result<Bell, JobSchedulerError> {
        let (ring, rings) = mpsc::channel(1);
        let scheduler = JobScheduler::new().await?;
        let job = Job::new_async(EVERY_MINUTE, move |_, _| {
            let ring = ring.clone();
            // One that is not heard yet is enough.
            Box::pin(async move {
                let _ = ring.try_send(());
            })
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Bell { scheduler, rings })
    }

    async fn take_down(mut self) {
        let _ = self.scheduler.shutdown().await;
    }
}

/// The chores of a daemon, ready to be served.
pub struct Chores {
    store: Arc<SqliteStore>,
    bell: Bell,
}

impl std::fmt::Debug for Chores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chores")
    }
}

/// Why the chores cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ChoresError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scheduler.
    #[error("the daemon's chores cannot be started: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

impl Chores {
    /// Hangs the bell. A database to which no file was applied gets the chores that are done by default.
    ///
    /// # Errors
    /// [`ChoresError`].
    pub async fn start(store: Arc<SqliteStore>, zone: String) -> Result<Chores, ChoresError> {
        if store.chores().await?.iter().all(|c| c.chore.is_none() && c.next_at.is_none() && c.started_at.is_none()) {
            store.keep_chores(Chore::defaults(), zone, clock::now()).await?;
        }
        Ok(Chores { store, bell: Bell::hang().await? })
    }

    /// Does what is due at every ring, one chore after the other, until told to stop.
    pub async fn serve(self, stop: CancellationToken) {
        let Chores { store, mut bell } = self;
        while !stop.is_cancelled() {
            let rang = tokio::select! {
                () = stop.cancelled() => break,
                rang = clock::within(SILENT, bell.rings.recv()) => rang.is_ok_and(|r| r.is_some()),
            };
            if !rang {
                tracing::debug!("the bell of the chores was silent and is hung anew");
                match Bell::hang().await {
                    Ok(new) => std::mem::replace(&mut bell, new).take_down().await,
                    Err(e) => tracing::warn!(error = %e, "the bell of the chores cannot be hung anew"),
                }
            }
            // On a task of its own: one that panics ends nothing else, and one that takes long does not hold a stop.
            let mut doing = tokio::spawn(do_what_is_due(Arc::clone(&store)));
            let ended = tokio::select! {
                ended = &mut doing => Some(ended),
                () = stop.cancelled() => None,
            };
            match ended {
                Some(Err(e)) => tracing::error!(error = %e, "a chore broke off"),
                Some(Ok(())) => {}
                None => {
                    let _ = clock::within(GRACE, doing).await;
                }
            }
        }
        bell.take_down().await;
    }
}

async fn do_what_is_due(store: Arc<SqliteStore>) {
    let rows = match store.chores().await {
        Ok(rows) => rows,
        Err(e) => {
            tracing::warn!(error = %e, "the chores could not be read; they are looked at again in a minute");
            return;
        }
    };
    for row in rows {
        let Some(chore) = &row.chore else { continue };
        let zone = clock::zone(&row.zone).unwrap_or(TimeZone::UTC);
        let now = clock::now();
        let next = next_run(&chore.cron, &zone, row.next_at, now);
        let done = if next.is_some_and(|t| t <= now) {
            let after = next_run(&chore.cron, &zone, None, now);
            do_chore(&store, &chore.task, &row.zone, after, now).await.map(|_| ())
        } else if next != row.next_at {
            store.note_next_run(row.name, next).await
        } else {
            Ok(())
        };
        match done {
            // By hand, in another process: it is looked at again at the next ring.
            Ok(()) | Err(StoreError::Busy { .. }) => {}
            Err(e) => tracing::warn!(chore = row.name.name(), error = %e, "a chore could not be done"),
        }
    }
}

/// How a chore ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// What came of it, or what went wrong.
    pub result: Result<String, String>,
    /// How long it took.
    pub took: Millis,
}

/// Does one chore now and writes down how it went; `next_at` is when it runs next, where that moves.
///
/// # Errors
/// [`StoreError::Busy`] while another chore runs, in this process or another; what keeps its run from being written
/// down. What goes wrong in the chore itself stands in [`Done::result`].
pub async fn do_chore(
    store: &SqliteStore,
    task: &Task,
    zone: &str,
    next_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Done, StoreError> {
    let _lock = ChoreLock::take(store.path())?;
    let name = task.name();
    store.begin_chore(name, next_at, now).await?;
    let watch = Stopwatch::start();
    let result = carry_out(store, task, zone, now).await;
    let took = watch.elapsed();
    match &result {
        Ok(words) => tracing::info!(chore = name.name(), ms = took.0, "{words}"),
        Err(what) => tracing::warn!(chore = name.name(), ms = took.0, "{what}"),
    }
    store.end_chore(name, took, result.clone(), clock::now()).await?;
    Ok(Done { result, took })
}

/// The task of a chore by hand: as the file applied last says, else as it is by default. `None` where only a file could
/// say it.
pub fn task_of(rows: &[ChoreRow], name: ChoreName) -> Option<Task> {
    use crate::domain::chore::{FAILED_KEPT, KEPT};
    let known = rows.iter().find(|r| r.name == name).and_then(|r| r.chore.as_ref()).map(|c| c.task.clone());
    known.or(match name {
        ChoreName::Tidy => Some(Task::Tidy),
        ChoreName::Checkpoint => Some(Task::Checkpoint),
        ChoreName::Report => Some(Task::Report),
        ChoreName::Prune => Some(Task::Prune { keep: KEPT, keep_failed: FAILED_KEPT }),
        ChoreName::Backup => None,
    })
}

async fn carry_out(store: &SqliteStore, task: &Task, zone: &str, now: Timestamp) -> Result<String, String> {
    let done = match task {
        Task::Tidy => tidy(store, now).await,
        Task::Checkpoint => checkpoint(store).await,
        Task::Report => report(store, zone, now).await,
        Task::Prune { keep, keep_failed } => prune(store, *keep, *keep_failed, now).await,
        Task::Backup { to, keep } => return backup(store, Path::new(to), *keep, now).await,
    };
    done.map_err(|e| e.to_string())
}

async fn tidy(store: &SqliteStore, now: Timestamp) -> Result<String, StoreError> {
    let n = store.forget_orphan_acks(now - ORPHANS_KEPT).await?;
    Ok(format!("early acks without a message forgotten: {n}"))
}

async fn checkpoint(store: &SqliteStore) -> Result<String, StoreError> {
    let folded = store.checkpoint().await?;
    let kept = if folded.left > 0 { format!(", {} kept for a reader", folded.left) } else { String::new() };
    Ok(format!("pages in the log: {}{kept}; its file has {} bytes", folded.pages, folded.bytes))
}

/// What is forgotten that was settled before some instants, and does not count any more for the pace of an instance or the `frequency`
/// of a job.
///
/// # Errors
/// When the database cannot be read.
pub async fn forget(
    store: &SqliteStore,
    (before, failed_before): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<Forget, StoreError> {
    let often_from = now - store.longest_frequency().await?;
    let memory = |row: &InstanceRow| {
        // Of one that cannot be read nothing is sent before it can.
        let memory = stored_instance(row, true).map_or(LONGEST_PACE, |i| i.pacing.memory());
        (memory > Millis::ZERO).then(|| (row.name.clone(), now - memory))
    };
    let paces_from = store.instances().await?.iter().filter_map(memory).collect();
    Ok(Forget { before, failed_before, often_from, paces_from })
}

async fn prune(store: &SqliteStore, keep: Millis, keep_failed: Millis, now: Timestamp) -> Result<String, StoreError> {
    let forget = forget(store, (now - keep, now - keep_failed), now).await?;
    let pruned = store.prune(forget, false, now).await?;
    Ok(format!(
        "forgotten: messages {}, occurrences {}, recipient lists {}, contents {}",
        pruned.messages, pruned.occurrences, pruned.audiences, pruned.contents
    ))
}

/// Rolls up the latest days; the words are of the last whole one.
async fn report(store: &SqliteStore, zone: &str, now: Timestamp) -> Result<String, StoreError> {
    let place = clock::zone(zone).unwrap_or(TimeZone::UTC);
    let today = now.in_zone(&place).date();
    let mut words = "no whole day yet".to_owned();
    for back in (0..DAYS_ROLLED_UP).rev() {
        let date = today.saturating_sub(jiff::Span::new().days(back));
        let begin = |d: jiff::civil::Date| place.to_ambiguous_zoned(d.at(0, 0, 0, 0)).compatible().ok();
        let Some((begins, ends)) = begin(date).zip(date.tomorrow().ok().and_then(begin)) else { continue };
        let day = Day {
            name: date.to_string(),
            zone: zone.to_owned(),
            begins: begins.timestamp().into(),
            ends: ends.timestamp().into(),
        };
        let figures = store.roll_up(day, now).await?;
        if back == 1 {
            words = in_words(&date.to_string(), &figures);
        }
    }
    Ok(words)
}

fn in_words(day: &str, figures: &DayFigures) -> String {
    let list = |pairs: Vec<(&str, i64)>| {
        let words: Vec<String> = pairs.into_iter().map(|(name, n)| format!("{n} {}", name.replace('_', " "))).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let states = list(figures.states.iter().map(|(s, n): &(StateName, i64)| (s.name(), *n)).collect());
    let acks = list(figures.acks.iter().map(|(a, n)| (a.map_or("without", Ack::name), *n)).collect());
    let late = figures.late_ms.map_or(String::new(), |(p50, p99, max)| {
        format!("; half left within {p50} ms, 99 % within {p99} ms, the latest {max} ms after its instant")
    });
    format!("{day}: messages due {} ({states}); acks of the sent ones: {acks}{late}", figures.messages)
}

/// Writes a copy beside its final name, checks it, renames it, and removes the oldest ones.
async fn backup(store: &SqliteStore, to: &Path, keep: u32, now: Timestamp) -> Result<String, String> {
    let wrong = |what: &str, path: &Path, e: &dyn std::fmt::Display| format!("{what} {}: {e}", path.display());
    let stem = store.path().file_stem().map_or_else(|| "onthedot".to_owned(), |s| s.to_string_lossy().into_owned());
    make_private(to).map_err(|e| wrong("the folder of backups cannot be made:", to, &e))?;
    let at = now.in_zone(&TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let copy = to.join(format!("{stem}-{at}.db"));
    for left in ours(to, &stem, ".part").map_err(|e| wrong("the folder of backups cannot be read:", to, &e))? {
        let _ = std::fs::remove_file(left);
    }
    let part = to.join(format!("{stem}-{at}.part"));
    let copied = store.backup(&part).await.map_err(|e| e.to_string());
    let sound = match copied {
        Ok(()) => SqliteStore::check_copy(&part).await.map_err(|e| e.to_string()),
        Err(e) => Err(e),
    };
    let named = sound.and_then(|()| {
        std::fs::File::open(&part)
            .and_then(|f| f.sync_all())
            .and_then(|()| std::fs::rename(&part, &copy))
            .and_then(|()| std::fs::File::open(to)?.sync_all())
            .map_err(|e| wrong("the backup cannot be put in its place:", &copy, &e))
    });
    if let Err(e) = named {
        let _ = std::fs::remove_file(&part);
        return Err(e);
    }
    let all = ours(to, &stem, ".db").map_err(|e| wrong("the folder of backups cannot be read:", to, &e))?;
    let surplus = all.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    for old in &all[..surplus] {
        std::fs::remove_file(old).map_err(|e| wrong("an old backup cannot be removed:", old, &e))?;
    }
    let bytes = std::fs::metadata(&copy).map_or(0, |m| m.len());
    Ok(format!("{bytes} bytes written to {}; backups kept: {}", copy.display(), all.len() - surplus))
}

/// The copies in a folder that this chore made of a database of this name, the oldest first: nothing else is touched.
fn ours(folder: &Path, stem: &str, ending: &str) -> std::io::Result<Vec<PathBuf>> {
    let is_ours = |name: &str| {
        let instant = name.strip_prefix(stem).and_then(|n| n.strip_prefix('-')).and_then(|n| n.strip_suffix(ending));
        instant.is_some_and(|i| {
            i.len() == "20261124T030000Z".len() && i.chars().all(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z'))
        })
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
