//! Whether another process changed the database: SQLite counts that (`PRAGMA data_version`), and only SQLite knows whose change
//! it was. The question goes to the connection's thread and back, which costs an idle daemon more than everything else it does,
//! so it is not asked while the log's file stands as it stood.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sqlx::SqliteConnection;

/// Asked at least with every so many looks, whatever the file seems to be: some file systems tell a change late.
const LOOKS_BETWEEN_QUESTIONS: u32 = 10;

/// What is known of other processes' changes.
pub(super) struct Foreign {
    log: PathBuf,
    /// Length and time of the log's last change.
    stamp: Option<(u64, SystemTime)>,
    /// Whether the stamp was another one at the look before. A file's time has steps of some milliseconds, so a change just
    /// after a look may leave it as it is: it is asked once more.
    moved: bool,
    looks: u32,
    version: Option<i64>,
}

impl Foreign {
    /// Of the database at `path`.
    pub(super) fn new(path: &Path) -> Foreign {
        let mut log = OsString::from(path);
        log.push("-wal");
        Foreign { log: log.into(), stamp: None, moved: true, looks: 0, version: None }
    }

    /// Whether there was a change since the last look. The first look finds one.
    pub(super) async fn changed(&mut self, connection: &mut SqliteConnection) -> bool {
        self.looks = self.looks.wrapping_add(1);
        if !self.may_have_changed() && !self.looks.is_multiple_of(LOOKS_BETWEEN_QUESTIONS) {
            return false;
        }
        let version = sqlx::query_scalar::<_, i64>("PRAGMA data_version").fetch_one(connection).await.ok();
        version.is_some() && self.version.replace(version.unwrap_or(0)) != version
    }

    fn may_have_changed(&mut self) -> bool {
        let stamp = std::fs::metadata(&self.log).and_then(|log| Ok((log.len(), log.modified()?))).ok();
        let moved = stamp.is_none() || stamp != self.stamp;
        self.stamp = stamp;
        std::mem::replace(&mut self.moved, moved) || moved
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
    use sqlx::{ConnectOptions, Connection};

    use super::*;

    #[tokio::test]
    async fn another_connections_change_is_seen_at_the_next_look_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let options =
            SqliteConnectOptions::new().filename(&path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let (mut own, mut other) = (options.connect().await.unwrap(), options.connect().await.unwrap());
        sqlx::query("CREATE TABLE t (a)").execute(&mut own).await.unwrap();
        let mut foreign = Foreign::new(&path);
        assert!(foreign.changed(&mut own).await, "the first look");
        for n in 0..50 {
            sqlx::query("INSERT INTO t VALUES (?)").bind(n).execute(&mut other).await.unwrap();
            assert!(foreign.changed(&mut own).await, "{n}");
            sqlx::query("INSERT INTO t VALUES (?)").bind(n).execute(&mut own).await.unwrap();
            for look in 0..LOOKS_BETWEEN_QUESTIONS {
                assert!(!foreign.changed(&mut own).await, "{n}, look {look}: only our own changes");
            }
        }
        other.close().await.unwrap();
    }
}
