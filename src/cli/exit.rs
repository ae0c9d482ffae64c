//! Exit codes: what scripts decide by.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::intake::IntakeError;
use crate::sandbox::SandboxError;
use crate::store::StoreError;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: failed.
    Failed,
    /// 2: called wrongly.
    Usage,
    /// 3: not found.
    NotFound,
    /// 4: partly done.
    Partly,
    /// 5: refused by a rule.
    Refused,
    /// 65: the data given is bad.
    BadData,
    /// 69: the gateway or the daemon cannot be reached.
    Unreachable,
    /// 74: the database is damaged, unreadable or gone.
    Damaged,
    /// 75: another daemon holds the database.
    Held,
    /// 78: bad or missing configuration.
    Config,
    /// 124: a wait ran out.
    TimedOut,
    /// 130: interrupted.
    Interrupted,
    /// 0 as well: whoever read the output has enough.
    BrokenPipe,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Exit::Ok | Exit::BrokenPipe => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Partly => 4,
            Exit::Refused => 5,
            Exit::BadData => 65,
            Exit::Unreachable => 69,
            Exit::Damaged => 74,
            Exit::Held => 75,
            Exit::Config => 78,
            Exit::TimedOut => 124,
            Exit::Interrupted => 130,
        })
    }
}

/// An error that carries its own exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Told {
    exit: Exit,
    message: String,
}

/// An error with an exit code.
pub(super) fn told(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Told { exit, message: message.into() }.into()
}

/// The exit code of an error.
pub(super) fn of(error: &anyhow::Error) -> Exit {
    if let Some(told) = error.downcast_ref::<Told>() {
        return told.exit;
    }
    if error.downcast_ref::<ConfigError>().is_some() {
        return Exit::Config;
    }
    if let Some(e) = error.downcast_ref::<StoreError>() {
        return of_store(e);
    }
    if let Some(e) = error.downcast_ref::<IntakeError>() {
        return match e {
            IntakeError::Store(e) => of_store(e),
            IntakeError::Config(_) => Exit::Config,
        };
    }
    if error.downcast_ref::<SandboxError>().is_some() {
        return Exit::Unreachable;
    }
    match error.downcast_ref::<DaemonError>() {
        Some(DaemonError::Store(e)) => of_store(e),
        Some(DaemonError::Config(_) | DaemonError::NothingToServe | DaemonError::Listen(..)) => Exit::Config,
        Some(DaemonError::Sandbox(_)) => Exit::Unreachable,
        Some(DaemonError::Client(_) | DaemonError::Chores(_) | DaemonError::Signals(_) | DaemonError::WorkerEnded) => {
            Exit::Failed
        }
        None if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) => {
            Exit::BrokenPipe
        }
        None => Exit::Failed,
    }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Locked { .. }
        | StoreError::Importing { .. }
        | StoreError::Busy { .. }
        | StoreError::Occupied { .. } => Exit::Held,
        StoreError::Damaged { .. }
        | StoreError::Unwritable { .. }
        | StoreError::Inconsistent { .. }
        | StoreError::Unreadable { .. }
        | StoreError::NoRoom { .. }
        | StoreError::Failed { .. }
        | StoreError::Gone { .. }
        | StoreError::Missing { .. }
        | StoreError::Dangling { .. } => Exit::Damaged,
        StoreError::Newer { .. }
        | StoreError::OtherMode { .. }
        | StoreError::OtherName { .. }
        | StoreError::Absent { .. } => Exit::Config,
        StoreError::OtherSeed { .. } => Exit::Usage,
        StoreError::JobChanged { .. }
        | StoreError::AudienceAbandoned
        | StoreError::Overtaken
        | StoreError::OldSqlite(_)
        | StoreError::Database { .. }
        | StoreError::Closed => Exit::Failed,
    }
}
