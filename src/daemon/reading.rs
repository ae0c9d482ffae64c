//! The jobs file, read anew beside others who change the jobs: what was read before they did is not applied.

use crate::clock;
use crate::config::{self, ConfigError, Settings};
use crate::daemon::{DaemonError, DaemonOptions, tell_applied};
use crate::intake::{self, AppliedFile, IntakeError, READINGS};
use crate::store::{InstanceRow, SqliteStore, StoreError};
use crate::zones;

/// Applies the jobs file as it was read before the database was opened, and reads it again where that is outdated.
pub(super) async fn apply_first(options: &mut DaemonOptions, store: &SqliteStore) -> Result<(), DaemonError> {
    let Some(settings) = &mut options.settings else { return Ok(()) };
    let jobs = std::mem::take(&mut settings.jobs);
    let how = (options.prune, options.revision);
    match intake::apply_file(store, settings, jobs, how, clock::now()).await {
        Err(e) if e.is_outdated() => {
            tracing::warn!("{e}; the file is read again");
            apply(options, store).await
        }
        applied => {
            tell_applied(&applied?, options.prune);
            Ok(())
        }
    }
}

/// Reads the jobs file anew and applies its jobs. A file with errors changes nothing.
pub(super) async fn reload(options: &DaemonOptions, store: &SqliteStore) {
    clock::forget_zones();
    match apply(options, store).await {
        Ok(()) => {}
        Err(DaemonError::NothingToServe) => {
            tracing::warn!("there is no jobs file to read anew: this daemon serves the jobs of its database");
            return;
        }
        Err(DaemonError::Config(ConfigError(findings))) => {
            findings.iter().for_each(|finding| tracing::error!("{finding}"));
            tracing::error!("the jobs file has errors; what was applied before stays");
            return;
        }
        Err(e) => tracing::error!(error = %e, "the jobs file could not be applied; what was applied before stays"),
    }
    if let Err(e) = zones::settle(store, clock::now()).await {
        tracing::error!(error = %e, "it could not be found out whether the time zones changed");
    }
}

/// Reads the jobs file and applies it, again where others changed the jobs or its recipients meanwhile.
pub(super) async fn apply(options: &DaemonOptions, store: &SqliteStore) -> Result<(), DaemonError> {
    for reading in 1.. {
        match apply_once(options, store).await {
            Err(e) if e.is_outdated() && reading < READINGS => tracing::info!("{e}; the file is read again"),
            Err(ReadError::File(e)) => return Err(e.into()),
            Err(ReadError::Intake(e)) => return Err(e.into()),
            Err(ReadError::None) => return Err(DaemonError::NothingToServe),
            Ok((settings, before, applied)) => {
                tell_applied(&applied, options.prune);
                tell_restart(options, &settings, &before);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Why a file that was read is not applied.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("there is no jobs file")]
    None,
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

impl From<StoreError> for ReadError {
    fn from(e: StoreError) -> Self {
        ReadError::Intake(e.into())
    }
}

impl ReadError {
    fn is_outdated(&self) -> bool {
        matches!(self, ReadError::Intake(e) if e.is_outdated())
    }
}

async fn apply_once(
    options: &DaemonOptions,
    store: &SqliteStore,
) -> Result<(Settings, Vec<InstanceRow>, AppliedFile), ReadError> {
    let (path, lists) = options.settings.as_ref().map(|s| (&s.path, s.lists.as_deref())).ok_or(ReadError::None)?;
    let revision = store.jobs_revision().await?;
    let mut settings = config::load(path, options.sandbox.is_some(), lists, clock::now())?;
    let before = store.instances().await?;
    let jobs = std::mem::take(&mut settings.jobs);
    let how = (options.prune, Some(revision));
    let applied = intake::apply_file(store, &settings, jobs, how, clock::now()).await?;
    Ok((settings, before, applied))
}

/// Says what of a file read anew counts only after a restart.
fn tell_restart(options: &DaemonOptions, settings: &Settings, before: &[InstanceRow]) {
    for row in intake::changed_instances(settings, before) {
        tracing::warn!(instance = %row.name, "the instance is new or changed: it is served so after a restart");
    }
    let began = options.settings.as_ref().map(|s| (&s.daemon.listen, s.daemon.shutdown));
    if began != Some((&settings.daemon.listen, settings.daemon.shutdown)) {
        tracing::warn!("`daemon` of the jobs file changed: it counts after a restart");
    }
}
