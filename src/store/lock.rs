//! One daemon a database: an exclusive lock on a file beside it, taken before the database is opened.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// Held as long as the daemon runs; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock of a database.
    ///
    /// # Errors
    /// [`StoreError::Locked`] naming the holder's pid; [`StoreError::Unwritable`] when the lock file cannot be made.
    pub fn take(database: &Path) -> Result<DaemonLock, StoreError> {
        let path = lock_path(database);
        let unwritable = |e: std::io::Error| StoreError::Unwritable { path: database.to_owned(), what: e.to_string() };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.take(20).read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
                return Err(StoreError::Locked { path: database.to_owned(), pid });
            }
            Err(std::fs::TryLockError::Error(e)) => return Err(unwritable(e)),
        }
        file.set_len(0).map_err(unwritable)?;
        file.rewind().map_err(unwritable)?;
        writeln!(file, "{}", std::process::id()).map_err(unwritable)?;
        Ok(DaemonLock { _file: file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
