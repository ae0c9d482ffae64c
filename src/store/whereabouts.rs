//! Which file a path leads to. A database is one file, by whatever name it is reached; it stays the file that was opened; and
//! where it is gone, what stands beside it still knows of it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::file_lock::FileId;
use crate::store::lock::pid_in;
use crate::store::names::{beside, real_path};
use crate::store::witness::Witness;

/// The files of a database as they stood when it was opened.
#[derive(Debug)]
pub(super) struct OpenFiles {
    database: PathBuf,
    own: Option<FileId>,
    log: Option<FileId>,
    index: Option<FileId>,
}

/// How the files of an open database came to be others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Loss {
    /// What happened to which file.
    pub what: String,
    /// Whether the log may still be folded into the file that was opened: that one is whole, and nobody else writes the log.
    pub whole: bool,
}

impl OpenFiles {
    /// Of a database that is open for writing.
    pub(super) fn of(database: &Path) -> OpenFiles {
        let id = |ending| std::fs::metadata(beside(database, ending)).ok().map(|m| FileId::of(&m));
        OpenFiles { database: database.to_owned(), own: id(""), log: id("-wal"), index: id("-shm") }
    }

    /// Whether the paths lead elsewhere now. Costs a microsecond or two.
    pub(super) fn loss(&self) -> Option<Loss> {
        let what = self.changed("", self.own).or_else(|| self.changed("-wal", self.log));
        let index = self.changed("-shm", self.index);
        let whole = index.is_none() && !self.is_emptied();
        what.or(index).map(|what| Loss { what, whole })
    }

    fn is_emptied(&self) -> bool {
        std::fs::metadata(&self.database).is_ok_and(|m| m.len() == 0 && Some(FileId::of(&m)) == self.own)
    }

    /// What became of a file that was there when the database was opened.
    fn changed(&self, ending: &str, was: Option<FileId>) -> Option<String> {
        let (path, was) = (beside(&self.database, ending), was?);
        match std::fs::metadata(&path) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Some(format!("{} is not there any more", path.display()))
            }
            Ok(is) if FileId::of(&is) != was => Some(format!("another file stands at {}", path.display())),
            Ok(_) if ending.is_empty() && self.is_emptied() => Some(format!("{} was emptied", path.display())),
            // What else cannot be told of it, SQLite will meet.
            Ok(_) | Err(_) => None,
        }
    }
}

/// Refuses to take a database for a new one that is only gone: where it is absent or empty, and what stands beside it knows
/// better.
///
/// # Errors
/// [`StoreError::Missing`].
pub(super) fn refuse_missing(database: &Path) -> Result<(), StoreError> {
    match std::fs::metadata(database) {
        Ok(m) if m.len() > 0 => Ok(()),
        Ok(_) => missing(database, "is empty", true),
        Err(e) if e.kind() == ErrorKind::NotFound => missing(database, "is not there", true),
        Err(_) => Ok(()),
    }
}

/// Refuses to make a database where a symbolic link leads to nothing: a link is made to what is there, and what it is on may
/// not be mounted.
///
/// # Errors
/// [`StoreError::Missing`] where what stands beside the place knows of it, and [`StoreError::Dangling`].
pub fn refuse_dangling(named: &Path) -> Result<(), StoreError> {
    let is_link = named.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink());
    let is_gone = std::fs::metadata(named).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    if !(is_link && is_gone) {
        return Ok(());
    }
    let target = real_path(named);
    refuse_missing(&target)?;
    Err(StoreError::Dangling { path: named.to_owned(), target })
}

/// As [`refuse_missing`], of a file that is there and holds no table of ours.
///
/// # Errors
/// [`StoreError::Missing`].
pub(super) fn refuse_bare(database: &Path) -> Result<(), StoreError> {
    missing(database, "has no tables", false)
}

/// With `log`, what waits in the log is a sign too: SQLite would remove it with the first look at an empty file.
fn missing(database: &Path, what: &'static str, log: bool) -> Result<(), StoreError> {
    let (mut signs, mut files) = (Vec::new(), Vec::new());
    let witnessed = match Witness::hear(database) {
        Some(w) if w.marks > 0 => {
            Some(format!("its witness knows that it began {} sends, the last at {}", w.marks, w.at))
        }
        Some(_) => None,
        None => Witness::stands(database).then(|| "its witness is there, but cannot be read".to_owned()),
    };
    if let Some(sign) = witnessed {
        signs.push(sign);
        files.push(beside(database, ".witness").display().to_string());
    }
    let waiting = beside(database, "-wal");
    if log && std::fs::metadata(&waiting).is_ok_and(|m| m.len() > 0) {
        signs.push("its log holds what was written last".to_owned());
        files.push(waiting.display().to_string());
    }
    if signs.is_empty() {
        return Ok(());
    }
    let (signs, beside) = (signs.join(", and "), files.join(" and "));
    Err(StoreError::Missing { path: database.to_owned(), what, signs, beside })
}

