//! What can go wrong with the database, and what to do about it.

use std::path::{Path, PathBuf};

use crate::store::fault::StorageFault;

/// An error of the store. Each says what was being done and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon runs on this database.
    #[error(
        "another daemon (pid {pid}) holds the database {path}; stop it first, or give this one a database of its own with --db"
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// The holder, as far as its lock file tells.
        pid: String,
    },
    /// Another import goes on.
    #[error("another import (pid {pid}) is writing to the database {path}; wait for it to end")]
    Importing {
        /// The database.
        path: PathBuf,
        /// The holder, as far as its lock file tells.
        pid: String,
    },
    /// A chore goes on.
    #[error("a chore of the database {path} runs already (pid {pid}); wait for it to end")]
    Busy {
        /// The database.
        path: PathBuf,
        /// The holder, as far as its lock file tells.
        pid: String,
    },
    /// The file was written by a later version.
    #[error(
        "the database {path} was written by a newer version of onthedot (its schema is {found}, this one knows {known}); run that version, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema number.
        found: i64,
        /// The latest number this program knows.
        known: i64,
    },
    /// The file is damaged or not a database.
    #[error(
        "the database {path} is damaged or not a database ({what}); nothing more is sent. Move it away with its -wal and -shm files and restore a backup"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Nothing can be written for now.
    #[error(
        "the database {path} cannot be written for now ({what}); nothing is sent until there is room on its disk, and then it goes on by itself"
    )]
    NoRoom {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// The storage failed.
    #[error(
        "the storage of the database {path} failed ({what}); nothing more is sent. Look at the disk, then start again: what was out is in doubt, nothing is lost"
    )]
    Failed {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// Somebody else holds the database.
    #[error("the database {path} was locked by another program for {seconds} s; end that program, then try again")]
    Occupied {
        /// The database.
        path: PathBuf,
        /// How long was waited, in seconds.
        seconds: u32,
    },
    /// The file is not where it was when it was opened.
    #[error(
        "the database {path} is not the one that was opened any more ({what}); nothing more is sent. Put its file back, or restore a backup by `onthedot --db {path} db restore BACKUP`, then start again"
    )]
    Gone {
        /// The database.
        path: PathBuf,
        /// What became of which file.
        what: String,
    },
    /// The file is gone, and what stands beside it knows of it.
    #[error(
        "the database {path} {what}, but it was used: {signs}. A new one in its place knows nothing of what went out and could send it again, so none is made and nothing is sent. Put the file back; or restore a backup by `onthedot --db {path} db restore BACKUP`; or, to begin anew all the same, move {beside} away"
    )]
    Missing {
        /// The database.
        path: PathBuf,
        /// What is wrong with its file.
        what: &'static str,
        /// By what it is known that it was used.
        signs: String,
        /// The files that know it.
        beside: String,
    },
    /// The name is a symbolic link that leads to nothing.
    #[error(
        "the database {path} is a symbolic link that leads to {target}, and there is no file: there was one, and a new one in its place knows nothing of what went out and could send it again, so none is made and nothing is sent. Put the file back, as by mounting what it is on; or restore a backup by `onthedot --db {path} db restore BACKUP`; or, to begin anew all the same, name the file itself by `--db {target}`, or remove the link"
    )]
    Dangling {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The file has several names, and this is not the one it is used by.
    #[error(
        "the database {path} is one file with several names ({how}), and may be used by one of them only: what SQLite writes stands beside that one first. Use the name that has a .witness file beside it, or, where none has, remove all names but one; or make a copy by `onthedot --db THAT db backup COPY` and use the copy"
    )]
    OtherName {
        /// The name that was given.
        path: PathBuf,
        /// How it came to have several.
        how: String,
    },
    /// The file cannot be read or written.
    #[error(
        "the database {path} cannot be opened for writing ({what}); check that the folder exists and is writable by this user"
    )]
    Unwritable {
        /// The database.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
    /// There is no database yet.
    #[error("there is no database at {path} yet; `onthedot run JOBS.yaml` makes one, --db names another")]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Somebody else changed the jobs while a file was read.
    #[error(
        "the jobs were changed by somebody else while the file was read, and nothing of it is applied; run the command again"
    )]
    Overtaken,
    /// A list of recipients was forgotten before its job was stored: it was stored so slowly that it was taken to be one whose command
    /// died, or somebody pruned meanwhile.
    #[error(
        "the recipients that were stored were forgotten before their job was: they took more than an hour, or somebody pruned meanwhile; nothing was changed, run the command again"
    )]
    AudienceAbandoned,
    /// A job was changed while messages were made of it.
    #[error(
        "the job '{job}' was changed or removed while its messages were made, and none of them is sent; look at it with `onthedot job show {job}`, then try again"
    )]
    JobChanged {
        /// The job.
        job: String,
    },
    /// The database belongs to the other mode.
    #[error("the database {path} is a {is} one and cannot be used in {wanted} mode; give another with --db")]
    OtherMode {
        /// The database.
        path: PathBuf,
        /// `sandbox` or `real`.
        is: String,
        /// `sandbox` or `real`.
        wanted: String,
    },
    /// The database draws by another seed.
    #[error(
        "--seed {wanted}: the database draws by the seed {is} since it was made; leave --seed out, or give another database with --db"
    )]
    OtherSeed {
        /// The seed it has.
        is: u64,
        /// The one asked for.
        wanted: u64,
    },
    /// The bundled SQLite is one with a known corruption bug.
    #[error("this build carries SQLite {0}, which can corrupt databases in WAL mode; 3.51.3 or later is needed")]
    OldSqlite(String),
    /// A row holds what no version of this program writes.
    #[error("the database holds an unexpected value in {table}.{column}: {what}; run `onthedot db check`")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The value.
        what: String,
    },
    /// A value is not of its column's type, or no text.
    #[error(
        "the database holds a value that cannot be read, in column {column} of what was asked for: {what}; run `onthedot db check`"
    )]
    Unreadable {
        /// Its place in the answer, from 0.
        column: usize,
        /// What is wrong with it.
        what: String,
    },
    /// SQLite refused.
    #[error("the database refused to {doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The writer has ended because the store was closed.
    #[error("the database is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |source| StoreError::Database { doing, source }
    }

    /// A daemon holds the file under another name.
    pub(super) fn locked_elsewhere(path: &Path, pid: Option<u32>) -> StoreError {
        let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
        StoreError::Locked { path: path.to_owned(), pid: format!("{pid}, under another name of the file") }
    }

    /// Whether something new was to refer to a row that is gone, as when it was pruned in between.
    pub fn refers_to_what_is_gone(&self) -> bool {
        let StoreError::Database { source, .. } = self else { return false };
        source.as_database_error().is_some_and(|e| e.is_foreign_key_violation())
    }

    /// The fault of the storage that this error tells of, if it is one.
    pub fn storage_fault(&self) -> Option<StorageFault> {
        match self {
            StoreError::Database { source, .. } => StorageFault::of(source),
            StoreError::NoRoom { what, .. } => Some(StorageFault::NoRoom(what.clone())),
            StoreError::Failed { what, .. } => Some(StorageFault::Failed(what.clone())),
            StoreError::Damaged { what, .. } => Some(StorageFault::Damaged(what.clone())),
            StoreError::Gone { what, .. } => Some(StorageFault::Gone(what.clone())),
            _ => None,
        }
    }
}

/// SQLite's primary result code of an error.
pub(super) fn sqlite_code(error: &sqlx::Error) -> Option<i64> {
    extended_code(error).map(|code| code & 0xff)
}

/// SQLite's extended result code of an error.
pub(super) fn extended_code(error: &sqlx::Error) -> Option<i64> {
    error.as_database_error()?.code()?.parse().ok()
}
