//! A clock of the test's own for real processes, by libfaketime.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where distributions keep it.
const PLACES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A clock that a test sets, and may step while processes run by it.
pub(crate) struct FakedClock {
    library: &'static str,
    file: PathBuf,
}

impl FakedClock {
    /// A clock kept in a folder; `None`, said loudly, where the machine has no libfaketime.
    pub(crate) fn new(folder: &Path) -> Option<FakedClock> {
        let library = PLACES.into_iter().find(|p| Path::new(p).exists());
        if library.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "libfaketime is needed: apt-get install -y libfaketime (.ci/run does)"
            );
            println!("SKIPPED: this machine has no libfaketime (apt-get install libfaketime): no clock was stepped");
        }
        Some(FakedClock { library: library?, file: folder.join("faked-clock") })
    }

    /// Sets how far it is off the real one, for processes that run by it already too.
    pub(crate) fn off_by(&self, ms: i64) {
        let text = format!("{}{}.{:03}", if ms < 0 { "-" } else { "+" }, ms.abs() / 1_000, ms.abs() % 1_000);
        // Replaced as a whole: a process that reads meanwhile sees the old or the new one.
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Has a command run by this clock.
    pub(crate) fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }
}
