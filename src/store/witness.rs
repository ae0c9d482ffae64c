//! The witness: a small file beside the database that knows how many marks the database has made. A database that knows
//! of fewer was set back to an earlier state, by a backup or by a copy of the whole machine, and what it takes for unsent
//! may have gone out.
//!
//! It is written after each commit of marks, so it never knows of more than its own database does; it is not flushed, so
//! after a power cut it may know of less, which means nothing.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::names::beside;

/// What a witness knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Testimony {
    /// Which database it is about.
    pub generation: u64,
    /// How many marks that one made.
    pub marks: u64,
    /// When the latest of them was made.
    pub at: Timestamp,
}

impl Testimony {
    /// Fixed in length, so that it is overwritten in place.
    fn line(self) -> String {
        format!("{:016x} {:020} {:020}\n", self.generation, self.marks, self.at.0.max(0))
    }

    fn read(line: &str) -> Option<Testimony> {
        let mut parts = line.split_whitespace();
        let generation = u64::from_str_radix(parts.next()?, 16).ok()?;
        let (marks, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Testimony { generation, marks, at: Timestamp(at) })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
}

impl Witness {
    /// What the witness of a database knows; `None` where there is none that can be read.
    pub(super) fn hear(database: &Path) -> Option<Testimony> {
        let mut line = String::new();
        File::open(beside(database, ".witness")).ok()?.take(200).read_to_string(&mut line).ok()?;
        Testimony::read(&line)
    }

    /// Whether there is one, also one that cannot be read: it is not flushed, and a power cut may leave it empty.
    pub(super) fn stands(database: &Path) -> bool {
        beside(database, ".witness").symlink_metadata().is_ok()
    }

    /// Begins to witness, durably.
    pub(super) fn call(database: &Path, testimony: Testimony) -> Result<Witness, StoreError> {
        let path = beside(database, ".witness");
        let unwritable = |e: std::io::Error| StoreError::Unwritable { path: path.clone(), what: e.to_string() };
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unwritable)?;
        file.write_all_at(testimony.line().as_bytes(), 0).and_then(|()| file.sync_all()).map_err(unwritable)?;
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder).and_then(|f| f.sync_all()).map_err(unwritable)?;
        }
        Ok(Witness { file })
    }

    /// Knows of marks made now. A disk without room changes nothing: the block is there already.
    pub(super) fn note(&self, testimony: Testimony) {
        if let Err(e) = self.file.write_all_at(testimony.line().as_bytes(), 0) {
            tracing::warn!(error = %e, "the witness beside the database could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_remembers_what_it_was_told_last() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        assert_eq!((Witness::hear(&database), Witness::stands(&database)), (None, false));
        let one = Testimony { generation: u64::MAX, marks: 1, at: Timestamp(1) };
        let witness = Witness::call(&database, one).unwrap();
        assert_eq!(Witness::hear(&database), Some(one));
        let two = Testimony { marks: u64::MAX, at: Timestamp(i64::MAX), ..one };
        witness.note(two);
        assert_eq!(Witness::hear(&database), Some(two));
        std::fs::write(beside(&database, ".witness"), "torn").unwrap();
        assert_eq!((Witness::hear(&database), Witness::stands(&database)), (None, true));
    }
}
