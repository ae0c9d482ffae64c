//! One daemon a database: an exclusive lock on a file beside it, which bears the holder's pid, and one on the database's file
//! itself, which counts under each of its names. Both are taken before the database is opened.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::store::StoreError;
use crate::store::file_lock::FileLock;
use crate::store::names::{beside, real_path};

/// Held as long as the daemon runs; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
    own: Option<FileLock>,
}

impl DaemonLock {
    /// Takes the lock of a database.
    ///
    /// # Errors
    /// [`StoreError::Locked`] naming the holder's pid; [`StoreError::Unwritable`] when the lock file cannot be made.
    pub fn take(database: &Path) -> Result<DaemonLock, StoreError> {
        let mut lock = DaemonLock::take_beside(database)?;
        lock.take_made(database)?;
        Ok(lock)
    }

    /// Takes the lock beside the database alone: for a command that has the file open, to which its other names are refused.
    ///
    /// # Errors
    /// As [`DaemonLock::take`].
    pub(super) fn take_beside(database: &Path) -> Result<DaemonLock, StoreError> {
        let database = &real_path(database);
        let file = lock(&beside(database, ".lock"), database)?;
        file.map(|file| DaemonLock { _file: file, own: None })
            .map_err(|pid| StoreError::Locked { path: database.to_owned(), pid })
    }

    /// Takes the lock of the file itself, where it is not held: there was no file yet when the rest was taken.
    ///
    /// # Errors
    /// [`StoreError::Locked`] naming the holder's pid.
    pub fn take_made(&mut self, database: &Path) -> Result<(), StoreError> {
        if self.own.is_none() {
            self.own = FileLock::take(&real_path(database))?;
        }
        Ok(())
    }
}

/// Held while a file is imported: what another import left can then be told from one that goes on.
#[derive(Debug)]
pub struct ImportLock {
    _file: File,
}

impl ImportLock {
    /// Takes the lock for imports into a database.
    ///
    /// # Errors
    /// [`StoreError::Importing`] naming the holder's pid; [`StoreError::Unwritable`] when the lock file cannot be made.
    pub fn take(database: &Path) -> Result<ImportLock, StoreError> {
        let database = &real_path(database);
        let file = lock(&beside(database, ".import"), database)?;
        file.map(|file| ImportLock { _file: file })
            .map_err(|pid| StoreError::Importing { path: database.to_owned(), pid })
    }
}

/// Held while a chore runs: none runs twice at once, by whichever process.
#[derive(Debug)]
pub struct ChoreLock {
    _file: File,
}

impl ChoreLock {
    /// Takes the lock for chores of a database.
    ///
    /// # Errors
    /// [`StoreError::Busy`] naming the holder's pid; [`StoreError::Unwritable`] when the lock file cannot be made.
    pub fn take(database: &Path) -> Result<ChoreLock, StoreError> {
        let database = &real_path(database);
        let file = lock(&beside(database, ".chores"), database)?;
        file.map(|file| ChoreLock { _file: file }).map_err(|pid| StoreError::Busy { path: database.to_owned(), pid })
    }
}

/// Locks a file and writes our pid into it, or answers the pid of who holds it.
fn lock(path: &Path, database: &Path) -> Result<Result<File, String>, StoreError> {
    let unwritable = |e: std::io::Error| StoreError::Unwritable { path: database.to_owned(), what: e.to_string() };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let pid = pid_of(file);
            return Ok(Err(if pid.is_empty() { "unknown".to_owned() } else { pid }));
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(unwritable(e)),
    }
    file.set_len(0).map_err(unwritable)?;
    file.rewind().map_err(unwritable)?;
    writeln!(file, "{}", std::process::id()).map_err(unwritable)?;
    Ok(Ok(file))
}

fn pid_of(file: File) -> String {
    let mut pid = String::new();
    let _ = file.take(20).read_to_string(&mut pid);
    pid.trim().to_owned()
}

/// The pid that a lock file bears, of whoever took it last; empty where there is none.
pub(super) fn pid_in(path: &Path) -> String {
    File::open(path).map(pid_of).unwrap_or_default()
}
