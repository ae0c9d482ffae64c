//! Caring for the file: backups, checks, and a short log.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::crash_point;
use crate::domain::time::Timestamp;
use crate::store::names::{beside, real_path};
use crate::store::sqlite::{check_file, connect, create_private};
use crate::store::{SqliteStore, StoreError};

/// The log is cut to nothing when it is larger than this after what could be folded in was.
const LOG_BOUND_BYTES: u64 = 64 * 1024 * 1024;

/// How long cutting the log may keep the writer waiting, in ms: less than the lead of a mark.
const CUTTING_WAITS_MS: u32 = 20;

/// What folding the log into the file did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Pages the log held.
    pub pages: u64,
    /// Of them not folded in, because somebody still reads what was before.
    pub left: u64,
    /// The size of the log's file afterwards.
    pub bytes: u64,
}

impl SqliteStore {
    /// Writes a whole and consistent copy of the database beside whatever goes on. The file must not exist.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] when it exists or cannot be made.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let unwritable = |what: String| StoreError::Unwritable { path: to.to_owned(), what };
        if to.exists() {
            return Err(unwritable("it exists already; a backup overwrites nothing".to_owned()));
        }
        // Made first, so that it is nobody else's to read for a moment either.
        create_private(to)?;
        let mut connection: SqliteConnection = connect(self.path(), true).await?;
        let copied = sqlx::query("VACUUM INTO ?1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await
            .map_err(|e| unwritable(e.to_string()));
        let _ = connection.close().await;
        if copied.is_err() {
            let _ = std::fs::remove_file(to);
        }
        copied.map(|_| ())
    }

    /// Checks the file from end to end, and that no row refers to one that is not there. Answers what is wrong.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub async fn check_all(&self) -> Result<Vec<String>, StoreError> {
        let mut connection = connect(self.path(), true).await?;
        let doing = StoreError::database("check the file");
        let mut found: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check(100)").fetch_all(&mut connection).await.map_err(doing)?;
        found.retain(|line| line != "ok");
        let dangling: Vec<String> = sqlx::query_scalar("SELECT DISTINCT \"table\" FROM pragma_foreign_key_check")
            .fetch_all(&mut connection)
            .await
            .map_err(StoreError::database("check references"))?;
        found.extend(dangling.into_iter().map(|t| format!("rows of {t} refer to rows that are not there")));
        let _ = connection.close().await;
        Ok(found)
    }

    /// Folds the write-ahead log into the file. Nobody waits for it; only a log that has grown beyond its bound is cut
    /// to nothing, which the writer may wait for a moment.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn checkpoint(&self) -> Result<Folded, StoreError> {
        let mut connection = connect(self.path(), false).await?;
        let mut log = self.path().as_os_str().to_owned();
        log.push("-wal");
        let size = || std::fs::metadata(&log).map_or(0, |m| m.len());
        let mut folded = fold(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await;
        if size() > LOG_BOUND_BYTES {
            let wait = format!("PRAGMA busy_timeout = {CUTTING_WAITS_MS}");
            let _ = sqlx::query(sqlx::AssertSqlSafe(wait)).execute(&mut connection).await;
            folded = fold(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        }
        let _ = connection.close().await;
        folded.map(|f| Folded { bytes: size(), ..f })
    }

    /// Puts a backup in the place of a database nobody has open. Answers under which name what was there is kept. Wherever
    /// it ends in between, a whole database stands in that place: the one before, or the backup.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] when a file cannot be copied or written; then the database is as it was.
    pub async fn put_in_place(backup: &Path, database: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
        let database = &real_path(database);
        let unwritable = |e: std::io::Error| StoreError::Unwritable { path: database.to_owned(), what: e.to_string() };
        let part = beside(database, ".part");
        let _ = std::fs::remove_file(&part);
        create_private(&part)?;
        let mut to = std::fs::OpenOptions::new().write(true).open(&part).map_err(unwritable)?;
        let mut from = std::fs::File::open(backup).map_err(unwritable)?;
        std::io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(unwritable)?;
        let kept = keep_aside(database, now).await.map_err(unwritable)?;
        crash_point::pass("kept_aside");
        // A log that stayed would be played into the backup.
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(database, ending));
        }
        crash_point::pass("log_removed");
        std::fs::rename(&part, database).map_err(unwritable)?;
        let folder = database.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(unwritable)?;
        Ok(kept)
    }

    /// Checks a copy made by [`SqliteStore::backup`].
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub async fn check_copy(copy: &Path) -> Result<(), StoreError> {
        let mut connection = connect(copy, true).await?;
        let sound = check_file(&mut connection, copy).await;
        let _ = connection.close().await;
        sound
    }
}

/// Gives a database a second name, with its log folded in where it can still be read. Of one that is gone the log alone.
async fn keep_aside(database: &Path, now: Timestamp) -> std::io::Result<Option<PathBuf>> {
    let bytes = |ending| std::fs::metadata(beside(database, ending)).map_or(0, |m| m.len());
    if bytes("") == 0 && bytes("-wal") == 0 {
        return Ok(None);
    }
    // With the first look at an empty file SQLite would remove its log.
    if bytes("") > 0
        && let Ok(mut connection) = connect(database, false).await
    {
        let _ = fold(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        let _ = connection.close().await;
    }
    let stamp = now.in_zone(&jiff::tz::TimeZone::UTC).strftime(".before-%Y%m%dT%H%M%SZ").to_string();
    // Never over what is there: a second name may be the very file it would be copied from.
    let mut kept = beside(database, &stamp);
    let mut number = 1;
    while kept.exists() || beside(&kept, "-wal").exists() {
        number += 1;
        kept = beside(database, &format!("{stamp}-{number}"));
    }
    for ending in ["", "-wal"] {
        let (old, new) = (beside(database, ending), beside(&kept, ending));
        if bytes(ending) > 0 && std::fs::hard_link(&old, &new).is_err() {
            let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            std::io::copy(&mut std::fs::File::open(&old)?, &mut to)?;
            to.sync_all()?;
        }
    }
    Ok(Some(if bytes("") > 0 { kept } else { beside(&kept, "-wal") }))
}

async fn fold(connection: &mut SqliteConnection, how: &'static str) -> Result<Folded, StoreError> {
    let (_, pages, done): (i64, i64, i64) =
        sqlx::query_as(how).fetch_one(connection).await.map_err(StoreError::database("fold the log into the file"))?;
    // Both are -1 where there is no log.
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Folded { pages: count(pages), left: count(pages).saturating_sub(count(done)), bytes: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Opening;

    #[tokio::test]
    async fn restores_within_one_second_keep_what_was_there_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (database, copy) = (folder.path().join("db"), folder.path().join("copy"));
        let store = SqliteStore::open(&database, Opening::Daemon).await.unwrap();
        store.backup(&copy).await.unwrap();
        store.close().await;
        let now = Timestamp(1_760_000_000_000);
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let kept = SqliteStore::put_in_place(&copy, &database, now).await.unwrap().unwrap();
            SqliteStore::check_copy(&kept).await.unwrap();
            assert!(std::fs::metadata(&kept).unwrap().len() > 0 && std::fs::metadata(&database).unwrap().len() > 0);
            assert!(names.insert(kept));
        }
        // The database itself, kept under a second name by a restore that was cut off, is not copied onto itself.
        let kept = keep_aside(&database, now).await.unwrap().unwrap();
        let again = keep_aside(&database, now).await.unwrap().unwrap();
        assert!(kept != again && std::fs::metadata(&database).unwrap().len() > 0);
    }
}
