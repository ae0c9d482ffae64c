//! Which database a command works on.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::cli::Global;
use crate::cli::exit::{Exit, told};
use crate::clock;
use crate::domain::time::Timestamp;
use crate::intake;
use crate::store::{self, Opening, SqliteStore, StoreError};

const FILE: &str = "onthedot.db";

/// The database of a command: what it says, else `$ONTHEDOT_DB`, else a file in the state folder. Of a symbolic link the file
/// that it leads to.
///
/// # Errors
/// For a name that is no path, and a symbolic link that leads to nothing.
pub(super) fn database(global: &Global) -> anyhow::Result<PathBuf> {
    let named = named(global)?;
    store::refuse_dangling(&named)?;
    file(&named)
}

/// As [`database`], of one that is put in its place: there may be none behind a symbolic link.
///
/// # Errors
/// For a name that is no path.
pub(super) fn database_to_be(global: &Global) -> anyhow::Result<PathBuf> {
    file(&named(global)?)
}

fn file(named: &Path) -> anyhow::Result<PathBuf> {
    let path = store::real_path(named);
    refuse_uri(&path)?;
    Ok(path)
}

/// Refuses what SQLite takes for something else than the path of a file: it would open another file than the one that is locked.
///
/// # Errors
/// [`Exit::Config`].
pub(super) fn refuse_uri(path: &Path) -> anyhow::Result<()> {
    let name = path.as_os_str().as_encoded_bytes();
    let what = if name.is_empty() {
        "it is empty"
    } else if name == b":memory:" {
        "a database in memory knows nothing of what went out"
    } else if name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"file:")) {
        "it is a URI"
    } else {
        return Ok(());
    };
    let why = format!(
        "'{}' is not the path of a file ({what}): give a path; one that looks like this begins with ./",
        path.display()
    );
    Err(told(Exit::Config, why))
}

fn named(global: &Global) -> anyhow::Result<PathBuf> {
    let named = global.db.clone().or_else(|| std::env::var("ONTHEDOT_DB").ok().filter(|v| !v.is_empty()));
    if let Some(named) = named {
        return local(&named);
    }
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(state) = folder("STATE_DIRECTORY") {
        return Ok(state.join(FILE));
    }
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|h| h.join(".local").join("state")));
    match state {
        Some(state) => Ok(state.join("onthedot").join(FILE)),
        None => Err(told(Exit::Config, "there is no home folder to keep a database in; name one with --db")),
    }
}

/// The database in which the lists of a jobs file stand, where it can be told which that is.
pub(super) fn lists(global: &Global) -> Option<PathBuf> {
    database(global).ok()
}

fn local(named: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = named.strip_prefix("sqlite://").or_else(|| named.strip_prefix("sqlite:")) {
        return Ok(PathBuf::from(path));
    }
    if named.contains("://") {
        return Err(told(Exit::Config, "this version keeps its database in a file: give a path with --db"));
    }
    Ok(PathBuf::from(named))
}

/// Opens the database of a command.
pub(super) async fn open(global: &Global, opening: Opening) -> anyhow::Result<SqliteStore> {
    let path = database(global)?;
    if opening != Opening::Reading
        && let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty())
    {
        make_private(folder)?;
    }
    Ok(SqliteStore::open(&path, opening).await?)
}

/// Opens the database of a command that can do without one, for reading.
pub(super) async fn open_if_there(global: &Global) -> anyhow::Result<Option<SqliteStore>> {
    match SqliteStore::open(&database(global)?, Opening::Reading).await {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::Absent { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Refuses to work on a database that does not exist yet: what a command would change cannot be in it.
pub(super) async fn must_exist(global: &Global) -> anyhow::Result<()> {
    let path = database(global)?;
    if !path.exists() {
        SqliteStore::open(&path, Opening::Reading).await?.close().await;
    }
    Ok(())
}

/// The zone in which instants are read and shown: that of the file applied last, else the system's.
pub(super) async fn zone(store: &SqliteStore) -> anyhow::Result<Zone> {
    let stored = intake::stored_defaults(store).await?.map(|d| d.zone);
    let name = stored.unwrap_or_else(clock::system_zone_name);
    let zone = clock::zone(&name).unwrap_or(TimeZone::UTC);
    Ok(Zone { name, zone })
}

/// A zone with its name.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    /// As IANA has it.
    pub name: String,
    /// What it means.
    pub zone: TimeZone,
}

impl Zone {
    /// An instant on its clock, to the second.
    pub(super) fn show(&self, t: Timestamp) -> String {
        t.in_zone(&self.zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// An instant on its clock with weekday, milliseconds and the zone's abbreviation.
    pub(super) fn show_exactly(&self, t: Timestamp) -> String {
        t.in_zone(&self.zone).strftime("%a %Y-%m-%d %H:%M:%S%.3f %Z").to_string()
    }
}

/// Makes a folder that only this user can look into, if it does not exist yet.
pub(super) fn make_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| told(Exit::Damaged, format!("the folder {} cannot be made: {e}", folder.display())))
}
