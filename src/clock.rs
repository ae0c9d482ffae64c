//! The only file that asks the operating system for time, and the only one that waits for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::domain::time::{Millis, Timestamp};

/// Lets the clock show an instant on this thread, and waiting take no time: for a simulation, whose loop owns the time.
#[cfg(debug_assertions)]
pub fn show(at: Timestamp) {
    SHOWN.set(Some(at));
}

#[cfg(debug_assertions)]
thread_local! {
    static SHOWN: std::cell::Cell<Option<Timestamp>> = const { std::cell::Cell::new(None) };
}

/// Whether a simulation owns the time of this thread.
#[cfg(debug_assertions)]
pub fn is_simulated() -> bool {
    shown().is_some()
}

/// What a simulation has this thread's clock show.
#[cfg(debug_assertions)]
fn shown() -> Option<Timestamp> {
    SHOWN.get()
}

/// Nobody simulates.
#[cfg(not(debug_assertions))]
#[inline(always)]
fn shown() -> Option<Timestamp> {
    None
}

/// The wall clock, in whole milliseconds. A clock before 1970 reads as 1970.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    if let Some(at) = shown() {
        return at;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The wall clock in microseconds: for measuring, never for deciding.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A stopwatch on the monotonic clock: for lengths of time, which steps of the wall clock must not touch.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Millis {
        Millis(i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// How the wall clock moved between two looks, other than by passing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Jump {
    /// It is much later than when it was last looked at: the machine slept, the process was stopped, or somebody set
    /// the clock.
    Ahead {
        /// The last look.
        from: Timestamp,
        /// This look.
        to: Timestamp,
    },
    /// It was set back.
    Back {
        /// By how much.
        by: Millis,
    },
}

/// Notices jumps of the wall clock, by whoever looks at it at least once a second.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    wall: Timestamp,
    since: Stopwatch,
}

/// A gap between two looks that is no mere delay: longer than a daemon's heartbeat may be late.
const GAP: Millis = Millis::seconds(10);

/// A step back that is no mere correction.
const BACK: Millis = Millis::seconds(1);

impl Watch {
    /// Begins to look.
    pub fn start() -> Watch {
        Watch { wall: now(), since: Stopwatch::start() }
    }

    /// Looks again.
    pub fn look(&mut self) -> (Timestamp, Option<Jump>) {
        let (before, elapsed) = (self.wall, self.since.elapsed());
        *self = Watch::start();
        let jump = if self.wall.since(before) > GAP {
            Some(Jump::Ahead { from: before, to: self.wall })
        } else if before.since(self.wall) > BACK {
            Some(Jump::Back { by: before.since(self.wall) + elapsed })
        } else {
            None
        };
        (self.wall, jump)
    }
}

/// Waits for a length of time.
#[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
pub async fn sleep(length: Millis) {
    if shown().is_some() {
        return;
    }
    tokio::time::sleep(length.to_duration()).await;
}

/// When the beats are, in ms after a full second: away from those, when most messages are due.
const BEAT: i64 = 550;

/// How long it is until the next beat of so many milliseconds. Whoever looks for something
/// now and then does it at a beat, so that all wake the processor together: a wake-up of its own costs more than what is
/// looked at (measured: 0.65 % of a core for sixty a second, most of it going to sleep and waking).
pub fn to_beat(every: Millis) -> Millis {
    Millis(every.0 - (now().0 - BEAT).rem_euclid(every.0))
}

/// Waits for the next beat.
pub async fn beat(every: Millis) {
    sleep(to_beat(every)).await;
}

/// Ticks at every beat. Beats that are missed are left out.
#[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
pub fn beats(every: Millis) -> tokio::time::Interval {
    // A simulation shares its files with nobody, and goes on by its own time.
    let wait = if shown().is_some() { Millis(86_400_000) } else { to_beat(every) };
    let first = tokio::time::Instant::now() + wait.to_duration();
    let mut beats = tokio::time::interval_at(first, every.to_duration());
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    beats
}

