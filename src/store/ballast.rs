//! Room kept for the worst moment: a file beside the database that is given up when the disk is full, so that the answers
//! of requests that are out can still be recorded.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::store::names::beside;

/// Its size in bytes: the records of more than a thousand requests, at three pages of the log each.
const BYTES: u64 = 16 * 1024 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    there: bool,
    /// Whether there ever was room for it: on a disk too small for it nothing is kept.
    wanted: bool,
}

impl Ballast {
    /// Takes the room, where there is enough.
    pub(super) fn take(database: &Path) -> Ballast {
        let path = beside(database, ".ballast");
        let there = allocate(&path).is_ok();
        Ballast { path, there, wanted: there }
    }

    /// Gives the room up. Answers whether there was any.
    pub(super) fn release(&mut self) -> bool {
        std::mem::take(&mut self.there) && std::fs::remove_file(&self.path).is_ok()
    }

    /// Takes the room again. Answers whether nothing is lacking.
    pub(super) fn retake(&mut self) -> bool {
        self.there = self.there || (self.wanted && allocate(&self.path).is_ok());
        self.there || !self.wanted
    }
}

fn allocate(path: &Path) -> std::io::Result<()> {
    let made = (|| {
        let file: File = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, BYTES)?;
        Ok(())
    })();
    if made.is_err() {
        let _ = std::fs::remove_file(path);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_given_up_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        let mut ballast = Ballast::take(&database);
        let size = || std::fs::metadata(beside(&database, ".ballast")).map_or(0, |m| m.len());
        assert_eq!(size(), BYTES);
        assert!(ballast.release() && !ballast.release());
        assert_eq!(size(), 0);
        assert!(ballast.retake());
        assert_eq!(size(), BYTES);
        let mut nowhere = Ballast::take(Path::new("/nowhere/at/all/db"));
        assert!(!nowhere.release() && nowhere.retake(), "without room there is nothing to wait for");
    }
}