/// By which other names a file may be reached, if it may.
pub(super) fn other_names(database: &Path) -> Option<String> {
    let names = std::fs::metadata(database).ok()?.nlink();
    if names > 1 {
        return Some(format!("it has {names} names, as hard links"));
    }
    is_mounted(database).then(|| "the file alone is mounted here; mount its folder in place of it".to_owned())
}

#[cfg(target_os = "linux")]
fn is_mounted(file: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    statx(CWD, file, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .is_ok_and(|s| s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn is_mounted(_file: &Path) -> bool {
    false
}

/// Refuses a name that is not the one a file with several names is used by: there SQLite would keep a second log for it, and
/// neither name would know what stands in the other's. The name in use is the one with the witness.
///
/// # Errors
/// [`StoreError::OtherName`]; [`StoreError::Locked`] where a daemon runs on it under another name.
pub(super) fn refuse_other_name(database: &Path) -> Result<(), StoreError> {
    let Ok(metadata) = std::fs::metadata(database) else { return Ok(()) };
    if metadata.len() == 0 || !metadata.is_file() || Witness::hear(database).is_some() {
        return Ok(());
    }
    if let Some(how) = other_names(database) {
        return Err(StoreError::OtherName { path: database.to_owned(), how });
    }
    // The other name of a bind mount does not show in the file. A daemon at its first start has no witness yet.
    match FileId::of(&metadata).holder() {
        Some(pid) if pid != std::process::id() && pid_in(&beside(database, ".lock")) != pid.to_string() => {
            Err(StoreError::locked_elsewhere(database, Some(pid)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::store::witness::Testimony;

    #[test]
    fn a_database_is_missing_only_beside_what_knows_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        let witness = |marks| Witness::call(&database, Testimony { generation: 1, marks, at: Timestamp(5) }).unwrap();
        let refused = || refuse_missing(&database).map_err(|e| e.to_string()).err();
        assert_eq!(refused(), None, "a new one");
        witness(0);
        assert_eq!(refused(), None, "a first start that ended before it sent anything");
        witness(3);
        let said = refused().unwrap();
        assert!(said.contains("is not there") && said.contains("db.witness"), "{said}");
        std::fs::write(&database, "").unwrap();
        assert!(refused().unwrap().contains("is empty"));
        std::fs::write(&database, "something").unwrap();
        assert_eq!(refused(), None);
        std::fs::remove_file(&database).unwrap();
        for line in ["", "torn"] {
            std::fs::write(beside(&database, ".witness"), line).unwrap();
            assert!(refused().unwrap().contains("cannot be read"), "a power cut may leave it so");
        }
        std::fs::remove_file(beside(&database, ".witness")).unwrap();
        std::fs::write(beside(&database, "-wal"), "pages").unwrap();
        assert!(refused().unwrap().contains("db-wal"), "SQLite would remove the log");
    }

    #[test]
    fn a_symbolic_link_to_nothing_is_no_place_for_a_new_database() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let refused = |path: &Path| refuse_dangling(path).map_err(|e| e.to_string()).err();
        assert!(refused(&link).unwrap().contains("leads to"));
        assert_eq!(refused(&target), None, "named itself it may be made");
        std::fs::write(beside(&target, "-wal"), "pages").unwrap();
        assert!(refused(&link).unwrap().contains("target-wal"), "what stands beside it knows more");
        std::fs::write(&target, "").unwrap();
        assert_eq!(refused(&link), None);
    }

    #[test]
    fn a_file_that_is_gone_replaced_or_emptied_is_told_from_the_one_that_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        for ending in ["", "-wal", "-shm"] {
            std::fs::write(beside(&database, ending), "pages").unwrap();
        }
        let files = OpenFiles::of(&database);
        let loss = || files.loss().map(|l| (l.what.rsplit_once(' ').unwrap().1.to_owned(), l.whole));
        assert_eq!(files.loss(), None);
        std::fs::rename(&database, folder.path().join("aside")).unwrap();
        assert_eq!(loss(), Some(("more".into(), true)));
        std::fs::write(&database, "another").unwrap();
        assert!(loss().is_some_and(|l| l.1), "another file stands there");
        std::fs::rename(folder.path().join("aside"), &database).unwrap();
        assert_eq!(files.loss(), None, "it is back");
        std::fs::OpenOptions::new().write(true).open(&database).unwrap().set_len(0).unwrap();
        assert_eq!(loss(), Some(("emptied".into(), false)));
        std::fs::write(&database, "pages").unwrap();
        std::fs::remove_file(beside(&database, "-wal")).unwrap();
        assert!(files.loss().is_some_and(|l| l.what.contains("db-wal") && l.whole));
        std::fs::remove_file(beside(&database, "-shm")).unwrap();
        assert!(files.loss().is_some_and(|l| !l.whole), "somebody else may write the log");
    }
}
