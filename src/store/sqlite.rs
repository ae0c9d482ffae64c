//! The store on an SQLite file: opening it safely, and the trait's methods handed to the files that carry them out.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};

use crate::crash_point;
use crate::domain::claim::Wanted;
use crate::domain::doubt::KnownSend;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Change, Departure, Facts, Verdict};
use crate::domain::recipient::Chat;
use crate::domain::sender::Senders;
use crate::domain::state::Event;
use crate::domain::time::{Millis, Timestamp};
use crate::store::ack_queue::AckQueue;
use crate::store::error::sqlite_code;
use crate::store::names::real_path;
use crate::store::sqlite_writer::Writer;
use crate::store::{
    AckNews, AckTally, ClaimAnswer, DaemonLock, Doubt, EchoFits, EchoNews, Evidence, Gate, NewMessages, Outage,
    Publish, RecentBody, Recipient, Renewal, StorageFault, Store, StoreError, StoredContent, StoredJob, Verified,
    sqlite_audience, sqlite_claim, sqlite_doubt, sqlite_live, sqlite_overlap, sqlite_plan, sqlite_renew,
    sqlite_restore, sqlite_senders, sqlite_upkeep, whereabouts,
};

/// The schema, embedded.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// The first SQLite without the WAL-reset corruption bug (sqlite.org/wal.html).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// Up to this size the whole file is checked before anything is sent; it takes well under a second. A larger one is
/// checked in the first quiet moment; each send is verified by its hash.
const CHECK_AT_START_BYTES: u64 = 256 * 1024 * 1024;

/// Up to this size the check at the start also compares every index with its table, which `quick_check` does not: a row that
/// its index has lost would never be found, and never sent. A larger file is compared in the first quiet moment: 44 MB took
/// 2.1 s on a loaded machine, four times as long as `quick_check`.
const COMPARED_AT_START_BYTES: u64 = 16 * 1024 * 1024;

/// Pages, or steps of a statement, between two looks whether a check may go on: some milliseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// Connections for reading: each is a thread of its own.
const READERS: u32 = 3;

/// How a database is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// By the daemon, which holds the [`DaemonLock`]: made if absent, brought to this schema, checked.
    Daemon,
    /// By a command that changes something beside a daemon that may run: made if absent.
    Beside,
    /// By a command that only reads: must exist.
    Reading,
}

