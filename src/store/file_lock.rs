//! The lock on a database's file itself: one daemon a file, under whatever names. It is a `flock`, which SQLite does not use.
//!
//! A process that closes any descriptor of a file loses all POSIX locks it has on that file, and by those SQLite guards the
//! database. So the descriptor is never closed: a lock that is let go of is unlocked, and its descriptor kept until the process
//! ends, or the lock is taken again.

use std::fs::{File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{major, minor};

use crate::store::StoreError;

/// A file, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The process that holds the file's own lock, as far as the system tells: none of another container, and on some file
    /// systems nobody.
    pub(super) fn holder(self) -> Option<u32> {
        let place = format!("{:02x}:{:02x}:{}", major(self.device), minor(self.device), self.inode);
        (0..LOOKS).find_map(|_| holder_in(&std::fs::read_to_string("/proc/locks").ok()?, &place))
    }
}

/// The system tells of all locks in pieces: one that others come and go beside may be left out of a look.
const LOOKS: u32 = 5;

/// Of lines such as `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`.
fn holder_in(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, "WRITE", pid, at, ..] if at == place => pid.parse().ok(),
        _ => None,
    })
}

/// Descriptors of database files without a lock: one a file, of which a process locks one or two.
static KEPT: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct FileLock(Option<File>);

impl FileLock {
    /// Takes it; `None` where there is no file, or one that cannot be locked so.
    ///
    /// # Errors
    /// [`StoreError::Locked`] naming the holder's pid, where the system tells it.
    pub(super) fn take(database: &Path) -> Result<Option<FileLock>, StoreError> {
        let Some((id, file)) = open(database) else { return Ok(None) };
        // From here on the descriptor is kept, however it goes.
        let mut lock = FileLock(Some(file));
        let locked = match &lock.0 {
            Some(file) if is_apart(file) => file.try_lock(),
            _ => return Ok(None),
        };
        match locked {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => {
                lock.keep();
                Err(StoreError::locked_elsewhere(database, id.holder()))
            }
            // A file system that knows no such locks.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    fn keep(&mut self) {
        if let Some(file) = self.0.take() {
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = file.unlock();
        }
        self.keep();
    }
}

/// A descriptor of the file, one that is kept if there is one.
fn open(database: &Path) -> Option<(FileId, File)> {
    let metadata = std::fs::metadata(database).ok().filter(Metadata::is_file)?;
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = FileId::of(&metadata);
    let known = kept.iter().position(|file| file.metadata().is_ok_and(|m| FileId::of(&m) == wanted));
    let file = match known {
        Some(at) => kept.swap_remove(at),
        None => File::open(database).ok()?,
    };
    Some((wanted, file))
}

/// File systems of the network, on which a `flock` is a POSIX lock to the server, and would shut SQLite out: NFS, SMB in both
/// its kinds, 9P.
#[cfg(target_os = "linux")]
const NETWORK: [u32; 4] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997];

/// Whether a `flock` and a POSIX lock on the file know nothing of each other.
#[cfg(target_os = "linux")]
fn is_apart(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|s| u32::try_from(s.f_type).is_ok_and(|kind| !NETWORK.contains(&kind)))
}

/// Elsewhere the one is the other.
#[cfg(not(target_os = "linux"))]
fn is_apart(_file: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_locked_under_all_its_names_and_its_descriptor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        assert!(FileLock::take(&one).unwrap().is_none(), "there is no file");
        std::fs::write(&one, "pages").unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        let kept = |path: &Path| {
            let id = FileId::of(&std::fs::metadata(path).unwrap());
            KEPT.lock().unwrap().iter().filter(|f| FileId::of(&f.metadata().unwrap()) == id).count()
        };
        let lock = FileLock::take(&one).unwrap().unwrap();
        let refused = FileLock::take(&two).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(lock);
        assert_eq!(kept(&two), 2);
        let again = FileLock::take(&two).unwrap().unwrap();
        assert_eq!(kept(&two), 1, "it is taken again");
        drop(again);
        std::fs::copy(&one, folder.path().join("copy")).unwrap();
        let _lock = FileLock::take(&one).unwrap().unwrap();
        assert!(FileLock::take(&folder.path().join("copy")).unwrap().is_some(), "a copy is another file");
    }

    #[test]
    fn the_holder_of_a_lock_is_found_among_all_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:7 0 EOF\n2: FLOCK  ADVISORY  READ 12 fe:00:7 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 fe:00:77 0 EOF\n4: FLOCK  ADVISORY  WRITE 14 fe:00:7 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 15 fe:00:7 0 EOF\n";
        assert_eq!(holder_in(locks, "fe:00:7"), Some(14));
        assert_eq!(holder_in(locks, "fe:01:7"), None);
    }
}