/// How late tokio's timers may be, in ms (measured: 1 to 2).
const COARSE: i64 = 3;

/// Rings at an instant to a fraction of a millisecond. tokio's timers round up to whole ones and are 1 to 2 ms late by
/// construction; a thread that waits for nothing but the next instant is 0.1 ms late (measured).
#[derive(Debug)]
pub struct Alarm(Arc<AlarmShared>);

#[derive(Debug, Default)]
struct AlarmShared {
    set: Mutex<AlarmSet>,
    earlier: Condvar,
    rings: Notify,
}

#[derive(Debug, Default)]
struct AlarmSet {
    at: Option<Timestamp>,
    ended: bool,
}

impl Alarm {
    /// An alarm that is not set. Where its thread cannot be started it rings by tokio's timers.
    pub fn start() -> Alarm {
        let shared = Arc::new(AlarmShared::default());
        let own = Arc::clone(&shared);
        if let Err(e) = std::thread::Builder::new().name("alarm".to_owned()).spawn(move || own.watch()) {
            tracing::warn!(error = %e, "no thread for the alarm: sends will be a millisecond or two later");
        }
        Alarm(shared)
    }

    /// Waits until the wall clock reads `at`, but never longer than `cap`: whoever waits looks at the clock again, so that
    /// a suspend or a step of the clock is noticed. Now and then it comes back early.
    pub async fn until(&self, at: Timestamp, cap: Millis) {
        let left = at.since(now()).0;
        let wait = left.clamp(0, cap.0);
        if wait == 0 {
            return;
        }
        // What is due just after the cap would otherwise wait for a timer that is late.
        if left < cap.0.saturating_add(COARSE) {
            let mut set = self.0.set.lock().unwrap_or_else(PoisonError::into_inner);
            // What rings too early because it was set before rings for nothing.
            if set.at.replace(at).is_none_or(|before| at < before) {
                self.0.earlier.notify_one();
            }
        }
        tokio::select! {
            () = self.0.rings.notified() => {}
            () = sleep(Millis(wait)) => {}
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.set.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.earlier.notify_one();
    }
}

impl AlarmShared {
    /// The thread: waits for the instant that is set, and looks again when an earlier one is.
    fn watch(&self) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while !set.ended {
            let left = set.at.map(|at| at.0.saturating_mul(1_000).saturating_sub(now_us()));
            set = match left.map(u64::try_from) {
                None => self.earlier.wait(set).unwrap_or_else(PoisonError::into_inner),
                Some(Ok(left)) if left > 0 => {
                    let waited = self.earlier.wait_timeout(set, Duration::from_micros(left));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    set.at = None;
                    self.rings.notify_one();
                    set
                }
            };
        }
    }
}

/// Waits until the wall clock reads `at`, but never longer than `cap`: whoever waits looks at the clock again, so
/// that a suspend or a step of the clock is noticed.
pub async fn sleep_until(at: Timestamp, cap: Millis) {
    sleep(Millis(at.since(now()).0.clamp(0, cap.0))).await;
}

/// Waits for a future, but no longer than `limit`. Not for database work: a commit cut off may have committed.
///
/// # Errors
/// [`TimedOut`] when the limit came first.
#[expect(clippy::disallowed_methods, reason = "this is the one place that limits waits")]
pub async fn within<F: Future>(limit: Millis, future: F) -> Result<F::Output, TimedOut> {
    tokio::time::timeout(limit.to_duration(), future).await.map_err(|_| TimedOut)
}

/// A wait took longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it took too long")]
pub struct TimedOut;

/// A time zone is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time zone: write an IANA name such as Europe/Berlin, America/New_York or UTC")]
pub struct UnknownZone(pub String);