/// A database in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) writer: Option<Writer>,
    acks: Option<AckQueue>,
    pub(super) readers: SqlitePool,
    pub(super) contents: Mutex<HashMap<i64, Arc<StoredContent>>>,
    pub(super) seed: u64,
    uncompared: bool,
    pub(super) maybe_sent_until: Option<Timestamp>,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens a database file.
    ///
    /// # Errors
    /// [`StoreError`] with the way out: absent, missing beside its witness or behind a symbolic link, reached by another name, locked, newer, damaged,
    /// not writable.
    pub async fn open(path: &Path, opening: Opening) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with_seed(path, opening, None).await
    }

    /// Opens a database file whose seed, where it is a new one, is to be the wanted one.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and [`StoreError::OtherSeed`] where the database has another seed.
    pub async fn open_with_seed(path: &Path, opening: Opening, wanted: Option<u64>) -> Result<SqliteStore, StoreError> {
        whereabouts::refuse_dangling(path)?;
        let path = &real_path(path);
        whereabouts::refuse_missing(path)?;
        whereabouts::refuse_other_name(path)?;
        let exists = path.exists();
        if !exists && opening == Opening::Reading {
            return Err(StoreError::Absent { path: path.to_owned() });
        }
        if !exists {
            create_private(path)?;
        }
        let mut connection = connect(path, opening == Opening::Reading).await?;
        check_sqlite(&mut connection, path).await?;
        bring_to_schema(&mut connection, path, opening).await?;
        let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
        let (large, uncompared) = (bytes > CHECK_AT_START_BYTES, bytes > COMPARED_AT_START_BYTES);
        if opening == Opening::Daemon {
            check_schema(&mut connection, path).await?;
            let failed = |e: StoreError| e.storage_fault().map(|fault| fault.error(path.to_owned())).unwrap_or(e);
            sqlite_upkeep::forget_statistics(&mut connection).await.map_err(failed)?;
        }
        if opening == Opening::Daemon && !uncompared {
            compare_file(&mut connection, path).await?;
        } else if opening == Opening::Daemon && !large {
            check_file(&mut connection, path).await?;
        }
        let seed = sqlite_upkeep::seed(&mut connection, opening == Opening::Reading, wanted).await?;
        let own = match opening {
            Opening::Daemon => Some(sqlite_restore::begin(&mut connection, path).await?),
            Opening::Beside | Opening::Reading => None,
        };
        let maybe_sent_until = sqlite_restore::maybe_sent_until(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(options(path).read_only(true));
        let writer = (opening != Opening::Reading).then(|| Writer::start(connection, path.to_owned(), own));
        let acks = writer.clone().map(|writer| AckQueue::start(writer, path.to_owned()));
        let (contents, path) = (Mutex::default(), path.to_owned());
        Ok(SqliteStore { writer, acks, readers, contents, seed, uncompared, maybe_sent_until, path })
    }

    /// The schema number of a file, and the one this program works with.
    ///
    /// # Errors
    /// [`StoreError::Absent`] where there is none, and what opening it refuses.
    pub async fn schema(path: &Path) -> Result<(i64, i64), StoreError> {
        let path = &real_path(path);
        whereabouts::refuse_missing(path)?;
        if !path.exists() {
            return Err(StoreError::Absent { path: path.to_owned() });
        }
        let mut connection = connect(path, true).await?;
        let found = schema_number(&mut connection, path).await;
        let _ = connection.close().await;
        Ok((found?, MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was too large to be checked in full before the first send.
    pub fn is_unchecked(&self) -> bool {
        self.uncompared
    }

    /// Checks the whole file, on a connection of its own so that nobody waits for it. Answers `false` where it was given up
    /// because it may no longer go on.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first thing found.
    pub async fn check_whole(&self, may_go_on: impl FnMut() -> bool + Send + 'static) -> Result<bool, StoreError> {
        let mut connection = connect(&self.path, true).await?;
        let handle = connection.lock_handle().await;
        handle.map_err(StoreError::database("check the file"))?.set_progress_handler(STEPS_BETWEEN_LOOKS, may_go_on);
        match compare_file(&mut connection, &self.path).await {
            Ok(()) => Ok(true),
            Err(StoreError::Database { source, .. }) if sqlite_code(&source) == Some(9) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The seed of every draw made for messages of this database.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is wrong with the storage, if anything is. Never changes where the database is only read.
    pub fn fault(&self) -> tokio::sync::watch::Receiver<Option<StorageFault>> {
        match &self.writer {
            Some(writer) => writer.fault(),
            None => tokio::sync::watch::Sender::new(None).subscribe(),
        }
    }

    /// Nothing is taken into hand that could not be marked.
    fn has_room(&self) -> Result<(), StoreError> {
        let fault = self.writer.as_ref().and_then(|w| w.fault().borrow().clone());
        fault.map_or(Ok(()), |fault| Err(fault.error(self.path.clone())))
    }

    /// What was read, unless the storage failed in it: then the writer, and whoever watches it, learns of that.
    fn believed<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(e), Some(writer)) = (&read, &self.writer)
            && let Some(fault) = e.storage_fault()
        {
            writer.report(fault);
        }
        read
    }

    pub(super) fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer.as_ref().ok_or(StoreError::Closed)
    }

    /// Commits what is queued and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .statement_cache_capacity(200)
        .pragma("temp_store", "memory")
}

pub(super) async fn connect(path: &Path, reading: bool) -> Result<SqliteConnection, StoreError> {
    let options = if reading {
        options(path).read_only(true)
    } else {
        options(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", "67108864")
            .pragma("wal_autocheckpoint", "4000")
    };
    SqliteConnection::connect_with(&options).await.map_err(|e| opening_error(path, e))
}

fn opening_error(path: &Path, error: sqlx::Error) -> StoreError {
    let (path, what) = (path.to_owned(), error.to_string());
    match sqlite_code(&error) {
        Some(11 | 26) => StoreError::Damaged { path, what },
        Some(3 | 8 | 14 | 23) => StoreError::Unwritable { path, what },
        _ => StoreError::Database { doing: "open the file", source: error },
    }
}

/// SQLite would make the file readable by everybody; messages are private.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    let unwritable = |e: std::io::Error| StoreError::Unwritable { path: path.to_owned(), what: e.to_string() };
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(unwritable)?;
    Ok(())
}

async fn check_sqlite(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
        .map_err(|e| opening_error(path, e))?;
    let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if number < OLDEST_SQLITE { Err(StoreError::OldSqlite(version)) } else { Ok(()) }
}

async fn bring_to_schema(connection: &mut SqliteConnection, path: &Path, opening: Opening) -> Result<(), StoreError> {
    let known = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    let found = schema_number(connection, path).await?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    if found == 0 {
        whereabouts::refuse_bare(path)?;
    }
    // Only the holder of the lock migrates: sqlx's own lock is empty for SQLite.
    let _lock = match opening {
        Opening::Daemon => None,
        Opening::Beside => Some(DaemonLock::take_beside(path)?),
        Opening::Reading => return Err(StoreError::Absent { path: path.to_owned() }),
    };
    MIGRATIONS.run(connection).await.map_err(|e| match e {
        sqlx::migrate::MigrateError::Execute(source) => opening_error(path, source),
        other => StoreError::Damaged { path: path.to_owned(), what: other.to_string() },
    })
}

async fn schema_number(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let table = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let has: i64 = sqlx::query_scalar(table).fetch_one(&mut *connection).await.map_err(|e| opening_error(path, e))?;
    if has == 0 {
        return Ok(0);
    }
    let latest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
    sqlx::query_scalar(latest).fetch_one(connection).await.map_err(|e| opening_error(path, e))
}

pub(super) async fn check_file(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    sound(connection, path, "PRAGMA quick_check(1)").await
}

/// As [`check_file`], and every index against its table.
async fn compare_file(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    sound(connection, path, "PRAGMA integrity_check(1)").await
}

async fn sound(connection: &mut SqliteConnection, path: &Path, check: &'static str) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar(check).fetch_one(connection).await.map_err(|e| opening_error(path, e))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged { path: path.to_owned(), what: found }) }
}

/// Every table and index must be declared as this version declares it: damage in a declaration passes every other check,
/// and breaks the statements that use it. What somebody added to the file is his own affair.
async fn check_schema(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let declared = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'";
    let doing = "declare the schema in memory";
    let mut fresh = SqliteConnection::connect("sqlite::memory:")
        .await
        .map_err(StoreError::database("open a database in memory"))?;
    MIGRATIONS.run(&mut fresh).await.map_err(|e| StoreError::Database { doing, source: e.into() })?;
    let wanted: Vec<(String, String)> =
        sqlx::query_as(declared).fetch_all(&mut fresh).await.map_err(StoreError::database(doing))?;
    let _ = fresh.close().await;
    let found: HashMap<String, String> =
        sqlx::query_as(declared).fetch_all(connection).await.map_err(|e| opening_error(path, e))?.into_iter().collect();
    match wanted.iter().find(|(name, sql)| found.get(name) != Some(sql)) {
        None => Ok(()),
        Some((name, _)) => {
            let what = format!("the declaration of {name} is not the one this version makes");
            Err(StoreError::Damaged { path: path.to_owned(), what })
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn claim(&self, instance: &InstanceName, now: Timestamp, wanted: &Wanted) -> Result<ClaimAnswer, StoreError> {
        self.has_room()?;
        let claimed = sqlite_claim::claim(self, instance, now, wanted).await;
        self.believed(claimed)
    }

    async fn verify(&self, ids: &[MessageId], now: Timestamp, horizon: Timestamp) -> Result<Verified, StoreError> {
        sqlite_claim::verify(self, ids, now, horizon).await
    }

    async fn recent_bodies(&self, since: Timestamp) -> Result<Vec<RecentBody>, StoreError> {
        sqlite_claim::recent_bodies(self, since).await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        sqlite_upkeep::expire(self, now).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Verdict>, StoreError> {
        // What evidence or a person settled may let others go on: they are told, whoever holds them.
        let settles = changes.iter().any(|c| matches!(c.facts, Facts::Verdict { .. } | Facts::Moved { .. }));
        let writer = self.writer()?;
        let verdicts = writer.apply(changes).await?;
        if settles {
            writer.tell();
        }
        Ok(verdicts)
    }

    async fn record_acks(&self, acks: Vec<AckNews>) -> Result<AckTally, StoreError> {
        self.acks.as_ref().ok_or(StoreError::Closed)?.record(acks).await
    }

    async fn count_ignored_hook(&self, instance: &InstanceName, event: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlite_upkeep::count_ignored_hook(self.writer()?, instance, event, now).await
    }

    async fn remember_standing(
        &self,
        instance: &InstanceName,
        state: &'static str,
        reason: Option<String>,
        until: Option<Timestamp>,
        outage: Option<(Timestamp, Timestamp)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlite_upkeep::remember_standing(self.writer()?, instance, state, reason, until, outage, now).await
    }

    async fn recent_sends(&self, instance: &InstanceName, since: Timestamp) -> Result<Vec<Departure>, StoreError> {
        sqlite_upkeep::recent_sends(self, instance, since).await
    }

    async fn outages(&self, since: Timestamp) -> Result<Vec<Outage>, StoreError> {
        sqlite_upkeep::outages(self, since).await
    }

    async fn instances_in_doubt(&self, now: Timestamp) -> Result<Vec<InstanceName>, StoreError> {
        sqlite_doubt::instances_in_doubt(self, now).await
    }

    async fn doubts_to_look_at(
        &self,
        instance: &InstanceName,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Doubt>, StoreError> {
        sqlite_doubt::doubts_to_look_at(self, instance, now, limit).await
    }

    async fn record_echoes(&self, echoes: Vec<EchoNews>) -> Result<u64, StoreError> {
        sqlite_doubt::record_echoes(self, echoes).await
    }

    async fn echoes_to_settle(&self) -> Result<Vec<EchoFits>, StoreError> {
        sqlite_doubt::echoes_to_settle(self).await
    }

    async fn forget_echoes(&self, now: Timestamp) -> Result<(), StoreError> {
        sqlite_doubt::forget_echoes(self, now).await
    }

    async fn note_duplicate(&self, evidence: Evidence) -> Result<bool, StoreError> {
        sqlite_doubt::note_duplicate(self, evidence).await
    }

    async fn known_sends(
        &self,
        instance: &InstanceName,
        gateway_ids: Vec<String>,
        attempt: (MessageId, u32),
        shown_after: Millis,
    ) -> Result<HashMap<String, KnownSend>, StoreError> {
        sqlite_doubt::known_sends(self, instance, gateway_ids, attempt, shown_after).await
    }

    async fn rivals(
        &self,
        instance: &InstanceName,
        of: MessageId,
        chat: &Chat,
        body: i64,
    ) -> Result<usize, StoreError> {
        sqlite_doubt::rivals(self, instance, of, chat, body).await
    }

    async fn add_evidence(&self, evidence: Evidence) -> Result<(), StoreError> {
        sqlite_doubt::add_evidence(self, evidence).await
    }

    async fn jobs_passed(&self, now: Timestamp, after: &str, limit: usize) -> Result<Vec<StoredJob>, StoreError> {
        self.believed(sqlite_plan::jobs_passed(self, now, after, limit).await)
    }

    async fn jobs_to_plan(&self, now: Timestamp, limit: usize) -> Result<Vec<StoredJob>, StoreError> {
        self.believed(sqlite_plan::jobs_to_plan(self, now, limit).await)
    }

    async fn replace_left(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.replace_some(now).await
    }

    async fn renewals(&self, limit: usize) -> Result<Vec<Renewal>, StoreError> {
        self.believed(sqlite_renew::renewals(self, limit).await)
    }

    async fn show_as_it_is(&self, job: &str, nominal: Timestamp) -> Result<(), StoreError> {
        sqlite_renew::show_as_it_is(self, job, nominal).await
    }

    async fn next_plan_at(&self) -> Result<Option<Timestamp>, StoreError> {
        sqlite_plan::next_plan_at(self).await
    }

    async fn note_outage(&self, began: Timestamp, ended: Timestamp) -> Result<(), StoreError> {
        sqlite_upkeep::note_outage(self.writer()?, began, ended).await
    }

    async fn gates(&self, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
        sqlite_overlap::gates(self, now).await
    }

    async fn next_gate_at(&self) -> Result<Option<Timestamp>, StoreError> {
        sqlite_overlap::next_gate_at(self).await
    }

    async fn unfinished_before(&self, gate: &Gate) -> Result<Option<i64>, StoreError> {
        sqlite_overlap::unfinished_before(self, gate).await
    }

    async fn queued(&self, job: &str) -> Result<u64, StoreError> {
        sqlite_overlap::queued(self, job).await
    }

    async fn pass_gate(&self, gate: &Gate, again: Option<Timestamp>) -> Result<(), StoreError> {
        sqlite_overlap::pass_gate(self, gate.occurrence, again).await
    }

    async fn settle_waiting(
        &self,
        occurrence: i64,
        event: Event,
        note: &'static str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        sqlite_overlap::settle_waiting(self, (occurrence, sqlite_overlap::Whom::Waiting), &event, note, now).await
    }

    async fn known_occurrence(&self, job: &str, nominal: Timestamp) -> Result<Option<(i64, bool)>, StoreError> {
        sqlite_plan::known_occurrence(self, job, nominal).await
    }

    async fn untouched_since_outage(&self, job: &str, before: Timestamp) -> Result<Vec<(i64, Timestamp)>, StoreError> {
        sqlite_overlap::untouched_since_outage(self, job, before).await
    }

    async fn replaced(
        &self,
        job: &str,
        nominal: Timestamp,
        chats: Vec<Chat>,
    ) -> Result<HashMap<(Chat, i32), Timestamp>, StoreError> {
        sqlite_live::replaced(self, job, nominal, chats).await
    }

    async fn senders(&self, chats: Vec<Chat>) -> Result<Senders, StoreError> {
        sqlite_senders::senders(self, chats).await
    }

    async fn recipients(
        &self,
        audience: i64,
        after_place: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Recipient)>, StoreError> {
        sqlite_audience::recipients(self, audience, after_place, limit).await
    }

    async fn content(&self, id: i64) -> Result<Arc<StoredContent>, StoreError> {
        sqlite_claim::content(self, id).await
    }

    async fn insert(&self, mut messages: NewMessages) -> Result<u64, StoreError> {
        self.hold_maybe_sent(&mut messages, false);
        let published = messages.publish.is_some() || messages.nominal_at.is_none();
        crash_point::pass("plan_begins");
        let writer = self.writer()?;
        let n = match messages.job {
            None => writer.insert(messages).await?,
            Some(_) => writer.run(move |c| Box::pin(async move { sqlite_plan::insert(c, messages).await })).await?,
        };
        crash_point::pass("planned");
        if published {
            writer.tell();
        }
        Ok(n)
    }

    async fn advance_job(&self, name: &str, expected: Option<Timestamp>, publish: Publish) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer()?
            .run(move |c| Box::pin(async move { sqlite_plan::advance_job(c, &name, expected, publish).await }))
            .await
    }

    async fn heartbeat(&self, now: Timestamp) -> Result<(), StoreError> {
        sqlite_upkeep::heartbeat(self.writer()?, now).await
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        match &self.writer {
            Some(writer) => writer.changes(),
            None => tokio::sync::watch::Sender::new(0).subscribe(),
        }
    }
}
