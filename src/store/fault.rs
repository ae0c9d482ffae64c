//! What is wrong with the storage under the database, by what may be done next.

use std::path::PathBuf;

use crate::store::StoreError;
use crate::store::error::extended_code;

/// A fault of the storage. The first heals by itself; after the others nothing may be believed any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageFault {
    /// Nothing can be written for now: the disk is full, or not writable. Reading goes on.
    NoRoom(String),
    /// Reading, writing or flushing failed: what is on the disk is not what was written.
    Failed(String),
    /// The file is damaged.
    Damaged(String),
    /// The paths lead to other files than those that were opened: what is written is written to nobody's database.
    Gone(String),
}

impl StorageFault {
    /// The fault that an error of SQLite tells of, if it is one of the storage.
    pub(super) fn of(error: &sqlx::Error) -> Option<StorageFault> {
        let code = extended_code(error)?;
        let what = error.to_string();
        Some(match (code & 0xff, code) {
            // FULL, READONLY, CANTOPEN; and the shared-memory file of the log that could not grow.
            (13 | 8 | 14, _) | (_, 4_874 | 5_386) => StorageFault::NoRoom(what),
            (10, _) => StorageFault::Failed(what),
            (11 | 26, _) => StorageFault::Damaged(what),
            _ => return None,
        })
    }

    /// Whether it may heal while the program runs.
    pub fn heals(&self) -> bool {
        matches!(self, StorageFault::NoRoom(_))
    }

    /// As an error about a database.
    pub fn error(&self, path: PathBuf) -> StoreError {
        match self.clone() {
            StorageFault::NoRoom(what) => StoreError::NoRoom { path, what },
            StorageFault::Failed(what) => StoreError::Failed { path, what },
            StorageFault::Damaged(what) => StoreError::Damaged { path, what },
            StorageFault::Gone(what) => StoreError::Gone { path, what },
        }
    }
}