/// A time zone by its IANA name, from the system's zone database or, where there is none, the bundled one.
///
/// # Errors
/// [`UnknownZone`] for a name that neither knows.
#[expect(clippy::disallowed_methods, reason = "this is the one place that looks zones up")]
pub fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    TimeZone::get(name).map_err(|_| UnknownZone(name.chars().take(80).collect()))
}

/// The name of the system's zone; `UTC` where it has none with a name.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks for the system's zone")]
pub fn system_zone_name() -> String {
    TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// Drops what is remembered of zones, so that they are read anew from files that may have changed.
pub fn forget_zones() {
    jiff::tz::db().reset();
}

/// Where systems keep their zone database, in the order in which it is looked for.
const ZONE_FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// The folder of the zone database in use: `$TZDIR`, where that is one, else the system's. `None` = the bundled one.
fn zone_folder() -> Option<PathBuf> {
    let named = std::env::var_os("TZDIR").map(PathBuf::from).filter(|d| TimeZoneDatabase::from_dir(d).is_ok());
    named.or_else(|| ZONE_FOLDERS.iter().map(PathBuf::from).find(|d| d.join("UTC").exists()))
}

/// The zones of a country (ISO 3166, two letters), the most populous first as far as the list knows; empty where the
/// system has no such list.
pub fn zones_of_country(code: &str) -> Vec<String> {
    static LIST: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let list = LIST.get_or_init(|| {
        let folders = zone_folder().into_iter().chain(ZONE_FOLDERS.iter().map(PathBuf::from));
        folders.filter_map(|f| std::fs::read_to_string(f.join("zone.tab")).ok()).next().unwrap_or_default()
    });
    let fields = list.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect::<Vec<_>>());
    fields.filter(|f| f.first() == Some(&code)).filter_map(|f| f.get(2).map(|z| (*z).to_owned())).collect()
}

/// Which zone database is in use, and its version where it tells one.
pub fn zones_version() -> String {
    let Some(folder) = zone_folder() else { return "the bundled zones: this system has none".to_owned() };
    let text = std::fs::read_to_string(folder.join("tzdata.zi")).unwrap_or_default();
    let version = text.lines().next().and_then(|l| l.strip_prefix("# version ")).map(str::trim);
    format!("zones of {}, version {}", folder.display(), version.unwrap_or("unknown"))
}

/// What tells one zone database from another: its version, and a hash of its files, since distributions mend rules
/// without a new version. Takes some milliseconds.
pub fn zones_mark() -> String {
    let Some(folder) = zone_folder() else {
        return format!("the bundled zones of onthedot {}", env!("CARGO_PKG_VERSION"));
    };
    let mut hash = Sha256::new();
    // The other two are the same zones with leap seconds, and once more.
    let mut files = Vec::new();
    list_files(&folder, &mut files, &["right", "posix"]);
    files.sort();
    for file in files {
        let name = file.strip_prefix(&folder).unwrap_or(&file).to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).unwrap_or_default();
        if bytes.starts_with(b"TZif") {
            hash.update(name.as_bytes());
            hash.update(&bytes);
        }
    }
    let print: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("{}, files {print}", zones_version())
}

fn list_files(folder: &Path, all: &mut Vec<PathBuf>, but: &[&str]) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if !but.iter().any(|b| entry.file_name() == *b) {
                list_files(&path, all, &[]);
            }
        } else {
            all.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_the_latest_instant_it_was_set_to_and_never_early() {
        let alarm = Alarm::start();
        for ahead in [20, 5, 1, 12] {
            let at = now() + Millis(ahead);
            // Given up at once by somebody who had other news, as the worker does.
            let _ = within(Millis(0), alarm.until(at + Millis(15), Millis(1_000))).await;
            while now() < at {
                alarm.until(at, Millis(1_000)).await;
            }
            assert!(now_us() >= at.0 * 1_000);
        }
        alarm.until(now() + Millis(60_000), Millis(10)).await;
    }
}
